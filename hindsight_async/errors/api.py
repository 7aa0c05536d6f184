"""What the server answers with instead of a success, by its status."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hindsight_async.errors.root import Delivery, HindsightError


class APIError(HindsightError):
    """The server answered with an error (page integrations/api, "Errors").

    Attributes:
        status: The HTTP status.
        code: What the body calls the error, such as "rate_limit_exceeded"; None where it names none.
        message: What the body says of it.
        details: What else the body says of it; {} where that is nothing.
        retry_after: Seconds that the server asked to wait, None where it did not.

    """

    _usual_delivery = Delivery.REJECTED

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.message = message
        self.status = status
        self.code = code
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after = retry_after

    def _what_happened(self) -> str:
        code = f" {self.code}" if self.code else ""
        return f"the server answered {self.status}{code}: {self.message}"


class BadRequestError(APIError):
    """400: a parameter is missing or wrong, or a sequence, interview type or deal is not yours."""


class UnauthorizedError(APIError):
    """401: the API key is missing or invalid."""


class ForbiddenError(APIError):
    """403: the key's role may not do this."""


class NotFoundError(APIError):
    """404: no such object in this organisation."""


class RateLimitExceededError(APIError):
    """429: the organisation's requests per minute, or its monthly quota, are used up.

    Attributes:
        reset_at: When the server says that it lets requests through again, aware; None where it named nothing.

    """

    def __init__(self, message: str, *, reset_at: datetime | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.reset_at = reset_at


class QuotaExceededError(RateLimitExceededError):
    """The monthly quota is used up, or the server asks for a longer wait than the session takes; raised at once.

    One request tries every few minutes all the same.

    Attributes:
        retry_after: Seconds until the next one does.
        code: The API's for a 429.

    """

    _usual_delivery = Delivery.NOT_SENT

    def __init__(self, message: str, *, status: int = 429, **fields: Any) -> None:
        super().__init__(message, status=status, **fields)

    def _what_happened(self) -> str:
        return self.message


class InternalServerError(APIError):
    """5xx: the server failed, before or after the request took effect."""

    _usual_delivery = Delivery.UNKNOWN


class ExportExpiredError(APIError):
    """The server no longer takes the link of an export, which is good for 7 days: start another export."""
