"""The loop of one call: permit, send, judge, then return, raise, or wait and try again."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from copy import copy
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hindsight_async.call.answer import judge
from hindsight_async.call.answered import with_http
from hindsight_async.call.failure import after, may_have_left, on_behalf_of, too_late_for_another, unexpected
from hindsight_async.call.observer import Observer
from hindsight_async.call.options import UNCHANGED, Timeouts
from hindsight_async.call.request import Call, Multipart, Reply
from hindsight_async.call.retry import RetryPolicy, pause_before_next
from hindsight_async.call.streaming import ReplyStream, StreamPlaces
from hindsight_async.call.transport import Transport
from hindsight_async.errors import (
    DeadlineExceededError,
    Delivery,
    HindsightError,
    NotSentError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitExceededError,
    RedisRefusedError,
    SessionClosedError,
    WrongEventLoopError,
)
from hindsight_async.rate import BudgetClient, Lane
from hindsight_async.rate.client import Permit

if TYPE_CHECKING:
    from hindsight_async.call.observer import OnEvent

T = TypeVar("T")

_NO_PERMIT = (
    DeadlineExceededError,
    QuotaExceededError,
    RedisRefusedError,
    SessionClosedError,
    WrongEventLoopError,
)
"""What keeps an attempt from leaving, and so says nothing of what those before it did."""


class SendHooks(Protocol):
    """Is told when a request is about to leave, and when one came to nothing and is to be sent again."""

    async def about_to_send(self) -> None:
        """Be told each time just before the request leaves; what this raises keeps it from leaving."""
        ...

    async def not_processed(self) -> None:
        """Be told that it will be sent again later, since nothing came of it."""
        ...


class Executor:
    """Takes calls through the budget and the transport until each has an answer or a final error.

    Args:
        transport: Sends a call once.
        client: Says when a request may leave.
        policy: How often and how patiently a call is sent again.
        deadline: What the session was given: seconds from the start of a call, None for none. Kept for who makes calls.
        random: Returns a number in [0, 1).
        wall_clock: Returns the local time, aware.
        on_event: Told of what happens to each call; None for nobody.

    """

    def __init__(
        self,
        transport: Transport,
        client: BudgetClient,
        *,
        policy: RetryPolicy,
        deadline: float | None,
        random: Callable[[], float],
        wall_clock: Callable[[], datetime],
        on_event: "OnEvent | None" = None,
    ) -> None:
        self.deadline = deadline
        self._lane: Lane | None = None
        self._stream_places = StreamPlaces(client.max_in_flight)
        self._transport = transport
        self._client = client
        self._policy = policy
        self._random = random
        self._wall_clock = wall_clock
        self._observer = Observer(on_event)

    def keep_to(self, *, deadline: float | None, lane: Lane, timeouts: Timeouts, retry: RetryPolicy) -> None:
        """Change what is not UNCHANGED; copies of this executor keep to what they had."""
        self.deadline = self.deadline if deadline is UNCHANGED else deadline
        self._lane = self._lane if lane is UNCHANGED else lane
        self._policy = self._policy if retry is UNCHANGED else retry
        if timeouts is not UNCHANGED:
            self._transport = copy(self._transport)
            self._transport.keep_to(timeouts)

    def listen(self, listener: "OnEvent") -> None:
        """Tell one more of what happens to each call, of copies of this executor too."""
        self._observer.listen(listener)

    @property
    def base_url(self) -> str | None:
        """Where requests go; None before it was ever open."""
        return self._transport.base_url

    @property
    def requests_per_minute(self) -> int:
        """What the budget, of this process or of a fleet, holds for the limit."""
        return self._client.limit

    def open(self, call: Call[Any] | None = None) -> None:
        """Open the connections for the event loop that runs.

        Args:
            call: On whose behalf; None for the session itself.

        Raises:
            ValueError: The key or the address cannot be used; about the session, and no call.
            SessionClosedError: The session is closed.
            WrongEventLoopError: Another event loop that runs has it.

        """
        try:
            self._transport.open(asyncio.get_running_loop())
        except _NO_PERMIT as refusal:
            raise refusal if call is None else on_behalf_of(call, refusal, 0, None) from None

    def run(
        self, call: Call[T], *, lane: Lane, deadline: float | None, hooks: SendHooks | None = None
    ) -> Coroutine[Any, Any, T]:
        """Return, to be awaited, what the call's answer carries.

        Args:
            call: What to send.
            lane: For a call of its kind, unless options name one; "interactive" goes before "bulk".
            deadline: Seconds from now, None for no end; what is not repeatable and has left by then is waited for.
            hooks: Told before each attempt and between two where the first came to nothing; what they raise
                ends the call.

        Returns:
            The value that the endpoint promises.

        Raises:
            HindsightError: Everything else; `delivery` says whether any attempt may have taken effect.
            ValueError: As from `open`.

        """
        lane = self._lane or lane
        call.waited, call.trace = 0.0, self._observer.trace_of(call, lane)
        running = self._run(call, lane, deadline, hooks)
        return running if call.trace is None else call.trace.through(running)

    async def _run(self, call: Call[T], lane: Lane, deadline: float | None, hooks: SendHooks | None) -> T:
        loop, client = asyncio.get_running_loop(), self._client
        ends_at = None if deadline is None else loop.time() + deadline
        sent, failed = 0, 0
        last: HindsightError | None = None
        self.open(call)
        while True:
            reply = None
            try:
                if sent:
                    self._transport.open(loop)  # the session may have been closed in a pause
                permit = await client.acquire(call.endpoint.route, lane, ends_at, loop, call.on_wait)
                call.waited += permit.waited
                try:
                    if hooks is not None:
                        await hooks.about_to_send()
                    sent += 1
                    reply = await self._transport.send(call, loop=loop, deadline=ends_at, attempt=sent)
                    verdict = judge(call, reply, self._wall_clock)
                    with_http(verdict, (reply.status, reply.headers, sent, call.waited))
                finally:
                    _release(client, permit, reply)
                if not isinstance(verdict, HindsightError):
                    return verdict
                error: HindsightError = verdict
            except (NotSentError, OutcomeUnknownError) as not_answered:
                error = not_answered
            except _NO_PERMIT as refusal:
                raise on_behalf_of(call, refusal, sent, last) from last
            except HindsightError as kept_back:  # by a hook, such as a LedgerError
                on_behalf_of(call, kept_back, sent, last)
                raise
            except Exception as surprise:
                left = reply is not None or (last is not None and last.delivery is Delivery.UNKNOWN)
                raise after(last, unexpected(surprise, sent, left=left, call=call)) from surprise
            error.attempts = sent
            last = after(last, error)
            self._transport.hide_key(last)
            failed += not isinstance(last, RateLimitExceededError)
            await self._pause(call, last, failed, ends_at, hooks)

    @asynccontextmanager
    async def stream(
        self, call: Call[ReplyStream], *, lane: Lane, deadline: float | None
    ) -> AsyncGenerator[ReplyStream]:
        """Open an answer that is read as it comes, and close it behind the block.

        It is sent again, as by `run`, only until the head of an answer is here, and `deadline` ends then. Where as many
        streams are open as may be (`streaming.STREAM_SHARE`), it waits for one to close.

        Args:
            call: What to send; its endpoint's `reply_type` is `ReplyStream`.
            lane: For a call of its kind, unless options name one; "interactive" goes before "bulk".
            deadline: Seconds from now until the head is here, None for no end.

        Yields:
            The answer's bytes. Until the block ends it holds a permit and a connection.

        Raises:
            HindsightError: As from `run`; OutcomeUnknownError, out of the stream, where it breaks off.

        """
        loop = asyncio.get_running_loop()
        ends_at = None if deadline is None else loop.time() + deadline
        async with self._stream_places.take(ends_at, call):
            left = None if ends_at is None else ends_at - loop.time()
            stream = await self.run(call, lane=lane, deadline=left)
            try:
                yield stream
            finally:
                stream.close()

    async def _pause(
        self,
        call: Call[Any],
        error: HindsightError,
        failed: int,
        ends_at: float | None,
        hooks: SendHooks | None,
    ) -> None:
        """Wait until the next attempt is due; raise where there is to be none."""
        repeatable = call.endpoint.repeatable
        pause = pause_before_next(
            self._policy, error, repeatable=repeatable, attempt=failed, random=self._random()
        )
        is_spent = (
            isinstance(call.body, Multipart) and call.body.leaves_once and not isinstance(error, NotSentError)
        )
        if pause is None or is_spent:
            raise error
        # After a 429 the call stands at the end of its line again, and the budget knows best for how long.
        in_line = isinstance(error, RateLimitExceededError)
        if ends_at is not None and not in_line and asyncio.get_running_loop().time() + pause >= ends_at:
            raise on_behalf_of(call, too_late_for_another(error, pause), error.attempts, error) from error
        if call.trace is not None:
            call.trace.pauses(pause, error.delivery)
        if hooks is not None and error.delivery is not Delivery.UNKNOWN:
            await _tell_of_nothing(hooks, call, error)
        await asyncio.sleep(pause)


def _release(client: BudgetClient, permit: Permit, reply: Reply | None) -> None:
    """Give the permit back. That of a stream begins its minute in the window now, and stays in flight until it is closed."""
    answer = None if reply is None or reply.elsewhere else reply
    # Without a reply an exception is passing through the `finally` that calls this; it knows whether the request left.
    if reply is None and not may_have_left(sys.exception()):
        client.put_back(permit)
    elif reply is None or reply.stream is None:
        client.release(permit, answer)
    else:
        client.answered(permit, answer)
        reply.stream.when_closed(partial(client.release, permit))


async def _tell_of_nothing(hooks: SendHooks, call: Call[Any], last: HindsightError) -> None:
    try:
        await hooks.not_processed()
    except HindsightError as refusal:
        on_behalf_of(call, refusal, last.attempts, last)
        raise
