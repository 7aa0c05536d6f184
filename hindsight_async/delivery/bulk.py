"""Many requests: each row is checked, written down, sent by a fixed set of workers, and gets a verdict."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from hindsight_async.call.execute import SendHooks
from hindsight_async.delivery.input import IncomingRows
from hindsight_async.delivery.ledger.entries import Journal
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus, counts_against_the_run, end_of_run
from hindsight_async.delivery.row import BulkRow, RowDelivery, cut_off, verdict_of_earlier_run
from hindsight_async.delivery.seen import SeenKeys
from hindsight_async.errors import BulkAbortedError, LedgerError

logger = logging.getLogger("hindsight_async.delivery")

Row = TypeVar("Row")
Response = TypeVar("Response")

DEFAULT_ABORT_AFTER_FAILURES = 20
"""So many rows in a row without a success end the run."""

_BLOCK_IS_MISSING = (
    "a bulk run is iterated inside its block, which ends it: async with ...create_many(...) as run: "
    "async for outcome in run: ..."
)

ROWS_PER_IN_FLIGHT = 2
"""How many rows are taken from the input, and not yet handed out as outcomes, per request in flight."""

MOST_ROWS_AHEAD = 500
"""How many rows more are looked up at once while an earlier run has done them all, so that resuming is quick."""


class BulkRun(Generic[Row, Response]):
    """A run over many rows; iterate it for their outcomes, in the order in which they end.

    It runs inside `async with`, and that block can be left early: then it takes no more rows, lets calls in flight
    finish, and records them. Cancelled while it waits for these, it cuts them off; the block ends when the ledger
    is closed, however often it is cancelled. `counts` has the number of outcomes by status. What ends the whole run
    (a refused key, an exhausted quota, too many failures in a row, a ledger that cannot be written) is raised once,
    after the rows in flight are recorded. An exception of somebody else's code ends only its row.

    Raises:
        RuntimeError: It is iterated before its block is entered, or entered twice.
        HindsightError: What ended the run.

    """

    def __init__(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        key_of: Callable[[Row], str],
        open_session: Callable[[], None],
        send: Callable[[Row, SendHooks], Awaitable[Response]],
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
        self._open_session = open_session
        self._success = success
        self._delivery = RowDelivery(send, success, end_run=self._end_with)
        self._journal = journal
        self._max_in_flight = max_in_flight
        self._abort_after_failures = abort_after_failures
        self._room = asyncio.Semaphore(ROWS_PER_IN_FLIGHT * max_in_flight)
        self._todo: asyncio.Queue[BulkRow[Row] | None] = asyncio.Queue()
        self._outcomes: asyncio.Queue[tuple[Outcome[Row, Response], bool] | None] = asyncio.Queue()
        self._supervisor: asyncio.Task[None] | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._stopping = False
        self._at_work: dict[asyncio.Task[None], BulkRow[Row]] = {}
        self._failures_in_a_row = 0
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        if self._supervisor is not None:
            raise RuntimeError("a bulk run has one block: make another run for another")
        # First, so that a missing key is said once and of the session, and not of every row.
        self._open_session()
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
        elif isinstance(self._failure, LedgerError):
            logger.error("%s", self._failure)  # nobody else says it: what is raised already goes on

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[Row, Response]:
        if self._supervisor is None:
            # Left by `break`, it would go on with nobody to stop it.
            raise RuntimeError(_BLOCK_IS_MISSING)
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
        cancelled: asyncio.CancelledError | None = None
        while not self._supervisor.done():
            try:
                await asyncio.wait([self._supervisor])
            except asyncio.CancelledError as error:
                # Once is enough: what it does from then on is short, and leaves nothing behind.
                if cancelled is None:
                    self._supervisor.cancel()
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def begin_stop(self) -> None:
        """Take no more rows, as `stop` does, and do not wait for those in flight."""
        self._halt()

    def _halt(self) -> None:
        self._stopping = True
        if self._feeder is not None:
            self._feeder.cancel()
        for worker, task in self._at_work.items():
            # What has not left, or provably came to nothing, is not in flight: it does not leave any more.
            if not (task.in_flight or task.given_up):
                task.given_up = True
                worker.cancel()

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
            except Exception as error:  # noqa: BLE001  whoever iterates is told of it
                self._end_with(error)
            finally:
                unrecorded = self._delivery.unrecorded(self._journal.recorded_late)
                self._failure = end_of_run(self._failure, unrecorded)
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
        except Exception as error:  # noqa: BLE001  those in flight are to end as if the input had
            self._end_with(error)

    async def _next_batch(self, index: int, ahead: int) -> list[BulkRow[Row]]:
        """Wait for one row, and take as many more as there is room for, and so many ahead, that come at once."""
        batch: list[BulkRow[Row]] = []
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
                batch.append(
                    BulkRow(index + len(batch), self._key_of(request), request, is_ahead, self._journal)
                )
            except StopAsyncIteration:
                break
            except Exception as error:  # noqa: BLE001  the caller's own iterable failed; nothing is being sent here
                self._end_with(error)
                break
        return batch

    async def _admit(self, batch: list[BulkRow[Row]], seen: SeenKeys) -> bool:
        """Let new rows through to the workers, and give the others their verdict; return whether any was new."""
        any_to_send = False
        new: dict[str, BulkRow[Row]] = {}
        for task in batch:
            first = seen.first_index(task.key, task.index)
            if first == task.index:
                new[task.key] = task
            else:
                self._deliver(task, task.outcome(OutcomeStatus.DUPLICATE, duplicate_of=first))
        known = await self._journal.plan({key: (task.index, task.request) for key, task in new.items()})
        for key, task in new.items():
            verdict = verdict_of_earlier_run(task, known.get(key))
            if verdict is None:
                any_to_send = True
                self._todo.put_nowait(task)
            else:
                self._deliver(task, verdict)
        return any_to_send

    # Rows go out

    async def _work(self) -> None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        while (task := await self._todo.get()) is not None:
            if self._stopping:
                continue
            self._at_work[worker] = task
            try:
                outcome = await self._delivery.deliver(task)
            except asyncio.CancelledError:
                # Cut off: only one that had left, and whose answer is not there, is in doubt.
                outcome = task.verdict or cut_off(task)
                if worker.cancelling() > task.given_up:
                    self._deliver(task, outcome)
                    raise
                # Given up; or nobody cancelled this worker, but code that it called raised it.
                if task.given_up:
                    worker.uncancel()
            del self._at_work[worker]
            self._deliver(task, outcome)
            self._judge_the_run(outcome)

    def _judge_the_run(self, outcome: Outcome[Row, Response]) -> None:
        if outcome.status is self._success:
            self._failures_in_a_row = 0
        if not counts_against_the_run(outcome):
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self._abort_after_failures:
            self._end_with(
                BulkAbortedError(
                    f"{self._failures_in_a_row} rows in a row failed, so the rest was not begun; the last: {outcome.error}",
                    attempts=outcome.attempts,
                )
            )

    def _deliver(self, task: BulkRow[Row], outcome: Outcome[Row, Response]) -> None:
        self.counts[outcome.status] += 1
        self._outcomes.put_nowait((outcome, task.ahead))
