"""Permits for requests that no session sends."""

import asyncio

import pytest
from attrs import evolve

from hindsight_async import DeadlineExceededError, HindsightSession, RateBudget, RedisBudget
from hindsight_async.emulator import Emulator
from redis_fleet import QUICK, budget_of, run


async def test_each_block_counts_one_request():
    """A full minute keeps the next one back, with a session and without, and each is in flight until its end."""
    budget = RateBudget(2)
    loop = asyncio.get_running_loop()
    async with budget.permit():
        assert 1 == budget.snapshot().in_flight
    async with Emulator() as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url, budget=budget) as hindsight:
            await hindsight.with_options(deadline=None).deals.count()
            with pytest.raises(DeadlineExceededError):
                async with hindsight.budget.permit(deadline=5):
                    pytest.fail("it may not leave")
            assert 0 == budget.snapshot().in_flight
            before = loop.time()
            async with hindsight.budget.permit():
                assert loop.time() - before > 5


async def test_the_lane_says_who_goes_first():
    """Who comes later in "interactive" leaves before who waits in "bulk"."""
    budget = RateBudget(1)
    order = []

    async def one(lane):
        async with budget.permit(lane=lane):
            order.append(lane)

    async with budget.permit():
        pass
    await asyncio.gather(one("bulk"), one("interactive"))
    assert ["interactive", "bulk"] == order


async def test_a_block_that_fails_or_is_cancelled_lets_go():
    """Nothing stays in flight or in line, whatever becomes of the request."""
    budget = RateBudget(1)
    with pytest.raises(ZeroDivisionError):
        async with budget.permit():
            raise ZeroDivisionError
    waiting = asyncio.ensure_future(budget.permit().__aenter__())
    await asyncio.sleep(1)
    assert 1 == budget.snapshot().queued["interactive"]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert 0 == budget.snapshot().queued["interactive"] == budget.snapshot().in_flight


@pytest.mark.servers
def test_a_fleets_budget_counts_it_without_a_session(redis):
    """Two budgets on one Redis count together, and leave no connection behind."""

    async def main():
        first, second = (RedisBudget(redis.url, organisation="acme", plan="essentials") for _ in range(2))
        before = len(asyncio.all_tasks())
        for _ in range(30):
            async with first.permit():
                pass
        async with second.permit():
            assert 30 >= second.snapshot().free_now
        assert before == len(asyncio.all_tasks())

    run(main())


def test_a_fleets_budget_is_used_again_whose_last_words_were_never_heard(redis):
    """Redis stands still as the last permit ends; once it goes on, whoever comes next is served."""

    async def main():
        budget = budget_of(redis, timing=evolve(QUICK, leave=0.05))
        async with budget.permit():
            redis.freeze()
        redis.thaw()
        async with budget.permit():
            assert 1 == budget.snapshot().in_flight

    try:
        run(main())
    finally:
        redis.thaw()


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"deadline": 0}, ValueError, "deadline must be more than 0 seconds"),
        ({"deadline": "5"}, TypeError, "deadline must be int or float or None, not str"),
        ({"lane": "urgent"}, ValueError, "lane must be 'interactive' or 'bulk', not 'urgent'"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(options, error, complaint):
    """Before the block is entered."""
    with pytest.raises(error, match=complaint):
        RateBudget(1).permit(**options)
