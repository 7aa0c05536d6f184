"""What a file amounts to before anything is sent: good rows, bad rows, and who would be emailed."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import islice

from attrs import define, field, frozen

from hindsight_async.call.codec import encode
from hindsight_async.cli.contacts import BadRow, ContactRow
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.input import SeenKeys
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import RecipientNotAllowedError
from hindsight_async.redaction import json_text
from hindsight_async.resources.interviews.models import CreateInterview
from hindsight_async.resources.interviews.recipients import (
    ALLOWED_RECIPIENTS_VARIABLE,
    AllowedRecipients,
    BlockedRecipients,
)
from hindsight_async.resources.interviews.rows import CREATES

KEYS_PER_LOOKUP = 500
"""How many rows are looked up in the ledger at a time, which bounds what a file of any length takes in memory."""

LINES_NAMED = 10
"""How many of the rows that a list of people keeps back are named by their lines."""

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
    blocked: int = 0
    """Kept back by the list of people who are not to be written to."""
    blocked_on: list[int] = field(factory=list[int])
    """The lines of the first LINES_NAMED of them."""
    held_back: int = 0
    """Ask for another interview of a person who has one."""
    in_ledger: dict[LedgerStatus, int] = field(factory=dict[LedgerStatus, int])
    """Not sent again, by what the ledger knows of them."""
    first: list[CreateInterview] = field(factory=list[CreateInterview])
    """The first REQUESTS_SHOWN that would go out."""

    @property
    def rows(self) -> int:
        """How many rows a run gives a verdict."""
        kept_back = self.not_allowed + self.blocked + self.held_back
        return self.to_send + self.duplicates + kept_back + sum(self.in_ledger.values())


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


@frozen(kw_only=True)
class Rules:
    """What may keep a row back."""

    allowed: AllowedRecipients
    blocked: BlockedRecipients = field(factory=BlockedRecipients)
    once_within: timedelta | None = None
    """For how long a person who has one interview gets no other; None for no such rule."""


async def check_file(
    rows: Iterable[ContactRow | BadRow],
    ledger: Ledger | None,
    rules: Rules,
    on_bad_row: Callable[[BadRow], None],
) -> Preflight:
    """Read all rows once, against each other, the ledger and the rules, and count them.

    They are checked in the order in which a run checks them, so that the counts are those of the run.
    """
    preflight = Preflight()
    index = 0
    with ExitStack() as opened:
        seen, people = (opened.enter_context(SeenKeys()) for _ in range(2))
        coming = iter(rows)
        while batch := list(islice(coming, KEYS_PER_LOOKUP)):
            new: list[tuple[ContactRow, LedgerRow]] = []
            for row in batch:
                if isinstance(row, BadRow):
                    preflight.bad += 1
                    on_bad_row(row)
                    continue
                told = CREATES.ledger_row(row.ledger_key, index, row.request)
                if seen.first_index(told.key, index) == index:
                    new.append((row, told))
                else:
                    preflight.duplicates += 1
                index += 1
            known: Mapping[str, LedgerEntry] = {}
            if ledger is not None:
                known = await ledger.known([told.key for _, told in new])
            to_claim = [told for _, told in new if told.key not in known or known[told.key].may_be_claimed]
            held_back = await _held_back(to_claim, ledger, rules.once_within, people)
            for row, told in new:
                entry = known.get(told.key)
                if entry is not None and not entry.may_be_claimed:
                    preflight.in_ledger[entry.status] = preflight.in_ledger.get(entry.status, 0) + 1
                elif told.key in held_back:
                    preflight.held_back += 1
                else:
                    _count(preflight, row, rules)
    return preflight


async def _held_back(
    rows: Sequence[LedgerRow], ledger: Ledger | None, once_within: timedelta | None, people: SeenKeys
) -> Collection[str]:
    """Return the keys of rows whose person has another one, in the ledger or earlier in the file."""
    if once_within is None:
        return ()
    in_ledger = () if ledger is None else await ledger.held_back(rows, once_within)
    going = [row for row in rows if row.key not in in_ledger]
    # Later in the file each of them finds the first one's, which is on its way by then.
    again = [
        row.key for row in going if people.first_index(row.contact_email, row.row_index) != row.row_index
    ]
    return {*in_ledger, *again}


def _count(preflight: Preflight, row: ContactRow, rules: Rules) -> None:
    request = row.request
    try:
        rules.blocked.check(request.contact_email)
        rules.allowed.check(request.contact_email)
    except RecipientNotAllowedError as error:
        lines = preflight.blocked_on if error.is_blocked else preflight.not_allowed_on
        preflight.blocked += error.is_blocked
        preflight.not_allowed += not error.is_blocked
        if len(lines) < LINES_NAMED:
            lines.append(row.line)
        return
    preflight.to_send += 1
    preflight.emails += request.sequence_id is not None
    if len(preflight.first) < REQUESTS_SHOWN:
        preflight.first.append(request)


def say_who_is_kept_back(preflight: Preflight) -> None:
    """Say which rows the lists of people keep back, by their lines alone."""
    for count, lines, why in (
        (preflight.not_allowed, preflight.not_allowed_on, f"not allowed by {ALLOWED_RECIPIENTS_VARIABLE}"),
        (preflight.blocked, preflight.blocked_on, "excluded by --exclude"),
    ):
        if count:
            more = count - len(lines)
            named = f"line{'s' * (count > 1)} {', '.join(map(str, lines))}"
            say(f"{count} {why}:\n  {named}{f' and {more} more' * (more > 0)}")


def show_dry_run(preflight: Preflight, limit: int) -> None:
    """Show the first requests, and say what a run would do at `limit` a minute."""
    for request in preflight.first:
        sys.stdout.write(f"{json_text(json.loads(encode(request)))}\n")
    counts = (
        (preflight.not_allowed, "not allowed"),
        (preflight.blocked, "excluded"),
        (preflight.held_back, "with another interview within that time"),
        *((count, f"{status.value} in the ledger") for status, count in preflight.in_ledger.items()),
    )
    kept_back = "".join(f", {count} {why}" for count, why in counts if count)
    say(
        f"{preflight.to_send} would be sent ({counted(preflight.emails, 'email')}),"
        f" {counted(preflight.duplicates, 'duplicate')}, {preflight.bad} invalid{kept_back}\n"
        f"{time_needed(preflight.to_send, limit)}"
    )
