"""The fleet's budget in real minutes: as fast as a process by itself, and as considerate of other programs."""

import asyncio
import random

import pytest
from attrs import frozen

from hindsight_async import Plan, RedisBudget
from hindsight_async.rate import RateBudget
from redis_server import running
from simulated_server import (
    LOCAL_EPOCH,
    MINUTE,
    Job,
    SimulatedServer,
    heavy_tail,
    local_clock,
    most_in_any_minute,
)

pytestmark = [pytest.mark.servers, pytest.mark.slow]

LIMIT = Plan.GROWTH.requests_per_minute
EATEN = 0.3
"""Of the limit, by the rival."""

ROWS = 600
IN_FLIGHT = 50
PHASE = 20.0
"""Seconds into the server's minute at which a job alone on a weighted window begins."""

LATE = 0.03
"""Part of its time by which a job may end later through Redis."""


@frozen
class Ran:
    """What became of a job."""

    seconds: float
    refused: int
    most: int
    """Requests of ours in any minute."""


async def run_job(budgets, model, rows, *, rival):
    """Run a job over all budgets, beside the rival or alone."""
    loop = asyncio.get_running_loop()
    server = SimulatedServer(LIMIT, model)
    eating = asyncio.ensure_future(eat(server)) if rival else None
    if rival:
        await asyncio.sleep(MINUTE)
    else:
        await asyncio.sleep((PHASE - LOCAL_EPOCH.timestamp() - loop.time()) % MINUTE)
    began = loop.time()
    clients = [budget.join(IN_FLIGHT // len(budgets)) for budget in budgets]
    jobs = [Job(server, heavy_tail(seed)) for seed, _ in enumerate(budgets)]
    await asyncio.gather(
        *(
            job.run(client, rows // len(budgets), workers=IN_FLIGHT // len(budgets))
            for job, client in zip(jobs, clients, strict=True)
        )
    )
    took = loop.time() - began
    if eating is not None:
        eating.cancel()
    for client in clients:
        client.close()
        await client.leave()
    return Ran(took, len(server.refused), most_in_any_minute(server.arrivals))


async def eat(server):
    """Be the other program, which never backs off."""
    draw = random.Random(4)
    while True:
        server.arrive(elsewhere=True)
        await asyncio.sleep(draw.expovariate(EATEN * LIMIT / MINUTE))


@pytest.fixture(scope="module")
def ran():
    """Run all jobs at the same time, since they wait for most of it, each on a server and budget of its own."""

    async def main(redis):
        def fleet(name, processes):
            return [RedisBudget(redis.url, name, plan=Plan.GROWTH) for _ in range(processes)]

        def local():
            return [RateBudget(LIMIT, random=random.Random(1).random, wall_clock=local_clock)]

        jobs = {
            "rival, by itself": (local(), "sliding", ROWS, True),
            "rival, one": (fleet("a", 1), "sliding", ROWS, True),
            "rival, two": (fleet("b", 2), "sliding", ROWS, True),
            "weighted, by itself": (local(), "weighted", 3 * LIMIT, False),
            "weighted, one": (fleet("c", 1), "weighted", 3 * LIMIT, False),
            "weighted, two": (fleet("d", 2), "weighted", 3 * LIMIT, False),
        }
        runs = [run_job(budgets, model, rows, rival=rival) for budgets, model, rows, rival in jobs.values()]
        return dict(zip(jobs, await asyncio.gather(*runs), strict=True))

    servers = running()
    redis = next(servers)
    try:
        outcome = asyncio.run(main(redis))
        print(*outcome.items(), sep="\n")
        return outcome
    finally:
        servers.close()


@pytest.mark.parametrize("processes", ["one", "two"])
def test_beside_a_rival_at_most_one_in_a_hundred_is_refused(ran, processes):
    """With 30 % of a sliding window eaten by a program that never gives way, through Redis as without it."""
    through_redis = ran[f"rival, {processes}"]
    assert ROWS / 100 >= through_redis.refused
    assert LIMIT >= through_redis.most


@pytest.mark.parametrize("processes", ["one", "two"])
@pytest.mark.parametrize("where", ["rival", "weighted"])
def test_a_job_through_redis_is_as_fast_as_without(ran, where, processes):
    """Alone on a weighted window as beside a rival, for a lone process as for two together."""
    assert (1 + LATE) * ran[f"{where}, by itself"].seconds >= ran[f"{where}, {processes}"].seconds


@pytest.mark.parametrize("processes", ["one", "two"])
def test_alone_on_a_weighted_window_nothing_much_is_refused(ran, processes):
    """At most three 429s in the whole job, as without Redis."""
    assert 3 >= ran[f"weighted, {processes}"].refused
