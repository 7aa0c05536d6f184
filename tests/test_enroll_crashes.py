"""An enrollment may be killed at any moment: real processes, real signals, a real socket."""

import asyncio
import multiprocessing
import os
import random
import signal
from collections import Counter

import pytest

from enroll_process import enroll
from hindsight_async import Ledger
from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.emulator import Emulator
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT
from hindsight_async.testing import serving

ROWS = 4000
FAULTS = [
    ("disconnect", "before_commit"),
    ("disconnect", "after_commit"),
    (500, "before_commit"),
    (503, "after_commit"),
    ("html", "after_commit"),
    ("truncated", "mid_body"),
]
UNLIMITED = 1_000_000

# Children start from a server that has the command line loaded, so that they are killed at work and not at start-up.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["hindsight_async.cli"])


def start(folder, emulator):
    environment = {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}
    process = processes.Process(target=enroll, args=(folder, environment))
    process.start()
    return process


def emulator(chance):
    return Emulator(requests_per_minute=UNLIMITED, latency=lambda: chance.uniform(0.005, 0.03))


def entries(folder):
    async def read():
        return [entry async for entry in Ledger(folder / "autumn.db").entries()]

    return asyncio.run(read())


@pytest.fixture
def contacts(tmp_path):
    rows = "".join(f"c{number}@acme.example,Contact {number}\n" for number in range(ROWS))
    (tmp_path / "contacts.csv").write_text(f"Email,Full Name\n{rows}")
    return tmp_path


def strike(process, server, number, after):
    """Send the signal when so many more requests have arrived, in the middle of whatever is going on then."""
    target = len(server.requests) + after
    while process.is_alive() and len(server.requests) < target:
        process.join(0.001)
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()


@pytest.mark.slow
def test_whatever_is_killed_nobody_is_emailed_twice(contacts):
    """Over forty kills at random moments, with faults, each address gets one email at most and each row an end."""
    chance = random.Random(20)
    faults = kills = 0
    with serving(emulator(chance)) as server:
        for _ in range(40):
            how, at = chance.choice(FAULTS)
            faults += 1
            server.fail("POST /interviews", how=how, at=at)
            process = start(contacts, server)
            strike(process, server, signal.SIGKILL, after=chance.randint(0, 120))
            kills += process.exitcode == -signal.SIGKILL
        server.heal()
        process = start(contacts, server)
        process.join()
        sent = Counter(email.address for email in server.outbox)
    assert kills >= 30
    assert 1 == max(sent.values())
    found = entries(contacts)
    by_status = Counter(entry.status for entry in found)
    assert (
        ROWS
        == len(found)
        == sum(by_status[status] for status in (LedgerStatus.CREATED, LedgerStatus.UNKNOWN))
    )
    assert by_status[LedgerStatus.UNKNOWN] <= kills * DEFAULT_MAX_IN_FLIGHT + faults
    assert {entry.contact_email for entry in found if entry.status is LedgerStatus.CREATED} <= sent.keys()
    assert 3 == process.exitcode


@pytest.mark.slow
def test_a_signal_leaves_nothing_unknown(contacts):
    """Over twenty interrupts at random moments every request that left has its answer in the ledger."""
    chance = random.Random(21)
    interrupted = 0
    with serving(emulator(chance)) as server:
        for number in range(20):
            process = start(contacts, server)
            strike(process, server, (signal.SIGINT, signal.SIGTERM)[number % 2], after=chance.randint(1, 200))
            assert process.exitcode in {0, 130}
            interrupted += process.exitcode == 130
        process = start(contacts, server)
        process.join()
        sent = Counter(email.address for email in server.outbox)
    assert 0 == process.exitcode
    assert interrupted >= 10
    assert {f"c{number}@acme.example": 1 for number in range(ROWS)} == sent
    assert {LedgerStatus.CREATED} == {entry.status for entry in entries(contacts)}
