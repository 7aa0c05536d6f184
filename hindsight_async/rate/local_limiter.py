"""The limiter that counts by itself: may one more request leave, by windows, cooldown and token bucket together.

Pure but for the token bucket and the log: the time is handed in, and nothing is known of who waits.

With a share of the plan, a limit that the server names counts times the share. What it says is left of it (Remaining) is
of all programs together. Of a limit of 100 and a share of half, the first 50 that others used are taken for those of the
other half, and only what they used beyond takes from ours. So processes that keep to their shares are no other programs.
"""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from math import floor, inf

from attrs import define, field

from hindsight_async.errors import HindsightError
from hindsight_async.rate.client import BudgetClient, Lane, Permit
from hindsight_async.rate.cooldown import Cooldown
from hindsight_async.rate.headers import LIMIT, REMAINING, RESET, RateHeaders, count_in, parse_rate_headers
from hindsight_async.rate.limiter import AnswerHead, closed_for_long, logger, too_late, warn_of_problems
from hindsight_async.rate.limits import RateLimits
from hindsight_async.rate.token_bucket import TokenBucket

# An enum's member is looked up anew on each use.
_TOO_MANY_REQUESTS = int(HTTPStatus.TOO_MANY_REQUESTS)
_BAD_REQUEST = int(HTTPStatus.BAD_REQUEST)

LEARNED_EVERY = 0.05
"""Seconds within which one answer of many alike is enough to learn from."""

RESET_DIGITS = 3
"""Decimal places of a second to which servers name a window's end."""

FLOAT_RESIDUE = 1e-9
"""How far a product with a share may fall short of a whole number: 300 * 0.57 must be 171."""


def part_of(requests_per_minute: int, share: float) -> int:
    """Tell how many requests per minute a share of the plan is: whole ones, and at least 1."""
    return max(1, floor(requests_per_minute * share + FLOAT_RESIDUE))


@define(eq=False, repr=False)
class LocalLimiter:
    """Decides whether a request may leave, and follows what becomes of it: a `Limiter`."""

    limits: RateLimits
    """How many requests any 60 s may contain, of the organisation and of each route with a limit of its own."""
    cooldown: Cooldown
    """Whether the server lets anybody through."""
    burst: int | None
    """How many may leave at once; None for as many as the window has room for."""
    token_bucket: TokenBucket
    """How fast they follow each other, where `burst` is less than the limit."""
    share: float
    """This process's part of the organisation's limit."""
    _warned_of: set[str] = field(factory=set[str])
    """Headers that made no sense, of which the log was told."""
    _keeps_pace: bool = False
    """Whether it was last the pace that was in everybody's way."""
    _pace: float | None = None
    """Requests per minute that the token bucket is sized to in company; None where it is sized to the limit."""
    _usual: tuple[str, str | None, str | None] | None = None
    """The route, and the texts of Limit and Reset, of the answer learned from last, if it was a usual one."""
    _window: float | None = None
    """The window that it named."""
    _learned_at: float = -inf
    """When it came."""

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
        cooldown = Cooldown(random, max_rate_wait)
        return cls(RateLimits(ours), cooldown, burst, TokenBucket(ours, burst), share)

    @property
    def limit(self) -> int:
        """Requests per minute, as the plan or the server says."""
        return self.limits.whole.limit

    @property
    def route_limits(self) -> dict[str, int]:
        """Requests per minute of the routes with a smaller limit of their own."""
        return {route: policy.limit for route, policy in self.limits.of_routes.items()}

    @property
    def left_to_others(self) -> int:
        """Requests per minute that are left to other programs, by what they used of late; 0 while none are known."""
        pace = self.limits.whole.pace
        return 0 if pace is None else self.limit - pace

    @property
    def opens_at(self) -> float:
        """The moment before which nobody may leave since the server has refused."""
        return self.cooldown.opens_at

    def room(self, now: float) -> int:
        """Count the permits that the window has left; none while the server refuses. The pace may hold some of them back."""
        if self.cooldown.closed(now) or self.cooldown.probing:
            return 0
        return self.limits.whole.room(now)

    def change_loop(self, now: float) -> None:
        """Go on with what is known on another event loop; what was under way there is over."""
        self.cooldown.abandon()
        for policy in self.limits.policies():
            policy.end_all(now)
        self.token_bucket = TokenBucket(self.limits.whole.limit, self.burst)
        self._pace = None

    def obstacle(self, now: float) -> str | None:
        """Say what is in everybody's way."""
        self._keeps_pace = False
        if not self.cooldown.admits(now):
            return "closed by the server" if self.cooldown.closed(now) else "waiting for one answer"
        if not self.limits.whole.admits(now):
            return "window full"
        self._fit_bucket()
        self._keeps_pace = not self.token_bucket.ready()
        return "pacing" if self._keeps_pace else None

    def obstacle_on(self, route: str, now: float) -> str | None:
        """Say what is in the way of requests on this route."""
        part = self.limits.of_routes.get(route)
        return None if part is None or part.admits(now) else "window of the route full"

    def take_at_once(self, client: BudgetClient, route: str, lane: Lane, now: float) -> Permit | None:
        """Take a permit unless there is an obstacle; an interactive caller need not keep the pace that others ask for."""
        if not self.cooldown.admits(now) or not self.limits.whole.admits(now):
            return None
        self._fit_bucket()
        hurries = lane == "interactive" and self._pace is not None
        if self.token_bucket.spreads and not hurries and not self.token_bucket.ready():
            return None
        part = self.limits.of_routes.get(route)
        return self.take(client, route, now) if part is None or part.admits(now) else None

    def take(self, client: BudgetClient, route: str, now: float) -> Permit:
        """Take a permit; make sure first that there is no obstacle."""
        has_token = self.token_bucket.spreads and self.token_bucket.ready()
        if has_token:
            self.token_bucket.take()
        entry, part = self.limits.whole.take(now), self.limits.of_routes.get(route)
        entries = (entry,) if part is None else (entry, part.take(now))
        return Permit(client, route, entries, self.cooldown.begin(), client.era, has_token)

    def lapsed(self, permit: Permit, now: float) -> bool:  # noqa: ARG002  nobody else can take what is counted here
        """Tell whether a permit was taken too long ago to be used: never."""
        return False

    def put_back(self, permit: Permit) -> None:
        """Put a permit back with which nothing was sent."""
        if permit.has_token:
            self.token_bucket.put_back()
        for entry in permit.entries:
            entry.policy.put_back(entry)
        self.cooldown.put_back(permit.generation)

    def end(self, permit: Permit, now: float) -> None:
        """Note that a request is over, answered or not: its entries leave once the server's window has passed."""
        for entry in permit.entries:
            entry.policy.end(entry, now)
        self.cooldown.end(permit.generation, now)

    def confirm_as_usual(self, permit: Permit, answer: AnswerHead, now: float) -> bool:
        """Count the request as let through, if its answer says what the last one said: of a burst most do, and cost a third.

        What one of many in a moment says is left out where plenty is left and the window is the one known.
        """
        headers, usual = answer.headers, self._usual
        if (
            answer.status >= _BAD_REQUEST
            or now > self._learned_at + LEARNED_EVERY
            or len(permit.entries) != 1
        ):
            return False
        if usual != (permit.route, headers.get(LIMIT), headers.get(RESET)) or not self.cooldown.fully_open:
            return False
        remaining = count_in(headers.get(REMAINING, ""))
        if remaining is None or 2 * remaining < self.limit:
            return False
        (entry,) = permit.entries
        entry.policy.confirm_as_usual(entry, self._window, now)
        return True

    def learn(self, permit: Permit, answer: AnswerHead, *, now: float, received_at: datetime) -> None:
        """Take in what an answer says."""
        status = answer.status
        headers = parse_rate_headers(answer.headers, received_at=received_at)
        warn_of_problems(headers.problems, self._warned_of)
        refused = status == _TOO_MANY_REQUESTS
        sent_at = permit.entries[0].sent_at
        reset = self._window_named(headers)
        if headers.date is not None:
            self.limits.clock.learn(headers.date.timestamp(), reset, sent_at=sent_at, now=now)
        self._adopt_limit(permit, headers, now)
        # A Remaining is of the smallest limit that applies to the route, and so of the last policy.
        entry = permit.entries[-1]
        policy = entry.policy
        if headers.remaining is not None and (headers.limit is None or headers.limit >= policy.limit):
            policy.learn(
                entry,
                limit=headers.limit or policy.limit,
                remaining=headers.remaining,
                reset=reset,
                refused=refused,
                now=now,
            )
        elif refused and permit.generation == self.cooldown.generation:
            policy.learn_bare_refusal(entry, now)
        for each in permit.entries:
            if refused:
                each.policy.refuse(each)
            # An error that names no numbers may be a proxy's own: the server need not have counted the request.
            elif status < _BAD_REQUEST or headers.remaining is not None:
                each.policy.confirm(each, reset if each is entry else None, now)
        if refused:
            self.cooldown.close(permit.generation, headers, now)
            return
        self.cooldown.confirm(permit.generation, headers)
        is_usual = status < _BAD_REQUEST and not headers.problems and headers.limit == self.limit
        self._usual = (
            (permit.route, answer.headers.get(LIMIT), answer.headers.get(RESET)) if is_usual else None
        )
        self._window, self._learned_at = reset, now

    def rebalance(self) -> None:
        """Give back what nobody wants: there is nobody to give it to."""

    async def finish(self) -> None:
        """Come to rest: there is no connection to close."""

    def next_change(self, now: float) -> float:
        """Name the next moment at which an obstacle may go away by itself; inf if there is none."""
        if self.cooldown.closed(now):
            return self.cooldown.opens_at
        moment = min(policy.next_change(now) for policy in self.limits.policies())
        pause = self.token_bucket.seconds_until_ready()
        # The token may have come since it was missed: the bucket reads the clock by itself.
        return min(moment, now + pause) if pause or self._keeps_pace else moment

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave."""
        return max(
            now,
            self.cooldown.opens_at,
            self.limits.whole.opens_for(ahead, now),
            now + self._pause_for(ahead),
        )

    def why_in_vain(self, deadline: float | None, earliest: float, now: float) -> HindsightError | None:
        """Make the error for a caller that would wait in vain; None for one that may wait."""
        cooldown = self.cooldown
        if cooldown.turns_away(now):
            return closed_for_long(cooldown.reset_at, cooldown.next_probe_in(now), quota=cooldown.quota)
        if deadline is None or earliest <= deadline:
            return None
        return too_late(earliest - now)

    def _pause_for(self, ahead: int) -> float:
        # The pace in company may rise at any time; that of a `burst` is what somebody asked for.
        return self.token_bucket.seconds_until_ready() if self._pace else self.token_bucket.seconds_for(ahead)

    def _fit_bucket(self) -> None:
        """Size the token bucket to what others leave."""
        pace = self.limits.whole.pace
        if pace != self._pace:
            self._pace = pace
            burst = self.burst if pace is None else 1
            self.token_bucket = self.token_bucket.refitted(pace or self.limits.whole.limit, burst)

    def _window_named(self, headers: RateHeaders) -> float | None:
        """Return the end of the window that an answer names, on the server's clock."""
        if headers.reset_in is None or headers.date is None:
            return None
        reset = round(headers.date.timestamp() + headers.reset_in, RESET_DIGITS)
        return self.limits.whole.window_named(reset)

    def _adopt_limit(self, permit: Permit, headers: RateHeaders, now: float) -> None:
        whole = self.limits.whole
        before = whole.limit
        if headers.limit is not None:
            ours = part_of(headers.limit, self.share)
            self.limits.learn(permit.route, ours, sent_at=permit.entries[0].sent_at, now=now)
        if whole.limit != before:
            self.token_bucket, self._pace = TokenBucket(whole.limit, self.burst), None
            # More than was said is no trouble.
            tell = logger.warning if whole.limit < before else logger.info
            tell("the server allows %d requests per minute, not %d", whole.limit, before)
