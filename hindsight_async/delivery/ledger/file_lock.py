"""The one run on a ledger file: a lock beside the file, and a note inside it that a run is on."""

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.entries import MAY_FINISH, LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerError, LedgerInUseError

RUN_OPEN: Final = "run_open"
"""The name of the meta row that says "1" from a run's start to its end; where it is missing none is on."""

KEPT_LOCKED: Final = "another program keeps it locked: close that program, then run again"


def exclusive_lock(lock_file: Path, ledger: Path) -> closing[sqlite3.Connection]:
    """Take the lock of a ledger's one run and keep it until closed; LedgerInUseError at once where another has it.

    It is SQLite's own lock, on an empty file beside the ledger. The kernel lets go of it when the process dies, so that
    no dead run keeps a living one out, which a file with a process id would; and it also keeps two runs of one process
    apart, which `fcntl` would not. Not on the ledger itself: people read and resolve there while a run is on.
    """
    connection = sqlite3.connect(lock_file, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=OFF")  # else it would leave a journal beside the lock
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if primary_code(error) != sqlite3.SQLITE_BUSY:
            raise
        raise LedgerInUseError(f"{ledger} is used by another run: wait for its end, or stop it") from None
    return closing(connection)


class SqliteRunLock:
    """The only run on a file: the lock says whose the rows are, so that nothing in them has to."""

    renew_seconds: float | None = None
    """How often something must be written for the run to count as alive: never, since the kernel knows that."""

    may_finish: Collection[LedgerStatus] = MAY_FINISH
    may_be_taken_back: Collection[LedgerStatus] = (LedgerStatus.SENDING,)
    """From which statuses a row of the run may be finished, and said to have come to nothing."""

    claim_values: Mapping[str, Any] = MappingProxyType({})
    """What is stored in a row that the run claims."""

    may_be_claimed: sa.ColumnElement[bool] = sa.true()
    is_own: sa.ColumnElement[bool] = sa.true()
    """Whether a row may be claimed by the run, and whether it has been."""

    is_over = False
    """Whether others may have taken this run for dead: not while the kernel keeps its lock."""

    def __init__(self, path: Path, tables: Tables) -> None:
        self._path = path
        self._tables = tables

    async def begin(self, connection: AsyncConnection, now: datetime) -> None:
        """Have nothing in doubt that a dead run left unsaid, and say that a run is on."""
        async with connection.begin():
            await mark_abandoned(self._tables, connection, now)
            await note_run_open(self._tables, connection, is_open=True)
        # From here on what is committed lies in the log (WAL) beside the file. Whoever copied the file alone would have
        # a ledger without the latest rows, and would email them again. So the note that a run is on is merged into the
        # file itself before the first row: such a copy says that its log is missing, and is refused.
        await merge_log(connection, self._path)

    async def renew(self, connection: AsyncConnection, number: int) -> bool:
        """Nothing to say; return that the transaction of this number is new, since no answer is lost on the way to a file."""
        del connection, number
        return True

    def renewed_at(self, moment: float) -> None:
        """Nothing to note."""

    async def claim(
        self, connection: AsyncConnection, keys: Collection[str], now: datetime
    ) -> Mapping[str, LedgerEntry]:
        """Return the entries of those rows that exist."""
        del now
        # A queue that only accepts needs no lock, and may put the same rows meanwhile.
        await self._tables.take_turns(connection)
        return await self._tables.known(connection, keys)

    async def mark_abandoned(self, connection: AsyncConnection, now: datetime) -> bool:
        """Nothing to mark, nor marked: no other run has the file while this one lives."""
        del connection, now
        return False

    async def let_go(self, connection: AsyncConnection, keys: Collection[str]) -> None:
        """Nothing to give back: a row says nothing of who has it."""

    async def why_not_moved(
        self, connection: AsyncConnection, key: str, from_statuses: Collection[LedgerStatus]
    ) -> LedgerError:
        """Say why a row could not be moved."""
        return await self._tables.why_not_moved(connection, key, from_statuses)

    async def end(self, connection: AsyncConnection) -> None:
        """Say that no run is on."""
        async with connection.begin():
            # The log then starts over, so that the note needs no room on a full disk.
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        async with connection.begin():
            await note_run_open(self._tables, connection, is_open=False)


async def merge_log(connection: AsyncConnection, path: Path, *, empty_it: bool = False) -> None:
    """Bring all that is committed into the file itself; LedgerError where another program's reading prevents it."""
    how = "TRUNCATE" if empty_it else "FULL"
    async with connection.begin():
        merged = await connection.exec_driver_sql(f"PRAGMA wal_checkpoint({how})")
        prevented = merged.scalar_one()
    if prevented:
        raise LedgerError(f"{path}: {KEPT_LOCKED}")


async def is_run_open(tables: Tables, connection: AsyncConnection) -> bool:
    """Return whether a run is on, or died."""
    return (
        await connection.scalar(sa.select(tables.meta.c.value).where(tables.meta.c.name == RUN_OPEN)) == "1"
    )


async def note_run_open(tables: Tables, connection: AsyncConnection, *, is_open: bool) -> None:
    """Write down that a run has begun, or that none is on."""
    value = "1" if is_open else "0"
    await connection.execute(
        sa.insert(tables.meta).prefix_with("OR REPLACE").values(name=RUN_OPEN, value=value)
    )


async def mark_abandoned(tables: Tables, connection: AsyncConnection, now: datetime) -> None:
    """Turn what a dead run left in `sending` into `unknown`; no living run may have the ledger."""
    await connection.execute(
        sa.update(tables.interviews)
        .where(tables.interviews.c.status == LedgerStatus.SENDING)
        .values(status=LedgerStatus.UNKNOWN, finished_at=now)
    )


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's error code without what is more special about it; 0 for another library's error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
