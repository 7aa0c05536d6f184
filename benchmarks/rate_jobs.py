"""A job against a simulated server: with one policy, alone or beside another program, and by an oracle."""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from math import inf

from attrs import field, frozen

from benchmarks.rate_policies import POLICIES, SEED, WORKERS, Line
from simulated_server import HEAD_START, MINUTE, Habit, Neighbour, SimulatedServer, heavy_tail, simulate

ORACLE_STEP = 0.05
"""Seconds after which the client that knows the server's count looks again."""


@frozen
class Other:
    """Another program in the limit that never backs off."""

    habit: Habit
    share: float = 1 / 3
    """Of the limit, per minute."""
    comes_after: float = 0.0
    """The part of our job that is done when it comes; 0 for one that was there before."""
    stays: float = inf
    """Seconds after our first request until it goes."""

    def fair_seconds(self, rows: int, limit: int) -> float:
        """Tell how long our rows take where we use what it leaves, and it leaves what it does not send."""
        left = limit * (1 - self.share)
        beside = left * (1 + self.stays / MINUTE)  # a whole window at once, then as it is freed
        if rows > beside:
            return self.stays + (rows - beside) / limit * MINUTE
        alone = rows * self.comes_after
        return (alone / limit + (rows - alone) / left - 1) * MINUTE


@frozen
class Case:
    """One server, what the client believes of it, and how and when a job begins."""

    plan: int
    window: str
    server_limit: int
    plans: int
    """The size of the job, in minutes' worth."""
    phase: float
    """The second of the server's minute at which it begins."""
    names_limits: bool = True
    other: Other | None = None

    @property
    def rows(self) -> int:
        """Count the rows of the job."""
        return self.plan * self.plans

    def server(self) -> SimulatedServer:
        """Make the server."""
        return SimulatedServer(self.server_limit, self.window, names_limits=self.names_limits)


@frozen
class Run:
    """What became of a job."""

    seconds: float
    failures: int
    """Rows given up."""
    arrivals: Sequence[float] = field(repr=False)
    """Seconds from its beginning at which its requests arrived."""
    refused: Sequence[float] = field(repr=False)
    """Those of them that were."""
    refused_of_others: float
    """The part of the other program's requests that was refused meanwhile."""

    def beside(self, best: float) -> str:
        """Write how many requests were refused, and how long it took beside the best, or how many rows failed."""
        return f"{len(self.refused)}, {self._took(best)}"

    def beside_another(self, fair: float) -> str:
        """Write which part of theirs and of ours was refused, and how long it took beside the fair time."""
        ours = len(self.refused) / len(self.arrivals)
        return f"{self.refused_of_others:.0%}, {ours:.1%}, {self._took(fair)}"

    def _took(self, best: float) -> str:
        return f"{self.failures} failed" if self.failures else f"{self.seconds / best:.2f} x"


def work_off(case: Case, policy_name: str) -> Run:
    """Do the job with one policy."""
    head_start = HEAD_START if case.other else 0.0
    return simulate(lambda: _work_off(case, policy_name, head_start), phase=case.phase - head_start)


async def _work_off(case: Case, policy_name: str, head_start: float) -> Run:
    server = case.server()
    neighbour = _neighbour(case, server)
    living = asyncio.ensure_future(neighbour.run()) if neighbour else None
    await asyncio.sleep(head_start)
    policy, line = POLICIES[policy_name](case.plan), Line(server, heavy_tail(SEED))
    loop = asyncio.get_running_loop()
    began, rows, failures = loop.time(), iter(range(case.rows)), 0

    async def work() -> None:
        nonlocal failures
        for _ in rows:
            let_through = await policy.send(line)
            failures += not let_through

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    if living:
        living.cancel()
    return Run(
        seconds=loop.time() - began,
        failures=failures,
        arrivals=[moment - began for moment in server.arrivals],
        refused=[moment - began for moment in server.refused],
        refused_of_others=neighbour.refused / max(1, neighbour.sent) if neighbour else 0.0,
    )


def _neighbour(case: Case, server: SimulatedServer) -> Neighbour | None:
    if case.other is None:
        return None
    return Neighbour(
        server,
        case.other.habit,
        share=case.other.share,
        comes_after=int(case.other.comes_after * case.rows),
        stays=case.other.stays,
        seed=SEED,
    )


def best_possible(case: Case) -> float:
    """Do the job with knowledge that no client has; tell the seconds."""
    return simulate(lambda: _best_possible(case), phase=case.phase)


async def _best_possible(case: Case) -> float:
    server, latency, draw = case.server(), heavy_tail(SEED), random.Random(SEED)  # noqa: S311  no secret
    loop = asyncio.get_running_loop()
    began, rows = loop.time(), iter(range(case.rows))
    ours: deque[float] = deque()  # when those of the last minute arrived
    at_the_door: deque[asyncio.Future[None]] = deque()

    def let_in() -> None:
        now = loop.time()
        while ours and ours[0] <= now - MINUTE:
            ours.popleft()
        room = min(server.remaining(now), case.server_limit - len(ours), len(at_the_door))
        for _ in range(room):
            server.arrive()
            ours.append(now)
            at_the_door.popleft().set_result(None)

    async def work() -> None:
        for _ in rows:
            seconds = latency()
            there = seconds * draw.random()
            await asyncio.sleep(there)
            passed = loop.create_future()
            at_the_door.append(passed)
            let_in()
            await passed
            await asyncio.sleep(seconds - there)

    async def watch() -> None:
        while True:
            await asyncio.sleep(ORACLE_STEP)
            let_in()

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    watching.cancel()
    return loop.time() - began
