"""Each way of counting, and the server's clock, against servers that truly count so."""

import copy
import heapq
import math
from typing import Any

import pytest
from attrs import define, field
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hindsight_async.emulator.limits import RateLimit, Window, rate_limit
from hindsight_async.rate.counting import RESIDUE, Bucket, Fixed, Sliding, WayOfCounting, Weighted
from hindsight_async.rate.own_requests import OwnRequests
from hindsight_async.rate.server_clock import ServerClock

WINDOWS: tuple[Window, ...] = ("sliding", "fixed", "aligned", "weighted", "bucket")
FATES = ("answered", "answered without a window", "no answer", "lost", "not sent")
ARRIVING, OVER = "arriving", "over"


@define
class Request:
    """One of ours: seconds since the one before, seconds under way there and back, and what becomes of it."""

    after: float
    there: float
    back: float
    fate: str
    sent_at: float = 0.0
    passed: bool = False
    use_before: float = 0.0
    reset: float | None = None
    date: int = 0


requests = st.builds(
    Request,
    after=st.one_of(st.just(0.0), st.floats(0.001, 3), st.floats(0.001, 100)),
    there=st.one_of(st.floats(0.001, 0.3), st.floats(0.001, 20)),
    back=st.one_of(st.floats(0.001, 0.3), st.floats(0.001, 20)),
    fate=st.sampled_from([*FATES, *["answered"] * 8]),
)
offsets = st.one_of(st.floats(-1e9, 1e9), st.integers(0, 2_000_000_000).map(float))


@define(eq=False)
class World:
    """A server, our requests on their way to it and back, and one way in which it may count."""

    window: Window
    limit: int
    offset: float
    whole_seconds: bool = False
    server: RateLimit = field(init=False)
    clock: ServerClock = field(factory=ServerClock)
    own: OwnRequests = field(factory=OwnRequests)
    way: WayOfCounting = field(init=False)
    now: float = 0.0
    _coming: list[tuple[float, int, str, Request]] = field(factory=list)
    _number: int = 0

    def __attrs_post_init__(self) -> None:
        self.server = rate_limit(self.window, self.limit, wall_offset=self.offset)
        ways: dict[Window, Any] = {
            "sliding": lambda: Sliding(self.own),
            "fixed": lambda: Fixed(self.own, self.clock),
            "aligned": lambda: Fixed(self.own, self.clock),
            "weighted": lambda: Weighted(self.own, self.clock),
            "bucket": lambda: Bucket(self.own, self.limit),
        }
        self.way = ways[self.window]()

    def used(self, now: float) -> float:
        """Tell the truth about the use."""
        return true_use(self.server, now)

    def send(self, request: Request) -> None:
        """Let one leave now."""
        request.sent_at = self.now
        self.own.send(self.now)
        there = self.now + request.there
        if request.fate not in {"lost", "not sent"}:
            self._schedule(there, ARRIVING, request)
        self._schedule(there + request.back, OVER, request)

    def pass_until(self, moment: float) -> None:
        """Let all that happens up to a moment happen."""
        while self._coming and self._coming[0][0] <= moment:
            self.now, _, what, request = heapq.heappop(self._coming)
            if what == ARRIVING:
                arrive(self.server, request, self.now, self.offset)
            else:
                self._end(request)
        self.now = moment

    def _schedule(self, moment: float, what: str, request: Request) -> None:
        self._number += 1
        heapq.heappush(self._coming, (moment, self._number, what, request))

    def _end(self, request: Request) -> None:
        """Do what `RatePolicy` does when a request is over."""
        if request.fate == "not sent":
            self.own.take_back(request.sent_at)
        elif request.fate in {"lost", "no answer"}:
            self.own.end(self.now, determined=False)
        else:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        now, sent_at = self.now, request.sent_at
        reset = self._named(request)
        self.clock.learn(request.date, reset, sent_at=sent_at, now=now)
        if reset is not None and isinstance(self.way, Fixed):
            self.way.learn(reset)
        least, most = self.way.use_when_counted(sent_at, now, reset)
        assert least <= request.use_before + RESIDUE
        assert most >= request.use_before - RESIDUE
        if not request.passed:
            self.own.take_back(sent_at)
            return
        self.own.count(sent_at, now, reset)
        if isinstance(self.way, Bucket):
            self.way.count(sent_at, now)
        self.own.end(now, determined=reset is not None)

    def _named(self, request: Request) -> float | None:
        return None if request.fate == "answered without a window" else request.reset

    def use_with_what_is_under_way(self, moment: float) -> float:
        """Tell what the use will be if no more is sent."""
        server = copy.deepcopy(self.server)
        for at, _, what, request in sorted(self._coming, key=lambda each: each[:2]):
            if what == ARRIVING and at <= moment:
                arrive(server, copy.copy(request), at, self.offset)
        return true_use(server, moment)

    def check(self) -> None:
        """Compare what is known with the truth."""
        assert self.way.most(self.now) >= self.used(self.now) - RESIDUE
        for use in {0, 1, self.limit // 2, self.limit - 1}:
            moment = self.way.falls_to(use, self.now)
            assert moment >= self.now
            if self.own.under_way == 0:
                assert math.isfinite(moment)
            if math.isfinite(moment):
                assert self.use_with_what_is_under_way(moment) <= use + 2 * RESIDUE
                assert self.way.most(moment) <= use + 2 * RESIDUE


def arrive(server: RateLimit, request: Request, now: float, offset: float) -> None:
    """Let a server count a request, and write down what its answer says."""
    request.use_before = true_use(server, now)
    request.passed = server.take(now)
    request.reset = round(server.reset_at(now) + offset, 3)
    request.date = math.floor(now + offset)


def true_use(server: RateLimit, now: float) -> float:
    """Tell what of the limit is used: of a bucket, that names whole requests, by how long the rest takes to drip."""
    remaining = server.remaining(now)
    if type(server).__name__ != "TokenBucket":
        return server.limit - remaining
    missing = (server.reset_at(now) - now) * server.limit / 60
    return missing if remaining else server.limit - 1 + missing


@pytest.mark.parametrize("window", WINDOWS)
@given(
    begins=st.floats(0, 1e5),
    offset=offsets,
    limit=st.integers(1, 12),
    schedule=st.lists(requests, min_size=1, max_size=25),
)
@settings(max_examples=60)
def test_no_way_of_counting_is_ever_surprised(
    window: Window, begins: float, offset: float, limit: int, schedule: list[Request]
) -> None:
    """The true use lies between least and most, at each answer and each moment, and falls when it is said to."""
    world = World(window, limit, offset, now=begins)
    for request in schedule:
        world.pass_until(world.now + request.after)
        world.send(copy.copy(request))
        world.check()
    # The smallest bucket needs a minute for each request of which nobody knows whether it was counted.
    for seconds in (1.0, 30.0, 45.0, 200.0, 60.0 * len(schedule)):
        world.pass_until(world.now + seconds)
        world.check()
    assert 0 == world.way.most(world.now)


@pytest.mark.parametrize("window", WINDOWS)
@given(
    offset=offsets,
    step=st.one_of(st.floats(100, 1e8), st.floats(-1e8, -100)),
    before=st.lists(requests, min_size=5, max_size=15),
    after=st.lists(requests, min_size=5, max_size=15),
)
@settings(max_examples=30, phases=[Phase.generate])
def test_a_server_whose_clock_is_set_is_followed(
    window: Window, offset: float, step: float, before: list[Request], after: list[Request]
) -> None:
    """From the first answer on after its clock was set, forward or back, no way of counting is surprised."""
    world = World(window, 6, offset)
    for request in before:
        world.pass_until(world.now + request.after)
        world.send(copy.copy(request))
    world.pass_until(world.now + 200.0)
    world.offset += step
    world.server = rate_limit(window, world.limit, wall_offset=world.offset)
    world.send(Request(0.0, 0.1, 0.1, "answered"))
    world.pass_until(world.now + 0.3)
    for request in after:
        world.check()
        world.send(copy.copy(request))
        world.pass_until(world.now + request.after)
    world.check()
