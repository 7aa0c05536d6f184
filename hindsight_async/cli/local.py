"""Commands that need no account: `demo` and `emulate`."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE
from hindsight_async.cli import exit_codes
from hindsight_async.cli.demo import DEMO_PLAN, DemoResult, contacts_in, enroll, sample_contacts
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan
from hindsight_async.resources.interviews.models import CreateInterview


def demo(*, csv: Annotated[Path | None, Parameter(help="a CSV file of your own")] = None) -> int:
    """Enroll the contacts of a CSV file on a local emulator: no account, no network.

    The file is read as `enroll` reads it; every column that names no field becomes the contact's context.
    """
    try:
        with sample_contacts() if csv is None else csv.open("rb") as file:
            contacts = contacts_in(file)
    except (OSError, ValueError) as error:
        return exit_codes.refuse(f"cannot read {csv}: {error}")
    _print_result(asyncio.run(_enroll_with_progress(contacts)))
    return 0


def emulate(*, port: int = 0, plan: Plan = Plan.ESSENTIALS) -> int:
    """Serve a local emulator of the Hindsight API until interrupted.

    Parameters
    ----------
    port
        Where to listen; 0 takes a free one.
    plan
        The tier whose requests per minute it enforces.

    """
    try:
        asyncio.run(_serve(port, plan))
    except (OSError, OverflowError) as error:
        return exit_codes.refuse(f"cannot listen on port {port}: {error}")
    return 0


async def _serve(port: int, plan: Plan) -> None:
    async with Emulator(plan=plan, port=port) as emulator:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        sys.stdout.write(
            f"export {BASE_URL_VARIABLE}={emulator.base_url}\nexport {API_KEY_VARIABLE}={emulator.api_key}\n"
        )
        sys.stdout.flush()
        sys.stderr.write(
            f"A Hindsight emulator for the {plan.value} plan ({plan.requests_per_minute} requests per minute). "
            "No email leaves it. Ctrl-C stops it.\n"
        )
        await stopped.wait()


async def _enroll_with_progress(contacts: list[CreateInterview]) -> DemoResult:
    console = Console(stderr=True)
    if not console.is_terminal:
        sys.stderr.write(f"enrolling {len(contacts)} contacts on a local emulator ({DEMO_PLAN.value} plan)\n")
        return await enroll(contacts, lambda _: None)
    columns = (TextColumn("enrolling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("enrolling", total=len(contacts))
        return await enroll(contacts, lambda _: progress.advance(task))


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
        table = Table(Column("contact", no_wrap=True), "id", "status", Column("survey link", overflow="fold"))
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    else:
        for row in rows:
            sys.stdout.write("\t".join(row) + "\n")
    context = result.enrollments[0].request.contact_email
    sys.stdout.write(
        f"{len(rows)} contacts enrolled, {result.emails} emails in the emulator's outbox. "
        f"The context of {context} was enriched; read back, interview {result.read_back.interview_request_id} "
        f"is {result.read_back.status or 'of an unknown status'}.\n"
    )
