"""Whole fleets in real time: processes, a server that counts, and what happens to a fleet."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import define, field

from redis_server import running
from simulated_server import MINUTE, most_in_any_minute

PROCESS = Path(__file__).with_name("redis_fleet_process.py")
LIMIT = 300
WINDOWS = 3
WORTH_HAVING = 0.97
"""Of the plan, over three windows."""

LATENCY = 2.0
"""Seconds that the server takes, so that a window's requests take some seconds to send and a blow falls among them."""

pytestmark = [pytest.mark.servers, pytest.mark.slow]

AT_ONCE = 16
WORKERS = 4


@define(eq=False)
class Child:
    """A process of the fleet."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, role, **options):
        """Begin it and wait for its first line."""
        process = subprocess.Popen(
            [sys.executable, PROCESS, role, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        child = cls(process)
        child.first = process.stdout.readline()
        return child

    first: str = ""

    def end(self):
        """Let it finish; return its last line."""
        out, errors = self.process.communicate(timeout=30)
        assert "Traceback" not in errors, errors
        return json.loads(out.splitlines()[-1])

    def kill(self):
        """End it as a machine failure would."""
        self.process.kill()
        self.process.communicate(timeout=30)


@define(eq=False)
class Fleet:
    """A server, a Redis and some workers."""

    redis: object
    workers: list[Child] = field(factory=list)
    killed: list[Child] = field(factory=list)
    options: dict[str, object] = field(factory=dict)

    def run(self, *blows):
        """Run for three windows, with blows at given seconds; return the requests that the server saw."""
        server = Child.start(
            "emulator", requests_per_minute=LIMIT, window="sliding", latency=LATENCY, api_key="key"
        )
        self.options = {
            **json.loads(server.first),
            "redis": self.redis.url,
            "at_once": AT_ONCE,
            **self.options,
        }
        with ThreadPoolExecutor(WORKERS) as pool:
            self.workers = list(pool.map(lambda _: self.new_worker(), range(WORKERS)))
        began = time.monotonic()
        for moment, blow in blows:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            blow(self)
        # A little more than three windows, because the first request came a little after the beginning.
        time.sleep(began + WINDOWS * MINUTE + LATENCY - time.monotonic())
        with ThreadPoolExecutor(len(self.workers)) as pool:
            outcomes = list(pool.map(Child.end, self.workers))
        return server.end(), outcomes

    def new_worker(self):
        """Begin one more."""
        return Child.start("worker", **self.options)

    def kill_one(self):
        """Kill a worker in the middle of its work."""
        self.workers.pop(0).kill()

    def reinforce(self):
        """Have one more join late."""
        self.workers.append(self.new_worker())


def undisturbed(redis):
    """Four processes and nothing else."""
    return Fleet(redis).run()


def a_death(redis):
    """One is killed while it sends, and one joins later."""
    return Fleet(redis).run((64.0, Fleet.kill_one), (80.0, Fleet.reinforce))


def a_freeze(redis):
    """Redis takes connections and answers nothing for ten seconds, while a window's requests are sent."""
    return Fleet(redis).run((63.0, lambda _: redis.freeze()), (73.0, lambda _: redis.thaw()))


def a_loss(redis):
    """Redis is killed while a window's requests are sent, and comes back after ten seconds with nothing in it."""
    return Fleet(redis).run((63.0, lambda _: redis.kill()), (73.0, lambda _: redis.start()))


SCENARIOS = [undisturbed, a_death, a_freeze, a_loss]


@pytest.fixture(scope="module")
def outcomes():
    """Run all at the same time, since they wait for most of it."""
    servers = [running() for _ in SCENARIOS]
    redises = [next(server) for server in servers]
    try:
        with ThreadPoolExecutor(len(SCENARIOS)) as pool:
            runs = [pool.submit(scenario, redis) for scenario, redis in zip(SCENARIOS, redises, strict=True)]
            return {scenario: run.result() for scenario, run in zip(SCENARIOS, runs, strict=True)}
    finally:
        for redis in redises:
            redis.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_fleet_uses_the_plan_and_never_more(outcomes, scenario):
    """Whatever happens to the fleet: no 429, never more than the plan in a window, and 97 % of it used."""
    requests, said = outcomes[scenario]
    moments = [moment for moment, _ in requests]
    print(scenario.__name__, len(moments), said)
    assert [] == [status for _, status in requests if status == 429]
    assert most_in_any_minute(moments) <= LIMIT
    used = sum(1 for moment in moments if moment < moments[0] + WINDOWS * MINUTE)
    assert used >= WORTH_HAVING * LIMIT * WINDOWS
    assert all(set(one) == {"created"} for one in said)
