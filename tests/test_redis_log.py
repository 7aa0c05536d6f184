"""The fleet's log as a process reads it: pure, moment by moment."""

import random
from email.utils import formatdate

import pytest
from attrs import evolve

from hindsight_async.rate.client import BudgetClient
from hindsight_async.rate.redis.fleet_log import FleetLog, Pace
from hindsight_async.rate.redis.log_entries import Entry, ToldAnswer, ToldRequest
from hindsight_async.rate.redis.timing import Timing

ROUTE = "POST /interviews"
LIMIT = 60
BEGAN = 1_772_366_400.0
"""On Redis's clock: the beginning of a minute."""

TIMING = Timing()


def new_log(*entries):
    """Read these entries."""
    log = FleetLog.begin(BudgetClient(None, 1), LIMIT, TIMING, 90.0)
    for entry in entries:
        log.read(entry)
    return log


def room(log, at):
    """Count what may leave, whoever asks; of a log that was asked before, at least so many may."""
    log.forget(at)
    return log.limiter.limits.whole.room(at)


def room_after(entries, at):
    """Count what may leave after these entries."""
    return room(new_log(*entries), at)


def issued(at, first, count, process="p"):
    """Make the entry of a call that was issued permits."""
    return Entry(at, process, [("", first, count)], [], [])


def told(at, *requests, process="p", unsent=()):
    """Make the entry of a call that only tells."""
    return Entry(at, process, [], list(requests), list(unsent))


def over(number, ago=0.0, *, answer=None, sent_ago=1.0):
    """Make what is told of a request that is over."""
    return ToldRequest(number, sent_ago, ago, ROUTE, answer)


def answer(at, remaining, status=200, **more):
    """Make what the server said."""
    named = {"X-RateLimit-Limit": str(LIMIT), "X-RateLimit-Remaining": str(remaining), **more}
    return ToldAnswer(status, {"Date": formatdate(at, usegmt=True), **named}, 0.5)


def test_a_permit_counts_from_its_issue_until_a_minute_after_its_answer():
    """Whichever process has it, and however late it is told."""
    entries = [issued(BEGAN, 1, 10, "a"), issued(BEGAN + 1, 1, 5, "b")]
    assert LIMIT - 15 == room_after(entries, BEGAN + 1)
    entries.append(told(BEGAN + 3, *(over(number, 2.0) for number in range(1, 11)), process="a"))
    entries += [told(BEGAN + seconds, process="b") for seconds in (14, 28, 42, 56)]
    assert LIMIT - 15 == room_after(entries, BEGAN + 60.9)
    assert LIMIT - 5 == room_after(entries, BEGAN + 61.1)


def test_what_is_told_twice_counts_once():
    """A process tells again where it does not know whether Redis heard it."""
    entries = [issued(BEGAN, 1, 3), *[told(BEGAN + 1, over(1), over(2), unsent=[3])] * 2]
    assert LIMIT - 2 == room_after(entries, BEGAN + 1)
    assert LIMIT == room_after(entries, BEGAN + 62)


def test_what_was_over_long_ago_and_is_known_to_nobody_changes_nothing():
    """A process that was away for an hour tells of an answer from before: it opens nothing that was closed since."""
    refusal = ToldAnswer(429, {"Retry-After": "5"}, 0.5)
    log = new_log(issued(BEGAN + 3590, 1, 1, "a"), told(BEGAN + 3591, over(1, answer=refusal), process="a"))
    log.read(told(BEGAN + 3600, over(7, 3500.0, answer=answer(BEGAN + 100, 50), sent_ago=3501.0)))
    assert not log.limiter.cooldown.fully_open


def test_what_redis_did_not_issue_is_learned_when_it_is_told():
    """Permits that a process took by itself, or that a Redis without its data is told of."""
    entries = [told(BEGAN, over(7, 20.0, sent_ago=21.0), ToldRequest(8, 1.0, None, ROUTE, None))]
    assert LIMIT - 2 == room_after(entries, BEGAN)
    entries.append(told(BEGAN + 14, over(8)))
    assert LIMIT - 1 == room_after(entries, BEGAN + 41)
    assert LIMIT == room_after(entries, BEGAN + 75)


def test_what_a_dead_process_had_under_way_is_over_a_lease_later():
    """Nobody waits for its answers any longer than Redis keeps its permits."""
    entries = [
        issued(BEGAN, 1, 10, "dead"),
        issued(BEGAN, 1, 1, "alive"),
        told(BEGAN + 14, process="alive"),
        told(BEGAN + 28, over(1), process="alive"),
    ]
    assert LIMIT - 11 == room_after(entries, BEGAN + TIMING.lease + 59)
    assert LIMIT - 1 == room_after(entries, BEGAN + TIMING.lease + 60.1)


def test_nothing_of_another_process_is_taken_for_others_use():
    """What the server has counted before an answer stands in the log before that answer."""
    log = new_log()
    log.read(issued(BEGAN, 1, 20, "a"))
    log.read(issued(BEGAN + 1, 1, 1, "b"))
    log.read(told(BEGAN + 2, over(1, answer=answer(BEGAN + 2, LIMIT - 21)), process="b"))
    assert log.limiter.limits.whole.pace is None
    assert LIMIT - 21 == room(log, BEGAN + 2)


@pytest.mark.parametrize("recovering", [True, False])
def test_what_is_missing_while_the_fleet_recovers_is_not_others_use(recovering):
    """After an outage the server has counted what some processes sent by themselves, and have yet to tell."""
    log = new_log(issued(BEGAN, 1, 1))
    said = over(1, answer=answer(BEGAN + 1, LIMIT - 31))
    log.read(evolve(told(BEGAN + 1, said), recovering=recovering))
    log.read(told(BEGAN + 2, *(over(number, sent_ago=5.0) for number in range(30)), process="late"))
    assert recovering == (room(log, BEGAN + 2) == LIMIT - 31)


def test_all_believe_the_same_however_they_came_to_read_it():
    """One that reads each entry as it comes, and one that joins late and reads all at once, know the same room and pace."""
    draw, at, entries, under_way = random.Random(3), BEGAN, [], []
    for call in range(300):
        at += draw.expovariate(3)
        process = draw.choice("ab")
        entries.append(issued(at, 10 * call, 1, process))
        under_way.append((process, 10 * call))
        if draw.random() < 0.8:
            whose, number = under_way.pop(draw.randrange(len(under_way)))
            said = answer(at, max(0, LIMIT - call % LIMIT - 5), 429 if draw.random() < 0.02 else 200)
            entries.append(told(at + 0.01, over(number, 0.1, answer=said), process=whose))
    early, late = new_log(), new_log(*entries)
    for entry in entries:
        early.read(entry)
        room(early, entry.at)
    for log in (early, late):
        log.forget(at)
    assert room(late, at) == room(early, at)
    assert late.limiter.limits.whole.pace == early.limiter.limits.whole.pace
    assert late.limiter.opens_at == early.limiter.opens_at


@pytest.mark.parametrize("pace", [30.0, 200.0])
def test_the_pace_is_kept_on_average_and_at_most_one_goes_ahead_of_time(pace):
    """However late those come that ask, no minute contains more than the pace and the one ahead."""
    kept, now, taken = Pace(), BEGAN, []
    draw = random.Random(5)
    assert kept.allows(None, now) == float("inf")
    while now < BEGAN + 120:
        number = int(kept.allows(pace, now))
        kept.issue(number, pace, now)
        taken += [now] * number
        now = max(now, kept.next_change(pace)) + draw.expovariate(100)
    assert pace * 2 * 0.97 <= len(taken) <= pace * 2 + 2
