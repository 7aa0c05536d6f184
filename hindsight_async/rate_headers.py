"""What an answer's headers say about when the server lets requests through again."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from attrs import frozen

MILLISECONDS_FROM = 1e11
"""A larger number is epoch milliseconds, as the API's newest page says; seconds reach it in the year 5138."""

EPOCH_SECONDS_FROM = 1e8
"""A smaller number is a wait in seconds; as epoch seconds it would lie in 1973."""

FARTHEST_RESET_SECONDS = 32 * 24 * 3600.0
"""A reset beyond the longest month is nonsense."""


@frozen(kw_only=True)
class RateHeaders:
    """The server's word: `reset_in` in seconds from now, and the same moment on its own clock."""

    reset_in: float | None = None
    reset_at: datetime | None = None


def parse_rate_headers(headers: Mapping[str, str], *, received_at: datetime) -> RateHeaders:
    """Read Retry-After, else X-RateLimit-Reset, against the answer's own Date.

    `received_at` stands in where the answer has no Date. What makes no sense is ignored.
    """
    now = _http_date(headers.get("Date", "")) or received_at
    for name in ("Retry-After", "X-RateLimit-Reset"):
        reset_in = _seconds_until(headers.get(name, ""), now)
        if reset_in is not None:
            return RateHeaders(reset_in=reset_in, reset_at=now + timedelta(seconds=reset_in))
    return RateHeaders()


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        number = float(text)
    except ValueError:
        moment = _http_date(text)
        if moment is None:
            return None
        number = moment.timestamp()
    if number >= MILLISECONDS_FROM:
        number /= 1000
    wait = number - now.timestamp() if number >= EPOCH_SECONDS_FROM else number
    return wait if math.isfinite(wait) and 0 <= wait <= FARTHEST_RESET_SECONDS else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
