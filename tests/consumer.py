"""A small program that uses the package with full typing; the type checkers read it."""

import asyncio
from datetime import datetime

from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    Delivery,
    HindsightError,
    HindsightSession,
    Interview,
    InterviewStatus,
    OutcomeUnknownError,
    Plan,
    UpdatedInterview,
    UpdateInterview,
    merge_context,
)


async def enroll(addresses: list[str]) -> list[CreatedInterview]:
    """Enroll everyone, and say of whom it is unknown whether they were emailed."""
    async with HindsightSession(api_key="key", plan=Plan.GROWTH) as hindsight:

        async def one(address: str) -> CreatedInterview | None:
            request = CreateInterview(contact_email=address, sequence_id="seq_abc123")
            try:
                return await hindsight.interviews.create(request)
            except OutcomeUnknownError as error:
                print(f"unknown: {address}, of which came {sorted(error.received)}")
                return None
            except HindsightError as error:
                if error.delivery is Delivery.UNKNOWN:
                    print(f"unknown: {address}")
                return None

        created = await asyncio.gather(*map(one, addresses))
        return [interview for interview in created if interview is not None]


async def enrich(
    hindsight: HindsightSession, interview_request_id: int
) -> tuple[datetime | None, str | None]:
    """Read, update, and use every type on the way."""
    interview: Interview = await hindsight.interviews.get(interview_request_id)
    context = merge_context({"title": "VP"}, {"stage": "won"})
    updated: UpdatedInterview = await hindsight.interviews.update(
        interview.interview_request_id, UpdateInterview(contact_context=context)
    )
    assert updated.interview_request_id == interview_request_id
    if interview.status is InterviewStatus.COMPLETED and interview.transcript is not None:
        return interview.transcript.created_at, interview.transcript.content
    return interview.created_at, None
