"""Many requests: each row is checked, written down, sent by a fixed set of workers, and gets a verdict."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from attrs import define

from hindsight_async.errors import BulkAbortedError, HindsightError, LedgerError, OutcomeUnknownError
from hindsight_async.incoming import IncomingRows
from hindsight_async.journal import Journal, LedgerEntry, LedgerStatus
from hindsight_async.outcomes import ENDS_THE_RUN, Outcome, OutcomeStatus, status_of
from hindsight_async.seen import SeenKeys

Row = TypeVar("Row")
Response = TypeVar("Response")

DEFAULT_ABORT_AFTER_FAILURES = 20
"""So many rows in a row without a success end the run."""

ROWS_PER_IN_FLIGHT = 2
"""How many rows are taken from the input, and not yet handed out as outcomes, per request in flight."""

MOST_ROWS_AHEAD = 500
"""How many rows more are looked up at once while an earlier run has done them all, so that resuming is quick."""

BeforeSend = Callable[[], Awaitable[None]]


@define
class _Task(Generic[Row]):
    index: int
    key: str
    request: Row
    ahead: bool = False
    attempts: int = 0


class BulkRun(Generic[Row, Response]):
    """A run over many rows; iterate it for their outcomes, in the order in which they end.

    As a context manager it can be left early: then it takes no more rows, lets calls in flight finish, and
    records them. `counts` has the number of outcomes by status. What ends the whole run (a refused key, an
    exhausted quota, too many failures in a row, a ledger that cannot be written) is raised once, after the rows
    in flight are recorded.
    """

    def __init__(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        key_of: Callable[[Row], str],
        send: Callable[[Row, BeforeSend], Awaitable[Response]],
        success: OutcomeStatus,
        journal: Journal[Row],
        max_in_flight: int,
        abort_after_failures: int,
    ) -> None:
        if type(abort_after_failures) is not int or abort_after_failures < 1:
            raise ValueError("abort_after_failures must be a whole number of at least 1")
        self.counts: Counter[OutcomeStatus] = Counter(dict.fromkeys(OutcomeStatus, 0))
        self._rows = IncomingRows(rows)
        self._key_of = key_of
        self._send = send
        self._success = success
        self._journal = journal
        self._max_in_flight = max_in_flight
        self._abort_after_failures = abort_after_failures
        self._room = asyncio.Semaphore(ROWS_PER_IN_FLIGHT * max_in_flight)
        self._todo: asyncio.Queue[_Task[Row] | None] = asyncio.Queue()
        self._outcomes: asyncio.Queue[tuple[Outcome[Row, Response], bool] | None] = asyncio.Queue()
        self._supervisor: asyncio.Task[None] | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._stopping = False
        self._failures_in_a_row = 0
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        await self._journal.open()
        self._supervisor = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        if exc is None:
            self._raise_failure()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[Row, Response]:
        if self._supervisor is None:
            await self.__aenter__()
        delivered = await self._outcomes.get()
        if delivered is None:
            self._outcomes.put_nowait(None)
            self._raise_failure()
            raise StopAsyncIteration
        outcome, was_ahead = delivered
        if not was_ahead:
            self._room.release()
        return outcome

    async def stop(self) -> None:
        """Take no more rows, let calls in flight finish, and record them.

        What they came to can still be iterated. Cancelled meanwhile, it cuts those calls off; the ledger then
        says that their outcome is unknown.
        """
        if self._supervisor is None:
            return
        self._halt()
        try:
            await asyncio.wait([self._supervisor])
        except asyncio.CancelledError:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            raise

    def _halt(self) -> None:
        self._stopping = True
        if self._feeder is not None:
            self._feeder.cancel()

    def _end_with(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
        self._halt()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _supervise(self) -> None:
        """Own the feeder and the workers from their start to their end."""
        try:
            async with asyncio.TaskGroup() as group:
                self._feeder = group.create_task(self._feed())
                self._feeder.add_done_callback(self._dismiss_workers)
                for _ in range(self._max_in_flight):
                    group.create_task(self._work())
        except BaseExceptionGroup as failures:
            self._end_with(failures.exceptions[0])
        finally:
            try:
                await self._journal.close()
            except LedgerError as error:
                self._end_with(error)
            self._outcomes.put_nowait(None)

    def _dismiss_workers(self, _feeder: object) -> None:
        # Called also where the feeder was cancelled before its first step.
        for _ in range(self._max_in_flight):
            self._todo.put_nowait(None)

    # Rows come in

    async def _feed(self) -> None:
        try:
            with SeenKeys() as seen:
                index = ahead = 0
                while not self._stopping and (batch := await self._next_batch(index, ahead)):
                    index = batch[-1].index + 1
                    any_to_send = await self._admit(batch, seen)
                    ahead = 0 if any_to_send else min(2 * len(batch), MOST_ROWS_AHEAD)
        except LedgerError as error:
            self._end_with(error)

    async def _next_batch(self, index: int, ahead: int) -> list[_Task[Row]]:
        """Wait for one row, and take as many more as there is room for, and so many ahead, that come at once."""
        batch: list[_Task[Row]] = []
        while not batch or self._rows.at_once:
            is_ahead = bool(batch) and self._room.locked()
            if is_ahead and not ahead:
                break
            if is_ahead:
                ahead -= 1
            else:
                await self._room.acquire()
            try:
                request = await anext(self._rows)
                batch.append(_Task(index + len(batch), self._key_of(request), request, is_ahead))
            except StopAsyncIteration:
                break
            except Exception as error:  # noqa: BLE001  the caller's own iterable failed; nothing is being sent here
                self._end_with(error)
                break
        return batch

    async def _admit(self, batch: list[_Task[Row]], seen: SeenKeys) -> bool:
        """Let new rows through to the workers, and give the others their verdict; return whether any was new."""
        any_to_send = False
        new: dict[str, _Task[Row]] = {}
        for task in batch:
            first = seen.first_index(task.key, task.index)
            if first == task.index:
                new[task.key] = task
            else:
                self._deliver(task, _outcome(task, OutcomeStatus.DUPLICATE, duplicate_of=first))
        known = await self._journal.plan({key: (task.index, task.request) for key, task in new.items()})
        for key, task in new.items():
            verdict = _verdict_of_earlier_run(task, known.get(key))
            if verdict is None:
                any_to_send = True
                self._todo.put_nowait(task)
            else:
                self._deliver(task, verdict)
        return any_to_send

    # Rows go out

    async def _work(self) -> None:
        while (task := await self._todo.get()) is not None:
            if self._stopping:
                continue
            outcome = await self._perform(task)
            try:
                await self._journal.finished(outcome)
            except LedgerError as error:
                self._end_with(error)
            self._deliver(task, outcome)
            self._judge_the_run(outcome)

    async def _perform(self, task: _Task[Row]) -> Outcome[Row, Response]:
        async def before_send() -> None:
            if task.attempts == 0:
                await self._journal.sending(task.key)
            task.attempts += 1

        try:
            response = await self._send(task.request, before_send)
        except HindsightError as error:
            if isinstance(error, ENDS_THE_RUN):
                self._end_with(error)
            return _outcome(task, status_of(error), error=error)
        interview_request_id: int | None = getattr(response, "interview_request_id", None)
        return _outcome(task, self._success, response=response, interview_request_id=interview_request_id)

    def _judge_the_run(self, outcome: Outcome[Row, Response]) -> None:
        if outcome.status is self._success:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self._abort_after_failures:
            self._end_with(
                BulkAbortedError(
                    f"{self._failures_in_a_row} rows in a row failed, so the rest was not begun; the last: {outcome.error}",
                    attempts=outcome.attempts,
                )
            )

    def _deliver(self, task: _Task[Row], outcome: Outcome[Row, Response]) -> None:
        self.counts[outcome.status] += 1
        self._outcomes.put_nowait((outcome, task.ahead))


def _outcome(task: _Task[Row], status: OutcomeStatus, **fields: Any) -> Outcome[Row, Any]:
    return Outcome(
        index=task.index, key=task.key, request=task.request, status=status, attempts=task.attempts, **fields
    )


def _verdict_of_earlier_run(task: _Task[Row], entry: LedgerEntry | None) -> Outcome[Row, Any] | None:
    """Return the outcome of a row that must not be sent (again), or None for one that may be."""
    if entry is None or entry.status in {LedgerStatus.PLANNED, LedgerStatus.NOT_SENT}:
        return None
    known = {"interview_request_id": entry.interview_request_id}
    if entry.status in {LedgerStatus.CREATED, LedgerStatus.REJECTED}:
        return _outcome(task, OutcomeStatus.ALREADY_DONE, **known)
    error = OutcomeUnknownError(
        "an earlier run sent it and had no answer; look it up, then resolve it in the ledger",
        attempts=entry.attempts or 1,
    )
    return _outcome(task, OutcomeStatus.UNKNOWN, error=error, **known)
