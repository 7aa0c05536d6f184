"""A row of a queue on its way: as in `delivery.row`, with the key that it has in the ledger and a time for the next try."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from attrs import define, field

from hindsight_async.delivery.ledger.queue_rows import DueRow
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.delivery.queue.pauses import pause_before_next_try, pauses_the_queue
from hindsight_async.delivery.row import Row
from hindsight_async.errors import SessionClosedError

Request = TypeVar("Request")
Response = TypeVar("Response")

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
