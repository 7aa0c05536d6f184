"""What a file amounts to before anything is sent: good rows, bad rows, and who would be emailed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import islice
from typing import NoReturn

from attrs import define, field, frozen

from hindsight_async.cli.contacts import BadRow, ContactRow
from hindsight_async.cli.results import may_have_interview
from hindsight_async.cli.terminal import counted, say, unbroken, wrapped
from hindsight_async.delivery.input import SeenKeys
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import RecipientNotAllowedError
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

ROWS_SHOWN = 3
"""How many of the first rows that would be sent are shown."""

NAMES_KEPT = 100
"""How many sequences and interview types are kept to be named; a file with more has a wrong column for them."""

MINUTES_IN_HOURS = 120
"""From so many minutes on a time is told in hours."""


@define
class Preflight:
    """How many rows are what; each row counts once."""

    rows_in_file: int = 0
    """Rows below the headings, however many addresses a cell of theirs has."""
    bad: int = 0
    """Cannot be read as a request."""
    duplicates: int = 0
    """Ask for the same contact and interview as an earlier row."""
    to_send: int = 0
    """Would be sent."""
    later: int = 0
    """Would be sent too, but for the limit."""
    cut: int | None = None
    """How many rows, bad ones apart, a run goes through until its limit is reached; None where it goes through all."""
    emails: int = 0
    """Those of `to_send` that name a sequence, and so email somebody."""
    people: int = 0
    """How many people get those emails."""
    sequences: dict[str, None] = field(factory=dict[str, None])
    """Which sequences they are of, NAMES_KEPT at most."""
    interview_types: dict[str, None] = field(factory=dict[str, None])
    """Of which types the others of `to_send` are, NAMES_KEPT at most."""
    strangers: int = 0
    """Were created as the file itself says, and are not known to the ledger."""
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
    first: list[ContactRow] = field(factory=list[ContactRow])
    """The first ROWS_SHOWN that would go out."""

    @property
    def rows(self) -> int:
        """How many rows a run gives a verdict."""
        if self.cut is not None:
            return self.cut
        kept_back = self.not_allowed + self.blocked + self.held_back
        return self.to_send + self.duplicates + kept_back + sum(self.in_ledger.values())


def refuse_bad_rows(bad: int) -> NoReturn:
    """Refuse a file with so many bad rows.

    Raises:
        ValueError: Always.

    """
    those = "that row" if bad == 1 else f"those {bad:,} rows"
    raise ValueError(f"nothing was sent: mend the file, or add --skip-invalid\nto leave {those} out")


def takes(requests: int, limit: int) -> str:
    """Say how long so many requests take at `limit` a minute."""
    # The first `limit` of them go out at once, and each further window takes a minute.
    minutes = max(0, requests - 1) // limit
    if not minutes:
        return "This takes less than a minute"
    if minutes < MINUTES_IN_HOURS:
        return f"At {limit:,} a minute this takes about {counted(minutes, 'minute')}"
    return f"At {limit:,} a minute this takes about {counted(round(minutes / 60), 'hour')}"


@frozen
class Rules:
    """What may keep a row back."""

    allowed: AllowedRecipients
    blocked: BlockedRecipients = field(factory=BlockedRecipients)
    once_within: timedelta | None = None
    """For how long a person who has one interview gets no other; None for no such rule."""
    limit: int | None = None
    """How many rows may be sent; None for all."""
    status_column: str | None = None
    """The column in which an earlier run says what became of a row; None where none does."""


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
    index, line = 0, None
    with ExitStack() as opened:
        seen, people, emailed = (opened.enter_context(SeenKeys()) for _ in range(3))
        coming = iter(rows)
        while batch := list(islice(coming, KEYS_PER_LOOKUP)):
            new: list[tuple[ContactRow, LedgerRow]] = []
            for row in batch:
                preflight.rows_in_file += row.line != line
                line = row.line
                if isinstance(row, BadRow):
                    preflight.bad += 1
                    on_bad_row(row)
                    continue
                told = CREATES.ledger_row(row.ledger_key, index, row.request)
                index += 1
                if seen.first_index(told.key, told.row_index) == told.row_index:
                    new.append((row, told))
                else:
                    preflight.duplicates += 1
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
                elif _is_allowed(preflight, row, rules):
                    preflight.strangers += entry is None and _says_it_was_created(row, rules)
                    _count(preflight, row, told, rules.limit, emailed)
    return preflight


def _says_it_was_created(row: ContactRow, rules: Rules) -> bool:
    return rules.status_column is not None and may_have_interview(row.cells.get(rules.status_column))


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


def _is_allowed(preflight: Preflight, row: ContactRow, rules: Rules) -> bool:
    try:
        rules.blocked.check(row.request.contact_email)
        rules.allowed.check(row.request.contact_email)
    except RecipientNotAllowedError as error:
        lines = preflight.blocked_on if error.is_blocked else preflight.not_allowed_on
        preflight.blocked += error.is_blocked
        preflight.not_allowed += not error.is_blocked
        if len(lines) < LINES_NAMED:
            lines.append(row.line)
        return False
    return True


def _count(
    preflight: Preflight, row: ContactRow, told: LedgerRow, limit: int | None, emailed: SeenKeys
) -> None:
    if preflight.cut is not None:
        preflight.later += 1
        return
    request = row.request
    preflight.to_send += 1
    if request.sequence_id is not None:
        preflight.emails += 1
        preflight.people += emailed.first_index(told.contact_email, told.row_index) == told.row_index
        _keep(preflight.sequences, request.sequence_id)
    elif request.interview_type_id is not None:
        _keep(preflight.interview_types, request.interview_type_id)
    if len(preflight.first) < ROWS_SHOWN:
        preflight.first.append(row)
    if preflight.to_send == limit:
        preflight.cut = told.row_index + 1


def _keep(names: dict[str, None], name: str) -> None:
    if len(names) < NAMES_KEPT:
        names[name] = None


def say_who_is_kept_back(preflight: Preflight) -> None:
    """Say which rows the lists of people keep back, by their lines alone."""
    for count, lines, why in (
        (preflight.not_allowed, preflight.not_allowed_on, f"not allowed by {ALLOWED_RECIPIENTS_VARIABLE}"),
        (preflight.blocked, preflight.blocked_on, "excluded by --exclude"),
    ):
        if count:
            more = count - len(lines)
            named = f"row{'s' * (count > 1)} {', '.join(map(str, lines))}"
            say(f"{count} {why}:\n  {named}{f' and {more} more' * (more > 0)}")


def say_counts(preflight: Preflight) -> None:
    """Say how many rows would be sent, and why the others would not."""
    in_ledger = preflight.in_ledger
    before = {status: count for status, count in in_ledger.items() if status is not LedgerStatus.CREATED}
    counts = [
        f"{preflight.to_send:,} to send",
        f"{preflight.bad:,} with a problem",
        f"{preflight.duplicates:,} twice in the file",
        f"{in_ledger.get(LedgerStatus.CREATED, 0):,} sent before",
        *(f"{count:,} {status.value} before" for status, count in before.items()),
        *(
            f"{count:,} {why}"
            for count, why in (
                (preflight.held_back, "with another interview within that time"),
                (preflight.blocked, "excluded"),
                (preflight.not_allowed, "not allowed"),
                (preflight.later, "left for later by --limit"),
            )
            if count
        ),
    ]
    say(f"\n{joined(counts)}")


def joined(counts: Iterable[str]) -> str:
    """Return counts in a line, or as many as a terminal needs; each of them stays whole."""
    return wrapped(" · ".join(map(unbroken, counts)))
