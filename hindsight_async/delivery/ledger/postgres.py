"""The PostgreSQL database in which several runs share a ledger: its tables, how they come to be, what its failures mean."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hindsight_async.delivery.ledger.leases import ADVISORY_SPACE, PostgresRunLock, SharedTables
from hindsight_async.delivery.ledger.postgres_url import PostgresUrl, read_url
from hindsight_async.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX: Final = "hindsight_"
"""Before each table's name: a database may have other tables too."""

CREATING: Final = 1
"""The second half of the advisory lock under which the tables are made."""

COMMAND_SECONDS: Final = 20.0
"""How long the server may take to answer one statement."""

IDLE_SECONDS: Final = 5.0
"""How long a transaction may stand still, as that of a stopped process, before the server ends it for the others' sake."""


class PostgresBackend:
    """A ledger in a PostgreSQL database.

    Args:
        url: Where that is, with asyncpg as its driver, and with the parameters that `postgres_url` knows.

    Raises:
        ModuleNotFoundError: asyncpg is not installed.
        ValueError: The URL has a parameter that cannot be used; the text says what to write.

    """

    def __init__(self, url: sa.URL) -> None:
        place = read_url(url)
        self._lease_seconds = place.lease_seconds
        # The user's name stays out as well: before a host it would be taken for an email address.
        shown = sa.URL.create("postgresql", host=url.host, port=url.port, database=url.database)
        self.name = shown.render_as_string()
        """The place, as texts name it: without user and password."""
        self.tables = SharedTables(PREFIX)
        self.files: tuple[Path, ...] = ()
        self._engine = _engine_at(place)
        asyncpg = import_module("asyncpg")
        # Before SQLAlchemy 2.1 what the driver raises while it connects comes as it is.
        self._failures: tuple[type[Exception], ...] = (
            SQLAlchemyError,
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,  # a certificate's file that is not there, say
        )
        self._was_seen = False
        """Whether the tables were there; once they are, nobody takes them away."""

    async def exists(self) -> bool:
        """Return whether the tables are there."""
        if not self._was_seen:
            with self.failures():
                async with self._engine.begin() as connection:
                    self._was_seen = await connection.run_sync(
                        lambda sync: sa.inspect(sync).has_table(self.tables.interviews.name)
                    )
        return self._was_seen

    async def create(self) -> None:
        """Make the tables, unless another process does so at the same time."""
        with self.failures():
            async with self._engine.begin() as connection:
                # Two that both find no tables would both make them, and one of them would fail.
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_SPACE, CREATING)))
                await connection.run_sync(self.tables.schema.create_all)
                await self.tables.note_version(connection)

    async def open(self) -> AsyncConnection:
        """Return a connection to the ledger, which must exist; LedgerError where its version is not ours."""
        with self.failures():
            return await self.tables.connect(self._engine, self.name)

    async def mark_abandoned(self, connection: AsyncConnection, now: datetime) -> None:
        """Turn what dead runs left in `sending` into `unknown`."""
        async with connection.begin():
            await self.tables.mark_abandoned(connection, now)

    @asynccontextmanager
    async def run_lock(self) -> AsyncGenerator[PostgresRunLock]:
        """Begin one of any number of runs; its lease is taken when it opens."""
        yield PostgresRunLock(self.tables, self._lease_seconds)

    @contextmanager
    def failures(self) -> Generator[None]:
        """Turn what the database or the network says into a LedgerError."""
        try:
            yield
        except self._failures as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            code = _sqlstate(error)
            meaning = _MEANINGS.get(code) or _MEANINGS.get(code[:2]) or _UNREACHABLE.get(code, _ODD)
            raise LedgerError(f"{self.name}: {meaning} ({_first_line(reason)})") from error

    async def scrub(self, connection: AsyncConnection) -> bool:
        """Have the server take the erased rows out of its tables; return whether it did."""
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")  # VACUUM takes no transaction
            for table in (self.tables.interviews, self.tables.contexts):
                await connection.exec_driver_sql(f"VACUUM {table.name}")
        except self._failures:
            return False  # to no harm: the server does so by itself, sooner or later
        return True

    def is_one_jobs_fault(self, error: LedgerError) -> bool:
        """Whether the server refused a statement or broke up a deadlock, and is still there: the others' may pass."""
        cause = error.__cause__
        return isinstance(cause, DBAPIError) and not cause.connection_invalidated


_ODD = "it cannot be used"
_UNREACHABLE = {"": "it cannot be reached: see that the server runs and that host and port are right"}
_MEANINGS = {
    "28": "the server does not let this user in: see user and password",
    "3D": "there is no such database: create it, or name another",
    "42501": "this user may not do it: let it create tables, or have them made by one who may",
    "25006": "it is a read-only copy: name the server that it is copied from",
    "53": "the server has no room left: free some, then run again",
    "55P03": "another program keeps it locked: close that program, then run again",
    "22": "a value cannot be stored",
    "40": "other runs were in the way: run again",
}


def _sqlstate(error: BaseException) -> str:
    reason = error.orig if isinstance(error, DBAPIError) else error
    return getattr(reason, "sqlstate", None) or ""


def _first_line(reason: BaseException | None) -> str:
    return (str(reason).splitlines() or [type(reason).__name__])[0]


def _engine_at(place: PostgresUrl) -> AsyncEngine:
    settings = {
        "application_name": place.application_name,
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS:.0f}s",
        "synchronous_commit": "on",
    }
    try:
        return create_async_engine(
            place.url,
            poolclass=NullPool,
            isolation_level="READ COMMITTED",
            connect_args={
                "dsn": place.own_url,
                "timeout": place.connect_seconds,
                "command_timeout": COMMAND_SECONDS,
                "server_settings": settings,
            },
        )
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: a ledger in PostgreSQL needs pip install 'hindsight-async[postgres]'",
            name=error.name,
        ) from error
