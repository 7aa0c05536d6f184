"""`instrument`: the one way in, for sessions and for queues."""

import asyncio
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from attrs import frozen
from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from hindsight_async.call.access import installed_version
from hindsight_async.otel.conventions import SCHEMA_URL, Attributes
from hindsight_async.otel.gauges import Gauges, Place
from hindsight_async.otel.measures import CallMeasures, Measures
from hindsight_async.otel.origin import Origin
from hindsight_async.otel.spans import CallSpans
from hindsight_async.session import HindsightSession

if TYPE_CHECKING:
    from hindsight_async.delivery.queue.queue import DurableQueue

SCOPE = "hindsight_async"


def instrument(
    target: "HindsightSession | DurableQueue[Any, Any]",
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    attributes: Attributes | None = None,
) -> None:
    """Tell OpenTelemetry of each call of a session and of its budget, or of a queue.

    A second time with the same target changes nothing. What it makes is on the page `docs/observability.md`.

    Args:
        target: A session, open or not, or what `interviews.queue` returned, inside its block.
        tracer_provider: Makes the spans; None for the global one.
        meter_provider: Makes the metrics; None for the global one.
        attributes: Of every span and metric of the target, such as the name of one organisation among several.

    Raises:
        TypeError: The target is neither, or a view (`with_options`).
        RuntimeError: It is a queue, and no event loop runs.

    """
    meters = _of_provider(meter_provider)
    if isinstance(target, HindsightSession):
        if not meters.gauges.watches(target):
            _listen(target, tracer_provider, meters, attributes or {})
    elif _is_queue(target):
        meters.gauges.watch_queue(target, Place(asyncio.get_running_loop()), attributes or {})
    else:
        raise TypeError(f"instrument a HindsightSession or a queue, not {type(target).__name__}")


def _listen(
    session: HindsightSession,
    tracer_provider: TracerProvider | None,
    meters: "_Meters",
    attributes: Attributes,
) -> None:
    tracer = trace.get_tracer(SCOPE, installed_version(), tracer_provider, SCHEMA_URL)
    place, origin = Place(_running_loop()), Origin(session, attributes)
    # In this order: what is measured at the end of a call is measured within its span.
    session.listen(place.follow)
    session.listen(CallMeasures(meters.measures, origin))
    session.listen(CallSpans(tracer, origin))
    meters.gauges.watch_session(session, place, origin)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _is_queue(target: object) -> bool:
    # Where nobody loaded its module, as without the extra `bulk`, nothing is one.
    module = sys.modules.get("hindsight_async.delivery.queue.queue")
    return module is not None and isinstance(target, module.DurableQueue)


@frozen
class _Meters:
    """All instruments of one provider: it takes a second one of the same name for a mistake."""

    measures: Measures
    gauges: Gauges


_GLOBAL_METERS: list[_Meters] = []
_METERS: WeakKeyDictionary[MeterProvider, _Meters] = WeakKeyDictionary()


def _of_provider(given: MeterProvider | None) -> _Meters:
    # Before a program sets the global one, a stand-in takes its place: what is made of that becomes what is made of it.
    if given is None or given is metrics.get_meter_provider():
        if not _GLOBAL_METERS:
            _GLOBAL_METERS.append(_meters_of(None))
        return _GLOBAL_METERS[0]
    if given not in _METERS:
        _METERS[given] = _meters_of(given)
    return _METERS[given]


def _meters_of(provider: MeterProvider | None) -> _Meters:
    meter = metrics.get_meter(SCOPE, installed_version(), provider, SCHEMA_URL)
    return _Meters(Measures(meter), Gauges(meter))
