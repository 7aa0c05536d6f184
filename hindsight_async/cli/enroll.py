"""`enroll`: the contacts of a file, at plan speed, with a ledger beside the file."""

import asyncio
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from hindsight_async.call.access import read_access
from hindsight_async.call.codec import encode
from hindsight_async.cli import exit_codes
from hindsight_async.cli.contacts import BadRow, ContactRow, read_contacts
from hindsight_async.cli.exit_codes import say
from hindsight_async.cli.file_arguments import (
    STDIN,
    FileArgument,
    Flag,
    MapOption,
    columns_of,
    complain,
    confirmed,
    mapping_of,
    opened,
    time_needed,
)
from hindsight_async.cli.file_run import FileRun, ResultsFile
from hindsight_async.cli.preflight import Preflight, check_file
from hindsight_async.cli.progress import Pace
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.place import without_password
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import HindsightError
from hindsight_async.rate import Plan, plan_or_default
from hindsight_async.session import ALLOWED_RECIPIENTS_VARIABLE, HindsightSession, allowed_here

CONFIRM_ABOVE = 25
"""So many people may be emailed without being asked."""

LEDGER_SUFFIX = ".hindsight.db"
"""What stands in place of the input's suffix in the name of the ledger beside it."""

_NO_FILES = (("dev",), ("proc",))
"""Where a name such as /dev/stdin or /dev/fd/63 is another file each time."""


def _advice(ledger: str | None) -> dict[OutcomeStatus, str]:
    if ledger is None:
        return {
            OutcomeStatus.REJECTED: "correct them in the file, and run these alone",
            OutcomeStatus.NOT_SENT: "nothing remembers the rows that were sent, so run these alone again,\n"
            "and not the whole file",
            OutcomeStatus.UNKNOWN: "they may have been emailed: look them up in Hindsight before anybody\n"
            "sends them again",
            OutcomeStatus.CLAIMED: "run these alone again",
        }
    resolve = f"  hindsight-async ledger resolve {shlex.quote(ledger)} KEY"
    return {
        OutcomeStatus.REJECTED: "correct them in the file. Those whose contact, sequence and deal stay\n"
        f"the same are sent again only after\n{resolve} --resend",
        OutcomeStatus.NOT_SENT: "safe to run again: the same command sends these alone",
        OutcomeStatus.UNKNOWN: "they may have been emailed: look them up in Hindsight, then, for each,\n"
        f"{resolve} --created ID\n"
        f"or, where nothing was created,\n{resolve} --resend",
        OutcomeStatus.CLAIMED: "another run with this ledger is at them; should it end before its\n"
        "time, run this again",
    }


def enroll(
    file: FileArgument,
    /,
    *,
    sequence: str | None = None,
    interview_type: str | None = None,
    ledger: str | None = None,
    no_ledger: Annotated[bool, Flag] = False,
    plan: Plan | None = None,
    map_: MapOption = [],  # noqa: B006  never altered
    context: str | None = None,
    output: Path | None = None,
    skip_invalid: Annotated[bool, Flag] = False,
    dry_run: Annotated[bool, Flag] = False,
    yes: Annotated[bool, Flag] = False,
) -> int:
    """Enroll the contacts of a CSV, TSV or JSON Lines file (- for stdin), each once.

    The key comes from HINDSIGHT_API_KEY. All rows are checked before the first is sent. Exit codes: 0 all
    done, 1 some rejected, not sent or in another run's hand, 2 wrong usage or input, 3 unknown outcomes, 130 interrupted.

    Parameters
    ----------
    file
        The file to read.
    sequence
        The sequence that emails the contacts, for rows that name none.
    interview_type
        Instead of a sequence: make links only, and email nobody.
    ledger
        A file that remembers what was sent, so that the same command can be run again safely; or, for several
        processes that share the work, postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE. Else a file beside the input.
    no_ledger
        Remember nothing: what is run again is sent again.
    plan
        The organisation's tier; else HINDSIGHT_PLAN.
    map_
        Which column feeds a field: contact_email="Work Email". May be given several times.
    context
        The columns that make up the contact's context, separated by commas; or rest.
    output
        Where to write the results, .csv or .jsonl; else stdout.
    skip_invalid
        Send the good rows although there are bad ones.
    dry_run
        Do all but send; needs no key, and makes no ledger.
    yes
        Do not ask before many people are emailed.

    """
    if sequence is not None and interview_type is not None:
        return exit_codes.refuse("give --sequence (it emails) or --interview-type (it makes links), not both")
    if ledger is not None and no_ledger:
        return exit_codes.refuse("give --ledger, which says where it is, or --no-ledger; not both")
    if not dry_run:
        read_access()  # which complains before anything is read or asked
    if no_ledger:
        say("No ledger: nothing will remember who was sent.")
    with opened(file) as source:
        rows = read_contacts(
            source,
            sequence_id=sequence,
            interview_type_id=interview_type,
            mapping=mapping_of(map_),
            context=columns_of(context),
        )
        place = None if no_ledger else ledger or _place_beside(file, dry_run=dry_run)
        book = None if place is None else Ledger(place)
        shown = None if place is None else without_password(place)
        preflight = asyncio.run(_look_through(rows, book, shown))
        if preflight.bad and not skip_invalid:
            return exit_codes.refuse(
                f"{preflight.bad} rows cannot be sent, so none was; correct them, or give --skip-invalid"
            )
        if dry_run:
            _show(preflight, plan_or_default(plan).requests_per_minute)
            return exit_codes.DONE
        hindsight = HindsightSession(plan=plan, on_outcome_unknown=_said_by_its_row)
        if not (yes or _may_be_emailed(preflight.emails, from_stdin=file == STDIN)):
            return exit_codes.refuse("nothing was sent")
        kept = () if book is None else book.files
        results = ResultsFile(output, rows.columns, apart_from=[Path(file), *kept])
        file_run = FileRun[ContactRow, Any](
            rows, lambda row: row.request, results, _advice(shown), Pace(preflight.rows)
        )
        code = asyncio.run(_run(file_run, hindsight, book))
    if code == exit_codes.INTERRUPTED:
        _say_how_to_go_on(ledger, shown)
    return code


def _may_be_emailed(people: int, *, from_stdin: bool) -> bool:
    return people <= CONFIRM_ABOVE or confirmed(f"This emails {people} people.", from_stdin=from_stdin)


def _place_beside(file: str, *, dry_run: bool) -> str | None:
    """Return where the input's ledger is; ValueError where it can have none, which a dry run only hears."""
    try:
        return ledger_beside(file)
    except ValueError as error:
        if not dry_run:
            raise
        say(f"Counted without a ledger: {error}")
        return None


def ledger_beside(file: str) -> str:
    """Return the ledger that belongs to an input file.

    Args:
        file: The input's path, or `-` for stdin.

    Returns:
        The path of a file in the same directory.

    Raises:
        ValueError: The input is no file that will be there again, or its directory takes no ledger.

    """
    path = Path(file)
    choice = "give --ledger FILE for one, or --no-ledger to have nothing remember who was sent"
    if file == STDIN or not path.is_file() or path.absolute().parts[1:2] in _NO_FILES:
        raise ValueError(f"{'stdin' if file == STDIN else file} has no ledger beside it: {choice}")
    ledger = path.with_suffix(LEDGER_SUFFIX)
    needed = [ledger.parent, *([ledger] if ledger.exists() else [])]
    effective = os.access in os.supports_effective_ids
    for each in needed:
        if not os.access(each, os.W_OK, effective_ids=effective):
            raise ValueError(f"the ledger {ledger} cannot be kept, since {each} is not writable: {choice}")
    return f"./{ledger}" if str(ledger).startswith("-") else str(ledger)


async def _look_through(
    rows: Iterable[ContactRow | BadRow], ledger: Ledger | None, shown: str | None
) -> Preflight:
    """Say which ledger it is, and what the rows amount to with it."""
    if ledger is not None:
        known = sum((await ledger.counts()).values()) if await ledger.exists() else None
        say(f"Ledger: {shown} ({'new' if known is None else f'knows {known:,} rows'})")
    preflight = await check_file(rows, ledger, allowed_here(), complain)
    if preflight.not_allowed:
        lines = ", ".join(map(str, preflight.not_allowed_on))
        more = preflight.not_allowed - len(preflight.not_allowed_on)
        say(
            f"{preflight.not_allowed} not allowed by {ALLOWED_RECIPIENTS_VARIABLE}:\n"
            f"  line{'s' * (preflight.not_allowed > 1)} {lines}{f' and {more} more' * (more > 0)}"
        )
    return preflight


def _said_by_its_row(error: HindsightError) -> None:
    del error


async def _run(file_run: FileRun[ContactRow, Any], hindsight: HindsightSession, ledger: Ledger | None) -> int:
    async with hindsight:
        return await file_run.run(
            hindsight, lambda requests: hindsight.interviews.create_many(requests, ledger=ledger)
        )


def _show(preflight: Preflight, limit: int) -> None:
    for request in preflight.first:
        sys.stdout.write(f"{encode(request).decode()}\n")
    known = "".join(
        f", {count} {status.value} in the ledger" for status, count in preflight.in_ledger.items()
    )
    kept_back = f", {preflight.not_allowed} not allowed" if preflight.not_allowed else ""
    say(
        f"{preflight.to_send} would be sent ({preflight.emails} emails), {preflight.duplicates} duplicates, {preflight.bad} invalid"
        f"{kept_back}{known}\n{time_needed(preflight.to_send, limit)}"
    )


def _say_how_to_go_on(ledger: str | None, shown: str | None) -> None:
    if shown is None:
        say(
            "do not run this file again as it is: without a ledger nothing remembers who was sent;\n"
            "the results do"
        )
        return
    again = [word.replace(ledger, shown) if ledger else word for word in sys.argv[1:]]
    say(f"to go on where it stopped: {shlex.join(['hindsight-async', *again])}")
