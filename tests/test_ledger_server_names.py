"""One database holds several ledgers, each named in its URL."""

import asyncio

import pytest

from hindsight_async import Ledger
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.delivery.ledger.postgres_url import LONGEST_LEDGER_NAME

pytestmark = pytest.mark.servers

NAMES = ["", "autumn", "a" * LONGEST_LEDGER_NAME]


def url_of(postgres, database, name):
    return postgres.url(database, ledger=name) if name else postgres.url(database)


def row(name):
    return LedgerRow(key="key", row_index=len(name), contact_email="person@ours.test")


def test_ledgers_of_one_database_know_nothing_of_each_other(postgres, database):
    """The same row is new to each, though all are at work together, and each has tables of its own."""

    async def claim(name):
        async with Ledger(url_of(postgres, database, name)).run() as run:
            return await run.claim([row(name)])

    async def use():
        claimed = await asyncio.gather(*map(claim, NAMES))
        known = [await Ledger(url_of(postgres, database, name)).known(["key"]) for name in NAMES]
        return claimed, [each["key"].row_index for each in known]

    assert ([{}] * len(NAMES), list(map(len, NAMES))) == asyncio.run(use())
    tables = postgres.execute(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    prefixes = ["hindsight_" + (f"{name}_" if name else "") for name in NAMES]
    assert {
        f"{prefix}{table}" for prefix in prefixes for table in ("contexts", "interviews", "meta", "runs")
    } == {table for (table,) in tables}
    indexes = postgres.execute(database, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")
    assert len(indexes) == len(set(indexes))


def test_a_ledgers_name_is_shown(postgres, database):
    """Texts that name the place say which ledger it is."""
    shown = f"postgresql://127.0.0.1:{postgres.port}/{database}"
    assert shown == Ledger(postgres.url(database)).name
    assert f"{shown}?ledger=autumn" == Ledger(postgres.url(database, ledger="autumn")).name
