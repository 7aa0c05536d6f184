"""The page of many processes, from its own text: two of them divide the rows, and the plan, among them."""

import asyncio
import os
import re
import sys

import pytest

from doc_pages import named_blocks
from hindsight_async import Plan
from hindsight_async.emulator import Emulator

PEOPLE = 60
WORKERS = 2
SECONDS = 60.0


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
            workers = [
                await asyncio.create_subprocess_exec(
                    sys.executable, "-W", "error", script, env=environment,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                )
                for _ in range(WORKERS)
            ]  # fmt: skip
            said = await asyncio.wait_for(asyncio.gather(*(each.communicate() for each in workers)), SECONDS)
            return said, [each.returncode for each in workers], [email.address for email in emulator.outbox]

    said, codes, emailed = asyncio.run(work())
    assert [0] * WORKERS == codes, b"".join(errors for _, errors in said).decode()
    assert [b""] * WORKERS == [errors for _, errors in said]
    outcomes = [dict(re.findall(rb"(\d+) (\w+)", output)) for output, _ in said]
    assert [PEOPLE] * WORKERS == [len(each) for each in outcomes]
    assert {b"CREATED", b"ALREADY_DONE"} >= {status for each in outcomes for status in each.values()}
    assert PEOPLE == sum(status == b"CREATED" for each in outcomes for status in each.values())
    assert PEOPLE == len(emailed) == len(set(emailed))
