"""A run's one connection, opened anew where the database was away: what is committed over it is done exactly once.

A database restarts, fails over, ends connections or stands still, and such a moment must not end a run. The hard case
is a COMMIT whose answer was lost, which may have taken effect. To look at the rows would not do, since other runs go on
changing them. So each transaction writes its number into the run's own row (`leases`): whoever comes back finds it there,
and nothing is left to do, or not, and all is done once more. A server process that still has the lost transaction in hand
has that row locked too, so that the question waits until it is decided.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.file_lock import SqliteRunLock
from hindsight_async.delivery.ledger.leases import PostgresRunLock
from hindsight_async.delivery.ledger.postgres import PostgresBackend
from hindsight_async.delivery.ledger.sqlite import SqliteBackend
from hindsight_async.errors import LedgerError

logger = logging.getLogger("hindsight_async.delivery")

FIRST_PAUSE: Final = 0.05
"""Seconds before the second try to reach a database that was away; each pause is twice the one before."""

LONGEST_PAUSE: Final = 2.0
"""Seconds between two tries, at most."""

Backend = SqliteBackend | PostgresBackend
"""Where one ledger is kept. Nothing is open between calls; each raises LedgerError where it cannot serve."""

RunLock = SqliteRunLock | PostgresRunLock
"""One run's right to its rows; its methods work in the transaction that the caller has begun."""


class RunConnection:
    """The connection; one task at a time may use it.

    Args:
        backend: Where the ledger is.
        run_lock: The run's right to its rows, renewed in each transaction.

    """

    def __init__(self, backend: Backend, run_lock: RunLock) -> None:
        self._backend = backend
        self._run_lock = run_lock
        self._connection: AsyncConnection | None = None
        """None before the run is open, while its database is away, and once it is over."""
        self._number = 0
        """That of the last transaction."""
        self._asked = 0.0
        """When the last try of it that got as far as to its work began: it is the one that is on disk, if any is."""
        self._away_since: float | None = None
        """When the database was first found away, by `time.monotonic()`; None while it is there."""

    async def open(self, now: datetime) -> None:
        """Open the ledger, made where there is none, and begin the run; a database that is away is not waited for."""
        if not await self._backend.exists():
            await self._backend.create()
        self._connection = await self._backend.open()
        with self._backend.failures():
            await self._run_lock.begin(self._connection, now)

    async def commit(self, do_all: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Have `do_all` in a transaction that is on disk, however often it has to be begun.

        Raises:
            LedgerError: It cannot be written, or the database stayed away for longer than the backend waits for it.

        """
        self._number += 1
        pause = FIRST_PAUSE
        while True:
            try:
                await self._commit_once(do_all)
            except LedgerError as error:
                if not self._backend.is_away(error):
                    raise
                await self._drop()
                if not self._may_wait(error):
                    raise
            else:
                self._run_lock.renewed_at(self._asked)
                self._is_back()
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _commit_once(self, do_all: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Try to commit, unless a try before did and its answer was lost."""
        if self._connection is None:
            self._connection = await self._backend.open()
        began = time.monotonic()  # before the lease is asked for, so that it is over here no later than there
        with self._backend.failures():
            async with self._connection.begin():
                if await self._run_lock.renew(self._connection, self._number):
                    self._asked = began
                    await do_all(self._connection)

    def _may_wait(self, error: LedgerError) -> bool:
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.warning("%s: waiting up to %g s for it", error.args[0], self._backend.outage_seconds)
        return time.monotonic() < self._away_since + self._backend.outage_seconds

    def _is_back(self) -> None:
        if self._away_since is not None:
            seconds = time.monotonic() - self._away_since
            logger.info("%s is back after %.1f s", self._backend.name, seconds)
            self._away_since = None

    async def _drop(self) -> None:
        """Have nothing more to do with a connection of which nobody knows how it is."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(LedgerError), self._backend.failures():
                await connection.invalidate()
            with suppress(LedgerError), self._backend.failures():
                await connection.close()

    async def close(self) -> None:
        """End the run."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._backend.failures():
                async with aclosing(connection):
                    # All rows are written: a run whose end cannot be noted is taken for dead, to no harm.
                    with suppress(LedgerError), self._backend.failures():
                        await self._run_lock.end(connection)
