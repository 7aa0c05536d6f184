"""Several runs share a ledger in PostgreSQL: they divide the rows, and a dead one's are taken over."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest
from attrs import evolve

import loaded_python
from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    Delivery,
    HindsightSession,
    Ledger,
    LedgerError,
    LedgerInUseError,
    LedgerStatus,
    OutcomeStatus,
    Plan,
    RetryPolicy,
)
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.entries import FINISHED, LedgerRow
from hindsight_async.delivery.ledger.postgres_url import LEASE_SECONDS
from hindsight_async.delivery.ledger.tables import SCHEMA_VERSION
from hindsight_async.delivery.row import deliver_once
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.recipients import interview_key
from hindsight_async.resources.interviews.rows import CREATES
from postgres_server import PASSWORD

MOMENT = datetime(2026, 9, 1, 12, 30, 0, 250, tzinfo=UTC)

END_LEASES = "UPDATE hindsight_runs SET lease_until = now() - interval '1 second'"

pytestmark = pytest.mark.servers


@pytest.fixture
def url(postgres, database):
    return postgres.url(database)


@pytest.fixture
def end_leases(postgres, database):
    """Return what makes all runs look dead: what the database's clock would do."""

    async def in_a_thread():
        await asyncio.to_thread(postgres.execute, database, END_LEASES)

    return in_a_thread


def row(number, **changes):
    fields = {"row_index": number, "contact_email": f"person{number}@ours.test", "sequence_id": "seq_1"}
    return LedgerRow(**{"key": f"key-{number:06}", **fields, **changes})


def rows(*numbers):
    return [row(number) for number in numbers]


@asynccontextmanager
async def runs(url, count):
    """Open so many runs on one ledger."""
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(Ledger(url).run()) for _ in range(count)]


async def statuses(url):
    return {entry.row_index: entry.status.value async for entry in Ledger(url).entries()}


def test_the_tables_are_made_once_though_many_begin_together(url, postgres, database):
    """Twelve runs that all find nothing open one ledger, under names that no other program has."""

    async def open_and_claim(number):
        async with Ledger(url).run() as run:
            return await run.claim(rows(number))

    async def begin():
        return await asyncio.gather(*map(open_and_claim, range(12)))

    assert [{}] * 12 == asyncio.run(begin())
    assert dict.fromkeys(range(12), "planned") == asyncio.run(statuses(url))
    tables = postgres.execute(
        database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    )
    assert ["contexts", "interviews", "meta", "runs"] == [
        name.removeprefix("hindsight_") for (name,) in tables
    ]
    assert [("application", "hindsight-async"), ("schema_version", str(SCHEMA_VERSION))] == postgres.execute(
        database, "SELECT name, value FROM hindsight_meta ORDER BY 1"
    )
    assert [] == postgres.execute(database, "SELECT * FROM hindsight_runs")


def test_each_row_is_one_runs_own(url):
    """What one claims the others see in hand, and may not send; what it lets go at its end they may."""

    async def divide():
        async with runs(url, 2) as (one, other):
            assert {} == await one.claim(rows(0, 1))
            seen = await other.claim(rows(1, 2))
            assert [(row(1).key, True, False)] == [
                (key, entry.in_hand, entry.may_be_sent) for key, entry in seen.items()
            ]
            with pytest.raises(
                LedgerInUseError, match="another run has taken this row: row key-000001 is planned"
            ):
                await other.sending(row(1).key)
            with pytest.raises(LedgerError, match="another run has taken this row"):
                await other.finished(row(1).key, LedgerStatus.NOT_SENT, attempts=0)
            await one.sending(row(1).key)
            seen = await other.claim(rows(1))
            assert (LedgerStatus.SENDING, True) == (seen[row(1).key].status, seen[row(1).key].in_hand)
            await one.finished(row(1).key, LedgerStatus.CREATED, attempts=1, interview_request_id=7)
            seen = await other.claim(rows(1))
            assert (LedgerStatus.CREATED, False) == (seen[row(1).key].status, seen[row(1).key].in_hand)
        async with runs(url, 1) as (later,):
            seen = await later.claim(rows(0, 1, 2))
            assert {0, 2} == {entry.row_index for entry in seen.values() if entry.may_be_sent}
            await later.sending(row(0).key)
            await later.finished(row(0).key, LedgerStatus.NOT_SENT, attempts=1)

    asyncio.run(divide())
    assert {0: "not_sent", 1: "created", 2: "planned"} == asyncio.run(statuses(url))


@pytest.mark.slow
def test_claims_that_cross_divide_the_rows(url):
    """Eight runs that claim the same rows in every order get each row exactly once, and none fails."""

    async def claim_all(run, step):
        mine = []
        for start in range(0, 200, 20):
            numbers = [(number * step) % 200 for number in range(start, start + 20)]
            one, two = await asyncio.gather(
                run.claim(rows(*numbers[:10])), run.claim(rows(*reversed(numbers[10:])))
            )
            seen = {**one, **two}
            mine += [
                number for number in numbers if not ((entry := seen.get(row(number).key)) and entry.in_hand)
            ]
        return mine

    async def divide():
        async with runs(url, 8) as opened:
            claimed = await asyncio.gather(*map(claim_all, opened, (1, 3, 7, 9, 11, 13, 17, 199)))
        return sorted(number for mine in claimed for number in mine)

    assert list(range(200)) == asyncio.run(divide())


@pytest.mark.parametrize("look", ["claim", "begin", "read"])
def test_what_a_dead_run_was_sending_becomes_unknown(url, end_leases, look):
    """Whoever comes by says so: a claim of a run that is on, the beginning of another, or a reader."""

    async def die_and_look():
        async with runs(url, 2) as (dead, other):
            await dead.claim(rows(0, 1))
            await dead.sending(row(0).key)
            await end_leases()
            if look == "claim":
                (found,) = (await other.claim(rows(0))).values()
                return found.status, found.in_hand
            if look == "begin":
                async with runs(url, 1):
                    return (await statuses(url))[0], False
            return (await statuses(url))[0], False

    assert (LedgerStatus.UNKNOWN, False) == asyncio.run(die_and_look())


def test_a_run_calls_in_doubt_what_the_dead_left_before_it_begins(url, postgres, database, end_leases):
    """No reader and no claim has to come by: once a run is on, what a dead one was sending is stored as in doubt."""

    async def die_and_begin():
        async with runs(url, 1) as (dead,):
            await dead.claim(rows(0, 1))
            await dead.sending(row(0).key)
            await end_leases()
            async with runs(url, 1):
                return await asyncio.to_thread(
                    postgres.execute,
                    database,
                    "SELECT status, finished_at FROM hindsight_interviews ORDER BY row_index",
                )

    (unknown, finished_at), planned = asyncio.run(die_and_begin())
    assert ("unknown", ("planned", None)) == (unknown, planned)
    assert finished_at is not None


def test_a_run_that_was_taken_for_dead_sends_nothing_that_it_lost(url, end_leases):
    """Tables it only planned are another's now; one that nobody took is still its own, and its lease runs again."""

    async def come_back():
        async with runs(url, 2) as (stopped, other):
            await stopped.claim(rows(0, 1, 2))
            await end_leases()
            assert (await other.claim(rows(0)))[row(0).key].may_be_sent
            with pytest.raises(LedgerInUseError, match="row key-000000 is planned"):
                await stopped.sending(row(0).key)
            assert (await stopped.claim(rows(0)))[row(0).key].in_hand
            await stopped.sending(row(1).key)
            assert (await other.claim(rows(1, 2)))[row(2).key].in_hand
            await other.sending(row(0).key)
            await other.finished(row(0).key, LedgerStatus.CREATED, attempts=1)
            with pytest.raises(LedgerInUseError, match="row key-000000 is created"):
                await stopped.sending(row(0).key)
            await stopped.finished(row(1).key, LedgerStatus.CREATED, attempts=1)

    asyncio.run(come_back())
    assert {0: "created", 1: "created", 2: "planned"} == asyncio.run(statuses(url))


@pytest.mark.slow
@pytest.mark.parametrize("end", FINISHED)
def test_what_was_sent_while_taken_for_dead_may_still_be_recorded(url, end_leases, end):
    """The run knows what became of its own request better than those who took it for dead."""

    async def come_back():
        async with runs(url, 2) as (stopped, other):
            await stopped.claim(rows(0))
            await stopped.sending(row(0).key)
            await end_leases()
            assert LedgerStatus.UNKNOWN == (await other.claim(rows(0)))[row(0).key].status
            with pytest.raises(LedgerInUseError):
                await other.sending(row(0).key)
            await stopped.finished(row(0).key, end, attempts=1, interview_request_id=5)
            with pytest.raises(LedgerError):
                await stopped.finished(row(0).key, LedgerStatus.CREATED, attempts=1)

    asyncio.run(come_back())
    assert {0: end} == asyncio.run(statuses(url))


def test_a_persons_word_is_final(url, end_leases):
    """What a person has resolved, a run that comes back does not change."""

    async def come_back():
        async with runs(url, 1) as (stopped,):
            await stopped.claim(rows(0))
            await stopped.sending(row(0).key)
            await end_leases()
            await Ledger(url).resolve(row(0).key, created=4821)
            with pytest.raises(LedgerInUseError) as raised:
                await stopped.finished(row(0).key, LedgerStatus.REJECTED, attempts=1)
            assert Delivery.UNKNOWN is raised.value.delivery

    asyncio.run(come_back())
    assert {0: "created"} == asyncio.run(statuses(url))


def test_one_that_is_written_down_too_late_is_not_sent(postgres, database):
    """Where the lease is over by the time the mark is on disk, the row is taken back."""

    async def be_slow():
        async with Ledger(postgres.url(database, lease=1e-9)).run() as run:
            await run.claim(rows(0))
            with pytest.raises(LedgerInUseError, match="this run stood still"):
                await run.sending(row(0).key)

    asyncio.run(be_slow())
    assert {0: "not_sent"} == asyncio.run(statuses(postgres.url(database)))


@pytest.mark.slow
def test_a_run_renews_its_lease_by_itself(postgres, database):
    """Nothing has to be written for a run to live on."""
    leases = "SELECT lease_until, clock_timestamp() > lease_until FROM hindsight_runs"

    async def idle():
        async with Ledger(postgres.url(database, lease=3)).run():
            ((first, _),) = await asyncio.to_thread(postgres.execute, database, leases)
            later, is_over = first, False
            while later == first and not is_over:
                ((later, is_over),) = await asyncio.to_thread(postgres.execute, database, leases)
            return is_over

    assert not asyncio.run(idle())


@pytest.mark.parametrize("status", list(LedgerStatus))
def test_the_ledger_itself_refuses_to_send_twice(url, status):
    """Marking a row as sending fails unless it may be sent, whatever the caller believes."""

    async def send():
        async with Ledger(url).run() as run:
            body = {"contact_email": "person0@ours.test"} if status is LedgerStatus.QUEUED else {}
            await run.claim([evolve(row(0), request=body)])
            if status not in (LedgerStatus.PLANNED, LedgerStatus.QUEUED):
                await run.sending(row(0).key)
            if status in FINISHED:
                await run.finished(row(0).key, status, attempts=1)
            if status.may_be_sent:
                await run.sending(row(0).key)
            else:
                with pytest.raises(
                    LedgerError, match=f"row key-000000 is {status}, not planned or queued or not_sent"
                ):
                    await run.sending(row(0).key)
            with pytest.raises(LedgerError, match="there is no row nowhere"):
                await run.sending("nowhere")

    asyncio.run(send())


def test_an_entry_is_kept_whole(url):
    """Every field, and the times to the microsecond."""

    async def write_and_read():
        ledger = Ledger(url, now=lambda: MOMENT, store_addresses=False)
        async with ledger.run() as run:
            await run.claim([row(3, deal_id="deal_1", interview_type_id="type_1")])
            await run.sending(row(3).key)
            await run.not_processed(row(3).key)
            await run.sending(row(3).key)
            await run.finished(
                row(3).key,
                LedgerStatus.CREATED,
                attempts=2,
                interview_request_id=2**40,
                error_code="odd\ud800",
            )
        (entry,) = (await ledger.known([row(3).key])).values()
        assert {row(3).key: entry} == await ledger.known([row(3).key, "other"])
        return entry

    entry = asyncio.run(write_and_read())
    assert (MOMENT, MOMENT, MOMENT) == (entry.planned_at, entry.sending_at, entry.finished_at)
    assert (None, "seq_1", "type_1", "deal_1") == (
        entry.contact_email,
        entry.sequence_id,
        entry.interview_type_id,
        entry.deal_id,
    )
    assert (2, 2**40, "odd?", LedgerStatus.CREATED) == (
        entry.attempts,
        entry.interview_request_id,
        entry.error_code,
        entry.status,
    )


def test_one_job_that_cannot_be_done_spoils_no_other(url):
    """What shares a transaction with a value that the server refuses is written all the same."""

    async def write():
        async with Ledger(url).run() as run:
            await run.claim(rows(0, 1, 2))
            await run.sending(row(0).key)
            return await asyncio.gather(
                run.sending("nowhere"),
                run.sending(row(1).key),
                run.finished(row(0).key, LedgerStatus.CREATED, attempts=1, interview_request_id=2**63),
                run.claim([row(9, contact_email="lone\ud800@ours.test")]),
                run.claim([row(9, contact_email="nul\0@ours.test")]),
                run.sending(row(2).key),
                return_exceptions=True,
            )

    failed = asyncio.run(write())
    assert [LedgerError, None, LedgerError, LedgerError, LedgerError, None] == [e and type(e) for e in failed]
    assert Delivery.UNKNOWN is failed[2].delivery
    assert {0: "unknown", 1: "unknown", 2: "unknown"} == asyncio.run(statuses(url))


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 9, 30, 90])
def test_a_mark_that_is_cancelled_has_sent_nothing(url, steps):
    """Whenever the cancellation comes, the row is not taken for sent, and the run goes on."""

    async def cancel():
        async with Ledger(url).run() as run:
            await run.claim(rows(0, 1))
            marking = asyncio.create_task(run.sending(row(0).key))
            for _ in range(steps):
                await asyncio.sleep(0)
            marking.cancel()
            await asyncio.wait([marking])
            await run.sending(row(1).key)
            await run.finished(row(1).key, LedgerStatus.CREATED, attempts=1)
            return marking.cancelled()

    expected = "not_sent" if asyncio.run(cancel()) else "unknown"
    found = asyncio.run(statuses(url))
    assert {0: "planned" if steps == 0 else expected, 1: "created"} == found


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 30, 90])
def test_a_claim_that_is_cancelled_holds_nothing(url, steps):
    """Another run takes the row at once, or the same one again."""

    async def cancel():
        async with runs(url, 2) as (one, other):
            claiming = asyncio.create_task(one.claim(rows(0, 1)))
            for _ in range(steps):
                await asyncio.sleep(0)
            claiming.cancel()
            await asyncio.wait([claiming])
            again = await one.claim(rows(1))
            assert claiming.cancelled() is all(entry.may_be_sent for entry in again.values())
            return claiming.cancelled(), await other.claim(rows(0, 1))

    cancelled, seen = asyncio.run(cancel())
    assert seen[row(1).key].in_hand
    assert cancelled is (row(0).key not in seen or seen[row(0).key].may_be_sent)


def test_entries_counts_and_decisions_work_while_a_run_is_on(url):
    """A person reads and decides beside the runs."""

    async def use():
        ledger = Ledger(url)
        assert {} == await ledger.known([row(0).key])
        for ask in (ledger.counts(), ledger.resolve("k", not_created=True)):
            with pytest.raises(LedgerError, match=r"there is no ledger at postgresql://127\.0\.0\.1:"):
                await ask
        async with ledger.run() as run:
            await run.claim(rows(*range(1500)))
            for number in (7, 3):
                await run.sending(row(number).key)
                await run.finished(row(number).key, LedgerStatus.UNKNOWN, attempts=1)
            unknown = [entry.row_index async for entry in ledger.entries(status=LedgerStatus.UNKNOWN)]
            assert [3, 7] == unknown
            await ledger.resolve(row(3).key, not_created=True)
            assert (await run.claim(rows(3)))[row(3).key].may_be_sent
            everything = [entry.row_index async for entry in ledger.entries()]
            assert list(range(1500)) == everything
            return await ledger.counts()

    counts = asyncio.run(use())
    assert (1498, 1, 1) == (
        counts[LedgerStatus.PLANNED],
        counts[LedgerStatus.NOT_SENT],
        counts[LedgerStatus.UNKNOWN],
    )


async def begin(url):
    async with Ledger(url).run():
        pass


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"password": "wrong-one"}, "does not let this user in: see user and password"),
        ({"user": "stranger"}, "does not let this user in"),
        ({"database": "nowhere"}, "there is no such database"),
        ({"user": "guest", "password": "guest"}, "this user may not do it: let it create tables"),
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
def test_what_keeps_the_ledger_shut_is_said_without_the_password(
    postgres, database, change, complaint, scheme
):
    """Each error names the place and what to do, and nothing was sent."""
    if not postgres.execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = 'guest'"):
        postgres.execute("postgres", "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    place = postgres.url(**{"database": database, **change}).replace("postgresql+asyncpg", scheme)
    with pytest.raises(LedgerError, match=complaint) as raised:
        asyncio.run(begin(place))
    assert Delivery.NOT_SENT is raised.value.delivery
    assert f"127.0.0.1:{postgres.port}" in str(raised.value)
    for secret in (PASSWORD, "wrong-one", ":guest@"):
        assert secret not in str(raised.value)


def test_a_server_that_is_not_there_is_named():
    """Nothing listens: the error says where it was looked for."""
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1:1/x: it cannot be reached"):
        asyncio.run(begin("postgresql://owner:secret@127.0.0.1:1/x"))


def test_a_ledger_of_a_newer_version_is_refused(url, postgres, database):
    """It says which schema it found and which it knows."""
    asyncio.run(begin(url))
    postgres.execute(database, "UPDATE hindsight_meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(
        LedgerError, match=rf"its schema is 99, this one knows {SCHEMA_VERSION}\): upgrade hindsight-async"
    ):
        asyncio.run(begin(url))


def test_a_missing_driver_is_named():
    """It says what to install before anything is opened."""
    program = "import sys; sys.modules['asyncpg'] = None\nfrom hindsight_async import Ledger\n"
    program += "Ledger('postgresql://user:secret@host/db')"
    done = loaded_python.run(["-c", program], capture_output=True, text=True)
    assert "pip install 'hindsight-async[postgres]'" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_database_that_stays_away_stops_what_has_not_left(postgres, database):
    """A mark that is not on disk keeps its request back, a lost record is in doubt; back again, the run goes on."""
    url = postgres.url(database, outage_seconds=0.1)

    async def go_away():
        async with Ledger(url).run() as run:
            await run.claim(rows(0, 1, 2))
            await run.sending(row(0).key)
            await asyncio.to_thread(postgres.stop)
            try:
                with pytest.raises(LedgerError) as kept_back:
                    await run.sending(row(1).key)
                with pytest.raises(LedgerError) as in_doubt:
                    await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1)
            finally:
                await asyncio.to_thread(postgres.start)
            assert Delivery.NOT_SENT is kept_back.value.delivery
            assert Delivery.UNKNOWN is in_doubt.value.delivery
            assert PASSWORD not in f"{kept_back.value!r}{in_doubt.value!r}"
            await run.sending(row(2).key)
            await run.finished(row(2).key, LedgerStatus.CREATED, attempts=1)

    asyncio.run(go_away())
    assert {0: "created", 1: "planned", 2: "created"} == asyncio.run(statuses(url))


def test_a_database_that_stays_away_leaves_what_was_sent_unknown(postgres, database):
    """The run says so and ends, and once its lease is over everybody sees what is in doubt."""
    url = postgres.url(database, outage_seconds=0.1)

    async def go_away():
        async with Ledger(url).run() as run:
            await run.claim(rows(0, 1))
            await run.sending(row(0).key)
            await asyncio.to_thread(postgres.stop)
            with pytest.raises(LedgerError, match="it cannot be reached"):
                await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1)

    try:
        asyncio.run(go_away())
    finally:
        postgres.start()
    assert "sending" == asyncio.run(statuses(url))[0]
    postgres.execute(database, END_LEASES)
    assert {0: "unknown", 1: "planned"} == asyncio.run(statuses(url))


def requests(count):
    return [
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="seq_1")
        for number in range(count)
    ]


@asynccontextmanager
async def at_work(sessions, **options):
    async with Emulator(requests_per_minute=1_000_000, **options) as emulator, AsyncExitStack() as opened:
        settings = {"base_url": emulator.base_url, "plan": Plan.ENTERPRISE, "max_in_flight": 4}
        made = [HindsightSession(emulator.api_key, **settings) for _ in range(sessions)]
        yield emulator, [await opened.enter_async_context(session) for session in made]


def test_runs_that_are_given_the_same_input_divide_it(url):
    """Three bulk runs over the same rows: each row leaves once, and each run has a verdict on every row."""

    async def enroll(hindsight):
        async with hindsight.interviews.create_many(requests(150), ledger=url) as run:
            async for _ in run:
                pass
        return run.counts

    async def divide():
        async with at_work(3, latency=0.002) as (emulator, sessions):
            counts = await asyncio.gather(*map(enroll, sessions))
            return counts, Counter(email.address for email in emulator.outbox)

    counts, sent = asyncio.run(divide())
    assert {f"c{number}@acme.example": 1 for number in range(150)} == sent
    assert [150, 150, 150] == [sum(each.values()) for each in counts]
    assert 150 == sum(each[OutcomeStatus.CREATED] for each in counts)
    assert sum(1 for each in counts if each[OutcomeStatus.CREATED]) > 1
    assert {OutcomeStatus.CREATED, OutcomeStatus.CLAIMED, OutcomeStatus.ALREADY_DONE} >= {
        status for each in counts for status, count in each.items() if count
    }


def ledger_row(request):
    return LedgerRow(key=interview_key(request), row_index=0, contact_email=request.contact_email)


def test_rows_in_another_runs_hand_are_no_failures(postgres, database):
    """However many they are, the run goes on to those that are free, and asks for them again until a lease is over."""
    everyone = requests(60)
    url = postgres.url(database, lease=0.9)

    async def enroll():
        async with at_work(1) as (emulator, (hindsight,)), Ledger(url).run() as other:
            await other.claim([ledger_row(each) for each in everyone[:50]])
            async with hindsight.interviews.create_many(everyone, ledger=url) as run:
                claimed = [each async for each in run if each.status is OutcomeStatus.CLAIMED]
            assert 10 == len(emulator.outbox)
            return claimed, run.counts

    claimed, counts = asyncio.run(enroll())
    assert (50, 10) == (counts[OutcomeStatus.CLAIMED], counts[OutcomeStatus.CREATED])
    assert Delivery.NOT_SENT is claimed[0].error.delivery
    assert "another run has this row in hand" in str(claimed[0].error)


def created(number):
    return CreatedInterview(interview_request_id=number, contact_id="c", status="sent")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "status"),
    [
        (LedgerStatus.CREATED, OutcomeStatus.ALREADY_DONE),
        (LedgerStatus.UNKNOWN, OutcomeStatus.UNKNOWN),
        (LedgerStatus.PLANNED, OutcomeStatus.CLAIMED),
        (LedgerStatus.SENDING, OutcomeStatus.CLAIMED),
        (LedgerStatus.NOT_SENT, OutcomeStatus.CREATED),
    ],
)
def test_a_bulk_run_that_lost_a_row_asks_what_became_of_it(postgres, database, end_leases, others, status):
    """What others took while it stood still is theirs, what they gave back is sent, and the run goes on."""
    url = postgres.url(database, lease=2)
    (lost, kept) = requests(2)
    sent = []

    async def take(other):
        await end_leases()
        await other.claim([ledger_row(lost)])
        if others is not LedgerStatus.PLANNED:
            await other.sending(interview_key(lost))
        if others in FINISHED:
            await other.finished(interview_key(lost), others, attempts=1)

    async def enroll():
        async with Ledger(url).run() as other:
            taken = []

            async def send(request, hooks):
                if request is lost and not taken:
                    taken.append(request)
                    await take(other)
                await hooks.about_to_send()
                sent.append(request)
                return created(len(sent))

            run = BulkRun(
                [lost, kept],
                CREATES,
                send,
                open_session=lambda: None,
                ledger=Ledger(url),
                max_in_flight=1,
                abort_after_failures=1 + (others is LedgerStatus.UNKNOWN),
            )
            async with run:
                return {outcome.index: outcome.status async for outcome in run}

    assert {0: status, 1: OutcomeStatus.CREATED} == asyncio.run(enroll())
    assert ([lost, kept] if status is OutcomeStatus.CREATED else [kept]) == sent


@pytest.mark.slow
@pytest.mark.parametrize("dead", [False, True], ids=["it lives", "it is taken for dead"])
def test_rows_that_wait_for_the_network_are_sent_once(url, end_leases, dead):
    """They stay in the hand of their run while that lives; where another took and made one meanwhile, it is not made again."""
    everyone = requests(4)

    async def enroll():
        emulator = Emulator(plan=Plan.ENTERPRISE)
        async with emulator:
            address = {
                "base_url": emulator.base_url,
                "plan": Plan.ENTERPRISE,
                "retry": RetryPolicy(attempts=1),
            }
            async with HindsightSession(emulator.api_key, **address) as hindsight:
                await emulator.close()
                async with hindsight.interviews.create_many(everyone, ledger=url) as run:
                    while not run.network.is_gone:
                        await asyncio.sleep(0.01)
                    run.network._pause.cancel()  # what looks renews the lease
                    while {"not_sent"} != set((await statuses(url)).values()):
                        await asyncio.sleep(0.01)
                    async with Ledger(url).run() as other:
                        if dead:
                            await end_leases()
                        known = await other.claim([ledger_row(each) for each in everyone])
                        assert {not dead} == {entry.in_hand for entry in known.values()}
                        if dead:
                            key = interview_key(everyone[0])
                            await other.sending(key)
                            await other.finished(
                                key, LedgerStatus.CREATED, attempts=1, interview_request_id=4821
                            )
                    await emulator.start()
                    run.network._let_one_look()
                    statuses_by_index = {outcome.index: outcome.status.value async for outcome in run}
        return statuses_by_index, len(emulator.outbox)

    made = "already_done" if dead else "created"
    assert ({0: made, 1: "created", 2: "created", 3: "created"}, 4 - dead) == asyncio.run(enroll())


def test_a_database_that_stays_away_while_a_lost_row_is_asked_for_ends_the_run(
    postgres, database, end_leases
):
    """The error is raised once, and the row is safe to run again."""
    url = postgres.url(database, outage_seconds=0.1)
    (request,) = requests(1)

    async def enroll():
        async with Ledger(url).run() as other:

            async def send(request, hooks):
                await end_leases()
                await other.claim([ledger_row(request)])
                try:
                    await hooks.about_to_send()
                finally:
                    await asyncio.to_thread(postgres.stop)

            run = BulkRun(
                [request],
                CREATES,
                send,
                open_session=lambda: None,
                ledger=Ledger(url),
                max_in_flight=1,
                abort_after_failures=20,
            )
            with pytest.raises(LedgerError, match="it cannot be reached"):
                async with run:
                    outcomes.extend([outcome async for outcome in run])

    outcomes = []
    try:
        asyncio.run(enroll())
    finally:
        postgres.start()
    assert [] == [outcome for outcome in outcomes if outcome.status is not OutcomeStatus.NOT_SENT]
    assert ["planned"] == list(asyncio.run(statuses(url)).values())


def test_one_event_that_reaches_two_processes_is_sent_once(url):
    """Create_once on one ledger from several runs: one creates, the others are told."""

    async def deliver():
        async with at_work(4, latency=0.002) as (emulator, sessions), runs(url, 4) as opened:
            answers = await asyncio.gather(
                *(
                    hindsight.interviews.create_once(request, ledger=run)
                    for request in requests(50)
                    for hindsight, run in zip(sessions, opened, strict=True)
                ),
                return_exceptions=True,
            )
            later = [
                await sessions[0].interviews.create_once(request, ledger=opened[0])
                for request in requests(50)
            ]
            return answers, later, Counter(email.address for email in emulator.outbox)

    answers, later, sent = asyncio.run(deliver())
    assert {1} == set(sent.values())
    created = [each for each in answers if isinstance(each, CreatedInterview)]
    assert 50 == len(sent) == sum(each.created_now for each in created)
    told = [each for each in answers if each not in created]
    assert {LedgerInUseError} >= {type(each) for each in told}
    assert all(0 < each.retry_after <= LEASE_SECONDS for each in told)
    assert {False} == {each.created_now for each in later}


@pytest.mark.parametrize("who", ["the same run", "another run"])
def test_an_event_in_hand_says_when_its_row_is_free_at_the_latest(postgres, database, who):
    """Should whoever is at it die, the row is free once its lease is over."""
    (request,) = requests(1)

    async def deliver():
        async with runs(postgres.url(database, lease=600), 2) as (holder, other):
            await holder.claim([ledger_row(request)])
            with pytest.raises(LedgerInUseError) as raised:
                await deliver_once(CREATES, request, holder if who == "the same run" else other, None)
            return raised.value

    error = asyncio.run(deliver())
    assert 500 < error.retry_after <= 600
    assert Delivery.NOT_SENT is error.delivery


def test_one_that_was_created_is_not_sent_again_though_a_person_said_so(url, end_leases):
    """The process stood still after its request left, and what a person decided meanwhile rests on less than it knows."""
    (request,) = requests(1)
    sent = []

    async def deliver():
        async with runs(url, 1) as (stopped,):

            async def send(_, row):
                await row.about_to_send()
                sent.append(row.key)
                await end_leases()
                await Ledger(url).resolve(row.key, not_created=True)
                return created(7)

            with pytest.raises(LedgerError) as raised:
                await deliver_once(CREATES, request, stopped, send)
            return raised.value

    error = asyncio.run(deliver())
    assert Delivery.UNKNOWN is error.delivery
    assert "it took effect, and its interview_request_id 7 is not recorded" in str(error)
    assert 1 == len(sent)


def test_one_that_was_taken_meanwhile_is_answered_with_what_was_made_of_it(url, end_leases):
    """The process stood still while it waited, another created it, and the first says so."""
    (request,) = requests(1)

    async def deliver():
        async with runs(url, 2) as (stopped, other):

            async def send(_, row):
                await end_leases()
                await other.claim([ledger_row(request)])
                await other.sending(row.key)
                await other.finished(row.key, LedgerStatus.CREATED, attempts=1, interview_request_id=7)
                await row.about_to_send()

            return await deliver_once(CREATES, request, stopped, send)

    again = asyncio.run(deliver())
    assert (False, 7) == (again.created_now, again.interview_request_id)


def test_the_end_of_the_event_loop_is_survived(url, postgres, database):
    """A run whose loop is stopped around it loses nothing: its lease ends, and no row claims too little."""
    marked = []

    async def mark_for_ever(run, numbers):
        for number in numbers:
            await run.sending(row(number).key)
            marked.append(number)

    async def run_for_ever():
        async with Ledger(url).run() as run:
            await run.claim(rows(*range(1000)))
            numbers = iter(range(1000))
            await asyncio.gather(*(mark_for_ever(run, numbers) for _ in range(16)))

    async def main():
        task = asyncio.create_task(run_for_ever())
        while len(marked) < 40:
            assert not task.done()
            await asyncio.sleep(0)

    asyncio.run(main())
    postgres.execute(database, END_LEASES)
    found = asyncio.run(statuses(url))
    assert 1000 == len(found)
    assert {"unknown"} == {found[number] for number in marked}
    assert {"unknown", "not_sent", "planned"} >= set(found.values())
