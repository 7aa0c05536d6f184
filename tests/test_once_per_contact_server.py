"""Several runs share a ledger in PostgreSQL: of two rows of one person exactly one goes, in whichever process."""

import asyncio
import subprocess
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from hindsight_async import (
    CreateInterview,
    HindsightSession,
    Ledger,
    LedgerInUseError,
    LedgerRow,
    LedgerStatus,
    OutcomeStatus,
    Plan,
)
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving
from loaded_python import Program

DAYS_90 = timedelta(days=90)
END_LEASES = "UPDATE hindsight_runs SET lease_until = now() - interval '1 second'"

pytestmark = pytest.mark.servers


@pytest.fixture
def url(postgres, database):
    return postgres.url(database)


@pytest.fixture
def end_leases(postgres, database):
    """Return what makes all runs look dead."""

    async def in_a_thread():
        await asyncio.to_thread(postgres.execute, database, END_LEASES)

    return in_a_thread


def row(key, person="jane"):
    return LedgerRow(key=key, row_index=0, contact_email=f"{person}@acme.example", sequence_id="seq_1")


@asynccontextmanager
async def runs(url, count):
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(Ledger(url).run()) for _ in range(count)]


async def claim(run, *rows):
    """Return the keys of those that may be sent, and of those that are held back."""
    known = await run.claim(rows, once_within=DAYS_90)
    held_back = [key for key, entry in known.items() if entry.status is LedgerStatus.DUPLICATE]
    going = [each.key for each in rows if each.key not in known or known[each.key].may_be_sent]
    return going, held_back


@pytest.mark.slow
def test_of_many_that_are_claimed_at_the_same_time_one_goes(url):
    """Six runs, each with a row of its own for each of twenty people, in every order."""

    async def claim_each(run, number, step):
        people = [f"p{(each * step) % 20}" for each in range(20)]
        return await asyncio.gather(*(claim(run, row(f"{person} of {number}", person)) for person in people))

    async def divide():
        async with runs(url, 6) as opened:
            steps = (1, 3, 7, 9, 11, 13)
            return await asyncio.gather(*map(claim_each, opened, range(6), steps))

    claimed = [each for of_run in asyncio.run(divide()) for each in of_run]
    going = [key.partition(" ")[0] for keys, _ in claimed for key in keys]
    assert {f"p{number}": 1 for number in range(20)} == Counter(going)
    assert 100 == sum(len(held_back) for _, held_back in claimed)


def test_what_another_run_has_in_hand_counts_until_that_dies(url, end_leases):
    """A row that a dead run only planned emailed nobody; one that it was sending may have."""

    async def claim_in_turn():
        async with runs(url, 2) as (one, other):
            await one.claim([row("planned"), row("sent", "ben")])
            await one.sending("sent")
            assert ([], ["2"]) == await claim(other, row("2"))
            assert ([], ["b"]) == await claim(other, row("b", "ben"))
            await end_leases()
            assert (["2"], []) == await claim(other, row("2"))
            assert ([], ["b"]) == await claim(other, row("b", "ben"))

    asyncio.run(claim_in_turn())


def test_a_run_that_was_taken_for_dead_sends_nothing_beside_what_went_instead(url, end_leases):
    """What it had in hand was held back for the other's row, which it is told when it asks to send."""

    async def come_back():
        async with runs(url, 2) as (stalled, other):
            assert (["first"], []) == await claim(stalled, row("first"))
            await end_leases()
            assert (["second"], []) == await claim(other, row("second"))
            with pytest.raises(LedgerInUseError, match="row first is duplicate"):
                await stalled.sending("first")
            await other.sending("second")
            assert ([], ["first"]) == await claim(stalled, row("first"))

    asyncio.run(come_back())


def test_a_run_that_comes_back_in_time_goes_and_the_other_is_held_back(url, end_leases):
    """It was slow and is not dead: its row is on its way before the other's is asked for."""

    async def come_back():
        async with runs(url, 2) as (stalled, other):
            await claim(stalled, row("first"))
            await end_leases()
            await stalled.sending("first")
            assert ([], ["second"]) == await claim(other, row("second"))

    asyncio.run(come_back())


def test_a_reader_foresees_what_a_claim_would_hold_back(url):
    """Also where another run has a person's row in hand; nothing is changed by it."""

    async def look():
        async with runs(url, 1) as (run,):
            await run.claim([row("first")])
            ledger = Ledger(url)
            wanted = [row("second"), row("third", "ben"), row("fourth", "ben")]
            assert {"second", "fourth"} == set(await ledger.held_back(wanted, DAYS_90))
            return await ledger.known([each.key for each in wanted])

    assert {} == asyncio.run(look())


PROCESS = """
import asyncio, sys
from datetime import timedelta
from hindsight_async import CreateInterview, HindsightSession, Plan

async def main(url, base_url, key, process):
    requests = [
        CreateInterview(contact_email=f"p{number}@acme.example", sequence_id="s", deal_id=f"{process}-{number}")
        for number in range(40)
    ]
    async with HindsightSession(key, base_url=base_url, plan=Plan.ENTERPRISE) as hindsight:
        async with hindsight.interviews.create_many(
            requests, ledger=url, key_of=lambda each: each.deal_id, once_per_contact_within=timedelta(days=90)
        ) as run:
            async for _ in run:
                pass
    print(run.counts["created"], run.counts["duplicate"])

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_with_other_deals_of_the_same_people_email_each_once(url):
    """Whichever comes first; the other tells each row as a duplicate."""
    with serving(Emulator(plan=Plan.ENTERPRISE, latency=0.01)) as emulator:
        started = [
            Program(
                ["-c", PROCESS, url, emulator.base_url, emulator.api_key, process],
                stdout=subprocess.PIPE,
                text=True,
            )
            for process in ("one", "two")
        ]
        said = [process.communicate()[0].split() for process in started]
        sent = Counter(email.address for email in emulator.outbox)
    assert {f"p{number}@acme.example": 1 for number in range(40)} == sent
    assert 40 == sum(int(created) for created, _ in said) == sum(int(duplicate) for _, duplicate in said)


def test_runs_of_one_process_do_the_same(url):
    """Three at once, each with a row for each person under a key of its own."""

    async def enroll(number, emulator):
        requests = [
            CreateInterview(
                contact_email=f"p{each}@acme.example", sequence_id="s", deal_id=f"{number}-{each}"
            )
            for each in range(30)
        ]
        async with (
            HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE) as hindsight,
            hindsight.interviews.create_many(requests, ledger=url, once_per_contact_within=DAYS_90) as run,
        ):
            return Counter([outcome.status async for outcome in run])

    async def divide():
        async with Emulator(plan=Plan.ENTERPRISE) as emulator:
            counts = await asyncio.gather(*(enroll(number, emulator) for number in range(3)))
            return counts, Counter(email.address for email in emulator.outbox)

    counts, sent = asyncio.run(divide())
    assert {f"p{number}@acme.example": 1 for number in range(30)} == sent
    assert {OutcomeStatus.CREATED: 30, OutcomeStatus.DUPLICATE: 60} == sum(counts, Counter())
