"""Creates and updates as rows: when two are the same, what the ledger keeps of one, and what it tells of an earlier one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from attrs import asdict, evolve

from hindsight_async.delivery.addresses import normalised
from hindsight_async.delivery.keys import checked_caller_key
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.delivery.row_kind import RowKind
from hindsight_async.resources.interviews.arguments import Update, checked_id, of_type
from hindsight_async.resources.interviews.models import (
    CreatedInterview,
    CreateInterview,
    InterviewStatus,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.resources.interviews.recipients import interview_key


def _create_key(request: CreateInterview) -> str:
    return interview_key(of_type(request, CreateInterview))


def _ledger_row(key: str, index: int, request: CreateInterview) -> LedgerRow:
    return LedgerRow(
        key=key,
        row_index=index,
        contact_email=normalised(request.contact_email),
        sequence_id=request.sequence_id,
        interview_type_id=request.interview_type_id,
        deal_id=request.deal_id,
    )


def _body_of(request: CreateInterview) -> dict[str, Any]:
    return asdict(request, recurse=False, filter=lambda _, value: value is not None)


def _kept_of(created: CreatedInterview) -> dict[str, Any]:
    return {"contact_id": created.contact_id, "interview_status": created.status}


def _created_earlier(entry: LedgerEntry) -> CreatedInterview:
    return CreatedInterview(
        interview_request_id=cast("int", entry.interview_request_id),
        # None where a person said that it was created.
        contact_id=entry.contact_id,
        status=None if entry.interview_status is None else InterviewStatus(entry.interview_status),
        deal_id=entry.deal_id,
        created_now=False,
    )


CREATES = RowKind[CreateInterview, CreatedInterview](
    success=OutcomeStatus.CREATED,
    key_of=_create_key,
    id_of=lambda created: created.interview_request_id,
    ledger_row=_ledger_row,
    kept_of=_kept_of,
    context_of=lambda request: request.contact_context,
    earlier_response=_created_earlier,
    body_of=_body_of,
    request_of=lambda body: CreateInterview(**body),
)


def creates_with(
    key_of: Callable[[CreateInterview], str] | None, once_within: timedelta | None, *, has_ledger: bool = True
) -> RowKind[CreateInterview, CreatedInterview]:
    """Return creates as rows with a caller's own keys, and the rule of one interview for a person within a time.

    Args:
        key_of: Returns the caller's key of a request; None for the default one.
        once_within: For how long; None for no such rule.
        has_ledger: Whether something remembers who was written to.

    Raises:
        TypeError: One of the first two is of another type; in the run, where a key is, or a request.
        ValueError: The time is not above 0, or there is no ledger for it; in the run, where a key cannot be used.

    """
    if key_of is not None and not callable(key_of):
        raise TypeError(f"key_of must be a function of a request, not {type(key_of).__name__}")
    if once_within is not None and not isinstance(once_within, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"once_per_contact_within must be a timedelta, not {type(once_within).__name__}")
    if once_within is not None and once_within <= timedelta(0):
        raise ValueError("once_per_contact_within must be above 0, such as timedelta(days=90)")
    if once_within is not None and not has_ledger:
        raise ValueError("once_per_contact_within needs a ledger, which knows who was written to")

    def caller_key(request: CreateInterview) -> str:
        made = cast("Callable[[CreateInterview], object]", key_of)(of_type(request, CreateInterview))
        return checked_caller_key(made, "what key_of returns")

    return evolve(CREATES, caller_key_of=None if key_of is None else caller_key, once_within=once_within)


def create_with(key: str | None) -> RowKind[CreateInterview, CreatedInterview]:
    """Return a create as a row with this key of the caller's own; None for the default one.

    Raises:
        TypeError: It is no text.
        ValueError: It is none that can be used.

    """
    if key is None:
        return CREATES
    checked = checked_caller_key(key)

    def caller_key(request: CreateInterview) -> str:
        of_type(request, CreateInterview)
        return checked

    return evolve(CREATES, caller_key_of=caller_key)


def _update_key(update: Update) -> str:
    interview_request_id, request = update
    of_type(request, UpdateInterview)
    return str(checked_id(interview_request_id))


UPDATES = RowKind[Update, UpdatedInterview](
    success=OutcomeStatus.UPDATED,
    key_of=_update_key,
    id_of=lambda updated: updated.interview_request_id,
)
"""Kept in no ledger, since an update does no harm twice."""
