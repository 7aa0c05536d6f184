"""The permits of this process, on its own clock: which ones Redis must be told of, and which it may have let lapse.

Pure: the time is handed in, in seconds of one clock that never goes back.
"""

from collections import deque
from collections.abc import Iterable
from math import inf

from attrs import define, evolve, field

from hindsight_async.rate.redis.log_entries import ToldAnswer, ToldRequest
from hindsight_async.rate.redis.messages import Renewal
from hindsight_async.rate.redis.timing import Timing


@define(eq=False)
class FleetPermit:
    """One permit of this process, as Redis knows it."""

    number: int
    """Its name in Redis, together with that of the process."""
    taken_at: float
    """Before the request for it left, so that its lease is sure to run longer in Redis than here."""
    covered_until: float = inf
    """Redis is sure to keep it for a whole window beyond this, even if it never hears of it again."""
    group: str = ""
    """The route for which Redis issued it; "" where it is for any without a limit of its own."""
    route: str = ""
    """Of the request that was sent with it; "" before that."""
    answer: ToldAnswer | None = None
    """What the server answered."""
    alarms: bool = False
    """Whether that changes things for all: a 429, or another limit."""
    is_logged: bool = False
    """Whether the log of the fleet has its beginning."""
    over_at: float = inf
    """When its request was over."""
    synced: bool = False
    """Whether Redis knows of its present state."""


@define(eq=False)
class FleetPermits:
    """All permits of this process, from when they were taken until a window after the answer."""

    timing: Timing
    next_number: int = 1
    unsent: set[int] = field(factory=set[int])
    """Numbers of permits with which nothing was sent, and which Redis may still count."""
    _under_way: dict[int, FleetPermit] = field(factory=dict[int, FleetPermit])
    _over: deque[FleetPermit] = field(factory=deque[FleetPermit])
    """Those whose requests were over less than a window ago, in order."""
    _unsynced: dict[int, FleetPermit] = field(factory=dict[int, FleetPermit])
    """Those whose requests are over and of which Redis does not know that. Where its log has their beginning they stay
    until it does, however late: for all who read it they would be under way, as long as this process is heard of."""

    def __bool__(self) -> bool:
        return bool(self._under_way or self._over)

    def count(self, now: float) -> int:
        """Count the permits whose requests are under way or were over less than a window ago."""
        self._forget_lapsed(now)
        return len(self._under_way) + len(self._over)

    def due(self, now: float) -> list[float]:
        """List the moments at which those whose requests are over come free, in order."""
        self._forget_lapsed(now)
        return [self._free_at(permit) for permit in self._over]

    def numbers(self, wanted: int) -> int:
        """Set aside so many numbers for permits that Redis is asked for; return the first. None is used twice."""
        first = self.next_number
        self.next_number += wanted
        return first

    def take_issued(self, number: int, asked_at: float, group: str) -> FleetPermit:
        """Note a permit that Redis issued; its lease runs from before it was asked for."""
        covered_until = asked_at + self.timing.lease
        permit = FleetPermit(number, asked_at, covered_until, group, is_logged=True, synced=True)
        self._under_way[number] = permit
        return permit

    def take_alone(self, now: float) -> FleetPermit:
        """Note a permit that this process took by itself while Redis was away."""
        permit = FleetPermit(self.numbers(1), now)
        self._under_way[permit.number] = permit
        return permit

    def put_back(self, permit: FleetPermit) -> None:
        """Note that nothing was sent with a permit."""
        del self._under_way[permit.number]
        self.unsent.add(permit.number)

    def end(self, permit: FleetPermit, now: float) -> None:
        """Note that a request is over, answered or not."""
        del self._under_way[permit.number]
        permit.over_at, permit.synced = now, False
        self._over.append(permit)
        self._unsynced[permit.number] = permit

    def end_all(self, now: float) -> None:
        """Note that nobody waits any more for any of the requests under way."""
        for permit in list(self._under_way.values()):
            self.end(permit, now)

    def forgotten(self) -> None:
        """Note that Redis knows nothing of any permit: it is to be told of all again."""
        self._unsynced = {permit.number: permit for permit in self._over}
        for permit in (*self._under_way.values(), *self._over):
            permit.synced = permit.is_logged = False

    def renewals(self, now: float) -> list[Renewal]:
        """List what Redis does not know yet, and what is about to lapse there."""
        self._forget_lapsed(now)
        timing = self.timing
        renewed = now + timing.lease - timing.heartbeat
        under_way = [
            Renewal(
                permit.number,
                timing.lease + timing.kept_after_answer,
                over=False,
                told=None if permit.is_logged else _told(permit, now),
            )
            for permit in self._under_way.values()
            if not permit.synced or permit.covered_until <= renewed
        ]
        over = [
            Renewal(
                permit.number,
                max(0.0, self._free_at(permit) - now),
                over=True,
                told=self._told_end(permit, now),
            )
            for permit in self._unsynced.values()
        ]
        return under_way + over

    def confirm(self, renewals: Iterable[Renewal], unsent: Iterable[int], told_at: float) -> None:
        """Note what Redis has taken in; it was told at `told_at`."""
        self.unsent.difference_update(unsent)
        for renewal in renewals:
            permit = self._under_way.get(renewal.number)
            if renewal.over:
                self._unsynced.pop(renewal.number, None)
            elif permit is not None:
                permit.synced = permit.is_logged = True
                permit.covered_until = told_at + self.timing.lease

    def alarms(self) -> bool:
        """Tell whether Redis does not know of an answer that changes things for all."""
        return any(permit.alarms for permit in self._unsynced.values())

    @property
    def untold(self) -> bool:
        """Whether Redis does not know of some that their requests are over."""
        return bool(self._unsynced)

    def _free_at(self, permit: FleetPermit) -> float:
        return permit.over_at + self.timing.kept_after_answer

    def _told_end(self, permit: FleetPermit, now: float) -> ToldRequest:
        told = _told(permit, now)
        if told.answer is None or now < self._free_at(permit):
            return told
        # What others have used since then is not what they had used before.
        return evolve(told, answer=told.answer.without_remaining())

    def _forget_lapsed(self, now: float) -> None:
        while self._over and self._free_at(self._over[0]) <= now:
            permit = self._over.popleft()
            if not permit.is_logged:
                self._unsynced.pop(permit.number, None)


def _told(permit: FleetPermit, now: float) -> ToldRequest:
    over_ago = None if permit.over_at == inf else now - permit.over_at
    return ToldRequest(permit.number, now - permit.taken_at, over_ago, permit.route, permit.answer)
