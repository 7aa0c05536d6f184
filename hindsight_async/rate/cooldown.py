"""Whether the server lets anybody through at all, and how many at once.

A 429 starts a cooldown: it is closed for everyone until the moment the server names. Then one request goes through as
a probe and the rest follow behind it: at once where the answer's headers say how many may, else one more with each
answer. Where the server names a longer wait than anybody here takes, nobody waits: a probe goes every few minutes all the
same, and everybody else is turned away.
Pure: time and randomness are handed in.
"""

from collections.abc import Callable
from datetime import datetime
from math import inf

from hindsight_async.rate.headers import RateHeaders

FIRST_PAUSE = 5.0
"""Seconds that all is closed after a 429 that names no wait; doubled each time the probe is refused too."""

LONGEST_PAUSE = 60.0
"""Seconds up to which that pause grows: by then every counting window has passed."""

PROBED_EVERY = 300.0
"""Seconds between probes while the server asks for a longer wait than anybody takes.

A refused request has no effect there, while a single 429 that names months, of a proxy or of a server whose plan was
raised since, would end all sending for months.
"""

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
        max_rate_wait: Seconds; nobody waits where the server asks for more.

    """

    __slots__ = (
        "_asked_until",
        "_at_once",
        "_cold",
        "_max_rate_wait",
        "_pause",
        "_random",
        "_under_way",
        "generation",
        "opens_at",
        "quota",
        "reset_at",
    )

    def __init__(self, random: Callable[[], float], max_rate_wait: float) -> None:
        self._random = random
        self._max_rate_wait = max_rate_wait
        # How many may be under way: 1 for the probe, more with each answer, inf when fully open.
        self._at_once: float = 1
        # True until the first request of all ends, which opens fully even if it never left: a server that cannot be
        # reached has refused nobody.
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
        # The moment until which the server asked to wait, which may be long after that; -inf once a probe has passed.
        self._asked_until = -inf
        # Whether it is the monthly quota that is used up; then nobody waits.
        self.quota = False
        # What the server named, on its own clock; None where it named nothing.
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

    def turns_away(self, now: float) -> bool:
        """Tell whether nobody is to wait for it to open, nor for the answer to the probe that is under way."""
        return (self.closed(now) or self.probing) and self._opens_for_nobody(now)

    def next_probe_in(self, now: float) -> float:
        """Tell in how many seconds one may probe: soon, where the answer to one under way is to tell."""
        return self.opens_at - now if self.closed(now) else FIRST_PAUSE

    def _opens_for_nobody(self, now: float) -> bool:
        return self.quota or max(self._asked_until, self.opens_at) - now > self._max_rate_wait

    def begin(self) -> int:
        """Note that a request leaves; return the generation, which the other methods ask for."""
        self._under_way += 1
        return self.generation

    def end(self, generation: int, now: float) -> None:
        """Note that a request is over, answered or not."""
        self._leave(generation)
        if generation == self.generation and now < self._asked_until:
            # A probe that was not answered tells no more than one that was refused.
            self.opens_at = self._next_probe_at(now)

    def put_back(self, generation: int) -> None:
        """Note that nothing of a request left after all; if it was a probe, the next one may go."""
        self._leave(generation)

    def _leave(self, generation: int) -> None:
        if generation != self.generation:
            return
        self._under_way -= 1
        if self._cold:
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
        self._asked_until, self.quota = -inf, False
        self._at_once += 1
        if headers.remaining is not None or self._at_once > AT_ONCE_WHEN_OPEN:
            self._at_once = inf

    def close(self, generation: int, headers: RateHeaders, now: float) -> None:
        """Close after a 429.

        One that answers a request of an earlier generation, sent before it last closed, counts only where it names a later
        end: that of the same closing, which was found too short.
        """
        quota = headers.usage_remaining == 0
        wait = named_wait(headers, quota=quota)
        reset_at = _reset_named(headers, quota=quota) if wait else None
        if generation == self.generation:
            self._begin_generation()
            if not wait:
                wait = self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            wait += self._random() * min(LARGEST_JITTER, JITTER_SHARE * wait)
        elif not wait or now + wait <= max(self._asked_until, self.opens_at):
            return
        self._asked_until, self.reset_at, self.quota = now + wait, reset_at, quota
        self.opens_at = max(self.opens_at, self._next_probe_at(now))

    def _next_probe_at(self, now: float) -> float:
        return min(self._asked_until, now + PROBED_EVERY if self._opens_for_nobody(now) else inf)

    def close_until(self, opens_at: float, reset_at: datetime | None, *, quota: bool) -> None:
        """Close on the word of another process."""
        self._begin_generation()
        self.opens_at = self._asked_until = opens_at
        self.reset_at, self.quota = reset_at, quota

    def _begin_generation(self) -> None:
        self.abandon()
        self._at_once = 1
        self._cold = False


def named_wait(headers: RateHeaders, *, quota: bool) -> float:
    """Tell for how many seconds the server asks; 0 where it names none."""
    named = [headers.opens_in, headers.usage_reset_in if quota else None]
    return max((seconds for seconds in named if seconds is not None), default=0.0)


def _reset_named(headers: RateHeaders, *, quota: bool) -> datetime | None:
    """Tell until when that is, on the server's clock."""
    named = [headers.opens_at, headers.usage_period_end if quota else None]
    return max((moment for moment in named if moment is not None), default=None)
