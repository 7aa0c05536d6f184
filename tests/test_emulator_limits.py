"""The ways of counting requests, without HTTP."""

import math
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hindsight_async.emulator.limits import (
    AlignedWindow,
    FixedWindow,
    MonthlyAllowance,
    RateLimit,
    SlidingWindow,
    TokenBucket,
    WeightedWindow,
    rate_limit,
)

WINDOWS = ["sliding", "fixed", "bucket", "aligned"]
"""Those whose reset names a moment at which something passes; the weighted one has tests of its own for that."""

windows = st.sampled_from(WINDOWS)
limits = st.integers(1, 12)
offsets = st.floats(0, 2e9)
gaps = st.lists(
    st.one_of(st.just(0.0), st.just(60.0), st.floats(0, 3), st.floats(0, 200)), min_size=1, max_size=40
)


def holds_for(*strategies):
    """Check a property without a limit on real time, which other programs on the machine could break."""
    return lambda test: settings(deadline=None)(given(*strategies)(test))


def moments(gaps: list[float]) -> list[float]:
    now, at = 0.0, []
    for gap in gaps:
        now += gap
        at.append(now)
    return at


def let_through(limit: RateLimit, arrivals: list[float]) -> list[float]:
    return [now for now in arrivals if limit.take(now)]


def most_at_once(moments: list[float], span: float) -> int:
    return max((sum(1 for m in moments if start <= m < start + span) for start in moments), default=0)


@holds_for(limits, gaps)
def test_a_sliding_window_never_lets_more_than_its_limit_through_in_any_minute(limit, gaps):
    """In no half-open span of 60 seconds are there more than N."""
    assert most_at_once(let_through(SlidingWindow(limit), moments(gaps)), 60.0) <= limit


@holds_for(limits, gaps)
def test_a_sliding_window_refuses_only_when_the_last_minute_is_full(limit, gaps):
    """A refusal means that N were let through in the 60 seconds before."""
    window, passed = SlidingWindow(limit), []
    for now in moments(gaps):
        recent = sum(1 for moment in passed if moment + 60.0 > now)
        assert (recent < limit) == window.take(now)
        if recent < limit:
            passed.append(now)


@holds_for(limits, gaps)
def test_a_fixed_window_lets_at_most_its_limit_through_from_opening_to_end(limit, gaps):
    """Cut at the first request and then at each first one 60 seconds later, no piece holds more than N."""
    arrivals = moments(gaps)
    passed = let_through(FixedWindow(limit), arrivals)
    opened = None
    expected = []
    for now in arrivals:
        if opened is None or now >= opened + 60.0:
            opened, used = now, 0
        if used < limit:
            expected.append(now)
        used += 1
    assert expected == passed


@holds_for(limits, gaps, offsets)
def test_an_aligned_window_lets_at_most_its_limit_through_in_each_minute_of_the_wall_clock(
    limit, gaps, offset
):
    """Grouped by wall-clock minute, no group holds more than N."""
    passed = let_through(AlignedWindow(limit, offset), moments(gaps))
    phase = offset % 60.0
    minutes = [int((now + phase + 1e-6) // 60.0) for now in passed]
    assert all(minutes.count(minute) <= limit for minute in minutes)


def test_an_aligned_window_is_whole_again_when_the_wall_clock_turns_the_minute():
    """With a wall clock that shows second 50, the minute ends ten seconds on."""
    window = AlignedWindow(1, wall_offset=1_700_000_030.0)  # second 50 of its minute
    assert window.take(0.0)
    assert not window.take(9.9)
    assert 10.0 == window.reset_at(9.9)
    assert window.take(10.0)


@holds_for(limits, gaps, st.floats(1, 600))
def test_a_bucket_lets_at_most_its_capacity_and_its_refill_through(limit, gaps, span):
    """In any span there are at most N plus the refill of that span."""
    passed = let_through(TokenBucket(limit), moments(gaps))
    assert most_at_once(passed, span) <= limit + limit * span / 60.0 + 1e-3


def test_a_bucket_takes_a_burst_and_then_one_per_refill():
    """Six per minute: six at once, then one every ten seconds."""
    bucket = TokenBucket(6)
    assert [0.0] * 6 == let_through(bucket, [0.0] * 9)
    assert [10.0, 20.0] == let_through(bucket, [9.9, 10.0, 10.1, 20.0])


def test_a_weighted_window_lets_one_through_per_share_of_the_minute_after_a_full_one():
    """Six per minute, all sent in one: in the next minute one just after each ten seconds, at the turn itself none."""
    window = WeightedWindow(6)
    assert [59.0] * 6 == let_through(window, [59.0] * 9)
    assert [] == let_through(window, [60.0] * 9)
    after_each_tenth = [60.001, 70.001, 80.001, 90.001, 100.001, 110.001]
    assert after_each_tenth == let_through(
        window, sorted([*after_each_tenth, *(moment + 9.998 for moment in after_each_tenth)])
    )


def test_a_weighted_window_forgets_what_is_older_than_the_last_minute():
    """After a minute without a request all of the limit is free."""
    window = WeightedWindow(5)
    let_through(window, [59.0] * 5)
    assert 5 == window.remaining(120.0)


@holds_for(
    st.integers(1, 300), st.lists(st.integers(0, 90_000), min_size=1, max_size=40), st.integers(0, 10**12)
)
def test_a_weighted_window_counts_this_minute_and_what_is_left_of_the_last(limit, gaps, offset):
    """A request passes exactly where floor((1 - x) last) + current is below the limit, x being the part that is over."""
    window = WeightedWindow(limit, offset / 1000)
    passed, at = Counter(), 0  # by minute of the wall clock; all moments in milliseconds
    for gap in gaps:
        at += gap
        minute, over = divmod(offset + at, 60_000)
        for _ in range(limit // 3 + 1):
            used = math.floor((1 - over / 60_000) * passed[minute - 1]) + passed[minute]
            assert max(0, limit - used) == window.remaining(at / 1000)
            assert (minute * 60_000 + 60_000 - offset) / 1000 == pytest.approx(window.reset_at(at / 1000))
            assert (used < limit) == window.take(at / 1000)
            passed[minute] += used < limit


def test_a_refusal_that_is_remembered_closes_a_weighted_window_through_the_minutes_end():
    """From the first refusal on none passes, not even in the millisecond of the reset; in the next one the window counts."""
    window = WeightedWindow(4, refusals_cached=True)
    assert [59.0] * 4 == let_through(window, [59.0] * 5)
    assert [60.001] == let_through(window, [60.0, 60.001, 60.002, 90.0, 105.0, 119.999, 120.0])
    assert [120.001] == let_through(window, [120.001])


@holds_for(st.sampled_from([*WINDOWS, "weighted"]), limits, gaps, offsets)
def test_what_remains_is_what_would_pass(window, limit, gaps, offset):
    """`remaining` is between 0 and N, and a request passes exactly if it is not 0, lowering it by one."""
    counted = rate_limit(window, limit, wall_offset=offset)
    for now in moments(gaps):
        before = counted.remaining(now)
        assert 0 <= before <= limit
        passes = before > 0
        assert passes == counted.take(now)
        assert before - passes == counted.remaining(now)


@holds_for(windows, limits, gaps, offsets)
def test_the_reset_of_an_empty_limit_is_when_the_next_request_passes(window, limit, gaps, offset):
    """Nothing passes shortly before the reset, and at the reset something does."""
    for now in moments(gaps):
        counted = rate_limit(window, limit, wall_offset=offset)
        for earlier in moments(gaps):
            if earlier > now:
                break
            counted.take(earlier)
        while counted.take(now):
            pass
        reset = counted.reset_at(now)
        assert now < reset <= now + 60.0 + 1e-5
        if reset - 1e-3 > now:
            assert 0 == counted.remaining(reset - 1e-3)
        assert counted.remaining(reset) >= 1


@holds_for(windows, limits, gaps, offsets)
def test_the_reset_of_a_limit_with_room_is_when_all_of_it_is_free(window, limit, gaps, offset):
    """At that moment the whole of N remains; where nothing was counted that is now."""
    counted = rate_limit(window, limit, wall_offset=offset)
    assert counted.reset_at(0.0) == 0.0
    for now in moments(gaps):
        counted.take(now)
        if counted.remaining(now):
            reset = counted.reset_at(now)
            assert reset >= now
            assert limit == counted.remaining(reset)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_refused_request_is_not_counted(window):
    """However many are refused, the limit is whole again a minute later."""
    counted = rate_limit(window, 3)
    assert [0.0] * 3 == let_through(counted, [0.0] * 50)
    assert [60.0] * 3 == let_through(counted, [60.0] * 50)


def test_a_limit_below_one_an_unknown_window_or_two_that_do_not_go_together_are_refused():
    """The error names what is wrong."""
    with pytest.raises(ValueError, match="at least 1, not 0"):
        rate_limit("sliding", 0)
    with pytest.raises(ValueError, match="not 'hourly'"):
        rate_limit("hourly", 60)
    with pytest.raises(ValueError, match="window='weighted', not 'sliding'"):
        rate_limit("sliding", 60, refusals_cached=True)


def test_a_monthly_allowance_is_whole_again_on_the_first_of_the_next_month():
    """Used up in December, it is back in January, with what is used counted from nothing."""
    allowance = MonthlyAllowance(2)
    december, january = datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert [True, True, False] == [allowance.take(december) for _ in range(3)]
    assert january == MonthlyAllowance.period_end(december)
    assert 2 == allowance.remaining(january)
    assert datetime(2027, 2, 1, tzinfo=UTC) == MonthlyAllowance.period_end(january)
