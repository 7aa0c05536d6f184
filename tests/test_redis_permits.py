"""What one process tells Redis of its own permits: pure, moment by moment."""

from attrs import evolve

from hindsight_async.rate.redis.fleet_permits import FleetPermits
from hindsight_async.rate.redis.log_entries import ToldAnswer
from hindsight_async.rate.redis.timing import Timing

TIMING = Timing()
LATE = TIMING.window + 10.0
"""Seconds after the end of a request, when it does not count any more."""

ANSWER = ToldAnswer(200, {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "42"}, 0.5)


def test_the_end_of_what_redis_issued_is_told_however_late():
    """Whoever reads the log would else take it for under way; but what was left of the limit is no news any more."""
    permits = FleetPermits(TIMING)
    permit = permits.take_issued(permits.numbers(1), 0.0, "")
    permit.route, permit.answer = "GET /deals", ANSWER
    permits.end(permit, 1.0)
    assert 0 == permits.count(1.0 + LATE)
    (renewal,) = permits.renewals(1.0 + LATE)
    assert 0.0 == renewal.seconds
    assert LATE == renewal.told.over_ago
    assert evolve(ANSWER, headers={"X-RateLimit-Limit": "60"}) == renewal.told.answer
    permits.confirm([renewal], [], 1.0 + LATE)
    assert [] == permits.renewals(1.0 + LATE)


def test_what_nobody_knows_of_is_forgotten_once_it_does_not_count():
    """A process that goes on by itself for days has nothing to tell but of the last minute."""
    permits = FleetPermits(TIMING)
    for second in range(3):
        permits.end(permits.take_alone(float(second)), float(second))
    assert 2 == len(permits.renewals(TIMING.window + 1.0))
    assert [] == permits.renewals(2.0 + LATE)
    assert not permits.untold


def test_a_redis_that_has_lost_its_data_is_told_of_the_last_minute_alone():
    """Its log has nothing any more that would be under way for good."""
    permits = FleetPermits(TIMING)
    permits.end(permits.take_issued(permits.numbers(1), 0.0, ""), 1.0)
    permits.forgotten()
    assert 1 == len(permits.renewals(2.0))
    assert [] == permits.renewals(1.0 + LATE)
