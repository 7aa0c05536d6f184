"""What the API last accepted as a contact's notes is remembered, and the next change is merged into it."""

import asyncio
import json
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hindsight_async import (
    CreateInterview,
    DeadlineExceededError,
    Delivery,
    HindsightError,
    HindsightSession,
    Ledger,
    LedgerError,
    LedgerStatus,
    OutcomeStatus,
    Plan,
    UpdateInterview,
    merge_context,
)
from hindsight_async.emulator import Emulator

pytestmark = pytest.mark.usefixtures("in_memory")

JANE = "jane@acme.example"
CONTEXT = {"title": "VP", "deal": {"stage": "lost"}}


def request(address=JANE, **fields):
    return CreateInterview(
        contact_email=address, **{"sequence_id": "seq_1", "contact_context": CONTEXT} | fields
    )


@asynccontextmanager
async def at_work(*ledgers):
    """Yield an emulator, the interviews of a session, and each ledger opened."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, AsyncExitStack() as opened:
        session = HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE)
        runs = [await opened.enter_async_context(ledger.run()) for ledger in ledgers]
        yield emulator, (await opened.enter_async_context(session)).interviews, *runs


def notes(emulator, address=JANE):
    """Return what the API has by now."""
    text = emulator.contacts[address].notes
    return json.loads(text) if text and text.startswith("{") else text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deals.db"


@pytest.fixture
def remembering(path):
    return Ledger(path, store_contexts=True)


async def test_a_change_is_merged_into_what_was_created_with(remembering):
    """Two changes later the API has all three, also by another interview of the same contact."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        other = await interviews.create_once(
            request("JANE@acme.example", deal_id="d", contact_context=None), ledger=run
        )
        updated = await interviews.enrich(
            created.interview_request_id, {"deal": {"rival": "Acme"}}, ledger=run
        )
        await interviews.enrich(other.interview_request_id, {"champion": True}, ledger=run)
        assert {"title": "VP", "deal": {"stage": "lost", "rival": "Acme"}, "champion": True} == notes(
            emulator
        )
    assert created.interview_request_id == updated.interview_request_id


async def test_a_bulk_run_remembers_too_and_a_later_one_knows(remembering):
    """What is remembered outlives the run; text is merged as text."""
    people = [request(f"p{n}@acme.example", contact_context=f"note {n}") for n in range(3)]
    async with at_work() as (emulator, interviews):
        async with interviews.create_many(people, ledger=remembering) as bulk:
            made = {outcome.index: outcome.interview_request_id async for outcome in bulk}
        async with remembering.run() as run:
            await interviews.enrich(made[1], "more", ledger=run)
        assert ["note 0", "note 1\n\nmore", "note 2"] == [
            notes(emulator, f"p{n}@acme.example") for n in range(3)
        ]


async def test_a_create_replaces_what_is_remembered_as_the_api_does(remembering):
    """The notes are the contact's: a second interview with a context overwrites them, and one without does not."""
    async with at_work(remembering) as (emulator, interviews, run):
        await interviews.create_once(request(), ledger=run)
        await interviews.create_once(request(deal_id="2", contact_context={"new": 1}), ledger=run)
        third = await interviews.create_once(request(deal_id="3", contact_context=None), ledger=run)
        await interviews.enrich(third.interview_request_id, {"more": 2}, ledger=run)
        assert {"new": 1, "more": 2} == notes(emulator)


@pytest.mark.parametrize("how", [400, "disconnect"])
async def test_what_was_not_accepted_is_not_remembered(remembering, how):
    """Neither a refused create nor one whose outcome is unknown leaves anything."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        emulator.fail("POST /interviews", how=how, at="before_commit")
        with pytest.raises(HindsightError):
            await interviews.create_once(request(deal_id="2", contact_context={"new": 1}), ledger=run)
        await interviews.enrich(created.interview_request_id, {"more": 2}, ledger=run)
        assert {**CONTEXT, "more": 2} == notes(emulator)


async def test_an_update_that_fails_is_not_remembered(remembering):
    """Done again, it merges into what was there before it."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(contact_context="a"), ledger=run)
        emulator.fail("PATCH /interviews/{id}", how=400)
        with pytest.raises(HindsightError):
            await interviews.enrich(created.interview_request_id, "b", ledger=run)
        await interviews.enrich(created.interview_request_id, "b", ledger=run)
        assert "a\n\nb" == notes(emulator)


async def test_where_there_is_nothing_to_merge_into_nothing_is_sent(path, remembering):
    """No ledger, one without contexts, an interview that it does not know, and a contact without context: all say so."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(contact_context=None), ledger=run)
        async with Ledger(path.with_name("other.db")).run() as without:
            for ledger, why in [
                (None, "neither ledger nor previous is given"),
                (without, "was not opened with store_contexts=True"),
                (run, f"remembers no context of the contact of interview {created.interview_request_id}"),
            ]:
                with pytest.raises(ValueError, match=f"nothing to merge into: .*{why}.*previous="):
                    await interviews.enrich(created.interview_request_id, {"a": 1}, ledger=ledger)
        with pytest.raises(ValueError, match="contact of interview 99"):
            await interviews.enrich(99, {"a": 1}, ledger=run)
        with pytest.raises(TypeError, match="ledger must be a LedgerRun, as Ledger"):
            await interviews.enrich(1, {"a": 1}, ledger=remembering)
        with pytest.raises(TypeError, match="interview_request_id must be an int"):
            await interviews.enrich("1", {"a": 1}, ledger=run)
        assert 1 == len(emulator.requests)


async def test_text_is_not_merged_with_a_mapping(remembering):
    """Said before anything is sent, and the memory stays."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        with pytest.raises(TypeError, match="cannot merge text onto a mapping"):
            await interviews.enrich(created.interview_request_id, "text", ledger=run)
        assert 1 == len(emulator.requests)


async def test_previous_stands_in_for_a_memory_and_fills_it(remembering):
    """It is taken where nothing is remembered, alone too; what is remembered goes before it."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(contact_context=None), ledger=run)
        known = created.interview_request_id
        await interviews.enrich(known, {"a": 1}, previous={"kept": True})
        assert {"kept": True, "a": 1} == notes(emulator)
        await interviews.enrich(known, {"b": 2}, ledger=run, previous={"kept": True, "a": 1})
        await interviews.enrich(known, {"c": 3}, ledger=run, previous={"of long ago": 0})
        assert {"kept": True, "a": 1, "b": 2, "c": 3} == notes(emulator)
        await interviews.enrich(known, {}, ledger=run)


async def test_a_run_without_contexts_leaves_none_that_is_no_longer_so(path, remembering):
    """What it overwrites is not merged into later: that would bring old notes back."""
    async with at_work() as (_, interviews):
        async with remembering.run() as run:
            created = await interviews.create_once(request(), ledger=run)
        async with Ledger(path).run() as run:
            await interviews.create_once(request(deal_id="2", contact_context={"new": 1}), ledger=run)
        async with remembering.run() as run:
            with pytest.raises(ValueError, match="remembers no context"):
                await interviews.enrich(created.interview_request_id, {"a": 1}, ledger=run)
            await interviews.enrich(created.interview_request_id, {"a": 1}, ledger=run, previous={"new": 1})
        async with Ledger(path).run() as run:
            await interviews.enrich(created.interview_request_id, {"b": 2}, ledger=run, previous={"x": 1})
    assert set() == await remembering.interviews_remembered([created.interview_request_id])


async def test_of_many_at_once_for_one_contact_none_loses_a_change(remembering):
    """In one run they go one after the other; another contact's does not wait for them."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        other = await interviews.create_once(request("joe@acme.example"), ledger=run)
        changes = [
            interviews.enrich(created.interview_request_id, {f"n{n}": {"by": n}}, ledger=run)
            for n in range(20)
        ]
        await asyncio.gather(*changes, interviews.enrich(other.interview_request_id, {"x": 1}, ledger=run))
        assert {**CONTEXT, **{f"n{n}": {"by": n} for n in range(20)}} == notes(emulator)
        assert {**CONTEXT, "x": 1} == notes(emulator, "joe@acme.example")


async def test_one_that_is_cancelled_lets_the_next_one_through(remembering):
    """Nobody waits for a change that its caller gave up."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        emulator.fail("PATCH /interviews/{id}", how="slow", seconds=30)
        first = asyncio.create_task(interviews.enrich(created.interview_request_id, {"a": 1}, ledger=run))
        await asyncio.sleep(1)
        second = asyncio.create_task(interviews.enrich(created.interview_request_id, {"b": 2}, ledger=run))
        await asyncio.sleep(1)
        assert not second.done()
        first.cancel()
        await second
        assert {**CONTEXT, "b": 2} == notes(emulator)


async def test_waiting_for_another_change_counts_for_the_deadline(remembering):
    """Who waited for 8 of 10 seconds has 2 left, and what could not be done is not remembered."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        emulator.fail("PATCH /interviews/{id}", how="slow", seconds=8, times=2)
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url, deadline=10) as hurried:
            loop = asyncio.get_running_loop()
            began = loop.time()
            ended = await asyncio.gather(
                *(
                    hurried.interviews.enrich(created.interview_request_id, {f"n{n}": n}, ledger=run)
                    for n in range(2)
                ),
                return_exceptions=True,
            )
            assert 10 == pytest.approx(loop.time() - began, abs=0.5)
        assert isinstance(ended[1], DeadlineExceededError)
        await interviews.enrich(created.interview_request_id, {"n2": 2}, ledger=run)
        assert {**CONTEXT, "n0": 0, "n2": 2} == notes(emulator)


async def test_two_people_of_one_interview_are_an_error(path, remembering):
    """A mistyped id of `resolve` must not send one person's notes as another's."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        emulator.fail("POST /interviews", how="disconnect", at="before_commit")
        with pytest.raises(HindsightError):
            await interviews.create_once(request("joe@acme.example"), ledger=run)
        (joe,) = [entry async for entry in remembering.entries(status=LedgerStatus.UNKNOWN)]
        await remembering.resolve(joe.key, created=created.interview_request_id)
        with pytest.raises(LedgerError, match="two people have interview 1 in this ledger: one id is wrong"):
            await interviews.enrich(created.interview_request_id, {"a": 1}, ledger=run)
        assert 2 == len(emulator.requests)


async def test_accepted_and_not_remembered_is_said(path, remembering):
    """The API has it and the ledger does not: the error is UNKNOWN, and doing it again is right."""
    async with at_work(remembering) as (emulator, interviews, run):
        created = await interviews.create_once(request(), ledger=run)
        with closing(sqlite3.connect(path)) as opened, opened:
            opened.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON contexts BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        with pytest.raises(LedgerError) as raised:
            await interviews.enrich(created.interview_request_id, {"a": 1}, ledger=run)
        assert Delivery.UNKNOWN is raised.value.delivery
        with closing(sqlite3.connect(path)) as opened, opened:
            opened.execute("DROP TRIGGER full")
        await interviews.enrich(created.interview_request_id, {"a": 1}, ledger=run)
        assert {**CONTEXT, "a": 1} == notes(emulator)


async def test_a_bulk_update_merges_row_by_row(remembering):
    """Rows without notes go as they are; one with nothing to merge into is not sent, and says why; the rest goes on."""
    async with at_work(remembering) as (emulator, interviews, run):
        known = (await interviews.create_once(request(), ledger=run)).interview_request_id
        again = (await interviews.create_once(request(deal_id="2"), ledger=run)).interview_request_id
        bare = (
            await interviews.create_once(request("joe@acme.example", contact_context=None), ledger=run)
        ).interview_request_id
        updates = [
            (known, UpdateInterview(contact_context={"a": 1}, objective="Why?")),
            (again, UpdateInterview(contact_context={"b": 2})),
            (bare, UpdateInterview(contact_context={"c": 3})),
            (99, UpdateInterview(contact_context={"c": 3})),
        ]
        async with interviews.update_many(updates, merge_into=run) as bulk:
            outcomes = {outcome.index: outcome async for outcome in bulk}
        async with interviews.update_many([(bare, UpdateInterview(objective="x"))], merge_into=run) as bulk:
            assert [OutcomeStatus.UPDATED] == [outcome.status async for outcome in bulk]
        assert {**CONTEXT, "a": 1, "b": 2} == notes(emulator)
        with pytest.raises(TypeError, match="ledger must be a LedgerRun"):
            interviews.update_many(updates, merge_into="deals.db")
    assert [OutcomeStatus.UPDATED] * 2 + [OutcomeStatus.NOT_SENT] * 2 == [
        outcomes[n].status for n in range(4)
    ]
    assert "nothing to merge into" in str(outcomes[2].error)


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
CONTEXTS = st.dictionaries(
    TEXT,
    st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x), max_leaves=5),
    max_size=3,
)  # fmt: skip


@settings(max_examples=25)
@given(steps=st.lists(CONTEXTS, min_size=1, max_size=4) | st.lists(TEXT, min_size=1, max_size=4))
def test_any_context_comes_back_as_it_was(steps, tmp_path_factory):
    """Whatever JSON can carry is merged as `merge_context` has it, however often."""
    ledger = Ledger(tmp_path_factory.mktemp("any") / "a.db", store_contexts=True)

    async def enrich():
        async with ledger.run() as run:
            entry = await claim_and_create(run, steps[0])
            for step in steps[1:]:
                async with run.contexts.of_interview(entry) as contact:
                    assert await contact.replace(merge_context(await contact.read(), step))
            async with run.contexts.of_interview(entry) as contact:
                return await contact.read()

    expected = steps[0]
    for step in steps[1:]:
        expected = merge_context(expected, step)
    assert expected == asyncio.run(enrich())


async def claim_and_create(run, context):
    from hindsight_async import LedgerRow

    await run.claim([LedgerRow(key="k", row_index=0, contact_email=JANE, sequence_id="s")])
    await run.sending("k")
    await run.finished("k", LedgerStatus.CREATED, attempts=1, interview_request_id=7, context=context)
    return 7


async def test_finding_a_contact_by_an_interview_reads_no_whole_table(path, remembering):
    """A file of many updates stays quick in a ledger of many rows."""
    async with remembering.run() as run:
        await claim_and_create(run, "a")
    query = "EXPLAIN QUERY PLAN SELECT DISTINCT address_hash FROM interviews WHERE interview_request_id = ?"
    with closing(sqlite3.connect(path)) as opened:
        plan = " ".join(str(line) for line in opened.execute(query, (7,)))
    assert "USING INDEX interviews_made" in plan


@pytest.mark.servers
def test_of_two_processes_the_later_one_merges_again(postgres, database):
    """The other's change came between reading and writing: the version tells, and both are in what is sent last."""
    url = postgres.url(database)

    async def cross():
        ledgers = [Ledger(url, store_contexts=True) for _ in range(2)]
        async with at_work(*ledgers) as (emulator, interviews, one, other):
            created = await interviews.create_once(request(), ledger=one)
            for _ in range(3):
                await asyncio.gather(
                    *(
                        interviews.enrich(created.interview_request_id, {f"{name}{n}": n}, ledger=run)
                        for n in range(4)
                        for name, run in (("one", one), ("other", other))
                    )
                )
            return notes(emulator), len(emulator.requests)

    sent, requests = asyncio.run(cross())
    assert {**CONTEXT, **{f"{name}{n}": n for n in range(4) for name in ("one", "other")}} == sent
    assert 1 + 3 * 8 <= requests


@pytest.mark.servers
def test_a_version_is_nobody_elses(postgres, database):
    """What was read is replaced once; forgotten meanwhile it stays forgotten, and one that is new is found."""

    async def replace():
        async with (
            Ledger(postgres.url(database), store_contexts=True).run() as one,
            Ledger(postgres.url(database), store_contexts=True).run() as other,
        ):
            interview = await claim_and_create(one, "a")
            async with (
                one.contexts.of_interview(interview) as mine,
                other.contexts.of_interview(interview) as theirs,
            ):
                assert ("a", "a") == (await mine.read(), await theirs.read())
                assert await theirs.replace("b")
                assert not await mine.replace("c")
                assert "b" == await mine.read()
                assert await mine.replace("c")
                assert not await theirs.replace("d")
                await theirs.read()
                await Ledger(postgres.url(database)).forget(JANE)
                assert await theirs.replace("d")
                assert (None, None) == (await mine.read(), await theirs.read())
                assert await mine.replace("e")
                assert not await theirs.replace("f")
                assert "e" == await theirs.read()

    asyncio.run(replace())
