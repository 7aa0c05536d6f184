"""`enroll` and `update`: the rows of a file, at plan speed."""

import asyncio
import shlex
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from cyclopts import Parameter

from hindsight_async.access import read_access
from hindsight_async.budget import Plan
from hindsight_async.cli import exits
from hindsight_async.cli.exits import say
from hindsight_async.cli.progress import Pace
from hindsight_async.cli.rows import ResultsFile, RowRun
from hindsight_async.cli.stock import Stock, take_stock
from hindsight_async.codec import encode
from hindsight_async.contacts import (
    REST,
    BadRow,
    ContactFileError,
    ContactRow,
    UpdateRow,
    read_contacts,
    read_updates,
)
from hindsight_async.errors import HindsightError
from hindsight_async.ledger import Ledger, without_password
from hindsight_async.outcomes import OutcomeStatus
from hindsight_async.session import HindsightSession

CONFIRM_ABOVE = 25
"""So many people may be emailed without being asked."""

STDIN = "-"


def _advice(ledger: str | None) -> dict[OutcomeStatus, str]:
    if ledger is None:
        again = "nothing remembers the rows that were sent, so run these alone again, and not the whole file"
        settle = "look them up in Hindsight before anybody sends them again"
    else:
        again = "safe to run again with this ledger"
        settle = (
            "look them up in Hindsight, then hindsight-async ledger resolve "
            f"{shlex.quote(ledger)} KEY --created ID, or --resend"
        )
    return {
        OutcomeStatus.REJECTED: "correct them in the file, or see hindsight-async ledger resolve --resend",
        OutcomeStatus.NOT_SENT: again,
        OutcomeStatus.UNKNOWN: f"they may have been emailed: {settle}",
        OutcomeStatus.CLAIMED: "another run with this ledger is at them; should it end before its time, run this again",
    }


_UPDATE_ADVICE = {
    OutcomeStatus.REJECTED: "correct them in the file",
    OutcomeStatus.NOT_SENT: "safe to run again",
    OutcomeStatus.UNKNOWN: "they may have been made; making them again does no harm",
}

Flag = Parameter(negative=())
FileArgument = Annotated[str, Parameter(allow_leading_hyphen=True)]
MapOption = Annotated[list[str], Parameter(name="--map", negative=())]


def enroll(
    file: FileArgument,
    /,
    *,
    sequence: str | None = None,
    interview_type: str | None = None,
    ledger: str | None = None,
    plan: Plan | None = None,
    map_: MapOption = [],  # noqa: B006  never altered
    context: str | None = None,
    output: Path | None = None,
    skip_invalid: Annotated[bool, Flag] = False,
    dry_run: Annotated[bool, Flag] = False,
    yes: Annotated[bool, Flag] = False,
) -> int:
    """Enrol the contacts of a CSV, TSV or JSON Lines file (- for stdin), each once.

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
        processes that share the work, postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE.
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
        Do all but send.
    yes
        Do not ask before many people are emailed.

    """
    if sequence is not None and interview_type is not None:
        return exits.refuse("give --sequence, which emails, or --interview-type, which makes links; not both")
    read_access()  # which complains before anything is read or asked
    hindsight = HindsightSession(plan=plan, on_outcome_unknown=_said_by_its_row)
    book = None if ledger is None else Ledger(ledger)
    shown = None if ledger is None else without_password(ledger)
    with _opened(file) as opened:
        rows = read_contacts(
            opened,
            sequence_id=sequence,
            interview_type_id=interview_type,
            mapping=_mapping(map_),
            context=_columns(context),
        )
        stock = asyncio.run(take_stock(rows, book, _complain))
        if stock.bad and not skip_invalid:
            return exits.refuse(
                f"{stock.bad} rows cannot be sent, so none was; correct them, or give --skip-invalid"
            )
        if dry_run:
            _show_plan(stock, hindsight)
            return exits.DONE
        if stock.emails > CONFIRM_ABOVE and not yes and not _confirmed(stock, from_stdin=file == STDIN):
            return exits.refuse("nothing was sent")
        kept = () if book is None else book.files
        results = ResultsFile(output, rows.columns, apart_from=[Path(file), *kept])
        total = stock.to_send + stock.duplicates + sum(stock.in_ledger.values())
        row_run = RowRun[ContactRow, Any](rows, lambda row: row.request, results, _advice(shown), Pace(total))
        code = asyncio.run(_enroll(row_run, hindsight, book))
    if code == exits.INTERRUPTED and ledger is not None and shown is not None:
        again = [word.replace(ledger, shown) for word in sys.argv[1:]]
        say(f"to go on where it stopped: {shlex.join(['hindsight-async', *again])}")
    elif code == exits.INTERRUPTED:
        say(
            "do not run this file again as it is: without --ledger nothing remembers who was sent; the results do"
        )
    return code


def update(
    file: FileArgument,
    /,
    *,
    plan: Plan | None = None,
    map_: MapOption = [],  # noqa: B006  never altered
    context: str | None = None,
    output: Path | None = None,
    skip_invalid: Annotated[bool, Flag] = False,
) -> int:
    """Update the interviews of a CSV, TSV or JSON Lines file (- for stdin).

    The file names each interview by its id, and what changes: contact_name, objective, contact_context or
    columns that become the context. Exit codes as for enroll.

    Parameters
    ----------
    file
        The file to read.
    plan
        The organisation's tier; else HINDSIGHT_PLAN.
    map_
        Which column feeds a field: objective="Next Question". May be given several times.
    context
        The columns that make up the contact's context, separated by commas; or rest.
    output
        Where to write the results, .csv or .jsonl; else stdout.
    skip_invalid
        Send the good rows although there are bad ones.

    """
    read_access()
    hindsight = HindsightSession(plan=plan)
    with _opened(file) as opened:
        rows = read_updates(opened, mapping=_mapping(map_), context=_columns(context))
        good = bad = 0
        for row in rows:
            if isinstance(row, BadRow):
                bad += 1
                _complain(row)
            else:
                good += 1
        if bad and not skip_invalid:
            return exits.refuse(
                f"{bad} rows cannot be sent, so none was; correct them, or give --skip-invalid"
            )
        results = ResultsFile(output, rows.columns, apart_from=[Path(file)])
        row_run = RowRun[UpdateRow, Any](
            rows, lambda row: (row.interview_request_id, row.update), results, _UPDATE_ADVICE, Pace(good)
        )
        return asyncio.run(_update(row_run, hindsight))


def _said_by_its_row(error: HindsightError) -> None:
    del error


async def _enroll(
    row_run: RowRun[ContactRow, Any], hindsight: HindsightSession, ledger: Ledger | None
) -> int:
    async with hindsight:
        return await row_run.run(
            hindsight, lambda requests: hindsight.interviews.create_many(requests, ledger=ledger)
        )


async def _update(row_run: RowRun[UpdateRow, Any], hindsight: HindsightSession) -> int:
    async with hindsight:
        return await row_run.run(hindsight, hindsight.interviews.update_many)


@contextmanager
def _opened(file: str) -> Generator[BinaryIO]:
    """Copy the input: it is read twice, and what is sent must be what was checked."""
    with tempfile.TemporaryFile() as copy:
        try:
            if file != STDIN:
                with Path(file).open("rb") as opened:
                    shutil.copyfileobj(opened, copy)
            else:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except (OSError, AttributeError) as error:
            # Python has no stdin at all where it is closed.
            why = getattr(error, "strerror", "it is closed")
            raise ContactFileError(f"{file} cannot be read: {why}") from None
        copy.seek(0)
        yield copy


def _complain(row: BadRow) -> None:
    say(f"line {row.line}: {row.problem}")


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals:
            raise ContactFileError(
                f'--map takes a field and a column, contact_email="Work Email", not {pair}'
            )
        mapping[name.strip()] = column.strip()
    return mapping


def _columns(context: str | None) -> Sequence[str]:
    if context is None or context.strip() == REST:
        return () if context is None else REST
    return [name.strip() for name in context.split(",") if name.strip()]


def _show_plan(stock: Stock, hindsight: HindsightSession) -> None:
    limit = hindsight.budget.snapshot().limit
    for request in stock.first:
        sys.stdout.write(f"{encode(request).decode()}\n")
    known = "".join(f", {count} {status.value} in the ledger" for status, count in stock.in_ledger.items())
    minutes = max(0, stock.to_send - 1) // limit
    say(
        f"{stock.to_send} would be sent ({stock.emails} emails), {stock.duplicates} duplicates, {stock.bad} invalid"
        f"{known}; at {limit} requests per minute this takes "
        f"{f'about {minutes} minutes' if minutes else 'less than a minute'}; nothing was sent"
    )


def _confirmed(stock: Stock, *, from_stdin: bool) -> bool:
    question = f"This emails {stock.emails} people."
    if from_stdin or not sys.stdin.isatty() or not sys.stderr.isatty():
        say(f"{question} Nobody can be asked here: give --yes to go on.")
        return False
    sys.stderr.write(f"{question} Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
