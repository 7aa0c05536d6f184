"""What waiting for the rate budget costs: crowds of callers queued on one budget."""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter
from attrs import frozen
from matplotlib.figure import Figure

from benchmarks.report import OTHERS, OURS, Report, Table
from hindsight_async.rate import BudgetClient, RateBudget

if TYPE_CHECKING:
    from collections.abc import Iterator

PLENTY = 1_000_000
"""Requests per minute that nothing here uses up."""

ROUTE = "POST /interviews"
QUEUES = (100, 1_000, 10_000, 100_000)
QUICK_QUEUES = (10,)
REPEATS = 5
ROUNDS = 20_000
QUICK_ROUNDS = 10
PERMITS = 2_000
TURNS = 20
QUICK_TURNS = 1
"""How often a queue is made anew, at most, to take so many permits out of it."""

BATCH = 100
"""Callers that come, or give up, before the event loop gets its turn."""

TICK = 0.001
MICROSECONDS = 1e6
MILLISECONDS = 1e3

METHOD = f"""\
Callers queue on one budget that lets one through at a time. "One permit" is the CPU from one caller's turn to the next, task switch
included, beside a turn at an `asyncio.Lock` with as many waiting, and beside taking a bare `AsyncLimiter` with capacity to spare. "Loop
lag" is by how much a task that ticks every millisecond is late at most while the crowd comes, {BATCH} at a time, and every other caller
gives up; "idle" is the same with callers that wait for nothing but the end. "Cancel all" is the time from the first `cancel()` until all
the tasks are over. The garbage collector is off while lag is measured: its pauses grow with the number of tasks, whatever these do."""


@frozen
class Crowd:
    """What so many queued callers cost, in seconds."""

    queued: int
    permit: float
    lock_turn: float
    lag: float
    idle_lag: float
    cancelling: float
    idle_cancelling: float


@asynccontextmanager
async def permit(client: BudgetClient) -> AsyncIterator[None]:
    """Take a permit for as long as the block lasts."""
    permit = await client.acquire(route=ROUTE)
    try:
        yield
    finally:
        client.release(permit)


async def take_and_give_back(client: BudgetClient) -> None:
    """Do what a request does, without the request."""
    client.release(await client.acquire(route=ROUTE))


async def idle(_client: BudgetClient) -> None:
    """Wait for nothing."""
    await asyncio.get_running_loop().create_future()


async def cpu_per_round(action: Callable[[], Awaitable[None]], rounds: int) -> float:
    """Tell the seconds of CPU that one round takes, the best of some repeats."""
    best = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        began = time.process_time()
        for _ in range(rounds):
            await action()
        best = min(best, (time.process_time() - began) / rounds)
    return best


async def bare_limiter(rounds: int) -> float:
    """Measure a limiter with capacity to spare."""
    limiter = AsyncLimiter(PLENTY, 60)

    async def take() -> None:
        async with limiter:
            pass

    return await cpu_per_round(take, rounds)


async def uncontended(rounds: int) -> float:
    """Measure a permit that nobody else wants."""
    client = RateBudget(PLENTY).join(1)
    return await cpu_per_round(lambda: take_and_give_back(client), rounds)


async def per_permit(queued: int, turns: int) -> float:
    """Measure one permit out of a queue."""
    client = RateBudget(PLENTY).join(1)
    await take_and_give_back(client)
    return await per_turn(queued, turns, lambda: take_and_give_back(client), lambda: permit(client))


async def per_turn_at_a_lock(queued: int, turns: int) -> float:
    """Measure one turn out of a queue at asyncio's own lock: what waking a task costs anyway."""
    lock = asyncio.Lock()

    async def use() -> None:
        async with lock:
            pass

    return await per_turn(queued, turns, use, lambda: lock)


async def per_turn(
    queued: int,
    turns: int,
    use: Callable[[], Awaitable[None]],
    occupy: Callable[[], AbstractAsyncContextManager[object]],
) -> float:
    """Measure the CPU of one turn out of a queue of callers that all `use` what `occupy` keeps from them."""
    turns = min(turns, max(1, PERMITS // queued))
    return statistics.mean(
        [await turns_in_a_row(queued, min(queued, PERMITS), use, occupy) for _ in range(turns)]
    )


async def turns_in_a_row(
    queued: int,
    wanted: int,
    use: Callable[[], Awaitable[None]],
    occupy: Callable[[], AbstractAsyncContextManager[object]],
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

    async with occupy():
        crowd = [asyncio.ensure_future(wait_for_turn()) for _ in range(queued)]
        await asyncio.sleep(0)
        gc.collect()
        gc.freeze()
        began = time.process_time()
    await enough.wait()
    spent = time.process_time() - began
    gc.unfreeze()
    await send_home(crowd)
    return spent / wanted


async def send_home(crowd: Sequence["asyncio.Future[None]"]) -> None:
    """Cancel all, and wait until they are gone."""
    for caller in crowd:
        caller.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


@contextmanager
def collector_off() -> "Iterator[None]":
    """Keep the garbage collector out of a measurement."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def lag_while(queued: int, wait: Callable[[BudgetClient], Awaitable[None]]) -> tuple[float, float]:
    """Tell by how much a ticking task is late at most while a crowd comes and half of it gives up.

    And how long it takes to cancel the other half.
    """
    client = RateBudget(PLENTY).join(1)
    worst, done = 0.0, False

    async def tick() -> None:
        nonlocal worst
        while not done:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            worst = max(worst, time.perf_counter() - began - TICK)

    async def come() -> None:
        await wait(client)

    with collector_off():
        ticking = asyncio.ensure_future(tick())
        async with permit(client):
            crowd: list[asyncio.Future[None]] = []
            while len(crowd) < queued:
                crowd += [asyncio.ensure_future(come()) for _ in range(min(BATCH, queued - len(crowd)))]
                await asyncio.sleep(0)
            for start in range(0, queued, 2 * BATCH):
                for caller in crowd[start : start + 2 * BATCH : 2]:
                    caller.cancel()
                await asyncio.sleep(0)
            await asyncio.sleep(10 * TICK)
            done = True
            await ticking
            began = time.perf_counter()
            await send_home(crowd)
            cancelling = time.perf_counter() - began
    return worst, cancelling


async def cost_of_a_crowd(queued: int, turns: int) -> Crowd:
    """Measure everything about so many callers."""
    permit, lock_turn = await per_permit(queued, turns), await per_turn_at_a_lock(queued, turns)
    lag, cancelling = await lag_while(queued, take_and_give_back)
    idle_lag, idle_cancelling = await lag_while(queued, idle)
    return Crowd(queued, permit, lock_turn, lag, idle_lag, cancelling, idle_cancelling)


async def measure(queues: Sequence[int], rounds: int, turns: int) -> tuple[float, float, list[Crowd]]:
    """Measure a bare limiter, a permit that nobody else wants, and crowds."""
    crowds = [await cost_of_a_crowd(queued, turns) for queued in queues]
    return await bare_limiter(rounds), await uncontended(rounds), crowds


def run(*, quick: bool) -> Report:
    """Measure, and tabulate."""
    sizes = (QUICK_QUEUES, QUICK_ROUNDS, QUICK_TURNS) if quick else (QUEUES, ROUNDS, TURNS)
    bare, alone, crowds = asyncio.run(measure(*sizes))
    lines = [
        [
            f"{crowd.queued:,}",
            f"{crowd.permit * MICROSECONDS:.1f}",
            f"{crowd.permit / crowd.lock_turn:.1f}",
            f"{crowd.permit / bare:.1f}",
            f"{crowd.lag * MILLISECONDS:.1f}",
            f"{crowd.idle_lag * MILLISECONDS:.1f}",
            f"{crowd.cancelling * MILLISECONDS:.1f}",
            f"{crowd.idle_cancelling * MILLISECONDS:.1f}",
        ]
        for crowd in crowds
    ]
    columns = [
        "queued",
        "one permit (us)",
        "beside asyncio.Lock (x)",
        "beside AsyncLimiter (x)",
        "loop lag (ms)",
        "idle: loop lag (ms)",
        "cancel all (ms)",
        "idle: cancel all (ms)",
    ]
    nobody = [
        ["AsyncLimiter", f"{bare * MICROSECONDS:.1f}", "1.0"],
        ["a permit, taken and given back", f"{alone * MICROSECONDS:.1f}", f"{alone / bare:.1f}"],
    ]
    return Report(
        title="What waiting for the rate budget costs",
        method=METHOD,
        distributions=("hindsight-async", "aiolimiter"),
        tables=[
            Table("With a crowd", columns, lines),
            Table("With nobody else", ["", "CPU (us)", "beside AsyncLimiter (x)"], nobody),
        ],
        figure=plot(crowds),
    )


def plot(crowds: Sequence[Crowd]) -> Figure:
    """Draw the cost of a permit and the loop's lag."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    costs, lags = figure.subplots(1, 2)
    queued = [crowd.queued for crowd in crowds]
    costs.plot(queued, [crowd.permit * MICROSECONDS for crowd in crowds], "o-", color=OURS, label="budget")
    costs.plot(
        queued,
        [crowd.lock_turn * MICROSECONDS for crowd in crowds],
        "s--",
        color=OTHERS,
        label="asyncio.Lock",
    )
    costs.set(xscale="log", xlabel="callers queued", ylabel="CPU of one permit (us)")
    lags.plot(queued, [crowd.lag * MILLISECONDS for crowd in crowds], "o-", color=OURS, label="budget")
    lags.plot(
        queued, [crowd.idle_lag * MILLISECONDS for crowd in crowds], "s--", color=OTHERS, label="idle tasks"
    )
    lags.set(xscale="log", xlabel="callers queued", ylabel="loop lag at most (ms)")
    for ax in (costs, lags):
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
