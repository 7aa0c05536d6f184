"""What a file amounts to before anything is sent: good rows, bad rows, and who would be emailed."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from attrs import define, field

from hindsight_async.cli.contacts import BadRow, ContactRow
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.input import SeenKeys
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import RecipientNotAllowedError
from hindsight_async.resources.interviews.models import CreateInterview
from hindsight_async.resources.interviews.recipients import AllowedRecipients, interview_key

KEYS_PER_LOOKUP = 500
"""How many rows are looked up in the ledger at a time, which bounds what a file of any length takes in memory."""

LINES_NAMED = 10
"""How many of the rows that the allow-list keeps back are named by their lines."""

REQUESTS_SHOWN = 3
"""How many of the first requests a dry run shows."""


@define
class Preflight:
    """How many rows are what; each row counts once."""

    bad: int = 0
    """Cannot be read as a request."""
    duplicates: int = 0
    """Ask for the same contact and interview as an earlier row."""
    to_send: int = 0
    """Would be sent."""
    emails: int = 0
    """Those of `to_send` that name a sequence, and so email somebody."""
    not_allowed: int = 0
    """Kept back by the allow-list."""
    not_allowed_on: list[int] = field(factory=list[int])
    """The lines of the first LINES_NAMED of them: their addresses stay out of what is printed."""
    in_ledger: dict[LedgerStatus, int] = field(factory=dict[LedgerStatus, int])
    """Not sent again, by what the ledger knows of them."""
    first: list[CreateInterview] = field(factory=list[CreateInterview])
    """The first REQUESTS_SHOWN that would go out."""

    @property
    def rows(self) -> int:
        """How many rows a run gives a verdict."""
        return self.to_send + self.duplicates + self.not_allowed + sum(self.in_ledger.values())


def report(row: BadRow) -> None:
    """Say what is wrong with a row."""
    say(f"line {row.line}: {row.problem}")


def refuse_bad_rows(bad: int) -> ExitCode:
    """Say that so many bad rows hold all others back; return the exit code for that."""
    return refuse(
        f"{counted(bad, 'row')} cannot be sent, so none was; correct {'it' if bad == 1 else 'them'},"
        " or give --skip-invalid"
    )


def time_needed(requests: int, limit: int) -> str:
    """Say how long so many requests take at `limit` a minute."""
    # The first `limit` of them go out at once, and each further window takes a minute.
    minutes = max(0, requests - 1) // limit
    takes = f"about {counted(minutes, 'minute')}" if minutes else "less than a minute"
    return f"at {limit} requests per minute this takes {takes}; nothing was sent"


async def check_file(
    rows: Iterable[ContactRow | BadRow],
    ledger: Ledger | None,
    allowed: AllowedRecipients,
    on_bad_row: Callable[[BadRow], None],
) -> Preflight:
    """Read all rows once, against each other, the ledger and the allow-list, and count them.

    They are checked in the order in which a run checks them, so that the counts are those of the run.
    """
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
    if len(preflight.first) < REQUESTS_SHOWN:
        preflight.first.append(request)
