"""An event loop whose clock jumps to the next timer, so that no test ever sleeps.

Not for work that a thread or another process does meanwhile: the clock does not wait for it.
"""

import asyncio
import selectors
import threading
from collections.abc import Mapping
from typing import Any

STALLED_AFTER = 20.0
"""Real seconds without any event and without any timer, after which a test counts as hung."""

GRACE = 0.001
"""Real seconds that bytes on a loopback socket, or a thread, are given before the clock jumps."""

PAST_THE_TIMER = 1e-6
"""Landing exactly on a timer leaves float residue on which a limiter can spin for ever."""


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Waits for no timer: where nothing is ready it moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            ready = super().select(STALLED_AFTER)
            if not ready:
                raise TimeoutError(f"nothing happened for {STALLED_AFTER} s and no timer is set")
            return ready
        if self._real_input_is_possible():
            ready = super().select(GRACE)
            if ready:
                return ready
        self.now += timeout + PAST_THE_TIMER
        return []

    def _real_input_is_possible(self) -> bool:
        registered: Mapping[Any, Any] = self.get_map()
        return len(registered) > 1 or _threads_are_running()


def _threads_are_running() -> bool:
    return threading.active_count() > 1


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` starts at 0 and jumps; sockets work as always."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
