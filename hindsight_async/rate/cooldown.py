"""Whether the server lets anybody through at all, and how many at once.

A 429 closes the cooldown for everyone until the moment the server names. Then one request goes through as a probe
and the rest follow behind it: at once where the answer's headers say how many, else one more with each answer.
Pure: time and randomness are handed in.
"""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from hindsight_async.rate.headers import RateHeaders

if TYPE_CHECKING:
    from datetime import datetime

FIRST_PAUSE = 5.0
"""Seconds the cooldown stays closed after a 429 that names no wait; doubled each time the probe is refused too."""

LONGEST_PAUSE = 60.0
"""Seconds up to which that pause grows: by then every counting window has passed."""

LARGEST_JITTER = 1.0
"""Seconds, at most, by which a cooldown opens later than named, so that not all programs come back at once."""

JITTER_SHARE = 0.1
"""Share of the wait up to which the jitter goes where the wait is short."""

AT_ONCE_WHEN_OPEN = 64
"""Requests under way at once from which on the cooldown counts as fully open again."""


class Cooldown:
    """Open, closed until a moment, or opening again behind a probe. It starts with one probe: the cold start."""

    __slots__ = (
        "_at_once",
        "_cold",
        "_pause",
        "_random",
        "_under_way",
        "closing",
        "opens_at",
        "quota",
        "reset_at",
    )

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._at_once: float = 1
        self._cold = True
        self._pause = FIRST_PAUSE
        self._under_way = 0
        self.closing = 0
        self.opens_at = -inf
        self.quota = False
        self.reset_at: datetime | None = None

    @property
    def probing(self) -> bool:
        """Whether the next to leave has to wait for the answer to one that is under way."""
        return self._under_way >= self._at_once

    @property
    def fully_open(self) -> bool:
        """Whether one more answer that lets a request through would change nothing."""
        return self._at_once == inf and self._pause == FIRST_PAUSE

    def admits(self, now: float) -> bool:
        """Tell whether one more may pass."""
        return now >= self.opens_at and self._under_way < self._at_once

    def closed(self, now: float) -> bool:
        """Tell whether nobody may pass."""
        return now < self.opens_at

    def enter(self) -> int:
        """Pass; hand the number back to the other methods with what became of the request."""
        self._under_way += 1
        return self.closing

    def leave(self, closing: int, *, sent: bool) -> None:
        """Note that this request is over, answered or not."""
        if closing != self.closing:
            return
        self._under_way -= 1
        if self._cold and sent:
            self._cold = False
            self._at_once = inf

    def abandon(self) -> None:
        """Forget all requests under way."""
        self.closing += 1
        self._under_way = 0

    def let_through(self, closing: int, headers: RateHeaders) -> None:
        """Note that the server answered this request with anything but a 429."""
        if closing != self.closing:
            return
        self._pause = FIRST_PAUSE
        self._at_once += 1
        if headers.remaining is not None or self._at_once > AT_ONCE_WHEN_OPEN:
            self._at_once = inf

    def refuse(self, closing: int, headers: RateHeaders, now: float) -> None:
        """Close after a 429. One to a request sent before the last closing only tells of a later reset."""
        quota = headers.usage_remaining == 0
        wait = named_wait(headers, quota=quota)
        if closing == self.closing:
            self._close()
            if not wait:
                wait = self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            wait += self._random() * min(LARGEST_JITTER, JITTER_SHARE * wait)
        if now + wait > self.opens_at:
            self.opens_at = now + wait
            self.quota = quota
            self.reset_at = headers.usage_period_end if quota else headers.reset_at

    def close_until(self, opens_at: float, reset_at: "datetime | None", *, quota: bool) -> None:
        """Close on the word of another process."""
        self._close()
        self.opens_at, self.reset_at, self.quota = opens_at, reset_at, quota

    def _close(self) -> None:
        self.abandon()
        self._at_once = 1
        self._cold = False


def named_wait(headers: RateHeaders, *, quota: bool) -> float:
    """Tell for how many seconds the server asks; 0 where it names none."""
    named = [headers.reset_in, headers.retry_after, headers.usage_reset_in if quota else None]
    return max((seconds for seconds in named if seconds is not None), default=0.0)
