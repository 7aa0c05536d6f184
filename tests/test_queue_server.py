"""A queue in PostgreSQL: many processes put and send, and each row goes once."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from hindsight_async import CreateInterview, HindsightSession, Ledger, LedgerStatus, Plan
from hindsight_async.delivery.ledger import queue_from_outside
from hindsight_async.emulator import Emulator

pytestmark = pytest.mark.servers


@pytest.fixture
def url(postgres, database):
    return postgres.url(database, lease=1)


def requests(number):
    return [
        CreateInterview(contact_email=f"jane{n}@acme.example", sequence_id="seq_1") for n in range(number)
    ]


@asynccontextmanager
async def queues(url, count, **options):
    """Yield an emulator and so many queues, each with a session of its own, as in so many processes."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, AsyncExitStack() as opened:
        made = []
        for _ in range(count):
            session = HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE)
            await opened.enter_async_context(session)
            made.append(await opened.enter_async_context(session.interviews.queue(url, **options)))
        yield emulator, made


@pytest.mark.slow
def test_of_many_who_put_the_same_one_makes_it(url):
    """Each event is new to exactly one of three who got it, and sent once by whichever."""

    async def main():
        async with queues(url, 3) as (emulator, opened):
            accepted = await asyncio.gather(*(queue.put_many(requests(60)) for queue in opened))
            await asyncio.gather(*(queue.drain(60) for queue in opened))
            return accepted, emulator.outbox

    accepted, outbox = asyncio.run(main())
    assert [1] * 60 == [sum(each.is_new for each in of_one) for of_one in zip(*accepted, strict=True)]
    assert 60 == len(outbox) == len({email.address for email in outbox})


@pytest.mark.slow
def test_what_a_dead_process_had_in_hand_is_taken_over(url, postgres, database):
    """Rows that it had claimed go to the living after its lease; what it was sending is in doubt."""

    async def main():
        async with queues(url, 1, send=False) as (_, (queue,)):
            await queue.put_many(requests(20))
        await asyncio.to_thread(
            postgres.execute,
            database,
            "UPDATE hindsight_interviews SET holder = 'gone',"
            " status = CASE WHEN contact_email LIKE 'jane1%' THEN 'sending' ELSE status END",
        )
        async with queues(url, 1) as (emulator, (queue,)):
            await queue.drain(60)
            return await Ledger(url).counts(), len(emulator.outbox)

    counts, sent = asyncio.run(main())
    assert (11, 9, 9) == (counts[LedgerStatus.UNKNOWN], counts[LedgerStatus.CREATED], sent)


@pytest.mark.slow
def test_what_a_process_was_sending_when_it_died_is_not_waited_for(url, postgres, database):
    """With nothing else to send, those who live call it in doubt once its lease is over, and are done."""

    async def main():
        async with queues(url, 1) as (emulator, (queue,)):
            await queue.put_many(requests(3))
            await queue.drain(60)
            await asyncio.to_thread(
                postgres.execute,
                database,
                "WITH run AS (INSERT INTO hindsight_runs VALUES ('gone', clock_timestamp() + interval '1 s', 0))"
                " INSERT INTO hindsight_interviews (key, row_index, address_hash, request, status, attempts, planned_at, pauses, holder)"
                " SELECT 'another', 0, address_hash, '{}', 'sending', 1, planned_at, 0, 'gone'"
                " FROM hindsight_interviews WHERE contact_email LIKE 'jane1%'",
            )
            waiting = (await queue_from_outside.backlog(Ledger(url))).sending
            await queue.drain(60)
            return waiting, await Ledger(url).counts(), len(emulator.outbox)

    waiting, counts, sent = asyncio.run(main())
    assert 1 == waiting
    assert (1, 3, 3) == (counts[LedgerStatus.UNKNOWN], counts[LedgerStatus.CREATED], sent)


def test_a_pause_holds_for_every_process(url):
    """What one process sets the others keep, and what another lifts is lifted for all."""

    async def main():
        async with queues(url, 2) as (emulator, opened):
            await queue_from_outside.pause(Ledger(url), "by hand")
            await opened[0].put_many(requests(5))
            await asyncio.sleep(0.05)
            held_back = len(emulator.requests)
            await queue_from_outside.lift_pause(Ledger(url))
            await asyncio.gather(*(queue.drain(60) for queue in opened))
            return held_back, len(emulator.outbox)

    assert (0, 5) == asyncio.run(main())


def test_the_backlog_is_read_with_its_times(url):
    """How many, since when, and why none goes, as on a file."""

    async def main():
        async with queues(url, 1, send=False) as (_, (queue,)):
            await queue.put_many(requests(3))
            await queue_from_outside.pause(Ledger(url), "first")
            await queue_from_outside.pause(Ledger(url), "second")
            return await queue_from_outside.backlog(Ledger(url))

    backlog = asyncio.run(main())
    assert (3, 0, "first") == (backlog.queued, backlog.sending, backlog.paused_because)
    assert backlog.oldest <= backlog.paused_at
