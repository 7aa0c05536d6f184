"""Questions and their answers: whole, or as the words come, and never asked twice."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from hindsight_async import (
    AssistantMessage,
    BadRequestError,
    Citation,
    CitationEvent,
    ContentDelta,
    DeadlineExceededError,
    Delivery,
    HindsightSession,
    Message,
    OutcomeUnknownError,
    RateLimitExceededError,
    Response,
    RetryPolicy,
    SessionClosedError,
    Timeouts,
    UnknownEvent,
)
from hindsight_async.emulator import Emulator
from raw_server import raw_server

QUESTION = [Message(role="user", content="Why do we lose to Acme? ü")]
SOURCE = {
    "document_id": "doc_1",
    "document_name": "Discovery call",
    "deal_id": "deal_1",
    "deal_name": "Globex",
    "url": "https://app.usehindsight.com/documents/viewer/doc_1",
    "excerpt": "too dear",
}
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(content):
    return b"data: " + json.dumps({"type": "content_delta", "content": content}).encode() + b"\n\n"


@asynccontextmanager
async def served(**options):
    async with (
        Emulator() as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url, **options) as hindsight,
    ):
        yield emulator, hindsight.responses


@asynccontextmanager
async def scripted(script, **options):
    async with (
        raw_server(script) as server,
        HindsightSession("k3y", base_url=server.base_url, **options) as hindsight,
    ):
        yield server, hindsight.responses


def streaming(*pieces, end=END):
    """Answer each request with these pieces, then with the end."""

    async def script(connection):
        while await connection.request():
            connection.writer.write(HEAD)
            for piece in pieces:
                await asyncio.sleep(1)
                connection.writer.write(chunk(piece))
            connection.writer.write(end)

    return script


async def test_a_whole_answer_is_a_model():
    """With its sources, and what was searched for it."""
    async with served() as (emulator, responses):
        emulator.responses.say("Price.", citations=[SOURCE], tool_calls=["search_across_deals"])
        answer = await responses.create(QUESTION)
    message = AssistantMessage(content="Price.", citations=[Citation(**SOURCE)])
    assert Response(message=message, tool_calls=["search_across_deals"]) == answer
    assert {"messages": [{"role": "user", "content": QUESTION[0].content}]} == emulator.requests[0].body
    assert "Price." not in repr(answer)
    assert "too dear" not in repr(answer)


async def test_an_answer_may_be_a_message_of_the_next_question():
    """Without its sources, of which the API knows nothing there."""
    async with served() as (emulator, responses):
        emulator.responses.say("Price.", citations=[SOURCE])
        answer = await responses.create(iter(QUESTION))
        await responses.create([*QUESTION, answer.message, Message(role="user", content="And why else?")])
    sent = emulator.requests[1].body["messages"]
    assert [("user", QUESTION[0].content), ("assistant", "Price."), ("user", "And why else?")] == [
        (message["role"], message["content"]) for message in sent
    ]


async def test_a_stream_gives_each_event_as_it_comes_and_then_all_of_it():
    """Words first and sources where they come; the whole answer is the same as one that came whole."""
    loop = asyncio.get_running_loop()
    async with served() as (emulator, responses):
        for _ in range(2):
            emulator.responses.say("It is price.", citations=[SOURCE], pause=1.0)
        started = loop.time()
        async with responses.stream(QUESTION) as stream:
            events = [(event, int(loop.time() - started)) async for event in stream]
            answer = await stream.final_response()
        async with responses.stream(QUESTION) as stream:
            assert ContentDelta(content="It ") == await anext(stream)
            assert answer == await stream.final_response()
            assert [] == [event async for event in stream]
    assert [
        (ContentDelta(content="It "), 0),
        (ContentDelta(content="is "), 1),
        (ContentDelta(content="price."), 2),
        (CitationEvent(citation=Citation(**SOURCE)), 3),
    ] == events
    assert AssistantMessage(content="It is price.", citations=[Citation(**SOURCE)]) == answer.message
    assert [] == answer.tool_calls
    assert emulator.requests[0].body["stream"] is True
    assert "text/event-stream" == emulator.requests[0].headers["Accept"]


async def test_odd_events_are_given_as_they_came():
    """Nothing that is said is lost for being unknown, and what cannot be read is no end."""
    odd = [
        b'data: {"type": "tool_call", "name": "search-web"}\n\n',
        b"data: [DONE]\n\n",
        b'event: ping\ndata: {"n":\ndata: 1}\n\n',
        b'data: {"type": "content_delta", "content": null}\n\n',
        b'data: {"type": "citation", "citation": "doc_1"}\n\n',
        b'data: {"content": "no type", "n": 1}\n\n',
        b'data: {"content": "Yes", "type": "content_delta", "index": 3}\n\n',
        b'data: {"type": "citation", "citation": {"document_id": 7, "page": 2}, "n": 1}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ]
    async with scripted(streaming(*odd)) as (_, responses):
        async with responses.stream(QUESTION) as stream:
            events = [event async for event in stream]
            answer = await stream.final_response()
    assert [
        UnknownEvent(type="tool_call", data='{"type": "tool_call", "name": "search-web"}'),
        UnknownEvent(type="", data="[DONE]"),
        UnknownEvent(type="ping", data='{"n":\n1}'),
        UnknownEvent(type="content_delta", data='{"type": "content_delta", "content": null}'),
        UnknownEvent(type="citation", data='{"type": "citation", "citation": "doc_1"}'),
        UnknownEvent(type="", data='{"content": "no type", "n": 1}'),
        ContentDelta(content="Yes", extra={"index": 3}),
        CitationEvent(citation=Citation(extra={"document_id": 7, "page": 2}), extra={"n": 1}),
    ] == events[:-1]
    assert ("", 100_000) == (events[-1].type, len(events[-1].data))
    assert "Yes" == answer.message.content


async def cut(connection):
    connection.drop()


async def say_no_more(connection):
    await asyncio.sleep(10_000)


async def end_without_the_last_chunk(connection):
    connection.writer.close()


@pytest.mark.parametrize("trouble", [cut, say_no_more, end_without_the_last_chunk])
async def test_a_cut_raises_with_what_was_said_so_far(trouble):
    """Also half an event is no event; it is not asked again, and every later look says the same."""
    citation = b'data: {"type": "citation", "citation": {"document_id": "doc_1", "x": 1}}\n\n'

    async def script(connection):
        await connection.request()
        connection.writer.write(HEAD + chunk(delta("It ") + delta("is ") + citation + delta("price.")[:-7]))
        await connection.writer.drain()
        await asyncio.sleep(1)
        await trouble(connection)

    got = []
    async with scripted(script, timeouts=Timeouts(read=5.0)) as (server, responses):
        async with responses.stream(QUESTION) as stream:
            with pytest.raises(OutcomeUnknownError) as raised:
                async for event in stream:
                    got.append(event)  # noqa: PERF401  what came before the error counts
            for again in (stream.final_response, stream.__anext__):
                with pytest.raises(OutcomeUnknownError) as later:
                    await again()
                assert raised.value is later.value
    assert ["It ", "is "] == [event.content for event in got[:2]]
    error = raised.value
    assert (200, 1, "/responses", Delivery.UNKNOWN) == (
        error.status,
        error.attempts,
        error.path,
        error.delivery,
    )
    said = error.received["message"]
    assert ("assistant", "It is ", "doc_1", 1) == (
        said["role"],
        said["content"],
        said["citations"][0]["document_id"],
        said["citations"][0]["x"],
    )
    assert "It is" not in str(error)
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error": {"code": "internal_error", "message": "out of luck"}}\n\n',
        b'data: {"error": "out of luck", "status": 500}\n\n',
        b'data: {"type": "error", "message": "out of luck"}\n\n',
        b'event: error\ndata: {"message": "out of luck"}\n\n',
        b"event: error\ndata: out of luck\n\n",
    ],
)
async def test_an_error_in_a_stream_is_no_end_of_the_answer(event):
    """Half an answer never passes for a whole one."""
    async with scripted(streaming(delta("It is "), event)) as (_, responses):
        async with responses.stream(QUESTION) as stream:
            with pytest.raises(OutcomeUnknownError, match="broke the answer off: out of luck") as raised:
                await stream.final_response()
    assert "It is " == raised.value.received["message"]["content"]


async def test_an_answer_that_is_no_event_stream_is_no_empty_answer():
    """Such as the page of a proxy, which says 200 too."""

    async def script(connection):
        while await connection.request():
            connection.writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin"
            )

    async with scripted(script) as (_, responses):
        async with responses.stream(QUESTION) as stream:
            with pytest.raises(OutcomeUnknownError, match="no event stream but text/html"):
                await stream.final_response()


async def test_its_timeout_is_between_events():
    """An answer may take as long as it likes while it goes on, also beyond the session's deadline."""
    async with scripted(streaming(*[delta(".")] * 40), timeouts=Timeouts(read=3.0), deadline=5.0) as (
        _,
        responses,
    ):
        async with responses.stream(QUESTION) as stream:
            assert "." * 40 == (await stream.final_response()).message.content


async def test_leaving_the_block_closes_the_connection():
    """The server hears of it, and what was not read is not read any more."""
    hung_up = asyncio.Event()

    async def script(connection):
        while await connection.request():
            connection.writer.write(HEAD + chunk(delta("It ") + delta("is ")))
            await connection.reader.read()
            hung_up.set()

    async with scripted(script) as (server, responses):
        async with responses.stream(QUESTION) as stream:
            assert "It " == (await anext(stream)).content
        async with asyncio.timeout(5):
            await hung_up.wait()
        for late in (stream.__anext__, stream.final_response):
            with pytest.raises(RuntimeError, match="read it inside its `async with` block"):
                await late()
    assert 1 == len(server.requests)


async def test_a_stream_that_was_read_to_its_end_is_there_after_its_block():
    """Nothing more is to come."""
    async with served() as (emulator, responses):
        emulator.responses.say("Price.")
        async with responses.stream(QUESTION) as stream:
            answer = await stream.final_response()
        assert answer == await stream.final_response()


@pytest.mark.parametrize("fault", ["disconnect", "reset", "truncated"])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_question_is_not_asked_again_once_an_answer_began(fault, whole):
    """Half of one is out, and each is charged."""
    async with served() as (emulator, responses):
        emulator.fail("POST /responses", fault, at="mid_body")
        with pytest.raises(OutcomeUnknownError) as raised:
            if whole:
                await responses.create(QUESTION)
            else:
                async with responses.stream(QUESTION) as stream:
                    await stream.final_response()
        assert (200, 1) == (raised.value.status, len(emulator.requests))
        assert whole or raised.value.received["message"]["content"].startswith("You asked: Why")
        await responses.create(QUESTION)


async def test_a_refused_question_is_asked_again_as_a_refused_create():
    """After a 429, which had no effect; not after what it may have been charged for."""
    async with served(retry=RetryPolicy(first_pause=0.1)) as (emulator, responses):
        emulator.fail("POST /responses", 429, retry_after=1)
        async with responses.stream(QUESTION) as stream:
            await stream.final_response()
        assert [429, 200] == [request.status for request in emulator.requests]
        emulator.fail("POST /responses", "disconnect")
        with pytest.raises(OutcomeUnknownError):
            await responses.create(QUESTION)
        emulator.fail("POST /responses", 400, body={"message": "no"})
        with pytest.raises(BadRequestError, match="no"):
            async with responses.stream(QUESTION):
                pass
        assert 4 == len(emulator.requests)


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.5, 2.5])
async def test_a_cancelled_stream_leaves_the_session_usable(moment):
    """Before its head, between two events and behind its end."""

    async def read_all(responses):
        async with responses.stream(QUESTION) as stream:
            await stream.final_response()
            await asyncio.sleep(10_000)

    async with scripted(streaming(delta("It "), delta("is.")), max_in_flight=1) as (_, responses):
        reading = asyncio.create_task(read_all(responses))
        await asyncio.sleep(moment)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with responses.stream(QUESTION) as stream:
            assert "It is." == (await stream.final_response()).message.content


async def test_closing_the_session_ends_an_open_stream():
    """It says what was said, and the next question that the session is closed."""
    async with served() as (emulator, _):
        emulator.responses.say("It is price.", pause=100.0)
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        async with hindsight.responses.stream(QUESTION) as stream:
            await anext(stream)
            await hindsight.close()
            with pytest.raises(OutcomeUnknownError) as raised:
                await stream.final_response()
        with pytest.raises(SessionClosedError):
            async with hindsight.responses.stream(QUESTION):
                pass
    assert "It " == raised.value.received["message"]["content"]


async def test_a_head_that_does_not_come_is_given_up():
    """By `timeouts.read`, as every answer."""

    async def script(connection):
        await connection.request()
        await asyncio.sleep(10_000)

    async with scripted(script, timeouts=Timeouts(read=5.0)) as (server, responses):
        with pytest.raises((OutcomeUnknownError, DeadlineExceededError)):
            async with responses.stream(QUESTION):
                pass
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ([], ValueError, "at least one message"),
        ("Why?", TypeError, r"messages must be Message objects, such as .*, not str"),
        (7, TypeError, "messages must be Message objects, .* not int"),
        ([{"role": "user", "content": "Why?"}], TypeError, "one of them is dict"),
        ([AssistantMessage(content="x", role="tool")], ValueError, "role must be one of user, .* not 'tool'"),
    ],
)
async def test_a_wrong_question_is_named_and_nothing_is_sent(wrong, error, named):
    """At once, also where a stream is only asked for and not entered."""
    async with served() as (emulator, responses):
        with pytest.raises(error, match=named):
            await responses.create(wrong)
        with pytest.raises(error, match=named):
            responses.stream(wrong)
    assert [] == emulator.requests


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({"role": "robot", "content": "x"}, ValueError, "role must be one of user, assistant, system"),
        ({"role": "user", "content": 7}, TypeError, r"content must be text \(str\), not int"),
        ({"role": "user", "content": "half \ud800"}, ValueError, "content must be valid Unicode"),
    ],
)
def test_a_wrong_message_is_named(fields, error, named):
    """When it is made."""
    with pytest.raises(error, match=named):
        Message(**fields)


async def test_a_429_that_lasts_is_raised_before_a_stream_begins():
    """As from every call."""
    async with served() as (emulator, responses):
        emulator.fail("POST /responses", 429, times=None, retry_after=100_000)
        with pytest.raises(RateLimitExceededError):
            async with responses.stream(QUESTION):
                pass
