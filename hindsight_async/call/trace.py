"""Follows a call and tells what happens to it; loaded where anybody listens."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from hindsight_async.call.event_log import log_event
from hindsight_async.call.events import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    CallEvent,
    CallStarted,
    OutcomeUnknown,
    Paused,
    WaitingForBudget,
)
from hindsight_async.call.retry import delivery_of
from hindsight_async.errors import Delivery, HindsightError

if TYPE_CHECKING:
    from hindsight_async.call.observer import Observer
    from hindsight_async.call.request import Call, Reply
    from hindsight_async.rate import Lane

T = TypeVar("T")

_SUCCESS = range(200, 300)


class CallTrace:
    """Follows one call.

    Args:
        observer: Whom to tell.
        number: The call's own.
        call: What is sent.
        lane: How urgent it is.

    """

    def __init__(self, observer: "Observer", number: int, call: "Call[Any]", lane: "Lane") -> None:
        self._observer, self._number, self._call, self._lane = observer, number, call, lane
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        self._waits_since: float | None = None
        self._attempt = 0
        self._sent = 0.0
        """Seconds on the network so far."""
        self._status: int | None = None
        """Of the last attempt, None where it had no answer."""
        self._delivery: Delivery | None = Delivery.NOT_SENT
        """What all attempts so far may have done; None after an answer that says it is done."""

    async def through(self, running: Coroutine[Any, Any, T]) -> T:
        """Return what the call returns, or raise what it raises, and tell of its begin and its end."""
        self._tell(CallStarted, lane=self._lane)
        try:
            value = await running
        except BaseException as error:
            delivery = error.delivery if isinstance(error, HindsightError) else self._delivery
            self._end(type(error).__name__, delivery or Delivery.UNKNOWN)
            raise
        self._end(None, None)
        return value

    def waits(self, seconds: float) -> None:
        """Tell that the next attempt has to wait for the budget."""
        self._waits_since = self._time()
        self._tell(WaitingForBudget, attempt=self._attempt + 1, seconds=seconds)

    async def of_attempt(self, exchange: "Awaitable[Reply]", attempt: int) -> "Reply":
        """Return the answer to an attempt, or raise what it raises, and tell of both ends of it."""
        before, begun = self._delivery, self._time()
        self._attempt, self._status, self._waits_since = attempt, None, None
        # Until the transport says otherwise, by an answer, an error or `cut_off`, nothing has left.
        self._delivery = Delivery.NOT_SENT
        self._tell(AttemptSent, attempt=attempt, waited=self._call.waited)
        error: str | None = None
        try:
            reply = await exchange
            self._status = reply.status
            self._delivery = None if reply.status in _SUCCESS else delivery_of(reply.status)
        except BaseException as raised:
            error = type(raised).__name__
            if isinstance(raised, HindsightError):
                self._status, self._delivery = getattr(raised, "status", None), raised.delivery
            raise
        finally:
            seconds = self._time() - begun
            self._sent += seconds
            status, delivery = self._status, self._delivery
            self._tell(
                AttemptEnded, attempt=attempt, status=status, delivery=delivery, error=error, seconds=seconds
            )
            if before is Delivery.UNKNOWN and delivery is not None:
                self._delivery = before
        return reply

    def cut_off(self, delivery: Delivery) -> None:
        """Note of an attempt that is cancelled what it may have done."""
        self._delivery = delivery

    def pauses(self, seconds: float, delivery: Delivery) -> None:
        """Tell that the call is tried again."""
        self._tell(Paused, attempt=self._attempt, status=self._status, delivery=delivery, seconds=seconds)

    def _end(self, error: str | None, delivery: Delivery | None) -> None:
        now = self._time()
        total, status = now - self._began, self._status
        if delivery is Delivery.UNKNOWN and not self._call.endpoint.repeatable:
            self._tell(OutcomeUnknown, attempt=self._attempt, status=status, seconds=total)
        waited = self._call.waited + (0.0 if self._waits_since is None else now - self._waits_since)
        self._tell(
            CallEnded, attempts=self._attempt, status=status, delivery=delivery, error=error,
            waited=waited, sent=self._sent, total=total,
        )  # fmt: skip

    def _tell(self, kind: Callable[..., CallEvent], **fields: Any) -> None:
        event = kind(call=self._number, route=self._call.endpoint.route, **fields)
        log_event(event)
        self._observer.tell(event)
