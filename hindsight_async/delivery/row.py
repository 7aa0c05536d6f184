"""One row of a bulk run on its way to its verdict."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Generic, TypeVar, cast

from attrs import define

from hindsight_async.call.answer import refusal_class
from hindsight_async.call.execute import SendHooks, unexpected
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus, RowJournal
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus, ends_the_run, status_of
from hindsight_async.errors import (
    Delivery,
    HindsightError,
    LedgerInUseError,
    NotSentError,
    OutcomeUnknownError,
)
from hindsight_async.resources.interviews.models import CreatedInterview, InterviewStatus

Row = TypeVar("Row")
Response = TypeVar("Response")

IN_HAND_SECONDS: Final = 5.0
"""When to ask again for a row that another call of this process is at, where no lease says how long it may be."""


@define(eq=False)
class BulkRow(Generic[Row]):
    """One row on its way; the executor tells it, and it tells the journal."""

    index: int
    key: str
    request: Row
    ahead: bool
    journal: RowJournal[Row]
    attempts: int = 0
    in_flight: bool = False
    given_up: bool = False
    verdict: Outcome[Row, Any] | None = None

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


def surprised(task: BulkRow[Row], surprise: Exception) -> Outcome[Row, Any]:
    """Return the outcome of a row whose call raised what nobody foresaw."""
    if not isinstance(surprise, HindsightError):
        surprise = unexpected(surprise, task.attempts, left=task.in_flight)
    status = OutcomeStatus.UNKNOWN if task.in_flight else OutcomeStatus.NOT_SENT
    return task.outcome(status, error=surprise)


async def claim_again(task: BulkRow[Row]) -> Outcome[Row, Any] | None:
    """Return what others made of a row, or None where it may be sent after all."""
    known = await task.journal.plan({task.key: (task.index, task.request)})
    return verdict_of_earlier_run(task, known.get(task.key))


def verdict_of_earlier_run(task: BulkRow[Row], entry: LedgerEntry | None) -> Outcome[Row, Any] | None:
    """Return the outcome of a row that must not be sent (again), or None for one that may be."""
    if entry is None or entry.may_be_sent:
        return None
    if entry.in_hand:
        retry_after = IN_HAND_SECONDS if entry.lease_seconds is None else max(0.0, entry.lease_seconds)
        in_use = LedgerInUseError(
            "another call or another run has this row in hand, and sends it unless it dies",
            retry_after=retry_after,
        )
        return task.outcome(OutcomeStatus.CLAIMED, error=in_use)
    if entry.status is LedgerStatus.CREATED:
        made = entry.interview_request_id
        return task.outcome(
            OutcomeStatus.ALREADY_DONE, response=_created_earlier(entry), interview_request_id=made
        )
    if entry.status is LedgerStatus.REJECTED:
        return task.outcome(OutcomeStatus.ALREADY_DONE, error=_refused_earlier(entry))
    return task.outcome(OutcomeStatus.UNKNOWN, error=_unknown_since_earlier(entry, task.request))


def _created_earlier(entry: LedgerEntry) -> CreatedInterview:
    return CreatedInterview(
        interview_request_id=cast("int", entry.interview_request_id),
        # None where a person said that it was created.
        contact_id=entry.contact_id,
        status=None if entry.interview_status is None else InterviewStatus(entry.interview_status),
        deal_id=entry.deal_id,
        created_now=False,
    )


def _refused_earlier(entry: LedgerEntry) -> HindsightError:
    said = entry.error_message or "the API said no"
    fields: dict[str, Any] = {
        "attempts": entry.attempts,
        "delivery": Delivery.REJECTED,
        "is_earlier": True,
    }
    if entry.http_status is None:  # a program of the user's own wrote it down
        return HindsightError(f"{said} ({entry.error_code})", **fields)
    return refusal_class(entry.http_status)(said, status=entry.http_status, code=entry.error_code, **fields)


def _unknown_since_earlier(entry: LedgerEntry, request: object) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"{entry.error_message or 'it was sent and had no answer'}; look it up, then resolve it in the ledger",
        status=entry.http_status,
        request=request,
        attempts=entry.attempts or 1,
        is_earlier=True,
        received=entry.received,
    )


class RowDelivery(Generic[Row, Response]):
    """Sends rows and writes down what became of each; what no other row would escape goes to `end_run`."""

    def __init__(
        self,
        send: Callable[[Row, SendHooks], Awaitable[Response]],
        success: OutcomeStatus,
        *,
        end_run: Callable[[Exception], None],
    ) -> None:
        self._send = send
        self._success = success
        self._end_run = end_run
        self._unrecorded: list[tuple[Outcome[Row, Response], Exception]] = []

    def unrecorded(self, recorded_late: Collection[str]) -> list[tuple[Outcome[Row, Response], Exception]]:
        """Return the outcomes of requests that left which could not be written down, each with the reason."""
        return [(outcome, error) for outcome, error in self._unrecorded if outcome.key not in recorded_late]

    async def deliver(self, task: BulkRow[Row]) -> Outcome[Row, Response]:
        """Send a row, write down what became of it, and return that; raises nothing but a cancellation."""
        creating = self._success is OutcomeStatus.CREATED
        try:
            response = await self._send(task.request, task)
        except LedgerInUseError:
            return await self._ask_again(task)
        except HindsightError as error:
            if ends_the_run(error, creating=creating):
                self._end_run(error)
            outcome = task.outcome(status_of(error, creating=creating), error=error)
        except Exception as surprise:  # noqa: BLE001  somebody else's code: this row's fault and no other's
            outcome = surprised(task, surprise)
        else:
            made: int | None = getattr(response, "interview_request_id", None)
            outcome = task.outcome(self._success, response=response, interview_request_id=made)
        task.verdict = outcome
        try:
            await task.journal.finished(outcome)
        except Exception as error:  # noqa: BLE001  whatever it is: what is not written down must not go on
            self._end_run(error)
            if outcome.status is not OutcomeStatus.NOT_SENT:
                self._unrecorded.append((outcome, error))
        return outcome

    async def _ask_again(self, task: BulkRow[Row]) -> Outcome[Row, Response]:
        """Return what became of a row that others took, since they took this run for dead; send it if it is free again."""
        try:
            verdict = await claim_again(task)
        except Exception as error:  # noqa: BLE001  as above
            self._end_run(error)
            return surprised(task, error)
        return verdict or await self.deliver(task)
