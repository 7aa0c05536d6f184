"""What a file amounts to before anything is sent: good rows, bad rows, and who would be emailed."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from attrs import define, field

from hindsight_async.addresses import interview_key
from hindsight_async.contacts import BadRow, ContactRow
from hindsight_async.journal import LedgerEntry, LedgerStatus
from hindsight_async.ledger import Ledger
from hindsight_async.models import CreateInterview
from hindsight_async.seen import SeenKeys

KEYS_PER_LOOKUP = 500


@define
class Stock:
    """How many rows are what; `first` holds the first requests that would go out."""

    bad: int = 0
    duplicates: int = 0
    to_send: int = 0
    emails: int = 0
    in_ledger: dict[LedgerStatus, int] = field(factory=dict[LedgerStatus, int])
    first: list[CreateInterview] = field(factory=list[CreateInterview])


FIRST_SHOWN = 3


async def take_stock(
    rows: Iterable[ContactRow | BadRow], ledger: Ledger | None, on_bad_row: Callable[[BadRow], None]
) -> Stock:
    """Read all rows once, against each other and against the ledger, and count them."""
    stock = Stock()
    index = 0
    with SeenKeys() as seen:
        coming = iter(rows)
        while batch := list(islice(coming, KEYS_PER_LOOKUP)):
            new: dict[str, CreateInterview] = {}
            for row in batch:
                if isinstance(row, BadRow):
                    stock.bad += 1
                    on_bad_row(row)
                    continue
                key = interview_key(row.request)
                if seen.first_index(key, index) == index:
                    new[key] = row.request
                else:
                    stock.duplicates += 1
                index += 1
            known: Mapping[str, LedgerEntry] = {} if ledger is None else await ledger.known(new)
            for key, request in new.items():
                _count(stock, request, known[key].status if key in known else None)
    return stock


def _count(stock: Stock, request: CreateInterview, status: LedgerStatus | None) -> None:
    if status is not None and not status.may_be_sent:
        stock.in_ledger[status] = stock.in_ledger.get(status, 0) + 1
        return
    stock.to_send += 1
    stock.emails += request.sequence_id is not None
    if len(stock.first) < FIRST_SHOWN:
        stock.first.append(request)
