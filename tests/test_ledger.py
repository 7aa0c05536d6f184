"""The ledger knows what was about to be sent and what became of it, and lets nothing leave twice."""

import asyncio
import hashlib
import sqlite3
from contextlib import aclosing, closing, suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hindsight_async import Ledger, LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.entries import FINISHED, LedgerRow
from hindsight_async.delivery.ledger.ledger import PAGE_ROWS
from hindsight_async.delivery.ledger.tables import LOOKUP_KEYS
from hindsight_async.errors import Delivery, LedgerError

pytestmark = pytest.mark.usefixtures("in_memory")

MOMENT = datetime(2026, 9, 1, 12, 30, 0, 250, tzinfo=UTC)
WAL_FRAME = 4096 + 24


def row(number, **changes):
    fields = {"row_index": number, "contact_email": f"person{number}@ours.test", "sequence_id": "seq_1"}
    return LedgerRow(**{"key": f"key-{number:06}", **fields, **changes})


def entry(number, status, **changes):
    """Return what the ledger should know of `row(number)`."""
    address = f"person{number}@ours.test"
    fields = {
        "key": f"key-{number:06}",
        "row_index": number,
        "contact_email": address,
        "address_hash": hashlib.sha256(address.encode()).hexdigest(),
        "sequence_id": "seq_1",
        "interview_type_id": None,
        "deal_id": None,
        "interview_request_id": None,
        "error_code": None,
        "attempts": 0,
        "planned_at": MOMENT,
        "sending_at": None,
        "finished_at": None,
    }
    return LedgerEntry(status=status, **{**fields, **changes})


async def bring_to(run, number, status):
    """Claim `row(number)` and take it to `status` the way a run, or a queue, does."""
    body = {"contact_email": f"person{number}@ours.test"} if status is LedgerStatus.QUEUED else {}
    await run.claim([row(number, request=body)])
    key = row(number).key
    if status not in (LedgerStatus.PLANNED, LedgerStatus.QUEUED):
        await run.sending(key)
    if status in FINISHED:
        await run.finished(key, status, attempts=1)


async def entries_of(ledger, **filters):
    return [found async for found in ledger.entries(**filters)]


async def status_of(ledger, number):
    key = row(number).key
    return (await ledger.known([key]))[key].status


def pretend_that_a_run_died(path, *numbers):
    """Leave rows in `sending` on disk with no run that has the ledger."""
    with closing(sqlite3.connect(path)) as opened, opened:
        for number in numbers:
            opened.execute("UPDATE interviews SET status = 'sending' WHERE key = ?", (row(number).key,))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "autumn.db"


@pytest.fixture
def ledger(path):
    return Ledger(path, now=lambda: MOMENT)


async def test_unseen_rows_are_planned(ledger):
    """Claiming rows that the ledger never saw returns nothing and writes them down whole."""
    other = row(1, interview_type_id="type_1", deal_id="deal_1", sequence_id=None)
    async with ledger.run() as run:
        assert {} == await run.claim([row(0), other])
    assert [
        entry(0, LedgerStatus.PLANNED),
        entry(1, LedgerStatus.PLANNED, interview_type_id="type_1", deal_id="deal_1", sequence_id=None),
    ] == await entries_of(ledger)


async def test_known_rows_are_returned_as_they_stand(ledger):
    """Claiming again, also in a later run, returns the entries that are there and plans only the others."""
    async with ledger.run() as run:
        await run.claim([row(0), row(1)])
    async with ledger.run() as run:
        known = await run.claim([row(2), row(1), row(0)])
        assert {f"key-{n:06}": entry(n, LedgerStatus.PLANNED) for n in (0, 1)} == known
        assert {f"key-{n:06}" for n in (0, 1, 2)} == set(await run.claim([row(0), row(1), row(2)]))


async def test_of_two_rows_with_one_key_the_first_is_planned(ledger):
    """A duplicate within one batch changes nothing about the row before it."""
    async with ledger.run() as run:
        assert {} == await run.claim([row(3), row(7, key=row(3).key), row(4)])
    assert [3, 4] == [found.row_index for found in await entries_of(ledger)]


async def test_an_empty_claim_is_no_trouble(ledger):
    """No rows, no entries."""
    async with ledger.run() as run:
        assert {} == await run.claim([])


@pytest.mark.parametrize("status", FINISHED)
async def test_a_row_ends_with_what_became_of_it(path, status):
    """Status, id, code, attempts and all three times are kept."""
    times = iter([MOMENT + timedelta(seconds=n) for n in range(9)])
    ledger = Ledger(path, now=lambda: next(times))
    async with ledger.run() as run:
        await run.claim([row(0)])
        await run.sending(row(0).key)
        await run.finished(row(0).key, status, attempts=3, interview_request_id=4821, error_code="odd")
    (found,) = await entries_of(ledger)
    kept = {"interview_request_id": 4821, "error_code": "odd", "attempts": 3}
    planned_at, sending_at, finished_at = (MOMENT + timedelta(seconds=n) for n in (1, 2, 3))
    assert found == entry(
        0, status, planned_at=planned_at, sending_at=sending_at, finished_at=finished_at, **kept
    )


async def test_times_are_kept_in_utc(path):
    """A clock of another time zone gives the same moments."""
    ledger = Ledger(path, now=lambda: MOMENT.astimezone(timezone(timedelta(hours=-9))))
    async with ledger.run() as run:
        await run.claim([row(0)])
    (found,) = await entries_of(ledger)
    assert MOMENT == found.planned_at
    assert timedelta(0) == found.planned_at.utcoffset()


async def test_without_a_clock_of_its_own_it_takes_the_machines(path):
    """The default clock is aware."""
    before = datetime.now(UTC)
    async with Ledger(path).run() as run:
        await run.claim([row(0)])
    (found,) = await entries_of(Ledger(path))
    assert before <= found.planned_at <= datetime.now(UTC)


async def test_attempts_add_up_over_runs(ledger):
    """A row that was not sent and is tried again keeps count; its old error is gone."""
    async with ledger.run() as run:
        await run.claim([row(0)])
        await run.finished(row(0).key, LedgerStatus.NOT_SENT, attempts=2, error_code="NotSentError")
        await run.sending(row(0).key)
        assert None is (await ledger.known([row(0).key]))[row(0).key].error_code
        await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1, interview_request_id=1)
    (found,) = await entries_of(ledger)
    assert (3, None, LedgerStatus.CREATED) == (found.attempts, found.error_code, found.status)


def test_only_rows_that_never_left_may_be_sent():
    """Planned, queued and not sent; nothing else."""
    assert [LedgerStatus.PLANNED, LedgerStatus.QUEUED, LedgerStatus.NOT_SENT] == [
        each for each in LedgerStatus if each.may_be_sent
    ]


@pytest.mark.parametrize("status", list(LedgerStatus))
async def test_the_ledger_itself_refuses_to_send_twice(ledger, status):
    """Marking a row as sending fails unless it may be sent, whatever the caller believes."""
    async with ledger.run() as run:
        await bring_to(run, 0, status)
        if status.may_be_sent:
            await run.sending(row(0).key)
            assert LedgerStatus.SENDING == await status_of(ledger, 0)
        else:
            with pytest.raises(
                LedgerError, match=f"row key-000000 is {status}, not planned or queued or not_sent"
            ):
                await run.sending(row(0).key)
            assert status == await status_of(ledger, 0)


@pytest.mark.parametrize("status", [LedgerStatus.CREATED, LedgerStatus.REJECTED, LedgerStatus.UNKNOWN])
async def test_an_end_is_an_end(ledger, status):
    """What became of a row is not overwritten."""
    async with ledger.run() as run:
        await bring_to(run, 0, status)
        with pytest.raises(LedgerError, match=f"row key-000000 is {status}"):
            await run.finished(row(0).key, LedgerStatus.NOT_SENT, attempts=1)
    assert status == await status_of(ledger, 0)


@pytest.mark.parametrize("status", [LedgerStatus.PLANNED, LedgerStatus.SENDING])
async def test_a_row_does_not_end_in_the_middle(ledger, status):
    """`planned` and `sending` are no results."""
    async with ledger.run() as run:
        await run.claim([row(0)])
        with pytest.raises(ValueError, match=f"a row does not end as {status}"):
            await run.finished(row(0).key, status, attempts=1)


async def test_a_row_that_was_never_claimed_is_an_error(ledger):
    """Neither sending nor finishing invents a row."""
    async with ledger.run() as run:
        with pytest.raises(LedgerError, match="there is no row key-000000"):
            await run.sending(row(0).key)
        with pytest.raises(LedgerError, match="there is no row key-000000"):
            await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1)
    assert [] == await entries_of(ledger)


async def test_what_a_dead_run_left_in_sending_becomes_unknown(path, ledger):
    """The next run takes it for sent without an answer, and touches no other row but one that was held back."""
    async with ledger.run() as run:
        for number, status in enumerate(LedgerStatus):
            await bring_to(run, number, status)
        await run.claim([row(len(LedgerStatus))])
    died_at = list(LedgerStatus).index(LedgerStatus.SENDING)
    pretend_that_a_run_died(path, died_at, len(LedgerStatus))
    async with ledger.run() as run:
        rows = [row(number) for number in range(len(LedgerStatus) + 1)]
        known = await run.claim(rows)
    *statuses, last = [known[each.key].status for each in rows]
    changed = {LedgerStatus.SENDING: LedgerStatus.UNKNOWN, LedgerStatus.DUPLICATE: LedgerStatus.NOT_SENT}
    assert [changed.get(status, status) for status in LedgerStatus] == statuses
    assert LedgerStatus.UNKNOWN == last


async def test_reading_after_a_crash_shows_unknown_rows(path, ledger):
    """A person sees what needs a decision, and decides, without another run in between."""
    async with ledger.run() as run:
        await run.claim([row(0), row(1)])
    pretend_that_a_run_died(path, 1)
    assert [1] == [found.row_index for found in await entries_of(ledger, status=LedgerStatus.UNKNOWN)]
    pretend_that_a_run_died(path, 0)
    await ledger.resolve(row(0).key, not_created=True)
    assert LedgerStatus.NOT_SENT == await status_of(ledger, 0)


async def test_a_living_runs_rows_are_its_own(ledger):
    """Reading while a run is on shows `sending` as it is, and resolving it is refused."""
    async with ledger.run() as run:
        await bring_to(run, 0, LedgerStatus.SENDING)
        assert 1 == (await ledger.counts())[LedgerStatus.SENDING]
        with pytest.raises(LedgerError, match="is sending, not unknown"):
            await ledger.resolve(row(0).key, not_created=True)
        await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1)
    assert LedgerStatus.CREATED == await status_of(ledger, 0)


async def test_a_person_says_that_it_was_created(ledger):
    """The row is then done, under the id given."""
    async with ledger.run() as run:
        await bring_to(run, 0, LedgerStatus.UNKNOWN)
        await ledger.resolve(row(0).key, created=4821)
        (found,) = (await run.claim([row(0)])).values()
    assert (LedgerStatus.CREATED, 4821) == (found.status, found.interview_request_id)


async def test_a_person_says_that_it_may_be_sent_again(ledger):
    """Only then does an unknown row leave once more."""
    async with ledger.run() as run:
        await bring_to(run, 0, LedgerStatus.UNKNOWN)
    await ledger.resolve(row(0).key, not_created=True)
    async with ledger.run() as run:
        await run.sending(row(0).key)
        await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1, interview_request_id=5)
    assert LedgerStatus.CREATED == await status_of(ledger, 0)


async def test_a_person_sends_again_what_was_refused_and_is_corrected(ledger):
    """A rejected row may leave once more, but nobody can say that it was created."""
    async with ledger.run() as run:
        await bring_to(run, 0, LedgerStatus.REJECTED)
    with pytest.raises(LedgerError, match="is rejected, not unknown;"):
        await ledger.resolve(row(0).key, created=1)
    await ledger.resolve(row(0).key, not_created=True)
    assert LedgerStatus.NOT_SENT == await status_of(ledger, 0)


@pytest.mark.parametrize("status", [LedgerStatus.PLANNED, LedgerStatus.CREATED, LedgerStatus.NOT_SENT])
async def test_no_other_row_is_sent_again(ledger, status):
    """Least of all one that was created."""
    async with ledger.run() as run:
        await bring_to(run, 0, status)
    with pytest.raises(LedgerError, match=f"is {status}, not unknown or rejected"):
        await ledger.resolve(row(0).key, not_created=True)
    assert status == await status_of(ledger, 0)


@pytest.mark.parametrize("created", [0, -1])
async def test_an_id_that_no_request_has_is_a_wrong_argument(ledger, created):
    """Ids start at 1."""
    with pytest.raises(ValueError, match=f"created={created} is no interview request id"):
        await ledger.resolve("any", created=created)


@pytest.mark.parametrize(
    "words", [{}, {"created": 1, "not_created": True}, {"created": 0, "not_created": True}]
)
async def test_a_decision_is_one_of_two(ledger, words):
    """Neither or both is an error before anything is read."""
    with pytest.raises(ValueError, match="either created=ID or not_created=True"):
        await ledger.resolve("any", **words)


@pytest.mark.parametrize("status", [each for each in LedgerStatus if each not in ("unknown", "sending")])
async def test_only_unknown_rows_need_a_decision(ledger, status):
    """Every other row is refused, naming its status; so is a key that is not there."""
    async with ledger.run() as run:
        await bring_to(run, 0, status)
    with pytest.raises(LedgerError, match=f"is {status}, not unknown"):
        await ledger.resolve(row(0).key, created=1)
    with pytest.raises(LedgerError, match="there is no row elsewhere"):
        await ledger.resolve("elsewhere", created=1)
    assert status == await status_of(ledger, 0)


async def test_entries_come_in_row_order_over_many_pages(ledger):
    """Every entry once, by row index and then key, whatever order they were planned in."""
    numbers = [(n * 7919) % (2 * PAGE_ROWS + 5) for n in range(2 * PAGE_ROWS + 5)]
    async with ledger.run() as run:
        await run.claim([row(n, row_index=n // 3) for n in numbers])
    assert [f"key-{n:06}" for n in sorted(numbers)] == [found.key for found in await entries_of(ledger)]


async def test_entries_of_one_status(ledger):
    """The others are left out."""
    async with ledger.run() as run:
        await run.claim([row(n) for n in range(5)])
        for number in (3, 1):
            await bring_to(run, number, LedgerStatus.UNKNOWN)
    assert [1, 3] == [found.row_index for found in await entries_of(ledger, status=LedgerStatus.UNKNOWN)]


async def test_entries_may_be_left_early_or_changed_on_the_way(ledger):
    """Resolving inside the loop works; leaving it keeps nothing open."""
    async with ledger.run() as run:
        for number in range(3):
            await bring_to(run, number, LedgerStatus.UNKNOWN)
    async with aclosing(ledger.entries(status=LedgerStatus.UNKNOWN)) as unknown:
        async for found in unknown:
            await ledger.resolve(found.key, not_created=True)
            break
    assert 2 == (await ledger.counts())[LedgerStatus.UNKNOWN]


async def test_counts_name_every_status(ledger):
    """Also those that no row has."""
    async with ledger.run() as run:
        assert dict.fromkeys(LedgerStatus, 0) == await ledger.counts()
        await run.claim([row(n) for n in range(4)])
        await bring_to(run, 2, LedgerStatus.REJECTED)
    expected = {LedgerStatus.PLANNED: 3, LedgerStatus.REJECTED: 1}
    assert dict.fromkeys(LedgerStatus, 0) | expected == await ledger.counts()


async def test_many_keys_are_looked_up_in_parts(ledger):
    """More keys than one query takes are all found; unknown ones are left out."""
    many = [row(n) for n in range(2 * LOOKUP_KEYS + 1)]
    async with ledger.run() as run:
        await run.claim(many)
        assert {each.key for each in many} == set(await run.claim(many))
    assert {each.key for each in many} == set(await ledger.known([*(each.key for each in many), "other"]))


async def test_where_there_is_no_ledger_nothing_is_known(path, ledger):
    """A rehearsal before the first run makes no file."""
    assert {} == await ledger.known(["any"])
    assert not path.exists()


@pytest.mark.parametrize(
    "ask", [lambda x: x.counts(), entries_of, lambda x: x.resolve("k", not_created=True)]
)
async def test_reading_makes_no_ledger(path, ledger, ask):
    """A mistyped name is an error that says so, and leaves no file."""
    with pytest.raises(LedgerError, match=r"there is no ledger at .*autumn\.db: name the file"):
        await ask(ledger)
    assert [] == list(path.parent.iterdir())


async def test_only_the_hash_is_stored_where_asked_for(path):
    """No byte of any of the ledger's files holds an address; the hash finds it again."""
    ledger = Ledger(path, store_addresses=False)
    async with ledger.run() as run:
        await run.claim([row(n) for n in range(50)])
        while_on = b"".join(each.read_bytes() for each in path.parent.iterdir())
    afterwards = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"key-000007" in while_on
    assert b"key-000007" in afterwards
    assert b"ours.test" not in while_on + afterwards
    found = (await entries_of(ledger))[7]
    assert (None, hashlib.sha256(b"person7@ours.test").hexdigest()) == (
        found.contact_email,
        found.address_hash,
    )


@pytest.mark.parametrize("first", [True, False])
async def test_storing_addresses_may_change_between_runs(path, first):
    """Each run's setting counts for the rows that it plans; the others stay, and all are found."""
    async with Ledger(path, store_addresses=first).run() as run:
        await run.claim([row(0)])
    async with Ledger(path, store_addresses=not first).run() as run:
        assert {row(0).key} == set(await run.claim([row(0), row(1)]))
    stored = [found.contact_email is not None for found in await entries_of(Ledger(path))]
    assert [first, not first] == stored


def test_no_repr_shows_an_address():
    """Tables and entries may be logged."""
    assert "ours.test" not in repr(row(0)) + repr(entry(0, LedgerStatus.PLANNED))
    assert entry(0, LedgerStatus.PLANNED).address_hash not in repr(entry(0, LedgerStatus.PLANNED))


async def test_concurrent_calls_share_one_write(path, ledger):
    """Sixteen marks at once cost a fraction of sixteen transactions' frames in the log."""
    log = path.with_name("autumn.db-wal")
    async with ledger.run() as run:
        await run.claim([row(n) for n in range(32)])
        before = log.stat().st_size
        for number in range(16):
            await run.sending(row(number).key)
        one_by_one = log.stat().st_size - before
        await asyncio.gather(*(run.sending(row(number).key) for number in range(16, 32)))
        together = log.stat().st_size - before - one_by_one
    assert 16 * WAL_FRAME <= one_by_one
    assert 4 * WAL_FRAME >= together
    assert 32 == (await ledger.counts())[LedgerStatus.UNKNOWN]


async def test_one_bad_call_does_not_fail_those_beside_it(ledger):
    """What cannot be stored or may not be done fails alone, though the transaction is shared."""
    async with ledger.run() as run:
        await run.claim([row(n) for n in range(4)])
        await run.sending(row(0).key)
        failed = await asyncio.gather(
            run.sending("nowhere"),
            run.sending(row(1).key),
            run.finished(row(0).key, LedgerStatus.CREATED, attempts=1, interview_request_id=2**63),
            run.claim([row(9, contact_email="lone\ud800@ours.test")]),
            run.sending(row(2).key),
            return_exceptions=True,
        )
        assert [LedgerError, None, LedgerError, LedgerError, None] == [each and type(each) for each in failed]
        assert Delivery.UNKNOWN is failed[2].delivery
        expected = {LedgerStatus.SENDING: 3, LedgerStatus.PLANNED: 1}
        assert dict.fromkeys(LedgerStatus, 0) | expected == await ledger.counts()


async def test_an_error_code_that_is_no_text_is_kept_as_well_as_can_be(ledger):
    """Half a surrogate pair from a strange server does not stop the run."""
    async with ledger.run() as run:
        await run.claim([row(0)])
        await run.finished(row(0).key, LedgerStatus.REJECTED, attempts=1, error_code="odd\ud800")
    assert "odd?" == (await entries_of(ledger))[0].error_code


async def test_a_run_that_is_over_takes_nothing_more(ledger):
    """What comes late is told so, and is not lost silently."""
    async with ledger.run() as run:
        await run.claim([row(0)])
    with pytest.raises(LedgerError, match=r"the run on .*autumn\.db is over"):
        await run.sending(row(0).key)


async def test_leaving_waits_until_all_is_written(ledger):
    """What was asked for before the end of the block is on disk after it."""
    async with ledger.run() as run:
        await run.claim([row(n) for n in range(20)])
        asked = [
            asyncio.create_task(run.finished(row(n).key, LedgerStatus.REJECTED, attempts=1))
            for n in range(20)
        ]
        await asyncio.sleep(0)
    assert 20 == (await ledger.counts())[LedgerStatus.REJECTED]
    assert [None] * 20 == await asyncio.gather(*asked)


async def test_the_callers_own_error_passes_through(ledger):
    """An error in the block is not taken for the ledger's, and the next run finds the ledger free."""
    error = OSError("not about the ledger")
    with pytest.raises(OSError, match="not about the ledger") as caught:
        async with ledger.run():
            raise error
    assert error is caught.value
    async with ledger.run():
        pass


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 30])
async def test_a_mark_that_is_cancelled_has_sent_nothing(ledger, steps):
    """Whenever the cancellation comes, the row is not taken for sent, and the run goes on."""
    async with ledger.run() as run:
        await run.claim([row(0), row(1)])
        marking = asyncio.create_task(run.sending(row(0).key))
        for _ in range(steps):
            await asyncio.sleep(0)
        marking.cancel()
        with suppress(asyncio.CancelledError):
            await marking
        await run.sending(row(1).key)
        await run.finished(row(1).key, LedgerStatus.CREATED, attempts=1)
    expected = LedgerStatus.NOT_SENT if marking.cancelled() else LedgerStatus.UNKNOWN
    assert [expected, LedgerStatus.CREATED] == [found.status for found in await entries_of(ledger)]


async def test_a_mark_that_is_cancelled_once_it_is_on_disk_is_taken_back(ledger):
    """The cancellation that arrives together with the success counts: nothing was sent."""

    async def mark_and_cancel(run, other):
        await run.sending(row(0).key)
        other.result().cancel()

    async with ledger.run() as run:
        await run.claim([row(0), row(1)])
        other = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(mark_and_cancel(run, other))
        second = asyncio.create_task(run.sending(row(1).key))
        other.set_result(second)
        await asyncio.wait([first, second])
        assert second.cancelled()
        await first
        await asyncio.sleep(0)
    assert [LedgerStatus.UNKNOWN, LedgerStatus.NOT_SENT] == [e.status for e in await entries_of(ledger)]


async def test_a_mark_that_is_taken_back_is_that_one_and_no_later(path):
    """A caller gives up while its mark is written, and the row is marked anew meanwhile: the new mark stays."""
    times = (MOMENT + timedelta(seconds=n) for n in range(99))
    ledger = Ledger(path, now=lambda: next(times))
    async with ledger.run() as run:
        await run.claim([row(0)])
        given_up = asyncio.create_task(run.sending(row(0).key))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert given_up.cancelled()
        await asyncio.gather(
            run.finished(row(0).key, LedgerStatus.NOT_SENT, attempts=0), run.sending(row(0).key)
        )
        await run.claim([row(1)])
        assert LedgerStatus.SENDING == await status_of(ledger, 0)
        await run.finished(row(0).key, LedgerStatus.CREATED, attempts=1)


async def test_a_refused_mark_that_is_cancelled_takes_nothing_back(ledger):
    """Another caller has the row in flight: its mark stays."""
    async with ledger.run() as run:
        await run.claim([row(0)])
        await run.sending(row(0).key)
        refused = asyncio.create_task(run.sending(row(0).key))
        await asyncio.sleep(0)
        refused.cancel()
        await asyncio.wait([refused])
    assert LedgerStatus.UNKNOWN == await status_of(ledger, 0)


async def test_an_outcome_is_recorded_though_its_caller_is_cancelled(ledger):
    """What happened, happened."""
    async with ledger.run() as run:
        await bring_to(run, 0, LedgerStatus.SENDING)
        recording = asyncio.create_task(run.finished(row(0).key, LedgerStatus.CREATED, attempts=1))
        await asyncio.sleep(0)
        recording.cancel()
        await asyncio.wait([recording])
        assert recording.cancelled()
    assert LedgerStatus.CREATED == await status_of(ledger, 0)


async def enter_and_leave(ledger):
    async with ledger.run() as run:
        await run.claim([row(1)])


@pytest.mark.parametrize(
    "use", [enter_and_leave, lambda x: x.counts(), entries_of, lambda x: x.resolve(row(0).key, created=1)]
)
async def test_cancelled_anywhere_the_ledger_stays_usable(path, ledger, use):
    """After any number of steps: nothing stays open, the lock is free, and what was durable is there."""
    async with ledger.run() as run:
        await bring_to(run, 0, LedgerStatus.UNKNOWN)
    for steps in (0, 1, 2, 3, 5, 8, 13, 20, 30, 45):
        task = asyncio.ensure_future(use(ledger))
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 1e-9)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None or "not unknown" in str(task.exception())
        assert {"autumn.db", "autumn.db-lock"} == {each.name for each in path.parent.iterdir()}
    async with ledger.run() as run:
        assert row(0).key in await run.claim([row(0)])


async def test_cancelled_twice_it_still_closes(path, ledger):
    """An impatient second cancellation leaves nothing open either."""
    task = asyncio.create_task(enter_and_leave(ledger))
    for _ in range(4):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not path.with_name("autumn.db-wal").exists()
    async with ledger.run():
        pass


def test_the_end_of_the_event_loop_is_survived(path):
    """A run whose loop is stopped around it leaves a ledger that opens, and no row that claims too little."""
    ledger = Ledger(path)
    recorded = []

    async def mark_for_ever(run, numbers):
        for number in numbers:
            await run.sending(row(number).key)
            recorded.append(number)

    async def run_for_ever():
        async with ledger.run() as run:
            await run.claim([row(n) for n in range(4000)])
            numbers = iter(range(4000))
            await asyncio.gather(*(mark_for_ever(run, numbers) for _ in range(16)))

    async def main():
        task = asyncio.create_task(run_for_ever())
        while len(recorded) < 40:
            await asyncio.sleep(0)
        assert not task.done()

    async def look():
        async with ledger.run():
            pass
        return await entries_of(ledger)

    asyncio.run(main())
    found = {each.row_index: each.status for each in asyncio.run(look())}
    assert 4000 == len(found)
    assert {LedgerStatus.UNKNOWN} == {found[number] for number in recorded}
    assert {LedgerStatus.UNKNOWN, LedgerStatus.NOT_SENT, LedgerStatus.PLANNED} >= set(found.values())


async def test_a_reader_in_the_middle_of_a_query_holds_nobody_up(path, ledger):
    """Another program may read the file as it was while the run goes on."""
    async with ledger.run() as run:
        await run.claim([row(0), row(1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            assert ("planned",) == other.execute("SELECT status FROM interviews").fetchone()
            await run.sending(row(0).key)
            assert ("planned",) == other.execute("SELECT status FROM interviews ORDER BY key").fetchone()
            other.execute("COMMIT")
            assert ("sending",) == other.execute("SELECT status FROM interviews ORDER BY key").fetchone()


async def test_waiting_for_the_file_does_not_hold_up_the_event_loop(path, ledger):
    """While another program writes, a mark waits in its thread and everything else goes on."""
    async with ledger.run() as run:
        await run.claim([row(0)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            marking = asyncio.create_task(run.sending(row(0).key))
            for _ in range(1000):
                await asyncio.sleep(0)
            assert not marking.done()
            other.execute("ROLLBACK")
        await marking
        assert LedgerStatus.SENDING == await status_of(ledger, 0)
