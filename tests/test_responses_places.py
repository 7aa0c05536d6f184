"""Streams last as long as they like, and leave room for everything else."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from calling import executor_to
from hindsight_async import DeadlineExceededError, Plan, RateBudget
from hindsight_async.call.request import Call, Endpoint, Reply
from hindsight_async.call.streaming import ReplyStream, StreamPlaces
from raw_server import OK, OK_BODY, raw_server

STREAM = Call(Endpoint(method="POST", route="POST /x", reply_type=ReplyStream, repeatable=False), "/stream")
PLAIN = Call(Endpoint(method="GET", route="GET /x", reply_type=bytes, repeatable=True), "/plain")
HEAD = b"HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 1000\r\nTransfer-Encoding: chunked\r\n\r\n"


async def go_on_for_ever(connection):
    """Begin each stream and never end it; answer everything else."""
    while request := await connection.request():
        connection.writer.write(HEAD if b"/stream" in request else OK)


@asynccontextmanager
async def talking(**options):
    async with raw_server(go_on_for_ever) as server, executor_to(server.base_url, **options) as executor:
        yield server, executor


def stream(executor, deadline=None):
    return executor.stream(STREAM, lane="interactive", deadline=deadline)


async def plain(executor):
    return await executor.run(PLAIN, lane="interactive", deadline=None)


async def held(executor, until):
    async with stream(executor):
        await until.wait()


@pytest.mark.parametrize(("max_in_flight", "streams"), [(1, 1), (2, 1), (5, 2), (16, 8)])
async def test_streams_take_at_most_half_of_what_may_be_in_flight(max_in_flight, streams):
    """The next one waits for one of them to close, and where there is another half, other calls pass meanwhile."""
    over = asyncio.Event()
    async with talking(max_in_flight=max_in_flight) as (server, executor):
        async with asyncio.TaskGroup() as group:
            for _ in range(streams + 3):
                group.create_task(held(executor, over))
            await asyncio.sleep(10)
            assert streams == len(server.requests)
            if max_in_flight > 1:
                others = max_in_flight - streams
                assert [OK_BODY] * others == await asyncio.gather(*[plain(executor) for _ in range(others)])
            over.set()
        assert streams + 3 == sum(b"/stream" in request for request in server.requests)


async def test_a_stream_that_waits_in_vain_says_so_at_its_deadline():
    """Nothing of it was sent, and its place in line is free again."""
    async with talking(max_in_flight=2) as (server, executor):
        async with stream(executor):
            with pytest.raises(
                DeadlineExceededError, match=r"POST /stream: as many streams are open .* \(1\)"
            ):
                async with stream(executor, deadline=5.0):
                    pass
        assert 1 == len(server.requests)
        async with stream(executor, deadline=5.0):
            assert 2 == len(server.requests)


@pytest.mark.parametrize("turns", range(12))
async def test_a_wait_that_is_cancelled_costs_no_place(turns):
    """Also in the turn of the loop in which a place comes free."""
    async with talking(max_in_flight=2) as (_, executor):
        for _ in range(3):
            async with stream(executor):
                waiting = asyncio.create_task(held(executor, asyncio.Event()))
                await asyncio.sleep(1)
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with stream(executor, deadline=5.0):
            pass


async def test_a_stream_counts_from_its_head_on():
    """Its minute in the window begins with the answer, so that a stream that lasts holds up nobody's next minute."""
    budget = RateBudget.for_plan(Plan.ESSENTIALS)
    client, answer = budget.join(2), Reply(200, {}, b"")
    client.release(await client.acquire("GET /x"), answer)
    begun, silent = [await client.acquire("POST /x") for _ in range(2)]
    client.answered(begun, answer)
    assert (57, 2) == (budget.snapshot().free_now, budget.snapshot().in_flight)
    await asyncio.sleep(90)
    waiting = asyncio.create_task(client.acquire("POST /x"))
    await asyncio.sleep(0)
    assert (59, 2) == (budget.snapshot().free_now, budget.snapshot().in_flight)
    assert not waiting.done()
    client.release(begun)
    client.release(await waiting)
    client.release(silent)
    await asyncio.sleep(90)
    still = await client.acquire("POST /x")
    assert (59, 1) == (budget.snapshot().free_now, budget.snapshot().in_flight)
    client.release(still)


async def test_those_who_wait_for_a_first_answer_go_on_at_the_head_of_a_stream():
    """A budget that knows nothing yet lets one request go ahead; that this one lasts keeps nobody back."""
    async with talking() as (_, executor), asyncio.timeout(5):
        behind = asyncio.create_task(plain(executor))
        async with stream(executor):
            assert OK_BODY == await behind


def test_each_event_loop_has_all_places():
    """Also where some on the one before it were never given back."""
    places = StreamPlaces(2)
    left_open = []

    async def take():
        left_open.append(places.take(asyncio.get_running_loop().time(), STREAM))
        await left_open[-1].__aenter__()

    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(take())
        loop.close()
    assert 2 == len(left_open)
