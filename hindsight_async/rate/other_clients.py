"""How much of the window other programs of the organisation use, as far as answers tell.

Pure: the time is handed in.
"""

from math import inf, sqrt

WINDOW_SECONDS = 60.0
"""Seconds over which the server counts."""

DRIFT_CAUTION = 2.0
"""How many standard deviations of other programs' coming and going are kept free."""

OTHERS_REMEMBERED = 180.0
"""Seconds after the last sure sign of other programs during which they are reckoned with."""

FRESH_SECONDS = 2.0
"""Seconds for which an answer stays good enough to send many requests on its word; then one goes first."""


class OtherClients:
    """Estimate of how many requests of other programs the server's window holds.

    Each answer puts bounds on it, since it is not known which of our own requests under way were counted before
    it. Between answers the bounds move apart with the square root of time, as a random coming and going does.
    """

    __slots__ = ("_heard", "_least", "_least_as_of", "_most", "_most_as_of", "_seen_at")

    def __init__(self) -> None:
        # The bounds, and when the requests were sent whose answers gave them.
        self._least = 0
        self._most = 0
        self._least_as_of = -inf
        self._most_as_of = -inf
        # When the last answer came that our own requests alone cannot account for.
        self._seen_at = -inf
        # When the latest request was sent that was answered: answers may overtake each other.
        self._heard = -inf

    def seen(self, now: float) -> bool:
        """Tell whether there was a sure sign of other programs in the last minutes."""
        return now - self._seen_at <= OTHERS_REMEMBERED

    def stale(self, now: float) -> bool:
        """Tell whether other programs may have sent much since we last heard of them."""
        return now - self._heard > FRESH_SECONDS

    def learn(self, least: int, most: int, *, sent_at: float, now: float) -> None:
        """Take in the bounds that one answer gives; those of a request sent before the last one change nothing."""
        if least > 0:
            self._seen_at = now
        if sent_at < self._heard:
            return
        self._heard = sent_at
        lower = self._least - self._drift(now - self._least_as_of)
        upper = self._most + self._drift(now - self._most_as_of)
        if most <= upper or least > upper or sent_at - self._most_as_of > FRESH_SECONDS:
            self._most, self._most_as_of = most, sent_at
        if least >= lower or most < lower or sent_at - self._least_as_of > FRESH_SECONDS:
            self._least, self._least_as_of = least, sent_at

    def at_most(self, now: float) -> float:
        """Bound from above; 0 while no other program was seen for some minutes."""
        return self._most + self._drift(now - self._most_as_of) if self.seen(now) else 0.0

    def hardly_more(self, now: float) -> float:
        """Bound from below, with an allowance for those who came since."""
        return self._least + self._drift(now - self._least_as_of)

    def _drift(self, age: float) -> float:
        return DRIFT_CAUTION * sqrt(2 * self._most / WINDOW_SECONDS * min(age, WINDOW_SECONDS))
