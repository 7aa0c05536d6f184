"""Four workers of the FastAPI page share PostgreSQL and Redis, and a CRM that delivers at least once calls them."""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from attrs import frozen

from hindsight_async import LedgerStatus, Plan
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT
from test_web_frameworks import service, until
from web_server import address, closed, deliver_until_accepted

WORKERS = 4
DEALS = Plan.GROWTH.requests_per_minute
AT_ONCE = 10
"""Webhooks that the CRM has under way."""
LEASE_SECONDS = 2.0
SECONDS_TO_HAVE_SENT_IT = 120.0
"""After which no row may be left: what a killed process had of the plan comes back within a minute of it."""

pytestmark = [pytest.mark.slow, pytest.mark.servers]


@frozen
class Found:
    """What became of the deals."""

    statuses: dict[str, LedgerStatus]
    emailed: Counter[str]
    took: list[float]
    """Seconds until each answer."""

    @property
    def counts(self):
        return Counter(self.statuses.values())


@asynccontextmanager
async def fleet(folder, postgres, database, redis):
    chance = random.Random(18)
    shared = {
        "LEDGER": postgres.url(database, lease=LEASE_SECONDS),
        "REDIS_URL": redis.url,
    }
    slow = {"plan": Plan.GROWTH, "latency": lambda: chance.uniform(0.2, 0.6)}
    async with service("web_fastapi", folder, **slow, **shared) as served:
        app = await served.start(workers=WORKERS, mode=())
        await until(lambda: app.log.read_text().count("Application startup complete") == WORKERS)
        yield served, app


async def deliver(app, took):
    """Deliver every deal, each third twice, until it is accepted."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(deal):
        async with free:
            took.extend(await deliver_until_accepted([app], closed(deal)))

    deals = [*range(DEALS), *range(0, DEALS, 3)]
    random.Random(19).shuffle(deals)
    await asyncio.gather(*map(one, deals))


async def run(folder, postgres, database, redis, strike):
    """Deliver all, strike meanwhile, and wait until nothing is left to be sent."""
    took: list[float] = []
    async with fleet(folder, postgres, database, redis) as (served, app):
        delivering = asyncio.create_task(deliver(app, took))
        await strike(served, app)
        await delivering
        await served.until_done(DEALS, seconds=SECONDS_TO_HAVE_SENT_IT)
        return Found(await served.statuses(), served.emailed(), took)


def everybody():
    return {address(deal) for deal in range(DEALS)}


async def nothing(served, app):
    """Let them work."""


async def kill_one_and_restart_another(served, app):
    """Kill a worker and stop another in the middle; the server starts new ones for both."""
    killed, stopped = app.workers()[:2]
    await until(lambda: len(served.emulator.requests) >= DEALS // 5)
    os.kill(killed, signal.SIGKILL)
    await until(lambda: len(served.emulator.requests) >= 2 * DEALS // 5)
    os.kill(stopped, signal.SIGTERM)


def test_a_fleet_creates_every_interview_once(tmp_path, postgres, database, redis):
    """A plan's worth of deals, delivered by a sender that repeats some: each is created, none is in doubt or twice."""
    found = asyncio.run(run(tmp_path, postgres, database, redis, nothing))
    assert {LedgerStatus.CREATED: DEALS} == found.counts
    assert dict.fromkeys(everybody(), 1) == found.emailed


def test_a_fleet_of_which_one_is_killed_and_one_restarted_loses_nobody(tmp_path, postgres, database, redis):
    """Nobody is lost or emailed twice, at most what the killed one was sending is in doubt, and no row is left over."""
    found = asyncio.run(run(tmp_path, postgres, database, redis, kill_one_and_restart_another))
    assert {1} == set(found.emailed.values())
    assert everybody() == set(found.statuses)
    assert DEFAULT_MAX_IN_FLIGHT >= found.counts[LedgerStatus.UNKNOWN]
    assert DEALS == found.counts[LedgerStatus.CREATED] + found.counts[LedgerStatus.UNKNOWN]
