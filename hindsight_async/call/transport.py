"""A call to a reply over aiohttp, at most once, knowing whether its bytes left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from math import inf
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import field, frozen, validators

from hindsight_async.call.access import Access
from hindsight_async.call.answer import is_refusal
from hindsight_async.call.connections import Connections
from hindsight_async.call.connector import refuse_unasked_bytes
from hindsight_async.call.proxy import Proxy, advice_on_refusal
from hindsight_async.call.request import Call, Reply
from hindsight_async.errors import HindsightError, NotSentError, OutcomeUnknownError

logger = logging.getLogger("hindsight_async.call")


_REPEATED_BY_AIOHTTP = frozenset({"GET"})

_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


@frozen(kw_only=True)
class Timeouts:
    """Seconds that the network may take: `connect` to connect, `read` from then until the whole answer is there.

    Of a create `read` counts from the moment when it leaves, and nothing else ends the wait for its answer.
    Through a proxy `connect` counts until the connection behind it stands.
    """

    connect: float = field(default=5.0, validator=validators.gt(0))
    read: float = field(default=30.0, validator=validators.gt(0))


class Transport:
    """Sends over a pool that opens itself on first use, with what `read_access` returns each time that it opens."""

    def __init__(
        self,
        *,
        read_access: Callable[[], Access],
        timeouts: Timeouts,
        max_in_flight: int,
        http: aiohttp.ClientSession | None,
        proxy: Proxy | None,
        ssl: SSLContext | None,
        on_outcome_unknown: Callable[[OutcomeUnknownError], object] | None,
    ) -> None:
        self._proxy = proxy
        # A pool of our own has the headers prepared, which saves merging them into each request; but see `Connections.open`.
        self._has_prepared_headers = http is None and proxy is None
        # `total` and `connect` would count the time spent waiting for a connection of a borrowed pool; our own has
        # one for every request in flight, so there one timer does for all what `sock_read` does with many timers.
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=timeouts.connect, sock_read=timeouts.read if http is not None else None
        )
        self._read_seconds = timeouts.read
        self._longest = timeouts.connect + timeouts.read if http is None else inf
        self._on_outcome_unknown = on_outcome_unknown
        self._connections = Connections(
            size=max_in_flight, read_access=read_access, borrowed=http, proxy=proxy, ssl=ssl
        )

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

    async def close(self, *, drain: float) -> None:
        """Refuse new requests, wait up to `drain` seconds for those in flight, then close the pool."""
        await self._connections.close(drain=drain)

    def hide_key(self, error: HindsightError) -> None:
        """Take the API key out of an error, should the server have repeated it."""
        error.hide(self._connections.access.api_key)

    async def send(
        self, call: Call[Any], *, loop: asyncio.AbstractEventLoop, deadline: float | None, attempt: int
    ) -> Reply:
        """Send the call once and return its answer, whatever its status.

        `loop` is the one that runs, `deadline` a moment of its clock in seconds, `attempt` counts from 1. A call that
        is not repeatable must leave before the deadline, and has `Timeouts.read` from then on for its answer. Raises
        NotSentError where no byte left, OutcomeUnknownError where some did and no whole answer came (both also for
        what a borrowed session's own code raises, which is the cause then), SessionClosedError.
        """
        body = None if call.body is None else _WatchedBody(call.body)
        response: aiohttp.ClientResponse | None = None
        request = self._request(self._connections.begin(loop), call, body)
        ends_at = loop.time() + self._longest
        timer = self._connections.timer.at(ends_at if deadline is None or ends_at < deadline else deadline)
        if body is not None and not call.endpoint.repeatable:
            # To cut its answer off would take nothing back, and only make an unknown of what may be done.
            body.on_leaving = partial(timer.postpone, self._read_seconds)
        try:
            with timer:
                response = await request
                content = await response.read()  # which closes the response where it fails
        except Exception as error:  # noqa: BLE001  whoever raised it, the bytes may have left
            if response is not None and response.status >= HTTPStatus.MULTIPLE_CHOICES:
                # The status says what became of it, though its explanation broke off.
                return _reply(response, b"")
            left = body.left if body is not None else not isinstance(error, _NOT_CONNECTED)
            what = _describe(error, self._where(), rang_at=timer.moment, deadline=deadline)
            failure = (
                _unknown(what, call, response)
                if left
                else NotSentError(what, method=call.endpoint.method, path=call.path)
            )
            # An aiohttp error's repr shows the headers, so none may hang on to what is raised.
            failure.__cause__ = _foreign_cause(error)
        except asyncio.CancelledError:
            if body is not None and body.left and not call.endpoint.repeatable and not _is_refusal(response):
                cut_off = _unknown("the call was cancelled before the answer was there", call, response)
                cut_off.attempts = attempt
                self._tell(cut_off)
            raise
        else:
            return _reply(response, content)
        finally:
            self._connections.end()
        raise failure  # out here, where no error is its context

    def _request(
        self, http: aiohttp.ClientSession, call: Call[Any], body: "_WatchedBody | None"
    ) -> Awaitable[aiohttp.ClientResponse]:
        method, access = call.endpoint.method, self._connections.access
        headers, proxy_headers = (
            (None, None) if self._has_prepared_headers else access.headers_by(self._proxy)
        )
        return http.request(
            method,
            access.base_url + call.path,
            data=body,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            timeout=self._timeout,
            proxy_headers=proxy_headers,
            # Naming these keeps those of a borrowed session out.
            middlewares=(_never_repeat,) if method in _REPEATED_BY_AIOHTTP else (),
        )

    def _where(self) -> str:
        where = self._connections.access.base_url
        return where if self._proxy is None else f"{where} through the proxy {self._proxy.url}"

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


def _unknown(what: str, call: Call[Any], response: aiohttp.ClientResponse | None) -> OutcomeUnknownError:
    status = None if response is None else response.status
    return OutcomeUnknownError(
        what, status=status, request=call.request, method=call.endpoint.method, path=call.path
    )


def _foreign_cause(error: Exception) -> BaseException | None:
    # What is raised while the body is written comes wrapped.
    cause = error.__cause__ if isinstance(error, aiohttp.ClientConnectionError) else error
    return None if isinstance(cause, (aiohttp.ClientError, TimeoutError)) else cause


def _is_refusal(response: aiohttp.ClientResponse | None) -> bool:
    return response is not None and is_refusal(response.status)


def _reply(response: aiohttp.ClientResponse, content: bytes) -> Reply:
    return Reply(response.status, response.headers, content)


class _WatchedBody(aiohttp.BytesPayload):
    """A request body that notes the moment at which it begins to leave.

    aiohttp holds the header bytes back until then, so before that moment nothing has left.
    """

    def __init__(self, value: bytes) -> None:
        # Not BytesPayload's own, which warns of bodies of 1 MiB; where warnings are errors none could be sent.
        super(aiohttp.BytesPayload, self).__init__(value, content_type="application/json")
        self._size = len(value)
        self.left = False
        self.on_leaving: Callable[[], None] | None = None
        """Called just before; what it raises keeps the body, and so the whole request, from leaving."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        refuse_unasked_bytes(getattr(writer, "transport", None))
        if self.on_leaving is not None:
            self.on_leaving()
        self.left = True
        del content_length  # that of `_value`: a body of bytes leaves whole
        await writer.write(self._value)


class _LostConnectionError(aiohttp.ClientConnectionError):
    """A lost connection, in a class that aiohttp does not repeat GET requests on."""


async def _never_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp sends idempotent verbs again by itself on a dead pooled connection, past the rate
    # budget and the count of attempts; what is repeated is decided in one place, and not there.
    try:
        return await handler(request)
    except _NOT_CONNECTED:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostConnectionError(f"{type(error).__name__}: {error}") from None


def _describe(error: Exception, where: str, *, rang_at: float, deadline: float | None) -> str:
    """Say what the network did, without headers and without an empty text."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            what = f"connecting to {where} took too long"
        case TimeoutError():
            is_deadline = rang_at == deadline and not isinstance(error, aiohttp.ServerTimeoutError)
            what = (
                "the deadline passed before the answer was there"
                if is_deadline
                else "the answer took too long"
            )
        case aiohttp.ClientConnectorError():
            what = f"no connection to {where}: {error.os_error or type(error).__name__}"
        case aiohttp.ClientHttpProxyError(status=status, message=said):
            what = (
                f"no connection to {where}: the proxy answered {status} {said}; {advice_on_refusal(status)}"
            )
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            what = "the answer broke off or is no valid HTTP"
        case aiohttp.ClientError() | OSError():
            what = f"the connection was lost: {error or type(error).__name__}"
        case _:
            what = f"code that aiohttp runs for the request raised {type(error).__name__}: {error}"
    return what
