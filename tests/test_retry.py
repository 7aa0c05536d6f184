"""What may be sent again, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import (
    BadRequestError,
    DecodeError,
    ForbiddenError,
    InternalServerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitExceededError,
    RetryPolicy,
    UnauthorizedError,
)
from hindsight_async.call.retry import may_be_sent_again, pause_before_next
from hindsight_async.rate.budget import DEFAULT_MAX_RATE_WAIT

NOT_PROCESSED = [NotSentError("x"), RateLimitExceededError("x", status=429)]
MAYBE_PROCESSED = [OutcomeUnknownError("x"), InternalServerError("x", status=500)]
FINAL = [
    BadRequestError("x", status=400),
    UnauthorizedError("x", status=401),
    ForbiddenError("x", status=403),
    NotFoundError("x", status=404),
    DecodeError("x"),
]


@pytest.mark.parametrize(
    "error", NOT_PROCESSED + MAYBE_PROCESSED + FINAL, ids=lambda error: type(error).__name__
)
def test_a_create_is_sent_again_only_where_it_was_not_processed(error):
    """A person is emailed twice by nothing that this table allows."""
    assert (error in NOT_PROCESSED) is may_be_sent_again(error, repeatable=False)


@pytest.mark.parametrize(
    "error", NOT_PROCESSED + MAYBE_PROCESSED + FINAL, ids=lambda error: type(error).__name__
)
def test_what_is_repeatable_is_also_sent_again_after_a_doubt(error):
    """Updates and reads do no harm when repeated; refusals stay final."""
    assert (error not in FINAL) is may_be_sent_again(error, repeatable=True)


PATIENT = RetryPolicy(attempts=10)


def pause(attempt, random=0.0, error=NOT_PROCESSED[0], policy=PATIENT, *, repeatable=False):
    return pause_before_next(policy, error, repeatable=repeatable, attempt=attempt, random=random)


def test_pauses_double_up_to_the_longest():
    """Without jitter the pauses are the policy's own numbers."""
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 8.0] == [pause(attempt) for attempt in range(1, 7)]


def test_attempts_are_finite():
    """The attempt that the policy names last is the last."""
    assert None is pause(4, policy=RetryPolicy(attempts=4))
    assert None is pause(1, policy=RetryPolicy(attempts=1))
    assert None is not pause(3, policy=RetryPolicy(attempts=4))


@given(attempt=st.integers(1, 2000), random=st.floats(0, 1, exclude_max=True))
def test_jitter_takes_at_most_half(attempt, random):
    """However late and however the dice fall, a pause is positive and bounded."""
    policy = RetryPolicy(attempts=3000)
    assert 0.25 <= pause(attempt, random, policy=policy) <= policy.longest_pause


@given(
    named=st.floats(0, DEFAULT_MAX_RATE_WAIT),
    attempt=st.integers(1, 9),
    random=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_that_the_server_named_is_never_shortened(named, attempt, random):
    """Jitter only makes it later, and by no more than a pause of our own."""
    error = InternalServerError("x", status=503, retry_after=named)
    seconds = pause(attempt, random, error, repeatable=True)
    assert named <= seconds <= named + RetryPolicy().longest_pause


@given(named=st.floats(DEFAULT_MAX_RATE_WAIT, exclude_min=True), attempt=st.integers(1, 9))
def test_a_wait_beyond_that_for_the_rate_limit_is_not_waited_for(named, attempt):
    """A server that names days holds nobody up for days, deadline or none."""
    assert None is pause(
        attempt, error=InternalServerError("x", status=503, retry_after=named), repeatable=True
    )


def test_the_pause_after_a_429_is_the_budgets():
    """No attempt is counted for it and no pause added: it is the rate budget that waits."""
    refused = RateLimitExceededError("x", status=429, retry_after=30.0)
    assert 0.0 == pause(0, error=refused) == pause(4, error=refused, policy=RetryPolicy(attempts=4))


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"attempts": 2.5}, {"first_pause": -1}, {"longest_pause": -1}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    """The error names the field."""
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        RetryPolicy(**wrong)
