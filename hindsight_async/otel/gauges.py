"""How budgets and queues stand, whenever somebody collects metrics: mostly in a thread of its own."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from attrs import define
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from hindsight_async.call.events import CallEvent, CallStarted
from hindsight_async.otel.conventions import LANE, Attributes, Value
from hindsight_async.otel.origin import Origin
from hindsight_async.session import HindsightSession

if TYPE_CHECKING:
    from hindsight_async.delivery.queue.models import QueueSnapshot
    from hindsight_async.delivery.queue.queue import DurableQueue
    from hindsight_async.rate import BudgetSnapshot

T = TypeVar("T")

LOOP_ANSWERS_WITHIN: Final = 0.5
"""Seconds for which the thread that collects waits for an event loop."""

LEFT_ALONE_FOR: Final = 5.0
"""Seconds for which a loop that did not answer in time is not asked again: it may be what waits for the collection."""


def _age(queue: "QueueSnapshot") -> float:
    return 0.0 if queue.oldest is None else max(0.0, (datetime.now(UTC) - queue.oldest).total_seconds())


def _by_lane(budget: "BudgetSnapshot") -> dict[str, float]:
    return {str(lane): number for lane, number in budget.queued.items()}


_OF_BUDGETS: "Sequence[tuple[str, str, str, Callable[[BudgetSnapshot], float | dict[str, float]]]]" = (
    ("hindsight.client.budget.limit", "{request}", "Requests per minute.", lambda budget: budget.limit),
    (
        "hindsight.client.budget.free",
        "{request}",
        "Requests that may leave at once.",
        lambda budget: budget.free_now,
    ),
    (
        "hindsight.client.budget.in_flight",
        "{request}",
        "Requests under way.",
        lambda budget: budget.in_flight,
    ),
    ("hindsight.client.budget.queued", "{request}", "Requests that wait for the budget.", _by_lane),
)
_OF_QUEUES: "Sequence[tuple[str, str, str, Callable[[QueueSnapshot], float]]]" = (
    ("hindsight.client.queue.length", "{row}", "Rows to be sent.", lambda queue: queue.queued),
    ("hindsight.client.queue.oldest.age", "s", "Since the oldest of them was put.", _age),
    (
        "hindsight.client.queue.paused",
        "1",
        "1 until somebody lifts its pause.",
        lambda queue: queue.paused_because is not None,
    ),
)


@define(eq=False)
class Place:
    """The event loop in whose thread alone a budget or a queue may be looked at."""

    loop: asyncio.AbstractEventLoop | None = None
    _asked_again_at: float = 0.0

    def follow(self, event: CallEvent) -> None:
        """Note on which loop a session's calls run: one session may serve one after another."""
        if isinstance(event, CallStarted):
            self.loop = asyncio.get_running_loop()

    def read(self, look: Callable[[], T]) -> T | None:
        """Return what is seen; None where the loop does not run, or has no time."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        loop = self.loop
        if loop is not None and running is loop:
            return _seen(look)
        if loop is None or not loop.is_running() or time.monotonic() < self._asked_again_at:
            return None
        seen: Future[T | None] = Future()
        try:
            loop.call_soon_threadsafe(_answer, seen, look)
            return seen.result(LOOP_ANSWERS_WITHIN)
        except TimeoutError:
            seen.cancel()
            self._asked_again_at = time.monotonic() + LEFT_ALONE_FOR
        except RuntimeError:  # the loop was closed meanwhile
            pass
        return None


def _answer(seen: "Future[T | None]", look: Callable[[], T]) -> None:
    if seen.set_running_or_notify_cancel():
        seen.set_result(_seen(look))


def _seen(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except RuntimeError:  # a queue's block has ended
        return None


@define(eq=False)
class _Watched:
    place: Place
    attributes: Callable[[], Attributes]


class Gauges:
    """The observable instruments of a meter: one set for all sessions and queues, none of which it keeps alive."""

    def __init__(self, meter: Meter) -> None:
        self._sessions: WeakKeyDictionary[HindsightSession, _Watched] = WeakKeyDictionary()
        self._queues: WeakKeyDictionary[DurableQueue[Any, Any], _Watched] = WeakKeyDictionary()
        for name, unit, description, of_budget in _OF_BUDGETS:
            meter.create_observable_gauge(name, [_over(self._budgets, of_budget)], unit, description)
        for name, unit, description, of_queue in _OF_QUEUES:
            meter.create_observable_gauge(name, [_over(self._rows, of_queue)], unit, description)

    def watches(self, session: HindsightSession) -> bool:
        """Tell whether its budget is observed already."""
        return session in self._sessions

    def watch_session(self, session: HindsightSession, place: Place, origin: Origin) -> None:
        """Observe the session's budget from now on, once where it is several sessions'."""
        self._sessions[session] = _Watched(place, origin.attributes)

    def watch_queue(self, queue: "DurableQueue[Any, Any]", place: Place, attributes: Attributes) -> None:
        """Observe a queue from now on, until its block ends."""
        self._queues[queue] = _Watched(place, lambda: attributes)

    def _budgets(self) -> "Iterable[tuple[Attributes, BudgetSnapshot]]":
        seen: set[int] = set()
        for session, watched in list(self._sessions.items()):
            if id(session.budget) not in seen:
                seen.add(id(session.budget))
                snapshot = watched.place.read(session.budget.snapshot)
                if snapshot is not None:
                    yield watched.attributes(), snapshot

    def _rows(self) -> "Iterable[tuple[Attributes, QueueSnapshot]]":
        for queue, watched in list(self._queues.items()):
            snapshot = watched.place.read(queue.snapshot)
            if snapshot is not None:
                yield watched.attributes(), snapshot


def _over(
    snapshots: Callable[[], Iterable[tuple[Attributes, T]]], values: Callable[[T], "float | dict[str, float]"]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Return what observes these values of all snapshots: by lane where they have lanes, summed where all else is alike."""

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        sums: dict[frozenset[tuple[str, Value]], float] = {}
        for attributes, snapshot in snapshots():
            seen = values(snapshot)
            by_lane = seen if isinstance(seen, dict) else {"": seen}
            for lane, value in by_lane.items():
                key = frozenset({**attributes, **({LANE: lane} if lane else {})}.items())
                sums[key] = sums.get(key, 0) + value
        return [Observation(value, dict(key)) for key, value in sums.items()]

    return observe
