"""How the server counts requests: pure, with the moment handed in, so that simulations need no HTTP.

Every limit offers the same four things, all in seconds on one clock that never runs backwards:
`limit`, `take(now)` (count one request, or refuse it and count nothing), `remaining(now)`, and `reset_at(now)`:
what X-RateLimit-Reset tells. For a weighted window that is the end of the wall clock's minute, whatever is left. For the
others it is the moment a request would next be let through if none is left, else the moment the whole limit is free again.
"""

from collections import deque
from datetime import UTC, datetime
from math import floor
from typing import Literal, Protocol

WINDOW_SECONDS = 60.0
"""The length of every rate window."""

WINDOW_MILLISECONDS = 60_000
"""The same for the one that counts on a clock of whole milliseconds."""

FLOAT_RESIDUE = 1e-6
"""What sums of floats may be short of a whole token or a whole minute."""

Window = Literal["weighted", "sliding", "fixed", "bucket", "aligned"]
"""The ways of counting: see the class of each."""


class RateLimit(Protocol):
    """What every way of counting offers."""

    limit: int

    def take(self, now: float) -> bool:
        """Count a request and return True, or return False and count nothing."""
        ...

    def remaining(self, now: float) -> int:
        """Return how many requests would be let through at this moment."""
        ...

    def reset_at(self, now: float) -> float:
        """Return what X-RateLimit-Reset tells."""
        ...


class WeightedWindow:
    """At most `limit` requests in the wall clock's minute and what is still counted of the one before.

    A request is refused where floor((1 - x) * last) + current >= limit: `current` and `last` are what was let through in
    this minute of the wall clock and in the one before, and x is the part of this one that is over. That is how serverless
    limiters estimate a sliding window from two counters. After a full minute it therefore lets through one request each
    60 / limit seconds, and in the very millisecond of its reset none.

    Args:
        limit: How many pass.
        wall_offset: Seconds by which the wall clock is ahead of `now`.
        refusals_cached: Whether one refusal closes the window until the minute has ended, as where a server keeps in memory
            whom it has refused.

    """

    def __init__(self, limit: int, wall_offset: float = 0.0, *, refusals_cached: bool = False) -> None:
        self.limit = limit
        self._phase = wall_offset % WINDOW_SECONDS  # seconds into a wall-clock minute at which `now` is 0
        self._refusals_cached = refusals_cached
        self._minute: int = 0  # the minute that `_current` counts; `_last` counts the one before
        self._current = 0
        self._last = 0
        self._closed_through = -1  # the last millisecond for which a refusal is remembered

    def take(self, now: float) -> bool:
        """Count a request and return True, or return False and count nothing."""
        if not self.remaining(now):
            if self._refusals_cached and not self._is_closed(now):
                self._closed_through = self._minute_end(now)
            return False
        self._current += 1
        return True

    def remaining(self, now: float) -> int:
        """Return how many requests would be let through at this moment."""
        if self._is_closed(now):
            return 0
        minute, elapsed = divmod(self._millisecond(now), WINDOW_MILLISECONDS)
        if minute != self._minute:
            self._last = self._current if minute == self._minute + 1 else 0
            self._minute, self._current = minute, 0
        weighted = floor((1 - elapsed / WINDOW_MILLISECONDS) * self._last)
        return max(0, self.limit - (weighted + self._current))

    def reset_at(self, now: float) -> float:
        """Return when the current minute ends, or when a remembered refusal does."""
        end = self._closed_through if self._is_closed(now) else self._minute_end(now)
        return end / 1000 - self._phase

    def _is_closed(self, now: float) -> bool:
        return self._millisecond(now) <= self._closed_through

    def _millisecond(self, now: float) -> int:
        return floor((now + self._phase + FLOAT_RESIDUE) * 1000)

    def _minute_end(self, now: float) -> int:
        return (self._millisecond(now) // WINDOW_MILLISECONDS + 1) * WINDOW_MILLISECONDS


class SlidingWindow:
    """At most `limit` requests in any 60 seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free_again_at: deque[float] = deque()  # when each counted request is forgotten, oldest first

    def take(self, now: float) -> bool:
        """Count a request and return True, or return False and count nothing."""
        if not self.remaining(now):
            return False
        self._free_again_at.append(now + WINDOW_SECONDS)
        return True

    def remaining(self, now: float) -> int:
        """Return how many requests would be let through at this moment."""
        while self._free_again_at and self._free_again_at[0] <= now:
            self._free_again_at.popleft()
        return self.limit - len(self._free_again_at)

    def reset_at(self, now: float) -> float:
        """Return when the oldest request is forgotten if none is left, else when the newest is."""
        if not self.remaining(now):
            return self._free_again_at[0]
        return self._free_again_at[-1] if self._free_again_at else now


class FixedWindow:
    """At most `limit` requests in a window of 60 seconds, which the first request after the last one opens."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._ends_at = float("-inf")  # of the open window, or of the last one
        self._used = 0

    def take(self, now: float) -> bool:
        """Count a request and return True, or return False and count nothing."""
        if now >= self._ends_at:
            self._ends_at, self._used = now + WINDOW_SECONDS, 0
        if self._used == self.limit:
            return False
        self._used += 1
        return True

    def remaining(self, now: float) -> int:
        """Return how many requests would be let through at this moment."""
        return self.limit if now >= self._ends_at else self.limit - self._used

    def reset_at(self, now: float) -> float:
        """Return when the open window ends, or this moment where none is open."""
        return max(self._ends_at, now)


class AlignedWindow:
    """At most `limit` requests in each minute of the wall clock, which is ahead of `now` by `wall_offset` seconds."""

    def __init__(self, limit: int, wall_offset: float = 0.0) -> None:
        self.limit = limit
        self._phase = wall_offset % WINDOW_SECONDS  # seconds into a wall-clock minute at which `now` is 0
        self._minute: int = 0  # the minute that `_used` counts
        self._used = 0

    def take(self, now: float) -> bool:
        """Count a request and return True, or return False and count nothing."""
        if not self.remaining(now):
            return False
        self._used += 1
        return True

    def remaining(self, now: float) -> int:
        """Return how many requests would be let through at this moment."""
        minute = floor((now + self._phase + FLOAT_RESIDUE) / WINDOW_SECONDS)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        return self.limit - self._used

    def reset_at(self, now: float) -> float:
        """Return when the current minute ends, or this moment where nothing was counted in it."""
        if self.remaining(now) == self.limit:
            return now
        return (self._minute + 1) * WINDOW_SECONDS - self._phase


class TokenBucket:
    """A bucket of `limit` tokens, one taken per request, refilled evenly at `limit` per 60 seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._per_second = limit / WINDOW_SECONDS
        self._tokens = float(limit)
        self._counted_at = float("-inf")  # when there were so many tokens

    def take(self, now: float) -> bool:
        """Count a request and return True, or return False and count nothing."""
        if not self.remaining(now):
            return False
        self._tokens, self._counted_at = self._level(now) - 1, now
        return True

    def remaining(self, now: float) -> int:
        """Return how many requests would be let through at this moment."""
        return int(self._level(now) + FLOAT_RESIDUE)

    def reset_at(self, now: float) -> float:
        """Return when the next whole token is there if none is, else when the bucket is full."""
        wanted = self.limit if self.remaining(now) else 1
        return now + max(0.0, wanted - self._level(now)) / self._per_second

    def _level(self, now: float) -> float:
        return min(self.limit, self._tokens + (now - self._counted_at) * self._per_second)


def rate_limit(
    window: Window, requests_per_minute: int, *, wall_offset: float = 0.0, refusals_cached: bool = False
) -> RateLimit:
    """Return a fresh limit that counts this way.

    Args:
        window: The way of counting.
        requests_per_minute: How many pass, at least 1.
        wall_offset: Seconds to add to `now` to get the wall clock; only "weighted" and "aligned" ask.
        refusals_cached: Whether one refusal closes a weighted window until the minute has ended.

    Raises:
        ValueError: Fewer than one request per minute, an unknown window, or cached refusals in another than a weighted one.

    """
    if requests_per_minute < 1:
        raise ValueError(f"requests_per_minute must be at least 1, not {requests_per_minute}")
    if refusals_cached and window != "weighted":
        raise ValueError(f"refusals_cached goes with window='weighted', not {window!r}")
    match window:
        case "weighted":
            return WeightedWindow(requests_per_minute, wall_offset, refusals_cached=refusals_cached)
        case "sliding":
            return SlidingWindow(requests_per_minute)
        case "fixed":
            return FixedWindow(requests_per_minute)
        case "aligned":
            return AlignedWindow(requests_per_minute, wall_offset)
        case "bucket":
            return TokenBucket(requests_per_minute)
    raise ValueError(f"window must be weighted, sliding, fixed, bucket or aligned, not {window!r}")


class MonthlyAllowance:
    """At most `limit` requests in each calendar month, UTC; the moment is an aware datetime."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._period_end = datetime.min.replace(tzinfo=UTC)

    def take(self, now: datetime) -> bool:
        """Count a request and return True, or return False and count nothing."""
        if not self.remaining(now):
            return False
        self._used += 1
        return True

    def give_back(self) -> None:
        """Count one request less."""
        self._used = max(0, self._used - 1)

    def remaining(self, now: datetime) -> int:
        """Return how many requests are left this month."""
        if now >= self._period_end:
            self._period_end, self._used = self.period_end(now), 0
        return max(0, self.limit - self._used)

    @staticmethod
    def period_end(now: datetime) -> datetime:
        """Return the first moment of the next month, when the allowance is whole again."""
        year, month = divmod(now.year * 12 + now.month, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC)
