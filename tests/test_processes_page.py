"""The page of many processes, from its own text: two of them divide the rows, and the plan, among them."""

import asyncio
import os
import re
from functools import partial

import pytest

import loaded_python
from doc_pages import named_blocks
from hindsight_async import Plan
from hindsight_async.emulator import Emulator

PEOPLE = 60
WORKERS = 2


@pytest.mark.slow
@pytest.mark.servers
def test_two_workers_email_each_person_once(redis, postgres, database, tmp_path):
    """Started at the same time with the same input, both tell of every row, and the emulator has each person once."""
    script = tmp_path / "worker.py"
    script.write_text(named_blocks()["worker"], encoding="utf-8")

    async def work():
        async with Emulator(plan=Plan.GROWTH, latency=0.02) as emulator:
            environment = {
                **os.environ,
                "HINDSIGHT_API_KEY": emulator.api_key,
                "HINDSIGHT_BASE_URL": emulator.base_url,
                "REDIS_URL": redis.url,
                "LEDGER": postgres.url(database),
            }
            started = partial(loaded_python.run, [script], env=environment, capture_output=True, text=True)
            done = await asyncio.gather(*(asyncio.to_thread(started) for _ in range(WORKERS)))
            return done, [email.address for email in emulator.outbox]

    done, emailed = asyncio.run(work())
    assert [(0, "")] * WORKERS == [(each.returncode, each.stderr) for each in done]
    outcomes = [dict(re.findall(r"(\d+) (\w+)", each.stdout)) for each in done]
    assert [PEOPLE] * WORKERS == [len(each) for each in outcomes]
    assert {"CREATED", "ALREADY_DONE"} >= {status for each in outcomes for status in each.values()}
    assert PEOPLE == sum(status == "CREATED" for each in outcomes for status in each.values())
    assert PEOPLE == len(emailed) == len(set(emailed))
