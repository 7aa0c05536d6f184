"""What a response's headers say about the limits, as plain values.

Pure: no clock, no logging, nothing raises. A value that makes no sense is left out and the name of its header
goes into `problems`, so that the caller can warn once per kind.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TypeVar

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

_COUNT = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_PLAUSIBLE_YEARS = range(2000, 2200)

T = TypeVar("T")


@frozen
class RateHeaders:
    """The limits as one response names them; None where it names nothing that makes sense.

    `limit` and `remaining` are requests per minute; `reset_in`, `retry_after` and `usage_reset_in` are seconds
    from the response's own date, finite and never negative; `reset_at` and `usage_period_end` are aware
    datetimes on the server's clock; `usage_remaining` is what is left of the month. `problems` holds the names
    of the headers whose values made no sense; `date` is when the response was written.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    reset_at: datetime | None = None
    retry_after: float | None = None
    usage_remaining: int | None = None
    usage_period_end: datetime | None = None
    usage_reset_in: float | None = None
    problems: tuple[str, ...] = ()
    date: datetime | None = field(default=None, eq=False)

    @property
    def opens_in(self) -> float | None:
        """Seconds until the server lets requests through again: the later of what it names."""
        return max((wait for wait in (self.reset_in, self.retry_after) if wait is not None), default=None)

    @property
    def opens_at(self) -> datetime | None:
        """The same moment on the server's clock."""
        wait = self.opens_in
        return None if wait is None or self.date is None else self.date + timedelta(seconds=wait)


def parse_rate_headers(headers: Mapping[str, str], *, received_at: datetime) -> RateHeaders:
    """Read the rate headers of one response.

    `headers` looks its keys up without regard to case, as aiohttp's do; `received_at` is the local time (aware)
    and stands in where the response carries no Date. Never raises.
    """
    problems: list[str] = []

    def read(name: str, parse: Callable[[str], T | None]) -> T | None:
        text = headers.get(name)
        if text is None:
            return None
        value = parse(text.strip())
        if value is None:
            problems.append(name)
        return value

    date = read("Date", _http_date)
    clock = _ServerClock(date or received_at, named=date is not None)
    limit = read("X-RateLimit-Limit", _limit)
    remaining = read("X-RateLimit-Remaining", _count)
    if limit is not None and remaining is not None and remaining > limit:
        problems.append("X-RateLimit-Remaining")
        remaining = None
    reset_in = read("X-RateLimit-Reset", clock.seconds_until)
    usage_reset_in = read("X-Usage-Period-End", clock.seconds_until)
    return RateHeaders(
        limit=limit,
        remaining=remaining,
        reset_in=reset_in,
        reset_at=clock.after(reset_in),
        retry_after=read("Retry-After", clock.seconds_until),
        usage_remaining=read("X-Usage-Remaining", _count),
        usage_period_end=clock.after(usage_reset_in),
        usage_reset_in=usage_reset_in,
        problems=tuple(problems),
        date=date or received_at,
    )


class _ServerClock:
    """Turns the moments a response names into seconds from when it was written."""

    __slots__ = ("_named", "_now")

    def __init__(self, now: datetime, *, named: bool) -> None:
        self._now = now
        self._named = named

    def seconds_until(self, text: str) -> float | None:
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
        farthest = FARTHEST_RESET if self._named else FARTHEST_RESET_WITHOUT_DATE
        seconds = moment - self._now.timestamp()
        return max(0.0, seconds) if abs(seconds) <= farthest else None

    def after(self, seconds: float | None) -> datetime | None:
        """Name the moment that lies so many seconds ahead."""
        return None if seconds is None else self._now + timedelta(seconds=seconds)


def _count(text: str) -> int | None:
    return int(text) if _COUNT.fullmatch(text) else None


def _limit(text: str) -> int | None:
    count = _count(text)
    return count if count is not None and 1 <= count <= LARGEST_LIMIT else None


@lru_cache(maxsize=8)
def _http_date(text: str) -> datetime | None:
    # Cached because every answer of one second carries the same Date, and parsing it costs more than the rest.
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
