"""Several enrollments share one ledger, and any of them may be killed or stand still at any moment."""

import asyncio
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest

from fleet_process import enroll
from hindsight_async import Ledger
from hindsight_async.cli.terminal import ExitCode
from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.emulator import Emulator
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT
from hindsight_async.testing import serving
from postgres_server import PASSWORD

FLEET = 4
LEASE_SECONDS = 0.5
FAULTS = [
    ("disconnect", "before_commit"),
    ("disconnect", "after_commit"),
    (500, "before_commit"),
    (503, "after_commit"),
    ("html", "after_commit"),
    ("truncated", "mid_body"),
]
UNLIMITED = 1_000_000

pytestmark = [pytest.mark.servers, pytest.mark.slow]

# Children start from a server that has the command line loaded, so that they are killed at work and not at start-up.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["hindsight_async.cli"])


@pytest.fixture
def ledger(postgres, database):
    return postgres.url(database, lease=LEASE_SECONDS)


class Fleet:
    """Processes that are given the same contacts and the same ledger."""

    def __init__(self, folder, ledger, emulator, rows):
        self._folder, self._ledger, self._emulator = folder, ledger, emulator
        self._members = {}
        contacts = "".join(f"c{number}@acme.example,Contact {number}\n" for number in range(rows))
        (folder / "contacts.csv").write_text(f"Email,Full Name\n{contacts}")

    def start(self, name):
        variables = {
            "HINDSIGHT_API_KEY": self._emulator.api_key,
            "HINDSIGHT_BASE_URL": self._emulator.base_url,
        }
        process = processes.Process(target=enroll, args=(self._folder, name, self._ledger, variables))
        process.start()
        self._members[name] = process

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


def entries(ledger):
    async def read():
        return [entry async for entry in Ledger(ledger).entries()]

    return asyncio.run(read())


def finish(fleet):
    """Run the same command until no row is in a dead run's hand any more; return its exit code."""
    while (code := fleet.run_one("last")) == ExitCode.SOME_FAILED:
        pass
    return code


def enroll_with_strikes(folder, ledger, *, rows, strikes, stops, seed):
    chance = random.Random(seed)
    with serving(
        Emulator(requests_per_minute=UNLIMITED, latency=lambda: chance.uniform(0.005, 0.03))
    ) as emulator:
        fleet = Fleet(folder, ledger, emulator, rows)
        kills, faults = run_fleet(fleet, emulator, chance, strikes, stops)
        emulator.heal()
        code = finish(fleet)
        sent = Counter(email.address for email in emulator.outbox)
    assert 1 == max(sent.values())
    found = entries(ledger)
    by_status = Counter(entry.status for entry in found)
    assert rows == len(found) == by_status[LedgerStatus.CREATED] + by_status[LedgerStatus.UNKNOWN]
    assert by_status[LedgerStatus.UNKNOWN] <= kills * DEFAULT_MAX_IN_FLIGHT + faults
    assert {entry.contact_email for entry in found if entry.status is LedgerStatus.CREATED} <= sent.keys()
    assert (ExitCode.UNKNOWN_OUTCOMES if by_status[LedgerStatus.UNKNOWN] else ExitCode.DONE) == code
    return kills


def test_a_fleet_with_kills_emails_nobody_twice(tmp_path, ledger):
    """Four processes, three strikes, faults: each address gets one email at most, and each row an end."""
    assert enroll_with_strikes(tmp_path, ledger, rows=300, strikes=4, stops=0, seed=5) >= 2


@pytest.mark.parametrize("seed", range(2))
def test_a_fleet_with_many_kills_emails_nobody_twice(tmp_path, ledger, seed):
    """Four processes, forty strikes, faults: each address gets one email at most, and each row an end."""
    assert enroll_with_strikes(tmp_path, ledger, rows=4000, strikes=40, stops=0.2, seed=seed) >= 15


@pytest.fixture
def command(tmp_path):
    (tmp_path / "contacts.csv").write_text("Email\njane@acme.example\n")

    def command(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "hindsight_async", *arguments],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def test_the_command_line_takes_a_database_for_its_ledger(command, ledger):
    """Enrolling, showing and resolving work with the URL, and its password is never shown."""
    with serving(Emulator()) as emulator:
        emulator.fail("POST /interviews", how="disconnect", at="after_commit")
        variables = {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}
        enroll = ("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", ledger)
        done = command(*enroll, **variables)
        assert 3 == done.returncode, done.stderr
        assert f"ledger resolve '{ledger.replace(PASSWORD, '***')}' KEY" in done.stderr
        assert "Where a command above says ***, type the ledger's password" in done.stderr
        shown = command("ledger", "show", ledger, "--status", "unknown")
        key, *_ = shown.stdout.split("\t")
        assert "1 unknown\n" == shown.stderr
        resolved = command("ledger", "resolve", ledger, key[:12], "--created", "1")
        assert "resolved: created as 1\n" == resolved.stderr
        again = command(*enroll, **variables)
        assert (0, "1 already_done") == (again.returncode, again.stderr.splitlines()[-1])
        refused = command(*enroll[:-1], ledger.replace(PASSWORD, "wrong-one"), **variables)
    assert 2 == refused.returncode
    assert "does not let this user in" in refused.stderr
    for each in (done, shown, resolved, again, refused):
        assert PASSWORD not in each.stdout + each.stderr
        assert "wrong-one" not in each.stderr


def test_rows_in_another_runs_hand_are_named(command, ledger, tmp_path):
    """Their status and advice stand in the results and the summary, and the exit code says that it is not over."""
    from hindsight_async import CreateInterview
    from hindsight_async.delivery.ledger.entries import LedgerRow
    from hindsight_async.resources.interviews.recipients import interview_key

    request = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1")
    claimed = LedgerRow(key=interview_key(request), row_index=0, contact_email="jane@acme.example")
    enroll = ("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", ledger)
    with serving(Emulator()) as emulator:
        variables = {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}

        async def enroll_beside_a_run():
            async with Ledger(ledger).run() as run:
                await run.claim([claimed])
                return await asyncio.to_thread(command, *enroll, **variables)

        done = asyncio.run(enroll_beside_a_run())
        assert 1 == done.returncode
        assert ",claimed,," in done.stdout
        assert "1 claimed: another run with this ledger is at them" in done.stderr
        assert 0 == command(*enroll, **variables).returncode
        assert 1 == len(emulator.outbox)
