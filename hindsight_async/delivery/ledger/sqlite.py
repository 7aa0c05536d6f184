"""The SQLite file in which a ledger is kept: how it comes to be, what makes a commit durable, what its failures mean."""

import os
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.delivery.ledger.file_lock import (
    KEPT_LOCKED,
    RUN_OPEN,
    SqliteRunLock,
    exclusive_lock,
    is_run_open,
    mark_abandoned,
    merge_log,
    note_run_open,
    primary_code,
)
from hindsight_async.delivery.ledger.tables import SCHEMA_VERSION, Tables
from hindsight_async.errors import LedgerError, LedgerInUseError

APPLICATION_ID: Final = 0x48494C47
BUSY_SECONDS: Final = 30.0
"""How long a write waits for another program's write to the same file."""
OWNER_ONLY: Final = 0o600
"""The mode of every file made here: who was interviewed is nobody else's to read."""


class SqliteBackend:
    """A ledger in a file.

    Args:
        path: That of the file.

    Raises:
        ValueError: It cannot outlive its process.

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if os.fspath(path) in {"", ":memory:"}:
            raise ValueError("a ledger outlives its process: give the path of a file")
        self.path = Path(os.path.realpath(path))  # every spelling of one path meets the same lock
        self.tables = _tables()
        self._engine = _engine_at(self.path, journal_mode="WAL")

    outage_seconds = 0.0
    """How long a run waits for a file that is away."""

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def files(self) -> tuple[Path, ...]:
        """The database, and what lies beside it and belongs to it."""
        return (self.path, *map(self._beside, _BESIDE))

    async def exists(self) -> bool:
        """Return whether a ledger is there; LedgerError where the file is something else, or not all of it.

        The file is read as it stands: another program's is neither locked nor altered.
        """
        with self.failures():
            if not self.path.exists():
                return False
            ours = self.path.is_file() and self._application_id() == APPLICATION_ID
        if not ours:
            raise LedgerError(
                f"{self.path} is no ledger (it is empty, no plain file, or another program's): name another file"
            )
        with self.failures():
            linked = self.path.stat().st_nlink > 1
            log_is_missing = self._log_is_missing()
        if linked:
            raise LedgerError(
                f"{self.path} has a second name (a hard link), under which another run could use it too:"
                " remove that name, or make it a symbolic link"
            )
        if log_is_missing:
            log = self._beside("-wal").name
            raise LedgerError(
                f"{self.path}: it was moved or copied without {log} after a run that did not end: put that file"
                " beside it, or use the original (only where another program has opened it here since, which"
                f" merges that file: put an empty {log} beside it)"
            )
        return True

    async def create(self) -> None:
        """Make an empty ledger, which appears whole or not at all. Needs the run lock.

        Raises LedgerError where the log of a ledger that is gone would be taken for the new one's.
        """
        unfinished = self._beside("-new")
        with self.failures():
            for orphan in (self._beside("-wal"), self._beside("-journal")):
                if orphan.exists():
                    raise LedgerError(
                        f"{self.path} is gone but {orphan.name} is there: put the ledger back, or remove"
                        " that file too"
                    )
            _remove(unfinished)
            _make_empty(unfinished)
            try:
                await self._lay_out(_engine_at(unfinished, journal_mode="DELETE"))
                unfinished.replace(self.path)
            finally:
                _remove(unfinished)

    async def open(self) -> AsyncConnection:
        """Return a connection to the ledger, which must exist; LedgerError where its version is not ours."""
        with self.failures():
            return await self.tables.connect(self._engine, self.name)

    async def mark_abandoned(self, connection: AsyncConnection, now: datetime) -> None:
        """Turn what a dead run left in `sending` into `unknown`, unless a run is on."""
        async with connection.begin():
            interviews = self.tables.interviews
            sending = await connection.scalar(
                sa.select(sa.exists().where(interviews.c.status == LedgerStatus.SENDING))
            )
            # Closing may merge a dead run's log and delete it: the flag must not outlive it.
            run_open = await is_run_open(self.tables, connection)
        if sending or run_open:
            with suppress(LedgerInUseError), self._lock():
                async with connection.begin():
                    await mark_abandoned(self.tables, connection, now)
                    await note_run_open(self.tables, connection, is_open=False)

    @asynccontextmanager
    async def run_lock(self) -> AsyncGenerator[SqliteRunLock]:
        """Take the run lock; LedgerInUseError at once where another run has it."""
        await self.exists()  # asked before the lock is taken, which leaves a file
        with self._lock():
            yield SqliteRunLock(self.path, self.tables)

    def _lock(self) -> closing[sqlite3.Connection]:
        lock_file = self._beside("-lock")
        with self.failures():
            _make_empty(lock_file)
            return exclusive_lock(lock_file, self.path)

    @contextmanager
    def failures(self) -> Generator[None]:
        """Turn what the database or the file system says into a LedgerError."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            meaning = _MEANINGS.get(primary_code(reason), "it cannot be used")
            raise LedgerError(f"{self.path}: {meaning} ({reason})") from error

    async def scrub(self, connection: AsyncConnection) -> bool:
        """Leave nothing of what was erased in the file's free pages and in its log; return that it is done.

        Raises LedgerError where another program's reading or writing, or a full disk, prevents it.
        """
        try:
            with self.failures():
                async with connection.begin():
                    # Erased bytes are overwritten at once (`secure_delete`), but pages that were rearranged before may
                    # have copies of them. This writes all that is alive anew.
                    await connection.exec_driver_sql("VACUUM")
                await merge_log(connection, self.path, empty_it=True)
        except LedgerError as error:
            raise LedgerError(
                f"{error.args[0]}; the rows are erased, but their bytes may be in the file until that is done again"
            ) from error
        return True

    def is_one_jobs_fault(self, error: LedgerError) -> bool:
        """Return False: what SQLite fails at (a full disk, a lock) it fails at for all that share a transaction."""
        del error
        return False

    def is_away(self, error: LedgerError) -> bool:
        """Return False: what a file refuses it refuses for longer, and the driver has waited for other programs."""
        del error
        return False

    def _application_id(self) -> object:
        as_it_stands = f"{self.path.as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(as_it_stands, uri=True)) as opened:
            # Else a file that is shorter than it says is called damaged, though the log beside it has the rest.
            opened.execute("PRAGMA writable_schema=ON")
            (application_id,) = opened.execute("PRAGMA application_id").fetchone()
        return application_id

    def _log_is_missing(self) -> bool:
        log = self._beside("-wal")
        # Asked again after reading: a run may have begun meanwhile, which makes the log before it sets the flag.
        return not log.exists() and self._says_that_a_run_is_open() and not log.exists()

    def _says_that_a_run_is_open(self) -> bool:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            found = opened.execute("SELECT value FROM meta WHERE name = ?", (RUN_OPEN,)).fetchone()
        return bool(found == ("1",))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    async def _lay_out(self, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(self.tables.schema.create_all, checkfirst=False)
            await self.tables.note_version(connection)
            await connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            await connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")


@cache
def _tables() -> Tables:
    """Return those of all files, which have the same: what SQLAlchemy makes of them takes milliseconds."""
    return Tables()


_BESIDE = ("-lock", "-wal", "-shm")

_DURABLE = (
    "synchronous=FULL",
    "fullfsync=ON",
    "secure_delete=ON",
)
"""The second for macOS, where fsync alone does not reach the disk; the last so that what is erased is overwritten."""

_MEANINGS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then run again",
    sqlite3.SQLITE_IOERR: "the disk did not do it (full, over a limit, or failing): free some space, then run again",
    sqlite3.SQLITE_READONLY: "it is not writable: allow writing to the file and its directory, or name another file",
    sqlite3.SQLITE_CANTOPEN: "it can be neither opened nor made: see that its directory exists and is writable",
    sqlite3.SQLITE_NOTADB: "it is no ledger: name another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a copy",
    sqlite3.SQLITE_BUSY: KEPT_LOCKED,
}


def _engine_at(path: Path, *, journal_mode: str) -> AsyncEngine:
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        poolclass=NullPool,
        # The driver begins with the first change; only then is it worth anything to have the file alone.
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": "IMMEDIATE"},
    )

    def make_durable(connection: Any, record: object) -> None:
        del record
        cursor = connection.cursor()
        for setting in (f"journal_mode={journal_mode}", *_DURABLE):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", make_durable)
    return engine


def open_for_owner(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file as `os.open` does, also as an `opener`; one that this makes has the mode OWNER_ONLY.

    Args:
        path: The file; where it is there already, its mode is left alone.
        flags: Those of `os.open`.

    Returns:
        The file descriptor.

    Raises:
        OSError: The file cannot be opened or made.

    """
    is_new = not Path(path).exists()
    descriptor = os.open(path, flags, OWNER_ONLY)
    if is_new:
        Path(path).chmod(OWNER_ONLY)  # the umask may have taken the owner's own rights away
    return descriptor


def _make_empty(database: Path) -> None:
    """Make the file before SQLite would, with everybody's rights; its log and journals take over the mode."""
    # Never one that is there: closing it would let go of the locks that this process has on it. What cannot be
    # made here cannot be made by SQLite either, which says why.
    with suppress(OSError):
        os.close(open_for_owner(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def _remove(database: Path) -> None:
    for name in (database.name, f"{database.name}-journal"):
        database.with_name(name).unlink(missing_ok=True)
