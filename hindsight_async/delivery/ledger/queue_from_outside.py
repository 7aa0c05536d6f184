"""What is done to a queue without sending from it, also while another process has the ledger."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.ledger import queue_rows
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.queue_rows import Backlog, Stored
from hindsight_async.errors import LedgerInUseError


async def make(ledger: Ledger) -> None:
    """Make the ledger where there is none; LedgerError where that cannot be."""
    while not await ledger.exists():
        with suppress(LedgerInUseError):  # somebody else makes it right now
            async with ledger.run():
                pass


async def put(ledger: Ledger, rows: Sequence[LedgerRow], once_within: timedelta | None = None) -> Stored:
    """Store those rows that are new, with their bodies, as `queue_rows.put` does; say what it met."""

    async def store(connection: AsyncConnection) -> Stored:
        return await queue_rows.put(
            ledger.tables,
            connection,
            rows,
            ledger.now(),
            store_address=ledger.store_addresses,
            once_within=once_within,
        )

    return await ledger.with_connection(store)


async def backlog(ledger: Ledger) -> Backlog:
    """Return what is still to be sent, and whether the queue is paused; LedgerError where there is no ledger."""
    return await ledger.with_connection(partial(queue_rows.backlog, ledger.tables))


async def pause(ledger: Ledger, because: str) -> None:
    """Have nobody send from the queue until `lift_pause`; what is in flight ends as it will."""

    async def pause(connection: AsyncConnection) -> None:
        await queue_rows.pause(ledger.tables, connection, because, ledger.now())

    await ledger.with_connection(pause)


async def lift_pause(ledger: Ledger) -> bool:
    """Have rows sent again, by whoever has the queue open; return whether it was paused."""
    return await ledger.with_connection(partial(queue_rows.lift_pause, ledger.tables))
