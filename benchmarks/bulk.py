"""What bulk costs: `python -m benchmarks.bulk [ROWS]`.

Prints, over a transport that answers at once: the CPU per row without and with a ledger, and how long a run over a
ledger of finished rows takes to reach the first row that is not.
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hindsight_async import CreateInterview, OutcomeStatus, RateBudget, RetryPolicy
from hindsight_async.addresses import AllowedRecipients, interview_key
from hindsight_async.call import Call, Reply
from hindsight_async.interviews import Interviews
from hindsight_async.ledger import Ledger, LedgerRow
from hindsight_async.pipeline import Pipeline

DEFAULT_ROWS = 100_000
MAX_IN_FLIGHT = 16
UNLIMITED = 100_000_000
MICROSECONDS = 1e6
PLANNED_AT_ONCE = 1000
LEDGER_SHARE = 10
"""A row with a ledger takes so much longer that fewer are measured."""


class StubTransport:
    """Creates every interview it is asked for."""

    def __init__(self) -> None:
        self.sent = 0

    def open(self) -> None:
        """Be open."""

    async def send(self, call: Call[Any], *, deadline: float | None, attempt: int) -> Reply:
        """Answer 201."""
        del call, deadline, attempt
        self.sent += 1
        body = b'{"interview_request_id":%d,"contact_id":"c","status":"sent"}' % self.sent
        return Reply(status=201, headers={}, body=body, received_at=datetime.now(UTC))


def interviews_over(transport: Any) -> Interviews:
    """Return interviews over a stub, with more budget than will be used."""
    door = RateBudget(UNLIMITED).join(MAX_IN_FLIGHT)
    pipeline = Pipeline(transport, door, policy=RetryPolicy(), deadline=None, random=lambda: 0.5)
    allowed = AllowedRecipients({})
    return Interviews(pipeline, allowed=allowed, max_creates=None, max_in_flight=MAX_IN_FLIGHT)


def rows(count: int) -> Iterator[CreateInterview]:
    """Make so many different requests."""
    return (
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="s") for number in range(count)
    )


async def cpu_per_row(count: int, ledger: Path | None) -> float:
    """Run so many rows; return the seconds of CPU for each."""
    began = time.process_time()
    async with interviews_over(StubTransport()).create_many(rows(count), ledger=ledger) as run:
        async for _ in run:
            pass
    return (time.process_time() - began) / count


async def fill(ledger: Path, count: int) -> None:
    """Make a ledger of so many finished rows, without the time that sending them takes."""
    planned = [
        LedgerRow(key=interview_key(request), row_index=index, contact_email=request.contact_email)
        for index, request in enumerate(rows(count))
    ]
    async with Ledger(ledger).run() as run:
        for start in range(0, count, PLANNED_AT_ONCE):
            await run.claim(planned[start : start + PLANNED_AT_ONCE])
    with closing(sqlite3.connect(ledger)) as database, database:
        database.execute("UPDATE interviews SET status = 'created', interview_request_id = row_index")


async def time_to_first_unsent(finished: int, ledger: Path) -> float:
    """Run over so many finished rows and one more; return the seconds until that one is created."""
    began = time.perf_counter()
    async with interviews_over(StubTransport()).create_many(rows(finished + 1), ledger=ledger) as run:
        async for outcome in run:
            if outcome.status is OutcomeStatus.CREATED:
                break
    return time.perf_counter() - began


def main(count: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.db"
        bare = asyncio.run(cpu_per_row(count, None))
        print(f"CPU per row, no ledger     {bare * MICROSECONDS:8.0f} us  ({count} rows)")
        kept = asyncio.run(cpu_per_row(count // LEDGER_SHARE, Path(folder) / "sent.db"))
        print(f"CPU per row, with a ledger {kept * MICROSECONDS:8.0f} us  {kept / bare:5.1f} x without")
        asyncio.run(fill(ledger, count))
        resumed = asyncio.run(time_to_first_unsent(count, ledger))
        print(f"resume to the first unsent row after {count} finished ones: {resumed:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_ROWS)
