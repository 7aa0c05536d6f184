"""`demo`: the whole loop on a local emulator: enrolled, emailed, answered, read. No account, no network."""

import asyncio
import re
import sys
import textwrap
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Annotated, BinaryIO, Final

from attrs import evolve, frozen
from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from hindsight_async.cli.contacts import REST, BadRow, ContactRow, read_contacts
from hindsight_async.cli.file_arguments import Flag
from hindsight_async.cli.signals import ENDS, handling
from hindsight_async.cli.terminal import ExitCode, counted, harmless, open_console, refuse, say
from hindsight_async.emulator import Emulator
from hindsight_async.emulator.conversation import questions_of, transcript_of
from hindsight_async.emulator.routes import ROOT
from hindsight_async.errors import HindsightError
from hindsight_async.rate import Plan
from hindsight_async.resources.interviews.models import CreatedInterview, CreateInterview
from hindsight_async.session import HindsightSession

DEMO_PLAN = Plan.GROWTH
DEMO_SEQUENCE = "seq_demo"

SHOWN_ROWS = 5
"""How many of the contacts a person at a terminal is shown."""

TRANSCRIPT_WIDTH = 78
"""Columns."""

_FIRST_ANSWER: Final = "One place for what our three regions know about their customers."
_ANSWERS: Final = (
    "It made me the one who had to defend the choice, so I asked for references.",
    "Less than you would think. What counted was how soon we could start.",
)
_LAST_ANSWERS: Final = (
    "Pricing, mostly. And their security review took a day.",
    "Send the security papers in the first week. We waited for three.",
)

_TURN = re.compile(r"\*\*(?P<name>\S.*?):\*\* (?P<text>.*)", re.DOTALL)


@frozen(kw_only=True)
class Enrollment:
    """One contact's request, what the API made of it, and how it stood at the end."""

    request: CreateInterview
    created: CreatedInterview
    status: str


@frozen(kw_only=True)
class DemoResult:
    """What the demo has to show."""

    enrollments: Sequence[Enrollment]
    """In the order of the file; the first one was answered."""
    transcript: str
    """What was said in the interview of the first one, in Markdown, as the API has it."""
    emails: int
    """How many emails the emulator would have sent."""


def demo(
    *,
    csv: Annotated[Path | None, Parameter(help="A CSV file of your own.")] = None,
    open_: Annotated[
        bool, Flag, Parameter(name="--open", help="Open the emulator's page, and stay up.")
    ] = False,
    keep: Annotated[bool, Flag, Parameter(help="Stay up until Ctrl-C, to be looked at.")] = False,
) -> int:
    """See the whole loop on a local emulator, without an account.

    The contacts of a CSV file are enrolled, one of them answers, and what was said is read. The file is read as `enroll`
    reads it; every column that names no field becomes the contact's context.

    Examples: `hindsight-async demo`, `hindsight-async demo --open`.
    """
    try:
        with sample_contacts() if csv is None else csv.open("rb") as file:
            contacts = contacts_in(file)
    except (OSError, ValueError) as error:
        return refuse(f"cannot read {csv}: {error}")
    asyncio.run(_show(contacts, opens=open_, keeps=open_ or keep))
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


async def _show(contacts: Sequence[CreateInterview], *, opens: bool, keeps: bool) -> None:
    async with Emulator(plan=DEMO_PLAN, remote_control=keeps) as emulator:
        where = emulator.base_url.removesuffix(ROOT)
        say(f"A local Hindsight on {where} (no account, nobody is emailed)")
        _print_result(await _enroll_with_progress(emulator, contacts), are_links_open=keeps)
        if not keeps:
            say("Look around: hindsight-async demo --open")
            return
        stopped = asyncio.Event()
        with handling(ENDS, lambda _: stopped.set()):
            say(f"Look around: {emulator.page_url}\nCtrl-C ends it.")
            if opens:
                # Nobody waits for that thread: a browser in the terminal itself runs until it is closed.
                Thread(target=_open_browser, args=[emulator.page_url], daemon=True).start()
            await stopped.wait()


def _open_browser(url: str) -> None:
    if not webbrowser.open(url):
        say("No browser could be opened here: open that address yourself.")


async def _enroll_with_progress(emulator: Emulator, contacts: Sequence[CreateInterview]) -> DemoResult:
    console = open_console(stderr=True)
    if not console.is_terminal:
        say(f"enrolling {counted(len(contacts), 'contact')} ({DEMO_PLAN.value} plan)")
        return await _enroll(emulator, contacts, lambda: None)
    columns = (BarColumn(bar_width=36), MofNCompleteColumn(), TextColumn("{task.completed} created"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(contacts))
        return await _enroll(emulator, contacts, lambda: progress.advance(task))


async def _enroll(
    emulator: Emulator, contacts: Sequence[CreateInterview], on_enrolled: Callable[[], None]
) -> DemoResult:
    """Enroll all contacts at once, have the first one answer, and read what was said."""
    async with HindsightSession(
        emulator.api_key, base_url=emulator.base_url, plan=DEMO_PLAN, deadline=None,
        on_outcome_unknown=_nobody_is_emailed,
    ) as hindsight:  # fmt: skip

        async def enroll_one(request: CreateInterview) -> Enrollment:
            created = await hindsight.interviews.create(request)
            on_enrolled()
            return Enrollment(request=request, created=created, status=created.status or "")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(enroll_one(request)) for request in contacts]
        first, *others = [task.result() for task in tasks]
        number = first.created.interview_request_id
        _answer(emulator, number)
        read = await hindsight.interviews.get(number)
    transcript = None if read.transcript is None else read.transcript.content
    enrollments = [evolve(first, status=read.status or ""), *others]
    return DemoResult(enrollments=enrollments, transcript=transcript or "", emails=len(emulator.outbox))


def _answer(emulator: Emulator, number: int) -> None:
    """Answer the questions on the page of an interview, as its contact might."""
    interview = emulator.interviews[number]
    interview.questions = questions_of(interview)
    between = len(interview.questions) - 1 - len(_LAST_ANSWERS)
    interview.answers = [_FIRST_ANSWER, *_ANSWERS[:between], *_LAST_ANSWERS]
    emulator.complete(number, transcript_of(interview))


def _nobody_is_emailed(error: HindsightError) -> None:
    del error


def _print_result(result: DemoResult, *, are_links_open: bool) -> None:
    contact = result.enrollments[0].request
    said = (
        f"{contact.contact_name or contact.contact_email} answered the interview:\n"
        f"{_turns(result.transcript)}\n"
    )
    console = open_console()
    if console.is_terminal:
        console.print()
        console.print(_table(result.enrollments, are_links_open=are_links_open))
        if (more := len(result.enrollments) - SHOWN_ROWS) > 0:
            console.print(f"     \N{HORIZONTAL ELLIPSIS} {more:,} more", style="dim", highlight=False)
        sys.stdout.write(harmless(f"\n{said}\n"))
    else:
        for one in result.enrollments:
            row = (
                one.request.contact_email,
                one.created.interview_request_id,
                one.status,
                one.created.survey_url,
            )
            sys.stdout.write("\t".join(map(str, row)) + "\n")
        say(said)
    sys.stdout.flush()
    enrolled = counted(len(result.enrollments), "contact")
    say(f"{enrolled} enrolled, {counted(result.emails, 'email')} in the emulator's outbox.")


def _table(enrollments: Sequence[Enrollment], *, are_links_open: bool) -> Table:
    contact = Column("contact", overflow="fold", min_width=12)
    table = Table(Column("id", justify="right"), contact, "status", Column("link", no_wrap=True), box=None)
    for one in enrollments[:SHOWN_ROWS]:
        link = one.created.survey_url or ""
        short = Text(
            f"/survey/\N{HORIZONTAL ELLIPSIS}{link[-4:]}", style=f"link {link}" if are_links_open else ""
        )
        address = Text(harmless(one.request.contact_email))
        status = Text(one.status, style="green" if one.status == "completed" else "")
        table.add_row(str(one.created.interview_request_id), address, status, short)
    return table


def _turns(transcript: str) -> str:
    """Return a transcript as a conversation: who, by the first name, and beside it what was said."""
    turns = [_TURN.match(turn) for turn in transcript.split("\n\n")]
    said = [(turn["name"].split()[0], turn["text"]) for turn in turns if turn]
    width = max((len(name) for name, _ in said), default=0)
    return "\n".join(
        textwrap.fill(
            " ".join(text.split()), TRANSCRIPT_WIDTH,
            initial_indent=f"  {name:{width}}  ", subsequent_indent=" " * (width + 4),
        )
        for name, text in said
    )  # fmt: skip
