"""A session's event loop, its process, and its end."""

import asyncio
import gc
import logging
import os
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

import loaded_python
from hindsight_async import (
    CreateInterview,
    Delivery,
    HindsightSession,
    OutcomeUnknownError,
    Plan,
    RateBudget,
    SessionClosedError,
    Timeouts,
    UpdateInterview,
    WrongEventLoopError,
)
from hindsight_async.emulator import Emulator
from raw_server import CREATED, CREATED_BODY, raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")


def session(base_url, **options):
    return HindsightSession("key_secret", base_url=base_url, **options)


# One event loop at a time


def test_a_second_loop_that_runs_is_refused_and_both_are_named():
    """A pool belongs to its loop; on another one nothing is sent."""

    async def create(hindsight):
        return await hindsight.interviews.create(REQUEST)

    async def two_at_once():
        async with Emulator() as emulator:
            async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
                await create(hindsight)
                with pytest.raises(WrongEventLoopError) as raised:
                    await asyncio.to_thread(asyncio.run, create(hindsight))
                await create(hindsight)
            return repr(asyncio.get_running_loop()), raised.value, len(emulator.requests)

    loop, error, requests = asyncio.run(two_at_once())
    assert 2 == requests
    assert loop in str(error)
    assert 2 == str(error).count("EventLoop")
    assert ("POST", Delivery.NOT_SENT) == (error.method, error.delivery)


class EmulatorThread:
    """An emulator that outlives the event loops of a test."""

    def __enter__(self):
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(10)
        return self.emulator

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Emulator(plan=Plan.GROWTH) as self.emulator:
            self._ready.set()
            await self._stop.wait()

    def __exit__(self, *exc_info):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "left open"])
def test_after_its_loop_is_gone_a_session_starts_afresh_without_a_warning(closes):
    """One session serves one `asyncio.run` after another, closed in between or not."""

    async def create(hindsight):
        created = await hindsight.interviews.create(REQUEST)
        if closes:
            await hindsight.close()
        return created.interview_request_id

    with EmulatorThread() as emulator, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        ids = [asyncio.run(create(hindsight)) for _ in range(3)]
        del hindsight
        gc.collect()
    assert 3 == len(set(ids)) == len(emulator.requests)
    assert [] == [str(warning.message) for warning in caught]


@pytest.mark.parametrize("way_out", ["close the session", "close the loop"])
def test_two_loops_in_turn_are_refused_while_one_has_connections(way_out):
    """A loop that stands still may go on, and nobody else can close its sockets; once they are closed, another has its turn."""
    with EmulatorThread() as emulator:
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        try:
            first.run_until_complete(hindsight.interviews.create(REQUEST))
            for use in (lambda: hindsight.interviews.create(REQUEST), hindsight.close):
                with pytest.raises(
                    WrongEventLoopError, match="is not closed; before it is used on"
                ) as raised:
                    second.run_until_complete(use())
                assert Delivery.NOT_SENT is raised.value.delivery
            first.run_until_complete(hindsight.interviews.create(REQUEST))
            if way_out == "close the session":
                first.run_until_complete(hindsight.close())
            else:
                first.run_until_complete(first.shutdown_asyncgens())
                first.close()
            second.run_until_complete(hindsight.interviews.create(REQUEST))
            second.run_until_complete(hindsight.close())
        finally:
            first.close()
            second.close()
        assert 3 == len(emulator.requests)


async def test_an_answer_that_came_while_a_drain_stood_still_counts():
    """Closing in time with a process that was stopped cuts nothing off that lies in the socket."""
    loop = asyncio.get_running_loop()
    closing = []

    async def answer_at_length_and_stand_still(connection):
        await connection.request()
        closing.append(asyncio.create_task(hindsight.close(drain=10)))
        await asyncio.sleep(1)
        body = CREATED_BODY.rjust(1_000_000)  # more than is read in one turn of the loop
        connection.writer.write(b"HTTP/1.1 201 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        loop.stand_still(1000)

    async with raw_server(answer_at_length_and_stand_still) as server:
        hindsight = session(server.base_url, timeouts=Timeouts(read=10_000))
        assert 7 == (await hindsight.interviews.create(REQUEST)).interview_request_id
        await closing[0]


def test_a_loop_that_was_closed_without_its_generators_leaves_the_session_usable():
    """Not every program ends its loop as `asyncio.run` does."""
    with EmulatorThread() as emulator:
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        with warnings.catch_warnings():
            # What is cut off with its loop is the program's leak, and asyncio says so.
            warnings.simplefilter("ignore", ResourceWarning)
            loop = asyncio.new_event_loop()
            loop.run_until_complete(hindsight.interviews.create(REQUEST))
            loop.close()
            asyncio.run(hindsight.interviews.create(REQUEST))
            gc.collect()
        assert 2 == len(emulator.requests)


def test_what_is_closed_on_the_next_loop_stays_closed_there():
    """Closing follows the event loop as a call does: it is over for this one."""

    async def close_and_try(hindsight):
        await hindsight.close()
        with pytest.raises(SessionClosedError):
            await hindsight.interviews.create(REQUEST)

    with EmulatorThread() as emulator:
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        asyncio.run(hindsight.interviews.create(REQUEST))
        asyncio.run(close_and_try(hindsight))
        assert 1 == len(emulator.requests)


def test_a_closed_session_opens_again_on_the_next_loop():
    """As applications under test do: each test enters and leaves the same module's session."""

    async def lifespan(hindsight):
        async with hindsight:
            await hindsight.interviews.create(REQUEST)
        with pytest.raises(SessionClosedError):
            await hindsight.interviews.create(REQUEST)

    with EmulatorThread() as emulator:
        hindsight = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        asyncio.run(lifespan(hindsight))
        asyncio.run(lifespan(hindsight))
        assert 2 == len(emulator.requests)


FORKING = """
import asyncio, os, sys, warnings
from hindsight_async import CreateInterview, HindsightSession, Plan, RateBudget

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")
hindsight = HindsightSession(plan=Plan.GROWTH)

async def create(times):
    for _ in range(times):
        await hindsight.interviews.create(REQUEST)

async def fork_and_go_on():
    await create(3)
    child = os.fork()
    if child == 0:
        return False
    assert os.waitpid(child, 0)[1] == 0
    await create(1)
    return True

async def in_the_child():
    assert hindsight.budget.snapshot().free_now == 300, hindsight.budget.snapshot()
    await create(1)
    await hindsight.close()

loop = asyncio.new_event_loop()
if sys.argv[1] == "while the loop runs":
    is_parent = loop.run_until_complete(fork_and_go_on())
else:
    loop.run_until_complete(create(3))
    child = os.fork()
    is_parent = child > 0
    if is_parent:
        assert os.waitpid(child, 0)[1] == 0
        loop.run_until_complete(create(1))
if is_parent:
    loop.run_until_complete(hindsight.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
else:
    asyncio.run(in_the_child())
"""


@pytest.mark.parametrize("where", ["while the loop runs", "between"])
def test_a_fork_drops_the_parents_pool_and_budget_in_silence(where, tmp_path):
    """The child opens its own, and the parent goes on with the connections it had."""
    script = tmp_path / "forking.py"
    script.write_text(FORKING)
    with EmulatorThread() as emulator:
        emulator_variables = {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}
        variables = {**os.environ, **emulator_variables}
        ended = loaded_python.run(
            [script, where], env=variables, capture_output=True, text=True, cwd=Path(__file__).parent
        )
        assert (0, "") == (ended.returncode, ended.stderr)
        assert 5 == len(emulator.requests)


# Its end


async def never_answer(connection):
    await connection.request()
    await connection.request()


async def test_draining_lets_those_in_flight_finish_and_refuses_the_others():
    """What has left gets its answer; what waits and what comes later is turned away."""
    answer = asyncio.Event()

    async def answer_late(connection):
        await connection.request()
        await answer.wait()
        connection.writer.write(CREATED)

    async with raw_server(answer_late) as server:
        hindsight = session(server.base_url, max_in_flight=1)
        leaving = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(hindsight.interviews.create(REQUEST))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(hindsight.close(drain=10))
        await asyncio.sleep(0.01)
        for turned_away in (waiting, hindsight.interviews.create(REQUEST)):
            with pytest.raises(SessionClosedError):
                await turned_away
        assert not closing.done()
        answered_at = asyncio.get_running_loop().time()
        answer.set()
        await closing
        assert 0 == pytest.approx(asyncio.get_running_loop().time() - answered_at, abs=0.1)
        assert 7 == (await leaving).interview_request_id
        assert 1 == len(server.requests)


async def test_draining_ends_in_time_and_what_is_cut_off_hears_so(caplog):
    """A server that never answers holds up nobody's shutdown."""
    clock = asyncio.get_running_loop().time

    async with raw_server(never_answer) as server:
        hindsight = session(server.base_url)
        cut_off = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0.01)
        before = clock()
        await hindsight.close(drain=10)
        assert 10 == pytest.approx(clock() - before, abs=0.1)
        with pytest.raises(OutcomeUnknownError) as raised:
            await cut_off
    assert REQUEST is raised.value.request
    assert ["the session is closed while 1 requests are in flight"] == caplog.messages


async def test_draining_waits_for_nothing_where_nothing_is_in_flight():
    """However calls ended, answered, refused, lost or cancelled, there is nobody left to wait for."""

    async def answer_by_turns(connection):
        await connection.request()
        match connection.number:
            case 1:
                connection.writer.write(CREATED)
            case 2:
                connection.writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            case 3:
                connection.drop()
            case _:
                await connection.request()

    clock = asyncio.get_running_loop().time
    async with raw_server(answer_by_turns) as server:
        for number in range(1, 5):
            hindsight = session(server.base_url)
            call = asyncio.create_task(hindsight.interviews.create(REQUEST))
            while number > len(server.requests):
                await asyncio.sleep(0.01)
            if number == 4:
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            before = clock()
            await hindsight.close(drain=10)
            assert 0 == pytest.approx(clock() - before, abs=0.1)


async def test_a_cancelled_drain_closes_at_once():
    """An impatient shutdown leaves no connection behind."""
    async with raw_server(never_answer) as server:
        hindsight = session(server.base_url)
        cut_off = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(hindsight.close(drain=10))
        await asyncio.sleep(1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(OutcomeUnknownError):
            await cut_off


# A cancelled create


async def cancelled(server, hindsight, call):
    task = asyncio.create_task(call)
    while not server.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def begin_to_answer(connection):
    await connection.request()
    connection.writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")
    await connection.request()


async def begin_to_refuse(connection):
    await connection.request()
    connection.writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{")
    await connection.request()


@pytest.mark.parametrize(("script", "status"), [(never_answer, None), (begin_to_answer, 201)])
async def test_a_create_that_is_cancelled_after_it_left_is_told_of(script, status):
    """Nobody awaits its error any more, so the session's own hook hears it, before the cancellation goes on."""
    heard = []
    async with (
        raw_server(script) as server,
        session(server.base_url, on_outcome_unknown=heard.append) as hindsight,
    ):
        task = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (error,) = heard
    assert (Delivery.UNKNOWN, 1, status) == (error.delivery, error.attempts, error.status)
    assert REQUEST is error.request
    assert "jane" not in str(error)
    what = "it took effect" if status else "it may have taken effect"
    assert str(error).startswith(
        f"POST /interviews: the call was cancelled before the answer was there; {what}"
    )


async def test_nothing_is_told_where_nothing_is_in_doubt():
    """A cancelled update can be repeated, a refusal is known, and what never left is no secret either."""
    heard = []
    options = {"on_outcome_unknown": heard.append}
    async with raw_server(never_answer) as server, session(server.base_url, **options) as hindsight:
        await cancelled(server, hindsight, hindsight.interviews.update(7, UpdateInterview(objective="x")))
    async with raw_server(begin_to_refuse) as server, session(server.base_url, **options) as hindsight:
        task = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with Emulator() as emulator:
        emulator.spend(60)
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url, **options) as hindsight:
            task = asyncio.create_task(hindsight.interviews.create(REQUEST))
            await asyncio.sleep(5)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert [] == heard


@pytest.mark.parametrize("hooked", [True, False], ids=["hook", "log"])
async def test_a_create_that_is_cancelled_before_it_left_is_told_to_nobody(hooked, caplog):
    """While it connects or waits for the budget nothing has left, so there is no doubt to tell of."""
    heard = []
    options = {"on_outcome_unknown": heard.append} if hooked else {}

    async def let_in_and_say_nothing(connection):
        await connection.reader.read()

    async with raw_server(let_in_and_say_nothing) as server:
        # Connecting goes on until TLS is agreed on.
        async with session(server.base_url.replace("http://", "https://"), **options) as hindsight:
            connecting = asyncio.create_task(hindsight.interviews.create(REQUEST))
            while not server.connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    async def answer(connection):
        await connection.request()
        connection.writer.write(CREATED)

    async with raw_server(answer) as server:
        async with session(server.base_url, budget=RateBudget(1), **options) as hindsight:
            await hindsight.interviews.create(REQUEST)
            waiting = asyncio.create_task(hindsight.interviews.create(REQUEST))
            await asyncio.sleep(1)
            assert 1 == hindsight.budget.snapshot().queued["interactive"]
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert 1 == len(server.requests)
    assert [] == heard
    assert [] == [record.message for record in caplog.records if record.name.startswith("hindsight_async")]


async def test_a_hook_that_fails_does_not_stop_the_cancellation(caplog):
    """Its error is logged, and the task ends as cancelled."""

    def fail(error):
        raise KeyError("no such table")

    async with (
        raw_server(never_answer) as server,
        session(server.base_url, on_outcome_unknown=fail) as hindsight,
    ):
        await cancelled(server, hindsight, hindsight.interviews.create(REQUEST))
    (record,) = caplog.records
    assert record.message.startswith("on_outcome_unknown failed on: POST /interviews: the call was cancelled")


async def test_without_a_hook_a_warning_is_logged(caplog):
    """A doubt about a person's mail is never silent."""
    async with raw_server(never_answer) as server, session(server.base_url) as hindsight:
        await cancelled(server, hindsight, hindsight.interviews.create(REQUEST))
    (record,) = caplog.records
    assert (logging.WARNING, "hindsight_async.call") == (record.levelno, record.name)
    assert "it may have taken effect" in record.message


async def test_a_hook_that_cannot_be_called_is_refused():
    """At construction, before anything depends on it."""
    with pytest.raises(TypeError, match="on_outcome_unknown must be callable, not str"):
        HindsightSession("key", on_outcome_unknown="page me")
