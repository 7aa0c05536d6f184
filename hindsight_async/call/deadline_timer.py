"""One timer for the deadlines of many tasks."""

import asyncio
from math import inf
from types import TracebackType

TURNS_OF_GRACE = 10
"""How many turns of the event loop a block has once its time is up, for what lies in the kernel by then.

Where the process stood still (a blocking call, a laptop's lid, Ctrl-Z), the answer and the timer are found in the same
turn, and a task that is cancelled in the turn in which its answer arrives loses it. Each turn reads what a socket has,
and the task goes one step; a head, a body and TLS records of their own take several.
"""


class MomentHasComeError(TimeoutError):
    """A block's time is up, and it has not been ended yet."""


class DeadlineTimer:
    """Ends each of many blocks at its own moment, with one timer of the event loop between them all.

    `asyncio.timeout_at` sets a timer for each block and cancels it again, and nearly none of them ever goes off. Here a
    block sets the timer only where it ends before all others, and the timer is left as it is when a block ends in time:
    it goes off once for nothing, and is set for whoever is the next.

    Args:
        loop: The event loop that it belongs to.

    """

    __slots__ = ("_goes_off_at", "_handle", "_waiting", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: set[Deadline] = set()
        """The blocks that are entered and not yet left or ended."""
        self._goes_off_at = inf
        """No later than the earliest of them; inf where the timer is not set."""
        self._handle: asyncio.Handle | None = None

    def at(self, moment: float) -> "Deadline":
        """Return a context manager that raises TimeoutError once the time is up.

        Args:
            moment: On the loop's clock, in seconds.

        Returns:
            The deadline, to be used once.

        """
        return Deadline(self, moment)

    def stop(self) -> None:
        """Take the timer off the event loop: nobody waits any more."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._goes_off_at = None, inf

    def add(self, deadline: "Deadline", moment: float) -> None:
        """Have this one ended, too, at its moment."""
        self._waiting.add(deadline)
        if moment < self._goes_off_at:
            self.bring_forward_to(moment)

    def discard(self, deadline: "Deadline") -> None:
        """Leave this one alone from now on. The timer stays, since the next block will mostly need it."""
        self._waiting.discard(deadline)

    def bring_forward_to(self, moment: float) -> None:
        """Go off at this moment, unless the timer does so before; where that is too early, it finds that out then."""
        if moment < self._goes_off_at:
            self.stop()
            self._goes_off_at = moment
            self._handle = self.loop.call_at(moment, self._go_off, TURNS_OF_GRACE)

    def _go_off(self, turns_of_grace: int) -> None:
        if turns_of_grace:
            self._handle = self.loop.call_soon(self._go_off, turns_of_grace - 1)
            return
        now = self.loop.time()
        self.stop()
        for deadline in [deadline for deadline in self._waiting if deadline.moment <= now]:
            self._waiting.discard(deadline)
            deadline.end_block()
        self.bring_forward_to(min((deadline.moment for deadline in self._waiting), default=inf))


class Deadline:
    """One block and the moment at which it is ended; as `asyncio.timeout_at`, without a timer of its own.

    Args:
        timer: The one that ends it.
        moment: On the clock of the timer's loop, in seconds.

    """

    __slots__ = ("_cancelling", "_ended", "_task", "_timer", "moment")

    _task: "asyncio.Task[object]"
    _cancelling: int
    """How often others had cancelled the task when it entered the block."""

    def __init__(self, timer: DeadlineTimer, moment: float) -> None:
        self._timer = timer
        self._ended = False
        self.moment = moment

    def __enter__(self) -> None:
        task = asyncio.current_task(self._timer.loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that it can end")
        self._task, self._cancelling = task, task.cancelling()
        self._timer.add(self, self.moment)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.discard(self)
        # Where others have cancelled the task too, that is what goes on.
        if self._ended and self._task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def check(self) -> None:
        """Raise MomentHasComeError where `postpone` would raise."""
        if self._timer.loop.time() >= self.moment:
            raise MomentHasComeError

    def postpone(self, seconds: float) -> None:
        """End the block later, or earlier, than was said; any task may call this.

        Args:
            seconds: From now.

        Raises:
            TimeoutError: Its moment has come already, be it in this very turn: then the block is being ended.

        """
        now = self._timer.loop.time()
        if now >= self.moment:
            raise TimeoutError
        self.moment = now + seconds
        self._timer.bring_forward_to(self.moment)

    def end_block(self) -> None:
        """Cancel the task, which `__exit__` turns into a TimeoutError."""
        self._ended = True
        self._task.cancel()
