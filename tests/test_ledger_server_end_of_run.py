"""At its end a bulk run asks again for the rows that others had in hand: the dead let them go, the living keep them."""

import asyncio

import pytest

from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    Ledger,
    LedgerError,
    LedgerStatus,
    OutcomeStatus,
)
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.resources.interviews.recipients import interview_key
from hindsight_async.resources.interviews.rows import CREATES

DIED = """
INSERT INTO hindsight_runs VALUES ('dead', clock_timestamp() + interval '900 ms', 0);
UPDATE hindsight_interviews SET holder = 'dead' WHERE row_index < 5;
UPDATE hindsight_interviews SET status = 'sending' WHERE row_index = 0
"""
"""Some rows are in the hand of a run that died, and whose lease is not over yet; one of them it was sending."""

pytestmark = pytest.mark.servers


def request(number):
    return CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="seq_1")


def ledger_row(number):
    key = interview_key(request(number))
    return LedgerRow(key=key, row_index=number, contact_email=request(number).contact_email)


class Sender:
    """Sends at once, and keeps in `sent` what it sent."""

    def __init__(self):
        self.sent = []

    def run(self, url, count, *, max_in_flight=2):
        return BulkRun(
            map(request, range(count)),
            CREATES,
            self.send,
            open_session=lambda: None,
            ledger=Ledger(url),
            max_in_flight=max_in_flight,
            abort_after_failures=20,
        )

    async def send(self, one, hooks):
        await hooks.about_to_send()
        self.sent.append(one)
        return CreatedInterview(interview_request_id=len(self.sent), contact_id="c", status="sent")


async def verdicts(run):
    return {outcome.index: outcome.status.value async for outcome in run}


def test_what_a_dead_run_had_in_hand_is_taken_over(postgres, database):
    """Without another run those leave that it had only planned; of the one that it was sending nobody knows."""
    url, sender = postgres.url(database), Sender()

    async def enroll():
        async with Ledger(url).run() as run:
            await run.claim([ledger_row(number) for number in range(5)])
        for statement in DIED.split(";"):
            await asyncio.to_thread(postgres.execute, database, statement)
        async with sender.run(url, 8) as run:
            return await verdicts(run)

    found = asyncio.run(enroll())
    assert {0: "unknown", **dict.fromkeys(range(1, 8), "created")} == found
    assert 7 == len(sender.sent)


def test_what_others_end_meanwhile_is_told(postgres, database):
    """A row that its run finished, or let go, while the other waited for it comes out as that."""
    url, sender = postgres.url(database, lease=60), Sender()

    async def enroll():
        async with Ledger(url).run() as other:
            await other.claim([ledger_row(0), ledger_row(1)])
            async with sender.run(url, 3) as run:
                first = await anext(run)
                await other.sending(ledger_row(0).key)
                await other.finished(
                    ledger_row(0).key, LedgerStatus.CREATED, attempts=1, interview_request_id=9
                )
                await other.finished(ledger_row(1).key, LedgerStatus.NOT_SENT, attempts=0)
                return first.index, await verdicts(run)

    assert (2, {0: "already_done", 1: "created"}) == asyncio.run(enroll())


def test_more_rows_in_others_hands_than_places_keep_nothing_back(postgres, database):
    """However many others have, what is free is read and sent before the run waits."""
    url, sender = postgres.url(database, lease=60), Sender()

    async def enroll():
        async with Ledger(url).run() as other:
            await other.claim([ledger_row(number) for number in range(60)])
            async with sender.run(url, 61, max_in_flight=1) as run:
                first = await anext(run)
                await run.stop()
                return first.index, await verdicts(run), run.counts

    index, rest, counts = asyncio.run(enroll())
    assert 60 == index
    assert dict.fromkeys(range(60), "claimed") == rest
    assert (60, 1) == (counts[OutcomeStatus.CLAIMED], counts[OutcomeStatus.CREATED])


def test_a_database_that_stays_away_meanwhile_ends_the_run_with_every_verdict(postgres, database):
    """The rows stay claimed, and the error is raised once."""
    url, sender = postgres.url(database, outage_seconds=0.1), Sender()
    found = {}

    async def enroll():
        async with Ledger(url).run() as other:
            await other.claim([ledger_row(0), ledger_row(1)])
            async with sender.run(url, 3) as run:
                assert 2 == (await anext(run)).index
                await asyncio.to_thread(postgres.stop)
                async for outcome in run:
                    found[outcome.index] = outcome.status

    try:
        with pytest.raises(LedgerError, match="it cannot be reached"):
            asyncio.run(enroll())
    finally:
        postgres.start()
    assert dict.fromkeys(range(2), OutcomeStatus.CLAIMED) == found
