"""What this process has of the fleet's permits, and what it may send alone while Redis is away.

All of it is on this process's own clock.
"""

from collections import defaultdict, deque
from collections.abc import Callable

from attrs import define, field

from hindsight_async.rate.client import Permit
from hindsight_async.rate.counting import KEPT_AFTER_ANSWER
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.redis.fleet_permits import FleetPermit, FleetPermits
from hindsight_async.rate.redis.fleet_view import FleetView
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.scheduler import Scheduler


@define(eq=False)
class FleetState:
    """How things stand for this process: changed by its limiter as callers come and go, and by what Redis replies."""

    scheduler: Scheduler
    permits: FleetPermits
    view: FleetView
    timing: Timing
    max_rate_wait: float
    """Seconds; a caller is turned away where the server asks for a longer wait."""
    random: Callable[[], float]
    unused: defaultdict[str, deque[FleetPermit]] = field(
        factory=lambda: defaultdict[str, deque[FleetPermit]](deque[FleetPermit])
    )
    """Permits that Redis has issued and no caller has taken, by the route that they are for; "" for any other."""
    in_use: dict[Permit, FleetPermit] = field(factory=dict[Permit, FleetPermit])
    """Permits with which a request is under way, and what Redis knows of each."""
    alone: LocalLimiter | None = None
    """Counts for this process alone while Redis is away; None while Redis is there, or calls wait for it."""
    away: bool = False
    """Whether Redis was out of reach at the last try."""
    refused: str | None = None
    """Why Redis, though there, is of no use."""
    reconnect_at: float = 0.0
    """Before then a Redis that was away or of no use is not tried again."""
    urgent: bool = False
    """Whether Redis is to be told at once, heartbeat or not."""
    claimed: tuple[bool, bool] = (False, False)
    """Whether Redis was told that interactive and bulk callers wait here: others leave them their turn meanwhile."""

    def put_back_unused(self) -> None:
        """Have the permits that nobody took go back to the fleet."""
        for unused in self.unused.values():
            while unused:
                self.permits.put_back(unused.popleft())

    def put_back_lapsed(self, now: float) -> None:
        """Have those go back that Redis may give to somebody else."""
        for unused in self.unused.values():
            while unused and unused[0].covered_until < now:
                self.permits.put_back(unused.popleft())

    def needs_sync(self) -> bool:
        """Tell whether somebody waits for a permit, or the others for one that goes back, or for news."""
        waiting = self.scheduler.queue.waiting or self.permits.unsent or self.permits.untold
        return bool(waiting) or self.urgent or any(self.claimed)

    def go_alone(self, processes: int, now: float) -> LocalLimiter:
        """Count by this process alone from now on, with the limit divided by the number of processes.

        What it has sent within the last window counts from the start. For the first window it takes no more than what
        comes free of that, and its part of what was free when Redis last answered: the others may use the rest.
        """
        view = self.view
        alone = LocalLimiter.begin(
            view.limit, burst=None, max_rate_wait=self.max_rate_wait, random=self.random, share=1 / processes
        )
        whole = alone.limits.whole
        ours = self.permits.count(now)
        part_of_free = view.free(now) // processes
        others = max(0, whole.limit - ours - part_of_free)
        whole.occupy([*self.permits.due(now), *[now + KEPT_AFTER_ANSWER] * others])
        if now < view.opens_at:
            alone.cooldown.close_until(view.opens_at, view.reset_at, quota=view.quota)
        for permit in self.in_use:
            # Left before Redis went away, and ends at the limiter of this process alone.
            permit.entries = (whole.take(now),)
            permit.generation = alone.cooldown.begin()
        self.alone = alone
        return alone
