"""The policy of one limit, moment by moment."""

import pytest

from hindsight_async.rate.counting import KEPT_AFTER_ANSWER
from hindsight_async.rate.limits import NamedLimit
from hindsight_async.rate.policy import RatePolicy
from hindsight_async.rate.server_clock import ServerClock

FREE_AGAIN = KEPT_AFTER_ANSWER + 0.001


def new_policy(limit: int) -> RatePolicy:
    """Make one that knows nothing yet."""
    return RatePolicy(limit, ServerClock())


def test_permits_come_back_in_the_order_of_their_answers():
    """Each permit is free again 60 s after its own answer, and never before."""
    policy = new_policy(2)
    first, second = policy.take(0.0), policy.take(0.0)
    assert not policy.admits(0.0)
    policy.end(second, 1.0)
    policy.end(first, 5.0)
    assert [0, 0, 1, 1, 2] == [policy.room(now) for now in (30.0, 61.0, 1 + FREE_AGAIN, 65.0, 5 + FREE_AGAIN)]


def test_what_was_not_sent_is_free_at_once():
    """A permit put back counts for nothing."""
    policy = new_policy(1)
    policy.put_back(policy.take(0.0))
    assert 1 == policy.room(0.0)


@pytest.mark.parametrize(
    ("ahead", "moment"), [(0, 30.0), (1, 10.0 + KEPT_AFTER_ANSWER), (2, 20.0 + KEPT_AFTER_ANSWER)]
)
def test_the_estimate_counts_those_ahead(ahead: int, moment: float):
    """With one of three permits free, the next opens for the second newcomer, and so on."""
    policy = new_policy(3)
    for at in (10.0, 20.0):
        policy.end(policy.take(0.0), at)
    assert moment == policy.opens_for(ahead, 30.0)


def test_the_estimate_reaches_beyond_the_first_window():
    """Whoever has more ahead than there are permits waits another round."""
    policy = new_policy(2)
    policy.end(policy.take(0.0), 0.0)
    policy.take(0.0)
    assert KEPT_AFTER_ANSWER == pytest.approx(policy.opens_for(0, 0.0))
    assert KEPT_AFTER_ANSWER == pytest.approx(policy.opens_for(1, 0.0))
    assert 2 * KEPT_AFTER_ANSWER == pytest.approx(policy.opens_for(2, 0.0))


def test_an_answer_from_before_the_limit_was_raised_changes_nothing():
    """A late answer tells of an older time; one sent since is believed at once."""
    named = NamedLimit(60)
    named.learn(300, sent_at=0.0, now=1.0)
    named.learn(300, sent_at=2.0, now=3.0)
    named.learn(60, sent_at=2.5, now=4.0)
    assert 300 == named.limit
    named.learn(60, sent_at=3.5, now=5.0)
    assert 60 == named.limit
