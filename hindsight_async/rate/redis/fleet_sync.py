"""What there is to say to Redis, and what its word changes."""

from typing import Literal

from attrs import define, evolve

from hindsight_async.errors import RedisRefusedError
from hindsight_async.rate.limiter import logger
from hindsight_async.rate.redis.connection import Connection
from hindsight_async.rate.redis.fleet_state import FleetState
from hindsight_async.rate.redis.messages import POLL_SECONDS, SyncReply, SyncRequest
from hindsight_async.rate.redis.outage import count_under_way, share_of_plan
from hindsight_async.rate.redis.timing import Timing

OnOutage = Literal["share", "wait"]

CLOCK_TOLERANCE = 1.5
"""Seconds by which Redis's clock and ours may disagree on a span before one of them counts as set."""


@define(eq=False)
class FleetSync:
    """One process's side of the talk; what is told counts as heard only when Redis has answered.

    `most_held` is how many permits this process may hold while the fleet recovers, `returning` whether it must make
    the fleet do so, since Redis does not know all that it holds.
    """

    state: FleetState
    plan: int
    process: str
    connection: Connection
    keys: list[str]
    timing: Timing
    expected_processes: int | None
    on_outage: OnOutage
    _calls: int = 0
    _heard: int = 0
    _waiting: tuple[int, int] = (0, 0)
    _most_held: int = 0
    _returning: bool = False
    _fleet_before: int = 1

    def next_word(self, now: float) -> float:
        """Name the moment at which Redis is to be spoken to."""
        state, seen, timing = self.state, self.state.view, self.timing
        if state.away or state.refused is not None:
            return state.silent_until
        waiting = tuple(count > 0 for count in state.scheduler.queue.demand())
        nobody_any_more = any(state.claimed) and not any(waiting)
        if state.urgent or state.permits.drops or nobody_any_more:
            return now
        moment = seen.heard_at + (timing.heartbeat if state.permits else timing.idle_heartbeat)
        if not any(waiting):
            return moment
        if any(new and not known for new, known in zip(waiting, state.claimed, strict=True)):
            return now
        return min(moment, seen.heard_at + timing.impatience, seen.ask_again_at)

    def compose(self, now: float, *, bye: bool = False) -> SyncRequest:
        """Say what is wanted and what there is to tell."""
        state = self.state
        held = state.permits.count(now)
        self._waiting = (0, 0) if bye or state.alone is not None else state.scheduler.queue.demand()
        interactive, bulk = self._within_bounds(held, now)
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
            spare=max(0, self._most_held - held),
            hold=state.permits.to_tell(now),
            drop=sorted(state.permits.drops),
            observations=state.observations,
            heard=self._heard,
            back=self._returning,
            bye=bye,
        )

    def _within_bounds(self, held: int, now: float) -> tuple[int, int]:
        seen = self.state.view
        interactive, bulk = self._waiting
        processes = self.expected_processes or self._fleet_before
        if processes > 1 and now - seen.epoch_began < self.timing.window:
            # Redis began with nothing less than a window ago: what dead processes hold it does not know.
            room = max(0, seen.limit // processes - held)
            interactive = min(interactive, room)
            bulk = min(bulk, room - interactive)
        return interactive, bulk

    def doubt(self, request: SyncRequest) -> None:
        """Note that it is not known what came of a call: what it was granted is to be given back."""
        self.state.permits.drops.update(range(request.first, request.first + request.wanted))

    def hear(self, request: SyncRequest, reply: SyncReply, now: float) -> None:
        """Take in what Redis says."""
        self._heard = request.call
        if reply.moved:
            self._move(request, reply, now)
            return
        state, seen = self.state, self.state.view
        state.permits.confirm(request.hold, request.drop, request.at)
        told = set(map(id, request.observations))
        state.observations = [
            observation for observation in state.observations if id(observation) not in told
        ]
        self._returning = False
        self._mind_the_gaps(reply, now)
        was_fresh, was_open_from = seen.fresh(now), seen.opens_at
        short = reply.granted < sum(self._waiting)
        seen.hear(reply, now)
        if short:
            retry = POLL_SECONDS if reply.granted == request.wanted else reply.retry
            seen.ask_again_at = now + max(retry, self.timing.shortest_pause)
        self._return()
        for number in range(request.first, request.first + reply.granted):
            held = state.permits.take_granted(number, request.at, freed=reply.freed, closing=reply.closing)
            state.granted.append(held)
        held_now = state.permits.count(now)
        self._most_held = max(self._most_held, held_now) if reply.recovering else held_now
        interactive, bulk = self._waiting
        state.claimed = (short and interactive > 0, short and bulk > 0)
        state.scheduler.pump()
        if short and (not was_fresh or seen.opens_at > was_open_from):
            state.scheduler.review()

    def _mind_the_gaps(self, reply: SyncReply, now: float) -> None:
        """Tell everything again after Redis lost some of it, or its clock was set: the moments there are off by as much."""
        seen = self.state.view
        clock_was_set = seen.clock and abs(reply.clock - seen.clock - now + seen.heard_at) > CLOCK_TOLERANCE
        if reply.lost or clock_was_set:
            self.state.permits.tell_again()
            self.state.urgent = True

    def _move(self, request: SyncRequest, reply: SyncReply, now: float) -> None:
        """Take in that Redis knows nothing of what this process said before."""
        state, seen = self.state, self.state.view
        if seen.epoch and seen.epoch != reply.epoch:
            self._returning = self._returning or bool(state.permits)
            self._fleet_before = max(self._fleet_before, seen.fleet)
        seen.epoch, seen.epoch_began, seen.clock = reply.epoch, request.at - reply.epoch_age, 0.0
        state.permits.forgotten()
        state.observations = [
            evolve(observation, freed=None, closing=None) for observation in state.observations
        ]
        self._most_held = state.permits.count(now)
        state.urgent, state.silent_until = True, now

    def _return(self) -> None:
        state = self.state
        state.refused = None
        if state.away:
            # What was sent alone since the question was put has yet to be told.
            state.away, state.alone, state.urgent = False, None, True
            logger.warning("Redis is back: the rate budget is the whole fleet's again")

    def lose(self, why: str, now: float) -> None:
        """Note that Redis is away."""
        state = self.state
        state.silent_until = now + self.timing.retry
        if state.away:
            return
        state.away, state.refused = True, None
        state.give_back_granted()
        if self.on_outage == "wait":
            logger.warning("Redis is away (%s): requests wait until it is back", why)
            return
        self._go_alone(now)
        text = "Redis is away (%s): this process goes on with %d requests per minute of its own"
        logger.warning(text, why, state.limit)
        state.scheduler.pump()

    def _go_alone(self, now: float) -> None:
        state = self.state
        state.alone = share_of_plan(
            state.view,
            state.permits,
            processes=self.expected_processes or state.view.fleet,
            max_rate_wait=state.max_rate_wait,
            random=state.random,
            now=now,
        )
        self._returning = True
        for permit in state.in_use:
            count_under_way(state.alone, permit, now)

    def refuse(self, error: RedisRefusedError, now: float) -> None:
        """Note that Redis is there but of no use: tell all who wait, unless this process goes on alone."""
        state, why = self.state, str(error.args[0])
        if state.alone is not None:
            self.lose(why, now)
            return
        state.away, state.refused = False, why
        state.silent_until = now + self.timing.retry
        state.scheduler.review()
