"""One budget for a fleet while its Redis is away, comes back, or has lost its data."""

import asyncio
import logging
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve

from hindsight_async import (
    DeadlineExceededError,
    Delivery,
    HindsightSession,
    RedisRefusedError,
    RetryPolicy,
    UpdateInterview,
)
from hindsight_async.rate.redis.messages import CLOCK_TOLERANCE
from hindsight_async.rate.redis.timing import Timing
from permits import PermitBlock
from raw_server import raw_server
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
    knows_all_are_over,
    permits_in,
    quiet,
    run,
    seconds_left,
    send,
    send_many,
    sent_at_once,
    start_many,
    until,
)
from redis_server import LOST, redis_proxy

pytestmark = pytest.mark.servers


def away(budget):
    """Make the question whether the budget has noticed."""
    return lambda: budget.redis_is_away


def back(budget):
    """Make the question whether the budget has noticed."""
    return lambda: not budget.redis_is_away


def is_told(redis, part, field):
    """Tell whether Redis has heard of it."""
    return redis.command("HEXISTS", key_of(redis, part) or "none", field) == b":1\r\n"


def test_what_was_learned_before_a_loss_is_not_held_against_the_fleet(redis):
    """An answer from before the loss, told after it, makes nobody believe in programs outside the fleet."""

    async def main():
        budget = budget_of(redis, timing=LONG)
        client = budget.join(LIMIT)
        await send(client)
        await send_many(client, 20)
        permit = PermitBlock(client, route="GET /interviews/{id}")
        async with permit:
            redis.kill()
            redis.start()
            permit.answered(200, headers(limit=LIMIT, remaining=LIMIT - 22))
        # Which limit the answer named is told together with how much was used.
        await until(lambda: is_told(redis, "state", "limits"))
        assert LIMIT - 22 == budget.snapshot().free_now
        await depart(client)

    run(main())


def test_a_share_goes_on_while_redis_is_away(redis, caplog):
    """The process has its part of the plan, with what it has sent counted; one warning when it goes, one on its return."""
    caplog.set_level(logging.WARNING, "hindsight_async.rate")

    async def main():
        budget = budget_of(redis, timing=LONG, expected_processes=3)
        client = budget.join(LIMIT)
        await send_many(client, 5)
        redis.kill()
        await until(away(budget))
        assert LIMIT // 3 == budget.limit
        tasks = await start_many(client, LIMIT)
        assert LIMIT // 3 - 5 == sent_at_once(tasks)
        await abandon(tasks)
        redis.start()
        await until(back(budget))
        await until(lambda: permits_in(redis) == LIMIT // 3)
        assert LIMIT == budget.limit
        await depart(client)

    run(main())
    records = [record for record in caplog.records if record.name == "hindsight_async.rate"]
    assert ["away", "back"] == [record.message.split()[2].rstrip(":") for record in records]
    assert "20 requests per minute of its own" in records[0].message


def test_a_full_window_is_not_sent_on_top_of(redis):
    """A process that has little of a window that others have filled takes next to nothing at first."""

    async def main():
        greedy, modest = (budget_of(redis, timing=LONG) for _ in range(2))
        clients = [greedy.join(LIMIT), modest.join(LIMIT)]
        await send(clients[1])
        await send_many(clients[0], LIMIT - 7)
        # Six are left, of which each may count on three once it knows.
        await until(lambda: {6} == {budget.snapshot().free_now for budget in (greedy, modest)})
        redis.kill()
        await until(lambda: away(greedy)() and away(modest)())
        tasks = [await start_many(client, 20) for client in clients]
        assert 0 == sent_at_once(tasks[0])
        assert 3 == sent_at_once(tasks[1])
        await abandon(tasks[0] + tasks[1])
        await depart(*clients)

    run(main())


@pytest.mark.slow
def test_what_is_under_way_when_redis_goes_counts(redis):
    """Requests that left before the outage are part of the share, and what their answers say is obeyed."""

    async def main():
        budget = budget_of(redis, timing=LONG, expected_processes=4)
        client = budget.join(LIMIT)
        await send(client)
        permits = [PermitBlock(client, route=ROUTE) for _ in range(10)]
        for permit in permits:
            await permit.__aenter__()
        redis.kill()
        await until(away(budget))
        # On its own, too, the process sends nothing before one answer has come.
        tasks = await start_many(client, LIMIT)
        assert 0 == sent_at_once(tasks)
        await permits[0].__aexit__(None, None, None)
        await quiet(tasks)
        assert LIMIT // 4 - 11 == sent_at_once(tasks)
        assert 0 == budget.snapshot().free_now
        permits[1].answered(429, headers(Retry_After="40"))
        assert budget.snapshot().closed_until is not None
        for permit in permits[1:]:
            await permit.__aexit__(None, None, None)
        await abandon(tasks)
        redis.start()
        await until(lambda: back(budget)() and permits_in(redis) == LIMIT // 4)
        assert budget.snapshot().closed_until is not None
        await depart(client)

    run(main())


def test_a_cooldown_stays_closed_in_an_outage(redis):
    """What the server refused before Redis went away it has not allowed since."""

    async def main():
        budget = budget_of(redis, timing=LONG)
        client = budget.join(5)
        await send(client, status=429, said=headers(Retry_After="40"))
        await until(lambda: is_told(redis, "state", "closed_until"))
        redis.kill()
        await until(away(budget))
        with pytest.raises(DeadlineExceededError) as refused:
            await send(client, deadline=asyncio.get_running_loop().time() + 5)
        assert 35 < refused.value.retry_after < 45
        await depart(client)

    run(main())


def test_the_budget_moves_to_another_loop_in_an_outage(redis):
    """The share is this process's own, whichever loop it runs."""
    budget = budget_of(redis, timing=LONG, expected_processes=4)
    client = budget.join(LIMIT)

    async def first():
        await send(client)
        redis.kill()
        await until(away(budget))
        await send(client)

    async def second():
        tasks = await start_many(client, LIMIT)
        assert LIMIT // 4 - 2 == sent_at_once(tasks)
        await abandon(tasks)
        await depart(client)

    run(first())
    run(second())


@pytest.mark.parametrize("on_outage", ["share", "wait"])
def test_a_redis_that_comes_back_with_another_password(redis, on_outage):
    """A process that goes on alone goes on; one that waits hears why it waits in vain."""

    async def main():
        budget = budget_of(redis, timing=LONG, on_outage=on_outage)
        client = budget.join(5)
        await send(client)
        redis.kill()
        await until(away(budget))
        redis.options += ["--requirepass", "new"]
        redis.start()
        if on_outage == "share":
            await send(client)
            # Time enough to be turned down some times.
            await asyncio.sleep(10 * LONG.retry)
            redis.kill()
            del redis.options[-2:]
            redis.start()
            await until(lambda: back(budget)() and permits_in(redis) == 2)
        else:
            await asyncio.sleep(2 * LONG.retry)
            await until(back(budget))
            with pytest.raises(RedisRefusedError, match="lets nobody in"):
                await send(client)
        await depart(client)

    run(main())


def configure(redis, **options):
    """Set options of a server that runs."""
    for name, value in options.items():
        redis.command("CONFIG", "SET", name.replace("_", "-"), value)


@contextmanager
def configured(redis, *, mended, **options):
    """Set options of a server that runs, and later others."""
    configure(redis, **options)
    yield
    configure(redis, **mended)


@contextmanager
def out_of_memory(redis):
    with configured(redis, maxmemory="1", mended={"maxmemory": "0"}):
        yield


@contextmanager
def without_replicas(redis):
    with configured(redis, min_replicas_to_write="1", mended={"min_replicas_to_write": "0"}):
        yield


@contextmanager
def a_replica(redis):
    redis.command("REPLICAOF", "127.0.0.1", "1")
    yield
    redis.command("REPLICAOF", "NO", "ONE")


@contextmanager
def a_replica_without_its_master(redis):
    with (
        configured(redis, replica_serve_stale_data="no", mended={"replica_serve_stale_data": "yes"}),
        a_replica(redis),
    ):
        yield


@contextmanager
def unable_to_save(redis):
    in_its_place = Path(redis.folder.name, "dump.rdb")
    Path(in_its_place, "full").mkdir(parents=True)
    with configured(redis, save="3600 1", mended={"save": ""}):
        redis.command("BGSAVE")
        yield
        Path(in_its_place, "full").rmdir()
        in_its_place.rmdir()
        redis.command("SAVE")


@contextmanager
def meanwhile(redis, *words):
    """Have one connection wait for a command that takes long."""
    waiting = threading.Thread(target=redis.command, args=words)
    waiting.start()
    yield
    waiting.join()


@contextmanager
def busy(redis):
    configure(redis, lua_time_limit="10")
    with meanwhile(redis, "EVAL", "while true do end", "0"):
        yield
        redis.command("SCRIPT", "KILL")


@contextmanager
def loading(redis):
    redis.command("DEBUG", "POPULATE", "1000")
    configure(redis, key_load_delay="1000", loading_process_events_interval_bytes="1024")
    with meanwhile(redis, "DEBUG", "RELOAD"):
        yield
    configure(redis, key_load_delay="0")


@contextmanager
def full_of_clients(redis):
    with socket.socket(socket.AF_UNIX) as only:
        only.connect(str(redis.socket))
        for command in (b"CONFIG SET maxclients 1", b"CLIENT KILL TYPE normal SKIPME yes"):
            only.sendall(command + b"\r\n")
            only.recv(100)
        yield
        only.sendall(b"CONFIG SET maxclients 100\r\n")
        only.recv(100)


@pytest.mark.parametrize(
    ("unable", "why"),
    [
        (out_of_memory, "used memory > 'maxmemory'"),
        (without_replicas, "Not enough good replicas"),
        (a_replica, "read only replica"),
        (a_replica_without_its_master, "Link with MASTER is down"),
        (unable_to_save, "unable to persist to disk"),
        (busy, "busy running a script"),
        (loading, "loading the dataset"),
        (full_of_clients, ""),
    ],
)
def test_a_redis_that_cannot_serve_for_now_counts_as_away(redis, caplog, unable, why):
    """Whatever time, a failover or an operator will heal refuses nobody: the process goes on alone, and then returns."""
    caplog.set_level(logging.WARNING, "hindsight_async.rate")
    redis.kill()
    redis.options += ["--enable-debug-command", "yes"]
    redis.start()

    async def main():
        budget = budget_of(redis, timing=LONG)
        client = budget.join(5)
        await send(client)
        with unable(redis):
            await until(away(budget))
            await send(client)
        await until(back(budget))
        await send(client)
        await until(lambda: permits_in(redis) == 3)
        await depart(client)

    run(main())
    told = next(record.message for record in caplog.records if record.name == "hindsight_async.rate")
    assert why in told
    assert "goes on with 60 requests per minute of its own" in told


IN_A_SCRIPT = "ERR Error running script (call to f_0123): @user_script:33: @user_script: 33: "
"""Before version 7 Redis puts this in front of what a command in a script is told."""


@pytest.mark.parametrize(
    "line",
    [
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "LOADING Redis is loading the dataset in memory",
        "ERR max number of clients reached",
        "ERR max number of clients + cluster connections reached",
        IN_A_SCRIPT + "-OOM command not allowed when used memory > 'maxmemory'.",
        IN_A_SCRIPT + "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to",
        IN_A_SCRIPT + "-READONLY You can't write against a read only replica.",
        IN_A_SCRIPT + "-NOREPLICAS Not enough good replicas to write.",
    ],
)
def test_what_redis_says_while_it_cannot_serve_is_an_outage(redis, line):
    """The same of replies that are hard to bring about, and of those of older versions."""

    async def main():
        async with redis_proxy(redis) as proxy:
            budget = budget_of(proxy, timing=LONG)
            client = budget.join(5)
            await send(client)
            proxy.answers.extend([b"-" + line.encode()] * 1000)
            await until(away(budget))
            await send(client)
            proxy.answers.clear()
            await until(back(budget))
            await depart(client)

    run(main())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("NOPERM this user has no permissions to run the 'evalsha' command", "no permissions to run"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "wrong kind of value"),
        (IN_A_SCRIPT + "WRONGTYPE Operation against a key holding the wrong kind", "wrong kind"),
        ("ERR unknown command 'EVALSHA', with args beginning with:", "unknown command"),
        ("BUSYKEY Target key name already exists.", "BUSYKEY"),
        ("ERR the word MISCONF alone is no code", "alone is no code"),
        ("MOVED 1234 127.0.0.1:7001", "one node of a cluster: give RedisBudget a redis.asyncio.RedisCluster"),
        ("NOAUTH Authentication required.", "lets nobody in"),
    ],
)
def test_what_only_a_person_can_mend_is_a_refusal(redis, line, told):
    """Callers hear at once what Redis says, and go on when it was mended."""

    async def main():
        async with redis_proxy(redis) as proxy:
            budget = budget_of(proxy, timing=LONG)
            client = budget.join(5)
            await send(client)
            proxy.answers.extend([b"-" + line.encode()] * 1000)
            with pytest.raises(RedisRefusedError, match=told):
                await send(client)
            assert not budget.redis_is_away
            proxy.answers.clear()
            await asyncio.sleep(2 * LONG.retry)
            await send(client)
            await depart(client)

    run(main())


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("~other:* +@all", "no permissions to access one of the keys"),
        ("~* +@all -zadd", "can't run this command"),
        ("~* +@all -eval -evalsha", "no permissions to run the 'eval"),
        ("~* +@all", "DB index is out of range"),
    ],
)
def test_a_user_who_lacks_a_right_is_told_so(redis, rules, told):
    """A key, a command of the script, the script or a database that this user may not use is no outage."""
    redis.command("ACL", "SETUSER", "jane", "on", ">secret", *rules.split())

    async def main():
        database = "?db=99" if "DB" in told else ""
        server = type("Server", (), {"url": f"unix://jane:secret@{redis.socket}{database}"})
        client = budget_of(server, timing=LONG).join(5)
        with pytest.raises(RedisRefusedError, match=told) as refused:
            await send(client)
        assert "secret" not in str(refused.value)
        await depart(client)

    try:
        run(main())
    finally:
        redis.command("ACL", "DELUSER", "jane")


def test_a_fleet_that_never_reached_redis_sends_at_most_the_plan(redis):
    """Where nobody said how many processes there are and Redis never did, each takes a tenth of the plan."""
    redis.kill()

    async def main():
        timing = evolve(LONG, retry=PATIENCE)
        clients = [budget_of(redis, timing=timing).join(LIMIT) for _ in range(10)]
        tasks = [asyncio.ensure_future(send(client)) for client in clients for _ in range(LIMIT // 3)]
        await quiet(tasks)
        assert LIMIT == sent_at_once(tasks)
        await abandon(tasks)
        await depart(*clients)

    run(main())


def test_a_known_number_of_processes_shares_the_plan_without_a_word_from_redis(redis):
    """With `expected_processes` each has its part from the start."""
    redis.kill()

    async def main():
        budget = budget_of(redis, timing=LONG, expected_processes=2)
        client = budget.join(LIMIT)
        tasks = await start_many(client, LIMIT)
        assert LIMIT // 2 == budget.limit == sent_at_once(tasks)
        await abandon(tasks)
        await depart(client)

    run(main())


def test_a_key_that_is_something_else_is_a_clear_error(redis):
    """Where another program has written over the permits, callers hear what Redis says."""

    async def main():
        budget = budget_of(redis)
        client = budget.join(5)
        await send(client)
        permits = key_of(redis, "permits")
        redis.command("SET", permits, "mine")
        with pytest.raises(RedisRefusedError, match="Redis refuses"):
            await send(client)
        redis.command("DEL", permits)
        await asyncio.sleep(2 * LONG.retry)
        await send(client)
        await depart(client)

    run(main())


def test_what_left_before_redis_refused_stays_in_doubt(redis):
    """That no further attempt may leave says nothing of what the one before it did."""

    async def spoil_and_drop(connection):
        await connection.request()
        redis.command("SET", key_of(redis, "permits"), "mine")
        connection.drop()

    async def main():
        async with (
            raw_server(spoil_and_drop) as server,
            HindsightSession(
                "key", base_url=server.base_url, budget=budget_of(redis), retry=RetryPolicy(first_pause=0.0)
            ) as hindsight,
        ):
            with pytest.raises(
                RedisRefusedError, match=r"PATCH /interviews/7: .* may have taken effect"
            ) as raised:
                await hindsight.interviews.update(7, UpdateInterview(contact_name="Jane"))
        assert (1, Delivery.UNKNOWN) == (raised.value.attempts, raised.value.delivery)
        assert 1 == len(server.requests)

    run(main())


def test_an_answer_that_makes_no_sense_hangs_nobody(redis, caplog):
    """Those who wait get an error, the failure is logged, and the next try is a new one."""

    async def main():
        budget = budget_of(redis)
        client = budget.join(5)
        await send(client)
        state = key_of(redis, "state")
        redis.command("HSET", state, "closed_until", str(10**15), "closed", "no reason")
        with pytest.raises(RedisRefusedError, match="failed: JSONDecodeError"):
            await send(client)
        redis.command("HDEL", state, "closed_until", "closed")
        await asyncio.sleep(2 * LONG.retry)
        await send(client)
        await depart(client)

    run(main())
    assert "the task that speaks to Redis failed" in caplog.text


def test_a_redis_that_was_never_there_does_not_stop_a_share(redis):
    """A process that starts while Redis is away has its part of the plan too."""
    redis.kill()

    async def main():
        budget = budget_of(redis, timing=LONG, expected_processes=4)
        client = budget.join(LIMIT)
        tasks = await start_many(client, LIMIT)
        assert LIMIT // 4 == sent_at_once(tasks)
        await abandon(tasks)
        await depart(client)

    run(main())


def test_as_many_processes_as_were_seen_share_the_plan(redis):
    """Nobody has to say how many there are."""

    async def main():
        budgets = [budget_of(redis, timing=LONG) for _ in range(3)]
        clients = [budget.join(1) for budget in budgets]
        for client in clients:
            await send(client)
        await asyncio.sleep(2 * LONG.heartbeat)
        redis.kill()
        for budget in budgets:
            await until(away(budget))
            assert LIMIT // 3 == budget.limit
        await depart(*clients)

    run(main())


def test_who_would_rather_wait_waits_within_the_deadline(redis):
    """With "wait" nothing is sent, deadlines are kept to, and those without one go on when Redis is back."""

    async def main():
        loop = asyncio.get_running_loop()
        budget = budget_of(redis, on_outage="wait")
        client = budget.join(5)
        await send(client)
        redis.kill()
        await until(away(budget))
        patient = asyncio.ensure_future(send(client))
        deadline = loop.time() + 0.1
        with pytest.raises(DeadlineExceededError) as refused:
            await send(client, deadline=deadline)
        assert loop.time() >= deadline - QUICK.retry
        assert 0 <= refused.value.retry_after <= 2 * LONG.retry
        assert not patient.done()
        redis.start()
        await patient
        await depart(client)

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("on_outage", ["share", "wait"])
def test_a_redis_that_answers_nothing_hangs_nobody(redis, on_outage):
    """Connections that are taken and never answered count as away, and calls either go on or keep their deadline."""

    async def main():
        loop = asyncio.get_running_loop()
        budget = budget_of(redis, on_outage=on_outage)
        client = budget.join(5)
        await send(client)
        redis.freeze()
        try:
            call = send(client, deadline=loop.time() + 1.5)
            if on_outage == "share":
                await call
            else:
                with pytest.raises(DeadlineExceededError):
                    await call
        finally:
            redis.thaw()
        await until(back(budget))
        await send(client)
        # What was asked for before the freeze, and done after it, has been given back.
        await until(lambda: permits_in(redis) <= 3)
        await depart(client)

    run(main())


def test_what_was_issued_in_a_reply_that_got_lost_goes_back(redis):
    """A question that Redis answers when nobody listens any more costs no permit."""

    async def main():
        budget = budget_of(redis, timing=LONG, on_outage="wait")
        client = budget.join(5)
        await send(client)
        redis.freeze()
        try:
            with pytest.raises(DeadlineExceededError):
                await send(client, deadline=asyncio.get_running_loop().time() + 2 * LONG.call)
        finally:
            redis.thaw()
        await until(back(budget))
        await send(client)
        await until(lambda: permits_in(redis) == 2)
        await depart(client)

    run(main())


@pytest.mark.slow
def test_what_was_under_way_on_a_loop_that_is_gone_is_over(redis):
    """Its permit is renewed no more, and comes free a window later."""
    budget = budget_of(redis)
    client = budget.join(5)
    cut_off = PermitBlock(client, route=ROUTE)
    run(cut_off.__aenter__())

    async def go_on():
        await send(client)
        assert 2 == permits_in(redis)
        await until(lambda: permits_in(redis) == 0)
        await depart(client)

    run(go_on())


def test_a_429_in_an_outage_closes_for_all_on_return(redis):
    """The process that was refused keeps to it at once, the others when Redis is back."""

    async def main():
        budgets = [budget_of(redis, timing=LONG), budget_of(redis, timing=LONG)]
        clients = [budget.join(5) for budget in budgets]
        for client in clients:
            await send(client)
        redis.kill()
        for budget in budgets:
            await until(away(budget))
        await send(clients[0], status=429, said=headers(Retry_After="50"))
        assert budgets[0].snapshot().closed_until is not None
        assert budgets[1].snapshot().closed_until is None
        with pytest.raises(DeadlineExceededError):
            await send(clients[0], deadline=asyncio.get_running_loop().time() + 5)
        redis.start()
        await until(lambda: back(budgets[1])() and budgets[1].snapshot().closed_until is not None)
        await depart(*clients)

    run(main())


def test_a_redis_that_lost_its_data_is_told_what_is_held(redis):
    """With its next request each process tells all its permits, also what is under way; nobody sends on top of it."""

    async def main():
        budgets = [budget_of(redis, timing=LONG) for _ in range(2)]
        clients = [budget.join(LIMIT) for budget in budgets]
        await send(clients[0])
        under_way = [asyncio.ensure_future(send(clients[1], 30.0)) for _ in range(10)]
        await until(lambda: budgets[1].snapshot().in_flight == 10)
        await send_many(clients[0], LIMIT - 11)
        assert LIMIT == permits_in(redis)
        redis.command("FLUSHALL")
        await until(lambda: permits_in(redis) == LIMIT)
        late = asyncio.ensure_future(send(clients[0]))
        await asyncio.sleep(2 * LONG.recovery)
        assert not late.done()
        await abandon([late, *under_way])
        await depart(*clients)

    run(main())


def test_nobody_takes_more_than_it_gives_back_until_all_have_told(redis):
    """Just after a loss free permits are only what the others have not told of yet."""

    async def main():
        timing = Timing(heartbeat=0.5, call=0.3, retry=0.02, recovery=3.0)
        slow = budget_of(redis, timing=timing)
        quick = budget_of(redis, timing=timing)
        clients = [slow.join(LIMIT), quick.join(LIMIT)]
        await send(clients[1])
        await send_many(clients[0], LIMIT - 2)
        redis.command("FLUSHALL")
        # Its question comes to an empty Redis, well before the slow one has told it what it holds.
        hasty = asyncio.ensure_future(send_many(clients[1], 20))
        await until(lambda: permits_in(redis) >= LIMIT - 1)
        assert LIMIT >= permits_in(redis)
        await abandon([hasty])
        await depart(*clients)

    run(main())


def test_after_a_loss_each_keeps_to_its_share_for_a_window(redis):
    """What dead processes had sent is known to nobody, so with the number of processes known each takes only its part."""

    async def main():
        budget = budget_of(redis, timing=LONG, expected_processes=4)
        client = budget.join(LIMIT)
        await send(client)
        tasks = await start_many(client, LIMIT)
        assert LIMIT // 4 - 1 == sent_at_once(tasks)
        await abandon(tasks)
        await depart(client)

    run(main())


def test_a_redis_that_lacks_only_the_latest_is_told_again(redis):
    """A replica that takes over without the last writes is found out, and told again of all permits."""

    async def main():
        budget = budget_of(redis, timing=LONG)
        client = budget.join(5)
        await send_many(client, 3)
        await until(lambda: knows_all_are_over(redis, LONG.window))
        permits, call = key_of(redis, "permits"), key_of(redis, "call:*")
        # As it was some calls ago.
        redis.command("ZREMRANGEBYRANK", permits, "1", "-1")
        redis.command("SET", call, "1")
        await until(lambda: permits_in(redis) == 3)
        await depart(client)

    run(main())


@pytest.mark.parametrize("part", ["permits", "log", "state", "call:*"])
def test_a_part_of_the_keys_that_is_lost_is_noticed_before_the_next_grant(redis, part):
    """Whichever of them is gone, each process tells again what it has, and nobody is issued what others have."""

    async def main():
        budgets = [budget_of(redis, timing=LONG) for _ in range(2)]
        clients = [budget.join(LIMIT) for budget in budgets]
        await send(clients[0])
        await send_many(clients[0], LIMIT // 2 - 1)
        await send_many(clients[1], LIMIT // 2)
        await until(lambda: knows_all_are_over(redis, LONG.window))
        before = redis.command("HGET", key_of(redis, "state"), "epoch")
        redis.command("DEL", key_of(redis, part))
        late = [asyncio.ensure_future(send(client)) for client in clients]
        await until(lambda: permits_in(redis) == LIMIT)
        await asyncio.sleep(2 * LONG.recovery)
        assert before != redis.command("HGET", key_of(redis, "state"), "epoch")
        assert 0 == sent_at_once(late)
        assert LIMIT == permits_in(redis)
        await abandon(late)
        await depart(*clients)

    run(main())


def test_a_clock_that_was_set_back_is_made_up_for(redis):
    """Where Redis's clock jumps, the moments at which permits come free are told again before the next grant."""

    async def main():
        budget = budget_of(redis, timing=LONG)
        client = budget.join(5)
        await send_many(client, 3)
        await until(lambda: knows_all_are_over(redis, LONG.window))
        permits, state = key_of(redis, "permits"), key_of(redis, "state")
        before = redis.command("HGET", state, "epoch")
        # As it would be if its clock had shown an hour more until now.
        redis.command("HINCRBY", state, "at", "3600000")
        for member in redis.command("ZRANGE", permits, "0", "-1").split(b"\r\n")[2::2]:
            redis.command("ZINCRBY", permits, "3600000", member.decode())
        await send(client)
        assert before != redis.command("HGET", state, "epoch")
        await until(lambda: [True] * 4 == [left < LONG.window + 1 for left in seconds_left(redis)])
        await depart(client)

    run(main())


def test_what_ended_in_a_long_outage_is_told_on_return(redis):
    """Nothing counts as under way for good, however long Redis was away and however busy the process is afterwards."""

    async def main():
        budget = budget_of(redis, timing=evolve(QUICK, window=0.1, lease=0.2), on_outage="wait")
        client = budget.join(LIMIT)
        await send(client)
        held, later = asyncio.Event(), asyncio.Event()
        requests = [asyncio.ensure_future(hold(client, held)) for _ in range(LIMIT // 2)]
        await until(lambda: budget.snapshot().in_flight == LIMIT // 2)
        redis.freeze()
        await until(away(budget))
        held.set()
        await asyncio.gather(*requests)
        # Goes on being heard of from the first moment on.
        last = asyncio.ensure_future(hold(client, later))
        await asyncio.sleep(0.5)
        redis.thaw()
        await until(back(budget))
        await until(lambda: budget.snapshot().free_now == LIMIT - 1)
        later.set()
        await last
        await depart(client)

    run(main())


@pytest.mark.slow
def test_a_process_that_stood_still_does_not_take_its_late_look_for_a_set_clock(redis):
    """What Redis's clock showed when it answered is old by the time that the answer is read: nothing begins anew."""

    async def main():
        budget = budget_of(redis, timing=evolve(LONG, call=5.0))
        client = budget.join(5)
        await send(client)
        state = key_of(redis, "state")
        before = redis.command("HGET", state, "epoch")
        calls = count_calls(redis)
        late = asyncio.ensure_future(send(client))
        while count_calls(redis) == calls:
            await asyncio.sleep(0)
        time.sleep(CLOCK_TOLERANCE + 0.5)  # noqa: ASYNC251  nothing else may run meanwhile
        await late
        await send_many(client, 3)
        assert before == redis.command("HGET", state, "epoch")
        assert not budget.redis_is_away
        await depart(client)

    run(main())


def count_calls(redis):
    """Count the calls of the script so far."""
    stats = redis.command("INFO", "commandstats").decode()
    return int(stats.split("cmdstat_evalsha:calls=")[1].split(",")[0])


def test_one_lost_answer_is_no_outage(redis):
    """What Redis did and nobody heard of is asked again at once, and nothing of the fleet begins anew."""

    async def main():
        async with redis_proxy(redis) as proxy:
            budget = budget_of(proxy, timing=LONG)
            client = budget.join(5)
            await send(client)
            state = key_of(redis, "state")
            before = redis.command("HGET", state, "epoch")
            proxy.answers.append(LOST)
            await send(client)
            assert not budget.redis_is_away
            assert before == redis.command("HGET", state, "epoch")
            assert redis.command("HGET", state, "recovers_at") in (b"$-1\r\n", b"$1\r\n0\r\n")
            await until(lambda: permits_in(redis) == 2)
            await depart(client)

    run(main())


def test_a_forgotten_script_is_sent_again(redis):
    """A Redis that no longer knows the script, but has its data, is no outage."""

    async def main():
        budget = budget_of(redis, timing=LONG)
        client = budget.join(5)
        await send(client)
        redis.command("SCRIPT", "FLUSH")
        await send(client)
        assert not away(budget)()
        assert 2 == permits_in(redis)
        await depart(client)

    run(main())


@pytest.mark.slow
def test_leaving_while_redis_is_away_takes_no_longer_than_it_should(redis):
    """The last word is tried and given up, and nothing is left running."""

    async def main():
        budget = budget_of(redis)
        client = budget.join(5)
        await send(client)
        redis.freeze()
        try:
            await depart(client)
        finally:
            redis.thaw()
        assert 1 == len(asyncio.all_tasks())

    run(main())


@pytest.mark.slow
def test_a_loop_that_ends_without_a_word_leaves_nothing_behind(redis):
    """asyncio.run ends although nobody closed anything, and the connection with it."""
    for _ in range(3):
        run(send(budget_of(redis).join(5)))
    assert 1 == redis.command("CLIENT", "LIST").count(b" addr=/")
    assert key_of(redis, "permits")
