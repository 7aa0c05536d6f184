"""What a response's headers say about the limits, as plain values.

Pure: no clock, no logging, nothing raises. A value that makes no sense is left out and the name of its header
goes into `problems`, so that the caller can warn once per kind.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from attrs import field, frozen

LARGEST_LIMIT = 1_000_000
"""A limit per minute above this is a mistake, not a plan."""

FARTHEST_RESET = 366 * 86400.0
"""Seconds; a reset further from now than a year, either way, is a mistake."""

FARTHEST_RESET_WITHOUT_DATE = 120.0
"""Seconds; a moment on the server's clock cannot be told from a wrong local clock without a Date header."""

EPOCH_SECONDS_FROM = 1e8
"""Smaller numbers are seconds from now; those from here on are seconds since 1970."""

EPOCH_MILLISECONDS_FROM = 1e11
"""Numbers from here on are milliseconds since 1970."""

LIMIT = "X-RateLimit-Limit"
REMAINING = "X-RateLimit-Remaining"
RESET = "X-RateLimit-Reset"

_LONGEST_COUNT = 12
_NUMBER = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_PLAUSIBLE_YEARS = range(2000, 2200)


@frozen
class RateHeaders:
    """The limits as one response names them; None where it names nothing that makes sense.

    `limit` and `remaining` are requests per minute; `reset_in`, `retry_after` and `usage_reset_in` are seconds
    from the response's own date, finite and never negative; `usage_remaining` is what is left of the month's requests.
    `problems` names the headers whose values made no sense; `date` is when the response was written.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    retry_after: float | None = None
    usage_remaining: int | None = None
    usage_reset_in: float | None = None
    problems: tuple[str, ...] = ()
    date: datetime | None = field(default=None, eq=False)

    @property
    def reset_at(self) -> datetime | None:
        """`reset_in` as a moment on the server's clock (aware)."""
        return self._after(self.reset_in)

    @property
    def usage_period_end(self) -> datetime | None:
        """`usage_reset_in` as a moment on the server's clock (aware)."""
        return self._after(self.usage_reset_in)

    @property
    def opens_in(self) -> float | None:
        """Seconds until the server lets requests through again: the later of what it names."""
        return max((wait for wait in (self.reset_in, self.retry_after) if wait is not None), default=None)

    @property
    def opens_at(self) -> datetime | None:
        """The same moment on the server's clock."""
        return self._after(self.opens_in)

    def _after(self, seconds: float | None) -> datetime | None:
        return None if seconds is None or self.date is None else self.date + timedelta(seconds=seconds)


def parse_rate_headers(headers: Mapping[str, str], *, received_at: datetime) -> RateHeaders:
    """Read the rate headers of one response.

    Args:
        headers: The response's, looked up without regard to case, as aiohttp's are.
        received_at: The local time, aware; stands in where the response carries no Date.

    Returns:
        What made sense. Nothing is raised.

    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    get = headers.get
    date = epoch = None
    text = get("Date")
    if text is not None:
        date, epoch = _dated(text.strip())
        if date is None:
            problems.append("Date")
    for name, header, parse in _COUNTS:
        text = get(header)
        if text is not None:
            value = found[name] = parse(text.strip())
            if value is None:
                problems.append(header)
    if (
        (remaining := found.get("remaining")) is not None
        and (limit := found.get("limit")) is not None
        and remaining > limit
    ):
        problems.append(REMAINING)
        found["remaining"] = None
    for name, header in _MOMENTS:
        text = get(header)
        if text is not None:
            seconds = found[name] = _seconds_until(text.strip(), epoch, received_at)
            if seconds is None:
                problems.append(header)
    return RateHeaders(problems=tuple(problems), date=date or received_at, **found)


def _seconds_until(text: str, epoch: float | None, received_at: datetime) -> float | None:
    """Read a delta, an epoch in seconds or milliseconds, or a date; one in the past is 0 seconds away."""
    moment: float
    if _NUMBER.fullmatch(text):
        moment = float(text)
        if moment < EPOCH_SECONDS_FROM:
            return moment if moment <= FARTHEST_RESET else None
        if moment >= EPOCH_MILLISECONDS_FROM:
            moment /= 1000
    else:
        date = _http_date(text) or _iso_date(text)
        if date is None:
            return None
        moment = date.timestamp()
    if epoch is None:
        farthest, seconds = FARTHEST_RESET_WITHOUT_DATE, moment - received_at.timestamp()
    else:
        farthest, seconds = FARTHEST_RESET, moment - epoch
    return max(0.0, seconds) if abs(seconds) <= farthest else None


def count_in(text: str) -> int | None:
    """Read a whole number; None where it is none, or too long to be one."""
    return int(text) if len(text) <= _LONGEST_COUNT and text.isascii() and text.isdigit() else None


def _limit(text: str) -> int | None:
    count = count_in(text)
    return count if count is not None and 1 <= count <= LARGEST_LIMIT else None


_COUNTS = (
    ("limit", LIMIT, _limit),
    ("remaining", REMAINING, count_in),
    ("usage_remaining", "X-Usage-Remaining", count_in),
)
_MOMENTS = (
    ("reset_in", RESET),
    ("usage_reset_in", "X-Usage-Period-End"),
    ("retry_after", "Retry-After"),
)


@lru_cache(maxsize=8)
def _dated(text: str) -> tuple[datetime | None, float | None]:
    # Cached because every answer of one second carries the same Date, and parsing it costs more than the rest.
    date = _http_date(text)
    return (None, None) if date is None else (date, date.timestamp())


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _plausible(date)


def _iso_date(text: str) -> datetime | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _plausible(date)


def _plausible(date: datetime) -> datetime | None:
    if date.year not in _PLAUSIBLE_YEARS:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
