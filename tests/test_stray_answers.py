"""What arrives on a connection without having been asked for is the answer to nothing."""

import asyncio
import json
import socket
import uuid
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from hindsight_async import (
    APIError,
    CreateInterview,
    Delivery,
    HindsightSession,
    NotSentError,
    OutcomeStatus,
    OutcomeUnknownError,
    RetryPolicy,
    UpdateInterview,
)
from hindsight_async.call.connections import IDLE_SECONDS
from hindsight_async.call.connector import Connector, refuse_unasked_bytes
from raw_server import OK, client_context, raw_server

KEY = uuid.uuid4().hex
REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")

LATER = IDLE_SECONDS / 4
STRAY_ID = 999


def answer(status, body=b""):
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def created(number):
    return answer(b"201 Created", b'{"interview_request_id":%d,"contact_id":"c","status":"sent"}' % number)


WHOLE_STRAYS = {
    "408": answer(b"408 Request Timeout"),
    "400": answer(b"400 Bad Request"),
    "429": answer(b"429 Too Many Requests"),
    "201": created(STRAY_ID),
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    "a 408 of unknown length": b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\nlate",
}
STRAYS = WHOLE_STRAYS | {
    "half an answer": created(STRAY_ID)[:30],
    "an answer without its end": created(STRAY_ID)[:-10],
    "garbage": b"\x00\x15\x03I am no HTTP\r\n\r\n",
    "an empty line": b"\r\n",
    "nothing": b"",
}
STRAYS_BEHIND = {name: stray for name, stray in STRAYS.items() if stray} | {
    "one byte": b"x",
    "a NUL": b"\0",
    "the end of chunks": b"0\r\n\r\n",
}
SPOILT = [
    pytest.param(stray, closes, id=f"{stray}-{'closes' if closes else 'stays open'}")
    for stray in STRAYS
    for closes in (False, True)
    if closes or stray != "nothing"
]
"""What may happen to a connection that nobody uses; nothing at all does it no harm."""


@asynccontextmanager
async def numbering_server(*, tls=False, behind=b""):
    """Answer creates with 1, 2, 3 and so on; the second value lists the connections as they come."""
    connections = []

    async def script(connection):
        connections.append(connection)
        while await connection.request():
            number = len(connection.server.requests)
            connection.writer.write(created(number) + (behind if number == 1 else b""))

    async with raw_server(script, tls=tls) as server:
        yield server, connections


def session(server, **options):
    context = client_context() if server.scheme == "https" else None
    return HindsightSession(KEY, base_url=server.base_url, ssl=context, **options)


async def create(hindsight):
    return (await hindsight.interviews.create(REQUEST)).interview_request_id


async def read(hindsight):
    return (await hindsight.interviews.get(2)).interview_request_id


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("wait", [LATER, 0], ids=["long before", "just before"])
@pytest.mark.parametrize(("stray", "closes"), SPOILT)
async def test_what_comes_on_an_idle_connection_is_no_answer_to_the_next_create(stray, wait, closes, tls):
    """It ends the connection, whether the event loop has read it or it still lies in the kernel."""
    async with numbering_server(tls=tls) as (server, connections), session(server) as hindsight:
        assert 1 == await create(hindsight)
        connections[0].writer.write(STRAYS[stray])
        if closes:
            if not tls:  # which says so at once
                connections[0].writer.write_eof()
            connections[0].writer.close()
        if wait:
            await asyncio.sleep(wait)
        assert 2 == await create(hindsight)
        assert 3 == await create(hindsight)
    assert 2 == server.connections
    assert 3 == len(server.requests)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("stray", STRAYS_BEHIND)
async def test_what_comes_behind_an_answer_in_one_packet_is_no_answer_either(stray, tls):
    """The first answer counts, whatever stands behind it, and the connection ends with it."""
    async with (
        numbering_server(tls=tls, behind=STRAYS_BEHIND[stray]) as (server, _),
        session(server) as hindsight,
    ):
        assert [1, 2, 3] == [await create(hindsight) for _ in range(3)]
    assert 2 == server.connections


@pytest.mark.parametrize("stray", STRAYS_BEHIND)
async def test_what_comes_behind_the_last_part_of_an_answer_is_no_answer_either(stray):
    """The connection is back in the pool before aiohttp reads what stands behind the answer."""

    async def in_two_packets(connection):
        while await connection.request():
            whole = created(len(connection.server.requests))
            connection.writer.write(whole[:-10])
            await asyncio.sleep(1)
            connection.writer.write(whole[-10:] + STRAYS_BEHIND[stray])

    async with raw_server(in_two_packets) as server, session(server) as hindsight:
        assert [1, 2, 3] == [await create(hindsight) for _ in range(3)]
    assert 3 == server.connections


class NarrowConnector(Connector):
    """Reads a little at a time, as much as one packet surely carries."""

    read_buffer = bytearray(16 * 1024)


NARROW = len(NarrowConnector.read_buffer)


@asynccontextmanager
async def reading_a_little_at_a_time(server):
    context = client_context() if server.scheme == "https" else True
    async with aiohttp.ClientSession(connector=NarrowConnector(ssl=context)) as http:
        yield HindsightSession(KEY, base_url=server.base_url, http=http)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("record", [1000, NARROW])
async def test_an_answer_that_is_read_in_many_pieces_is_whole(record, tls):
    """What does not fit into the memory that it is read into is read in turn, also out of TLS."""
    said = "".join(f"**Ann:** {number}\n\n" for number in range(NARROW))
    body = json.dumps({"interview_request_id": 1, "transcript": {"content": said}}).encode()

    async def script(connection):
        while await connection.request():
            whole = answer(b"200 OK", body)
            for begin in range(0, len(whole), record):
                connection.writer.write(whole[begin : begin + record])

    async with raw_server(script, tls=tls) as server, reading_a_little_at_a_time(server) as hindsight:
        for _ in range(2):
            assert said == (await hindsight.interviews.get(1)).transcript.content
    assert 1 == server.connections


@pytest.mark.parametrize("size", [NARROW, 2 * NARROW, 3 * NARROW, 5 * NARROW])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_an_answer_that_its_connection_ends_is_whole(tls, size):
    """What came before the other end hung up is read to its end, also where it is more than is read at a time."""
    body = bytes(range(256)) * (size // 256)

    async def script(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for begin in range(0, len(body), 1500):
            connection.writer.write(body[begin : begin + 1500])
        await connection.writer.drain()
        connection.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await asyncio.sleep(1)

    async with raw_server(script, tls=tls) as server:
        context = client_context() if tls else True
        async with aiohttp.ClientSession(connector=NarrowConnector(ssl=context)) as http:
            for _ in range(20):
                async with http.get(server.base_url) as response:
                    assert body == await response.read()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("next_call", [create, read], ids=["create", "get"])
def test_what_comes_while_an_answer_is_read_slowly_is_no_answer_to_the_next_call(next_call, loop, tls):
    """Reading stops for a while then, and what TLS has read meanwhile no look at the socket shows."""
    high_water = 512 * 1024
    sizes = (high_water - 124_000, 124_000 - 500, 1_000)

    async def main():
        has_come = asyncio.Event()

        async def script(connection):
            number = connection.number
            while await connection.request():
                if number > 1:
                    connection.writer.write(created(2))
                    continue
                connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % sum(sizes))
                for stretch in (*(bytes(size) for size in sizes), created(STRAY_ID)):
                    connection.writer.write(stretch)
                    await connection.writer.drain()
                    await asyncio.sleep(0.05)
                has_come.set()

        context = client_context() if tls else True
        async with (
            raw_server(script, tls=tls) as server,
            aiohttp.ClientSession(connector=Connector(ssl=context)) as http,
        ):
            hindsight = HindsightSession(KEY, base_url=server.base_url, http=http)
            response = await http.get(server.base_url)
            await has_come.wait()
            came = 0
            while piece := await response.content.readany():
                came += len(piece)
            assert sum(sizes) == came
            assert 2 == await next_call(hindsight)
            assert 2 == server.connections

    run_on(loop, main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_comes_before_the_body_leaves_is_not_returned_for_it(loop, tls):
    """A program that looks on for a while lets a stray in; the body stays here, and the call says that nothing was sent."""

    async def main():
        looked_on, came = asyncio.Event(), asyncio.Event()

        async def script(connection):
            while await connection.request():
                connection.writer.write(created(len(connection.server.requests)))
                if len(connection.server.requests) == 1:
                    await looked_on.wait()
                    connection.writer.write(created(STRAY_ID))
                    came.set()

        async def look_on(_session, _context, _params):
            if len(server.requests) == 1:
                looked_on.set()
                await came.wait()
                await asyncio.sleep(0.05)

        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(look_on)
        async with raw_server(script, tls=tls) as server:
            connector = Connector(ssl=client_context() if tls else True)
            async with aiohttp.ClientSession(connector=connector, trace_configs=[tracing]) as http:
                hindsight = HindsightSession(
                    KEY, base_url=server.base_url, http=http, retry=RetryPolicy(attempts=1)
                )
                assert 1 == await create(hindsight)
                with pytest.raises(NotSentError):
                    await create(hindsight)
            assert 1 == len(server.requests)

    run_on(loop, main())


def run_on(loop, main):
    """Run it by the real clock, which alone other event loops know."""
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def test_half_a_stray_behind_an_answer_is_no_part_of_the_next():
    """Its other half comes after the next request left on that connection, so none may leave there."""
    stray = answer(b"429 Too Many Requests")

    async def script(connection):
        halves = iter([b"", stray[12:]])
        while await connection.request():
            number = len(connection.server.requests)
            connection.writer.write(next(halves, b"") + created(number) + stray[:12])

    async with raw_server(script) as server, session(server) as hindsight:
        assert [1, 2, 3] == [await create(hindsight) for _ in range(3)]
    assert 3 == server.connections


async def test_an_interim_answer_before_the_answer_is_none():
    """A 103 in the same packet, or one before, ends no answer."""

    async def script(connection):
        while await connection.request():
            connection.writer.write(WHOLE_STRAYS["103"])
            await asyncio.sleep(1)
            connection.writer.write(WHOLE_STRAYS["103"] + created(len(connection.server.requests)))

    async with raw_server(script) as server, session(server) as hindsight:
        assert [1, 2] == [await create(hindsight) for _ in range(2)]
    assert 1 == server.connections


class StrayBeforeTheBody(aiohttp.BytesPayload):
    """A body that leaves a moment after its connection was looked at, when something has come."""

    def __init__(self, come):
        super().__init__(b"{}")
        self.come = come

    async def write_with_length(self, writer, content_length):
        self.come()
        refuse_unasked_bytes(writer.transport)
        await super().write_with_length(writer, content_length)


async def test_what_comes_between_the_look_and_the_leaving_keeps_the_body_back():
    """The event loop may be busy in the very turn after which the body is written; it is looked once more then."""
    async with numbering_server() as (server, connections):
        async with aiohttp.ClientSession(connector=Connector()) as http:
            async with http.post(server.base_url, data=b"{}") as first:
                assert 201 == first.status
            late = StrayBeforeTheBody(lambda: connections[0].writer.write(answer(b"429 Too Many Requests")))
            with pytest.raises(aiohttp.ClientOSError, match="Can not write request body"):
                await http.post(server.base_url, data=late)
    assert 1 == len(server.requests)


async def test_reads_and_updates_take_no_stray_answer_either():
    """A get, which has no body, is as safe as a create."""

    async def script(connection):
        connections.append(connection)
        while await connection.request():
            connection.writer.write(OK)

    connections = []
    async with raw_server(script) as server, session(server, retry=RetryPolicy(attempts=1)) as hindsight:
        for _ in range(3):
            assert (
                7
                == (await hindsight.interviews.update(7, UpdateInterview(objective="x"))).interview_request_id
            )
            connections[-1].writer.write(answer(b"404 Not Found"))
    assert [3, 3] == [server.connections, len(server.requests)]


@pytest.mark.parametrize("wait", [LATER, 0], ids=["long before", "just before"])
async def test_all_spoilt_connections_are_given_up_and_their_places_with_them(wait):
    """As many calls as before go out at a time, each over a connection of its own."""

    async def together(connection):
        connections.append(connection)
        while await connection.request():
            waiting.append(connection)
            # The budget lets nobody else go before the first answer is there.
            if len(waiting) == 4 or len(connection.server.requests) == 1:
                for each in waiting:
                    each.writer.write(created(7))
                waiting.clear()

    connections, waiting = [], []
    async with raw_server(together) as server, session(server, max_in_flight=4) as hindsight:
        await create(hindsight)
        for _ in range(3):
            await asyncio.gather(*(create(hindsight) for _ in range(4)))
            for connection in connections:
                if not connection.writer.is_closing():
                    connection.writer.write(STRAYS["408"])
            await asyncio.sleep(wait)
    assert [12, 13] == [server.connections, len(server.requests)]


async def test_a_bulk_run_between_stray_answers_records_what_happened(tmp_path):
    """Every row has its own answer, and the ledger the right ids."""

    async def with_a_408_between(connection):
        while await connection.request():
            connection.writer.write(created(len(connection.server.requests)))
            await asyncio.sleep(0)
            connection.writer.write(STRAYS["408"])

    rows = [CreateInterview(contact_email=f"row{n}@acme.example", sequence_id="s") for n in range(6)]
    async with raw_server(with_a_408_between) as server, session(server, max_in_flight=1) as hindsight:
        for _ in range(2):
            async with hindsight.interviews.create_many(rows, ledger=tmp_path / "run.sqlite") as run:
                ids = {outcome.index: outcome.interview_request_id async for outcome in run}
            assert {n: n + 1 for n in range(6)} == ids
    assert 6 == len(server.requests)


async def answer_408(connection):
    while await connection.request():
        connection.writer.write(STRAYS["408"])


async def test_a_408_to_a_create_says_nothing_of_what_became_of_it():
    """The server may have sent it before it saw the request, so the create is not sent again."""
    async with raw_server(answer_408) as server, session(server) as hindsight:
        with pytest.raises(APIError, match="it may have taken effect") as raised:
            await hindsight.interviews.create(REQUEST)
    assert (408, Delivery.UNKNOWN, 1) == (raised.value.status, raised.value.delivery, raised.value.attempts)
    assert 1 == len(server.requests)


async def test_a_408_leaves_the_row_of_a_bulk_run_unknown_for_good(tmp_path):
    """No later run sends it again."""
    async with raw_server(answer_408) as server, session(server) as hindsight:
        for _ in range(2):
            async with hindsight.interviews.create_many([REQUEST], ledger=tmp_path / "run.sqlite") as run:
                (outcome,) = [outcome async for outcome in run]
            assert OutcomeStatus.UNKNOWN is outcome.status
    assert 1 == len(server.requests)


async def test_an_update_is_repeated_after_a_408():
    """It does twice what it does once, and another connection is as good."""

    async def answer_408_at_first(connection):
        while await connection.request():
            connection.writer.write(STRAYS["408"] if len(connection.server.requests) == 1 else OK)

    async with raw_server(answer_408_at_first) as server, session(server) as hindsight:
        update = await hindsight.interviews.update(7, UpdateInterview(objective="x"))
    assert 7 == update.interview_request_id
    assert 2 == len(server.requests)


async def test_a_create_cancelled_behind_the_head_of_a_408_is_told_as_unknown():
    """The status alone does not say that it was refused."""

    async def break_off(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\n")
        await asyncio.sleep(10_000)

    told = []
    async with raw_server(break_off) as server, session(server, on_outcome_unknown=told.append) as hindsight:
        call = asyncio.create_task(hindsight.interviews.create(REQUEST))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [(OutcomeUnknownError, 408)] == [(type(error), error.status) for error in told]


@asynccontextmanager
async def server_that_speaks_first(words, *, closes):
    """Say `words` to whoever connects, in the very turn of the event loop; the list has one entry for each."""
    accepted = []

    async def serve():
        while True:
            with suppress(BlockingIOError):
                connection, _ = listening.accept()
                accepted.append(connection)
                connection.sendall(words)
                if closes:
                    connection.close()
            await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        serving = asyncio.create_task(serve())
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1", accepted
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            for connection in accepted:
                connection.close()


def what_arrived(connection):
    connection.settimeout(5)
    try:
        return connection.recv(1)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(("stray", "closes"), SPOILT)
async def test_a_server_that_speaks_before_it_is_asked_is_sent_nothing(stray, closes):
    """What lies on a new connection answers nothing either, and after the last attempt the create was not sent."""
    once = RetryPolicy(attempts=1)
    async with server_that_speaks_first(STRAYS[stray], closes=closes) as (base_url, accepted):
        async with HindsightSession(KEY, base_url=base_url, retry=once) as hindsight:
            for call in (hindsight.interviews.create(REQUEST), hindsight.interviews.get(7)):
                with pytest.raises(NotSentError, match="before it was asked anything"):
                    await call
        if not closes:
            assert [b""] * len(accepted) == [what_arrived(connection) for connection in accepted]
    assert 2 == len(accepted)


async def test_a_call_cancelled_while_it_looks_at_a_new_connection_gives_its_place_back():
    """The next call over the only connection that is allowed goes out."""
    async with numbering_server() as (server, _), session(server, max_in_flight=1) as hindsight:
        for turns in range(12):
            call = asyncio.create_task(hindsight.interviews.create(REQUEST))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(100):
            assert len(server.requests) + 1 == await create(hindsight)
