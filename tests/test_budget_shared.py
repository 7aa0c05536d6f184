"""The rate budget of one of several processes: a share of the plan, a client that is left, a child process."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hindsight_async import SessionClosedError
from hindsight_async.rate import Budget, Plan, RateBudget, plan_or_default
from permits import PermitBlock
from simulated_server import Job, SimulatedServer, local_clock, most_in_any_minute, simulate

ROUTE = "POST /interviews"


@pytest.mark.parametrize(
    ("plan", "share", "limit"),
    [
        (Plan.GROWTH, 1 / 4, 75),
        (Plan.ENTERPRISE, 1 / 3, 333),
        (Plan.GROWTH, 0.29, 87),
        (Plan.ESSENTIALS, 1 / 100, 1),
        (Plan.GROWTH, 1, 300),
    ],
)
def test_a_share_is_whole_requests_and_at_least_one(plan, share, limit):
    """A quarter of 300 is 75; parts of requests are left to nobody."""
    assert limit == RateBudget.for_plan(plan, share=share).limit


@pytest.mark.parametrize("share", [0, -0.5, 1.01, float("nan")])
def test_a_share_outside_the_plan_is_refused(share):
    """Nothing, or more than all, is a ValueError that says so."""
    with pytest.raises(ValueError, match="share must be more than 0 and at most 1"):
        RateBudget.for_plan(Plan.GROWTH, share=share)


def test_four_shares_use_the_plan_and_no_more():
    """Four quarters that know nothing of each other never meet a 429, and do not take each other for rivals."""

    async def main():
        server = SimulatedServer(300)
        clients = [RateBudget(300, share=1 / 4, wall_clock=local_clock).join(10) for _ in range(4)]
        jobs = [Job(server, lambda: 0.1) for _ in clients]
        await asyncio.gather(
            *(job.run(client, 225, workers=20) for job, client in zip(jobs, clients, strict=True))
        )
        return server, asyncio.get_running_loop().time()

    server, took = simulate(main)
    assert [] == server.refused
    assert 300 >= most_in_any_minute(server.arrivals)
    # Three windows of 75 each begin within two minutes.
    assert took < 125


@pytest.mark.parametrize(("truth", "ours"), [(100, 25), (1000, 250)])
def test_a_limit_that_the_server_names_counts_times_the_share(truth, ours):
    """A lower limit and a higher one are the organisation's: this process takes its part of them."""

    async def main():
        budget = RateBudget(300, share=1 / 4, wall_clock=local_clock)
        await Job(SimulatedServer(truth), lambda: 0.1).run(budget.join(2), 20, workers=2)
        return budget.limit

    assert ours == simulate(main)


def test_a_rival_beyond_the_siblings_is_left_its_part():
    """What is missing beyond the siblings' part of the plan is another program's, and is kept free."""

    async def main():
        server = SimulatedServer(300)
        for _ in range(225 + 40):
            server.arrive(elsewhere=True)
        budget = RateBudget(300, share=1 / 4, wall_clock=local_clock)
        job = Job(server, lambda: 0.1)
        running = asyncio.ensure_future(job.run(budget.join(5), 75, workers=5))
        await asyncio.sleep(59)
        done = job.done
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return done, len(server.refused)

    done, refused = simulate(main)
    assert 30 <= done <= 35
    assert refused <= 1


async def test_a_closed_client_lets_nobody_in():
    """After close, those who wait and those who come later hear that the session is closed."""
    client = RateBudget(60).join(1)
    permit = PermitBlock(client, route=ROUTE)
    async with permit:
        waiting = asyncio.ensure_future(PermitBlock(client, route=ROUTE).__aenter__())
        await asyncio.sleep(0)
        client.close()
        with pytest.raises(SessionClosedError):
            await waiting
    await client.leave()
    with pytest.raises(SessionClosedError):
        await PermitBlock(client, route=ROUTE).__aenter__()


async def test_a_budget_whose_sessions_have_left_can_be_joined_again():
    """Leaving costs nothing and ends nothing."""
    budget = RateBudget(60)
    for _ in range(2):
        client = budget.join(1)
        async with PermitBlock(client, route=ROUTE):
            pass
        client.close()
        await client.leave()
        await client.leave()
    assert 58 == budget.snapshot().free_now


def test_it_is_a_budget():
    """What sessions ask for is what it offers."""
    assert isinstance(RateBudget(60), Budget)
    assert not isinstance(object(), Budget)


def test_the_plan_is_the_given_or_the_variable_or_the_smallest(monkeypatch):
    """What is given wins over HINDSIGHT_PLAN, and that over the default."""
    monkeypatch.delenv("HINDSIGHT_PLAN", raising=False)
    assert Plan.ESSENTIALS is plan_or_default(None)
    monkeypatch.setenv("HINDSIGHT_PLAN", " Growth ")
    assert Plan.GROWTH is plan_or_default(None)
    assert Plan.ENTERPRISE is plan_or_default(Plan.ENTERPRISE)
    monkeypatch.setenv("HINDSIGHT_PLAN", "huge")
    with pytest.raises(ValueError, match="HINDSIGHT_PLAN must be one of essentials, growth, enterprise"):
        plan_or_default(None)
    assert Plan.GROWTH is plan_or_default("growth")
    with pytest.raises(TypeError, match=r"plan must be .*, not int"):
        plan_or_default(300)


FORK = f"""
import asyncio, os, sys, warnings
sys.path.insert(0, {str(Path(__file__).parent)!r})
from hindsight_async.rate import RateBudget
from permits import PermitBlock

budget = RateBudget(3)
client = budget.join(1)

async def send():
    async with PermitBlock(client, route="POST /interviews") as permit:
        permit.answered(200, {{}})

def in_child():
    print("child", budget.snapshot().free_now, budget.snapshot().in_flight, sum(budget.snapshot().queued.values()))
    asyncio._set_running_loop(None)
    asyncio.run(send())
    print("child", budget.snapshot().free_now, flush=True)
    os._exit(0)

async def main():
    await send()
    async with PermitBlock(client, route="POST /interviews"):
        waiting = asyncio.ensure_future(send())
        await asyncio.sleep(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if not child:
            in_child()
        os.waitpid(child, 0)
        print("parent", budget.snapshot().free_now, budget.snapshot().in_flight, sum(budget.snapshot().queued.values()))
    await waiting
    print("parent", budget.snapshot().free_now)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_starts_afresh():
    """After a fork the child has nothing in flight, nobody waiting and a whole window; the parent all that it had."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK], capture_output=True, text=True, timeout=30, check=False
    )
    assert "" == done.stderr
    assert ["child 3 0 0", "child 2", "parent 1 1 1", "parent 0"] == done.stdout.splitlines()
