"""What a session needs to know of a rate budget, wherever that keeps its count."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from attrs import frozen

from hindsight_async.budget.dispatch import Dispatcher
from hindsight_async.budget.door import Door
from hindsight_async.budget.lanes import Lane, Member


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


@runtime_checkable
class Budget(Protocol):
    """Says when a request may leave. RateBudget counts in this process, `hindsight_async.redis.RedisBudget` for all."""

    @property
    def limit(self) -> int:
        """Requests per minute."""
        ...

    def join(self, max_in_flight: int) -> Door:
        """Give a session its own door, through which at most `max_in_flight` requests are under way at once."""
        ...

    def snapshot(self) -> BudgetSnapshot:
        """Tell how things stand; works with or without a running event loop, in the thread of that loop."""
        ...


def door_to(dispatcher: Dispatcher, max_in_flight: int) -> Door:
    """Make one more door. Raises ValueError for a number below 1."""
    if max_in_flight < 1:
        raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
    return Door(dispatcher, Member(max_in_flight))


def snapshot_of(dispatcher: Dispatcher, wall_clock: datetime) -> BudgetSnapshot:
    """Tell how things stand at a dispatcher; `wall_clock` is what the local clock shows."""
    now, admission = dispatcher.latest(), dispatcher.admission
    closed_for = max(0.0, admission.opens_at - now)
    free_now = admission.room(now)
    return BudgetSnapshot(
        limit=admission.limit,
        free_now=free_now,
        in_flight=dispatcher.in_flight,
        queued=dict(dispatcher.lanes.queued),
        seconds_until_next_slot=0.0 if free_now else dispatcher.next_slot_at(now) - now,
        closed_until=wall_clock + timedelta(seconds=closed_for) if closed_for else None,
    )
