"""What the signals that end a program do to a command that has something to finish."""

import asyncio
import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""What comes when the terminal is closed or its connection drops; Windows has none."""

ENDS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM, *(() if HANGUP is None else (HANGUP,)))
"""What stops a command that serves until it is told to stop."""


@contextmanager
def handling(
    numbers: Iterable[signal.Signals], handle: Callable[[signal.Signals], object]
) -> Generator[None]:
    """Have signals handled by the event loop that runs, in its own time, while the block runs.

    Args:
        numbers: Which signals.
        handle: Called with the signal, by the loop.

    """
    loop = asyncio.get_running_loop()
    numbers = list(numbers)
    before = {number: signal.getsignal(number) for number in numbers}

    def pass_on(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(handle, signal.Signals(number))

    for number in numbers:
        try:
            # Which wakes a loop that is just about to wait for something else, as a handler alone does not.
            loop.add_signal_handler(number, handle, number)
        except NotImplementedError:
            # The event loops of Windows, which look around often by themselves.
            signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            # None where another program's code, and not Python's, had it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
