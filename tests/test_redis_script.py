"""The script by itself: what it costs Redis as permits fill, and what it does not do."""

import re

import pytest
from attrs import define, evolve

from hindsight_async.rate.redis.connection import Connection, OwnConnection, RedisAwayError, keys_of
from hindsight_async.rate.redis.log_entries import ToldAnswer, ToldRequest
from hindsight_async.rate.redis.messages import (
    FIRST_POSITION,
    Group,
    Renewal,
    SyncReply,
    SyncRequest,
    decoded,
)
from hindsight_async.rate.redis.timing import Timing
from redis_fleet import permits_in, run

FEW, MANY = 10, 1000
LIMIT = 2000
PLENTY = 10**6
CALLS = 300
ROUNDS = 5
TIMING = Timing()
FLAT = {
    "evalsha", "time", "get", "set", "hset", "hgetall", "pexpire",
    "zadd", "zrem", "zcard", "zrange", "zremrangebyscore", "xadd", "xrange", "xrevrange",
}  # fmt: skip
"""Commands whose cost grows with the logarithm of the permits at most, for the ranges and fields that the script asks for."""

pytestmark = pytest.mark.servers


@define
class Process:
    """One process's side of the talk, without anything behind it."""

    connection: Connection
    request: SyncRequest

    async def call(self, wanted=0, **changes) -> SyncReply:
        """Make one call."""
        groups = [Group("", wanted, 0, PLENTY)] if wanted else []
        request = self.request = evolve(self.request, call=self.request.call + 1, groups=groups, **changes)
        reply = await self.send(request)
        if reply.kind == "another epoch":
            self.request = evolve(request, epoch=reply.epoch, position=FIRST_POSITION)
            return await self.call(wanted, **changes)
        self.request = evolve(
            request,
            first=request.first + sum(now for now, _ in reply.groups),
            position=reply.position or request.position,
            answered=request.call,
            alarms_others=False,
            renewals=(),
            unsent=(),
        )
        return reply

    async def send(self, request) -> SyncReply:
        """Send this very request."""
        keys = keys_of("acme", request.process)
        return decoded(await self.connection.call(keys, request.encoded(TIMING)))

    async def swap(self) -> None:
        """Give one permit back and take another, as in a window that is in use."""
        await self.call(1, unsent=[self.request.first - 1])


def process_of(redis, name="p", limit=LIMIT):
    """Make one process that may have as many permits as there are."""
    request = SyncRequest(process=name, call=0, epoch="", at=0.0, first=1, limit=limit, allowed=PLENTY)
    return Process(OwnConnection(redis.url, TIMING), request)


async def with_permits(redis, permits, plan=LIMIT):
    """Have one process take so many permits."""
    redis.command("FLUSHALL")
    process = process_of(redis, limit=plan)
    assert permits == issued(await process.call(permits))
    return process


def issued(reply):
    """Count the permits of a reply."""
    return sum(now for now, _ in reply.groups)


def commands(redis):
    """Read what Redis did since the last reading: for each command the calls, and microseconds for each."""
    stats = redis.command("INFO", "commandstats").decode()
    redis.command("CONFIG", "RESETSTAT")
    found = re.findall(r"cmdstat_(\S+?):calls=(\d+),usec=\d+,usec_per_call=([\d.]+)", stats)
    return {name: (int(calls), float(cost)) for name, calls, cost in found}


async def work_of(redis, process, calls, wanted=0):
    """Count the commands of so many calls."""
    commands(redis)
    for _ in range(calls):
        await (process.call(wanted) if wanted else process.swap())
    return {
        name: count
        for name, (count, _) in commands(redis).items()
        if name not in {"info", "config|resetstat"}
    }


def test_what_is_told_too_late_to_count_makes_room_at_once(redis):
    """A process that was away for long tells of a full window, and has all of it in the same call."""

    async def main():
        process = await with_permits(redis, FEW, plan=FEW)
        late = [Renewal(number, 0.0, over=True, told=None) for number in range(1, FEW + 1)]
        assert FEW == issued(await process.call(FEW, renewals=late))
        await process.connection.close()

    run(main())


def test_the_script_does_the_same_however_many_permits_are_taken(redis):
    """With 1,000 permits taken it issues the very commands that it does with 10, and none that looks at all of them."""

    async def main():
        for wanted in (0, 1):
            seen = []
            for permits in (FEW, MANY):
                # Without a swap the window is full, and the reply says when it will not be.
                process = await with_permits(redis, permits, plan=permits if wanted else LIMIT)
                await process.swap()
                seen.append(await work_of(redis, process, 20, wanted))
                await process.connection.close()
            assert seen[0] == seen[1]
            assert set(seen[0]) <= FLAT

    run(main())


def test_a_call_that_was_delayed_does_nothing(redis):
    """What a process asked for before something newer is not issued any more."""

    async def main():
        process = await with_permits(redis, FEW)
        delayed = evolve(process.request, call=process.request.call + 1, groups=[Group("", 1, 0, PLENTY)])
        assert 1 == issued(await process.call(1))
        with pytest.raises(RedisAwayError, match="answer was lost"):
            await process.send(delayed)
        assert FEW + 1 == permits_in(redis)
        await process.connection.close()

    run(main())


def test_two_processes_never_share_the_same_room(redis):
    """What both have worked out by the same log is issued once, to whoever comes first."""

    async def main():
        one, two = process_of(redis, "one"), process_of(redis, "two")
        so_far = (await one.call()).issued
        assert so_far == (await two.call()).issued
        assert 3 == issued(await one.call(3, allowed=so_far + 4))
        late = await two.call(3, allowed=so_far + 4)
        assert 1 == issued(late)
        # And it hears of those of the other one, in the same reply.
        assert ["one", "two"] == [entry.process for entry in late.entries]
        for process in (one, two):
            await process.connection.close()

    run(main())


def test_who_has_not_read_of_a_refusal_is_issued_nothing(redis):
    """A 429 that one process tells of stops another's next request, although that was put together before."""

    async def main():
        one, two = process_of(redis, "one"), process_of(redis, "two")
        assert 1 == issued(await one.call(1))
        await two.call()
        refused = ToldRequest(1, 0.1, 0.0, "POST /interviews", ToldAnswer(429, {}, 0.5))
        await one.call(renewals=[Renewal(1, 60.0, over=True, told=refused)], alarms_others=True)
        reply = await two.call(1)
        assert 0 == issued(reply)
        assert [refused] == [told for entry in reply.entries for told in entry.requests]
        assert 1 == issued(await two.call(1, alarms=reply.alarms))
        for process in (one, two):
            await process.connection.close()

    run(main())


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumped_is_noticed_before_anything_lapses(redis, jump):
    """Where Redis's clock does not show what it should, nothing is issued and nothing forgotten; then all begins anew."""

    async def main():
        process = await with_permits(redis, FEW)
        clock = (await process.call()).clock
        request = evolve(process.request, call=process.request.call + 1, clock=clock - jump)
        reply = await process.send(request)
        assert "another time" == reply.kind
        assert FEW == permits_in(redis)
        reply = await process.send(evolve(request, call=request.call + 1, clock=None, discards=True))
        assert "another epoch" == reply.kind
        await process.connection.close()

    run(main())


@pytest.mark.slow
def test_a_thousand_permits_cost_redis_less_than_twice_what_ten_do(redis):
    """By Redis's own count of its time in the script, at its best of several rounds."""

    async def main():
        best = {FEW: float("inf"), MANY: float("inf")}
        for _ in range(ROUNDS):
            for permits in (FEW, MANY):
                process = await with_permits(redis, permits)
                await process.swap()
                commands(redis)
                for _ in range(CALLS):
                    await process.swap()
                best[permits] = min(best[permits], commands(redis)["evalsha"][1])
                await process.connection.close()
        print(best)
        assert best[MANY] < 2 * best[FEW]

    run(main())
