"""What a process may send on its own while Redis is away."""

from collections.abc import Callable

from hindsight_async.rate.client import Permit
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.redis.fleet_permits import FleetPermits
from hindsight_async.rate.redis.fleet_view import FleetView
from hindsight_async.rate.window import HELD_AFTER_ANSWER


def share_of_plan(
    view: FleetView,
    permits: FleetPermits,
    *,
    processes: int,
    max_rate_wait: float,
    random: Callable[[], float],
    now: float,
) -> LocalLimiter:
    """Make the limiter of a process that has the limit divided by `processes` to itself.

    What it entries is counted from the start. For the first window it takes no more than what it gives back and its
    part of what was free when last heard of: the rest may be held by the others.
    """
    local = LocalLimiter.begin(
        view.limit, burst=None, max_rate_wait=max_rate_wait, random=random, share=1 / processes
    )
    whole = local.limits.whole
    held = permits.count(now)
    part_of_free = max(0, view.free) // processes
    held_by_others = max(0, whole.limit - held - part_of_free)
    whole.occupy([*permits.due(now), *[now + HELD_AFTER_ANSWER] * held_by_others])
    if now < view.opens_at:
        local.cooldown.close_until(view.opens_at, view.reset_at, quota=view.quota)
    return local


def count_under_way(local: LocalLimiter, permit: Permit, now: float) -> None:
    """Have a request that left before Redis went away count as one of the local limiter's own."""
    permit.entries = (local.limits.whole.take(now),)
    permit.closing = local.cooldown.enter()
