"""What a process may send on its own while Redis is away."""

from collections.abc import Callable

from hindsight_async.budget.lanes import Grant
from hindsight_async.budget.local_admission import LocalAdmission
from hindsight_async.budget.window import HELD_AFTER_ANSWER
from hindsight_async.redis.holdings import Holdings
from hindsight_async.redis.outlook import Outlook


def share_of_plan(
    outlook: Outlook,
    holdings: Holdings,
    *,
    processes: int,
    max_rate_wait: float,
    random: Callable[[], float],
    now: float,
) -> LocalAdmission:
    """Make the admission of a process that has the limit divided by `processes` to itself.

    What it holds is counted from the start. For the first window it takes no more than what it gives back and its
    part of what was free when last heard of: the rest may be held by the others.
    """
    local = LocalAdmission.begin(
        outlook.limit, burst=None, max_rate_wait=max_rate_wait, random=random, share=1 / processes
    )
    whole = local.limits.whole
    held = holdings.count(now)
    part_of_free = max(0, outlook.free) // processes
    held_by_others = max(0, whole.limit - held - part_of_free)
    whole.occupy([*holdings.due(now), *[now + HELD_AFTER_ANSWER] * held_by_others])
    if now < outlook.opens_at:
        local.gate.close_until(outlook.opens_at, outlook.reset_at, quota=outlook.quota)
    return local


def count_under_way(local: LocalAdmission, grant: Grant, now: float) -> None:
    """Have a request that left before Redis went away count as one of the local admission's own."""
    grant.holds = (local.limits.whole.take(now),)
    grant.closing = local.gate.enter()
