"""The permits that this process holds, on its own clock: what Redis must be told, and what it may have forgotten.

Pure: the caller hands in the time, in seconds of one clock that never goes back.
"""

from collections import deque
from collections.abc import Iterable
from math import inf

from attrs import define, field

from hindsight_async.rate.redis.messages import Renewal
from hindsight_async.rate.redis.timing import Timing


@define(eq=False)
class FleetPermit:
    """One permit of this process.

    Redis is sure to hold it for a whole window beyond `covered_until`, even if it never hears of it again.
    `freed` and `closing` are what Redis said when it granted the permit, None where this process granted it itself.
    """

    number: int
    taken_at: float
    covered_until: float = inf
    freed: int | None = None
    closing: int | None = None
    over_at: float = inf
    told: bool = False


@define(eq=False)
class FleetPermits:
    """All permits of this process, from the permit until a window after the answer."""

    timing: Timing
    next_number: int = 1
    drops: set[int] = field(factory=set[int])
    _under_way: dict[int, FleetPermit] = field(factory=dict[int, FleetPermit])
    _over: deque[FleetPermit] = field(factory=deque[FleetPermit])
    _untold: dict[int, FleetPermit] = field(factory=dict[int, FleetPermit])

    def __bool__(self) -> bool:
        return bool(self._under_way or self._over)

    def count(self, now: float) -> int:
        """Count the permits held, under way or answered within a window."""
        self._forget_lapsed(now)
        return len(self._under_way) + len(self._over)

    def due(self, now: float) -> list[float]:
        """List the moments at which those whose requests are over come free, in order."""
        self._forget_lapsed(now)
        return [self._free_at(held) for held in self._over]

    def numbers(self, wanted: int) -> int:
        """Set aside so many numbers for permits that Redis is asked for; return the first. None is used twice."""
        first = self.next_number
        self.next_number += wanted
        return first

    def take_granted(self, number: int, asked_at: float, *, freed: int, closing: int) -> FleetPermit:
        """Note a permit that Redis granted; its lease runs from before it was asked."""
        covered_until = asked_at + self.timing.lease
        held = FleetPermit(number, asked_at, covered_until, freed, closing, told=True)
        self._under_way[number] = held
        return held

    def take_unasked(self, now: float) -> FleetPermit:
        """Note a permit that this process granted itself while Redis was away."""
        held = FleetPermit(self.numbers(1), now)
        self._under_way[held.number] = held
        return held

    def drop(self, held: FleetPermit) -> None:
        """Note that nothing was sent with a permit."""
        del self._under_way[held.number]
        self.drops.add(held.number)

    def end(self, held: FleetPermit, now: float) -> None:
        """Note that a request is over, answered or not."""
        del self._under_way[held.number]
        held.over_at, held.told = now, False
        self._over.append(held)
        self._untold[held.number] = held

    def end_all(self, now: float) -> None:
        """Note that nobody waits any more for any of the requests under way."""
        for held in list(self._under_way.values()):
            self.end(held, now)

    def tell_again(self) -> None:
        """Have Redis told of all that is held here."""
        self._untold = {held.number: held for held in self._over}
        for held in self._under_way.values():
            held.told = False

    def forgotten(self) -> None:
        """Note that Redis knows nothing of what is held here."""
        self.drops.clear()
        self.tell_again()
        for held in self._under_way.values():
            held.freed = held.closing = None

    def to_tell(self, now: float) -> list[Renewal]:
        """List what Redis does not know yet, and what is about to lapse there."""
        self._forget_lapsed(now)
        timing = self.timing
        renewed = now + timing.lease - timing.heartbeat
        under_way = [
            Renewal(held.number, timing.lease + timing.held_after_answer, over=False)
            for held in self._under_way.values()
            if not held.told or held.covered_until <= renewed
        ]
        over = [
            Renewal(held.number, self._free_at(held) - now, over=True)
            for held in self._untold.values()
            if self._free_at(held) > now
        ]
        return under_way + over

    def confirm(self, told: Iterable[Renewal], dropped: Iterable[int], told_at: float) -> None:
        """Note what Redis has taken in; it was sent at `told_at`."""
        self.drops.difference_update(dropped)
        for renewal in told:
            held = self._under_way.get(renewal.number)
            if renewal.over:
                self._untold.pop(renewal.number, None)
            elif held is not None:
                held.told, held.covered_until = True, told_at + self.timing.lease

    def _free_at(self, held: FleetPermit) -> float:
        return held.over_at + self.timing.held_after_answer

    def _forget_lapsed(self, now: float) -> None:
        while self._over and self._free_at(self._over[0]) <= now:
            self._untold.pop(self._over.popleft().number, None)
