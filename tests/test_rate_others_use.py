"""What others use, as one way of counting tells it: what comes again, what is over, and what is random."""

from math import sqrt

import pytest

from hindsight_async.rate.counting import WINDOW_SECONDS
from hindsight_async.rate.others_use import (
    ALIKE_WHEN_STEADY,
    FEWEST_OTHERS,
    HEADROOM,
    OTHERS_REMEMBERED,
    TOLERANCE,
    OthersUse,
)

MAY_COME = 200.0
"""Up to how much what only falls may come again; of a limit of 300."""

TURN = 60.0


def weighted(use: OthersUse, seen: float, now: float) -> None:
    """Let an answer show what others use, under the weighted way."""
    minute = now // WINDOW_SECONDS
    reset = (minute + 1) * WINDOW_SECONDS
    use.learn_of_minute(seen, seen, now, reset=reset, left=(reset - now) / WINDOW_SECONDS)


def test_what_only_falls_may_come_again_until_a_window_has_passed():
    """For a window's length it is reckoned with as it was; then only what is left of it."""
    use = OthersUse()
    use.learn(150.0, 150.0, 0.0)
    use.learn(50.0, 50.0, 40.0)
    assert [150.0, 50.0] == [use.expected(now, MAY_COME) for now in (WINDOW_SECONDS - 1, WINDOW_SECONDS)]


def test_of_what_only_falls_no_more_is_expected_than_may_come():
    """A predecessor that used all of the limit does not keep us from what it leaves."""
    use = OthersUse()
    use.learn(290.0, 290.0, 0.0)
    assert 290.0 == use.expected(1.0, MAY_COME)
    use.learn(230.0, 230.0, 10.0)
    assert 230.0 == use.expected(11.0, MAY_COME)
    use.learn(100.0, 100.0, 30.0)
    assert MAY_COME == use.expected(31.0, MAY_COME)


def test_what_is_over_is_not_waited_for():
    """Once a server that forgets at once has forgotten it, nobody is there."""
    use = OthersUse()
    use.learn(150.0, 150.0, 0.0)
    assert use.are_there(1.0)
    use.learn(1.0, 1.0, 10.0)
    assert (False, 1.0) == (use.are_there(11.0), use.expected(11.0, MAY_COME))


def test_what_fades_away_within_a_minute_is_over_only_with_it():
    """Of 100 in the last minute hardly one counts at second 59 of this one, in which as many may come as in the last."""
    use = OthersUse()
    for second in range(10, 60, 7):
        weighted(use, 100 * (1 - second / 60) // 1, second)
    assert use.are_there(59.0)
    weighted(use, 0.0, 60.5)
    assert not use.are_there(60.6)


@pytest.mark.parametrize("at", [6.0, 30.0])
def test_what_comes_within_a_minute_is_expected_beside_itself(at: float):
    """Of 80 that come for the first time, the part of the minute that is left is in the count when they come again."""
    use = OthersUse()
    weighted(use, 0.0, at - 5)
    weighted(use, 80.0, at)
    assert 80 * (2 - at / 60) == pytest.approx(use.expected(at, MAY_COME))
    assert 80.0 == use.largest(at)


def test_what_came_before_the_minute_turned_is_not_taken_for_new():
    """The first that is seen of a minute tells nothing of when it came."""
    use = OthersUse()
    weighted(use, 0.0, TURN - 1)
    weighted(use, 80.0, TURN + 1)
    assert 80.0 == use.expected(TURN + 1, MAY_COME)


def test_a_use_that_is_the_same_each_minute_needs_hardly_any_headroom():
    """What is kept free for chance is kept until ALIKE_WHEN_STEADY minutes in a row were like the one before, and from one that is not."""
    use, chance = OthersUse(), HEADROOM * sqrt(100)
    left = []
    for minute in range(ALIKE_WHEN_STEADY + 2):
        use.learn(100.0, 100.0, minute * WINDOW_SECONDS)
        left.append(use.to_leave(minute * WINDOW_SECONDS, MAY_COME))
    assert [101 + chance] * (ALIKE_WHEN_STEADY + 1) == left[:-1]
    assert 100 + TOLERANCE == left[-1]
    now = len(left) * WINDOW_SECONDS
    use.learn(80.0, 80.0, now)
    use.learn(80.0, 80.0, now + WINDOW_SECONDS)
    assert 81 + HEADROOM * sqrt(80) == use.to_leave(now + WINDOW_SECONDS, MAY_COME)


def test_little_use_is_nobody():
    """Servers and answers are not so exact that one or two would show anybody."""
    use = OthersUse()
    use.learn(0.0, 0.0, 0.0)
    use.learn(FEWEST_OTHERS - 1, FEWEST_OTHERS - 1, 1.0)
    assert not use.are_there(2.0)
    use.learn(FEWEST_OTHERS, FEWEST_OTHERS, 3.0)
    assert use.are_there(4.0)
    assert not use.are_there(3.1 + OTHERS_REMEMBERED)
