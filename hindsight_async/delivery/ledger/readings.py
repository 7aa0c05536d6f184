"""What reading interviews has told of them: kept beside what was sent, so that a completed one is never read again."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from attrs import asdict, frozen
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.tables import Tables


@frozen(kw_only=True)
class Reading:
    """What one read of an interview has told."""

    interview_request_id: int
    interview_status: str | None
    read_at: datetime
    """When it was read (aware)."""

    completed_at: datetime | None = None
    """Since when it is known to be completed (aware); None while it is not."""


async def note_readings(tables: Tables, readings: Sequence[Reading], connection: AsyncConnection) -> None:
    """Write down what was read of interviews; of those that the ledger does not have, nothing."""
    if not readings:
        return
    row = tables.interviews.c
    statement = (
        sa.update(tables.interviews)
        # Of two who read at the same time the slower one may know less.
        .where(row.interview_request_id == sa.bindparam("of"), row.completed_at.is_(None))
        .values(
            {name: sa.bindparam(f"new_{name}") for name in ("interview_status", "read_at", "completed_at")}
        )
    )
    values = [
        {"of": each.interview_request_id, **{f"new_{name}": value for name, value in asdict(each).items()}}
        for each in readings
    ]
    await connection.execute(statement, values)
