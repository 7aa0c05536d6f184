"""The page of job queues, from its own text: workers that are killed and started again email nobody twice and lose nobody.

The queues are not among the requirements of the tests, since they hold back, or ask for, another redis than each other:
`.ci/run` has two environments for them.
"""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import redis_server
from command_process import busy_emulator
from hindsight_async import Ledger, LedgerStatus, Plan
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT
from hindsight_async.testing import serving

pytestmark = pytest.mark.job_queues

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "job-queues.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n(?=# (\w+)\.py)(.*?)```", PAGE, re.DOTALL))
COMMANDS = {name: re.match(r"# \w+\.py: (.*)", text)[1].split() for name, text in MODULES.items()}

PEOPLE = 60
SOME = 5
IN_FLIGHT = 10
"""How many are emailed by requests whose answers stay out, when a worker is killed; arq runs as many jobs at once."""

PROCESSES = 2
"""Of the taskiq worker, as its command says."""

PATIENCE = 60.0
JOBS = """
import sys
jobs = [(f"person{number}@acme.example", f"hubspot:62515:{number}:{number}") for number in range(int(sys.argv[1]))] * 2
"""
"""Each event comes twice, as from any sender that delivers at least once."""

ENQUEUE = {
    "arq_worker": JOBS
    + """
import asyncio, os
from arq import create_pool
from arq.connections import RedisSettings

async def main():
    pool = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    for job in jobs:
        await pool.enqueue_job("enroll", *job)
    await pool.aclose()

asyncio.run(main())
""",
    "taskiq_worker": JOBS
    + """
import asyncio
from taskiq_worker import broker, enroll

async def main():
    await broker.startup()
    for job in jobs:
        await enroll.kiq(*job)
    await broker.shutdown()

asyncio.run(main())
""",
    "celery_worker": JOBS
    + """
from celery_worker import enroll
for job in jobs:
    enroll.delay(*job)
""",
}


@pytest.fixture(name="broker")
def a_redis_on_a_port():
    yield from redis_server.running(tcp=True)


class Workers:
    """Starts the page's programs in a folder, with an emulator and a broker, and ends all that is left of them."""

    def __init__(self, folder, emulator, broker, ledger, **changes):
        for name, text in MODULES.items():
            for old, new in changes.items():
                text = text.replace(CHANGED[old], new)  # noqa: PLW2901
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        self._folder = folder
        self._environment = os.environ | {
            "HINDSIGHT_API_KEY": emulator.api_key,
            "HINDSIGHT_BASE_URL": emulator.base_url,
            "HINDSIGHT_PLAN": Plan.GROWTH.value,
            "REDIS_URL": broker.url,
            "LEDGER_URL": ledger,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        self._log = (folder / "log.txt").open("ab")
        self._started = []

    def start(self, name):
        program, *arguments = COMMANDS[name]
        process = subprocess.Popen(
            [Path(sys.executable).parent / program, *arguments],
            cwd=self._folder, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def enqueue(self, name):
        subprocess.run(
            [sys.executable, "-c", ENQUEUE[name], str(PEOPLE)],
            cwd=self._folder, env=self._environment, check=True, timeout=PATIENCE,
        )  # fmt: skip

    def kill_all(self):
        for process in self._started:
            kill(process)
        self._log.close()

    @property
    def said(self):
        return (self._folder / "log.txt").read_text()[-5000:]


CHANGED = {
    "once": 'create_once(request, ledger=ctx["ledger"], key=key)',
    "idle": "IDLE = 60_000",
    "visibility": '"visibility_timeout": 600',
}
"""What some tests change in the page's text: a wait that would take minutes, or the very line that matters."""


def kill(process):
    """End a program with all its processes, as a machine does that goes away."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def workers(folder, broker, ledger, **changes):
    with serving(busy_emulator(random.Random(18))) as emulator:
        started = Workers(folder, emulator, broker, ledger, **changes)
        try:
            yield started, emulator
        finally:
            started.kill_all()


def hang(emulator):
    """Answer some requests, so that the worker is at full speed; keep the next answers out until long after the test."""
    emulator.fail("POST /interviews", how="slow", at="after_commit", seconds=0.01, times=SOME)
    emulator.fail("POST /interviews", how="slow", at="after_commit", seconds=600, times=IN_FLIGHT)


def wait_until_some_are_in_flight(emulator, started):
    wait_until(lambda: len(in_flight(emulator)) >= IN_FLIGHT, started)


def in_flight(emulator):
    """Return who was emailed by a request that has no answer yet."""
    unanswered = [
        request.body["contact_email"]
        for request in list(emulator.requests)
        if request.body and not request.status
    ]
    return [address for address in unanswered if address in sent(emulator)]


def wait_until(is_so, started):
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, started.said
        time.sleep(0.02)


def entries(ledger):
    async def read():
        return [entry async for entry in Ledger(ledger).entries()]

    return asyncio.run(read())


def sent(emulator):
    return Counter(email.address for email in emulator.outbox)


def is_settled(ledger):
    ends = {LedgerStatus.CREATED, LedgerStatus.UNKNOWN}
    return lambda: PEOPLE == sum(entry.status in ends for entry in entries(ledger))


def check(ledger, emulator, *, processes):
    """Nobody twice, nobody lost: each has a row; who is created was emailed; only what was in flight is in doubt."""
    found = entries(ledger)
    unknown = {entry.contact_email for entry in found if entry.status is LedgerStatus.UNKNOWN}
    created = {entry.contact_email for entry in found if entry.status is LedgerStatus.CREATED}
    assert {f"person{number}@acme.example" for number in range(PEOPLE)} == created | unknown
    assert PEOPLE == len(found) == len(created) + len(unknown)
    assert 1 <= len(unknown) <= processes * DEFAULT_MAX_IN_FLIGHT
    assert 1 == max(sent(emulator).values())
    assert created <= sent(emulator).keys()


def arq_after_a_kill(started, emulator, broker):
    """Kill a worker that has requests in flight; let the time pass after which arq runs its jobs again; start another."""
    hang(emulator)
    started.enqueue("arq_worker")
    first = started.start("arq_worker")
    wait_until_some_are_in_flight(emulator, started)
    kill(first)
    emulator.heal()
    held = "for _, key in ipairs(redis.call('KEYS', 'arq:in-progress:*')) do redis.call('DEL', key) end"
    broker.command("EVAL", held, "0")
    return started.start("arq_worker")


def test_arq_runs_the_jobs_of_a_killed_worker_again_and_emails_nobody_twice(tmp_path, broker):
    """With `create_once`: who was in flight is in doubt and left alone, and all others are enrolled."""
    ledger = str(tmp_path / "deals.db")
    with workers(tmp_path, broker, ledger) as (started, emulator):
        second = arq_after_a_kill(started, emulator, broker)
        wait_until(is_settled(ledger), started)
        wait_until(lambda: broker.command("ZCARD", "arq:queue") == b":0\r\n", started)
        second.terminate()
        second.wait(PATIENCE)
        check(ledger, emulator, processes=1)


def test_plain_create_in_the_same_arq_job_emails_twice(tmp_path, broker):
    """What the page warns of happens: all who were in flight at the kill are emailed again."""
    with workers(tmp_path, broker, "", once="create(request)") as (started, emulator):
        arq_after_a_kill(started, emulator, broker)
        wait_until(lambda: broker.command("ZCARD", "arq:queue") == b":0\r\n", started)
        # Each is asked for by two events anyway, which `create` cannot tell from one.
        assert 2 * PEOPLE < len(emulator.outbox) <= 2 * PEOPLE + IN_FLIGHT


def test_taskiq_sends_from_several_processes_and_takes_over_what_a_killed_one_had(
    tmp_path, broker, postgres, database
):
    """Also the jobs that a worker took and did not get to: the stream gives them to another."""
    ledger = postgres.url(database, lease=1)
    with workers(tmp_path, broker, ledger, idle="IDLE = 1_000") as (started, emulator):
        hang(emulator)
        started.enqueue("taskiq_worker")
        broker.command("XREADGROUP", "GROUP", "taskiq", "dead", "COUNT", "40", "STREAMS", "taskiq", ">")
        first = started.start("taskiq_worker")
        wait_until_some_are_in_flight(emulator, started)
        kill(first)
        emulator.heal()
        second = started.start("taskiq_worker")
        wait_until(is_settled(ledger), started)
        second.terminate()
        second.wait(PATIENCE)
        check(ledger, emulator, processes=PROCESSES)


def test_celery_puts_into_the_queue_and_one_process_sends(tmp_path, broker):
    """Workers and the sender are killed in the middle, each of them: nobody twice, nobody lost."""
    ledger = str(tmp_path / "deals.db")
    with workers(tmp_path, broker, ledger, visibility='"visibility_timeout": 2') as (started, emulator):
        hang(emulator)
        started.enqueue("celery_worker")
        worker, sender = started.start("celery_worker"), started.start("sender")
        wait_until_some_are_in_flight(emulator, started)
        kill(worker)
        kill(sender)
        emulator.heal()
        worker, sender = started.start("celery_worker"), started.start("sender")
        wait_until(is_settled(ledger), started)
        worker.terminate()
        sender.terminate()
        assert 0 == sender.wait(PATIENCE)
        check(ledger, emulator, processes=1)


def test_each_block_of_the_page_is_run_here():
    """No block is only decoration."""
    assert {*ENQUEUE, "sender"} == set(MODULES)
    assert len(MODULES) == PAGE.count("```python")
    assert all(any(old in text for text in MODULES.values()) for old in CHANGED.values())
