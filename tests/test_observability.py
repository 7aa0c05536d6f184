"""The page about traces, metrics, logs and health: its files run as they stand, and its tables are what a collector gets."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import ClientSession
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from doc_pages import PAGES, named_blocks
from full_disk import full_disk
from hindsight_async import (
    CreateInterview,
    Delivery,
    HindsightSession,
    Ledger,
    OutcomeUnknownError,
    Plan,
    QuotaExceededError,
    RedisBudget,
    RetryPolicy,
)
from hindsight_async.emulator import Emulator
from otlp_receiver import otlp_receiver

PAGE = (PAGES / "observability.md").read_text(encoding="utf-8")
FILES = ("observed_fastapi", "telemetry", "prometheus_calls", "health")
ROOT = Path(__file__).parent.parent
CREATE, READ = "POST /interviews", "GET /interviews/{id}"
SECONDS_TO_START = 60
LONGEST_RECIPE = 32


def module_of_the_page(name):
    module = ModuleType(name)
    exec(named_blocks()[name], vars(module))  # as a reader runs it
    return module


def samples(page):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


HEALTH = module_of_the_page("health")
COUNTS = module_of_the_page("prometheus_calls")
AT_FIRST = samples(generate_latest())


def request(number):
    return CreateInterview(contact_email=f"contact{number}@acme.example", sequence_id="seq_1")


def names_in_table(heading):
    """Return the names in the first column of the table below a heading."""
    table = PAGE.split(f"### {heading}\n", 1)[1].split("|---", 1)[1].split("\n\n", 1)[0]
    return {name for row in table.splitlines()[1:] for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])}


def on_the_page_of_metrics(hindsight, queue):
    return samples(COUNTS.page(hindsight, queue)[0])


@asynccontextmanager
async def serving(folder, **options):
    """Give an emulator, a session on it, and a queue in its block."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        wanted = {"base_url": emulator.base_url, "retry": RetryPolicy(attempts=1)} | options
        async with HindsightSession(emulator.api_key, **wanted) as hindsight:
            async with hindsight.interviews.queue(Ledger(folder / "deals.db")) as queue:
                yield emulator, hindsight, queue


def test_the_recipe_is_short():
    """Who needs no more than Prometheus has a screen to copy."""
    assert LONGEST_RECIPE >= len([line for line in named_blocks()["prometheus_calls"].splitlines() if line])


def test_what_somebody_is_woken_by_is_there_before_it_happens():
    """Prometheus sees no increase in what begins at 1: the first create in doubt would wake nobody."""
    series = [("hindsight_calls_total", outcome) for outcome in ("ok", *(each.value for each in Delivery))]
    series.append(("hindsight_request_seconds_count", "429"))
    assert [0] * 5 == [AT_FIRST[name, *sorted([CREATE, label])] for name, label in series]


async def test_the_recipe_counts_calls_requests_and_waits(tmp_path):
    """What Prometheus reads from the page of metrics is what happened, and how budget and queue stand."""
    async with serving(tmp_path, plan="enterprise") as (emulator, hindsight, queue):
        hindsight.listen(COUNTS.count)
        await hindsight.interviews.create(request(1))
        emulator.fail(CREATE, 429, retry_after=20)
        await hindsight.interviews.create(request(2))
        emulator.fail(CREATE, how="disconnect", at="after_commit")
        with pytest.raises(OutcomeUnknownError):
            await hindsight.interviews.create(request(3))
        seen = on_the_page_of_metrics(hindsight, queue)
        free = hindsight.budget.snapshot().free_now
    assert {"ok": 2, "unknown": 1} == {
        outcome: seen["hindsight_calls_total", *sorted([CREATE, outcome])] for outcome in ("ok", "unknown")
    }
    requests = {
        status: seen["hindsight_request_seconds_count", *sorted([CREATE, status])]
        for status in ("201", "429", "none")
    }
    assert {"201": 2, "429": 1, "none": 1} == requests
    assert 3 == seen["hindsight_budget_wait_seconds_count", CREATE]
    assert 20 <= seen["hindsight_budget_wait_seconds_sum", CREATE] < 22
    assert free == seen["hindsight_budget_free",]
    assert (0, 0) == (seen["hindsight_budget_waiting", "bulk"], seen["hindsight_queue_length",])


async def test_health_is_ready_while_all_is_well(tmp_path):
    """It says how much is left of the plan and of the queue, in JSON."""
    async with serving(tmp_path, plan="growth") as (_, hindsight, queue):
        await queue.put_many(map(request, range(3)))
        state = json.loads(json.dumps(HEALTH.state_of(hindsight, queue)))
        assert (True, {}) == (state["ready"], state["troubles"])
        assert (300, 0) == (state["budget"]["limit"], state["budget"]["waiting"])
        await queue.drain(60)


async def test_health_tells_of_a_pause_and_of_a_spent_month_and_stays_ready(tmp_path):
    """A refused key and a used up quota need a person, and what comes in meanwhile is on disk all the same."""
    async with serving(tmp_path) as (emulator, hindsight, queue):
        await queue.put(request(0))
        await queue.drain(60)
        emulator.fail(CREATE, 429, times=None, retry_after=30 * 86400)
        with pytest.raises(QuotaExceededError):
            await hindsight.interviews.create(request(1))
        emulator.fail(CREATE, 401, times=None)
        await queue.put_many(map(request, range(2, 40)))
        await asyncio.sleep(10)
        state = json.loads(json.dumps(HEALTH.state_of(hindsight, queue)))
    assert state["ready"]
    assert {"queue", "quota", "last row"} >= set(state["troubles"])
    assert {"queue", "quota"} <= set(state["troubles"])
    assert datetime.fromisoformat(state["budget"]["closed_until"]) > datetime.now(UTC)
    assert datetime.fromisoformat(state["queue"]["oldest"]).tzinfo is not None
    assert "@" not in json.dumps(state)


async def test_health_is_not_ready_while_the_ledger_cannot_serve(tmp_path):
    """With a full disk nothing can be taken in, and the reason is there to read."""
    async with serving(tmp_path) as (_, hindsight, queue):
        await queue.put(request(0))
        await queue.drain(60)
        await queue.put_many(map(request, range(1, 30)))
        with full_disk():
            await asyncio.sleep(20)
            state = HEALTH.state_of(hindsight, queue)
        await queue.drain(600)
        assert HEALTH.state_of(hindsight, queue)["ready"]
    assert not state["ready"]
    assert "free some space" in state["troubles"]["ledger"]


async def test_health_is_not_ready_once_the_session_was_closed(tmp_path):
    """A process whose queue sends no more is to be started anew."""
    async with serving(tmp_path) as (_, hindsight, queue):
        await queue.put_many(map(request, range(3)))
        await hindsight.close()
        await queue.put(request(4))
        await asyncio.sleep(5)
        state = HEALTH.state_of(hindsight, queue)
    assert (False, "it sends no more") == (state["ready"], state["troubles"]["queue"])


async def test_health_answers_while_the_api_is_away(tmp_path):
    """No call is needed for it: what the last one met is told."""
    async with serving(tmp_path) as (emulator, hindsight, queue):
        emulator.fail("*", how="reset", times=None)
        await queue.put_many(map(request, range(3)))
        await asyncio.sleep(30)
        state = HEALTH.state_of(hindsight, queue)
    assert state["ready"]
    assert {"last row"} >= set(state["troubles"])


@pytest.mark.servers
def test_health_answers_at_once_while_redis_is_away(tmp_path, redis):
    """What this process may still send is what it knows by itself."""

    async def look():
        async with Emulator(plan=Plan.ENTERPRISE) as emulator:
            budget = RedisBudget(redis.url, organisation="acme", plan="growth", expected_processes=3)
            session = HindsightSession(emulator.api_key, base_url=emulator.base_url, budget=budget)
            async with (
                session as hindsight,
                hindsight.interviews.queue(Ledger(tmp_path / "deals.db")) as queue,
            ):
                await hindsight.interviews.create(request(1))
                redis.kill()
                await hindsight.interviews.create(request(2))
                began = time.perf_counter()
                state = HEALTH.state_of(hindsight, queue)
                return state, time.perf_counter() - began

    state, took = asyncio.run(look())
    assert state["ready"]
    assert took < 0.5


def start(folder, environment):
    for name in FILES:
        (folder / f"{name}.py").write_text(named_blocks()[name], encoding="utf-8")
    log = folder / "service.log"
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "observed_fastapi:app"]
    with log.open("wb") as output:
        options = {"cwd": folder, "env": os.environ | environment, "stdout": output, "stderr": output}
        return subprocess.Popen(command, **options), log


@asynccontextmanager
async def served(folder, environment):
    """Serve the application of the page in a process of its own; yield its address and its log."""
    process, log = start(folder, environment)
    try:
        async with asyncio.timeout(SECONDS_TO_START):
            while (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())) is None:
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.05)
        yield found[0], log
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, SECONDS_TO_START) in {0, -signal.SIGTERM}
    finally:
        process.kill()
        process.wait()


async def drive(service, emulator, crm):
    """Make it meet a refusal for its rate, a wait, an answer that is lost, one that fails, and rows in a queue."""

    async def create(number):
        async with crm.post(f"{service}/interviews", json={"email": f"contact{number}@acme.example"}) as one:
            return one.status, await one.json()

    answers = [await create(1)]
    emulator.fail(CREATE, 429, retry_after=1)
    answers += await asyncio.gather(*map(create, range(2, 5)))
    emulator.fail(CREATE, how="disconnect", at="after_commit")
    answers.append(await create(5))
    emulator.fail(CREATE, 400)
    answers.append(await create(6))
    for number in range(7, 10):
        async with crm.post(f"{service}/deal-closed", json={"email": f"contact{number}@acme.example"}) as put:
            assert 200 == put.status
    async with asyncio.timeout(60):
        while len(emulator.outbox) < 8:
            await asyncio.sleep(0.05)
    async with crm.get(f"{service}/health") as health:
        state = await health.json()
        assert 200 == health.status
    async with crm.get(f"{service}/metrics") as page:
        return answers, state, await page.text()


async def until_observed(received):
    """Wait for the next time that metrics are sent, while budget and queue are open."""
    async with asyncio.timeout(SECONDS_TO_START):
        while ("hindsight_async", "hindsight.client.queue.paused") not in received.metrics:
            await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_collector_prometheus_and_the_log_agree_about_the_service_of_the_page(tmp_path):
    """Retries, waits, refusals and a lost answer: the spans, the metrics, the page, the log and the callers tell the same."""

    async def run():
        async with Emulator(plan=Plan.ENTERPRISE) as emulator, otlp_receiver() as received:
            environment = {
                "HINDSIGHT_API_KEY": emulator.api_key,
                "HINDSIGHT_BASE_URL": emulator.base_url,
                "HINDSIGHT_PLAN": emulator.plan.value,
                "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
                "OTEL_METRIC_EXPORT_INTERVAL": "500",
                "OTEL_SERVICE_NAME": "closed-deals",
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            }
            async with served(tmp_path, environment) as (service, log), ClientSession() as crm:
                told = await drive(service, emulator, crm)
                await until_observed(received)
            return *told, received, log.read_text(), emulator.api_key

    answers, state, page, received, log, key = asyncio.run(run())
    assert [200] * 4 + [502] * 2 == [status for status, _ in answers]
    assert ["unknown", "rejected"] == [body["delivery"] for _, body in answers[-2:]]
    assert state["ready"]

    ours = [span for span in received.spans if span.scope == "hindsight_async"]
    calls = [span for span in ours if span.name == CREATE]
    assert {"closed-deals"} == {span.service for span in ours}
    assert 9 == len(calls)
    (lost,) = [span for span in calls if span.attributes.get("hindsight.outcome_unknown")]
    (refused,) = [span for span in calls if span.attributes.get("error.type") == "400"]
    (again,) = [span for span in calls if "http.request.resend_count" in span.attributes]
    assert (True, True, False) == (lost.failed, refused.failed, again.failed)
    assert ["hindsight.attempt", "hindsight.pause", "hindsight.attempt"] == [name for name, _ in again.events]
    waits = [span for span in ours if span.name == "wait for the rate budget"]
    waited = {span.span_id for span in calls if "hindsight.budget.wait" in span.attributes}
    assert waited
    assert waited == {span.parent_id for span in waits}
    below = [span for span in received.spans if span.scope.endswith("aiohttp_client")]
    assert 10 == len(below)
    assert {span.span_id for span in calls} == {span.parent_id for span in below}

    seen = {name for span in calls for name in span.attributes}
    assert names_in_table("The span of a call") == seen
    assert names_in_table("Metrics") == {
        name for scope, name in received.metrics if scope == "hindsight_async"
    }
    outcomes = received.metrics["hindsight_async", "hindsight.client.call.duration"]
    assert {"ok": 7, "unknown": 1, "rejected": 1} == {
        attributes["hindsight.outcome"]: point.count for attributes, point in outcomes
    }
    assert 'hindsight_calls_total{outcome="ok",route="POST /interviews"} 7.0' in page
    assert 'hindsight_calls_total{outcome="unknown",route="POST /interviews"} 1.0' in page
    assert 'hindsight_request_seconds_count{route="POST /interviews",status="429"} 1.0' in page

    (line,) = re.findall(r".*ended with OutcomeUnknownError.*", log)
    assert f"trace={lost.trace_id} call {lost.attributes['hindsight.call']}, {CREATE}" in line
    assert "Traceback" not in log
    for text in (repr(received.spans), log, page, repr(received.metrics), json.dumps(state)):
        assert "acme" not in text
        assert key not in text
