"""A server as a plain object, and clients to set upon it: whole jobs without a socket."""

import asyncio
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Literal, TypeVar

from attrs import define, field
from multidict import CIMultiDict, CIMultiDictProxy

from hindsight_async.rate import BudgetClient
from permits import PermitBlock
from virtual_time import VirtualTimeLoop

MINUTE = 60.0
LOCAL_EPOCH = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CLOCK_RESIDUE = 0.01
"""Milliseconds that a sum of floats may be off the end of a minute."""

HEAD_START = 130.0
"""Seconds for which another program is there before our job begins, so that every window is full of its habit."""

BURST = 20
"""Requests that a program with the habit of bursts sends at once."""

T = TypeVar("T")
PLAIN = ("sliding", "fixed", "aligned", "bucket")
"""The ways of counting under which a full window is whole again after a minute."""

MODELS = (*PLAIN, "weighted", "cached")
"""All ways of counting; "cached" is "weighted" by a server that remembers until the minute's end that it refused."""

OF_THE_CLOCK = ("aligned", "weighted", "cached")
"""Those that go by the minutes of the server's clock."""


def local_clock() -> datetime:
    """Read the wall clock of the client's machine, which runs with the loop's."""
    return LOCAL_EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


@define
class Reply:
    """An answer."""

    status: int
    headers: CIMultiDictProxy[str]


@define(eq=False)
class SimulatedServer:
    """Counts arrivals in one of six ways and answers with true headers, or none."""

    limit: int
    model: str = "sliding"
    names_limits: bool = True
    skew: float = 0.0
    reset_means: str = "next"
    arrivals: list[float] = field(factory=list)
    refused: list[float] = field(factory=list)
    spent_elsewhere: int = 0
    _counted: deque[float] = field(factory=deque)
    _level: float = 0.0
    _level_at: float = 0.0
    _window_start: float = -math.inf
    _last: int = 0
    _closed_until: float = -math.inf

    def arrive(self, *, elsewhere: bool = False, forced: bool = True) -> Reply:
        """Take in one request, ours or another program's, and answer it; another's passes by force unless told not to."""
        now = asyncio.get_running_loop().time()
        passed = self._take(now, forced=elsewhere and forced)
        if elsewhere:
            self.spent_elsewhere += passed
        else:
            self.arrivals.append(now)
            if not passed:
                self.refused.append(now)
        return Reply(200 if passed else 429, self._headers(now))

    @property
    def let_through(self) -> int:
        """Count those of ours that passed."""
        return len(self.arrivals) - len(self.refused)

    def used(self, now: float) -> int:
        """Count what is in the window now."""
        if self.model == "bucket":
            self._level = max(0.0, self._level - (now - self._level_at) * self.limit / MINUTE)
            self._level_at = now
            return math.ceil(self._level - 1e-9)
        if self.model == "sliding":
            while self._counted and self._counted[0] <= now - MINUTE:
                self._counted.popleft()
        elif now >= self._window_start + MINUTE:
            self._turn(now)
        weighted = math.floor((1 - (now - self._window_start) / MINUTE) * self._last) if self._last else 0
        return weighted + len(self._counted)

    def _turn(self, now: float) -> None:
        if self.model in OF_THE_CLOCK:
            start = now - (self._epoch() + now) % MINUTE
            if self.model != "aligned":
                self._last = len(self._counted) if start - self._window_start < 1.5 * MINUTE else 0
            self._window_start = start
        self._counted.clear()

    def _take(self, now: float, *, forced: bool) -> bool:
        if not forced and (now < self._closed_until or self.used(now) >= self.limit):
            if self.model == "cached" and now >= self._closed_until:
                self._closed_until = self._window_start + MINUTE
            return False
        if self.model == "bucket":
            self._level += 1
        else:
            if self.model == "fixed" and not self._counted:
                self._window_start = now
            self._counted.append(now)
        return True

    def _reset_at(self, now: float) -> float:
        if self.model == "bucket":
            missing = max(0.0, self._level + 1 - self.limit) if self.reset_means == "next" else self._level
            return now + missing * MINUTE / self.limit
        if self.model != "sliding":
            return max(now, self._window_start + MINUTE)
        if not self._counted:
            return now
        return (self._counted[0] if self.reset_means == "next" else self._counted[-1]) + MINUTE

    def _epoch(self) -> float:
        return LOCAL_EPOCH.timestamp() + self.skew

    def _headers(self, now: float) -> CIMultiDictProxy[str]:
        named: CIMultiDict[str] = CIMultiDict({"Date": http_date(int(self._epoch() + now))})
        if self.names_limits:
            reset = self._epoch() + self._reset_at(now)
            named["X-RateLimit-Limit"] = str(self.limit)
            named["X-RateLimit-Remaining"] = str(self.remaining(now))
            named["X-RateLimit-Reset"] = str(math.ceil(reset * 1000 - CLOCK_RESIDUE))
        return CIMultiDictProxy(named)

    def remaining(self, now: float) -> int:
        """Tell what is left, truly."""
        return 0 if now < self._closed_until else max(0, self.limit - self.used(now))


@lru_cache(maxsize=2)
def http_date(epoch: int) -> str:
    """Write a moment as HTTP does."""
    return formatdate(epoch, usegmt=True)


def most_in_any_minute(moments: list[float]) -> int:
    """Count the most moments that any 60 seconds contain."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


def heavy_tail(seed: int) -> Callable[[], float]:
    """Draw latencies of about 120 ms, now and then seconds."""
    draw = random.Random(seed)
    return lambda: min(5.0, 0.06 + 0.03 * draw.paretovariate(2.0))


def unhindered(latency: Callable[[], float], rows: int, workers: int) -> float:
    """Tell how long the rows take where only the number of workers limits them."""
    busy = [0.0] * workers
    for _ in range(rows):
        heapq.heapreplace(busy, busy[0] + latency())
    return max(busy)


Habit = Literal["even", "minute", "bursts"]
"""One at a time at random, a minute's worth at once each minute, or bursts at random; all at the same mean rate."""


@define(eq=False)
class Neighbour:
    """Another program that shares the limit and never backs off; it counts what it sends from our first request on."""

    server: SimulatedServer
    habit: Habit
    share: float = 1 / 3
    """Of the limit, per minute."""
    comes_after: int = 0
    """How many requests of ours pass before it comes."""
    stays: float = math.inf
    """Seconds after our first request until it goes."""
    seed: int = 1
    sent: int = 0
    refused: int = 0

    async def run(self) -> None:
        """Send, whatever is answered, until it goes or is cancelled."""
        draw = random.Random(self.seed)
        each_minute = self.share * self.server.limit
        at_once = {"even": 1, "minute": round(each_minute), "bursts": BURST}[self.habit]
        mean = at_once / each_minute * MINUTE
        while self.server.let_through < self.comes_after:
            await asyncio.sleep(1.0)
        while not self._goes():
            for _ in range(at_once):
                self._send()
            await asyncio.sleep(mean if self.habit == "minute" else draw.expovariate(1 / mean))

    def _goes(self) -> bool:
        ours = self.server.arrivals
        return bool(ours) and asyncio.get_running_loop().time() >= ours[0] + self.stays

    def _send(self) -> None:
        reply = self.server.arrive(elsewhere=True, forced=False)
        if self.server.arrivals:
            self.sent += 1
            self.refused += reply.status != 200


@define(eq=False)
class Job:
    """Sends rows through a client, each until it is not refused."""

    server: SimulatedServer
    latency: Callable[[], float]
    draw: random.Random = field(factory=lambda: random.Random(7))
    done: int = 0

    async def send(self, client: BudgetClient, **options: Any) -> None:
        """Send one row."""
        loop = asyncio.get_running_loop()
        while True:
            async with PermitBlock(client, route="POST /interviews", **options) as permit:
                answer: asyncio.Future[Reply] = loop.create_future()
                seconds = self.latency()
                there = seconds * self.draw.random()
                arriving = loop.call_later(there, self._arrive, answer, seconds - there)
                try:
                    reply = await answer
                finally:
                    arriving.cancel()
                permit.answered(reply.status, reply.headers)
            if reply.status == 200:
                self.done += 1
                return

    def _arrive(self, answer: asyncio.Future[Reply], seconds: float) -> None:
        reply = self.server.arrive()
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, lambda: answer.done() or answer.set_result(reply))

    async def run(self, client: BudgetClient, rows: int, *, workers: int = 50) -> float:
        """Send all rows with so many workers; tell how long it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = iter(range(rows))

        async def work() -> None:
            for _ in left:
                await self.send(client)

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
        return loop.time() - began


def simulate(main: Callable[[], Coroutine[Any, Any, T]], *, phase: float | None = None) -> T:
    """Run on a virtual clock without asyncio's debug mode, which makes long jobs slow.

    It begins at that second of a minute of the client's clock, which is the server's where that is not skewed.
    """

    def new_loop() -> VirtualTimeLoop:
        loop = VirtualTimeLoop()
        if phase is not None:
            loop.stand_still((phase - LOCAL_EPOCH.timestamp()) % MINUTE)
        return loop

    with asyncio.Runner(debug=False, loop_factory=new_loop) as runner:
        return runner.run(main())
