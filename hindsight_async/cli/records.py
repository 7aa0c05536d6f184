"""`get`, `ledger show`, `ledger resolve` and `ledger forget`: what there is, and what a person knows better."""

import asyncio
import sys
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any

import attrs
from cyclopts import App

from hindsight_async.cli.file_arguments import Flag
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.ledger.entries import MAY_BE_RESENT, LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.errors import HindsightError, LedgerError
from hindsight_async.rate import Plan
from hindsight_async.redaction import escaped, json_text
from hindsight_async.resources.interviews.models import Interview
from hindsight_async.session import HindsightSession

SHORTEST_KEY = 6
"""How many characters of a key must be given, so that no slip resolves another row."""

_RESOLVABLE = f"{', '.join(MAY_BE_RESENT[:-1])} or {MAY_BE_RESENT[-1]}"
"""What `resolve` looks through, in words."""

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
def show(ledger: str, /, *, status: LedgerStatus | None = None) -> int:
    """Print a ledger's rows as tab-separated lines.

    They have the key, the row's number in its input, the contact's address, the status, the interview's id, the
    error code (else the HTTP status), the attempts, when it was last touched, and the caller's own key.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    status
        Only rows of this status.

    """
    return _with_ledger(_show(Ledger(ledger), status))


@ledger_app.command
def resolve(
    ledger: str,
    key: str,
    /,
    *,
    created: int | None = None,
    not_created: Annotated[bool, Flag] = False,
) -> int:
    """Say what became of a row whose outcome is unknown, or have one sent that is rejected, duplicate or expired.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    key
        The row's key, or enough of its beginning; or the whole of the caller's own.
    created
        It was created, with this interview request id.
    not_created
        It was not: the next run sends it.

    """
    return _with_ledger(_resolve(Ledger(ledger), key, created, not_created=not_created))


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


async def _show(ledger: Ledger, status: LedgerStatus | None) -> int:
    async for entry in ledger.entries(status=status):
        sys.stdout.write(
            "\t".join("" if cell is None else escaped(str(cell)) for cell in _cells(entry)) + "\n"
        )
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


async def _resolve(ledger: Ledger, beginning: str, created: int | None, *, not_created: bool) -> int:
    named = await ledger.known([beginning])
    if len(beginning) < SHORTEST_KEY and not named:
        return refuse(f"give at least {SHORTEST_KEY} characters of the key")
    keys = [entry.key for entry in named.values()] or [
        entry.key
        for status in MAY_BE_RESENT
        async for entry in ledger.entries(status=status)
        if entry.key.startswith(beginning)
    ]
    if len(keys) != 1:
        found = f"{len(keys)} {_RESOLVABLE} rows have" if keys else f"no {_RESOLVABLE} row has"
        return refuse(f"{found} a key that begins with {beginning}")
    await ledger.resolve(keys[0], created=created, not_created=not_created)
    say("resolved: it will be sent by the next run" if not_created else f"resolved: created as {created}")
    return ExitCode.DONE


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
