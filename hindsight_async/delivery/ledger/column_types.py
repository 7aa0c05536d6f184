"""The types of a ledger's columns, the same in every database; what is personal stays out of the drivers' logs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa


class Timestamp(sa.TypeDecorator[datetime]):
    """An aware datetime; kept as ISO 8601 text in UTC where the database has no such type."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the column's type."""
        if _is_postgresql(dialect):
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | str | None:
        """Return what is stored."""
        if value is None or _is_postgresql(dialect):
            return value
        return value.astimezone(UTC).isoformat()

    def process_result_value(self, value: datetime | str | None, dialect: sa.Dialect) -> datetime | None:
        """Return the time that was stored."""
        del dialect
        return datetime.fromisoformat(value) if isinstance(value, str) else value


class _Unlogged(str):
    """A text that no log shows, since the drivers' own log what they are given and return as `repr` has it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class PersonalText(sa.TypeDecorator[str]):
    """Text that stays out of the logs of SQLAlchemy and of the drivers, also at their DEBUG level."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return what is stored."""
        del dialect
        return None if value is None else _Unlogged(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return the text that was stored, which `Tables.read` makes a plain one."""
        del dialect
        return None if value is None else _Unlogged(value)


class JsonText(sa.TypeDecorator[Mapping[str, Any]]):
    """A mapping as JSON text; NULL where it is empty."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: sa.Dialect) -> str | None:
        """Return what is stored."""
        del dialect
        # In ASCII, so that no server refuses it for a character.
        return _Unlogged(json.dumps(value)) if value else None

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Mapping[str, Any]:
        """Return the mapping that was stored."""
        del dialect
        return {} if value is None else cast("dict[str, Any]", json.loads(value))


def _is_postgresql(dialect: sa.Dialect) -> bool:
    return dialect.name == "postgresql"
