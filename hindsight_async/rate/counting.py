"""The ways in which servers count, and how much of the limit our own requests use under each.

The API does not say how it counts. Each class here is one way, as a pure function of our own requests: what it tells of
our use at one moment has a least and a most, since a request is counted at some time between its sending and its
answer. With the answers' `Remaining` that is enough to rule ways out, and to tell how much others use: see `policy`.
"""

from collections import deque
from math import floor, inf
from typing import Protocol

from hindsight_async.rate.own_requests import OwnRequests
from hindsight_async.rate.server_clock import ServerClock

WINDOW_SECONDS = 60.0
"""Over which every server counts."""

CLOCK_MARGIN = 0.001
"""Seconds that the server's clock may be slower than ours over a window."""

KEPT_AFTER_ANSWER = WINDOW_SECONDS + CLOCK_MARGIN
"""Seconds after its answer for which a request may still be counted."""

LONGEST_JUDGED = 30.0
"""Seconds; an answer that took longer tells too little of when its request was counted."""

SLOWEST = 1.0
"""Seconds that another answer may take longer than this one: the bucket remembers levels, not times."""

ROUNDING = 1.5
"""Seconds by which a `Reset` may be off: some servers name whole seconds, and of another second than their `Date`."""

RESIDUE = 1e-6
"""Seconds or requests that a sum of floats may fall short of a whole one."""


class WayOfCounting(Protocol):
    """How much of the limit our own requests use; moments are on the event loop's clock."""

    def use_when_counted(
        self, sent_at: float, answered_at: float, reset: float | None
    ) -> tuple[float, float]:
        """Bound what our other requests used when the server counted this one.

        Args:
            sent_at: When the request left.
            answered_at: When its answer came.
            reset: The end of the window that its answer named, on the server's clock.

        Returns:
            The least and the most.

        """
        ...

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        ...

    def falls_to(self, use: float, now: float) -> float:
        """Return a moment from which they use no more than this, the earliest known; inf where that waits for an answer."""
        ...


class Sliding:
    """Whatever was counted in the last 60 s."""

    def __init__(self, own: OwnRequests) -> None:
        self._own = own

    def use_when_counted(
        self, sent_at: float, answered_at: float, reset: float | None
    ) -> tuple[float, float]:
        """Bound what our other requests used: see WayOfCounting."""
        del reset
        least = self._own.counted.at_least(answered_at - WINDOW_SECONDS, sent_at)
        most = self._own.all.at_most(sent_at - KEPT_AFTER_ANSWER, answered_at)
        return least, max(0, most - 1)

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        return len(self._own.all.sent) - self._own.all.over.until(now - KEPT_AFTER_ANSWER)

    def falls_to(self, use: float, now: float) -> float:
        """Return when they use no more than this: see WayOfCounting."""
        if self.most(now) <= use:
            return now
        ended = self._own.all.over.nth(len(self._own.all.sent) - floor(use) - 1)
        return inf if ended is None else max(now, ended + KEPT_AFTER_ANSWER + RESIDUE)


class Fixed:
    """Whatever was counted in a window whose end `Reset` names: a minute of the clock's, or one that a request began."""

    def __init__(self, own: OwnRequests, clock: ServerClock) -> None:
        self._own, self._clock = own, clock
        # The end of the latest window, on the server's clock.
        self._end = -inf

    @property
    def is_named(self) -> bool:
        """Whether an answer has named a window."""
        return self._end > -inf

    def learn(self, reset: float) -> bool:
        """Take in what an answer names; tell whether it can be the end of such a window: they do not overlap."""
        apart = abs(reset - self._end)
        self._end = max(self._end, reset)
        return apart <= ROUNDING or apart >= WINDOW_SECONDS - ROUNDING

    def use_when_counted(
        self, sent_at: float, answered_at: float, reset: float | None
    ) -> tuple[float, float]:
        """Bound what our other requests used: see WayOfCounting."""
        if reset is None:
            return 0, inf
        window = self._own.window(reset)
        began = self._clock.moment_of(reset - WINDOW_SECONDS) - self._clock.slack
        undetermined = self._own.undetermined.at_most(began, answered_at)
        return window.over.until(sent_at), max(0, window.sent.until(answered_at) + undetermined - 1)

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        end, slack = self._clock.moment_of(self._end), self._clock.slack
        if now >= end + slack:
            # Whatever is counted now opens a new window, or did so since the last answer.
            return self._own.undetermined.at_most(max(end - slack, now - KEPT_AFTER_ANSWER), now)
        began = end - WINDOW_SECONDS - slack
        return len(self._own.window(self._end).sent) + self._own.undetermined.at_most(began, now)

    def falls_to(self, use: float, now: float) -> float:
        """Return when they use no more than this: see WayOfCounting."""
        if self.most(now) <= use:
            return now
        end = self._clock.moment_of(self._end) + self._clock.slack
        if now < end:
            return end + CLOCK_MARGIN
        undetermined = self._own.undetermined
        ended = undetermined.over.nth(len(undetermined.sent) - floor(use) - 1)
        return inf if ended is None else max(now, ended + KEPT_AFTER_ANSWER) + CLOCK_MARGIN


class Weighted:
    """Whatever was counted in the clock's minute, and of the last minute's count the share that is left of this one."""

    def __init__(self, own: OwnRequests, clock: ServerClock) -> None:
        self._own, self._clock = own, clock

    @staticmethod
    def can_name(reset: float) -> bool:
        """Tell whether this can be the end of a clock's minute."""
        return abs((reset + WINDOW_SECONDS / 2) % WINDOW_SECONDS - WINDOW_SECONDS / 2) <= ROUNDING

    def use_when_counted(
        self, sent_at: float, answered_at: float, reset: float | None
    ) -> tuple[float, float]:
        """Bound what our other requests used: see WayOfCounting."""
        if reset is None:
            return 0, self.most(answered_at) - 1
        own, slack = self._own, self._clock.slack
        turn = self._clock.moment_of(reset)
        last, current = own.window(reset - WINDOW_SECONDS), own.window(reset)
        # The request was counted in this very minute, so that no more than all and no less than nothing of it was left.
        left_at_most = min(1.0, max(0.0, turn + slack - sent_at) / WINDOW_SECONDS)
        left_at_least = min(1.0, max(0.0, turn - slack - answered_at) / WINDOW_SECONDS)
        least = floor(left_at_least * last.over.until(sent_at)) + current.over.until(sent_at)
        begun = turn - WINDOW_SECONDS - slack
        unsure = own.undetermined.at_most(begun, answered_at)
        earlier = own.undetermined.at_most(begun - WINDOW_SECONDS, answered_at) - unsure
        most = current.sent.until(answered_at) + unsure + left_at_most * (len(last.sent) + earlier) - 1
        return least, max(0.0, most)

    def _counts(self, now: float) -> tuple[float, int, int]:
        """Return the moment at which this minute ends, and what is in the last one's count and in its own.

        What may be in either is in this one's, where it weighs more.
        """
        own, slack = self._own, self._clock.slack
        reset = self._clock.minute_end(now - slack)
        turn = self._clock.moment_of(reset)
        begun = turn - WINDOW_SECONDS - slack
        unsure = own.undetermined.at_most(begun, now)
        earlier = own.undetermined.at_most(begun - WINDOW_SECONDS, now) - unsure
        return (
            turn + slack,
            len(own.window(reset - WINDOW_SECONDS).sent) + earlier,
            len(own.window(reset).sent) + len(own.window(reset + WINDOW_SECONDS).sent) + unsure,
        )

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        turn, last, current = self._counts(now)
        return floor((turn - now) / WINDOW_SECONDS * last) + current

    def falls_to(self, use: float, now: float) -> float:
        """Return when they use no more than this: see WayOfCounting."""
        moment = now
        # Two turns at most: by then both counts are of minutes in which nothing was sent, or wait for an answer.
        for _ in range(3):
            turn, last, current = self._counts(moment)
            if floor((turn - moment) / WINDOW_SECONDS * last) + current <= use:
                return moment
            if current <= use:
                return turn - (floor(use) - current + 1) / last * WINDOW_SECONDS + RESIDUE
            moment = turn + CLOCK_MARGIN
        return inf


class Bucket:
    """A level that each request raises by one and that sinks evenly, by the limit in 60 s.

    Of the past it knows nothing but the level, so it is followed as time goes on: its highest, as if each request had been
    counted when it was sent, and its lowest, as if each that passed had been when its answer came.
    """

    def __init__(self, own: OwnRequests, limit: int) -> None:
        self._own = own
        self.limit = limit
        self._highest = self._lowest = 0.0
        self._highest_at = self._lowest_at = -inf
        # The lowest after each answer, of late.
        self._levels: deque[tuple[float, float]] = deque()
        # How many of those sent, and of those surely counted, are in the levels.
        self._sent = self._counted = 0

    def _sunk(self, level: float, since: float, now: float) -> float:
        return max(0.0, level - max(0.0, now - since) * self.limit / WINDOW_SECONDS)

    def _follow(self) -> None:
        own = self._own
        for moment in own.all.sent.beyond(self._sent):
            self._highest = self._sunk(self._highest, self._highest_at, moment) + 1
            self._highest_at = max(self._highest_at, moment)
        for moment in own.counted.over.beyond(self._counted):
            self._lowest = self._sunk(self._lowest, self._lowest_at, moment) + 1
            self._lowest_at = max(self._lowest_at, moment)
            self._levels.append((self._lowest_at, self._lowest))
        self._sent, self._counted = len(own.all.sent), len(own.counted.over)
        while self._levels and self._levels[0][0] < self._lowest_at - LONGEST_JUDGED:
            self._levels.popleft()

    def take_out(self) -> None:
        """Note that one of those sent was refused, or not sent after all; `own` must hold it still."""
        self._follow()
        self._highest = max(0.0, self._highest - 1)
        self._sent -= 1

    def use_when_counted(
        self, sent_at: float, answered_at: float, reset: float | None
    ) -> tuple[float, float]:
        """Bound what our other requests used: see WayOfCounting."""
        del reset
        self._follow()
        # Those of which the answer was here before this one left were counted before it.
        since, level = next((at for at in reversed(self._levels) if at[0] <= sent_at), (sent_at, 0.0))
        slack = (answered_at - sent_at + SLOWEST) * self.limit / WINDOW_SECONDS
        return max(0.0, self._sunk(level, since, answered_at) - slack), self.most(answered_at) + slack

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        self._follow()
        return self._sunk(self._highest, self._highest_at, now)

    def falls_to(self, use: float, now: float) -> float:
        """Return when they use no more than this: see WayOfCounting."""
        return now + max(0.0, self.most(now) - use) * WINDOW_SECONDS / self.limit
