"""Creates and updates as rows: when two are the same, what the ledger keeps of one, and what it tells of an earlier one."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import asdict, fields_dict

from hindsight_async.delivery.addresses import normalised
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.delivery.row import RowKind
from hindsight_async.resources.interviews.models import (
    CreatedInterview,
    CreateInterview,
    InterviewStatus,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.resources.interviews.recipients import caller_key_hash, interview_key

T = TypeVar("T")

Update = tuple[int, UpdateInterview]
"""An interview request id, and what to change."""


def of_type(request: T, expected: type[T]) -> T:
    """Return the request; TypeError where it is another thing."""
    if not isinstance(request, expected):
        raise TypeError(f"request must be {expected.__name__}, not {type(request).__name__}")
    return request


def request_of(expected: type[T], request: T | None, fields: Mapping[str, Any]) -> T:
    """Return the request that is given, or the one that its fields make.

    Raises:
        TypeError: Both are given or none, the request is another thing, or there is no such field.
        ValueError: As from `expected`.

    """
    if not fields:
        if request is None:
            raise TypeError(f"give a {expected.__name__}, or its fields as keywords")
        return of_type(request, expected)
    if request is not None:
        raise TypeError(f"give a {expected.__name__} or its fields as keywords, not both")
    names = fields_dict(cast("Any", expected))
    if unknown := fields.keys() - names.keys():
        raise TypeError(f"{min(unknown)} is no field of {expected.__name__}, which has {', '.join(names)}")
    return expected(**fields)


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
    key_for=caller_key_hash,
    body_of=_body_of,
    request_of=lambda body: CreateInterview(**body),
)


def checked_id(interview_request_id: int) -> int:
    """Return the id; TypeError or ValueError where it is none."""
    if type(interview_request_id) is not int:
        raise TypeError(f"interview_request_id must be an int, not {type(interview_request_id).__name__}")
    if interview_request_id < 0:
        raise ValueError("interview_request_id must not be negative")
    return interview_request_id


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
