"""What `on_event` and the log tell of calls, in which order, and that nobody who listens changes anything."""

import asyncio
import logging

import attrs
import pytest

import loaded_python
from hindsight_async import (
    AttemptEnded,
    AttemptSent,
    BadRequestError,
    CallEnded,
    CallStarted,
    CreateInterview,
    DeadlineExceededError,
    Delivery,
    HindsightSession,
    InternalServerError,
    OutcomeUnknown,
    Plan,
    RateBudget,
    RetryPolicy,
    WaitingForBudget,
)
from hindsight_async.emulator import Emulator
from raw_server import OK, raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1", contact_context="likes tea")
MINUTE = 60.0
CREATE, READ = "POST /interviews", "GET /interviews/{id}"


def session(emulator, **options):
    return HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, **options)


def kinds(events):
    return [type(event).__name__ for event in events]


async def test_a_call_that_goes_well_has_four_events():
    """Started, sent, answered, ended: with the route, and the call's number on each."""
    told = []
    async with (
        Emulator(plan=Plan.ENTERPRISE) as emulator,
        session(emulator, on_event=told.append) as hindsight,
    ):
        await hindsight.interviews.create(REQUEST)
        await hindsight.interviews.get(1)
    one, other = told[:4], told[4:]
    assert [CallStarted, AttemptSent, AttemptEnded, CallEnded] == [type(event) for event in one]
    assert kinds(one) == kinds(other)
    assert [(1, CREATE)] * 4 + [(2, READ)] * 4 == [(event.call, event.route) for event in told]
    assert "interactive" == one[0].lane
    assert (1, 201, None) == (one[2].attempt, one[2].status, one[2].delivery)
    assert (1, 201, None, None) == (one[3].attempts, one[3].status, one[3].delivery, one[3].error)


async def test_what_is_sent_again_tells_of_each_attempt_and_of_the_pause():
    """A 502 on a read: what it may have done, how long the pause is, and what both attempts took."""
    told = []
    options = {"on_event": told.append, "retry": RetryPolicy(first_pause=4)}
    async with (
        Emulator(plan=Plan.ENTERPRISE, latency=2.0) as emulator,
        session(emulator, **options) as hindsight,
    ):
        await hindsight.interviews.create(REQUEST)
        emulator.fail(READ, 502, times=1)
        del told[:]
        await hindsight.interviews.get(1)
    names = [
        "CallStarted",
        "AttemptSent",
        "AttemptEnded",
        "Paused",
        "AttemptSent",
        "AttemptEnded",
        "CallEnded",
    ]
    assert names == kinds(told)
    assert (1, 502, Delivery.UNKNOWN) == (told[2].attempt, told[2].status, told[2].delivery)
    assert 2 <= told[3].seconds <= 4
    ended = told[-1]
    assert (2, 200, None, 0.0) == (ended.attempts, ended.status, ended.delivery, ended.waited)
    assert told[2].seconds + told[5].seconds == ended.sent
    assert ended.sent + told[3].seconds == pytest.approx(ended.total, abs=0.01)


async def answer_ok(connection):
    while await connection.request():
        connection.writer.write(OK)


async def test_waiting_for_the_budget_is_told_when_it_begins_and_counted_when_it_ends():
    """The guess comes before the wait; the seconds that it took are in what follows."""
    told = []
    options = {"budget": RateBudget(1), "deadline": None, "on_event": told.append}
    async with raw_server(answer_ok) as server:
        async with HindsightSession("k3y", base_url=server.base_url, **options) as hindsight:
            await hindsight.interviews.get(7)
            del told[:]
            await hindsight.interviews.get(7)
    assert ["CallStarted", "WaitingForBudget", "AttemptSent", "AttemptEnded", "CallEnded"] == kinds(told)
    waiting, sent, ended = told[1], told[2], told[-1]
    assert isinstance(waiting, WaitingForBudget)
    for seconds in (waiting.seconds, sent.waited, ended.waited):
        assert pytest.approx(MINUTE, abs=1) == seconds


async def test_a_wait_that_is_cancelled_is_counted_and_nothing_was_sent():
    """Who gives up while waiting is told of with the seconds waited, and `not_sent`."""
    told = []
    options = {"budget": RateBudget(1), "deadline": None, "on_event": told.append}
    async with raw_server(answer_ok) as server:
        async with HindsightSession("k3y", base_url=server.base_url, **options) as hindsight:
            await hindsight.interviews.get(7)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(20):
                    await hindsight.interviews.get(7)
    ended = told[-1]
    assert ("CancelledError", Delivery.NOT_SENT, 0) == (ended.error, ended.delivery, ended.attempts)
    assert pytest.approx(20, abs=1) == ended.waited


@pytest.mark.parametrize("hooked", [True, False])
async def test_a_create_that_is_cancelled_after_it_left_is_told_of(hooked):
    """Its caller hears nothing, so the event does, before the end of the call; beside `on_outcome_unknown`."""
    told, heard = [], []
    options = {"on_outcome_unknown": heard.append} if hooked else {}
    async with (
        Emulator(plan=Plan.ENTERPRISE, latency=50.0) as emulator,
        session(emulator, on_event=told.append, **options) as hindsight,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await hindsight.interviews.create(REQUEST)
    assert ["CallStarted", "AttemptSent", "AttemptEnded", "OutcomeUnknown", "CallEnded"] == kinds(told)
    assert [Delivery.UNKNOWN] * 2 == [told[2].delivery, told[-1].delivery]
    assert pytest.approx(5, abs=0.5) == told[3].seconds
    assert hooked == len(heard)


async def test_a_create_that_is_cancelled_before_it_left_is_no_unknown():
    """A connection that was never there carried nothing."""
    told = []

    async def connect_never(_connection):
        await asyncio.sleep(1000)

    async with raw_server(connect_never) as server:
        proxied = {"proxy": server.base_url.partition("/api")[0], "base_url": "https://api.invalid/v1"}
        async with HindsightSession("k3y", on_event=told.append, **proxied) as hindsight:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await hindsight.interviews.create(REQUEST)
    assert ["CallStarted", "AttemptSent", "AttemptEnded", "CallEnded"] == kinds(told)
    assert [Delivery.NOT_SENT] * 2 == [told[2].delivery, told[-1].delivery]


@pytest.mark.parametrize(
    ("route", "fault", "error", "unknown"),
    [
        (CREATE, 500, InternalServerError, True),
        (CREATE, 400, BadRequestError, False),
        (READ, 500, InternalServerError, False),
    ],
)
async def test_only_what_must_not_be_sent_twice_has_an_unknown_outcome(route, fault, error, unknown):
    """A 500 to a create may have emailed somebody; a refused create did not, and a read changes nothing."""
    told = []
    options = {"on_event": told.append, "retry": RetryPolicy(attempts=1)}
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator, **options) as hindsight:
        emulator.fail(route, fault)
        with pytest.raises(error) as raised:
            await (hindsight.interviews.create(REQUEST) if route == CREATE else hindsight.interviews.get(1))
    assert unknown == (OutcomeUnknown in map(type, told))
    ended = told[-1]
    assert (error.__name__, fault, raised.value.delivery) == (ended.error, ended.status, ended.delivery)


async def test_no_event_names_a_person_a_path_or_a_key():
    """Whatever is logged of events, nobody's address, notes or key is in it, and no id of a path."""
    told = []
    async with (
        Emulator(plan=Plan.ENTERPRISE) as emulator,
        session(emulator, on_event=told.append) as hindsight,
    ):
        await hindsight.interviews.create(REQUEST)
        emulator.fail(CREATE, how="disconnect", at="after_commit")
        with pytest.raises(Exception, match="may have taken effect"):
            await hindsight.interviews.create(REQUEST)
        key = emulator.api_key
    text = repr([attrs.asdict(event) for event in told])
    for secret in ("jane", "acme", "tea", key, "127.0.0.1"):
        assert secret not in text


async def test_what_a_hook_raises_is_logged_once_and_changes_nothing(caplog):
    """A broken hook costs neither a call nor a full log."""

    def fail(event):
        raise ZeroDivisionError

    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator, on_event=fail) as hindsight:
        for _ in range(3):
            await hindsight.interviews.create(REQUEST)
        assert 3 == len(emulator.outbox)
    assert 1 == len([record for record in caplog.records if "on_event failed" in record.message])


def test_a_hook_must_be_callable():
    """A wrong argument is said before anything else."""
    with pytest.raises(TypeError, match="on_event must be callable, not list"):
        HindsightSession("key", on_event=[])
    with pytest.raises(TypeError, match="a listener must be callable, not list"):
        HindsightSession("key").listen([])


async def test_all_who_listen_are_told_in_their_order_and_one_that_fails_is_logged_once(caplog):
    """Who listens hears of views too, with the lane that the call has; one that raises keeps nobody else from it."""
    told, order = [], []

    def fail(event):
        order.append("fail")
        raise ZeroDivisionError

    def note(event):
        order.append("note")
        told.append(event)

    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator, on_event=fail) as hindsight:
        view = hindsight.with_options(lane="bulk")
        hindsight.listen(note)
        await view.interviews.create(REQUEST)
        with pytest.raises(TypeError, match="listen to the session that it is of"):
            view.listen(note)
    assert ["CallStarted", "AttemptSent", "AttemptEnded", "CallEnded"] == kinds(told)
    assert ["fail", "note"] * 4 == order
    assert "bulk" == told[0].lane
    assert 1 == len([record for record in caplog.records if "on_event failed" in record.message])


async def test_an_attempt_without_an_answer_names_what_was_raised():
    """The class is on the attempt, also where the next one goes well; an answer of whatever status is no error of it."""
    told = []
    options = {"on_event": told.append, "retry": RetryPolicy(first_pause=1)}
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator, **options) as hindsight:
        await hindsight.interviews.create(REQUEST)
        emulator.fail(READ, how="disconnect", at="before_commit", times=1)
        emulator.fail(READ, 502, times=1)
        await hindsight.interviews.get(1)
    ended = [event for event in told if isinstance(event, AttemptEnded) and event.route == READ]
    assert [("OutcomeUnknownError", None), (None, 502), (None, 200)] == [
        (event.error, event.status) for event in ended
    ]


async def test_the_log_has_a_line_for_what_was_repeated_or_failed_and_all_of_it_at_debug(caplog):
    """At INFO a call that goes well at once says nothing, one that was sent again does; at DEBUG both tell all."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, session(emulator) as hindsight:
        with caplog.at_level(logging.INFO, "hindsight_async"):
            await hindsight.interviews.create(REQUEST)
            assert [] == caplog.messages
            emulator.fail(READ, 502, times=1)
            await hindsight.interviews.get(1)
            paused, ended = caplog.messages
            caplog.clear()
        with caplog.at_level(logging.DEBUG, "hindsight_async"):
            await hindsight.interviews.get(1)
            assert 4 == len(caplog.messages)
    assert "attempt 1 had status 502 (delivery unknown); the next is due in" in paused
    assert f"call 2, {READ}: ended well after 2 attempts in" in ended


async def test_a_call_that_waited_long_or_failed_has_a_line(caplog):
    """A deadline that passed in line is a failure; the seconds waited are in its line."""
    options = {"budget": RateBudget(1), "deadline": 90}
    async with raw_server(answer_ok) as server:
        async with HindsightSession("k3y", base_url=server.base_url, **options) as hindsight:
            with caplog.at_level(logging.INFO, "hindsight_async.call"):
                await hindsight.interviews.get(7)
                await hindsight.interviews.get(7)
                asked = asyncio.gather(
                    *[hindsight.interviews.get(7) for _ in range(3)], return_exceptions=True
                )
                errors = [one for one in await asked if isinstance(one, DeadlineExceededError)]
    lines = [record.message for record in caplog.records if record.name == "hindsight_async.call"]
    assert 2 == len(errors)
    assert 2 == len([line for line in lines if "ended with DeadlineExceededError after 0 attempts" in line])
    assert 2 == len([line for line in lines if "ended well after 1 attempt in 6" in line])


SCRIPT = """
import asyncio
from hindsight_async import HindsightSession, NotSentError, RetryPolicy

async def main():
    for _ in range(2):
        async with HindsightSession("k3y", base_url="http://127.0.0.1:1", retry=RetryPolicy(attempts=1)) as hindsight:
            try:
                await hindsight.interviews.get(1)
            except NotSentError:
                pass

asyncio.run(main())
"""


@pytest.mark.parametrize(("level", "lines"), [("", 0), ("info", 2), ("DEBUG", 8)])
def test_a_variable_turns_the_log_on_for_a_script(level, lines):
    """`HINDSIGHT_LOG` writes each line once to standard error, however many sessions there are; without it nothing does."""
    done = loaded_python.run(
        ["-c", SCRIPT], env={"HINDSIGHT_LOG": level, "PATH": ""}, capture_output=True, text=True, check=True
    )
    assert lines == len(done.stderr.splitlines()), done.stderr
    assert lines == done.stderr.count("hindsight_async.call")


async def test_another_level_is_refused_when_the_session_opens(monkeypatch):
    """A level that was mistyped is said, not taken for silence."""
    monkeypatch.setenv("HINDSIGHT_LOG", "verbose")
    hindsight = HindsightSession("key")
    with pytest.raises(ValueError, match="HINDSIGHT_LOG must be debug or info, not 'verbose'"):
        await hindsight.__aenter__()
