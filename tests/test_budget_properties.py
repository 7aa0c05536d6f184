"""Whatever comes in whatever order: the promises of the rate budget hold."""

import asyncio
import logging
import math
from typing import Any

import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hindsight_async.rate import BudgetClient, BudgetSnapshot, RateBudget
from permits import PermitBlock
from simulated_server import MODELS, PLAIN, SimulatedServer, local_clock, most_in_any_minute, simulate

LANES = ("interactive", "bulk")


@define
class Caller:
    """One call: when it comes, how long it is under way, and when it gives up, in seconds."""

    comes: float
    there: float
    back: float
    gives_up: float
    lane: Any
    fails: bool


callers = st.builds(
    Caller,
    comes=st.one_of(st.just(0.0), st.floats(0, 200)),
    there=st.floats(0, 3),
    back=st.floats(0, 3),
    gives_up=st.one_of(st.just(math.inf), st.floats(0, 100), st.just(0.0)),
    lane=st.sampled_from(LANES),
    fails=st.booleans(),
)


@define(eq=False)
class World:
    """A server, a budget, and what became of the callers."""

    server: SimulatedServer
    budget: RateBudget
    came: list[int] = field(factory=list)
    served: list[tuple[int, float]] = field(factory=list)
    cancelled: list[int] = field(factory=list)
    seen: BudgetSnapshot = field(init=False)

    async def call(self, client: BudgetClient, number: int, caller: Caller) -> None:
        """Come, be served, and report it."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(caller.comes)
        self.came.append(number)
        try:
            async with asyncio.timeout(caller.gives_up if caller.gives_up < math.inf else None):
                async with PermitBlock(client, route="GET /x", lane=caller.lane) as permit:
                    self.served.append((number, loop.time()))
                    await asyncio.sleep(caller.there)
                    reply = self.server.arrive()
                    await asyncio.sleep(caller.back)
                    if not caller.fails:
                        permit.answered(reply.status, reply.headers)
        except TimeoutError:
            self.cancelled.append(number)


def run(world: World, crowd: list[Caller], *, in_flight: int, sessions: int = 1) -> World:
    """Let all callers come, and the window pass after the last."""

    async def main() -> World:
        clients = [world.budget.join(in_flight) for _ in range(sessions)]
        async with asyncio.TaskGroup() as group:
            for number, caller in enumerate(crowd):
                group.create_task(world.call(clients[number % sessions], number, caller))
        await asyncio.sleep(3 * 61)
        world.seen = world.budget.snapshot()
        return world

    return simulate(main)


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    logger = logging.getLogger("hindsight_async.rate")
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(logging.NOTSET)


many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(
    crowd=st.lists(callers, min_size=1, max_size=40),
    limit=st.integers(1, 12),
    in_flight=st.integers(1, 20),
    sessions=st.integers(1, 3),
    model=st.sampled_from(MODELS),
    names_limits=st.booleans(),
    skew=st.floats(-600, 600),
    burst=st.one_of(st.none(), st.integers(1, 12)),
)
def test_no_minute_at_the_server_ever_holds_more_than_the_plan(
    crowd: list[Caller],
    limit: int,
    in_flight: int,
    sessions: int,
    model: str,
    *,
    names_limits: bool,
    skew: float,
    burst: int | None,
):
    """Never more than N in any 60 s, nothing refused where that is the rule, everybody done with, every permit back."""
    server = SimulatedServer(limit, model, names_limits=names_limits, skew=skew)
    world = World(server, RateBudget(limit, burst=burst, wall_clock=local_clock))
    run(world, crowd, in_flight=in_flight, sessions=sessions)
    assert limit >= most_in_any_minute(server.arrivals)
    assert model not in PLAIN or [] == server.refused
    assert set(range(len(crowd))) == {number for number, _ in world.served} | set(world.cancelled)
    assert (limit, 0, 0) == (world.seen.free_now, world.seen.in_flight, sum(world.seen.queued.values()))


@many
@given(
    crowd=st.lists(callers, min_size=2, max_size=40),
    limit=st.integers(1, 12),
    in_flight=st.integers(1, 20),
)
def test_first_come_is_first_served_within_a_lane(crowd: list[Caller], limit: int, in_flight: int):
    """Within a lane nobody leaves before one who came earlier and stayed."""
    world = World(SimulatedServer(limit), RateBudget(limit, wall_clock=local_clock))
    run(world, crowd, in_flight=in_flight)
    moment = dict(world.served)
    for lane in LANES:
        leaving = [moment[number] for number in world.came if number in moment and lane == crowd[number].lane]
        assert sorted(leaving) == leaving


@many
@given(
    crowd=st.lists(callers, min_size=1, max_size=30),
    limit=st.integers(2, 12),
    plan=st.integers(1, 24),
    names_limits=st.booleans(),
    eaten=st.lists(st.floats(0, 250), max_size=20),
    reset_means=st.sampled_from(["next", "whole"]),
    skew=st.floats(-600, 600),
)
def test_a_contested_window_loses_nobody(
    crowd: list[Caller],
    limit: int,
    plan: int,
    *,
    names_limits: bool,
    eaten: list[float],
    reset_means: str,
    skew: float,
):
    """With another program in the window and the wrong plan configured, still everybody is served or cancelled."""
    server = SimulatedServer(limit, names_limits=names_limits, reset_means=reset_means, skew=skew)
    world = World(server, RateBudget(plan, wall_clock=local_clock))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        eating = [loop.call_later(moment, lambda: server.arrive(elsewhere=True)) for moment in eaten]
        client = world.budget.join(20)
        async with asyncio.TaskGroup() as group:
            for number, caller in enumerate(crowd):
                group.create_task(world.call(client, number, caller))
        for handle in eating:
            handle.cancel()
        await asyncio.sleep(3 * 61)
        world.seen = world.budget.snapshot()

    simulate(main)
    assert max(limit, plan) >= most_in_any_minute(server.arrivals)
    assert set(range(len(crowd))) == {number for number, _ in world.served} | set(world.cancelled)
    assert (0, 0) == (world.seen.in_flight, sum(world.seen.queued.values()))
