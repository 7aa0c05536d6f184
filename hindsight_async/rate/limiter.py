"""What the scheduler asks before a request leaves: the protocol of its two limiters, and the errors both make."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import inf
from typing import Protocol

from hindsight_async.errors import DeadlineExceededError, HindsightError, QuotaExceededError
from hindsight_async.rate.client import BudgetClient, Lane, Permit

logger = logging.getLogger("hindsight_async.rate")

RATE_LIMIT_CODE = "rate_limit_exceeded"
"""What the API calls a 429, for the minute's limit and the month's quota alike (page integrations/api, "Errors")."""


class AnswerHead(Protocol):
    """What the server answered, as far as it concerns the budget; headers are looked up without regard to case.

    A protocol because the reply itself belongs to a folder that imports this one.
    """

    status: int
    headers: Mapping[str, str]


class Limiter(Protocol):
    """Decides whether a request may leave, and follows what becomes of it.

    Two implement it: `LocalLimiter`, which counts by itself, and `FleetLimiter`, which goes by the count in Redis and
    hands over to a `LocalLimiter` while Redis is away. Each permit is taken once, then either put back, where nothing
    was sent, or ended. All moments are in seconds of the event loop's clock, and are handed in.
    """

    @property
    def limit(self) -> int:
        """Requests per minute."""
        ...

    @property
    def route_limits(self) -> dict[str, int]:
        """Requests per minute of the routes with a smaller limit of their own."""
        ...

    @property
    def left_to_others(self) -> int:
        """Requests per minute that are left to other programs."""
        ...

    @property
    def opens_at(self) -> float:
        """The moment before which nobody may leave since the server has refused; one in the past where it has not."""
        ...

    def room(self, now: float) -> int:
        """Count the permits that may be taken now."""
        ...

    def obstacle(self, now: float) -> str | None:
        """Say what is in everybody's way."""
        ...

    def obstacle_on(self, route: str, now: float) -> str | None:
        """Say what is in the way of requests on this route."""
        ...

    def take_at_once(self, client: BudgetClient, route: str, lane: Lane, now: float) -> Permit | None:
        """Take a permit unless there is an obstacle; where nobody waits, the pace is none for an interactive caller."""
        ...

    def take(self, client: BudgetClient, route: str, now: float) -> Permit:
        """Take a permit; make sure first that there is no obstacle."""
        ...

    def lapsed(self, permit: Permit, now: float) -> bool:
        """Tell whether a permit was taken too long ago to be used."""
        ...

    def put_back(self, permit: Permit) -> None:
        """Put a permit back with which nothing was sent: it is free at once."""
        ...

    def end(self, permit: Permit, now: float) -> None:
        """Note that a request is over, answered or not."""
        ...

    def confirm_as_usual(self, permit: Permit, answer: AnswerHead, now: float) -> bool:
        """Count the request as let through, if its answer says no more than that; False where there is more to `learn`."""
        ...

    def learn(self, permit: Permit, answer: AnswerHead, *, now: float, received_at: datetime) -> None:
        """Take in what an answer says; `received_at` is the local time, aware."""
        ...

    def rebalance(self) -> None:
        """Give back the permits that nobody here wants, and ask for those that somebody does."""
        ...

    def next_change(self, now: float) -> float:
        """Name the next moment at which an obstacle may go away by itself; inf if there is none."""
        ...

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave."""
        ...

    def why_in_vain(self, deadline: float | None, earliest: float, now: float) -> HindsightError | None:
        """Make the error for a caller that would wait in vain; None for one that may wait."""
        ...

    def change_loop(self, now: float) -> None:
        """Go on with what is known on another event loop; what was under way there is over."""
        ...

    async def finish(self) -> None:
        """Come to rest: the last session has left."""
        ...


def warn_of_problems(names: Iterable[str], warned_of: set[str]) -> None:
    """Warn of headers that make no sense, once of each."""
    for name in names:
        if name not in warned_of:
            warned_of.add(name)
            logger.warning("the server's %s header makes no sense and is left out of account", name)


def whole_seconds(wait: float) -> int:
    """Round a wait that is not over, and so never to 0."""
    return max(1, round(wait))


def too_late(wait: float, obstacle: str | None = None) -> DeadlineExceededError:
    """Make the error for a caller who cannot have a permit before its deadline, or had none.

    Args:
        wait: Seconds until it could have one; inf where nobody knows.
        obstacle: What was in its way.

    """
    why = f" ({obstacle})" if obstacle else ""
    if 0 < wait < inf:
        text = f"no request may leave for another {max(0.1, wait):.1f} s, which is past the deadline{why}"
    else:
        text = f"the deadline passed before the request could leave{why}"
    return DeadlineExceededError(text, retry_after=wait if wait < inf else None)


def closed_for_long(reset_at: datetime | None, next_try_in: float, *, quota: bool) -> QuotaExceededError:
    """Make the error for a caller whom the server will refuse for longer than anybody waits.

    Args:
        reset_at: What the server named, aware; None where it named nothing.
        next_try_in: Seconds until one request tries again.
        quota: Whether the month is used up.

    """
    until = f"until {reset_at:%Y-%m-%d %H:%M:%S %Z}" if reset_at else "for an unnamed time"
    named = "the server asks for a long wait" if reset_at else "the server refuses requests"
    why = "the monthly quota is used up" if quota else named
    return QuotaExceededError(
        f"{why}, {until}; one request tries again in {whole_seconds(next_try_in)} s",
        code=RATE_LIMIT_CODE,
        reset_at=reset_at,
        retry_after=next_try_in,
    )
