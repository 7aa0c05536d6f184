"""Many requests: each row is checked, written down, sent by a fixed set of workers, and gets a verdict."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from hindsight_async.delivery.claimed import ClaimedRows
from hindsight_async.delivery.failures import FailuresInARow
from hindsight_async.delivery.input import IncomingRows, SeenKeys
from hindsight_async.delivery.network import NetworkWait
from hindsight_async.delivery.options import DEFAULT_WAIT_FOR_NETWORK
from hindsight_async.delivery.outcomes import (
    Outcome,
    OutcomeStatus,
    counts_against_the_run,
    end_of_run,
    ends_the_run,
)
from hindsight_async.delivery.row import Row, claim, deliver
from hindsight_async.delivery.row_kind import RowKind, Send
from hindsight_async.errors import LedgerError
from hindsight_async.shielding import until_ended

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.ledger import Ledger
    from hindsight_async.delivery.ledger.run import LedgerRun

logger = logging.getLogger("hindsight_async.delivery")

Request = TypeVar("Request")
Response = TypeVar("Response")


ROWS_PER_IN_FLIGHT = 2
"""How many rows are taken from the input, and not yet handed out as outcomes, per request in flight."""


class BulkRun(Generic[Request, Response]):
    """A run over many rows; iterate it for their outcomes, in the order in which they end.

    It runs inside `async with`, and that block can be left early: then it takes no more rows, lets calls in flight
    finish, and records them. Cancelled while it waits for these, it cuts them off; the block ends when the ledger
    is closed, however often it is cancelled. `counts` has the number of outcomes by status, and `network` says whether
    the network is gone. What ends the whole run (a refused key, an exhausted quota, too many failures in a row, a network
    that stays away, a ledger that cannot be written) is raised once, after the rows in flight are recorded. An exception
    of somebody else's code ends only its row.

    Args:
        rows: What to send, read as it goes.
        kind: What the resource says about such rows.
        send: Sends one.
        open_session: Raises what keeps every row from being sent.
        ledger: The memory beyond this run; None for none.
        max_in_flight: How many requests may be under way at a time.
        abort_after_failures: So many rows in a row without a success end the run; what failed together counts once.
        wait_for_network: Seconds that a network which is gone is waited for; 0 for not at all, None for no end.

    Raises:
        RuntimeError: It is iterated before its block is entered, or entered twice.
        HindsightError: What ended the run.

    """

    def __init__(
        self,
        rows: Iterable[Request] | AsyncIterable[Request],
        kind: RowKind[Request, Response],
        send: Send[Request, Response],
        *,
        open_session: Callable[[], None],
        ledger: "Ledger | None",
        max_in_flight: int,
        abort_after_failures: int,
        wait_for_network: float | None = DEFAULT_WAIT_FOR_NETWORK,
    ) -> None:
        self.counts: Counter[OutcomeStatus] = Counter(dict.fromkeys(OutcomeStatus, 0))
        self._rows = IncomingRows(rows, places=ROWS_PER_IN_FLIGHT * max_in_flight)
        self._kind = kind
        self._send = send
        self._open_session = open_session
        self._ledger = ledger
        self._ledger_run: LedgerRun | None = None
        self._ledger_block = AsyncExitStack()
        """Ends the ledger run, where there is one, once all rows are through."""
        self._max_in_flight = max_in_flight
        self._failures = FailuresInARow(abort_after_failures)
        self.network = NetworkWait(wait_for_network)
        """Whether it is gone, and for how long."""
        self._todo: asyncio.Queue[Row[Request, Response] | None] = asyncio.Queue()
        """Claimed rows, and one None for each worker at the end."""
        self._outcomes: asyncio.Queue[tuple[Outcome[Request, Response], bool] | None] = asyncio.Queue()
        """What is to be handed out, with whether its row was `ahead` and so has no place to give back; None at the end."""
        self._claimed: ClaimedRows[Request, Response] = ClaimedRows(self._rows)
        self._supervisor: asyncio.Task[None] | None = None
        """Owns the feeder and the workers, and closes the ledger; None before the block is entered."""
        self._feeder: asyncio.Task[None] | None = None
        self._stopping = False
        """Whether no more rows are to be taken or sent."""
        self._at_work: dict[asyncio.Task[None], Row[Request, Response]] = {}
        """Which row each worker is at."""
        self._unrecorded: dict[str, tuple[Outcome[Request, Response], Exception]] = {}
        """Outcomes of requests that left which could not be written down, each with the reason, by the ledger's keys."""
        self._failure: BaseException | None = None
        """What ended the run; None where its input did, and once it was raised."""

    async def __aenter__(self) -> Self:
        if self._supervisor is not None:
            raise RuntimeError("a bulk run has one block: make another run for another")
        # First, so that a missing key is said once and of the session, and not of every row.
        self._open_session()
        if self._ledger is not None:
            self._ledger_run = await self._ledger_block.enter_async_context(self._ledger.run())
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

    async def __anext__(self) -> Outcome[Request, Response]:
        if self._supervisor is None:
            # Left by `break`, it would go on with nobody to stop it.
            raise RuntimeError(
                "a bulk run is iterated inside its block, which ends it: async with ...create_many(...) as run: "
                "async for outcome in run: ..."
            )
        delivered = await self._outcomes.get()
        if delivered is None:
            self._outcomes.put_nowait(None)
            self._raise_failure()
            raise StopAsyncIteration
        outcome, was_ahead = delivered
        if not was_ahead:
            self._rows.give_back()
        return outcome

    async def stop(self) -> None:
        """Take no more rows, let calls in flight finish, and record them.

        What they came to can still be iterated. Cancelled meanwhile, it cuts those calls off; the ledger then
        says that their outcome is unknown.
        """
        if self._supervisor is None:
            return
        self.begin_stop()
        # What is cut off records its rows and closes the ledger, without which the next run would find that taken.
        await until_ended(self._supervisor)

    def begin_stop(self) -> None:
        """Take no more rows, as `stop` does, and do not wait for those in flight."""
        self._stopping = True
        if self._feeder is not None:
            self._feeder.cancel()
        for worker, row in self._at_work.items():
            row.at_its_last = True
            # What has not left, or provably came to nothing, is not in flight: it does not leave any more.
            if not (row.in_flight or row.given_up):
                row.given_up = True
                worker.cancel()

    def _end_with(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
        self.begin_stop()

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
            for row, outcome in self._claimed.end():
                self._hand_out(row, outcome)
            try:
                await self._ledger_block.aclose()
            except Exception as error:  # noqa: BLE001  whoever iterates is told of it
                self._end_with(error)
            finally:
                # There may have been room on the disk again by the end.
                late = self._ledger_run.recorded_late if self._ledger_run else ()
                unrecorded = [each for key, each in self._unrecorded.items() if key not in late]
                self._failure = end_of_run(self._failure, unrecorded)
                self._outcomes.put_nowait(None)

    def _dismiss_workers(self, _feeder: object) -> None:
        # Called also where the feeder was cancelled before its first step.
        for _ in range(self._max_in_flight):
            self._todo.put_nowait(None)

    async def _feed(self) -> None:
        try:
            with SeenKeys() as seen:
                index, any_to_send = 0, True
                while not self._stopping and (taken := await self._rows.next_batch(ahead=not any_to_send)):
                    batch = [
                        Row(self._kind, number, request, self._ledger_run, is_ahead)
                        for number, (request, is_ahead) in enumerate(taken, index)
                    ]
                    index += len(batch)
                    any_to_send = await self._admit(batch, seen)
            async for row in self._claimed.ask_again():
                self._pass_on(row)
        except Exception as error:  # noqa: BLE001  those in flight are to end as if the input had
            self._end_with(error)

    async def _admit(self, batch: list[Row[Request, Response]], seen: SeenKeys) -> bool:
        """Let new rows through to the workers, and hand out the others' outcomes; return whether any was new."""
        new: list[Row[Request, Response]] = []
        for row in batch:
            first = seen.first_index(row.key, row.index)
            if first == row.index:
                new.append(row)
            else:
                self._hand_out(row, row.ends_as(OutcomeStatus.DUPLICATE, duplicate_of=first))
        await claim(new)
        return sum(map(self._pass_on, new)) > 0

    def _pass_on(self, row: Row[Request, Response]) -> bool:
        """Let one row through, or hand out its outcome; return whether it is to be sent."""
        if row.outcome is not None:
            self._hand_out(row, row.outcome)
            return False
        self._todo.put_nowait(row)
        return True

    async def _work(self) -> None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        while (row := await self._todo.get()) is not None:
            if self._stopping:
                continue
            self._at_work[worker] = row
            try:
                outcome = await deliver(row, self._send, self.network)
            except asyncio.CancelledError:
                outcome = row.outcome or row.cut_off()
                if worker.cancelling() > row.given_up:
                    self._finish(row, outcome)
                    raise
                # Given up; or nobody cancelled this worker, but code that it called raised it.
                if row.given_up:
                    worker.uncancel()
            del self._at_work[worker]
            self._finish(row, outcome)
            if too_many := self._failures.take(outcome, self._at_work.values()):
                self._end_with(too_many)

    def _finish(self, row: Row[Request, Response], outcome: Outcome[Request, Response]) -> None:
        """Hand the outcome of a row out, and end the run where no other row would escape what it met."""
        if self.network.given_up is not None:
            self._end_with(self.network.given_up)
        error, creating = outcome.error, self._kind.is_create
        if error is not None and counts_against_the_run(outcome) and ends_the_run(error, creating=creating):
            self._end_with(error)
        if row.unrecorded is not None:
            # What is not written down must not go on.
            self._end_with(row.unrecorded)
            if outcome.status is not OutcomeStatus.NOT_SENT:
                self._unrecorded[row.key] = (outcome, row.unrecorded)
        self._hand_out(row, outcome)

    def _hand_out(self, row: Row[Request, Response], outcome: Outcome[Request, Response]) -> None:
        if not self._claimed.keep(row, outcome):
            self.counts[outcome.status] += 1
            self._outcomes.put_nowait((outcome, row.ahead))
