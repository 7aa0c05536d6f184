"""`demo`: the main job on a local emulator, contacts from a CSV file enrolled concurrently. No account, no network."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO

from attrs import frozen
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from hindsight_async.cli.contacts import REST, BadRow, ContactRow, read_contacts
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.emulator import Emulator
from hindsight_async.errors import HindsightError
from hindsight_async.rate import Plan
from hindsight_async.resources.interviews.context import ContactContext, merge_context
from hindsight_async.resources.interviews.models import (
    CreatedInterview,
    CreateInterview,
    Interview,
    UpdateInterview,
)
from hindsight_async.session import HindsightSession

DEMO_PLAN = Plan.GROWTH
DEMO_SEQUENCE = "seq_demo"

_LATER_NEWS = {"last_call": {"topic": "security review", "mood": "open to talk again"}}


@frozen(kw_only=True)
class Enrollment:
    """One contact's request and what the API made of it."""

    request: CreateInterview
    created: CreatedInterview


@frozen(kw_only=True)
class DemoResult:
    """What the demo has to show."""

    enrollments: Sequence[Enrollment]
    """In the order of the file."""
    read_back: Interview
    """The interview of the first one, read after its context was enriched."""
    emails: int
    """How many emails the emulator would have sent."""


def demo(*, csv: Annotated[Path | None, Parameter(help="A CSV file of your own.")] = None) -> int:
    """Enroll the contacts of a CSV file on a local emulator: no account, no network.

    The file is read as `enroll` reads it; every column that names no field becomes the contact's context.
    """
    try:
        with sample_contacts() if csv is None else csv.open("rb") as file:
            contacts = contacts_in(file)
    except (OSError, ValueError) as error:
        return refuse(f"cannot read {csv}: {error}")
    _print_result(asyncio.run(_enroll_with_progress(contacts)))
    return ExitCode.DONE


def sample_contacts() -> BinaryIO:
    """Open the sample file that ships in the package."""
    return (Path(__file__).parent / "sample_contacts.csv").open("rb")


def contacts_in(file: BinaryIO) -> list[CreateInterview]:
    """Read all contacts of a file; columns that name no field become the context.

    Raises:
        ValueError: The file cannot be used; or rows cannot, with a line for each by its line number.

    """
    rows = list(read_contacts(file, sequence_id=DEMO_SEQUENCE, context=REST))
    problems = [f"line {row.line}: {row.problem}" for row in rows if isinstance(row, BadRow)]
    if problems:
        raise ValueError("\n".join(problems))
    return [row.request for row in rows if isinstance(row, ContactRow)]


async def _enroll_with_progress(contacts: Sequence[CreateInterview]) -> DemoResult:
    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"enrolling {counted(len(contacts), 'contact')} on a local emulator ({DEMO_PLAN.value} plan)")
        return await _enroll(contacts, lambda _: None)
    columns = (TextColumn("enrolling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("enrolling", total=len(contacts))
        return await _enroll(contacts, lambda _: progress.advance(task))


async def _enroll(
    contacts: Sequence[CreateInterview], on_enrolled: Callable[[CreateInterview], None]
) -> DemoResult:
    """Enroll all contacts at once on an emulator, enrich the first one's context and read it back."""
    async with (
        Emulator(plan=DEMO_PLAN) as emulator,
        HindsightSession(
            emulator.api_key,
            base_url=emulator.base_url,
            plan=DEMO_PLAN,
            deadline=None,
            on_outcome_unknown=_nobody_is_emailed,
        ) as hindsight,
    ):

        async def enroll_one(request: CreateInterview) -> Enrollment:
            created = await hindsight.interviews.create(request)
            on_enrolled(request)
            return Enrollment(request=request, created=created)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(enroll_one(request)) for request in contacts]
        enrollments = [task.result() for task in tasks]
        first = enrollments[0]
        richer = merge_context(first.request.contact_context, _news_for(first.request.contact_context))
        interview_request_id = first.created.interview_request_id
        await hindsight.interviews.update(interview_request_id, UpdateInterview(contact_context=richer))
        read_back = await hindsight.interviews.get(interview_request_id)
        return DemoResult(enrollments=enrollments, read_back=read_back, emails=len(emulator.outbox))


def _nobody_is_emailed(error: HindsightError) -> None:
    del error


def _news_for(context: ContactContext | None) -> ContactContext:
    return "Open to talk again after the security review." if isinstance(context, str) else _LATER_NEWS


def _print_result(result: DemoResult) -> None:
    rows = [
        (
            enrollment.request.contact_email,
            str(enrollment.created.interview_request_id),
            enrollment.created.status or "",
            enrollment.created.survey_url or "",
        )
        for enrollment in result.enrollments
    ]
    console = Console()
    if console.is_terminal:
        # One below the other: side by side the two are wider than most terminals, and a link in pieces cannot be used.
        table = Table(Column("contact, and survey link", overflow="fold"), "id", "status", box=None)
        for contact, number, status, link in rows:
            table.add_row(escape(f"{contact}\n{link}"), number, escape(status))
        console.print(table)
    else:
        for row in rows:
            sys.stdout.write("\t".join(row) + "\n")
    enriched = result.enrollments[0].request.contact_email
    sys.stdout.write(
        f"{counted(len(rows), 'contact')} enrolled, {counted(result.emails, 'email')} in the emulator's outbox.\n"
        f"Enriched and read back: {enriched}, interview {result.read_back.interview_request_id},"
        f" {result.read_back.status or 'of an unknown status'}.\n"
    )
