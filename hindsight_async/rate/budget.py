"""What users see of the rate budget: `RateBudget`, the base that it shares with `RedisBudget`, and a snapshot of either."""

import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Self

from attrs import field, frozen

from hindsight_async.errors import QuotaExceededError
from hindsight_async.rate.client import BudgetClient, Lane, check_deadline, check_lane
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.plan import Plan, plan_of
from hindsight_async.rate.scheduler import Scheduler
from hindsight_async.rate.wait_reports import OnWait
from hindsight_async.shielding import to_the_end

OTHER_MEANS = "by other means"
"""The route of requests that no session sends."""

DEFAULT_MAX_RATE_WAIT = 90.0
"""Seconds; a wait that the server names beyond this is a quota, not a rate."""


@frozen
class BudgetSnapshot:
    """The budget at one moment, as far as this process knows.

    Args:
        limit: Requests per minute.
        free_now: Requests that may leave at once.
        in_flight: Requests under way, of all sessions of this process.
        queued: Requests that wait, by lane.
        seconds_until_next_permit: For one that comes now, at a guess; 0.0 where one may leave at once, and inf where
            nobody knows, as where an answer is waited for.
        closed_until: The moment before which nobody may leave since the server has refused, and from which on one
            request tries: aware, on the local clock. None while nobody is kept back.
        route_limits: Requests per minute of those routes, such as "POST /interviews", to which the server gives fewer
            than `limit`; their requests count in both.
        left_to_others: Requests per minute, out of `limit`, that are left to other programs with the same plan, by what
            they used of late and some to spare; 0 while none are known.
        quota_exceeded: What calls raise at once while the month's quota is used up, or the server asks for a longer
            wait than anybody takes; its text says which, `reset_at` until when. None while calls leave or wait.

    """

    limit: int
    free_now: int
    in_flight: int
    queued: Mapping[Lane, int]
    seconds_until_next_permit: float
    closed_until: datetime | None
    route_limits: Mapping[str, int] = field(factory=dict[str, int])
    quota_exceeded: QuotaExceededError | None = None
    left_to_others: int = 0


class Budget:
    """What sessions and users need of a rate budget, wherever that keeps its count: see RateBudget and RedisBudget."""

    def __init__(self, scheduler: Scheduler, wall_clock: Callable[[], datetime]) -> None:
        self._scheduler = scheduler
        self._wall_clock = wall_clock
        self._by_other_means = BudgetClient(scheduler, sys.maxsize)

    @property
    def limit(self) -> int:
        """Requests per minute, as the plan or the server says; of a fleet without its Redis, this process's share."""
        return self._scheduler.limiter.limit

    def join(self, max_in_flight: int) -> BudgetClient:
        """Let a session in.

        Args:
            max_in_flight: How many of its requests may be under way at once.

        Returns:
            The session's side of the budget.

        Raises:
            ValueError: `max_in_flight` is below 1.

        """
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        return BudgetClient(self._scheduler, max_in_flight)

    def permit(
        self, *, lane: Lane = "interactive", deadline: float | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Wait for the right to send one request of your own, and count it: `async with budget.permit():`.

        For programs that call the API by other means than a session, such as its MCP endpoint. What is answered is not
        known here, so a 429 that such a request meets stops nobody.

        Args:
            lane: "interactive" goes before "bulk".
            deadline: Seconds from entering the block to the moment when the request may leave; None for no end.

        Returns:
            The block around the request, which is in flight until it ends.

        Raises:
            TypeError: An argument is of the wrong type; the text names it.
            ValueError: An argument has a wrong value. Entering raises DeadlineExceededError, QuotaExceededError,
                WrongEventLoopError or RedisRefusedError where the request may not leave.

        """
        check_lane(lane)
        check_deadline(deadline)
        return self._permit(lane, deadline)

    @asynccontextmanager
    async def _permit(self, lane: Lane, deadline: float | None) -> AsyncGenerator[None]:
        loop, client = asyncio.get_running_loop(), self._by_other_means
        ends_at = None if deadline is None else loop.time() + deadline
        try:
            permit = await client.acquire(OTHER_MEANS, lane, ends_at, loop)
            try:
                yield
            finally:
                client.release(permit)
        finally:
            if not client.in_flight and not any(client.queued.values()):
                # Who has left does not come back: the next block is another client's.
                self._by_other_means = BudgetClient(self._scheduler, sys.maxsize)
                await to_the_end(client.leave())

    def snapshot(self) -> BudgetSnapshot:
        """Tell how things stand, as far as this process knows.

        Asks nobody, so that it answers at once also while the API or Redis is away. Works with or without a running event
        loop, in the thread of that loop.

        Returns:
            The budget at this moment.

        Raises:
            RuntimeError: The event loop that uses it runs in another thread.

        """
        scheduler, limiter = self._scheduler, self._scheduler.limiter
        _refuse_other_threads(scheduler.loop)
        now = scheduler.latest()
        closed_for = max(0.0, limiter.opens_at - now)
        free_now = limiter.room(now)
        in_vain = limiter.why_in_vain(None, now, now)
        return BudgetSnapshot(
            limit=limiter.limit,
            free_now=free_now,
            in_flight=scheduler.in_flight,
            queued=dict(scheduler.queue.queued),
            seconds_until_next_permit=0.0 if free_now else scheduler.next_permit_at(now) - now,
            closed_until=self._wall_clock() + timedelta(seconds=closed_for) if closed_for else None,
            route_limits=limiter.route_limits,
            quota_exceeded=in_vain if isinstance(in_vain, QuotaExceededError) else None,
            left_to_others=limiter.left_to_others,
        )


def _refuse_other_threads(loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise outside the thread of a loop that runs: to look is to count anew, which must not happen amid a count."""
    if loop is None or not loop.is_running():
        return
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is not loop:
        raise RuntimeError(
            "a budget is looked at in the thread of the event loop that uses it: from a coroutine, "
            "such as a handler that is async def"
        )


class RateBudget(Budget):
    """At most so many requests in any 60 seconds, shared by all sessions of this process that are given it.

    Belongs to no event loop until first used, and moves on when that one is gone.

    Args:
        requests_per_minute: The limit of the organisation's plan.
        share: This process's part of the plan where others have the rest: 1/4 in each of four workers. Limits that
            the server names count times the share as well; it comes to at least one request per minute.
        burst: How many may leave at once; by default as many as the limit.
        max_rate_wait: Seconds; a wait that the server names beyond it raises QuotaExceededError instead, and one
            request tries again every few minutes.
        on_wait: Called with the seconds to wait, at a guess (inf where nobody knows, as where an answer is waited
            for), the reason and the number queued whenever a caller has to wait; what it raises is logged, and
            changes nothing.
        random: Returns a number in [0, 1); spreads the return of many programs after a 429.
        wall_clock: Returns the local time, aware.

    Raises:
        ValueError: A number is below 1, or the share is outside (0, 1].

    """

    def __init__(
        self,
        requests_per_minute: int,
        *,
        share: float = 1.0,
        burst: int | None = None,
        max_rate_wait: float = DEFAULT_MAX_RATE_WAIT,
        on_wait: OnWait | None = None,
        random: Callable[[], float] = random.random,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if requests_per_minute < 1:
            raise ValueError(f"requests_per_minute must be at least 1, not {requests_per_minute}")
        if burst is not None and burst < 1:
            raise ValueError(f"burst must be at least 1, not {burst}")
        if not 0 < share <= 1:
            raise ValueError(f"share must be more than 0 and at most 1, not {share}")

        def begin(_: Scheduler) -> LocalLimiter:
            return LocalLimiter.begin(
                requests_per_minute, burst=burst, max_rate_wait=max_rate_wait, random=random, share=share
            )

        super().__init__(Scheduler(begin, on_wait=on_wait, wall_clock=wall_clock), wall_clock)

    @classmethod
    def for_plan(
        cls,
        plan: Plan | str,
        *,
        share: float = 1.0,
        burst: int | None = None,
        max_rate_wait: float = DEFAULT_MAX_RATE_WAIT,
        on_wait: OnWait | None = None,
    ) -> Self:
        """Make the budget of a plan, or of a share of it.

        Args:
            plan: The organisation's tier, or its name such as "growth".
            share: As for the class.
            burst: As for the class.
            max_rate_wait: As for the class, in seconds.
            on_wait: As for the class.

        Returns:
            The budget.

        Raises:
            TypeError: `plan` is neither a Plan nor text.
            ValueError: As for the class, or no plan has this name.

        """
        return cls(
            plan_of(plan).requests_per_minute, share=share, burst=burst,
            max_rate_wait=max_rate_wait, on_wait=on_wait,
        )  # fmt: skip
