"""Hands out permits: the one place where what the limiter allows meets those who wait, and the event loop.

A caller gets its permit in one step, when everything allows it and it is its turn: nobody occupies a place in flight
while waiting for the window. One timer serves all who wait.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from math import inf

from hindsight_async.after_fork import start_afresh_after_fork
from hindsight_async.errors import HindsightError, SessionClosedError, WrongEventLoopError
from hindsight_async.rate.client import BudgetClient, Lane, Permit
from hindsight_async.rate.limiter import AnswerHead, Limiter, too_late
from hindsight_async.rate.wait_queue import Waiter, WaitQueue, obstacle_for
from hindsight_async.rate.wait_reports import OnWait, WaitReports, expected_wait, next_permit_at

TURNED_AWAY_AT_ONCE = 500
"""Waiters turned away before the event loop gets its turn again."""


class Scheduler:
    """Gives each caller its permit when the limiter and its session allow it; one event loop at a time.

    Args:
        begin: Makes a limiter that knows nothing yet, for this scheduler.
        on_wait: Is called whenever a caller has to wait.
        wall_clock: Returns the local time, aware.

    """

    def __init__(
        self,
        begin: "Callable[[Scheduler], Limiter]",
        *,
        on_wait: OnWait | None,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._begin = begin
        self._reports = WaitReports(on_wait)
        self._wall_clock = wall_clock
        # The event loop served; None until the first call, and in a child process.
        self.loop: asyncio.AbstractEventLoop | None = None
        # The last moment read off its clock: another loop's clock that shows less is another clock.
        self._latest = -inf
        # How many event loops were left behind. What a permit of an earlier era would free is not there any more.
        self._era = 0
        # Rings when something in the way of those who wait goes away by itself; None while nobody waits for that.
        self._timer: asyncio.TimerHandle | None = None
        # The sessions that asked for a permit on this loop and have not left.
        self._present: set[BudgetClient] = set()
        self.limiter = begin(self)
        self.queue = WaitQueue()
        # Permits in use, of all sessions.
        self.in_flight = 0
        start_afresh_after_fork(self)

    def now(self, loop: asyncio.AbstractEventLoop | None = None) -> float:
        """Read the clock of the running event loop, moving to that loop first if the last one is gone."""
        loop = loop or asyncio.get_running_loop()
        if loop is not self.loop:
            self._move_to(loop)
        self._latest = loop.time()
        return self._latest

    def latest(self) -> float:
        """Read the clock of the last event loop, which need not run."""
        return self.loop.time() if self.loop is not None else 0.0

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.loop is not None and self.loop.is_running():
            raise WrongEventLoopError(
                f"a rate budget serves one event loop at a time: {self.loop!r} uses it and still runs, "
                f"and this is {loop!r}"
            )
        self._leave_loop()
        self.loop = loop
        now = loop.time()
        if now < self._latest:
            # Another clock: the moments noted so far mean nothing on it.
            self.limiter = self._begin(self)
        else:
            # The same clock, as with one asyncio.run after another: what went out still counts at the server.
            self.limiter.change_loop(now)

    def _leave_loop(self) -> None:
        self.loop, self._timer = None, None
        self._era += 1
        self.queue, self.in_flight, self._present = WaitQueue(), 0, set()

    def forget_parent(self) -> object:
        """Start afresh in a child process: its parent's permits and event loop are no business of ours."""
        parents = (self.loop, self.queue, self.limiter)
        self._leave_loop()
        self._latest = -inf
        self.limiter = self._begin(self)
        return parents

    # A caller comes

    def acquire_at_once(
        self, client: BudgetClient, route: str, lane: Lane, deadline: float | None, now: float
    ) -> Permit | None:
        """Take a permit for a caller; None where anybody or anything is in the way."""
        if client.era != self._era:
            client.start_afresh(self._era)
            self._present.add(client)
        if client.closed:
            raise SessionClosedError("the session is closed")
        late = deadline is not None and deadline < now
        if self.queue.waiting or late or client.in_flight >= client.max_in_flight:
            return None
        permit = self.limiter.take_at_once(client, route, lane, now)
        return None if permit is None else self._counted(permit)

    async def wait_in_line(
        self, client: BudgetClient, route: str, lane: Lane, deadline: float | None, now: float
    ) -> Permit:
        """Wait for a permit; raises at once where none can come in time."""
        while True:
            permit = await self._turn_in_line(client, route, lane, deadline, now)
            now = self.now()
            if not self.limiter.lapsed(permit, now):
                return permit
            # The process stood still between the caller's turn and this line for longer than the permit is good for.
            self.put_back(permit)

    async def _turn_in_line(
        self, client: BudgetClient, route: str, lane: Lane, deadline: float | None, now: float
    ) -> Permit:
        limiter, queue = self.limiter, self.queue
        # Those of other sessions may be kept back by bounds that are not this caller's. To count them could turn away
        # somebody who would have gone in time, so those of its own session alone say how long it will take at least.
        earliest = limiter.earliest(client.own_ahead_of(lane), now)
        in_vain = limiter.why_in_vain(deadline, earliest, now)
        if in_vain is not None:
            raise in_vain
        turn: asyncio.Future[Permit | HindsightError] = asyncio.get_running_loop().create_future()
        waiter = Waiter(client, route, lane, now, deadline, turn)
        served = False
        if not queue.waiting:
            self._reports.first_waits(now)
        queue.join(waiter)
        try:
            self._pump(now)
            if not turn.done():
                self._reports.has_to_wait(waiter, limiter, queue, now)
            outcome = await self._turn_of(waiter)
            served = True
        finally:
            if not served:
                self._forget(waiter, queue)
        if not isinstance(outcome, Permit):
            raise outcome
        return outcome

    async def _turn_of(self, waiter: Waiter) -> "Permit | HindsightError":
        if waiter.deadline is None:
            return await waiter.turn
        try:
            async with asyncio.timeout_at(waiter.deadline):
                return await waiter.turn
        except TimeoutError:
            now = self.now()
            _, reason = expected_wait(waiter, self.limiter, self.queue, now)
            raise too_late(self.next_permit_at(now) - now, reason) from None

    def _forget(self, waiter: Waiter, queue: WaitQueue) -> None:
        """Let go of a caller that was cancelled, be it in line or in the turn of the loop that brought its permit."""
        if waiter.turn.cancel() or waiter.turn.cancelled():
            queue.leave(waiter)
        elif isinstance(permit := waiter.turn.result(), Permit):
            self.put_back(permit)

    def _counted(self, permit: Permit) -> Permit:
        permit.client.in_flight += 1
        self.in_flight += 1
        return permit

    def release(self, permit: Permit, answer: AnswerHead | None) -> None:
        """End a request, answered or not: it is in flight no more, and in the window for another minute."""
        if permit.era != self._era:
            return
        if not permit.answered:
            self._end(permit, answer)
        self._uncount(permit)

    def answered(self, permit: Permit, answer: AnswerHead | None) -> None:
        """Begin a request's minute in the window while it stays in flight, since its answer goes on."""
        if permit.era == self._era:
            self._end(permit, answer)
            permit.answered = True
            self.pump()

    def _end(self, permit: Permit, answer: AnswerHead | None) -> None:
        now = self.latest()
        if answer is not None and not self.limiter.confirm_as_usual(permit, answer, now):
            self._learn(permit, answer, now)
        self.limiter.end(permit, now)

    def put_back(self, permit: Permit) -> None:
        """End a request of which nothing left: its permit is for the next."""
        if permit.era != self._era:
            return
        self.limiter.put_back(permit)
        self._uncount(permit)

    def _learn(self, permit: Permit, answer: AnswerHead, now: float) -> None:
        opens_at = self.limiter.opens_at
        self.limiter.learn(permit, answer, now=now, received_at=self._wall_clock())
        if self.limiter.opens_at > opens_at:
            self.turn_away_hopeless()

    def _uncount(self, permit: Permit) -> None:
        permit.client.in_flight -= 1
        self.in_flight -= 1
        self.pump()

    def pump(self) -> None:
        """Serve those whose turn it is, after something changed."""
        if self.loop is None or self.loop.is_closed():
            return
        if self.queue.waiting:
            self._pump(self.loop.time())
        else:
            self.limiter.rebalance()

    def _pump(self, now: float) -> None:
        """Give permits to those whose turn it is until something is in the way."""
        while self.queue.waiting and not self.limiter.obstacle(now):
            waiter = self.queue.call_next(lambda head: not obstacle_for(head, self.limiter, now))
            if waiter is None:
                break
            in_vain = self.limiter.why_in_vain(waiter.deadline, now, now)
            waiter.turn.set_result(
                in_vain or self._counted(self.limiter.take(waiter.client, waiter.route, now))
            )
        self._set_timer(now)
        self.limiter.rebalance()

    def _set_timer(self, now: float) -> None:
        if not self.queue.waiting:
            self._reports.nobody_waits(now)
            self._cancel_timer()
            return
        change = self.limiter.next_change(now)
        moment = min(change, self._reports.warn_of_long_wait(self.limiter, self.queue, now))
        if self._timer is not None and self._timer.when() <= moment:
            # One that rings too early looks again; setting it anew for each caller would cost more.
            return
        self._cancel_timer()
        if self.loop is not None and moment < inf:
            self._timer = self.loop.call_at(moment, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump(self.now())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def next_permit_at(self, now: float) -> float:
        """Name the moment, at a guess, at which one caller more than now wait will have a permit; inf for unknown."""
        return next_permit_at(self.queue.waiting, self.limiter, now)

    # Callers are turned away

    def turn_away_hopeless(self) -> None:
        """Turn away those who wait in vain, after it was learned that they would have to wait longer."""
        if self.queue.waiting:
            self._turn_away_hopeless(list(self.queue))

    def _turn_away_hopeless(self, waiting: list[Waiter]) -> None:
        now = self.now()
        for waiter in waiting[:TURNED_AWAY_AT_ONCE]:
            if not waiter.turn.done():
                in_vain = self.limiter.why_in_vain(waiter.deadline, self.limiter.earliest(0, now), now)
                if in_vain is not None:
                    self.queue.turn_away(waiter, in_vain)
        if rest := waiting[TURNED_AWAY_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._turn_away_hopeless, rest)

    def close(self, client: BudgetClient) -> None:
        """Turn away all of one session who wait, and all who come later."""
        client.closed = True
        for waiter in list(self.queue):
            if waiter.client is client and not waiter.turn.done():
                closed = SessionClosedError("the session was closed while the request waited")
                self.queue.turn_away(waiter, closed)

    async def leave(self, client: BudgetClient) -> None:
        """Note that a session is gone; after the last one the limiter comes to rest."""
        here = client in self._present
        self._present.discard(client)
        if here and not self._present and self.loop is asyncio.get_running_loop():
            await self.limiter.finish()
