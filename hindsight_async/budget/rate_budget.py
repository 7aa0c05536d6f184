"""The rate budget of one process: what its sessions ask before each request leaves.

The token bucket (`pacer`) sets the pace, a window of slots (`window`, with the proof) keeps the count, what the
server says is obeyed (`rate_headers`, `rate_limits`, `gate`), and callers wait in two lanes (`lanes`) until they
are granted a slot (`dispatch`).
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from hindsight_async.budget.budget import BudgetSnapshot, door_to, snapshot_of
from hindsight_async.budget.dispatch import Dispatcher
from hindsight_async.budget.door import Door
from hindsight_async.budget.local_admission import LocalAdmission
from hindsight_async.budget.plan import Plan

DEFAULT_MAX_RATE_WAIT = 90.0
"""Seconds; a wait that the server names beyond this is a quota, not a rate."""


class RateBudget:
    """At most `requests_per_minute` in any 60 seconds, shared by all sessions of this process that are given it.

    `share` is this process's part of the plan where others have the rest: 1/4 in each of four workers. Limits that
    the server names count times the share as well; it comes to at least one request per minute.
    `burst` is how many may leave at once (all of them by default); waits that the server names beyond
    `max_rate_wait` seconds raise QuotaExceededError instead. `on_wait` is called with seconds, reason and number
    queued whenever a caller has to wait; what it raises is logged and changes nothing. Belongs to no event loop until first
    used, and moves on when that one is gone. Raises ValueError for numbers below 1 and a
    share outside (0, 1].
    """

    def __init__(
        self,
        requests_per_minute: int,
        *,
        share: float = 1.0,
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
        if not 0 < share <= 1:
            raise ValueError(f"share must be more than 0 and at most 1, not {share}")
        self._wall_clock = wall_clock

        def begin(_: Dispatcher) -> LocalAdmission:
            return LocalAdmission.begin(
                requests_per_minute, burst=burst, max_rate_wait=max_rate_wait, random=random, share=share
            )

        self._dispatcher = Dispatcher(begin, on_wait=on_wait, wall_clock=wall_clock)

    @classmethod
    def for_plan(
        cls,
        plan: Plan,
        *,
        share: float = 1.0,
        burst: int | None = None,
        max_rate_wait: float = DEFAULT_MAX_RATE_WAIT,
        on_wait: Callable[[float, str, int], None] | None = None,
    ) -> Self:
        """Make the budget of a plan, or of a share of it; the options as above."""
        return cls(
            plan.requests_per_minute, share=share, burst=burst, max_rate_wait=max_rate_wait, on_wait=on_wait
        )

    @property
    def limit(self) -> int:
        """Requests per minute, as the plan or the server says."""
        return self._dispatcher.admission.limit

    def join(self, max_in_flight: int) -> Door:
        """Give a session its own door, through which at most `max_in_flight` requests are under way at once."""
        return door_to(self._dispatcher, max_in_flight)

    def snapshot(self) -> BudgetSnapshot:
        """Tell how things stand; works with or without a running event loop, in the thread of that loop."""
        return snapshot_of(self._dispatcher, self._wall_clock())
