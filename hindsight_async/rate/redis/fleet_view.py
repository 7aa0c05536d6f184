"""What this process knows of the fleet since it last heard of it, on its own clock."""

from datetime import datetime
from math import inf

from attrs import define, field

from hindsight_async.rate.redis.messages import SyncReply
from hindsight_async.rate.redis.timing import Timing


@define(eq=False)
class FleetView:
    """The fleet's limit, how many permits were free, and what stands in the way of more."""

    timing: Timing
    limit: int
    heard_at: float = -inf
    epoch: str = ""
    epoch_began: float = -inf
    free: int = 0
    opens_at: float = -inf
    quota: bool = False
    reset_at: datetime | None = None
    opening: bool = False
    fleet: int = 1
    ask_again_at: float = -inf
    clock: float = 0.0
    """What Redis's clock showed at `heard_at`."""
    _due: list[tuple[int, float]] = field(factory=list[tuple[int, float]])

    def hear(self, reply: SyncReply, now: float) -> None:
        """Take in a reply."""
        self.limit, self.free = reply.limit, reply.free
        self.opens_at = now + reply.opens_in if reply.opens_in else -inf
        self.quota, self.reset_at = reply.quota, reply.reset_at
        self.opening, self.fleet = reply.opening, reply.fleet
        self.heard_at = self.ask_again_at = now
        self.clock = reply.clock
        self._due = [(rank, now + span) for rank, span in reply.due]

    def close(self, opens_at: float, reset_at: datetime | None, *, quota: bool) -> None:
        """Note a refusal that the fleet has yet to hear of."""
        if opens_at > self.opens_at:
            self.opens_at, self.reset_at, self.quota = opens_at, reset_at, quota

    def fresh(self, now: float) -> bool:
        """Tell whether it was heard of lately enough to refuse somebody on the strength of it."""
        return now - self.heard_at <= self.timing.heartbeat

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
        place = ahead - max(0, self.free)
        if place < 0:
            return now
        cycles, place = divmod(place, max(1, self.limit))
        moment = max((due for rank, due in self._due if rank <= place), default=now)
        return max(now, moment) + cycles * self.timing.held_after_answer
