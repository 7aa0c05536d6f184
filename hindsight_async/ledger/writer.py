"""Group commit: what a run's concurrent calls write shares one transaction, and so one write to the disk."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from attrs import define, field
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.errors import Delivery, LedgerError
from hindsight_async.ledger.file import LedgerFile
from hindsight_async.ledger.rows import note_run_open, settle

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]


@define(eq=False)
class _Job:
    work: Work[Any]
    delivery: Delivery
    done: asyncio.Future[Any] = field(factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    """A run's one connection: what is asked for while a transaction is under way shares the next one.

    SQL runs in a task of its own, so that no caller's cancellation breaks a transaction.
    """

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._connection: AsyncConnection | None = None
        self._jobs: list[_Job] = []
        self._writing: asyncio.Task[None] | None = None

    async def open(self, now: datetime) -> None:
        """Open the ledger, and make it where there is none; settle what a dead run left. Needs the run lock."""
        if not self._file.exists():
            await self._file.create()
        self._connection = await self._file.open()
        with self._file.failures():
            async with self._connection.begin():
                await settle(self._connection, now)
                await note_run_open(self._connection, is_open=True)
            # In the file itself before the first row: a copy without the log then tells that it is one.
            await self._file.merge_log(self._connection)

    async def close(self) -> None:
        """Write what was asked for, and close."""
        while self._writing and not self._writing.done():
            await asyncio.wait([self._writing])
        if self._connection:
            connection, self._connection = self._connection, None
            with self._file.failures():
                async with aclosing(connection):
                    await self._note_end(connection)

    async def _note_end(self, connection: AsyncConnection) -> None:
        # All rows are on disk: where this fails, the next run takes this one for dead and settles what is settled.
        with suppress(LedgerError), self._file.failures():
            async with connection.begin():
                # The log then starts over, so that the note needs no room on a full disk.
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            async with connection.begin():
                await note_run_open(connection, is_open=False)

    async def write(
        self, work: Work[T], *, delivery: Delivery = Delivery.NOT_SENT, undo: Work[None] | None = None
    ) -> T:
        """Do `work` and return its result once that is on disk; `undo` it where the caller is cancelled.

        Where it fails, a LedgerError with this `delivery` is raised and nothing of it is on disk.
        """
        done = self._enqueue(work, delivery)
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            done.add_done_callback(partial(self._forsake, undo))
            raise
        result: T = done.result()
        return result

    def _enqueue(self, work: Work[Any], delivery: Delivery) -> asyncio.Future[Any]:
        if self._connection is None:
            raise LedgerError(f"the run on {self._file.path} is over: open another", delivery=delivery)
        job = _Job(work, delivery)
        self._jobs.append(job)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(self._connection))
        return job.done

    def _forsake(self, undo: Work[None] | None, done: asyncio.Future[Any]) -> None:
        failed = done.cancelled() or done.exception()
        if undo and not failed:
            with suppress(
                LedgerError
            ):  # the run is over: the row stays `sending`, which the next one takes for `unknown`
                self._enqueue(undo, Delivery.NOT_SENT).add_done_callback(partial(self._forsake, None))

    async def _write_all(self, connection: AsyncConnection) -> None:
        jobs: list[_Job] = []
        try:
            while self._jobs:
                jobs, self._jobs = self._jobs, []
                await self._write_together(connection, jobs)
        finally:
            for job in (*jobs, *self._jobs):  # left over only where the whole event loop is being stopped
                job.done.cancel()

    async def _write_together(self, connection: AsyncConnection, jobs: Sequence[_Job]) -> None:
        try:
            with self._file.failures():
                async with connection.begin():
                    outcomes = [await _outcome(connection, job) for job in jobs]
        except LedgerError as error:
            outcomes = [LedgerError(str(error.args[0]), delivery=job.delivery) for job in jobs]
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, LedgerError):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)


async def _outcome(connection: AsyncConnection, job: _Job) -> object:
    """Return what the job returns, or what is wrong with this one job while the others are fine."""
    try:
        return await job.work(connection)
    except LedgerError as refusal:
        return refusal
    except (ValueError, OverflowError) as error:  # no UTF-8, or no 64-bit number
        return LedgerError(f"the ledger cannot store this: {error}", delivery=job.delivery)
