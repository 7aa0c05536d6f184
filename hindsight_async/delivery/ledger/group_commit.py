"""Group commit: what a run's concurrent calls write shares one transaction, and so one write to the disk.

A commit waits some milliseconds for the disk (`sqlite` and `postgres` see to that): with one for each row, a run would
be no faster than the disk. Whatever is asked for while a transaction is under way waits together and is the next one. It
is done in the order of asking, which is what lets a caller undo: what undoes comes behind what it undoes, and before all
that is asked for later.

SQL runs in a task that no caller owns: a cancellation in the midst of a transaction would leave a connection of which
nobody knows what it did. So a cancelled caller is gone at once, and its work is done all the same, then undone. A database
that is away for a while makes all of them wait (`run_connection`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from attrs import define, field
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.run_connection import Backend, RunConnection, RunLock
from hindsight_async.errors import Delivery, LedgerError

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]


@define(eq=False)
class _Job:
    """One caller's part of a transaction."""

    work: Work[Any]
    delivery: Delivery
    """What its failure says of the request that it is about."""

    till_done: str | None
    """The key of the row of which it is the outcome, where it is to be tried again; else None."""

    done: asyncio.Future[Any] = field(factory=lambda: asyncio.get_running_loop().create_future())
    """Is done once the transaction is on disk, or has failed."""

    outcome: object = None
    """What `work` returned, or the LedgerError that it met; of no worth before the transaction is committed."""


class GroupCommit:
    """What is written over a run's one connection.

    Args:
        backend: Where the ledger is.
        run_lock: The run's right to its rows, renewed in each transaction.

    """

    def __init__(self, backend: Backend, run_lock: RunLock) -> None:
        self._backend = backend
        self._run_lock = run_lock
        self._connection = RunConnection(backend, run_lock)
        self._is_open = False
        self._jobs: list[_Job] = []
        """What the next transaction is made of, in the order of asking."""
        self._writing: asyncio.Task[None] | None = None
        """Goes on for as long as there are jobs."""
        self._renewing: asyncio.Task[None] | None = None
        """Writes now and then for a run that has nothing to say, where it must prove that it lives."""
        self._late: list[_Job] = []
        """Outcomes that could not be written, to be tried again."""
        self._failed: set[str] = set()
        """The keys of all rows whose outcome could not be written at once."""
        self.recorded_late: set[str] = set()
        """Those of them whose outcome was written by a later try."""

    async def open(self, now: datetime) -> None:
        """Open the ledger, made where there is none, and begin the run."""
        await self._connection.open(now)
        self._is_open = True
        if self._run_lock.renew_seconds is not None:
            self._renewing = asyncio.create_task(self._renew_every(self._run_lock.renew_seconds))

    async def close(self) -> None:
        """Write what was asked for, and end the run."""
        if self._renewing:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        while self._writing and not self._writing.done():
            await asyncio.wait([self._writing])
        # An outcome that is written late is better than a row in doubt for ever, and by now there may be room on the
        # disk, or a server, again.
        await self._catch_up()
        while self._writing and not self._writing.done():
            await asyncio.wait([self._writing])
        self._is_open = False
        await self._connection.close()

    async def _renew_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(LedgerError):  # the database may come back before the lease is over
                await self.write(_nothing)
                await self._catch_up()

    async def _catch_up(self) -> None:
        late, self._late = self._late, []
        # One that is refused by now, or for ever, is `unknown` once the run is over.
        again = (self.write(job.work, delivery=job.delivery, till_done=job.till_done) for job in late)
        await asyncio.gather(*again, return_exceptions=True)

    async def write(
        self,
        work: Work[T],
        *,
        delivery: Delivery = Delivery.NOT_SENT,
        undo: Work[None] | None = None,
        till_done: str | None = None,
    ) -> T:
        """Do `work` and return its result once that is on disk; `undo` it where the caller is cancelled.

        It is called again where its transaction came to nothing, so that all it does must be in there.

        Where it fails, a LedgerError with this `delivery` is raised and nothing of it is on disk; `till_done`, the key
        of a row, has it tried again behind the caller's back: when a run's lease is renewed, and at its end. Where that
        succeeds the key stands in `recorded_late`.
        """
        job = self._enqueue(work, delivery, till_done=till_done)
        try:
            await asyncio.wait([job.done])
        except asyncio.CancelledError:
            self._forsake(job, undo)
            raise
        result: T = job.done.result()
        return result

    def _enqueue(self, work: Work[Any], delivery: Delivery, *, till_done: str | None = None) -> _Job:
        if not self._is_open:
            raise LedgerError(f"the run on {self._backend.name} is over: open another", delivery=delivery)
        job = _Job(work, delivery, till_done)
        self._jobs.append(job)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return job

    def _forsake(self, job: _Job, undo: Work[None] | None) -> None:
        """Leave a job whose caller was cancelled to itself, and undo it once it is done."""
        job.done.add_done_callback(_heard)
        if undo is None or (job.done.done() and (job.done.cancelled() or job.done.exception())):
            return
        # The cancellation may have come in the turn in which the commit ended: done or not, it is undone, since the
        # caller has not heard of it. Asked for at once, that comes behind what it undoes and before all that is asked
        # for from here on: whoever claims the row next has it as if nothing had been.
        with suppress(LedgerError):  # the run is over: a row that stays `sending` the next one calls unknown
            undoing = self._enqueue(partial(_undo, job, undo), Delivery.NOT_SENT)
            undoing.done.add_done_callback(_heard)

    async def _write_all(self) -> None:
        jobs: list[_Job] = []
        try:
            while self._jobs:
                jobs, self._jobs = self._jobs, []
                await self._write_together(jobs)
        finally:
            for job in (*jobs, *self._jobs):  # left over only where the whole event loop is being stopped
                job.done.cancel()

    async def _write_together(self, jobs: Sequence[_Job]) -> None:
        try:
            await self._connection.commit(partial(_do_all, jobs))
        except Exception as error:  # noqa: BLE001  else nobody who asked would hear of it
            # One refused value must not fail the rows that share its transaction: then each is written alone. Not so
            # where the disk is full or the server away, which would be found out once for each row.
            is_one_jobs_fault = not isinstance(error, LedgerError) or self._backend.is_one_jobs_fault(error)
            if len(jobs) > 1 and is_one_jobs_fault:
                for job in jobs:
                    await self._write_together([job])
                return
            if not is_one_jobs_fault:
                self._late += [job for job in jobs if job.till_done]
                self._failed |= {job.till_done for job in jobs if job.till_done}
            for job in jobs:
                job.outcome = _for_job(job, error)
        for job in jobs:
            if isinstance(job.outcome, LedgerError):
                job.done.set_exception(job.outcome)
            else:
                job.done.set_result(job.outcome)
                if job.till_done in self._failed:
                    self.recorded_late.add(job.till_done)


async def _do_all(jobs: Sequence[_Job], connection: AsyncConnection) -> None:
    for job in jobs:
        job.outcome = await _outcome(connection, job)


async def _outcome(connection: AsyncConnection, job: _Job) -> object:
    """Return what the job returns, or what is wrong with this one job while the others are fine.

    A row that may not be moved is no failure of the database, so the transaction goes on.
    """
    try:
        return await job.work(connection)
    except LedgerError as not_done:
        not_done.delivery = job.delivery
        return not_done
    except (ValueError, OverflowError) as error:  # no UTF-8, or no 64-bit number
        return LedgerError(f"the ledger cannot store this: {error}", delivery=job.delivery)


def _for_job(job: _Job, error: Exception) -> LedgerError:
    if isinstance(error, LedgerError):
        return LedgerError(str(error.args[0]), delivery=job.delivery)
    failure = LedgerError(f"writing to the ledger raised {type(error).__name__}", delivery=job.delivery)
    failure.__cause__ = error
    return failure


async def _undo(job: _Job, undo: Work[None], connection: AsyncConnection) -> None:
    """Undo what was done, perhaps in this very transaction; what failed is nothing to undo."""
    if not isinstance(job.outcome, LedgerError):
        await undo(connection)


def _heard(done: asyncio.Future[Any]) -> None:
    """Take note of how it ended where nobody waits for it."""
    _ = done.cancelled() or done.exception()


async def _nothing(connection: AsyncConnection) -> None:
    """Have the transaction alone."""
