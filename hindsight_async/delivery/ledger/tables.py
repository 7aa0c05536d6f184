"""The rows of a ledger: what they say, how they are stored, and the statements that read and change them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hindsight_async.delivery.addresses import hash_of
from hindsight_async.delivery.ledger.column_types import JsonText, PersonalText, Timestamp
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.errors import LedgerError

LOOKUP_KEYS: Final = 500
"""How many keys one query looks up."""
SCHEMA_VERSION: Final = 3
"""What the meta row of that name says; a ledger of another version is refused."""

NOTHING_SAID: Mapping[str, Any] = dict.fromkeys(
    ("contact_id", "interview_status", "http_status", "error_code", "error_message", "received")
)
"""What is stored of the last answer while none has come."""


class Tables:
    """The tables of one ledger, and the statements over them that every database understands.

    Args:
        prefix: Stands before the name of each table.
        shared: True to add a column that says which run has claimed a row.

    """

    def __init__(self, *, prefix: str = "", shared: bool = False) -> None:
        self.schema = sa.MetaData()
        self.meta = sa.Table(
            f"{prefix}meta",
            self.schema,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )
        self.interviews = sa.Table(
            f"{prefix}interviews",
            self.schema,
            *(_interview_columns()),
            sa.Index(f"{prefix}interviews_in_row_order", "row_index", "key"),
            sa.Index(f"{prefix}interviews_of_a_person", "address_hash"),
        )
        _index_few(prefix, self.interviews)
        self.contexts = sa.Table(
            f"{prefix}contexts",
            self.schema,
            sa.Column("address_hash", sa.Text, primary_key=True),
            sa.Column("context", PersonalText, nullable=False),
            sa.Column("version", sa.BigInteger, nullable=False),
            sa.Column("accepted_at", Timestamp, nullable=False),
        )
        """The context of each person that the API accepted last, where they are remembered."""
        self.entries = sa.select(*(column for column in self.interviews.c if column.name != "request"))
        """What `read` reads; to be narrowed down."""
        self.release_values: Mapping[str, Any] = {}
        """What is stored in a row that a run lets go."""
        self.is_held: sa.ColumnElement[bool] = sa.false()
        """Whether a living run has claimed a row and not let it go, as far as the row says so."""
        self.is_forsaken: sa.ColumnElement[bool] = sa.false()
        """The same of a run that is dead."""
        if shared:
            self.interviews.append_column(sa.Column("holder", sa.Text))

    def among(self, values: Collection[str], column: sa.Column[Any] | None = None) -> sa.ColumnElement[bool]:
        """Select the rows of these keys, or of these values in another column."""
        return (self.interviews.c.key if column is None else column).in_(values)

    async def take_turns(self, connection: AsyncConnection) -> None:
        """Have nobody else write until the end of the transaction, so that what is read before a write stays true."""
        # A change that changes nothing; with a read alone, another program could still write in between.
        meta = self.meta
        await connection.execute(
            sa.update(meta).where(meta.c.name == _VERSION_NAME).values(value=meta.c.value)
        )

    def anew(self, now: datetime) -> sa.ColumnElement[datetime]:
        """Return when a row counts as planned that a person has sent again: now, where a queue is to send it."""
        row = self.interviews.c
        return sa.case((row.request.is_not(None), sa.literal(now, row.planned_at.type)), else_=row.planned_at)

    async def note_version(self, connection: AsyncConnection) -> None:
        """Write down whose tables these are, and of which version; no harm where it is there."""
        said = {"application": "hindsight-async", _VERSION_NAME: str(SCHEMA_VERSION)}
        have = set(await connection.scalars(sa.select(self.meta.c.name)))
        missing = [{"name": name, "value": value} for name, value in said.items() if name not in have]
        if missing:
            await connection.execute(sa.insert(self.meta), missing)

    async def connect(self, engine: AsyncEngine, name: str) -> AsyncConnection:
        """Return a connection to a ledger that exists; LedgerError where its version is not ours."""
        connection = await engine.connect()
        try:
            async with connection.begin():
                await self._check_version(connection, name)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _check_version(self, connection: AsyncConnection, name: str) -> None:
        version = await connection.scalar(
            sa.select(self.meta.c.value).where(self.meta.c.name == _VERSION_NAME)
        )
        if version != str(SCHEMA_VERSION):
            raise LedgerError(
                f"{name} was made by another version of hindsight-async (its schema is {version}, this one"
                f" knows {SCHEMA_VERSION}): upgrade hindsight-async, or name another ledger"
            )

    async def read(self, connection: AsyncConnection, query: sa.Select[Any]) -> list[LedgerEntry]:
        """Return the entries that `query`, made from `entries`, selects."""
        entries: list[LedgerEntry] = []
        for row in (await connection.execute(query)).mappings():
            personal = {name: _plain(row[name]) for name in ("contact_email", "caller_key")}
            fields: dict[str, Any] = {**row, **personal}
            entries.append(LedgerEntry(**fields))
        return entries

    async def known(
        self, connection: AsyncConnection, keys: Collection[str], *more: sa.ColumnElement[Any]
    ) -> dict[str, LedgerEntry]:
        """Return the entries of those `keys` that have one; `more` columns go into the fields of their names."""
        found: dict[str, LedgerEntry] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), LOOKUP_KEYS):
            some = wanted[start : start + LOOKUP_KEYS]
            query = self.entries.add_columns(*more).where(self.among(some))
            entries = await self.read(connection, query)
            found.update((entry.key, entry) for entry in entries)
        return found

    async def status(self, connection: AsyncConnection, key: str) -> str | None:
        """Return the status of a row, None where there is no such row."""
        interviews = self.interviews
        return await connection.scalar(sa.select(interviews.c.status).where(interviews.c.key == key))

    async def move(
        self,
        connection: AsyncConnection,
        key: str,
        from_statuses: Collection[LedgerStatus],
        status: LedgerStatus,
        values: Mapping[str, Any],
        *conditions: sa.ColumnElement[bool],
    ) -> bool:
        """Move a row to a status from one of others; False where it has none of these, or a condition does not hold."""
        interviews = self.interviews
        moved = await connection.execute(
            sa.update(interviews)
            .where(interviews.c.key == key, interviews.c.status.in_(from_statuses), *conditions)
            .values(status=status, **values)
        )
        return bool(moved.rowcount)

    async def why_not_moved(
        self, connection: AsyncConnection, key: str, from_statuses: Collection[LedgerStatus]
    ) -> LedgerError:
        """Say why a row could not be moved."""
        found = await self.status(connection, key)
        return LedgerError(
            f"row {key} is {found}, not {' or '.join(from_statuses)}" if found else f"there is no row {key}"
        )


def _plain(text: str | None) -> str | None:
    return None if text is None else str(text)


_VERSION_NAME = "schema_version"


def _interview_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("row_index", sa.BigInteger, nullable=False),
        sa.Column("contact_email", PersonalText),
        sa.Column("address_hash", sa.Text, nullable=False),
        sa.Column("sequence_id", sa.Text),
        sa.Column("interview_type_id", sa.Text),
        sa.Column("deal_id", sa.Text),
        sa.Column("caller_key", PersonalText),
        sa.Column("request", JsonText),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("interview_request_id", sa.BigInteger),
        sa.Column("contact_id", sa.Text),
        sa.Column("interview_status", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("received", JsonText),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("planned_at", Timestamp, nullable=False),
        sa.Column("sending_at", Timestamp),
        sa.Column("finished_at", Timestamp),
        sa.Column("due_at", Timestamp),
        sa.Column("pauses", sa.Integer, nullable=False),
        sa.Column("read_at", Timestamp),
        sa.Column("completed_at", Timestamp),
    ]


def _index_few(prefix: str, interviews: sa.Table) -> None:
    """Find quickly what few rows have, however many there are: a body that is to be sent, an interview that was made."""
    for name, column, is_there in (
        ("queued", interviews.c.due_at, interviews.c.request.is_not(None)),
        ("made", interviews.c.interview_request_id, interviews.c.interview_request_id.is_not(None)),
    ):
        sa.Index(f"{prefix}interviews_{name}", column, sqlite_where=is_there, postgresql_where=is_there)


def planned(row: LedgerRow, planned_at: datetime, *, store_address: bool) -> dict[str, Any]:
    """Return the stored values of a row that was not seen before."""
    return {
        "key": row.key,
        "row_index": row.row_index,
        "contact_email": row.contact_email if store_address else None,
        "address_hash": hash_of(row.contact_email),
        "sequence_id": row.sequence_id,
        "interview_type_id": row.interview_type_id,
        "deal_id": row.deal_id,
        "caller_key": row.caller_key if store_address else None,
        "request": row.request,
        "status": LedgerStatus.QUEUED if row.request else LedgerStatus.PLANNED,
        "attempts": 0,
        "planned_at": planned_at,
        "pauses": 0,
    }
