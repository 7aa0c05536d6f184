"""Who listens to what happens to calls: the log, where it is on, and the hooks of a session."""

import logging
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from hindsight_async.call.events import CallEvent
    from hindsight_async.call.request import Call
    from hindsight_async.call.trace import CallTrace
    from hindsight_async.rate import Lane

    OnEvent = Callable[[CallEvent], object]

logger = logging.getLogger("hindsight_async.call")


class Observer:
    """Has calls followed where anybody listens, and passes their events on.

    Args:
        on_event: The first of them; None for the log alone.

    """

    def __init__(self, on_event: "OnEvent | None") -> None:
        self._listeners: list[OnEvent] = [] if on_event is None else [on_event]
        self._numbers = count(1)
        self._failed: list[OnEvent] = []
        """Those listeners of which the log was told that they fail."""

    def listen(self, listener: "OnEvent") -> None:
        """Tell one more of every event; TypeError where that cannot be called."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {type(listener).__name__}")
        self._listeners.append(listener)

    def trace_of(self, call: "Call[Any]", lane: "Lane") -> "CallTrace | None":
        """Return what follows the call; None where nobody listens, not even the log."""
        if not self._listeners and not logger.isEnabledFor(logging.INFO):
            return None
        from hindsight_async.call.trace import CallTrace  # noqa: PLC0415  later, with its events

        return CallTrace(self, next(self._numbers), call, lane)

    def tell(self, event: "CallEvent") -> None:
        """Tell of an event, which is in the log already; what a listener raises changes nothing, and is logged the first time."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # the call goes on
                if not any(failed is listener for failed in self._failed):
                    text = "on_event failed; it is called on, and what else it raises is not logged"
                    logger.exception(text)
                    self._failed.append(listener)
