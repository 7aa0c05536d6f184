"""The ledger while a run has it: rows are claimed, marked before they leave, and finished."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from attrs import evolve
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.claims import Claim, OncePerContact
from hindsight_async.delivery.ledger.contexts import Context, ContextMemory
from hindsight_async.delivery.ledger.entries import (
    FINISHED,
    MAY_BE_SENT,
    LedgerEntry,
    LedgerRow,
    LedgerStatus,
)
from hindsight_async.delivery.ledger.group_commit import GroupCommit
from hindsight_async.delivery.ledger.moves import Moves
from hindsight_async.delivery.ledger.queue_run import QueueRun
from hindsight_async.delivery.ledger.run_connection import Backend, RunLock
from hindsight_async.delivery.ledger.tables import NOTHING_SAID
from hindsight_async.errors import Delivery, LedgerError, LedgerInUseError

Clock = Callable[[], datetime]
"""Returns the time as an aware datetime."""


class LedgerRun:
    """The ledger while a run has it; made by `Ledger.run()`.

    What concurrent calls ask for shares one transaction, and so one write to the disk. Each method
    is durable when it returns, and raises LedgerError where it is not. Where the database is away, it first waits for it.
    That a row was sent, or what became of it then, is written again, where it could not be, when the run renews its lease
    and when it ends, unless the value itself cannot be stored.

    What the fields of a row mean is said by `entries.LedgerEntry`.

    The life of a row in it: `claim` plans it, `sending` marks it before the first byte leaves, `not_processed` takes that
    mark back where nothing came of it, `finished` says what became of it.
    """

    def __init__(
        self,
        group_commit: GroupCommit,
        backend: Backend,
        run_lock: RunLock,
        *,
        store_addresses: bool,
        store_contexts: bool,
        now: Clock,
    ) -> None:
        self.contexts = ContextMemory(group_commit, backend.tables, is_on=store_contexts, now=now)
        """What is remembered of people's contexts."""
        self._group_commit = group_commit
        self._tables = backend.tables
        self._run_lock = run_lock
        self._store_addresses = store_addresses
        self._now = now
        self._in_hand: set[str] = set()
        """The keys of rows that a call of this run has claimed and not yet finished.

        In a file nothing else says so; in a database the lease says only that it is some call of this run's.
        """
        self.queue = QueueRun(
            group_commit, backend.tables, run_lock, self._in_hand, store_addresses=store_addresses, now=now
        )
        """What a queue does in it."""
        self._moves = Moves(backend.tables, run_lock)
        self._marked_at: dict[str, datetime] = {}
        """When each row that is on its way was marked as `sending`: what is taken back is this mark and no later one."""

    @property
    def recorded_late(self) -> Collection[str]:
        """The keys of rows whose outcome could not be written at once, and was by a later try."""
        return self._group_commit.recorded_late

    async def claim(
        self, rows: Sequence[LedgerRow], *, once_within: timedelta | None = None
    ) -> Mapping[str, LedgerEntry]:
        """Plan rows that are new, and tell what is known of the others.

        The caller has in hand, and may send, what was new and what `may_be_sent`, until it is finished; an entry
        that says `in_hand` is another caller's. Cancelled, or where it fails, it has nothing in hand.

        Args:
            rows: What it wants to send; of two with one key the first counts.
            once_within: For how long a person who has one interview gets no other (`claims`); None for no such rule.

        Returns:
            By key, the entries that the ledger had already, and those of rows that are held back as `duplicate`.

        Raises:
            LedgerError: The ledger cannot be read or written.

        """
        now = self._now()
        wanted: dict[str, LedgerRow] = {}
        for row in rows:
            wanted.setdefault(row.key, row)
        # Decided before anything is waited for, and written in the order of asking: of two callers the first has it.
        elsewhere = wanted.keys() & self._in_hand
        self._in_hand |= wanted.keys()
        decision = self._claim(now, once_within)

        async def look_up_and_plan(connection: AsyncConnection) -> Mapping[str, LedgerEntry]:
            known = await self._run_lock.claim(connection, wanted.keys(), now)
            lost = elsewhere - known.keys()
            if lost:
                raise LedgerError(f"row {min(lost)} could not be written by the caller that has it in hand")
            return await decision.decide(
                connection, [row for row in wanted.values() if row.key not in elsewhere], known
            )

        known: Mapping[str, LedgerEntry] = {}
        let_go = wanted.keys() - elsewhere
        try:
            known = await self._group_commit.write(look_up_and_plan, undo=partial(self._let_go, let_go))
            let_go = {key for key in let_go if key in known and not known[key].may_be_sent}
        finally:
            self._in_hand -= let_go
        return {
            key: evolve(entry, in_hand=True) if key in elsewhere else entry for key, entry in known.items()
        }

    def _claim(self, now: datetime, once_within: timedelta | None) -> Claim:
        rule = None
        if once_within is not None:
            rule = OncePerContact(
                tables=self._tables, once_within=once_within, now=now, in_hand=self._in_hand
            )
        return Claim(
            tables=self._tables,
            claim_values=self._run_lock.claim_values,
            store_addresses=self._store_addresses,
            now=now,
            rule=rule,
        )

    async def sending(self, key: str) -> None:
        """Mark a row as about to be sent; only then may its first byte leave.

        Cancelled, the caller has sent nothing, so the row becomes `not_sent`.

        Args:
            key: That of a row which the caller has in hand.

        Raises:
            LedgerInUseError: Another run took it while this one was taken for dead; it is in nobody's hand here then.
            LedgerError: The row may not be sent, or that cannot be written.

        """
        sending_at = self._now()
        values = {
            "sending_at": sending_at,
            "finished_at": None,
            **NOTHING_SAID,
            **self._run_lock.claim_values,
        }
        take_back = self._moves.taking_back(key, sending_at, sending_at)
        try:
            await self._group_commit.write(
                self._moves.moving(
                    key, MAY_BE_SENT, LedgerStatus.SENDING, values, self._run_lock.may_be_claimed
                ),
                undo=take_back,
            )
        except LedgerInUseError:
            self._in_hand.discard(key)
            raise
        if self._run_lock.is_over:
            # The commit took longer than the lease, so by now others may have claimed the row, or read it as abandoned.
            self._in_hand.discard(key)
            await self._group_commit.write(take_back)
            raise LedgerInUseError("this run stood still until others took it for dead")
        self._marked_at[key] = sending_at

    async def not_processed(self, key: str) -> None:
        """Note that what was sent provably came to nothing; the caller keeps the row in hand, to send it again.

        Args:
            key: That of a row which was marked by `sending`.

        Raises:
            LedgerInUseError: Another run took it while this one was taken for dead.
            LedgerError: It cannot be written; it is tried again as the class says.

        """
        await self._group_commit.write(
            self._moves.taking_back(key, self._marked_at.get(key), self._now()), till_done=key
        )

    async def finished(
        self,
        key: str,
        status: LedgerStatus,
        *,
        attempts: int,
        interview_request_id: int | None = None,
        contact_id: str | None = None,
        interview_status: str | None = None,
        http_status: int | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        received: Mapping[str, Any] | None = None,
        context: Context | None = None,
        due_at: datetime | None = None,
        pauses: int = 0,
    ) -> None:
        """Record what became of a row.

        Where that fails the row stays as it was; where the caller is cancelled while it waits, it is recorded all the
        same.

        Args:
            key: That of the row.
            status: One of `entries.FINISHED`.
            attempts: How many times it was tried; added to those of earlier runs.
            interview_request_id: As in LedgerEntry, like all that follow.
            contact_id: Of a created interview.
            interview_status: Of a created interview.
            http_status: Of a failure.
            error_code: Of a failure.
            error_message: Of a failure.
            received: Of a failure.
            context: The contact's notes that the API has accepted with it, to be remembered where contexts are.
            due_at: When a queue tries it again at the soonest.
            pauses: How many pauses it has made then.

        Raises:
            ValueError: No row ends with this status.
            LedgerError: It cannot be written. Of `not_sent` nothing is lost by that; of all else `delivery` is UNKNOWN, and
                it is tried again as the class says.

        """
        if status not in FINISHED:
            raise ValueError(f"a row does not end as {status}")
        values = {
            "interview_request_id": interview_request_id,
            "contact_id": _storable(contact_id),
            "interview_status": _storable(interview_status),
            "http_status": http_status,
            "error_code": _storable(error_code),
            "error_message": _storable(error_message),
            "received": received,
            "attempts": self._tables.interviews.c.attempts + attempts,
            "finished_at": self._now(),
            "due_at": due_at,
            "pauses": pauses,
            **({"request": None} if status is LedgerStatus.CREATED else {}),
            **self._tables.release_values,
        }
        is_not_sent = status is LedgerStatus.NOT_SENT
        self._marked_at.pop(key, None)
        # Whoever claims it from here on is served after this is written.
        self._in_hand.discard(key)
        finishing = self._moves.finishing(key, status, values)
        await self._group_commit.write(
            finishing if context is None else self.contexts.along_with(finishing, key, context),
            delivery=Delivery.NOT_SENT if is_not_sent else Delivery.UNKNOWN,
            # A row that says `sending` until then is nobody's to send; any other may be by then.
            till_done=None if is_not_sent else key,
        )

    async def _let_go(self, keys: Collection[str], connection: AsyncConnection) -> None:
        await self._run_lock.let_go(connection, [key for key in keys if key not in self._in_hand])


def _storable(text: str | None) -> str | None:
    """Return a server's text as every database takes it: without half surrogate pairs and NUL."""
    return text and text.encode(errors="replace").decode().replace("\0", "?")
