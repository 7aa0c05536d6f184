"""What a file amounts to before anything is sent: good rows, bad rows, and who would be emailed."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from attrs import define, field

from hindsight_async.cli.contacts import BadRow, ContactRow
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.seen import SeenKeys
from hindsight_async.errors import RecipientNotAllowedError
from hindsight_async.resources.interviews.models import CreateInterview
from hindsight_async.resources.interviews.recipients import AllowedRecipients, interview_key

KEYS_PER_LOOKUP = 500

LINES_NAMED = 10
"""How many of the rows that the allow-list keeps back are named by their lines."""


@define
class Preflight:
    """How many rows are what; each row counts once.

    `emails` of those `to_send` email somebody; `not_allowed` are kept back by the allow-list, the first of them on
    the lines `not_allowed_on`; `first` holds the first requests that would go out.
    """

    bad: int = 0
    duplicates: int = 0
    to_send: int = 0
    emails: int = 0
    not_allowed: int = 0
    not_allowed_on: list[int] = field(factory=list[int])
    in_ledger: dict[LedgerStatus, int] = field(factory=dict[LedgerStatus, int])
    first: list[CreateInterview] = field(factory=list[CreateInterview])

    @property
    def rows(self) -> int:
        """How many rows a run gives a verdict."""
        return self.to_send + self.duplicates + self.not_allowed + sum(self.in_ledger.values())


FIRST_SHOWN = 3


async def check_file(
    rows: Iterable[ContactRow | BadRow],
    ledger: Ledger | None,
    allowed: AllowedRecipients,
    on_bad_row: Callable[[BadRow], None],
) -> Preflight:
    """Read all rows once, against each other, the ledger and the allow-list, in a run's order, and count them."""
    preflight = Preflight()
    index = 0
    with SeenKeys() as seen:
        coming = iter(rows)
        while batch := list(islice(coming, KEYS_PER_LOOKUP)):
            new: dict[str, ContactRow] = {}
            for row in batch:
                if isinstance(row, BadRow):
                    preflight.bad += 1
                    on_bad_row(row)
                    continue
                key = interview_key(row.request)
                if seen.first_index(key, index) == index:
                    new[key] = row
                else:
                    preflight.duplicates += 1
                index += 1
            known: Mapping[str, LedgerEntry] = {} if ledger is None else await ledger.known(new)
            for key, row in new.items():
                _count(preflight, row, known[key].status if key in known else None, allowed)
    return preflight


def _count(
    preflight: Preflight, row: ContactRow, status: LedgerStatus | None, allowed: AllowedRecipients
) -> None:
    request = row.request
    if status is not None and not status.may_be_sent:
        preflight.in_ledger[status] = preflight.in_ledger.get(status, 0) + 1
        return
    try:
        allowed.check(request.contact_email)
    except RecipientNotAllowedError:
        preflight.not_allowed += 1
        if len(preflight.not_allowed_on) < LINES_NAMED:
            preflight.not_allowed_on.append(row.line)
        return
    preflight.to_send += 1
    preflight.emails += request.sequence_id is not None
    if len(preflight.first) < FIRST_SHOWN:
        preflight.first.append(request)
