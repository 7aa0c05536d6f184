"""One timer for the deadlines of many tasks."""

import asyncio
from math import inf
from types import TracebackType


class DeadlineTimer:
    """Ends each of many blocks at its own moment, with one timer of the event loop between them all.

    `asyncio.timeout_at` sets a timer for each block and cancels it again, and nearly none of them ever rings. Here a
    block sets the timer only where it ends before all others. Belongs to one event loop.
    """

    __slots__ = ("_timer", "loop", "rings", "rings_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.rings: set[Deadline] = set()
        self.rings_at = inf
        self._timer: asyncio.TimerHandle | None = None

    def at(self, moment: float) -> "Deadline":
        """Raise TimeoutError in the `with` block around this once the loop's clock has passed `moment`."""
        return Deadline(self, moment)

    def stop(self) -> None:
        """Take the timer off the event loop: nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.rings_at = None, inf

    def set(self, moment: float) -> None:
        """Deadline at this moment, which is before any other."""
        self.stop()
        self.rings_at = moment
        self._timer = self.loop.call_at(moment, self._ring)

    def _ring(self) -> None:
        now = self.loop.time()
        self.stop()
        for ring in [ring for ring in self.rings if ring.moment <= now]:
            self.rings.discard(ring)
            ring.ring()
        earliest = min((ring.moment for ring in self.rings), default=inf)
        if earliest < inf:
            self.set(earliest)


class Deadline:
    """One block and the moment at which it is ended; as `asyncio.timeout_at`, without a timer of its own."""

    __slots__ = ("_alarm", "_cancelling", "_rung", "_task", "moment")

    _task: "asyncio.Task[object]"

    def __init__(self, timer: DeadlineTimer, moment: float) -> None:
        self._alarm = timer
        self._rung = False
        self.moment = moment

    def __enter__(self) -> None:
        task = asyncio.current_task(self._alarm.loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that it can end")
        self._task, self._cancelling = task, task.cancelling()
        timer = self._alarm
        timer.rings.add(self)
        if self.moment < timer.rings_at:
            timer.set(self.moment)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The timer stays, since the next block will mostly need it.
        self._alarm.rings.discard(self)
        # Where others have cancelled the task too, that is what goes on.
        if self._rung and self._task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def postpone(self, seconds: float) -> None:
        """End the block so many seconds from now instead; raise TimeoutError where its moment has come already.

        Any task may call this, also in the turn in which the block is being ended.
        """
        now = self._alarm.loop.time()
        if now >= self.moment:
            raise TimeoutError
        self.moment = now + seconds
        # Later than before, the timer finds that out when it rings; earlier, it must be set.
        if self.moment < self._alarm.rings_at:
            self._alarm.set(self.moment)

    def ring(self) -> None:
        """End the block."""
        self._rung = True
        self._task.cancel()
