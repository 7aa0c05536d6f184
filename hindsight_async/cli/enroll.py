"""`enroll`: the contacts of a file, at plan speed, with a ledger beside the file."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hindsight_async.call.access import read_access
from hindsight_async.cli.before_sending import BeforeSending
from hindsight_async.cli.contacts import ContactRow, Several, read_contacts
from hindsight_async.cli.enroll_endings import EnrollEndings
from hindsight_async.cli.file_arguments import (
    DEFAULT_WAIT,
    STDIN,
    FileArgument,
    Flag,
    LimitOption,
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
from hindsight_async.cli.ledger_beside import check_ledger_options, location_beside
from hindsight_async.cli.preflight import Rules
from hindsight_async.cli.progress import RunProgress
from hindsight_async.cli.results_file import RESULTS_SUFFIX, ResultsFile, results_beside
from hindsight_async.cli.row_keys import RowKeys
from hindsight_async.cli.selection import TEST_RESULTS_SUFFIX, first_rows, rows_to_oneself
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.location import without_password
from hindsight_async.errors import HindsightError
from hindsight_async.resources.interviews.models import CreateInterview
from hindsight_async.resources.interviews.recipients import BlockedRecipients, allowed_here
from hindsight_async.session import HindsightSession


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
    limit: LimitOption = None,
    test_to: str | None = None,
    output: OutputOption = None,
    wait: str = DEFAULT_WAIT,
    skip_invalid: Annotated[bool, Flag] = False,
    dry_run: Annotated[bool, Flag] = False,
    yes: Annotated[bool, Flag] = False,
) -> int:
    """Enroll the contacts of a CSV, Excel or JSON Lines file, each once.

    The key comes from HINDSIGHT_API_KEY. It shows what it understood of the file, checks all rows before the first is
    sent, and asks before many people are emailed. Exit codes: 0 all done, 1 some rejected, not sent or in another run's
    hand, 2 wrong usage or input, 3 unknown outcomes, 4 not confirmed, 130 interrupted.

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
    limit
        Send only the first so many of the rows that would be sent; the same command then sends the next.
    test_to
        Send the first --limit rows (else one) to this address of your own, and to nobody else. Each leaves an
        interview that cannot be deleted; there is no ledger and no check for duplicates.
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
    without = check_ledger_options(
        no_ledger=no_ledger, test_to=test_to, ledger=ledger_at, once_per_contact=once_within,
        store_contexts=store_contexts or None, key=key if test_to else None,
    )  # fmt: skip
    rules = Rules(allowed_here(), BlockedRecipients(excluded), once_within=once_within, limit=limit)
    if not dry_run:
        read_access()  # which complains before anything is read or asked
    with open_copy(file) as source:
        contacts = read_contacts(
            source, sequence_id=sequence, interview_type_id=interview_type,
            mapping=parse_mapping(map_), context=parse_context(context), key=parse_key(key), several=several,
        )  # fmt: skip
        rows = contacts if test_to is None else rows_to_oneself(contacts, limit, test_to)
        location = ledger_at or location_beside(file, contacts.columns, without=without, dry_run=dry_run)
        ledger = None if location is None else Ledger(location, store_contexts=store_contexts)
        shown = None if location is None else without_password(location)
        before = BeforeSending(file, contacts, rows, ledger, shown, rules, shared)
        question = asyncio.run(before.check(skip_invalid=skip_invalid, yes=yes))
        if dry_run:
            return question.say_of_dry_run()
        hindsight = shared.session(blocked_recipients=excluded, on_outcome_unknown=_by_its_row)
        apart_from = [Path(file), *(ledger.files if ledger else ())]
        suffix = RESULTS_SUFFIX if test_to is None else TEST_RESULTS_SUFFIX
        results = ResultsFile(results_beside(file, output, suffix), contacts.columns, apart_from=apart_from)
        question.ask(yes=yes, from_stdin=file == STDIN)
        progress, keys = RunProgress(question.preflight.rows, question.preflight.to_send), RowKeys()
        endings = EnrollEndings(shown, is_secret=shown != location)
        file_run = FileRun(
            first_rows(rows, question.preflight.cut), keys.request_of, results, endings.advice, progress,
            ledger=ledger, yes=yes, columns=contacts.mapping.fields, next_step=endings.next_step,
            list_unknown=endings.list_unknown,
        )  # fmt: skip
        create_many = partial(
            hindsight.interviews.create_many, ledger=ledger, key_of=keys.key_of if key or test_to else None,
            once_per_contact_within=once_within, wait_for_network=patience,
        )  # fmt: skip
        return asyncio.run(_run(file_run, hindsight, create_many))


def _check_kind(sequence: str | None, interview_type: str | None) -> None:
    if sequence is not None and interview_type is not None:
        raise ValueError("give --sequence (it emails) or --interview-type (it makes links), not both")


def _by_its_row(error: HindsightError) -> None:
    del error


async def _run(
    file_run: FileRun[ContactRow, CreateInterview],
    hindsight: HindsightSession,
    create_many: Callable[..., BulkRun[CreateInterview, Any]],
) -> int:
    async with hindsight:
        return await file_run.run(hindsight, create_many)
