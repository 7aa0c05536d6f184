"""Who waits for the rate budget, and whose turn it is.

Callers wait in lines, one for each lane, session and route, because only their heads need to be looked at: what
keeps one line back (its session has enough in flight, its route is at its own limit) keeps back nobody else.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from attrs import define, field

from hindsight_async.rate.client import LANES, BudgetClient, Lane, Permit, no_one_queued

if TYPE_CHECKING:
    import asyncio

    from hindsight_async.errors import HindsightError
    from hindsight_async.rate.limiter import Limiter

INTERACTIVE_IN_A_ROW = 9
"""After so many interactive turns with bulk waiting, one bulk turn follows: bulk keeps a tenth."""

MAX_IN_FLIGHT = "max in flight"
"""The reason to wait that is a session's own bound, which ends with one of its answers."""

FEW_GONE = 64
"""Waiters that may stay in the lines after they are gone, however short these are."""


@define(eq=False, repr=False)
class Waiter:
    """One caller in line; its future brings the permit, or why there is none."""

    client: BudgetClient
    route: str
    lane: Lane
    since: float
    """The moment it joined the queue."""
    deadline: float | None
    turn: "asyncio.Future[Permit | HindsightError]"
    """Done once it was served, turned away or cancelled; a waiter whose turn is done is not waiting, in line or not."""
    arrival: int = 0
    """Its number among all that ever joined: what "first come" means across lines."""

    @property
    def line(self) -> tuple[BudgetClient, str]:
        """The line it stands in, within its lane."""
        return self.client, self.route


def obstacle_for(waiter: Waiter, limiter: "Limiter", now: float) -> str | None:
    """Say what keeps this caller back and not all others: its session's own bound, or its route's limit."""
    if waiter.client.in_flight >= waiter.client.max_in_flight:
        return MAX_IN_FLIGHT
    return limiter.obstacle_on(waiter.route, now)


@define(eq=False, repr=False)
class WaitQueue:
    """First come, first served within a lane; interactive before bulk, which keeps a tenth of the turns."""

    queued: dict[Lane, int] = field(factory=no_one_queued)
    """How many wait in each lane."""
    waiting: int = 0
    """How many wait in all: the sum, at hand because every call of the API reads it."""
    _lines: dict[Lane, dict[tuple[BudgetClient, str], deque[Waiter]]] = field(
        factory=lambda: {lane: {} for lane in LANES}
    )
    _arrivals: int = 0
    """How many ever joined."""
    _gone: int = 0
    """How many in the lines wait no more: taking one out of the middle of a line costs its length, so they stay in it
    until they come to its head, or are many."""
    _in_a_row: int = 0
    """Interactive turns since the last bulk one, while bulk waits."""

    def __iter__(self) -> Iterator[Waiter]:
        for lines in self._lines.values():
            for line in lines.values():
                yield from (waiter for waiter in line if not waiter.turn.done())

    def ahead_of(self, lane: Lane) -> int:
        """Count those of all sessions who go before a newcomer in this lane."""
        return self.queued["interactive"] if lane == "interactive" else self.waiting

    def join(self, waiter: Waiter) -> None:
        """Put a caller at the end of its line; so also one that met a 429, which has lost its turn with its permit."""
        self._arrivals += 1
        waiter.arrival = self._arrivals
        self._lines[waiter.lane].setdefault(waiter.line, deque()).append(waiter)
        self._count(waiter, 1)

    def leave(self, waiter: Waiter) -> None:
        """Note that this waiter, whose turn is done, goes without a permit."""
        self._count(waiter, -1)
        self._gone += 1
        if self._gone > FEW_GONE and self._gone > self.waiting:
            self._forget_gone()

    def turn_away(self, waiter: Waiter, why: "HindsightError") -> None:
        """Have this waiter's call raise an error instead of leaving."""
        waiter.turn.set_result(why)
        self.leave(waiter)

    def demand(self, apart: Collection[str] = ()) -> dict[str, tuple[int, int]]:
        """Count the interactive and bulk waiters whose sessions may have that many more in flight.

        Args:
            apart: Routes to be counted by themselves.

        Returns:
            The two numbers for each of these routes, and under "" for all others.

        """
        counts = {route: [0, 0] for route in ("", *apart)}
        for client in {client for lines in self._lines.values() for client, _ in lines}:
            may_leave = max(0, client.max_in_flight - client.in_flight)
            for place, lane in enumerate(LANES):
                rest = client.queued[lane]
                for route in apart:
                    line = self._lines[lane].get((client, route), ())
                    waiting = sum(not waiter.turn.done() for waiter in line)
                    counts[route][place] += min(may_leave, waiting)
                    rest -= waiting
                at_once = min(may_leave, rest)
                counts[""][place] += at_once
                may_leave -= at_once
        return {route: (interactive, bulk) for route, (interactive, bulk) in counts.items()}

    def oldest(self) -> Waiter | None:
        """Find who has waited longest."""
        heads = [head for lane in LANES for head in self._heads(lane)]
        return min(heads, key=_arrival, default=None)

    def call_next(self, may_go: Callable[[Waiter], bool]) -> Waiter | None:
        """Take the waiter whose turn it is out of its line; None where no head of a line may go."""
        chosen = self._first("interactive", may_go)
        if self.queued["bulk"] and (chosen is None or self._in_a_row >= INTERACTIVE_IN_A_ROW):
            chosen = self._first("bulk", may_go) or chosen
        if chosen is None:
            return None
        self._in_a_row = self._in_a_row + 1 if chosen.lane == "interactive" and self.queued["bulk"] else 0
        self._lines[chosen.lane][chosen.line].popleft()
        self._count(chosen, -1)
        return chosen

    def _count(self, waiter: Waiter, change: int) -> None:
        self.waiting += change
        self.queued[waiter.lane] += change
        waiter.client.queued[waiter.lane] += change

    def _first(self, lane: Lane, may_go: Callable[[Waiter], bool]) -> Waiter | None:
        return min((head for head in self._heads(lane) if may_go(head)), key=_arrival, default=None)

    def _heads(self, lane: Lane) -> list[Waiter]:
        lines = self._lines[lane]
        heads: list[Waiter] = []
        for key in list(lines):
            line = lines[key]
            while line and line[0].turn.done():
                line.popleft()
                self._gone -= 1
            if line:
                heads.append(line[0])
            else:
                del lines[key]
        return heads

    def _forget_gone(self) -> None:
        for lines in self._lines.values():
            for key, line in lines.items():
                lines[key] = deque(waiter for waiter in line if not waiter.turn.done())
        self._gone = 0


def _arrival(waiter: Waiter) -> int:
    return waiter.arrival
