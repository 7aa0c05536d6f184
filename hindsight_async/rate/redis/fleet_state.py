"""What this process knows of its fleet, what it has of the fleet's permits, and what it has yet to tell Redis.

All of it is on this process's own clock.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from math import inf

from attrs import define, field

from hindsight_async.rate.client import Permit
from hindsight_async.rate.counting import KEPT_AFTER_ANSWER
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.redis.fleet_permits import FleetPermit, FleetPermits
from hindsight_async.rate.redis.messages import Observation, SyncReply
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.scheduler import Scheduler

MOST_OBSERVATIONS = 500
"""Answers of which is kept, for a Redis that is away, what they taught; the oldest go first."""


@define(eq=False)
class FleetView:
    """The fleet as Redis last described it: its limit, how many permits were free, and what is in the way of more."""

    timing: Timing
    limit: int
    """Requests per minute, of the whole fleet."""
    synced_at: float = -inf
    """When Redis last answered."""
    epoch: str = ""
    """The name of one life of the data in Redis: another one means that it began with nothing since."""
    epoch_began: float = -inf
    """When it did."""
    free: int = 0
    """Permits that nobody had."""
    opens_at: float = -inf
    """The moment until which the server refuses everybody."""
    quota: bool = False
    """Whether that is for the monthly quota."""
    reset_at: datetime | None = None
    """The same moment on the server's clock."""
    opening: bool = False
    """Whether only a few may be under way, to probe whether the server lets requests through again."""
    fleet: int = 1
    """Processes seen within the last window."""
    retry_at: float = -inf
    """Before then another request for permits would get none either."""
    clock: float = 0.0
    """What Redis's clock showed at `synced_at`."""
    _due: list[tuple[int, float]] = field(factory=list[tuple[int, float]])
    """When the permits in Redis come free, of some of them: how many come free before one, and when it does."""

    def learn(self, reply: SyncReply, now: float) -> None:
        """Take in a reply."""
        self.limit, self.free = reply.limit, reply.free
        self.opens_at = now + reply.opens_in if reply.opens_in else -inf
        self.quota, self.reset_at = reply.quota, reply.reset_at
        self.opening, self.fleet = reply.opening, reply.fleet
        self.synced_at = self.retry_at = now
        self.clock = reply.clock
        self._due = [(rank, now + span) for rank, span in reply.due]

    def close(self, opens_at: float, reset_at: datetime | None, *, quota: bool) -> None:
        """Note a 429 that the fleet has yet to learn of."""
        if opens_at > self.opens_at:
            self.opens_at, self.reset_at, self.quota = opens_at, reset_at, quota

    def fresh(self, now: float) -> bool:
        """Tell whether the last reply is recent enough to turn a caller away on the strength of it."""
        return now - self.synced_at <= self.timing.heartbeat

    def obstacle(self, now: float) -> str:
        """Say what is in everybody's way, Redis itself if nothing else."""
        if now < self.opens_at:
            return "closed by the server"
        if self.opening:
            return "waiting for one answer"
        return "window full" if self._due and self.free < 1 and self.fresh(now) else "asking Redis"

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave, as far as is known."""
        if now < self.opens_at:
            return self.opens_at
        if not self._due or not self.fresh(now):
            return now
        turn = ahead - max(0, self.free)
        if turn < 0:
            return now
        cycles, turn = divmod(turn, max(1, self.limit))
        moment = max((due for rank, due in self._due if rank <= turn), default=now)
        return max(now, moment) + cycles * self.timing.kept_after_answer


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
    unused: deque[FleetPermit] = field(factory=deque[FleetPermit])
    """Permits that Redis has issued and no caller has taken."""
    in_use: dict[Permit, FleetPermit] = field(factory=dict[Permit, FleetPermit])
    """Permits with which a request is under way, and what Redis knows of each."""
    observations: list[Observation] = field(factory=list[Observation])
    """What answers taught and Redis does not know yet."""
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

    def note(self, observation: Observation) -> None:
        """Keep what an answer taught until Redis knows it."""
        self.observations = [*self.observations[-MOST_OBSERVATIONS + 1 :], observation]

    def put_back_unused(self) -> None:
        """Have the permits that nobody took go back to the fleet."""
        while self.unused:
            self.permits.put_back(self.unused.popleft())

    def needs_sync(self) -> bool:
        """Tell whether somebody waits for a permit, or the others for one that goes back, or for news."""
        waiting = self.scheduler.queue.waiting or self.permits.unsent
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
        part_of_free = max(0, view.free) // processes
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
