"""The way to Redis: URLs, and clients that the caller made, Sentinel's and a cluster's among them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as redis_py
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import loaded_python
from hindsight_async import Plan, RedisBudget, RedisRefusedError
from hindsight_async.rate.redis.connection import keys_of
from raw_server import CERTIFICATE
from redis_fleet import LIMIT, LONG, budget_of, depart, permits_in, run, send, send_many, until
from redis_server import EXECUTABLE, LOST, RedisServer, free_port, redis_proxy, running

FOLDER = str(Path(__file__).parent)


def budget_over(client, **options):
    """Make a budget of a client that a test made."""
    return RedisBudget(client, "acme", **{"plan": Plan.ESSENTIALS, "timing": LONG, **options})


def asking_again(url):
    """Make a client that repeats a call whose answer was lost; before redis-py 6 it must be told after what."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 3), retry_on_error=[redis_py.ConnectionError])


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis://:geheim@host/0?sockettimeout=3", "knows no option sockettimeout"),
        ("redis://:geheim@host/0?client_name=a&sockettimeout=3", "knows no option sockettimeout"),
        ("redis://:geheim@host?ssl_ca_certs=/x", "knows no option ssl_ca_certs"),
        ("redis://:geheim@host?socket_timeout=soon", "cannot use its option socket_timeout"),
        ("redis://:geheim@host?protocol=7", "cannot use its option protocol"),
        ("redis://:geheim@host?retry=geheim", "cannot use its option retry"),
        ("redis://:geheim@host?socket_timeout", "an option without a value"),
        ("http://:geheim@host", "scheme must be redis, rediss or unix"),
        ("host:6379", "scheme must be redis, rediss or unix"),
        ("", "scheme must be redis, rediss or unix"),
        ("redis://", "names no host"),
        ("redis://:geheim@/0", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://:geheim@host:port", "port must be a number"),
        ("redis://:geheim@host:0", "port must be a number"),
        ("redis://:geheim@host:65536", "port must be a number"),
        ("redis://:geheim@host/first", "database must be a number"),
        ("redis://:geheim@host/-1", "database must be a number"),
        ("redis://:geheim@host/1/2", "database must be a number"),
        ("redis://:geheim@host?db=first", "database must be a number"),
        ("unix:///run/redis.sock?db=-1", "database must be a number"),
        ("unix://:geheim@", "names no path"),
        ("unix://run/redis.sock", "something before it"),
        ("redis://:ge/heim@host", "not quoted"),
        ("redis://:geheim#@host", "not quoted"),
        ("redis://jane:geheim?b=@host", "not quoted"),
        ("redis://[geheim@host", "cannot be read"),
        ("redis://:geheim\u2100@host", "cannot be read"),
    ],
)
def test_a_wrong_url_is_refused_where_it_is_given(url, wrong):
    """What is wrong is named when the budget is made, what is right is shown, and the password is not."""
    with pytest.raises(ValueError, match="redis must be a URL such as redis://.*" + wrong) as refused:
        RedisBudget(url, organisation="acme")
    assert "heim" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://host/",
        "redis://jane:ge%2Fheim@host:6379/15",
        "redis://[::1]:6379/0?socket_timeout=0.5&client_name=crm",
        "rediss://host?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required",
        "unix:///run/redis@1/redis.sock?db=3",
        "unix://jane:geheim@/run/redis.sock",
    ],
)
def test_a_right_url_is_taken(url):
    """Nothing is asked of a URL that redis-py does not need."""
    assert 60 == RedisBudget(url, organisation="acme").limit


@pytest.mark.parametrize("client", [redis_py.Redis(), Sentinel([]), object()])
def test_a_client_of_another_kind_is_refused_by_name(client):
    """One that blocks, or that is not for commands, is told from one that serves."""
    with pytest.raises(TypeError, match=rf"of redis.asyncio, not .*{type(client).__name__}"):
        RedisBudget(client, organisation="acme")


@pytest.mark.servers
@pytest.mark.parametrize(
    "options",
    [{}, {"decode_responses": True}, {"protocol": 3}, {"protocol": 2}, {"single_connection_client": True}],
)
def test_a_client_of_the_caller_serves_and_stays_open(redis, options):
    """Whatever it does with answers, two sessions count through it, and it is not closed with them."""

    async def main():
        async with Redis.from_url(redis.url, **options) as client:
            budgets = [budget_over(client) for _ in range(2)]
            clients = [budget.join(5) for budget in budgets]
            for one in clients:
                await send_many(one, 2)
            await depart(*clients)
            assert 4 == permits_in(redis)
            connections = redis.command("CLIENT", "LIST").count(b" addr=/")
            assert 2 <= connections
            await client.set("mine", "1")
            assert connections == redis.command("CLIENT", "LIST").count(b" addr=/")
        assert 1 == redis.command("CLIENT", "LIST").count(b" addr=/")

    run(main())


@pytest.mark.servers
def test_a_client_that_asks_again_after_a_lost_answer_takes_one_permit(redis):
    """The script does nothing the second time, and what it had issued the first time goes back to the fleet."""

    async def main():
        async with (
            redis_proxy(redis) as proxy,
            asking_again(proxy.url) as client,
        ):
            budget = budget_over(client, on_outage="wait")
            session = budget.join(LIMIT)
            await send(session)
            calls = len(proxy.calls)
            proxy.answers.append(LOST)
            await send_many(session, LIMIT - 1)
            assert proxy.calls[calls] == proxy.calls[calls + 1]
            # All of the plan was there to be sent: no permit is missing, and none was issued twice.
            await until(lambda: permits_in(redis) == LIMIT)
            await depart(session)

    run(main())


@pytest.mark.servers
def test_a_client_that_loses_every_answer_hangs_nobody(redis):
    """However often it asks again, the process is soon on its own, and back when answers come."""

    async def main():
        async with (
            redis_proxy(redis) as proxy,
            asking_again(proxy.url) as client,
        ):
            budget = budget_over(client)
            session = budget.join(5)
            await send(session)
            proxy.answers.extend([LOST] * 1000)
            await until(lambda: budget.redis_is_away)
            await send(session)
            proxy.answers.clear()
            await until(lambda: not budget.redis_is_away)
            await send(session)
            await until(lambda: permits_in(redis) == 3)
            await depart(session)

    run(main())


@pytest.mark.servers
def test_a_client_of_an_event_loop_that_is_gone_is_refused(redis):
    """Its connections belong to that loop, so callers hear at once that each needs its own, and nothing is sent over them."""
    client = Redis.from_url(redis.url)
    budget = budget_over(client)
    session = budget.join(5)

    async def first():
        await send(session)
        await depart(session)
        await client.aclose()

    async def second():
        anew = budget.join(5)
        with pytest.raises(RedisRefusedError, match="used on another event loop"):
            await send(anew)
        await depart(anew)

    run(first())
    run(second())
    assert 1 == permits_in(redis)


@pytest.mark.servers
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_client_of_the_parent_process_is_refused_in_a_child(redis):
    """The child reads no answer that is its parent's, and the parent goes on."""
    code = FORK.format(folder=FOLDER, url=redis.url)
    done = loaded_python.run(["-c", code], capture_output=True, text=True)
    assert ("", "child RedisRefusedError\nparent 2\n") == (done.stderr, done.stdout)


FORK = """
import asyncio, os, sys, warnings
sys.path.insert(0, {folder!r})
from redis.asyncio import Redis
from hindsight_async import RedisBudget
from redis_fleet import send, depart

redis = Redis.from_url({url!r})
client = RedisBudget(redis, "acme").join(2)

async def child():
    try:
        await send(client)
    except Exception as error:
        print("child", type(error).__name__, flush=True)
    await depart(client)

def in_child():
    asyncio._set_running_loop(None)
    asyncio.run(child())
    os._exit(0)

async def main():
    await send(client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if not pid:
        in_child()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        await asyncio.sleep(0.01)
    await send(client)
    print("parent", 2, flush=True)
    await depart(client)
    await redis.aclose()

asyncio.run(main())
"""


@pytest.mark.servers
def test_tls_with_a_certificate_of_ones_own():
    """A URL's options and a client's serve alike; with another certificate Redis is away."""
    port = free_port()
    tls = [f"--tls-cert-file {CERTIFICATE}", f"--tls-key-file {CERTIFICATE}", "--tls-auth-clients no"]
    options = " ".join([f"--tls-port {port}", *tls]).split()
    trusting = {"ssl": True, "ssl_ca_certs": str(CERTIFICATE)}

    async def main(server):
        secured = type("Server", (), {"url": f"rediss://localhost:{port}/0?ssl_ca_certs={CERTIFICATE}"})
        async with Redis(host="localhost", port=port, **trusting) as client:
            sessions = [budget_of(secured, timing=LONG).join(5), budget_over(client).join(5)]
            for session in sessions:
                await send(session)
            await depart(*sessions)
        assert 2 == permits_in(server)
        secured.url = f"rediss://localhost:{port}/0"
        distrusting = budget_of(secured, timing=LONG)
        session = distrusting.join(5)
        await send(session)
        assert distrusting.redis_is_away
        await depart(session)

    for server in running(*options):
        run(main(server))


@pytest.fixture
def cluster() -> Iterator[list[RedisServer]]:
    """Three masters, which divide the keys among them."""
    if EXECUTABLE is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with ExitStack() as stack:
        nodes = []
        for _ in range(3):
            bus = str(free_port())
            node = RedisServer(
                ["--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000"],
                tcp=True,
            )
            stack.callback(node.close)
            nodes.append((node.start(), bus))
        for number, (node, _) in enumerate(nodes):
            first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            for other, bus in nodes:
                node.command("CLUSTER", "MEET", "127.0.0.1", str(other.port), bus)
        yield [node for node, _ in nodes]


def whole(node):
    """Tell whether a node knows that all keys have a place."""
    return b"cluster_state:ok" in node.command("CLUSTER", "INFO")


@pytest.mark.slow
@pytest.mark.servers
def test_a_cluster_counts_for_all(cluster):
    """All keys lie on one node; while that is gone each process goes on alone, and what it sent is told when it is back."""

    async def main():
        for node in cluster:
            await until(lambda node=node: whole(node), patience=20)
        async with (
            RedisCluster(host="127.0.0.1", port=cluster[0].port) as one,
            RedisCluster(host="127.0.0.1", port=cluster[1].port) as other,
        ):
            budgets = [budget_over(client) for client in (one, other)]
            sessions = [budget.join(LIMIT) for budget in budgets]
            await send(sessions[0])
            await send_many(sessions[0], 5)
            await send_many(sessions[1], 5)
            key = keys_of("acme", "")[0]
            (home,) = [node for node in cluster if permits_of(node, key) == 11]
            home.kill()
            for budget in budgets:
                await until(lambda budget=budget: budget.redis_is_away, patience=10)
            await send(sessions[0])
            home.start()
            for budget in budgets:
                await until(lambda budget=budget: not budget.redis_is_away, patience=20)
            await until(lambda: permits_of(home, key) == 12)
            await depart(*sessions)

    run(main())


def permits_of(node, key):
    """Count the permits on a node; none where the key is another's."""
    reply = node.command("ZCARD", key)
    return int(reply[1:]) if reply.startswith(b":") else 0


@pytest.mark.slow
@pytest.mark.servers
def test_a_node_of_a_cluster_by_its_url_is_refused_with_the_remedy(cluster):
    """A URL leads to one node, which has a part of the keys."""

    async def main():
        for node in cluster:
            await until(lambda node=node: whole(node), patience=20)
        key = keys_of("acme", "")[0]
        elsewhere = next(node for node in cluster if node.command("GET", key).startswith(b"-MOVED"))
        session = budget_of(elsewhere, timing=LONG).join(5)
        with pytest.raises(RedisRefusedError, match="one node of a cluster"):
            await send(session)
        await depart(session)

    run(main())


@pytest.fixture
def replicated(tmp_path) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """Give a test a master, its replica, and a Sentinel that watches over both."""
    if EXECUTABLE is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with ExitStack() as stack:
        master, replica = (RedisServer(["--repl-diskless-sync-delay", "0"], tcp=True) for _ in range(2))
        for server in (master, replica):
            stack.callback(server.close)
            server.start()
        replica.command("REPLICAOF", "127.0.0.1", str(master.port))
        sentinel = RedisServer(tcp=True, port=free_port())
        stack.callback(sentinel.close)
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"port {sentinel.port}\n"
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 5000\n"
        )
        watching = subprocess.Popen(
            [EXECUTABLE, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL, cwd=tmp_path
        )
        stack.callback(watching.wait)
        stack.callback(watching.kill)
        yield master, replica, sentinel


@pytest.mark.slow
@pytest.mark.servers
def test_a_failover_that_sentinel_brings_about(replicated):
    """The process goes on alone until the replica is master, then in the fleet there, with nothing forgotten."""
    master, replica, sentinel = replicated

    async def main():
        await until(lambda: b"link_status:up" in replica.command("INFO", "replication"), patience=20)
        sentinels = Sentinel([("127.0.0.1", sentinel.port)])
        await until(lambda: knows_the_replica(sentinel), patience=20)
        async with sentinels.master_for("main") as client:
            budget = budget_over(client)
            session = budget.join(LIMIT)
            await send(session)
            await send_many(session, 4)
            await until(lambda: permits_in(replica) == 5)
            master.kill()
            await until(lambda: budget.redis_is_away)
            await send(session)
            await until(lambda: not budget.redis_is_away, patience=25)
            await send(session)
            await until(lambda: permits_in(replica) == 7)
            await depart(session)
        for one in sentinels.sentinels:
            await one.aclose()

    run(main())


def knows_the_replica(sentinel):
    """Tell whether Sentinel could make the replica master."""
    try:
        return b"flags\r\n$5\r\nslave\r\n" in sentinel.command("SENTINEL", "REPLICAS", "main")
    except OSError:
        return False
