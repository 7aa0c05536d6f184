"""Whoever turns on every log, to look for a fault, finds nobody's address in it."""

import asyncio
import logging

import pytest

from hindsight_async import Ledger, LedgerError, LedgerStatus
from hindsight_async.delivery.ledger.entries import LedgerRow

WHO = "quist@acme.example"
LOGGERS = ("aiosqlite", "asyncio", "asyncpg", "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool")


@pytest.fixture
def every_log(caplog):
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in ("", *LOGGERS):
        caplog.set_level(logging.DEBUG, name)
    yield caplog
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def row(key="k", **changes):
    return LedgerRow(**{"key": key, "row_index": 0, "contact_email": WHO, "sequence_id": "s"} | changes)


async def use(ledger):
    """Write, find, read and finish rows, and have one refused by the database."""
    async with ledger.run() as run:
        await run.claim([row(), row("k2")])
        await run.claim([row()])
        await run.sending("k")
        await run.finished("k", LedgerStatus.CREATED, attempts=1, interview_request_id=7)
        with pytest.raises(LedgerError) as raised:
            await run.claim([row("k3", row_index=2**70)])
    known = await ledger.known(["k"])
    entries = [entry async for entry in ledger.entries()]
    return raised.value, [known["k"], *entries]


def causes(error):
    while error is not None:
        yield f"{error!r} {error}"
        error = error.__cause__ or error.__context__


def check(ledger, caplog):
    error, entries = asyncio.run(use(ledger))
    assert {(str, WHO)} == {(type(entry.contact_email), entry.contact_email) for entry in entries}
    assert [] == [line for line in caplog.text.splitlines() if "quist" in line]
    assert [] == [text for text in causes(error) if "quist" in text]


def test_no_address_is_logged_of_a_file(tmp_path, every_log):
    """The driver logs each statement with its values, SQLAlchemy each row that it reads."""
    check(Ledger(tmp_path / "autumn.db"), every_log)
    logged = {record.name for record in every_log.records}
    assert {"aiosqlite", "sqlalchemy.engine.Engine"} <= logged
    assert "INSERT INTO interviews" in every_log.text


@pytest.mark.servers
def test_no_address_is_logged_of_a_database(postgres, database, every_log):
    """Nor by what the server or its driver say of a value that they do not take."""
    check(Ledger(postgres.url(database)), every_log)
    assert "sqlalchemy.engine.Engine" in {record.name for record in every_log.records}
