"""One bulk run over a transport that answers at once: `python -m benchmarks.bulk_run ROWS [LEDGER]`.

Prints JSON: the seconds of CPU, by how many MiB the process's peak memory has grown since a few rows were done, and,
with a ledger, the seconds that a second run with one row more takes until that row is created.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hindsight_async import CreateInterview, OutcomeStatus, RateBudget
from stub_transport import stubbed_interviews

UNLIMITED = 100_000_000
WARM_UP_ROWS = 500
KIB_PER_MIB = 1024


def rows(count: int) -> Iterator[CreateInterview]:
    """Make so many different requests."""
    return (
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="s") for number in range(count)
    )


async def work_off(count: int, ledger: Path | None) -> float:
    """Do the run; return the seconds until the first row that is created."""
    interviews, _ = stubbed_interviews(RateBudget(UNLIMITED))
    began = time.perf_counter()
    first: float | None = None
    async with interviews.create_many(rows(count), ledger=ledger) as run:
        async for outcome in run:
            if first is None and outcome.status is OutcomeStatus.CREATED:
                first = time.perf_counter() - began
    return first or 0.0


def peak() -> float:
    """Tell the most memory that this process has had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage tells may be the parent's.
        line = next(
            line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")
        )
        return int(line.split()[1]) / KIB_PER_MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def main(count: int, ledger: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(work_off(min(count, WARM_UP_ROWS), Path(folder) / "ledger.db" if ledger else None))
    peak_before, cpu = peak(), time.process_time()
    asyncio.run(work_off(count, ledger))
    took = {"cpu": time.process_time() - cpu, "growth": peak() - peak_before}
    if ledger:
        took["resumed"] = asyncio.run(work_off(count + 1, ledger))
    print(json.dumps(took))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)  # noqa: PLR2004
