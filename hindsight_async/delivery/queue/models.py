"""What a queue tells: of a request that was put, and of itself."""

from datetime import datetime

from attrs import field, frozen

from hindsight_async.delivery.ledger.entries import LedgerStatus


@frozen(kw_only=True)
class Accepted:
    """What a queue says of a request that was put."""

    key: str = field(repr=False)
    """The caller's own, else the ledger's."""

    is_new: bool
    """Whether this put made the row; a later one of the same key changes nothing."""

    status: LedgerStatus
    """`queued` where it is new; else what became of the row so far."""

    interview_request_id: int | None = None
    """Of a created interview."""


@frozen(kw_only=True)
class QueueSnapshot:
    """A queue at one moment, as of a second ago at most."""

    queued: int
    """How many rows are to be sent, now or after a pause of their own."""

    in_flight: int
    """How many requests of this process are on their way."""

    oldest: datetime | None
    """When the oldest of the queued rows was put, aware; None where there is none."""

    is_sending: bool
    """Whether this process still sends what is due: not any more once its session was closed, or a bug has ended it."""

    paused_because: str | None
    """Why nothing is sent until somebody lifts that; None where it is not paused."""

    paused_at: datetime | None

    trouble: str | None
    """Why the ledger cannot serve for now, which passes by itself; None where it can."""

    last_error: str | None
    """What the last row met that did not become an interview; None once one does."""

    seconds_to_empty: float
    """At this plan, where nobody else uses it and nothing more is put."""
