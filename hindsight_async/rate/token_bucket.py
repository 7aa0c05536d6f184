"""The token bucket that sets the pace: aiolimiter's, without its queue.

It is sized to the plan, and where other programs use the plan too, to what is left of it.
"""

import asyncio
from contextlib import suppress

MINUTE = 60.0

HALVINGS = 10
"""How often the bracket around the bucket's level is halved; the wait for a token is right to 1/1024 of it."""


class TokenBucket:
    """`requests_per_minute` on average, `burst` of them at once; belongs to the running event loop.

    Only the next in line asks here: aiolimiter keeps no order among those who wait in it, and a token that a waiter
    takes along when it is cancelled is gone.
    """

    __slots__ = (
        "_limiter",
        "_loop",
        "_returned",
        "_token_seconds",
        "burst",
        "requests_per_minute",
        "spreads",
    )

    def __init__(self, requests_per_minute: float, burst: int | None) -> None:
        self.burst = min(burst or requests_per_minute, requests_per_minute)
        self.requests_per_minute = requests_per_minute
        # With a burst of N the bucket lets N + N x T / 60 through in T seconds. The window lets at most N through in
        # any 60, so never more than that: then there is nothing to ask here.
        self.spreads = self.burst < requests_per_minute
        self._token_seconds = MINUTE / requests_per_minute
        if self.spreads:
            from aiolimiter import AsyncLimiter  # noqa: PLC0415  later: with its usual burst a plan needs none

            self._limiter: AsyncLimiter = AsyncLimiter(self.burst, self.burst * self._token_seconds)
        # The event loop that the bucket's level is of.
        self._loop: asyncio.AbstractEventLoop | None = None
        # Tokens put back unused, which aiolimiter cannot take.
        self._returned = 0

    def refitted(self, requests_per_minute: float, burst: int | None) -> "TokenBucket":
        """Make one of another size, from which the next token comes no sooner than from this one."""
        refitted = TokenBucket(requests_per_minute, burst)
        wait = self.seconds_until_ready()
        if refitted.spreads:
            missing = refitted.burst - 1 + wait / refitted._token_seconds
            # A pace that follows a burst begins with no more than the token that is due.
            refitted._take(min(float(refitted.burst), missing) if self.spreads or wait else 0.0)
        return refitted

    def ready(self) -> bool:
        """Tell whether there is a token; a bucket that nobody has used on this event loop is full."""
        self._forget_returned()
        return not self.spreads or self._returned > 0 or not self._is_in_use() or self._limiter.has_capacity()

    def take(self) -> None:
        """Take a token; ask `spreads` and `ready` first."""
        if self._returned:
            self._returned -= 1
            return
        self._take(1.0)

    def _take(self, amount: float) -> None:
        self._loop = asyncio.get_running_loop()
        acquiring = self._limiter.acquire(amount)
        with suppress(StopIteration):
            # Where there is capacity this runs to its end without waiting, so that no task is needed for it.
            acquiring.send(None)
        acquiring.close()

    def put_back(self) -> None:
        """Return a token that was not used."""
        if self.spreads:
            self._returned += 1

    def _forget_returned(self) -> None:
        """Let go of returned tokens that time has put in again: together they are never more than `burst`, and a part."""
        while self._returned and self._limiter.has_capacity(self.burst - self._returned + 1):
            self._returned -= 1

    def seconds_until_ready(self) -> float:
        """Tell how long until there is a token."""
        if self.ready():
            return 0.0
        there, missing = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (there + missing) / 2
            if self._limiter.has_capacity(middle):
                there = middle
            else:
                missing = middle
        return (1.0 - there) * self._token_seconds

    def _is_in_use(self) -> bool:
        return self._loop is not None and self._loop is asyncio._get_running_loop()  # noqa: SLF001  the documented one raises

    def seconds_for(self, ahead: int) -> float:
        """Tell how long it takes at least until those ahead and one more have their tokens."""
        return max(0, ahead + 1 - self.burst) * self._token_seconds
