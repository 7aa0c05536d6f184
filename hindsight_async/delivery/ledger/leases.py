"""A run that shares a ledger with others: it holds rows for as long as it renews its lease."""

import math
import time
import uuid
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
"""The first half of the advisory locks of this package."""

CLAIMING: Final = 2
"""The second half of the lock under which rows are claimed and settled: one at a time, so that no two wait for each other."""

_OPEN = (*MAY_BE_SENT, LedgerStatus.SENDING)


class SharedTables(Tables):
    """Tables that several runs share; whether one lives is told by the database's clock alone."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix=prefix, shared=True)
        holder = self.interviews.c.holder
        # Few rows are held at a time, so that looking for them stays quick however many there are.
        sa.Index(f"{prefix}interviews_held", holder, postgresql_where=holder.is_not(None))
        self.runs = sa.Table(
            f"{prefix}runs",
            self.schema,
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        )
        self.free = {"holder": None}
        self.is_held_by_a_living_run = (
            sa.exists()
            .where(self.runs.c.id == holder, self.runs.c.lease_until > _database_clock())
            .correlate(self.interviews)
        )
        self.lease_seconds = (
            sa.select(sa.cast(sa.extract("epoch", self.runs.c.lease_until - _database_clock()), sa.Double))
            .where(self.runs.c.id == holder)
            .correlate(self.interviews)
            .scalar_subquery()
        )
        """How long a row is its holder's should that one die; NULL where it is nobody's."""

    def among(self, keys: Collection[str]) -> sa.ColumnElement[bool]:
        """Select the rows of these keys, given as one array: the statement stays the same however many they are."""
        return self.interviews.c.key == sa.any_(sa.literal(sorted(keys), ARRAY(sa.Text)))

    async def take_turns(self, connection: AsyncConnection) -> None:
        """Have the lock without which nobody changes rows of several runs, until the end of the transaction."""
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_SPACE, CLAIMING)))

    async def settle(
        self, connection: AsyncConnection, settled_at: datetime, *which: sa.ColumnElement[bool]
    ) -> None:
        """Turn what runs with an ended lease left in `sending` into `unknown`, and leave it theirs to finish."""
        await self.take_turns(connection)
        await connection.execute(
            sa.update(self.interviews)
            .where(
                self.interviews.c.holder.is_not(None),
                self.interviews.c.status == LedgerStatus.SENDING,
                ~self.is_held_by_a_living_run,
                *which,
            )
            .values(status=LedgerStatus.UNKNOWN, finished_at=settled_at)
        )


class PostgresRunLock:
    """One of several runs: what it holds is its own until its lease ends, `lease_seconds` after it was renewed."""

    may_finish: Collection[LedgerStatus] = (*MAY_FINISH, LedgerStatus.UNKNOWN)
    may_be_taken_back: Collection[LedgerStatus] = (LedgerStatus.SENDING, LedgerStatus.UNKNOWN)
    """Also from `unknown`: what others settled while they took this run for dead, it knows better."""

    def __init__(self, rows: SharedTables, lease_seconds: float) -> None:
        self.renew_seconds: float | None = lease_seconds / RENEWALS_PER_LEASE
        self._rows = rows
        self._id = uuid.uuid4().hex
        self._lease = timedelta(seconds=lease_seconds)
        self._renewed = -math.inf
        holder = rows.interviews.c.holder
        self.held: Mapping[str, Any] = {"holder": self._id}
        self.is_its_own: sa.ColumnElement[bool] = holder.is_not_distinct_from(self._id)
        self.is_open_to_it: sa.ColumnElement[bool] = sa.or_(self.is_its_own, ~rows.is_held_by_a_living_run)

    @property
    def is_over(self) -> bool:
        """Whether the lease has ended, by this machine's clock."""
        return time.monotonic() >= self._renewed + self._lease.total_seconds()

    async def begin(self, connection: AsyncConnection, now: datetime) -> None:
        """Take a lease, settle what dead runs left, and forget them."""
        began = time.monotonic()
        async with connection.begin():
            await self.renew(connection)
            await self._rows.settle(connection, now)
            runs = self._rows.runs
            await connection.execute(sa.delete(runs).where(runs.c.lease_until <= _database_clock()))
        self.lived_at(began)

    async def renew(self, connection: AsyncConnection) -> None:
        """Begin the lease anew, from the moment on when this is committed."""
        renewed = insert(self._rows.runs).values(id=self._id, lease_until=_database_clock() + self._lease)
        await connection.execute(
            renewed.on_conflict_do_update(
                index_elements=["id"], set_={"lease_until": renewed.excluded.lease_until}
            )
        )

    def lived_at(self, moment: float) -> None:
        """Note that a lease which began at this moment of `time.monotonic()`, or later, is committed."""
        self._renewed = moment

    async def claim(
        self, connection: AsyncConnection, keys: Collection[str], now: datetime
    ) -> Mapping[str, LedgerEntry]:
        """Take what is new or free; an entry that another living run holds says `in_hand`."""
        rows = self._rows
        await rows.take_turns(connection)
        known = await rows.known(connection, keys)
        open_keys = [key for key, entry in known.items() if entry.status in _OPEN]
        if not open_keys:
            return known
        among, interviews = rows.among(open_keys), rows.interviews
        await rows.settle(connection, now, among)
        await connection.execute(
            sa.update(interviews)
            .where(among, interviews.c.status.in_(MAY_BE_SENT), self.is_open_to_it)
            .values(**self.held)
        )
        # Read in one statement, since other runs go on meanwhile: what is open and not taken is in their hands.
        in_hand = sa.and_(interviews.c.status.in_(_OPEN), ~self.is_its_own)
        columns = in_hand.label("in_hand"), rows.lease_seconds.label("lease_seconds")
        return known | await rows.known(connection, open_keys, *columns)

    async def let_go(self, connection: AsyncConnection, keys: Collection[str]) -> None:
        """Give back what was not sent."""
        await connection.execute(
            sa.update(self._rows.interviews)
            .where(self._rows.among(keys), self.is_its_own, self._rows.interviews.c.status.in_(MAY_BE_SENT))
            .values(**self._rows.free)
        )

    async def refusal(
        self, connection: AsyncConnection, key: str, since: Collection[LedgerStatus]
    ) -> LedgerError:
        """Say why a row could not be moved; LedgerInUseError where it is not, or no longer, this run's."""
        interviews = self._rows.interviews
        found = await self._rows.refusal(connection, key, since)
        own = await connection.scalar(sa.select(self.is_its_own).where(interviews.c.key == key))
        return LedgerInUseError(f"another run has taken this row: {found.args[0]}") if own is False else found

    async def end(self, connection: AsyncConnection) -> None:
        """Give up the lease: what was held is free, and what is still `sending` the next run's to settle."""
        runs = self._rows.runs
        async with connection.begin():
            await connection.execute(sa.delete(runs).where(runs.c.id == self._id))


def _database_clock() -> sa.ColumnElement[datetime]:
    return sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))
