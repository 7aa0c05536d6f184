"""Admission by a count that Redis keeps for the whole fleet, and by a share of the plan while Redis is away."""

from datetime import datetime
from http import HTTPStatus
from math import inf

from attrs import define, field

from hindsight_async.budget.admission import Answer, closed_for_long, too_late, warn_of_problems
from hindsight_async.budget.gate import named_wait
from hindsight_async.budget.lanes import Grant, Member
from hindsight_async.errors import HindsightError
from hindsight_async.rate_headers import RateHeaders, parse_rate_headers
from hindsight_async.redis.conversation import Conversation
from hindsight_async.redis.holdings import Held
from hindsight_async.redis.keeper import Keeper
from hindsight_async.redis.link import RedisRefusedError
from hindsight_async.redis.standing import Standing
from hindsight_async.redis.sync import Fact


@define(eq=False)
class FleetAdmission:
    """Decides whether a request may leave, on the word of Redis."""

    standing: Standing
    conversation: Conversation
    _keeper: Keeper | None = None
    _warned_of: set[str] = field(factory=set[str])

    @property
    def limit(self) -> int:
        """Requests per minute: the fleet's, and this process's share of them while Redis is away."""
        return self.standing.limit

    @property
    def opens_at(self) -> float:
        """The moment until which the server refuses everybody."""
        alone = self.standing.alone
        return self.standing.outlook.opens_at if alone is None else alone.opens_at

    def room(self, now: float) -> int:
        """Count the slots that may be taken now, as far as is known."""
        seen, alone = self.standing.outlook, self.standing.alone
        if alone is not None:
            return alone.room(now)
        return 0 if now < seen.opens_at or seen.opening else max(0, seen.free)

    def obstacle(self, now: float) -> str | None:
        """Say what is in everybody's way."""
        standing = self.standing
        if standing.alone is not None:
            return standing.alone.obstacle(now)
        while standing.stock and standing.stock[0].covered_until < now:
            standing.holdings.drop(standing.stock.popleft())
        if standing.stock:
            return None
        return "Redis is away" if standing.away else standing.outlook.obstacle(now)

    def obstacle_on(self, route: str, now: float) -> str | None:
        """Say what is in the way of requests on this route."""
        alone = self.standing.alone
        return None if alone is None else alone.obstacle_on(route, now)

    def enter_at_once(self, member: Member, route: str, now: float) -> Grant | None:
        """Let one request leave unless there is an obstacle."""
        blocked = self.obstacle(now) or self.obstacle_on(route, now)
        return None if blocked else self.enter(member, route, now)

    def enter(self, member: Member, route: str, now: float) -> Grant:
        """Let one request leave; make sure first that there is no obstacle."""
        standing = self.standing
        if standing.alone is not None:
            grant, held = standing.alone.enter(member, route, now), standing.holdings.take_unasked(now)
        else:
            grant, held = Grant(member, route, (), 0, member.era), standing.stock.popleft()
        standing.tickets[grant] = held
        return grant

    def lapsed(self, grant: Grant, now: float) -> bool:
        """Tell whether Redis may have given this slot to somebody else."""
        held = self.standing.tickets.get(grant)
        return held is not None and held.covered_until < now

    def undo(self, grant: Grant) -> None:
        """Take back an `enter` after which nothing was sent: the slot is for the next who waits."""
        standing = self.standing
        held = standing.tickets.pop(grant, None)
        if held is None:
            return
        if standing.alone is not None:
            standing.alone.undo(grant)
            standing.holdings.drop(held)
        else:
            standing.stock.append(held)

    def leave(self, grant: Grant, now: float) -> None:
        """Note that a request is over, answered or not."""
        standing = self.standing
        held = standing.tickets.pop(grant, None)
        if held is None:
            return
        standing.holdings.end(held, now)
        if standing.alone is not None:
            standing.alone.leave(grant, now)
        elif standing.outlook.opening:
            standing.urgent = True

    def takes_for_granted(self, grant: Grant, answer: Answer) -> bool:  # noqa: ARG002
        """Take in an answer if it says nothing new: never, since the others are to hear of each."""
        return False

    def learn(self, grant: Grant, answer: Answer, *, now: float, received_at: datetime) -> None:
        """Take in what an answer says, and tell the others at the next word."""
        standing = self.standing
        held = standing.tickets.get(grant)
        if held is None:
            return
        said = parse_rate_headers(answer.headers, received_at=received_at)
        fact = _fact(grant.route, held, answer.status, said, now=now, jitter=standing.random())
        standing.note(fact)
        if standing.alone is not None:
            standing.alone.learn(grant, answer, now=now, received_at=received_at)
            return
        warn_of_problems(said.problems, self._warned_of)
        seen = standing.outlook
        if fact.refused and fact.wait:
            seen.close(now + fact.wait, fact.reset_at, quota=fact.quota)
        if fact.refused or seen.opening or (fact.limit or seen.limit) != seen.limit:
            standing.urgent = True
            self._wake()

    def settle(self) -> None:
        """Give back what nobody wants, and see to it that somebody asks for more."""
        self.standing.give_back_stock()
        if self.standing.has_something_to_say():
            self._wake()

    def next_change(self, now: float) -> float:
        """Name the next moment at which an obstacle may go away by itself; inf if there is none."""
        alone = self.standing.alone
        return inf if alone is None else alone.next_change(now)

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave."""
        standing = self.standing
        if standing.alone is not None:
            return standing.alone.earliest(ahead, now)
        return max(now, standing.silent_until) if standing.away else standing.outlook.earliest(ahead, now)

    def refusal(self, deadline: float | None, earliest: float, now: float) -> HindsightError | None:
        """Make the error for a caller that would wait in vain, if so."""
        standing, seen = self.standing, self.standing.outlook
        if standing.alone is not None:
            return standing.alone.refusal(deadline, earliest, now)
        if standing.refused is not None and now < standing.silent_until:
            return RedisRefusedError(standing.refused)
        if now < seen.opens_at and (seen.quota or seen.opens_at - now > standing.max_rate_wait):
            return closed_for_long(seen.reset_at, quota=seen.quota)
        return None if deadline is None or earliest <= deadline else too_late(earliest - now)

    def change_loop(self, now: float) -> None:
        """Go on with what is known on another event loop; what was under way there is over."""
        standing = self.standing
        standing.holdings.end_all(now)
        standing.stock.clear()
        standing.tickets.clear()
        standing.claimed = (False, False)
        if standing.alone is not None:
            standing.alone.change_loop(now)
        self._keeper = None
        self.conversation.link.start_afresh()

    async def finish(self) -> None:
        """Tell Redis what it does not know yet, and close the connection."""
        if self._keeper is not None:
            await self._keeper.stop()

    def _wake(self) -> None:
        if self._keeper is None:
            self._keeper = Keeper(self.conversation, self._on_end)
        self._keeper.wake()

    def _on_end(self) -> None:
        self._keeper = None
        if self.standing.dispatcher.lanes.waiting:
            self._wake()


def _fact(route: str, held: Held, status: int, said: RateHeaders, *, now: float, jitter: float) -> Fact:
    quota = said.usage_remaining == 0
    refused = status == HTTPStatus.TOO_MANY_REQUESTS
    # An error that names no numbers, such as one of a proxy, says nothing of what was let through.
    return Fact(
        route=route,
        sent_at=held.taken_at,
        got_at=now,
        status=status,
        refused=refused,
        limit=said.limit,
        remaining=said.remaining,
        closing=held.closing,
        freed=held.freed,
        wait=named_wait(said, quota=quota) or None if refused else None,
        quota=quota,
        reset_at=said.usage_period_end if quota else said.reset_at,
        jitter=jitter,
    )
