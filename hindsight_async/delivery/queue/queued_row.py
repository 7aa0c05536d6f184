"""A row of a queue: as in `delivery.row`, with its key in the ledger, a time for the next try, and who is told of its end."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from inspect import isawaitable
from typing import Any, TypeVar, cast

from attrs import define, field

from hindsight_async.delivery.ledger.queue_rows import DueRow
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.delivery.queue.pauses import pause_before_next_try, pauses_the_queue
from hindsight_async.delivery.row import Row
from hindsight_async.errors import SessionClosedError

Request = TypeVar("Request")
Response = TypeVar("Response")

logger = logging.getLogger("hindsight_async.delivery")

OnOutcome = Callable[[Outcome[Any, Any]], object]
"""A function, or an asynchronous one, that is told what became of a row."""

Clock = Callable[[], datetime]
"""Returns the time as an aware datetime."""


@define(eq=False)
class QueuedRow(Row[Request, Response]):
    """A row that comes from the ledger, with the key that it has there."""

    due: DueRow = field(kw_only=True)
    now: Clock = field(kw_only=True)
    random: Callable[[], float] = field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.key, self.caller_key = self.due.entry.key, self.due.entry.caller_key

    def kept_beside(self, outcome: Outcome[Request, Response]) -> Mapping[str, Any]:
        """Return when it is tried again, where it was not sent for a passing reason."""
        is_create, pauses = self.kind.is_create, self.due.entry.pauses
        if outcome.status is not OutcomeStatus.NOT_SENT or self.given_up:
            return {"pauses": pauses}
        if isinstance(outcome.error, SessionClosedError) or pauses_the_queue(outcome, creating=is_create):
            # Whoever opens it again, or lifts the pause, wants it sent at once.
            return {"pauses": pauses}
        pause = pause_before_next_try(outcome, pauses, self.random())
        return {"due_at": self.now() + timedelta(seconds=pause), "pauses": pauses + 1}


async def tell(on_outcome: OnOutcome | None, outcome: Outcome[Any, Any], key: str) -> None:
    """Tell somebody what became of a row; what they raise is logged, by the ledger's key, and changes nothing."""
    if on_outcome is None:
        return
    try:
        told = on_outcome(outcome)
        if isawaitable(told):
            await cast("Awaitable[object]", told)
    except Exception:
        logger.exception("on_outcome raised for row %s of the queue", key)
