"""The verdict on one row of a bulk run."""

import copy
import enum
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from attrs import frozen

from hindsight_async.errors import (
    APIError,
    CreateLimitReachedError,
    DeadlineExceededError,
    Delivery,
    ForbiddenError,
    HindsightError,
    LedgerError,
    QuotaExceededError,
    RateLimitExceededError,
    RecipientNotAllowedError,
    SessionClosedError,
    UnauthorizedError,
)

Request = TypeVar("Request")
Response = TypeVar("Response")

_ENDS_THE_RUN = (
    UnauthorizedError,
    ForbiddenError,
    QuotaExceededError,
    CreateLimitReachedError,
    SessionClosedError,
    LedgerError,
)
_WRONG_ADDRESS = (301, 307, 308, 404, 405)


class OutcomeStatus(enum.StrEnum):
    """What became of a row."""

    CREATED = "created"
    UPDATED = "updated"
    REJECTED = "rejected"
    """The API said no to this row."""

    NOT_SENT = "not_sent"
    """Given up before the API took it, also where it refused the key, the address or the quota: safe to run again."""

    UNKNOWN = "unknown"
    """Sent, and no answer said what became of it: a person may have been emailed. Never sent again by itself."""

    DUPLICATE = "duplicate"
    """Not sent: its key stood earlier in this input (`duplicate_of` says where), or the ledger has another interview of
    the person within `once_per_contact_within` (`duplicate_of` is None)."""

    ALREADY_DONE = "already_done"
    """The ledger has it from an earlier run."""

    CLAIMED = "claimed"
    """Another run, which lives, has it in hand: that run sends it, or a later one."""


@frozen(kw_only=True)
class Outcome(Generic[Request, Response]):
    """What became of one row of the input."""

    index: int
    """Its place in the input, from 0."""

    key: str
    """The caller's own, where they gave one; else the hash of what the row means. The ledger takes either."""

    status: OutcomeStatus
    request: Request
    response: Response | None = None
    """What the API answered; that of a row which an earlier run created says `created_now=False`."""

    error: HindsightError | None = None
    attempts: int = 0
    """How many times this run tried to send it."""

    duplicate_of: int | None = None
    """The index of the row that it repeats; None also where the person has another interview in the ledger."""

    interview_request_id: int | None = None
    """From the response or from the ledger."""


_FAILURES = (OutcomeStatus.REJECTED, OutcomeStatus.NOT_SENT, OutcomeStatus.UNKNOWN)


def counts_against_the_run(outcome: Outcome[Any, Any]) -> bool:
    """Return whether many such rows one after another should end the run."""
    # A list of those who may, or may not, be written to keeps rows back on purpose.
    return outcome.status in _FAILURES and not isinstance(outcome.error, RecipientNotAllowedError)


def ends_the_run(error: HindsightError, *, creating: bool) -> bool:
    """Return whether no other row would escape this; it is not the row's fault then."""
    if isinstance(error, _ENDS_THE_RUN):
        return True
    # A create names no object that could be missing: such an answer comes from a wrong base URL or a proxy.
    return creating and isinstance(error, APIError) and error.status in _WRONG_ADDRESS


def end_of_run(
    failure: BaseException | None, unrecorded: Sequence[tuple[Outcome[Any, Any], Exception]]
) -> BaseException | None:
    """Return what a run raises at its end: what it did and could not write down outranks all else.

    Args:
        failure: What ended it, None where its input did.
        unrecorded: The outcomes of requests that left which the ledger does not have, each with the reason.

    """
    if not unrecorded:
        return _of_the_run(failure) if isinstance(failure, HindsightError) else failure
    made = sum(outcome.interview_request_id is not None for outcome, _ in unrecorded)
    _, reason = unrecorded[0]
    error = LedgerError(
        f"{made} {'interview was' if made == 1 else 'interviews were'} made and could not be recorded (the outcomes"
        f" have the ids), of {len(unrecorded)} sent without a record of their end:"
        f" {reason.summary if isinstance(reason, LedgerError) else type(reason).__name__}",
        delivery=Delivery.UNKNOWN,
    )
    error.unrecorded, error.__cause__ = len(unrecorded), failure
    return error


def _of_the_run(met: HindsightError) -> HindsightError:
    """Return what a run raises that an error ended: what that says of sending is true of the row alone which met it."""
    if met.ended_run:
        return met
    error = copy.copy(met)
    error.ended_run, error.__cause__ = True, met
    if isinstance(error, LedgerError):
        error.delivery, error.unrecorded = Delivery.NOT_SENT, 0
    return error


def status_of(error: HindsightError, *, creating: bool) -> OutcomeStatus:
    """Say what a failed call means for its row.

    A refusal counts as not sent where it is not the row's fault: no other row would escape it, or a later moment may do.
    """
    if error.delivery is not Delivery.UNKNOWN and (
        ends_the_run(error, creating=creating)
        or isinstance(error, (DeadlineExceededError, RateLimitExceededError))
    ):
        return OutcomeStatus.NOT_SENT
    return _BY_DELIVERY[error.delivery]


_BY_DELIVERY = {
    Delivery.NOT_SENT: OutcomeStatus.NOT_SENT,
    Delivery.REJECTED: OutcomeStatus.REJECTED,
    Delivery.UNKNOWN: OutcomeStatus.UNKNOWN,
}
