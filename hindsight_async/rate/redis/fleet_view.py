"""The fleet as one process sees it: what its log has told so far, on this process's own clock."""

import json
from datetime import datetime
from math import inf, isinf

from attrs import define, field

from hindsight_async.errors import HindsightError
from hindsight_async.rate.client import BudgetClient
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.redis.fleet_log import FleetLog
from hindsight_async.rate.redis.messages import CLOCK_TOLERANCE, FIRST_POSITION, SyncReply
from hindsight_async.rate.redis.timing import Timing

CLOCK_RESIDUE = 0.01
"""Seconds by which the same moment may differ after its way through Redis, which counts in milliseconds."""


@define(eq=False)
class FleetView:
    """What one process knows of the fleet, in one epoch of the data in Redis."""

    client: BudgetClient
    """For whom the requests of other processes are."""
    plan: int
    """Requests per minute until the server names another limit."""
    timing: Timing
    max_rate_wait: float
    """Seconds; a caller is turned away where the server asks for a longer wait."""
    epoch: str = ""
    """The name of one life of the data in Redis: another one means that it began with nothing since."""
    epoch_began: float = -inf
    """When it did, on this process's clock."""
    synced_at: float = -inf
    """When Redis last answered, on the same."""
    clock: float | None = None
    """What Redis's clock showed then, or up to `clock_slack` seconds before."""
    clock_slack: float = 0.0
    """Seconds that the call took."""
    position: str = FIRST_POSITION
    """In the log, up to which it was read."""
    issued: int = 0
    """Permits issued to the fleet by then, since the epoch began."""
    alarms: int = 0
    """Calls that told of what changes things for all, by then."""
    fleet: int = 1
    """Processes seen within the last window."""
    full_until: float = -inf
    """As many permits are out as may be, until then at the latest; on this process's clock."""
    limits_known: str = ""
    """What Redis was last told of the limits that routes named."""
    _log: FleetLog = field(init=False)
    _latest: float = -inf
    """The latest moment asked about, on the policy's clock, which must not go back."""

    def __attrs_post_init__(self) -> None:
        """Start with nothing read."""
        self._log = FleetLog.begin(self.client, self.plan, self.timing, self.max_rate_wait)

    @property
    def _limiter(self) -> LocalLimiter:
        return self._log.limiter

    @property
    def issued_on(self) -> dict[str, int]:
        """Permits issued by then on each route with a limit of its own, as far as is known."""
        return self._log.issued_on

    # Clocks

    def redis_clock(self, now: float) -> float | None:
        """Say what Redis's clock should show; None where it was never seen."""
        return None if self.clock is None else self.clock + now - self.synced_at

    def read_clock(self, reply: SyncReply, asked_at: float, now: float) -> None:
        """Take in what Redis's clock shows."""
        self.synced_at, self.clock, self.clock_slack = now, reply.clock, now - asked_at

    def fits_clock(self, reply: SyncReply, asked_at: float, now: float) -> bool:
        """Tell whether Redis's clock shows what it should at some moment of the call, which may have been long."""
        if self.clock is None:
            return True
        earliest = self.clock + asked_at - self.synced_at - CLOCK_TOLERANCE
        latest = self.clock + now - self.synced_at + self.clock_slack + CLOCK_TOLERANCE
        return earliest <= reply.clock <= latest

    def _policy_clock(self, now: float) -> float:
        clock = self.redis_clock(now)
        self._latest = max(self._latest, (now if clock is None else clock) * self.timing.scale)
        return self._latest

    def _own_clock(self, moment: float) -> float:
        if isinf(moment):
            return moment
        moment /= self.timing.scale
        return moment if self.clock is None else moment - self.clock + self.synced_at

    # The log is read

    def learn(self, reply: SyncReply, asked_at: float, now: float) -> None:
        """Take in a reply."""
        if self.position == FIRST_POSITION:
            self._adopt_limits(reply.limits, reply.clock)
            self.limits_known = reply.limits
        for entry in reply.entries:
            self._log.read(entry)
        self._log.forget(reply.clock)
        self._adopt_closing(reply)
        self.position = reply.position or self.position
        self.issued, self.alarms, self.fleet = reply.issued, reply.alarms, reply.fleet
        self.read_clock(reply, asked_at, now)
        self.full_until = now + reply.full_for if reply.full_for else -inf

    def _adopt_limits(self, limits: str, clock: float) -> None:
        """Take in limits that were named longer ago than the log remembers."""
        moment = clock * self.timing.scale
        for route, limit in json.loads(limits or "{}").items():
            # Twice, since a higher limit is believed only then.
            for _ in range(2):
                self._limiter.limits.learn(route, limit, sent_at=moment, now=moment)

    def _adopt_closing(self, reply: SyncReply) -> None:
        """Take in a closing that the log does not tell of: it is older, or was learned without Redis."""
        opens_at, cooldown = reply.closed_until * self.timing.scale, self._limiter.cooldown
        if reply.closed_until > reply.clock and opens_at > cooldown.opens_at + CLOCK_RESIDUE:
            reset_at, quota = json.loads(reply.closed)
            cooldown.close_until(
                opens_at, datetime.fromisoformat(reset_at) if reset_at else None, quota=quota
            )

    def begun_anew(self, reply: SyncReply, asked_at: float, now: float) -> "FleetView":
        """Make the view of an epoch that has begun; what the server said of itself holds still."""
        anew = FleetView(self.client, self.plan, self.timing, self.max_rate_wait)
        anew.epoch, anew.epoch_began = reply.epoch, asked_at - reply.epoch_age
        anew.fleet = self.fleet
        anew.read_clock(reply, asked_at, now)
        anew._adopt_limits(self.limits_named(), reply.clock)
        anew.close_until(self.opens_at, self.reset_at, quota=self.quota, now=now)
        return anew

    def close_until(self, opens_at: float, reset_at: datetime | None, *, quota: bool, now: float) -> None:
        """Take in that the server refuses everybody until then, on this process's clock."""
        if now < opens_at and self.opens_at < opens_at and self.clock is not None:
            moment = (opens_at - self.synced_at + self.clock) * self.timing.scale
            self._limiter.cooldown.close_until(moment, reset_at, quota=quota)

    # What may leave

    @property
    def limit(self) -> int:
        """Requests per minute, of the whole fleet."""
        return self._limiter.limit

    def limit_on(self, route: str) -> int:
        """Return the limit of this route: its own, or the whole fleet's."""
        limits = self._limiter.limits
        return limits.of_routes.get(route, limits.whole).limit

    @property
    def routes_apart(self) -> list[str]:
        """List the routes with a smaller limit of their own."""
        return list(self._limiter.limits.of_routes)

    @property
    def route_limits(self) -> dict[str, int]:
        """Requests per minute of the routes with a smaller limit of their own."""
        return self._limiter.route_limits

    @property
    def left_to_others(self) -> int:
        """Requests per minute that are left to other programs."""
        return self._limiter.left_to_others

    def group_of(self, route: str) -> str:
        """Name what the permits of a route are asked for together with."""
        return route if route in self._limiter.limits.of_routes else ""

    def free(self, now: float) -> int:
        """Count the permits that nobody has and that are left to this fleet, closed or not."""
        return self._limiter.limits.whole.room(self._policy_clock(now))

    def room(self, now: float) -> int:
        """Count the permits that may be issued, whatever the pace."""
        moment = self._policy_clock(now)
        cooldown = self._limiter.cooldown
        may_begin = 0 if cooldown.closed(moment) else cooldown.may_begin
        return int(min(may_begin, self._limiter.limits.whole.room(moment)))

    def paced_room(self, now: float) -> int:
        """Count those that may be issued without going faster than is fair to other programs."""
        room = self.room(now)
        return int(min(room, self._log.pace.allows(self._limiter.limits.whole.pace, self._policy_clock(now))))

    def room_on(self, route: str, now: float) -> int:
        """Count those that may be issued for a route with a limit of its own."""
        return self._limiter.limits.of_routes[route].room(self._policy_clock(now))

    @property
    def opens_at(self) -> float:
        """The moment until which the server refuses everybody, on this process's clock."""
        return self._own_clock(self._limiter.opens_at)

    @property
    def quota(self) -> bool:
        """Whether that is for the monthly quota."""
        return self._limiter.cooldown.quota

    @property
    def reset_at(self) -> datetime | None:
        """The same moment on the server's clock."""
        return self._limiter.cooldown.reset_at

    @property
    def opening(self) -> bool:
        """Whether only a few may be under way, to probe whether the server lets requests through."""
        return self._limiter.cooldown.may_begin < inf

    def closed(self, now: float) -> tuple[float, str] | None:
        """Say until when the server refuses everybody, on Redis's clock, and why; None where it does not."""
        cooldown = self._limiter.cooldown
        if self.clock is None or not cooldown.closed(self._policy_clock(now)):
            return None
        reset_at = cooldown.reset_at.isoformat() if cooldown.reset_at else None
        return cooldown.opens_at / self.timing.scale, json.dumps([reset_at, cooldown.quota])

    def limits_named(self) -> str:
        """Write the limits that routes named."""
        named = self._limiter.limits.named()
        return json.dumps(named, sort_keys=True) if named else ""

    def fresh(self, now: float) -> bool:
        """Tell whether the last reply is recent enough to turn a caller away on the strength of it."""
        return now - self.synced_at <= self.timing.heartbeat

    def obstacle(self, now: float) -> str:
        """Say what is in everybody's way, Redis itself if nothing else."""
        moment, cooldown = self._policy_clock(now), self._limiter.cooldown
        if cooldown.closed(moment):
            return "closed by the server"
        if cooldown.probing:
            return "waiting for one answer"
        if self.synced_at > -inf and self.fresh(now):
            if now < self.full_until or self.room(now) < 1:
                return "window full"
            if self.paced_room(now) < 1:
                return "pacing"
        return "asking Redis"

    def next_change(self, now: float) -> float:
        """Name the moment from which on a request for permits may be issued some; inf where that waits for an answer."""
        moment, limiter = self._policy_clock(now), self._limiter
        if limiter.cooldown.closed(moment):
            return self._own_clock(limiter.opens_at)
        if limiter.cooldown.probing:
            return inf
        whole = limiter.limits.whole
        if not whole.admits(moment):
            return max(self.full_until, self._own_clock(whole.next_change(moment)))
        return max(self.full_until, self._own_clock(self._log.pace.next_change(whole.pace)))

    def next_change_on(self, route: str, now: float) -> float:
        """Name the moment from which on one may be issued some for this route."""
        part = self._limiter.limits.of_routes.get(route)
        moment = self.next_change(now)
        return (
            moment
            if part is None
            else max(moment, self._own_clock(part.next_change(self._policy_clock(now))))
        )

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave, as far as is known."""
        if not self.fresh(now):
            return max(now, self.opens_at)
        moment = self._policy_clock(now)
        return max(now, self._own_clock(self._limiter.earliest(ahead, moment)))

    def refuses_for_long(self, now: float) -> HindsightError | None:
        """Make the error for all callers where the server refuses for longer than anybody waits."""
        moment = self._policy_clock(now)
        return self._limiter.why_in_vain(None, moment, moment)
