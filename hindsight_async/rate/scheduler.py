"""Hands out permits: the one place where the rules of limiter meet those who wait and the event loop.

A permit is granted in one step, when everything allows it, to the one whose turn it is: nobody entries a place in
flight while waiting for the window. One timer serves all who wait.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from math import inf

from hindsight_async.after_fork import start_afresh_after_fork
from hindsight_async.errors import HindsightError, SessionClosedError, WrongEventLoopError
from hindsight_async.rate.client import BudgetClient, Lane, Permit
from hindsight_async.rate.limiter import Answer, Limiter, harmless, logger, too_late
from hindsight_async.rate.wait_queue import Waiter, WaitQueue

LONG_WAIT = 5.0
"""Seconds of waiting after which one warning is logged; also of nobody waiting before there is another."""

TURNED_AWAY_AT_ONCE = 500
"""Waiters turned away before the event loop gets its turn again."""


class Scheduler:
    """Grants each caller its permit when limiter and its session allow it; one event loop at a time."""

    def __init__(
        self,
        begin: "Callable[[Scheduler], Limiter]",
        *,
        on_wait: Callable[[float, str, int], None] | None,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._begin = begin
        self._on_wait = None if on_wait is None else harmless(on_wait)
        self._wall_clock = wall_clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._latest = -inf
        self._era = 0
        self._timer: asyncio.TimerHandle | None = None
        self._warned_of_wait = False
        self._nobody_since = -inf
        self._present: set[BudgetClient] = set()
        self.limiter = begin(self)
        self.queue = WaitQueue()
        self.in_flight = 0
        start_afresh_after_fork(self)

    def now(self, loop: asyncio.AbstractEventLoop | None = None) -> float:
        """Read the clock of the running event loop, moving to that loop first if the last one is gone."""
        loop = loop or asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        self._latest = loop.time()
        return self._latest

    def latest(self) -> float:
        """Read the clock of the last event loop, which need not run."""
        return self._loop.time() if self._loop is not None else 0.0

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and self._loop.is_running():
            raise WrongEventLoopError(
                f"a rate budget serves one event loop at a time: {self._loop!r} uses it and still runs, "
                f"and this is {loop!r}"
            )
        self._leave_loop()
        self._loop = loop
        now = loop.time()
        if now < self._latest:
            # Another clock: the moments noted so far mean nothing on it.
            self.limiter = self._begin(self)
        else:
            # The same clock, as with one asyncio.run after another: what went out still counts at the server.
            self.limiter.change_loop(now)

    def _leave_loop(self) -> None:
        self._loop, self._timer = None, None
        self._era += 1
        self.queue, self.in_flight, self._present = WaitQueue(), 0, set()

    def forget_parent(self) -> object:
        """Start afresh in a child process: what its parent entries, and its event loop, are no business of ours."""
        parents = (self._loop, self.queue, self.limiter)
        self._leave_loop()
        self._latest = -inf
        self.limiter = self._begin(self)
        return parents

    async def part_with(self, client: BudgetClient) -> None:
        """Note that a session is gone; after the last one everything comes to rest."""
        here = client in self._present
        self._present.discard(client)
        if here and not self._present and self._loop is asyncio.get_running_loop():
            await self.limiter.finish()

    # A caller comes

    def grant_at_once(
        self, client: BudgetClient, route: str, deadline: float | None, now: float
    ) -> Permit | None:
        """Permit a permit; None where anybody or anything is in the way."""
        if client.era != self._era:
            client.start_afresh(self._era)
            self._present.add(client)
        if client.closed:
            raise SessionClosedError("the session is closed")
        late = deadline is not None and deadline < now
        if self.queue.waiting or late or client.in_flight >= client.max_in_flight:
            return None
        permit = self.limiter.enter_at_once(client, route, now)
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
            self.limiter.undo(permit)
            self._part(permit)

    async def _turn_in_line(
        self, client: BudgetClient, route: str, lane: Lane, deadline: float | None, now: float
    ) -> Permit:
        limiter, queue = self.limiter, self.queue
        refusal = limiter.refusal(deadline, limiter.earliest(client.ahead_of(lane), now), now)
        if refusal is not None:
            raise refusal
        turn: asyncio.Future[Permit | HindsightError] = asyncio.get_running_loop().create_future()
        waiter = Waiter(client, route, lane, now, deadline, turn)
        served = False
        if not queue.waiting and now > self._nobody_since + LONG_WAIT:
            self._warned_of_wait = False
        queue.join(waiter)
        try:
            self._pump(now)
            if self._on_wait is not None and not turn.done():
                self._on_wait(*self._outlook(waiter, now), queue.waiting)
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
            raise too_late(self.next_permit_at(now) - now, self._outlook(waiter, now)[1]) from None

    def _forget(self, waiter: Waiter, queue: WaitQueue) -> None:
        """Let go of a caller that was cancelled, be it in line or just after it was granted a permit."""
        if waiter.turn.cancel() or waiter.turn.cancelled():
            queue.leave(waiter)
        elif isinstance(permit := waiter.turn.result(), Permit) and permit.era == self._era:
            self.limiter.undo(permit)
            self._part(permit)

    def _counted(self, permit: Permit) -> Permit:
        permit.client.in_flight += 1
        self.in_flight += 1
        return permit

    # A request ends

    def release(self, permit: Permit, answer: Answer | None) -> None:
        """End a request, answered or not: its place in flight is free at once."""
        if permit.era != self._era:
            return
        if answer is not None and not self.limiter.takes_for_granted(permit, answer):
            self._learn(permit, answer)
        self.limiter.leave(permit, self.latest())
        self._part(permit)

    def _learn(self, permit: Permit, answer: Answer) -> None:
        opens_at = self.limiter.opens_at
        self.limiter.learn(permit, answer, now=self.latest(), received_at=self._wall_clock())
        if self.limiter.opens_at > opens_at:
            self.review()

    def _part(self, permit: Permit) -> None:
        permit.client.in_flight -= 1
        self.in_flight -= 1
        self.pump()

    # Callers wait

    def pump(self) -> None:
        """Permit permits to those whose turn it is, after something changed."""
        if self._loop is None or self._loop.is_closed():
            return
        if self.queue.waiting:
            self._pump(self._loop.time())
        else:
            self.limiter.settle()

    def review(self) -> None:
        """Refuse those who wait in vain, after the outlook has darkened."""
        if self.queue.waiting:
            self._turn_away(list(self.queue))

    def _pump(self, now: float) -> None:
        """Permit permits to those whose turn it is until something is in the way."""
        while self.queue.waiting and not self.limiter.obstacle(now):
            waiter = self.queue.call_next(lambda head: not self._obstacle_for(head.client, head.route, now))
            if waiter is None:
                break
            refusal = self.limiter.refusal(waiter.deadline, now, now)
            waiter.turn.set_result(
                refusal or self._counted(self.limiter.enter(waiter.client, waiter.route, now))
            )
        self._set_timer(now)
        self.limiter.settle()

    def _obstacle_for(self, client: BudgetClient, route: str, now: float) -> str | None:
        if client.in_flight >= client.max_in_flight:
            return "max in flight"
        return self.limiter.obstacle_on(route, now)

    def _set_timer(self, now: float) -> None:
        if not self.queue.waiting:
            self._nobody_since = now
            self._cancel_timer()
            return
        moment = min(self.limiter.next_change(now), self._warn_of_long_wait(now))
        if self._timer is not None and self._timer.when() <= moment:
            return
        self._cancel_timer()
        if self._loop is not None and moment < inf:
            self._timer = self._loop.call_at(moment, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump(self.now())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def turn_away(self, client: BudgetClient) -> None:
        """Refuse all of one session who wait, and all who come later: it was closed."""
        client.closed = True
        for waiter in list(self.queue):
            if waiter.client is client and not waiter.turn.done():
                waiter.turn.set_result(SessionClosedError("the session was closed while the request waited"))
                self.queue.leave(waiter)

    def _turn_away(self, waiting: list[Waiter]) -> None:
        """Refuse those who cannot wait until the cooldown opens, some at a time."""
        now = self.now()
        for waiter in waiting[:TURNED_AWAY_AT_ONCE]:
            if not waiter.turn.done():
                refusal = self.limiter.refusal(waiter.deadline, self.limiter.earliest(0, now), now)
                if refusal is not None:
                    waiter.turn.set_result(refusal)
                    self.queue.leave(waiter)
        if rest := waiting[TURNED_AWAY_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._turn_away, rest)

    # Looking ahead

    def next_permit_at(self, now: float) -> float:
        """Name the moment, at a guess, at which one caller more than now wait will have a permit."""
        return self._expect(self.queue.waiting, now)

    def _expect(self, ahead: int, now: float) -> float:
        moment = self.limiter.earliest(ahead, now)
        later = self.limiter.next_change(now)
        return later if moment <= now and later < inf else moment

    def _outlook(self, waiter: Waiter, now: float) -> tuple[float, str]:
        """Say how long this caller will wait, at a guess, and why."""
        blocked = self.limiter.obstacle(now)
        reason = blocked or self._obstacle_for(waiter.client, waiter.route, now) or "others first"
        moment = self._expect(self.queue.ahead_of(waiter.lane) - 1, now)
        return moment - now, reason

    def _warn_of_long_wait(self, now: float) -> float:
        """Warn once of a wait that has grown long; name the moment to look again."""
        oldest = None if self._warned_of_wait else self.queue.oldest()
        if oldest is None:
            return inf
        if now < oldest.since + LONG_WAIT:
            return oldest.since + LONG_WAIT
        self._warned_of_wait = True
        seconds, reason = self._outlook(oldest, now)
        text = "a request has waited %.0f s for the rate budget (%s); %d are queued, the next permit is %.0f s away"
        logger.warning(text, now - oldest.since, reason, self.queue.waiting, seconds)
        return inf
