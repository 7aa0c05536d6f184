"""Hands out slots: the one place where the rules of admission meet those who wait and the event loop.

A slot is granted in one step, when everything allows it, to the one whose turn it is: nobody holds a place in
flight while waiting for the window. One timer serves all who wait.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from math import inf

from hindsight_async.budget.admission import Admission, Answer, harmless, logger, too_late
from hindsight_async.budget.lanes import Grant, Lane, Lanes, Member, Waiter
from hindsight_async.errors import HindsightError, SessionClosedError, WrongEventLoopError
from hindsight_async.forks import start_afresh_after_fork

LONG_WAIT = 5.0
"""Seconds of waiting after which one warning is logged; also of nobody waiting before there is another."""

TURNED_AWAY_AT_ONCE = 500
"""Waiters turned away before the event loop gets its turn again."""


class Dispatcher:
    """Grants each caller its slot when admission and its session allow it; one event loop at a time."""

    def __init__(
        self,
        begin: "Callable[[Dispatcher], Admission]",
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
        self._present: set[Member] = set()
        self.admission = begin(self)
        self.lanes = Lanes()
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
            self.admission = self._begin(self)
        else:
            # The same clock, as with one asyncio.run after another: what went out still counts at the server.
            self.admission.change_loop(now)

    def _leave_loop(self) -> None:
        self._loop, self._timer = None, None
        self._era += 1
        self.lanes, self.in_flight, self._present = Lanes(), 0, set()

    def forget_parent(self) -> object:
        """Start afresh in a child process: what its parent holds, and its event loop, are no business of ours."""
        parents = (self._loop, self.lanes, self.admission)
        self._leave_loop()
        self._latest = -inf
        self.admission = self._begin(self)
        return parents

    async def part_with(self, member: Member) -> None:
        """Note that a session is gone; after the last one everything comes to rest."""
        here = member in self._present
        self._present.discard(member)
        if here and not self._present and self._loop is asyncio.get_running_loop():
            await self.admission.finish()

    # A caller comes

    def grant_at_once(self, member: Member, route: str, deadline: float | None, now: float) -> Grant | None:
        """Grant a slot; None where anybody or anything is in the way."""
        if member.era != self._era:
            member.start_afresh(self._era)
            self._present.add(member)
        if member.closed:
            raise SessionClosedError("the session is closed")
        late = deadline is not None and deadline < now
        if self.lanes.waiting or late or member.in_flight >= member.max_in_flight:
            return None
        grant = self.admission.enter_at_once(member, route, now)
        return None if grant is None else self._counted(grant)

    async def wait_in_line(
        self, member: Member, route: str, lane: Lane, deadline: float | None, now: float
    ) -> Grant:
        """Wait for a slot; raises at once where none can come in time."""
        while True:
            grant = await self._turn_in_line(member, route, lane, deadline, now)
            now = self.now()
            if not self.admission.lapsed(grant, now):
                return grant
            self.admission.undo(grant)
            self._part(grant)

    async def _turn_in_line(
        self, member: Member, route: str, lane: Lane, deadline: float | None, now: float
    ) -> Grant:
        admission, lanes = self.admission, self.lanes
        refusal = admission.refusal(deadline, admission.earliest(member.ahead_of(lane), now), now)
        if refusal is not None:
            raise refusal
        turn: asyncio.Future[Grant | HindsightError] = asyncio.get_running_loop().create_future()
        waiter = Waiter(member, route, lane, now, deadline, turn)
        served = False
        if not lanes.waiting and now > self._nobody_since + LONG_WAIT:
            self._warned_of_wait = False
        lanes.join(waiter)
        try:
            self._pump(now)
            if self._on_wait is not None and not turn.done():
                self._on_wait(*self._outlook(waiter, now), lanes.waiting)
            outcome = await self._turn_of(waiter)
            served = True
        finally:
            if not served:
                self._forget(waiter, lanes)
        if not isinstance(outcome, Grant):
            raise outcome
        return outcome

    async def _turn_of(self, waiter: Waiter) -> "Grant | HindsightError":
        if waiter.deadline is None:
            return await waiter.turn
        try:
            async with asyncio.timeout_at(waiter.deadline):
                return await waiter.turn
        except TimeoutError:
            now = self.now()
            raise too_late(self.next_slot_at(now) - now, self._outlook(waiter, now)[1]) from None

    def _forget(self, waiter: Waiter, lanes: Lanes) -> None:
        """Let go of a caller that was cancelled, be it in line or just after it was granted a slot."""
        if waiter.turn.cancel() or waiter.turn.cancelled():
            lanes.leave(waiter)
        elif isinstance(grant := waiter.turn.result(), Grant) and grant.era == self._era:
            self.admission.undo(grant)
            self._part(grant)

    def _counted(self, grant: Grant) -> Grant:
        grant.member.in_flight += 1
        self.in_flight += 1
        return grant

    # A request ends

    def release(self, grant: Grant, answer: Answer | None) -> None:
        """End a request, answered or not: its place in flight is free at once."""
        if grant.era != self._era:
            return
        if answer is not None and not self.admission.takes_for_granted(grant, answer):
            self._learn(grant, answer)
        self.admission.leave(grant, self.latest())
        self._part(grant)

    def _learn(self, grant: Grant, answer: Answer) -> None:
        opens_at = self.admission.opens_at
        self.admission.learn(grant, answer, now=self.latest(), received_at=self._wall_clock())
        if self.admission.opens_at > opens_at:
            self.review()

    def _part(self, grant: Grant) -> None:
        grant.member.in_flight -= 1
        self.in_flight -= 1
        self.pump()

    # Callers wait

    def pump(self) -> None:
        """Grant slots to those whose turn it is, after something changed."""
        if self._loop is None or self._loop.is_closed():
            return
        if self.lanes.waiting:
            self._pump(self._loop.time())
        else:
            self.admission.settle()

    def review(self) -> None:
        """Refuse those who wait in vain, after the outlook has darkened."""
        if self.lanes.waiting:
            self._turn_away(list(self.lanes))

    def _pump(self, now: float) -> None:
        """Grant slots to those whose turn it is until something is in the way."""
        while self.lanes.waiting and not self.admission.obstacle(now):
            waiter = self.lanes.call_next(lambda head: not self._obstacle_for(head.member, head.route, now))
            if waiter is None:
                break
            refusal = self.admission.refusal(waiter.deadline, now, now)
            waiter.turn.set_result(
                refusal or self._counted(self.admission.enter(waiter.member, waiter.route, now))
            )
        self._set_timer(now)
        self.admission.settle()

    def _obstacle_for(self, member: Member, route: str, now: float) -> str | None:
        if member.in_flight >= member.max_in_flight:
            return "max in flight"
        return self.admission.obstacle_on(route, now)

    def _set_timer(self, now: float) -> None:
        if not self.lanes.waiting:
            self._nobody_since = now
            self._cancel_timer()
            return
        moment = min(self.admission.next_change(now), self._warn_of_long_wait(now))
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

    def turn_away(self, member: Member) -> None:
        """Refuse all of one session who wait, and all who come later: it was closed."""
        member.closed = True
        for waiter in list(self.lanes):
            if waiter.member is member and not waiter.turn.done():
                waiter.turn.set_result(SessionClosedError("the session was closed while the request waited"))
                self.lanes.leave(waiter)

    def _turn_away(self, waiting: list[Waiter]) -> None:
        """Refuse those who cannot wait until the gate opens, some at a time."""
        now = self.now()
        for waiter in waiting[:TURNED_AWAY_AT_ONCE]:
            if not waiter.turn.done():
                refusal = self.admission.refusal(waiter.deadline, self.admission.earliest(0, now), now)
                if refusal is not None:
                    waiter.turn.set_result(refusal)
                    self.lanes.leave(waiter)
        if rest := waiting[TURNED_AWAY_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._turn_away, rest)

    # Looking ahead

    def next_slot_at(self, now: float) -> float:
        """Name the moment, at a guess, at which one caller more than now wait will have a slot."""
        return self._expect(self.lanes.waiting, now)

    def _expect(self, ahead: int, now: float) -> float:
        moment = self.admission.earliest(ahead, now)
        later = self.admission.next_change(now)
        return later if moment <= now and later < inf else moment

    def _outlook(self, waiter: Waiter, now: float) -> tuple[float, str]:
        """Say how long this caller will wait, at a guess, and why."""
        blocked = self.admission.obstacle(now)
        reason = blocked or self._obstacle_for(waiter.member, waiter.route, now) or "others first"
        moment = self._expect(self.lanes.ahead_of(waiter.lane) - 1, now)
        return moment - now, reason

    def _warn_of_long_wait(self, now: float) -> float:
        """Warn once of a wait that has grown long; name the moment to look again."""
        oldest = None if self._warned_of_wait else self.lanes.oldest()
        if oldest is None:
            return inf
        if now < oldest.since + LONG_WAIT:
            return oldest.since + LONG_WAIT
        self._warned_of_wait = True
        seconds, reason = self._outlook(oldest, now)
        text = "a request has waited %.0f s for the rate budget (%s); %d are queued, the next slot is %.0f s away"
        logger.warning(text, now - oldest.since, reason, self.lanes.waiting, seconds)
        return inf
