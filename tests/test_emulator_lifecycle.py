"""Starting and stopping the emulator leaves nothing behind."""

import asyncio
import gc
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
import pytest

from hindsight_async.emulator import Emulator
from hindsight_async.emulator.listener import reachable_here
from virtual_time import VirtualTimeLoop

BODY = {"contact_email": "jane@acme.example", "sequence_id": "seq_abc123"}


def authorized(emulator):
    return aiohttp.ClientSession(
        f"{emulator.base_url}/", headers={"Authorization": f"Bearer {emulator.api_key}"}
    )


async def tasks_left():
    for _ in range(10):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_close_leaves_no_task_and_no_connection_and_may_be_called_twice():
    """An idle pooled connection reads its end, the port refuses, and no task is left."""
    emulator = Emulator()
    await emulator.start()
    port = int(emulator.base_url.removesuffix("/api/v1").rsplit(":", 1)[1])
    async with authorized(emulator) as http:
        async with http.get("interviews/1") as response:
            assert 404 == response.status
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await emulator.close()
        await emulator.close()
        assert set() == await tasks_left()
        assert b"" == await reader.read()
        writer.close()
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get("interviews/1")


async def test_closing_what_was_never_started_is_fine():
    """Nothing happens."""
    await Emulator().close()


@pytest.mark.parametrize("at", ["before_commit", "after_commit", "mid_body"])
async def test_a_slow_answer_in_flight_is_cancelled_when_the_emulator_closes(at):
    """The caller is cut off at once; the clock has not moved by the hour the answer would have taken."""
    loop = asyncio.get_running_loop()
    emulator = Emulator()
    await emulator.start()
    emulator.fail("POST /interviews", how="slow", seconds=3600.0, at=at)
    async with authorized(emulator) as http:
        call = asyncio.create_task(asked(http))
        while not (emulator.requests and emulator.requests[0].body):
            await asyncio.sleep(0)
        before = loop.time()
        await emulator.close()
        with pytest.raises(aiohttp.ClientError):
            await call
        assert loop.time() - before < 0.5
        assert emulator.requests[0].status == (201 if at == "mid_body" else None)
    assert set() == await tasks_left()


async def asked(http):
    async with http.post("interviews", json=BODY) as response:
        return response.status, await response.json()


async def test_a_caller_that_hangs_up_takes_its_slow_answer_along():
    """Not acted on if that was still to come, and no task stays to wait for the hour."""
    for at, created in (("before_commit", 0), ("after_commit", 1)):
        async with Emulator() as emulator, authorized(emulator) as http:
            emulator.fail("POST /interviews", how="slow", seconds=3600.0, at=at)
            with pytest.raises(TimeoutError):
                await http.post("interviews", json=BODY, timeout=aiohttp.ClientTimeout(sock_read=30))
            await asyncio.sleep(1)
            assert created == len(emulator.interviews) == len(emulator.outbox)
            assert emulator.requests[0].status is None
            await asyncio.sleep(7200)
            assert created == len(emulator.interviews)


async def test_after_a_close_it_opens_the_same_port_with_all_that_was_there():
    """An outage: refused, then back with its interviews, its key and its count."""
    emulator = Emulator()
    async with emulator:
        address = emulator.base_url
        async with authorized(emulator) as http:
            assert 201 == (await asked(http))[0]
    async with emulator, authorized(emulator) as http:
        assert (address, 1) == (emulator.base_url, len(emulator.outbox))
        async with http.get("interviews/1") as response:
            assert 200 == response.status
            assert "58" == response.headers["X-RateLimit-Remaining"]


async def test_a_second_start_is_refused():
    """It serves on as before."""
    async with Emulator() as emulator:
        with pytest.raises(RuntimeError, match="started already"):
            await emulator.start()
        async with authorized(emulator) as http:
            assert 201 == (await asked(http))[0]


def test_it_cannot_move_to_another_loop():
    """Its clock is that of the loop it was started on."""

    async def start_and_close(emulator):
        async with emulator:
            pass

    emulator = Emulator()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(start_and_close(emulator))
    with (
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
        pytest.raises(RuntimeError, match="event loop"),
    ):
        runner.run(start_and_close(emulator))


async def test_a_taken_port_is_an_os_error_and_leaves_nothing():
    """The port can be asked for; two cannot have it."""
    async with Emulator() as first:
        port = int(first.base_url.removesuffix("/api/v1").rsplit(":", 1)[1])
        second = Emulator(port=port)
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.close()


@pytest.mark.parametrize("ask", [lambda e: e.base_url, lambda e: e.spend(1), lambda e: e.complete(1)])
def test_before_the_start_there_is_no_address_and_no_clock(ask):
    """A clear error, and a repr and empty collections that need neither."""
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="not started"):
        ask(emulator)
    assert "<Emulator not started ESSENTIALS>" == repr(emulator)
    assert ({}, {}, [], []) == (emulator.interviews, emulator.contacts, emulator.outbox, emulator.requests)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "localhost"}, "an IP address such as 127.0.0.1, not 'localhost'"),
        ({"host": ""}, "an IP address"),
        ({"host": "example.com"}, "an IP address"),
        ({"reset_unit": "minutes"}, "'minutes'"),
        ({"window": "hourly"}, "'hourly'"),
        ({"requests_per_minute": 0}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_at_construction(options, words):
    """The error names the value."""
    with pytest.raises(ValueError, match=words):
        Emulator(**options)


async def test_an_ipv6_loopback_address_is_bracketed():
    """The address can be used as it is."""
    try:
        async with Emulator(host="::1") as emulator, authorized(emulator) as http:
            assert emulator.base_url.startswith("http://[::1]:")
            assert 201 == (await asked(http))[0]
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize("steps", range(8))
async def test_a_start_that_is_cancelled_leaves_no_port_open(steps):
    """After any number of steps of the loop; a socket that nobody closes would be a warning, and so an error."""
    emulator = Emulator()
    starting = asyncio.create_task(emulator.start())
    for _ in range(steps):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await emulator.close()
    del starting
    gc.collect()
    await emulator.start()
    await emulator.close()


@pytest.mark.parametrize("steps", range(1, 9))
async def test_a_close_that_is_cancelled_leaves_no_port_open(steps):
    """After any number of steps of the loop, as by Ctrl-C at the end of a program; the next start opens it again."""
    emulator = Emulator()
    await emulator.start()
    closing = asyncio.create_task(emulator.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(emulator.base_url).port))
    await emulator.start()
    await emulator.close()


@pytest.mark.parametrize("steps", range(8))
async def test_a_close_leaves_no_connection_open(steps):
    """Also of one that came so many steps of the loop ago; the caller sees its end, and waits for no answer."""
    emulator = Emulator()
    await emulator.start()
    with socket.create_connection(("127.0.0.1", urlsplit(emulator.base_url).port)) as caller:
        caller.sendall(b"POST /api/v1/interviews HTTP/1.1\r\n")
        for _ in range(steps):
            await asyncio.sleep(0)
        await emulator.close()
        await asyncio.sleep(0)
        caller.setblocking(False)
        with suppress(ConnectionResetError):
            assert b"" == caller.recv(1000)


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
    ],
)
def test_the_unspecified_address_is_reached_by_the_loopback_one(host, seen):
    """As a destination it is none."""
    assert seen == reachable_here(host)
