"""The run that has a ledger file to itself."""

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.entries import MAY_FINISH, LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerError

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.sqlite import SqliteBackend

RUN_OPEN: Final = "run_open"
"""The name of the meta row that says "1" from a run's start to its end; where it is missing none is on."""


class SqliteRunLock:
    """The only run on a file: the lock says whose the rows are, so that nothing in them has to."""

    renew_seconds: float | None = None
    may_finish: Collection[LedgerStatus] = MAY_FINISH
    may_be_taken_back: Collection[LedgerStatus] = (LedgerStatus.SENDING,)
    held: Mapping[str, Any] = MappingProxyType({})
    is_open_to_it: sa.ColumnElement[bool] = sa.true()
    is_its_own: sa.ColumnElement[bool] = sa.true()
    is_over = False

    def __init__(self, file: "SqliteBackend") -> None:
        self._file = file
        self._rows = file.rows

    async def begin(self, connection: AsyncConnection, now: datetime) -> None:
        """Settle what a dead run left, and say that a run is on."""
        async with connection.begin():
            await settle(self._rows, connection, now)
            await note_run_open(self._rows, connection, is_open=True)
        # In the file itself before the first row: a copy without the log then tells that it is one.
        await self._file.merge_log(connection)

    async def renew(self, connection: AsyncConnection) -> None:
        """Nothing to say: the kernel lets go of the lock when the process dies."""

    def lived_at(self, moment: float) -> None:
        """Nothing to note."""

    async def claim(
        self, connection: AsyncConnection, keys: Collection[str], now: datetime
    ) -> Mapping[str, LedgerEntry]:
        """Return the entries of those rows that exist."""
        del now
        return await self._rows.known(connection, keys)

    async def let_go(self, connection: AsyncConnection, keys: Collection[str]) -> None:
        """Nothing to give back: a row says nothing of who has it."""

    async def refusal(
        self, connection: AsyncConnection, key: str, since: Collection[LedgerStatus]
    ) -> LedgerError:
        """Say why a row could not be moved."""
        return await self._rows.refusal(connection, key, since)

    async def end(self, connection: AsyncConnection) -> None:
        """Say that no run is on."""
        async with connection.begin():
            # The log then starts over, so that the note needs no room on a full disk.
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        async with connection.begin():
            await note_run_open(self._rows, connection, is_open=False)


async def is_run_open(rows: Tables, connection: AsyncConnection) -> bool:
    """Return whether a run is on, or died."""
    return await connection.scalar(sa.select(rows.meta.c.value).where(rows.meta.c.name == RUN_OPEN)) == "1"


async def note_run_open(rows: Tables, connection: AsyncConnection, *, is_open: bool) -> None:
    """Write down that a run has begun, or that none is on."""
    value = "1" if is_open else "0"
    await connection.execute(
        sa.insert(rows.meta).prefix_with("OR REPLACE").values(name=RUN_OPEN, value=value)
    )


async def settle(rows: Tables, connection: AsyncConnection, settled_at: datetime) -> None:
    """Turn what a dead run left in `sending` into `unknown`; no living run may have the ledger."""
    await connection.execute(
        sa.update(rows.interviews)
        .where(rows.interviews.c.status == LedgerStatus.SENDING)
        .values(status=LedgerStatus.UNKNOWN, finished_at=settled_at)
    )
