"""What a bulk run writes down about each row before and after it is sent."""

import enum
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from attrs import field, frozen

from hindsight_async.delivery.outcomes import Outcome

Row = TypeVar("Row")


class LedgerStatus(enum.StrEnum):
    """What the ledger knows of a row."""

    PLANNED = enum.auto()
    """Seen, and not yet sent."""
    SENDING = enum.auto()
    """About to be sent, or on its way."""
    CREATED = enum.auto()
    """The API made the interview."""
    REJECTED = enum.auto()
    """The API said no."""
    NOT_SENT = enum.auto()
    """Given up before anything was sent; safe to send."""
    UNKNOWN = enum.auto()
    """Sent, and no answer: a person may have been emailed."""

    @property
    def may_be_sent(self) -> bool:
        """Whether a request for the row may leave; the ledger's statements ask this too."""
        return self in {LedgerStatus.PLANNED, LedgerStatus.NOT_SENT}


@frozen(kw_only=True)
class LedgerRow:
    """What is about to be sent: `key` tells one interview of one person from every other.

    `contact_email` is the normalised address; `row_index` counts from 0 in the input.
    """

    key: str
    row_index: int
    contact_email: str = field(repr=False)
    sequence_id: str | None = None
    interview_type_id: str | None = None
    deal_id: str | None = None


@frozen(kw_only=True)
class LedgerEntry:
    """What the ledger knows of a row.

    `contact_email` is None where only `address_hash`, the SHA-256 of the normalised address in hex,
    is stored; the hash is not salted, since `key` is made from the address too. `attempts` counts
    over all runs; the times are aware datetimes.

    What the last answer said: `contact_id` and `interview_status` of a created interview (None where a person said
    that it was created), and of a failure `http_status` (None where no answer came), `error_code` (the API's own, else
    the class of an error that is not the API's), `error_message` and `received`, what could be read of an answer that
    was no whole one. No address and no survey link is in them.

    What a claim alone tells: `in_hand` says that another caller has the row right now, and `lease_seconds` how long
    it is theirs should they die, where the ledger is in a database; else None.
    """

    key: str
    row_index: int
    contact_email: str | None = field(repr=False)
    address_hash: str = field(repr=False)
    sequence_id: str | None
    interview_type_id: str | None
    deal_id: str | None
    status: LedgerStatus = field(converter=LedgerStatus)
    interview_request_id: int | None
    contact_id: str | None = None
    interview_status: str | None = None
    http_status: int | None = None
    error_code: str | None
    error_message: str | None = None
    received: Mapping[str, Any] = field(factory=dict[str, Any], hash=False)
    attempts: int
    planned_at: datetime
    sending_at: datetime | None
    finished_at: datetime | None
    in_hand: bool = False
    lease_seconds: float | None = None

    @property
    def may_be_sent(self) -> bool:
        """Whether whoever claimed the row may send it."""
        return self.status.may_be_sent and not self.in_hand


class RowJournal(Protocol[Row]):
    """What is written down before and after each row is sent."""

    async def plan(self, rows: Mapping[str, tuple[int, Row]]) -> Mapping[str, LedgerEntry]:
        """Return what is known of these keys from before, and note the others as planned."""
        ...

    async def sending(self, key: str) -> None:
        """Note, durably, that this row is about to leave."""
        ...

    async def not_processed(self, outcome: Outcome[Row, Any]) -> None:
        """Note, durably, that nothing came of this row so far, and that it will be sent again."""
        ...

    async def finished(self, outcome: Outcome[Row, Any]) -> None:
        """Note, durably, what became of this row."""
        ...


class Journal(RowJournal[Row], Protocol[Row]):
    """What a bulk run writes down from its beginning to its end."""

    @property
    def recorded_late(self) -> Collection[str]:
        """The keys of rows whose `finished` failed, and was made good by a later try, at `close` at the latest."""
        ...

    async def open(self) -> None:
        """Begin a run; raises LedgerError where it cannot be written."""
        ...

    async def close(self) -> None:
        """Try once more to record what could not be, and end the run."""
        ...


class NoJournal(Generic[Row]):
    """No memory beyond the run."""

    recorded_late: Collection[str] = ()

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def plan(self, rows: Mapping[str, tuple[int, Row]]) -> Mapping[str, LedgerEntry]:
        """Know nothing."""
        del rows
        return {}

    async def sending(self, key: str) -> None:
        """Write nothing down."""

    async def not_processed(self, outcome: Outcome[Row, Any]) -> None:
        """Treat it as any other outcome."""
        await self.finished(outcome)

    async def finished(self, outcome: Outcome[Row, Any]) -> None:
        """Write nothing down."""
