"""What the network did to a call, in words and as an error."""

import asyncio
from http import HTTPStatus
from types import TracebackType
from typing import Any

import aiohttp

from hindsight_async.call.codec import fields_of
from hindsight_async.call.deadline_timer import MomentHasComeError
from hindsight_async.call.reading import reply_of
from hindsight_async.call.request import Call, Reply
from hindsight_async.errors import (
    DeadlineExceededError,
    Delivery,
    HindsightError,
    NotSentError,
    OutcomeUnknownError,
    QuotaExceededError,
)

NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""Errors of aiohttp that say that the request had no connection to leave on.

ClientConnectorError is a ClientOSError too, which else means a connection lost: ask for these first.
"""


_GATEWAY_ERRORS = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""With which a proxy says that it finds no way to the API."""

NOBODYS_PORT = 1
"""Where `hindsight_async.testing` sends what would go to the real API, and where nobody will ever be."""

_MAY_HAVE_LEFT = "the request may have left"


def note_that_it_may_have_left(cancelled: asyncio.CancelledError) -> None:
    """Note on a cancellation, which has no field for it, that it may have come after the request left."""
    cancelled.add_note(_MAY_HAVE_LEFT)


def may_have_left(error: BaseException | None) -> bool:
    """Tell whether a request may have left whose attempt ended in this, and in no answer."""
    if isinstance(error, asyncio.CancelledError):
        return _MAY_HAVE_LEFT in getattr(error, "__notes__", ())
    return isinstance(error, OutcomeUnknownError) or not isinstance(error, Exception)


def finds_nobody(error: Exception) -> bool:
    """Tell whether there was nothing to connect to, which may pass by itself: a network that is gone looks like this.

    A certificate or a TLS version that will not do is no such thing, nor is a proxy that refuses this client.
    """
    match error:
        case aiohttp.ClientSSLError():
            return False
        case aiohttp.ClientConnectorError(port=port):
            return port != NOBODYS_PORT
        case aiohttp.ClientHttpProxyError(status=status):
            return status in _GATEWAY_ERRORS
        case _:
            return isinstance(error, aiohttp.ConnectionTimeoutError)


def without_whole_answer(
    what: str,
    error: Exception,
    call: Call[Any],
    response: aiohttp.ClientResponse | None,
    pieces: list[bytes],
    *,
    left: bool,
    lent: bool,
) -> Reply | NotSentError | OutcomeUnknownError:
    """Return the part that came of an answer, as a reply with a flaw, or the error of a call that has none.

    Where the status came, it alone says what became of the request.

    Args:
        what: What happened, in words.
        error: What was raised then.
        call: What was sent.
        response: The answer, where its head was read.
        pieces: Its body as far as it came.
        left: Whether any byte of the request left.
        lent: Whether that was on a connection of a lent session.

    """
    # An aiohttp error's repr shows the headers, so none may hang on to what is raised.
    cause = foreign_cause(error)
    if not left:
        failure = NotSentError(
            what, no_connection=finds_nobody(error), method=call.endpoint.method, path=call.path
        )
        failure.__cause__ = cause
        return failure
    # Of a lent session aiohttp's own verdict is all there is, which is 400 for whatever it refuses.
    status, body = (0, b"") if lent else _refused_answer(error)
    flaw = outcome_unknown(what, call, status or None if response is None else response.status)
    flaw.__cause__ = cause
    if response is not None:
        return reply_of(response, pieces, flaw)
    return Reply(status, {}, body, flaw=flaw) if status else flaw


def outcome_unknown(
    what: str, call: Call[Any], status: int | None = None, body: bytes = b""
) -> OutcomeUnknownError:
    """Return the error of a call that left, with the status and the fields of the answer where that much arrived."""
    return OutcomeUnknownError(
        what,
        status=status,
        request=call.request,
        received=fields_of(body) if body else None,
        method=call.endpoint.method,
        path=call.path,
    )


def foreign_cause(error: Exception) -> BaseException | None:
    """Return what somebody else's code raised, and None for the errors of aiohttp, whose reprs show the headers."""
    # What is raised while the body is written comes wrapped.
    cause = error.__cause__ if isinstance(error, aiohttp.ClientConnectionError) else error
    if cause is None or isinstance(cause, (aiohttp.ClientError, TimeoutError)):
        return None
    return cause.with_traceback(_without_aiohttp(cause.__traceback__))


def _without_aiohttp(frames: TracebackType | None) -> TracebackType | None:
    """Return what of a traceback lies behind aiohttp, whose own frames hold the headers, with the key."""
    kept = frames
    while frames is not None:
        if _is_on_the_way(frames):
            kept = frames.tb_next
        frames = frames.tb_next
    return kept


def _is_on_the_way(frame: TracebackType) -> bool:
    name = str(frame.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] in {"aiohttp", "hindsight_async"}


def _refused_answer(error: Exception) -> tuple[int, bytes]:
    """Return the status, and what can be found of a JSON body, of an answer that aiohttp refused whole; 0 for none.

    The `Connector` has put both in the place of aiohttp's own verdict.
    """
    if not isinstance(error, aiohttp.ClientResponseError):
        return 0, b""
    return error.status, error.message[max(error.message.find("{"), 0) :].encode("latin-1")


def describe(error: Exception, where: str, *, rang_at: float, deadline: float | None) -> str:
    """Say what the network did, without headers and without an empty text."""
    if isinstance(error.__cause__, MomentHasComeError):
        error = error.__cause__  # aiohttp takes it for one of connecting
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
            from hindsight_async.call.proxy import advice_on_refusal  # noqa: PLC0415  later: few have one

            what = (
                f"no connection to {where}: the proxy answered {status} {said}; {advice_on_refusal(status)}"
            )
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            # Never the address, which may open what it leads to.
            what = "the link, or where it leads to, is no https address"
        case aiohttp.TooManyRedirects():
            what = "the link leads from one address to the next without end"
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            what = "the answer broke off or is no valid HTTP"
        case aiohttp.ClientError() | OSError():
            what = f"the connection was lost: {error or type(error).__name__}"
        case _:
            what = f"code that aiohttp runs for the request raised {type(error).__name__}: {error}"
    return what


def unexpected(
    surprise: Exception, sent: int, *, left: bool, call: Call[Any] | None = None
) -> HindsightError:
    """Return what an exception that nobody foresaw means for a request: whether that had left by then decides."""
    what = f"{type(surprise).__name__} came up around the request: {surprise}"
    failure: HindsightError = (
        OutcomeUnknownError(what, request=call and call.request) if left else NotSentError(what)
    )
    failure.attempts, failure.__cause__ = sent, surprise
    if call is not None:
        failure.method, failure.path = call.endpoint.method, call.path
    return failure


def too_late_for_another(last: HindsightError, pause: float) -> DeadlineExceededError:
    """Return the error of a call whose next attempt would come after its deadline."""
    what = f"the next attempt is due in {pause:.1f} s, which is past the deadline ({last.summary})"
    return DeadlineExceededError(what, retry_after=pause)


def after(last: HindsightError | None, error: HindsightError) -> HindsightError:
    """Carry over to an attempt's error that an earlier one may have taken effect, or was refused.

    What may have been done once, a later attempt that comes to nothing does not undo: the call ends as UNKNOWN then.
    """
    if last is not None:
        error.was_refused = last.was_refused or last.delivery is Delivery.REJECTED
        if last.delivery is Delivery.UNKNOWN:
            error.delivery = Delivery.UNKNOWN
    return error


def on_behalf_of(
    call: Call[Any], refusal: HindsightError, sent: int, last: HindsightError | None
) -> HindsightError:
    """Make the error of the call out of what kept its next attempt from leaving: its name, its attempts, its delivery.

    Such a refusal says nothing of the attempts before it, so the call's delivery is theirs.
    """
    refusal.method, refusal.path = call.endpoint.method, call.path
    refusal.attempts = sent
    refusal.delivery = Delivery.NOT_SENT if last is None else last.delivery
    if last is not None and isinstance(refusal, QuotaExceededError):
        refusal.http = last.http
    return after(last, refusal)
