"""What the organisation may still send: the rate limit and the month together, and the headers that tell."""

import asyncio
import math
from datetime import UTC, datetime

from attrs import frozen

from hindsight_async.emulator.limits import FLOAT_RESIDUE, MonthlyAllowance, RateLimit


@frozen
class Clock:
    """The loop's clock, and a wall clock beside it that is ahead by `wall_offset` seconds."""

    loop: asyncio.AbstractEventLoop
    wall_offset: float

    def now(self) -> float:
        """Return the loop's time in seconds."""
        return self.loop.time()

    def wall(self) -> datetime:
        """Return the wall clock's time, aware and in UTC."""
        return datetime.fromtimestamp(self.now() + self.wall_offset, UTC)


class Quota:
    """Counts the requests of the organisation.

    Args:
        limit: How many pass in a minute, and how they are counted.
        monthly: How many pass in a month; None counts none.
        clock: The server's clocks.
        resets_per_second: The unit of X-RateLimit-Reset, 1000 or 1; None leaves X-RateLimit-* out.

    """

    def __init__(
        self,
        limit: RateLimit,
        monthly: MonthlyAllowance | None,
        clock: Clock,
        *,
        resets_per_second: int | None,
    ) -> None:
        self._limit = limit
        self._monthly = monthly
        self._clock = clock
        self._resets_per_second = resets_per_second

    def admit(self) -> bool:
        """Count a request and return True, or return False and count nothing."""
        # The month is looked at first and counted last: what the minute refuses uses up none of it.
        if self._monthly is not None and not self._monthly.remaining(self._clock.wall()):
            return False
        if not self._limit.take(self._clock.now()):
            return False
        return self._monthly is None or self._monthly.take(self._clock.wall())

    def charge_nothing(self) -> None:
        """Give the month back what `admit` took of it: the request was refused for what it asks."""
        if self._monthly is not None:
            self._monthly.give_back()

    def spend(self, requests: int) -> int:
        """Use up requests of the window and return how many passed."""
        now = self._clock.now()
        return sum(self._limit.take(now) for _ in range(requests))

    def headers(self, *, closed_for: float | None = None) -> dict[str, str]:
        """Return the headers that tell the truth now.

        Args:
            closed_for: Pretend that nothing is left, for that many seconds or, if 0, until the true reset.

        """
        return self._rate_headers(closed_for) | self._usage_headers()

    def _rate_headers(self, closed_for: float | None) -> dict[str, str]:
        if self._resets_per_second is None:
            return {}
        now = self._clock.now()
        remaining, reset_at = self._limit.remaining(now), self._limit.reset_at(now)
        if closed_for is not None:
            remaining, reset_at = 0, now + closed_for if closed_for else reset_at
        # Rounded up, so that whoever waits until then is not too early; but the end of a minute is a whole one.
        reset = reset_at + self._clock.wall_offset - FLOAT_RESIDUE
        return {
            "X-RateLimit-Limit": str(self._limit.limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(math.ceil(reset * self._resets_per_second)),
        }

    def _usage_headers(self) -> dict[str, str]:
        if self._monthly is None:
            return {}
        now = self._clock.wall()
        remaining = self._monthly.remaining(now)
        return {
            "X-Usage-Used": str(self._monthly.limit - remaining),
            "X-Usage-Limit": str(self._monthly.limit),
            "X-Usage-Remaining": str(remaining),
            "X-Usage-Period-End": self._monthly.period_end(now).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
