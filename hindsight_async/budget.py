"""The rate budget: the plan's tiers, and the token bucket that every request of a session passes."""

import asyncio
import enum
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter

WINDOW_SECONDS = 60.0
"""The span over which the API counts requests (page integrations/api)."""


class Plan(enum.Enum):
    """A plan tier of the Hindsight organisation, and the requests per minute that it allows."""

    ESSENTIALS = "essentials"
    GROWTH = "growth"
    ENTERPRISE = "enterprise"

    @property
    def requests_per_minute(self) -> int:
        """How many requests the whole organisation may send in a minute."""
        return _REQUESTS_PER_MINUTE[self]


_REQUESTS_PER_MINUTE = {Plan.ESSENTIALS: 60, Plan.GROWTH: 300, Plan.ENTERPRISE: 1000}


class RateBudget:
    """A token bucket of one plan's size; sessions join it."""

    def __init__(self, requests_per_minute: int) -> None:
        self._limiter = AsyncLimiter(requests_per_minute, WINDOW_SECONDS)

    @classmethod
    def for_plan(cls, plan: Plan) -> "RateBudget":
        """Return a budget of the plan's requests per minute."""
        return cls(plan.requests_per_minute)

    def join(self, max_in_flight: int) -> "Share":
        """Return one session's access to this budget, at most `max_in_flight` requests at a time."""
        return Share(self._limiter, max_in_flight)


class Share:
    """One session's access to the budget."""

    def __init__(self, limiter: AsyncLimiter, max_in_flight: int) -> None:
        self._limiter = limiter
        self._places = asyncio.Semaphore(max_in_flight)

    @asynccontextmanager
    async def slot(self, *, route: str, deadline: float | None) -> AsyncGenerator["Slot"]:
        """Wait until one more request may leave; hold the place until its answer is in.

        `deadline` is a moment of the loop's clock in seconds.
        """
        del route
        async with asyncio.timeout_at(deadline) as waiting, self._places:
            await self._limiter.acquire()
            waiting.reschedule(None)
            yield Slot()


class Slot:
    """The permission for one request."""

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Hear what the server said about its limits."""
