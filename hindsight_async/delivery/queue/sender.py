"""What a queue does in the background while its block is open: take what is due, send it, say what became of it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Generic, TypeVar, cast

from attrs import evolve

from hindsight_async.delivery.failures import FailuresInARow
from hindsight_async.delivery.ledger.queue_rows import Backlog, DueRow
from hindsight_async.delivery.ledger.run import LedgerRun
from hindsight_async.delivery.network import NetworkWait
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.delivery.queue.pauses import is_passing, pauses_the_queue
from hindsight_async.delivery.queue.queued_row import Clock, OnOutcome, QueuedRow, tell
from hindsight_async.delivery.row import deliver
from hindsight_async.delivery.row_kind import RowKind, Send
from hindsight_async.errors import HindsightError, LedgerError, SessionClosedError

logger = logging.getLogger("hindsight_async.delivery")

Request = TypeVar("Request")
Response = TypeVar("Response")

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the ledger: rows whose pause is over, other processes' rows, a pause that was lifted."""

LEDGER_PAUSE: Final = 5.0
"""Seconds until a ledger that could not serve is asked again."""

ROWS_PER_IN_FLIGHT: Final = 2
"""How many rows are claimed and not yet through, per request in flight; the rest stays free for other processes."""


class Sender(Generic[Request, Response]):
    """Sends what is due from the rows of one ledger run; owned by a queue, which awaits `run`.

    Args:
        kind: What the resource says about such rows.
        send: Sends one.
        ledger_run: Where the rows are.
        max_in_flight: How many requests may be under way at a time.
        abort_after_failures: So many rows in a row without a success pause the queue.
        max_age: How long a row may have been queued.
        on_outcome: Is told what became of each row; None for nobody.
        now: Returns the time as an aware datetime.
        random: Returns a number in [0, 1).

    """

    def __init__(
        self,
        kind: RowKind[Request, Response],
        send: Send[Request, Response],
        ledger_run: LedgerRun,
        *,
        max_in_flight: int,
        abort_after_failures: int,
        max_age: timedelta,
        on_outcome: OnOutcome | None,
        now: Clock,
        random: Callable[[], float],
    ) -> None:
        self._kind = kind
        self._send = send
        self._ledger_run = ledger_run
        self._max_in_flight = max_in_flight
        self._abort_after_failures = abort_after_failures
        self._max_age = max_age
        self._on_outcome = on_outcome
        self._now = now
        self._random = random
        self._todo: asyncio.Queue[QueuedRow[Request, Response] | None] = asyncio.Queue()
        """Claimed rows, and one None for each worker at the end."""
        self._claimed = 0
        """How many rows are claimed and not yet through."""
        self._at_work: dict[asyncio.Task[None], QueuedRow[Request, Response]] = {}
        """Which row each worker is at."""
        self._stopping = False
        self._news = asyncio.Event()
        """Something changed that whoever looks every `LOOK_EVERY` seconds wants to know sooner."""
        self._failures = FailuresInARow(abort_after_failures)
        self._admitted = 0
        """How many rows were claimed, which numbers them."""
        self._network = NetworkWait(None)
        """Which comes back by itself, however long it takes: nobody has to lift anything then."""
        self.backlog = Backlog()
        """As the ledger was at the last look."""
        self.trouble: LedgerError | None = None
        """Why the ledger cannot serve right now."""
        self._said_trouble = False
        """Whether that was logged since a row last went through."""
        self._last_error: str | None = None

    @property
    def in_flight(self) -> int:
        """How many requests may have left and have no outcome yet."""
        return sum(row.in_flight for row in self._at_work.values())

    @property
    def is_idle(self) -> bool:
        """Whether no row is claimed."""
        return not self._claimed

    @property
    def last_error(self) -> str | None:
        """What the last row met that did not succeed, or why none leaves; None once one succeeds."""
        return self._last_error if self._network.error is None else self._network.error.summary

    def wake(self) -> None:
        """Look at once: something was put."""
        self._news.set()

    def stop(self) -> None:
        """Take no more rows, and keep back what has not left; what is in flight ends and is recorded."""
        self._stopping = True
        self._give_up_unsent()
        self._news.set()

    async def run(self) -> None:
        """Own the feeder and the workers from their start until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed()).add_done_callback(self._dismiss_workers)
            for _ in range(self._max_in_flight):
                group.create_task(self._work())

    def _dismiss_workers(self, _feeder: object) -> None:
        for _ in range(self._max_in_flight):
            self._todo.put_nowait(None)

    async def look(self) -> Backlog:
        """Ask the ledger what is still to be sent.

        Raises:
            LedgerError: It cannot serve.

        """
        self.backlog = await self._ledger_run.queue.backlog()
        return self.backlog

    # Rows come in

    async def _feed(self) -> None:
        while not self._stopping:
            self._news.clear()
            self.trouble = None
            try:
                await self._take_due()
            except LedgerError as error:
                self._is_in_trouble(error)
            await self._wait_for_news(LOOK_EVERY)
            ends_at = asyncio.get_running_loop().time() + LEDGER_PAUSE
            while (
                self.trouble is not None
                and not self._stopping
                and ends_at > asyncio.get_running_loop().time()
            ):
                # Whatever else is new, such as rows that it could not mark either, waits too.
                self._news.clear()
                await self._wait_for_news(ends_at - asyncio.get_running_loop().time())

    def _is_in_trouble(self, error: LedgerError) -> None:
        if not self._said_trouble:
            logger.error("the queue sends nothing for now: %s", error)
        self._said_trouble, self.trouble = True, error

    async def _take_due(self) -> None:
        backlog = await self.look()
        if backlog.paused_because is not None:
            self._give_up_unsent()
            return
        room = ROWS_PER_IN_FLIGHT * self._max_in_flight - self._claimed
        # Half of it at a time: each time costs a transaction.
        if not backlog.queued or room < self._max_in_flight:
            return
        due, expired = await self._ledger_run.queue.claim_due(room, self._now() - self._max_age)
        if expired:
            logger.warning(
                "%d queued rows are older than %s and will not be sent by themselves", expired, self._max_age
            )
        for each in due:
            self._admit(each)

    def _admit(self, due: DueRow) -> None:
        try:
            request = self._kind.request_of(due.body)
        except (TypeError, ValueError) as error:
            # Written by another version, which allowed what this one refuses; it expires.
            logger.error("row %s of the queue cannot be sent: %s", due.entry.key, error)  # noqa: TRY400  no bug here
            return
        self._claimed += 1
        self._admitted += 1
        self._todo.put_nowait(
            QueuedRow(
                self._kind, self._admitted, request, self._ledger_run,
                due=due, now=self._now, random=self._random,
            )
        )  # fmt: skip

    async def _wait_for_news(self, seconds: float) -> None:
        waiting = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait([waiting], timeout=seconds)
        finally:
            waiting.cancel()

    # Rows go out

    async def _work(self) -> None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        while (row := await self._todo.get()) is not None:
            try:
                if self._stopping or self.trouble or self.backlog.paused_because is not None:
                    await self._let_go(row)
                    continue
                outcome = await self._deliver(worker, row)
                await self._see_to(row, outcome)
            finally:
                self._claimed -= 1
                if self._claimed <= self._max_in_flight:
                    self._news.set()

    async def _deliver(
        self, worker: asyncio.Task[None], row: QueuedRow[Request, Response]
    ) -> Outcome[Request, Response]:
        self._at_work[worker] = row
        try:
            return await deliver(row, self._send, self._network)
        except asyncio.CancelledError:
            if worker.cancelling() > row.given_up:
                raise
            # Given up; or nobody cancelled this worker, but code that it called raised it.
            if row.given_up:
                worker.uncancel()
            return row.outcome or row.cut_off()
        finally:
            del self._at_work[worker]

    async def _see_to(self, row: QueuedRow[Request, Response], outcome: Outcome[Request, Response]) -> None:
        if row.unrecorded is not None:
            logger.error(
                "row %s of the queue ended as %s, unrecorded: %s", row.key, outcome.status, row.unrecorded
            )
        if not row.given_up:
            self._last_error = None if outcome.error is None else outcome.error.summary
        if outcome.status is self._kind.success:
            self._said_trouble = False
        if isinstance(outcome.error, SessionClosedError):
            self.stop()
        elif isinstance(outcome.error, LedgerError):
            self._is_in_trouble(outcome.error)
        elif pauses_the_queue(outcome, creating=self._kind.is_create):
            await self._pause(cast("HindsightError", outcome.error))
        elif too_many := self._too_many_failures(row, outcome):
            self._failures = FailuresInARow(self._abort_after_failures)
            await self._pause(too_many)
        if outcome.status is not OutcomeStatus.NOT_SENT:
            await tell(self._on_outcome, outcome, row.key)

    def _too_many_failures(
        self, row: QueuedRow[Request, Response], outcome: Outcome[Request, Response]
    ) -> HindsightError | None:
        if row.given_up or is_passing(outcome):
            return None
        return self._failures.take(outcome, self._at_work.values())

    async def _pause(self, why: HindsightError) -> None:
        because = why.summary
        if self.backlog.paused_because is None:
            self.backlog = evolve(self.backlog, paused_because=because, paused_at=self._now())
            logger.error("the queue is paused, until somebody lifts that: %s", because)
        self._give_up_unsent()
        try:
            await self._ledger_run.queue.pause(because)
        except LedgerError as error:
            self._is_in_trouble(error)
        self._news.set()

    def _give_up_unsent(self) -> None:
        for worker, row in self._at_work.items():
            row.at_its_last = True
            # What has not left, or provably came to nothing, is not in flight: it does not leave any more.
            if (
                not (row.in_flight or row.given_up)
                and row.outcome is None
                and worker is not asyncio.current_task()
            ):
                row.given_up = True
                worker.cancel()

    async def _let_go(self, row: QueuedRow[Request, Response]) -> None:
        try:
            await self._ledger_run.queue.let_go([row.key])
        except LedgerError as error:  # it is free when this run ends
            self._is_in_trouble(error)
