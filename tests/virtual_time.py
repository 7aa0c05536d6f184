"""An event loop whose clock jumps to the next timer, so that no test ever sleeps.

It stands still while a thread works for the loop: one of an executor (that is where names are resolved), or a
connection to SQLite. Not for work that another process does meanwhile: the clock does not wait for it.
"""

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

STALLED_AFTER = 20.0
"""Real seconds without any event and without any timer, after which a test counts as hung."""

GRACE = 0.0002
"""Real seconds that bytes on a loopback socket are given before the clock jumps.

What one end of a connection writes is mostly at the other by then, since both are on this loop; where the kernel puts it
off, it needs a moment on the processor.
"""

PAST_THE_TIMER = 1e-6
"""Landing exactly on a timer leaves float residue on which a limiter can spin for ever."""

SQLITE = "aiosqlite.core"
"""The module that makes a future for each piece of work that it gives to a thread of its own."""


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Waits for no timer: where nothing is ready it moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.awaited: set[asyncio.Future[Any]] = set()

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.awaited:
            ready = super().select(STALLED_AFTER)
            if not ready:
                raise TimeoutError(
                    f"nothing happened for {STALLED_AFTER} s, and no timer is set or a thread is waited for"
                )
            return ready
        if self._real_input_is_possible():
            time.sleep(GRACE)  # `select` itself waits for whole milliseconds
            ready = super().select(0)
            if ready:
                return ready
        self.now += timeout + PAST_THE_TIMER
        return []

    def _real_input_is_possible(self) -> bool:
        registered: Mapping[Any, Any] = self.get_map()
        return len(registered) > 1


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` starts at 0 and jumps; sockets work as always."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as code that blocks the event loop does."""
        self._jumping.now += seconds

    @property
    def timers(self) -> int:
        """How many timers are set, and not cancelled."""
        return sum(not handle.cancelled() for handle in self._scheduled)

    def create_future(self) -> asyncio.Future[Any]:
        future = super().create_future()
        if sys._getframe(1).f_globals.get("__name__") == SQLITE:
            self._wait_in_real_time(future)
        return future

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._wait_in_real_time(future)
        return future

    def _wait_in_real_time(self, future: asyncio.Future[Any]) -> None:
        self._jumping.awaited.add(future)
        future.add_done_callback(self._jumping.awaited.discard)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncio names it
        """Wait for the threads to the end: on this clock any time that they are given is over at once."""
        del timeout
        await super().shutdown_default_executor()
