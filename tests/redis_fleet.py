"""What the tests of the fleet's budget share: short windows in real time, and requests without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from attrs import define
from multidict import CIMultiDict, CIMultiDictProxy

from hindsight_async import Plan, RedisBudget
from hindsight_async.rate.redis.timing import Timing
from permits import PermitBlock

ROUTE = "POST /interviews"
QUICK = Timing(
    window=1.0,
    lease=1.0,
    heartbeat=0.05,
    idle_heartbeat=0.1,
    impatience=0.05,
    claim=0.2,
    call=0.3,
    retry=0.02,
    recovery=0.2,
)
"""A window, and everything that goes with it, that does not keep anybody waiting."""

LONG = Timing(heartbeat=0.05, impatience=0.05, call=0.3, retry=0.02, recovery=0.2)
"""Windows of a minute, so that none ends in a test; and no patience with a Redis that is away."""

LIMIT = Plan.ESSENTIALS.requests_per_minute

DEBUG = False
"""Whether event loops look more closely, at twice the cost: conftest sets it as pytest's option asyncio_debug is."""

PATIENCE = 30.0
"""Real seconds after which a test counts as hung."""


def runner():
    """Return what runs coroutines in real time, which is Redis's."""
    return asyncio.Runner(debug=DEBUG)


def run(coroutine):
    """Run in real time, for as long as patience lasts."""

    async def bounded():
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    with runner() as running:
        return running.run(bounded())


def budget_of(server, **options):
    """Make one more process's budget."""
    return RedisBudget(
        server.url, **{"organisation": "acme", "plan": Plan.ESSENTIALS, "timing": QUICK, **options}
    )


def headers(**named):
    """Name headers as the server does: `limit=60` for X-RateLimit-Limit, `Retry_After=5` for Retry-After."""
    short = {"limit": "X-RateLimit-Limit", "remaining": "X-RateLimit-Remaining", "reset": "X-RateLimit-Reset"}
    found = {short.get(name, name.replace("_", "-")): str(value) for name, value in named.items()}
    return CIMultiDictProxy(CIMultiDict({"Date": formatdate(usegmt=True), **found}))


@define
class Request:
    """One that was let go: when, and when its answer came."""

    left: float
    answered: float = float("inf")


async def send(client, seconds=0.0, *, status=200, said=None, log=None, **asked):
    """Send one request that takes so many seconds."""
    clock = asyncio.get_running_loop().time
    async with PermitBlock(client, **{"route": ROUTE, **asked}) as permit:
        request = Request(clock())
        if log is not None:
            log.append(request)
        try:
            if seconds:
                await asyncio.sleep(seconds)
        finally:
            request.answered = clock()
        permit.answered(status, said if said is not None else headers())
    return request


async def hold(client, over):
    """Send one request that is answered with nothing once the event is set."""
    async with PermitBlock(client, route=ROUTE):
        await over.wait()


async def send_many(client, number, **options):
    """Send so many at the same time."""
    return await asyncio.gather(*(send(client, **options) for _ in range(number)))


def sent_at_once(tasks):
    """Count those that did not have to wait."""
    return sum(task.done() for task in tasks)


async def quiet(tasks):
    """Wait until none of them has left for a number of looks, not seconds: the machine may have been at a standstill."""
    looks = 0
    while looks < 30:
        sent = sent_at_once(tasks)
        await asyncio.sleep(0.01)
        looks = looks + 1 if sent_at_once(tasks) == sent else 0


async def start_many(client, number):
    """Have so many callers come, and give those that may leave the time to."""
    tasks = [asyncio.ensure_future(send(client)) for _ in range(number)]
    await quiet(tasks)
    return tasks


async def abandon(tasks):
    """Let go of those that still wait."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def most_counted(requests, window):
    """Count the most requests that a server can have counted in one window, wherever between leaving and answer."""
    return max(
        sum(1 for other in requests if other.answered >= one.answered and other.left < one.answered + window)
        for one in requests
    )


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], patience=5.0):
    """Wait for something to come true."""
    async with asyncio.timeout(patience):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.002)


async def depart(*clients):
    """Close what a test has opened."""
    for client in clients:
        client.close()
        await client.leave()


def key_of(server, part):
    """Find the one key of this kind."""
    keys = server.command("KEYS", f"hindsight:*:{part}").split(b"\r\n")
    return keys[2].decode() if len(keys) > 2 else ""


def permits_in(server):
    """Count the permits that Redis has."""
    return int(server.command("ZCARD", key_of(server, "permits") or "none")[1:])


def numbers_in(server):
    """Tell the numbers of the permits that Redis has, of all processes."""
    members = server.command("ZRANGE", key_of(server, "permits"), "0", "-1").split(b"\r\n")[2::2]
    return {int(member.split(b":")[1]) for member in members}


def seconds_left(server):
    """Tell for how long Redis will keep each permit, by its own clock."""
    seconds, microseconds = server.command("TIME").split(b"\r\n")[2::2]
    now = int(seconds) + int(microseconds) / 1e6
    scored = server.command("ZRANGE", key_of(server, "permits"), "0", "-1", "WITHSCORES")
    return [float(score) / 1000 - now for score in scored.split(b"\r\n")[4::4]]


def knows_all_are_over(server, window):
    """Tell whether Redis was told that no request is under way: no permit has more than a window left."""
    return max(seconds_left(server)) < window + 1
