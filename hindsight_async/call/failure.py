"""What the network did to a call, in words and as an error."""

import asyncio
from typing import Any

import aiohttp

from hindsight_async.call.proxy import advice_on_refusal
from hindsight_async.call.request import Call
from hindsight_async.errors import HindsightError, NotSentError, OutcomeUnknownError

NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
"""Errors of aiohttp that say that the request had no connection to leave on.

ClientConnectorError is a ClientOSError too, which else means a connection lost: ask for these first.
"""


_MAY_HAVE_LEFT = "the request may have left"


def note_that_it_may_have_left(cancelled: asyncio.CancelledError) -> None:
    """Note on a cancellation, which has no field for it, that it may have come after the request left."""
    cancelled.add_note(_MAY_HAVE_LEFT)


def may_have_left(error: BaseException | None) -> bool:
    """Tell whether a request may have left whose attempt ended in this, and in no answer."""
    if isinstance(error, asyncio.CancelledError):
        return _MAY_HAVE_LEFT in getattr(error, "__notes__", ())
    return isinstance(error, OutcomeUnknownError) or not isinstance(error, Exception)


def failure_of(
    what: str, call: Call[Any], response: aiohttp.ClientResponse | None, *, left: bool
) -> HindsightError:
    """Return the error of a call without an answer: whether any byte `left` decides."""
    if left:
        return outcome_unknown(what, call, response)
    return NotSentError(what, method=call.endpoint.method, path=call.path)


def outcome_unknown(
    what: str, call: Call[Any], response: aiohttp.ClientResponse | None
) -> OutcomeUnknownError:
    """Return the error of a call that left, with the status where at least that arrived."""
    status = None if response is None else response.status
    return OutcomeUnknownError(
        what, status=status, request=call.request, method=call.endpoint.method, path=call.path
    )


def foreign_cause(error: Exception) -> BaseException | None:
    """Return what somebody else's code raised, and None for the errors of aiohttp, whose reprs show the headers."""
    # What is raised while the body is written comes wrapped.
    cause = error.__cause__ if isinstance(error, aiohttp.ClientConnectionError) else error
    return None if isinstance(cause, (aiohttp.ClientError, TimeoutError)) else cause


def describe(error: Exception, where: str, *, rang_at: float, deadline: float | None) -> str:
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
