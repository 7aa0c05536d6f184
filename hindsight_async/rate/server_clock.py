"""What the server's clock shows, as far as its answers tell.

An answer's Date names whole seconds only. But the answer was written after its request was sent and before it was here,
so each one bounds the difference between the two clocks from both sides, and a few together bound it closely.

Pure: moments are on the event loop's clock, in seconds; those on the server's are seconds since 1970.
"""

from math import inf

MINUTE = 60.0

DATE_RESOLUTION = 1.0
"""Seconds; a Date is rounded down to them."""

CLOCK_DRIFT = 1e-4
"""Seconds by which two clocks may move apart in one."""

LEAST_SLACK = 0.001
"""Seconds by which a moment on the server's clock is never known better."""


class ServerClock:
    """The difference between the server's clock and ours."""

    __slots__ = ("_as_of", "_highest", "_lowest", "offset", "slack")

    def __init__(self) -> None:
        self._lowest, self._highest = -inf, inf
        self._as_of = 0.0
        # To be added to a moment of ours, and how far off that may be either way.
        self.offset = 0.0
        # Before the first answer the minute may turn at any second.
        self.slack = MINUTE / 2

    def learn(self, date: float, reset: float | None, *, sent_at: float, now: float) -> None:
        """Take in what one answer says of the time.

        Args:
            date: When it was written, in whole seconds since 1970.
            reset: The end of the window in which its request was counted, in seconds since 1970; None for none. The end of
                a clock's minute says more than the date: on which side of it the server counted.
            sent_at: When the request was sent.
            now: When its answer came.

        """
        drift = CLOCK_DRIFT * max(0.0, now - self._as_of)
        lowest, highest = date - now, date + DATE_RESOLUTION - sent_at
        if reset is not None and reset % MINUTE == 0 and 0 <= reset - date <= MINUTE:
            lowest, highest = max(lowest, reset - MINUTE - now), min(highest, reset - sent_at)
        self._lowest = max(self._lowest - drift, lowest)
        self._highest = min(self._highest + drift, highest)
        if self._lowest > self._highest:
            # One of the clocks was set.
            self._lowest, self._highest = lowest, highest
        self._as_of = now
        self.offset = (self._lowest + self._highest) / 2
        self.slack = (self._highest - self._lowest) / 2 + LEAST_SLACK

    def minute_end(self, moment: float) -> float:
        """Return the time on the server's clock at which its minute ends that this moment of ours lies in."""
        time = moment + self.offset
        return time - time % MINUTE + MINUTE

    def next_turn(self, moment: float) -> float:
        """Return the moment of ours by which the server's minute has surely turned that this one may lie in."""
        return self.moment_of(self.minute_end(moment - self.slack)) + self.slack

    def moment_of(self, time: float) -> float:
        """Return the moment of ours at which the server's clock shows this time."""
        return time - self.offset
