"""What stands in a request's way, and what its answer teaches: windows, gate and pace taken together.

Knows the time only as it is told, and nothing of who waits.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from attrs import define, field

from hindsight_async.budget.gate import Gate
from hindsight_async.budget.lanes import Grant, Member
from hindsight_async.budget.pacer import Pacer
from hindsight_async.budget.rate_limits import RateLimits
from hindsight_async.errors import DeadlineExceededError, HindsightError, QuotaExceededError
from hindsight_async.rate_headers import RateHeaders, parse_rate_headers

logger = logging.getLogger("hindsight_async.budget")


@define(eq=False)
class Admission:
    """Decides whether a request may leave, and follows what becomes of it."""

    limits: RateLimits
    gate: Gate
    burst: int | None
    max_rate_wait: float
    pacer: Pacer
    _warned_of: set[str] = field(factory=set[str])

    @classmethod
    def begin(
        cls,
        requests_per_minute: int,
        *,
        burst: int | None,
        max_rate_wait: float,
        random: Callable[[], float],
    ) -> "Admission":
        """Start with nothing sent and nothing known."""
        return cls(
            RateLimits(requests_per_minute),
            Gate(random),
            burst,
            max_rate_wait,
            Pacer(requests_per_minute, burst),
        )

    def change_loop(self, now: float) -> None:
        """Go on with what is known on another event loop; what was under way there is over."""
        self.gate.abandon()
        for window in self.limits.windows():
            window.give_back_all(now)
        self.pacer = Pacer(self.limits.whole.limit, self.burst)

    def obstacle(self, now: float) -> str | None:
        """Say what is in everybody's way."""
        if self.gate.closed(now):
            return "closed by the server"
        if self.gate.probing:
            return "waiting for one answer"
        if not self.limits.whole.admits(now):
            return "window full"
        return None if self.pacer.ready() else "pacing"

    def obstacle_on(self, route: str, now: float) -> str | None:
        """Say what is in the way of requests on this route."""
        part = self.limits.of_route(route)
        return None if part is None or part.admits(now) else "window of the route full"

    def enter(self, member: Member, route: str, now: float) -> Grant:
        """Let one request leave; make sure first that there is no obstacle."""
        self.pacer.take()
        whole, part = self.limits.whole, self.limits.of_route(route)
        holds = [(whole, whole.take(now))]
        if part is not None:
            holds.append((part, part.take(now)))
        return Grant(member, route, holds, self.gate.enter())

    def undo(self, grant: Grant) -> None:
        """Take back an `enter` after which nothing was sent."""
        self.pacer.put_back()
        for window, hold in grant.holds:
            window.put_back(hold)
        self.gate.leave(grant.closing, sent=False)

    def leave(self, grant: Grant, now: float) -> None:
        """Note that a request is over, answered or not: its slots come back when the server's window has grant."""
        for window, hold in grant.holds:
            window.give_back(hold, now)
        self.gate.leave(grant.closing, sent=True)

    def learn(
        self, grant: Grant, status: int, headers: Mapping[str, str], *, now: float, received_at: datetime
    ) -> None:
        """Take in what an answer says."""
        said = parse_rate_headers(headers, received_at=received_at)
        self._warn_of_problems(said)
        refused = status == HTTPStatus.TOO_MANY_REQUESTS
        if not refused and (status < HTTPStatus.BAD_REQUEST or said.remaining is not None):
            for window, hold in grant.holds:
                window.confirm(hold, now)
        self._adopt_limit(grant, said, now)
        window, hold = grant.holds[-1]
        if said.limit is None or said.limit >= window.limit:
            window.learn(hold, said, now)
        if not refused:
            self.gate.let_through(grant.closing, said)
            return
        if said.remaining is None and grant.closing == self.gate.closing:
            window.refused_without_word(now)
        self.gate.refuse(grant.closing, said, now)

    def next_change(self, now: float) -> float:
        """Name the next moment at which an obstacle may go away by itself; inf if there is none."""
        if self.gate.closed(now):
            return self.gate.opens_at
        moment = min(window.next_change(now) for window in self.limits.windows())
        pause = self.pacer.seconds_until_ready()
        return min(moment, now + pause) if pause else moment

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave."""
        return max(
            now,
            self.gate.opens_at,
            self.limits.whole.opens_for(ahead, now),
            now + self.pacer.seconds_for(ahead),
        )

    def refusal(self, deadline: float | None, earliest: float, now: float) -> HindsightError | None:
        """Make the error for a caller that would wait in vain, if so."""
        gate = self.gate
        if gate.closed(now) and (gate.quota or gate.opens_at - now > self.max_rate_wait):
            until = f"until {gate.reset_at:%Y-%m-%d %H:%M:%S %Z}" if gate.reset_at else "for an unnamed time"
            why = "the monthly quota is used up" if gate.quota else "the server asks for a long wait"
            return QuotaExceededError(f"{why}: nothing is sent {until}", reset_at=gate.reset_at)
        if deadline is None or earliest <= deadline:
            return None
        return self.too_late(earliest - now)

    @staticmethod
    def too_late(wait: float) -> DeadlineExceededError:
        """Make the error for a caller who cannot have a slot before its deadline."""
        text = f"no request may leave for another {wait:.1f} s, which is past the deadline"
        return DeadlineExceededError(text, retry_after=wait)

    def _adopt_limit(self, grant: Grant, said: RateHeaders, now: float) -> None:
        whole = self.limits.whole
        before = whole.limit
        self.limits.learn(grant.route, grant.holds[0][1], said, now)
        if whole.limit != before:
            self.pacer = Pacer(whole.limit, self.burst)
            logger.warning("the server allows %d requests per minute, not %d", whole.limit, before)

    def _warn_of_problems(self, said: RateHeaders) -> None:
        for name in said.problems:
            if name not in self._warned_of:
                self._warned_of.add(name)
                logger.warning("the server's %s header makes no sense and is left out of account", name)
