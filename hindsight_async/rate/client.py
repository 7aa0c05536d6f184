"""What the rate budget gives a session: a client to ask for permits with, and the permits."""

import asyncio
from typing import TYPE_CHECKING, Literal

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from hindsight_async.rate.limiter import AnswerHead
    from hindsight_async.rate.policy import Entry
    from hindsight_async.rate.scheduler import Scheduler

Lane = Literal["interactive", "bulk"]
"""How urgent a request is: somebody waits for this very one ("interactive"), or it is one of many ("bulk")."""

LANES: tuple[Lane, Lane] = ("interactive", "bulk")


def check_lane(lane: object) -> None:
    """Raise where that is no lane."""
    if not isinstance(lane, str):
        raise TypeError(f"lane must be {_LANE_NAMES}, not {type(lane).__name__}")
    if lane not in LANES:
        raise ValueError(f"lane must be {_LANE_NAMES}, not {lane!r}")


_LANE_NAMES = " or ".join(map(repr, LANES))


def check_deadline(deadline: object) -> None:
    """Raise where that is neither a number of seconds nor None."""
    if deadline is None:
        return
    if not isinstance(deadline, int | float) or isinstance(deadline, bool):
        raise TypeError(f"deadline must be int or float or None, not {type(deadline).__name__}")
    if not deadline > 0:
        raise ValueError("deadline must be more than 0 seconds, or None for no end")


def no_one_queued() -> dict[Lane, int]:
    """Return a count of waiting callers for each lane, all zero."""
    return dict.fromkeys(LANES, 0)


@define(eq=False, repr=False)
class Permit:
    """The right to send one request. It counts as in flight until that is over, and in the window for another minute."""

    client: "BudgetClient"
    route: str
    entries: "tuple[Entry, ...]"
    """In the organisation's policy and, last, in that of its route where that has one."""
    generation: int
    """Of the cooldown, a new one from each 429 on: a late answer to an earlier one does not open what has closed since."""
    era: int
    """Of the scheduler, a new one with each event loop: a late release of an earlier one has nothing to free."""
    has_token: bool = False
    """Whether a token of the bucket that sets the pace was taken for it."""
    answered: bool = False
    """Whether its answer has begun, from when on the minute counts in which it stays in the window."""
    waited: float = 0.0
    """Seconds that were waited for it."""


@define(eq=False, repr=False)
class BudgetClient:
    """One session's side of the budget: it acquires a permit before each request and releases it after."""

    _scheduler: "Scheduler"
    max_in_flight: int
    """The session's own bound on its requests under way, which applies beside the plan's."""
    in_flight: int = field(default=0, init=False)
    queued: dict[Lane, int] = field(factory=no_one_queued, init=False)
    era: int = field(default=0, init=False)
    """The scheduler's event loop, by number, that the counts above are of; those of an earlier one mean nothing."""
    closed: bool = field(default=False, init=False)

    @property
    def limit(self) -> int:
        """Requests per minute, as `Budget.limit` says."""
        return self._scheduler.limiter.limit

    async def acquire(
        self,
        route: str,
        lane: Lane = "interactive",
        deadline: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        on_wait: "Callable[[float], object] | None" = None,
    ) -> Permit:
        """Wait for the right to send one request, to be handed to `release` or `put_back` whatever becomes of it.

        Args:
            route: Method and path without ids, such as `POST /interviews`.
            lane: The line to wait in; "interactive" goes first.
            deadline: The moment, in seconds of the event loop's clock, at which waiting ends; None for never.
            loop: The event loop that runs, where it is at hand: looking it up costs a call.
            on_wait: Called with the seconds, at a guess, where it cannot leave at once; it may raise nothing.

        Returns:
            The permit.

        Raises:
            DeadlineExceededError: At once where no permit can come before the deadline.
            QuotaExceededError: The server refuses for a month's quota, or for longer than the budget's
                `max_rate_wait` seconds.
            SessionClosedError: The session was closed.
            WrongEventLoopError: The budget serves another event loop, which still runs.
            RedisRefusedError: A `RedisBudget` whose Redis is there but of no use, as with a wrong password.

        """
        scheduler = self._scheduler
        now = scheduler.now(loop)
        permit = scheduler.acquire_at_once(self, route, lane, deadline, now)
        if permit is None:
            if on_wait is not None:
                on_wait(max(0.0, scheduler.next_permit_at(now) - now))
            permit = await scheduler.wait_in_line(self, route, lane, deadline, now)
            permit.waited = scheduler.latest() - now
        return permit

    def answered(self, permit: Permit, answer: "AnswerHead | None") -> None:
        """Say that the answer has begun, of a request that stays in flight until `release`.

        Args:
            permit: What `acquire` returned.
            answer: What the server answered.

        """
        self._scheduler.answered(permit, answer)

    def release(self, permit: Permit, answer: "AnswerHead | None" = None) -> None:
        """Say that the request is over; it stays in the window for `KEPT_AFTER_ANSWER` seconds from its answer on.

        Args:
            permit: What `acquire` returned.
            answer: What the server answered, None where nothing came.

        """
        self._scheduler.release(permit, answer)

    def put_back(self, permit: Permit) -> None:
        """Say that no byte of the request left, so that its permit is free at once.

        Args:
            permit: What `acquire` returned.

        """
        self._scheduler.put_back(permit)

    def close(self) -> None:
        """Turn away with SessionClosedError those of this session who wait, and all who come later."""
        self._scheduler.close(self)

    async def leave(self) -> None:
        """Say that this session's last request is over; after the last session the budget comes to rest.

        A `RedisBudget` then tells Redis what it does not know yet and closes its connection.
        """
        await self._scheduler.leave(self)

    def start_afresh(self, era: int) -> None:
        """Forget what an event loop that is gone has left behind."""
        self.era, self.closed, self.in_flight, self.queued = era, False, 0, no_one_queued()

    def own_ahead_of(self, lane: Lane) -> int:
        """Count those of this session who go before a newcomer in this lane."""
        return self.queued["interactive"] + (self.queued["bulk"] if lane == "bulk" else 0)
