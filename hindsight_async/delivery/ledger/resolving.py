"""What a person found out about rows whose outcome is unknown, or decided about others: all of it, or nothing."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.keys import caller_key_hash, stored_key
from hindsight_async.delivery.ledger.entries import MAY_BE_RESOLVED, LedgerStatus
from hindsight_async.delivery.ledger.tables import NOTHING_SAID, Tables


async def resolve_rows(
    tables: Tables, facts: Mapping[str, int | None], now: datetime, connection: AsyncConnection
) -> None:
    """Say of each row which interview was created, or that none was, within one transaction.

    Args:
        tables: The ledger's.
        facts: The interview's id by the key of the row, or by the caller's own; None where none was created, so that
            the next run sends it.
        now: The time, aware.
        connection: With a transaction, which an error is to end.

    Raises:
        LedgerError: The ledger has no such row, or it has another status.

    """
    for key, created in facts.items():
        is_made = created is not None
        from_statuses = (LedgerStatus.UNKNOWN,) if is_made else MAY_BE_RESOLVED
        values = {
            **NOTHING_SAID,
            "interview_request_id": created,
            "finished_at": now,
            "due_at": None,
            # A body is kept for as long as it may be sent, and a queue counts its age from now on.
            **({"request": None} if is_made else {"planned_at": tables.anew(now)}),
            **tables.release_values,
        }
        of_row = stored_key(key, await tables.known(connection, [key, caller_key_hash(key)]))
        status = LedgerStatus.CREATED if is_made else LedgerStatus.NOT_SENT
        if not await tables.move(connection, of_row, from_statuses, status, values):
            raise await tables.why_not_moved(connection, of_row, from_statuses)
