"""A person is forgotten: nothing that names them is left in the ledger, and nothing is sent to them by what it has."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hindsight_async import (
    CreateInterview,
    Delivery,
    Forgotten,
    HindsightSession,
    Ledger,
    LedgerError,
    LedgerInUseError,
    LedgerRow,
    LedgerStatus,
    NotSentError,
    OutcomeStatus,
    Plan,
)
from hindsight_async.delivery.ledger.entries import FINISHED
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.recipients import interview_key

pytestmark = pytest.mark.usefixtures("in_memory")

WHO = "quist.zander@acme.example"
SECRETS = (b"quist", b"zander", b"Quist", b"hobbyhorse", b"dealkey77")
NOTHING = Forgotten(rows=0, addresses=0, requests=0, caller_keys=0, contexts=0, expired=0)


def row(key="k", address=WHO, **changes):
    fields = {"row_index": 0, "contact_email": address, "sequence_id": "s"}
    return LedgerRow(**{"key": key, **fields, **changes})


def body(address=WHO):
    return {"contact_email": address, "contact_name": "Quist", "contact_context": {"likes": "hobbyhorse"}}


async def bring_to(run, key, status, address=WHO):
    """Claim a row that has everything, and take it to `status`."""
    kept = body(address) if status is LedgerStatus.QUEUED else {}
    await run.claim([row(key, address, caller_key=f"dealkey77 {key}", request=kept)])
    if status not in (LedgerStatus.PLANNED, LedgerStatus.QUEUED):
        await run.sending(key)
    if status in FINISHED:
        said = {"error_message": "Quist has left", "received": {"name": "Quist"}}
        context = {"likes": "hobbyhorse"} if status is LedgerStatus.CREATED else None
        await run.finished(key, status, attempts=1, interview_request_id=5, context=context, **said)


def found_in(ledger):
    """Return which of the secrets are in any byte of the ledger's files."""
    files = [file for file in ledger.files if file.exists()]
    assert files
    return {secret for secret in SECRETS for file in files if secret in file.read_bytes()}


async def entries_of(ledger):
    return {entry.key: entry async for entry in ledger.entries()}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "deals.db", store_contexts=True)


SOME = [status for status in LedgerStatus if status is not LedgerStatus.SENDING]


async def fill(ledger, others=200):
    """Give a person a row of each status among many of others, moved about so that pages are rearranged."""
    async with ledger.run() as run:
        await run.claim([row(f"before{n}", f"other{n}@acme.example") for n in range(others)])
        for status in SOME:
            await bring_to(run, f"row-{status}", status)
        await run.claim([row(f"after{n}", f"more{n}@acme.example") for n in range(others)])


async def check_forgotten(ledger):
    before = await entries_of(ledger)
    expected = Forgotten(rows=8, addresses=8, requests=1, caller_keys=8, contexts=1, expired=3)
    assert expected == await ledger.forget(f" {WHO.upper()} ")
    after = await entries_of(ledger)
    assert before.keys() == after.keys()
    for status in SOME:
        old, new = before[f"row-{status}"], after[f"row-{status}"]
        assert (None, None, None, {}) == (new.contact_email, new.caller_key, new.error_message, new.received)
        assert (old.address_hash, old.attempts, old.planned_at) == (
            new.address_hash,
            new.attempts,
            new.planned_at,
        )
        ended = LedgerStatus.EXPIRED if status.may_be_sent else status
        code = "forgotten" if status.may_be_sent else None
        assert (ended, code, old.interview_request_id) == (
            new.status,
            new.error_code,
            new.interview_request_id,
        )
    assert {entry.contact_email for entry in before.values()} - {WHO} == {
        entry.contact_email for entry in after.values()
    } - {None}
    assert set() == await ledger.interviews_remembered([5])
    again = Forgotten(rows=8, addresses=0, requests=0, caller_keys=0, contexts=0, expired=0)
    assert again == await ledger.forget(WHO)
    assert NOTHING == await ledger.forget("nobody@acme.example")


async def test_nothing_of_a_person_is_left_in_any_byte_of_the_files(ledger):
    """Address, name, body, key's text and context are in no page, free or used, and in no log; the others stay whole."""
    await fill(ledger)
    assert set(SECRETS) - {b"Quist"} <= found_in(ledger)
    await check_forgotten(ledger)
    assert set() == found_in(ledger)


async def test_what_other_programs_left_in_free_pages_goes_too(ledger):
    """Rows that were deleted by hand, as with the sqlite3 shell, lie in the file until it is written anew."""
    await fill(ledger, others=5)
    with closing(sqlite3.connect(ledger.name)) as opened:
        opened.execute("PRAGMA secure_delete=OFF")
        with opened:
            opened.execute("UPDATE interviews SET error_message = hex(zeroblob(9000)) || contact_email")
            opened.execute("DELETE FROM interviews WHERE contact_email = ?", (WHO,))
            opened.execute("DELETE FROM contexts")
    assert {b"quist", b"hobbyhorse"} <= found_in(ledger)
    assert NOTHING == await ledger.forget(WHO)
    assert set() == found_in(ledger)


async def test_a_person_is_forgotten_while_a_run_is_on(ledger):
    """The log that the run has open is emptied too; what the run had in hand of them is not sent, and the run goes on."""
    async with ledger.run() as run:
        await run.claim([row("k"), row("other", "joe@acme.example")])
        await bring_to(run, "queued", LedgerStatus.QUEUED)
        assert 2 == (await Ledger(ledger.name).forget(WHO)).expired
        assert set() == found_in(ledger)
        with pytest.raises(LedgerInUseError, match="row k is expired, not planned or queued or not_sent"):
            await run.sending("k")
        known = await run.claim([row("k"), row("queued")])
        assert {(LedgerStatus.EXPIRED, False, None)} == {
            (entry.status, entry.may_be_sent, entry.contact_email) for entry in known.values()
        }
        await run.finished(
            "k", LedgerStatus.NOT_SENT, attempts=0
        )  # as one says that gave it up before it left
        with pytest.raises(LedgerError, match="row k is expired"):
            await run.finished("k", LedgerStatus.CREATED, attempts=1)
        await run.sending("other")
        await run.finished("other", LedgerStatus.CREATED, attempts=1)
    assert LedgerStatus.EXPIRED == (await entries_of(ledger))["k"].status
    assert set() == found_in(ledger)


async def test_nobody_is_forgotten_while_their_request_is_on_its_way(ledger):
    """It is refused, and nothing has changed; once the request has ended it works."""
    async with ledger.run() as run:
        await bring_to(run, "created", LedgerStatus.CREATED)
        await bring_to(run, "k", LedgerStatus.SENDING)
        before = await entries_of(ledger)
        with pytest.raises(LedgerInUseError, match="a request to this person is on its way") as raised:
            await ledger.forget(WHO)
        assert "quist" not in str(raised.value)
        assert (before, {5}) == (await entries_of(ledger), await ledger.interviews_remembered([5]))
        await run.finished("k", LedgerStatus.CREATED, attempts=1, context="hobbyhorse")
        assert (2, 1) == ((gone := await ledger.forget(WHO)).addresses, gone.contexts)
    assert set() == found_in(ledger)


async def test_what_a_dead_run_was_sending_is_unknown_and_forgotten(ledger):
    """Nobody is at it any more."""
    async with ledger.run() as run:
        await bring_to(run, "k", LedgerStatus.PLANNED)
    with closing(sqlite3.connect(ledger.name)) as opened, opened:
        opened.execute("UPDATE interviews SET status = 'sending'")
    assert (1, 0) == ((gone := await ledger.forget(WHO)).addresses, gone.expired)
    assert {LedgerStatus.UNKNOWN} == {entry.status for entry in (await entries_of(ledger)).values()}


async def test_the_person_is_not_emailed_by_the_same_input_again(ledger):
    """Once created, once never sent: both are known by their hash, and neither leaves."""
    requests = [CreateInterview(contact_email=WHO, sequence_id=f"seq_{n}") for n in range(2)]
    async with (
        Emulator(plan=Plan.ENTERPRISE) as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE) as hindsight,
    ):
        interviews = hindsight.interviews
        async with ledger.run() as run:
            await interviews.create_once(requests[0], ledger=run)
            await run.claim([row(interview_key(requests[1]))])
        await ledger.forget(WHO)
        async with interviews.create_many(requests, ledger=ledger) as bulk:
            outcomes = {outcome.index: outcome async for outcome in bulk}
        async with ledger.run() as run:
            with pytest.raises(NotSentError, match="the ledger has it as expired: forgotten") as raised:
                await interviews.create_once(requests[1], ledger=run)
        assert 1 == len(emulator.outbox)
    assert [OutcomeStatus.ALREADY_DONE] * 2 == [outcomes[n].status for n in range(2)]
    assert [None, Delivery.NOT_SENT] == [outcomes[n].error and outcomes[n].error.delivery for n in range(2)]
    assert raised.value.is_earlier
    assert set() == found_in(ledger)


async def test_a_bulk_run_goes_on_without_whom_it_may_not_email_any_more(ledger):
    """Forgotten between claim and send, the row has its verdict and the others are sent."""
    requests = [
        CreateInterview(contact_email=address, sequence_id="s")
        for address in ("a@acme.example", WHO, "b@acme.example")
    ]
    async with (
        Emulator(plan=Plan.ENTERPRISE) as emulator,
        HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, max_in_flight=1
        ) as hindsight,
    ):
        emulator.fail("POST /interviews", how="slow", seconds=5)
        async with hindsight.interviews.create_many(requests, ledger=ledger) as bulk:
            forgetting = asyncio.create_task(forget_once_planned(ledger, 2))
            outcomes = {outcome.index: outcome async for outcome in bulk}
            await forgetting
        assert ["a@acme.example", "b@acme.example"] == sorted(email.address for email in emulator.outbox)
    assert ["created", "already_done", "created"] == [outcomes[n].status.value for n in range(3)]
    assert "forgotten" in str(outcomes[1].error)


async def test_a_queue_sends_to_nobody_who_was_forgotten(ledger):
    """Neither what it had claimed nor what still lay there; put again it is not sent, and the others are."""
    requests = [
        CreateInterview(contact_email=address, sequence_id=f"s{n}", contact_context={"likes": "hobbyhorse"})
        for n, address in enumerate(["a@acme.example", WHO, "b@acme.example", WHO])
    ]
    async with (
        Emulator(plan=Plan.ENTERPRISE) as emulator,
        HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, max_in_flight=1
        ) as hindsight,
    ):
        emulator.fail("POST /interviews", how="slow", seconds=5)
        async with hindsight.interviews.queue(ledger) as queue:
            await queue.put_many(requests)
            await asyncio.sleep(2)
            gone = await ledger.forget(WHO)
            assert (2, 2, 2) == (gone.addresses, gone.requests, gone.expired)
            await queue.drain(60)
            again = await queue.put(requests[1])
            await queue.drain(60)
        assert ["a@acme.example", "b@acme.example"] == sorted(email.address for email in emulator.outbox)
    assert (False, LedgerStatus.EXPIRED) == (again.is_new, again.status)
    await ledger.forget("a@acme.example")
    await ledger.forget("b@acme.example")
    assert set() == found_in(ledger)


async def test_what_a_person_releases_a_queue_sends_however_old_it_is(tmp_path):
    """It has its body yet, and its age counts from then on; what was created has none any more."""
    moment = datetime(2026, 9, 1, tzinfo=UTC)
    times = [moment]
    ledger = Ledger(tmp_path / "q.db", now=lambda: times[0])
    async with (
        Emulator(plan=Plan.ENTERPRISE) as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE) as hindsight,
    ):
        async with hindsight.interviews.queue(ledger, send=False) as queue:
            await queue.put(CreateInterview(contact_email=WHO, sequence_id="s"))
            await queue.put(CreateInterview(contact_email="b@acme.example", sequence_id="s"))
        times[0] += timedelta(days=30)
        async with hindsight.interviews.queue(ledger) as queue:
            await queue.drain(60)
        assert [] == emulator.outbox
        expired = {
            entry.contact_email: entry.key async for entry in ledger.entries(status=LedgerStatus.EXPIRED)
        }
        assert {WHO, "b@acme.example"} == expired.keys()
        await ledger.resolve(expired[WHO], not_created=True)
        async with hindsight.interviews.queue(ledger) as queue:
            await queue.drain(60)
        assert [WHO] == [email.address for email in emulator.outbox]


async def forget_once_planned(ledger, rows):
    while sum((await ledger.counts()).values()) < rows:
        await asyncio.sleep(0.1)
    await ledger.forget(WHO)


async def test_a_log_that_another_program_reads_is_said(ledger, monkeypatch):
    """The rows are erased, and the text says what is left to do; once it is done again, the bytes are gone."""
    from hindsight_async.delivery.ledger import sqlite as backend

    await fill(ledger, others=5)
    monkeypatch.setattr(backend, "BUSY_SECONDS", 0.01)
    short = Ledger(ledger.name)
    async with ledger.run():
        with closing(sqlite3.connect(ledger.name, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM interviews").fetchone()
            with pytest.raises(
                LedgerError, match=r"another program keeps it locked.*the rows are erased, but"
            ):
                await short.forget(WHO)
        assert b"zander" in found_in(ledger)
        assert 0 == (await short.forget(WHO)).addresses
        assert set() == found_in(ledger)


@pytest.mark.parametrize("address", ["", "jane", "@acme.example", "jane@", " @ "])
async def test_what_is_no_address_is_a_wrong_argument(ledger, address):
    """A name, or half an address, would find nobody and look like success."""
    with pytest.raises(ValueError, match="address must be one email address") as raised:
        await ledger.forget(address)
    assert "jane" not in str(raised.value)
    with pytest.raises(TypeError, match="address must be text"):
        await ledger.forget(None)
    with pytest.raises(LedgerError, match="there is no ledger at"):
        await ledger.forget(WHO)


WORD = st.text(st.characters(codec="ascii", categories=["Ll", "Lu", "Nd"]), min_size=12, max_size=20)


@settings(max_examples=10)
@given(
    words=st.lists(WORD, min_size=4, max_size=4, unique_by=str.lower),
    others=st.integers(0, 20),
    size=st.integers(1, 9000),
)
def test_any_person_is_forgotten_whole(words, others, size, tmp_path_factory):
    """Whatever the sizes, over how many pages ever: not one of their words is left."""
    name, domain, key, note = words
    ledger = Ledger(tmp_path_factory.mktemp("any") / "a.db", store_contexts=True)
    address = f"{name}@{domain}.example"

    async def fill_and_forget():
        async with ledger.run() as run:
            kept = {"contact_email": address.lower(), "contact_context": note * size}
            await run.claim([row("k", address.lower(), caller_key=key, request=kept)])
            await run.claim(
                [row(f"other{n}", f"{n}@ours.test", request={"-": "-" * size}) for n in range(others)]
            )
            await run.claim([row("k2", address.lower(), caller_key=key)])
            await run.sending("k2")
            await run.finished("k2", LedgerStatus.CREATED, attempts=1, context={"note": note * size})
            for n in range(others):
                await run.sending(f"other{n}")
                await run.finished(f"other{n}", LedgerStatus.CREATED, attempts=1, context="." * size)
        return await ledger.forget(address)

    forgotten = asyncio.run(fill_and_forget())
    assert Forgotten(rows=2, addresses=2, requests=1, caller_keys=2, contexts=1, expired=1) == forgotten
    left = b"".join(file.read_bytes() for file in ledger.files if file.exists())
    assert [] == [word for word in (name.lower(), domain.lower(), key, note) if word.encode() in left]


@pytest.mark.servers
def test_a_database_forgets_too(postgres, database):
    """Its rows say no more of the person, and its tables are vacuumed; a run beside it does not send to them."""
    ledger = Ledger(postgres.url(database), store_contexts=True)

    async def beside_a_run():
        async with ledger.run() as run:
            await run.claim([row("in hand"), row("other", "joe@acme.example")])
            assert 1 == (await Ledger(postgres.url(database)).forget(WHO)).expired
            with pytest.raises(LedgerInUseError, match="row in hand is expired"):
                await run.sending("in hand")
            await run.sending("other")
            await bring_to(run, "k", LedgerStatus.SENDING)
            with pytest.raises(LedgerInUseError, match="on its way"):
                await ledger.forget(WHO)

    asyncio.run(fill(ledger, others=5))
    asyncio.run(check_forgotten(ledger))
    asyncio.run(beside_a_run())
    asyncio.run(ledger.forget(WHO))
    for table in ("interviews", "contexts"):
        lines = postgres.execute(database, f"SELECT x::text FROM hindsight_{table} x")
        assert [] == [line for (line,) in lines if any(secret.decode() in line for secret in SECRETS)]
    dead = postgres.execute(
        database,
        "SELECT count(*) FROM pg_stat_user_tables WHERE relname LIKE 'hindsight_%' AND last_vacuum IS NOT NULL",
    )
    assert [(2,)] == dead


@pytest.mark.servers
def test_a_vacuum_that_cannot_be_made_is_told(postgres, database):
    """Another program holds the table: the rows are erased all the same."""
    ledger = Ledger(postgres.url(database), store_contexts=True)
    asyncio.run(fill(ledger, others=1))

    async def forget():
        from hindsight_async.delivery.ledger import postgres as backend

        url = postgres.url(database)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "COMMAND_SECONDS", 0.5)
            short = Ledger(url)
        holder = await hold(postgres, database)
        try:
            return await short.forget(WHO)
        finally:
            await holder.close()

    forgotten = asyncio.run(forget())
    assert (8, False) == (forgotten.addresses, forgotten.vacuumed)


async def hold(postgres, database):
    import asyncpg

    holder = await asyncpg.connect(postgres.url(database).replace("+asyncpg", ""))
    await holder.execute("BEGIN")
    await holder.execute("LOCK TABLE hindsight_interviews IN SHARE UPDATE EXCLUSIVE MODE")
    return holder
