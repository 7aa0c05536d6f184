"""What the server says: an answer as plain values, and the standard error envelope."""

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

ERROR_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
}
"""The code the envelope carries for a status; every other status carries `internal_error`."""

ERROR_MESSAGES = {
    400: "Invalid parameters",
    401: "Invalid API key",
    403: "Your role does not have permission to do this.",
    404: "Not found",
    405: "Method not allowed",
    429: "Rate limit exceeded. Please retry after the reset time in the response headers.",
}
"""The message where nothing more exact is known."""


@frozen
class Answer:
    """What the server answers, before it is put on the wire."""

    status: int
    body: bytes = field(default=b"", repr=False)
    """Out of the repr, since it may hold a survey token."""
    headers: Mapping[str, str] = {}
    charged: bool = True
    """Whether the request counts against the month."""
    pieces: tuple[bytes, ...] = field(default=(), repr=False)
    """Of a stream: its body in the pieces in which it leaves, of a length that is not told before."""
    pause: float = 0.0
    """Seconds between two of them."""


class WrongRequestError(Exception):
    """The request is wrong.

    Args:
        answer: Says why, to the caller.

    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def overlay(headers: Mapping[str, str], stronger: Mapping[str, str]) -> dict[str, str]:
    """Return both sets of headers; where they name the same one, in whatever case, the stronger wins."""
    replaced = {name.lower() for name in stronger}
    return {name: value for name, value in headers.items() if name.lower() not in replaced} | dict(stronger)


def json_answer(status: int, document: Any) -> Answer:
    """Return an answer whose body is this document as JSON."""
    # What UTF-8 has no bytes for, half of a surrogate pair, stays the escape by which it came in.
    body = json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace")
    return Answer(status, body, {"Content-Type": "application/json; charset=utf-8"})


def error_answer(status: int, message: str | None = None, **details: Any) -> Answer:
    """Return the standard error envelope; `details` is left out where there is nothing to say."""
    error: dict[str, Any] = {
        "code": ERROR_CODES.get(status, "internal_error"),
        "message": message or ERROR_MESSAGES.get(status, "An unexpected error occurred"),
    }
    return json_answer(status, {"error": error | ({"details": details} if details else {})})


def wrong_request(status: int, message: str, **details: Any) -> WrongRequestError:
    """Return the error to raise for a request that is wrong."""
    return WrongRequestError(error_answer(status, message, **details))
