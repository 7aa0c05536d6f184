"""The clock that the other tests stand on."""

import asyncio
import sqlite3
import time

import aiosqlite

SOON = 0.05
"""Real seconds that a thread is at work for, while the clock has a timer that is due sooner."""


async def test_an_hour_of_sleep_takes_no_time():
    """A sleep moves the loop's clock and not the wall's."""
    loop, real = asyncio.get_running_loop(), time.monotonic()
    await asyncio.sleep(3600)
    assert 3600 <= loop.time() < 3601
    assert time.monotonic() - real < 5


async def test_bytes_on_a_socket_arrive_before_the_clock_jumps():
    """An answer that is on its way is read before a time-out that lies further off."""

    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        async with asyncio.timeout(5):
            assert b"hello\n" == await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_timers_fire_in_order():
    """Timers set out of order fire in the order of their times."""
    fired = []
    loop = asyncio.get_running_loop()
    for delay in (30, 10, 20):
        loop.call_later(delay, fired.append, delay)
    await asyncio.sleep(31)
    assert [10, 20, 30] == fired


async def test_the_clock_stands_still_while_a_thread_works():
    """What an executor does for the loop, such as resolving a name, is done before a time-out that lies further off."""
    async with asyncio.timeout(SOON / 10):
        await asyncio.to_thread(time.sleep, SOON)
    assert asyncio.get_running_loop().time() < SOON / 10


async def test_the_clock_stands_still_while_sqlite_works():
    """What a connection to SQLite has been told is done before a time-out that lies further off."""

    def connected():
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.create_function("at_work", 0, lambda: time.sleep(SOON))
        return connection

    async with aiosqlite.Connection(connected, 64) as connection, asyncio.timeout(SOON / 10):
        await connection.execute("SELECT at_work()")
    assert asyncio.get_running_loop().time() < SOON / 10
