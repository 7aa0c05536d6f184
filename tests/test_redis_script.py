"""The script by itself: what it costs Redis as permits fill, and what it does not do."""

import re

import pytest
from attrs import define, evolve

from hindsight_async.rate.redis.connection import Connection, OwnConnection, RedisAwayError, keys_of
from hindsight_async.rate.redis.messages import Renewal, SyncReply, SyncRequest, decoded
from hindsight_async.rate.redis.timing import Timing
from redis_fleet import permits_in, run

FEW, MANY = 10, 1000
LIMIT = 2000
CALLS = 300
ROUNDS = 7
TIMING = Timing()
FLAT = {
    "evalsha", "time", "get", "set", "hget", "hset", "hgetall", "hdel", "del", "pexpire",
    "zadd", "zrem", "zcard", "zrange", "zremrangebyscore",
}  # fmt: skip
"""Commands whose cost grows with the logarithm of the permits at most, for the ranges and fields that the script asks for."""

pytestmark = pytest.mark.servers


@define
class Process:
    """One process's side of the talk, without anything behind it."""

    connection: Connection
    request: SyncRequest

    async def call(self, **changes) -> SyncReply:
        """Make one call."""
        self.request = evolve(self.request, call=self.request.call + 1, **changes)
        reply = await self.send(self.request)
        plain = {"interactive": 0, "renewals": (), "unsent": ()}
        self.request = evolve(
            self.request, epoch=reply.epoch, first=self.request.first + reply.issued, **plain
        )
        return reply

    async def send(self, request) -> SyncReply:
        """Send this very request."""
        return decoded(await self.connection.call(keys_of("acme", "p"), request.encoded(TIMING)))

    async def swap(self) -> None:
        """Give one permit back and take another, as in a window that is in use."""
        await self.call(unsent=[self.request.first - 1], interactive=1)


async def with_permits(redis, permits, plan=LIMIT):
    """Have one process take so many permits."""
    redis.command("FLUSHALL")
    process = Process(
        OwnConnection(redis.url, TIMING),
        SyncRequest(process="p", call=0, epoch="", plan=plan, at=0.0, first=1),
    )
    await process.call()
    # The first request goes alone; once it is over the cooldown is open.
    await process.call(interactive=1)
    await process.call(renewals=[Renewal(1, 60.0, over=True)])
    assert permits - 1 == (await process.call(interactive=permits - 1)).issued
    return process


def commands(redis):
    """Read what Redis did since the last reading: for each command the calls, and microseconds for each."""
    stats = redis.command("INFO", "commandstats").decode()
    redis.command("CONFIG", "RESETSTAT")
    found = re.findall(r"cmdstat_(\S+?):calls=(\d+),usec=\d+,usec_per_call=([\d.]+)", stats)
    return {name: (int(calls), float(cost)) for name, calls, cost in found}


async def work_of(redis, process, calls, **changes):
    """Count the commands of so many calls."""
    commands(redis)
    for _ in range(calls):
        await (process.call(**changes) if changes else process.swap())
    return {
        name: count
        for name, (count, _) in commands(redis).items()
        if name not in {"info", "config|resetstat"}
    }


def test_the_script_does_the_same_however_many_permits_are_taken(redis):
    """With 1,000 permits taken it issues the very commands that it does with 10, and none that looks at all of them."""

    async def main():
        for options in ({}, {"interactive": 1}):
            seen = []
            for permits in (FEW, MANY):
                # Without a swap the window is full, and the reply says when it will not be.
                process = await with_permits(redis, permits, plan=permits if options else LIMIT)
                await process.swap()
                seen.append(await work_of(redis, process, 20, **options))
                await process.connection.close()
            assert seen[0] == seen[1]
            assert set(seen[0]) <= FLAT

    run(main())


def test_a_call_that_was_delayed_does_nothing(redis):
    """What a process asked for before something newer is not issued any more."""

    async def main():
        process = await with_permits(redis, FEW)
        delayed = evolve(process.request, call=process.request.call + 1, interactive=1)
        process.request = delayed
        assert 1 == (await process.call(interactive=1)).issued
        with pytest.raises(RedisAwayError, match="answer was lost"):
            await process.send(delayed)
        assert FEW + 1 == permits_in(redis)
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
