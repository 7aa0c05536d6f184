"""A queue on disk: accepted in milliseconds, sent at plan speed, each row once, whatever comes in between."""

import asyncio
import json
import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

import pytest

from full_disk import full_disk
from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    HindsightSession,
    Ledger,
    LedgerError,
    LedgerInUseError,
    LedgerStatus,
    OutcomeStatus,
    Plan,
    QueuePausedError,
    RateBudget,
    RecipientNotAllowedError,
    RetryPolicy,
    SessionClosedError,
    WaitTimeoutError,
)
from hindsight_async.delivery.ledger import queue_from_outside
from hindsight_async.delivery.ledger.entries import LedgerRow
from hindsight_async.delivery.queue.queue import DurableQueue
from hindsight_async.delivery.queue.sender import LOOK_EVERY
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.recipients import interview_key
from hindsight_async.resources.interviews.rows import CREATES
from simulated_server import Job, SimulatedServer, heavy_tail, local_clock

pytestmark = pytest.mark.usefixtures("in_memory")

START = datetime(2026, 9, 1, tzinfo=UTC)
CREATE = "POST /interviews"
ONCE = RetryPolicy(attempts=1)


def request(number=1, **fields):
    return CreateInterview(contact_email=f"jane{number}@acme.example", **{"sequence_id": "seq_1", **fields})


def clock():
    """Return the time by the test's own clock."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def ledger_in(folder, **options):
    return Ledger(folder / "deals.db", now=clock, **options)


@asynccontextmanager
async def serving(plan=Plan.ENTERPRISE, **options):
    """Yield an emulator and a session on it."""
    session_options = {name: options.pop(name) for name in ("api_key", "retry") if name in options}
    rails = {name: options.pop(name) for name in ("allowed_recipients",) if name in options}
    async with Emulator(plan=plan, **options) as emulator:
        wanted = {"api_key": emulator.api_key, "base_url": emulator.base_url, "plan": plan, "retry": ONCE}
        async with HindsightSession(**{**wanted, **session_options, **rails}) as hindsight:
            yield emulator, hindsight.interviews


async def statuses(folder):
    return [entry.status async for entry in ledger_in(folder).entries()]


def bodies_in(folder):
    with closing(sqlite3.connect(folder / "deals.db")) as opened:
        return [body for (body,) in opened.execute("SELECT request FROM interviews ORDER BY row_index, key")]


async def test_what_was_put_is_sent_once_and_its_body_is_gone(tmp_path):
    """Two deliveries of one event are one interview; the second learns what became of the first."""
    told = []
    async with (
        serving() as (emulator, interviews),
        interviews.queue(ledger_in(tmp_path), on_outcome=told.append) as queue,
    ):
        first = await queue.put(request(), key="hubspot:1:2")
        again = await queue.put(request(objective="why?"), key="hubspot:1:2")
        await queue.drain(60)
        later = await queue.put(request(), key="hubspot:1:2")
    assert (True, LedgerStatus.QUEUED) == (first.is_new, first.status)
    assert not again.is_new
    assert (False, LedgerStatus.CREATED, 1) == (later.is_new, later.status, later.interview_request_id)
    assert [OutcomeStatus.CREATED] == [outcome.status for outcome in told]
    assert [{"contact_email": "jane1@acme.example", "sequence_id": "seq_1"}] == [
        sent.body for sent in emulator.requests
    ]
    assert [None] == bodies_in(tmp_path)


async def test_a_put_is_on_disk_when_it_returns(tmp_path):
    """Another reader of the file sees the row with its body at once; a second put does not change it."""
    async with serving() as (_, interviews), interviews.queue(ledger_in(tmp_path), send=False) as queue:
        await queue.put(request(contact_context={"stage": "lost"}))
        await queue.put(request(contact_context={"stage": "won"}))
        (body,) = bodies_in(tmp_path)
    assert {"stage": "lost"} == json.loads(body)["contact_context"]


async def test_what_one_accepted_another_sends(tmp_path):
    """A process that only accepts works beside one that has the file, and before any has."""
    async with serving() as (emulator, interviews):
        async with interviews.queue(ledger_in(tmp_path), send=False) as accepting:
            accepted = await accepting.put_many([request(number) for number in range(20)])
            assert [True] * 20 == [each.is_new for each in accepted]
            assert [] == emulator.requests
            async with interviews.queue(ledger_in(tmp_path)) as sending:
                await sending.drain(60)
                late = await accepting.put(request(99))
                await accepting.drain(60)
            again = await accepting.put(request(99))
    assert late.is_new
    assert LedgerStatus.CREATED == again.status
    assert 21 == len(emulator.outbox)


async def test_one_process_at_a_time_sends_from_a_file(tmp_path):
    """The second is told so at once."""
    async with serving() as (_, interviews), interviews.queue(ledger_in(tmp_path)):
        with pytest.raises(LedgerInUseError):
            async with interviews.queue(ledger_in(tmp_path)):
                pass


@pytest.mark.parametrize("events", [150, pytest.param(1000, marks=pytest.mark.slow)])
async def test_many_events_are_accepted_at_once_and_sent_over_the_minutes(tmp_path, events):
    """1,000 against 60 a minute: all on disk at once, and out with no 429."""
    loop = asyncio.get_running_loop()
    async with (
        serving(Plan.ESSENTIALS) as (emulator, interviews),
        interviews.queue(ledger_in(tmp_path)) as queue,
    ):
        began = loop.time()
        accepted = await queue.put_many([request(number) for number in range(events)])
        assert all(each.is_new for each in accepted)
        assert 1.0 > loop.time() - began
        await asyncio.sleep(LOOK_EVERY)
        assert events >= queue.snapshot().queued >= events - 100
        assert events - 100 <= queue.snapshot().seconds_to_empty <= events
        await queue.drain()
    assert events == len(emulator.outbox)
    assert [] == [sent for sent in emulator.requests if sent.status == 429]


@pytest.mark.parametrize("events", [150, pytest.param(1000, marks=pytest.mark.slow)])
async def test_the_plan_is_used(tmp_path, events):
    """Between the ledger and the budget nothing is lost: 97 % of what 60 a minute allow."""
    loop, server = asyncio.get_running_loop(), SimulatedServer(60, "sliding")
    client = RateBudget(60, random=lambda: 0.0, wall_clock=local_clock).join(16)
    job = Job(server, heavy_tail(1))

    async def send(sent, hooks):
        await hooks.about_to_send()
        await job.send(client)
        return CreatedInterview(interview_request_id=job.done, contact_id="c", status="sent")

    queue = DurableQueue(
        CREATES, send, check=lambda _: None, open_session=lambda: None, ledger=ledger_in(tmp_path),
        limit=lambda: 60, max_in_flight=16, abort_after_failures=20, max_age=timedelta(days=7), on_outcome=None,
    )  # fmt: skip
    async with queue:
        began = loop.time()
        await queue.put_many([request(number) for number in range(events)])
        await queue.drain()
        took = loop.time() - began
    assert events == job.done
    assert [] == server.refused
    # A plan's worth leaves at once, and another each minute.
    assert 60 * ((events - 1) // 60) / took >= 0.97


async def test_old_rows_expire_and_are_not_sent(tmp_path, caplog):
    """What has waited for longer than max_age needs a person; the rest goes, and the first line says how many."""
    caplog.set_level(logging.INFO, "hindsight_async.delivery")
    async with serving() as (emulator, interviews):
        async with interviews.queue(ledger_in(tmp_path), send=False) as queue:
            await queue.put(request(1))
            await asyncio.sleep(3 * 86400)
            await queue.put(request(2))
        caplog.clear()
        async with interviews.queue(ledger_in(tmp_path), max_age=timedelta(days=2)) as queue:
            await queue.drain(60)
            assert LedgerStatus.EXPIRED == (await queue.put(request(1))).status
    assert ["jane2@acme.example"] == [email.address for email in emulator.outbox]
    first, second, *_ = [record.getMessage() for record in caplog.records if record.name.endswith("delivery")]
    assert first.endswith("1 rows are queued and will be sent")
    assert "1 rows are older than 2 days, 0:00:00" in second


async def test_what_grows_too_old_while_the_queue_is_open_is_not_sent(tmp_path):
    """A pause that outlasts max_age ends with nobody surprised by an email; what is put then goes."""
    async with (
        serving() as (emulator, interviews),
        interviews.queue(ledger_in(tmp_path), max_age=timedelta(seconds=60)) as queue,
    ):
        await queue_from_outside.pause(ledger_in(tmp_path), "by hand")
        await queue.put(request(1))
        await asyncio.sleep(90)
        await queue.put(request(2))
        await queue_from_outside.lift_pause(ledger_in(tmp_path))
        await queue.drain(600)
        assert LedgerStatus.EXPIRED == (await queue.put(request(1))).status
    assert ["jane2@acme.example"] == [email.address for email in emulator.outbox]


async def test_what_was_not_sent_for_a_passing_reason_is_tried_again(tmp_path):
    """Each pause is longer than the one before, and the person is emailed once in the end."""
    loop = asyncio.get_running_loop()
    async with serving() as (emulator, interviews):
        emulator.fail(CREATE, 429, times=4)
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            await queue.put(request())
            began = loop.time()
            await queue.drain()
    assert [429] * 4 + [200] == [200 if sent.status == 201 else sent.status for sent in emulator.requests]
    assert 1 == len(emulator.outbox)
    assert loop.time() - began >= 30


@pytest.mark.parametrize(
    ("fault", "phase", "status"),
    [
        (400, "before_commit", OutcomeStatus.REJECTED),
        (500, "after_commit", OutcomeStatus.UNKNOWN),
        ("disconnect", "after_commit", OutcomeStatus.UNKNOWN),
    ],
)
async def test_nothing_else_is_repeated(tmp_path, fault, phase, status):
    """What the API refused and what may have been taken is told once, kept with its body, and left to a person."""
    told = []
    async with serving() as (emulator, interviews):
        emulator.fail(CREATE, fault, phase, times=1)
        for _ in range(2):
            async with interviews.queue(ledger_in(tmp_path), on_outcome=told.append) as queue:
                accepted = await queue.put(request())
                await queue.drain(600)
                await asyncio.sleep(100)
    assert status.value == accepted.status
    assert [status] == [outcome.status for outcome in told]
    assert 1 == len(emulator.requests)
    assert [True] == [body is not None for body in bodies_in(tmp_path)]


async def test_a_refused_key_pauses_the_queue_for_all_until_it_is_lifted(tmp_path):
    """Few requests leave; the reason is in the ledger, seen by others, and survives; lifted, all is sent once."""
    async with serving() as (emulator, interviews):
        async with HindsightSession("wrong", base_url=emulator.base_url, plan=Plan.ENTERPRISE) as stranger:
            async with stranger.interviews.queue(ledger_in(tmp_path)) as queue:
                await queue.put_many([request(number) for number in range(100)])
                with pytest.raises(QueuePausedError, match="401"):
                    await queue.drain(60)
                assert 100 == queue.snapshot().queued
                assert "401" in queue.snapshot().paused_because
            assert 16 >= len(emulator.requests)
            assert "401" in (await queue_from_outside.backlog(ledger_in(tmp_path))).paused_because
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            with pytest.raises(QueuePausedError, match="401"):
                await queue.drain(60)
            assert [] == emulator.outbox
            assert await queue_from_outside.lift_pause(ledger_in(tmp_path))
            await asyncio.sleep(2 * LOOK_EVERY)
            await queue.drain(600)
    assert 100 == len(emulator.outbox) == len({email.address for email in emulator.outbox})


async def test_a_pause_by_hand_holds_back_what_has_not_left(tmp_path):
    """Within a look or two nothing goes out any more, from whichever process, and nothing is lost."""
    async with (
        serving(Plan.ESSENTIALS) as (emulator, interviews),
        interviews.queue(ledger_in(tmp_path)) as queue,
    ):
        await queue.put_many([request(number) for number in range(100)])
        await asyncio.sleep(10)
        await queue_from_outside.pause(ledger_in(tmp_path), "wrong template")
        await asyncio.sleep(2 * LOOK_EVERY)
        sent = len(emulator.requests)
        await asyncio.sleep(90)
        assert sent == len(emulator.requests)
        assert "wrong template" == queue.snapshot().paused_because
        await queue_from_outside.lift_pause(ledger_in(tmp_path))
        await asyncio.sleep(2 * LOOK_EVERY)
        await queue.drain()
    assert 100 == len(emulator.outbox) == len({email.address for email in emulator.outbox})


async def test_many_failures_in_a_row_pause_the_queue(tmp_path):
    """A sequence that is gone does not use up all rows: the queue stops, and says what the last one met."""
    async with serving() as (emulator, interviews):
        emulator.fail(CREATE, 400, times=1000)
        async with interviews.queue(ledger_in(tmp_path), abort_after_failures=5) as queue:
            await queue.put_many([request(number) for number in range(200)])
            with pytest.raises(
                QueuePausedError, match="5 rows in a row failed; the last: the server answered 400"
            ):
                await queue.drain(60)
    assert 5 + 16 >= len(emulator.requests)


async def test_a_network_that_is_gone_pauses_nothing(tmp_path):
    """Nobody has to lift anything: rows are tried again by themselves, and nothing has left."""
    async with (
        HindsightSession("key", base_url="http://127.0.0.1:1", plan=Plan.ENTERPRISE, retry=ONCE) as hindsight,
        hindsight.interviews.queue(ledger_in(tmp_path), abort_after_failures=3) as queue,
    ):
        await queue.put_many([request(number) for number in range(30)])
        with pytest.raises(WaitTimeoutError, match="30 rows are still queued after 120 s") as late:
            await queue.drain(120)
        assert 30 == late.value.last
        assert queue.snapshot().paused_because is None
        assert "no connection to" in queue.snapshot().last_error
    assert {LedgerStatus.QUEUED, LedgerStatus.NOT_SENT} >= set(await statuses(tmp_path))


async def test_leaving_the_block_finishes_what_is_in_flight_and_keeps_the_rest(tmp_path):
    """The next who opens the queue sends what is left; nobody is emailed twice and nothing is in doubt."""
    async with serving(latency=5.0) as (emulator, interviews):
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            await queue.put_many([request(number) for number in range(50)])
            await asyncio.sleep(2)
            assert 16 >= queue.snapshot().in_flight > 0
        assert 0 < len(emulator.outbox) <= 16
        assert len(emulator.outbox) == (await statuses(tmp_path)).count(LedgerStatus.CREATED)
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            await queue.drain()
    assert 50 == len(emulator.outbox) == len({email.address for email in emulator.outbox})


async def test_cancelled_while_it_waits_it_cuts_off_what_is_in_flight(tmp_path):
    """Those are in doubt, all else stays queued, and the file is free for the next."""
    async with serving(latency=500.0) as (emulator, interviews):

        async def work():
            async with interviews.queue(ledger_in(tmp_path)) as queue:
                await queue.put_many([request(number) for number in range(50)])
                await asyncio.sleep(2)

        working = asyncio.create_task(work())
        await asyncio.sleep(10)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        left = await statuses(tmp_path)
        assert len(emulator.requests) == left.count(LedgerStatus.UNKNOWN)
        assert 50 == len(left)
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            assert 50 - len(emulator.requests) == queue.snapshot().queued


async def test_what_on_outcome_raises_is_logged_and_ends_nothing(tmp_path, caplog):
    """Also where it is asynchronous; every other row is still told."""
    told = []

    async def tell(outcome):
        await asyncio.sleep(0.1)
        told.append(outcome.key)
        if len(told) == 1:
            raise ValueError("of my own")

    async with serving() as (_, interviews), interviews.queue(ledger_in(tmp_path), on_outcome=tell) as queue:
        await queue.put_many(
            [request(number) for number in range(3)], key_of=lambda request: request.contact_email
        )
        await queue.drain(60)
    assert 3 == len(set(told))
    assert "acme.example" not in caplog.text
    assert 1 == caplog.text.count("on_outcome raised for row")


async def test_a_contact_who_may_not_be_emailed_is_refused_at_the_door(tmp_path):
    """Nothing of what was put together is stored then, and no address is in the error."""
    async with serving(allowed_recipients=["*@ours.test"]) as (emulator, interviews):
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            with pytest.raises(RecipientNotAllowedError) as refused:
                await queue.put_many(
                    [CreateInterview(contact_email="us@ours.test", sequence_id="seq_1"), request(1)]
                )
            assert "jane1" not in str(refused.value)
            assert 0 == queue.snapshot().queued
    assert [] == emulator.requests


@pytest.mark.parametrize("send", [True, False])
async def test_a_person_who_is_queued_or_was_asked_is_not_asked_again(tmp_path, send):
    """Another deal of theirs within the time is a duplicate, whatever its key; after the time it goes."""
    within = {"once_per_contact_within": timedelta(days=90), "send": send, "max_age": timedelta(days=999)}
    async with serving() as (emulator, interviews):
        async with interviews.queue(ledger_in(tmp_path), **within) as queue:
            both = [request(1, deal_id="deal_1"), request(1, deal_id="deal_2"), request(2)]
            first, second, other = await queue.put_many(both)
            third = await queue.put(request(1), key="deal:3")
            again = await queue.put(request(1), key="deal:3")
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            await queue.drain(60)
        assert [
            ("queued", True),
            ("duplicate", True),
            ("queued", True),
            ("duplicate", True),
            ("duplicate", False),
        ] == [(each.status, each.is_new) for each in (first, second, other, third, again)]
        assert 2 == len(emulator.outbox)
        await asyncio.sleep(91 * 86400 if not send else 1)
        async with interviews.queue(ledger_in(tmp_path), **within) as queue:
            late = await queue.put(request(1, deal_id="deal_4"))
    assert ("duplicate" if send else "queued") == late.status


async def test_a_full_disk_holds_everything_back_until_there_is_room(tmp_path, caplog):
    """A put says so, the snapshot too, nothing leaves that could not be written down, and it goes on by itself."""
    async with serving() as (emulator, interviews), interviews.queue(ledger_in(tmp_path)) as queue:
        await queue.put(request(1))
        await queue.drain(60)
        await queue_from_outside.pause(ledger_in(tmp_path), "by hand")
        await queue.put_many([request(number) for number in range(2, 12)])
        await queue_from_outside.lift_pause(ledger_in(tmp_path))
        with full_disk():
            with pytest.raises(LedgerError, match="free some space"):
                await queue.put(request(99))
            await asyncio.sleep(20)
            assert "free some space" in queue.snapshot().trouble
            assert 1 == len(emulator.requests)
        await queue.drain(600)
        assert queue.snapshot().trouble is None
    assert 11 == len(emulator.outbox) == len({email.address for email in emulator.outbox})
    assert 1 == caplog.text.count("the queue sends nothing for now")


async def test_single_calls_share_the_queues_ledger(tmp_path):
    """`create_once` with the queue's run knows what was queued, and the other way round."""
    async with serving() as (emulator, interviews), interviews.queue(ledger_in(tmp_path)) as queue:
        created = await interviews.create_once(request(), ledger=queue)
        accepted = await queue.put(request())
        await queue.drain(60)
    assert created.interview_request_id == accepted.interview_request_id
    assert 1 == len(emulator.requests)


async def test_what_the_api_took_is_merged_into_later(tmp_path):
    """A queue remembers the context that it sent, where its ledger does, and `enrich` takes the queue as its ledger."""
    async with (
        serving() as (emulator, interviews),
        interviews.queue(ledger_in(tmp_path, store_contexts=True)) as queue,
    ):
        accepted = await queue.put(request(contact_context={"stage": "lost"}))
        await queue.drain(60)
        accepted = await queue.put(request())
        await interviews.enrich(accepted.interview_request_id, {"champion": True}, ledger=queue)
    assert {"contact_context": {"stage": "lost", "champion": True}} == emulator.requests[-1].body


async def test_what_a_bulk_run_gave_up_a_queue_may_take(tmp_path):
    """A row without a body could not be sent by the queue, so a put of it is a new one."""
    async with serving() as (emulator, interviews):
        async with ledger_in(tmp_path).run() as run:
            await run.claim(
                [LedgerRow(key=interview_key(request()), row_index=0, contact_email=request().contact_email)]
            )
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            assert (await queue.put(request())).is_new
            await queue.drain(60)
    assert 1 == len(emulator.outbox)


async def test_a_session_that_is_closed_ends_the_sending(tmp_path):
    """Whoever waits for an empty queue is told, and so is who looks at it; what is queued stays for the next."""
    async with serving(Plan.ESSENTIALS) as (emulator, interviews):
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        async with hindsight.interviews.queue(ledger_in(tmp_path)) as queue:
            await queue.put_many([request(number) for number in range(100)])
            await asyncio.sleep(5)
            assert queue.snapshot().is_sending
            await hindsight.close()
            with pytest.raises(SessionClosedError, match="the queue sends no more"):
                await queue.drain(600)
            assert not queue.snapshot().is_sending
        async with interviews.queue(ledger_in(tmp_path)) as queue:
            await queue.drain(600)
    assert 100 == len(emulator.outbox) == len({email.address for email in emulator.outbox})


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"max_age": 7}, TypeError, "max_age must be a timedelta, not int"),
        ({"max_age": timedelta(0)}, ValueError, "max_age must be above 0"),
        (
            {"abort_after_failures": 0},
            ValueError,
            "abort_after_failures must be a whole number of at least 1",
        ),
        ({"on_outcome": 3}, TypeError, "on_outcome must be callable, not int"),
        ({"lane": "fast"}, ValueError, "lane"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_opened(tmp_path, options, error, said):
    """The text names the argument; no file appears."""
    async with serving() as (_, interviews):
        with pytest.raises(error, match=said):
            interviews.queue(tmp_path / "deals.db", **options)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("key", "error"), [("", ValueError), ("  ", ValueError), (7, TypeError)])
async def test_a_key_of_the_callers_own_is_text(tmp_path, key, error):
    """Nothing is stored under a key that tells nothing."""
    async with serving() as (_, interviews), interviews.queue(ledger_in(tmp_path), send=False) as queue:
        with pytest.raises(error, match="key must"):
            await queue.put(request(), key=key)
    assert [] == bodies_in(tmp_path)


async def test_outside_its_block_it_does_nothing(tmp_path):
    """A put that nobody would send is refused; a block is entered once."""
    async with serving() as (_, interviews):
        queue = interviews.queue(ledger_in(tmp_path))
        with pytest.raises(RuntimeError, match="inside the queue's block"):
            await queue.put(request())
        async with queue:
            with pytest.raises(RuntimeError, match="one block"):
                await queue.__aenter__()
        with pytest.raises(RuntimeError, match="inside its block"):
            queue.snapshot()
        with pytest.raises(RuntimeError, match="inside the queue's block"):
            await queue.drain()
        async with interviews.queue(ledger_in(tmp_path), send=False) as accepting:
            with pytest.raises(RuntimeError, match="where it sends"):
                await interviews.create_once(request(), ledger=accepting)


async def test_without_a_key_only_accepting_works(tmp_path):
    """Who sends needs a key, and is told of it when the block begins; the file is free after that."""
    async with Emulator() as emulator:
        hindsight = HindsightSession(base_url=emulator.base_url)
        with pytest.raises(ValueError, match="HINDSIGHT_API_KEY"):
            async with hindsight.interviews.queue(ledger_in(tmp_path)):
                pass
        async with hindsight.interviews.queue(ledger_in(tmp_path), send=False) as queue:
            assert (await queue.put(request())).is_new
        await hindsight.close()
