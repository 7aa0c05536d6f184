"""Real processes, killed at any moment: the ledger opens, and no row claims less than what happened."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from hindsight_async import Ledger, LedgerStatus
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.errors import LedgerError, LedgerInUseError

pytestmark = pytest.mark.slow

IN_FLIGHT = 16
ROWS = [LedgerRow(key=f"key-{n:06}", row_index=n, contact_email=f"person{n}@ours.test") for n in range(600)]
ENDS = [LedgerStatus.CREATED, LedgerStatus.REJECTED, LedgerStatus.NOT_SENT, LedgerStatus.UNKNOWN]


def say(*words):
    """Print one line that is out as soon as this returns."""
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


async def work_through(path):
    """Be the process that is killed: mark rows as sending, then finished, and say each once it is durable."""

    async def work(run, rows):
        for row in rows:
            await run.sending(row.key)
            say("sending", row.row_index)
            end = ENDS[row.row_index % len(ENDS)]
            await run.finished(row.key, end, attempts=1, interview_request_id=row.row_index)
            say(end, row.row_index)

    async with Ledger(path).run() as run:
        say("open")
        known = await run.claim(ROWS)
        say("claimed")
        rows = iter([row for row in ROWS if row.key not in known or known[row.key].status.may_be_sent])
        await asyncio.gather(*(work(run, rows) for _ in range(IN_FLIGHT)))


def start(path):
    return subprocess.Popen([sys.executable, __file__, path], stdout=subprocess.PIPE, text=True)


def kill_after(lines, path):
    """Start the work, kill it once it has said so many lines, and return all that it said."""
    with start(path) as process:
        heard = [line for line, _ in zip(process.stdout, range(lines), strict=False)]
        process.send_signal(signal.SIGKILL)
        heard += process.stdout.readlines()
    assert -signal.SIGKILL == process.returncode
    return [line.split() for line in heard if line.endswith("\n")]


def on_disk(path):
    """Return the status of each row as the dead process left it; a copy is read, for reading merges the log."""
    copied = path.parent / "copied"
    copied.mkdir(exist_ok=True)
    for each in path.parent.glob("autumn.db*"):
        shutil.copy(each, copied)
    with closing(sqlite3.connect(copied / path.name)) as opened:
        return dict(opened.execute("SELECT row_index, status FROM interviews"))


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_no_row_claims_too_little(tmp_path, seed):
    """Round after round on one ledger: all that was said is on disk, what was in flight becomes unknown."""
    chance = random.Random(seed)
    path = tmp_path / "autumn.db"
    unknown = set()
    for _ in range(4):
        said = kill_after(chance.choice([1, 2, chance.randint(3, 200)]), path)
        left = on_disk(path)
        about_rows = [(line[0], int(line[1])) for line in said if len(line) == 2]
        marked = {number for word, number in about_rows if word == "sending"}
        ended = {number: word for word, number in about_rows if word != "sending"}
        for number in marked:
            assert left[number] == ended.get(number, left[number])
            assert left[number] != "planned"
        in_flight = {number for number, status in left.items() if status == "sending"}
        assert marked - ended.keys() - in_flight <= {n for n in marked if left[n] == ENDS[n % len(ENDS)]}
        assert IN_FLIGHT >= len(in_flight)
        unknown |= in_flight | {n for n, status in left.items() if status == "unknown"}
        assert unknown == asyncio.run(unknown_rows(path))


def test_a_killed_runs_ledger_moved_without_its_log_is_refused(tmp_path):
    """Nobody is emailed again by a run that sees only a part of the rows; the log put beside it heals that."""
    path = tmp_path / "autumn.db"
    kill_after(50, path)
    (tmp_path / "moved").mkdir()
    moved = path.rename(tmp_path / "moved" / path.name)
    with pytest.raises(LedgerError, match="moved or copied without"):
        asyncio.run(unknown_rows(moved))
    path.with_name("autumn.db-wal").rename(moved.with_name("autumn.db-wal"))
    assert len(ROWS) == sum(asyncio.run(Ledger(moved).counts()).values())


async def unknown_rows(path):
    return {found.row_index async for found in Ledger(path).entries(status=LedgerStatus.UNKNOWN)}


MAKE_AND_DIE = """
import asyncio, os, signal, sys
from hindsight_async import Ledger

async def main(path, sign):
    opening = asyncio.ensure_future(Ledger(path).run().__aenter__())
    while not opening.done() and not os.path.exists(path + sign):
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("sign", ["-lock", "-new", "-new-journal", "", "-journal", "-wal", "-never"])
def test_killed_while_it_is_being_made_the_ledger_opens(tmp_path, sign):
    """Dead as soon as one file of the creation appears: the next run makes the ledger whole."""
    path = tmp_path / "autumn.db"
    done = subprocess.run([sys.executable, "-c", MAKE_AND_DIE, path, sign], check=False)
    assert -signal.SIGKILL == done.returncode

    async def claim_one():
        async with Ledger(path).run() as run:
            return await run.claim(ROWS[:1])

    assert {} == asyncio.run(claim_one())


def test_another_process_may_read_but_not_run(tmp_path):
    """A second run is refused while the first lives, reading works, and a kill frees the ledger at once."""
    path = tmp_path / "autumn.db"

    async def look():
        with pytest.raises(LedgerInUseError):
            async with Ledger(path).run():
                pass
        return sum((await Ledger(path).counts()).values())

    with start(path) as process:
        assert ["open\n", "claimed\n"] == [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGSTOP)
        assert len(ROWS) == asyncio.run(look())
        process.kill()

    async def run_again():
        async with Ledger(path).run() as run:
            return len(await run.claim(ROWS))

    assert len(ROWS) == asyncio.run(run_again())


if __name__ == "__main__":
    asyncio.run(work_through(sys.argv[1]))
