"""What there is to say to Redis, and what its word changes."""

from typing import Literal

from attrs import define, evolve

from hindsight_async.budget.admission import logger
from hindsight_async.redis.link import Link, RedisRefusedError
from hindsight_async.redis.outage import count_under_way, share_of_plan
from hindsight_async.redis.standing import Standing
from hindsight_async.redis.sync import POLL_SECONDS, Ask, Reply
from hindsight_async.redis.timing import Timing

OnOutage = Literal["share", "wait"]

CLOCK_TOLERANCE = 1.5
"""Seconds by which Redis's clock and ours may disagree on a span before one of them counts as set."""


@define(eq=False)
class Conversation:
    """One process's side of the talk; what is told counts as heard only when Redis has answered.

    `most_held` is how many slots this process may hold while the fleet recovers, `returning` whether it must make
    the fleet do so, since Redis does not know all that it holds.
    """

    standing: Standing
    plan: int
    process: str
    link: Link
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
        standing, seen, timing = self.standing, self.standing.outlook, self.timing
        if standing.away or standing.refused is not None:
            return standing.silent_until
        waiting = tuple(count > 0 for count in standing.dispatcher.lanes.demand())
        nobody_any_more = any(standing.claimed) and not any(waiting)
        if standing.urgent or standing.holdings.drops or nobody_any_more:
            return now
        moment = seen.heard_at + (timing.heartbeat if standing.holdings else timing.idle_heartbeat)
        if not any(waiting):
            return moment
        if any(new and not known for new, known in zip(waiting, standing.claimed, strict=True)):
            return now
        return min(moment, seen.heard_at + timing.impatience, seen.ask_again_at)

    def compose(self, now: float, *, bye: bool = False) -> Ask:
        """Say what is wanted and what there is to tell."""
        standing = self.standing
        held = standing.holdings.count(now)
        self._waiting = (0, 0) if bye or standing.alone is not None else standing.dispatcher.lanes.demand()
        interactive, bulk = self._within_bounds(held, now)
        self._calls += 1
        standing.urgent = False
        return Ask(
            process=self.process,
            call=self._calls,
            epoch=standing.outlook.epoch,
            plan=self.plan,
            at=now,
            first=standing.holdings.numbers(interactive + bulk),
            interactive=interactive,
            bulk=bulk,
            spare=max(0, self._most_held - held),
            hold=standing.holdings.to_tell(now),
            drop=sorted(standing.holdings.drops),
            facts=standing.facts,
            heard=self._heard,
            back=self._returning,
            bye=bye,
        )

    def _within_bounds(self, held: int, now: float) -> tuple[int, int]:
        seen = self.standing.outlook
        interactive, bulk = self._waiting
        processes = self.expected_processes or self._fleet_before
        if processes > 1 and now - seen.epoch_began < self.timing.window:
            # Redis began with nothing less than a window ago: what dead processes hold it does not know.
            room = max(0, seen.limit // processes - held)
            interactive = min(interactive, room)
            bulk = min(bulk, room - interactive)
        return interactive, bulk

    def doubt(self, ask: Ask) -> None:
        """Note that it is not known what came of a call: what it was granted is to be given back."""
        self.standing.holdings.drops.update(range(ask.first, ask.first + ask.wanted))

    def hear(self, ask: Ask, reply: Reply, now: float) -> None:
        """Take in what Redis says."""
        self._heard = ask.call
        if reply.moved:
            self._move(ask, reply, now)
            return
        standing, seen = self.standing, self.standing.outlook
        standing.holdings.confirm(ask.hold, ask.drop, ask.at)
        told = set(map(id, ask.facts))
        standing.facts = [fact for fact in standing.facts if id(fact) not in told]
        self._returning = False
        self._mind_the_gaps(reply, now)
        was_fresh, was_open_from = seen.fresh(now), seen.opens_at
        short = reply.granted < sum(self._waiting)
        seen.hear(reply, now)
        if short:
            retry = POLL_SECONDS if reply.granted == ask.wanted else reply.retry
            seen.ask_again_at = now + max(retry, self.timing.shortest_pause)
        self._return()
        for number in range(ask.first, ask.first + reply.granted):
            held = standing.holdings.take_granted(number, ask.at, freed=reply.freed, closing=reply.closing)
            standing.stock.append(held)
        held_now = standing.holdings.count(now)
        self._most_held = max(self._most_held, held_now) if reply.recovering else held_now
        interactive, bulk = self._waiting
        standing.claimed = (short and interactive > 0, short and bulk > 0)
        standing.dispatcher.pump()
        if short and (not was_fresh or seen.opens_at > was_open_from):
            standing.dispatcher.review()

    def _mind_the_gaps(self, reply: Reply, now: float) -> None:
        """Tell everything again after Redis lost some of it, or its clock was set: the moments there are off by as much."""
        seen = self.standing.outlook
        clock_was_set = seen.clock and abs(reply.clock - seen.clock - now + seen.heard_at) > CLOCK_TOLERANCE
        if reply.lost or clock_was_set:
            self.standing.holdings.tell_again()
            self.standing.urgent = True

    def _move(self, ask: Ask, reply: Reply, now: float) -> None:
        """Take in that Redis knows nothing of what this process said before."""
        standing, seen = self.standing, self.standing.outlook
        if seen.epoch and seen.epoch != reply.epoch:
            self._returning = self._returning or bool(standing.holdings)
            self._fleet_before = max(self._fleet_before, seen.fleet)
        seen.epoch, seen.epoch_began, seen.clock = reply.epoch, ask.at - reply.epoch_age, 0.0
        standing.holdings.forgotten()
        standing.facts = [evolve(fact, freed=None, closing=None) for fact in standing.facts]
        self._most_held = standing.holdings.count(now)
        standing.urgent, standing.silent_until = True, now

    def _return(self) -> None:
        standing = self.standing
        standing.refused = None
        if standing.away:
            # What was sent alone since the question was put has yet to be told.
            standing.away, standing.alone, standing.urgent = False, None, True
            logger.warning("Redis is back: the rate budget is the whole fleet's again")

    def lose(self, why: str, now: float) -> None:
        """Note that Redis is away."""
        standing = self.standing
        standing.silent_until = now + self.timing.retry
        if standing.away:
            return
        standing.away, standing.refused = True, None
        standing.give_back_stock()
        if self.on_outage == "wait":
            logger.warning("Redis is away (%s): requests wait until it is back", why)
            return
        self._go_alone(now)
        text = "Redis is away (%s): this process goes on with %d requests per minute of its own"
        logger.warning(text, why, standing.limit)
        standing.dispatcher.pump()

    def _go_alone(self, now: float) -> None:
        standing = self.standing
        standing.alone = share_of_plan(
            standing.outlook,
            standing.holdings,
            processes=self.expected_processes or standing.outlook.fleet,
            max_rate_wait=standing.max_rate_wait,
            random=standing.random,
            now=now,
        )
        self._returning = True
        for grant in standing.tickets:
            count_under_way(standing.alone, grant, now)

    def refuse(self, error: RedisRefusedError, now: float) -> None:
        """Note that Redis is there but of no use: tell all who wait, unless this process goes on alone."""
        standing, why = self.standing, str(error.args[0])
        if standing.alone is not None:
            self.lose(why, now)
            return
        standing.away, standing.refused = False, why
        standing.silent_until = now + self.timing.retry
        standing.dispatcher.review()
