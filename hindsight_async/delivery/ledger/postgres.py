"""The PostgreSQL database in which several runs share a ledger: its tables, how they come to be, what its failures mean."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from hindsight_async.delivery.ledger.leases import PostgresRunLock, SharedTables
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

EACH_TRANSACTION: Final = (
    "SELECT set_config('synchronous_commit', 'on', true),"
    f" set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS:.0f}s', true)"
)
"""What each transaction begins with: a commit is durable whatever the server's default is.

Not said when connecting, which PgBouncer refuses; and a session's settings would not follow a run there, since behind it
each transaction may have another of the server's sessions.
"""


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
        self.outage_seconds = place.outage_seconds
        """How long a run waits for a database that is away."""
        # The user's name stays out as well: before a host it would be taken for an email address.
        shown = sa.URL.create("postgresql", host=url.host, port=url.port, database=url.database)
        if place.ledger:
            shown = shown.set(query={"ledger": place.ledger})
        self.name = shown.render_as_string()
        """The place, as texts name it: without user and password."""
        self.tables = SharedTables(f"{PREFIX}{place.ledger}_" if place.ledger else PREFIX, place.ledger)
        self.files: tuple[Path, ...] = ()
        self._engine = _engine_at(place)
        asyncpg = import_module("asyncpg")
        # Before SQLAlchemy 2.1 what the driver raises while it connects comes as it is.
        self._failures: tuple[type[Exception], ...] = (
            SQLAlchemyError,
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,  # a certificate's file that is not there, say
            asyncpg.InternalClientError,
        )
        # The second where the server of `target_session_attrs` is not among those that answer, the last where the driver
        # is asked for something while it takes in that the server has ended the connection.
        self._not_there = (
            OSError,
            asyncpg.exceptions.TargetServerAttributeNotMatched,
            asyncpg.InternalClientError,
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
                lock = sa.func.pg_advisory_xact_lock(self.tables.advisory_space, CREATING)
                await connection.execute(sa.select(lock))
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
            known = (_MEANINGS[code[:length]] for length in (5, 3, 2) if code[:length] in _MEANINGS)
            meaning = next(known, None) or _UNREACHABLE.get(code, _ODD)
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
        return isinstance(cause, DBAPIError) and not cause.connection_invalidated and not self.is_away(error)

    def is_away(self, error: LedgerError) -> bool:
        """Whether the database may serve soon: it restarts, fails over, has ended a connection, or something stands still."""
        cause = error.__cause__
        if cause is None:
            return False
        # SQLAlchemy 2.1 puts an exception of its own around what the driver met while it connected.
        reason = cause.orig if isinstance(cause, DBAPIError) else cause
        if any(isinstance(each, self._not_there) for each in (reason, reason and reason.__cause__)):
            return True
        code = _sqlstate(cause)
        return (isinstance(cause, DBAPIError) and cause.connection_invalidated) or any(
            code.startswith(passing) for passing in _PASSING
        )


_ODD = "it cannot be used"
_UNREACHABLE = {"": "it cannot be reached: see that the server runs and that host and port are right"}
_MEANINGS = {
    "28": "the server does not let this user in: see user and password",
    "08": "the connection to it broke: see that the server runs",
    "57P": "it restarts, or an administrator has ended the connection: see that the server runs",
    "3D": "there is no such database: create it, or name another",
    "42501": "this user may not do it: let it create tables, or have them made by one who may",
    "25006": "it is a read-only copy: name the server that it is copied from",
    "53": "the server has no room left: free some, then run again",
    "55P03": "another program keeps it locked: close that program, then run again",
    "22": "a value cannot be stored",
    "40": "other runs were in the way: run again",
}

_PASSING = (
    "08",  # the connection broke, or a pooler lost the server's
    "25006",  # a copy answers, as it may while another takes over
    "25P03",  # this process stood still in the midst of a transaction
    "40",
    "53300",  # too many clients, all of whom come back at once
    "55P03",
    "57014",  # the time that the server gives a statement is over: another's stands still
    "57P01",  # ended by an administrator; by a crash; not up yet; idle for too long
    "57P02",
    "57P03",
    "57P05",
)
"""Codes of what another try may not meet."""


def _sqlstate(error: BaseException) -> str:
    reason = error.orig if isinstance(error, DBAPIError) else error
    return getattr(reason, "sqlstate", None) or ""


def _first_line(reason: BaseException | None) -> str:
    return (str(reason).splitlines() or [type(reason).__name__])[0]


def _engine_at(place: PostgresUrl) -> AsyncEngine:
    try:
        engine = create_async_engine(
            place.url,
            poolclass=NullPool,
            isolation_level="READ COMMITTED",
            connect_args={
                "dsn": place.own_url,
                "timeout": place.connect_seconds,
                "command_timeout": COMMAND_SECONDS,
                "server_settings": {"application_name": place.application_name},
                **place.tls,
                **_NOTHING_PREPARED,
            },
        )
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: a ledger in PostgreSQL needs pip install 'hindsight-async[postgres]'",
            name=error.name,
        ) from error
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


# Behind PgBouncer the next transaction may have another of the server's sessions, which does not know what was prepared.
_NOTHING_PREPARED: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,  # the empty name, which each statement takes from the one before
}


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(EACH_TRANSACTION)
