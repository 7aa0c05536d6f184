"""What a reply means: the value that it carries, or the error that it is."""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from hindsight_async.call.codec import decode, fields_of
from hindsight_async.call.request import Call, Reply
from hindsight_async.call.retry import delivery_of
from hindsight_async.errors import (
    APIError,
    BadRequestError,
    DecodeError,
    ForbiddenError,
    HindsightError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitExceededError,
    UnauthorizedError,
)
from hindsight_async.rate.headers import parse_rate_headers

T = TypeVar("T")

_CLASSES: Mapping[int, type[APIError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
}

_SUCCESS = range(200, 300)


def judge(call: Call[T], reply: Reply, wall_clock: Callable[[], datetime]) -> T | HindsightError:
    """Return what the reply carries, or the error that it is; the clock is read where an error needs the time."""
    if call.on_reply is not None:
        call.on_reply(reply)
    if reply.status not in _SUCCESS:
        return _error(call, reply, wall_clock())
    if reply.stream is not None:
        return cast("T", reply.stream)
    problem: DecodeError | OutcomeUnknownError | None = reply.flaw
    # Of JSON an object says itself where it ends, so one that is whole is the answer, whatever befell the bytes behind it.
    if problem is None or (call.endpoint.reply_type is not bytes and reply.body.lstrip().startswith(b"{")):
        try:
            return decode(reply.body, call.endpoint.reply_type, known=call.known)
        except DecodeError as error:
            problem = problem or error
    if call.endpoint.status_suffices:
        return call.endpoint.reply_type(**call.known)
    problem.method, problem.path = call.endpoint.method, call.path
    return problem if call.endpoint.repeatable else _done_but_unreadable(call, reply, problem)


def _done_but_unreadable(call: Call[Any], reply: Reply, problem: HindsightError) -> OutcomeUnknownError:
    received = fields_of(reply.body)
    # The values may open the interview or be people's addresses.
    names = f"; it has the fields {sorted(received)}" if received else ""
    unknown = OutcomeUnknownError(
        f"the server answered {reply.status}, so it was done, but {problem.args[0]}{names}",
        status=reply.status,
        request=call.request,
        received=received,
        method=call.endpoint.method,
        path=call.path,
    )
    unknown.__cause__ = problem if isinstance(problem, DecodeError) else problem.__cause__
    return unknown


def _error(call: Call[Any], reply: Reply, received_at: datetime) -> APIError:
    code, message, details = _read_error_body(reply)
    rate = parse_rate_headers(reply.headers, received_at=received_at)
    fields: dict[str, Any] = {
        "status": reply.status,
        "code": code,
        "details": details,
        "method": call.endpoint.method,
        "path": call.path,
        "delivery": delivery_of(reply.status),
    }
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS and not reply.elsewhere:
        return RateLimitExceededError(message, reset_at=rate.opens_at, retry_after=rate.opens_in, **fields)
    fields["retry_after"] = rate.retry_after
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return InternalServerError(message, **fields)
    if reply.status < HTTPStatus.BAD_REQUEST:
        return APIError(_redirect_message(reply), **fields)
    return refusal_class(reply.status)(message, **fields)


def refusal_class(status: int) -> type[APIError]:
    """Return the class of the error that an answer with this HTTP status is, where it had no effect."""
    return _CLASSES.get(status, APIError)


def _read_error_body(reply: Reply) -> tuple[str | None, str, dict[str, Any]]:
    """Return code, message and details from any of the three documented bodies, or from none."""
    body = fields_of(reply.body)
    error = body.get("error", body)
    envelope = cast("dict[str, object]", error) if isinstance(error, dict) else {"message": error}
    code, message, details = (envelope.get(name) for name in ("code", "message", "details"))
    return (
        code if isinstance(code, str) and code else None,
        message if isinstance(message, str) and message else _describe_body(reply),
        cast("dict[str, Any]", details) if isinstance(details, dict) else {},
    )


def _describe_body(reply: Reply) -> str:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "no standard status"
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip() or "no content type"
    size = f"{len(reply.body)} bytes, {kind}" if reply.body else "empty"
    return f"{phrase} (the body names no error: {size})"


def _redirect_message(reply: Reply) -> str:
    location = reply.headers.get("Location")
    if location is None:
        return "the API promises no such answer: check base_url"
    try:
        # The query may carry a login's secrets.
        where = urlsplit(location)._replace(query="", fragment="").geturl()
    except ValueError:
        where = "an unreadable place"
    return f"redirected to {where}, which is not followed: check base_url"
