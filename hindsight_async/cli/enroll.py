"""`enroll`: the contacts of a file, at plan speed, with a ledger beside the file."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hindsight_async.call.access import read_access
from hindsight_async.cli.contacts import CheckedRows, ContactRow, Several, read_contacts
from hindsight_async.cli.enroll_endings import EnrollEndings
from hindsight_async.cli.file_arguments import (
    DEFAULT_WAIT,
    STDIN,
    FileArgument,
    Flag,
    MapOption,
    OutputOption,
    open_copy,
    parse_context,
    parse_key,
    parse_mapping,
    parse_time,
    parse_wait,
    read_excluded,
)
from hindsight_async.cli.file_run import FileRun
from hindsight_async.cli.ledger_beside import location_beside
from hindsight_async.cli.preflight import (
    Preflight,
    Rules,
    check_file,
    refuse_bad_rows,
    say_who_is_kept_back,
    show_dry_run,
)
from hindsight_async.cli.problems import Problems
from hindsight_async.cli.progress import RunProgress
from hindsight_async.cli.results import are_results
from hindsight_async.cli.results_file import ResultsFile, results_beside
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.terminal import ExitCode, confirm, counted, refuse, say
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.location import without_password
from hindsight_async.errors import HindsightError
from hindsight_async.resources.interviews.models import CreateInterview
from hindsight_async.resources.interviews.recipients import BlockedRecipients, allowed_here
from hindsight_async.session import HindsightSession

CONFIRM_ABOVE = 25
"""So many people may be emailed without being asked."""

_RESULTS_AGAIN = """\
The file has the results of an earlier run. Its column "status" keeps nobody
from being emailed again: only that run's ledger does."""


def enroll(
    file: FileArgument,
    /,
    *,
    sequence: str | None = None,
    interview_type: str | None = None,
    ledger_at: Annotated[str | None, Parameter(name="--ledger")] = None,
    no_ledger: Annotated[bool, Flag] = False,
    store_contexts: Annotated[bool, Flag] = False,
    shared: SharedOption = DEFAULT_SHARED,
    map_: MapOption = [],  # noqa: B006  never altered
    context: str | None = None,
    several: Several | None = None,
    key: str | None = None,
    once_per_contact: str | None = None,
    exclude: Path | None = None,
    output: OutputOption = None,
    wait: str = DEFAULT_WAIT,
    skip_invalid: Annotated[bool, Flag] = False,
    dry_run: Annotated[bool, Flag] = False,
    yes: Annotated[bool, Flag] = False,
) -> int:
    """Enroll the contacts of a CSV, Excel or JSON Lines file, each once.

    The key comes from HINDSIGHT_API_KEY. All rows are checked before the first is sent. Exit codes: 0 all
    done, 1 some rejected, not sent or in another run's hand, 2 wrong usage or input, 3 unknown outcomes, 130 interrupted.

    Parameters
    ----------
    file
        The file to read; - for standard input.
    sequence
        The sequence that emails the contacts, for rows that name none.
    interview_type
        Instead of a sequence: make links only, and email nobody.
    ledger_at
        A file that remembers what was sent, so that the same command can be run again safely; or, for several
        processes that share the work, postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE. Else a file beside the input.
    no_ledger
        Remember nothing: what is run again is sent again.
    store_contexts
        Remember each contact's context in the ledger too, so that update --merge can add to it.
    shared
        For all commands.
    map_
        Which column feeds a field: contact_email="Work Email". May be given several times.
    context
        The columns that make up the contact's context, separated by commas; or rest.
    several
        What to do with several addresses in one cell: take the first, or all; else such a row is a problem.
    key
        The columns that tell a row from others, separated by commas; else contact, sequence and deal do.
    once_per_contact
        Send nobody a second interview within a time such as 90d, 12w or 36h, whatever its key.
    exclude
        A file of people who are not to be written to: an address or a domain a line, or in a CSV file's first column.
    output
        Where to write the results, .csv or .jsonl, or - for stdout; else a file beside the input.
    wait
        How long to wait for a network that is gone, such as 30s, 10m or 2h, before the run ends; 0 for not at all.
    skip_invalid
        Send the good rows although there are bad ones.
    dry_run
        Do all but send; needs no key, and makes no ledger.
    yes
        Do not ask before many people are emailed.

    """
    _check_kind(sequence, interview_type)
    patience = parse_wait(wait)
    once_within, excluded = parse_time(once_per_contact), read_excluded(exclude)
    _check_ledger_options(ledger_at, no_ledger=no_ledger, once_within=once_within, stores=store_contexts)
    rules = Rules(allowed=allowed_here(), blocked=BlockedRecipients(excluded), once_within=once_within)
    if not dry_run:
        read_access()  # which complains before anything is read or asked
    with open_copy(file) as source:
        rows = read_contacts(
            source, sequence_id=sequence, interview_type_id=interview_type,
            mapping=parse_mapping(map_), context=parse_context(context), key=parse_key(key), several=several,
        )  # fmt: skip
        location = None if no_ledger else ledger_at or location_beside(file, rows.columns, dry_run=dry_run)
        ledger = None if location is None else Ledger(location, store_contexts=store_contexts)
        shown = None if location is None else without_password(location)
        preflight = asyncio.run(_check(rows, ledger, shown, rules))
        if preflight.bad and not skip_invalid:
            return refuse_bad_rows(preflight.bad)
        if dry_run:
            show_dry_run(preflight, shared.requests_per_minute)
            return ExitCode.DONE
        hindsight = shared.session(blocked_recipients=excluded, on_outcome_unknown=_said_by_its_row)
        if not (yes or _may_be_emailed(preflight.emails, from_stdin=file == STDIN)):
            return refuse("nothing was sent")
        apart_from = [Path(file), *(ledger.files if ledger else ())]
        results = ResultsFile(results_beside(file, output), rows.columns, apart_from=apart_from)
        progress, keys = RunProgress(preflight.rows, preflight.to_send), _KeysOnTheirWay()
        endings = EnrollEndings(shown, is_secret=shown != location)
        file_run = FileRun(
            rows, keys.request_of, results, endings.advice, progress, ledger=ledger, yes=yes,
            columns=rows.mapping.fields, next_step=endings.next_step, list_unknown=endings.list_unknown,
        )  # fmt: skip
        create_many = partial(
            hindsight.interviews.create_many, ledger=ledger, key_of=keys.key_of if key else None,
            once_per_contact_within=once_within, wait_for_network=patience,
        )  # fmt: skip
        return asyncio.run(_run(file_run, hindsight, create_many))


def _check_kind(sequence: str | None, interview_type: str | None) -> None:
    if sequence is not None and interview_type is not None:
        raise ValueError("give --sequence (it emails) or --interview-type (it makes links), not both")


def _check_ledger_options(
    ledger_at: str | None, *, no_ledger: bool, once_within: timedelta | None, stores: bool
) -> None:
    if not no_ledger:
        return
    if ledger_at is not None:
        raise ValueError("give --ledger, which says where it is, or --no-ledger; not both")
    if once_within is not None:
        raise ValueError("--once-per-contact needs a ledger, which knows who was written to: no --no-ledger")
    if stores:
        raise ValueError("give --store-contexts, which keeps them in the ledger, or --no-ledger; not both")
    say("No ledger: nothing will remember who was sent.")


def _may_be_emailed(people: int, *, from_stdin: bool) -> bool:
    return people <= CONFIRM_ABOVE or confirm(f"This emails {people} people.", from_stdin=from_stdin)


async def _check(
    rows: CheckedRows[ContactRow], ledger: Ledger | None, shown: str | None, rules: Rules
) -> Preflight:
    """Say which ledger it is, and what the rows amount to with it."""
    if ledger is not None:
        state = "new"
        if await ledger.exists():
            state = f"knows {counted(sum((await ledger.counts()).values()), 'row')}"
        say(f"Ledger: {shown} ({state})")
    if are_results(rows.columns):
        say(_RESULTS_AGAIN)
    problems = Problems()
    preflight = await check_file(rows, ledger, rules, problems.add)
    problems.say()
    for assumption in rows.assumed:
        say(assumption)
    say_who_is_kept_back(preflight)
    return preflight


def _said_by_its_row(error: HindsightError) -> None:
    del error


class _KeysOnTheirWay:
    """The keys of rows whose requests are on their way into a run, which knows the requests alone."""

    def __init__(self) -> None:
        self._by_request: dict[int, str] = {}
        """By the identity of a request, which lives until its run has asked for the key."""

    def request_of(self, row: ContactRow) -> CreateInterview:
        """Return the request of a row, and keep its key."""
        if row.key is not None:
            self._by_request[id(row.request)] = row.key
        return row.request

    def key_of(self, request: CreateInterview) -> str:
        """Return the key of a request, which is asked for once."""
        return self._by_request.pop(id(request))


async def _run(
    file_run: FileRun[ContactRow, CreateInterview],
    hindsight: HindsightSession,
    create_many: Callable[..., BulkRun[CreateInterview, Any]],
) -> int:
    async with hindsight:
        return await file_run.run(hindsight, create_many)
