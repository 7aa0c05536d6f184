"""The rows that a run did not get to: what the ledger knows of them, so that its results have every row."""

from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import islice
from typing import Final

from attrs import frozen

from hindsight_async.cli.contacts import BadRow, ContactRow, UpdateRow
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.kept_errors import error_of
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import HindsightError, LedgerError

ROWS_PER_LOOKUP: Final = 500
"""How many rows are looked up at a time."""

NOT_REACHED: Final = "the run ended before its turn"

_WITH_AN_ERROR = {
    LedgerStatus.REJECTED: OutcomeStatus.ALREADY_DONE,
    LedgerStatus.EXPIRED: OutcomeStatus.ALREADY_DONE,
    LedgerStatus.UNKNOWN: OutcomeStatus.UNKNOWN,
}


@frozen(kw_only=True)
class Remaining:
    """A row that the run did not get to, as an outcome of its own would have told it."""

    row: ContactRow | UpdateRow
    status: OutcomeStatus
    number: int | None = None
    """The interview's id, where an earlier run made it."""
    error: HindsightError | None = None
    """What an earlier run met."""

    @property
    def said(self) -> str | None:
        """What the results say of it."""
        if self.error is not None:
            return str(self.error)
        return NOT_REACHED if self.status is OutcomeStatus.NOT_SENT else None


async def verdicts(
    rows: Iterable[ContactRow | UpdateRow | BadRow], ledger: Ledger | None
) -> AsyncIterator[Remaining | BadRow]:
    """Yield what is known of each row; nothing any more where the ledger cannot be asked, since it may know better.

    Args:
        rows: Them.
        ledger: Of the run, which is over; None for none.

    """
    coming = iter(rows)
    while batch := list(islice(coming, ROWS_PER_LOOKUP)):
        known: Mapping[str, LedgerEntry] = {}
        if ledger is not None:
            keys = [row.ledger_key for row in batch if isinstance(row, ContactRow)]
            try:
                known = await ledger.known(keys)
            except LedgerError:
                return
        for row in batch:
            if isinstance(row, BadRow):
                yield row
            else:
                entry = known.get(row.ledger_key) if isinstance(row, ContactRow) else None
                yield _verdict(row, entry)


def _verdict(row: ContactRow | UpdateRow, entry: LedgerEntry | None) -> Remaining:
    if entry is None or entry.status.may_be_sent:
        return Remaining(row=row, status=OutcomeStatus.NOT_SENT)
    if entry.status is LedgerStatus.CREATED:
        return Remaining(row=row, status=OutcomeStatus.ALREADY_DONE, number=entry.interview_request_id)
    if entry.status is LedgerStatus.DUPLICATE:
        return Remaining(row=row, status=OutcomeStatus.DUPLICATE)
    if entry.status is LedgerStatus.SENDING:  # in a database; in a file it would be unknown by now
        return Remaining(row=row, status=OutcomeStatus.CLAIMED)
    return Remaining(row=row, status=_WITH_AN_ERROR[entry.status], error=error_of(entry, None))
