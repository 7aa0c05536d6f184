"""The database restarts, ends connections, or has a process that stands still, in the midst of bulk runs that share it."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from hindsight_async import CreateInterview, HindsightSession, Ledger, LedgerStatus, OutcomeStatus, Plan
from hindsight_async.delivery.ledger.postgres import COMMAND_SECONDS
from hindsight_async.emulator import Emulator

RUNS = 3
QUICK = (0.005, 150)
"""How long the API takes to answer, and how many rows there are for each strike."""

SLOW = (1.0, 400)
"""The same, where the others are to be at work for as long as one run is held up."""

STAND_STILL_SECONDS = COMMAND_SECONDS + 2
"""For how long a process is stopped: so long that the run whose it is gives the connection up."""

PROCESSES = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'hindsight-async' AND datname = current_database()"
    " ORDER BY random() LIMIT 1"
)

pytestmark = [pytest.mark.servers, pytest.mark.slow]


async def restart(postgres, database):
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)


async def terminate(postgres, database):
    statement = f"SELECT pg_terminate_backend(pid) FROM ({PROCESSES.replace('LIMIT 1', '')}) AS ours"
    await asyncio.to_thread(postgres.execute, database, statement)


async def stall(postgres, database):
    for (process,) in await asyncio.to_thread(postgres.execute, database, PROCESSES):
        os.kill(process, signal.SIGSTOP)
        try:
            await asyncio.sleep(STAND_STILL_SECONDS)
        finally:
            os.kill(process, signal.SIGCONT)


async def enroll_with_strikes(url, strike, times, latency, rows):
    """Have several bulk runs over the same rows, and strike; return their counts and how often each address was emailed."""
    everyone = [
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="seq_1")
        for number in range(rows * (times + 1))
    ]

    async def enroll(hindsight):
        async with hindsight.interviews.create_many(everyone, ledger=url) as run:
            async for _ in run:
                pass
        return run.counts

    async with (
        Emulator(requests_per_minute=1_000_000, latency=latency) as emulator,
        AsyncExitStack() as opened,
    ):
        settings = {"base_url": emulator.base_url, "plan": Plan.ENTERPRISE, "max_in_flight": 8}
        # The plan is no part of this: each session thinks that it is alone, and has more of it than it needs.
        sessions = [
            await opened.enter_async_context(HindsightSession(emulator.api_key, **settings))
            for _ in range(RUNS)
        ]
        enrolling = [asyncio.create_task(enroll(hindsight)) for hindsight in sessions]
        for number in range(times):
            while len(emulator.requests) < (number + 1) * rows // 2:
                await asyncio.sleep(0.001)
            assert not all(each.done() for each in enrolling)
            await strike()
        counts = await asyncio.gather(*enrolling)
        return everyone, counts, Counter(email.address for email in emulator.outbox)


def check(url, strike, times, pace):
    """No run ends, nobody is emailed twice, and every row is created but for those that are unknown; return how many."""
    everyone, counts, sent = asyncio.run(enroll_with_strikes(url, strike, times, *pace))
    assert {1} == set(sent.values())
    assert {len(everyone)} == {sum(each.values()) for each in counts}
    stored = asyncio.run(Ledger(url).counts())
    assert len(everyone) == stored[LedgerStatus.CREATED] + stored[LedgerStatus.UNKNOWN]
    assert stored[LedgerStatus.CREATED] <= len(sent)
    assert stored[LedgerStatus.CREATED] == sum(each[OutcomeStatus.CREATED] for each in counts)
    return stored[LedgerStatus.UNKNOWN]


@pytest.mark.parametrize("strike", [restart, terminate])
def test_runs_outlive_their_database(postgres, database, strike):
    """Two strikes among three runs: no run ends, nobody is emailed twice, and no row is in doubt."""
    assert 0 == check(postgres.url(database), lambda: strike(postgres, database), 2, QUICK)


def test_runs_outlive_a_process_of_the_server_that_stands_still(postgres, database):
    """For longer than a lease: what was on its way may be in doubt for as long as that, and nobody is emailed twice."""
    url = postgres.url(database, lease=3)
    assert RUNS * 8 >= check(url, lambda: stall(postgres, database), 1, SLOW)
