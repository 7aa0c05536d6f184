"""`enroll`: the contacts of a file, at plan speed, with a ledger beside the file."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hindsight_async.call.access import read_access
from hindsight_async.call.codec import encode
from hindsight_async.cli.contacts import BadRow, ContactRow, read_contacts
from hindsight_async.cli.file_arguments import (
    STDIN,
    FileArgument,
    Flag,
    MapOption,
    WaitForNetworkOption,
    open_copy,
    parse_context,
    parse_mapping,
)
from hindsight_async.cli.file_run import FileRun
from hindsight_async.cli.preflight import Preflight, check_file, refuse_bad_rows, report, time_needed
from hindsight_async.cli.progress import RunProgress
from hindsight_async.cli.results import ResultsFile, are_results
from hindsight_async.cli.terminal import ExitCode, confirm, counted, refuse, say
from hindsight_async.delivery.ledger.ledger import Ledger, without_password
from hindsight_async.delivery.network import DEFAULT_WAIT_FOR_NETWORK
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import HindsightError
from hindsight_async.rate import Plan, plan_or_default
from hindsight_async.redaction import json_text
from hindsight_async.resources.interviews.recipients import ALLOWED_RECIPIENTS_VARIABLE, allowed_here
from hindsight_async.session import HindsightSession

CONFIRM_ABOVE = 25
"""So many people may be emailed without being asked."""

LEDGER_SUFFIX = ".hindsight.db"
"""What stands in place of the input's suffix in the name of the ledger beside it."""

_NO_FILES = (("dev",), ("proc",))
"""Where a name such as /dev/stdin or /dev/fd/63 is another file each time."""


_RESOLVED_BY_COMMAND = {OutcomeStatus.REJECTED, OutcomeStatus.UNKNOWN}

_WHAT_STARS_MEAN = """\
Where a command above says ***, type the ledger's password; or take it out, and
set PGPASSWORD."""
"""No password is printed, so a command with one cannot be copied as it is."""

_WITHOUT_LEDGER = {
    OutcomeStatus.REJECTED: "correct them in the file, and run these alone",
    OutcomeStatus.NOT_SENT: """\
nothing remembers the rows that were sent, so run these
alone again, and not the whole file""",
    OutcomeStatus.UNKNOWN: """\
they may have been emailed: look them up in Hindsight
before anybody sends them again""",
    OutcomeStatus.CLAIMED: "run these alone again",
}


def _advice(shown_ledger: str | None) -> dict[OutcomeStatus, str]:
    """Return what to do about the rows of a status: its commands can be copied, KEY and ID filled in."""
    if shown_ledger is None:
        return _WITHOUT_LEDGER
    resolve = f"  hindsight-async ledger resolve {shlex.quote(shown_ledger)} KEY"
    return {
        OutcomeStatus.REJECTED: f"""\
correct them in the file. Those whose contact, sequence and
deal stay the same are sent again only after
{resolve} --resend""",
        OutcomeStatus.NOT_SENT: "safe to run again: the same command sends these alone",
        OutcomeStatus.UNKNOWN: f"""\
they may have been emailed: look them up in Hindsight, then,
for each,
{resolve} --created ID
or, where nothing was created,
{resolve} --resend""",
        OutcomeStatus.CLAIMED: """\
another run with this ledger is at them; should it end
before its time, run this again""",
    }


def enroll(
    file: FileArgument,
    /,
    *,
    sequence: str | None = None,
    interview_type: str | None = None,
    ledger_at: Annotated[str | None, Parameter(name="--ledger")] = None,
    no_ledger: Annotated[bool, Flag] = False,
    plan: Plan | None = None,
    map_: MapOption = [],  # noqa: B006  never altered
    context: str | None = None,
    output: Path | None = None,
    wait_for_network: WaitForNetworkOption = DEFAULT_WAIT_FOR_NETWORK,
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
    ledger_at
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
    wait_for_network
        Seconds to wait for a connection where none can be made, before the run ends; 0 waits for none.
    skip_invalid
        Send the good rows although there are bad ones.
    dry_run
        Do all but send; needs no key, and makes no ledger.
    yes
        Do not ask before many people are emailed.

    """
    if sequence is not None and interview_type is not None:
        return refuse("give --sequence (it emails) or --interview-type (it makes links), not both")
    if ledger_at is not None and no_ledger:
        return refuse("give --ledger, which says where it is, or --no-ledger; not both")
    if not dry_run:
        read_access()  # which complains before anything is read or asked
    if no_ledger:
        say("No ledger: nothing will remember who was sent.")
    with open_copy(file) as source:
        rows = read_contacts(
            source,
            sequence_id=sequence,
            interview_type_id=interview_type,
            mapping=parse_mapping(map_),
            context=parse_context(context),
        )
        location = None if no_ledger else ledger_at or _location_beside(file, rows.columns, dry_run=dry_run)
        ledger = None if location is None else Ledger(location)
        shown = None if location is None else without_password(location)
        preflight = asyncio.run(_check(rows, ledger, shown))
        if preflight.bad and not skip_invalid:
            return refuse_bad_rows(preflight.bad)
        if dry_run:
            _show_dry_run(preflight, plan_or_default(plan).requests_per_minute)
            return ExitCode.DONE
        hindsight = HindsightSession(plan=plan, on_outcome_unknown=_said_by_its_row)
        if not (yes or _may_be_emailed(preflight.emails, from_stdin=file == STDIN)):
            return refuse("nothing was sent")
        ledger_files = () if ledger is None else ledger.files
        results = ResultsFile(output, rows.columns, apart_from=[Path(file), *ledger_files])
        progress = RunProgress(preflight.rows)
        file_run = FileRun[ContactRow, Any](rows, lambda row: row.request, results, _advice(shown), progress)
        code = asyncio.run(_run(file_run, hindsight, ledger, wait_for_network))
    if code == ExitCode.INTERRUPTED:
        _say_how_to_go_on(ledger_at, shown)
    if shown != location and (code == ExitCode.INTERRUPTED or progress.counts.keys() & _RESOLVED_BY_COMMAND):
        say(_WHAT_STARS_MEAN)
    return code


def _may_be_emailed(people: int, *, from_stdin: bool) -> bool:
    return people <= CONFIRM_ABOVE or confirm(f"This emails {people} people.", from_stdin=from_stdin)


def _location_beside(file: str, columns: Iterable[str], *, dry_run: bool) -> str | None:
    """Return where the input's ledger is; ValueError where it can have none, which a dry run only hears.

    Results of an earlier run raise it for a dry run too: a new ledger would know none of those who were emailed.
    """
    if are_results(columns):
        raise ValueError(
            f"{file} has the results of an earlier run, and that run's ledger lies beside its input: correct rows in"
            " that input and run it again; or name its ledger with --ledger (--no-ledger sends every row again)"
        )
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
        The path of a file in the same directory; in that of the file itself, where the input is a symbolic link.

    Raises:
        ValueError: The input is no file that will be there again, or its directory takes no ledger.

    """
    path = Path(file)
    choice = "give --ledger FILE for one, or --no-ledger to have nothing remember who was sent"
    if file == STDIN or not path.is_file() or path.absolute().parts[1:2] in _NO_FILES:
        raise ValueError(f"{'stdin' if file == STDIN else file} has no ledger beside it: {choice}")
    # By a link's own name the file would have a second ledger, which knows nobody.
    ledger = (path.resolve() if path.is_symlink() else path).with_suffix(LEDGER_SUFFIX)
    needed = [ledger.parent, *([ledger] if ledger.exists() else [])]
    effective = os.access in os.supports_effective_ids
    for each in needed:
        if not os.access(each, os.W_OK, effective_ids=effective):
            raise ValueError(f"the ledger {ledger} cannot be kept, since {each} is not writable: {choice}")
    return f"./{ledger}" if str(ledger).startswith("-") else str(ledger)


async def _check(rows: Iterable[ContactRow | BadRow], ledger: Ledger | None, shown: str | None) -> Preflight:
    """Say which ledger it is, and what the rows amount to with it."""
    if ledger is not None:
        state = "new"
        if await ledger.exists():
            state = f"knows {counted(sum((await ledger.counts()).values()), 'row')}"
        say(f"Ledger: {shown} ({state})")
    preflight = await check_file(rows, ledger, allowed_here(), report)
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


async def _run(
    file_run: FileRun[ContactRow, Any],
    hindsight: HindsightSession,
    ledger: Ledger | None,
    wait_for_network: float,
) -> int:
    async with hindsight:
        create_many = partial(
            hindsight.interviews.create_many, ledger=ledger, wait_for_network=wait_for_network
        )
        return await file_run.run(hindsight, create_many)


def _show_dry_run(preflight: Preflight, limit: int) -> None:
    for request in preflight.first:
        sys.stdout.write(f"{json_text(json.loads(encode(request)))}\n")
    known = "".join(
        f", {count} {status.value} in the ledger" for status, count in preflight.in_ledger.items()
    )
    kept_back = f", {preflight.not_allowed} not allowed" if preflight.not_allowed else ""
    say(
        f"{preflight.to_send} would be sent ({counted(preflight.emails, 'email')}),"
        f" {counted(preflight.duplicates, 'duplicate')}, {preflight.bad} invalid{kept_back}{known}\n{time_needed(preflight.to_send, limit)}"
    )


def _say_how_to_go_on(ledger_at: str | None, shown: str | None) -> None:
    if shown is None:
        say("""\
do not run this file again as it is: without a ledger nothing remembers who was
sent; the results do""")
        return
    # The words as they were typed, quoted anew for a shell, and without a password.
    again = [word.replace(ledger_at, shown) if ledger_at else word for word in sys.argv[1:]]
    say(f"to go on where it stopped:\n  {shlex.join(['hindsight-async', *again])}")
