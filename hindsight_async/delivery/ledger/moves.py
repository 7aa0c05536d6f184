"""How a run takes its rows from one status to the next: work for a transaction, refused where a row is not as it should be."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.delivery.ledger.group_commit import Work
from hindsight_async.delivery.ledger.run_connection import RunLock
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerError, LedgerInUseError


class Moves:
    """The moves that one run may make.

    Args:
        tables: Those of the ledger.
        run_lock: The run's right to its rows.

    """

    def __init__(self, tables: Tables, run_lock: RunLock) -> None:
        self._tables = tables
        self._run_lock = run_lock

    def finishing(self, key: str, status: LedgerStatus, values: Mapping[str, Any]) -> Work[None]:
        """Return what ends a row as something; done again, it finds that it was."""
        finish = self.moving(key, self._run_lock.may_finish, status, values, self._run_lock.is_own)
        row = self._tables.interviews.c
        same = (
            row[name].is_not_distinct_from(values[name]) for name in ("finished_at", "interview_request_id")
        )
        is_done = sa.select(sa.exists().where(row.key == key, row.status == status, *same))

        async def finish_once(connection: AsyncConnection) -> None:
            try:
                await finish(connection)
            except LedgerError:
                # A later try of what was waited for in vain finds it done where only the answer was lost.
                if not await connection.scalar(is_done):
                    raise

        return finish_once

    def taking_back(self, key: str, sending_at: datetime | None, now: datetime) -> Work[None]:
        """Return what says of a row that nothing came of what was marked at this moment."""
        return self.moving(
            key,
            self._run_lock.may_be_taken_back,
            LedgerStatus.NOT_SENT,
            {"finished_at": now},
            # This very mark, and no later one.
            sa.and_(self._run_lock.is_own, self._tables.interviews.c.sending_at == sending_at),
        )

    def moving(
        self,
        key: str,
        from_statuses: Collection[LedgerStatus],
        status: LedgerStatus,
        values: Mapping[str, Any],
        condition: sa.ColumnElement[bool],
    ) -> Work[None]:
        """Return what takes a row from one of some statuses to another."""

        async def move(connection: AsyncConnection) -> None:
            if not await self._tables.move(connection, key, from_statuses, status, values, condition):
                if await self._tables.status(connection, key) == LedgerStatus.EXPIRED:
                    if status is LedgerStatus.NOT_SENT:
                        return  # nor is it to be
                    # By a person's word since it was claimed: whoever has it in hand asks again, and goes on without it.
                    why = await self._tables.why_not_moved(connection, key, from_statuses)
                    raise LedgerInUseError(why.args[0])
                raise await self._run_lock.why_not_moved(connection, key, from_statuses)

        return move
