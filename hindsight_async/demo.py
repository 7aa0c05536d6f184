"""The main job on a local emulator: contacts from a CSV file, enrolled concurrently."""

import asyncio
import csv
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any

from attrs import frozen

from hindsight_async.budget import Plan
from hindsight_async.context import ContactContext, merge_context
from hindsight_async.emulator import Emulator
from hindsight_async.models import CreatedInterview, CreateInterview, Interview, UpdateInterview
from hindsight_async.session import HindsightSession

DEMO_PLAN = Plan.GROWTH
DEMO_SEQUENCE = "seq_demo"

_COLUMNS = ("contact_email", "contact_name", "deal_id", "sequence_id", "interview_type_id", "objective")
_LATER_NEWS = {"last_call": {"topic": "security review", "mood": "open to talk again"}}


@frozen(kw_only=True)
class Enrolment:
    """One contact's request and what the API made of it."""

    request: CreateInterview
    created: CreatedInterview


@frozen(kw_only=True)
class DemoResult:
    """All enrolments in the order of the file, and the first one as read back after its update."""

    enrolments: Sequence[Enrolment]
    read_back: Interview
    emails: int


def sample_csv() -> str:
    """Return the text of the sample file that ships in the package."""
    return files("hindsight_async").joinpath("sample_contacts.csv").read_text(encoding="utf-8")


def read_contacts(lines: Iterable[str]) -> list[CreateInterview]:
    """Read CSV lines with a header; columns that the API does not name become the contact's context.

    Raises ValueError with a text for each bad row, by its line number.
    """
    rows = csv.DictReader(lines, strict=True)
    requests: list[CreateInterview] = []
    problems: list[str] = []
    try:
        if "contact_email" not in (rows.fieldnames or ()):
            raise ValueError("the first line must name the columns, contact_email among them")
        for row in rows:
            try:
                requests.append(_request(row))
            except (TypeError, ValueError) as error:
                problems.append(f"line {rows.line_num}: {error}")
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    if not requests:
        raise ValueError("there is no contact in it")
    return requests


def _request(row: dict[Any, str | None]) -> CreateInterview:
    if None in row or None in row.values():
        raise ValueError("the row has more or fewer cells than the header")
    filled = {name: cell.strip() for name, cell in row.items() if cell and cell.strip()}
    fields = {name: filled.pop(name) for name in _COLUMNS if name in filled}
    if "contact_email" not in fields:
        raise ValueError("contact_email is empty")
    if not fields.keys() & {"sequence_id", "interview_type_id"}:
        fields["sequence_id"] = DEMO_SEQUENCE
    return CreateInterview(**fields, contact_context=filled or None)


async def enrol(
    contacts: Sequence[CreateInterview], on_enrolled: Callable[[CreateInterview], None]
) -> DemoResult:
    """Enrol all contacts at once on an emulator, enrich the first one's context and read it back.

    `on_enrolled` is called after each.
    """
    async with (
        Emulator(plan=DEMO_PLAN) as emulator,
        HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=DEMO_PLAN, deadline=None
        ) as hindsight,
    ):

        async def enrol_one(request: CreateInterview) -> Enrolment:
            created = await hindsight.interviews.create(request)
            on_enrolled(request)
            return Enrolment(request=request, created=created)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(enrol_one(request)) for request in contacts]
        enrolments = [task.result() for task in tasks]
        first = enrolments[0]
        richer = merge_context(first.request.contact_context, _news_for(first.request.contact_context))
        interview_request_id = first.created.interview_request_id
        await hindsight.interviews.update(interview_request_id, UpdateInterview(contact_context=richer))
        read_back = await hindsight.interviews.get(interview_request_id)
        return DemoResult(enrolments=enrolments, read_back=read_back, emails=len(emulator.outbox))


def _news_for(context: ContactContext | None) -> ContactContext:
    return "Open to talk again after the security review." if isinstance(context, str) else _LATER_NEWS
