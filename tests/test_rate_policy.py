"""The policy of one limit, moment by moment."""

import pickle
from collections.abc import Iterable
from math import ceil, inf, sqrt

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async.emulator.limits import RateLimit, Window, rate_limit
from hindsight_async.rate.belief import (
    FIRST_PATIENCE,
    LEAST_OWN_PART,
    OUT_FOR,
    UNKNOWN_OTHERS,
)
from hindsight_async.rate.counting import KEPT_AFTER_ANSWER, RESIDUE
from hindsight_async.rate.limits import NamedLimit
from hindsight_async.rate.others_use import HEADROOM, OTHERS_REMEMBERED, TOLERANCE
from hindsight_async.rate.own_requests import FORGOTTEN_TOGETHER, REMEMBERED
from hindsight_async.rate.policy import RatePolicy
from hindsight_async.rate.server_clock import ServerClock

FREE_AGAIN = KEPT_AFTER_ANSWER + RESIDUE
LATENCY = 0.1
MINUTE = 60.0
PICKLED_FLOAT = 9
"""Bytes."""


def new_policy(limit: int) -> RatePolicy:
    """Make one that knows nothing yet."""
    return RatePolicy(limit, ServerClock())


def left_to(others: float) -> int:
    """Tell what is left to others who use so much, and are not new."""
    return ceil(others + HEADROOM * sqrt(others) + 1)


@define(eq=False)
class Pair:
    """A policy and a server on one clock: the server's minutes begin with the loop's."""

    limit: int = 60
    window: Window = "sliding"
    names: bool = True
    names_minutes: bool = False
    """Whether Reset is the end of the clock's minute even where the server does not count by it."""
    clock: ServerClock = field(factory=ServerClock)
    server: RateLimit = field(init=False)
    policy: RatePolicy = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = rate_limit(self.window, self.limit)
        self.policy = RatePolicy(self.limit, self.clock)

    def others(self, count: int, now: float) -> None:
        """Let somebody else use the server."""
        for _ in range(count):
            self.server.take(now)

    def send(self, now: float, *, seconds: float = LATENCY) -> bool:
        """Send one request now and take in its answer; tell whether it passed."""
        counted, over = now + seconds / 2, now + seconds
        entry = self.policy.take(now)
        passed = self.server.take(counted)
        reset = None
        if self.names:
            named = self.server.reset_at(counted)
            reset = (counted // MINUTE + 1) * MINUTE if self.names_minutes else round(named, 3)
        self.clock.learn(counted // 1, reset, sent_at=now, now=over)
        if self.names:
            remaining = self.server.remaining(counted)
            self.policy.learn(
                entry, limit=self.limit, remaining=remaining, reset=reset, refused=not passed, now=over
            )
        elif not passed:
            self.policy.learn_bare_refusal(entry, over)
        if passed:
            self.policy.confirm(entry, reset, over)
        else:
            self.policy.refuse(entry)
        self.policy.end(entry, over)
        return passed

    def send_all(self, moments: Iterable[float]) -> list[bool]:
        """Send one at each moment, whatever the policy says."""
        return [self.send(moment) for moment in moments]


def test_permits_come_back_in_the_order_of_their_answers():
    """Each permit is free again 60 s after its own answer, and never before."""
    policy = new_policy(2)
    first, second = policy.take(0.0), policy.take(0.0)
    assert not policy.admits(0.0)
    policy.end(second, 1.0)
    policy.end(first, 5.0)
    assert [0, 0, 1, 1, 2] == [policy.room(now) for now in (30.0, 61.0, 1 + FREE_AGAIN, 65.0, 5 + FREE_AGAIN)]


def test_what_was_not_sent_is_free_at_once():
    """A permit put back counts for nothing."""
    policy = new_policy(1)
    policy.put_back(policy.take(0.0))
    assert 1 == policy.room(0.0)


@pytest.mark.parametrize(
    ("ahead", "moment"), [(0, 30.0), (1, 10.0 + KEPT_AFTER_ANSWER), (2, 20.0 + KEPT_AFTER_ANSWER)]
)
def test_the_estimate_counts_those_ahead(ahead: int, moment: float):
    """With one of three permits free, the next opens for the second newcomer, and so on."""
    policy = new_policy(3)
    for at in (10.0, 20.0):
        policy.end(policy.take(0.0), at)
    assert moment == policy.opens_for(ahead, 30.0)


def test_the_estimate_reaches_beyond_the_first_window():
    """Whoever has more ahead than there are permits waits another round."""
    policy = new_policy(2)
    policy.end(policy.take(0.0), 0.0)
    policy.take(0.0)
    assert KEPT_AFTER_ANSWER == pytest.approx(policy.opens_for(0, 0.0))
    assert KEPT_AFTER_ANSWER == pytest.approx(policy.opens_for(1, 0.0))
    assert 2 * KEPT_AFTER_ANSWER == pytest.approx(policy.opens_for(2, 0.0))


def test_an_answer_from_before_the_limit_was_raised_changes_nothing():
    """A late answer tells of an older time; one sent since is believed at once."""
    named = NamedLimit(60)
    named.learn(300, sent_at=0.0, now=1.0)
    named.learn(300, sent_at=2.0, now=3.0)
    named.learn(60, sent_at=2.5, now=4.0)
    assert 300 == named.limit
    named.learn(60, sent_at=3.5, now=5.0)
    assert 60 == named.limit


# How the server counts


def test_a_server_that_slides_rules_the_weighted_way_out():
    """A minute after a burst one answer that shows nothing of it opens all of the limit, though the clock's minute has turned."""
    pair = Pair(window="sliding", names_minutes=True)
    pair.send_all([5.0] * 60)
    assert 6 == pair.policy.room(66.0)
    assert pair.send(66.0)
    assert (59, None) == (pair.policy.room(66.2), pair.policy.pace)


def test_a_weighted_server_rules_the_sliding_way_out():
    """There one answer that shows what is left of the burst is put down to ourselves, and not to others."""
    pair = Pair(window="weighted")
    pair.send_all([5.0] * 60)
    assert pair.send(66.0)
    assert (6, None) == (pair.policy.room(66.2), pair.policy.pace)
    assert [True] * 6 == pair.send_all([66.2] * 6)


@pytest.mark.parametrize("window", ["sliding", "weighted"])
def test_what_a_server_is_found_to_do_is_believed_for_a_while(window: Window):
    """After that both ways are believed again, and the stricter one decides."""
    pair = Pair(window=window, names_minutes=True)
    pair.send_all([5.0] * 60)
    pair.send(66.0)
    later = 66.0 + OUT_FOR + MINUTE
    start = later - later % MINUTE + 5.0
    for _ in range(60):
        entry = pair.policy.take(start)
        pair.policy.confirm(entry, start - 5.0 + MINUTE, start + LATENCY)
        pair.policy.end(entry, start + LATENCY)
    assert 6 == pair.policy.room(start + 61.0)


# How much others use


def test_what_others_used_is_left_to_them_for_a_while_after_they_fell_silent():
    """Somebody who comes and goes is reckoned with OTHERS_REMEMBERED seconds long, and then no more."""
    pair = Pair(limit=100)
    pair.send(0.0)
    pair.others(40, 1.0)
    pair.send(10.0)
    seen = 10.0 + LATENCY
    assert left_to(40) <= 100 - pair.policy.room(seen) - 2 <= left_to(40 + TOLERANCE)
    pair.send_all([75.0, 90.0])
    assert 54 <= pair.policy.room(seen + OTHERS_REMEMBERED) <= 56
    assert pair.policy.pace is not None
    assert 98 == pair.policy.room(seen + OTHERS_REMEMBERED + 0.1)
    assert pair.policy.pace is None


def test_what_only_falls_is_what_somebody_left_behind():
    """Of a predecessor, gone before we came, nothing is left free once the server has forgotten it."""
    pair = Pair(limit=100)
    pair.others(40, -50.0)
    pair.send(0.0)
    assert 100 - left_to(40) - 1 == pair.policy.room(1.0)
    pair.send(11.0)
    assert (98, None) == (pair.policy.room(11.2), pair.policy.pace)


def test_others_who_are_new_have_a_good_part_left_free():
    """However little they use as yet, a third is theirs until it is known how much they need."""
    pair = Pair(limit=100)
    pair.others(5, 0.0)
    pair.send(0.0)
    assert 100 - ceil(UNKNOWN_OTHERS * 100) - 1 == pair.policy.room(1.0)


def test_we_take_a_tenth_whatever_others_use():
    """Beside others who use up all of the limit we go on, evenly, with LEAST_OWN_PART."""
    pair = Pair(limit=100)
    pair.others(100, 0.0)
    assert not pair.send(1.0)
    assert LEAST_OWN_PART * 100 == pair.policy.room(2.0)
    assert LEAST_OWN_PART * 100 == pair.policy.pace


def test_a_remaining_that_never_changes_is_not_believed_for_long():
    """One that shows others and is the same after a minute, whatever we used meanwhile, is a constant."""
    policy = new_policy(100)

    def send(now: float) -> None:
        entry = policy.take(now)
        policy.learn(entry, limit=100, remaining=50, reset=None, refused=False, now=now + LATENCY)
        policy.confirm(entry, None, now + LATENCY)
        policy.end(entry, now + LATENCY)

    for second in range(0, 60, 5):
        send(second)
    assert 50 >= policy.room(60.0)
    send(61.0)
    # Of a server whose clock nobody has read, no request has surely lapsed yet.
    assert (100 - 13, None) == (policy.room(62.0), policy.pace)


def test_a_steady_remaining_is_believed_while_our_own_use_is_steady_too():
    """Beside others who use a constant part, and with a pace of our own, Remaining is the same all the time and true."""
    pair = Pair(limit=100)
    for second in range(0, 300, 2):
        pair.others(1, second)
        pair.send(second)
    assert left_to(30 - TOLERANCE) <= 100 - pair.policy.room(300.0) - 30 <= left_to(30 + TOLERANCE)
    assert pair.policy.pace is not None


def test_the_part_of_a_limit_that_is_others_by_agreement_shows_nobody():
    """With a share of the limit, what is used of the rest of it says nothing; beyond that, somebody eats into ours."""
    policy = new_policy(30)
    for remaining, pace in ((30, None), (60 - 30 - 15, 30 - left_to(15 - 2))):
        entry = policy.take(0.0)
        policy.learn(entry, limit=60, remaining=remaining, reset=None, refused=False, now=LATENCY)
        policy.confirm(entry, None, LATENCY)
        policy.end(entry, LATENCY)
        policy.room(1.0)
        assert pace == policy.pace


# Refusals


def test_a_refusal_without_numbers_is_explained_by_the_weighted_way():
    """Where our own requests alone would be too many for a weighted window, it is believed, and nothing else is at fault."""
    pair = Pair(window="weighted", names=False)
    pair.send_all([5.0] * 60)
    assert 60 == pair.policy.room(66.0)
    assert [*[True] * 7, False] == pair.send_all([66.0] * 8)
    assert (0, None) == (pair.policy.room(66.2), pair.policy.pace)
    opens = pair.policy.next_change(66.2)
    assert 66.2 < opens < 70.0
    assert pair.send(opens)


def test_a_refusal_without_numbers_that_nothing_explains_shows_a_lower_limit():
    """What was let through is the limit, evenly, until a patience is over that doubles each time."""
    pair = Pair(limit=60, names=False)
    pair.server = rate_limit("sliding", 30)
    now = 0.0
    for patience in (FIRST_PATIENCE, 2 * FIRST_PATIENCE):
        assert [*[True] * 30, False] == pair.send_all([now] * 31)
        refused = now + LATENCY
        assert 30 == pair.policy.room(refused + FREE_AGAIN)
        assert 30 == pair.policy.pace
        assert 30 == pair.policy.room(refused + patience - 1)
        assert 60 == pair.policy.room(refused + patience)
        now = refused + patience


def test_a_server_that_names_numbers_after_all_ends_the_guess_at_its_limit():
    """What was let through before a refusal without numbers is no limit once an answer names what is left."""
    pair = Pair(limit=60, names=False)
    pair.server = rate_limit("sliding", 30)
    pair.send_all([0.0] * 31)
    pair.server, pair.names = rate_limit("sliding", 60), True
    pair.send(70.0)
    assert 59 == pair.policy.room(71.0)


def test_a_refusal_after_the_window_has_rolled_leaves_nothing_negative():
    """A 429 that shows all used when nothing of ours counts any more is others' doing; and there is a moment to go on."""
    pair = Pair(limit=100, window="fixed")
    pair.send_all([0.0] * 100)
    pair.others(100, 61.0)
    assert not pair.send(62.0)
    assert 10 == pair.policy.room(63.0)
    assert 10 == pair.policy.pace


@define
class Said:
    """An answer that may make no sense: seconds until the request leaves and it comes, and what it says."""

    after: float
    seconds: float
    remaining: int | None
    reset: float | None
    refused: bool
    sent: bool


answers = st.builds(
    Said,
    after=st.one_of(st.just(0.0), st.floats(0, 100)),
    seconds=st.floats(0, 50),
    remaining=st.one_of(st.none(), st.integers(0, 20)),
    reset=st.one_of(st.none(), st.floats(-100, 1000), st.integers(0, 20).map(lambda n: n * MINUTE)),
    refused=st.booleans(),
    sent=st.sampled_from([True, True, True, False]),
)


@given(limit=st.integers(1, 12), said=st.lists(answers, max_size=40))
def test_whatever_a_server_says_there_is_a_moment_to_go_on(limit: int, said: list[Said]):
    """Room and pace are never negative or too large, what changes next lies ahead, and in the end something may leave."""
    clock = ServerClock()
    policy, now = RatePolicy(limit, clock), 1000.0
    for answer in said:
        now += answer.after
        check(policy, limit, now)
        entry, sent_at = policy.take(now), now
        now += answer.seconds
        check(policy, limit, now)
        if not answer.sent:
            policy.put_back(entry)
            continue
        clock.learn(now // 1, answer.reset, sent_at=sent_at, now=now)
        if answer.remaining is not None:
            policy.learn(
                entry,
                limit=20,
                remaining=answer.remaining,
                reset=answer.reset,
                refused=answer.refused,
                now=now,
            )
        elif answer.refused:
            policy.learn_bare_refusal(entry, now)
        if answer.refused:
            policy.refuse(entry)
        else:
            policy.confirm(entry, answer.reset, now)
        policy.end(entry, now)
    for _ in range(1000):
        check(policy, limit, now)
        if policy.admits(now):
            return
        now = policy.next_change(now)
    raise AssertionError(f"nothing may leave at {now}")


def check(policy: RatePolicy, limit: int, now: float) -> None:
    """Look at all that can be asked."""
    assert 0 <= policy.room(now) <= limit
    assert policy.pace is None or 1 <= policy.pace <= limit
    assert policy.admits(now) == (policy.room(now) > 0)
    if not policy.admits(now):
        assert now < policy.next_change(now)
    assert now <= policy.opens_for(0, now) < inf


# What it costs


@pytest.mark.slow
@pytest.mark.parametrize("names", [True, False])
def test_an_hour_takes_no_more_memory_than_what_is_asked_about(*, names: bool):
    """At 1,000 a minute, each of a dozen lists holds the requests of REMEMBERED seconds, and what is let go of at once."""
    pair = Pair(limit=1000, names=names, window="weighted")
    sizes = []
    for quarter in range(4):
        for number in range(15_000):
            now = quarter * 900.0 + number * 0.06
            pair.policy.admits(now)
            pair.send(now)
        sizes.append(len(pickle.dumps(pair.policy)))
    most = 12 * (REMEMBERED * 1000 / MINUTE + FORGOTTEN_TOGETHER) * PICKLED_FLOAT
    assert max(sizes) < most
    assert max(sizes[1:]) - sizes[0] <= 12 * FORGOTTEN_TOGETHER * PICKLED_FLOAT
