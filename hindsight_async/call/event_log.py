"""What the log says of a call's events."""

import logging

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

logger = logging.getLogger("hindsight_async.call")

LONG_CALL_WAIT = 5.0
"""Seconds of waiting for the rate budget from which on a call that went well is worth a line at INFO."""


def log_event(event: CallEvent) -> None:
    """Write a line: at INFO where a call was repeated, waited long or failed, at DEBUG for all else."""
    level = logging.INFO if _is_worth_a_line(event) else logging.DEBUG
    if logger.isEnabledFor(level):
        logger.log(level, "call %d, %s: %s", event.call, event.route, _told(event))


def _is_worth_a_line(event: CallEvent) -> bool:
    # The end of a call tells what the events before it do; but of a pause who waits wants to know at once.
    if isinstance(event, CallEnded):
        return event.error is not None or event.attempts > 1 or event.waited >= LONG_CALL_WAIT
    return isinstance(event, Paused | OutcomeUnknown)


def _told(event: CallEvent) -> str:
    match event:
        case CallStarted(lane=lane):
            told = f"started ({lane})"
        case WaitingForBudget(attempt=attempt, seconds=seconds):
            told = f"attempt {attempt} waits for the rate budget, about {seconds:.1f} s"
        case AttemptSent(attempt=attempt):
            told = f"attempt {attempt} is sent"
        case AttemptEnded(attempt=attempt, seconds=seconds):
            told = f"attempt {attempt} had {_answer(event)} after {seconds:.3f} s"
        case Paused(attempt=attempt, seconds=seconds):
            told = f"attempt {attempt} had {_answer(event)}; the next is due in {seconds:.1f} s"
        case CallEnded(attempts=attempts, waited=waited, sent=sent, total=total):
            how = "ended well" if event.error is None else f"ended with {event.error}"
            took = f"{total:.3f} s ({waited:.3f} waiting for the rate budget, {sent:.3f} sent)"
            told = f"{how} after {attempts} attempt{'s' * (attempts != 1)} in {took}: {_answer(event)}"
        case OutcomeUnknown(attempt=attempt):
            told = f"what became of attempt {attempt} is unknown"
    return told


def _answer(event: AttemptEnded | Paused | CallEnded) -> str:
    answer = "no answer" if event.status is None else f"status {event.status}"
    return answer if event.delivery is None else f"{answer} (delivery {event.delivery.value})"
