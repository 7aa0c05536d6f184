"""Where a ledger is: a file by its path or URL, or a database by its URL."""

import os
import re
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from hindsight_async.delivery.ledger.postgres import PostgresBackend
from hindsight_async.delivery.ledger.run_connection import Backend
from hindsight_async.delivery.ledger.sqlite import SqliteBackend

POSTGRESQL: Final = {"postgres", "postgresql", "postgresql+asyncpg"}


def without_password(location: str) -> str:
    """Return a location as it may be shown; ValueError where it is neither a path nor a URL."""
    if "://" not in location:
        return location
    return (
        _url(location)
        .difference_update_query(["password", "sslpassword"])
        .render_as_string(hide_password=True)
    )


def open_backend(location: str | os.PathLike[str]) -> Backend:
    """Return the backend at a path, `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://…`.

    Raises:
        ValueError: It is another URL, or none.
        ModuleNotFoundError: The driver is not installed.

    """
    text = os.fspath(location)
    if "://" not in text:
        return SqliteBackend(text)
    url = _url(text)
    if url.drivername in POSTGRESQL:
        if re.search("[?&]ledger=(&|$)", text):
            # SQLAlchemy leaves it out, and another ledger would be taken, which does not know who was emailed.
            raise ValueError("ledger in the ledger's URL has no value: give one, or leave it out")
        return PostgresBackend(url.set(drivername="postgresql+asyncpg"))
    if url.get_backend_name() != "sqlite" or url.query:
        raise ValueError(
            "a ledger is kept in SQLite or PostgreSQL: give sqlite+aiosqlite:///PATH or"
            f" postgresql+asyncpg://USER@HOST/DATABASE, not {url.drivername}"
        )
    return SqliteBackend(url.database or "")


def _url(text: str) -> sa.URL:
    try:
        return sa.make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: what could not be read may be a password.
        raise ValueError("the ledger's location is neither a path nor a database URL") from None
