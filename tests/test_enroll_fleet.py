"""Several enrollments share one ledger, and any of them may be killed or stand still at any moment."""

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
from hindsight_async.cli.terminal import ExitCode
from hindsight_async.testing import serving

FLEET = 4
LEASE_SECONDS = 0.5

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def ledger(postgres, database):
    return postgres.url(database, lease=LEASE_SECONDS)


class Fleet:
    """Processes that are given the same contacts and the same ledger."""

    def __init__(self, folder, ledger, emulator, rows):
        self._folder, self._ledger, self._emulator = folder, ledger, emulator
        self._members = {}
        write_contacts(folder, rows)

    def start(self, name):
        self._members[name] = start(self._folder, self._emulator, self._ledger, name)

    def wait_for_requests(self, count, *, but_for=None):
        """Wait until so many more have arrived, or nobody is left to send them; return whether they did."""
        target = len(self._emulator.requests) + count
        while len(self._emulator.requests) < target and (at_work := self.at_work(but_for)):
            at_work[0].join(0.001)
        return len(self._emulator.requests) >= target

    def at_work(self, but_for):
        return [process for name, process in self._members.items() if process.is_alive() and name != but_for]

    def strike(self, name, number):
        """Send the signal; return whether it met a process at work."""
        process = self._members[name]
        if process.is_alive():
            os.kill(process.pid, number)
        if number == signal.SIGKILL:
            process.join()
        return process.is_alive() or process.exitcode == -signal.SIGKILL

    def join(self):
        for process in self._members.values():
            process.join()

    def run_one(self, name):
        """Run one to its end; return its exit code."""
        self.start(name)
        self._members[name].join()
        return self._members[name].exitcode


def run_fleet(fleet, emulator, chance, strikes, stops):
    """Let all enroll and strike one after another, `stops` of them only for a while; return how many kills and faults."""
    names = [f"member{number}" for number in range(FLEET)]
    for name in names:
        fleet.start(name)
    kills = faults = 0
    for _ in range(strikes):
        how, at = chance.choice(FAULTS)
        faults += 1
        emulator.fail("POST /interviews", how=how, at=at)
        if not fleet.wait_for_requests(chance.randint(1, 60)):
            break
        name = chance.choice(names)
        if chance.random() < stops:
            # It stands still, perhaps until the others take it for dead, and then goes on.
            fleet.strike(name, signal.SIGSTOP)
            fleet.wait_for_requests(chance.randint(100, 400), but_for=name)
            fleet.strike(name, signal.SIGCONT)
        else:
            kills += fleet.strike(name, signal.SIGKILL)
            fleet.start(name)
    fleet.join()
    return kills, faults


def finish(fleet):
    """Run the same command until no row is in a dead run's hand any more; return its exit code."""
    while (code := fleet.run_one("last")) == ExitCode.SOME_FAILED:
        pass
    return code


def enroll_with_strikes(folder, ledger, *, rows, strikes, stops, seed):
    chance = random.Random(seed)
    with serving(busy_emulator(chance)) as emulator:
        fleet = Fleet(folder, ledger, emulator, rows)
        kills, faults = run_fleet(fleet, emulator, chance, strikes, stops)
        emulator.heal()
        code = finish(fleet)
    unknown = check_that_nobody_was_emailed_twice(ledger, emulator, rows, kills=kills, faults=faults)
    assert (ExitCode.UNKNOWN_OUTCOMES if unknown else ExitCode.DONE) == code
    return kills


def test_a_fleet_with_kills_emails_nobody_twice(tmp_path, ledger):
    """Four processes, three strikes, faults: each address gets one email at most, and each row an end."""
    assert enroll_with_strikes(tmp_path, ledger, rows=300, strikes=4, stops=0, seed=5) >= 2


@pytest.mark.parametrize("seed", range(2))
def test_a_fleet_with_many_kills_emails_nobody_twice(tmp_path, ledger, seed):
    """Four processes, forty strikes, faults: each address gets one email at most, and each row an end."""
    assert enroll_with_strikes(tmp_path, ledger, rows=4000, strikes=40, stops=0.2, seed=seed) >= 15
