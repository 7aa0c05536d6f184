"""An answer that is read as it comes: judged by its head, held until it is closed, never begun twice."""

import asyncio

import pytest

from calling import executor_to
from hindsight_async import (
    DeadlineExceededError,
    Delivery,
    ForbiddenError,
    OutcomeUnknownError,
    RetryPolicy,
    Timeouts,
)
from hindsight_async.call.request import Call, Endpoint
from hindsight_async.call.streaming import ReplyStream
from raw_server import OK, OK_BODY, raw_server

ASK = Call(
    Endpoint(
        method="POST",
        route="POST /responses",
        reply_type=ReplyStream,
        repeatable=False,
        accepts="text/event-stream",
    ),
    "/responses",
    b'{"stream":true}',
)
READ = Call(
    Endpoint(method="GET", route="GET /export", reply_type=ReplyStream, repeatable=True, accepts="text/csv"),
    "/export",
)
PLAIN = Call(Endpoint(method="GET", route="GET /x", reply_type=bytes, repeatable=True), "/x")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(executor, call=ASK, deadline=None):
    return executor.stream(call, lane="interactive", deadline=deadline)


async def plain(executor):
    return await executor.run(PLAIN, lane="interactive", deadline=None)


async def speak(connection):
    """Answer a stream of two pieces, a second between them, and everything else at once."""
    while request := await connection.request():
        if b"/x " in request:
            connection.writer.write(OK)
            continue
        connection.writer.write(HEAD + chunk(b"one"))
        await asyncio.sleep(1)
        connection.writer.write(chunk(b"two") + END)


async def test_the_pieces_come_as_they_are_sent_and_the_connection_serves_again():
    """Each as soon as it is here; read to its end, the answer leaves the connection as it was."""
    loop = asyncio.get_running_loop()
    async with raw_server(speak) as server, executor_to(server.base_url) as executor:
        started = loop.time()
        async with stream(executor) as reply:
            assert (200, "text/event-stream") == (reply.status, reply.content_type)
            got = [(piece, int(loop.time() - started)) async for piece in reply]
        assert OK_BODY == await plain(executor)
    assert [(b"one", 0), (b"two", 1)] == got
    assert 1 == server.connections
    assert b"\r\nAccept: text/event-stream\r\n" in server.requests[0]
    assert 1 == server.requests[0].count(b"\r\nAccept:")


async def test_a_stream_that_is_left_early_takes_its_connection_with_it():
    """What is still to come must not be taken for the next answer."""
    async with raw_server(speak) as server, executor_to(server.base_url, max_in_flight=1) as executor:
        async with stream(executor) as reply:
            assert b"one" == await anext(reply)
        assert OK_BODY == await plain(executor)
    assert 2 == server.connections


async def test_an_open_stream_holds_its_permit():
    """Whoever may have one request in flight waits until it is closed."""
    async with raw_server(speak) as server, executor_to(server.base_url, max_in_flight=1) as executor:
        async with stream(executor) as reply:
            other = asyncio.create_task(plain(executor))
            await asyncio.sleep(10)
            assert not other.done()
            assert 1 == len(server.requests)
            assert b"onetwo" == b"".join([piece async for piece in reply])
        assert OK_BODY == await other


async def test_a_refusal_is_the_error_that_it_always_is():
    """The head judges: what is no 2xx is read whole, and its words are there."""

    async def refuse(connection):
        while await connection.request():
            body = b'{"error":{"code":"forbidden","message":"not for you"}}'
            connection.writer.write(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with raw_server(refuse) as server, executor_to(server.base_url, max_in_flight=1) as executor:
        for _ in range(2):
            with pytest.raises(ForbiddenError, match="not for you"):
                async with stream(executor):
                    pass
    assert (2, 1) == (len(server.requests), server.connections)


@pytest.mark.parametrize(("call", "requests"), [(READ, 2), (ASK, 1)])
async def test_before_its_head_a_stream_is_sent_again_only_where_that_does_no_harm(call, requests):
    """A lost connection before any answer is judged as for every other call."""

    async def lose_the_first(connection):
        await connection.request()
        if connection.number == 1:
            connection.drop()
        else:
            connection.writer.write(HEAD + chunk(b"one") + END)

    async with raw_server(lose_the_first) as server, executor_to(server.base_url) as executor:
        try:
            async with stream(executor, call) as reply:
                assert [b"one"] == [piece async for piece in reply]
        except OutcomeUnknownError as error:
            assert (ASK, Delivery.UNKNOWN) == (call, error.delivery)  # noqa: PT017
    assert requests == len(server.requests)


async def test_a_refused_connection_is_tried_again():
    """A 429 had no effect: the stream begins when the server lets it in."""

    async def not_yet(connection):
        while await connection.request():
            refused = b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            is_first = len(connection.server.requests) == 1
            connection.writer.write(refused if is_first else HEAD + chunk(b"one") + END)

    async with raw_server(not_yet) as server, executor_to(server.base_url) as executor:
        async with stream(executor) as reply:
            assert [b"one"] == [piece async for piece in reply]
    assert 2 == len(server.requests)


async def half(connection):
    await connection.request()
    connection.writer.write(HEAD + chunk(b"one"))
    await connection.writer.drain()


async def break_off(connection):
    await half(connection)
    await asyncio.sleep(1)
    connection.drop()


async def say_no_more(connection):
    await half(connection)
    await asyncio.sleep(10_000)


@pytest.mark.parametrize("call", [READ, ASK])
@pytest.mark.parametrize(
    ("fault", "what"), [(break_off, "broke off|was lost"), (say_no_more, "took too long")]
)
async def test_a_stream_that_ends_too_early_says_so_and_is_not_begun_again(call, fault, what):
    """What came was given out already; nobody is given it twice, and the next call has its permit."""
    got = []
    quick = {"timeouts": Timeouts(connect=1.0, read=3.0), "max_in_flight": 1}
    async with raw_server(fault) as server, executor_to(server.base_url, **quick) as executor:
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError, match=what) as raised:
                async with stream(executor, call) as reply:
                    async for piece in reply:
                        got.append(piece)  # noqa: PERF401  what came before the error counts
            assert (200, 1, call.path) == (raised.value.status, raised.value.attempts, raised.value.path)
    assert [b"one", b"one"] == got
    assert 2 == len(server.requests)


async def test_a_stream_may_last_longer_than_any_timeout_while_it_goes_on():
    """`timeouts.read` ends a silence, and the deadline the wait for the head; neither the answer."""

    async def go_on(connection):
        await connection.request()
        connection.writer.write(HEAD)
        for _ in range(20):
            await asyncio.sleep(2)
            connection.writer.write(chunk(b"."))
        connection.writer.write(END)

    quick = Timeouts(connect=1.0, read=3.0)
    async with raw_server(go_on) as server, executor_to(server.base_url, timeouts=quick) as executor:
        async with stream(executor, deadline=2.0) as reply:
            assert 20 == len([piece async for piece in reply])


async def test_a_head_that_does_not_come_before_the_deadline_exceeds_it():
    """As for every read."""

    async def say_nothing(connection):
        await connection.request()
        await asyncio.sleep(10_000)

    once = RetryPolicy(attempts=2)
    async with raw_server(say_nothing) as server, executor_to(server.base_url, retry=once) as executor:
        with pytest.raises(DeadlineExceededError):
            async with stream(executor, READ, deadline=2.0):
                pass


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.5, 1.5])
async def test_a_cancelled_stream_gives_back_what_it_held(moment):
    """Cancelled before its head, between two pieces or in the block: the next call passes, and closing waits for none."""

    async def read_all(executor):
        async with stream(executor) as reply:
            async for _ in reply:
                pass
            await asyncio.sleep(10_000)

    async with raw_server(speak) as server, executor_to(server.base_url, max_in_flight=1) as executor:
        reading = asyncio.create_task(read_all(executor))
        await asyncio.sleep(moment)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert OK_BODY == await plain(executor)


async def test_an_error_in_the_block_closes_the_stream():
    """It passes through as it is."""
    async with raw_server(speak) as server, executor_to(server.base_url, max_in_flight=1) as executor:
        with pytest.raises(KeyError):
            async with stream(executor):
                raise KeyError
        assert OK_BODY == await plain(executor)


async def test_closing_waits_for_an_open_stream_as_for_any_request():
    """Where whoever closes gives it time, what is under way comes to its end."""

    async def read_all(executor):
        async with stream(executor) as reply:
            return [piece async for piece in reply]

    async with raw_server(speak) as server:
        async with executor_to(server.base_url, drain=10.0) as executor:
            reading = asyncio.create_task(read_all(executor))
            await asyncio.sleep(0.5)
        assert [b"one", b"two"] == await reading
