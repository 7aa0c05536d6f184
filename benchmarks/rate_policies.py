"""Ways to keep to a rate limit: ours, and what one would write or get instead.

Each sends one row over a `Line` to the simulated server, again and again until it is let through or the policy gives
up, and tells whether it was.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from aiolimiter import AsyncLimiter
from attrs import define, field

from hindsight_async import RateBudget
from hindsight_async.rate import BudgetClient
from simulated_server import LOCAL_EPOCH, MINUTE, Reply, SimulatedServer, local_clock

TOO_MANY_REQUESTS = 429
WORKERS = 50
SEED = 7

PATIENT_ATTEMPTS = 10
"""How often those try who wrote their own retries."""

GENERATED_ATTEMPTS = 3
"""How often the clients try that are generated from an API's description."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
"""Seconds between which the pauses of such a client double."""


@define(eq=False)
class Line:
    """The way to the server and back, which takes the seconds that `latency` draws."""

    server: SimulatedServer
    latency: Callable[[], float]
    draw: random.Random = field(factory=lambda: random.Random(SEED))  # noqa: S311  no secret

    async def request(self) -> Reply:
        """Send one request; it arrives somewhere on the way."""
        seconds = self.latency()
        there = seconds * self.draw.random()
        await asyncio.sleep(there)
        reply = self.server.arrive()
        await asyncio.sleep(seconds - there)
        return reply


class Policy(Protocol):
    """One way to send rows."""

    async def send(self, line: Line) -> bool:
        """Send one row; tell whether it was let through in the end."""
        ...


def backoff(attempt: int, draw: random.Random) -> float:
    """Double the pause with each attempt, less up to a quarter at random."""
    return min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE) * (1 - draw.random() / 4)


@define(eq=False)
class Ours:
    """hindsight-async's budget; it never gives a row up because of a 429."""

    _client: BudgetClient

    @classmethod
    def of(cls, plan: int) -> "Ours":
        """Make it for so many requests per minute."""
        draw = random.Random(SEED)  # noqa: S311  no secret
        return cls(RateBudget(plan, random=draw.random, wall_clock=local_clock).join(WORKERS))

    async def send(self, line: Line) -> bool:
        """Wait for a permit, send, and tell the budget what came back."""
        while True:
            permit = await self._client.acquire(route="POST /interviews")
            reply = None
            try:
                reply = await line.request()
            finally:
                self._client.release(permit, reply)
            if reply.status != TOO_MANY_REQUESTS:
                return True


@define(eq=False)
class Limited:
    """An aiolimiter around each attempt, and back-off after a 429."""

    _limiter: AsyncLimiter

    @classmethod
    def bursting(cls, plan: int) -> "Limited":
        """Let the plan's requests through at once, then as they drip: `AsyncLimiter(N, 60)`."""
        return cls(AsyncLimiter(plan, MINUTE))

    @classmethod
    def even(cls, plan: int) -> "Limited":
        """Let one request through at a time: `AsyncLimiter(1, 60 / N)`."""
        return cls(AsyncLimiter(1, MINUTE / plan))

    async def send(self, line: Line) -> bool:
        """Try with the limiter's leave."""
        for attempt in range(PATIENT_ATTEMPTS):
            async with self._limiter:
                reply = await line.request()
            if reply.status != TOO_MANY_REQUESTS:
                return True
            await asyncio.sleep(backoff(attempt, line.draw))
        return False


@define(eq=False)
class BackoffOnly:
    """What generated clients do: send at once, and after a 429 twice more with pauses of 0.5 to 8 s."""

    @classmethod
    def of(cls, _plan: int) -> "BackoffOnly":
        """Make it; it knows of no plan."""
        return cls()

    async def send(self, line: Line) -> bool:
        """Try three times."""
        for attempt in range(GENERATED_ATTEMPTS):
            reply = await line.request()
            if reply.status != TOO_MANY_REQUESTS:
                return True
            await asyncio.sleep(backoff(attempt, line.draw))
        return False


@define(eq=False)
class PauseOnReset:
    """Send at once; after a 429 nobody sends before the moment in X-RateLimit-Reset (back-off where there is none)."""

    _closed_until: float = 0.0

    @classmethod
    def of(cls, _plan: int) -> "PauseOnReset":
        """Make it; it knows of no plan."""
        return cls()

    async def send(self, line: Line) -> bool:
        """Try whenever it is open."""
        loop = asyncio.get_running_loop()
        for attempt in range(PATIENT_ATTEMPTS):
            while (wait := self._closed_until - loop.time()) > 0:  # noqa: ASYNC110  others may have put it off
                await asyncio.sleep(wait)
            reply = await line.request()
            if reply.status != TOO_MANY_REQUESTS:
                return True
            reset = reply.headers.get("X-RateLimit-Reset")
            if reset is None:
                await asyncio.sleep(backoff(attempt, line.draw))
            else:
                self._closed_until = max(self._closed_until, int(reset) / 1000 - LOCAL_EPOCH.timestamp())
        return False


OURS = "hindsight-async"

POLICIES: dict[str, Callable[[int], Policy]] = {
    OURS: Ours.of,
    "AsyncLimiter(N, 60), retry": Limited.bursting,
    "AsyncLimiter(1, 60/N), retry": Limited.even,
    "back-off only": BackoffOnly.of,
    "pause on reset": PauseOnReset.of,
}
