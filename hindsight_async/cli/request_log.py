"""The emulator's log on stderr: a line for each request, without addresses, bodies and keys."""

import time
from contextlib import suppress

from rich.text import Text

from hindsight_async.cli.terminal import open_console
from hindsight_async.emulator import ReceivedRequest

ROUTE_WIDTH = 38
"""Columns; the longest route has 37."""

STATUS_WIDTH = 7
NOT_SERVED = "(no such route)"
NO_ANSWER = "cut off"

_LEAST_ERROR, _LEAST_FAILURE = 400, 500


class RequestLog:
    """Writes the lines, coloured on a terminal that has colours."""

    def __init__(self) -> None:
        self._console = open_console(stderr=True)

    def note(self, request: ReceivedRequest) -> None:
        """Write one."""
        # A terminal or pipe that is gone ends no emulator.
        with suppress(OSError):
            self._console.print(line_of(request, time.strftime("%H:%M:%S")), soft_wrap=True)


def line_of(request: ReceivedRequest, now: str) -> Text:
    """Return its line: when, method and route, the status, and how long it took.

    A path is not shown, since an id, a query or a typing error in it may be anybody's secret.
    """
    route = request.route or f"{_method(request.method)} {NOT_SERVED}"
    status = NO_ANSWER if request.status is None else str(request.status)
    took = f"{(request.seconds or 0) * 1000:,.1f} ms"
    return Text.assemble(
        (now, "dim"), f"  {route:{ROUTE_WIDTH}} ", (f"{status:{STATUS_WIDTH}}", _style(request.status)), f"{took:>11}"
    )  # fmt: skip


def _method(method: str) -> str:
    return method if method.isalpha() and len(method) <= len("OPTIONS") else "?"


def _style(status: int | None) -> str:
    if status is None or status >= _LEAST_FAILURE:
        return "red"
    return "yellow" if status >= _LEAST_ERROR else "green"
