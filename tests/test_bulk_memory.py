"""A million rows in memory that does not grow with their number."""

import asyncio
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = 1_000_000
WARM_UP_ROWS = 20_000
MOST_GROWTH_KIB = 40 * 1024


async def peak_growth():
    """Run a million rows on virtual time; return by how many KiB the process's peak has grown since the first ones."""
    from hindsight_async import CreateInterview, OutcomeStatus, Plan, RateBudget
    from stub_transport import stubbed_interviews

    interviews, transport = stubbed_interviews(RateBudget.for_plan(Plan.ENTERPRISE))
    rows = (CreateInterview(contact_email=f"c{n}@acme.example", sequence_id="s") for n in range(ROWS))
    at_first = 0
    async with interviews.create_many(rows) as run:
        async for outcome in run:
            if outcome.index == WARM_UP_ROWS:
                at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ROWS == run.counts[OutcomeStatus.CREATED] == transport.sent
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_first


@pytest.mark.slow
def test_a_million_rows_do_not_grow_the_memory():
    """Peak memory grows by less than 40 MB after the first rows."""
    done = subprocess.run(
        [sys.executable, __file__], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    assert int(done.stdout) < MOST_GROWTH_KIB


if __name__ == "__main__":
    from virtual_time import VirtualTimeLoop

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        print(runner.run(peak_growth()))
