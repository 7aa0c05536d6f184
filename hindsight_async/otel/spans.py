"""A span of each call of one session, made from its events."""

from contextvars import Token
from typing import TYPE_CHECKING, Any

from attrs import define
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

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
from hindsight_async.otel.conventions import (
    ATTEMPT,
    BUDGET_WAIT,
    CALL,
    DELIVERY,
    ERROR_TYPE,
    LANE,
    OUTCOME_UNKNOWN,
    RESEND_COUNT,
    SECONDS,
    of_answer,
)
from hindsight_async.otel.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WAIT_SPAN = "wait for the rate budget"
ATTEMPT_EVENT = "hindsight.attempt"
PAUSE_EVENT = "hindsight.pause"


@define(eq=False)
class _OpenSpan:
    """Of a call that is not over."""

    span: Span
    token: Token[Context]
    """Takes the span out of the context again."""
    wait: Span | None = None
    """Of the wait for the budget that goes on."""


class CallSpans:
    """Listens to one session, whose calls it tells apart by their numbers.

    The span is the current one while the call runs, so that what is logged, measured or traced meanwhile belongs to it.

    Args:
        tracer: Makes the spans.
        origin: The session.

    """

    def __init__(self, tracer: Tracer, origin: Origin) -> None:
        self._tracer = tracer
        self._origin = origin
        self._open: dict[int, _OpenSpan] = {}
        self._on: Mapping[type, Callable[[Any], None]] = {
            CallStarted: self._begin,
            WaitingForBudget: self._wait,
            AttemptSent: self._end_wait,
            AttemptEnded: self._note_attempt,
            Paused: self._note_pause,
            OutcomeUnknown: self._note_unknown,
            CallEnded: self._end,
        }

    def __call__(self, event: CallEvent) -> None:
        """Take in what happened to a call."""
        self._on[type(event)](event)

    def _begin(self, event: CallStarted) -> None:
        attributes = self._origin.of_call(event.route) | self._origin.full_url(event.route)
        attributes |= {CALL: event.call, LANE: event.lane}
        span = self._tracer.start_span(event.route, kind=SpanKind.CLIENT, attributes=attributes)
        self._open[event.call] = _OpenSpan(span, context.attach(trace.set_span_in_context(span)))

    def _wait(self, event: WaitingForBudget) -> None:
        # One attempt may wait twice, where its turn lapsed.
        opened = self._open[event.call]
        self._end_wait(event)
        opened.wait = self._tracer.start_span(WAIT_SPAN, attributes={ATTEMPT: event.attempt})

    def _end_wait(self, event: CallEvent) -> None:
        opened = self._open[event.call]
        if opened.wait is not None:
            opened.wait.end()
            opened.wait = None

    def _note_attempt(self, event: AttemptEnded) -> None:
        if event.attempt == 1 and event.delivery is None:
            return  # of a first attempt that went well the span itself says all
        attributes = {ATTEMPT: event.attempt, SECONDS: event.seconds, **of_answer(event.status, event.error)}
        if event.delivery is not None:
            attributes[DELIVERY] = event.delivery.value
        self._open[event.call].span.add_event(ATTEMPT_EVENT, attributes)

    def _note_pause(self, event: Paused) -> None:
        attributes = {ATTEMPT: event.attempt, SECONDS: event.seconds}
        self._open[event.call].span.add_event(PAUSE_EVENT, attributes)

    def _note_unknown(self, event: OutcomeUnknown) -> None:
        self._open[event.call].span.set_attribute(OUTCOME_UNKNOWN, True)  # noqa: FBT003  positional there

    def _end(self, event: CallEnded) -> None:
        self._end_wait(event)
        opened = self._open.pop(event.call)
        span = opened.span
        if span.is_recording():
            attributes: dict[str, Any] = dict(of_answer(event.status, event.error))
            if event.attempts > 1:
                attributes[RESEND_COUNT] = event.attempts - 1
            if event.waited:
                attributes[BUDGET_WAIT] = event.waited
            if event.delivery is not None:
                attributes[DELIVERY] = event.delivery.value
            if event.error is not None:
                attributes.setdefault(ERROR_TYPE, event.error)
                span.set_status(StatusCode.ERROR)
            span.set_attributes(attributes)
        # A call that is thrown away unfinished may end in another context, where there is nothing to take out.
        if trace.get_current_span() is span:
            context.detach(opened.token)
        span.end()
