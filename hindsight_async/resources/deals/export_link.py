"""The link of an export: whether it is one, what of it is secret, and when it is too old."""

from datetime import datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from hindsight_async.errors import (
    APIError,
    DecodeError,
    Delivery,
    ExportExpiredError,
    HindsightError,
    RateLimitExceededError,
)

SHORTEST_SECRET = 4
"""How many characters of a link's query are taken for a secret; fewer would blot out words."""


def checked_link(link: str) -> str:
    """Return an address as it is, or relative to that of the API; raise DecodeError for what is none."""
    try:
        parts = urlsplit(link)
        _ = parts.port  # which raises for what is no port
    except ValueError:
        pass
    else:
        if parts.username is None and link.isascii() and link.isprintable() and " " not in link:
            return link
    raise DecodeError("download_url of the export is no address", problems=("no address @ $.download_url",))


def is_expired(error: APIError, expires_at: datetime | None, now: datetime) -> bool:
    """Return whether the answer to a link means that this is too old; which one that is the API does not say."""
    if error.status == HTTPStatus.GONE:
        return True
    if error.delivery is not Delivery.REJECTED or isinstance(error, RateLimitExceededError):
        return False
    is_past = expires_at is not None and expires_at <= now
    return is_past or "expired" in f"{error.code} {error.message}".lower()


def expired(error: APIError) -> ExportExpiredError:
    """Return what such an answer is raised as."""
    gone = ExportExpiredError(
        error.message,
        status=error.status,
        code=error.code,
        details=error.details,
        method=error.method,
        path=error.path,
        attempts=error.attempts,
    )
    gone.http = error.http
    return gone


def hide_link(error: HindsightError, link: str) -> None:
    """Take a link, and each secret in it, out of an error."""
    query = urlsplit(link).query
    error.hide(link, "<link>")
    for secret in sorted({query, *(value for _, value in parse_qsl(query))}, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            error.hide(secret, "<link>")
