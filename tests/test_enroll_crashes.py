"""An enrollment may be killed at any moment: real processes, real signals, a real socket."""

import os
import random
import signal

import pytest

from command_process import (
    FAULTS,
    busy_emulator,
    check_that_nobody_was_emailed_twice,
    start,
    write_contacts,
)
from hindsight_async.testing import serving

ROWS = 4000
LEDGER = "autumn.db"

pytestmark = pytest.mark.slow


@pytest.fixture
def contacts(tmp_path):
    write_contacts(tmp_path, ROWS)
    return tmp_path


def strike(process, server, number, after):
    """Send the signal when so many more requests have arrived, in the middle of whatever is going on then."""
    target = len(server.requests) + after
    while process.is_alive() and len(server.requests) < target:
        process.join(0.001)
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()


def test_whatever_is_killed_nobody_is_emailed_twice(contacts):
    """Over forty kills at random moments, with faults, each address gets one email at most and each row an end."""
    chance = random.Random(20)
    strikes, kills = 40, 0
    with serving(busy_emulator(chance)) as server:
        for _ in range(strikes):
            how, at = chance.choice(FAULTS)
            server.fail("POST /interviews", how=how, at=at)
            process = start(contacts, server, LEDGER)
            strike(process, server, signal.SIGKILL, after=chance.randint(0, 120))
            kills += process.exitcode == -signal.SIGKILL
        server.heal()
        process = start(contacts, server, LEDGER)
        process.join()
    assert kills >= 30
    assert check_that_nobody_was_emailed_twice(contacts / LEDGER, server, ROWS, kills=kills, faults=strikes)
    assert 3 == process.exitcode


def test_a_signal_leaves_nothing_unknown(contacts):
    """Over twenty interrupts at random moments every request that left has its answer in the ledger."""
    chance = random.Random(21)
    interrupted = 0
    with serving(busy_emulator(chance)) as server:
        for number in range(20):
            process = start(contacts, server, LEDGER)
            strike(process, server, (signal.SIGINT, signal.SIGTERM)[number % 2], after=chance.randint(1, 200))
            assert process.exitcode in {0, 130}
            interrupted += process.exitcode == 130
        process = start(contacts, server, LEDGER)
        process.join()
    assert 0 == process.exitcode
    assert interrupted >= 10
    assert ROWS == len(server.outbox)
    assert 0 == check_that_nobody_was_emailed_twice(contacts / LEDGER, server, ROWS, kills=0, faults=0)
