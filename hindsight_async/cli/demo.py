"""The main job on a local emulator: contacts from a CSV file, enrolled concurrently."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from hindsight_async.cli.contacts import REST, BadRow, ContactRow, read_contacts
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
    """All enrollments in the order of the file, and the first one as read back after its update."""

    enrollments: Sequence[Enrollment]
    read_back: Interview
    emails: int


def sample_contacts() -> BinaryIO:
    """Open the sample file that ships in the package."""
    return (Path(__file__).parent / "sample_contacts.csv").open("rb")


def contacts_in(file: BinaryIO) -> list[CreateInterview]:
    """Read all contacts of a file; columns that name no field become the context.

    Raises ValueError with a text for each bad row, by its line number.
    """
    rows = list(read_contacts(file, sequence_id=DEMO_SEQUENCE, context=REST))
    problems = [f"line {row.line}: {row.problem}" for row in rows if isinstance(row, BadRow)]
    if problems:
        raise ValueError("\n".join(problems))
    return [row.request for row in rows if isinstance(row, ContactRow)]


async def enroll(
    contacts: Sequence[CreateInterview], on_enrolled: Callable[[CreateInterview], None]
) -> DemoResult:
    """Enroll all contacts at once on an emulator, enrich the first one's context and read it back.

    `on_enrolled` is called after each.
    """
    async with (
        Emulator(plan=DEMO_PLAN) as emulator,
        HindsightSession(
            emulator.api_key,
            base_url=emulator.base_url,
            plan=DEMO_PLAN,
            deadline=None,
            on_outcome_unknown=_ignored_since_nobody_is_emailed,
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


def _ignored_since_nobody_is_emailed(error: HindsightError) -> None:
    del error


def _news_for(context: ContactContext | None) -> ContactContext:
    return "Open to talk again after the security review." if isinstance(context, str) else _LATER_NEWS
