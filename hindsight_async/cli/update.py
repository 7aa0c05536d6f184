"""`update`: the changes of a file, at plan speed, once a person has agreed to what they overwrite.

With `--merge` notes are merged into those that a ledger remembers; a row of whose contact it remembers none is a bad row.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from attrs import define, field
from cyclopts import Parameter

from hindsight_async.call.access import read_access
from hindsight_async.call.codec import encode
from hindsight_async.cli.contacts import BadRow, CheckedRows, UpdateRow, read_updates
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
from hindsight_async.cli.preflight import REQUESTS_SHOWN, refuse_bad_rows, time_needed
from hindsight_async.cli.problems import Problems
from hindsight_async.cli.progress import RunProgress
from hindsight_async.cli.results_file import ResultsFile
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.terminal import ExitCode, confirm, counted, refuse, say
from hindsight_async.delivery.input import SeenKeys
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.redaction import json_text
from hindsight_async.session import HindsightSession

_ADVICE = {
    OutcomeStatus.REJECTED: "correct them in the file",
    OutcomeStatus.NOT_SENT: "safe to run again",
    OutcomeStatus.UNKNOWN: "they may have been made; making them again does no harm",
}

_OVERWRITTEN = {
    "contact_context": ("contact's notes (contact_context)", "contacts' notes (contact_context)"),
    "contact_name": ("contact's name (contact_name)", "contacts' names (contact_name)"),
    "objective": ("objective", "objectives"),
}
"""What is overwritten, by the field's name: of one interview, and of more."""


@define
class _Changes:
    """How many rows are what, and what they overwrite; as text, the warning before they are sent."""

    bad: int = 0
    """Cannot be read as an update."""
    duplicates: int = 0
    """Name an interview that an earlier row names."""
    to_send: int = 0
    """Would be sent."""
    fields: Counter[str] = field(factory=Counter[str])
    """How many of `to_send` overwrite a field, by its name."""
    first: list[UpdateRow] = field(factory=list[UpdateRow])
    """The first REQUESTS_SHOWN that would go out."""
    merges: bool = False
    """Whether notes are merged into what the ledger remembers."""

    def __str__(self) -> str:
        lost = [
            f"  {self.fields[name]:>7,}  {labels[self.fields[name] > 1]}{self._how(name)}"
            for name, labels in _OVERWRITTEN.items()
            if self.fields[name]
        ]
        updates = f"This updates {counted(self.to_send, 'interview')} and overwrites"
        return "\n".join([updates, *lost, "Hindsight keeps no old values."])

    def _how(self, name: str) -> str:
        return ", merged with what the ledger remembers" * (self.merges and name == "contact_context")


@define
class _MergeableRows:
    """The rows of a file, of which those are bad that would merge into nothing."""

    rows: CheckedRows[UpdateRow]
    remembered: Collection[int]
    """The interviews whose contact's context the ledger remembers."""

    def __iter__(self) -> Iterator[UpdateRow | BadRow]:
        for row in self.rows:
            if (
                isinstance(row, BadRow)
                or row.update.contact_context is None
                or row.interview_request_id in self.remembered
            ):
                yield row
            else:
                problem = (
                    f"the ledger remembers no context of the contact of interview {row.interview_request_id}:"
                    " nothing to merge into"
                )
                yield BadRow(line=row.line, cells=row.cells, problem=problem)


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
    columns that become the context. What is overwritten is nowhere else, so it asks first. Exit codes as for enroll.

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
        rows = (
            checked if ledger is None else _MergeableRows(checked, asyncio.run(_remembered(checked, ledger)))
        )
        changes = _check(rows, merges=merge)
        for assumption in checked.assumed:
            say(assumption)
        if changes.bad and not skip_invalid:
            return refuse_bad_rows(changes.bad)
        if dry_run:
            _show_dry_run(changes, shared.requests_per_minute)
            return ExitCode.DONE
        hindsight = shared.session()
        if changes.to_send and not yes and not confirm(str(changes), from_stdin=file == STDIN):
            return refuse("nothing was sent")
        ledger_files = () if ledger is None else ledger.files
        results = ResultsFile(output, checked.columns, apart_from=[Path(file), *ledger_files])
        progress = RunProgress(changes.to_send + changes.duplicates)
        file_run = FileRun[UpdateRow, Any](
            rows, lambda row: (row.interview_request_id, row.update), results, _ADVICE, progress
        )
        return asyncio.run(_run(file_run, hindsight, ledger, patience))


async def _remembered(rows: Iterable[UpdateRow | BadRow], ledger: Ledger) -> Collection[int]:
    """Return the interviews of a file whose contact's context the ledger remembers."""
    ids = (row.interview_request_id for row in rows if isinstance(row, UpdateRow))
    return await ledger.interviews_remembered(set(ids))


def _check(rows: Iterable[UpdateRow | BadRow], *, merges: bool) -> _Changes:
    changes, problems = _Changes(merges=merges), Problems()
    with SeenKeys() as seen:
        for index, row in enumerate(rows):
            if isinstance(row, BadRow):
                changes.bad += 1
                problems.add(row)
            elif seen.first_index(str(row.interview_request_id), index) != index:
                changes.duplicates += 1
            else:
                changes.to_send += 1
                changes.fields.update(name for name in _OVERWRITTEN if getattr(row.update, name) is not None)
                if len(changes.first) < REQUESTS_SHOWN:
                    changes.first.append(row)
    problems.say()
    return changes


def _show_dry_run(changes: _Changes, limit: int) -> None:
    for row in changes.first:
        request = {"interview_request_id": row.interview_request_id, **json.loads(encode(row.update))}
        sys.stdout.write(f"{json_text(request)}\n")
    say(
        f"{changes.to_send} would be updated, {counted(changes.duplicates, 'duplicate')}, {changes.bad} invalid\n"
        f"{changes}\n{time_needed(changes.to_send, limit)}"
    )


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
