"""What a ledger needs of the place where it is kept: a file, or a database server."""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerError


class RunLock(Protocol):
    """One run's right to its rows; each method works in the transaction that the caller has begun on `connection`."""

    renew_seconds: float | None
    """How often something must be written for the run to count as alive; None where it need not prove that."""

    may_finish: Collection[LedgerStatus]
    may_be_taken_back: Collection[LedgerStatus]
    """From which statuses a row that is the run's own may be finished, and said not to have been sent after all."""

    held: Mapping[str, Any]
    """What is stored in a row that the run takes; `Tables.free` in one that it lets go."""

    is_open_to_it: sa.ColumnElement[bool]
    is_its_own: sa.ColumnElement[bool]
    """Whether a row may be taken by the run, and whether it has been."""

    @property
    def is_over(self) -> bool:
        """Whether others may have taken this run for dead."""
        ...

    async def begin(self, connection: AsyncConnection, now: datetime) -> None:
        """Begin the run (outside of a transaction), and settle what dead runs left in `sending`."""
        ...

    async def renew(self, connection: AsyncConnection) -> None:
        """Say that the run is alive; called in each transaction."""
        ...

    def lived_at(self, moment: float) -> None:
        """Be told that a `renew` is committed that was asked for at this moment of `time.monotonic()`."""
        ...

    async def claim(
        self, connection: AsyncConnection, keys: Collection[str], now: datetime
    ) -> Mapping[str, LedgerEntry]:
        """Take what may be taken of these rows, and return the entries of all that exist."""
        ...

    async def let_go(self, connection: AsyncConnection, keys: Collection[str]) -> None:
        """Give back what a claim took."""
        ...

    async def refusal(
        self, connection: AsyncConnection, key: str, since: Collection[LedgerStatus]
    ) -> LedgerError:
        """Say why a row could not be moved; LedgerInUseError where another run has taken it."""
        ...

    async def end(self, connection: AsyncConnection) -> None:
        """End the run (outside of a transaction), and let go of what it did not send."""
        ...


class Backend(Protocol):
    """Where one ledger lives. Nothing is open between calls; LedgerError where it cannot serve."""

    @property
    def rows(self) -> Tables:
        """The tables."""
        ...

    @property
    def name(self) -> str:
        """The place, as texts name it: without a password."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it consists of, whether they are there or not."""
        ...

    async def exists(self) -> bool:
        """Return whether a ledger is there."""
        ...

    async def create(self) -> None:
        """Make an empty ledger, which appears whole or not at all."""
        ...

    async def open(self) -> AsyncConnection:
        """Return a connection to the ledger, which must exist and be of our version."""
        ...

    async def settle(self, connection: AsyncConnection, now: datetime) -> None:
        """Turn what dead runs left in `sending` into `unknown`, in transactions of its own."""
        ...

    def run_lock(self) -> AbstractAsyncContextManager[RunLock]:
        """Take a run's place; LedgerInUseError at once where there is room for no other."""
        ...

    def failures(self) -> AbstractContextManager[None]:
        """Turn what the database, the network or the file system says into a LedgerError."""
        ...

    def is_one_jobs_fault(self, error: LedgerError) -> bool:
        """Whether work that shared a transaction may succeed when each is done alone."""
        ...
