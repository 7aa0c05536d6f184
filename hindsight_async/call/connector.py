"""Connections that carry an answer only to what was asked on them."""

import asyncio
import re
import select
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.http import HttpProcessingError

from hindsight_async.call.deadline_timer import MomentHasComeError

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

TURNS_TO_READ = 2
"""How many turns of the event loop it takes until it has handed over what lay in the kernel: the first finds it, and
may leave handing it over to the second."""

READ_BYTES = 256 * 1024
"""How much is read in one turn of the event loop, as asyncio does."""

_INTERIM = (b"HTTP/1.1 1", b"HTTP/1.0 1")
_STATUS_LINE = 13
"""How many bytes of an answer tell its status."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([2-9][0-9][0-9])[ \r\n]")
_HEAD_ENDS = b"\r\n\r\n"
_USUAL_LENGTH = b"\r\nContent-Length: "
_LENGTH = re.compile(
    rb"\r\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]:[ \t]*([0-9]{1,15})[ \t]*(?:\r|$)"
)


class Connector(aiohttp.TCPConnector):
    """Connections that can be left alone without a warning, and on which nothing lies that nobody asked for.

    HTTP/1.1 tells by their order alone which answer belongs to which request, so one that was not asked for (load
    balancers send a 408 to idle connections) would be taken for the answer to the next request. aiohttp hands out a
    connection without a look at what lies on it. So each one gets a guard between its socket and aiohttp's parser, which
    ends it where anything arrives while it is idle, and which is asked before the next request goes out on it.
    """

    abandoned = False
    """Whether it belongs to a parent process or an event loop that is gone, and is let go of without being closed."""

    @cached_property
    def read_buffer(self) -> bytearray:
        """What its connections without TLS read into, since an event loop reads from one after the other.

        With none, asyncio has as much memory made, and given back, for each answer, which costs more than to read it.
        """
        return bytearray(READ_BYTES)

    def __del__(self, *args: Any) -> None:
        if not self.abandoned:
            super().__del__(*args)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  the name is that of aiohttp
    ) -> "Connection":
        """Return a connection on which nothing has arrived since its last answer.

        Raises ClientConnectorError, ClientHttpProxyError or TimeoutError, since no byte of the request has left.
        """
        while True:
            try:
                connection = await super().connect(req, traces, timeout)
            except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, TimeoutError):
                raise
            except (aiohttp.ClientError, OSError) as error:
                # Classes of a lost connection and of a broken answer, which would read as if the request had left.
                what = (
                    "the proxy hung up or spoke no HTTP" if req.proxy else str(error) or type(error).__name__
                )
                raise aiohttp.ClientConnectorError(req.connection_key, OSError(what)) from None
            transport = connection.transport
            guard = None if transport is None else transport.get_protocol()
            if not isinstance(guard, _IdleGuard):
                guard = await _guard_new(connection, self.read_buffer)
                if guard is None:
                    # Another new one would hardly be better, and trying without end helps nobody.
                    why = OSError("the other end hung up, or sent something, before it was asked anything")
                    raise aiohttp.ClientConnectorError(req.connection_key, why)
            else:
                if guard.has_unread_bytes is None or guard.was_paused:
                    await _read_what_is_there(connection)
                if guard.has_unasked_bytes():
                    connection.close()
                    continue
            on_connected: Callable[[], None] | None = getattr(req.body, "on_connected", None)
            if on_connected is not None:
                try:
                    on_connected()
                except MomentHasComeError:
                    # Nothing was written on it. Once aiohttp has begun to write, it gives up a connection on any failure.
                    connection.release()
                    raise
            guard.expect_answer(connection)
            return connection


class _IdleGuard(asyncio.Protocol):
    """Hands what arrives on a connection to aiohttp, and ends the connection where it arrives while that is idle."""

    def __init__(self, transport: asyncio.Transport, answers: "ResponseHandler") -> None:
        self._request: Connection | None = None
        """What aiohttp holds for the request under way; without a protocol once it gave the connection back."""
        self._transport = transport
        self._answers = answers
        self.has_unread_bytes = _poller(transport)
        """Asks the socket; None where it cannot be asked, so that the loop must be given turns to read from it first."""
        self._missing: int | None = None
        """How many bytes of the answer's body are still to come; None before its head, or where that does not tell."""
        self._head_was_there = False
        self._begins = b""
        """How the answer under way begins, with its status."""
        self._is_spoilt = False
        """Whether something came behind the end of an answer."""
        self.was_paused = False
        """Whether aiohttp wanted no more when the last bytes came, so that TLS may hold some of which the socket shows nothing."""

    def expect_answer(self, connection: "Connection") -> None:
        """Note that a request is about to leave."""
        self._request, self._head_was_there, self._missing = connection, False, None

    def may_carry_a_request(self) -> bool:
        """Return whether still nothing arrived, and the other end has not closed, since `expect_answer`."""
        if self._head_was_there or self._transport.is_closing():
            return False
        return self.has_unread_bytes is None or not self.has_unread_bytes(0)

    def has_unasked_bytes(self) -> bool:
        """Return whether anything arrived, or the other end closed, since the last answer.

        The loop may not have come round yet to what has arrived, so the socket itself is asked.
        """
        # What aiohttp was handed it knows, but does not ask itself.
        if self._is_spoilt or self._transport.is_closing() or self._answers.should_close:
            return True
        return self.has_unread_bytes is not None and bool(self.has_unread_bytes(0))

    def data_received(self, data: bytes) -> None:
        if self._request is None or self._request.protocol is None:
            # Nothing was asked.
            self._transport.abort()
            return
        if self._missing is None and not self._head_was_there:
            self._head_was_there = True
            self._begins = data[:_STATUS_LINE]
            self._missing = _length_of_answer(data)
        if self._missing is not None:
            self._missing -= len(data)
            if self._missing < 0:
                # aiohttp would refuse the whole packet, its answer too, or take the half of a stray for part of the next.
                self._is_spoilt = True
                data = data[: self._missing]
                self._missing = 0
        if data:
            self._answers.data_received(data)
            self.was_paused = not self._transport.is_reading()
            failure = self._answers.exception()
            if isinstance(failure, HttpProcessingError):
                # aiohttp says 400 for every head that it cannot read, and for one with a broken body in the same packet.
                status = _STATUS.match(self._begins)
                failure.code = int(status[1]) if status else 0
                failure.message = data.partition(_HEAD_ENDS)[2].decode("latin-1")

    def eof_received(self) -> None:
        self._answers.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._answers.connection_lost(exc)

    def pause_writing(self) -> None:
        self._answers.pause_writing()

    def resume_writing(self) -> None:
        self._answers.resume_writing()


class _PlainIdleGuard(_IdleGuard, asyncio.BufferedProtocol):
    """That of a connection without TLS, read into memory which it shares with others.

    With TLS, asyncio keeps what does not fit into that memory to itself, and drops it where the other end has hung up.
    """

    def __init__(
        self, transport: asyncio.Transport, answers: "ResponseHandler", read_buffer: bytearray
    ) -> None:
        super().__init__(transport, answers)
        self._read = memoryview(read_buffer)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._read[:nbytes]))


def _length_of_answer(packet: bytes) -> int | None:
    """Return the bytes that the answer which begins in this packet has in all; None where its head does not tell."""
    head_ends = packet.find(_HEAD_ENDS)
    # The pattern passes over a line that is no length, and over any spelling that is: eight times as slow as a search.
    begins = packet.find(_USUAL_LENGTH, 0, max(head_ends, 0))
    length = _LENGTH.search(packet, max(begins, 0), max(head_ends, 0))
    # aiohttp refuses an answer that names its length twice, or chunks and a length.
    if length is None or packet.startswith(_INTERIM):
        return None
    return head_ends + len(_HEAD_ENDS) + int(length[1])


def refuse_unasked_bytes(transport: asyncio.BaseTransport | None) -> None:
    """Look at a connection of ours once more, just before a request leaves on it.

    aiohttp has turns of the event loop pass between connecting and writing a body, on Python 3.11 always.

    Args:
        transport: What the request is about to be written to; one of a lent session is left alone.

    Raises:
        ConnectionResetError: Something arrived that would be taken for the answer.

    """
    # Those of uvloop are of a class of their own.
    get_protocol: Callable[[], object] | None = getattr(transport, "get_protocol", None)
    guard = None if get_protocol is None else get_protocol()
    if isinstance(guard, _IdleGuard) and not guard.may_carry_a_request():
        raise ConnectionResetError("something arrived on it, or it was closed, before the request left")


async def _guard_new(connection: "Connection", read_buffer: bytearray) -> _IdleGuard | None:
    # Not by a look at the socket: the session tickets of a new TLS connection lie there too, and are no answer.
    # What is no ticket the TLS layer hands on to aiohttp in these turns, which then says `should_close`.
    await _read_what_is_there(connection)
    transport, answers = connection.transport, connection.protocol
    if transport is None or answers is None or transport.is_closing() or answers.should_close:
        connection.close()
        return None
    is_plain = transport.get_extra_info("sslcontext") is None
    guard = _PlainIdleGuard(transport, answers, read_buffer) if is_plain else _IdleGuard(transport, answers)
    transport.set_protocol(guard)
    return guard


async def _read_what_is_there(connection: "Connection") -> None:
    try:
        for _ in range(TURNS_TO_READ):
            await asyncio.sleep(0)
    except BaseException:
        connection.close()
        raise


def _poller(transport: asyncio.Transport) -> Callable[[int], list[tuple[int, int]]] | None:
    """Return what tells of bytes, or the end, that a busy event loop has not come round to; None on Windows.

    Unlike `select` it takes any file descriptor, and unlike the event loop's own it needs no turn of the loop.
    """
    if not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return poll.poll
