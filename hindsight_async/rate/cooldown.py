"""Whether the server lets anybody through at all, and how many at once.

A 429 starts a cooldown: it is closed for everyone until the moment the server names. Then one request goes through as
a probe and the rest follow behind it: at once where the answer's headers say how many may, else one more with each
answer.
Pure: time and randomness are handed in.
"""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from hindsight_async.rate.headers import RateHeaders

if TYPE_CHECKING:
    from datetime import datetime

FIRST_PAUSE = 5.0
"""Seconds that all is closed after a 429 that names no wait; doubled each time the probe is refused too."""

LONGEST_PAUSE = 60.0
"""Seconds up to which that pause grows: by then every counting window has passed."""

LARGEST_JITTER = 1.0
"""Seconds, at most, by which it opens later than named, so that not all programs come back at once."""

JITTER_SHARE = 0.1
"""Share of the wait up to which the jitter goes where the wait is short."""

AT_ONCE_WHEN_OPEN = 64
"""Requests under way at once from which on it counts as fully open again."""


class Cooldown:
    """Open, closed until a moment, or opening behind a probe; it starts with a probe, since nothing is known yet.

    Args:
        random: Returns a number in [0, 1), for the jitter.

    """

    __slots__ = (
        "_at_once",
        "_cold",
        "_pause",
        "_random",
        "_under_way",
        "generation",
        "opens_at",
        "quota",
        "reset_at",
    )

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        # How many may be under way: 1 for the probe, more with each answer, inf when fully open.
        self._at_once: float = 1
        # Whether nothing was ever sent. The end of the first request opens fully even without an answer: a server
        # that cannot be reached has refused nobody.
        self._cold = True
        # Seconds for the next 429 that names no wait.
        self._pause = FIRST_PAUSE
        # Requests of this generation that are not over.
        self._under_way = 0
        # Counts closings and changes of the event loop: what is heard of a request of an earlier generation tells
        # nothing about whether the server lets requests through now.
        self.generation = 0
        # The moment from which on a probe may go.
        self.opens_at = -inf
        # Whether it is the monthly quota that is used up; then nobody waits.
        self.quota = False
        # When it opens, on the server's clock.
        self.reset_at: datetime | None = None

    @property
    def probing(self) -> bool:
        """Whether the next to leave has to wait for one under way to be answered."""
        return self._under_way >= self._at_once

    @property
    def may_begin(self) -> float:
        """How many more may leave while it is not closed; inf where it is fully open."""
        return max(0, self._at_once - self._under_way)

    @property
    def fully_open(self) -> bool:
        """Whether one more answer that lets a request through would change nothing."""
        return self._at_once == inf and self._pause == FIRST_PAUSE

    def admits(self, now: float) -> bool:
        """Tell whether one more request may leave."""
        return now >= self.opens_at and self._under_way < self._at_once

    def closed(self, now: float) -> bool:
        """Tell whether no request may leave."""
        return now < self.opens_at

    def begin(self) -> int:
        """Note that a request leaves; return the generation, which the other methods ask for."""
        self._under_way += 1
        return self.generation

    def end(self, generation: int, *, sent: bool) -> None:
        """Note that a request is over, answered or not, or was never sent."""
        if generation != self.generation:
            return
        self._under_way -= 1
        if self._cold and sent:
            self._cold = False
            self._at_once = inf

    def abandon(self) -> None:
        """Forget all requests under way."""
        self.generation += 1
        self._under_way = 0

    def confirm(self, generation: int, headers: RateHeaders) -> None:
        """Note that the server answered a request with anything but a 429."""
        if generation != self.generation:
            return
        self._pause = FIRST_PAUSE
        self._at_once += 1
        if headers.remaining is not None or self._at_once > AT_ONCE_WHEN_OPEN:
            self._at_once = inf

    def close(self, generation: int, headers: RateHeaders, now: float) -> None:
        """Close after a 429. One to a request of an earlier generation only tells of a later reset."""
        quota = headers.usage_remaining == 0
        wait = named_wait(headers, quota=quota)
        if generation == self.generation:
            self._begin_generation()
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
        self._begin_generation()
        self.opens_at, self.reset_at, self.quota = opens_at, reset_at, quota

    def _begin_generation(self) -> None:
        self.abandon()
        self._at_once = 1
        self._cold = False


def named_wait(headers: RateHeaders, *, quota: bool) -> float:
    """Tell for how many seconds the server asks; 0 where it names none."""
    named = [headers.reset_in, headers.retry_after, headers.usage_reset_in if quota else None]
    return max((seconds for seconds in named if seconds is not None), default=0.0)
