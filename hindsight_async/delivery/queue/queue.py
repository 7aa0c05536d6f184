"""A durable queue: what is put is on disk at once, and goes out at the speed of the plan, once."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from attrs import evolve

from hindsight_async.delivery.keys import caller_key_hash, checked_caller_key
from hindsight_async.delivery.ledger import queue_from_outside
from hindsight_async.delivery.ledger.entries import LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.queue_rows import Backlog, Stored
from hindsight_async.delivery.queue.models import Accepted, QueueSnapshot
from hindsight_async.delivery.queue.queued_row import OnOutcome
from hindsight_async.delivery.queue.sender import Sender
from hindsight_async.delivery.row_kind import RowKind, Send
from hindsight_async.errors import QueuePausedError, SessionClosedError, WaitTimeoutError
from hindsight_async.shielding import until_ended

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.run import LedgerRun

logger = logging.getLogger("hindsight_async.delivery")

Request = TypeVar("Request")
Response = TypeVar("Response")

DRAINED_WITHIN: Final = 0.5
"""Seconds between two looks at whether a queue that is waited for is empty."""

MINUTE: Final = 60.0


class DurableQueue(Generic[Request, Response]):
    """A queue in a ledger, used inside `async with`; made by `Interviews.queue`.

    While the block is open, what is queued is sent in the background, by this process and by any other that has the
    same queue open: each row once, with the same rule as a bulk run. Leaving the block lets calls in flight finish and
    keeps the rest for whoever opens the queue next. Cancelled while it waits for these, it cuts them off; they are
    `unknown` then.

    Args:
        kind: What the resource says about such rows.
        send: Sends one.
        check: Raises what forbids that a request is sent at all.
        open_session: Raises what keeps every row from being sent; None to only accept, and leave the sending to others.
        ledger: Where the rows are kept.
        limit: Returns the plan's requests per minute.
        max_in_flight: How many requests may be under way at a time.
        abort_after_failures: So many rows in a row without a success pause the queue.
        max_age: How long a row may have been queued.
        on_outcome: Is told what became of each row; None for nobody.

    """

    def __init__(
        self,
        kind: RowKind[Request, Response],
        send: Send[Request, Response],
        *,
        check: Callable[[Request], None],
        open_session: Callable[[], None] | None,
        ledger: Ledger,
        limit: Callable[[], int],
        max_in_flight: int,
        abort_after_failures: int,
        max_age: timedelta,
        on_outcome: OnOutcome | None,
    ) -> None:
        self._kind = kind
        self._send = send
        self._check = check
        self._open_session = open_session
        self._ledger = ledger
        self._limit = limit
        self._max_in_flight = max_in_flight
        self._abort_after_failures = abort_after_failures
        self._max_age = max_age
        self._on_outcome = on_outcome
        self._block = AsyncExitStack()
        """Ends the ledger run, where this process sends."""
        self._is_open = False
        self._ledger_run: LedgerRun | None = None
        self._sender: Sender[Request, Response] | None = None
        self._sending: asyncio.Task[None] | None = None

    @property
    def ledger_run(self) -> "LedgerRun":
        """The ledger while the block is open and this process sends, for single calls; RuntimeError where it is not."""
        if self._ledger_run is None:
            raise RuntimeError(
                "a queue has a ledger for other calls inside its block, where it sends (not with send=False)"
            )
        return self._ledger_run

    async def __aenter__(self) -> Self:
        if self._is_open:
            raise RuntimeError("a queue has one block: make another queue for another")
        if self._open_session is None:
            await queue_from_outside.make(self._ledger)
        else:
            self._open_session()
            await self._begin_sending()
        self._is_open = True
        return self

    async def _begin_sending(self) -> None:
        run = self._ledger_run = await self._block.enter_async_context(self._ledger.run())
        try:
            sender = Sender(
                self._kind, self._send, run, max_in_flight=self._max_in_flight,
                abort_after_failures=self._abort_after_failures, max_age=self._max_age,
                on_outcome=self._on_outcome, now=self._ledger.now, random=random.random,
            )  # fmt: skip
            expired = await run.queue.expire(self._ledger.now() - self._max_age)
            self._say_what_will_be_sent(await sender.look(), expired)
        except BaseException:
            await self._block.aclose()
            raise
        self._sender = sender
        self._sending = asyncio.create_task(sender.run())
        self._sending.add_done_callback(_report)

    def _say_what_will_be_sent(self, backlog: Backlog, expired: int) -> None:
        name, paused = self._ledger.name, backlog.paused_because
        will = f"and not sent, for it is paused: {paused}" if paused else "and will be sent"
        logger.info("queue %s: %d rows are queued %s", name, backlog.queued, will)
        if expired:
            logger.warning(
                "queue %s: %d rows are older than %s and will not be sent by themselves",
                name,
                expired,
                self._max_age,
            )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        sender, self._sender = self._sender, None
        try:
            if sender is not None and self._sending is not None:
                sender.stop()
                await until_ended(self._sending)
        finally:
            self._ledger_run = None
            await self._block.aclose()
        if self._sending is not None and not self._sending.cancelled():
            self._sending.result()  # raises what ended it

    async def put(self, request: Request, *, key: str | None = None) -> Accepted:
        """Queue one request; as `put_many`, with a key of the caller's own, or None for that of the request."""
        (accepted,) = await self.put_many([request], key_of=None if key is None else lambda _: key)
        return accepted

    async def put_many(
        self, requests: Iterable[Request], *, key_of: Callable[[Request], str] | None = None
    ) -> list[Accepted]:
        """Queue requests; all are on disk when it returns, or none where one is refused.

        Args:
            requests: What is to be sent.
            key_of: Returns the caller's own key for a request, such as the ids of a deal and a contact; without it two
                requests are the same that would make the same interview.

        Returns:
            What the queue says of each, in their order.

        Raises:
            TypeError: A request or a key is of another type.
            ValueError: A key is none that can be stored.
            RecipientNotAllowedError: A contact may not be emailed.
            LedgerError: The ledger cannot be written; nothing of the last transaction was stored.
            RuntimeError: The block is not open.

        """
        if not self._is_open:
            raise RuntimeError("put inside the queue's block: async with ...queue(...) as queue")
        rows = [self._row_of(request, key_of) for request in requests]
        if not rows:
            return []
        if self._ledger_run is None:
            met = await queue_from_outside.put(self._ledger, rows, self._kind.once_within)
        else:
            met = await self._ledger_run.queue.put(rows, self._kind.once_within)
        if self._sender is not None:
            self._sender.wake()
        return list(_accepted(rows, met))

    def _row_of(self, request: Request, key_of: Callable[[Request], str] | None) -> LedgerRow:
        key = self._kind.key_of(request)
        self._check(request)
        row = evolve(self._kind.ledger_row(key, 0, request), request=self._kind.body_of(request))
        if key_of is None:
            return row
        own = checked_caller_key(key_of(request))
        return evolve(row, key=caller_key_hash(own), caller_key=own)

    def snapshot(self) -> QueueSnapshot:
        """Tell how things stand, as of at most `LOOK_EVERY` seconds ago; only where this process sends.

        Raises:
            RuntimeError: The block is not open, or the queue only accepts here.

        """
        sender, sending = self._sender, self._sending
        if sender is None or sending is None:
            raise RuntimeError("a queue is looked at inside its block, where it sends (not with send=False)")
        backlog, in_flight = sender.backlog, sender.in_flight
        return QueueSnapshot(
            queued=backlog.queued,
            in_flight=in_flight,
            oldest=backlog.oldest,
            is_sending=not sending.done(),
            paused_because=backlog.paused_because,
            paused_at=backlog.paused_at,
            trouble=None if sender.trouble is None else sender.trouble.summary,
            last_error=sender.last_error,
            seconds_to_empty=MINUTE * (backlog.queued + in_flight) / self._limit(),
        )

    async def drain(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  of the public surface
        """Wait until nothing is queued and nothing in flight, whoever sends it.

        Args:
            timeout: Seconds; None for no end.

        Raises:
            QueuePausedError: The queue is paused; its rows stay.
            WaitTimeoutError: It was not empty in time; `last` is how many rows are queued.
            LedgerError: The ledger cannot be read.
            SessionClosedError: The session was closed, so that nothing is sent any more.
            RuntimeError: The block is not open.

        """
        backlog = Backlog()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    backlog = await self._look()
                    is_idle = self._sender is None or self._sender.is_idle
                    if not backlog.queued and not backlog.sending and is_idle:
                        return
                    if backlog.paused_because is not None:
                        raise QueuePausedError(f"the queue is paused: {backlog.paused_because}")
                    await asyncio.sleep(DRAINED_WITHIN)
        except TimeoutError:
            raise WaitTimeoutError(
                f"{backlog.queued} rows are still queued after {timeout} s", last=backlog.queued
            ) from None

    async def _look(self) -> Backlog:
        if not self._is_open:
            raise RuntimeError("drain inside the queue's block: async with ...queue(...) as queue")
        if self._sender is None or self._sending is None:
            return await queue_from_outside.backlog(self._ledger)
        if self._sending.done():
            self._sending.result()  # raises what ended it, where that is a mistake in this package
            raise SessionClosedError("the queue sends no more, since its session was closed")
        return await self._sender.look()


def _report(sending: asyncio.Task[None]) -> None:
    if not sending.cancelled() and (error := sending.exception()) is not None:
        logger.error("the queue sends no more", exc_info=error)


def _accepted(rows: Sequence[LedgerRow], met: Stored) -> Iterable[Accepted]:
    made: set[str] = set()
    for row in rows:
        key, entry = row.caller_key or row.key, met.known.get(row.key)
        if entry is None:
            status = LedgerStatus.DUPLICATE if row.key in met.held_back else LedgerStatus.QUEUED
            yield Accepted(key=key, is_new=row.key not in made, status=status)
            made.add(row.key)
        else:
            yield Accepted(
                key=key, is_new=False, status=entry.status, interview_request_id=entry.interview_request_id
            )
