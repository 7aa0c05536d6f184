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

    def learn(self, reset: float) -> bool:
        """Take in what an answer names; tell whether it can be the end of such a window: they do not overlap."""
        apart = abs(reset - self._end)
        # An answer may be late by a window; one that names an end before that tells of a clock that was set back.
        self._end = reset if reset < self._end - 2 * WINDOW_SECONDS else max(self._end, reset)
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
        # What is under way may open a new window as soon as this one is over.
        moment = max(now, self._clock.moment_of(self._end) + self._clock.slack + CLOCK_MARGIN)
        if self.most(moment) <= use:
            return moment
        undetermined = self._own.undetermined
        ended = undetermined.over.nth(len(undetermined.sent) - floor(use) - 1)
        return inf if ended is None else max(moment, ended + KEPT_AFTER_ANSWER + RESIDUE)


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
            return 0, self._most_between(sent_at, answered_at) - 1
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

    def left_of_minute(self, reset: float, now: float) -> float:
        """Return the part that is left of the minute that ends at `reset`, on the server's clock."""
        return min(1.0, max(0.0, self._clock.moment_of(reset) - now) / WINDOW_SECONDS)

    def _counts(self, moment: float) -> tuple[float, int, int]:
        """Return when the minute of a moment ends, and what is in the last one's count and in its own.

        What may be in either is in this one's, where it weighs more.
        """
        own, slack = self._own, self._clock.slack
        reset = self._clock.minute_end(moment - slack)
        turn = self._clock.moment_of(reset)
        begun = turn - WINDOW_SECONDS - slack
        unsure = own.undetermined.at_most(begun, inf)
        earlier = own.undetermined.at_most(begun - WINDOW_SECONDS, inf) - unsure
        return (
            turn + slack,
            len(own.window(reset - WINDOW_SECONDS).sent) + earlier,
            len(own.window(reset).sent) + len(own.window(reset + WINDOW_SECONDS).sent) + unsure,
        )

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        return self._most_between(now, now)

    def _most_between(self, since: float, until: float) -> float:
        """Return the most that they may use at any moment of a stretch of time."""
        turn, last, current = self._counts(since)
        use = floor(min(1.0, (turn - since) / WINDOW_SECONDS) * last) + current
        return use if until <= turn else max(use, self._most_between(turn + CLOCK_MARGIN, until))

    def falls_to(self, use: float, now: float) -> float:
        """Return when they use no more than this: see WayOfCounting."""
        moment = now
        # Two turns at most: by then both counts are of minutes in which nothing was sent, or wait for an answer.
        for _ in range(3):
            if self.most(moment) <= use:
                return moment
            turn, last, current = self._counts(moment)
            if current <= use:
                return turn - (floor(use) - current + 1) / last * WINDOW_SECONDS + RESIDUE
            moment = turn + CLOCK_MARGIN
        return inf


class Bucket:
    """A level that each request raises by one and that sinks evenly, by the limit in 60 s.

    Of the past it knows nothing but the level, so it is followed as time goes on. At its highest it is as if each request
    had been counted when it was over, and all that are under way just now. At its lowest it is as if each that passed had
    been counted when its answer came, less what sinks in the longest time that one took since the level was last nothing.
    """

    def __init__(self, own: OwnRequests, limit: int) -> None:
        self._own = own
        self.limit = limit
        # The highest without those under way, when it was so, and how many requests that were over are in it.
        self._highest, self._highest_at, self._over = 0.0, -inf, 0
        # The level as if each had been counted with its answer, when it was so, and the longest that one took.
        self._answered, self._answered_at, self._longest = 0.0, -inf, 0.0
        # The lowest after each answer, of late.
        self._levels: deque[tuple[float, float]] = deque()

    def _sinks(self, seconds: float) -> float:
        return max(0.0, seconds) * self.limit / WINDOW_SECONDS

    def count(self, sent_at: float, answered_at: float) -> None:
        """Note that the server has let one through."""
        level = max(0.0, self._answered - self._sinks(answered_at - self._answered_at))
        self._longest = max(self._longest if level else 0.0, answered_at - sent_at)
        self._answered, self._answered_at = level + 1, answered_at
        self._levels.append((answered_at, level + 1 - self._sinks(self._longest)))
        while self._levels[0][0] < answered_at - LONGEST_JUDGED:
            self._levels.popleft()

    def use_when_counted(
        self, sent_at: float, answered_at: float, reset: float | None
    ) -> tuple[float, float]:
        """Bound what our other requests used: see WayOfCounting."""
        del reset
        # Those of which the answer was here before this one left were counted before it.
        since, level = next(
            (known for known in reversed(self._levels) if known[0] <= sent_at), (sent_at, 0.0)
        )
        most = self.most(answered_at) - 1 + self._sinks(answered_at - sent_at)
        return max(0.0, level - self._sinks(answered_at - since)), max(0.0, most)

    def most(self, now: float) -> float:
        """Return the most that our requests may use now."""
        over = self._own.all.over
        for moment in over.beyond(self._over):
            self._highest = max(0.0, self._highest - self._sinks(moment - self._highest_at)) + 1
            self._highest_at = moment
        self._over = len(over)
        return max(0.0, self._highest - self._sinks(now - self._highest_at)) + self._own.under_way

    def falls_to(self, use: float, now: float) -> float:
        """Return when they use no more than this: see WayOfCounting."""
        excess = self.most(now) - use
        if excess <= 0:
            return now
        if self._own.under_way > use:
            return inf
        return now + excess * WINDOW_SECONDS / self.limit
