"""What a claim decides, in its transaction, of the rows that nobody else has: new, free again, or held back.

Held back are rows of a run with `once_within` whose person has another row, under another key, that counts:

sending                       always, since it is on its way
planned, not_sent, queued     while somebody has it in hand, since they send it
queued                        also in nobody's hand, where it was accepted before this one: of two the first goes
created, unknown              for `once_within` after the last that the ledger noted of it: that it was planned, left,
                              came to its end, or that a person said so

Nothing else does: what was rejected, expired or held back itself, and what was given up or never begun, emailed nobody.

Claims take turns (the one run of a file writes one thing after the other; in a database there is a lock for it), so of
two rows of a person that are claimed at the same time the second finds the first, in whichever process.

A row that was held back is free for the next claim, which decides anew: of the rule nothing is kept but the status.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from attrs import define, field, frozen
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.addresses import hash_of
from hindsight_async.delivery.ledger.entries import MAY_BE_SENT, LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.tables import LOOKUP_KEYS, NOTHING_SAID, Tables, planned

_MAY_COUNT = (*MAY_BE_SENT, LedgerStatus.SENDING, LedgerStatus.CREATED, LedgerStatus.UNKNOWN)


@frozen(kw_only=True)
class OncePerContact:
    """The rule that a person who has one row gets no other for a time."""

    tables: Tables
    once_within: timedelta
    now: datetime
    in_hand: Collection[str]
    """The keys of rows that calls of this run have in hand."""

    async def held_back(
        self, connection: AsyncConnection, rows: Sequence[LedgerRow], known: Mapping[str, LedgerEntry]
    ) -> tuple[set[str], list[str]]:
        """Say which rows of a claim are held back.

        Args:
            connection: To the ledger.
            rows: Those that nobody has, in the order of the input.
            known: The ledger's entries of those that it has.

        Returns:
            The keys of those that are held back; and, of people of whom a row goes, the keys of rows that a dead run
            had in hand.

        """
        people = await self._people(connection, rows)
        held_back: set[str] = set()
        going: dict[str, _Person] = {}
        for row in rows:
            address = hash_of(row.contact_email)
            person = people.get(address, _Person())
            entry = known.get(row.key)
            place = None if entry is None else (entry.planned_at, entry.key)
            if address in going or person.is_in_the_way(place):
                held_back.add(row.key)
            else:
                going[address] = person
        return held_back, [key for person in going.values() for key in person.forsaken]

    async def _people(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> dict[str, "_Person"]:
        """Return what the ledger has of those to whom the rows would go, beside these rows."""
        people: dict[str, _Person] = {}
        own = {row.key for row in rows}
        addresses = sorted({hash_of(row.contact_email) for row in rows})
        stored, tables = self.tables.interviews.c, self.tables
        columns = (
            stored.key, stored.address_hash, stored.status, stored.planned_at, stored.sending_at,
            stored.finished_at, tables.is_held.label("is_held"), tables.is_forsaken.label("is_forsaken"),
        )  # fmt: skip
        for start in range(0, len(addresses), LOOKUP_KEYS):
            some = tables.among(addresses[start : start + LOOKUP_KEYS], stored.address_hash)
            query = sa.select(*columns).where(some, stored.status.in_(_MAY_COUNT))
            for other in await connection.execute(query):
                if other.key not in own:
                    self._note(people.setdefault(other.address_hash, _Person()), other)
        return people

    def _note(self, person: "_Person", other: Any) -> None:
        status = LedgerStatus(other.status)
        if not status.may_be_sent:
            times = (other.planned_at, other.sending_at, other.finished_at)
            noted_at = max(time for time in times if time is not None)
            if status is LedgerStatus.SENDING or self.now - noted_at <= self.once_within:
                person.counts = True
        elif other.is_held or other.key in self.in_hand:
            person.counts = True
        else:
            if status is LedgerStatus.QUEUED:
                person.queued.append((other.planned_at, other.key))
            if other.is_forsaken:
                person.forsaken.append(other.key)


@define
class _Person:
    """A person's other rows."""

    counts: bool = False
    """Whether one is in the way of whichever row."""
    queued: list[tuple[datetime, str]] = field(factory=list[tuple[datetime, str]])
    """When those were accepted that wait in a queue, which are in the way of later ones; with their keys."""
    forsaken: list[str] = field(factory=list[str])
    """The keys of rows that a dead run has in hand."""

    def is_in_the_way(self, place: tuple[datetime, str] | None) -> bool:
        """Whether they have a row that holds back one accepted then; None for a new one."""
        return self.counts or any(place is None or queued < place for queued in self.queued)


@frozen(kw_only=True)
class Claim:
    """One claim of a run."""

    tables: Tables
    claim_values: Mapping[str, Any]
    """What is stored in a row that the run claims."""
    store_addresses: bool
    now: datetime
    rule: OncePerContact | None

    async def decide(
        self, connection: AsyncConnection, rows: Sequence[LedgerRow], known: Mapping[str, LedgerEntry]
    ) -> dict[str, LedgerEntry]:
        """Write down new rows, and what is decided of known ones.

        Args:
            connection: In the transaction of the claim.
            rows: Those that no other call of this run has in hand, in the order of the input.
            known: The ledger's entries of those that it has.

        Returns:
            The entries of the known rows and of those that are held back, as they stand now.

        """
        free = [row for row in rows if row.key not in known or known[row.key].may_be_claimed]
        held_back = await self._held_back(connection, free, known)
        new = [self._planned(row, is_held_back=row.key in held_back) for row in free if row.key not in known]
        if new:
            await connection.execute(sa.insert(self.tables.interviews), new)
        changed = held_back - known.keys()
        for row in free:
            entry = known.get(row.key)
            changes = entry and self._changes(row, entry, is_held_back=row.key in held_back)
            if changes:
                await self._store(connection, [row.key], changes)
                changed.add(row.key)
        return {**known, **(await self.tables.known(connection, changed))}

    async def _held_back(
        self, connection: AsyncConnection, free: Sequence[LedgerRow], known: Mapping[str, LedgerEntry]
    ) -> set[str]:
        if self.rule is None or not free:
            return set()
        while True:
            held_back, forsaken = await self.rule.held_back(connection, free, known)
            if not forsaken:
                return held_back
            # A run that only stood still would send its row, beside the one that goes now: it asks first, and finds
            # that it was held back. Where it was quicker, its row is on its way, and looking again finds that.
            still = self.tables.interviews.c.status.in_(MAY_BE_SENT), self.tables.is_forsaken
            await self._store(connection, forsaken, self._as_held_back, *still)

    async def _store(
        self,
        connection: AsyncConnection,
        keys: Sequence[str],
        values: Mapping[str, Any],
        *conditions: sa.ColumnElement[bool],
    ) -> None:
        among = self.tables.among(keys)
        await connection.execute(sa.update(self.tables.interviews).where(among, *conditions).values(**values))

    def _planned(self, row: LedgerRow, *, is_held_back: bool) -> dict[str, Any]:
        values = planned(row, self.now, store_address=self.store_addresses)
        return {**values, "finished_at": None, **(self._as_held_back if is_held_back else self.claim_values)}

    def _changes(self, row: LedgerRow, entry: LedgerEntry, *, is_held_back: bool) -> dict[str, Any]:
        """Return what is to be stored of a known row; nothing where it stands as it should."""
        values: dict[str, Any] = {}
        if row.caller_key is not None:
            # Such a key says nothing of what is asked for, and the ledger is to have what goes out.
            wanted = planned(row, self.now, store_address=self.store_addresses)
            values = {name: wanted[name] for name in _ASKED_FOR if wanted[name] != getattr(entry, name)}
        if is_held_back:
            return {**values, **NOTHING_SAID, **self._as_held_back}
        if entry.status is LedgerStatus.DUPLICATE:
            return {**values, "status": LedgerStatus.NOT_SENT, **self.claim_values}
        return values

    @property
    def _as_held_back(self) -> dict[str, Any]:
        return {
            "status": LedgerStatus.DUPLICATE,
            "finished_at": self.now,
            **self.tables.release_values,
        }


_ASKED_FOR = ("contact_email", "address_hash", "sequence_id", "interview_type_id", "deal_id")
