"""What the organisation may still send: the rate limit and the month together, and the headers that tell."""

import asyncio
import math
from datetime import UTC, datetime
from typing import Any

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
        return self.wall_at(self.now())

    def wall_at(self, loop_time: float) -> datetime:
        """Return the wall clock's time at a time of the loop."""
        return datetime.fromtimestamp(loop_time + self.wall_offset, UTC)


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
        self.limit = limit
        self.monthly = monthly
        self._clock = clock
        self._resets_per_second = resets_per_second

    def admit(self) -> bool:
        """Count a request and return True, or return False and count nothing."""
        # The month is looked at first and counted last: what the minute refuses uses up none of it.
        if self.monthly is not None and not self.monthly.remaining(self._clock.wall()):
            return False
        if not self.limit.take(self._clock.now()):
            return False
        return self.monthly is None or self.monthly.take(self._clock.wall())

    def charge_nothing(self) -> None:
        """Give the month back what `admit` took of it: the request was refused for what it asks."""
        if self.monthly is not None:
            self.monthly.give_back()

    def spend(self, requests: int) -> int:
        """Use up requests of the window and return how many passed."""
        now = self._clock.now()
        return sum(self.limit.take(now) for _ in range(requests))

    def allow_monthly(self, limit: int | None) -> None:
        """Let another number of requests pass in a month; what it has used up stays used up. None counts none."""
        if limit is None or self.monthly is None:
            self.monthly = None if limit is None else MonthlyAllowance(limit)
        else:
            self.monthly.limit = limit

    def forget_month(self) -> None:
        """Have nothing of the month used up."""
        self.monthly = self.monthly and MonthlyAllowance(self.monthly.limit)

    def left(self) -> dict[str, Any]:
        """Return what is left of the minute and of the month, None where none is counted, and when the minute resets."""
        now = self._clock.now()
        return {
            "minute": self.limit.remaining(now),
            "minute_resets_at": self._clock.wall_at(self.limit.reset_at(now))
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "month": self.monthly and self.monthly.remaining(self._clock.wall()),
        }

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
        remaining, reset_at = self.limit.remaining(now), self.limit.reset_at(now)
        if closed_for is not None:
            remaining, reset_at = 0, now + closed_for if closed_for else reset_at
        # Rounded up, so that whoever waits until then is not too early; but the end of a minute is a whole one.
        reset = reset_at + self._clock.wall_offset - FLOAT_RESIDUE
        return {
            "X-RateLimit-Limit": str(self.limit.limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(math.ceil(reset * self._resets_per_second)),
        }

    def _usage_headers(self) -> dict[str, str]:
        if self.monthly is None:
            return {}
        now = self._clock.wall()
        remaining = self.monthly.remaining(now)
        return {
            "X-Usage-Used": str(self.monthly.limit - remaining),
            "X-Usage-Limit": str(self.monthly.limit),
            "X-Usage-Remaining": str(remaining),
            "X-Usage-Period-End": self.monthly.period_end(now).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
