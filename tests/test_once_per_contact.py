"""A person who has one interview gets no other within a time, whatever its key: decided where rows are claimed."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import (
    CreateInterview,
    HindsightSession,
    Ledger,
    LedgerRow,
    LedgerStatus,
    OutcomeStatus,
    Plan,
)
from hindsight_async.delivery.ledger.entries import FINISHED
from hindsight_async.emulator import Emulator

pytestmark = pytest.mark.usefixtures("in_memory")

NOW = datetime(2026, 9, 1, 12, 30, tzinfo=UTC)
DAYS_90 = timedelta(days=90)
COUNT = {LedgerStatus.QUEUED, LedgerStatus.SENDING, LedgerStatus.CREATED, LedgerStatus.UNKNOWN}
DUPLICATE = LedgerStatus.DUPLICATE


def row(key, person="jane", *, queued=False):
    address = f"{person}@acme.example"
    body = {"contact_email": address} if queued else {}
    return LedgerRow(key=key, row_index=0, contact_email=address, sequence_id="seq_1", request=body)


class Clock:
    """A clock that tests set."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock):
    return Ledger(tmp_path / "autumn.db", now=clock)


async def claim(run, *rows, within=DAYS_90):
    """Return the keys of those rows that may be sent, and of those that are held back."""
    known = await run.claim(rows, once_within=within)
    held_back = [each.key for each in rows if each.key in known and known[each.key].status is DUPLICATE]
    going = [each.key for each in rows if each.key not in known or known[each.key].may_be_sent]
    return going, held_back


async def status_of(ledger, key):
    return (await ledger.known([key]))[key].status


async def leave_behind(ledger, key, status, person="jane"):
    """Have an earlier run leave a row of this status, which nobody has in hand."""
    async with ledger.run() as run:
        await run.claim([row(key, person, queued=status is LedgerStatus.QUEUED)])
        if status in FINISHED:
            if status is not LedgerStatus.NOT_SENT:
                await run.sending(key)
            await run.finished(key, status, attempts=1)


# Which rows of a person count


@pytest.mark.parametrize("status", [status for status in LedgerStatus if status is not LedgerStatus.SENDING])
async def test_what_emailed_a_person_or_may_yet_holds_another_back(ledger, status):
    """Created, unknown and queued do; rejected, expired, not sent, held back or only planned by somebody gone do not."""
    await leave_behind(ledger, "old", status)
    async with ledger.run() as run:
        going, held_back = await claim(run, row("new"))
    assert (["new"] if status in COUNT else []) == held_back
    assert (["new"] if status not in COUNT else []) == going
    assert (DUPLICATE if status in COUNT else LedgerStatus.PLANNED) is await status_of(ledger, "new")


@pytest.mark.parametrize("step", ["planned", "sending", "to be sent again"])
async def test_what_another_call_has_in_hand_holds_another_back(ledger, step):
    """It is about to leave, on its way, or waiting to leave once more."""
    async with ledger.run() as run:
        assert (["first"], []) == await claim(run, row("first"))
        if step != "planned":
            await run.sending("first")
        if step == "to be sent again":
            await run.not_processed("first")
        assert ([], ["second"]) == await claim(run, row("second"))
        assert (["third"], []) == await claim(run, row("third", "ben"))


async def test_what_is_in_hand_counts_however_old_it_is(ledger, clock):
    """It was planned long ago, and leaves now."""
    await leave_behind(ledger, "old", LedgerStatus.PLANNED)
    clock.now += 2 * DAYS_90
    async with ledger.run() as run:
        assert (["old"], []) == await claim(run, row("old"))
        assert ([], ["new"]) == await claim(run, row("new"))


@pytest.mark.parametrize("status", [LedgerStatus.CREATED, LedgerStatus.UNKNOWN])
async def test_the_time_runs_from_the_last_that_is_known_of_a_row(ledger, clock, status):
    """Within it the other row counts, also at its last moment; after it no more."""
    await leave_behind(ledger, "old", status)
    clock.now = NOW + DAYS_90
    async with ledger.run() as run:
        assert ([], ["new"]) == await claim(run, row("new"))
    clock.now += timedelta(microseconds=1)
    async with ledger.run() as run:
        assert (["new"], []) == await claim(run, row("new"))


async def test_a_row_does_not_hold_itself_back(ledger):
    """Claimed again it is what it was, and one that was not sent goes."""
    await leave_behind(ledger, "made", LedgerStatus.CREATED)
    await leave_behind(ledger, "free", LedgerStatus.NOT_SENT, "ben")
    async with ledger.run() as run:
        known = await run.claim([row("made"), row("free", "ben")], once_within=DAYS_90)
    assert (LedgerStatus.CREATED, True) == (known["made"].status, known["free"].may_be_sent)


# Two at a time


async def test_of_two_in_one_claim_the_first_goes(ledger):
    """New or left behind, in the order of the input."""
    await leave_behind(ledger, "2", LedgerStatus.NOT_SENT)
    async with ledger.run() as run:
        assert (["3", "b"], ["2", "1"]) == await claim(run, row("3"), row("2"), row("b", "ben"), row("1"))
    assert [DUPLICATE, DUPLICATE, LedgerStatus.PLANNED] == [await status_of(ledger, key) for key in "123"]


@pytest.mark.parametrize("left", [None, LedgerStatus.NOT_SENT, LedgerStatus.PLANNED, DUPLICATE])
async def test_of_many_claimed_together_exactly_one_goes(ledger, left):
    """Whatever was left of them, and though they share a transaction."""
    keys = [f"key {number}" for number in range(20)]
    for key in keys if left else ():
        await leave_behind(ledger, key, left)
    async with ledger.run() as run:
        claimed = await asyncio.gather(*(claim(run, row(key)) for key in keys))
        assert 1 == sum(len(going) for going, _ in claimed)
        assert 19 == sum(len(held_back) for _, held_back in claimed)


async def test_of_what_waits_in_a_queue_the_first_goes(ledger, clock):
    """Later ones wait behind it, and it behind none of them; a new row waits behind them all."""
    async with ledger.run() as run:
        for key in "abc":
            await run.claim([row(key, queued=True)])
            clock.now += timedelta(seconds=1)
    async with ledger.run() as run:
        assert ([], ["b"]) == await claim(run, row("b", queued=True))
        assert ([], ["new"]) == await claim(run, row("new"))
        assert (["a"], []) == await claim(run, row("a", queued=True))
        assert ([], ["c"]) == await claim(run, row("c", queued=True))


async def test_a_claim_that_is_cancelled_holds_nobody_back(ledger):
    """Its row is in nobody's hand, so the other goes."""
    async with ledger.run() as run:
        first = asyncio.create_task(run.claim([row("first")], once_within=DAYS_90))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (["second"], []) == await claim(run, row("second"))


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["jane", "ben"])),
        max_size=12,
        unique_by=lambda each: each[0],
    ),
    st.integers(1, 5),
)
def test_however_they_are_claimed_each_person_has_one(tmp_path_factory, rows, size):
    """In batches of any size one row of each person goes, and every other one is held back."""
    wanted = [row(key, person) for key, person in rows]

    async def claim_all():
        async with Ledger(tmp_path_factory.mktemp("l") / "autumn.db").run() as run:
            batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]
            return await asyncio.gather(*(claim(run, *batch) for batch in batches))

    claimed = asyncio.run(claim_all())
    people = {person for _, person in rows}
    assert len(people) == sum(len(going) for going, _ in claimed)
    assert len(rows) - len(people) == sum(len(held_back) for _, held_back in claimed)


# What became of one that was held back


async def test_one_that_was_held_back_is_decided_anew(ledger, clock):
    """With the rule it is held back as long as the other row counts; without, or after that, it may be sent."""
    await leave_behind(ledger, "old", LedgerStatus.CREATED)
    for _ in range(2):
        async with ledger.run() as run:
            assert ([], ["new"]) == await claim(run, row("new"))
    assert ("duplicate", 0) == ((entry := (await ledger.known(["new"]))["new"]).status, entry.attempts)
    async with ledger.run() as run:
        assert (["new"], []) == await claim(run, row("new"), within=None)
        await run.sending("new")
        await run.finished("new", LedgerStatus.CREATED, attempts=1, interview_request_id=2)
    assert LedgerStatus.CREATED is await status_of(ledger, "new")


async def test_a_resolved_one_is_held_back_by_the_rule_alone(ledger):
    """A person may make it `not_sent`: a run without the rule sends it, and one with it does not."""
    await leave_behind(ledger, "old", LedgerStatus.CREATED)
    async with ledger.run() as run:
        await claim(run, row("new"))
    await ledger.resolve("new", not_created=True)
    async with ledger.run() as run:
        assert ([], ["new"]) == await claim(run, row("new"))
        assert (["new"], []) == await claim(run, row("new"), within=None)


# In a run of many


def request(deal, person="jane"):
    return CreateInterview(contact_email=f"{person}@acme.example", sequence_id="seq_1", deal_id=deal)


async def enroll(emulator, requests, ledger, **options):
    wanted = {"once_per_contact_within": DAYS_90, **options}
    async with (
        HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE) as hindsight,
        hindsight.interviews.create_many(requests, ledger=ledger, **wanted) as run,
    ):
        return {outcome.index: outcome async for outcome in run}


@pytest.mark.parametrize("key_of", [None, lambda each: each.deal_id])
async def test_a_second_deal_of_a_person_emails_nobody(ledger, key_of):
    """Its outcome is DUPLICATE of no row of the input, and no failure; a run without the rule sends it."""
    deals = [request("d1"), request("d2"), request("d3", "ben"), request("d1")]
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        outcomes = await enroll(emulator, deals, ledger, key_of=key_of, abort_after_failures=1)
        assert ["created", "duplicate", "created", "duplicate"] == [outcomes[n].status for n in range(4)]
        assert [None, None, None, 0] == [outcomes[n].duplicate_of for n in range(4)]
        assert (None, 0) == (outcomes[1].error, outcomes[1].attempts)
        again = await enroll(emulator, deals[:2], ledger, key_of=key_of)
        assert [OutcomeStatus.ALREADY_DONE, OutcomeStatus.DUPLICATE] == [again[n].status for n in range(2)]
        assert 2 == len(emulator.outbox)
        sent = await enroll(emulator, deals[:2], ledger, key_of=key_of, once_per_contact_within=None)
        assert OutcomeStatus.CREATED is sent[1].status
        assert 3 == len(emulator.outbox)


async def test_a_row_that_was_refused_makes_room_for_another(ledger):
    """Nobody was emailed by it, so the person's next row of a later run goes."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        emulator.fail("POST /interviews", how=400, at="before_commit")
        first = await enroll(emulator, [request("d1"), request("d2")], ledger)
        assert ["rejected", "duplicate"] == [first[n].status for n in range(2)]
        second = await enroll(emulator, [request("d1"), request("d2")], ledger)
        assert ["already_done", "created"] == [second[n].status for n in range(2)]


@pytest.mark.parametrize(
    ("wrong", "error", "why"),
    [
        (90, TypeError, "must be a timedelta, not int"),
        (timedelta(0), ValueError, "must be above 0"),
        (timedelta(days=-1), ValueError, "must be above 0"),
    ],
)
async def test_the_time_is_a_time(tmp_path, wrong, error, why):
    """Days as a bare number are no time, and neither is none; without a ledger nobody knows who was written to."""
    hindsight = HindsightSession("key")
    with pytest.raises(error, match=f"once_per_contact_within {why}"):
        hindsight.interviews.create_many([], ledger=tmp_path / "a.db", once_per_contact_within=wrong)
    with pytest.raises(ValueError, match="once_per_contact_within needs a ledger"):
        hindsight.interviews.create_many([], once_per_contact_within=DAYS_90)
