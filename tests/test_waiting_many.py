"""Ten thousand interviews that are waited for, on a virtual clock and over a stub: what it costs, in requests and in memory."""

import asyncio
import random
import tracemalloc
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import Plan, RateBudget, RetryPolicy, WaitTimeoutError
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Reply
from hindsight_async.resources.interviews.calls import Interviews
from hindsight_async.resources.interviews.poll_schedule import (
    DAY,
    SLOWER_WITH_AGE,
    Pace,
    age_class,
    most_requests,
    reads_within,
)
from hindsight_async.resources.interviews.recipients import AllowedRecipients, BlockedRecipients, CreateGuard
from simulated_server import simulate

CREATED_AT = datetime(2026, 7, 24, 12, 0, tzinfo=UTC)
LATENCY = 0.15
MAX_IN_FLIGHT = 16


class PatientServer:
    """A transport whose interviews, all new, are completed after so many seconds each."""

    base_url = "https://app.usehindsight.com/api/v1"

    def __init__(self, completed_after):
        self.completed_after = completed_after
        self.reads = []
        self.most_tasks = 0

    def open(self, loop):
        """Be open."""

    async def send(self, call, *, loop, deadline, attempt):
        """Answer 200."""
        number = int(call.path.rpartition("/")[2])
        self.reads.append((loop.time(), number))
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks(loop)))
        await asyncio.sleep(LATENCY)
        status = b"completed" if loop.time() >= self.completed_after[number] else b"sent"
        date = format_datetime(CREATED_AT + timedelta(seconds=loop.time()), usegmt=True)
        body = b'{"interview_request_id":%d,"status":"%b","created_at":"2026-07-24T12:00:00Z"}' % (
            number,
            status,
        )
        return Reply(200, {"Date": date}, body)


def interviews_on(server):
    client = RateBudget.for_plan(Plan.ENTERPRISE).join(MAX_IN_FLIGHT)
    executor = Executor(
        server, client, policy=RetryPolicy(), deadline=None,
        random=lambda: 0.5, wall_clock=lambda: datetime.now(UTC),
    )  # fmt: skip
    guard = CreateGuard(AllowedRecipients({}), BlockedRecipients(), None)
    return Interviews(executor, guard=guard, pace=Pace(), max_in_flight=MAX_IN_FLIGHT)


def answered_in_time(number, draw):
    """Tell after how many seconds somebody is interviewed: four in ten never, of the others half within 14 hours."""
    return float("inf") if draw.random() < 0.4 else 50_000 * draw.lognormvariate(0, 1)


@pytest.mark.parametrize("many", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_are_waited_for_at_half_the_plan_and_at_the_cost_that_was_told(many):
    """Each is given once and soon, read no more than told and never again, by as many tasks as for a few."""
    draw = random.Random(11)
    server = PatientServer([answered_in_time(number, draw) for number in range(many)])
    every, timeout = 3600.0, 3 * DAY
    given_at = {}

    async def main():
        poller = interviews_on(server).wait_many(range(many), every=every, timeout=timeout)
        told = poller.most_requests
        with pytest.raises(WaitTimeoutError):
            async for interview in poller:
                assert given_at.setdefault(interview.interview_request_id, asyncio.get_running_loop().time())
        return told, poller.requests, poller.open

    told, requests, still_open = simulate(main)
    print(f"{many} interviews: {requests} requests of at most {told}, {len(given_at)} completed in 3 days")
    in_time = {number for number, after in enumerate(server.completed_after) if after < timeout - 4 * every}
    assert in_time <= given_at.keys()
    assert set(range(many)) == given_at.keys() | set(still_open)
    assert len(server.reads) == requests <= told
    last_read = {number: moment for moment, number in server.reads}
    for number, moment in given_at.items():
        after = server.completed_after[number]
        # By the next read of one of its age, which comes later while many grow older at once.
        assert moment - after <= 1.5 * every * SLOWER_WITH_AGE[age_class(after)][1] + many * 0.12, number
        assert last_read[number] <= moment
    moments = [moment for moment, _ in server.reads]
    in_a_minute = [bisect_left(moments, moment + 59.9) - place for place, moment in enumerate(moments)]
    assert 500 >= max(in_a_minute)
    assert 1 + MAX_IN_FLIGHT // 2 >= server.most_tasks


@pytest.mark.slow
def test_memory_grows_with_the_ids_alone():
    """Ten thousand more take less than twice two machine words each, once all have been read."""

    def used(many):
        server = PatientServer([float("inf")] * many)

        async def main():
            poller = interviews_on(server).wait_many(range(many), every=7200, timeout=many * 0.12 + 60)
            server.reads = Forgetful()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(WaitTimeoutError):
                await anext(poller)
            after = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            return after - before

        return simulate(main)

    used(100)
    few, more = used(3_000), used(13_000)
    print(f"bytes: {few} for 3,000 and {more} for 13,000")
    assert 10_000 * 32 >= more - few


class Forgetful(list):
    def append(self, item):
        """Keep nothing."""


@given(
    every=st.floats(60, 2 * DAY),
    seconds=st.floats(1, 200 * DAY),
)
def test_the_reads_of_one_interview_are_those_of_its_ages(every, seconds):
    """What is told beforehand is what a walk through its ages comes to."""
    reads, moment = 0, 0.0
    while moment <= seconds:
        reads += 1
        moment += every * SLOWER_WITH_AGE[age_class(moment)][1]
    assert abs(reads - reads_within(seconds, every)) <= 1  # where a read falls on the very end


@pytest.mark.parametrize(
    ("interviews", "every", "days", "told"),
    [
        (1, 300, 1, 289),
        (1, 900, 7, 97 + 144),
        (10_000, 3600, 1, 250_000),
        (10_000, 900, 1, 720_001),
        (0, 900, 1, 0),
    ],
)
def test_what_a_wait_costs_at_most(interviews, every, days, told):
    """By how often each is read, or by half of the plan where that is less."""
    assert told == most_requests(interviews, seconds=days * DAY, every=every, requests_per_minute=1000)
