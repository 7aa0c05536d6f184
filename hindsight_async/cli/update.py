"""`update`: the changes of a file, at plan speed, once a person has agreed to what they overwrite.

With `--merge` notes are merged into those that a ledger remembers; a row of whose contact it remembers none is a bad row.
"""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hindsight_async.call.access import read_access
from hindsight_async.cli.changes import UpdatableRows, check_changes
from hindsight_async.cli.contacts import BadRow, UpdateRow, read_updates
from hindsight_async.cli.file_arguments import (
    DEFAULT_WAIT,
    STDIN,
    FileArgument,
    Flag,
    MapOption,
    open_copy,
    parse_context,
    parse_mapping,
    parse_wait,
)
from hindsight_async.cli.file_run import FileRun
from hindsight_async.cli.preflight import refuse_bad_rows
from hindsight_async.cli.progress import RunProgress
from hindsight_async.cli.question import DRY_RUN
from hindsight_async.cli.results_file import ResultsFile
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.terminal import ExitCode, confirm, refuse, say
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.session import HindsightSession

_ADVICE = {
    OutcomeStatus.REJECTED: "correct them in the file",
    OutcomeStatus.NOT_SENT: "safe to run again",
    OutcomeStatus.UNKNOWN: "they may have been made; making them again does no harm",
}


def update(
    file: FileArgument,
    /,
    *,
    shared: SharedOption = DEFAULT_SHARED,
    map_: MapOption = [],  # noqa: B006  never altered
    context: str | None = None,
    merge: Annotated[bool, Flag] = False,
    ledger_at: Annotated[str | None, Parameter(name="--ledger")] = None,
    output: Path | None = None,
    wait: str = DEFAULT_WAIT,
    skip_invalid: Annotated[bool, Flag] = False,
    dry_run: Annotated[bool, Flag] = False,
    yes: Annotated[bool, Flag] = False,
) -> int:
    """Change the context, name or objective of the interviews of a file.

    The file names each interview by its id, and what changes: contact_name, objective, contact_context or
    columns that become the context. The results of enroll are such a file: rows without an interview are left out.
    What is overwritten is nowhere else, so it asks first. Exit codes as for enroll.

    Parameters
    ----------
    file
        CSV, Excel or JSON Lines, - for standard input; a column interview_request_id or Interview ID says which interview.
    shared
        For all commands.
    map_
        Which column feeds a field: objective="Next Question". May be given several times.
    context
        The columns that make up the contact's context, separated by commas; or rest.
    merge
        Merge the context into the one that --ledger remembers of the contact, instead of overwriting it.
    ledger_at
        For --merge: the ledger that enroll --store-contexts, or a program, has filled; a file or a database's URL.
    output
        Where to write the results, .csv or .jsonl; else stdout.
    wait
        How long to wait for a network that is gone, such as 30s, 10m or 2h, before the run ends; 0 for not at all.
    skip_invalid
        Send the good rows although there are bad ones.
    dry_run
        Do all but send; needs no key.
    yes
        Do not ask before anything is overwritten.

    """
    patience = parse_wait(wait)
    if merge is not (ledger_at is not None):
        return refuse("give --merge and --ledger together: contexts are merged into what a ledger remembers")
    ledger = None if ledger_at is None else Ledger(ledger_at, store_contexts=True)
    if not dry_run:
        read_access()  # which complains before anything is read or asked
    with open_copy(file) as source:
        checked = read_updates(source, mapping=parse_mapping(map_), context=parse_context(context))
        remembered = None if ledger is None else asyncio.run(_remembered(checked, ledger))
        rows = UpdatableRows(checked, remembered)
        changes = check_changes(file, checked, rows, yes=yes)
        if changes.bad and not skip_invalid:
            refuse_bad_rows(changes.bad)
        question = changes.question(shared, merges=merge)
        if dry_run:
            say(f"{question}\n{DRY_RUN}")
            return ExitCode.DONE
        hindsight = shared.session()
        ledger_files = () if ledger is None else ledger.files
        results = ResultsFile(output, checked.columns, apart_from=[Path(file), *ledger_files])
        if changes.to_send and not yes:
            confirm(question, from_stdin=file == STDIN)
        elif changes.to_send:
            say(question)
        progress = RunProgress(changes.to_send + changes.duplicates)
        file_run = FileRun[UpdateRow, Any](
            rows, lambda row: (row.interview_request_id, row.update), results, _ADVICE, progress
        )
        return asyncio.run(_run(file_run, hindsight, ledger, patience))


async def _remembered(rows: Iterable[UpdateRow | BadRow], ledger: Ledger) -> Collection[int]:
    """Return the interviews of a file whose contact's context the ledger remembers."""
    ids = (row.interview_request_id for row in rows if isinstance(row, UpdateRow))
    return await ledger.interviews_remembered(set(ids))


async def _run(
    file_run: FileRun[UpdateRow, Any],
    hindsight: HindsightSession,
    ledger: Ledger | None,
    wait_for_network: float,
) -> int:
    async with AsyncExitStack() as opened:
        run = None if ledger is None else await opened.enter_async_context(ledger.run())
        await opened.enter_async_context(hindsight)
        update_many = partial(
            hindsight.interviews.update_many, merge_into=run, wait_for_network=wait_for_network
        )
        return await file_run.run(hindsight, update_many)
