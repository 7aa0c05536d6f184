"""`ledger show`, `ledger resolve` and `ledger forget`: what there is, and what a person knows better."""

import asyncio
import csv
import io
import sys
from collections.abc import Coroutine, Iterable, Mapping
from typing import Annotated, Any

from cyclopts import Parameter
from rich.cells import cell_len, set_cell_size

from hindsight_async.cli.file_arguments import Flag, JsonOption
from hindsight_async.cli.help import command_app, examples
from hindsight_async.cli.json_lines import json_line
from hindsight_async.cli.resolutions import given_facts, resolve_all
from hindsight_async.cli.results import ID_COLUMN, KEY_COLUMN, STATUS_COLUMN, spreadsheet_cell
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import LedgerError
from hindsight_async.redaction import escaped

SHOWN_COLUMNS = (
    KEY_COLUMN,
    "number",
    "contact_email",
    STATUS_COLUMN,
    ID_COLUMN,
    "error",
    "attempts",
    "last_touched",
    "own_key",
)
"""What `ledger show` prints of a row, in this order."""

KEY_SHOWN = 12
"""How many characters of a key a person sees; `resolve` takes as few."""

CONTACT_WIDTH = 28
"""Columns for an address; a longer one moves what stands behind it, so that it stays whole."""

ledger_app = command_app(
    "ledger",
    "Show, resolve or forget what was sent.",
    "ledger show contacts.hindsight.db --status unknown",
)


@ledger_app.command(
    help_epilogue=examples(
        "ledger show contacts.hindsight.db",
        "ledger show contacts.hindsight.db --status unknown --csv",
    )
)
def show(
    ledger: str,
    /,
    *,
    status: LedgerStatus | None = None,
    as_csv: Annotated[bool, Parameter(name="--csv", negative=(), show_default=False)] = False,
    as_json: JsonOption = False,
) -> int:
    """Print a ledger's rows, a line each; tab-separated where no terminal reads them.

    They have the key, the row's number in its input, the contact's address, the status, the interview's id, the
    error code (else the HTTP status), the attempts, when it was last touched, and the caller's own key.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    status
        Only rows of this status.
    as_csv
        As a CSV file with column names, to be filled in for ledger resolve.
    as_json
        Print each as a line of JSON.

    """
    if as_csv and as_json:
        return refuse("--csv and --json exclude each other")
    return _with_ledger(_show(Ledger(ledger), status, as_csv=as_csv, as_json=as_json))


@ledger_app.command(
    help_epilogue=examples(
        "ledger resolve contacts.hindsight.db KEY --created 4821",
        "ledger resolve contacts.hindsight.db KEY --not-created",
    )
)
def resolve(
    ledger: str,
    what: str,
    /,
    *more: str,
    created: int | None = None,
    not_created: Annotated[bool, Flag] = False,
) -> int:
    """Say what became of rows whose outcome is unknown, or have rows sent that are rejected, duplicate or expired.

    All of them are resolved, or none. For many at once: ledger show LEDGER --status unknown --csv > unknown.csv, fill
    in the column interview_request_id (the id, or: not created), then ledger resolve LEDGER unknown.csv. The results of
    enroll can be filled in too: their rows that are unknown count.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    what
        A contact's address, the row's key or enough of its beginning, or the whole of the caller's own key; or a CSV file.
    more
        More of them.
    created
        It was created, with this interview request id.
    not_created
        They were not: the next run sends them.

    """
    facts = given_facts((what, *more), created=created, not_created=not_created)
    return _with_ledger(resolve_all(Ledger(ledger), facts))


@ledger_app.command(help_epilogue=examples("ledger forget contacts.hindsight.db ann@acme.example"))
def forget(ledger: str, address: str, /) -> int:
    """Remove what a ledger knows of a person: address, requests, texts of keys, and context.

    What stays is a hash of the address, so that they are not emailed again for the same interviews; whoever knows the
    address can tell by it that they are here. Input files, results and backups are not touched.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    address
        The person's email address.

    """
    return _with_ledger(_forget(Ledger(ledger), address))


def _with_ledger(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except LedgerError as error:
        return refuse(error.summary)  # the whole text says that nothing was sent, which nobody asked for


async def _show(ledger: Ledger, status: LedgerStatus | None, *, as_csv: bool, as_json: bool) -> int:
    for_people = _columns if sys.stdout.isatty() else _tab_separated
    line = _of_csv if as_csv else json_line if as_json else for_people
    if as_csv:
        sys.stdout.write(_csv_line(SHOWN_COLUMNS))
    async for entry in ledger.entries(status=status):
        sys.stdout.write(line(_cells(entry)))
    counts = await ledger.counts()
    say(", ".join(f"{count:,} {each.value}" for each, count in counts.items() if count) or "no rows")
    return ExitCode.DONE


def _cells(entry: LedgerEntry) -> dict[str, Any]:
    when = entry.finished_at or entry.sending_at or entry.planned_at
    values = (
        entry.key,
        entry.row_index + 1,
        entry.contact_email or entry.address_hash,
        entry.status.value,
        entry.interview_request_id,
        entry.error_code or entry.http_status,
        entry.attempts,
        when.isoformat(timespec="seconds"),
        entry.caller_key,
    )
    return dict(zip(SHOWN_COLUMNS, values, strict=True))


def _texts(cells: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if cell is None else escaped(str(cell)) for name, cell in cells.items()}


def _of_csv(cells: Mapping[str, Any]) -> str:
    return _csv_line(map(spreadsheet_cell, _texts(cells).values()))


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _tab_separated(cells: Mapping[str, Any]) -> str:
    return "\t".join(_texts(cells).values()) + "\n"


def _columns(cells: Mapping[str, Any]) -> str:
    """Return what a person needs of a row, in a line that fits most terminals.

    Without its number: a person counts the rows of a spreadsheet with its headings, of which no ledger knows.
    """
    it = _texts(cells)
    # Of an unknown row the error says nothing that the status does not.
    why = "" if it[STATUS_COLUMN] == LedgerStatus.UNKNOWN else it["error"]
    address = set_cell_size(it["contact_email"], max(CONTACT_WIDTH, cell_len(it["contact_email"])))
    which = it[ID_COLUMN] or why
    return f"  {address}  {it[STATUS_COLUMN]:<9}  {which:<11}  {it[KEY_COLUMN][:KEY_SHOWN]}\n"


async def _forget(ledger: Ledger, address: str) -> int:
    forgotten = await ledger.forget(address)
    if not forgotten.rows + forgotten.contexts:
        say("nothing removed: no row of this address")
        return ExitCode.DONE
    removed = (
        counted(forgotten.addresses, "address", "addresses"),
        counted(forgotten.requests, "request"),
        counted(forgotten.caller_keys, "key's text", "keys' texts"),
        counted(forgotten.contexts, "context"),
    )
    say(f"removed from {counted(forgotten.rows, 'row')}: {', '.join(removed)}")
    if forgotten.expired:
        say(f"{counted(forgotten.expired, 'row')} still to be sent: not sent any more")
    if not forgotten.vacuumed:
        say("the database has not let go of the removed bytes yet: it does so by its next VACUUM")
    say("what stays is a hash of the address, by which the same interviews are not sent again")
    return ExitCode.DONE
