"""The database of a queue restarts, ends connections, or has a process that stands still, while three processes send."""

import asyncio
from collections import Counter

import pytest

from hindsight_async import CreateInterview, HindsightSession, Ledger, LedgerStatus, Plan
from hindsight_async.emulator import Emulator
from test_ledger_server_strikes import QUICK, RUNS, SLOW, restart, stall, terminate

pytestmark = [pytest.mark.servers, pytest.mark.slow]

IN_FLIGHT = 8


async def send_with_strikes(url, strike, times, latency, rows):
    """Have several queues put the same events and send them, and strike; return how often each address was emailed."""
    everyone = [
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="seq_1")
        for number in range(rows * (times + 1))
    ]

    async def put_and_send(emulator):
        settings = {"base_url": emulator.base_url, "plan": Plan.ENTERPRISE, "max_in_flight": IN_FLIGHT}
        async with (
            HindsightSession(emulator.api_key, **settings) as hindsight,
            hindsight.interviews.queue(url) as queue,
        ):
            await queue.put_many(everyone)
            await queue.drain()

    async with Emulator(requests_per_minute=1_000_000, latency=latency) as emulator:
        sending = [asyncio.create_task(put_and_send(emulator)) for _ in range(RUNS)]
        for number in range(times):
            while len(emulator.requests) < (number + 1) * rows // 2:
                await asyncio.sleep(0.001)
                assert not all(each.done() for each in sending)
            await strike()
        await asyncio.gather(*sending)
        return everyone, Counter(email.address for email in emulator.outbox)


def check(url, strike, times, pace):
    """No queue ends, nobody is emailed twice, and nothing is lost; return how many rows are in doubt."""
    everyone, sent = asyncio.run(send_with_strikes(url, strike, times, *pace))
    assert {1} == set(sent.values())
    stored = asyncio.run(Ledger(url).counts())
    assert len(everyone) == stored[LedgerStatus.CREATED] + stored[LedgerStatus.UNKNOWN]
    assert stored[LedgerStatus.CREATED] <= len(sent)
    return stored[LedgerStatus.UNKNOWN]


@pytest.mark.parametrize("strike", [restart, terminate])
def test_queues_outlive_their_database(postgres, database, strike):
    """Two strikes among three queues: none ends, nobody is emailed twice, and no row is in doubt."""
    assert 0 == check(postgres.url(database), lambda: strike(postgres, database), 2, QUICK)


def test_queues_outlive_a_process_of_the_server_that_stands_still(postgres, database):
    """For longer than a lease: what was on its way may be in doubt for as long as that, and nobody is emailed twice."""
    url = postgres.url(database, lease=3)
    assert RUNS * IN_FLIGHT >= check(url, lambda: stall(postgres, database), 1, SLOW)
