"""What it takes to forget a person: what is erased, what is not sent any more, and what stays.

What stays is the hash of their address, the rows' keys, which are hashes too, and what names nobody: ids, status, times.
By that hash they are known should the same input be run again. Neither hash is salted, since every run has to find them:
whoever knows the address can tell that it is here. What the person is asked later is a new row, with their address.

A file has nothing else of them when it is done. PostgreSQL updates the rows and vacuums the tables, after which its files
have the bytes until it needs the room (`VACUUM FULL` clears them at once, and keeps runs waiting meanwhile), and its log
and backups have them for as long as they are kept.
"""

from typing import Final

import sqlalchemy as sa
from attrs import evolve
from sqlalchemy.ext.asyncio import AsyncConnection

from hindsight_async.delivery.addresses import hash_of, normalised
from hindsight_async.delivery.ledger.entries import MAY_BE_SENT, Forgotten, LedgerStatus
from hindsight_async.delivery.ledger.run_connection import Backend
from hindsight_async.delivery.ledger.tables import Tables
from hindsight_async.errors import LedgerInUseError

FORGOTTEN: Final = "forgotten"
"""The error code of a row that is not sent any more since its person was forgotten."""


class Forgetting:
    """Forgets one person: `erase` in a transaction, and `scrub` once that is committed.

    Args:
        backend: Where the ledger is kept.
        address: The person's.

    Raises:
        TypeError: `address` is no text.
        ValueError: It is no email address.

    """

    def __init__(self, backend: Backend, address: object) -> None:
        self._backend = backend
        self._address_hash = _hash_to_forget(address)
        self.removed = Forgotten(rows=0, addresses=0, requests=0, caller_keys=0, contexts=0, expired=0)
        """What was removed so far."""

    async def erase(self, connection: AsyncConnection) -> None:
        """Erase what names the person in the rows; LedgerInUseError where a request to them is on its way."""
        self.removed = await _erase(self._backend.tables, self._address_hash, connection)

    async def scrub(self, connection: AsyncConnection) -> None:
        """Erase the bytes that this has freed; LedgerError where that cannot be done, and is to be done again."""
        self.removed = evolve(self.removed, vacuumed=await self._backend.scrub(connection))


def _hash_to_forget(address: object) -> str:
    """Return the hash under which a person's rows are found.

    Raises:
        TypeError: `address` is no text.
        ValueError: It is no email address.

    """
    if not isinstance(address, str):
        raise TypeError(f"address must be text (str), not {type(address).__name__}")
    local, _, domain = address.strip().rpartition("@")
    if not (local and domain):
        raise ValueError(
            f"address must be one email address such as name@company.example; the text of {len(address)}"
            " characters given is not"
        )
    return hash_of(normalised(address))


async def _erase(tables: Tables, address_hash: str, connection: AsyncConnection) -> Forgotten:
    """Erase a person's address, bodies, keys' text and context, and send none of their rows any more.

    Raises:
        LedgerInUseError: A request to them is on its way; nothing is erased then.

    """
    interviews, contexts = tables.interviews, tables.contexts
    # First what is written in any case: in a file that keeps others from writing until all is done.
    dropped = await connection.execute(sa.delete(contexts).where(contexts.c.address_hash == address_hash))
    row, is_theirs = interviews.c, interviews.c.address_hash == address_hash
    personal = (row.contact_email, row.request, row.caller_key)
    query = sa.select(row.key, row.status, *(column.is_not(None).label(column.name) for column in personal))
    found = (await connection.execute(query.where(is_theirs).with_for_update())).all()
    if any(each.status == LedgerStatus.SENDING for each in found):
        # Its outcome, and what it leaves to remember, would be written down behind our back.
        raise LedgerInUseError("a request to this person is on its way: forget them once it has ended")
    may_be_sent = row.status.in_(MAY_BE_SENT)
    await connection.execute(
        sa.update(interviews)
        .where(is_theirs)
        .values(
            # What a server said in its own words may have a name in it.
            **dict.fromkeys(
                ("contact_email", "request", "caller_key", "error_message", "received", "due_at")
            ),
            status=sa.case((may_be_sent, LedgerStatus.EXPIRED), else_=row.status),
            error_code=sa.case((may_be_sent, FORGOTTEN), else_=row.error_code),
        )
    )
    return Forgotten(
        rows=len(found),
        addresses=sum(each.contact_email for each in found),
        requests=sum(each.request for each in found),
        caller_keys=sum(each.caller_key for each in found),
        contexts=dropped.rowcount,
        expired=sum(each.status in MAY_BE_SENT for each in found),
    )
