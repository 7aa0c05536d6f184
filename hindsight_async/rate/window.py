"""A window of at most N entries, one for each request of the last 60 s, and how much of it other programs use.

Why no 60 seconds at the server ever contain more than N of our requests: the entry of a request is in the window from
just before it is sent (t) until 60 s after its answer (r), and the server counts it at some s between t and r. If more
than N were counted within 60 s, look at the one that entered last: each of the others entered before it and, counted
at s, does not leave until s + 60 at the earliest, so more than N entries were in the window at once, which admits no
more than N. This assumes that a request which is given up (cancelled, or too late) is counted before that, or never.

That is all there is to it while the server counts our own requests alone. The rest of this module is for other programs
beside us (`other_clients`) and for a lower limit that the server does not name: what room there is must then be tried.

Pure: the caller hands in the time, in seconds of one clock that never goes back.
"""

from collections import deque
from math import floor, inf

from attrs import define

from hindsight_async.rate.headers import RateHeaders
from hindsight_async.rate.other_clients import WINDOW_SECONDS, OtherClients

CLOCK_MARGIN = 0.001
"""Seconds that the server's clock may be slower than ours over a window."""

KEPT_AFTER_ANSWER = WINDOW_SECONDS + CLOCK_MARGIN
"""Seconds an entry stays in the window after the answer."""

FIRST_PATIENCE = WINDOW_SECONDS
"""Seconds before more is tried than what passed when a server refused without naming numbers; then doubled."""

SMALLEST_LIMIT = 10
"""The smallest limit that any plan is said to have: fewer requests than this cannot have used one up."""

MOST_DOUBT = 10
"""How often the pause between trials is halved while each shows that the named Remaining cannot be right."""


@define(eq=False)
class WindowEntry:
    """One request in a window: when it entered, what was known then, and what became of it."""

    window: "Window"
    taken_at: float
    freed_before: int
    """How many entries had left by then: all others may have been counted before this request."""
    counted_before: int
    """How many requests the server had surely counted by then."""
    is_trial: bool = False
    """Whether it left although there seemed to be no room, because what is known has grown old."""
    is_invited: bool = False
    """The same, because the server had named this moment."""
    over: bool = False
    """Whether the request is over, or was never sent."""
    counted: bool = False
    """Whether the server has surely counted it."""
    lapsed: bool = False
    """Whether it entered longer than a window ago, so that the server may count it no more."""


class Window:
    """At most `limit` entries at once; each leaves 60 s after its request's answer.

    Args:
        limit: Requests in any 60 s.

    """

    __slots__ = (
        "_ceiling",
        "_counted",
        "_declined",
        "_doubt",
        "_due",
        "_freed",
        "_invited_at",
        "_lapsed",
        "_last",
        "_others",
        "_patience",
        "_sent",
        "_taken",
        "_trial_at",
        "_wary",
        "limit",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # When each entry whose request is over leaves, in order.
        self._due: deque[float] = deque()
        # The entries taken within the last window, in order, left or not.
        self._sent: deque[WindowEntry] = deque()
        # How many entered, left, were surely counted and of these lapsed, since the beginning: an entry notes these
        # numbers, to tell later what came before it.
        self._taken = 0
        self._freed = 0
        self._counted = 0
        self._lapsed = 0
        self._others = OtherClients()
        # What seems to be the limit of a server that refused without naming numbers.
        self._ceiling: int | None = None
        # Seconds until more than that is tried, after the next such refusal.
        self._patience = FIRST_PATIENCE
        # The entry taken last: while there seems to be no room one request goes at a time.
        self._last: WindowEntry | None = None
        # When to try although there seems to be no room, since what is known is a window old.
        self._trial_at = inf
        # The same, at the moment that the server named in an answer that left nothing.
        self._invited_at = inf
        # Whether the last invitation ended in a refusal: other programs had heard it too, and came first.
        self._declined = False
        # Trials that were let through although Remaining had said there was no room, less the answers since that
        # showed some: as often the pause between trials is halved, since such a Remaining cannot be right.
        self._doubt = 0
        # Whether anything but our own count matters: other programs were seen, or a refusal named no numbers. While
        # it is not so, as mostly, an answer costs little.
        self._wary = False

    def free(self, now: float) -> int:
        """Count what our own requests leave free of the limit; negative after the limit was lowered."""
        due = self._due
        while due and due[0] <= now:
            due.popleft()
            self._freed += 1
        return self.limit - self._taken + self._freed

    def room(self, now: float) -> int:
        """Count the requests that may leave now, with other programs and refusals reckoned in."""
        free = self.free(now)
        if self._ceiling is not None:
            free -= self.limit - self._ceiling
        return floor(free - self._others.at_most(now))

    def admits(self, now: float) -> bool:
        """Tell whether one more may leave: there is room, or it is time to try whether there is."""
        if not self._wary and self._taken - self._freed < self.limit:
            return True
        free = self.free(now)
        if free < 1 or not self._wary:
            return free >= 1
        room = self.room(now)
        if room >= 1 and not self._others.stale(now):
            return True
        if self._last is not None and not self._last.over:
            return False
        if room >= 1 or now >= min(self._trial_at, self._invited_at):
            return True
        return self._ceiling is None and free - self._others.hardly_more(now) >= 1

    def take(self, now: float) -> WindowEntry:
        """Enter a request that leaves; ask `admits` first."""
        if self._due and self._due[0] <= now:
            self.free(now)
        self._forget_lapsed(now)
        entry = self._last = WindowEntry(self, now, self._freed, self._counted)
        if self._wary and self.room(now) < 1:
            entry.is_trial = now >= self._trial_at
            entry.is_invited = now >= self._invited_at
            if entry.is_invited:
                self._invited_at = inf
        self._taken += 1
        self._sent.append(entry)
        return entry

    def put_back(self, entry: WindowEntry) -> None:
        """Take out an entry whose request was not sent."""
        self._taken -= 1
        entry.over = True

    def end(self, entry: WindowEntry, now: float) -> None:
        """Note that a request is over: its entry leaves once the server's window has passed."""
        self._due.append(now + KEPT_AFTER_ANSWER)
        entry.over = True
        if entry.is_trial and entry.counted and self._ceiling is not None:
            self._ceiling = self._ceiling + 1 if self._ceiling < self.limit else None

    def end_all(self, now: float) -> None:
        """Note that nobody waits any more for any of the requests under way."""
        under_way = self._taken - self._freed - len(self._due)
        self._due.extend([now + KEPT_AFTER_ANSWER] * under_way)
        self._last = None

    def split(self, limit: int, now: float) -> "Window":
        """Make a smaller window that starts as if all that entered here had entered there."""
        part = Window(limit)
        part._due = self._due.copy()
        part._taken = self._taken - self._freed
        part.end_all(now)
        return part

    def occupy(self, moments: list[float]) -> None:
        """Enter requests that another count has let out, and that leave the window at these moments, in order."""
        self._due.extend(moments)
        self._taken += len(moments)

    def confirm(self, entry: WindowEntry, now: float) -> None:
        """Note that the server has let this request through, and so counted it."""
        self._forget_lapsed(now)
        if not entry.lapsed and not entry.counted:
            entry.counted = True
            self._counted += 1

    def confirm_as_usual(self, entry: WindowEntry, remaining: int) -> bool:
        """Do what `confirm` does unless this answer's Remaining says more; False then, since there is more to `learn`."""
        used = self.limit - remaining
        if self._wary or not 0 <= used < self.limit or used > self._taken - entry.freed_before:
            return False
        if not entry.lapsed and not entry.counted:
            entry.counted = True
            self._counted += 1
        return True

    def learn(self, entry: WindowEntry, headers: RateHeaders, now: float) -> None:
        """Take in what the answer to this request says about the use of the window; `confirm` first."""
        if headers.remaining is None:
            return
        # Where the server allows more than we do yet, only what eats into our own part matters.
        used = max(0, min(headers.limit or self.limit, self.limit) - headers.remaining)
        self._forget_lapsed(now)
        surely_ours = max(0, entry.counted_before - self._lapsed) + entry.counted
        perhaps_ours = self._taken - entry.freed_before
        # Our requests under way when this one was sent, and those sent since, were counted before it, or were not.
        least, most = max(0, used - perhaps_ours), max(0, used - surely_ours)
        self._others.learn(least, most, sent_at=entry.taken_at, now=now)
        self._wary = self._ceiling is not None or self._others.seen(now)
        self._plan_trial(entry, headers, now)

    def _plan_trial(self, entry: WindowEntry, headers: RateHeaders, now: float) -> None:
        """Say when to try although there seems to be no room.

        A trial is due a window after the last answered request was sent, since all that it was counted with is then
        gone, and sooner where trials show that Remaining cannot be right. An invitation is for the moment that the
        server names, unless our own entries leave sooner than the other programs' anyway; one that ends in a refusal
        is the last until there is room again, since whoever else heard it came first, and would again. A simpler rule
        had every fifth request refused beside a program that takes whatever is left.
        """
        if not entry.counted:
            self._doubt = 0
            self._declined = self._declined or entry.is_invited
        elif self.room(now) >= 1:
            self._doubt = max(self._doubt - 1, 0)
            self._declined = False
        elif entry.is_trial:
            self._doubt = min(self._doubt + 1, MOST_DOUBT)
        self._trial_at = entry.taken_at + WINDOW_SECONDS / 2**self._doubt
        named = max(headers.reset_in or 0.0, headers.retry_after or 0.0)
        ours_return_sooner = entry.counted and 2 * self._others.at_most(now) < self.limit
        if named and headers.remaining == 0 and not self._declined and not ours_return_sooner:
            self._invited_at = now + named

    def learn_bare_refusal(self, now: float) -> None:
        """Take what passed within the window as the limit, after a 429 that names no numbers, if it can be one."""
        self._forget_lapsed(now)
        passed = self._counted - self._lapsed
        if passed >= SMALLEST_LIMIT:
            self._ceiling = passed
            self._wary = True
            self._trial_at = now + self._patience
            self._patience *= 2

    def next_change(self, now: float) -> float:
        """Name the next moment at which `admits` may turn true by itself; inf if there is none."""
        free = self.free(now)
        due = self._due[0] if self._due else inf
        trials = [moment for moment in (self._trial_at, self._invited_at) if moment > now]
        return min(due, *trials) if free >= 1 and trials else due

    def opens_for(self, ahead: int, now: float) -> float:
        """Name the earliest moment that our own requests allow for a newcomer with so many ahead."""
        turn = ahead - self.free(now)
        if turn < 0:
            return now
        cycles, turn = divmod(turn, max(self.limit, self._taken - self._freed))
        # Of a request under way nobody knows when it ends: as if it ended now.
        first = self._due[turn] if turn < len(self._due) else now + KEPT_AFTER_ANSWER
        return first + cycles * KEPT_AFTER_ANSWER

    def _forget_lapsed(self, now: float) -> None:
        sent = self._sent
        while sent and sent[0].taken_at <= now - WINDOW_SECONDS:
            entry = sent.popleft()
            entry.lapsed = True
            self._lapsed += entry.counted
