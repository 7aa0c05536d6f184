"""The rate budget of one organisation: what a session asks before each request leaves.

The token bucket (`pacer`) sets the pace, a window of slots (`window`, with the proof) keeps the count, what the
server says is obeyed (`rate_headers`, `rate_limits`, `gate`), and callers wait in two lanes (`lanes`) until they
are granted a slot (`dispatch`).
"""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

from attrs import frozen

from hindsight_async.budget.admission import Admission
from hindsight_async.budget.dispatch import Dispatcher
from hindsight_async.budget.lanes import Grant, Lane, Member
from hindsight_async.budget.plan import Plan

DEFAULT_MAX_RATE_WAIT = 90.0
"""Seconds; a wait that the server names beyond this is a quota, not a rate."""


@frozen
class BudgetSnapshot:
    """The budget at one moment.

    `limit` is in requests per minute, `free_now` the requests that may leave at once, `in_flight` those under
    way, `queued` those waiting in each lane, `seconds_until_next_slot` 0.0 where one is free. `closed_until` is
    set while the server refuses everybody: an aware datetime on the local clock.
    """

    limit: int
    free_now: int
    in_flight: int
    queued: Mapping[Lane, int]
    seconds_until_next_slot: float
    closed_until: datetime | None


class RateBudget:
    """At most `requests_per_minute` in any 60 seconds, shared by all sessions that are given it.

    `burst` is how many may leave at once (all of them by default); waits that the server names beyond
    `max_rate_wait` seconds raise QuotaExceededError instead. `on_wait` is called with seconds, reason and number
    queued whenever a caller has to wait; what it raises reaches that caller. Belongs to no event loop until first
    used, and moves on when that one is gone. Raises ValueError for numbers below 1.
    """

    def __init__(
        self,
        requests_per_minute: int,
        *,
        burst: int | None = None,
        max_rate_wait: float = DEFAULT_MAX_RATE_WAIT,
        on_wait: Callable[[float, str, int], None] | None = None,
        random: Callable[[], float] = random.random,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if requests_per_minute < 1:
            raise ValueError(f"requests_per_minute must be at least 1, not {requests_per_minute}")
        if burst is not None and burst < 1:
            raise ValueError(f"burst must be at least 1, not {burst}")
        self._wall_clock = wall_clock
        begin = partial(
            Admission.begin, requests_per_minute, burst=burst, max_rate_wait=max_rate_wait, random=random
        )
        self._dispatcher = Dispatcher(begin, on_wait=on_wait, wall_clock=wall_clock)

    @classmethod
    def for_plan(
        cls,
        plan: Plan,
        *,
        burst: int | None = None,
        max_rate_wait: float = DEFAULT_MAX_RATE_WAIT,
        on_wait: Callable[[float, str, int], None] | None = None,
    ) -> Self:
        """Make the budget of a plan; the options as above."""
        return cls(plan.requests_per_minute, burst=burst, max_rate_wait=max_rate_wait, on_wait=on_wait)

    @property
    def limit(self) -> int:
        """Requests per minute, as the plan or the server says."""
        return self._dispatcher.admission.limits.whole.limit

    def join(self, max_in_flight: int) -> "Door":
        """Give a session its own door, through which at most `max_in_flight` requests are under way at once."""
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        return Door(self._dispatcher, Member(max_in_flight))

    def snapshot(self) -> BudgetSnapshot:
        """Tell how things stand; works with or without a running event loop, in the thread of that loop."""
        dispatcher = self._dispatcher
        now, admission = dispatcher.latest(), dispatcher.admission
        gate, whole = admission.gate, admission.limits.whole
        closed_for = max(0.0, gate.opens_at - now)
        free_now = 0 if closed_for or gate.probing else max(0, whole.room(now))
        return BudgetSnapshot(
            limit=whole.limit,
            free_now=free_now,
            in_flight=dispatcher.in_flight,
            queued=dict(dispatcher.lanes.queued),
            seconds_until_next_slot=0.0 if free_now else dispatcher.next_slot_at(now) - now,
            closed_until=self._wall_clock() + timedelta(seconds=closed_for) if closed_for else None,
        )


class Door:
    """One session's way through the budget."""

    __slots__ = ("_dispatcher", "_member")

    def __init__(self, dispatcher: Dispatcher, member: Member) -> None:
        self._dispatcher = dispatcher
        self._member = member

    def slot(self, *, route: str, lane: Lane = "interactive", deadline: float | None = None) -> "Slot":
        """Ask for the right to send one request: `async with door.slot(route="POST /interviews") as slot`.

        `route` names method and path without ids; `deadline` is a moment of the event loop's clock. Entering
        raises DeadlineExceededError at once where no slot can come before it, and QuotaExceededError where the
        server has refused for a month's quota or for longer than the budget's `max_rate_wait`.
        """
        return Slot(self._dispatcher, self._member, route, lane, deadline)

    def close(self) -> None:
        """Turn away with SessionClosedError those of this session who wait."""
        self._dispatcher.turn_away(self._member)


class Slot:
    """The right to send one request, given back 60 s after leaving the block, whatever happened in it."""

    __slots__ = ("_deadline", "_dispatcher", "_grant", "_lane", "_member", "_route")

    _grant: Grant

    def __init__(
        self, dispatcher: Dispatcher, member: Member, route: str, lane: Lane, deadline: float | None
    ) -> None:
        self._dispatcher = dispatcher
        self._member = member
        self._route = route
        self._lane: Lane = lane
        self._deadline = deadline

    async def __aenter__(self) -> Self:
        dispatcher = self._dispatcher
        now = dispatcher.now()
        grant = dispatcher.grant_at_once(self._member, self._route, self._deadline, now)
        if grant is None:
            grant = await dispatcher.wait_in_line(self._member, self._route, self._lane, self._deadline, now)
        self._grant = grant
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dispatcher.release(self._grant)

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Report the answer's HTTP status and headers (keys without regard to case). Raises nothing."""
        self._dispatcher.answer(self._grant, status, headers)
