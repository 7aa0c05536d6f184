"""What the answers tell: how the server counts, and how much is to be left to others.

A server says how much of the limit is left (`Remaining`) and not how it counts. So a handful of ways to count are followed
side by side (`counting`), each of which says how much of the limit our own requests use. What a way cannot explain of
`Limit - Remaining` would be others' use. Others cannot use less than nothing: a way that finds more of ours than the
server shows of all is wrong, and out for a while. Of the rest, those that need the fewest others are believed. What others
use by them, and how much of it comes again, is in `others_use`.

Nobody shows whose requests were all refused: of others who come while a window is full that was empty a second before, no
answer tells. To look for them would take requests kept back for later in the window, and those of each next plan would then
be as late.

Where answers name no `Remaining`, only a 429 tells anything: then all of the limit is used. Where a way explains that by our
own requests alone, it is believed. Where none does, the limit is taken to be what the server has let through, until some
patience later more is tried.

Pure: the caller hands in the time, in seconds of one clock that never goes back.
"""

from math import ceil, floor, inf

from hindsight_async.rate.counting import (
    LONGEST_JUDGED,
    WINDOW_SECONDS,
    Bucket,
    Fixed,
    Sliding,
    WayOfCounting,
    Weighted,
)
from hindsight_async.rate.others_use import FEWEST_OTHERS, TOLERANCE, OthersUse
from hindsight_async.rate.own_requests import OwnRequests
from hindsight_async.rate.server_clock import ServerClock

OUT_FOR = 600.0
"""Seconds for which a way that was wrong is not believed, nor a Remaining, nor a server that refused without numbers."""

UNKNOWN_OTHERS = 1 / 3
"""Part of the limit that is left to others at least, while they are new to us."""

COUNTED_TWICE = 2
"""How many times a weighted window counts at most what comes at once each minute: beside itself of the minute before."""

NEW_FOR = 1.5 * WINDOW_SECONDS
"""Seconds for which they are, from when they were first seen or one of ours was refused."""

LEAST_OWN_PART = 1 / 10
"""Part of the limit that we take at least, whatever others use."""

CHANGES_WITH_USE = 3
"""Requests by which our own use may change while Remaining stays the same for a window, before it is taken for a constant."""

SMALLEST_LIMIT = 10
"""The smallest limit that any plan is said to have: fewer requests than this cannot have used one up."""

FIRST_PATIENCE = 2 * WINDOW_SECONDS
"""Seconds before more is tried than a server let through that refused without naming numbers; then doubled."""


class Belief:
    """Which ways of counting are believed, and what is left to others.

    Args:
        limit: Requests in any 60 s.
        own: Our own requests.
        clock: The server's.

    """

    def __init__(self, limit: int, own: OwnRequests, clock: ServerClock) -> None:
        self.limit = limit
        # Whether answers name a Remaining, which they do from the first on, or never.
        self.names_remaining = False
        # Whether the last one that did named a window, without which nothing is known of a fixed one.
        self._names_window = False
        # Until when requests are to leave evenly although no others are known: of a server that names nothing the next
        # refusal would be no surprise.
        self.evenly_until = -inf
        self._own = own
        self._sliding = Sliding(own)
        self._fixed = Fixed(own, clock)
        self._weighted = Weighted(own, clock)
        self._bucket = Bucket(own, limit)
        ways: list[WayOfCounting] = [self._sliding, self._fixed, self._weighted, self._bucket]
        self._others = {way: OthersUse() for way in ways}
        # What `believed` said last.
        self._told: tuple[list[WayOfCounting], int] | None = None
        # When a way was last found wrong, and by how many requests at most.
        self._wrong: dict[WayOfCounting, tuple[float, float]] = {}
        self._in_company_since = inf
        # When a request was last refused although others had passed of late: who thought to be alone is not.
        self._met_at = -inf
        # The Remaining named last, what we used when it first was, and when that was; until when none is believed.
        self._remaining, self._used_with_it, self._named_since = -1, 0, 0.0
        self._remaining_false_until = -inf
        # Whether a 429 without numbers was explained by a way of counting, and when the last one came.
        self._is_explained, self._refused_at = False, -inf
        # What seems to be the limit of a server that refused without naming numbers, and until when.
        self._ceiling: int | None = None
        self._ceiling_until = -inf
        self._patience = FIRST_PATIENCE

    def change_limit(self, limit: int) -> None:
        """Take in that the server names another limit."""
        self.limit = self._bucket.limit = limit

    # What is believed

    def believed(self, now: float) -> tuple[list[WayOfCounting], int]:
        """Return the ways that are believed, and how many requests in any 60 s are left to others."""
        ways = self._right_ways(now)
        if len(ways) > 1:
            use = [self._others[way].largest(now) for way in ways]
            most = min(use) + TOLERANCE
            ways = [way for way, used in zip(ways, use, strict=True) if used <= most]
        self._told = ways, self._left(ways, now)
        return self._told

    def _left(self, ways: list[WayOfCounting], now: float) -> int:
        """Tell how many requests in any 60 s to leave to others, by these ways."""
        others = [self._others[way] for way in ways]
        met = now <= self._met_at + NEW_FOR
        # A way under which nobody sends any more explains as much with less than one under which somebody does.
        others = [use for use in others if not use.rises] or others
        if not met and not any(use.are_there(now) for use in others):
            self._in_company_since = inf
            return 0
        self._in_company_since = min(self._in_company_since, now)
        may_come = COUNTED_TWICE * UNKNOWN_OTHERS * self.limit
        left = max(use.to_leave(now, may_come) for use in others)
        if met or now < self._in_company_since + NEW_FOR:
            left = max(left, UNKNOWN_OTHERS * self.limit)
        return min(ceil(left), self.limit - max(1, floor(LEAST_OWN_PART * self.limit)))

    def ceiling(self, now: float) -> int:
        """Return the limit as far as is known: the named one, or what was let through of it."""
        if self._ceiling is not None and now >= self._ceiling_until:
            self._ceiling = None
        return self.limit if self._ceiling is None else min(self.limit, self._ceiling)

    def _right_ways(self, now: float) -> list[WayOfCounting]:
        if not self.names_remaining and not self._is_explained:
            # Nothing could tell that a stricter way is wrong.
            return [self._sliding]
        right = [
            way
            for way in self._others
            if (way is not self._fixed or self._names_window)
            and (way not in self._wrong or self._wrong[way][0] < now - OUT_FOR)
        ]
        return right or [min(self._wrong, key=lambda way: self._wrong[way][1])]

    # What answers tell

    def learn(
        self,
        sent_at: float,
        *,
        limit: int,
        remaining: int,
        reset: float | None,
        refused: bool,
        now: float,
    ) -> bool:
        """Take in what an answer names, and tell whether that changes anything: see `RatePolicy.learn`."""
        told = self._told
        if not self.names_remaining:
            # What a server lets through that refuses without numbers is a guess; this one names them.
            self.names_remaining, self._ceiling = True, None
        self._names_window = reset is not None
        if refused and self._own.counted.at_least(now - WINDOW_SECONDS, now):
            self._met_at = now
        if self._is_a_constant(remaining, now, refused=refused):
            return self.believed(now) != told
        if reset is not None:
            if not self._fixed.learn(reset):
                self._wrong[self._fixed] = now, limit
            if not self._weighted.can_name(reset):
                self._wrong[self._weighted] = now, limit
        if now - sent_at <= LONGEST_JUDGED:
            # Our part of a limit that is shared out, or that is not believed yet, begins where that of the others ends.
            beyond = max(0, limit - self.limit)
            self._judge(sent_at, limit - remaining - (not refused), beyond, reset, refused=refused, now=now)
        return self.believed(now) != told

    def _judge(
        self, sent_at: float, used: int, beyond: int, reset: float | None, *, refused: bool, now: float
    ) -> None:
        total = used - beyond
        for way, others in self._others.items():
            if way is self._fixed and reset is None:
                continue
            least, most = way.use_when_counted(sent_at, now, reset)
            if not refused and used - least < -TOLERANCE:
                self._wrong[way] = now, max(least - used, self._wrong.get(way, (0, 0.0))[1])
            lower, upper = max(0.0, total - most), max(0.0, total - least)
            if way is self._weighted and reset is not None:
                left = self._weighted.left_of_minute(reset, now)
                others.learn_of_minute(lower, upper, now, reset=reset, left=left)
            else:
                others.learn(lower, upper, now)

    def _is_a_constant(self, remaining: int, now: float, *, refused: bool) -> bool:
        """Tell whether Remaining stays the same whatever we use, although it speaks of others and refuses nothing."""
        ours = self._own.counted.at_least(now - WINDOW_SECONDS, now)
        if refused or remaining != self._remaining or self._in_company_since == inf:
            self._remaining, self._used_with_it, self._named_since = remaining, ours, now
        elif now > self._named_since + WINDOW_SECONDS and abs(ours - self._used_with_it) > CHANGES_WITH_USE:
            self._remaining_false_until = now + OUT_FOR
            self._others = {way: OthersUse() for way in self._others}
        return now < self._remaining_false_until

    def learn_bare_refusal(self, sent_at: float, now: float) -> None:
        """Take in a 429 that names no numbers."""
        if self.names_remaining:
            return
        ways = [way for way in self._others if way is not self._fixed]
        ours = max(way.use_when_counted(sent_at, now, None)[1] for way in ways)
        if ours + FEWEST_OTHERS >= self.limit:
            # The first such 429 shows how the server counts; another one, that we do not know all of it.
            if self._is_explained and now > self._refused_at + WINDOW_SECONDS:
                self.evenly_until = now + OUT_FOR
            self._is_explained = True
            self._judge(sent_at, self.limit, 0, None, refused=True, now=now)
        else:
            self.evenly_until = now + OUT_FOR
            let_through = self._own.counted.at_least(now - WINDOW_SECONDS, now)
            if let_through >= SMALLEST_LIMIT:
                if self._ceiling is None:
                    self._ceiling_until = now + self._patience
                    self._patience *= 2
                self._ceiling = let_through
        self._refused_at = now

    def count(self, sent_at: float, now: float) -> None:
        """Take in that one more was let through."""
        self._bucket.count(sent_at, now)
        if self._ceiling is not None:
            self._ceiling = max(self._ceiling, self._own.counted.at_least(now - WINDOW_SECONDS, now))
