"""When a call may be sent again, and after how long: plain functions of plain values.

A create is sent again by its call in two cases, in which it provably was not processed: no byte of it left (NotSentError,
as `body` notes it and `failure` says it), or the server said 429. After all else it may have emailed somebody, or would
be refused again. What a create that is not sent again counts as, `delivery.outcomes` says.
"""

from http import HTTPStatus

from attrs import field, frozen, validators

from hindsight_async.errors import (
    APIError,
    Delivery,
    HindsightError,
    InternalServerError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitExceededError,
)
from hindsight_async.rate.budget import DEFAULT_MAX_RATE_WAIT


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how patiently a call is sent again.

    Pauses double each time and are shortened at random by up to half; a wait that the server named is never shortened,
    and beyond `DEFAULT_MAX_RATE_WAIT` seconds it is not waited for: the error is raised, and its `retry_after` has it.
    What the rate limit refuses does not count: the budget waits for that.

    Args:
        attempts: How often in all, the first included; at least 1.
        first_pause: Seconds before the second.
        longest_pause: Seconds that no pause of our own exceeds.

    Raises:
        ValueError: A number is too small; the text names the argument.
        TypeError: `attempts` is no whole number.

    """

    attempts: int = field(default=4, validator=[validators.instance_of(int), validators.ge(1)])
    first_pause: float = field(default=0.5, validator=validators.ge(0))
    longest_pause: float = field(default=8.0, validator=validators.ge(0))


_ASKED_FOR_ELSEWHERE = frozenset({301, 307, 308})
"""Redirects that ask for the same request at another address, so it was not processed here.

A 302 or 303 may be the answer to a request that was processed, as after a form in a browser.
"""

_MOST_DOUBLINGS = 64
"""Beyond any longest pause, and short of a float's overflow."""


def delivery_of(status: int) -> Delivery:
    """Return what became of a request that was answered with this HTTP status, which is no 2xx.

    A refusal (4xx) had no effect. A server that failed (5xx) may have done so before or after it. A 408 is also what
    servers send when they close an idle connection: where it crosses with a request, nothing tells whether that was
    read.
    """
    if status in _ASKED_FOR_ELSEWHERE:
        return Delivery.REJECTED
    is_refusal = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Delivery.REJECTED if is_refusal and status != HTTPStatus.REQUEST_TIMEOUT else Delivery.UNKNOWN


def may_be_sent_again(error: HindsightError, *, repeatable: bool) -> bool:
    """Return whether the request provably was not processed, or does no harm when repeated.

    Not every refusal: sent again as it is, what was refused for its content would be refused again.
    """
    if isinstance(error, (NotSentError, RateLimitExceededError)):
        return True
    if not repeatable:
        return False
    # RFC 9110, 15.5.9: after a 408 a request may be repeated on another connection.
    timed_out = isinstance(error, APIError) and error.status == HTTPStatus.REQUEST_TIMEOUT
    return timed_out or isinstance(error, (OutcomeUnknownError, InternalServerError))


def pause_before_next(
    policy: RetryPolicy, error: HindsightError, *, repeatable: bool, attempt: int, random: float
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    Args:
        policy: How often and how patiently.
        error: How the last attempt ended.
        repeatable: Whether sending the request twice does what sending it once does.
        attempt: The number of the one that failed, from 1; those that ended in a 429 are not counted.
        random: A number in [0, 1).

    """
    if isinstance(error, RateLimitExceededError):
        return 0.0  # the budget has closed for everyone; it does the waiting, or refuses to
    if attempt >= policy.attempts or not may_be_sent_again(error, repeatable=repeatable):
        return None
    doublings = min(attempt - 1, _MOST_DOUBLINGS)
    backoff = min(policy.first_pause * 2.0**doublings, policy.longest_pause) * (1 - random / 2)
    named: float | None = getattr(error, "retry_after", None)
    if named is not None and named > DEFAULT_MAX_RATE_WAIT:
        return None
    # Jitter after a named wait only makes it later, so that many clients do not return as one.
    return backoff if named is None else named + backoff * random
