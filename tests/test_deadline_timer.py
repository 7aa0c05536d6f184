"""Many deadlines on one timer behave as each on its own."""

import asyncio
from math import inf

import pytest

from hindsight_async.call.deadline_timer import DeadlineTimer


async def test_a_block_that_takes_too_long_is_ended():
    """TimeoutError comes at the moment that was set, and the task can go on."""
    loop, timer = asyncio.get_running_loop(), DeadlineTimer(asyncio.get_running_loop())
    with pytest.raises(TimeoutError):
        with timer.at(loop.time() + 5):
            await asyncio.sleep(60)
    assert 5 <= loop.time() < 6
    assert 0 == asyncio.current_task().cancelling()
    timer.stop()


async def test_each_block_ends_at_its_own_moment():
    """Later and earlier deadlines in any order, and those met in time, do not disturb each other."""
    loop, timer = asyncio.get_running_loop(), DeadlineTimer(asyncio.get_running_loop())

    async def block(deadline, seconds):
        try:
            with timer.at(deadline):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return round(loop.time(), 3)
        return "in time"

    blocks = [(30, 99), (10, 99), (20, 1), (5, 99), (10, 99), (40, 39)]
    assert [30, 10, "in time", 5, 10, "in time"] == await asyncio.gather(*(block(*each) for each in blocks))
    timer.stop()


async def test_a_cancellation_from_outside_stays_one():
    """A task that somebody cancels is cancelled, also in the very moment in which its time is up."""
    loop, timer = asyncio.get_running_loop(), DeadlineTimer(asyncio.get_running_loop())

    async def block():
        with timer.at(loop.time() + 5):
            await asyncio.sleep(60)

    for seconds in (1, 5):
        task = asyncio.ensure_future(block())
        loop.call_later(seconds, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
    timer.stop()


async def test_an_error_in_the_block_goes_its_way():
    """What the block raises before its time is up is not changed, and its deadline is forgotten."""
    timer = DeadlineTimer(asyncio.get_running_loop())
    with pytest.raises(KeyError):
        with timer.at(asyncio.get_running_loop().time() + 5):
            raise KeyError
    await asyncio.sleep(60)


async def test_one_timer_serves_all():
    """A hundred blocks put one timer on the loop, and stopping takes it off."""
    loop, timer = asyncio.get_running_loop(), DeadlineTimer(asyncio.get_running_loop())

    async def block():
        with timer.at(loop.time() + 30):
            await asyncio.sleep(0)

    await asyncio.gather(*(block() for _ in range(100)))
    assert 1 == loop.timers
    timer.stop()
    assert 0 == loop.timers


async def test_a_deadline_that_has_passed_ends_the_block_at_its_first_wait():
    """No time left is no time."""
    timer = DeadlineTimer(asyncio.get_running_loop())
    with pytest.raises(TimeoutError):
        with timer.at(-1.0):
            await asyncio.sleep(60)
    timer.stop()


async def test_a_block_that_is_postponed_ends_later_and_the_others_when_they_should():
    """Another moment counts from then on, later or earlier than before, whatever the timer was set for."""
    loop, timer = asyncio.get_running_loop(), DeadlineTimer(asyncio.get_running_loop())

    async def block(moment, postponed_by):
        deadline = timer.at(moment)
        try:
            with deadline:
                await asyncio.sleep(1)
                if postponed_by is not None:
                    deadline.postpone(postponed_by)
                await asyncio.sleep(99)
        except TimeoutError:
            return round(loop.time(), 3)

    blocks = [(5, 29), (10, None), (inf, 6), (50, 2)]
    assert [30, 10, 7, 3] == await asyncio.gather(*(block(*each) for each in blocks))
    timer.stop()


async def test_a_block_whose_moment_has_come_is_not_postponed():
    """Whoever comes too late is told so, and the block ends."""
    loop, timer = asyncio.get_running_loop(), DeadlineTimer(asyncio.get_running_loop())
    deadline = timer.at(loop.time() + 5)
    with pytest.raises(TimeoutError):
        with deadline:
            await asyncio.sleep(60)
    with pytest.raises(TimeoutError):
        deadline.postpone(10)
    timer.stop()
