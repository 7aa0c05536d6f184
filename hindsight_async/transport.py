"""A call to a reply over aiohttp, at most once, knowing whether its bytes left."""

import asyncio
import ipaddress
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import field, frozen, validators

from hindsight_async.call import Call, Reply
from hindsight_async.errors import HindsightError, NotSentError, OutcomeUnknownError, SessionClosedError

IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than the 5 s after which Node-based servers drop theirs."""

USER_AGENT = f"hindsight-async/{version('hindsight-async')}"

# ValueError and RuntimeError are what aiohttp raises about options of a borrowed session.
_FAILURES = (aiohttp.ClientError, OSError, ValueError, RuntimeError)

_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


@frozen(kw_only=True)
class Timeouts:
    """Seconds that the network may take: `connect` to connect, `read` between two pieces of the answer."""

    connect: float = field(default=5.0, validator=validators.gt(0))
    read: float = field(default=30.0, validator=validators.gt(0))


class Transport:
    """The connection pool to one address with one key; opens itself on first use.

    Raises ValueError for a base URL that is not https (or http to this very machine).
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeouts: Timeouts,
        max_in_flight: int,
        http: aiohttp.ClientSession | None,
    ) -> None:
        self._base_url = _checked_base_url(base_url)
        self._api_key = api_key
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {api_key}",
            "User-Agent": USER_AGENT,
        }
        # `total` and `connect` would count the time spent waiting for a pooled connection.
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=timeouts.connect, sock_read=timeouts.read
        )
        self._max_in_flight = max_in_flight
        self._borrowed = http
        self._own: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a pool of our own to close."""
        return self._own is not None

    def open(self, call: Call[Any] | None = None) -> aiohttp.ClientSession:
        """Return the pool, made on first use; raises SessionClosedError, on behalf of `call`, once it is closed."""
        http = self._borrowed or self._own
        if self._own is not None and self._loop is not asyncio.get_running_loop():
            raise SessionClosedError("the session was opened on another event loop: open a new one here")
        if self._closed or (http is not None and http.closed):
            whose = "the session" if self._closed else "the aiohttp session passed as http="
            named: dict[str, Any] = {} if call is None else {"method": call.method, "path": call.path}
            raise SessionClosedError(f"{whose} is closed", **named)
        if http is None:
            self._loop = asyncio.get_running_loop()
            http = self._own = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_in_flight, keepalive_timeout=IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return http

    def hide_key(self, error: HindsightError) -> None:
        """Take the API key out of an error, should the server have repeated it."""
        error.hide(self._api_key)

    async def close(self) -> None:
        """Close the pool, unless it is borrowed. Idempotent."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def send(self, call: Call[Any], *, deadline: float | None) -> Reply:
        """Send the call once and return its answer, whatever its status.

        `deadline` is a moment of the loop's clock in seconds. Raises NotSentError where no byte
        left, OutcomeUnknownError where some did and no whole answer came, SessionClosedError.
        """
        http = self.open(call)
        body = None if call.body is None else _WatchedBody(call.body)
        response: aiohttp.ClientResponse | None = None
        try:
            async with (
                asyncio.timeout_at(deadline),
                http.request(
                    call.method,
                    self._base_url + call.path,
                    data=body,
                    headers=self._headers,
                    allow_redirects=False,
                    raise_for_status=False,
                    timeout=self._timeout,
                    middlewares=(_never_repeat,),
                ) as response,
            ):
                content = await response.read()
        except _FAILURES as error:
            if response is not None and response.status >= HTTPStatus.MULTIPLE_CHOICES:
                # The status says what became of it, though its explanation broke off.
                return _reply(response, b"")
            left = body.left if body is not None else not isinstance(error, _NOT_CONNECTED)
            what = _describe(error, self._base_url)
            failure = OutcomeUnknownError(what) if left else NotSentError(what)
            failure.method, failure.path = call.method, call.path
            if response is not None and isinstance(failure, OutcomeUnknownError):
                failure.status = response.status
        else:
            return _reply(response, content)
        # Raised out here so that no aiohttp error, whose repr shows the headers, hangs on to it.
        raise failure


def _reply(response: aiohttp.ClientResponse, content: bytes) -> Reply:
    return Reply(
        status=response.status, headers=response.headers, body=content, received_at=datetime.now(UTC)
    )


class _WatchedBody(aiohttp.BytesPayload):
    """A request body that notes the moment at which it begins to leave.

    aiohttp holds the header bytes back until then, so before that moment nothing has left.
    """

    def __init__(self, value: bytes) -> None:
        super().__init__(value, content_type="application/json")
        self.left = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.left = True
        await super().write_with_length(writer, content_length)


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


def _describe(error: Exception, base_url: str) -> str:
    """Say what the network did, without headers and without an empty text."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"connecting to {base_url} took too long"
        case aiohttp.ServerTimeoutError():
            return "the answer took too long"
        case TimeoutError():
            return "the deadline passed before the answer was there"
        case aiohttp.ClientConnectorError():
            return f"no connection to {base_url}: {error.os_error or type(error).__name__}"
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return "the answer broke off or is no valid HTTP"
        case _:
            return f"the connection was lost: {error or type(error).__name__}"


def _checked_base_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            "base_url must look like https://app.usehindsight.com/api/v1, with no query or fragment"
        )
    if parts.username is not None:
        raise ValueError("base_url must not carry a user or password; the key goes into api_key")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError(
            f"base_url must be https for {parts.hostname}: plain http would show the API key to the network "
            "(http is taken for this machine only)"
        )
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
