"""A small program that uses the package with full typing; the type checkers read it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from hindsight_async import (
    Accepted,
    AttemptEnded,
    AttemptSent,
    CallEnded,
    CallStarted,
    CitationEvent,
    ContentDelta,
    CreatedInterview,
    CreateInterview,
    DateRange,
    Deal,
    DealDetails,
    DealFilters,
    DealSort,
    Delivery,
    Export,
    ExportFilters,
    Forgotten,
    HindsightError,
    HindsightSession,
    HTTPInfo,
    Interview,
    InterviewPoller,
    InterviewStatus,
    Lane,
    Ledger,
    LedgerEntry,
    LedgerRun,
    LedgerStatus,
    Message,
    Outcome,
    OutcomeStatus,
    OutcomeUnknown,
    OutcomeUnknownError,
    Paused,
    Plan,
    QueueSnapshot,
    RedisBudget,
    RetryPolicy,
    SelectedDeal,
    Timeouts,
    UnknownEvent,
    UpdatedInterview,
    UpdateInterview,
    UploadedDocument,
    WaitingForBudget,
    WaitTimeoutError,
    instrument,
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
    assert_type(await hindsight.interviews.update(4821, objective="Why not us?"), UpdatedInterview)
    by_fields = await hindsight.interviews.create(contact_email="a@b.example", sequence_id="seq_abc123")
    assert_type(by_fields, CreatedInterview)
    # Each of these is refused: mypy reports an ignored line without an error.
    await hindsight.interviews.create(sequence_id="seq_1")  # type: ignore[call-overload]
    await hindsight.interviews.update(1, sequence_id="a")  # type: ignore[call-overload]
    if interview.status is InterviewStatus.COMPLETED and interview.transcript is not None:
        return interview.transcript.created_at, interview.transcript.content
    return interview.created_at, None


async def enroll_once(requests: list[CreateInterview], lane: Lane) -> list[bool | None]:
    """Keep a ledger, share the plan with other processes, and tell who was enrolled now."""
    budget = RedisBudget("redis://localhost:6379/0", organisation="acme", plan=Plan.GROWTH)
    async with HindsightSession(budget=budget) as hindsight, Ledger("deals.db").run() as ledger:
        assert_type(ledger, LedgerRun)
        view = hindsight.with_options(
            lane=lane, deadline=None, timeouts=Timeouts(read=60), retry=RetryPolicy()
        )
        assert_type(view, HindsightSession)
        enriched = await view.interviews.enrich(4821, {"champion": True}, ledger=ledger, previous={})
        assert_type(enriched, UpdatedInterview)
        assert_type(await Ledger("deals.db").forget("jane@acme.example"), Forgotten)
        return [
            (await view.interviews.create_once(request, ledger=ledger, key=request.deal_id)).created_now
            for request in requests
        ]


async def ask_about(hindsight: HindsightSession, recording: AsyncIterator[bytes]) -> list[str | None]:
    """Upload a recording, and ask about it."""
    uploaded = await hindsight.documents.upload_to_deal(file=recording, file_name="a.mp3", deal_id="deal_1")
    assert_type(uploaded, UploadedDocument)
    question = Message(role="user", content="Why did we lose?")
    async with hindsight.responses.stream([question]) as stream:
        async for event in stream:
            assert_type(event, ContentDelta | CitationEvent | UnknownEvent)
        answer = await stream.final_response()
    again = await hindsight.responses.create([question, answer.message, question])
    return [citation.document_name for citation in again.message.citations]


async def in_doubt(requests: AsyncIterator[CreateInterview], ledger: Ledger) -> list[LedgerEntry]:
    """Run many, and list what a person has to look up."""
    async with (
        HindsightSession(blocked_recipients=["rival.test"]) as hindsight,
        hindsight.interviews.create_many(
            requests,
            ledger=ledger,
            key_of=lambda request: f"deal:{request.deal_id}",
            once_per_contact_within=timedelta(days=90),
            wait_for_network=600,
        ) as run,
    ):
        async for outcome in run:
            assert_type(outcome, Outcome[CreateInterview, CreatedInterview])
            if outcome.status is OutcomeStatus.UNKNOWN:
                assert_type(outcome.error, HindsightError | None)
    return [entry async for entry in ledger.entries() if entry.status is LedgerStatus.UNKNOWN]


async def closed_deals(hindsight: HindsightSession, since: date, sort: DealSort) -> Path | None:
    """Walk over deals, one by one and by page, and export them."""
    filters = DealFilters(status=["Closed Won"], close_date=DateRange(start=since))
    async for deal in hindsight.deals.list(filters=filters, sort=sort):
        assert_type(deal, Deal)
    async for page in hindsight.deals.list(filters=filters).pages():
        assert_type(page, list[Deal])
    assert_type(await hindsight.deals.count(filters=filters), int)
    export = await hindsight.deals.start_export(
        columns=["name"], filters=ExportFilters(close_date=filters.close_date)
    )
    try:
        export = await hindsight.deals.wait_for_export(export.export_id, timeout=600)
    except WaitTimeoutError as error:
        print(error.last.status if isinstance(error.last, Export) else "nothing is known of it")
        return None
    return await hindsight.deals.download_export(export, "deals.csv")


async def wait_for(hindsight: HindsightSession, ids: list[int]) -> list[int]:
    """Wait for one and for many, and tell which were not completed."""
    assert_type(await hindsight.interviews.wait(ids[0], every=300, timeout=86400), Interview)
    poller: InterviewPoller = hindsight.interviews.wait_many(ids, every=900, timeout=None)
    try:
        async for interview in poller:
            assert_type(interview, Interview)
    except WaitTimeoutError as error:
        assert_type(error.last, object)
    await hindsight.request("GET", "/interview-types", params={"page": 1}, json=None)
    return list(poller.open)


async def look_up(hindsight: HindsightSession) -> DealDetails:
    """Find deals, and read them whole."""
    found = [deal async for deal in hindsight.tools.select_deal(query="acme", deal_stage=["Closed Won"])]
    assert_type(found, list[SelectedDeal])
    assert_type(await hindsight.tools.call("pull-schema", {"sample_size": 5}), dict[str, Any])
    return await hindsight.tools.get_deal(deal.deal_id for deal in found if deal.deal_id is not None)


def told(
    event: CallStarted | WaitingForBudget | AttemptSent | AttemptEnded | Paused | OutcomeUnknown | CallEnded,
) -> None:
    """Hear of calls."""
    match event:
        case CallEnded(route=route, delivery=delivery, total=total):
            assert_type(delivery, Delivery | None)
            print(route, total)
        case _:
            print(event.call)


async def watched() -> HTTPInfo | None:
    """Listen to a session, and look at the answer that brought a model."""
    async with HindsightSession(on_event=told, allow_plain_http=True) as hindsight:
        hindsight.listen(told)
        instrument(hindsight, attributes={"organisation": "acme"})
        assert_type(hindsight.base_url, str)
        interview = await hindsight.interviews.get(1)
    if interview.http is not None:
        assert_type(interview.http.request_id, str | None)
    return interview.http


async def accept(hindsight: HindsightSession, request: CreateInterview) -> QueueSnapshot:
    """Queue an interview, and use the queue's ledger for another call."""
    async with hindsight.interviews.queue("deals.db", once_per_contact_within=timedelta(days=90)) as queue:
        accepted = await queue.put(request, key="hubspot:1:2")
        assert_type(accepted, Accepted)
        assert_type(await hindsight.interviews.create_once(request, ledger=queue), CreatedInterview)
        await hindsight.interviews.enrich(1, {"champion": True}, ledger=queue)
        instrument(queue)
        await queue.drain(timeout=60)
        return queue.snapshot()
