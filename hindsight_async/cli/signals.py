"""What the signals that end a program do to a command that has something to finish."""

import asyncio
import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""What comes when the terminal is closed or its connection drops; Windows has none."""


@contextmanager
def handling(
    numbers: Iterable[signal.Signals], handle: Callable[[signal.Signals], object]
) -> Generator[None]:
    """Have signals handled by the event loop that runs, in its own time, while the block runs.

    Not by `loop.add_signal_handler`, which the event loops of Windows do not have.

    Args:
        numbers: Which signals.
        handle: Called with the signal, by the loop.

    """
    loop = asyncio.get_running_loop()

    def pass_on(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(handle, signal.Signals(number))

    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None where another program's code, and not Python's, had it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
