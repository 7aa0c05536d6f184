"""What waiting for the rate budget costs: `python -m benchmarks.waiters`.

Prints the loop's lag while 20,000 callers queue and half of them give up, the cost of one grant with 100 to
100,000 queued, and the cost of taking a slot and giving it back that nobody else wants; the costs also as ratios
to taking a bare aiolimiter in the same run.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from aiolimiter import AsyncLimiter

from hindsight_async.budget import Door, RateBudget

PLENTY = 1_000_000
"""Requests per minute that nothing here uses up."""

ROUTE = "POST /interviews"
ROUNDS = 20_000
REPEATS = 5
CROWD = 20_000
GRANTS = 2_000
QUEUES = (100, 1_000, 10_000, 100_000)
TICK = 0.001
MICROSECONDS = 1e6


async def take_and_give_back(door: Door) -> None:
    """Do what a request does, without the request."""
    async with door.slot(route=ROUTE):
        pass


async def cpu_per_round(action: Callable[[], Awaitable[None]], rounds: int = ROUNDS) -> float:
    """Tell the seconds of CPU that one round takes, the best of some repeats."""
    best = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        began = time.process_time()
        for _ in range(rounds):
            await action()
        best = min(best, (time.process_time() - began) / rounds)
    return best


async def bare() -> float:
    """Measure a limiter with capacity to spare."""
    limiter = AsyncLimiter(PLENTY, 60)

    async def take() -> None:
        async with limiter:
            pass

    return await cpu_per_round(take)


async def uncontended() -> float:
    """Measure a slot that nobody else wants."""
    door = RateBudget(PLENTY).join(1)
    return await cpu_per_round(lambda: take_and_give_back(door))


async def per_grant(
    queued: int, use: Callable[[], Awaitable[None]], hold: AbstractAsyncContextManager[object]
) -> float:
    """Measure the CPU of one turn out of a queue of callers that all `use` what `hold` keeps from them."""
    turns = max(1, GRANTS // queued)
    spent = [await grants_in_a_row(queued, min(queued, GRANTS), use, hold) for _ in range(turns)]
    return sum(spent) / turns


async def grants_in_a_row(
    queued: int, wanted: int, use: Callable[[], Awaitable[None]], hold: AbstractAsyncContextManager[object]
) -> float:
    """Measure the CPU of one of the first so many turns."""
    enough = asyncio.Event()
    served = 0

    async def wait_for_turn() -> None:
        nonlocal served
        await use()
        served += 1
        if served == wanted:
            enough.set()

    async with hold:
        crowd = [asyncio.ensure_future(wait_for_turn()) for _ in range(queued)]
        await asyncio.sleep(0)
        gc.collect()
        gc.freeze()
        began = time.process_time()
    await enough.wait()
    spent = time.process_time() - began
    gc.unfreeze()
    for caller in crowd:
        caller.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    return spent / wanted


async def per_slot(queued: int) -> float:
    """Measure one slot out of a queue."""
    door = RateBudget(PLENTY).join(1)
    await take_and_give_back(door)
    return await per_grant(queued, lambda: take_and_give_back(door), door.slot(route=ROUTE))


async def per_turn_at_a_lock(queued: int) -> float:
    """Measure one turn out of a queue at asyncio's own lock: what waking a task costs anyway."""
    lock = asyncio.Lock()

    async def use() -> None:
        async with lock:
            pass

    return await per_grant(queued, use, lock)


async def lag_of_a_crowd() -> tuple[float, float]:
    """Queue 20,000 callers, cancel every other; tell the longest lag of the loop, and that of idle tasks alike."""
    return await lag_while(take_and_give_back), await lag_while(idle)


async def idle(_door: Door) -> None:
    """Wait for nothing."""
    await asyncio.get_running_loop().create_future()


async def lag_while(wait: Callable[[Door], Awaitable[None]]) -> float:
    """Tell by how much a ticking task is late at most while a crowd comes, gives up and goes."""
    door = RateBudget(PLENTY).join(1)
    worst, done = 0.0, False

    async def tick() -> None:
        nonlocal worst
        while not done:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            worst = max(worst, time.perf_counter() - began - TICK)

    async def come() -> None:
        await wait(door)

    # The collector's pauses grow with the number of tasks, whatever these wait for.
    gc.disable()
    ticking = asyncio.ensure_future(tick())
    async with door.slot(route=ROUTE):
        crowd: list[asyncio.Future[None]] = []
        for _ in range(CROWD // 100):
            crowd += [asyncio.ensure_future(come()) for _ in range(100)]
            await asyncio.sleep(0)
        for start in range(0, CROWD, 200):
            for caller in crowd[start : start + 200 : 2]:
                caller.cancel()
            await asyncio.sleep(0)
        await asyncio.sleep(10 * TICK)
    await asyncio.sleep(10 * TICK)
    done = True
    await ticking
    gc.enable()
    for caller in crowd:
        caller.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    return worst


async def main() -> None:
    """Measure and print."""
    base = await bare()
    print(f"bare aiolimiter, take                 {base * MICROSECONDS:8.2f} us")
    own = await uncontended()
    print(f"slot, take and give back, uncontended {own * MICROSECONDS:8.2f} us {own / base:6.1f} x bare")
    for queued in QUEUES:
        cost, lock = await per_slot(queued), await per_turn_at_a_lock(queued)
        ratios = f"{cost / base:6.1f} x bare {cost / lock:6.1f} x asyncio.Lock"
        print(f"one grant with {queued:7,} queued          {cost * MICROSECONDS:8.2f} us {ratios}")
    lag, unavoidable = await lag_of_a_crowd()
    print(
        f"loop lag, {CROWD:,} queued, half cancelled {lag * 1000:8.2f} ms ({unavoidable * 1000:.2f} ms with idle tasks)"
    )


if __name__ == "__main__":
    asyncio.run(main())
