"""The clock that the other tests stand on."""

import asyncio
import time


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
