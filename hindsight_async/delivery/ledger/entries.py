"""What the ledger says of a row, and which statuses let it be sent: said here, and nowhere else.

status     what it means                                          may it be sent?
planned    seen, and not yet sent                                 by whoever has claimed it
queued     a queue has accepted it, with its body                 by whoever has claimed it
sending    about to leave, or on its way                          no; `unknown` once its run is dead
created    the API made the interview                             no
rejected   the API said no                                        once a person says so (`Ledger.resolve`)
not_sent   nothing left, or provably nothing came of what did     by whoever has claimed it
unknown    it left, and no answer said what became of it          once a person says so (`Ledger.resolve`)
duplicate  the person has another interview (`claims`)            where the next claim finds none any more
expired    it was queued too long, or its person was forgotten    once a person says so (`Ledger.resolve`)

With which of them a call that failed ends its row, `delivery.outcomes.status_of` says. In a database a run that was
wrongly taken for dead, and so left a row `unknown`, may still say what became of it, also that nothing did (`leases`).

"Claimed" is no status: that one caller at a time has a row is a run's memory and, in a database, its lease.
"""

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen


class LedgerStatus(enum.StrEnum):
    """What the ledger knows of a row."""

    PLANNED = enum.auto()
    """Seen, and not yet sent."""
    QUEUED = enum.auto()
    """Accepted by a queue, which has its body and sends it."""
    SENDING = enum.auto()
    """About to be sent, or on its way."""
    CREATED = enum.auto()
    """The API made the interview."""
    REJECTED = enum.auto()
    """The API said no to this row."""
    NOT_SENT = enum.auto()
    """Given up before the API took it; safe to send."""
    UNKNOWN = enum.auto()
    """Sent, and no answer that says what became of it (none, a 5xx, a 408), or its run died: perhaps somebody was emailed."""
    DUPLICATE = enum.auto()
    """Not sent: the person has another interview within the time that `once_per_contact_within` gives."""
    EXPIRED = enum.auto()
    """Not sent: it was queued for longer than the queue's `max_age`, or its person was forgotten meanwhile."""

    @property
    def may_be_sent(self) -> bool:
        """Whether a request for the row may leave; the ledger's statements ask this too."""
        return self in {LedgerStatus.PLANNED, LedgerStatus.QUEUED, LedgerStatus.NOT_SENT}


MAY_BE_SENT: Final = tuple(status for status in LedgerStatus if status.may_be_sent)
MAY_BE_RESOLVED: Final = (
    LedgerStatus.UNKNOWN,
    LedgerStatus.REJECTED,
    LedgerStatus.DUPLICATE,
    LedgerStatus.EXPIRED,
)
"""What a person alone may make `not_sent`, and so have sent again: nothing of it was to be by itself."""

MAY_FINISH: Final = (*MAY_BE_SENT, LedgerStatus.SENDING)
"""The statuses that a row may have before it ends."""

FINISHED: Final = (
    LedgerStatus.CREATED,
    LedgerStatus.REJECTED,
    LedgerStatus.NOT_SENT,
    LedgerStatus.UNKNOWN,
    LedgerStatus.DUPLICATE,
    LedgerStatus.EXPIRED,
)
"""The statuses with which a row ends."""


@frozen(kw_only=True)
class LedgerRow:
    """What the ledger keeps of a request."""

    key: str
    """Tells one interview of one person from every other."""

    row_index: int
    """Its place in the input, from 0."""

    contact_email: str = field(repr=False)
    """The normalised address."""

    sequence_id: str | None = None
    interview_type_id: str | None = None
    deal_id: str | None = None
    caller_key: str | None = field(default=None, repr=False)
    """The caller's own text, of which `key` is the hash; None where `key` is made from the request."""

    request: Mapping[str, Any] = field(factory=dict[str, Any], repr=False, hash=False)
    """The body, where a queue is to send it later; else empty."""


@frozen(kw_only=True)
class LedgerEntry:
    """What the ledger knows of a row; no survey link is in it."""

    key: str
    row_index: int
    contact_email: str | None = field(repr=False)
    """None where only its hash is stored."""

    address_hash: str = field(repr=False)
    """The SHA-256 of the normalised address in hex; not salted, since `key` is made from the address too."""

    sequence_id: str | None
    interview_type_id: str | None
    deal_id: str | None
    caller_key: str | None = field(default=None, repr=False)
    """The caller's own text, of which `key` is the hash; None where it had none, or it is not stored."""

    status: LedgerStatus = field(converter=LedgerStatus)
    interview_request_id: int | None
    contact_id: str | None = None
    interview_status: str | None = None
    """Both of a created interview, the status as it was read last; None where a person said that it was created."""

    http_status: int | None = None
    """Of a failure; None where no answer came."""

    error_code: str | None
    """The API's own, else the class of an error that is not the API's."""

    error_message: str | None = None
    """Without addresses."""

    received: Mapping[str, Any] = field(factory=dict[str, Any], hash=False)
    """What could be read of an answer that was no whole one, without addresses."""

    attempts: int
    """How many times it was tried, over all runs."""

    planned_at: datetime
    sending_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None = None
    """When a queue tries it next at the soonest; None for at once. All four are aware."""

    pauses: int = 0
    """How many pauses a queue has made since it last got through to the API with it; the next one is longer."""

    read_at: datetime | None = None
    """When `hindsight-async status` or `transcripts` read the interview last; None for never."""

    completed_at: datetime | None = None
    """Since when the interview is completed, as far as these know. Both are aware."""

    in_hand: bool = False
    """Whether another caller has the row right now; told by a claim alone."""

    lease_seconds: float | None = None
    """How long it is theirs should they die; told by a claim alone, where the ledger is in a database."""

    @property
    def may_be_sent(self) -> bool:
        """Whether whoever claimed the row may send it."""
        return self.status.may_be_sent and not self.in_hand

    @property
    def may_be_claimed(self) -> bool:
        """Whether a claim is to decide if the row may be sent."""
        return self.may_be_sent or (self.status is LedgerStatus.DUPLICATE and not self.in_hand)


@frozen(kw_only=True)
class Forgotten:
    """What was removed of a person (`Ledger.forget`), as numbers."""

    rows: int
    """Rows of theirs, all of which stay, without what names them."""

    addresses: int
    requests: int
    """Bodies that a queue kept."""

    caller_keys: int
    """Texts of keys of the caller's own."""

    contexts: int
    """Contexts that were remembered."""

    expired: int
    """Rows that were still to be sent, and are not any more."""

    vacuumed: bool = True
    """Whether the database has let go of the removed bytes; False where PostgreSQL could not do so now."""
