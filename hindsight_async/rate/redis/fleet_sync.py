"""What to tell Redis and when, and what its replies change. Pure but for the callers that it serves.

Redis can be in one of three ways for this process: there; away (out of reach: `lose_redis`); or there and of no use, as
with a wrong password, which time does not heal (`refused_by_redis`).
"""

from math import inf
from typing import Literal

from attrs import define, evolve

from hindsight_async.errors import RedisRefusedError
from hindsight_async.rate.limiter import logger
from hindsight_async.rate.redis.connection import Connection
from hindsight_async.rate.redis.fleet_state import FleetState
from hindsight_async.rate.redis.messages import POLL_SECONDS, SyncReply, SyncRequest
from hindsight_async.rate.redis.timing import Timing

OnOutage = Literal["share", "wait"]

CLOCK_TOLERANCE = 1.5
"""Seconds by which Redis's clock and ours may disagree on a span before one of them counts as set."""

UNKNOWN_FLEET = 10
"""Processes that a fleet is taken to have where nobody said how many and Redis never did: each has a tenth of the plan."""


@define(eq=False)
class FleetSync:
    """The process's side of the exchange; Redis counts as told of something only once it has answered."""

    state: FleetState
    plan: int
    """Requests per minute until the server names another limit."""
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
    _waiting: tuple[int, int] = (0, 0)
    """Interactive and bulk permits that callers waited for at the last request, asked for in full or not."""
    _most_had: int = 0
    """How many permits this process may have while the fleet recovers: as many as it had before."""
    _returning: bool = False
    """Whether it has permits that Redis did not issue or has lost, so that the fleet must recover first."""
    _fleet_before: int = 1
    """How many processes there were before Redis lost its data."""

    def next_sync_at(self, now: float) -> float:
        """Name the moment at which the next request is due."""
        state, view, timing = self.state, self.state.view, self.timing
        if state.away or state.refused is not None:
            return state.reconnect_at
        waiting = tuple(count > 0 for count in state.scheduler.queue.demand())
        nobody_any_more = any(state.claimed) and not any(waiting)
        if state.urgent or state.permits.unsent or nobody_any_more:
            return now
        moment = view.synced_at + (timing.heartbeat if state.permits else timing.idle_heartbeat)
        if not any(waiting):
            return moment
        if any(new and not known for new, known in zip(waiting, state.claimed, strict=True)):
            return now
        return min(moment, view.synced_at + timing.impatience, view.retry_at)

    def next_request(self, now: float, *, leaving: bool = False) -> SyncRequest:
        """Put together what is wanted and what there is to tell."""
        state = self.state
        had = state.permits.count(now)
        self._waiting = (0, 0) if leaving or state.alone is not None else state.scheduler.queue.demand()
        interactive, bulk = self._within_bounds(had, now)
        self._calls += 1
        state.urgent = False
        return SyncRequest(
            process=self.process,
            call=self._calls,
            epoch=state.view.epoch,
            plan=self.plan,
            at=now,
            first=state.permits.numbers(interactive + bulk),
            interactive=interactive,
            bulk=bulk,
            spare=max(0, self._most_had - had),
            renewals=state.permits.renewals(now),
            unsent=sorted(state.permits.unsent),
            observations=state.observations,
            answered=self._answered,
            returning=self._returning,
            leaving=leaving,
        )

    def _within_bounds(self, had: int, now: float) -> tuple[int, int]:
        view = self.state.view
        interactive, bulk = self._waiting
        processes = self.expected_processes or self._fleet_before
        if processes > 1 and now - view.epoch_began < self.timing.window:
            # Redis began with nothing less than a window ago: it does not know what dead processes had sent.
            room = max(0, view.limit // processes - had)
            interactive = min(interactive, room)
            bulk = min(bulk, room - interactive)
        return interactive, bulk

    def lose_reply(self, request: SyncRequest) -> None:
        """Note that no reply came: permits that Redis may have issued are to go back to the fleet."""
        self.state.permits.unsent.update(range(request.first, request.first + request.wanted))

    def apply(self, request: SyncRequest, reply: SyncReply, now: float) -> None:
        """Take in a reply, and serve those who wait."""
        self._answered = request.call
        if reply.moved:
            self._move(request, reply, now)
            return
        state, view = self.state, self.state.view
        state.permits.confirm(request.renewals, request.unsent, request.at)
        told = set(map(id, request.observations))
        state.observations = [
            observation for observation in state.observations if id(observation) not in told
        ]
        self._returning = False
        self._resend_what_was_lost(reply, now)
        was_fresh, was_open_from = view.fresh(now), view.opens_at
        short = reply.issued < sum(self._waiting)
        view.learn(reply, now)
        if short:
            retry = POLL_SECONDS if reply.issued == request.wanted else reply.retry
            view.retry_at = now + max(retry, self.timing.shortest_pause)
        self._return()
        for number in range(request.first, request.first + reply.issued):
            permit = state.permits.take_issued(
                number, request.at, freed=reply.freed, generation=reply.generation
            )
            state.unused.append(permit)
        had = state.permits.count(now)
        self._most_had = max(self._most_had, had) if reply.recovering else had
        interactive, bulk = self._waiting
        state.claimed = (short and interactive > 0, short and bulk > 0)
        state.scheduler.pump()
        if short and (not was_fresh or view.opens_at > was_open_from):
            state.scheduler.turn_away_hopeless()

    def _resend_what_was_lost(self, reply: SyncReply, now: float) -> None:
        """Tell everything again after Redis lost some of it, or its clock was set: its moments are off by as much."""
        view = self.state.view
        clock_was_set = view.clock and abs(reply.clock - view.clock - now + view.synced_at) > CLOCK_TOLERANCE
        if reply.lost or clock_was_set:
            self.state.permits.resend()
            self.state.urgent = True

    def _move(self, request: SyncRequest, reply: SyncReply, now: float) -> None:
        """Take in that Redis knows nothing of what this process told it before."""
        state, view = self.state, self.state.view
        if view.epoch and view.epoch != reply.epoch:
            self._returning = self._returning or bool(state.permits)
            self._fleet_before = max(self._fleet_before, view.fleet)
        view.epoch, view.epoch_began, view.clock = reply.epoch, request.at - reply.epoch_age, 0.0
        state.permits.forgotten()
        # What they say of the fleet's generation and use of the window was relative to the data that is gone.
        state.observations = [
            evolve(observation, freed=None, generation=None) for observation in state.observations
        ]
        self._most_had = state.permits.count(now)
        state.urgent, state.reconnect_at = True, now

    def _return(self) -> None:
        state = self.state
        state.refused = None
        if state.away:
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
