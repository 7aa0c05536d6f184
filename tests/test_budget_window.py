"""The window of permits, moment by moment."""

import pytest

from hindsight_async.rate.headers import RateHeaders
from hindsight_async.rate.limits import NamedLimit
from hindsight_async.rate.window import KEPT_AFTER_ANSWER, Window, WindowEntry


def answered(window: Window, entry: WindowEntry, now: float, remaining: int | None = None) -> None:
    """Have the server let a request through."""
    window.confirm(entry, now)
    window.learn(entry, RateHeaders(limit=window.limit, remaining=remaining), now)
    window.end(entry, now)


def test_permits_come_back_in_the_order_of_their_answers():
    """Each permit is free again 60 s after its own answer, and never before."""
    window = Window(2)
    first, second = window.take(0.0), window.take(0.0)
    assert not window.admits(0.0)
    window.end(second, 1.0)
    window.end(first, 5.0)
    assert [0, 0, 1, 1, 2] == [
        window.free(now) for now in (30.0, 61.0, 1 + KEPT_AFTER_ANSWER, 65.0, 5 + KEPT_AFTER_ANSWER)
    ]


def test_nothing_is_lost_over_many_cycles():
    """After a thousand requests and a minute all permits are free, and what was sent is forgotten."""
    window = Window(7)
    now = 0.0
    for _ in range(1000):
        while not window.admits(now):
            now = window.next_change(now)
        answered(window, window.take(now), now + 0.1, remaining=3)
    assert 7 == window.free(now + 61)
    assert 7 >= len(window._sent)


def test_what_was_not_sent_is_free_at_once():
    """A permit put back counts for nothing."""
    window = Window(1)
    window.put_back(window.take(0.0))
    assert 1 == window.free(0.0)


def test_an_answer_that_took_longer_than_the_window_counts_no_more():
    """A request answered after 61 s is not in the server's window, and so explains nothing of what is used there."""
    window = Window(10)
    slow = window.take(0.0)
    answered(window, slow, 61.0, remaining=9)
    answered(window, window.take(62.0), 62.1, remaining=4)
    assert 10 - 2 - 5 - 1 <= window.room(62.1) <= 10 - 2 - 4


def test_an_answer_reported_twice_counts_once():
    """A second report of one answer adds nothing to our own use."""
    window = Window(10)
    entry = window.take(0.0)
    window.confirm(entry, 0.1)
    answered(window, entry, 0.1, remaining=9)
    answered(window, window.take(1.0), 1.1, remaining=4)
    assert 8 - 4 - 1 <= window.room(1.1) <= 8 - 4


@pytest.mark.parametrize(
    ("ahead", "moment"), [(0, 0.0), (1, 10.0 + KEPT_AFTER_ANSWER), (2, 20.0 + KEPT_AFTER_ANSWER)]
)
def test_the_estimate_counts_those_ahead(ahead: int, moment: float):
    """With one of three permits free, the next opens for the second newcomer, and so on."""
    window = Window(3)
    for at in (10.0, 20.0):
        window.end(window.take(0.0), at)
    assert moment == (window.opens_for(ahead, 30.0) if ahead else 0.0)
    assert 30.0 == window.opens_for(0, 30.0)


def test_the_estimate_reaches_beyond_the_first_window():
    """Whoever has more ahead than there are permits waits another round."""
    window = Window(2)
    window.end(window.take(0.0), 0.0)
    window.take(0.0)
    assert KEPT_AFTER_ANSWER == window.opens_for(0, 0.0)
    assert KEPT_AFTER_ANSWER == window.opens_for(1, 0.0)
    assert 2 * KEPT_AFTER_ANSWER == window.opens_for(2, 0.0)


def test_other_programs_are_forgotten_after_some_minutes():
    """Without any sign of them for three minutes, others are reckoned with no more."""
    window = Window(10)
    answered(window, window.take(0.0), 0.1, remaining=2)
    assert 2 >= window.room(1.0)
    assert 10 == window.room(200.0)


def test_after_a_silence_one_goes_first_where_others_were_seen():
    """What another program did while we sent nothing is asked with one request before the rest follow."""
    window = Window(100)
    answered(window, window.take(0.0), 0.1, remaining=69)
    scout = window.take(50.0)
    assert not window.admits(50.0)
    answered(window, scout, 50.1, remaining=60)
    assert window.admits(50.1)
    window.take(50.1)
    assert window.admits(50.1)


def test_an_answer_from_before_the_limit_was_raised_changes_nothing():
    """A late answer tells of an older time; one sent since is believed at once."""
    named = NamedLimit(60)
    named.learn(300, sent_at=0.0, now=1.0)
    named.learn(300, sent_at=2.0, now=3.0)
    named.learn(60, sent_at=2.5, now=4.0)
    assert 300 == named.limit
    named.learn(60, sent_at=3.5, now=5.0)
    assert 60 == named.limit
