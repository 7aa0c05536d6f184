"""What others use of a limit, as far as one way of counting tells, and how much is to be left to them.

Whoever sends at once, once a minute, is seen as a use that only falls until it comes again, which is just what a program
looks like that ended before we began. So what only falls is reckoned with for a window's length as if it came again, up to
some part of the limit; from then on it is what somebody left behind, of which nothing is left free but what still counts.

Under the weighted way the use of the last minute fades away within this one, and counts beside what comes in this one: what
others sent within a minute is expected to meet itself, even where so far it met less of it. And they are gone only once a
whole minute has none of theirs.

Pure: the caller hands in the time, in seconds of one clock that never goes back.
"""

from collections import deque
from math import inf, sqrt

from hindsight_async.rate.counting import RESIDUE, WINDOW_SECONDS

TOLERANCE = 1.5
"""Requests by which a use may be off that is worked out from what a server says: servers round."""

OTHERS_REMEMBERED = 100.0
"""Seconds for which others' largest use counts: long enough for a burst of theirs that comes once a minute."""

FEWEST_OTHERS = 3
"""Requests of others from which on we are in company."""

HEADROOM = 0.2
"""How many times its square root is kept free above others' largest use, since a random use varies by so much."""

ALIKE_WHEN_STEADY = 3
"""How many times in a row others' largest use in a minute was that of the one before, when it is no longer taken for random."""


class Largest:
    """The largest use of the last `OTHERS_REMEMBERED` seconds."""

    __slots__ = ("_falling",)

    def __init__(self) -> None:
        # Each use, and when it was seen, that is larger than all later ones.
        self._falling: deque[tuple[float, float]] = deque()

    def see(self, use: float, now: float) -> None:
        """Take one in."""
        falling = self._falling
        while falling and falling[-1][1] <= use:
            falling.pop()
        falling.append((now, use))

    def of_late(self, now: float) -> float:
        """Return the largest; 0 where none was seen."""
        falling = self._falling
        while falling and falling[0][0] < now - OTHERS_REMEMBERED:
            falling.popleft()
        return falling[0][1] if falling else 0.0


class MinuteByMinute:
    """Whether the largest use of each minute is that of the one before, again and again."""

    __slots__ = ("_alike", "_before", "_largest", "_until")

    def __init__(self) -> None:
        # The largest of this minute, and when that is over; that of the one before; how often in a row they were alike.
        self._largest, self._until = 0.0, -inf
        self._before, self._alike = 0.0, 0

    @property
    def is_steady(self) -> bool:
        """Whether it was so often enough."""
        return self._alike >= ALIKE_WHEN_STEADY

    def see(self, use: float, now: float) -> None:
        """Take one in."""
        if now < self._until:
            self._largest = max(self._largest, use)
            return
        is_alike = abs(self._largest - self._before) <= TOLERANCE and now < self._until + WINDOW_SECONDS
        self._alike = self._alike + 1 if is_alike else 0
        self._before, self._largest, self._until = self._largest, use, now + WINDOW_SECONDS


class OthersUse:
    """What others use, as far as one way of counting tells."""

    __slots__ = (
        "_again",
        "_began",
        "_least_in_minute",
        "_least_upper",
        "_least_whole",
        "_minute",
        "_minutes",
        "_seen",
        "rises",
    )

    def __init__(self) -> None:
        self._seen, self._minutes = Largest(), MinuteByMinute()
        # What it would have been, had as much come in the last minute as in this one.
        self._again = Largest()
        # When it was first looked at; inf before.
        self._began = inf
        # What it was at most when that was least, and the same with what has faded away of a minute that is over.
        self._least_upper = self._least_whole = inf
        # Whether it was surely more at some later time: what only falls is what others, now gone, have left behind.
        self.rises = False
        # The end of the minute that was named last, and what it was at most when that was least in it.
        self._minute, self._least_in_minute = -inf, inf

    def learn(self, lower: float, upper: float, now: float) -> None:
        """Take in between which bounds one answer puts it."""
        if self._began == inf:
            self._began = now
        if upper < self._least_upper:
            self._least_upper = self._least_whole = upper
        if lower > 0:
            self.rises = self.rises or lower > self._least_upper + TOLERANCE
            self._seen.see(lower, now)
            self._minutes.see(lower, now)

    def learn_of_minute(self, lower: float, upper: float, now: float, *, reset: float, left: float) -> None:
        """Take in the same, where the last minute counts by the part that is `left` of this one, which ends at `reset`."""
        whole = self._least_whole
        self.learn(lower, upper, now)
        # Less than one more may be in it, since servers count whole requests.
        self._least_whole = min(whole, (upper + 1) / max(left, RESIDUE) - 1)
        if reset != self._minute:
            self._minute, self._least_in_minute = reset, inf
        again = (1 + left) * (lower - self._least_in_minute)
        if again > lower:
            self._again.see(again, now)
        self._least_in_minute = min(self._least_in_minute, upper)

    def largest(self, now: float) -> float:
        """Return the largest of late."""
        return self._seen.of_late(now)

    def are_there(self, now: float) -> bool:
        """Tell whether there are others, or still some of what they sent."""
        return self._seen.of_late(now) >= FEWEST_OTHERS and (self.rises or self._least_whole >= FEWEST_OTHERS)

    def expected(self, now: float, may_come: float) -> float:
        """Return what to expect of them: the largest of late, or what is left where they send no more.

        Args:
            now: The time.
            may_come: Up to how much what only falls may come again.

        """
        largest = max(self._seen.of_late(now), self._again.of_late(now))
        if self.rises:
            return largest
        may_come = may_come if now < self._began + WINDOW_SECONDS and self.are_there(now) else 0.0
        return min(largest, max(self._least_upper, may_come))

    def to_leave(self, now: float, may_come: float) -> float:
        """Return how much to leave to them: what to expect, and some headroom, hardly any where it is nothing but regular."""
        expected = self.expected(now, may_come)
        return expected + (TOLERANCE if self._minutes.is_steady else 1 + HEADROOM * sqrt(expected))
