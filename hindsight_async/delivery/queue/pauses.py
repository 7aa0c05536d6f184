"""When a queue tries a row again, and which errors pause the whole queue; plain functions of plain values."""

from typing import Any, Final

from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus, counts_against_the_run, ends_the_run
from hindsight_async.errors import LedgerError, NotSentError, RecipientNotAllowedError, SessionClosedError

FIRST_PAUSE: Final = 5.0
"""Seconds until a row that was not sent is tried again; each further pause is twice as long."""

LONGEST_PAUSE: Final = 900.0
"""Seconds beyond which no pause grows."""

JITTER_SHARE: Final = 0.2
"""The part of a pause that is random, so that what failed together does not come back together."""


def pause_before_next_try(outcome: Outcome[Any, Any], pauses: int, random: float) -> float:
    """Return in how many seconds a row that was not sent may be tried again.

    Args:
        outcome: What became of it, with the status NOT_SENT.
        pauses: How many pauses were made before.
        random: A number in [0, 1).

    """
    error = outcome.error
    if isinstance(error, RecipientNotAllowedError):
        # Somebody has to change a list first.
        pause = LONGEST_PAUSE
    else:
        # The exponent is bounded too: a row may be tried for days.
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(pauses, 30))
    asked = getattr(error, "retry_after", None)
    return max(pause * (1 - JITTER_SHARE * random), min(asked or 0.0, LONGEST_PAUSE))


def pauses_the_queue(outcome: Outcome[Any, Any], *, creating: bool) -> bool:
    """Return whether no other row would escape what this one met, until a person does something."""
    error = outcome.error
    if error is None or isinstance(error, (LedgerError, SessionClosedError)):
        return False
    return counts_against_the_run(outcome) and ends_the_run(error, creating=creating)


def is_passing(outcome: Outcome[Any, Any]) -> bool:
    """Return whether a row was only not sent for now, which says nothing of other rows, however many meet it.

    It passes by itself, so that nobody has to lift a pause.
    """
    return outcome.status is OutcomeStatus.NOT_SENT and isinstance(outcome.error, NotSentError)
