"""A database that restarts or loses connections is waited for, and what was asked of it is done exactly once."""

import asyncio
import logging
from contextlib import asynccontextmanager

import asyncpg
import pytest
import sqlalchemy as sa

import postgres_proxy
from hindsight_async import Delivery, Ledger, LedgerError, LedgerInUseError, LedgerStatus
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.delivery.ledger.postgres import PostgresBackend
from postgres_server import PASSWORD

LOSSES = ["request", "answer"]
"""What of a COMMIT is lost: after the first nothing is on disk, after the second all of it."""

TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hindsight-async'"
)

pytestmark = pytest.mark.servers


def row(number):
    return LedgerRow(key=f"key-{number:06}", row_index=number, contact_email=f"person{number}@ours.test")


def rows(*numbers):
    return [row(number) for number in numbers]


KEY = row(0).key


@pytest.fixture
def direct(postgres, database):
    return postgres.url(database)


@pytest.fixture
def through_proxy(postgres, database):
    """Return a block that has a proxy before the server, and a run that goes through it."""

    @asynccontextmanager
    async def opened(**parameters):
        async with postgres_proxy.running(postgres.port) as proxy:
            url = postgres.url(database, port=proxy.port, **parameters)
            async with Ledger(url).run() as run:
                yield proxy, run

    return opened


async def entry_of(url, key=KEY):
    return (await Ledger(url).known([key]))[key]


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_written_over_a_connection_that_breaks_is_written_once(through_proxy, direct, loss):
    """Whatever a row's life is at: the caller hears no error, and finds its own work done, and done once."""

    async def live():
        async with through_proxy() as (proxy, run):

            async def over_a_break(step):
                proxy.lose(loss)
                done = await step
                assert proxy.lost.is_set()
                return done

            assert {} == await over_a_break(run.claim(rows(0)))
            await over_a_break(run.sending(KEY))
            await over_a_break(run.not_processed(KEY))
            await over_a_break(run.sending(KEY))
            await over_a_break(run.finished(KEY, LedgerStatus.CREATED, attempts=2, interview_request_id=7))
        return await entry_of(direct)

    entry = asyncio.run(live())
    assert (LedgerStatus.CREATED, 2, 7) == (entry.status, entry.attempts, entry.interview_request_id)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_claim_that_is_cancelled_while_it_waits_holds_nothing(through_proxy, direct, loss):
    """The cancellation is not kept waiting, and once the database is back others have the rows."""

    async def cancel():
        async with through_proxy() as (proxy, run), Ledger(direct).run() as other:
            proxy.lose(loss)
            claiming = asyncio.create_task(run.claim(rows(0, 1)))
            proxy.is_shut = True
            await proxy.lost.wait()
            claiming.cancel()
            await asyncio.wait([claiming])
            assert claiming.cancelled()
            proxy.is_shut = False
            await run.claim(rows(2))
            return await other.claim(rows(0, 1))

    assert {True} == {entry.may_be_sent for entry in asyncio.run(cancel()).values()}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mark_that_is_cancelled_while_it_waits_has_sent_nothing(through_proxy, direct, loss):
    """Whether or not the mark got through, it is taken back."""

    async def cancel():
        async with through_proxy() as (proxy, run):
            await run.claim(rows(0))
            proxy.lose(loss)
            marking = asyncio.create_task(run.sending(KEY))
            proxy.is_shut = True
            await proxy.lost.wait()
            marking.cancel()
            await asyncio.wait([marking])
            assert marking.cancelled()
            proxy.is_shut = False
        return (await entry_of(direct)).status

    assert LedgerStatus.NOT_SENT == asyncio.run(cancel())


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_what_others_may_have_taken_meanwhile_is_not_sent(through_proxy, direct, loss):
    """The lease ended while the database was away for one run alone: neither its mark nor its claim counts any more."""

    async def come_back():
        async with through_proxy(lease=0.4) as (proxy, run), Ledger(direct).run() as other:
            await run.claim(rows(0, 1))
            proxy.lose(loss)
            marking = asyncio.create_task(run.sending(KEY))
            proxy.is_shut = True
            await proxy.lost.wait()
            while (await other.claim(rows(1)))[row(1).key].in_hand:
                pass  # the lease is real, and its end the database's to say
            await other.claim(rows(0))
            proxy.is_shut = False
            for lost in (marking, run.sending(row(1).key)):
                with pytest.raises(LedgerInUseError):
                    await lost
            return (await other.claim(rows(0)))[KEY]

    assert asyncio.run(come_back()).status.may_be_sent


@pytest.mark.parametrize("loss", LOSSES)
def test_an_outcome_that_was_waited_for_in_vain_is_written_at_the_end(through_proxy, direct, loss):
    """Also where it was there all the time: it counts as recorded, and once."""

    async def be_late():
        async with through_proxy(outage_seconds=0.1) as (proxy, run):
            await run.claim(rows(0))
            await run.sending(KEY)
            proxy.lose(loss)
            proxy.is_shut = True
            with pytest.raises(LedgerError) as raised:
                await run.finished(KEY, LedgerStatus.CREATED, attempts=1, interview_request_id=7)
            proxy.is_shut = False
        return raised.value, run.recorded_late, await entry_of(direct)

    error, late, entry = asyncio.run(be_late())
    assert Delivery.UNKNOWN is error.delivery
    assert {KEY} == set(late)
    assert (LedgerStatus.CREATED, 1, 7) == (entry.status, entry.attempts, entry.interview_request_id)


def test_connections_that_an_administrator_ends_are_opened_anew(direct, postgres, database):
    """Before each step of a row's life, and the run goes on."""

    async def live():
        async with Ledger(direct).run() as run:
            for step in (
                lambda: run.claim(rows(0)),
                lambda: run.sending(KEY),
                lambda: run.finished(KEY, LedgerStatus.CREATED, attempts=1),
            ):
                await asyncio.to_thread(postgres.execute, database, TERMINATE)
                await step()
        return (await entry_of(direct)).status

    assert LedgerStatus.CREATED == asyncio.run(live())


def test_a_server_that_restarts_is_waited_for(direct, postgres, caplog):
    """Concurrent calls wait for it together; the log says so once, and when it is back, without the password."""
    caplog.set_level(logging.INFO, "hindsight_async.delivery")

    async def live():
        async with Ledger(direct).run() as run:
            await run.claim(rows(*range(20)))
            await asyncio.to_thread(postgres.stop)
            marking = [asyncio.create_task(run.sending(row(number).key)) for number in range(20)]
            await asyncio.to_thread(postgres.start)
            await asyncio.gather(*marking)

    asyncio.run(live())
    said = [record.getMessage() for record in caplog.records if record.name == "hindsight_async.delivery"]
    (away, back) = said
    assert "it cannot be reached" in away
    assert "waiting up to 120 s for it" in away
    assert "is back after" in back
    assert PASSWORD not in away + back


def test_a_database_that_is_not_there_when_a_run_begins_is_not_waited_for():
    """Nothing has begun that could be lost, and a wrong address is better said at once."""

    async def begin():
        async with Ledger("postgresql://owner:secret@127.0.0.1:1/x?outage_seconds=3600").run():
            pass

    with pytest.raises(LedgerError, match="it cannot be reached"):
        asyncio.run(begin())


def test_one_run_has_one_number_for_each_transaction(direct, postgres, database):
    """The run's own row says which was the last; runs that ended leave none."""

    async def live():
        async with Ledger(direct).run() as run:
            seen = []
            for number in range(3):
                await run.claim(rows(number))
                query = "SELECT written FROM hindsight_runs"
                seen += await asyncio.to_thread(postgres.execute, database, query)
            return seen

    assert [(1,), (2,), (3,)] == asyncio.run(live())
    assert [] == postgres.execute(database, "SELECT * FROM hindsight_runs")


def test_a_connection_that_the_driver_finds_half_ended_counts_as_lost():
    """The driver's own confusion about it is one more way to hear that the server has ended it."""
    backend = PostgresBackend(sa.make_url("postgresql+asyncpg://owner@127.0.0.1/x"))
    with pytest.raises(LedgerError) as met, backend.failures():
        raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
    assert backend.is_away(met.value)
