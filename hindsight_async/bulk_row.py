"""One row of a bulk run on its way to its verdict."""

from typing import Any, Generic, TypeVar

from attrs import define

from hindsight_async.errors import Delivery, HindsightError, NotSentError, OutcomeUnknownError
from hindsight_async.journal import LedgerEntry, LedgerStatus, RowJournal
from hindsight_async.outcomes import Outcome, OutcomeStatus

Row = TypeVar("Row")


@define(eq=False)
class BulkRow(Generic[Row]):
    """One row on its way; the pipeline tells it, and it tells the journal."""

    index: int
    key: str
    request: Row
    ahead: bool
    journal: RowJournal[Row]
    attempts: int = 0
    in_flight: bool = False
    given_up: bool = False

    async def about_to_send(self) -> None:
        """Write down, before the first byte leaves, that it will."""
        await self.journal.sending(self.key)
        self.in_flight = True
        self.attempts += 1

    async def not_processed(self) -> None:
        """Write down that nothing came of it, so that waiting to send it again is no doubt."""
        await self.journal.not_processed(self.outcome(OutcomeStatus.NOT_SENT))
        self.in_flight = False

    def outcome(self, status: OutcomeStatus, **fields: Any) -> Outcome[Row, Any]:
        """Return the verdict on this row."""
        return Outcome(
            index=self.index,
            key=self.key,
            request=self.request,
            status=status,
            attempts=self.attempts,
            **fields,
        )


def cut_off(task: BulkRow[Row]) -> Outcome[Row, Any]:
    """Return the outcome of a row whose call was cancelled."""
    if not task.in_flight:
        return task.outcome(OutcomeStatus.NOT_SENT, error=NotSentError("the run was cut off before"))
    error = OutcomeUnknownError("the run was cut off before the answer was there", attempts=task.attempts)
    return task.outcome(OutcomeStatus.UNKNOWN, error=error)


async def claim_again(task: BulkRow[Row]) -> Outcome[Row, Any] | None:
    """Return what others made of a row, or None where it may be sent after all."""
    known = await task.journal.plan({task.key: (task.index, task.request)})
    return verdict_of_earlier_run(task, known.get(task.key))


def verdict_of_earlier_run(task: BulkRow[Row], entry: LedgerEntry | None) -> Outcome[Row, Any] | None:
    """Return the outcome of a row that must not be sent (again), or None for one that may be."""
    if entry is None or entry.may_be_sent:
        return None
    if entry.in_hand:
        return task.outcome(OutcomeStatus.CLAIMED, error=NotSentError("another run has this row in hand"))
    if entry.status is LedgerStatus.CREATED:
        return task.outcome(OutcomeStatus.ALREADY_DONE, interview_request_id=entry.interview_request_id)
    if entry.status is LedgerStatus.REJECTED:
        refusal = HindsightError(
            f"an earlier run sent it and the API said no ({entry.error_code})",
            attempts=entry.attempts,
            delivery=Delivery.REJECTED,
        )
        return task.outcome(OutcomeStatus.ALREADY_DONE, error=refusal)
    error = OutcomeUnknownError(
        "an earlier run sent it and had no answer; look it up, then resolve it in the ledger",
        attempts=entry.attempts or 1,
    )
    return task.outcome(OutcomeStatus.UNKNOWN, error=error)
