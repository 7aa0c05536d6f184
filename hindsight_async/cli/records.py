"""`get`, `ledger show`, `ledger resolve` and `ledger forget`: what there is, and what a person knows better."""

import asyncio
import csv
import sys
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any

import attrs
from cyclopts import App, Parameter

from hindsight_async.cli.file_arguments import Flag
from hindsight_async.cli.resolutions import given_facts, resolve_all
from hindsight_async.cli.results import ID_COLUMN, KEY_COLUMN, STATUS_COLUMN, spreadsheet_cell
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import HindsightError, LedgerError
from hindsight_async.rate import Plan
from hindsight_async.redaction import escaped, json_text
from hindsight_async.resources.interviews.models import Interview
from hindsight_async.session import HindsightSession

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
"""What `ledger show` prints, in this order."""

ledger_app = App(name="ledger", help="Look into a ledger, say what became of a row, or forget a person.")


def get(*ids: int, plan: Plan | None = None) -> int:
    """Print interviews as JSON, one line each.

    Parameters
    ----------
    ids
        Interview request ids.
    plan
        The organisation's tier; else HINDSIGHT_PLAN.

    """
    return asyncio.run(_get(ids, HindsightSession(plan=plan)))


@ledger_app.command
def show(
    ledger: str,
    /,
    *,
    status: LedgerStatus | None = None,
    as_csv: Annotated[bool, Parameter(name="--csv", negative=(), show_default=False)] = False,
) -> int:
    """Print a ledger's rows as tab-separated lines, or as a CSV file with column names.

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

    """
    return _with_ledger(_show(Ledger(ledger), status, as_csv=as_csv))


@ledger_app.command
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


@ledger_app.command
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


async def _get(ids: tuple[int, ...], hindsight: HindsightSession) -> int:
    code = ExitCode.DONE
    async with hindsight:
        for interview_request_id in ids:
            try:
                interview = await hindsight.interviews.get(interview_request_id)
            except HindsightError as error:
                say(f"hindsight-async: {error}")
                code = ExitCode.SOME_FAILED
            else:
                sys.stdout.write(f"{json_text(_plain(interview))}\n")
    return code


def _plain(interview: Interview) -> dict[str, Any]:
    return attrs.asdict(
        interview,
        value_serializer=lambda _, __, value: value.isoformat() if isinstance(value, datetime) else value,
    )


def _with_ledger(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except LedgerError as error:
        return refuse(error.summary)  # the whole text says that nothing was sent, which nobody asked for


async def _show(ledger: Ledger, status: LedgerStatus | None, *, as_csv: bool) -> int:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if as_csv:
        writer.writerow(SHOWN_COLUMNS)
    async for entry in ledger.entries(status=status):
        cells = ["" if cell is None else escaped(str(cell)) for cell in _cells(entry)]
        if as_csv:
            writer.writerow(map(spreadsheet_cell, cells))
        else:
            sys.stdout.write("\t".join(cells) + "\n")
    counts = await ledger.counts()
    say(", ".join(f"{count} {each.value}" for each, count in counts.items() if count) or "no rows")
    return ExitCode.DONE


def _cells(entry: LedgerEntry) -> tuple[object, ...]:
    when = entry.finished_at or entry.sending_at or entry.planned_at
    return (
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
