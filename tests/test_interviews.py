"""The three calls, end to end against the emulator."""

import asyncio
import itertools

import pytest

from hindsight_async import (
    BadRequestError,
    CreatedInterview,
    CreateInterview,
    DeadlineExceededError,
    Delivery,
    HindsightSession,
    InternalServerError,
    InterviewStatus,
    Ledger,
    LedgerStatus,
    NotFoundError,
    OutcomeStatus,
    OutcomeUnknownError,
    Plan,
    QuotaExceededError,
    RateLimitExceededError,
    RetryPolicy,
    SessionClosedError,
    UnauthorizedError,
    UpdatedInterview,
    UpdateInterview,
    merge_context,
)
from hindsight_async.emulator import Emulator
from raw_server import raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")
CALLS = {
    "POST /interviews": lambda interviews: interviews.create(REQUEST),
    "GET /interviews/{id}": lambda interviews: interviews.get(1),
    "PATCH /interviews/{id}": lambda interviews: interviews.update(1, UpdateInterview(objective="x")),
}


@pytest.fixture
async def emulator():
    async with Emulator(plan=Plan.ENTERPRISE) as running:
        yield running


@pytest.fixture
async def hindsight(emulator):
    async with HindsightSession(
        emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE
    ) as session:
        yield session


async def test_create_update_and_get_tell_one_story(emulator, hindsight):
    """What was created is what is read back, and the contact keeps the enriched context."""
    created = await hindsight.interviews.create(
        CreateInterview(
            contact_email="jane@acme.example",
            sequence_id="seq_abc123",
            contact_name="Jane Smith",
            contact_context={"title": "VP of Engineering"},
            deal_id="deal_xyz789",
            objective="Why did pricing block us?",
        )
    )
    assert CreatedInterview is type(created)
    assert InterviewStatus.SENT is created.status
    richer = merge_context({"title": "VP of Engineering"}, {"champion": True})
    updated = await hindsight.interviews.update(
        created.interview_request_id, UpdateInterview(contact_context=richer, objective="Why now?")
    )
    assert created.interview_request_id == updated.interview_request_id
    interview = await hindsight.interviews.get(created.interview_request_id)
    assert ("deal_xyz789", "Why now?") == (interview.deal_id, interview.objective)
    assert interview.created_at.tzinfo is not None
    assert ["jane@acme.example"] == [email.address for email in emulator.outbox]


async def test_a_link_is_created_without_an_email(emulator, hindsight):
    """An interview type gives a link to deliver, and Paige emails nobody."""
    created = await hindsight.interviews.create(
        CreateInterview(contact_email="jane@acme.example", interview_type_id="type_abc123")
    )
    assert InterviewStatus.CREATED is created.status
    assert created.survey_url
    assert [] == emulator.outbox


async def test_a_completed_interview_has_its_transcript(emulator, hindsight):
    """Once the interview is over its words can be read."""
    created = await hindsight.interviews.create(REQUEST)
    assert None is (await hindsight.interviews.get(created.interview_request_id)).transcript
    emulator.complete(created.interview_request_id, "**Paige:** Why?")
    interview = await hindsight.interviews.get(created.interview_request_id)
    assert InterviewStatus.COMPLETED is interview.status
    assert "**Paige:** Why?" == interview.transcript.content


async def test_many_calls_run_concurrently_over_a_bounded_pool(emulator):
    """Two hundred calls at once use no more connections than may be in flight, and each is sent once."""
    async with HindsightSession(
        emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, max_in_flight=8
    ) as hindsight:
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                request = CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="s")
                group.create_task(hindsight.interviews.create(request))
    assert sorted(f"c{number}@acme.example" for number in range(200)) == sorted(
        email.address for email in emulator.outbox
    )
    assert len({request.peer_port for request in emulator.requests}) <= 8


async def test_refusals_become_their_classes():
    """400, 401 and 404 arrive as what they are, after one attempt."""
    async with Emulator(sequences=["seq_known"]) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            with pytest.raises(BadRequestError, match="sequence_id") as raised:
                await hindsight.interviews.create(REQUEST)
            assert (400, "bad_request", 1) == (raised.value.status, raised.value.code, raised.value.attempts)
            with pytest.raises(NotFoundError):
                await hindsight.interviews.get(99)
            with pytest.raises(NotFoundError):
                await hindsight.interviews.update(99, UpdateInterview(objective="x"))
        async with HindsightSession("wrong", base_url=emulator.base_url) as hindsight:
            with pytest.raises(UnauthorizedError):
                await hindsight.interviews.create(REQUEST)
        assert 4 == len(emulator.requests)


@pytest.mark.parametrize("at", ["before_commit", "after_commit"])
@pytest.mark.parametrize("how", ["disconnect", 500, 502, 503, "html", "empty"])
async def test_a_create_is_never_repeated_after_a_doubt(emulator, hindsight, how, at):
    """Whether the server acted before it failed cannot be seen, so nobody is emailed twice."""
    emulator.fail("POST /interviews", how=how, at=at, times=None)
    with pytest.raises((OutcomeUnknownError, InternalServerError)) as raised:
        await hindsight.interviews.create(REQUEST)
    assert Delivery.UNKNOWN is raised.value.delivery
    assert 1 == len(emulator.requests)
    assert (1 if at == "after_commit" else 0) == len(emulator.outbox)


async def test_an_unreadable_answer_to_a_create_is_an_unknown_outcome(emulator, hindsight):
    """A 201 that cannot be read was created all the same, and is not repeated."""
    emulator.fail("POST /interviews", how="html", at="after_commit", status=201)
    with pytest.raises(OutcomeUnknownError, match="the server answered 201, so it was done") as raised:
        await hindsight.interviews.create(REQUEST)
    assert 201 == raised.value.status
    emulator.fail("POST /interviews", how="truncated")
    with pytest.raises(OutcomeUnknownError, match="broke off"):
        await hindsight.interviews.create(REQUEST)
    assert 2 == len(emulator.requests)


@pytest.mark.parametrize(
    "fields", ['"contact_id":null,"status":"sent"', '"contact_id":12,"status":3', '"new":[]']
)
def test_a_whole_run_is_recorded_although_each_answer_is_odd(tmp_path, fields):
    """Sixty people are emailed by sixty creates, and the ledger has every id."""
    ids = itertools.count(4821)
    rows = [CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="s") for number in range(60)]
    ledger = Ledger(tmp_path / "ledger.db")

    async def script(connection):
        while await connection.request():
            body = b'{"interview_request_id":%d,%s}' % (next(ids), fields.encode())
            head = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.writer.write(head + body)

    async def enroll():
        async with (
            raw_server(script) as server,
            HindsightSession("key", base_url=server.base_url, plan=Plan.ENTERPRISE) as hindsight,
            hindsight.interviews.create_many(rows, ledger=ledger) as run,
        ):
            outcomes = [outcome async for outcome in run]
        return len(server.requests), outcomes, [entry async for entry in ledger.entries()]

    # By the real clock, since a ledger is written by a thread.
    sent, outcomes, entries = asyncio.run(enroll())
    assert 60 == sent
    assert [OutcomeStatus.CREATED] * 60 == [outcome.status for outcome in outcomes]
    assert set(range(4821, 4881)) == {entry.interview_request_id for entry in entries}
    assert {LedgerStatus.CREATED} == {entry.status for entry in entries}


async def test_what_a_create_without_a_readable_id_was_answered_is_kept(emulator, hindsight):
    """The caller has the fields to look the interview up by, less the API key."""
    body = {"contact_id": "c", "seen": [emulator.api_key], "survey_token": "tok_secret"}
    emulator.fail("POST /interviews", how=201, body=body, at="after_commit")
    with pytest.raises(OutcomeUnknownError, match="a required field is missing") as raised:
        await hindsight.interviews.create(REQUEST)
    assert {"contact_id": "c", "seen": ["<api key>"], "survey_token": "tok_secret"} == raised.value.received
    assert "tok_secret" not in f"{raised.value}{raised.value!r}"
    assert 1 == len(emulator.requests) == len(emulator.outbox)


@pytest.mark.parametrize(
    "answer", [{"how": "empty", "status": 204}, {"how": "empty", "status": 200}, {"how": 200, "body": b"OK"}]
)
async def test_an_update_is_done_whatever_its_answer_says(emulator, hindsight, answer):
    """The answer to an update may be empty: the interview is the one that was asked for."""
    await hindsight.interviews.create(REQUEST)
    emulator.fail("PATCH /interviews/{id}", at="after_commit", **answer)
    updated = await hindsight.interviews.update(1, UpdateInterview(objective="x"))
    assert UpdatedInterview(interview_request_id=1) == updated
    assert ("x", 2) == (emulator.interviews[1].objective, len(emulator.requests))


async def test_a_get_need_not_be_told_the_id_again(emulator, hindsight):
    """A transcript is read although little else can be."""
    body = {
        "contact_id": 5,
        "created_at": "soon",
        "transcript": {"content": "**Paige:** Why?", "created_at": None},
    }
    emulator.fail("GET /interviews/{id}", how=200, body=body)
    interview = await hindsight.interviews.get(7)
    assert (7, None, None) == (interview.interview_request_id, interview.created_at, interview.status)
    assert "**Paige:** Why?" == interview.transcript.content
    assert {"contact_id": 5, "created_at": "soon"} == interview.extra


@pytest.mark.parametrize(
    ("route", "how"),
    [
        *(("GET /interviews/{id}", how) for how in ("disconnect", 500, 503, "html", "truncated")),
        *(("PATCH /interviews/{id}", how) for how in ("disconnect", 500, 503, "html")),
    ],
)
async def test_what_is_repeatable_survives_passing_faults(emulator, hindsight, route, how):
    """Three failures in a row cost pauses, not the call."""
    await hindsight.interviews.create(REQUEST)
    emulator.fail(route, how=how, times=3)
    assert 1 == (await CALLS[route](hindsight.interviews)).interview_request_id
    assert 5 == len(emulator.requests)


async def test_a_429_is_waited_out_and_sent_again():
    """Over the server's limit a create waits for the reset that the server named, and goes out once."""
    clock = asyncio.get_running_loop().time
    async with Emulator(plan=Plan.ESSENTIALS, window="sliding") as emulator:
        emulator.spend(60)
        async with HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=Plan.GROWTH
        ) as hindsight:
            started = clock()
            await hindsight.interviews.create(REQUEST)
            assert 59 <= clock() - started < 70
        assert [429, 201] == [request.status for request in emulator.requests]
        assert 1 == len(emulator.outbox)


async def test_a_429_beyond_the_deadline_raises_at_once():
    """A reset that comes too late is said at once, with the wait."""
    clock = asyncio.get_running_loop().time
    async with Emulator(plan=Plan.ESSENTIALS, window="sliding") as emulator:
        emulator.spend(60)
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url, deadline=5.0) as hindsight:
            with pytest.raises(DeadlineExceededError) as raised:
                await hindsight.interviews.create(REQUEST)
            assert clock() < 1
    assert 59 <= raised.value.retry_after < 70
    assert Delivery.REJECTED is raised.value.delivery


async def test_wrong_arguments_are_refused_before_anything_is_sent(emulator, hindsight):
    """A dict, a text id, a bool: the error names the argument and nothing leaves."""
    with pytest.raises(TypeError, match="request must be CreateInterview, not dict"):
        await hindsight.interviews.create({"contact_email": "jane@acme.example"})
    with pytest.raises(TypeError, match="request must be UpdateInterview, not CreateInterview"):
        await hindsight.interviews.update(1, REQUEST)
    for wrong in ("1", True, 1.0, None):
        with pytest.raises(TypeError, match="interview_request_id must be an int"):
            await hindsight.interviews.get(wrong)
    with pytest.raises(ValueError, match="interview_request_id must not be negative"):
        await hindsight.interviews.get(-1)
    assert [] == emulator.requests


async def test_a_call_opens_the_session_by_itself(emulator):
    """Without `async with` the first call opens it and close() closes it."""
    hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
    assert 1 == (await hindsight.interviews.create(REQUEST)).interview_request_id
    await hindsight.close()


async def test_attempts_are_the_policys(emulator):
    """A policy of one attempt sends once."""
    policy = RetryPolicy(attempts=1)
    emulator.fail("*", how=503, times=None)
    async with HindsightSession(emulator.api_key, base_url=emulator.base_url, retry=policy) as hindsight:
        with pytest.raises(InternalServerError, match="after 1 attempt"):
            await hindsight.interviews.get(1)
    assert 1 == len(emulator.requests)


async def test_a_rate_limit_that_never_ends_ends_the_call(emulator):
    """A server that says 429 for ever gets a finite number of attempts."""
    emulator.fail("*", how=429, times=None, headers={"Retry-After": "1"})
    async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
        with pytest.raises((RateLimitExceededError, DeadlineExceededError)) as raised:
            await hindsight.interviews.create(REQUEST)
    assert Delivery.REJECTED is raised.value.delivery
    assert len(emulator.requests) < 130


async def test_the_budget_holds_the_plan():
    """More calls than the plan's minute wait for the budget instead of drawing a 429."""
    clock = asyncio.get_running_loop().time
    async with (
        Emulator(plan=Plan.ESSENTIALS, window="sliding") as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight,
    ):
        await hindsight.interviews.create(REQUEST)
        async with asyncio.TaskGroup() as group:
            for _ in range(89):
                group.create_task(hindsight.interviews.get(1))
    assert 60 <= clock() < 62
    assert 90 == len(emulator.requests)
    assert 429 not in {request.status for request in emulator.requests}


async def test_a_deadline_ends_a_wait_that_nobody_could_foresee():
    """Behind a bulk row that hangs a single call leaves at its deadline, and nothing of it is left in the queue."""
    clock = asyncio.get_running_loop().time
    async with Emulator() as emulator:
        emulator.fail("*", how="slow", seconds=1000.0)
        options = {"base_url": emulator.base_url, "max_in_flight": 1, "deadline": 5.0}
        async with HindsightSession(emulator.api_key, **options) as hindsight:
            async with hindsight.interviews.create_many([REQUEST]):
                await asyncio.sleep(1)
                with pytest.raises(DeadlineExceededError) as raised:
                    await hindsight.interviews.create(REQUEST)
                assert 6 == pytest.approx(clock(), abs=0.1)
                assert Delivery.NOT_SENT is raised.value.delivery
                assert raised.value.retry_after is None
                assert "another 0" not in str(raised.value)
                assert {"interactive": 0, "bulk": 0} == hindsight.budget.snapshot().queued
            assert 0 == hindsight.budget.snapshot().in_flight
        assert 1 == len(emulator.requests)


async def test_429s_count_against_the_deadline_and_not_against_attempts(emulator):
    """More refusals than the policy has attempts are waited out."""
    emulator.fail("POST /interviews", how=429, times=6, headers={"Retry-After": "1"})
    async with HindsightSession(emulator.api_key, base_url=emulator.base_url, deadline=None) as hindsight:
        assert 1 == (await hindsight.interviews.create(REQUEST)).interview_request_id
    assert 7 == len(emulator.requests)


async def test_a_doubt_is_not_undone_by_a_later_attempt(emulator, hindsight):
    """An update that was lost once may have taken effect, whatever the next attempt says."""
    emulator.fail("PATCH /interviews/{id}", how="disconnect", times=1)
    with pytest.raises(NotFoundError) as raised:
        await hindsight.interviews.update(99, UpdateInterview(objective="x"))
    assert (Delivery.UNKNOWN, 2) == (raised.value.delivery, raised.value.attempts)


async def test_a_quota_that_is_known_to_be_used_up_sends_nothing():
    """The second create is refused without a request, and says so."""
    async with Emulator(plan=Plan.ENTERPRISE, monthly_limit=1) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            await hindsight.interviews.create(REQUEST)
            deliveries = []
            for _ in range(2):
                with pytest.raises(QuotaExceededError) as raised:
                    await hindsight.interviews.create(REQUEST)
                deliveries.append(raised.value.delivery)
    assert [Delivery.REJECTED, Delivery.NOT_SENT] == deliveries


async def test_closing_turns_those_away_who_wait():
    """A call that waits for the budget ends with the session, and not with the window."""
    clock = asyncio.get_running_loop().time
    async with Emulator(plan=Plan.ESSENTIALS, window="sliding") as emulator:
        emulator.spend(60)
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        call = asyncio.create_task(hindsight.interviews.create(REQUEST))
        await asyncio.sleep(5)
        await hindsight.close()
        with pytest.raises(SessionClosedError) as raised:
            await call
    assert clock() < 6
    assert Delivery.REJECTED is raised.value.delivery
