"""A call to a reply over aiohttp, at most once, knowing whether its bytes left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from math import inf, isinf
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

import aiohttp

from hindsight_async.call.access import Access
from hindsight_async.call.body import WatchedBody, WatchedBytes, WatchedForm, opened
from hindsight_async.call.connections import Connections
from hindsight_async.call.failure import (
    NOT_CONNECTED,
    describe,
    foreign_cause,
    note_that_it_may_have_left,
    outcome_unknown,
    without_whole_answer,
)
from hindsight_async.call.middlewares import address_of, is_of, middlewares_for
from hindsight_async.call.options import Timeouts
from hindsight_async.call.reading import LONGEST_HEADER, MOST_HEADERS, read_pieces, reply_of
from hindsight_async.call.request import JSON, Call, Multipart, Reply, spelled
from hindsight_async.call.retry import delivery_of
from hindsight_async.call.streaming import ReplyStream
from hindsight_async.errors import Delivery, HindsightError, OutcomeUnknownError

if TYPE_CHECKING:
    from hindsight_async.call.proxy import Proxy

logger = logging.getLogger("hindsight_async.call")


class Transport:
    """Sends over a pool that opens itself on first use.

    Args:
        read_access: Returns where to and with which key, each time that the pool opens.
        timeouts: How long the network may take.
        max_in_flight: How many connections of our own there may be.
        http: An aiohttp session to borrow, None for connections of our own.
        proxy: What our own go through.
        ssl: What our own trust.
        on_outcome_unknown: Told of what was cancelled after it left; None for a warning in the log.

    """

    def __init__(
        self,
        *,
        read_access: Callable[[], Access],
        timeouts: Timeouts,
        max_in_flight: int,
        http: aiohttp.ClientSession | None,
        proxy: "Proxy | None",
        ssl: SSLContext | None,
        on_outcome_unknown: Callable[[OutcomeUnknownError], object] | None,
    ) -> None:
        self._proxy = proxy
        # A pool of our own has the headers prepared, which saves merging them into each request; but see `Connections.open`.
        self._has_prepared_headers = http is None and proxy is None
        self._is_lent = http is not None
        self.keep_to(timeouts)
        self._on_outcome_unknown = on_outcome_unknown
        self._connections = Connections(
            size=max_in_flight, read_access=read_access, borrowed=http, proxy=proxy, ssl=ssl
        )

    def keep_to(self, timeouts: Timeouts) -> None:
        """Let the network take so long from the next call on; copies of this transport share its connections alone."""
        # `connect` ends looking up the name, waiting for a proxy and for a connection of a borrowed pool, too. What comes
        # after it is ended by one timer for all requests; `sock_read` begins anew with each byte, and takes many timers.
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=None if isinf(timeouts.connect) else timeouts.connect
        )
        self._read_seconds = timeouts.read
        self._longest = timeouts.connect + timeouts.read

    @property
    def is_open(self) -> bool:
        """Whether there are connections of our own to close."""
        return self._connections.is_open

    @property
    def base_url(self) -> str | None:
        """Where requests go; None before it was ever open."""
        access: Access | None = getattr(self._connections, "access", None)
        return None if access is None else access.base_url

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the pool where it is not, for the loop that runs; raises as `Connections.open` does."""
        self._connections.open(loop)

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to the loop that runs, as for a close on it; raises WrongEventLoopError as `Connections.open` does."""
        self._connections.follow(loop)

    async def close(self, *, drain: float) -> None:
        """Refuse new requests, wait up to `drain` seconds for those in flight, then close the pool."""
        await self._connections.close(drain=drain)

    def hide_key(self, error: HindsightError) -> None:
        """Take the API key out of an error, should the server have repeated it."""
        error.hide(self._connections.access.api_key.value)

    def send(
        self, call: Call[Any], *, loop: asyncio.AbstractEventLoop, deadline: float | None, attempt: int
    ) -> Awaitable[Reply]:
        """Send the call once and return its answer, whatever its status.

        A call that is not repeatable must leave before the deadline, and has `Timeouts.read` from then on for its answer;
        so has a form, from its last piece. Of a stream only the head is awaited.

        Args:
            call: What to send.
            loop: The event loop that runs.
            deadline: A moment of its clock, in seconds; None for none.
            attempt: Which one this is, from 1.

        Returns:
            The answer; with a `stream` where the endpoint has one and the status is a 2xx.

        Raises:
            NotSentError: No byte left. The cause of this and the next is what a borrowed session's own code raised.
            OutcomeUnknownError: Some bytes left, and no whole answer came.
            SessionClosedError: The pool is closed.
            OSError: A file cannot be opened; nothing was sent.

        """
        # One coroutine for each call of the usual kind: each more would be entered and left at every step of the answer.
        if isinstance(call.body, Multipart):
            exchange = self._send_form(call, call.body, loop, deadline, attempt)
        else:
            body = None if call.body is None else WatchedBytes(call.body)
            exchange = self._exchange(call, body, loop, deadline, attempt)
        return exchange if call.trace is None else call.trace.of_attempt(exchange, attempt)

    async def _send_form(
        self,
        call: Call[Any],
        form: Multipart,
        loop: asyncio.AbstractEventLoop,
        deadline: float | None,
        attempt: int,
    ) -> Reply:
        async with opened(form) as body:
            return await self._exchange(call, body, loop, deadline, attempt)

    async def _exchange(
        self,
        call: Call[Any],
        body: WatchedBody | None,
        loop: asyncio.AbstractEventLoop,
        deadline: float | None,
        attempt: int,
    ) -> Reply:
        response: aiohttp.ClientResponse | None = None
        reply: Reply | None = None
        pieces: list[bytes] = []
        request = self._request(self._connections.begin(loop), call, body)
        ends_at = loop.time() + self._longest
        timer = self._connections.timer.at(ends_at if deadline is None or ends_at < deadline else deadline)
        if body is not None and (not call.endpoint.repeatable or isinstance(body, WatchedForm)):
            # To cut its answer off would take nothing back, and only make an unknown of what may be done.
            body.on_connected, body.on_leaving = timer.check, partial(timer.postpone, self._read_seconds)
        try:
            with timer:
                response = _to_what_left(await request, body)
                if call.endpoint.reply_type is ReplyStream and response.status < HTTPStatus.MULTIPLE_CHOICES:
                    reply = self._stream(call, response, attempt)
                else:
                    await read_pieces(response, pieces)
                    reply = reply_of(response, pieces)
        except Exception as error:  # noqa: BLE001  whoever raised it, the bytes may have left
            what = describe(error, self._where(call), rang_at=timer.moment, deadline=deadline)
            left = body.left if body is not None else not isinstance(error, NOT_CONNECTED)
            outcome = without_whole_answer(what, error, call, response, pieces, left=left, lent=self._is_lent)
        except asyncio.CancelledError as cancelled:
            delivery = _delivery_of_cut_off(body, response)
            if body is None or body.left:
                note_that_it_may_have_left(cancelled)
            self._tell_of_cut_off(call, response, pieces, attempt, delivery)
            cancelled.__traceback__ = None  # the frames of aiohttp hold the headers, with the key
            raise
        else:
            return self._told_by(call, response, reply)
        finally:
            if reply is None or reply.stream is None:
                self._connections.end()
        if isinstance(outcome, Reply):
            return self._told_by(call, response, outcome)
        raise outcome  # out here, where no error is its context

    def _stream(self, call: Call[Any], response: aiohttp.ClientResponse, attempt: int) -> Reply:
        def failure(error: Exception) -> OutcomeUnknownError:
            what = describe(error, self._where(call), rang_at=inf, deadline=None)
            unknown = outcome_unknown(what, call, response.status)
            unknown.attempts = attempt
            unknown.__cause__ = foreign_cause(error)
            self.hide_key(unknown)
            return unknown

        stream = ReplyStream(
            response, timer=self._connections.timer, idle_seconds=self._read_seconds, failure=failure
        )
        stream.when_closed(self._connections.end)
        return Reply(response.status, response.headers, b"", stream)

    def _request(
        self, http: aiohttp.ClientSession, call: Call[Any], body: WatchedBody | None
    ) -> Awaitable[aiohttp.ClientResponse]:
        access = self._connections.access
        headers, proxy_headers = (
            (None, None) if self._has_prepared_headers else access.headers_by(self._proxy)
        )
        if call.endpoint.accepts != JSON:
            headers = {**(headers or {}), "Accept": call.endpoint.accepts}
        return http.request(
            call.endpoint.method,
            access.base_url + call.path if call.url is None else address_of(call.url, access.base_url),
            params=spelled(call.query) if call.query else None,
            data=body,
            headers=headers,
            # A link may lead to where the file really lies; all else is asked for where it is.
            allow_redirects=call.url is not None,
            raise_for_status=False,
            timeout=self._timeout,
            proxy_headers=proxy_headers,
            # Naming these keeps those of a borrowed session out.
            middlewares=middlewares_for(call, access.base_url),
            auto_decompress=call.endpoint.reply_type is ReplyStream,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
            max_headers=MOST_HEADERS,
        )

    def _told_by(self, call: Call[Any], response: aiohttp.ClientResponse | None, reply: Reply) -> Reply:
        """Note of a link's answer whether another server than the API gave it."""
        if call.url is not None and response is not None:
            reply.elsewhere = not is_of(response.url, self._connections.access.base_url)
        return reply

    def _where(self, call: Call[Any]) -> str:
        where = self._connections.access.base_url if call.url is None else "where the link leads"
        return where if self._proxy is None else f"{where} through the proxy {self._proxy.url}"

    def _tell_of_cut_off(
        self,
        call: Call[Any],
        response: aiohttp.ClientResponse | None,
        pieces: list[bytes],
        attempt: int,
        delivery: Delivery,
    ) -> None:
        if call.trace is not None:
            call.trace.cut_off(delivery)
        if call.endpoint.repeatable or call.body is None or delivery is not Delivery.UNKNOWN:
            return
        what = "the call was cancelled before the answer was there"
        if response is None:
            cut_off = outcome_unknown(what, call)
        else:
            cut_off = outcome_unknown(what, call, response.status, reply_of(response, pieces).body)
        cut_off.attempts = attempt
        self._tell(cut_off)

    def _tell(self, error: OutcomeUnknownError) -> None:
        """Tell of a request that left and whose caller, being cancelled, can be told nothing."""
        self.hide_key(error)
        if self._on_outcome_unknown is None:
            logger.warning("%s", error)
            return
        try:
            self._on_outcome_unknown(error)
        except Exception:
            # The cancellation has to go on, whatever becomes of the message.
            logger.exception("on_outcome_unknown failed on: %s", error)


def _to_what_left(response: aiohttp.ClientResponse, body: WatchedBody | None) -> aiohttp.ClientResponse:
    """Return the answer; ConnectionResetError where it was there before the request left, and so is to nothing of ours."""
    if body is not None and not body.left:
        response.close()
        raise ConnectionResetError("what was there before the request left was taken for its answer")
    return response


def _delivery_of_cut_off(body: WatchedBody | None, response: aiohttp.ClientResponse | None) -> Delivery:
    if response is not None and response.status >= HTTPStatus.MULTIPLE_CHOICES:
        return delivery_of(response.status)
    return Delivery.NOT_SENT if body is not None and not body.left else Delivery.UNKNOWN
