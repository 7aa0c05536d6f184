"""What a queue does in the ledger while it has it: rows are put, those that are due are claimed, sending is paused."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger import queue_rows
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.delivery.ledger.group_commit import GroupCommit
from hindsight_async.delivery.ledger.queue_rows import Backlog, DueRow, Stored
from hindsight_async.delivery.ledger.run_connection import RunLock
from hindsight_async.delivery.ledger.tables import Tables

PUT_AT_ONCE: Final = 500
"""How many rows one transaction stores."""


class QueueRun:
    """A queue's part of a ledger run; each method raises LedgerError where the ledger cannot serve.

    Args:
        group_commit: Through which the run writes.
        tables: Those of the ledger.
        run_lock: The run's right to its rows.
        in_hand: The keys of rows that some call of the run has claimed; shared with the run.
        store_addresses: Whether addresses and the caller's own keys are stored beside the body.
        now: Returns the time as an aware datetime.

    """

    def __init__(
        self,
        group_commit: GroupCommit,
        tables: Tables,
        run_lock: RunLock,
        in_hand: set[str],
        *,
        store_addresses: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._group_commit = group_commit
        self._tables = tables
        self._run_lock = run_lock
        self._in_hand = in_hand
        self._store_addresses = store_addresses
        self._now = now

    async def put(self, rows: Sequence[LedgerRow], once_within: timedelta | None = None) -> Stored:
        """Store those rows that are new, with their bodies, as `queue_rows.put` does; say what it met."""
        met = Stored()
        for start in range(0, len(rows), PUT_AT_ONCE):
            some, now = rows[start : start + PUT_AT_ONCE], self._now()

            async def store(
                connection: AsyncConnection, some: Sequence[LedgerRow] = some, now: datetime = now
            ) -> Stored:
                return await queue_rows.put(
                    self._tables, connection, some, now,
                    store_address=self._store_addresses, once_within=once_within, in_hand=self._in_hand,
                )  # fmt: skip

            met |= await self._group_commit.write(store)
        return met

    async def claim_due(self, most: int, put_before: datetime) -> tuple[list[DueRow], int]:
        """Claim the rows that may be sent now; what was put before a moment expires instead.

        Args:
            most: How many rows to claim.
            put_before: The moment, aware.

        Returns:
            The rows, which the caller has in hand until they are finished or let go, and how many have expired.

        """
        now, row = self._now(), self._tables.interviews.c
        taken: set[str] = set()
        is_wanted = True

        async def take(connection: AsyncConnection) -> tuple[list[DueRow], int]:
            # Nothing, but where the transaction is done again, since its connection was lost.
            self._in_hand.difference_update(taken)
            taken.clear()
            free = [self._run_lock.may_be_claimed, row.key.not_in(list(self._in_hand))]
            # Read before anything is written: a queue that looks each second must not have the disk write each second.
            if not await queue_rows.due_keys(self._tables, connection, now, 1, *free):
                return [], 0
            await self._tables.take_turns(connection)
            expired = await queue_rows.expire(self._tables, connection, put_before, now, *free)
            due = await queue_rows.due_keys(self._tables, connection, now, most, *free)
            # Decided in one step, as in `LedgerRun.claim`: of two calls that want a row, one has it.
            taken.update(set(due) - self._in_hand if is_wanted else ())
            self._in_hand.update(taken)
            known = await self._run_lock.claim(connection, taken, now)
            sendable = [known[key] for key in due if key in taken and known[key].may_be_sent]
            return await queue_rows.with_bodies(self._tables, connection, sendable), expired

        try:
            rows, expired = await self._group_commit.write(take, undo=partial(self._give_back, taken))
        except BaseException:
            is_wanted = False
            self._in_hand -= taken
            raise
        self._in_hand -= taken - {each.entry.key for each in rows}
        return rows, expired

    async def let_go(self, keys: Collection[str]) -> None:
        """Give back claimed rows that were not sent."""
        self._in_hand -= set(keys)
        await self._group_commit.write(partial(self._give_back, keys))

    async def expire(self, put_before: datetime) -> int:
        """Let no row leave by itself that was put before a moment; return how many these are."""
        now = self._now()

        async def expire(connection: AsyncConnection) -> int:
            return await queue_rows.expire(
                self._tables, connection, put_before, now, self._run_lock.may_be_claimed
            )

        return await self._group_commit.write(expire)

    async def backlog(self) -> Backlog:
        """Return what is still to be sent.

        What a run that died was sending is in doubt from here on: no row of it may be due any more, by which others
        would come upon the rest.
        """
        now = self._now()

        async def look(connection: AsyncConnection) -> Backlog:
            found = await queue_rows.backlog(self._tables, connection)
            if found.sending and await self._run_lock.mark_abandoned(connection, now):
                return await queue_rows.backlog(self._tables, connection)
            return found

        return await self._group_commit.write(look)

    async def pause(self, because: str) -> None:
        """Have nobody send from the queue until that is lifted."""
        now = self._now()

        async def pause(connection: AsyncConnection) -> None:
            await queue_rows.pause(self._tables, connection, because, now)

        await self._group_commit.write(pause)

    async def _give_back(self, keys: Collection[str], connection: AsyncConnection) -> None:
        free = [key for key in keys if key not in self._in_hand]
        if free:
            await self._run_lock.let_go(connection, free)
