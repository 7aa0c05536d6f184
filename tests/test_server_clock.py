"""What the answers tell of the server's clock, against a clock that is known."""

import math

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async.rate.server_clock import LEAST_SLACK, MINUTE, ServerClock

FLOAT_RESIDUE = 1e-6
"""What a moment since 1970 may lose as a float."""


@define
class Exchange:
    """One request and its answer: seconds since the one before, there, until the Date is written, and back."""

    after: float
    there: float
    written: float
    back: float
    names_minute: bool


def exchanges(longest: float = 30.0) -> st.SearchStrategy[Exchange]:
    """Draw one."""
    seconds = st.one_of(st.just(0.0), st.floats(0, min(0.2, longest)), st.floats(0, longest))
    return st.builds(
        Exchange,
        after=st.floats(0, 100),
        there=seconds,
        written=seconds,
        back=seconds,
        names_minute=st.booleans(),
    )


def learn(clock: ServerClock, exchange: Exchange, sent_at: float, offset: float) -> float:
    """Let one exchange happen; return when the answer came."""
    counted = sent_at + exchange.there
    written = counted + exchange.written
    now = written + exchange.back
    reset = (math.floor((counted + offset) / MINUTE) + 1) * MINUTE if exchange.names_minute else None
    clock.learn(math.floor(written + offset), reset, sent_at=sent_at, now=now)
    return now


offsets = st.one_of(st.floats(-1e9, 2e9), st.integers(-2_000_000_000, 2_000_000_000).map(float))


@given(begins=st.floats(0, 1e6), offset=offsets, answers=st.lists(exchanges(), min_size=1, max_size=50))
def test_the_true_difference_is_never_farther_off_than_the_slack(
    begins: float, offset: float, answers: list[Exchange]
) -> None:
    """Whatever the latencies, the true difference of the clocks lies within what is said of it."""
    clock, now = ServerClock(), begins
    for exchange in answers:
        now = learn(clock, exchange, now + exchange.after, offset)
        assert abs(clock.offset - offset) <= clock.slack + FLOAT_RESIDUE


@given(drift=st.floats(-9e-5, 9e-5), offset=offsets, answers=st.lists(exchanges(), min_size=2, max_size=50))
def test_a_clock_that_drifts_is_followed(drift: float, offset: float, answers: list[Exchange]) -> None:
    """A server's clock that goes a little too fast or too slow stays within the slack."""
    clock, now = ServerClock(), 0.0
    for exchange in answers:
        sent_at = now + exchange.after
        now = learn(clock, exchange, sent_at, offset + drift * sent_at)
        assert abs(clock.offset - offset - drift * now) <= clock.slack + 0.01


@given(
    before=st.lists(exchanges(0.2), min_size=1, max_size=20),
    offset=offsets,
    step=st.one_of(st.floats(4, 1e8), st.floats(-1e8, -4)),
    after=st.lists(exchanges(0.2), min_size=1, max_size=20),
)
def test_a_clock_that_is_set_is_followed_with_the_next_answer(
    before: list[Exchange], offset: float, step: float, after: list[Exchange]
) -> None:
    """From the first answer after one of the clocks was set, only the new difference counts."""
    clock, now = ServerClock(), 0.0
    for exchange in before:
        now = learn(clock, exchange, now + exchange.after, offset)
    for exchange in after:
        now = learn(clock, exchange, now + exchange.after, offset + step)
        assert abs(clock.offset - offset - step) <= clock.slack + FLOAT_RESIDUE


def test_a_small_step_of_the_clock_shows_within_a_few_answers() -> None:
    """A third of a second is seen once an answer falls between the old full second and the new."""
    clock, now = ServerClock(), 0.0
    quick = Exchange(0.0, 0.005, 0.0, 0.005, names_minute=False)
    for number in range(100):
        now = learn(clock, quick, 0.37 * number, 1000.0)
    assert abs(clock.offset - 1000.0) <= clock.slack <= 0.05
    for number in range(100):
        learn(clock, quick, now + 0.37 * number, 1000.3)
    assert abs(clock.offset - 1000.3) <= clock.slack <= 0.05


def test_quick_answers_of_all_parts_of_a_second_bound_the_difference_closely() -> None:
    """A hundred answers within 10 ms each bring the slack under 25 ms, though a Date names whole seconds."""
    clock = ServerClock()
    for number in range(100):
        learn(clock, Exchange(0.0, 0.005, 0.0, 0.005, names_minute=False), 0.37 * number, 1e9 + 0.123)
    assert LEAST_SLACK < clock.slack < 0.025


@given(begins=st.floats(0, 1e6), offset=offsets, exchange=exchanges(), moment=st.floats(0, 1e6))
def test_the_minute_has_surely_turned_by_the_moment_that_is_named(
    begins: float, offset: float, exchange: Exchange, moment: float
) -> None:
    """By the next turn the server's minute is none that the moment may lie in; it is at most a minute and the slack away."""
    clock = ServerClock()
    learn(clock, exchange, begins, offset)
    turn = clock.next_turn(moment)
    earliest, then = moment - 2 * clock.slack - FLOAT_RESIDUE, turn + FLOAT_RESIDUE
    assert math.floor((earliest + offset) / MINUTE) < math.floor((then + offset) / MINUTE)
    assert moment - FLOAT_RESIDUE < turn <= moment + MINUTE + 2 * clock.slack + FLOAT_RESIDUE


@given(offset=offsets, moment=st.floats(0, 1e6))
def test_a_minute_ends_after_each_moment_in_it(offset: float, moment: float) -> None:
    """The end of a minute is a whole minute of the server's clock, at most 60 s ahead."""
    clock = ServerClock()
    clock.learn(math.floor(moment + offset), None, sent_at=moment, now=moment)
    end = clock.minute_end(moment)
    assert 0 == end % MINUTE
    assert 0 < end - (moment + clock.offset) <= MINUTE
    assert abs(end - clock.offset - clock.moment_of(end)) <= FLOAT_RESIDUE
