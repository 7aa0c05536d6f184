"""A ledger behind PgBouncer in transaction mode, where each transaction may have another of the server's sessions."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

import pgbouncer_server
from hindsight_async import CreateInterview, HindsightSession, Ledger, LedgerStatus, OutcomeStatus, Plan
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.emulator import Emulator

RUNS = 4

NOTE_SETTINGS = (
    "CREATE TABLE noted (durable text, may_stand_still text)",
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO noted SELECT current_setting('synchronous_commit'), current_setting('idle_in_transaction_session_timeout');
        RETURN NEW;
    END $$""",
    "CREATE TRIGGER noting AFTER INSERT ON hindsight_interviews FOR EACH ROW EXECUTE FUNCTION note()",
)
"""Has the database itself note under which settings a row is written."""

pytestmark = pytest.mark.servers


@pytest.fixture
def pooled(postgres, database):
    """Return the URL of the database behind a pooler."""
    with pgbouncer_server.running(postgres) as port:
        yield postgres.url(database, port=port, lease=3)


def test_runs_behind_a_pooler_divide_their_rows(pooled):
    """More runs than the server has sessions for: each row leaves once, and each run has a verdict on every row."""
    everyone = [
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="s") for number in range(80)
    ]

    async def enroll(hindsight):
        async with hindsight.interviews.create_many(everyone, ledger=pooled) as run:
            async for _ in run:
                pass
        return run.counts

    async def divide():
        async with Emulator(requests_per_minute=1_000_000) as emulator, AsyncExitStack() as opened:
            settings = {"base_url": emulator.base_url, "plan": Plan.ENTERPRISE, "max_in_flight": 4}
            sessions = [
                await opened.enter_async_context(HindsightSession(emulator.api_key, **settings))
                for _ in range(RUNS)
            ]
            counts = await asyncio.gather(*map(enroll, sessions))
            return counts, Counter(email.address for email in emulator.outbox)

    counts, sent = asyncio.run(divide())
    assert dict.fromkeys((each.contact_email for each in everyone), 1) == sent
    assert len(everyone) == sum(each[OutcomeStatus.CREATED] for each in counts)
    assert {len(everyone)} == {sum(each.values()) for each in counts}


def test_a_person_reads_and_decides_behind_a_pooler(pooled):
    """Reading page by page, counting and resolving need no session either."""

    async def use():
        ledger = Ledger(pooled)
        async with ledger.run() as run:
            await run.claim(
                [
                    LedgerRow(key=f"k{number}", row_index=number, contact_email="a@b.test")
                    for number in range(1200)
                ]
            )
            await run.sending("k7")
            await run.finished("k7", LedgerStatus.UNKNOWN, attempts=1)
            await ledger.resolve("k7", created=4821)
            assert 1200 == len([entry async for entry in ledger.entries()])
        return await ledger.counts()

    counts = asyncio.run(use())
    assert (1, 1199) == (counts[LedgerStatus.CREATED], counts[LedgerStatus.PLANNED])


def test_every_commit_is_durable_and_no_transaction_stands_still(pooled, postgres, database):
    """Whatever the database's own defaults are, and though a session's settings are not the run's to make."""
    postgres.execute(database, f"ALTER DATABASE {database} SET synchronous_commit = off")

    async def write(key):
        async with Ledger(pooled).run() as run:
            await run.claim([LedgerRow(key=key, row_index=0, contact_email="a@b.test")])

    asyncio.run(write("makes the tables"))
    for statement in NOTE_SETTINGS:
        postgres.execute(database, statement)
    asyncio.run(write("is noted"))
    assert [("on", "5s")] == postgres.execute(database, "SELECT DISTINCT durable, may_stand_still FROM noted")
