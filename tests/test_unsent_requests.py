"""What never left uses nothing of the plan up, and what may have left does."""

import asyncio
from datetime import UTC, datetime

import pytest

from hindsight_async import (
    AttemptSent,
    CreateInterview,
    DeadlineExceededError,
    HindsightSession,
    LedgerError,
    NotSentError,
    OutcomeUnknownError,
    Plan,
    RateBudget,
    RetryPolicy,
)
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Call, Endpoint
from hindsight_async.emulator import Emulator
from raw_server import CREATED, raw_server
from stub_transport import StubTransport
from test_delivery import unused_port

ONCE = RetryPolicy(attempts=1)
REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1")

LATE_CALL = 2
"""Which call of a session gets no CPU before its deadline."""
DEADLINE = 0.5


def session(base_url, budget, **options):
    return HindsightSession(
        "k3y", base_url=base_url, budget=budget, **{"retry": ONCE, "max_in_flight": 60, **options}
    )


def used(budget):
    """Tell how much of the plan is used up, with nothing under way."""
    seen = budget.snapshot()
    assert 0 == seen.in_flight
    return seen.limit - seen.free_now


async def hang(connection):
    await connection.request()
    await asyncio.sleep(1000)


async def cancelled(call, after):
    """Cancel a call after so many seconds."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_minute_of_refused_connections_leaves_the_whole_plan():
    """Sixty creates that found nobody at the address, and sixty more to the right one go out at once."""
    loop, budget = asyncio.get_running_loop(), RateBudget.for_plan(Plan.ESSENTIALS)
    async with session(f"http://127.0.0.1:{unused_port()}", budget) as hindsight:
        for _ in range(2):
            ends = await asyncio.gather(
                *(hindsight.interviews.create(REQUEST) for _ in range(30)), return_exceptions=True
            )
            assert {NotSentError} == {type(end) for end in ends}
    assert 0 == used(budget)
    began = loop.time()
    async with Emulator(api_key="k3y") as emulator, session(emulator.base_url, budget) as hindsight:
        await asyncio.gather(*(hindsight.interviews.create(REQUEST) for _ in range(60)))
    assert loop.time() < began + 2
    assert 60 == len(emulator.outbox)


@pytest.mark.parametrize("call", ["create", "get"])
async def test_what_left_and_was_not_answered_counts(call):
    """A request that was read and whose connection broke holds its permit for a window, be it a create or a read."""

    async def read_and_drop(connection):
        await connection.request()
        connection.drop()

    budget = RateBudget.for_plan(Plan.ESSENTIALS)
    async with raw_server(read_and_drop) as server, session(server.base_url, budget) as hindsight:
        with pytest.raises(OutcomeUnknownError):
            await getattr(hindsight.interviews, call)(REQUEST if call == "create" else 7)
        assert 1 == used(budget)
        await asyncio.sleep(61)
    assert 0 == used(budget)


async def test_a_create_that_is_cancelled_before_it_left_counts_for_nothing():
    """Its connection was still being made: the server cannot have counted what it never saw."""
    budget = RateBudget.for_plan(Plan.ESSENTIALS)
    async with raw_server(hang) as server:
        secure = server.base_url.replace("http:", "https:")
        async with session(secure, budget) as hindsight:
            await cancelled(hindsight.interviews.create(REQUEST), 1)
            assert 0 == used(budget)
            with pytest.raises(NotSentError):
                await hindsight.interviews.create(REQUEST)
    assert 0 == used(budget)


@pytest.mark.parametrize("call", ["create", "get"])
async def test_what_is_cancelled_after_it_left_counts(call):
    """The server has it and may have counted it, whoever waits for the answer."""
    budget = RateBudget.for_plan(Plan.ESSENTIALS)
    async with raw_server(hang) as server, session(server.base_url, budget) as hindsight:
        await cancelled(getattr(hindsight.interviews, call)(REQUEST if call == "create" else 7), 1)
        assert 1 == len(server.requests)
        assert 1 == used(budget)


class Hooks:
    """Are told before each attempt, and do as they were made to."""

    def __init__(self, act):
        self.about_to_send = act

    async def not_processed(self):
        """Have nothing to do."""


async def test_a_hook_that_keeps_a_request_from_leaving_costs_nothing():
    """A ledger that cannot write, and a caller that is cancelled while it writes: the permit is there for the next."""

    async def fail():
        raise LedgerError("the disk is full")

    async def take_long():
        await asyncio.sleep(100)

    budget, transport = RateBudget.for_plan(Plan.ESSENTIALS), StubTransport()
    options = {
        "policy": ONCE,
        "deadline": None,
        "random": lambda: 0.5,
        "wall_clock": lambda: datetime.now(UTC),
    }
    executor = Executor(transport, budget.join(1), **options)

    def run(act):
        call = Call(Endpoint(method="POST", route="POST /x", reply_type=bytes, repeatable=False), "/x", b"{}")
        return executor.run(call, lane="interactive", deadline=None, hooks=Hooks(act))

    with pytest.raises(LedgerError):
        await run(fail)
    await cancelled(run(take_long), 1)
    assert (0, 0) == (used(budget), transport.sent)


PAST = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767225600000"}
"""Of a window that was over long before the emulator's clock began."""


async def test_a_429_whose_window_is_over_is_tried_again_soon():
    """A server with nothing left in a window of the past refuses twice: the create is tried after 5 and 10 s more, and made."""
    clock = asyncio.get_running_loop().time
    began = datetime(2026, 1, 10, tzinfo=UTC)
    async with Emulator(api_key="k3y", started_at=began) as emulator:
        emulator.fail("POST /interviews", how=429, times=2, headers=PAST)
        async with session(emulator.base_url, None, plan=Plan.ESSENTIALS, deadline=30.0) as hindsight:
            await hindsight.interviews.create(REQUEST)
            assert 15 <= clock() < 18
            emulator.fail("POST /interviews", how=429, times=None, headers=PAST)
            with pytest.raises(DeadlineExceededError, match=r"for another \d+\.\d s"):
                await hindsight.interviews.create(REQUEST)
    assert clock() < 15 + 30
    assert 1 == len(emulator.outbox)


async def test_a_create_whose_deadline_comes_before_it_leaves_leaves_its_connection_to_others():
    """Nothing was written on it, so the next request goes out on it."""

    def stand_still(event):
        if isinstance(event, AttemptSent) and event.call == LATE_CALL:
            asyncio.get_running_loop().stand_still(2 * DEADLINE)

    async def answer(connection):
        while await connection.request():
            connection.writer.write(CREATED)

    async with raw_server(answer) as server:
        async with session(server.base_url, RateBudget(100), on_event=stand_still) as hindsight:
            await hindsight.interviews.create(REQUEST)
            with pytest.raises(NotSentError, match="the deadline passed"):
                await hindsight.with_options(deadline=DEADLINE).interviews.create(REQUEST)
            await hindsight.interviews.create(REQUEST)
        assert (2, 1) == (len(server.requests), server.connections)
