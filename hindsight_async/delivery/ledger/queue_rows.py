"""The rows of a ledger that a queue is to send: how they come in, which are due, and why none is sent for now.

A row of a queue is one that has its body. It is sent, and sent again, as long as its status lets it (`entries`); the body
goes once the interview is there.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import sqlalchemy as sa
from attrs import field, frozen
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger.claims import OncePerContact
from hindsight_async.delivery.ledger.entries import MAY_BE_SENT, LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.tables import Tables, planned

PAUSED: Final = "queue_paused"
"""The name of the meta row that says why nothing is sent; it is missing where the queue is not paused."""


@frozen(kw_only=True)
class DueRow:
    """A row that may be sent now."""

    entry: LedgerEntry
    body: dict[str, Any] = field(repr=False)


@frozen(kw_only=True)
class Stored:
    """What a put met."""

    known: Mapping[str, LedgerEntry] = field(factory=dict[str, LedgerEntry])
    """The entries that were there before, by key; nothing of them is changed."""

    held_back: Collection[str] = ()
    """The keys of new rows that are duplicates, since their person has another row."""

    def __or__(self, other: "Stored") -> "Stored":
        """Return what two puts met, one after the other."""
        return Stored(known={**self.known, **other.known}, held_back={*self.held_back, *other.held_back})


@frozen(kw_only=True)
class Backlog:
    """What a queue has still to send."""

    queued: int = 0
    """How many rows; those in flight are among them until they leave."""

    sending: int = 0
    """How many are on their way, from any process."""

    oldest: datetime | None = None
    """When the oldest of the queued ones was put, aware; None where there is none."""

    paused_because: str | None = None
    """Why nothing is sent; None where the queue is not paused."""

    paused_at: datetime | None = None


async def put(
    tables: Tables,
    connection: AsyncConnection,
    rows: Sequence[LedgerRow],
    now: datetime,
    *,
    store_address: bool,
    once_within: timedelta | None = None,
    in_hand: Collection[str] = (),
) -> Stored:
    """Store those rows that are new, with their bodies.

    One that a bulk run has planned or given up is new to the queue, which else could not send it. One that is held back,
    since its person has another (`claims`), is stored as a duplicate.

    """
    wanted = {row.key: row for row in reversed(rows)}
    # Others may put the same rows at this moment: whoever reads first must also be the one who writes first.
    await tables.take_turns(connection)
    known = await tables.known(connection, wanted.keys())
    for key in [key for key, entry in known.items() if entry.status.may_be_sent]:
        if await _adopt(tables, connection, wanted[key], now):
            del known[key]
            del wanted[key]
    new = [row for key, row in reversed(wanted.items()) if key not in known]
    held_back: set[str] = set()
    if once_within is not None:
        rule = OncePerContact(tables=tables, once_within=once_within, now=now, in_hand=in_hand)
        held_back, _ = await rule.held_back(connection, new, {})
    as_held_back = {"status": LedgerStatus.DUPLICATE, "finished_at": now}
    unseen = [
        {
            **planned(row, now, store_address=store_address),
            "finished_at": None,
            **(as_held_back if row.key in held_back else {}),
        }
        for row in new
    ]
    if unseen:
        await connection.execute(sa.insert(tables.interviews), unseen)
    return Stored(known=known, held_back=held_back)


async def _adopt(tables: Tables, connection: AsyncConnection, row: LedgerRow, now: datetime) -> bool:
    """Take over a row that somebody planned without its body; return whether there is such a row."""
    interviews = tables.interviews
    adopted = await connection.execute(
        sa.update(interviews)
        .where(
            interviews.c.key == row.key, interviews.c.request.is_(None), interviews.c.status.in_(MAY_BE_SENT)
        )
        .values(request=row.request, status=LedgerStatus.QUEUED, planned_at=now)
    )
    return bool(adopted.rowcount)


async def expire(
    tables: Tables,
    connection: AsyncConnection,
    put_before: datetime,
    now: datetime,
    *conditions: sa.ColumnElement[bool],
) -> int:
    """Let no row leave by itself that was put before a moment; return how many these are."""
    interviews = tables.interviews
    expired = await connection.execute(
        sa.update(interviews)
        .where(is_waiting(tables), interviews.c.planned_at < put_before, *conditions)
        .values(status=LedgerStatus.EXPIRED, finished_at=now, due_at=None)
    )
    return expired.rowcount


def is_waiting(tables: Tables) -> sa.ColumnElement[bool]:
    """Select what a queue is to send, now or later."""
    return sa.and_(tables.interviews.c.request.is_not(None), tables.interviews.c.status.in_(MAY_BE_SENT))


async def due_keys(
    tables: Tables, connection: AsyncConnection, now: datetime, most: int, *conditions: sa.ColumnElement[bool]
) -> list[str]:
    """Return the keys of the rows that may be sent now, those that have waited longest first."""
    row = tables.interviews.c
    query = (
        sa.select(row.key)
        .where(is_waiting(tables), sa.or_(row.due_at.is_(None), row.due_at <= now), *conditions)
        .order_by(sa.func.coalesce(row.due_at, row.planned_at), row.key)
        .limit(most)
    )
    return list(await connection.scalars(query))


async def with_bodies(
    tables: Tables, connection: AsyncConnection, entries: Sequence[LedgerEntry]
) -> list[DueRow]:
    """Return these rows with their bodies, in the same order."""
    row, keys = tables.interviews.c, [entry.key for entry in entries]
    stored = await connection.execute(sa.select(row.key, row.request).where(tables.among(keys)))
    bodies = {key: dict(body) for key, body in stored}
    return [DueRow(entry=entry, body=bodies[entry.key]) for entry in entries if bodies.get(entry.key)]


async def backlog(tables: Tables, connection: AsyncConnection) -> Backlog:
    """Return what is still to be sent."""
    row, waiting = tables.interviews.c, is_waiting(tables)
    # In one statement, since a queue asks each second: all of it lies in the index of rows with a body.
    query = sa.select(
        sa.func.count().filter(waiting),
        sa.func.min(row.planned_at, type_=row.planned_at.type).filter(waiting),
        sa.func.count().filter(row.status == LedgerStatus.SENDING),
        sa.select(tables.meta.c.value).where(tables.meta.c.name == PAUSED).scalar_subquery(),
    ).where(row.request.is_not(None))
    queued, oldest, sending, said = (await connection.execute(query)).one()
    because, at = _read_pause(said)
    return Backlog(queued=queued, oldest=oldest, sending=sending, paused_because=because, paused_at=at)


async def paused(tables: Tables, connection: AsyncConnection) -> tuple[str | None, datetime | None]:
    """Return why the queue is paused and since when; twice None where it is not."""
    return _read_pause(
        await connection.scalar(sa.select(tables.meta.c.value).where(tables.meta.c.name == PAUSED))
    )


def _read_pause(said: str | None) -> tuple[str | None, datetime | None]:
    if said is None:
        return None, None
    fields = cast("dict[str, str]", json.loads(said))
    return fields["because"], datetime.fromisoformat(fields["at"])


async def pause(tables: Tables, connection: AsyncConnection, because: str, now: datetime) -> None:
    """Have nobody send from the queue; of two reasons the first stays."""
    await tables.take_turns(connection)
    if await paused(tables, connection) == (None, None):
        value = json.dumps({"because": because, "at": now.isoformat()})
        await connection.execute(sa.insert(tables.meta).values(name=PAUSED, value=value))


async def lift_pause(tables: Tables, connection: AsyncConnection) -> bool:
    """Have rows sent again; return whether the queue was paused."""
    lifted = await connection.execute(sa.delete(tables.meta).where(tables.meta.c.name == PAUSED))
    return bool(lifted.rowcount)
