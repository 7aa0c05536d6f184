"""The ledger: what was about to be sent, and what became of it, on disk before the bytes leave.

A row goes from `planned` to `sending` before the first byte of its request leaves, and from there to
`created`, `rejected`, `not_sent` or `unknown`. Rows that a dead run left in `sending` become
`unknown`: only `resolve`, called by a person, makes these and `rejected` ones sendable again, save that a run which
was wrongly taken for dead (`leases`) knows better of its own.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

try:
    import aiosqlite  # noqa: F401  # pyright: ignore[reportUnusedImport]  missed by SQLAlchemy only when it connects
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: a ledger needs pip install 'hindsight-async[bulk]'", name=error.name
    ) from error

from hindsight_async.delivery.keys import caller_key_hash, stored_key
from hindsight_async.delivery.ledger.claims import OncePerContact
from hindsight_async.delivery.ledger.contexts import interviews_remembered
from hindsight_async.delivery.ledger.entries import (
    Forgotten,
    LedgerEntry,
    LedgerRow,
    LedgerStatus,
)
from hindsight_async.delivery.ledger.forgetting import Forgetting
from hindsight_async.delivery.ledger.group_commit import GroupCommit, Work
from hindsight_async.delivery.ledger.location import open_backend
from hindsight_async.delivery.ledger.resolving import resolve_rows
from hindsight_async.delivery.ledger.run import LedgerRun
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerError
from hindsight_async.shielding import to_the_end

PAGE_ROWS: Final = 1000
"""How many entries are read at a time."""


T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """A ledger in a SQLite file, or in a PostgreSQL database that several processes share.

    One run at a time has a file. In a database (extra `postgres`) runs divide the rows among them: what a run is at
    belongs to it as long as it lives. Reading and resolving also work while a run is on, in this process or another.
    Every method raises LedgerError where the ledger cannot serve.

    Args:
        location: A file's path, also as `sqlite+aiosqlite:///PATH`, or
            `postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE`, with what libpq takes behind a `?` (`postgres_url`); there
            `ledger=NAME` is one of several in the database, `lease_seconds=` is how long the rows of a run that is not heard
            of stay its own, and `outage_seconds=` is how long a run waits for a database that is away.
        store_addresses: False to store a hash in place of each address from now on.
        store_contexts: True to remember, of each contact, the context that the API accepted last, so that
            `interviews.enrich` can merge into it. Without it nothing is added, and what is overwritten is forgotten.
        now: Returns the time as an aware datetime.

    Raises:
        ValueError: `location` is another URL, or keeps nothing.
        ModuleNotFoundError: The driver of the database is not installed.

    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        store_addresses: bool = True,
        store_contexts: bool = False,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._backend = open_backend(location)
        self.store_addresses = store_addresses
        self._store_contexts = store_contexts
        self.now = now

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        return self._backend.name

    @property
    def tables(self) -> Tables:
        """Its tables."""
        return self._backend.tables

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it consists of, there or not; none for a database."""
        return self._backend.files

    async def exists(self) -> bool:
        """Return whether there is a ledger yet; LedgerError where something else is in its place."""
        return await self._backend.exists()

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[LedgerRun]:
        """Open the ledger for sending, and make it where there is none.

        Rows that a dead run left in `sending` become `unknown`. Leaving the block waits until all
        is written.

        Yields:
            The run, to be used inside the block.

        Raises:
            LedgerInUseError: Another run has the file; said at once.
            LedgerError: The ledger cannot be opened or made.

        """
        async with self._backend.run_lock() as run_lock:
            group_commit = GroupCommit(self._backend, run_lock)
            try:
                await to_the_end(group_commit.open(self.now()))
                yield LedgerRun(
                    group_commit,
                    self._backend,
                    run_lock,
                    store_addresses=self.store_addresses,
                    store_contexts=self._store_contexts,
                    now=self.now,
                )
            finally:
                await to_the_end(group_commit.close())

    async def known(self, keys: Collection[str]) -> Mapping[str, LedgerEntry]:
        """Return what the ledger knows of some rows.

        Args:
            keys: Those of the rows, or the callers' own.

        Returns:
            The entries by what was asked for, of those that it has; none where there is no ledger yet.

        """
        if not await self._backend.exists():
            return {}
        either = {*keys, *map(caller_key_hash, keys)}
        found = await self.with_connection(lambda connection: self._backend.tables.known(connection, either))
        named = {key: found.get(stored_key(key, found)) for key in keys}
        return {key: entry for key, entry in named.items() if entry is not None}

    async def held_back(self, rows: Sequence[LedgerRow], once_within: timedelta) -> Collection[str]:
        """Return the keys of those rows that a run with `once_within` would hold back now (`claims`).

        Args:
            rows: What it would claim, in the order of the input, and what may be sent of it.
            once_within: For how long a person who has one interview gets no other.

        """
        if not await self._backend.exists():
            return ()
        tables = self._backend.tables
        rule = OncePerContact(tables=tables, once_within=once_within, now=self.now(), in_hand=())

        async def look(connection: AsyncConnection) -> Collection[str]:
            known = await tables.known(connection, [row.key for row in rows])
            held_back, _ = await rule.held_back(connection, rows, known)
            return held_back

        return await self.with_connection(look)

    async def entries(self, *, status: LedgerStatus | None = None) -> AsyncIterator[LedgerEntry]:
        """Yield every entry in the order of their row index.

        Nothing is open between two entries: the loop may take its time, or be left.

        Args:
            status: Only those of this status.

        """
        tables, row = self._backend.tables, self._backend.tables.interviews.c
        query = tables.entries.order_by(row.row_index, row.key).limit(PAGE_ROWS)
        if status is not None:
            query = query.where(row.status == status)
        position = sa.tuple_(row.row_index, row.key)
        page = query
        while entries := await self.with_connection(partial(tables.read, query=page)):
            for entry in entries:
                yield entry
            page = query.where(position > (entries[-1].row_index, entries[-1].key))

    async def counts(self) -> Mapping[LedgerStatus, int]:
        """Return how many rows have each status."""
        status = self._backend.tables.interviews.c.status
        query = sa.select(status, sa.func.count()).group_by(status)

        async def count(connection: AsyncConnection) -> dict[str, int]:
            return {status: number for status, number in await connection.execute(query)}  # noqa: C416  typed

        counted = await self.with_connection(count)
        return {status: counted.get(status, 0) for status in LedgerStatus}

    async def resolve(self, key: str, *, created: int | None = None, not_created: bool = False) -> None:
        """Say what a person found out about an `unknown` row: that it was created, or that it was not.

        Args:
            key: That of the row, or the caller's own.
            created: The interview request id, from 1.
            not_created: True where no interview was made: the next run sends it. Also of a row that is `rejected`,
                `duplicate` or `expired`, so that it is sent all the same.

        Raises:
            ValueError: Not exactly one of the two is given, or `created` is below 1.
            LedgerError: The ledger has no such row, or it has another status.

        """
        if (created is None) is not not_created:
            raise ValueError("give either created=ID or not_created=True")
        if created is not None and created < 1:
            raise ValueError(f"created={created} is no interview request id: these start at 1")
        await self.with_connection(partial(resolve_rows, self._backend.tables, {key: created}, self.now()))

    async def forget(self, address: str) -> Forgotten:
        """Remove what the ledger knows of a person: address, bodies, keys' text and context.

        In a file also from its free pages and its log; of what PostgreSQL keeps for a while see `forgetting`. A hash of
        the address stays, in the rows and in their keys, which keeps the person from being emailed again for the same
        interviews; whoever knows the address can tell by it that they are here. Rows that were still to be sent become
        `expired`, with `forgotten` as their error code. It works while a run is on.

        Args:
            address: Theirs, in any spelling that `normalised` takes for the same.

        Returns:
            What was removed, all zeros where the ledger does not know the person.

        Raises:
            TypeError: `address` is no text.
            ValueError: It is no email address.
            LedgerInUseError: A request to the person is on its way; nothing was removed.
            LedgerError: The ledger cannot be read or written; where its text says that the rows are erased, call this
                again to clear the file of their bytes.

        """
        forgetting = Forgetting(self._backend, address)
        await self.with_connection(forgetting.erase, forgetting.scrub)
        return forgetting.removed

    async def interviews_remembered(self, ids: Collection[int]) -> Collection[int]:
        """Return those of some interviews, by their ids, whose contact's context is remembered."""
        return await self.with_connection(partial(interviews_remembered, self._backend.tables, ids))

    async def with_connection(self, work: Work[T], afterwards: Work[None] | None = None) -> T:
        """Do `work` in a transaction of its own, beside whatever run is on; LedgerError where there is no ledger."""

        async def open_and_work() -> T:
            if not await self._backend.exists():
                raise LedgerError(
                    f"there is no ledger at {self.name}: name the file or database that a run was given"
                )
            connection = await self._backend.open()
            with self._backend.failures():
                async with aclosing(connection):
                    await self._backend.mark_abandoned(connection, self.now())
                    async with connection.begin():
                        result = await work(connection)
                    if afterwards is not None:
                        await afterwards(connection)
                    return result

        return await to_the_end(open_and_work())
