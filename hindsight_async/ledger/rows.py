"""The rows of a ledger: what they say, how they are stored, and the statements that read and change them."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.errors import LedgerError
from hindsight_async.journal import LedgerEntry, LedgerRow, LedgerStatus

LOOKUP_KEYS: Final = 500
"""How many keys one query looks up."""
RUN_OPEN: Final = "run_open"
"""The name of the meta row that says "1" from a run's start to its end; where it is missing none is on."""


MAY_BE_SENT = (LedgerStatus.PLANNED, LedgerStatus.NOT_SENT)
MAY_BE_RESENT = (LedgerStatus.UNKNOWN, LedgerStatus.REJECTED)
MAY_FINISH = (*MAY_BE_SENT, LedgerStatus.SENDING)
FINISHED = (LedgerStatus.CREATED, LedgerStatus.REJECTED, LedgerStatus.NOT_SENT, LedgerStatus.UNKNOWN)


class Moment(sa.TypeDecorator[datetime]):
    """An aware datetime, kept as ISO 8601 text in UTC."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        """Return the text that is stored."""
        del dialect
        return None if value is None else value.astimezone(UTC).isoformat()

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        """Return the time that was stored."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


SCHEMA: Final = sa.MetaData()
META: Final = sa.Table(
    "meta",
    SCHEMA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
INTERVIEWS: Final = sa.Table(
    "interviews",
    SCHEMA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("row_index", sa.BigInteger, nullable=False),
    sa.Column("contact_email", sa.Text),
    sa.Column("address_hash", sa.Text, nullable=False),
    sa.Column("sequence_id", sa.Text),
    sa.Column("interview_type_id", sa.Text),
    sa.Column("deal_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("interview_request_id", sa.BigInteger),
    sa.Column("error_code", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("planned_at", Moment, nullable=False),
    sa.Column("sending_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Index("interviews_in_row_order", "row_index", "key"),
)


def planned(row: LedgerRow, planned_at: datetime, *, store_address: bool) -> dict[str, Any]:
    """Return the stored values of a row that was not seen before."""
    return {
        "key": row.key,
        "row_index": row.row_index,
        "contact_email": row.contact_email if store_address else None,
        "address_hash": hashlib.sha256(row.contact_email.encode()).hexdigest(),
        "sequence_id": row.sequence_id,
        "interview_type_id": row.interview_type_id,
        "deal_id": row.deal_id,
        "status": LedgerStatus.PLANNED,
        "attempts": 0,
        "planned_at": planned_at,
    }


async def read(connection: AsyncConnection, query: sa.Select[Any]) -> list[LedgerEntry]:
    """Return the entries that `query` selects."""
    names = INTERVIEWS.c.keys()
    return [LedgerEntry(**dict(zip(names, row, strict=True))) for row in await connection.execute(query)]


async def known(connection: AsyncConnection, keys: Collection[str]) -> dict[str, LedgerEntry]:
    """Return the entries of those `keys` that have one."""
    found: dict[str, LedgerEntry] = {}
    wanted = list(keys)
    for start in range(0, len(wanted), LOOKUP_KEYS):
        some = wanted[start : start + LOOKUP_KEYS]
        entries = await read(connection, sa.select(INTERVIEWS).where(INTERVIEWS.c.key.in_(some)))
        found.update((entry.key, entry) for entry in entries)
    return found


async def move(
    connection: AsyncConnection,
    key: str,
    since: Collection[LedgerStatus],
    status: LedgerStatus,
    values: Mapping[str, Any],
) -> None:
    """Give a row another status; LedgerError where it has none of those in `since`."""
    moved = await connection.execute(
        sa.update(INTERVIEWS)
        .where(INTERVIEWS.c.key == key, INTERVIEWS.c.status.in_(since))
        .values(status=status, **values)
    )
    if not moved.rowcount:
        found = await connection.scalar(sa.select(INTERVIEWS.c.status).where(INTERVIEWS.c.key == key))
        raise LedgerError(
            f"row {key} is {found}, not {' or '.join(since)}" if found else f"there is no row {key}"
        )


async def is_run_open(connection: AsyncConnection) -> bool:
    """Return whether a run is on, or died."""
    return await connection.scalar(sa.select(META.c.value).where(META.c.name == RUN_OPEN)) == "1"


async def note_run_open(connection: AsyncConnection, *, is_open: bool) -> None:
    """Write down that a run has begun, or that none is on."""
    await connection.execute(
        sa.insert(META).prefix_with("OR REPLACE").values(name=RUN_OPEN, value="1" if is_open else "0")
    )


async def settle(connection: AsyncConnection, settled_at: datetime) -> None:
    """Turn what a dead run left in `sending` into `unknown`; no living run may have the ledger."""
    await connection.execute(
        sa.update(INTERVIEWS)
        .where(INTERVIEWS.c.status == LedgerStatus.SENDING)
        .values(status=LedgerStatus.UNKNOWN, finished_at=settled_at)
    )
