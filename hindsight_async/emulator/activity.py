"""How many requests were answered in each second of the last minute. Pure: the moment is handed in."""

from math import floor
from typing import Any

SECONDS = 60


class Activity:
    """Counts the requests that are done with, those that the rate limit refused apart."""

    def __init__(self) -> None:
        self.changes = 0
        """Goes up whenever something may look different from before; never down."""
        self.forget()

    def forget(self) -> None:
        """Have counted nothing."""
        self._newest = 0  # the second that the last places of both lists count
        self._taken = [0] * SECONDS
        self._refused = [0] * SECONDS

    def note(self, now: float, *, refused: bool) -> None:
        """Count a request that was done with at `now`, in seconds of a clock that never runs backwards."""
        self._move_on(now)
        (self._refused if refused else self._taken)[-1] += 1
        self.changes += 1

    def last_minute(self, now: float) -> dict[str, Any]:
        """Return what was `taken` and what was `refused` in each of the last 60 seconds, the oldest first."""
        self._move_on(now)
        return {"taken": [*self._taken], "refused": [*self._refused]}

    def _move_on(self, now: float) -> None:
        second = floor(now)
        if second == self._newest:
            return
        gone = min(SECONDS, second - self._newest)
        self._newest = second
        for counts in (self._taken, self._refused):
            del counts[:gone]
            counts.extend([0] * gone)
