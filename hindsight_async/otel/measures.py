"""The metrics of one session's calls, made from its events."""

from typing import Final

from opentelemetry.metrics import Histogram, Meter

from hindsight_async.call.events import AttemptEnded, CallEnded, CallEvent
from hindsight_async.otel.conventions import OUTCOME, SUCCESS, of_answer
from hindsight_async.otel.origin import Origin

REQUEST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The buckets that the conventions ask for."""

CALL_SECONDS: Final = (*REQUEST_SECONDS, 15, 30, 60, 120, 300)
"""A call waits for its budget, for minutes too."""

WAIT_SECONDS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300)


class Measures:
    """The instruments of a meter; all sessions share them."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str, buckets: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(
                name, unit="s", description=description, explicit_bucket_boundaries_advisory=buckets
            )

        self.requests = seconds(
            "http.client.request.duration", "Duration of HTTP client requests.", REQUEST_SECONDS
        )
        self.calls = seconds(
            "hindsight.client.call.duration", "Duration of calls with all attempts and waiting.", CALL_SECONDS
        )
        self.waits = seconds(
            "hindsight.client.budget.wait.duration",
            "What calls waited for the rate budget, where they did.",
            WAIT_SECONDS,
        )


class CallMeasures:
    """Listens to one session.

    Args:
        measures: Where to record.
        origin: The session.

    """

    def __init__(self, measures: Measures, origin: Origin) -> None:
        self._measures = measures
        self._origin = origin

    def __call__(self, event: CallEvent) -> None:
        """Take in what happened to a call."""
        if isinstance(event, AttemptEnded):
            answer = of_answer(event.status, event.error)
            self._measures.requests.record(event.seconds, {**self._origin.of_call(event.route), **answer})
        elif isinstance(event, CallEnded):
            attributes = self._origin.of_call(event.route)
            if event.waited:
                self._measures.waits.record(event.waited, attributes)
            outcome = SUCCESS if event.delivery is None else event.delivery.value
            answer = of_answer(event.status, event.error)
            self._measures.calls.record(event.total, {**attributes, OUTCOME: outcome, **answer})
