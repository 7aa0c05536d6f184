"""A ledger as the journal of a bulk run."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from os import PathLike
from typing import Any

from hindsight_async.addresses import normalised
from hindsight_async.errors import APIError
from hindsight_async.journal import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.ledger.ledger import Ledger
from hindsight_async.ledger.run import LedgerRun
from hindsight_async.models import CreateInterview
from hindsight_async.outcomes import Outcome, OutcomeStatus

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
            error_code=None if error is None else _code(error),
        )


class LedgerJournal(RunJournal):
    """Writes a run of creates into a ledger, given itself or by its location."""

    def __init__(self, ledger: Ledger | str | PathLike[str]) -> None:
        self._ledger = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """Take the ledger for this run; raises LedgerError where it cannot be had."""
        self._run = await self._opened.enter_async_context(self._ledger.run())

    async def close(self) -> None:
        """Let go of it, once all is written."""
        await self._opened.aclose()


def _code(error: Exception) -> str:
    """Return the API's code, else the HTTP status, else the error's class."""
    if isinstance(error, APIError):
        return error.code or str(error.status)
    return type(error).__name__
