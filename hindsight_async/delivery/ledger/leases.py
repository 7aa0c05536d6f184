"""A run that shares a ledger with others: the rows that it has claimed are its own for as long as it renews its lease.

Two clocks could say whether a run lives, its own and the database's, and machines' clocks differ by more than a lease is
long. So one rule: whether a run is dead is decided by the database's clock alone, in the very statement that claims or
changes its rows. A run judges only itself, by its own monotonic clock and too early rather than too late: it counts its
lease from the moment at which it asked for it, the database from the later one at which it was asked.
"""

import math
import time
import uuid
import zlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.entries import MAY_BE_SENT, MAY_FINISH, LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerError, LedgerInUseError

RENEWALS_PER_LEASE: Final = 3
ADVISORY_SPACE: Final = 0x48494C47
"""The first half of the advisory locks of this package; a ledger with a name has one of its own."""

FORGET_AFTER: Final = timedelta(days=1)
"""How long a run is remembered after its lease ended: no database is waited for that long (`run_connection`)."""

CLAIMING: Final = 2
"""The second half of the lock under which rows are claimed, or marked as abandoned: one transaction at a time.

Two that claim the same rows in different orders would each wait for the other's, until the server broke one off.
"""


class SharedTables(Tables):
    """Tables that several runs share; whether one lives is told by the database's clock alone.

    Args:
        prefix: Stands before the name of each table.
        ledger: The ledger's own name; empty for that which has none.

    """

    def __init__(self, prefix: str, ledger: str = "") -> None:
        super().__init__(prefix=prefix, shared=True)
        self.advisory_space = (ADVISORY_SPACE ^ zlib.crc32(ledger.encode())) & 0x7FFFFFFF
        holder = self.interviews.c.holder
        # Few rows have a holder at a time, so that looking for them stays quick however many there are.
        sa.Index(f"{prefix}interviews_held", holder, postgresql_where=holder.is_not(None))
        self.runs = sa.Table(
            f"{prefix}runs",
            self.schema,
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
            # The number of the run's last transaction.
            sa.Column("written", sa.BigInteger, nullable=False),
        )
        self.release_values = {"holder": None}
        # The server's clock at this very moment: `now()` would be that of the transaction's beginning, and one that
        # waited for a lock would take a lease that ended meanwhile for a living one.
        self.has_a_living_holder = (
            sa.exists()
            .where(self.runs.c.id == holder, self.runs.c.lease_until > _database_clock())
            .correlate(self.interviews)
        )
        self.is_held = self.has_a_living_holder
        self.is_forsaken = sa.and_(holder.is_not(None), ~self.has_a_living_holder)
        self.lease_seconds = (
            sa.select(sa.cast(sa.extract("epoch", self.runs.c.lease_until - _database_clock()), sa.Double))
            .where(self.runs.c.id == holder)
            .correlate(self.interviews)
            .scalar_subquery()
        )
        """How long a row is its holder's should that one die; NULL where it is nobody's."""

    def among(self, values: Collection[str], column: sa.Column[Any] | None = None) -> sa.ColumnElement[bool]:
        """Select the rows of these, given as one array: the statement stays the same however many they are."""
        one_of_them = sa.any_(sa.literal(sorted(values), ARRAY(sa.Text)))
        return (self.interviews.c.key if column is None else column) == one_of_them

    async def take_turns(self, connection: AsyncConnection) -> None:
        """Have the lock without which nobody changes rows of several runs, until the end of the transaction."""
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(self.advisory_space, CLAIMING)))

    async def mark_abandoned(
        self, connection: AsyncConnection, now: datetime, *which: sa.ColumnElement[bool]
    ) -> None:
        """Turn what runs with an ended lease left in `sending` into `unknown`.

        The row keeps its holder: a run that only stood still may hear the answer yet, and knows better.
        """
        await self.take_turns(connection)
        await connection.execute(
            sa.update(self.interviews)
            .where(
                self.interviews.c.holder.is_not(None),
                self.interviews.c.status == LedgerStatus.SENDING,
                ~self.has_a_living_holder,
                *which,
            )
            .values(status=LedgerStatus.UNKNOWN, finished_at=now)
        )


class PostgresRunLock:
    """One of several runs: what it has claimed is its own until its lease ends.

    Args:
        tables: Those of the ledger.
        lease_seconds: How long it counts as alive after its lease was renewed.

    """

    may_finish: Collection[LedgerStatus] = (*MAY_FINISH, LedgerStatus.UNKNOWN)
    may_be_taken_back: Collection[LedgerStatus] = (LedgerStatus.SENDING, LedgerStatus.UNKNOWN)
    """From which statuses a row of the run may be finished, and said to have come to nothing.

    Also from `unknown`: what others called abandoned while they took this run for dead, it knows better.
    """

    def __init__(self, tables: SharedTables, lease_seconds: float) -> None:
        self.renew_seconds: float | None = lease_seconds / RENEWALS_PER_LEASE
        """How often something must be written for the run to count as alive."""
        self._tables = tables
        self._id = uuid.uuid4().hex
        self._lease = timedelta(seconds=lease_seconds)
        self._renewed = -math.inf
        """The moment of `time.monotonic()` at which the last lease that is committed was asked for."""
        holder = tables.interviews.c.holder
        self.claim_values: Mapping[str, Any] = {"holder": self._id}
        """What is stored in a row that the run claims."""
        self.is_own: sa.ColumnElement[bool] = holder.is_not_distinct_from(self._id)
        self.may_be_claimed: sa.ColumnElement[bool] = sa.or_(self.is_own, ~tables.has_a_living_holder)
        """Whether a row may be claimed by the run; `is_own`, whether it has been."""

    @property
    def is_over(self) -> bool:
        """Whether the lease has ended, by this machine's clock."""
        return time.monotonic() >= self._renewed + self._lease.total_seconds()

    async def begin(self, connection: AsyncConnection, now: datetime) -> None:
        """Take a lease, call in doubt what dead runs left unsaid, and forget these."""
        began = time.monotonic()
        async with connection.begin():
            await self.renew(connection, 0)
            await self._tables.mark_abandoned(connection, now)
            await self._forget_dead_runs(connection)
        self.renewed_at(began)

    async def _forget_dead_runs(self, connection: AsyncConnection) -> None:
        runs = self._tables.runs
        # A server process that stands still may have one locked.
        dead = sa.select(runs.c.id).where(runs.c.lease_until <= _database_clock() - FORGET_AFTER)
        await connection.execute(sa.delete(runs).where(runs.c.id.in_(dead.with_for_update(skip_locked=True))))

    async def renew(self, connection: AsyncConnection, number: int) -> bool:
        """Begin the lease anew, unless the transaction of this number is on disk already; return whether it is not.

        Done in every transaction, so that whoever sees a row claimed sees a lease for it.
        """
        runs = self._tables.runs
        values = {"lease_until": _database_clock() + self._lease, "written": number}
        renewed = insert(runs).values(id=self._id, **values)
        statement = renewed.on_conflict_do_update(
            index_elements=["id"],
            set_={name: renewed.excluded[name] for name in values},
            where=runs.c.written < renewed.excluded.written,
        ).returning(runs.c.written)
        return await connection.scalar(statement) is not None

    def renewed_at(self, moment: float) -> None:
        """Note that a lease which began at this moment of `time.monotonic()`, or later, is committed."""
        self._renewed = moment

    async def claim(
        self, connection: AsyncConnection, keys: Collection[str], now: datetime
    ) -> Mapping[str, LedgerEntry]:
        """Take what is new or free; an entry that another living run has claimed says `in_hand`."""
        tables = self._tables
        await tables.take_turns(connection)
        known = await tables.known(connection, keys)
        open_keys = [key for key, entry in known.items() if entry.status in MAY_FINISH]
        if not open_keys:
            return known
        among, interviews = tables.among(open_keys), tables.interviews
        await tables.mark_abandoned(connection, now, among)
        await connection.execute(
            sa.update(interviews)
            .where(among, interviews.c.status.in_(MAY_BE_SENT), self.may_be_claimed)
            .values(**self.claim_values)
        )
        # Read in one statement, since other runs go on meanwhile: what is open and not taken is in their hands.
        in_hand = sa.and_(interviews.c.status.in_(MAY_FINISH), ~self.is_own)
        columns = in_hand.label("in_hand"), tables.lease_seconds.label("lease_seconds")
        return known | await tables.known(connection, open_keys, *columns)

    async def mark_abandoned(self, connection: AsyncConnection, now: datetime) -> bool:
        """Call in doubt what runs that died meanwhile left in `sending`; return whether there was any."""
        sending = self._tables.interviews.c.status == LedgerStatus.SENDING
        abandoned = sa.select(sa.literal(1)).where(sending, self._tables.is_forsaken).limit(1)
        # Looked for first: whoever asks again and again must not take turns with those who claim.
        if await connection.scalar(abandoned) is None:
            return False
        await self._tables.mark_abandoned(connection, now)
        return True

    async def let_go(self, connection: AsyncConnection, keys: Collection[str]) -> None:
        """Give back what was not sent."""
        await connection.execute(
            sa.update(self._tables.interviews)
            .where(self._tables.among(keys), self.is_own, self._tables.interviews.c.status.in_(MAY_BE_SENT))
            .values(**self._tables.release_values)
        )

    async def why_not_moved(
        self, connection: AsyncConnection, key: str, from_statuses: Collection[LedgerStatus]
    ) -> LedgerError:
        """Say why a row could not be moved; LedgerInUseError where it is not, or no longer, this run's."""
        interviews = self._tables.interviews
        found = await self._tables.why_not_moved(connection, key, from_statuses)
        own = await connection.scalar(sa.select(self.is_own).where(interviews.c.key == key))
        return LedgerInUseError(f"another run has taken this row: {found.args[0]}") if own is False else found

    async def end(self, connection: AsyncConnection) -> None:
        """Give up the lease: what was claimed is free, and what is still `sending` the next one calls unknown."""
        runs = self._tables.runs
        async with connection.begin():
            await connection.execute(sa.delete(runs).where(runs.c.id == self._id))


def _database_clock() -> sa.ColumnElement[datetime]:
    return sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))
