"""What to tell Redis and when, and what its replies change. Pure but for the callers that it serves.

Redis can be in one of three ways for this process: there; away (out of reach: `lose_redis`); or there and of no use, as
with a wrong password, which time does not heal (`refused_by_redis`).
"""

from math import inf
from typing import Literal

from attrs import define, field

from hindsight_async.errors import RedisRefusedError
from hindsight_async.rate.limiter import logger
from hindsight_async.rate.redis.connection import Connection
from hindsight_async.rate.redis.fleet_state import FleetState
from hindsight_async.rate.redis.messages import Group, SyncReply, SyncRequest
from hindsight_async.rate.redis.timing import Timing

OnOutage = Literal["share", "wait"]

UNKNOWN_FLEET = 10
"""Processes that a fleet is taken to have where nobody said how many and Redis never did: each has a tenth of the plan."""

UNBOUNDED = 1_000_000_000
"""More permits than anybody asks for."""


@define(eq=False)
class FleetSync:
    """The process's side of the exchange; Redis counts as told of something only once it has answered."""

    state: FleetState
    process: str
    """A name that no other process has."""
    connection: Connection
    keys: list[str]
    timing: Timing
    expected_processes: int | None
    """How many there are, where somebody knows; else as many as were seen."""
    on_outage: OnOutage
    _calls: int = 0
    """The number of the last request."""
    _answered: int = 0
    """The number of the last request that was answered: a Redis that knows less has lost its latest data."""
    _demanded: dict[str, tuple[int, int]] = field(factory=dict[str, tuple[int, int]])
    """Interactive and bulk permits that callers waited for at the last request, asked for in full or not, by route."""
    _retry_at: float = -inf
    """Before then another request for permits would get none either."""
    _most_had: int = 0
    """How many permits this process may have while the fleet recovers: as many as it had before."""
    _returning: bool = False
    """Whether it has permits that Redis did not issue or has lost, so that the fleet must recover first."""
    _discards: bool = False
    """Whether Redis's clock was set."""
    _fleet_before: int = 1
    """How many processes there were before Redis lost its data."""

    def next_sync_at(self, now: float) -> float:
        """Name the moment at which the next request is due."""
        state, view, timing = self.state, self.state.view, self.timing
        if state.away or state.refused is not None:
            return state.reconnect_at
        waiting = [count > 0 for count in _in_all(self._demand())]
        nobody_any_more = any(state.claimed) and not any(waiting)
        if state.urgent or state.permits.unsent or nobody_any_more:
            return now
        moment = view.synced_at + (timing.heartbeat if state.permits else timing.idle_heartbeat)
        if state.permits.untold:
            moment = min(moment, view.synced_at + timing.telling)
        if not any(waiting):
            return moment
        if any(new and not known for new, known in zip(waiting, state.claimed, strict=True)):
            return now
        return min(moment, view.synced_at + timing.impatience, self._retry_at)

    def _demand(self) -> dict[str, tuple[int, int]]:
        """Count those who wait, and may leave once they have a permit."""
        return self.state.scheduler.queue.demand(self.state.view.routes_apart)

    def next_request(self, now: float, *, leaving: bool = False) -> SyncRequest:
        """Put together what is wanted and what there is to tell."""
        state, view = self.state, self.state.view
        had = state.permits.count(now)
        nobody = leaving or state.alone is not None
        demand = {} if nobody else self._demand()
        self._demanded = demand
        groups = self._groups(demand, had, now)
        # Somebody waits for this very one.
        hurries = _in_all(demand) == (1, 0)
        room = view.room(now) if hurries else view.paced_room(now)
        self._calls += 1
        state.urgent = False
        limits = view.limits_named()
        return SyncRequest(
            process=self.process,
            call=self._calls,
            epoch=view.epoch,
            at=now,
            first=state.permits.numbers(sum(group.interactive + group.bulk for group in groups)),
            position=view.position,
            clock=None if self._discards else view.redis_clock(now),
            groups=groups,
            limit=view.limit,
            allowed=view.issued + room,
            alarms=view.alarms,
            alarms_others=state.permits.alarms(),
            spare=max(0, self._most_had - had),
            renewals=state.permits.renewals(now),
            unsent=sorted(state.permits.unsent),
            answered=self._answered,
            closed=view.closed(now),
            limits=limits if limits != view.limits_known else None,
            returning=self._returning,
            discards=self._discards,
            leaving=leaving,
        )

    def _groups(self, demand: dict[str, tuple[int, int]], had: int, now: float) -> list[Group]:
        view, most = self.state.view, self._most_wanted(had, now)
        groups: list[Group] = []
        for route, (waiting, waiting_bulk) in demand.items():
            room, allowed = most, UNBOUNDED
            if route:
                # To ask for more than there is would only be a claim on what others may use. The first time is to hear
                # how many were issued so far.
                room = min(most, view.room_on(route, now)) if route in view.issued_on else 1
                allowed = view.issued_on[route] + room if route in view.issued_on else 0
            interactive = min(waiting, room)
            bulk = min(waiting_bulk, room - interactive)
            most -= interactive + bulk
            if interactive or bulk:
                groups.append(Group(route, interactive, bulk, allowed))
        return groups

    def _most_wanted(self, had: int, now: float) -> int:
        view = self.state.view
        processes = self.expected_processes or self._fleet_before
        if processes > 1 and now - view.epoch_began < self.timing.window:
            # Redis began with nothing less than a window ago: it does not know what dead processes had sent.
            return max(0, view.limit // processes - had)
        return UNBOUNDED

    def lose_reply(self, request: SyncRequest) -> None:
        """Note that no reply came: permits that Redis may have issued are to go back to the fleet."""
        self.state.permits.unsent.update(range(request.first, request.first + request.wanted))

    def apply(self, request: SyncRequest, reply: SyncReply, now: float) -> None:
        """Take in a reply, and serve those who wait."""
        state, view = self.state, self.state.view
        if reply.kind == "another time":
            # The call was long on its way; or one of the clocks was set.
            self._discards, state.urgent = not view.fits_clock(reply, request.at, now), True
            view.read_clock(reply, request.at, now)
            return
        self._answered, self._discards = request.call, False
        if reply.kind == "another epoch":
            self._move(request, reply, now)
            return
        state.permits.confirm(request.renewals, request.unsent, request.at)
        self._returning = False
        was_fresh, was_open_from = view.fresh(now), view.opens_at
        view.learn(reply, request.at, now)
        if request.limits is not None:
            view.limits_known = request.limits
        for group, (_, in_all) in zip(request.groups, reply.groups, strict=True):
            if group.route:
                view.issued_on[group.route] = in_all
        self._return(now)
        issued = self._take_issued(request, reply)
        interactive, bulk = _in_all(self._demanded)
        short = issued < interactive + bulk
        self._retry_at = now
        if short:
            pause = self.timing.poll if issued == request.wanted else self.timing.shortest_pause
            self._retry_at = max(self._next_try(reply, now), now + pause)
        had = state.permits.count(now)
        self._most_had = max(self._most_had, had) if reply.recovering else had
        state.claimed = (short and interactive > 0, short and bulk > 0)
        state.scheduler.pump()
        if short and (not was_fresh or view.opens_at > was_open_from):
            state.scheduler.turn_away_hopeless()

    def _take_issued(self, request: SyncRequest, reply: SyncReply) -> int:
        state, number = self.state, request.first
        for group, (count, _) in zip(request.groups, reply.groups, strict=True):
            for each in range(number, number + count):
                permit = state.permits.take_issued(each, request.at, group.route)
                state.unused[group.route].append(permit)
            number += count
        return number - request.first

    def _next_try(self, reply: SyncReply, now: float) -> float:
        """Name the moment at which to ask again for what was not issued."""
        if reply.recovering or reply.yielded:
            return now + self.timing.poll
        view = self.state.view
        moment = min(
            view.next_change_on(route, now) for route, wanted in self._demanded.items() if any(wanted)
        )
        # What waits for an answer: of ours Redis is told at once, and of others' we hear by and by.
        return now + self.timing.telling if moment == inf else moment

    def _move(self, request: SyncRequest, reply: SyncReply, now: float) -> None:
        """Take in that Redis knows nothing of what this process told it before."""
        state, view = self.state, self.state.view
        if view.epoch and view.epoch != reply.epoch:
            self._returning = self._returning or bool(state.permits)
            self._fleet_before = max(self._fleet_before, view.fleet)
        state.view = view.begun_anew(reply, request.at, now)
        state.permits.forgotten()
        self._most_had = state.permits.count(now)
        state.urgent, state.reconnect_at = True, now

    def _return(self, now: float) -> None:
        state = self.state
        state.refused = None
        if state.away:
            if state.alone is not None:
                cooldown = state.alone.cooldown
                state.view.close_until(cooldown.opens_at, cooldown.reset_at, quota=cooldown.quota, now=now)
            # What was sent alone since the request left has yet to be told.
            state.away, state.alone, state.urgent = False, None, True
            logger.warning("Redis is back: the rate budget is the whole fleet's again")

    def lose_redis(self, why: str, now: float) -> None:
        """Note that Redis is away: go on alone, or let all wait."""
        state = self.state
        state.reconnect_at = now + self.timing.retry
        if state.away:
            return
        state.away, state.refused = True, None
        state.put_back_unused()
        if self.on_outage == "wait":
            logger.warning("Redis is away (%s): requests wait until it is back", why)
            return
        fleet = UNKNOWN_FLEET if state.view.synced_at == -inf else state.view.fleet
        alone = state.go_alone(self.expected_processes or fleet, now)
        self._returning = True
        text = "Redis is away (%s): this process goes on with %d requests per minute of its own"
        logger.warning(text, why, alone.limit)
        state.scheduler.pump()

    def refused_by_redis(self, error: RedisRefusedError, now: float) -> None:
        """Note that Redis is there but of no use: turn away all who wait, unless this process goes on alone."""
        state, why = self.state, str(error.args[0])
        if state.alone is not None:
            self.lose_redis(why, now)
            return
        state.away, state.refused = False, why
        state.reconnect_at = now + self.timing.retry
        state.scheduler.turn_away_hopeless()


def _in_all(demand: dict[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(interactive for interactive, _ in demand.values()), sum(bulk for _, bulk in demand.values())
