"""A process that sends from a queue may be killed at any moment: nobody is emailed twice, and nothing is lost."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from command_process import FAULTS, busy_emulator, check_that_nobody_was_emailed_twice
from hindsight_async import CreateInterview, HindsightSession
from hindsight_async.testing import serving

pytestmark = pytest.mark.slow

EVENTS = 600
PATIENCE = 120.0


async def send(ledger):
    """Be the process that is killed: put every event, as a CRM delivers them again, and send until all are through."""
    events = [
        CreateInterview(contact_email=f"person{n}@acme.example", sequence_id="seq_1") for n in range(EVENTS)
    ]
    async with HindsightSession(plan="enterprise") as hindsight, hindsight.interviews.queue(ledger) as queue:
        for start in range(0, EVENTS, 50):
            await queue.put_many(events[start : start + 50])
        await queue.drain()


def start(ledger, server):
    variables = {"HINDSIGHT_API_KEY": server.api_key, "HINDSIGHT_BASE_URL": server.base_url}
    program = [sys.executable, __file__, ledger]
    return subprocess.Popen(program, env={**os.environ, **variables}, stderr=subprocess.PIPE, text=True)


def strike(process, server, after):
    """Kill it when so many more requests have arrived; return whether it was still there."""
    target = len(server.requests) + after
    while process.poll() is None and len(server.requests) < target:
        try:
            process.wait(0.001)
        except subprocess.TimeoutExpired:
            continue
    was_there = process.poll() is None
    process.kill()
    process.communicate()
    return was_there


def drained(process):
    _, said = process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode, said


@pytest.mark.parametrize("kills", [15])
def test_whatever_is_killed_nobody_is_emailed_twice(tmp_path, kills):
    """On a file: each address gets one email at most, each event an end, and only what was in flight is in doubt."""
    chance = random.Random(30)
    ledger, killed = str(tmp_path / "deals.db"), 0
    with serving(busy_emulator(chance)) as server:
        for number in range(kills):
            how, at = FAULTS[number % len(FAULTS)]
            server.fail("POST /interviews", how=how, at=at)
            killed += strike(start(ledger, server), server, after=chance.randint(0, EVENTS // kills))
        server.heal()
        drained(start(ledger, server))
    assert killed >= kills * 2 / 3
    check_that_nobody_was_emailed_twice(Path(ledger), server, EVENTS, kills=killed, faults=kills)


@pytest.mark.servers
@pytest.mark.parametrize("kills", [8])
def test_those_who_live_take_over_from_those_who_die(postgres, database, kills):
    """Three processes send from a database; the rows of one that is killed are sent by the others after its lease."""
    chance = random.Random(31)
    ledger, killed = postgres.url(database, lease=1), 0
    with serving(busy_emulator(chance)) as server:
        alive = [start(ledger, server) for _ in range(3)]
        for _ in range(kills):
            killed += strike(alive.pop(0), server, after=chance.randint(0, EVENTS // kills))
            alive.append(start(ledger, server))
        for process in alive:
            drained(process)
    check_that_nobody_was_emailed_twice(ledger, server, EVENTS, kills=killed, faults=0)


if __name__ == "__main__":
    asyncio.run(send(sys.argv[1]))
