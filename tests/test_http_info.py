"""What a model and an error say of the HTTP answer that they came in."""

import copy
import pickle

import attrs
import pytest

from hindsight_async import (
    BadRequestError,
    CreatedInterview,
    CreateInterview,
    HindsightError,
    HindsightSession,
    Message,
    OutcomeUnknownError,
    Plan,
    QuotaExceededError,
    RateBudget,
    UpdateInterview,
)
from hindsight_async.emulator import Emulator
from raw_server import OK, raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1")
MINUTE = 60.0
LOST = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


def session(emulator, **options):
    return HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, **options)


async def test_each_model_of_an_answer_says_by_which_it_came():
    """Created, read, updated, uploaded, answered, exported: status, headers by any spelling, one attempt, no wait."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        emulator.deals.add(id="deal_1", name="Acme")
        emulator.tools.deals.append({"id": "deal_1", "name": "Acme"})
        created = await hindsight.interviews.create(REQUEST)
        number = created.interview_request_id
        answers = [
            created,
            await hindsight.interviews.get(number),
            await hindsight.interviews.update(number, UpdateInterview(objective="Why?")),
            await hindsight.responses.create([Message(role="user", content="Why?")]),
            await hindsight.documents.upload_to_deal(file=b"x", file_name="x.txt", deal_id="deal_1"),
            await hindsight.deals.start_export(columns=["name"]),
            *await hindsight.deals.get_page(),
            *[deal async for deal in hindsight.deals.list()],
            *[deal async for deal in hindsight.tools.select_deal()],
            *(await hindsight.tools.get_deal(["deal_1"])).results,
        ]
    assert 10 == len(answers)
    assert 201 == created.http.status
    for answer in answers:
        assert 2 == answer.http.status // 100
        assert "application/json" == answer.http.headers["CONTENT-type"].partition(";")[0]
        assert (1, 0.0) == (answer.http.attempts, answer.http.waited)


async def test_a_streamed_answer_says_it_too():
    """Of a stream the head of the answer counts."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        async with hindsight.responses.stream([Message(role="user", content="Why?")]) as stream:
            answer = await stream.final_response()
    assert 200 == answer.http.status
    assert "text/event-stream" in answer.http.headers["content-type"]


async def test_attempts_and_waiting_are_those_of_the_whole_call():
    """A call that waits for its turn, meets a 502 and waits again says both."""

    async def answer(connection):
        for reply in (OK, LOST, OK):
            await connection.request()
            connection.writer.write(reply)

    async with (
        raw_server(answer) as server,
        HindsightSession("k3y", base_url=server.base_url, budget=RateBudget(1), deadline=None) as hindsight,
    ):
        first, second = await hindsight.interviews.get(7), await hindsight.interviews.get(7)
    assert (1, 0.0) == (first.http.attempts, first.http.waited)
    assert 2 == second.http.attempts
    assert 2 * MINUTE - 1 <= second.http.waited <= 2 * MINUTE + 1


async def test_what_the_caller_made_has_none():
    """A model out of its constructor came in no answer, and needs none."""
    assert CreatedInterview(interview_request_id=1).http is None
    assert HindsightError("made by hand").http is None


async def test_the_answer_stays_out_of_comparisons_reprs_and_fields():
    """Two reads of the same are equal, have one hash, and no header is shown or dumped."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        number = (await hindsight.interviews.create(REQUEST)).interview_request_id
        one, other = await hindsight.interviews.get(number), await hindsight.interviews.get(number)
    assert one == other
    assert hash(one) == hash(other)
    assert one.http is not other.http
    assert "http=" not in repr(one)
    assert "http" not in {field.name for field in attrs.fields(type(one))}
    assert "http" not in attrs.asdict(one)


async def test_an_error_has_the_answer_that_it_is():
    """A refusal after an attempt that was lost tells how often it was tried, and keeps it through pickling and copying."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        emulator.fail("GET /interviews/{id}", 502, times=1)
        emulator.fail("GET /interviews/{id}", 400, times=1, headers={"X-Request-Id": "req_7"})
        with pytest.raises(BadRequestError) as raised:
            await hindsight.interviews.get(1)
    error = raised.value
    for one in (error, pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert (400, 2, "req_7") == (one.http.status, one.http.attempts, one.http.request_id)
        assert "req_7" == one.http.headers["x-REQUEST-id"]
    assert "req_7" not in repr(error)


async def test_a_server_that_names_no_request_has_no_id():
    """The id is None then, and so is `http` where no answer came."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        created = await hindsight.interviews.create(REQUEST)
        emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=1)
        with pytest.raises(OutcomeUnknownError) as raised:
            await hindsight.interviews.create(REQUEST)
    assert created.http.request_id is None
    assert raised.value.http is None


async def test_a_key_that_the_server_repeats_in_a_header_is_hidden_in_an_error():
    """What goes into logs with an error has no key in it, wherever the server put that."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        said = {"X-Echo": f"Bearer {emulator.api_key}", "X-Other": "as it was"}
        emulator.fail("GET /interviews/{id}", 400, headers=said)
        with pytest.raises(BadRequestError) as raised:
            await hindsight.interviews.get(1)
    headers = raised.value.http.headers
    assert ("Bearer <api key>", "as it was") == (headers["x-echo"], headers["x-other"])


async def test_a_month_that_is_used_up_has_the_answer_that_said_so():
    """The error that ends a call after a 429 has that answer; one that kept a later call back has none."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        emulator.fail("GET /interviews/{id}", 429, times=1, retry_after=100_000)
        with pytest.raises(QuotaExceededError) as first:
            await hindsight.interviews.get(1)
        with pytest.raises(QuotaExceededError) as second:
            await hindsight.interviews.get(1)
    assert (429, "100000") == (first.value.http.status, first.value.http.headers["retry-after"])
    assert second.value.http is None
