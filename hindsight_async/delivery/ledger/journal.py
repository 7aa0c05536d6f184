"""A ledger as the journal of a bulk run."""

import json
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from os import PathLike
from typing import Any, cast

from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.run import LedgerRun
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.errors import LONGEST_TEXT, APIError, HindsightError
from hindsight_async.redaction import without_addresses
from hindsight_async.resources.interviews.models import CreatedInterview, CreateInterview
from hindsight_async.resources.interviews.recipients import normalised

_LEDGER_STATUS = {
    OutcomeStatus.CREATED: LedgerStatus.CREATED,
    OutcomeStatus.REJECTED: LedgerStatus.REJECTED,
    OutcomeStatus.NOT_SENT: LedgerStatus.NOT_SENT,
    OutcomeStatus.UNKNOWN: LedgerStatus.UNKNOWN,
}


class RunJournal:
    """Writes creates into a ledger that a run has open."""

    _run: LedgerRun

    def __init__(self, run: LedgerRun) -> None:
        self._run = run

    async def plan(self, rows: Mapping[str, tuple[int, CreateInterview]]) -> Mapping[str, LedgerEntry]:
        """Return what is known of these rows, and note the others as planned."""
        return await self._run.claim(
            [
                LedgerRow(
                    key=key,
                    row_index=index,
                    contact_email=normalised(request.contact_email),
                    sequence_id=request.sequence_id,
                    interview_type_id=request.interview_type_id,
                    deal_id=request.deal_id,
                )
                for key, (index, request) in rows.items()
            ]
        )

    async def sending(self, key: str) -> None:
        """Note, durably, that this row is about to leave."""
        await self._run.sending(key)

    async def not_processed(self, outcome: Outcome[CreateInterview, Any]) -> None:
        """Note, durably, that nothing came of this row so far, and that it will be sent again."""
        await self._run.not_processed(outcome.key)

    async def finished(self, outcome: Outcome[CreateInterview, Any]) -> None:
        """Note, durably, what became of this row."""
        error = outcome.error
        await self._run.finished(
            outcome.key,
            _LEDGER_STATUS[outcome.status],
            attempts=outcome.attempts,
            interview_request_id=outcome.interview_request_id,
            **({} if outcome.response is None else _said_of(outcome.response)),
            **({} if error is None else _said_by(error)),
        )


class LedgerJournal(RunJournal):
    """Writes a run of creates into a ledger, given itself or by its location."""

    def __init__(self, ledger: Ledger | str | PathLike[str]) -> None:
        self._ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """Take the ledger for this run; raises LedgerError where it cannot be had."""
        self._run = await self._opened.enter_async_context(self._ledger.run())

    @property
    def recorded_late(self) -> Collection[str]:
        """The keys of rows whose `finished` failed, and was made good by a later try."""
        return self._run.recorded_late

    async def close(self) -> None:
        """Let go of it, once all is written."""
        await self._opened.aclose()


_SURVEY_LINK = {"survey_url", "survey_token"}


def _said_of(created: CreatedInterview) -> dict[str, Any]:
    return {"contact_id": created.contact_id, "interview_status": created.status}


def _said_by(error: HindsightError) -> dict[str, Any]:
    """Return what is kept of a failure, so that a later call can raise it again."""
    if isinstance(error, APIError):
        code, message = error.code, error.message
    else:
        code, message = type(error).__name__, str(error.args[0])
    return {
        "http_status": getattr(error, "status", None),
        "error_code": code,
        "error_message": without_addresses(message[:LONGEST_TEXT]),
        "received": _kept(getattr(error, "received", {})),
    }


def _kept(received: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of an answer as has room, without survey links and addresses."""
    kept: dict[str, Any] = {}
    room = LONGEST_TEXT
    for name, value in received.items():
        if name in _SURVEY_LINK:
            continue
        try:
            part = {name: _without_secrets(value)}
            room_taken = len(json.dumps(part))
        except (TypeError, ValueError, RecursionError):
            continue
        # A long field is left out, and not those after it: an id is short.
        if room_taken <= room:
            kept |= part
            room -= room_taken
    return kept


def _without_secrets(value: Any) -> Any:
    match value:
        case str():
            return without_addresses(value)
        case Mapping():
            items = cast("Mapping[str, Any]", value).items()
            return {
                without_addresses(name): _without_secrets(each)
                for name, each in items
                if name not in _SURVEY_LINK
            }
        case list():
            return [_without_secrets(each) for each in cast("list[object]", value)]
        case _:
            return value
