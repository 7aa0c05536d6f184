"""Limiter by this process's own count: windows, cooldown and pace taken together.

Knows the time only as it is told, and nothing of who waits.

With a share of the plan, a limit that the server names is taken times the share. Its Remaining needs no such
care: what is missing there is first put down to the others' part of the plan, and only what is missing beyond
that part eats into ours. So siblings that keep to their shares are never taken for a rival.
"""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from math import floor

from attrs import define, evolve, field

from hindsight_async.errors import HindsightError
from hindsight_async.rate.client import BudgetClient, Permit
from hindsight_async.rate.cooldown import Cooldown
from hindsight_async.rate.headers import LIMIT, REMAINING, RateHeaders, count_in, parse_rate_headers
from hindsight_async.rate.limiter import Answer, closed_for_long, logger, too_late, warn_of_problems
from hindsight_async.rate.limits import RateLimits
from hindsight_async.rate.token_bucket import TokenBucket

# An enum's member is looked up anew on each use.
_TOO_MANY_REQUESTS = int(HTTPStatus.TOO_MANY_REQUESTS)
_BAD_REQUEST = int(HTTPStatus.BAD_REQUEST)

FLOAT_RESIDUE = 1e-9
"""What a product with a share may be short of a whole number."""


def part_of(requests_per_minute: int, share: float) -> int:
    """Tell how many requests per minute a share of the plan is: whole ones, and at least 1."""
    return max(1, floor(requests_per_minute * share + FLOAT_RESIDUE))


@define(eq=False)
class LocalLimiter:
    """Decides whether a request may leave, and follows what becomes of it."""

    limits: RateLimits
    cooldown: Cooldown
    burst: int | None
    max_rate_wait: float
    token_bucket: TokenBucket
    share: float
    _warned_of: set[str] = field(factory=set[str])
    _usual_limits: dict[str, str] = field(factory=dict[str, str])

    @classmethod
    def begin(
        cls,
        requests_per_minute: int,
        *,
        burst: int | None,
        max_rate_wait: float,
        random: Callable[[], float],
        share: float = 1.0,
    ) -> "LocalLimiter":
        """Start with nothing sent and nothing known."""
        ours = part_of(requests_per_minute, share)
        return cls(RateLimits(ours), Cooldown(random), burst, max_rate_wait, TokenBucket(ours, burst), share)

    @property
    def limit(self) -> int:
        """Requests per minute, as the plan or the server says."""
        return self.limits.whole.limit

    @property
    def opens_at(self) -> float:
        """The moment until which the server refuses everybody."""
        return self.cooldown.opens_at

    def room(self, now: float) -> int:
        """Count the permits that may be taken now."""
        if self.cooldown.closed(now) or self.cooldown.probing:
            return 0
        return max(0, self.limits.whole.room(now))

    def change_loop(self, now: float) -> None:
        """Go on with what is known on another event loop; what was under way there is over."""
        self.cooldown.abandon()
        for window in self.limits.windows():
            window.give_back_all(now)
        self.token_bucket = TokenBucket(self.limits.whole.limit, self.burst)

    def obstacle(self, now: float) -> str | None:
        """Say what is in everybody's way."""
        if not self.cooldown.admits(now):
            return "closed by the server" if self.cooldown.closed(now) else "waiting for one answer"
        if not self.limits.whole.admits(now):
            return "window full"
        return None if self.token_bucket.ready() else "pacing"

    def obstacle_on(self, route: str, now: float) -> str | None:
        """Say what is in the way of requests on this route."""
        part = self.limits.of_routes.get(route)
        return None if part is None or part.admits(now) else "window of the route full"

    def enter_at_once(self, client: BudgetClient, route: str, now: float) -> Permit | None:
        """Let one request leave unless there is an obstacle."""
        admits = self.cooldown.admits(now) and self.limits.whole.admits(now)
        if not admits or (self.token_bucket.spreads and not self.token_bucket.ready()):
            return None
        part = self.limits.of_routes.get(route)
        return self.enter(client, route, now) if part is None or part.admits(now) else None

    def enter(self, client: BudgetClient, route: str, now: float) -> Permit:
        """Let one request leave; make sure first that there is no obstacle."""
        if self.token_bucket.spreads:
            self.token_bucket.take()
        entry, part = self.limits.whole.take(now), self.limits.of_routes.get(route)
        entries = (entry,) if part is None else (entry, part.take(now))
        return Permit(client, route, entries, self.cooldown.enter(), client.era)

    def lapsed(self, permit: Permit, now: float) -> bool:  # noqa: ARG002  nobody else can take what is counted here
        """Tell whether a permit is too old to be used: never."""
        return False

    def undo(self, permit: Permit) -> None:
        """Take back an `enter` after which nothing was sent."""
        self.token_bucket.put_back()
        for entry in permit.entries:
            entry.window.put_back(entry)
        self.cooldown.leave(permit.closing, sent=False)

    def leave(self, permit: Permit, now: float) -> None:
        """Note that a request is over, answered or not: its permits come back when the server's window has permit."""
        for entry in permit.entries:
            entry.window.give_back(entry, now)
        self.cooldown.leave(permit.closing, sent=True)

    def takes_for_granted(self, permit: Permit, answer: Answer) -> bool:
        """Count a request that was let through, if that is all its answer says: most say no more, and cost little."""
        headers = answer.headers
        if answer.status >= _BAD_REQUEST or headers.get(LIMIT, "") != self._usual_limits.get(permit.route):
            return False
        remaining = count_in(headers.get(REMAINING, ""))
        if remaining is None or len(permit.entries) != 1 or not self.cooldown.fully_open:
            return False
        (entry,) = permit.entries
        return entry.window.confirm_as_usual(entry, remaining)

    def learn(self, permit: Permit, answer: Answer, *, now: float, received_at: datetime) -> None:
        """Take in what an answer says."""
        status = answer.status
        self._usual_limits.pop(permit.route, None)
        said = parse_rate_headers(answer.headers, received_at=received_at)
        warn_of_problems(said.problems, self._warned_of)
        refused = status == _TOO_MANY_REQUESTS
        if not refused and (status < _BAD_REQUEST or said.remaining is not None):
            for entry in permit.entries:
                entry.window.confirm(entry, now)
        self._adopt_limit(permit, said, now)
        entry = permit.entries[-1]
        window = entry.window
        if said.limit is None or said.limit >= window.limit:
            window.learn(entry, said, now)
        if not refused:
            self.cooldown.let_through(permit.closing, said)
            if status < _BAD_REQUEST and not said.problems and said.limit == self.limit and self.share == 1:
                self._usual_limits[permit.route] = answer.headers[LIMIT]
            return
        if said.remaining is None and permit.closing == self.cooldown.closing:
            window.refused_without_word(now)
        self.cooldown.refuse(permit.closing, said, now)

    def settle(self) -> None:
        """Note that all who may go now have gone."""

    async def finish(self) -> None:
        """Come to rest: there is nobody to tell."""

    def next_change(self, now: float) -> float:
        """Name the next moment at which an obstacle may go away by itself; inf if there is none."""
        if self.cooldown.closed(now):
            return self.cooldown.opens_at
        moment = min(window.next_change(now) for window in self.limits.windows())
        pause = self.token_bucket.seconds_until_ready()
        return min(moment, now + pause) if pause else moment

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave."""
        return max(
            now,
            self.cooldown.opens_at,
            self.limits.whole.opens_for(ahead, now),
            now + self.token_bucket.seconds_for(ahead),
        )

    def refusal(self, deadline: float | None, earliest: float, now: float) -> HindsightError | None:
        """Make the error for a caller that would wait in vain, if so."""
        cooldown = self.cooldown
        if cooldown.closed(now) and (cooldown.quota or cooldown.opens_at - now > self.max_rate_wait):
            return closed_for_long(cooldown.reset_at, quota=cooldown.quota)
        if deadline is None or earliest <= deadline:
            return None
        return too_late(earliest - now)

    def _adopt_limit(self, permit: Permit, said: RateHeaders, now: float) -> None:
        whole = self.limits.whole
        before = whole.limit
        if said.limit is not None:
            said = evolve(said, limit=part_of(said.limit, self.share))
        self.limits.learn(permit.route, permit.entries[0], said, now)
        if whole.limit != before:
            self.token_bucket = TokenBucket(whole.limit, self.burst)
            logger.warning("the server allows %d requests per minute, not %d", whole.limit, before)
