"""`hindsight-async` as processes, to be signalled, killed and run beside one another; light, since each imports it."""

import asyncio
import multiprocessing
import os
import re
import sys
from collections import Counter

COMMAND = [sys.executable, "-W", "error", "-m", "hindsight_async"]
FAULTS = [
    ("disconnect", "before_commit"),
    ("disconnect", "after_commit"),
    (500, "before_commit"),
    (503, "after_commit"),
    ("html", "after_commit"),
    ("truncated", "mid_body"),
]

# Children start from a server that has the command line loaded, so that they are killed at work and not at start-up.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["hindsight_async.cli"])


def environment(emulator, **more):
    """Return the variables with which the command line finds an emulator."""
    return {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url, **more}


def counts_in(said):
    """Return the line of a summary that counts, without the time that the run took."""
    after = re.split(r"\n(?:Ledger: |No ledger|.*Hindsight keeps no old values).*\n", said)[-1]
    lines = [line for line in after.splitlines() if re.match(r"[\d,]+ (?!more)[a-z][^:]*( · |$)", line)]
    return re.sub(r" · (?:\d+ (?:h|min|s) ?)+$", "", lines[0])


def write_contacts(folder, rows):
    contacts = "".join(f"c{number}@acme.example,Contact {number}\n" for number in range(rows))
    (folder / "contacts.csv").write_text(f"Email,Full Name\n{contacts}")


def start(folder, emulator, ledger, name="results"):
    """Start an `enroll` of the folder's contacts."""
    process = processes.Process(target=_enroll, args=(folder, name, ledger, environment(emulator)))
    process.start()
    return process


def _enroll(folder, name, ledger, variables):
    from hindsight_async.cli import run

    os.environ.update(variables)
    os.chdir(folder)
    sys.stderr = open(f"{name}.txt", "a")
    options = ["--sequence", "seq_1", "--ledger", ledger, "--output", f"{name}.csv", "--yes"]
    sys.argv = ["hindsight-async", "enroll", "contacts.csv", *options]
    os._exit(run())


def busy_emulator(chance):
    """Return an emulator that takes its time, and no limit keeps anybody from it."""
    from hindsight_async.emulator import Emulator

    return Emulator(requests_per_minute=1_000_000, latency=lambda: chance.uniform(0.005, 0.03))


def check_that_nobody_was_emailed_twice(ledger, emulator, rows, *, kills, faults):
    """Check the emails and that each row has its end, known but for few; return how many are unknown."""
    from hindsight_async import Ledger, LedgerStatus
    from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT

    async def read():
        return [entry async for entry in Ledger(ledger).entries()]

    sent = Counter(email.address for email in emulator.outbox)
    assert 1 == max(sent.values())
    found = asyncio.run(read())
    by_status = Counter(entry.status for entry in found)
    unknown = by_status[LedgerStatus.UNKNOWN]
    assert rows == len(found) == by_status[LedgerStatus.CREATED] + unknown
    assert unknown <= kills * DEFAULT_MAX_IN_FLIGHT + faults
    assert {entry.contact_email for entry in found if entry.status is LedgerStatus.CREATED} <= sent.keys()
    return unknown
