"""Waiting for interviews, end to end against the emulator on a virtual clock."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

import pytest

from hindsight_async import (
    CreateInterview,
    HindsightError,
    HindsightSession,
    InterviewStatus,
    NotFoundError,
    Plan,
    RateBudget,
    SessionClosedError,
    UnauthorizedError,
    WaitTimeoutError,
)
from hindsight_async.emulator import Emulator
from raw_server import raw_server

STARTED = datetime(2026, 7, 24, 12, 0, tzinfo=UTC)
HOUR, DAY = 3600.0, 86400.0
MINUTE = 59.9
"""Without what the virtual clock adds to each timer."""


@asynccontextmanager
async def waiting(*, interviews=1, plan=Plan.ENTERPRISE, max_in_flight=16, **options):
    """Give an emulator with so many interviews, none of which counts as a request, and a session to it."""
    async with Emulator(plan=plan, started_at=STARTED, **options) as emulator:
        budget = RateBudget.for_plan(plan)
        async with HindsightSession(
            emulator.api_key, base_url=emulator.base_url, budget=budget, max_in_flight=max_in_flight
        ) as hindsight:
            for number in range(interviews):
                await hindsight.interviews.create(
                    CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="seq_abc123")
                )
            await asyncio.sleep(120)
            emulator.requests.clear()
            yield emulator, hindsight


def reads(emulator):
    """List when each interview was read, from the first read on."""
    first = emulator.requests[0].arrived_at
    found = {}
    for request in emulator.requests:
        number = int(request.path.rpartition("/")[2])
        found.setdefault(number, []).append(round(request.arrived_at - first))
    return found


def moments(emulator):
    return [request.arrived_at for request in emulator.requests]


def gaps(emulator):
    return [b - a for a, b in pairwise(moments(emulator))]


def most_in_any_minute(emulator):
    times = moments(emulator)
    return max(sum(a <= b < a + MINUTE for b in times) for a in times)


async def test_a_wait_reads_now_and_then_until_the_interview_is_completed():
    """It returns the transcript, and reads no sooner than every so often and no more afterwards."""
    async with waiting() as (emulator, hindsight):
        asyncio.get_running_loop().call_later(1000, emulator.complete, 1, "**Jane:** Price.")
        interview = await hindsight.interviews.wait(1, every=300)
        assert (InterviewStatus.COMPLETED, "**Jane:** Price.") == (
            interview.status,
            interview.transcript.content,
        )
        await asyncio.sleep(HOUR)
        assert {1: [0, 300, 600, 900, 1200]} == reads(emulator)


async def test_a_completed_interview_is_given_after_one_read():
    """Nobody waits for what is over."""
    async with waiting() as (emulator, hindsight):
        emulator.complete(1)
        assert 1 == (await hindsight.interviews.wait(1)).interview_request_id
        assert {1: [0]} == reads(emulator)


async def test_a_wait_that_runs_out_says_what_it_read_last():
    """It is a TimeoutError and one of ours, at the very moment, and another wait goes on."""
    async with waiting() as (emulator, hindsight):
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError, match="1 of 1 interviews are still open after 1000 s") as raised:
            await hindsight.interviews.wait(1, every=300, timeout=1000)
        assert 1000 == pytest.approx(asyncio.get_running_loop().time() - began, abs=0.1)
        assert isinstance(raised.value, WaitTimeoutError)
        assert InterviewStatus.SENT is raised.value.last.status
        assert {1: [0, 300, 600, 900]} == reads(emulator)
        emulator.complete(1)
        assert 1 == (await hindsight.interviews.wait(1)).interview_request_id


async def test_a_wait_that_could_read_nothing_says_why():
    """What the last read ended with is the cause."""
    async with waiting() as (emulator, hindsight):
        await emulator.close()
        with pytest.raises(WaitTimeoutError) as raised:
            await hindsight.interviews.wait(1, timeout=HOUR)
        assert None is raised.value.last
        assert isinstance(raised.value.__cause__, HindsightError)


async def test_an_interview_that_is_gone_is_not_waited_for():
    """404 is told at once."""
    async with waiting() as (emulator, hindsight):
        with pytest.raises(NotFoundError) as raised:
            await hindsight.interviews.wait(99)
        assert "/interviews/99" == raised.value.path
        assert 1 == len(emulator.requests)


async def test_those_that_are_gone_do_not_keep_the_others_from_being_given():
    """All the others come first, and then the error names what is gone."""
    async with waiting(interviews=3) as (emulator, hindsight):
        loop = asyncio.get_running_loop()
        for number in (1, 2, 3):
            loop.call_later(number * HOUR, emulator.complete, number)
        poller = hindsight.interviews.wait_many([97, 1, 98, 2, 3, 99])
        given = []
        with pytest.raises(NotFoundError) as raised:
            async for interview in poller:
                given += [interview.interview_request_id]
        assert [1, 2, 3] == given
        assert [97, 98, 99] == list(poller.failed)
        assert "/interviews/97" == raised.value.path
        assert ["2 more interviews are gone: [98, 99]"] == raised.value.__notes__
        assert () == poller.open


async def test_many_are_given_as_they_are_completed_and_read_no_more():
    """Each once, in the order in which they were, though it stood twice in the input."""
    after = iter([5 * HOUR, HOUR, 3 * HOUR, 2 * HOUR, 4 * HOUR])
    async with waiting(interviews=5, completes_after=lambda: next(after)) as (emulator, hindsight):
        poller = hindsight.interviews.wait_many([1, 2, 3, 4, 5, 1, 2], every=900)
        assert [2, 4, 3, 5, 1] == [interview.interview_request_id async for interview in poller]
        seen = reads(emulator)
        for number, hours in {1: 5, 2: 1, 3: 3, 4: 2, 5: 4}.items():
            # The two minutes before the wait began.
            assert hours * HOUR - 120 <= seen[number][-1] <= hours * HOUR + 900
        assert len(emulator.requests) == poller.requests
        assert [] == [interview async for interview in poller]


async def test_none_are_given_where_none_are_asked_for():
    """An empty list is over at once, without a request."""
    async with waiting(interviews=0) as (emulator, hindsight):
        poller = hindsight.interviews.wait_many([])
        assert ([], 0) == ([interview async for interview in poller], poller.most_requests)
        assert [] == emulator.requests


async def test_reads_are_spread_evenly_and_none_comes_too_soon():
    """After the first look, which is quick, one each 900/20 s; each interview at least 900 s after its last read."""
    async with waiting(interviews=20) as (emulator, hindsight):
        with pytest.raises(WaitTimeoutError):
            async for _ in hindsight.interviews.wait_many(range(1, 21), every=900, timeout=3 * HOUR):
                pass
        assert [pytest.approx(0.12, abs=0.01)] * 19 == gaps(emulator)[:19]
        assert [pytest.approx(45, abs=1)] * 200 == gaps(emulator)[20:220]
        for times in reads(emulator).values():
            assert all(b - a >= 899 for a, b in pairwise(times))
            assert all(b - a <= 901 for a, b in pairwise(times[1:]))


async def test_half_of_the_plan_is_left_to_others_however_many_wait():
    """Three waits of one session take half of the plan together, and single calls go out at once meanwhile."""
    async with waiting(interviews=60, plan=Plan.ESSENTIALS) as (emulator, hindsight):
        await asyncio.sleep(120)
        loop = asyncio.get_running_loop()

        async def wait(ids):
            with pytest.raises(WaitTimeoutError):
                async for _ in hindsight.interviews.wait_many(ids, every=60, timeout=1200):
                    pass

        async with asyncio.TaskGroup() as group:
            for first in (1, 21, 41):
                group.create_task(wait(range(first, first + 20)))
            await asyncio.sleep(600)
            assert 30 >= most_in_any_minute(emulator)
            began = loop.time()
            for _ in range(29):
                await hindsight.interviews.get(1)
            assert 1 > loop.time() - began
        assert 580 <= len(emulator.requests) <= 600 + 29
        assert 60 == len(reads(emulator))


async def test_the_limit_that_the_server_names_counts():
    """A plan that is smaller than believed is halved all the same."""
    async with waiting(interviews=40, requests_per_minute=40) as (emulator, hindsight):
        await asyncio.sleep(120)
        with pytest.raises(WaitTimeoutError):
            async for _ in hindsight.interviews.wait_many(range(1, 41), every=60, timeout=900):
                pass
        late = [moment for moment in moments(emulator) if moment > moments(emulator)[0] + 300]
        assert 20 >= max(sum(a <= b < a + MINUTE for b in late) for a in late)


async def test_reads_wait_behind_single_calls():
    """They stand in the bulk line."""
    async with waiting(interviews=1, plan=Plan.ESSENTIALS) as (emulator, hindsight):
        for _ in range(60):
            await hindsight.interviews.get(1)
        wait = asyncio.ensure_future(hindsight.interviews.wait(1, timeout=HOUR))
        await asyncio.sleep(1)
        assert {"interactive": 0, "bulk": 1} == dict(hindsight.budget.snapshot().queued)
        emulator.complete(1)
        assert 1 == (await wait).interview_request_id


async def test_the_pace_slows_with_age():
    """Every 15 minutes for a day, hourly for a week, then every 3 hours, by the server's clock."""
    async with waiting() as (emulator, hindsight):
        with pytest.raises(WaitTimeoutError):
            await hindsight.interviews.wait(1, every=900, timeout=9 * DAY)
        times = reads(emulator)[1]
        pauses = [b - a for a, b in pairwise(times)]
        assert [900] * 96 + [3600] * 144 + [10800] * 15 == pauses


async def test_an_old_interview_is_read_seldom_from_the_start():
    """What was created a month ago is read twice a day."""
    async with waiting() as (emulator, hindsight):
        await asyncio.sleep(30 * DAY)
        with pytest.raises(WaitTimeoutError):
            await hindsight.interviews.wait(1, every=900, timeout=2 * DAY)
        assert {1: [0, 43200, 86400, 129600]} == reads(emulator)


FOR_THE_MOMENT = [
    {"how": 503, "times": 8},
    {"how": "disconnect", "times": 8},
    {"how": "html", "status": 200, "times": 2},
    {"how": "empty", "status": 200, "times": 2},
]


@pytest.mark.parametrize("fault", FOR_THE_MOMENT, ids=str)
async def test_what_goes_wrong_for_the_moment_is_waited_out(caplog, fault):
    """Two reads fail whole, with one warning, and the third brings the interview."""
    async with waiting() as (emulator, hindsight):
        emulator.complete(1)
        emulator.fail("GET /interviews/{id}", **fault)
        assert 1 == (await hindsight.interviews.wait(1)).interview_request_id
        assert 600 == pytest.approx(moments(emulator)[-1] - moments(emulator)[0], abs=20)
        warnings = [record for record in caplog.records if record.name == "hindsight_async.waiting"]
        assert ["an interview that is waited for could not be read"] == [
            record.message.partition(", and")[0] for record in warnings
        ]


async def test_a_wrong_key_ends_the_wait_and_loses_nobody():
    """What says that no read will do better is raised at once; who mends it can go on."""
    async with waiting(interviews=5) as (emulator, hindsight):
        emulator.fail("GET /interviews/{id}", how=401, times=1)
        poller = hindsight.interviews.wait_many(range(1, 6))
        with pytest.raises(UnauthorizedError):
            await anext(poller)
        assert [1, 2, 3, 4, 5] == sorted(poller.open)
        for number in range(1, 6):
            emulator.complete(number)
        assert [1, 2, 3, 4, 5] == sorted([interview.interview_request_id async for interview in poller])


async def test_a_status_that_is_new_is_not_taken_for_the_end():
    """Only completed is completed: the wait goes on, and tells what it saw."""

    async def script(connection):
        while await connection.request():
            body = json.dumps({"interview_request_id": 1, "status": "declined"}).encode()
            connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with raw_server(script) as server:
        async with HindsightSession("key", base_url=server.base_url) as hindsight:
            with pytest.raises(WaitTimeoutError) as raised:
                await hindsight.interviews.wait(1, timeout=1000)
        assert "declined" == raised.value.last.status
        assert 4 == len(server.requests)


@pytest.mark.parametrize("moment", [0, 0.05, 0.3, 1.0, 500, 900.05, 1000])
async def test_cancelled_at_any_moment_it_can_be_taken_up_again(moment):
    """No read goes on, no permit and no interview is lost."""
    async with waiting(interviews=5, latency=0.2, max_in_flight=4) as (emulator, hindsight):
        poller = hindsight.interviews.wait_many(range(1, 6), every=900)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(moment):
                await anext(poller)
        assert {asyncio.current_task()} == {
            task for task in asyncio.all_tasks() if "Emulator" not in repr(task)
        } - {task for task in asyncio.all_tasks() if "aiohttp" in repr(task) or "web_protocol" in repr(task)}
        assert 0 == hindsight.budget.snapshot().in_flight
        assert [1, 2, 3, 4, 5] == sorted(poller.open)
        for number in range(1, 6):
            emulator.complete(number)
        assert [1, 2, 3, 4, 5] == sorted([interview.interview_request_id async for interview in poller])


async def test_nothing_is_read_while_nobody_waits():
    """Who takes an hour over one interview has none read meanwhile, and the next ones without a burst."""
    async with waiting(interviews=30) as (emulator, hindsight):
        emulator.complete(1)
        poller = hindsight.interviews.wait_many(range(1, 31), every=900)
        assert 1 == (await anext(poller)).interview_request_id
        before = len(emulator.requests)
        await asyncio.sleep(HOUR)
        assert before == len(emulator.requests)
        emulator.complete(30)
        assert 30 == (await anext(poller)).interview_request_id
        assert 0.11 < min(gaps(emulator))


async def test_the_months_share_of_others_is_kept():
    """Reads are spread over the month so as to end at a fifth of it, and a new month gives new ones."""
    async with waiting(interviews=20, monthly_limit=300) as (emulator, hindsight):
        with pytest.raises(WaitTimeoutError):
            async for _ in hindsight.interviews.wait_many(range(1, 21), every=60, timeout=8 * DAY):
                pass
        spent = 20 + len([moment for moment in moments(emulator) if moment < 7.5 * DAY - 2])
        assert 230 <= spent <= 240
        in_the_middle = [moment for moment in moments(emulator) if DAY <= moment < 2 * DAY]
        assert 27 <= len(in_the_middle) <= 31


async def test_a_wait_pauses_where_others_have_used_up_the_months_share(caplog):
    """From a fifth on nothing is read until the month is over; the log and the error say so."""
    async with waiting(interviews=2, monthly_limit=10, latency=1.0) as (emulator, hindsight):
        for _ in range(6):
            await hindsight.interviews.get(1)
        emulator.requests.clear()
        with pytest.raises(WaitTimeoutError, match="paused: the month's requests are to be kept"):
            async for _ in hindsight.interviews.wait_many([1, 2], timeout=DAY):
                pass
        assert 1 == len(emulator.requests)
        assert "1 of 10 requests of the month are left" in caplog.text
        poller = hindsight.interviews.wait_many([1, 2])
        emulator.complete(2)
        assert 2 == (await anext(poller)).interview_request_id
        assert STARTED.replace(month=8, day=1, hour=0) <= datetime.fromtimestamp(
            STARTED.timestamp() + moments(emulator)[-1], UTC
        )


async def test_an_answer_that_says_nothing_of_the_month_unsays_nothing():
    """After a proxy's own error reads stay as far apart as the month has it, and not as `every` has it."""
    async with waiting(interviews=2, monthly_limit=300) as (emulator, hindsight):
        silent = {"X-Usage-Limit": "?", "X-Usage-Remaining": "?"}
        fail = partial(emulator.fail, "GET /interviews/{id}", how=502, times=4, headers=silent)
        asyncio.get_running_loop().call_later(HOUR, fail)
        with pytest.raises(WaitTimeoutError):
            await anext(hindsight.interviews.wait_many([1, 2], every=60, timeout=DAY))
        assert 4 == [request.status for request in emulator.requests].count(502)
        repeated = 20
        assert 300 < min(gap for gap in gaps(emulator) if gap > repeated)


async def test_a_month_that_is_used_up_is_waited_for():
    """Refused for the quota, it goes on in the next month."""
    async with waiting(monthly_limit=1) as (emulator, hindsight):
        emulator.complete(1)
        assert 1 == (await hindsight.interviews.wait(1, timeout=None)).interview_request_id
        assert [429, 200] == [request.status for request in emulator.requests]


async def test_what_a_wait_costs_is_known_beforehand(caplog):
    """By an attribute, and by a line in the log; never more is read."""
    caplog.set_level(logging.INFO, "hindsight_async.waiting")
    async with waiting(interviews=3) as (emulator, hindsight):
        poller = hindsight.interviews.wait_many([1, 2, 3], every=900, timeout=DAY)
        assert 3 * 97 == poller.most_requests
        with pytest.raises(WaitTimeoutError):
            await anext(poller)
        assert 3 * 95 <= len(emulator.requests) <= poller.most_requests
        assert "waiting for 3 interviews takes at most 291 requests in 1.0 days" in caplog.text


async def test_a_session_that_is_closed_ends_a_wait():
    """It raises, in the call and in what is under way."""
    async with waiting() as (_, hindsight):
        wait = asyncio.ensure_future(hindsight.interviews.wait(1))
        await asyncio.sleep(1)
        await hindsight.close()
        with pytest.raises(SessionClosedError):
            await wait
        with pytest.raises(SessionClosedError):
            hindsight.interviews.wait_many([1])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"every": 59.9}, ValueError, "every must be at least 60 seconds, not 59.9"),
        ({"every": 0}, ValueError, "every must be more than 0"),
        ({"every": float("nan")}, ValueError, "every"),
        ({"every": "300"}, TypeError, "every must be a number of seconds, not str"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"timeout": True}, TypeError, "timeout"),
        ({"keep_quota": 1.1}, ValueError, "keep_quota must be a number from 0 to 1"),
        ({"ids": ["1"]}, TypeError, "interview_request_id must be an int"),
        ({"ids": [-1]}, ValueError, "interview_request_id"),
        ({"ids": [2**63]}, ValueError, "64-bit"),
    ],
    ids=str,
)
async def test_a_wrong_argument_is_named_in_the_call(arguments, error, text):
    """Before anything is sent, and before it is iterated."""
    async with HindsightSession("key", base_url="https://hindsight.invalid/api/v1") as hindsight:
        with pytest.raises(error, match=text):
            hindsight.interviews.wait_many(**{"ids": [1], **arguments})
        hindsight.interviews.wait_many([1], every=60)


async def test_on_this_machine_tests_need_not_wait():
    """An emulator may be read as often as one likes."""
    async with waiting(completes_after=200) as (emulator, hindsight):
        assert 1 == (await hindsight.interviews.wait(1, every=1)).interview_request_id
        assert 70 <= len(emulator.requests) <= 82
