"""Many requests: a verdict for each row, nobody twice, and an end that can come at any moment."""

import asyncio
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import chain, count, repeat

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fresh_process import run_python
from full_disk import full_disk
from hindsight_async import (
    BadRequestError,
    BulkAbortedError,
    CreateInterview,
    CreateLimitReachedError,
    Delivery,
    ForbiddenError,
    HindsightSession,
    Ledger,
    LedgerError,
    LedgerInUseError,
    LedgerStatus,
    NotFoundError,
    NotSentError,
    Outcome,
    OutcomeStatus,
    OutcomeUnknownError,
    Plan,
    QuotaExceededError,
    RateBudget,
    RecipientNotAllowedError,
    RetryPolicy,
    SessionClosedError,
    UnauthorizedError,
    UpdateInterview,
)
from hindsight_async.delivery.addresses import normalised
from hindsight_async.delivery.bulk import ROWS_PER_IN_FLIGHT
from hindsight_async.delivery.input import SeenKeys
from hindsight_async.delivery.row import Row
from hindsight_async.emulator import Emulator
from hindsight_async.errors.endings import Ending
from hindsight_async.resources.interviews.recipients import interview_key
from hindsight_async.resources.interviews.rows import CREATES

pytestmark = pytest.mark.usefixtures("in_memory")


def request(name, **fields):
    return CreateInterview(contact_email=f"{name}@acme.example", **{"sequence_id": "seq_abc123", **fields})


def requests(count):
    return [request(f"c{number}") for number in range(count)]


@pytest.fixture
async def emulator():
    async with Emulator(plan=Plan.ENTERPRISE, latency=0.1) as running:
        yield running


@pytest.fixture
async def hindsight(emulator):
    async with session(emulator) as opened:
        yield opened


def session(emulator, **options):
    return HindsightSession(
        emulator.api_key,
        base_url=emulator.base_url,
        **{"plan": Plan.ENTERPRISE, "max_in_flight": 4, **options},
    )


async def all_outcomes(run):
    return sorted([outcome async for outcome in run], key=lambda outcome: outcome.index)


def addresses(emulator):
    return sorted(email.address for email in emulator.outbox)


async def test_every_row_gets_its_verdict(emulator, hindsight):
    """All are created, each outcome knows its row, and the counts are complete when the loop ends."""
    async with hindsight.interviews.create_many(requests(30)) as run:
        outcomes = await all_outcomes(run)
    assert list(range(30)) == [outcome.index for outcome in outcomes]
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    for outcome in outcomes:
        assert (OutcomeStatus.CREATED, 1, None) == (outcome.status, outcome.attempts, outcome.error)
        assert outcome.interview_request_id == outcome.response.interview_request_id
        assert interview_key(outcome.request) == outcome.key
    assert 30 == run.counts[OutcomeStatus.CREATED] == sum(run.counts.values())
    assert sorted(f"c{number}@acme.example" for number in range(30)) == addresses(emulator)


async def test_a_run_is_iterated_inside_its_block_only(emulator, hindsight):
    """Left by a `break` it would go on with nobody to stop it, so it does not begin; the error shows the way."""
    with pytest.raises(RuntimeError, match=r"async with \.\.\.create_many\(\.\.\.\) as run: async for"):
        async for _ in hindsight.interviews.create_many(requests(5)):
            break
    await asyncio.sleep(10)
    assert [] == emulator.requests
    async with hindsight.interviews.create_many(requests(5)) as run:
        assert 5 == len(await all_outcomes(run))
    with pytest.raises(RuntimeError, match="has one block"):
        async with run:
            pass


async def test_rows_may_come_from_an_async_iterable(emulator, hindsight):
    """A row is sent when it comes, not when a batch is full."""

    async def rows():
        for each in requests(3):
            yield each
            await asyncio.sleep(10)
            assert len(emulator.outbox) == int(each.contact_email[1]) + 1

    async with hindsight.interviews.create_many(rows()) as run:
        assert 3 == len(await all_outcomes(run))


async def test_an_empty_input_is_a_run_of_nothing(hindsight):
    """No row, no outcome, no error."""
    async with hindsight.interviews.create_many([]) as run:
        assert [] == await all_outcomes(run)
    assert 0 == sum(run.counts.values())


async def test_the_input_is_never_held_as_a_whole(hindsight):
    """Not more rows are taken than the window allows while nobody takes the outcomes."""
    taken = []

    def rows():
        for number in range(1000):
            taken.append(number)
            yield request(f"c{number}")

    async with hindsight.interviews.create_many(rows()) as run:
        await asyncio.sleep(60)
        assert ROWS_PER_IN_FLIGHT * 4 == len(taken)
        await anext(run)
        await asyncio.sleep(60)
        assert ROWS_PER_IN_FLIGHT * 4 + 1 == len(taken)


async def test_no_more_are_in_flight_than_allowed(emulator):
    """The workers are as many as may be in flight, and no more connections are opened."""
    async with session(emulator, max_in_flight=3) as hindsight:
        async with hindsight.interviews.create_many(requests(50)) as run:
            await all_outcomes(run)
    assert 3 == len({received.peer_port for received in emulator.requests})


async def test_a_duplicate_is_found_and_names_the_first_row(emulator, hindsight):
    """The same person and interview, however the address is spelled, is enrolled once."""
    rows = [
        request("Jane"),
        request("joe"),
        CreateInterview(contact_email="jane@ACME.example", sequence_id="seq_abc123"),
        request("jane", sequence_id="other"),
        request("jane", deal_id="deal_1"),
        request("jane+tag"),
        request("jane"),
    ]
    async with hindsight.interviews.create_many(rows) as run:
        outcomes = await all_outcomes(run)
    assert [None, None, 0, None, None, None, 0] == [outcome.duplicate_of for outcome in outcomes]
    assert OutcomeStatus.DUPLICATE is outcomes[2].status
    assert 5 == len(emulator.outbox) == run.counts[OutcomeStatus.CREATED]


async def test_a_refused_row_does_not_stop_the_others():
    """The API's no is that row's verdict."""
    async with Emulator(sequences=["seq_abc123"]) as emulator, session(emulator) as hindsight:
        rows = [request("a"), request("b", sequence_id="nonsense"), request("c")]
        async with hindsight.interviews.create_many(rows) as run:
            outcomes = await all_outcomes(run)
    assert ["created", "rejected", "created"] == [outcome.status for outcome in outcomes]
    assert "bad_request" == outcomes[1].error.code


async def test_a_row_without_an_answer_is_unknown(emulator, hindsight):
    """It may have been emailed, it is not sent again, and the rest goes on."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=1)
    async with hindsight.interviews.create_many(requests(6)) as run:
        outcomes = await all_outcomes(run)
    (unknown,) = (outcome for outcome in outcomes if outcome.status is OutcomeStatus.UNKNOWN)
    assert Delivery.UNKNOWN is unknown.error.delivery
    assert 1 == unknown.attempts
    assert 6 == len(emulator.requests) == len(emulator.outbox)


async def test_a_row_that_could_not_be_sent_is_safe_to_run_again(emulator):
    """Where nothing listens, and that is not to be waited for, nothing was sent, and the verdict says so."""
    await emulator.close()
    async with session(emulator) as hindsight:
        async with hindsight.interviews.create_many(requests(2), wait_for_network=0) as run:
            outcomes = await all_outcomes(run)
    assert ["not_sent", "not_sent"] == [outcome.status for outcome in outcomes]
    assert RetryPolicy().attempts == outcomes[0].attempts


@pytest.mark.parametrize(("status", "error"), [(401, UnauthorizedError), (403, ForbiddenError)])
async def test_a_refused_key_ends_the_run_once(emulator, hindsight, status, error):
    """What every row would meet is raised once, after those in flight have their verdict."""
    emulator.fail("POST /interviews", how=status, times=None)
    with pytest.raises(error):
        async with hindsight.interviews.create_many(requests(100)) as run:
            await all_outcomes(run)
    assert [] == [outcome async for outcome in run]
    assert 1 == len(emulator.requests)
    assert {OutcomeStatus.NOT_SENT} == {status for status, count in run.counts.items() if count}


async def test_an_exhausted_month_ends_the_run():
    """Nobody waits a week inside a job: the quota's end is raised with its date."""
    async with Emulator(plan=Plan.ENTERPRISE, monthly_limit=10) as emulator, session(emulator) as hindsight:
        with pytest.raises(QuotaExceededError) as raised:
            async with hindsight.interviews.create_many(requests(100)) as run:
                await all_outcomes(run)
    assert 10 == run.counts[OutcomeStatus.CREATED] == len(emulator.outbox)
    assert 0 == run.counts[OutcomeStatus.REJECTED]
    assert raised.value.reset_at is not None
    # Which of a row would be true, and not of a run that sent ten.
    assert "nothing was sent" not in str(raised.value)
    assert str(raised.value).endswith(Ending.RUN_ENDED)


async def test_too_many_failures_in_a_row_end_the_run(emulator, hindsight):
    """A wrong sequence does not get ten thousand noes."""
    emulator.fail("POST /interviews", how=400, times=None)
    with pytest.raises(BulkAbortedError) as raised:
        async with hindsight.interviews.create_many(requests(1000)) as run:
            await all_outcomes(run)
    assert 20 <= run.counts[OutcomeStatus.REJECTED] <= 20 + 4
    last = "the server answered 400 bad_request: Invalid parameters"
    assert f"20 rows in a row failed; the last: {last}; {Ending.RUN_ENDED}" == str(raised.value)


async def test_a_success_starts_the_count_of_failures_again(emulator, hindsight):
    """Failures with successes between them are only failures."""
    for _ in range(10):
        emulator.fail("POST /interviews", how=400, times=3)
        emulator.fail("POST /interviews", how="slow", seconds=0.01, times=5)
    async with hindsight.interviews.create_many(requests(80), abort_after_failures=8) as run:
        await all_outcomes(run)
    assert 30 == run.counts[OutcomeStatus.REJECTED]


def test_a_senseless_limit_of_failures_is_refused():
    """At least one failure must be allowed."""
    with pytest.raises(ValueError, match="abort_after_failures"):
        HindsightSession("key").interviews.create_many([], abort_after_failures=0)


async def test_leaving_early_finishes_what_is_in_flight(emulator, hindsight):
    """No more rows are taken, and every request that left has its verdict."""
    async with hindsight.interviews.create_many(requests(1000)) as run:
        async for _ in run:
            break
    assert len(emulator.requests) == run.counts[OutcomeStatus.CREATED] <= ROWS_PER_IN_FLIGHT * 4


async def test_stop_takes_no_more_rows_and_what_is_done_can_still_be_read(emulator, hindsight):
    """After stop() the remaining outcomes come, and then the end."""
    async with hindsight.interviews.create_many(requests(1000)) as run:
        await anext(run)
        await run.stop()
        sent = len(emulator.requests)
        rest = [outcome async for outcome in run]
        await run.stop()
    assert sent == len(emulator.requests) == len(rest) + 1


async def test_leaving_at_once_sends_nothing(emulator, hindsight):
    """A block that is left before the run has taken its first step ends."""
    async with hindsight.interviews.create_many(requests(3)):
        pass
    async with hindsight.interviews.create_many(requests(3)) as run:
        await asyncio.sleep(0)
        await run.stop()
    assert len(emulator.requests) <= 3


async def test_a_hook_that_fails_changes_nothing():
    """A mistake in the program's own callback is no row's fault."""
    budget = RateBudget(1, on_wait=lambda *_: 1 / 0)
    async with (
        Emulator(requests_per_minute=1) as emulator,
        session(emulator, plan=None, budget=budget) as hindsight,
    ):
        async with hindsight.interviews.create_many(requests(3)) as run:
            await all_outcomes(run)
    assert 3 == run.counts[OutcomeStatus.CREATED] == len(emulator.outbox)


def test_plan_and_budget_together_are_refused():
    """Two limits would be one too many."""
    with pytest.raises(ValueError, match="give plan or budget, not both"):
        HindsightSession("key", plan=Plan.GROWTH, budget=RateBudget(5))


async def test_sessions_can_share_one_budget():
    """Two sessions of one organisation stay within its plan together."""
    budget = RateBudget.for_plan(Plan.ESSENTIALS)
    async with (
        Emulator() as emulator,
        session(emulator, plan=None, budget=budget) as one,
        session(emulator, plan=None, budget=budget) as other,
    ):
        async with asyncio.TaskGroup() as group:
            for number, hindsight in enumerate([one, other] * 45):
                group.create_task(hindsight.interviews.create(request(f"c{number}")))
    assert 90 == len(emulator.requests) == len(emulator.outbox)
    assert budget is one.budget is other.budget


async def test_stop_before_the_start_is_nothing(hindsight):
    """A run that was never begun has nothing to stop."""
    run = hindsight.interviews.create_many(requests(3))
    await run.stop()
    assert 0 == sum(run.counts.values())


async def test_a_first_cancel_finishes_and_a_second_cuts_off(emulator):
    """Ctrl-C lets calls in flight end; another does not wait for them."""
    clock = asyncio.get_running_loop().time
    async with session(emulator) as hindsight:
        await hindsight.interviews.create(request("first"))
        emulator.fail("POST /interviews", how="slow", seconds=20.0, at="after_commit", times=None)

        async def work():
            async with hindsight.interviews.create_many(requests(100)) as run:
                runs.append(run)
                await all_outcomes(run)

        for second in (False, True):
            runs = []
            task = asyncio.create_task(work())
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.sleep(1)
            began = clock()
            if second:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (clock() - began < 1) is second
            assert 4 == runs[0].counts[OutcomeStatus.UNKNOWN if second else OutcomeStatus.CREATED]
        assert 0 == hindsight.budget.snapshot().in_flight


async def test_an_input_that_fails_ends_the_run_with_its_own_error(emulator, hindsight):
    """The caller sees what broke, and what was in flight is finished."""

    async def rows():
        for each in requests(3):
            yield each
        await asyncio.sleep(0.15)
        raise LookupError("the file went away")

    with pytest.raises(LookupError, match="the file went away"):
        async with hindsight.interviews.create_many(rows()) as run:
            await all_outcomes(run)
    assert 3 == run.counts[OutcomeStatus.CREATED] == len(emulator.outbox) == sum(run.counts.values())


async def test_a_row_that_is_no_request_ends_the_run(emulator, hindsight):
    """A mistake in the program is raised, not turned into a verdict."""
    with pytest.raises(TypeError, match="request must be CreateInterview, not dict"):
        async with hindsight.interviews.create_many([{"contact_email": "a@x.example"}]) as run:
            await all_outcomes(run)
    with pytest.raises(TypeError, match="request must be UpdateInterview, not str"):
        async with hindsight.interviews.update_many([(1, "objective")]) as run:
            await all_outcomes(run)
    assert [] == emulator.requests


async def test_a_closed_session_ends_the_run(emulator):
    """Closing the session under a run is said once, and a run on one that is closed does not begin."""
    hindsight = session(emulator)
    with pytest.raises(SessionClosedError):
        async with hindsight.interviews.create_many(requests(100)) as run:
            await hindsight.close()
            await all_outcomes(run)
    assert 0 < run.counts[OutcomeStatus.NOT_SENT] <= 8
    with pytest.raises(SessionClosedError):
        await hindsight.interviews.create_many(requests(100)).__aenter__()
    assert [] == emulator.requests


async def test_a_failure_is_raised_also_where_nobody_iterates(emulator, hindsight):
    """A block that only waits hears of the end as well."""
    emulator.fail("POST /interviews", how=401, times=None)
    with pytest.raises(UnauthorizedError):
        async with hindsight.interviews.create_many(requests(100)):
            await asyncio.sleep(10)


async def test_updates_run_in_bulk_too(emulator, hindsight):
    """Each pair is sent once; a second change of one interview is a duplicate."""
    for each in requests(3):
        await hindsight.interviews.create(each)
    pairs = [(number, UpdateInterview(objective=f"o{number}")) for number in (1, 2, 3, 2)]
    async with hindsight.interviews.update_many(pairs) as run:
        outcomes = await all_outcomes(run)
    assert ["updated", "updated", "updated", "duplicate"] == [outcome.status for outcome in outcomes]
    assert ["o1", "o2", "o3"] == [interview.objective for interview in emulator.interviews.values()]


async def test_a_single_call_goes_before_the_rows_that_wait():
    """A bulk job at the plan's limit does not make a person wait for its end."""
    clock = asyncio.get_running_loop().time
    async with Emulator(plan=Plan.ESSENTIALS) as emulator, session(emulator, max_in_flight=16) as hindsight:
        async with hindsight.interviews.create_many(requests(300)) as run:
            drain = asyncio.create_task(all_outcomes(run))
            await asyncio.sleep(30)
            asked = clock()
            await hindsight.interviews.get(1)
            assert clock() - asked < 31
            drain.cancel()
            await run.stop()


async def test_only_allowed_recipients_are_emailed(emulator, monkeypatch):
    """Session and environment must both allow an address, single and bulk alike."""
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "*@ours.test, JANE@acme.example")
    async with session(emulator, allowed_recipients=["*@acme.example", "*@ours.test"]) as hindsight:
        await hindsight.interviews.create(request("jane"))
        with pytest.raises(RecipientNotAllowedError, match="HINDSIGHT_ALLOWED_RECIPIENTS does not") as raised:
            await hindsight.interviews.create(request("joe"))
        assert Delivery.NOT_SENT is raised.value.delivery
        assert "joe@" not in str(raised.value)
        async with hindsight.interviews.create_many([request("joe"), request("jane", deal_id="d")]) as run:
            outcomes = await all_outcomes(run)
    assert ["not_sent", "created"] == [outcome.status for outcome in outcomes]
    assert RecipientNotAllowedError is type(outcomes[0].error)
    assert ["jane@acme.example"] * 2 == addresses(emulator)


@pytest.mark.parametrize("listed", ["", " , "])
async def test_an_empty_list_allows_nobody(emulator, monkeypatch, listed):
    """Nothing between the commas means nobody, in the variable as in the argument."""
    async with session(emulator, allowed_recipients=[]) as hindsight:
        with pytest.raises(
            RecipientNotAllowedError,
            match="allowed_recipients does not allow this recipient: it allows nobody",
        ):
            await hindsight.interviews.create(request("jane"))
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", listed)
    async with session(emulator) as hindsight:
        with pytest.raises(RecipientNotAllowedError):
            await hindsight.interviews.create(request("jane"))
    assert [] == emulator.requests


async def test_the_variable_protects_from_when_it_is_set_and_after_it_is_lost(emulator, monkeypatch):
    """A list that comes after the session was built counts, and one that was there then counts on."""
    late = session(emulator)
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "*@ours.test")
    async with late as hindsight:
        with pytest.raises(RecipientNotAllowedError, match="HINDSIGHT_ALLOWED_RECIPIENTS does not allow"):
            await hindsight.interviews.create(request("jane"))
    early = session(emulator)
    monkeypatch.delenv("HINDSIGHT_ALLOWED_RECIPIENTS")
    async with early as hindsight:
        with pytest.raises(
            RecipientNotAllowedError, match="RECIPIENTS, as it was when the session was built, does not"
        ):
            await hindsight.interviews.create(request("jane"))
    assert [] == emulator.requests


def test_a_pattern_given_as_one_text_is_refused():
    """`"*@ours.test"` is no list of letters."""
    with pytest.raises(TypeError, match="allowed_recipients must be a list"):
        HindsightSession("key", allowed_recipients="*@ours.test")


async def test_the_fuse_blows_after_max_creates(emulator):
    """The session makes so many creates and no more, single and bulk together."""
    async with session(emulator, max_creates=3) as hindsight:
        await hindsight.interviews.create(request("first"))
        with pytest.raises(CreateLimitReachedError, match="may make 3 creates"):
            async with hindsight.interviews.create_many(requests(50)) as run:
                await all_outcomes(run)
        await hindsight.interviews.get(1)
    assert 3 == len(emulator.outbox)


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_a_senseless_fuse_is_refused(wrong):
    """A fuse is a whole number."""
    with pytest.raises(ValueError, match="max_creates"):
        HindsightSession("key", max_creates=wrong)


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("Jane@Acme.Example", "jane@acme.example"),
        (" jane@acme.example ", "jane@acme.example"),
        ("ju\u0308rgen@acme.example", "j\u00fcrgen@acme.example"),
        ("j@b\u00fccher.example", "j@xn--bcher-kva.example"),
        ("STRASSE@acme.example", "strasse@acme.example"),
    ],
)
def test_spellings_of_one_address_are_one(address, same):
    """Case, composition, space and the domain's alphabet make no other person."""
    assert normalised(same) == normalised(address)


def test_a_plus_tag_makes_another_address():
    """What the API tells apart stays apart."""
    assert normalised("jane+a@acme.example") != normalised("jane@acme.example")
    assert "j@.." == normalised("j@..")


def test_sqlite_is_loaded_by_the_first_bulk_run():
    """Who makes single calls does not wait for it."""
    loaded = run_python(
        "import sys, hindsight_async; print('sqlite3' in sys.modules)\n"
        "from hindsight_async.delivery.input import SeenKeys; SeenKeys(); print('sqlite3' in sys.modules)"
    )
    assert ["False", "True"] == loaded.split()


def test_a_python_without_sqlite_finds_duplicates_too():
    """Python can be built without it; the keys are in memory then."""
    indexes = run_python(
        "import sys; sys.modules['_sqlite3'] = None\n"
        "from hindsight_async.delivery.input import SeenKeys\n"
        "with SeenKeys() as seen: print(*(seen.first_index(key, i) for i, key in enumerate('abab')))"
    )
    assert "0 1 0 1" == indexes.strip()


@given(st.lists(st.text(max_size=2), max_size=30))
def test_the_first_row_of_each_key_is_remembered(keys):
    """For every key the index of its first appearance comes back."""
    with SeenKeys() as seen:
        assert [keys.index(key) for key in keys] == [seen.first_index(key, i) for i, key in enumerate(keys)]


def test_an_outcome_unknown_to_an_earlier_run_is_never_sent_by_itself(tmp_path):
    """A row without an answer stays unknown run after run, until a person decides."""
    ledger = Ledger(tmp_path / "autumn.db")

    async def enroll():
        async with Emulator() as emulator, session(emulator) as hindsight:
            emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=1)
            for expected in ("unknown", "unknown"):
                async with hindsight.interviews.create_many([request("jane")], ledger=ledger) as run:
                    (outcome,) = await all_outcomes(run)
                assert expected == outcome.status
                assert OutcomeUnknownError is type(outcome.error)
            assert 1 == len(emulator.requests)
            await ledger.resolve(outcome.key, not_created=True)
            async with hindsight.interviews.create_many([request("jane")], ledger=ledger) as run:
                assert ["created"] == [outcome.status for outcome in await all_outcomes(run)]
            assert 2 == len(emulator.requests)

    asyncio.run(enroll())


def test_a_second_run_does_what_the_first_left(tmp_path):
    """Created and rejected rows are skipped with what is known of them; the others are sent."""
    path = tmp_path / "autumn.db"

    async def enroll(rows, **options):
        async with Emulator(sequences=["seq_abc123"]) as emulator, session(emulator, **options) as hindsight:
            async with hindsight.interviews.create_many(rows, ledger=str(path)) as run:
                return await all_outcomes(run), len(emulator.requests)

    rows = [request("a"), request("b", sequence_id="nonsense"), request("c")]
    first, _ = asyncio.run(enroll(rows, allowed_recipients=["a@*", "b@*"]))
    assert ["created", "rejected", "not_sent"] == [outcome.status for outcome in first]
    second, sent = asyncio.run(enroll([*rows, request("d")]))
    assert ["already_done", "already_done", "created", "created"] == [outcome.status for outcome in second]
    assert first[0].interview_request_id == second[0].interview_request_id
    assert 2 == sent


def test_a_ledger_that_cannot_be_written_ends_the_run_before_anything_is_sent(tmp_path):
    """No directory, no run; and two runs at once are one too many."""

    async def enroll():
        async with Emulator() as emulator, session(emulator) as hindsight:
            with pytest.raises(LedgerError, match="no-such"):
                async with hindsight.interviews.create_many(
                    requests(3), ledger=tmp_path / "no-such" / "a.db"
                ):
                    pass
            async with hindsight.interviews.create_many(requests(3), ledger=tmp_path / "a.db") as run:
                with pytest.raises(LedgerInUseError):
                    async with hindsight.interviews.create_many(requests(3), ledger=tmp_path / "a.db"):
                        pass
                await all_outcomes(run)
            assert 3 == len(emulator.requests)

    asyncio.run(enroll())


def test_many_finished_rows_are_passed_over_and_the_rest_is_sent(tmp_path):
    """Rows that an earlier run has done need no place in the window, and every one has its outcome."""
    path = tmp_path / "autumn.db"

    async def enroll(count):
        async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
            async with hindsight.interviews.create_many(requests(count), ledger=path) as run:
                outcomes = await all_outcomes(run)
            assert list(range(count)) == [outcome.index for outcome in outcomes]
            return run.counts[OutcomeStatus.ALREADY_DONE], len(emulator.outbox)

    assert (0, 100) == asyncio.run(enroll(100))
    assert (100, 20) == asyncio.run(enroll(120))


def lent(emulator, hook, failing):
    """Return an aiohttp session whose trace hook divides by zero for one of its requests."""
    trace = aiohttp.TraceConfig()
    calls = count(1)

    async def break_down(*_):
        if next(calls) in failing:
            1 / 0  # noqa: B018

    getattr(trace, hook).append(break_down)
    return aiohttp.ClientSession(trace_configs=[trace])


@pytest.mark.parametrize(
    ("hook", "status", "error", "emailed"),
    [
        ("on_request_start", "not_sent", NotSentError, {7}),
        ("on_request_headers_sent", "not_sent", NotSentError, {7}),
        ("on_request_chunk_sent", "unknown", OutcomeUnknownError, {7, 8}),
        ("on_request_end", "unknown", OutcomeUnknownError, {8}),
    ],
)
async def test_somebody_elses_exception_is_one_rows_verdict(emulator, hook, status, error, emailed):
    """It says whether the request had left and what was raised; the rows beside it are created."""
    async with lent(emulator, hook, {2}) as http:
        async with session(emulator, http=http, retry=RetryPolicy(attempts=1)) as hindsight:
            async with hindsight.interviews.create_many(requests(8)) as run:
                outcomes = await all_outcomes(run)
    (failed,) = (outcome for outcome in outcomes if outcome.status is not OutcomeStatus.CREATED)
    assert (status, error) == (failed.status.value, type(failed.error))
    assert ZeroDivisionError is type(failed.error.__cause__)
    assert len(emulator.outbox) in emailed


async def test_code_that_raises_a_cancellation_stops_no_worker(emulator):
    """Nobody cancelled the run, so every row has its outcome, which is in doubt."""

    async def give_up(*_):
        raise asyncio.CancelledError

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(give_up)
    async with aiohttp.ClientSession(trace_configs=[trace]) as http:
        async with session(emulator, http=http) as hindsight:
            async with hindsight.interviews.create_many(requests(12)) as run:
                assert ["unknown"] * 12 == [outcome.status for outcome in await all_outcomes(run)]


async def test_a_row_that_cannot_be_encoded_is_that_rows_failure(emulator, hindsight):
    """What was put into a context after it was checked is found before anything of the row is sent."""
    rows = [request("a"), request("b", contact_context={"x": 1}), request("c")]
    object.__setattr__(rows[1], "contact_context", {"x": object()})
    async with hindsight.interviews.create_many(rows) as run:
        outcomes = await all_outcomes(run)
    assert ["created", "not_sent", "created"] == [outcome.status for outcome in outcomes]
    assert TypeError is type(outcomes[1].error.__cause__)
    assert 0 == outcomes[1].attempts


async def test_a_body_of_more_than_a_mebibyte_is_sent_without_a_warning(emulator, hindsight):
    """Where warnings are errors it arrives too."""
    large = request("large", contact_context="x" * 1_100_000)
    async with hindsight.interviews.create_many([*requests(3), large]) as run:
        await all_outcomes(run)
    assert 4 == run.counts[OutcomeStatus.CREATED] == len(emulator.outbox)


def test_a_block_under_repeated_cancellation_is_left_with_the_ledger_closed(tmp_path):
    """What was in flight is unknown in the ledger, another run may begin at once, and no task is left."""
    ledger = Ledger(tmp_path / "autumn.db")

    async def enroll(hindsight):
        async with hindsight.interviews.create_many(requests(50), ledger=ledger) as run:
            await all_outcomes(run)

    async def cancel_at_every_await():
        latencies = chain([0.0], repeat(30.0))
        async with (
            Emulator(plan=Plan.ENTERPRISE, latency=lambda: next(latencies)) as emulator,
            session(emulator) as hindsight,
        ):
            await hindsight.interviews.create(request("first"))
            before = asyncio.all_tasks()
            task = asyncio.create_task(enroll(hindsight))
            while len(emulator.requests) < 5:
                await asyncio.sleep(0.01)
            servers = asyncio.all_tasks() - before - tasks_of("hindsight_async")
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
            assert task.cancelled()
            assert set() == asyncio.all_tasks() - before - servers
            async with ledger.run():
                pass
            return [entry async for entry in ledger.entries(status=LedgerStatus.UNKNOWN)]

    unknown = asyncio.run(cancel_at_every_await())
    assert [(1, "OutcomeUnknownError")] * 4 == [(entry.attempts, entry.error_code) for entry in unknown]


def tasks_of(package):
    return {task for task in asyncio.all_tasks() if package in repr(task.get_coro().cr_code)}


@pytest.mark.parametrize("room_again", [False, True])
@pytest.mark.parametrize("key_of", [None, lambda each: f"deal of {each.contact_email}"])
def test_what_was_made_and_not_recorded_outranks_what_was_not_sent(tmp_path, room_again, key_of):
    """The error counts them and the outcomes have their ids; with room again they are recorded at the end."""
    ledger = Ledger(tmp_path / "autumn.db")

    async def enroll():
        latencies = chain([0.0, 0.3, 0.3, 0.3, 1.0], repeat(0.0))
        async with (
            Emulator(plan=Plan.ENTERPRISE, latency=lambda: next(latencies)) as emulator,
            session(emulator) as hindsight,
        ):
            await hindsight.interviews.create(request("first"))
            with ExitStack() as disk:
                async with hindsight.interviews.create_many(
                    requests(30), ledger=ledger, key_of=key_of
                ) as run:
                    while len(emulator.requests) < 5:
                        await asyncio.sleep(0.01)
                    disk.enter_context(full_disk())
                    while run.counts[OutcomeStatus.CREATED] < 3:
                        await asyncio.sleep(0.01)
                    if room_again:
                        disk.close()
                    outcomes = []
                    with pytest.raises(LedgerError) as raised:
                        async for outcome in run:
                            outcomes.append(outcome)  # noqa: PERF401  they are wanted though it raises
        return raised.value, outcomes, await ledger.counts()

    error, outcomes, counts = asyncio.run(enroll())
    made = {found.interview_request_id for found in outcomes if found.status is OutcomeStatus.CREATED}
    assert {2, 3, 4, 5} == made
    if room_again:
        assert (Delivery.NOT_SENT, 0) == (error.delivery, error.unrecorded)
        assert "all that was sent is recorded" in str(error)
        assert (4, 0) == (counts[LedgerStatus.CREATED], counts[LedgerStatus.UNKNOWN])
    else:
        assert (Delivery.UNKNOWN, 4) == (error.delivery, error.unrecorded)
        assert "4 interviews were made and could not be recorded" in str(error)
        assert "nothing was sent" not in str(error)
        assert (0, 4) == (counts[LedgerStatus.CREATED], counts[LedgerStatus.UNKNOWN])


@pytest.mark.parametrize("room_again", [False, True])
def test_a_429_that_cannot_be_recorded_is_no_doubt_about_its_row(tmp_path, room_again):
    """Nothing came of it: its outcome is not_sent, and so it is in the ledger where there is room at the end."""
    ledger = Ledger(tmp_path / "autumn.db")

    async def enroll():
        async with Emulator(plan=Plan.ENTERPRISE, latency=0.2) as emulator, session(emulator) as hindsight:
            emulator.fail("POST /interviews", how=429, headers={"Retry-After": "30"}, times=1)
            with ExitStack() as disk, pytest.raises(LedgerError) as raised:
                async with hindsight.interviews.create_many(requests(1), ledger=ledger) as run:
                    while not emulator.requests:
                        await asyncio.sleep(0.01)
                    disk.enter_context(full_disk())
                    outcome = await anext(run)
                    if room_again:
                        disk.close()
            return outcome, raised.value, await ledger.counts(), len(emulator.requests)

    outcome, error, counts, sent = asyncio.run(enroll())
    assert (OutcomeStatus.NOT_SENT, Delivery.NOT_SENT, 1) == (outcome.status, error.delivery, sent)
    assert 1 == counts[LedgerStatus.NOT_SENT if room_again else LedgerStatus.UNKNOWN]


class WatchedLedger(Ledger):
    """Remembers the steps of its rows, in order; its disk fills up at one of them."""

    def __init__(self, path, *, full_at=None):
        super().__init__(path)
        self.steps, self.full_at = [], full_at

    @asynccontextmanager
    async def run(self):
        async with super().run() as run:
            for step in ("claim", "sending", "not_processed", "finished"):
                setattr(run, step, partial(self.take, step, getattr(run, step)))
            yield run
            self.may_write("close")

    async def take(self, step, write, *what, **more):
        self.may_write(step)
        self.steps.append(what[1].value if step == "finished" else step)
        return await write(*what, **more)

    def may_write(self, step):
        if step == self.full_at:
            raise LedgerError(f"the disk is full ({step})")


@pytest.mark.parametrize(
    ("step", "sent", "status"),
    [("claim", 0, None), ("sending", 0, "not_sent"), ("finished", 1, "created"), ("close", 10, "created")],
)
async def test_a_disk_that_fills_up_ends_the_run_with_every_sent_row_accounted_for(
    emulator, tmp_path, step, sent, status
):
    """Nothing leaves that could not be written down, and what left has its outcome, though not in the ledger."""
    ledger = WatchedLedger(tmp_path / "autumn.db", full_at=step)
    async with session(emulator, max_in_flight=1) as hindsight:
        run = hindsight.interviews.create_many(requests(10), ledger=ledger)
        with pytest.raises(LedgerError, match="the disk is full"):
            async with run:
                await all_outcomes(run)
    assert sent == len(emulator.requests) == run.counts[OutcomeStatus.CREATED]
    assert {found for found, count in run.counts.items() if count} - {"not_sent"} <= {status}


async def test_stopping_keeps_back_what_waits_for_the_budget():
    """Rows that have not left do not leave any more, and the stop does not wait for the window."""
    clock = asyncio.get_running_loop().time
    async with (
        Emulator(plan=Plan.ESSENTIALS) as emulator,
        session(emulator, plan=Plan.ESSENTIALS) as hindsight,
    ):
        async with hindsight.interviews.create_many(requests(200)) as run:
            drain = asyncio.create_task(all_outcomes(run))
            await asyncio.sleep(5)
            assert 60 == len(emulator.outbox)
            await run.stop()
            assert clock() < 6
            await drain
        assert 60 == len(emulator.outbox) == run.counts[OutcomeStatus.CREATED]
        assert 4 == run.counts[OutcomeStatus.NOT_SENT]


@pytest.mark.parametrize("kept", [False, True], ids=["no ledger", "ledger"])
async def test_stopping_keeps_back_what_is_refused_for_now_meanwhile(emulator, hindsight, tmp_path, kept):
    """A row in flight that is answered 429 does not wait for another try, and is safe to run again."""
    ledger = Ledger(tmp_path / "autumn.db") if kept else None
    emulator.fail("POST /interviews", how=429, headers={"Retry-After": "60"}, times=None)
    async with hindsight.interviews.create_many(requests(20), ledger=ledger) as run:
        while not emulator.requests:
            await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await run.stop()
        assert asyncio.get_running_loop().time() - began < 5
        outcomes = await all_outcomes(run)
    assert {"not_sent"} == {outcome.status.value for outcome in outcomes}
    if ledger is not None:
        assert 0 == (await ledger.counts())[LedgerStatus.SENDING]
        assert len(outcomes) == (await ledger.counts())[LedgerStatus.NOT_SENT]


async def test_a_wrong_address_is_not_taken_for_the_rows_fault(emulator):
    """A 404 on a create comes from a wrong base URL: the run ends, and its rows are safe to run again."""
    wrong = {"base_url": emulator.base_url + "/oops"}
    async with HindsightSession(emulator.api_key, **wrong) as hindsight:
        with pytest.raises(NotFoundError):
            async with hindsight.interviews.create_many(requests(50)) as run:
                await all_outcomes(run)
    assert {OutcomeStatus.NOT_SENT} == {status for status, count in run.counts.items() if count}


async def test_rows_that_may_not_be_emailed_do_not_end_the_run(emulator):
    """The rails keep their rows back, however many, and let the others through."""
    rows = [*requests(30), CreateInterview(contact_email="me@ours.test", sequence_id="s")]
    async with session(emulator, allowed_recipients=["*@ours.test"]) as hindsight:
        async with hindsight.interviews.create_many(rows) as run:
            await all_outcomes(run)
    assert (30, 1) == (run.counts[OutcomeStatus.NOT_SENT], run.counts[OutcomeStatus.CREATED])


@pytest.mark.parametrize(
    ("faults", "steps"),
    [
        ([(429, {"Retry-After": "30"})], ["not_processed", "sending", "created"]),
        ([(400, {})], ["rejected"]),
        ([(503, {})], ["unknown"]),
        ([(429, {"Retry-After": "30"}), (409, {})], ["not_processed", "sending", "rejected"]),
    ],
)
async def test_only_what_will_be_sent_again_is_written_down_as_not_processed(
    emulator, hindsight, tmp_path, faults, steps
):
    """What waits is in no doubt meanwhile; what the API refused is said to be refused, and nothing else before."""
    ledger = WatchedLedger(tmp_path / "autumn.db")
    for status, headers in faults:
        emulator.fail("POST /interviews", how=status, headers=headers)
    async with hindsight.interviews.create_many(requests(1), ledger=ledger) as run:
        (outcome,) = await all_outcomes(run)
    assert ["claim", "sending", *steps] == ledger.steps
    assert (steps[-1], steps.count("sending") + 1) == (outcome.status, outcome.attempts)


@pytest.mark.parametrize("how", ["stop", "cut off"])
async def test_wherever_a_run_ends_a_refused_row_is_what_the_ledger_calls_it(tmp_path, how):
    """The outcome and the ledger say the same, in whatever turn of the loop the end comes; it is never safe to send."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        emulator.fail("POST /interviews", how=400, times=None)
        for turns in range(0, 60, 3):
            ledger = Ledger(tmp_path / f"{turns}.db")
            async with hindsight.interviews.create_many([request(f"c{turns}")], ledger=ledger) as run:
                while len(emulator.requests) <= turns / 3:
                    await asyncio.sleep(0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                stop = asyncio.create_task(run.stop())
                await asyncio.sleep(0)
                if how == "cut off":
                    stop.cancel()
                await asyncio.wait([stop])
            (outcome,) = await all_outcomes(run)
            assert outcome.status in {"rejected", "unknown" if how == "cut off" else "rejected"}
            assert 1 == (await ledger.counts())[LedgerStatus(outcome.status)]


def test_a_rejected_row_of_an_earlier_run_says_so(tmp_path):
    """It is not sent again, and it does not look as if it were done."""

    async def enroll():
        async with Emulator(sequences=["seq_known"]) as emulator, session(emulator) as hindsight:
            for _ in range(2):
                async with hindsight.interviews.create_many(requests(1), ledger=tmp_path / "a.db") as run:
                    (outcome,) = await all_outcomes(run)
            return outcome

    outcome = asyncio.run(enroll())
    assert OutcomeStatus.ALREADY_DONE is outcome.status
    assert (BadRequestError, Delivery.REJECTED) == (type(outcome.error), outcome.error.delivery)
    assert (400, "bad_request", 1, True) == (
        outcome.error.status,
        outcome.error.code,
        outcome.error.attempts,
        outcome.error.is_earlier,
    )


async def test_closing_one_session_leaves_the_others_in_line():
    """Of two sessions on one budget only the closed one's calls are turned away."""
    budget = RateBudget.for_plan(Plan.ESSENTIALS)
    async with Emulator() as emulator, session(emulator, plan=None, budget=budget) as other:
        one = session(emulator, plan=None, budget=budget)
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(other.interviews.create(request(f"c{number}")))
        waiting = [asyncio.create_task(each.interviews.create(request("late"))) for each in (one, other)]
        await asyncio.sleep(1)
        await one.close()
        with pytest.raises(SessionClosedError):
            await waiting[0]
        assert 61 == (await waiting[1]).interview_request_id


async def test_a_row_that_is_cut_off_is_in_doubt_only_while_a_request_is_in_flight():
    """Cancelled before its request left it is safe to run again, afterwards it is unknown."""
    row = Row(CREATES, 0, request("a"), None)
    assert OutcomeStatus.NOT_SENT is row.cut_off().status
    await row.about_to_send()
    assert OutcomeStatus.UNKNOWN is row.cut_off().status
    await row.not_processed()
    assert OutcomeStatus.NOT_SENT is row.cut_off().status


def test_a_full_disk_under_the_duplicates_is_a_ledger_error():
    """What fails there ends the run by name, and not as an error of SQLite."""
    with SeenKeys() as seen:
        seen.first_index("a", 0)
    with pytest.raises(LedgerError, match="the temporary file in which duplicates are found"):
        seen.first_index("b", 1)
