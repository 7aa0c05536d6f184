"""The context of each person that the API accepted last, so that the next change can be merged into it.

The API overwrites a contact's notes and never returns them, so the only ones that can be merged into are those that are
remembered here. Each write gives them a version of its own, and whoever merged into an older one merges again: the last
to write has seen what all before it wrote. What is changed without this ledger, it does not know.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.group_commit import GroupCommit, Work
from hindsight_async.delivery.ledger.tables import LOOKUP_KEYS, Tables
from hindsight_async.errors import Delivery, LedgerError

Context: TypeAlias = str | Mapping[str, Any]
"""A contact's notes: text, or a mapping of what JSON can carry."""

VERSION_BITS: Final = 62
"""Of the random number that tells one write of a context from all others, also from those before it was forgotten."""


class ContextMemory:
    """What a run remembers of people's contexts; made by `LedgerRun`.

    Args:
        group_commit: What the run writes with.
        tables: Those of the ledger.
        is_on: False to remember nothing, and to forget what is no longer so.
        now: Returns the time as an aware datetime.

    """

    def __init__(
        self, group_commit: GroupCommit, tables: Tables, *, is_on: bool, now: Callable[[], datetime]
    ) -> None:
        self.is_on = is_on
        self._group_commit = group_commit
        self._tables = tables
        self._now = now
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By a person's hash, for as long as somebody is changing their context."""
        self._any: bool | None = None
        """Whether the ledger may have contexts; None before that was asked. Asked where nothing is to be remembered."""

    @asynccontextmanager
    async def of_interview(self, interview_request_id: int) -> AsyncGenerator["RememberedContext"]:
        """Have the context of an interview's contact alone among this run's callers.

        Yields:
            It; of a contact whom the ledger does not know it remembers nothing.

        Raises:
            LedgerError: The ledger cannot be read, or names two people for this interview.

        """
        find = partial(_contact_of, self._tables, interview_request_id)
        address_hash = await self._group_commit.write(find)
        lock = self._locks.setdefault(address_hash or "", asyncio.Lock())
        async with lock:
            yield RememberedContext(self, address_hash)

    def along_with(self, move: Work[None], key: str, context: Context) -> Work[None]:
        """Return `move`, which notes that a row was created, with its context noted in the same transaction."""

        async def move_and_note(connection: AsyncConnection) -> None:
            await move(connection)
            if self.is_on:
                await self._note(connection, key, context)
            elif await self._may_be_any(connection):
                # Older notes that are overwritten now must not be merged into any more.
                row = self._tables.interviews.c
                await self._drop(connection, sa.select(row.address_hash).where(row.key == key))

        return move_and_note

    async def write(self, work: Work[Any], delivery: Delivery = Delivery.NOT_SENT) -> Any:
        """Do `work` in a transaction of the run's."""
        return await self._group_commit.write(work, delivery=delivery)

    async def read(self, address_hash: str, connection: AsyncConnection) -> tuple[Context | None, int | None]:
        """Return a person's context and its version; None and None where there is none."""
        contexts = self._tables.contexts
        query = sa.select(contexts.c.context, contexts.c.version).where(
            contexts.c.address_hash == address_hash
        )
        found = (await connection.execute(query)).first()
        return (json.loads(found.context), found.version) if found and self.is_on else (None, None)

    async def replace(
        self, address_hash: str, context: Context, version: int | None, connection: AsyncConnection
    ) -> bool:
        """Write down what was accepted where `version`, which it was merged into, still stands; return whether it did."""
        contexts = self._tables.contexts
        if not self.is_on:
            await self._drop(connection, sa.select(sa.literal(address_hash)))
            return True
        if version is None:
            insert = _insert(connection)(contexts).values(address_hash=address_hash, **self._stored(context))
            return bool((await connection.execute(insert.on_conflict_do_nothing())).rowcount)
        is_theirs = contexts.c.address_hash == address_hash
        update = sa.update(contexts).where(is_theirs, contexts.c.version == version)
        if (await connection.execute(update.values(**self._stored(context)))).rowcount:
            return True
        # Forgotten meanwhile, it stays so.
        return not await connection.scalar(sa.select(sa.exists().where(is_theirs)))

    async def _note(self, connection: AsyncConnection, key: str, context: Context) -> None:
        contexts, row = self._tables.contexts, self._tables.interviews.c
        stored = self._stored(context)
        values = [sa.literal(value, contexts.c[name].type) for name, value in stored.items()]
        insert = _insert(connection)(contexts).from_select(
            ["address_hash", *stored], sa.select(row.address_hash, *values).where(row.key == key)
        )
        newer = {name: insert.excluded[name] for name in stored}
        await connection.execute(insert.on_conflict_do_update(index_elements=["address_hash"], set_=newer))

    async def _may_be_any(self, connection: AsyncConnection) -> bool:
        """Return whether there may be something to forget: in a file nobody else adds anything while this run is on."""
        if self._any is None:
            query = sa.select(sa.exists().select_from(self._tables.contexts))
            self._any = _is_shared(connection) or bool(await connection.scalar(query))
        return self._any

    async def _drop(self, connection: AsyncConnection, whose: sa.Select[Any]) -> None:
        contexts = self._tables.contexts
        await connection.execute(sa.delete(contexts).where(contexts.c.address_hash.in_(whose)))

    def _stored(self, context: Context) -> dict[str, Any]:
        return {
            "context": json.dumps(context),
            "version": secrets.randbits(VERSION_BITS),
            "accepted_at": self._now(),
        }


class RememberedContext:
    """One person's context, while a caller has it alone in its run; made by `ContextMemory.of_interview`.

    Args:
        memory: Where it is.
        address_hash: Whose; None for a contact whom the ledger does not know.

    """

    def __init__(self, memory: ContextMemory, address_hash: str | None) -> None:
        self._memory = memory
        self._address_hash = address_hash
        self._version: int | None = None
        """That of what `read` returned; None where that was nothing."""

    async def read(self) -> Context | None:
        """Return what the API accepted last, as far as the ledger knows; None for nothing."""
        if self._address_hash is None:
            return None
        context: Context | None
        context, self._version = await self._memory.write(partial(self._memory.read, self._address_hash))
        return context

    async def replace(self, context: Context) -> bool:
        """Remember what the API has accepted; False where another process was first: read and merge again.

        Raises:
            LedgerError: It cannot be written, and `delivery` is UNKNOWN: the API has it, the ledger does not.

        """
        if self._address_hash is None:
            return True
        work = partial(self._memory.replace, self._address_hash, context, self._version)
        return bool(await self._memory.write(work, Delivery.UNKNOWN))


async def interviews_remembered(
    tables: Tables, ids: Collection[int], connection: AsyncConnection
) -> set[int]:
    """Return those of some interviews whose contact has a context here."""
    row, contexts = tables.interviews.c, tables.contexts
    wanted, found = list(ids), set[int]()
    for start in range(0, len(wanted), LOOKUP_KEYS):
        query = sa.select(row.interview_request_id).where(
            row.interview_request_id.in_(wanted[start : start + LOOKUP_KEYS]),
            row.address_hash.in_(sa.select(contexts.c.address_hash)),
        )
        found.update(await connection.scalars(query))
    return found


async def _contact_of(tables: Tables, interview_request_id: int, connection: AsyncConnection) -> str | None:
    row = tables.interviews.c
    query = sa.select(row.address_hash).where(row.interview_request_id == interview_request_id).distinct()
    hashes = list(await connection.scalars(query.limit(2)))
    if len(hashes) > 1:
        # Ids come from the API, or from a person by `resolve`: then one of them was mistyped.
        raise LedgerError(f"two people have interview {interview_request_id} in this ledger: one id is wrong")
    return hashes[0] if hashes else None


def _is_shared(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def _insert(connection: AsyncConnection) -> Any:
    return postgresql.insert if _is_shared(connection) else sqlite.insert
