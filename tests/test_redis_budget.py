"""One budget for a fleet, against a real Redis: what is promised while all goes well."""

import asyncio
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

import loaded_python
from hindsight_async import (
    DeadlineExceededError,
    Plan,
    QuotaExceededError,
    RedisBudget,
    RedisRefusedError,
    SessionClosedError,
    WrongEventLoopError,
)
from hindsight_async.rate import Budget
from loaded_python import Program
from permits import PermitBlock
from redis_fleet import (
    LIMIT,
    LONG,
    PATIENCE,
    QUICK,
    ROUTE,
    abandon,
    budget_of,
    depart,
    headers,
    hold,
    key_of,
    most_counted,
    numbers_in,
    permits_in,
    quiet,
    run,
    runner,
    send,
    send_many,
    sent_at_once,
    start_many,
    until,
)
from redis_server import running

ROOMY = evolve(QUICK, window=1.5, claim=3.0)
"""A window that does not end, and claims that do not lapse, while a test gets ready on a busy machine."""

FULL = evolve(QUICK, window=0.3, lease=PATIENCE, call=3.0)
"""What is under way stays so, however busy the machine; once it is over its permits are soon free."""

pytestmark = pytest.mark.servers

FOLDER = str(Path(__file__).parent)


@pytest.fixture
def redis_with_password():
    yield from running("--requirepass", "open sesame", tcp=True)


@pytest.mark.slow
def test_several_budgets_never_hold_more_than_the_limit_in_any_window(redis):
    """Wherever a server counts them, no window ever has more than the plan, and the plan is used."""
    chance = random.Random(5)
    log, windows = [], 3

    async def keep_sending(client):
        while True:
            await send(client, chance.expovariate(50), log=log, lane=chance.choice(["interactive", "bulk"]))

    async def give_up_now_and_then(client):
        while True:
            try:
                async with asyncio.timeout(chance.expovariate(20)):
                    await send(client, 0.01, log=log)
            except TimeoutError:
                continue

    async def main():
        clients = [budget_of(redis).join(10) for _ in range(4)]
        tasks = [asyncio.ensure_future(keep_sending(client)) for client in clients for _ in range(12)]
        tasks += [asyncio.ensure_future(give_up_now_and_then(client)) for client in clients for _ in range(3)]
        await asyncio.sleep(windows * QUICK.window)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await depart(*clients)

    run(main())
    assert most_counted(log, QUICK.window) <= LIMIT
    assert len(log) > LIMIT * windows / 2


@pytest.mark.slow
def test_a_killed_process_costs_its_permits_for_one_window(redis):
    """What it had is free again after its lease and a window, and not before the window is over."""
    killed = Program(["-c", TAKES_ALL, redis.url], stdout=subprocess.PIPE)
    with killed:
        killed.stdout.readline()
        assert LIMIT == permits_in(redis)
        killed.kill()
        killed_at = time.monotonic()

    async def main():
        client = budget_of(redis).join(LIMIT)
        requests = sorted(request.left for request in await send_many(client, LIMIT))
        # The killed process's first request was answered before its death.
        assert requests[1] - killed_at > QUICK.window
        await depart(client)

    run(main())


TAKES_ALL = f"""
import asyncio, sys
sys.path.insert(0, {FOLDER!r})
from redis_fleet import LIMIT, ROUTE, budget_of
from permits import PermitBlock
from types import SimpleNamespace

async def main():
    client = budget_of(SimpleNamespace(url=sys.argv[1])).join(LIMIT)
    first = PermitBlock(client, route=ROUTE)
    async with first:
        pass
    permits = [PermitBlock(client, route=ROUTE) for _ in range(LIMIT - 1)]
    await asyncio.gather(*(permit.__aenter__() for permit in permits))
    print("all taken", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_request_under_way_keeps_its_permit(redis):
    """However long the answer takes, its permit is nobody else's until a window after it."""

    async def main():
        client = budget_of(redis).join(5)
        await send(client)
        slow = asyncio.ensure_future(send(client, 1.3 * (QUICK.lease + QUICK.window)))
        await asyncio.sleep(1.2 * (QUICK.lease + QUICK.window))
        assert 1 == permits_in(redis)
        await slow
        await asyncio.sleep(QUICK.window / 2)
        assert 1 == permits_in(redis)
        await until(lambda: permits_in(redis) == 0)
        await depart(client)

    run(main())


def test_a_lower_limit_holds_for_all_at_once(redis):
    """What one process reads in a header is the other's limit a heartbeat later."""

    async def main():
        budgets = [budget_of(redis), budget_of(redis)]
        clients = [budget.join(5) for budget in budgets]
        await send(clients[1])
        await send(clients[0], said=headers(limit=10))
        await until(lambda: budgets[1].limit == 10)
        assert 10 == budgets[0].limit
        await depart(*clients)

    run(main())


def test_a_higher_limit_is_believed_after_two_answers_that_agree(redis):
    """The second must be to a request that was sent after the first answer, whichever process it came to."""

    async def main():
        budgets = [budget_of(redis, timing=LONG), budget_of(redis, timing=LONG)]
        clients = [budget.join(5) for budget in budgets]
        await send(clients[0])
        await send_many(clients[0], 3, seconds=0.02, said=headers(limit=300))
        await until(lambda: permits_in(redis) == 4)
        await asyncio.sleep(2 * QUICK.heartbeat)
        assert LIMIT == budgets[0].limit
        await send(clients[1], said=headers(limit=300))
        await until(lambda: budgets[0].limit == budgets[1].limit == 300)
        await depart(*clients)

    run(main())


def test_a_route_with_a_small_limit_of_its_own_brakes_only_itself(redis):
    """What one process reads of a route holds for the other, on that route; the rest of the plan is for the others."""

    async def main():
        budgets = [budget_of(redis, timing=LONG) for _ in range(2)]
        clients = [budget.join(LIMIT) for budget in budgets]
        small = "GET /interviews/{id}"
        for client in clients:
            await send(client, said=headers(limit=LIMIT))
        await send(clients[0], route=small, said=headers(limit=10))
        await asyncio.sleep(5 * LONG.telling)
        assert [LIMIT, LIMIT] == [budget.limit for budget in budgets]
        tasks = [asyncio.ensure_future(send(client, route=small)) for client in clients for _ in range(10)]
        await quiet(tasks)
        # A limit that was just learned counts what was sent before, on whichever route.
        assert 10 - 3 == sent_at_once(tasks)
        others = await start_many(clients[1], LIMIT)
        assert LIMIT - 10 == sent_at_once(others)
        await abandon(tasks + others)
        await depart(*clients)

    run(main())


def test_a_429_closes_for_every_process_and_one_probe_opens(redis):
    """Until the named moment nobody sends; then one goes first, among all processes, and the rest follow it."""

    async def main():
        loop = asyncio.get_running_loop()
        budgets = [budget_of(redis, timing=LONG), budget_of(redis, timing=LONG)]
        clients = [budget.join(10) for budget in budgets]
        await send(clients[0])
        await send(clients[1])
        await send(clients[0], status=429, said=headers(Retry_After="1"))
        closed_at = loop.time()
        await until(lambda: budgets[1].snapshot().closed_until is not None)
        log = []
        answered = await asyncio.gather(
            *(send(client, 0.1, said=headers(remaining=50), log=log) for client in clients for _ in range(2))
        )
        first, second = sorted(request.left for request in answered)[:2]
        assert 0.95 < first - closed_at
        assert second >= min(request.answered for request in answered)
        await depart(*clients)

    run(main())


def test_a_429_without_a_word_closes_for_a_pause(redis):
    """A refusal that names no wait closes the cooldown for some seconds, for all."""

    async def main():
        budgets = [budget_of(redis, timing=LONG), budget_of(redis, timing=LONG)]
        clients = [budget.join(10) for budget in budgets]
        await send(clients[0], status=429)
        with pytest.raises(DeadlineExceededError) as refused:
            await send(clients[1], deadline=asyncio.get_running_loop().time() + 1)
        assert 4 < refused.value.retry_after < 6
        await depart(*clients)

    run(main())


def test_a_spent_quota_is_told_to_every_process(redis):
    """A refusal for the month raises QuotaExceededError at once, in the other process as well."""

    async def main():
        clients = [budget_of(redis, timing=LONG).join(10), budget_of(redis, timing=LONG).join(10)]
        ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=20)
        spent = headers(X_Usage_Remaining=0, X_Usage_Period_End=ends_at.isoformat())
        await send(clients[0], status=429, said=spent)
        for client in clients:
            with pytest.raises(
                QuotaExceededError, match=f"quota is used up, until {ends_at:%Y-%m-%d}"
            ) as refused:
                await send(client)
            assert ends_at == refused.value.reset_at
        await depart(*clients)

    run(main())


def test_a_probe_that_dies_blocks_nobody_for_long(redis):
    """After a lease without word from the process that probes, the next may."""

    async def probe():
        probing = asyncio.ensure_future(send(budget_of(redis).join(10), 60.0))
        await until(lambda: permits_in(redis) == 1)
        return probing, time.monotonic()

    async def go_on(since):
        client = budget_of(redis).join(10)
        request = await send(client)
        assert QUICK.lease / 2 < request.left - since
        await depart(client)

    with runner() as dead:
        _probing, since = dead.run(probe())
        run(go_on(since))


def test_programs_outside_the_fleet_are_left_their_part(redis):
    """What Remaining lacks and the fleet cannot have used is not sent on top of, nor faster than what is left of it."""

    async def main():
        budgets = [budget_of(redis, timing=LONG) for _ in range(2)]
        clients = [budget.join(LIMIT) for budget in budgets]
        await send(clients[1])
        await send(clients[0], said=headers(limit=LIMIT, remaining=LIMIT - 2 - 40))
        await send(clients[0], said=headers(limit=LIMIT, remaining=LIMIT - 3 - 40))
        tasks = [await start_many(client, LIMIT) for client in clients]
        # One that is due, and one ahead of time, of both processes together: they leave at the others' pace.
        assert 1 <= sent_at_once(tasks[0] + tasks[1]) <= 2
        assert max(budget.snapshot().free_now for budget in budgets) < LIMIT - 3 - 40
        await abandon(tasks[0] + tasks[1])
        await depart(*clients)

    run(main())


def test_a_single_interactive_call_need_not_keep_the_pace(redis):
    """Beside other programs rows follow each other evenly, and somebody who waits for this very call goes at once."""

    async def main():
        bulk, interactive = (budget_of(redis, timing=LONG).join(LIMIT) for _ in range(2))
        for used in range(1, 4):
            await send(bulk, said=headers(limit=LIMIT, remaining=LIMIT - used - 20))
        await until(lambda: permits_in(redis) == 3)
        rows = [asyncio.ensure_future(send(bulk, lane="bulk")) for _ in range(10)]
        await quiet(rows)
        assert sent_at_once(rows) <= 2
        async with asyncio.timeout(1):
            await send(interactive)
        await abandon(rows)
        await depart(bulk, interactive)

    run(main())


def test_interactive_calls_of_any_process_go_before_bulk_calls_of_any_other(redis):
    """With both waiting for permits to come free, the other process's interactive calls are first."""

    async def main():
        bulk, interactive = (budget_of(redis, timing=ROOMY).join(LIMIT) for _ in range(2))
        # The first permits come free one after another, so that it shows who takes them.
        for _ in range(6):
            await send(bulk)
            await asyncio.sleep(0.03)
        await send_many(bulk, LIMIT - 6)
        later = [asyncio.ensure_future(send(bulk, lane="bulk")) for _ in range(20)]
        await until(lambda: bool(key_of(redis, "bulk")))
        first = await send_many(interactive, 5)
        rest = await asyncio.gather(*later)
        assert max(request.left for request in first) < min(request.left for request in rest)
        await depart(bulk, interactive)

    run(main())


@pytest.mark.slow
def test_bulk_keeps_a_tenth_among_processes_too(redis):
    """However many interactive calls wait elsewhere, bulk calls have their turns among them."""

    async def main():
        bulk, interactive = (budget_of(redis, timing=ROOMY).join(LIMIT) for _ in range(2))
        await send(bulk)
        await send_many(bulk, LIMIT - 1)
        later = [asyncio.ensure_future(send(bulk, lane="bulk")) for _ in range(3)]
        first = await send_many(interactive, LIMIT)
        rest = await asyncio.gather(*later)
        assert max(other.left for other in rest) < max(request.left for request in first)
        await depart(bulk, interactive)

    run(main())


def test_what_a_process_that_stood_still_tells_late_counts(redis):
    """The others wait for the first answer of all, and have it once its process goes on."""

    async def main():
        budget = budget_of(redis, timing=FULL)
        client = budget.join(LIMIT)
        await send(client)
        time.sleep(FULL.window + 0.1)  # noqa: ASYNC251  nothing else may run meanwhile
        over = asyncio.Event()
        requests = [asyncio.ensure_future(hold(client, over)) for _ in range(LIMIT)]
        await until(lambda: budget.snapshot().in_flight == LIMIT)
        over.set()
        await asyncio.gather(*requests)
        await depart(client)

    run(main())


def test_the_claim_of_a_dead_process_vanishes(redis):
    """Bulk calls do not wait for interactive ones that nobody will make any more."""

    async def wait_in_vain():
        waiting = asyncio.ensure_future(send(budget_of(redis, timing=FULL).join(LIMIT)))
        await until(lambda: bool(key_of(redis, "interactive")))
        return waiting

    async def main(dead):
        budget = budget_of(redis, timing=FULL)
        client = budget.join(LIMIT)
        await send(client)
        over = asyncio.Event()
        requests = [asyncio.ensure_future(hold(client, over)) for _ in range(LIMIT)]
        await until(lambda: budget.snapshot().in_flight == LIMIT)
        _waiting = await asyncio.to_thread(dead.run, wait_in_vain())
        over.set()
        await asyncio.gather(*requests)
        await send(client, lane="bulk")
        await depart(client)

    with runner() as dead:
        run(main(dead))


def test_a_deadline_that_cannot_be_met_is_refused_at_once(redis):
    """With the window full for longer than the caller has, it hears so in a round trip, with the seconds to wait."""

    async def main():
        loop = asyncio.get_running_loop()
        full, late = budget_of(redis, timing=LONG).join(LIMIT), budget_of(redis, timing=LONG).join(1)
        await send(full)
        await send_many(full, LIMIT - 1)
        for _ in range(2):
            began = loop.time()
            with pytest.raises(DeadlineExceededError, match="past the deadline") as refused:
                await send(late, deadline=began + 2)
            assert loop.time() - began < 1
            assert 55 < refused.value.retry_after < 61
        await depart(full, late)

    run(main())


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_a_caller_that_is_cancelled_anywhere_takes_no_permit_along(redis, steps):
    """Cancelled after any number of steps of the loop, what it was issued goes back unsent, and others pass."""

    async def main():
        budget = budget_of(redis)
        client = budget.join(5)
        task = asyncio.ensure_future(send(client, 60.0))
        for _ in range(steps):
            await asyncio.sleep(0)
        sent = bool(budget.snapshot().in_flight)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await send(client)
        await until(lambda: permits_in(redis) <= 2)
        assert permits_in(redis) <= 1 + sent
        await depart(client)

    run(main())


@pytest.mark.slow
def test_a_permit_that_grew_too_old_is_not_used(redis):
    """A process that stood still for longer than the lease asks again before it sends."""

    async def main():
        client = budget_of(redis).join(5)
        await send(client)

        async def stand_still():
            async with PermitBlock(client, route=ROUTE):
                time.sleep(1.5 * QUICK.lease)  # noqa: ASYNC251  nothing else may run meanwhile

        (before,) = numbers_in(redis)
        await asyncio.gather(stand_still(), send(client))
        # Two were issued in one reply; the second caller put back its own and asked for another.
        assert {before + 1, before + 3} == numbers_in(redis) - {before}
        await depart(client)

    run(main())


def test_many_callers_share_a_round_trip(redis):
    """What fifty callers want at the same time is one question, and what they give back goes with the next."""

    async def main():
        client = budget_of(redis, timing=LONG).join(50)
        await send(client)
        redis.command("CONFIG", "RESETSTAT")
        await send_many(client, 50)
        stats = redis.command("INFO", "commandstats").decode()
        assert int(stats.split("cmdstat_evalsha:calls=")[1].split(",")[0]) <= 3
        await depart(client)

    run(main())


def test_only_a_hash_of_the_organisation_is_stored_and_not_for_ever(redis):
    """Keys name nobody, lie in one slot of a cluster, and lapse."""

    async def main():
        client = budget_of(redis, organisation="acme corporation").join(5)
        await send(client, said=headers(limit=50))
        await depart(client)

    run(main())
    keys = [key.decode() for key in redis.command("KEYS", "*").split(b"\r\n")[2::2] if key]
    assert len(keys) >= 3
    assert 1 == len({key[key.index("{") : key.index("}")] for key in keys})
    for key in keys:
        assert key.startswith("hindsight:{")
        assert "acme" not in key
        assert int(redis.command("TTL", key)[1:]) > 0


def test_two_organisations_share_nothing(redis):
    """Another organisation's full window is of no consequence."""

    async def main():
        clients = [
            budget_of(redis, organisation=name, timing=LONG).join(LIMIT) for name in ("acme", "globex")
        ]
        for client in clients:
            await send(client)
            await send_many(client, LIMIT - 1)
        await depart(*clients)

    run(main())


def test_what_is_told_when_the_last_session_leaves(redis):
    """Permits come free a window after the answer, the connection is closed, and a session opened anew goes on."""

    async def main():
        budget = budget_of(redis, timing=LONG)
        clients = [budget.join(5), budget.join(5)]
        for client in clients:
            await send_many(client, 5)
        await depart(clients[0])
        # The test's own connection counts, too.
        assert 2 == redis.command("CLIENT", "LIST").count(b" addr=/")
        await depart(clients[1])
        assert 1 == redis.command("CLIENT", "LIST").count(b" addr=/")
        assert 1 == len(asyncio.all_tasks())
        assert 10 == permits_in(redis)
        with pytest.raises(SessionClosedError):
            await send(clients[1])
        anew = budget.join(5)
        await send(anew)
        await depart(anew)
        assert 1 == len(asyncio.all_tasks())

    run(main())


def test_leaving_without_having_sent_anything_is_nothing(redis):
    """A session that was never used has nobody to tell."""

    async def main():
        await depart(budget_of(redis).join(1))

    run(main())


def test_one_loop_after_another(redis):
    """With asyncio.run after asyncio.run the budget moves on, and what was sent still counts."""
    budget = budget_of(redis, timing=LONG)
    client = budget.join(5)
    for sent in (5, 10):
        run(send_many(client, 5))
        run(until(lambda expected=sent: permits_in(redis) == expected))


def test_two_loops_at_once_are_refused(redis):
    """A second running loop is told of the first."""

    async def main():
        client = budget_of(redis).join(5)
        await send(client)
        with pytest.raises(WrongEventLoopError, match="one event loop at a time"):
            await asyncio.to_thread(asyncio.run, send(client))
        await depart(client)

    run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_makes_its_own_connection(redis):
    """After a fork amid requests the child sends under its own name, and the parent goes on undisturbed."""
    code = FORK.format(folder=FOLDER, url=redis.url)
    done = loaded_python.run(["-c", code], capture_output=True, text=True)
    assert ("", "child 1\nparent 3\n") == (done.stderr, done.stdout)
    assert 2 == redis.command("KEYS", "*:call:*").count(b"hindsight")


FORK = """
import asyncio, os, sys, warnings
sys.path.insert(0, {folder!r})
from types import SimpleNamespace
from redis_fleet import ROUTE, budget_of, send, depart
budget = budget_of(SimpleNamespace(url={url!r}))
client = budget.join(2)

async def child():
    await send(client)
    print("child", 1, flush=True)
    await depart(client)

def in_child():
    asyncio._set_running_loop(None)
    asyncio.run(child())
    os._exit(0)

async def main():
    await send(client)
    running = [asyncio.ensure_future(send(client, 0.2)) for _ in range(3)]
    await asyncio.sleep(0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if not pid:
        in_child()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        await asyncio.sleep(0.01)
    await asyncio.gather(*running)
    print("parent", len(running), flush=True)
    await depart(client)

asyncio.run(main())
"""


def test_a_wrong_password_is_a_clear_error_that_does_not_show_it(redis_with_password):
    """Nobody waits for a Redis that will never let it in, and the password is nowhere to be read."""
    for url in (redis_with_password.url, redis_with_password.url.replace("//", "//:wrong-one@")):
        budget = RedisBudget(url, organisation="acme", plan=Plan.ESSENTIALS)

        async def refused(budget=budget):
            client = budget.join(5)
            try:
                with pytest.raises(RedisRefusedError, match="lets nobody in") as error:
                    await send(client)
                assert "wrong-one" not in f"{error.value!r}{error.value}{budget!r}"
            finally:
                await depart(client)

        run(refused())


def test_the_right_password_opens(redis_with_password):
    """A URL with a password and a port works."""
    url = redis_with_password.url.replace("//", "//:open%20sesame@")
    budget = RedisBudget(url, organisation="acme", plan=Plan.ESSENTIALS)
    assert "sesame" not in repr(budget)

    async def main():
        client = budget.join(5)
        await send(client)
        await depart(client)

    run(main())


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (
            TypeError,
            "redis must be a URL .* or a client of redis.asyncio, not builtins.NoneType",
            {"redis": None},
        ),
        (ValueError, "organisation must be a name", {"organisation": ""}),
        (ValueError, "organisation must be a name", {"organisation": None}),
        (ValueError, "plan must be", {"plan": "huge"}),
        (ValueError, "expected_processes must be at least 1", {"expected_processes": 0}),
        (ValueError, "on_outage must be share or wait", {"on_outage": "panic"}),
    ],
)
def test_wrong_arguments_are_refused_by_name(error, match, options):
    """What makes no sense is said when the budget is made."""
    with pytest.raises(error, match=match):
        RedisBudget(**{"redis": "redis://host", "organisation": "acme", **options})
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        RedisBudget("redis://host", organisation="acme").join(0)


def test_it_is_a_budget_that_can_be_read_before_use():
    """Sessions take it for what it is, and it tells what it expects."""
    budget = RedisBudget("redis://nowhere.example", organisation="acme", plan=Plan.GROWTH)
    assert isinstance(budget, Budget)
    assert 300 == budget.limit == budget.snapshot().limit == budget.snapshot().free_now
    assert "<RedisBudget 300 requests per minute>" == repr(budget)


def test_the_plan_comes_from_the_environment(monkeypatch):
    """As in a session, HINDSIGHT_PLAN says what is not given."""
    monkeypatch.setenv("HINDSIGHT_PLAN", "enterprise")
    assert 1000 == RedisBudget("redis://host", organisation="acme").limit


def test_without_the_extra_the_import_says_what_to_install():
    """The name of the extra is in the error."""
    code = "import sys; sys.modules['redis'] = None; from hindsight_async import RedisBudget"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'hindsight-async[redis]'" in done.stderr
