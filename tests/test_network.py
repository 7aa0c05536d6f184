"""A network that is gone for a while: one looks for it, the others wait, and nobody is lost or asked twice."""

import asyncio
import math
import re
import socket
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import (
    BadRequestError,
    BulkAbortedError,
    CreateInterview,
    Delivery,
    HindsightSession,
    HTTPInfo,
    Ledger,
    LedgerError,
    LedgerStatus,
    NotSentError,
    OutcomeStatus,
    OutcomeUnknownError,
    Plan,
    RetryPolicy,
    Timeouts,
    UpdateInterview,
)
from hindsight_async.call.failure import NOBODYS_PORT, finds_nobody
from hindsight_async.delivery.failures import FailuresInARow
from hindsight_async.delivery.network import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    NetworkWait,
    finds_no_network,
    pause_before_look,
)
from hindsight_async.delivery.outcomes import Outcome
from hindsight_async.delivery.row import Row
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.rows import CREATES
from raw_server import raw_server
from virtual_time import PAST_THE_TIMER

pytestmark = pytest.mark.usefixtures("in_memory")

NOWHERE = NotSentError("no connection", no_connection=True)
ONCE = RetryPolicy(attempts=1)


def now():
    return asyncio.get_running_loop().time()


def requests(count):
    return [
        CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="s") for number in range(count)
    ]


def session(emulator, **options):
    return HindsightSession(
        emulator.api_key,
        base_url=emulator.base_url,
        **{"plan": Plan.ENTERPRISE, "max_in_flight": 8, **options},
    )


async def all_outcomes(run):
    return sorted([outcome async for outcome in run], key=lambda outcome: outcome.index)


def addresses(emulator):
    return sorted(email.address for email in emulator.outbox)


@pytest.fixture
async def emulator():
    async with Emulator(plan=Plan.ENTERPRISE, latency=0.1) as running:
        yield running


@asynccontextmanager
async def away(emulator, seconds):
    """Close the emulator's port for so many seconds."""
    await emulator.close()
    opening = asyncio.get_running_loop().create_task(asyncio.sleep(seconds))
    opening.add_done_callback(lambda _: tasks.append(asyncio.create_task(emulator.start())))
    tasks = []
    yield
    await opening
    await asyncio.gather(*tasks)


class Looks:
    """A network that is gone until a moment, and those who look for it."""

    def __init__(self, wait, back_at):
        self.wait, self.back_at = wait, back_at
        self.at, self.together, self.most = [], 0, 0

    async def send(self):
        """Send until it is through; take half a second."""
        while True:
            await self.wait.passable()
            self.at.append(now())
            self.together += 1
            self.most = max(self.most, self.together)
            await asyncio.sleep(0.5)
            self.together -= 1
            if now() >= self.back_at:
                self.wait.worked()
                return
            if not self.wait.failed(NOWHERE):
                raise NOWHERE


# What says that it is gone


def key():
    return ConnectionKey("api.test", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "nobody"),
    [
        (aiohttp.ClientConnectorDNSError(key(), OSError("no such name")), True),
        (aiohttp.ClientConnectorError(key(), ConnectionRefusedError()), True),
        (aiohttp.ClientProxyConnectionError(key(), OSError("no route")), True),
        (aiohttp.ConnectionTimeoutError(), True),
        (aiohttp.ClientHttpProxyError(None, (), status=503), True),
        (aiohttp.ClientHttpProxyError(None, (), status=407), False),
        (aiohttp.ClientConnectorSSLError(key(), OSError("TLS 1.0")), False),
        (aiohttp.ClientConnectorCertificateError(key(), OSError("a stranger")), False),
        (aiohttp.ClientConnectorError(key()._replace(port=NOBODYS_PORT), OSError()), False),
        (aiohttp.ServerDisconnectedError(), False),
        (aiohttp.InvalidURL("x"), False),
        (ZeroDivisionError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_a_connection_that_was_not_made_says_that_nobody_is_there(error, nobody):
    """A name, a route, a port or a proxy that is missing; a certificate, a refusal or a broken connection is something else."""
    assert nobody is finds_nobody(error)


async def test_an_error_says_whether_there_was_a_connection(emulator):
    """It can be told from every other reason for which nothing left, and outlives a trip through pickle as all fields do."""
    await emulator.close()
    async with session(emulator, retry=ONCE) as hindsight:
        with pytest.raises(NotSentError) as raised:
            await hindsight.interviews.create(requests(1)[0])
    assert finds_no_network(raised.value)
    assert not finds_no_network(NotSentError("the run was cut off before"))
    assert not finds_no_network(OutcomeUnknownError("the connection broke"))


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_a_limit_and_are_drawn(looks, random):
    """Never longer than the limit, never less than half of what it is at that look, and never shorter than the one before."""
    pause, whole = pause_before_look(looks, random), pause_before_look(looks, 0.0)
    assert whole / 2 <= pause <= whole <= LONGEST_PAUSE
    assert pause <= pause_before_look(looks + 1, random)
    assert FIRST_PAUSE == pause_before_look(1, 0.0)


@pytest.mark.parametrize("wrong", [-1, -0.5, math.nan])
def test_a_time_that_is_none_is_refused(wrong):
    """The text names the argument, and what may be given."""
    with pytest.raises(ValueError, match=r"wait_for_network must be seconds, at least 0, or None"):
        HindsightSession("key").interviews.create_many([], wait_for_network=wrong)


@pytest.mark.parametrize("wrong", ["600", True])
def test_a_time_of_another_type_is_refused(wrong):
    """Text and truth values are no seconds."""
    with pytest.raises(TypeError, match="wait_for_network must be a number or None, not"):
        HindsightSession("key").interviews.update_many([], wait_for_network=wrong)


# Waiting


async def test_one_at_a_time_looks_and_all_go_on_once_it_is_back():
    """Sixteen that find it gone wait, one looks after each pause, each longer than the last, and all are through."""
    wait = NetworkWait(600, random=lambda: 0.0)
    looks = Looks(wait, back_at=60)
    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(looks.send())
        await asyncio.sleep(1)
        assert (16, 16, 0) == (looks.most, len(looks.at), looks.together)
        looks.most = 0
        while wait.is_gone:
            await asyncio.sleep(0.1)
            assert looks.most <= 1 or not wait.is_gone
    begun = looks.at[16:-15]
    gaps = [round(after - before, 3) for before, after in zip([0.0, *begun], begun, strict=False)]
    assert [1.5, 2.5, 4.5, 8.5, 15.5, 15.5, 15.5] == gaps
    assert [begun[-1] + 0.5] * 15 == pytest.approx(looks.at[-15:], abs=0.01)
    assert 63.5 == pytest.approx(wait.gone_for, abs=0.01)


async def test_who_comes_while_it_is_gone_waits_too():
    """A row that begins in a pause does not look before its turn."""
    wait = NetworkWait(None, random=lambda: 0.0)
    looks = Looks(wait, back_at=10)
    async with asyncio.TaskGroup() as group:
        group.create_task(looks.send())
        await asyncio.sleep(0.6)
        group.create_task(looks.send())
        await asyncio.sleep(0.5)
        assert 1 == len(looks.at)
    assert [17, 17.5] == pytest.approx([at for at in looks.at if at > 10], abs=0.01)


@pytest.mark.parametrize("looking", [True, False], ids=["while it looks", "while it waits"])
async def test_one_that_is_cancelled_leaves_its_turn_to_another(looking):
    """Whoever is cancelled, looking or waiting, in whichever turn of the loop, the others find the network again."""
    for turns in range(4):
        wait = NetworkWait(None, random=lambda: 0.0)
        looks = Looks(wait, back_at=now() + 10)

        async def send(wait=wait, looks=looks):
            try:
                await looks.send()
            except asyncio.CancelledError as error:
                wait.failed(error)
                raise

        senders = [asyncio.create_task(send()) for _ in range(3)]
        await asyncio.sleep(0.6)
        due = now() + 0.9
        await asyncio.sleep(1.1 if looking else due - now())
        for _ in range(turns):
            await asyncio.sleep(0)
        senders[0].cancel()
        with suppress(asyncio.CancelledError):
            await senders[0]
        await asyncio.gather(*senders[1:])
        assert not wait.is_gone


async def test_one_that_is_cancelled_just_as_it_may_look_leaves_that_to_the_next():
    """In the very turn of the loop in which the pause ends."""
    wait = NetworkWait(None, random=lambda: 0.0)
    await wait.passable()
    assert wait.failed(NOWHERE)
    first, second = (asyncio.create_task(wait.passable()) for _ in range(2))
    asyncio.get_running_loop().call_later(FIRST_PAUSE + PAST_THE_TIMER / 2, first.cancel)
    await asyncio.wait_for(second, FIRST_PAUSE + 1)
    assert first.cancelled()


async def test_a_look_that_tells_nothing_gives_the_turn_away_at_once():
    """A ledger that fails, or a rail that keeps a row back, is no sign of the network."""
    wait = NetworkWait(600, random=lambda: 0.0)
    await wait.passable()
    assert wait.failed(NOWHERE)
    second = asyncio.create_task(wait.passable())
    await wait.passable()
    began = now()
    assert not wait.failed(LedgerError("the disk is full"))
    await second
    assert began == now()
    assert wait.is_gone


@pytest.mark.parametrize("status", [400, 503])
async def test_a_refusal_shows_that_the_network_is_back(status):
    """Whatever the answer says, somebody gave it."""
    wait = NetworkWait(600)
    assert wait.failed(NOWHERE)
    refusal = BadRequestError("no", status=status)
    assert not wait.failed(refusal)
    assert wait.is_gone
    refusal.http = HTTPInfo(status, {}, 1, 0.0)
    assert not wait.failed(refusal)
    assert not wait.is_gone


async def test_it_is_given_up_when_the_time_is_over_and_not_before():
    """The last look is made at the end; then nobody waits any more, and what ends the run says for how long it was gone."""
    wait, told = NetworkWait(100, random=lambda: 0.9), []
    wait.on_change = lambda network: told.append((network.is_gone, network.given_up is not None))
    looks = Looks(wait, back_at=math.inf)
    ends = await asyncio.gather(*(looks.send() for _ in range(4)), return_exceptions=True)
    assert [NOWHERE] * 4 == ends
    assert 100.5 == pytest.approx(looks.at[-4], abs=0.01)
    assert 100.5 == pytest.approx(wait.gone_for, abs=0.01)
    assert "the network was gone for 101 s: no connection" == wait.given_up.summary
    assert wait.given_up.__cause__ is NOWHERE
    assert [(True, False), (False, True)] == told
    await wait.passable()


async def test_no_time_waits_for_nothing_and_none_without_end():
    """0 is as if there were no such thing; None goes on for days."""
    at_once, patient = NetworkWait(0), NetworkWait(None, random=lambda: 0.0)
    assert not at_once.failed(NOWHERE)
    await at_once.passable()
    assert at_once.given_up is None
    await Looks(patient, back_at=20_000).send()
    assert now() == pytest.approx(20_000, abs=20)


async def test_a_network_that_comes_and_goes_has_its_whole_time_each_time():
    """One success starts the time, and the pauses, again."""
    wait = NetworkWait(10, random=lambda: 0.0)
    for _ in range(5):
        await Looks(wait, back_at=now() + 8).send()
    assert wait.given_up is None


async def test_what_a_hook_raises_changes_nothing(caplog):
    """It is logged, and the wait goes on."""
    wait = NetworkWait(10)
    wait.on_change = lambda _: 1 / 0
    assert wait.failed(NOWHERE)
    assert "on_change failed" in caplog.text


async def test_a_change_that_may_have_been_made_is_not_begun_again():
    """Where an earlier attempt has no answer its row is in doubt, though the network is gone by now."""
    wait = NetworkWait(10)
    assert not wait.failed(NotSentError("no way", no_connection=True, delivery=Delivery.UNKNOWN))
    assert wait.is_gone


# Runs


@pytest.mark.parametrize("kept", [False, True], ids=["no ledger", "ledger"])
async def test_a_run_goes_on_where_the_network_took_it(emulator, tmp_path, caplog, kept):
    """Gone for five minutes in the middle: every row is created, each once, in the same run; the log says both ends of it."""
    ledger = Ledger(tmp_path / "autumn.db") if kept else None
    async with session(emulator) as hindsight:
        async with hindsight.interviews.create_many(requests(60), ledger=ledger) as run:
            outcomes = [await anext(run) for _ in range(20)]
            async with away(emulator, 300):
                outcomes += [outcome async for outcome in run]
    lost = [outcome for outcome in outcomes if outcome.status is not OutcomeStatus.CREATED]
    # Those whose answers were under way when the port was closed.
    assert all(outcome.status is OutcomeStatus.UNKNOWN for outcome in lost)
    assert len(lost) <= 8
    assert 60 == len(outcomes) == len({outcome.index for outcome in outcomes})
    assert len(set(addresses(emulator))) == len(emulator.outbox) >= 60 - len(lost)
    assert 300 < now() < 330
    assert "it is tried again for up to 600 s" in caplog.text
    assert re.search(r"the network is back after (29\d|3\d\d) s", caplog.text)
    assert max(outcome.attempts for outcome in outcomes) > 4
    if ledger is not None:
        counts = await ledger.counts()
        assert (60 - len(lost), len(lost)) == (counts[LedgerStatus.CREATED], counts[LedgerStatus.UNKNOWN])


async def test_rows_that_wait_for_the_network_are_in_no_doubt(emulator, tmp_path):
    """The ledger says so meanwhile, so that a kill leaves nothing unknown; at most the one that looks is marked."""
    await emulator.close()
    ledger = Ledger(tmp_path / "autumn.db")
    async with session(emulator) as hindsight:
        async with hindsight.interviews.create_many(requests(12), ledger=ledger) as run:
            for _ in range(10):
                await asyncio.sleep(7)
                assert (await ledger.counts())[LedgerStatus.SENDING] <= 1
            assert run.network.is_gone
            await emulator.start()
            await all_outcomes(run)
    assert 12 == run.counts[OutcomeStatus.CREATED] == len(emulator.outbox)
    attempts = [entry.attempts async for entry in ledger.entries()]
    assert 4 < max(attempts)


@pytest.mark.parametrize("end", ["stop", "leave", "cancel"])
@pytest.mark.parametrize("kept", [False, True], ids=["no ledger", "ledger"])
async def test_a_run_that_waits_ends_at_once(emulator, tmp_path, end, kept):
    """Stopped, left or cancelled, in any moment of the wait: no row is in doubt, and the next run sends them all."""
    for moment in (0.1, 2.2, 10.0):
        await emulator.close()
        ledger = Ledger(tmp_path / f"{moment}.db") if kept else None
        rows = [
            CreateInterview(contact_email=f"c{number}.{moment}@acme.example", sequence_id="s")
            for number in range(12)
        ]
        async with session(emulator) as hindsight:
            stopping = asyncio.create_task(asyncio.sleep(moment))
            ended_at = []

            async def go(rows=rows, ledger=ledger, stopping=stopping, ended_at=ended_at, hindsight=hindsight):
                async with hindsight.interviews.create_many(rows, ledger=ledger) as run:
                    await stopping
                    ended_at.append(now())
                    if end == "stop":
                        await run.stop()
                    if end == "cancel":
                        await asyncio.sleep(1000)
                return run

            going = asyncio.create_task(go())
            if end == "cancel":
                await stopping
                await asyncio.sleep(0)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
            else:
                run = await going
                assert {OutcomeStatus.NOT_SENT} == {status for status, count in run.counts.items() if count}
            assert now() - ended_at[0] < 0.1
            if ledger is not None:
                counts = await ledger.counts()
                assert {LedgerStatus.PLANNED, LedgerStatus.NOT_SENT} >= {
                    status for status, count in counts.items() if count
                }
                await emulator.start()
                async with hindsight.interviews.create_many(rows, ledger=ledger) as run:
                    await all_outcomes(run)
                assert 12 == run.counts[OutcomeStatus.CREATED]
    assert len(set(addresses(emulator))) == len(emulator.outbox) == (36 if kept else 0)


async def test_a_network_that_stays_away_ends_the_run(emulator, tmp_path):
    """It raises why and after how long; every row is safe to run again, and the next run sends each once."""
    await emulator.close()
    ledger = Ledger(tmp_path / "autumn.db")
    async with session(emulator) as hindsight:
        with pytest.raises(
            BulkAbortedError, match=r"the network was gone for 12\d s: no connection to"
        ) as raised:
            async with hindsight.interviews.create_many(
                requests(30), ledger=ledger, wait_for_network=120
            ) as run:
                await all_outcomes(run)
        assert 120 < now() < 130
        assert isinstance(raised.value.__cause__, NotSentError)
        assert {OutcomeStatus.NOT_SENT: 8} == {status: count for status, count in run.counts.items() if count}
        await emulator.start()
        async with hindsight.interviews.create_many(requests(30), ledger=ledger) as run:
            await all_outcomes(run)
    assert 30 == run.counts[OutcomeStatus.CREATED] == len(set(addresses(emulator))) == len(emulator.outbox)


async def test_updates_wait_for_the_network_too(emulator):
    """Made once each, after a minute without a connection."""
    async with session(emulator) as hindsight:
        made = await hindsight.interviews.create(requests(1)[0])
        number = made.interview_request_id
        async with away(emulator, 60):
            async with hindsight.interviews.update_many([(number, UpdateInterview(objective="x"))]) as run:
                (outcome,) = await all_outcomes(run)
    assert OutcomeStatus.UPDATED is outcome.status
    assert 60 < now() < 80


async def test_a_run_that_waits_for_nothing_ends_after_its_failures(emulator):
    """As where each row is to have its own verdict: `wait_for_network=0`, and the failures in a row are counted."""
    await emulator.close()
    async with session(emulator, retry=ONCE) as hindsight:
        with pytest.raises(BulkAbortedError, match="20 rows in a row failed; the last: no connection to"):
            async with hindsight.interviews.create_many(requests(1000), wait_for_network=0) as run:
                await all_outcomes(run)
    assert 20 + 7 <= run.counts[OutcomeStatus.NOT_SENT] <= 20 + 7 + 8


async def test_a_stop_waits_for_no_second_try(tmp_path):
    """One that looks while nobody answers its connection ends with that look: at most `Timeouts.connect`, and in no doubt."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        address = {"base_url": f"http://127.0.0.1:{port}", "timeouts": Timeouts(connect=5.0)}
        async with HindsightSession("k3y", **address) as hindsight:
            async with hindsight.interviews.create_many(requests(4), ledger=tmp_path / "a.db") as run:
                await asyncio.sleep(1)
                began = now()
                await run.stop()
                assert now() - began <= 5
        for filler in fillers:
            filler.close()
    assert {OutcomeStatus.NOT_SENT: 4} == {status: count for status, count in run.counts.items() if count}


# What failed together counts once


def ended(index, status=OutcomeStatus.UNKNOWN, error=None):
    error = error or OutcomeUnknownError("the connection was lost")
    request = requests(1)[0]
    return Outcome(index=index, key=str(index), request=request, status=status, error=error, attempts=1)


def at_work(*indexes, attempts=1):
    rows = [Row(CREATES, index, requests(1)[0], None) for index in indexes]
    for row in rows:
        row.attempts = attempts
    return rows


def test_what_was_under_way_when_the_first_one_failed_counts_once():
    """Sixteen that a hiccup cuts off are one failure; one that was begun later, or that waited, is another."""
    failures = FailuresInARow(3)
    assert all(failures.take(ended(index), at_work(*range(index + 1, 16))) is None for index in range(16))
    assert failures.take(ended(16), []) is None
    assert "3 rows in a row failed; the last: the connection was lost" in str(failures.take(ended(17), []))
    waiting = FailuresInARow(2)
    assert waiting.take(ended(0), at_work(1, attempts=0)) is None
    assert waiting.take(ended(1), []) is not None


def test_another_cause_counts_for_itself():
    """Of what was under way together, a broken connection and a failing server are two failures, and so is each refusal."""
    refused = BadRequestError("no", status=400)
    failures = FailuresInARow(2)
    assert failures.take(ended(0), at_work(1, 2)) is None
    assert failures.take(ended(1, error=OutcomeUnknownError("half an answer", status=500)), []) is not None
    each = FailuresInARow(2)
    assert each.take(ended(0, OutcomeStatus.REJECTED, refused), at_work(1)) is None
    assert each.take(ended(1, OutcomeStatus.REJECTED, refused), []) is not None


def test_a_success_ends_what_counts_together():
    """After it the count, and what was under way with its first failure, begin again."""
    failures = FailuresInARow(1)
    with_second = FailuresInARow(2)
    assert failures.take(ended(0), []) is not None
    assert with_second.take(ended(0), at_work(1)) is None
    assert with_second.take(ended(2, OutcomeStatus.CREATED), []) is None
    assert with_second.take(ended(1), []) is None
    assert with_second.take(ended(3), []) is not None


async def test_a_hiccup_with_many_in_flight_does_not_end_a_run():
    """Sixteen connections that break at one moment are one of three failures; nobody is sent again."""
    hiccup, held = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    async def answer(connection):
        while await connection.request():
            if not hiccup.is_set() and len(connection.server.requests) > 1:
                held.append(connection)
                if len(held) == 16:
                    loop.call_later(0.1, hiccup.set)
                await hiccup.wait()
                connection.drop()
                return
            number = len(connection.server.requests)
            body = b'{"interview_request_id":%d,"contact_id":"c","status":"sent"}' % number
            connection.writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with raw_server(answer) as server:
        options = {"base_url": server.base_url, "plan": Plan.ENTERPRISE, "max_in_flight": 16}
        async with HindsightSession("k3y", **options) as hindsight:
            async with hindsight.interviews.create_many(requests(100), abort_after_failures=2) as run:
                await all_outcomes(run)
    assert (16, 84) == (run.counts[OutcomeStatus.UNKNOWN], run.counts[OutcomeStatus.CREATED])
    assert 100 == len(server.requests)


async def test_a_server_that_goes_on_failing_still_ends_the_run(emulator):
    """What may have emailed somebody each time does not go on for the limit times what is in flight."""
    emulator.fail("POST /interviews", how=500, at="after_commit", times=None)
    async with session(emulator, max_in_flight=16) as hindsight:
        with pytest.raises(BulkAbortedError, match="20 rows in a row failed"):
            async with hindsight.interviews.create_many(requests(1000)) as run:
                await all_outcomes(run)
    assert run.counts[OutcomeStatus.UNKNOWN] <= 16 + 19 + 15
