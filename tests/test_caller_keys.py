"""A row's key may be the caller's own: one key is one interview, whatever is asked for, and no hash means two things."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hindsight_async import (
    CreateInterview,
    HindsightSession,
    Ledger,
    LedgerStatus,
    OutcomeStatus,
    OutcomeUnknownError,
    Plan,
    RecipientNotAllowedError,
)
from hindsight_async.delivery.addresses import hash_of
from hindsight_async.delivery.keys import (
    LONGEST_CALLER_KEY,
    caller_key_hash,
    checked_caller_key,
    stored_key,
)
from hindsight_async.delivery.ledger.arguments import ledger_at, open_run
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.recipients import interview_key

pytestmark = pytest.mark.usefixtures("in_memory")

DEAL = "hubspot:62515:151088:27136"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ANY_TEXT = st.text(max_size=40) | st.just("x" * (LONGEST_CALLER_KEY + 1))


def request(name="jane", **fields):
    return CreateInterview(contact_email=f"{name}@acme.example", **{"sequence_id": "seq_1", **fields})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deals.db"


@pytest.fixture
async def server():
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        yield emulator


def session(emulator, **options):
    return HindsightSession(
        emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, deadline=None, **options
    )


async def entries_of(path):
    return [entry async for entry in Ledger(path).entries()]


async def outcomes_of(emulator, requests, path, **options):
    async with (
        session(emulator) as hindsight,
        hindsight.interviews.create_many(requests, ledger=path, **options) as run,
    ):
        return sorted([outcome async for outcome in run], key=lambda outcome: outcome.index)


# What a key may be


@given(ANY_TEXT)
def test_a_key_is_taken_as_it_is_or_refused(text):
    """What is taken can be stored in every database and found again; what is not is named by its field, not repeated."""
    refused = None
    try:
        taken = checked_caller_key(text, "key")
    except ValueError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith("key must ")
        assert len(text) < 10 or text not in refused
        return
    assert text == taken == taken.strip()
    assert "\0" not in taken
    assert 0 < len(taken.encode()) <= 4 * LONGEST_CALLER_KEY


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("", "must not be empty"),
        (" \n", "must not be empty"),
        (" 1", "must have no white space at its ends"),
        ("a\0b", "must have no NUL character"),
        ("\ud800", "must be text that UTF-8 can carry"),
        ("k" * (LONGEST_CALLER_KEY + 1), "must have at most 500 characters, not 501"),
    ],
)
async def test_a_wrong_key_is_refused_before_anything_is_sent(server, path, wrong, why):
    """Also where a function of the caller's returns it, which ends the run as a wrong row in its input does."""
    async with session(server) as hindsight, Ledger(path).run() as run:
        with pytest.raises(ValueError, match=f"^key {why}"):
            await hindsight.interviews.create_once(request(), ledger=run, key=wrong)
    with pytest.raises(ValueError, match=f"^what key_of returns {why}"):
        await outcomes_of(server, [request()], path, key_of=lambda _: wrong)
    assert [] == server.requests


@pytest.mark.parametrize("wrong", [7, b"7", True])
async def test_a_key_is_text(server, path, wrong):
    """A number is not taken for the text that it could mean; nor is what is no function taken for one."""
    kind = type(wrong).__name__
    async with session(server) as hindsight, Ledger(path).run() as run:
        with pytest.raises(TypeError, match=rf"^key must be text \(str\), not {kind}"):
            await hindsight.interviews.create_once(request(), ledger=run, key=wrong)
        with pytest.raises(TypeError, match=f"^key_of must be a function of a request, not {kind}"):
            hindsight.interviews.create_many([], key_of=wrong)
    with pytest.raises(TypeError, match=r"^what key_of returns must be text \(str\), not None"):
        await outcomes_of(server, [request()], path, key_of=lambda _: None)


async def test_what_is_no_request_has_no_key(server, path):
    """It is refused as without a key of one's own, before the caller's function sees it."""
    asked = []
    async with session(server) as hindsight, Ledger(path).run() as run:
        with pytest.raises(TypeError, match="request must be CreateInterview, not str"):
            await hindsight.interviews.create_once("jane", ledger=run, key=DEAL)
    with pytest.raises(TypeError, match="request must be CreateInterview, not int"):
        await outcomes_of(server, [7], path, key_of=asked.append)
    assert [] == asked


# What it is in the ledger


@given(TEXTS, TEXTS)
def test_two_keys_have_two_hashes(one, other):
    """And one has one, which looks like every other key of a ledger."""
    assume(one != other)
    assert caller_key_hash(one) != caller_key_hash(other)
    assert 64 == len(caller_key_hash(one)) == len(interview_key(request()))


@given(st.sampled_from([None, "deal_1"]))
def test_no_callers_key_can_stand_for_a_default_one(deal_id):
    """Not even the very text of which a default key is the hash."""
    asked = request(deal_id=deal_id)
    parts = [asked.contact_email, asked.sequence_id, asked.interview_type_id, asked.deal_id]
    assert interview_key(asked) not in {
        caller_key_hash(json.dumps(parts)),
        caller_key_hash(interview_key(asked)),
    }


@given(TEXTS)
def test_a_row_is_found_by_its_text_and_by_its_hash(text):
    """A stored key goes before a caller's text, and what is not there stays what it was called."""
    hashed = caller_key_hash(text)
    assert hashed == stored_key(text, {hashed}) == stored_key(hashed, {hashed})
    assert text == stored_key(text, {hashed, text}) == stored_key(text, set())


async def test_the_ledger_takes_either_name_of_a_row(server, path):
    """`known` and `resolve` are asked by the caller's text or by the ledger's hash, and the text is kept in one place."""
    async with session(server) as hindsight, Ledger(path).run() as run:
        server.fail("POST /interviews", how="disconnect", at="after_commit")
        with pytest.raises(OutcomeUnknownError):
            await hindsight.interviews.create_once(request(), ledger=run, key=DEAL)
    (entry,) = await entries_of(path)
    assert (caller_key_hash(DEAL), DEAL, LedgerStatus.UNKNOWN) == (entry.key, entry.caller_key, entry.status)
    ledger = Ledger(path)
    assert {DEAL: entry, entry.key: entry} == await ledger.known([DEAL, entry.key, "another"])
    await ledger.resolve(DEAL, not_created=True)
    async with session(server) as hindsight, ledger.run() as run:
        assert (await hindsight.interviews.create_once(request(), ledger=run, key=DEAL)).created_now
    (entry,) = await entries_of(path)
    assert LedgerStatus.CREATED is entry.status
    assert DEAL not in repr(entry)


async def test_without_addresses_the_text_is_not_stored_either(server, path):
    """It may be an address; the row is the same one all the same."""
    ledger = Ledger(path, store_addresses=False)
    async with session(server) as hindsight, ledger.run() as run:
        first = await hindsight.interviews.create_once(request(), ledger=run, key="jane@acme.example")
        again = await hindsight.interviews.create_once(request(), ledger=run, key="jane@acme.example")
    (entry,) = await entries_of(path)
    assert (None, None) == (entry.caller_key, entry.contact_email)
    assert (True, False) == (first.created_now, again.created_now)
    assert b"jane" not in path.read_bytes()


# What it does


async def test_one_key_is_one_interview(server, path):
    """Another deal, sequence or name under the same key sends nothing; the same request under another key does."""
    async with session(server) as hindsight, Ledger(path).run() as run:
        create_once = hindsight.interviews.create_once
        first = await create_once(request(), ledger=run, key=DEAL)
        again = await create_once(request("ben", deal_id="deal_2"), ledger=run, key=DEAL)
        other = await create_once(request(), ledger=run, key=f"{DEAL}:2")
        default = await create_once(request(), ledger=run)
    assert (True, False, True, True) == tuple(each.created_now for each in (first, again, other, default))
    assert first.interview_request_id == again.interview_request_id
    assert 3 == len(server.outbox)


async def test_a_run_of_many_tells_callers_their_own_keys(server, path):
    """A key twice in the input is a duplicate of its first row, and in the next run already done."""
    rows = [request("ann"), request("ben"), request("ann", deal_id="deal_2")]

    def key_of(each):
        return each.contact_email

    first = await outcomes_of(server, rows, path, key_of=key_of)
    again = await outcomes_of(server, rows[:2], path, key_of=key_of)
    assert [key_of(each) for each in rows] == [outcome.key for outcome in first]
    assert ["created", "created", "duplicate"] == [outcome.status for outcome in first]
    assert 0 == first[2].duplicate_of
    assert [OutcomeStatus.ALREADY_DONE] * 2 == [outcome.status for outcome in again]
    assert 2 == len(server.outbox)


async def test_without_a_ledger_a_key_tells_rows_of_the_input_apart(server):
    """Nothing outlives the run then."""
    outcomes = await outcomes_of(server, [request(), request()], None, key_of=lambda _: "one")
    assert ["created", "duplicate"] == [outcome.status for outcome in outcomes]


async def test_the_ledger_has_what_goes_out_under_a_key(server, path):
    """A row that was not sent and is asked for with a corrected address is stored, and counted, as that person's."""
    async with Ledger(path).run() as run, session(server, allowed_recipients=["ben@*"]) as hindsight:
        with pytest.raises(RecipientNotAllowedError):
            await hindsight.interviews.create_once(request("jane"), ledger=run, key=DEAL)
        await hindsight.interviews.create_once(request("ben", deal_id="deal_1"), ledger=run, key=DEAL)
    (entry,) = await entries_of(path)
    assert ("ben@acme.example", hash_of("ben@acme.example"), "deal_1", LedgerStatus.CREATED) == (
        entry.contact_email, entry.address_hash, entry.deal_id, entry.status,
    )  # fmt: skip


# What `ledger=` takes


async def test_a_single_call_takes_what_has_a_run_open(server, path):
    """A queue has one; a path has none, and is refused with what to give."""

    class Queue:
        def __init__(self, run):
            self.ledger_run = run

    async with session(server) as hindsight, Ledger(path).run() as run:
        assert run is open_run(run) is open_run(Queue(run))
        assert (await hindsight.interviews.create_once(request(), ledger=Queue(run))).created_now
        for wrong in (path, str(path), Ledger(path), Queue(None), None):
            with pytest.raises(TypeError, match=f"not {type(wrong).__name__}: a single call opens no ledger"):
                await hindsight.interviews.create_once(request(), ledger=wrong)


async def test_a_run_of_many_takes_what_it_opens_itself(server, path):
    """A path, a URL or a ledger; an open run is another's."""
    ledger = Ledger(path)
    assert ledger is ledger_at(ledger)
    assert ledger.name == ledger_at(str(path)).name == ledger_at(f"sqlite+aiosqlite:///{path}").name
    async with session(server) as hindsight, ledger.run() as run:
        with pytest.raises(
            TypeError, match="a path, a URL or a Ledger, which the run opens itself, not LedgerRun"
        ):
            hindsight.interviews.create_many([], ledger=run)
        with pytest.raises(TypeError, match="ledger is no field of CreateInterview"):
            await hindsight.interviews.create(contact_email="a@b.example", sequence_id="s", ledger=run)
