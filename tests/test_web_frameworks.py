"""The web applications of `docs` under their real servers, called over HTTP against the emulator."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import ClientConnectionError

from doc_pages import PAGES
from hindsight_async import Ledger, LedgerStatus, Plan
from hindsight_async.delivery.ledger.postgres_url import LEASE_SECONDS
from hindsight_async.emulator import Emulator
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT
from web_server import (
    CLEAN_ENDS,
    COMMANDS,
    MODULES,
    address,
    application,
    closed,
    deliver_until_accepted,
    environment_of,
    hubspot_where_all_is_closed,
    signed,
)

DEALS = 80
IN_ONE_WEBHOOK = 4
SECONDS_TO_SEE_IT = 120.0
MEGABYTE = b" " * 1_000_000
MEGABYTES = 20
"""More than any of the frameworks takes in."""
LONGEST_APPLICATION = 20
"""Lines, but for empty ones."""

every_framework = pytest.mark.parametrize("name", COMMANDS)


class Service:
    """One application after another in one folder, with one emulator; all webhooks go to the last."""

    def __init__(self, name, folder, emulator, environment):
        self._name, self._folder, self._environment = name, folder, environment
        self._apps, self._block = [], AsyncExitStack()
        self.emulator = emulator
        self.ledger = environment.get("LEDGER", folder / "deals.db")

    async def start(self, **options):
        app = application(self._name, self._folder, self._environment, **options)
        self._apps.append(await self._block.enter_async_context(app))
        return self._apps[-1]

    async def close(self):
        await self._block.aclose()

    async def deliver_all(self, first, last):
        """Deliver the deals from `first` to before `last`, some at a time, each until it is accepted."""
        bodies = [
            closed(*range(at, min(at + IN_ONE_WEBHOOK, last))) for at in range(first, last, IN_ONE_WEBHOOK)
        ]
        await asyncio.gather(*(deliver_until_accepted(self._apps, body) for body in bodies))

    def emailed(self):
        return Counter(email.address for email in self.emulator.outbox)

    async def statuses(self):
        entries = [entry async for entry in Ledger(self.ledger).entries()]
        return {entry.contact_email: entry.status for entry in entries}

    async def until_done(self, deals, seconds=SECONDS_TO_SEE_IT):
        """Wait until each of so many deals has its end; return how many are in doubt."""
        ends = {LedgerStatus.CREATED, LedgerStatus.UNKNOWN}
        async with asyncio.timeout(seconds):
            while True:
                statuses = await self.statuses()
                if len(statuses) == deals and ends >= set(statuses.values()):
                    return Counter(statuses.values())[LedgerStatus.UNKNOWN]
                await asyncio.sleep(0.2)


@asynccontextmanager
async def service(name, folder, *, plan=Plan.ENTERPRISE, latency=0.1, **environment):
    async with (
        Emulator(plan=plan, latency=latency, window="sliding") as emulator,
        hubspot_where_all_is_closed() as hubspot_url,
    ):
        served = Service(name, folder, emulator, environment_of(emulator, hubspot_url, **environment))
        try:
            yield served
        finally:
            await served.close()


async def until(condition):
    """Look again and again, for so long at most, until something holds in another process."""
    async with asyncio.timeout(SECONDS_TO_SEE_IT):
        while not condition():
            await asyncio.sleep(0.01)


async def is_refused_for_its_size(app):
    async def pieces():
        for _ in range(MEGABYTES):
            yield MEGABYTE

    try:
        return await app.deliver(pieces(), {"Connection": "close"}) in {400, 413}
    except ClientConnectionError:  # the server did not wait for the rest
        return True


def addresses(deals):
    return {address(deal) for deal in deals}


@every_framework
def test_an_application_is_short(name):
    """Nobody has to read more than a screen to have their framework answer."""
    assert LONGEST_APPLICATION >= len([line for line in MODULES[name].splitlines() if line])


def test_what_the_page_says_of_a_kill_is_the_code():
    """The lease and what is in flight are written as the numbers that are read."""
    page = (PAGES / "web-frameworks.md").read_text(encoding="utf-8")
    assert f"({LEASE_SECONDS:g} seconds; `?lease_seconds=`" in page
    assert f"what it was sending, {DEFAULT_MAX_IN_FLIGHT} requests at most, is `unknown`" in page


@pytest.mark.slow
@every_framework
def test_each_person_is_emailed_once_and_a_stop_loses_nothing(name, tmp_path):
    """Answered before anything is made, stopped and started: all are emailed, once; it ends quietly by either signal."""
    body, other = closed(*range(DEALS)), closed(DEALS)

    async def stop_and_start():
        async with service(name, tmp_path) as served:
            served.emulator.fail("POST /interviews", how="slow", seconds=1.0, at="after_commit", times=None)
            app = await served.start()
            answers = [await app.deliver(body)]
            answers += await asyncio.gather(*(app.deliver(body) for _ in range(2)))
            refused = [
                await app.deliver(other, {}),
                await app.deliver(other, signed(other, at=time.time() - 301)),
                await app.deliver(other, signed(body)),
                await app.deliver(other, signed(other, secret="guessed")),
            ]
            # After Ctrl-C uvicorn leaves the interpreter its end, at which Python tells what was not closed.
            ended = [await app.stop(signal.SIGINT)]
            sent_by_then = len(served.emulator.requests)
            served.emulator.heal()
            app = await served.start()
            answers.append(await app.deliver(body))
            unknown = await served.until_done(DEALS)
            ended.append(await app.stop())
            return answers, refused, sent_by_then, unknown, ended, served.emailed()

    answers, refused, sent_by_then, unknown, ended, emailed = asyncio.run(stop_and_start())
    assert {2} == {status // 100 for status in answers}
    assert [401] * 4 == refused
    assert sent_by_then < DEALS
    assert 0 == unknown
    assert dict.fromkeys(addresses(range(DEALS)), 1) == emailed
    assert [[], []] == [complaints for _, complaints in ended]
    assert set(CLEAN_ENDS) >= {code for code, _ in ended}


@pytest.mark.slow
def test_killed_while_events_come_it_goes_on_where_it_was(tmp_path):
    """A whole application is killed and started again on its file: nobody is lost or emailed twice, few are in doubt."""

    async def strike():
        async with service("web_fastapi", tmp_path) as served:
            app = await served.start()
            delivering = asyncio.create_task(served.deliver_all(0, DEALS))
            await until(lambda: len(served.emulator.requests) >= DEALS // 4)
            app.kill()
            await served.start()
            await delivering
            return await served.until_done(DEALS), served.emailed(), await served.statuses()

    check(*asyncio.run(strike()), most_unknown=DEFAULT_MAX_IN_FLIGHT)


def check(unknown, emailed, statuses, *, most_unknown):
    assert most_unknown >= unknown
    assert {1} == set(emailed.values())
    assert addresses(range(DEALS)) == set(statuses)
    assert {email for email, status in statuses.items() if status is LedgerStatus.CREATED} <= set(emailed)


@pytest.mark.slow
@pytest.mark.servers
@every_framework
def test_of_two_workers_one_may_be_killed(name, tmp_path, postgres, database, redis):
    """Two workers share the ledger and the plan: one is killed while events come, nobody is lost or emailed twice; too large is refused."""
    shared = {
        "LEDGER": postgres.url(database, lease=1),
        "REDIS_URL": redis.url,
    }

    async def strike():
        async with service(name, tmp_path, **shared) as served:
            app = await served.start(workers=2)
            await until(lambda: len(app.workers()) >= 2)
            delivering = asyncio.create_task(served.deliver_all(0, DEALS))
            await until(lambda: len(served.emulator.requests) >= DEALS // 4)
            too_large = await is_refused_for_its_size(app)
            os.kill(app.workers()[0], signal.SIGKILL)
            await delivering
            unknown = await served.until_done(DEALS)
            code, _ = await app.stop()
            return too_large, code, (unknown, served.emailed(), await served.statuses())

    too_large, code, found = asyncio.run(strike())
    assert too_large
    assert code in CLEAN_ENDS
    check(*found, most_unknown=DEFAULT_MAX_IN_FLIGHT)
