"""The fleet's log, read by one process: what all processes have sent, and what their answers told.

The rules of when to send are those of a process by itself, and are written there: a `LocalLimiter` on Redis's clock is
fed with the requests of all processes, in the order of the log. So all who have read as far believe the same. A permit
stands in the log from when it is issued, which is before its request leaves: whatever the server may have counted before
an answer is there before that answer, and nothing of the fleet is taken for others' use.

Pure: moments are on Redis's clock, or, where the name says so, on the policy's: the same with windows of a minute.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from math import floor, inf

from attrs import define, field

from hindsight_async.rate.client import BudgetClient, Permit
from hindsight_async.rate.counting import WINDOW_SECONDS
from hindsight_async.rate.local_limiter import LocalLimiter
from hindsight_async.rate.own_requests import REMEMBERED
from hindsight_async.rate.redis.log_entries import Entry, ToldRequest
from hindsight_async.rate.redis.timing import Timing

PACE_AHEAD = 1
"""Requests that may leave at once in company, beside the one that is due: a call of the script takes its time."""

_TOO_MANY_REQUESTS = int(HTTPStatus.TOO_MANY_REQUESTS)


@define(eq=False)
class Pace:
    """How fast the requests of the whole fleet follow each other beside other programs; on the policy's clock."""

    _next_at: float = -inf
    """When the next one is due."""

    def issue(self, number: int, pace: float | None, at: float) -> None:
        """Note that so many were issued, at so many requests per minute; None for as many at once as may be."""
        if pace:
            interval = WINDOW_SECONDS / pace
            self._next_at = max(self._next_at, at - PACE_AHEAD * interval) + number * interval

    def allows(self, pace: float | None, now: float) -> float:
        """Count how many may leave."""
        if not pace:
            return inf
        return max(0, 1 + floor(min(PACE_AHEAD, (now - self._next_at) * pace / WINDOW_SECONDS)))

    def next_change(self, pace: float | None) -> float:
        """Name the moment at which one may."""
        return self._next_at if pace else -inf


@define(eq=False)
class FleetLog:
    """What the log has told so far."""

    client: BudgetClient
    """For whom the permits of all processes are taken here."""
    timing: Timing
    limiter: LocalLimiter = field(init=False)
    """On the policy's clock: takes each permit of the fleet, and learns from each answer to it."""
    pace: Pace = field(factory=Pace)
    issued_on: dict[str, int] = field(factory=dict[str, int])
    """Permits issued since the epoch began, on each route with a limit of its own of which that is known."""
    _jitter: float = 0.0
    """Of the answer that is being read."""
    _heard_of: dict[str, float] = field(factory=dict[str, float])
    """When each process was last heard of."""
    _under_way: dict[str, dict[int, Permit]] = field(factory=dict[str, dict[int, Permit]])
    """The permits of each process that are not over, by number."""
    _over: dict[tuple[str, int], float] = field(factory=dict[tuple[str, int], float])
    """Those that are, and when that was read: a process may tell twice of one."""

    @classmethod
    def begin(cls, client: BudgetClient, plan: int, timing: Timing, max_rate_wait: float) -> "FleetLog":
        """Start with nothing read."""
        log = cls(client, timing)
        max_rate_wait *= timing.scale
        log.limiter = LocalLimiter.begin(
            plan, burst=None, max_rate_wait=max_rate_wait, random=log._next_jitter
        )
        return log

    def _next_jitter(self) -> float:
        return self._jitter

    def read(self, entry: Entry) -> None:
        """Take in one call of a process."""
        self._heard_of[entry.process] = entry.at
        under_way = self._under_way.setdefault(entry.process, {})
        for number in entry.unsent:
            if permit := under_way.pop(number, None):
                self.limiter.put_back(permit)
                self._over[entry.process, number] = entry.at
        for request in entry.requests:
            if (entry.process, request.number) not in self._over:
                self._read_request(entry, request, under_way)
        moment = entry.at * self.timing.scale
        for route, first, count in entry.given:
            if route in self.issued_on:
                self.issued_on[route] += count
            for number in range(first, first + count):
                under_way[number] = self.limiter.take(self.client, route, moment)
            # Has the policy look how fast they may follow each other now.
            self.limiter.room(moment)
            self.pace.issue(count, self.limiter.limits.whole.pace, moment)

    def _read_request(self, entry: Entry, request: ToldRequest, under_way: dict[int, Permit]) -> None:
        scale, answer = self.timing.scale, request.answer
        permit = under_way.get(request.number)
        if permit is None and (request.over_ago or 0.0) > self.timing.kept_after_answer:
            # Issued before its process was not heard of for long: all who had read of it have given it up.
            return
        if permit is None:
            # Taken without Redis, or told again to one that had lost it.
            sent_at = (entry.at - request.sent_ago) * scale
            permit = under_way[request.number] = self.limiter.take(self.client, request.route, sent_at)
        if request.over_ago is None:
            return
        over_at, permit.route = entry.at - request.over_ago, request.route
        if answer is not None and entry.recovering and answer.status != _TOO_MANY_REQUESTS:
            # What processes sent by themselves, and have yet to tell, would pass for others' use.
            answer = answer.without_remaining()
        if answer is not None and not self.limiter.confirm_as_usual(permit, answer, over_at * scale):
            self._jitter = answer.jitter
            received_at = datetime.fromtimestamp(over_at, UTC)
            self.limiter.learn(permit, answer, now=over_at * scale, received_at=received_at)
        self._end(entry.process, request.number, over_at, entry.at)

    def _end(self, process: str, number: int, over_at: float, read_at: float) -> None:
        self.limiter.end(self._under_way[process].pop(number), over_at * self.timing.scale)
        self._over[process, number] = read_at

    def forget(self, clock: float) -> None:
        """End what is under way at processes that were not heard of for a lease: it may have been counted until then."""
        lease = self.timing.lease
        for process, heard_of in list(self._heard_of.items()):
            if heard_of + lease < clock:
                for number in list(self._under_way[process]):
                    self._end(process, number, heard_of + lease, clock)
                del self._heard_of[process], self._under_way[process]
        forgotten = clock - REMEMBERED / self.timing.scale
        while self._over and next(iter(self._over.values())) < forgotten:
            del self._over[next(iter(self._over))]
