"""A window of N permits, and how much of it other programs use.

Why no 60 seconds at the server ever hold more than N of our requests: a permit is held from just before sending
(t) until 60 s after the answer (r), and the server counts the request at some s between t and r. If more than N
were counted within 60 s, look at the one taken last: each of the others was taken before it and is not given
back until s + 60 at the earliest, so more than N permits were held at once, and there are only N. What it takes for
granted: a request that is given up (cancelled, or too late) is counted before that, or never.

Pure: the caller hands in the time, in seconds of one clock that never goes back.
"""

from collections import deque
from math import floor, inf

from attrs import define

from hindsight_async.rate.headers import RateHeaders
from hindsight_async.rate.other_clients import WINDOW_SECONDS, OtherClients

HELD_AFTER_ANSWER = WINDOW_SECONDS + 0.001
"""Seconds a permit stays held after the answer; the millisecond is for clocks that do not run equally fast."""

FIRST_PATIENCE = WINDOW_SECONDS
"""Seconds before more is tried than what passed when a server refused without saying why."""

SMALLEST_LIMIT = 10
"""The smallest limit that any plan is said to have: fewer requests than this cannot have used one up."""

MOST_DOUBT = 10
"""How often the pause between trials is halved while each shows that the named Remaining cannot be right."""


@define(eq=False)
class WindowEntry:
    """One permit of a window, held: when it was taken and what was known then."""

    window: "Window"
    taken_at: float
    given_back_before: int
    counted_before: int
    is_trial: bool = False
    is_invited: bool = False
    over: bool = False
    counted: bool = False
    lapsed: bool = False


class Window:
    """At most `limit` permits held at once; each comes back 60 s after its answer."""

    __slots__ = (
        "_ceiling",
        "_counted",
        "_declined",
        "_doubt",
        "_due",
        "_given_back",
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
        self._due: deque[float] = deque()
        self._sent: deque[WindowEntry] = deque()
        self._taken = 0
        self._given_back = 0
        self._counted = 0
        self._lapsed = 0
        self._others = OtherClients()
        self._ceiling: int | None = None
        self._patience = FIRST_PATIENCE
        self._last: WindowEntry | None = None
        self._trial_at = inf
        self._invited_at = inf
        self._declined = False
        self._doubt = 0
        # Whether anything but our own count matters: other programs were seen, or a refusal came without a word.
        self._wary = False

    def free(self, now: float) -> int:
        """Count our own free permits; negative after the limit was lowered."""
        due = self._due
        while due and due[0] <= now:
            due.popleft()
            self._given_back += 1
        return self.limit - self._taken + self._given_back

    def room(self, now: float) -> int:
        """Count the permits that may be taken now with nothing left to try out."""
        free = self.free(now)
        if self._ceiling is not None:
            free -= self.limit - self._ceiling
        return floor(free - self._others.at_most(now))

    def admits(self, now: float) -> bool:
        """Tell whether one more may leave: there is room, or one is due to try out whether there is."""
        if not self._wary and self._taken - self._given_back < self.limit:
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
        """WindowEntry one permit; ask `admits` first."""
        if self._due and self._due[0] <= now:
            self.free(now)
        self._forget_lapsed(now)
        entry = self._last = WindowEntry(self, now, self._given_back, self._counted)
        if self._wary and self.room(now) < 1:
            entry.is_trial = now >= self._trial_at
            entry.is_invited = now >= self._invited_at
            if entry.is_invited:
                self._invited_at = inf
        self._taken += 1
        self._sent.append(entry)
        return entry

    def put_back(self, entry: WindowEntry) -> None:
        """Free a permit with which nothing was sent."""
        self._taken -= 1
        entry.over = True

    def give_back(self, entry: WindowEntry, now: float) -> None:
        """Free a permit once the server's window has passed."""
        self._due.append(now + HELD_AFTER_ANSWER)
        entry.over = True
        if entry.is_trial and entry.counted and self._ceiling is not None:
            self._ceiling = self._ceiling + 1 if self._ceiling < self.limit else None

    def give_back_all(self, now: float) -> None:
        """Free all permits whose requests nobody waits for any more, once the server's window has passed."""
        under_way = self._taken - self._given_back - len(self._due)
        self._due.extend([now + HELD_AFTER_ANSWER] * under_way)
        self._last = None

    def split(self, limit: int, now: float) -> "Window":
        """Make a smaller window that starts as if all that is held here were held there."""
        part = Window(limit)
        part._due = self._due.copy()
        part._taken = self._taken - self._given_back
        part.give_back_all(now)
        return part

    def occupy(self, moments: list[float]) -> None:
        """Begin with permits held that come free at these moments, in order."""
        self._due.extend(moments)
        self._taken += len(moments)

    def confirm(self, entry: WindowEntry, now: float) -> None:
        """Note that the server has let this request through."""
        self._forget_lapsed(now)
        if not entry.lapsed and not entry.counted:
            entry.counted = True
            self._counted += 1

    def confirm_as_usual(self, entry: WindowEntry, remaining: int) -> bool:
        """Note that the server has let this request through, if that is all there is to learn from its answer."""
        used = self.limit - remaining
        if self._wary or not 0 <= used < self.limit or used > self._taken - entry.given_back_before:
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
        perhaps_ours = self._taken - entry.given_back_before
        least, most = max(0, used - perhaps_ours), max(0, used - surely_ours)
        self._others.learn(least, most, sent_at=entry.taken_at, now=now)
        self._wary = self._ceiling is not None or self._others.seen(now)
        self._plan_trial(entry, headers, now)

    def _plan_trial(self, entry: WindowEntry, headers: RateHeaders, now: float) -> None:
        """Say when to try although there seems to be no room: when the server invites, or this is old, or doubtful.

        An invitation that ends in a refusal is the last one until there is room again: other programs heard it too.
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

    def refused_without_word(self, now: float) -> None:
        """Take what passed within the window as the limit, after a 429 that names none, if it can be one."""
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
        """Name the earliest moment our own permits allow for a newcomer with so many others ahead."""
        place = ahead - self.free(now)
        if place < 0:
            return now
        cycles, place = divmod(place, max(self.limit, self._taken - self._given_back))
        first = self._due[place] if place < len(self._due) else now + HELD_AFTER_ANSWER
        return first + cycles * HELD_AFTER_ANSWER

    def _forget_lapsed(self, now: float) -> None:
        sent = self._sent
        while sent and sent[0].taken_at <= now - WINDOW_SECONDS:
            entry = sent.popleft()
            entry.lapsed = True
            self._lapsed += entry.counted
