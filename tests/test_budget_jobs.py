"""Whole jobs against a simulated server: nothing refused, nothing wasted."""

import asyncio
import logging
import random

import pytest

from hindsight_async.rate import RateBudget
from simulated_server import (
    HEAD_START,
    PLAIN,
    Habit,
    Job,
    Neighbour,
    SimulatedServer,
    heavy_tail,
    local_clock,
    most_in_any_minute,
    simulate,
    unhindered,
)

IN_FLIGHT = 50
MEAN_LATENCY = 0.12
"""Seconds; of `heavy_tail`."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="hindsight_async.rate")


def budget_of(limit: int) -> RateBudget:
    """Return a budget whose waits after a 429 are the same in every run."""
    return RateBudget(limit, random=random.Random(1).random, wall_clock=local_clock)


def run_job(
    server: SimulatedServer,
    rows: int,
    *,
    plan: int | None = None,
    rival: list[float] | None = None,
    neighbour: Neighbour | None = None,
    starts: float = 0.0,
    phase: float | None = None,
    seed: int = 1,
) -> tuple[float, Job]:
    """Run a job of so many rows, 50 in flight, from a second of the minute on; tell the seconds it took."""

    async def main() -> tuple[float, Job]:
        budget = budget_of(plan or server.limit)
        job = Job(server, heavy_tail(seed))
        eating = asyncio.ensure_future(neighbour.run() if neighbour else eat(server, rival or []))
        await asyncio.sleep(starts)
        took = await job.run(budget.join(IN_FLIGHT), rows, workers=IN_FLIGHT)
        eating.cancel()
        return took, job

    return simulate(main, phase=None if phase is None else phase - starts)


async def eat(server: SimulatedServer, moments: list[float]) -> None:
    """Be the other program."""
    loop = asyncio.get_running_loop()
    for moment in moments:
        if moment > loop.time():
            await asyncio.sleep(moment - loop.time())
        server.arrive(elsewhere=True)


def best_of_any(limit: int, *, first_window: float = 60.0) -> float:
    """Seconds in which ten plans' worth can be sent at the soonest: the last one has to wait for nine windows."""
    return first_window + 8 * 60 + unhindered(heavy_tail(2), limit, IN_FLIGHT)


WHOLE_JOBS = [
    pytest.param(limit, model, headers, marks=pytest.mark.slow if limit == 1000 else ())
    for limit in (60, 300, 1000)
    for number, model in enumerate(PLAIN)
    for headers in ((True, False) if limit < 300 else (number % 2 == 0,))
]


@pytest.mark.parametrize(("limit", "model", "headers"), WHOLE_JOBS)
def test_a_long_job_is_never_refused_and_keeps_the_window_full(
    limit: int, model: str, *, headers: bool
) -> None:
    """Ten plans' worth draws no 429 and takes at most a hundredth longer than the best any client could do."""
    server = SimulatedServer(limit, model, names_limits=headers)
    took, job = run_job(server, 10 * limit)
    assert 10 * limit == job.done
    assert [] == server.refused
    assert limit >= most_in_any_minute(server.arrivals)
    if model != "aligned":
        assert best_of_any(limit) / took >= 0.99


@pytest.mark.parametrize("phase", [1.0, 30.0, 59.0])
def test_windows_aligned_to_the_clock_cost_at_most_a_sixth(phase: float) -> None:
    """Where a window may end just after the job begins, at least 84 % of the best is kept."""
    server = SimulatedServer(300, "aligned")
    took, _ = run_job(server, 3000, phase=phase)
    assert [] == server.refused
    assert best_of_any(300, first_window=60 - phase) / took >= 0.84


@pytest.mark.parametrize("limit", [60, 300, 1000])
def test_a_job_that_fits_goes_out_at_once(limit: int) -> None:
    """Half a plan is over as soon as the requests in flight allow, after one that went first."""
    server = SimulatedServer(limit)
    took, job = run_job(server, limit // 2)
    latency = heavy_tail(1)
    first = latency()
    assert limit // 2 == job.done
    assert first + unhindered(latency, limit // 2 - 1, IN_FLIGHT) + 0.01 >= took


def weighted_job(limit: int, plans: int, phase: float) -> float:
    """Return how long so many plans take from this second on, of which nothing is refused, or too much at a time."""
    server = SimulatedServer(limit, "weighted")
    took, job = run_job(server, plans * limit, phase=phase)
    assert plans * limit == job.done
    assert [] == server.refused
    assert limit >= most_in_any_minute(server.arrivals)
    return took


WEIGHTED_JOBS = [
    *[pytest.param(300, 3, phase) for phase in (2, 20, 50)],
    *[
        pytest.param(limit, plans, phase, marks=pytest.mark.slow)
        for limit in (60, 300, 1000)
        for plans in (3, 10)
        for phase in (2, 20, 35, 50)
    ],
]


@pytest.mark.parametrize(("limit", "plans", "phase"), WEIGHTED_JOBS)
def test_the_weighted_window_is_used_from_any_second_of_the_minute_on(
    limit: int, plans: int, phase: int
) -> None:
    """What is left of the first minute, and then a plan a minute: 97 % of the best possible, and no 429."""
    assert (60 - phase + 60 * (plans - 1)) / weighted_job(limit, plans, phase) >= 0.97


LAST_SECONDS = [
    (300, 3, 59.0),
    *[
        pytest.param(limit, plans, phase, marks=pytest.mark.slow)
        for limit, plans, phase in [
            (60, 10, 58.0),
            (300, 10, 58.0),
            (60, 10, 59.0),
            (300, 10, 59.0),
            (1000, 10, 59.0),
            (300, 10, 59.5),
        ]
    ],
]


@pytest.mark.parametrize(("limit", "plans", "phase"), LAST_SECONDS)
def test_the_last_second_of_a_weighted_minute_is_used_as_well_as_can_be(
    limit: int, plans: int, phase: float
) -> None:
    """97 % of the best possible for a client that keeps any 60 s to the limit, and knows an arrival by its answer alone."""
    # Between two plans lie 60 s and a latency for it, and so between the first and the last one. Where that is more than from
    # the second at which the job begins until as many minutes have turned, all of the last plan falls into one minute more,
    # and a weighted window lets in a whole plan behind another only until that minute's end.
    left = 60 - phase
    best = left + 60 * (plans if (plans - 1) * MEAN_LATENCY >= left else plans - 1)
    assert best / weighted_job(limit, plans, phase) >= 0.97


HABITS: list[tuple[Habit, float, float]] = [
    ("even", 0.05, 1.3),
    ("minute", 0.05, 2.1),
    ("bursts", 0.2, 1.75),
]
"""Of another program: the part of its requests that may be refused, and how often our fair time we may take.

A burst of a third that comes at second 3 of the minute leaves 105 of 300 a minute under the weighted window, for two minutes
count it: 2.04 times the fair time at best, if requests leave evenly. A single 429 would cost another minute, or 0.07.
"""


@pytest.mark.parametrize(("habit", "theirs", "times"), HABITS)
@pytest.mark.parametrize(
    "model",
    ["weighted", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sliding", "aligned", "bucket"))],
)
def test_another_program_keeps_its_third(model: str, habit: Habit, theirs: float, times: float) -> None:
    """It never backs off, and hardly anything is refused to it or to us; our part of the limit is used all the same."""
    server = SimulatedServer(300, model)
    neighbour = Neighbour(server, habit)
    took, job = run_job(server, 3000, neighbour=neighbour, starts=HEAD_START, phase=13)
    assert 3000 == job.done
    assert neighbour.refused <= theirs * neighbour.sent
    assert len(server.refused) <= 30
    assert took <= times * 840


@pytest.mark.parametrize("second", [3, pytest.param(10, marks=pytest.mark.slow), 59])
def test_a_burst_a_minute_is_awaited_at_whichever_second_it_comes(second: int) -> None:
    """Under a weighted window what others sent just fades away, and then comes again: hardly any of it is refused."""
    server = SimulatedServer(300, "weighted")
    neighbour = Neighbour(server, "minute")
    run_job(server, 1000, neighbour=neighbour, starts=HEAD_START, phase=second + HEAD_START % 60)
    assert 0.02 * neighbour.sent >= neighbour.refused
    assert [] == server.refused


@pytest.mark.slow
@pytest.mark.parametrize("model", ["weighted", "bucket", "sliding"])
def test_another_program_that_comes_later_is_let_in(model: str) -> None:
    """It comes when a third of our job is done, and is not kept out by our bursts."""
    server = SimulatedServer(300, model)
    neighbour = Neighbour(server, "even", comes_after=1000)
    run_job(server, 3000, neighbour=neighbour, phase=13)
    assert neighbour.refused <= 0.25 * neighbour.sent


@pytest.mark.slow
@pytest.mark.parametrize("model", ["weighted", "sliding", "aligned", "bucket", "fixed"])
def test_what_another_program_leaves_when_it_goes_is_used(model: str) -> None:
    """A program that used half of the limit goes after 200 s, and we take over what it used within some minutes."""
    server = SimulatedServer(300, model)
    neighbour = Neighbour(server, "even", share=1 / 2, stays=200)
    took, _ = run_job(server, 3000, neighbour=neighbour, starts=HEAD_START, phase=13)
    assert took <= 1.4 * 670


def test_a_smaller_limit_at_the_server_is_taken_from_the_first_answer() -> None:
    """Configured 1000 and server 300: the first answer tells, and nothing is ever refused."""
    server = SimulatedServer(300)
    took, _ = run_job(server, 1500, plan=1000)
    assert [] == server.refused
    assert took <= 246


def test_a_larger_limit_at_the_server_is_found_at_once() -> None:
    """Configured 60 and server 300: the second answer confirms the first, and the job goes at 300."""
    server = SimulatedServer(300)
    took, _ = run_job(server, 1500, plan=60)
    assert [] == server.refused
    assert took <= 246


@pytest.mark.parametrize(("plan", "limit"), [(1000, 300), (300, 60)])
def test_a_server_that_refuses_without_a_word_sees_one_wave(plan: int, limit: int) -> None:
    """Without headers at most what was in flight is refused, and afterwards, minutes apart, a few that tried for more."""
    server = SimulatedServer(limit, names_limits=False)
    _, job = run_job(server, 5 * limit, plan=plan)
    wave = [moment for moment in server.refused if moment < server.refused[0] + 5]
    later = server.refused[len(wave) :]
    assert 5 * limit == job.done
    assert IN_FLIGHT >= len(wave)
    assert all(moment - wave[-1] >= 60 for moment in later)
    assert 5 >= len(later)


def test_a_restart_within_the_minute_follows_the_first_answer() -> None:
    """What a predecessor has spent is known from the first answer, and none of it is tried again."""
    server = SimulatedServer(300)

    async def main() -> float:
        for _ in range(200):
            server.arrive(elsewhere=True)
        job = Job(server, heavy_tail(1))
        return await job.run(budget_of(300).join(IN_FLIGHT), 350, workers=IN_FLIGHT)

    took = simulate(main)
    assert [] == server.refused
    assert took <= 100


class LyingServer(SimulatedServer):
    """Names a Remaining of its own making."""

    says = 0

    def remaining(self, now: float) -> int:
        """Say the same whatever is true."""
        return self.says


@pytest.mark.parametrize("says", [0, 1, 300, -5, 301])
def test_a_nonsensical_remaining_starves_nobody(says: int) -> None:
    """A constant Remaining slows the first minutes at most; the job goes on at the pace of our own count."""
    server = LyingServer(300)
    server.says = says
    took, job = run_job(server, 1500)
    assert 1500 == job.done
    assert [] == server.refused
    assert took <= 240 + 180


def test_refused_waits_end_no_earlier_than_the_server_says() -> None:
    """After a 429 nothing leaves before the named reset; then one goes, and the rest once it is answered."""
    server = SimulatedServer(60)

    async def main() -> None:
        budget = budget_of(60)
        client = budget.join(IN_FLIGHT)
        job = Job(server, lambda: 0.1)
        await job.send(client)
        for _ in range(60):
            server.arrive(elsewhere=True)
        await asyncio.sleep(1)
        async with asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(job.send(client))

    simulate(main)
    reset = server.arrivals[0] + 60
    after = [moment for moment in server.arrivals if moment > server.refused[-1]]
    assert 1 <= len(server.refused) <= 40
    assert reset <= after[0]
    assert 1 == len([moment for moment in after if moment < after[0] + 0.1 * 0.3])
