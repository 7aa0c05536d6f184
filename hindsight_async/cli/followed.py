"""The interviews that `status` and `transcripts` are about: what is known of them, read at plan speed and noted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from attrs import define, field

from hindsight_async.cli.progress import quiet_about_waits
from hindsight_async.cli.steps import Steps, show_steps
from hindsight_async.cli.terminal import confirm, counted, say
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.readings import Reading, note_readings
from hindsight_async.errors import DecodeError, HindsightError, InternalServerError, NotFoundError
from hindsight_async.rate.headers import parse_rate_headers
from hindsight_async.resources.interviews.models import Interview, InterviewStatus
from hindsight_async.resources.interviews.poll_schedule import MonthlyUsage, monthly_usage
from hindsight_async.resources.interviews.waiting import DEFAULT_KEEP_QUOTA
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT, HindsightSession

COMPLETED = str(InterviewStatus.COMPLETED.value)

READ_SECONDS = 3600.0
"""The deadline of a read: it waits for its turn behind all others."""

NOTED_AT_A_TIME = 100
"""How many reads are written down together, and lost at most where the machine dies."""

_OF_ONE = (NotFoundError, DecodeError, InternalServerError)
"""What says something of one interview alone, so that the others are read on."""


@define
class Followed:
    """What is known of one interview."""

    interview_request_id: int
    contact_email: str | None = field(default=None, repr=False)
    deal_id: str | None = None
    sequence_id: str | None = None
    status: str | None = None
    """As it was read last, or as the create's answer had it; None where neither is known."""
    read_at: datetime | None = None
    completed_at: datetime | None = None
    is_new: bool = False
    """Whether it was not completed at the last look, and is now."""

    @property
    def is_open(self) -> bool:
        """Whether a read may tell anything new."""
        return self.status != COMPLETED


class Source:
    """Interviews, where they come from, and where what is learnt of them is kept.

    Args:
        name: What they are called on the screen.
        interviews: Them.
        ledger: Where what is learnt is kept; None for nowhere.

    """

    def __init__(self, name: str, interviews: Iterable[Followed], ledger: Ledger | None = None) -> None:
        self.name = name
        self.interviews = {each.interview_request_id: each for each in interviews}
        self.failed: dict[int, HindsightError] = {}
        self._ledger = ledger
        self._to_note: list[Reading] = []

    def due(self, pause: float) -> list[int]:
        """Return the ids of those that are open and were not read for so many seconds."""
        since = datetime.now(UTC) - timedelta(seconds=pause)
        return [
            number
            for number, each in self.interviews.items()
            if each.is_open and (each.read_at is None or each.read_at <= since)
        ]

    def learn(self, interview: Interview) -> None:
        """Take in what was read."""
        known, now = self.interviews[interview.interview_request_id], datetime.now(UTC)
        was_open = known.is_open
        known.status = None if interview.status is None else str(interview.status.value)
        known.read_at = now
        known.deal_id = known.deal_id or interview.deal_id
        if not known.is_open:
            said = interview.transcript
            known.completed_at = (said and said.created_at) or known.completed_at or now
            known.is_new = known.is_new or was_open
        self._to_note.append(
            Reading(
                interview_request_id=known.interview_request_id, interview_status=known.status,
                read_at=now, completed_at=known.completed_at,
            )
        )  # fmt: skip

    async def note(self, *, at_least: int = 1) -> None:
        """Write down what was learnt, if that is at least so much."""
        if self._ledger is not None and len(self._to_note) >= at_least:
            readings, self._to_note = self._to_note, []
            await self._ledger.with_connection(partial(note_readings, self._ledger.tables, readings))

    async def read(
        self,
        hindsight: HindsightSession,
        ids: Sequence[int],
        *,
        yes: bool,
        on_read: Callable[[Interview], Awaitable[object]] | None = None,
    ) -> None:
        """Read interviews at plan speed; those that cannot be read are in `failed`.

        Args:
            hindsight: The session.
            ids: Which.
            yes: Whether they may take what is kept of the month for others, without asking.
            on_read: Called with each, before anything is noted of it.

        Raises:
            HindsightError: They cannot be read. What was learnt before is kept.
            NotConfirmedError: A person was asked, and did not say yes.

        """
        patient = hindsight.with_options(lane="bulk", deadline=READ_SECONDS)
        steps, done = Steps(f"0 of {len(ids):,} interviews read"), 0

        async def read_one(number: int) -> Interview | None:
            nonlocal done
            interview = None
            try:
                interview = await patient.interviews.get(number)
            except _OF_ONE as error:
                self.failed[number] = error
            else:
                if on_read is not None:
                    await on_read(interview)
                self.learn(interview)
                await self.note(at_least=NOTED_AT_A_TIME)
            done += 1
            steps.now = f"{done:,} of {len(ids):,} interviews read"
            return interview

        try:
            if not ids:
                return
            with quiet_about_waits():
                first = await read_one(ids[0])  # alone, since its answer says what is left of the month
                ask_about_cost(first, len(ids) - 1, hindsight.budget.limit, yes=yes)
                async with show_steps(steps):
                    await _each(ids[1:], read_one)
        finally:
            await self.note()


async def _each(ids: Sequence[int], read_one: Callable[[int], Awaitable[object]]) -> None:
    """Call a function with each, as many at a time as the session takes."""
    coming = iter(ids)

    async def work() -> None:
        for number in coming:
            await read_one(number)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(DEFAULT_MAX_IN_FLIGHT, len(ids))):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def ask_about_cost(first: Interview | None, requests: int, limit: int, *, yes: bool) -> None:
    """Say what so many more reads cost, and ask where they would leave too little of the month to others.

    Args:
        first: What was read first, whose answer says what is left; None where it could not be read.
        requests: How many more reads there are.
        limit: Requests per minute.
        yes: Whether to go on without asking.

    Raises:
        NotConfirmedError: A person was asked, and did not say yes.

    """
    minutes = requests // limit
    takes = f", about {counted(minutes, 'minute')} at {limit:,} a minute" if minutes else ""
    cost = f"{counted(requests, 'more read')}{takes}"
    month = _month(first)
    if month is not None:
        cost += f";\n{month.remaining:,} of the month's {month.limit:,} requests are left"
        if requests > month.to_spend(DEFAULT_KEEP_QUOTA) and not yes:
            confirm(f"{cost}.", from_stdin=False, otherwise="No more was read.")
            return
    if minutes:
        say(f"{cost}.")


def _month(first: Interview | None) -> MonthlyUsage | None:
    answer = first and first.http
    if not answer:
        return None
    named = parse_rate_headers(answer.headers, received_at=datetime.now(UTC))
    return monthly_usage(answer.headers, named, 0.0)
