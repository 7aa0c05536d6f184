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
from typing import Any, TypeVar

from attrs import define, field
from multidict import CIMultiDict, CIMultiDictProxy

from hindsight_async.rate import BudgetClient
from permits import PermitBlock
from virtual_time import VirtualTimeLoop

MINUTE = 60.0
LOCAL_EPOCH = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
T = TypeVar("T")
MODELS = ("sliding", "fixed", "aligned", "bucket")


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
    """Counts arrivals in one of four ways and answers with true headers, or none."""

    limit: int
    model: str = "sliding"
    names_limits: bool = True
    skew: float = 0.0
    reset_means: str = "next"
    minute_offset: float = 0.0
    rival_goes_first: bool = True
    arrivals: list[float] = field(factory=list)
    refused: list[float] = field(factory=list)
    spent_elsewhere: int = 0
    refused_elsewhere: int = 0
    _counted: deque[float] = field(factory=deque)
    _level: float = 0.0
    _level_at: float = 0.0
    _window_start: float = -math.inf

    def arrive(self, *, elsewhere: bool = False) -> Reply:
        """Take in one request, ours or another program's, and answer it."""
        now = asyncio.get_running_loop().time()
        passed = self._take(now, forced=elsewhere and self.rival_goes_first)
        if elsewhere:
            self.spent_elsewhere += passed
            self.refused_elsewhere += not passed
        else:
            self.arrivals.append(now)
            if not passed:
                self.refused.append(now)
        return Reply(200 if passed else 429, self._headers(now))

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
            self._counted.clear()
            if self.model == "aligned":
                self._window_start = now - (now + self.minute_offset) % MINUTE
        return len(self._counted)

    def _take(self, now: float, *, forced: bool) -> bool:
        if self.used(now) >= self.limit and not forced:
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

    def _headers(self, now: float) -> CIMultiDictProxy[str]:
        epoch = LOCAL_EPOCH.timestamp() + self.skew + now
        named: CIMultiDict[str] = CIMultiDict({"Date": http_date(int(epoch))})
        if self.names_limits:
            reset = epoch + self._reset_at(now) - now
            named["X-RateLimit-Limit"] = str(self.limit)
            named["X-RateLimit-Remaining"] = str(self.remaining(now))
            named["X-RateLimit-Reset"] = str(math.ceil(reset * 1000))
        return CIMultiDictProxy(named)

    def remaining(self, now: float) -> int:
        """Tell what is left, truly."""
        return max(0, self.limit - self.used(now))


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


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on a virtual clock without asyncio's debug mode, which makes long jobs slow."""
    with asyncio.Runner(debug=False, loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())
