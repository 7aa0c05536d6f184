"""An answer that is read piece by piece, for as long as it lasts."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from hindsight_async.call.answered import Answered
from hindsight_async.call.deadline_timer import DeadlineTimer
from hindsight_async.call.request import Call
from hindsight_async.errors import DeadlineExceededError, OutcomeUnknownError

STREAM_SHARE = 1 / 2
"""How much of a session's requests in flight may be streams, which last as long as they like; one at least."""


class ReplyStream(Answered):
    """The bytes of an answer as they come; `async for` gives them, and the end is that of the answer.

    It is open, and holds its permit and its connection, until `close`. Once its head is here nothing is sent again.
    Nobody but `Executor.stream` opens one, which closes it too.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        timer: DeadlineTimer,
        idle_seconds: float,
        failure: Callable[[Exception], OutcomeUnknownError],
    ) -> None:
        self.status = response.status
        self.content_type = response.content_type
        self.size = None if "Content-Encoding" in response.headers else response.content_length
        """How many bytes there will be, where the server says so."""
        self._response = response
        self._timer = timer
        self._idle_seconds = idle_seconds
        self._failure = failure
        self._on_close: list[Callable[[], object]] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises:
            OutcomeUnknownError: None came for `Timeouts.read` seconds, or the answer broke off; it is closed then.

        """
        try:
            with self._timer.at(asyncio.get_running_loop().time() + self._idle_seconds):
                piece = await self._response.content.readany()
        except Exception as error:  # noqa: BLE001  of whatever class, it ends the answer
            failure = self._failure(error)
        else:
            if not piece:
                raise StopAsyncIteration
            return piece
        self._response.close()
        raise failure  # out here, where no error of aiohttp, which shows headers, is its context

    def when_closed(self, then: Callable[[], object]) -> None:
        """Have this done, too, when it is closed."""
        self._on_close.append(then)

    def close(self) -> None:
        """Give back what it holds. A connection on which some of the answer is still to come is not used again."""
        self._response.close()
        waiting, self._on_close = self._on_close, []
        for then in waiting:
            then()


class StreamPlaces:
    """Keeps streams to their share, so that they leave room for everything else.

    Args:
        max_in_flight: How many requests the session may have in flight.

    """

    def __init__(self, max_in_flight: int) -> None:
        self._number = max(1, int(max_in_flight * STREAM_SHARE))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free = asyncio.Semaphore(0)
        """Of the event loop above: a semaphore serves one, and a session may see several in turn."""

    @asynccontextmanager
    async def take(self, deadline: float | None, call: Call[Any]) -> AsyncGenerator[None]:
        """Wait for a place, and have it for the block.

        Args:
            deadline: The moment, in seconds of the event loop's clock, at which waiting ends; None for never.
            call: On whose behalf.

        Raises:
            DeadlineExceededError: No place came free in time.

        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._free = loop, asyncio.Semaphore(self._number)
        free = self._free
        try:
            async with asyncio.timeout_at(deadline):
                await free.acquire()
        except TimeoutError:
            raise DeadlineExceededError(
                f"as many streams are open as this session may have ({self._number}), and none closed before the deadline",
                method=call.endpoint.method,
                path=call.path,
            ) from None
        try:
            yield
        finally:
            free.release()
