"""The connection pool: for one event loop of one process at a time, and afresh where that is gone."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from ssl import SSLContext
from types import NoneType
from typing import TYPE_CHECKING

import aiohttp

from hindsight_async.after_fork import start_afresh_after_fork
from hindsight_async.call.access import Access
from hindsight_async.call.connector import Connector
from hindsight_async.call.deadline_timer import DeadlineTimer
from hindsight_async.call.options import check_type
from hindsight_async.errors import SessionClosedError, WrongEventLoopError
from hindsight_async.redaction import Secret

if TYPE_CHECKING:
    from hindsight_async.call.proxy import Proxy

IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 s after which Node-based servers drop theirs."""

logger = logging.getLogger("hindsight_async.call")


def limits_of(http: aiohttp.ClientSession | None) -> list[int]:
    """Return how many requests to one host a lent session takes at a time; nothing where it takes any number.

    What waits inside it would hold a permit meanwhile, and be ended by `Timeouts.connect`.
    """
    connector = None if http is None else http.connector
    return (
        [] if connector is None else [limit for limit in (connector.limit, connector.limit_per_host) if limit]
    )


class Connections:
    """Connections of our own, or a borrowed aiohttp session, which is never closed here.

    Args:
        size: How many of our own there may be.
        read_access: Returns where requests go and with which key; asked anew for every event loop and process.
        borrowed: An aiohttp session of the caller's, None for our own connections.
        proxy: What our own go through.
        ssl: What our own trust; None for the system's certificates.

    """

    access: Access
    """What `read_access` returned when it opened last."""
    timer: DeadlineTimer
    """The deadlines of all requests on the event loop on which it opened last."""

    def __init__(
        self,
        *,
        size: int,
        read_access: Callable[[], Access],
        borrowed: aiohttp.ClientSession | None,
        proxy: "Proxy | None" = None,
        ssl: SSLContext | None = None,
    ) -> None:
        self._size = size
        self._read_access = read_access
        self._proxy = proxy
        self._ssl = ssl or True
        self._borrowed = borrowed
        self._own: aiohttp.ClientSession | None = None
        self._connector: Connector | None = None
        """That of `_own`, which forgets it once it is closed or detached."""
        self._closed_with_loop: AsyncGenerator[None] | None = None
        """Kept, since letting go of it closes `_own`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that these connections belong to; another may have them once they or that are closed."""
        self._closed = False
        self._in_flight = 0
        """Requests, and streams that are still open."""
        self._idle = asyncio.Event()
        """Set when the last of them is over, for a close that waits."""
        start_afresh_after_fork(self)

    @property
    def is_open(self) -> bool:
        """Whether there are connections of our own to close."""
        return self._own is not None and not self._own.closed

    def begin(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        """Note that a request goes in flight; raises as `open` does."""
        http = self._borrowed or self._own
        if http is None or http.closed or self._closed or loop is not self._loop:
            http = self.open(loop)
        self._in_flight += 1
        return http

    def open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        """Return the aiohttp session, made on first use.

        Args:
            loop: The event loop that runs.

        Raises:
            SessionClosedError: It is closed.
            WrongEventLoopError: Another event loop that lives has it.
            ValueError: From `read_access`; it is as closed or open as before then.

        """
        if loop is not self._loop:
            access = self._read_access()
            self._move_to(loop)
            self.access = access
        http = self._borrowed or self._own
        if self._closed or (http is not None and http.closed):
            whose = (
                "the aiohttp session passed as http="
                if self._borrowed and not self._closed
                else "the session"
            )
            raise SessionClosedError(f"{whose} is closed")
        if http is None:
            self._connector = Connector(limit=self._size, keepalive_timeout=IDLE_SECONDS, ssl=self._ssl)
            http = aiohttp.ClientSession(
                connector=self._connector,
                # aiohttp shows a proxy all headers that a session has prepared, the API key too.
                headers=self.access.headers if self._proxy is None else None,
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=None if self._proxy is None else self._proxy.url,
            )
            self._own, self._closed_with_loop = http, _closed_with_loop(http)
        return http

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to this event loop, which runs, from now on; raises WrongEventLoopError as `open` does."""
        if loop is not self._loop:
            self._move_to(loop)

    def end(self) -> None:
        """Note that it is over."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    async def close(self, *, drain: float) -> None:
        """Refuse new requests, wait for those in flight, then close. Idempotent.

        Args:
            drain: How long to wait for them, in seconds.

        """
        loop = asyncio.get_running_loop()
        self.follow(loop)
        self._closed = True
        try:
            if drain > 0 and self._in_flight:
                self._idle.clear()
                with self.timer.at(loop.time() + drain):
                    await self._idle.wait()
        except TimeoutError:
            logger.warning("the session is closed while %d requests are in flight", self._in_flight)
        finally:
            own, self._own = self._own, None
            closed_with_loop, self._closed_with_loop = self._closed_with_loop, None
            if own is not None:
                await own.close()
            if closed_with_loop is not None:
                # On this loop, which else would be asked to once it may have ended.
                await closed_with_loop.aclose()
            if not self._in_flight:
                self.timer.stop()

    def forget_parent(self) -> object:
        """Start afresh after a fork; what is returned would, let go of, be closed, which the parent's server would hear."""
        return self._start_afresh()

    def _start_afresh(self) -> object:
        left = (self._connector, self._closed_with_loop)
        # Neither closed, which would write a TLS goodbye onto sockets that the parent still uses, nor left to their
        # destructors, which warn of connections that nobody closed.
        if self._own is not None and self._connector is not None:
            self._own.detach()
            self._connector.abandoned = True
        self._own = self._connector = self._closed_with_loop = self._loop = None
        self._closed, self._in_flight, self._idle = False, 0, asyncio.Event()
        return left

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            if self._loop.is_running():
                raise WrongEventLoopError(
                    f"the session is in use on {self._loop!r}, so it cannot be used on {loop!r} too"
                )
            # One that has stopped may go on later, and as long as it is not closed nobody else can close its sockets.
            if self.is_open and not self._loop.is_closed():
                raise WrongEventLoopError(
                    f"the session is open on {self._loop!r}, which is not closed; before it is used on {loop!r}, "
                    "await its close() there, or close that loop"
                )
            self._start_afresh()
        self._loop, self.timer = loop, DeadlineTimer(loop)


def _closed_with_loop(http: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Have the running event loop close these connections at its own end, as it does with asynchronous generators."""

    async def wait_for_the_end() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await http.close()

    waiting = wait_for_the_end()
    with suppress(StopIteration):  # its first step, up to the `yield`, has nothing to wait for
        anext(waiting).send(None)
    return waiting


def check_connections(http: object, proxy: Secret | None, ssl: object) -> None:
    """Raise where these are of the wrong type, or say the same twice."""
    check_type("http", http, (aiohttp.ClientSession, NoneType))
    if proxy is not None and not isinstance(proxy.value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"proxy must be str or None, not {type(proxy.value).__name__}")
    check_type("ssl", ssl, (SSLContext, NoneType))
    if http is not None and (proxy is not None or ssl is not None):
        raise ValueError(
            "give http, or proxy and ssl: an aiohttp session brings its own proxy and certificates"
        )
