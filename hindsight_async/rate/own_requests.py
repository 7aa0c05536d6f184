"""Our own requests of the last minutes: when each was sent, and when it was over.

When the server counted one is known only to lie between the two, so each count of them has a least and a most.

Pure: moments are handed in, in seconds of one clock that never goes back.
"""

from bisect import bisect_left, bisect_right

REMEMBERED = 150.0
"""Seconds: two of the server's windows, and half a window for answers that come late."""

WINDOWS_REMEMBERED = 4
"""Of those that answers name: this minute's, the last one's, and two for answers that overtake each other."""

FORGOTTEN_TOGETHER = 1000
"""Moments that are let go of at once: taking one off the front of a list costs as much as taking many."""


class Moments:
    """Moments in order; the oldest may be forgotten, and are counted still."""

    __slots__ = ("_forgotten", "_moments")

    def __init__(self) -> None:
        self._forgotten = 0
        self._moments: list[float] = []

    def __len__(self) -> int:
        return self._forgotten + len(self._moments)

    def add(self, moment: float) -> None:
        """Put one in its place, which is mostly the last."""
        moments = self._moments
        if not moments or moment >= moments[-1]:
            moments.append(moment)
        else:
            moments.insert(bisect_right(moments, moment), moment)

    def remove(self, moment: float) -> None:
        """Take out one that was added."""
        place = bisect_left(self._moments, moment)
        if place < len(self._moments) and self._moments[place] == moment:
            del self._moments[place]
        else:
            self._forgotten -= 1

    def until(self, moment: float) -> int:
        """Count those up to this moment, itself included."""
        return self._forgotten + bisect_right(self._moments, moment)

    def before(self, moment: float) -> int:
        """Count those before this moment."""
        return self._forgotten + bisect_left(self._moments, moment)

    def nth(self, n: int) -> float | None:
        """Return the n-th of all, from 0; None where there are fewer, or it is forgotten."""
        place = n - self._forgotten
        return self._moments[place] if 0 <= place < len(self._moments) else None

    def beyond(self, n: int) -> list[float]:
        """Return all but the first n."""
        return self._moments[max(0, n - self._forgotten) :]

    def forget(self, before: float) -> None:
        """Let go of those before this moment, once they are many."""
        moments = self._moments
        if len(moments) > FORGOTTEN_TOGETHER and moments[FORGOTTEN_TOGETHER] < before:
            old = bisect_left(moments, before)
            self._forgotten += old
            del moments[:old]

    def copy(self) -> "Moments":
        """Return the same moments in an object of its own."""
        copy = Moments()
        copy._forgotten, copy._moments = self._forgotten, self._moments.copy()
        return copy


class Requests:
    """Some requests: when they were sent, and when they were over."""

    __slots__ = ("over", "sent")

    def __init__(self) -> None:
        self.sent = Moments()
        self.over = Moments()

    def at_most(self, since: float, until: float) -> int:
        """Count those that the server may have counted in this stretch of time."""
        return max(0, self.sent.until(until) - self.over.before(since))

    def at_least(self, since: float, until: float) -> int:
        """Count those that it must have counted in it, if it has counted all of them."""
        return max(0, self.over.until(until) - self.sent.before(since))

    def forget(self, before: float) -> None:
        """Let go of what was before this moment."""
        self.sent.forget(before)
        self.over.forget(before)

    def ended(self, now: float) -> "Requests":
        """Return the same requests, as if none were under way any more."""
        ended = Requests()
        ended.sent, ended.over = self.sent.copy(), self.over.copy()
        for _ in range(len(self.sent) - len(self.over)):
            ended.over.add(now)
        return ended


class OwnRequests:
    """Those that the server has not refused, as far as is known."""

    __slots__ = ("all", "counted", "undetermined", "windows")

    def __init__(self) -> None:
        self.all = Requests()
        # Those that the server has let through, and so counted.
        self.counted = Requests()
        # The same, by the end of the window in which it counted them, on its own clock: what `Reset` named.
        self.windows: dict[float, Requests] = {}
        # Those of which no answer named a window.
        self.undetermined = Requests()

    @property
    def under_way(self) -> int:
        """How many were sent and are not over."""
        return len(self.all.sent) - len(self.all.over)

    def send(self, now: float) -> None:
        """Note that one leaves."""
        self.all.sent.add(now)
        self.undetermined.sent.add(now)

    def count(self, sent: float, answered: float, reset: float | None) -> None:
        """Note that the server has let one through, and in which window."""
        self.counted.sent.add(sent)
        self.counted.over.add(answered)
        if reset is not None:
            window = self.windows.get(reset)
            if window is None:
                window = self.windows[reset] = Requests()
                self._forget_windows()
            window.sent.add(sent)
            window.over.add(answered)
            self.undetermined.sent.remove(sent)

    def end(self, now: float, *, determined: bool) -> None:
        """Note that one is over: `determined` where its answer named a window."""
        self.all.over.add(now)
        if not determined:
            self.undetermined.over.add(now)

    def end_all(self, now: float) -> None:
        """Note that none under way is waited for any more."""
        for _ in range(self.under_way):
            self.end(now, determined=False)

    def take_back(self, sent: float) -> None:
        """Note that one was refused, or not sent after all."""
        self.all.sent.remove(sent)
        self.undetermined.sent.remove(sent)

    def window(self, reset: float) -> Requests:
        """Return those counted in a window."""
        return self.windows.get(reset) or _NONE

    def in_doubt(self, now: float) -> "OwnRequests":
        """Return those that another limit may have counted as well: all of these, none of them surely."""
        copy = OwnRequests()
        copy.all, copy.undetermined = self.all.ended(now), self.all.ended(now)
        return copy

    def forget(self, now: float) -> None:
        """Let go of what was longer ago than anything asks about."""
        for requests in (self.all, self.counted, self.undetermined):
            requests.forget(now - REMEMBERED)

    def _forget_windows(self) -> None:
        # A sliding server names a window of its own with each answer. The first named goes, not the one that ends first:
        # that would be each new one, once the server's clock was set back.
        while len(self.windows) > WINDOWS_REMEMBERED:
            del self.windows[next(iter(self.windows))]


_NONE = Requests()
