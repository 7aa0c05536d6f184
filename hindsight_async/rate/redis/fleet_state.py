"""How this process stands with its fleet: what it holds, what it has heard, and what it has yet to say."""

from collections import deque
from collections.abc import Callable

from attrs import define, field

from hindsight_async.rate.client import Permit
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.redis.fleet_permits import FleetPermit, FleetPermits
from hindsight_async.rate.redis.fleet_view import FleetView
from hindsight_async.rate.redis.messages import Observation
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.scheduler import Scheduler

MOST_FACTS = 500
"""Answers whose teachings are kept for a Redis that is away; the oldest go first."""


@define(eq=False)
class FleetState:
    """Shared by those who hand out permits and those who speak to Redis.

    `granted` are permits granted and not yet handed out, `in_use` those in use. `alone` counts while Redis is away and
    this process goes on by itself. `refused` is why Redis is of no use; it is not spoken to before `silent_until`.
    """

    scheduler: Scheduler
    permits: FleetPermits
    view: FleetView
    timing: Timing
    max_rate_wait: float
    random: Callable[[], float]
    granted: deque[FleetPermit] = field(factory=deque[FleetPermit])
    in_use: dict[Permit, FleetPermit] = field(factory=dict[Permit, FleetPermit])
    observations: list[Observation] = field(factory=list[Observation])
    alone: LocalLimiter | None = None
    away: bool = False
    refused: str | None = None
    silent_until: float = 0.0
    urgent: bool = False
    claimed: tuple[bool, bool] = (False, False)

    @property
    def limit(self) -> int:
        """Requests per minute: the fleet's, or this process's own share of them."""
        return self.view.limit if self.alone is None else self.alone.limit

    def note(self, observation: Observation) -> None:
        """Keep what an answer taught for the next word."""
        self.observations = [*self.observations[-MOST_FACTS + 1 :], observation]

    def give_back_granted(self) -> None:
        """Have the permits that nobody took given back."""
        while self.granted:
            self.permits.drop(self.granted.popleft())

    def has_something_to_say(self) -> bool:
        """Tell whether somebody waits for a permit, or for one to be given back, or for news."""
        waiting = self.scheduler.queue.waiting or self.permits.drops
        return bool(waiting) or self.urgent or any(self.claimed)
