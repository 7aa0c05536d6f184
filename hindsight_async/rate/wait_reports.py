"""What is told of waiting: how long, why, to `on_wait` and, once it has grown long, to the log.

Whether a request may leave is not decided here: everything said is a guess from what is known at the moment.
"""

import logging
from collections.abc import Callable
from math import inf

from hindsight_async.rate.limiter import Limiter, whole_seconds
from hindsight_async.rate.wait_queue import MAX_IN_FLIGHT, Waiter, WaitQueue, obstacle_for

logger = logging.getLogger("hindsight_async.rate")

LONG_WAIT = 5.0
"""Seconds of waiting after which one warning is logged; also of nobody waiting before there is another."""

OnWait = Callable[[float, str, int], None]
"""Is called with the seconds to wait, at a guess, the reason, and how many are queued.

The seconds are inf where nobody knows them, as where an answer is waited for.
"""


def next_permit_at(ahead: int, limiter: Limiter, now: float) -> float:
    """Name the moment, at a guess, at which a caller with so many ahead will have a permit; inf where nobody knows."""
    moment = limiter.earliest(ahead, now)
    if moment <= now:
        # The count says "now" although somebody waits: what is in the way may end by itself, or with an answer.
        moment = limiter.next_change(now)
    return moment if moment > now else inf


def expected_wait(waiter: Waiter, limiter: Limiter, queue: WaitQueue, now: float) -> tuple[float, str]:
    """Say how many seconds this caller, the last of its lane, will wait, at a guess, and why; inf where nobody knows."""
    reason = limiter.obstacle(now)
    moment = next_permit_at(queue.ahead_of(waiter.lane) - 1, limiter, now)
    if reason is None:
        reason = obstacle_for(waiter, limiter, now) or "others first"
        if reason == MAX_IN_FLIGHT:
            moment = inf
    return moment - now, reason


class WaitReports:
    """Tells the user's `on_wait` of each caller that has to wait, and the log of a wait that has grown long."""

    def __init__(self, on_wait: OnWait | None) -> None:
        self._on_wait = on_wait
        # One warning tells of a full queue what there is to tell; each caller's own would flood the log.
        self._warned = False
        self._nobody_since = -inf

    def nobody_waits(self, now: float) -> None:
        """Note that the queue is empty."""
        self._nobody_since = now

    def first_waits(self, now: float) -> None:
        """Note that a caller joins an empty queue: after a quiet while, a long wait is news again."""
        if now > self._nobody_since + LONG_WAIT:
            self._warned = False

    def has_to_wait(self, waiter: Waiter, limiter: Limiter, queue: WaitQueue, now: float) -> None:
        """Tell `on_wait`; what it raises is logged, since no display decides whether a request may leave."""
        if self._on_wait is None:
            return
        seconds, reason = expected_wait(waiter, limiter, queue, now)
        try:
            self._on_wait(seconds, reason, queue.waiting)
        except Exception:
            logger.exception("on_wait failed")

    def warn_of_long_wait(self, limiter: Limiter, queue: WaitQueue, now: float) -> float:
        """Warn once of a wait that has grown long; name the moment to look again."""
        oldest = None if self._warned else queue.oldest()
        if oldest is None:
            return inf
        if now < oldest.since + LONG_WAIT:
            return oldest.since + LONG_WAIT
        self._warned = True
        seconds, reason = expected_wait(oldest, limiter, queue, now)
        known = (
            f"the next permit is {whole_seconds(seconds)} s away"
            if seconds < inf
            else "nobody knows for how long yet"
        )
        text = "a request has waited %.0f s for the rate budget (%s); %d are queued, %s"
        logger.warning(text, now - oldest.since, reason, queue.waiting, known)
        return inf
