"""The ledger: what was about to be sent, and what became of it, on disk before the bytes leave.

A row goes from `planned` to `sending` before the first byte of its request leaves, and from there to
`created`, `rejected`, `not_sent` or `unknown`. Rows that a dead run left in `sending` become
`unknown`: only `resolve`, called by a person, makes these and `rejected` ones sendable again.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.errors import Delivery, LedgerError, LedgerInUseError
from hindsight_async.journal import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.ledger import rows as ledger_rows
from hindsight_async.ledger.file import LedgerFile
from hindsight_async.ledger.rows import FINISHED, INTERVIEWS, MAY_BE_RESENT, MAY_BE_SENT, MAY_FINISH
from hindsight_async.ledger.writer import Work, Writer

PAGE_ROWS: Final = 1000
"""How many entries are read at a time."""

T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """A ledger in the SQLite file `location`, a path or `sqlite+aiosqlite:///PATH` (else ValueError).

    `store_addresses=False` stores a hash in place of each address from now on. `now` returns the
    time as an aware datetime. Every method raises LedgerError where the file cannot serve; reading
    and resolving also work while a run is on, in this process or another.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        store_addresses: bool = True,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._file = LedgerFile(location)
        self._store_addresses = store_addresses
        self._now = now

    @asynccontextmanager
    async def run(self) -> AsyncGenerator["LedgerRun"]:
        """Open the ledger for sending, and make it where there is none.

        Rows that a dead run left in `sending` become `unknown`. Leaving the block waits until all
        is written. Raises LedgerInUseError at once where another run is on.
        """
        self._file.exists()  # asked before the lock is taken, which leaves a file
        with self._file.lock():
            writer = Writer(self._file)
            try:
                await _to_the_end(writer.open(self._now()))
                yield LedgerRun(writer, store_addresses=self._store_addresses, now=self._now)
            finally:
                await _to_the_end(writer.close())

    async def known(self, keys: Collection[str]) -> Mapping[str, LedgerEntry]:
        """Return the entries of those `keys` that the ledger has; none where there is no ledger yet."""
        if not self._file.exists():
            return {}
        return await self._with_connection(lambda connection: ledger_rows.known(connection, keys))

    async def entries(self, *, status: LedgerStatus | None = None) -> AsyncIterator[LedgerEntry]:
        """Yield every entry, or those of one status, in the order of their row index.

        Nothing is open between two entries: the loop may take its time, or be left.
        """
        query = sa.select(INTERVIEWS).order_by(INTERVIEWS.c.row_index, INTERVIEWS.c.key).limit(PAGE_ROWS)
        if status is not None:
            query = query.where(INTERVIEWS.c.status == status)
        place = sa.tuple_(INTERVIEWS.c.row_index, INTERVIEWS.c.key)
        page = query
        while entries := await self._with_connection(partial(ledger_rows.read, query=page)):
            for entry in entries:
                yield entry
            page = query.where(place > (entries[-1].row_index, entries[-1].key))

    async def counts(self) -> Mapping[LedgerStatus, int]:
        """Return how many rows have each status."""
        query = sa.select(INTERVIEWS.c.status, sa.func.count()).group_by(INTERVIEWS.c.status)

        async def count(connection: AsyncConnection) -> dict[str, int]:
            return {status: number for status, number in await connection.execute(query)}  # noqa: C416  typed

        counted = await self._with_connection(count)
        return {status: counted.get(status, 0) for status in LedgerStatus}

    async def resolve(self, key: str, *, created: int | None = None, resend: bool = False) -> None:
        """Say that an `unknown` row was `created` with this interview request id, or may be sent again.

        `resend=True` also takes a `rejected` row: a person corrected what the API refused. Raises
        ValueError unless exactly one of the two is given, or where `created` is below 1, and
        LedgerError where the ledger has no such row or the row has another status.
        """
        if (created is None) is not resend:
            raise ValueError("give either created=ID or resend=True")
        if created is not None and created < 1:
            raise ValueError(f"created={created} is no interview request id: these start at 1")
        since = MAY_BE_RESENT if resend else (LedgerStatus.UNKNOWN,)
        status = LedgerStatus.NOT_SENT if resend else LedgerStatus.CREATED
        values = {"interview_request_id": created, "error_code": None, "finished_at": self._now()}
        await self._with_connection(
            lambda connection: ledger_rows.move(connection, key, since, status, values)
        )

    async def _with_connection(self, work: Work[T]) -> T:
        async def open_and_work() -> T:
            if not self._file.exists():
                raise LedgerError(
                    f"there is no ledger at {self._file.path}: name the file that a run was given"
                )
            connection = await self._file.open()
            with self._file.failures():
                async with aclosing(connection):
                    await self._settle_unless_in_use(connection)
                    async with connection.begin():
                        return await work(connection)

        return await _to_the_end(open_and_work())

    async def _settle_unless_in_use(self, connection: AsyncConnection) -> None:
        async with connection.begin():
            sending = await connection.scalar(
                sa.select(sa.exists().where(INTERVIEWS.c.status == LedgerStatus.SENDING))
            )
            # Closing may merge a dead run's log and delete it: the flag must not outlive it.
            run_open = await ledger_rows.is_run_open(connection)
        if sending or run_open:
            with suppress(LedgerInUseError), self._file.lock():
                async with connection.begin():
                    await ledger_rows.settle(connection, self._now())
                    await ledger_rows.note_run_open(connection, is_open=False)


class LedgerRun:
    """The ledger while a run has it; made by `Ledger.run()`.

    What concurrent calls ask for shares one transaction, and so one write to the disk. Each method
    is durable when it returns, and raises LedgerError where it is not.
    """

    def __init__(self, writer: Writer, *, store_addresses: bool, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._store_addresses = store_addresses
        self._now = now

    async def claim(self, rows: Sequence[LedgerRow]) -> Mapping[str, LedgerEntry]:
        """Return the entries that the ledger already has for these rows, by key; plan the other rows."""
        planned_at = self._now()

        async def look_up_and_plan(connection: AsyncConnection) -> Mapping[str, LedgerEntry]:
            known = await ledger_rows.known(connection, [row.key for row in rows])
            unseen = {row.key: row for row in reversed(rows) if row.key not in known}
            if unseen:
                await connection.execute(
                    sa.insert(INTERVIEWS),
                    [
                        ledger_rows.planned(row, planned_at, store_address=self._store_addresses)
                        for row in unseen.values()
                    ],
                )
            return known

        return await self._writer.write(look_up_and_plan)

    async def sending(self, key: str) -> None:
        """Mark a row as about to be sent; only then may its first byte leave.

        Raises LedgerError where the row may not be sent. Cancelled, the caller has sent nothing, so
        the row becomes `not_sent`.
        """
        sending_at = self._now()
        values = {"sending_at": sending_at, "finished_at": None, "error_code": None}
        await self._writer.write(
            self._moving(key, MAY_BE_SENT, LedgerStatus.SENDING, values),
            undo=self._moving(
                key, (LedgerStatus.SENDING,), LedgerStatus.NOT_SENT, {"finished_at": sending_at}
            ),
        )

    async def finished(
        self,
        key: str,
        status: LedgerStatus,
        *,
        attempts: int,
        interview_request_id: int | None = None,
        error_code: str | None = None,
    ) -> None:
        """Record what became of a row: `created`, `rejected`, `not_sent` or `unknown` (else ValueError).

        `attempts` is added to those of earlier runs. Where it fails the row stays as it was; where
        the caller is cancelled while it waits, it is recorded all the same.
        """
        if status not in FINISHED:
            raise ValueError(f"a row does not end as {status}")
        values = {
            "interview_request_id": interview_request_id,
            "error_code": error_code and error_code.encode(errors="replace").decode(),
            "attempts": INTERVIEWS.c.attempts + attempts,
            "finished_at": self._now(),
        }
        await self._writer.write(self._moving(key, MAY_FINISH, status, values), delivery=Delivery.UNKNOWN)

    @staticmethod
    def _moving(
        key: str, since: Collection[LedgerStatus], status: LedgerStatus, values: Mapping[str, Any]
    ) -> Work[None]:
        return lambda connection: ledger_rows.move(connection, key, since, status, values)


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await short work to its end even where cancelled meanwhile, so that nothing stays open; then pass that on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None or task.cancelled():
        return task.result()
    task.exception()  # heard, and outweighed
    raise cancelled
