"""What OpenTelemetry is told of calls, budgets and queues, and that it agrees with what else traces and measures."""

import asyncio
import contextvars
import gc
import logging
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from weakref import ref

import pytest
from aiohttp import ClientSession
from attrs import frozen
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from hindsight_async import (
    CreateInterview,
    HindsightSession,
    Ledger,
    OutcomeUnknownError,
    Plan,
    RateBudget,
    RetryPolicy,
    UnauthorizedError,
    instrument,
)
from hindsight_async.emulator import Emulator
from hindsight_async.otel.gauges import LOOP_ANSWERS_WITHIN
from hindsight_async.otel.measures import REQUEST_SECONDS
from raw_server import OK, raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1", contact_context="likes tea")
CREATE, READ = "POST /interviews", "GET /interviews/{id}"
WAIT = "wait for the rate budget"
MINUTE = 60.0


@frozen
class Collector:
    """Providers of a test's own, and what they were told."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    exporter: InMemorySpanExporter
    _reader: InMemoryMetricReader

    @property
    def providers(self):
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self, name=None):
        spans = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)
        return [span for span in spans if name in {None, span.name}]

    def points(self, name):
        """Return the data points of a metric of ours."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            if scope.scope.name == "hindsight_async"
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def values(self, name):
        return [point.value for point in self.points(name)]


@pytest.fixture(name="collector")
def collector_of_a_test():
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    yield Collector(tracer_provider, meter_provider, spans, reader)
    tracer_provider.shutdown()
    meter_provider.shutdown()


@asynccontextmanager
async def instrumented(emulator, collector, attributes=None, **options):
    options = {"plan": Plan.ENTERPRISE, "base_url": emulator.base_url} | options
    async with HindsightSession("k3y" if "key" in options else emulator.api_key, **options) as hindsight:
        instrument(hindsight, attributes=attributes, **collector.providers)
        yield hindsight


async def answer_ok(connection):
    while await connection.request():
        connection.writer.write(OK)


@asynccontextmanager
async def one_a_minute(collector, **options):
    """Give a session with a budget of one request per minute, of which the first has left."""
    options = {"budget": RateBudget(1), "deadline": None} | options
    async with raw_server(answer_ok) as server:
        async with HindsightSession("k3y", base_url=server.base_url, **options) as hindsight:
            instrument(hindsight, **collector.providers)
            await hindsight.interviews.get(7)
            yield hindsight


async def test_a_call_is_a_client_span_by_the_conventions(collector):
    """Name and path are the route's, host and port the server's, and a call that went well at once has no events."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
        await hindsight.interviews.create(REQUEST)
        await hindsight.interviews.get(1)
        port = int(emulator.base_url.split(":")[2].split("/")[0])
    create, read = collector.spans()
    assert [(CREATE, SpanKind.CLIENT), (READ, SpanKind.CLIENT)] == [
        (each.name, each.kind) for each in (create, read)
    ]
    assert {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.full": emulator.base_url + "/interviews",
        "url.template": "/interviews",
        "hindsight.call": 1,
        "hindsight.lane": "interactive",
    } == dict(create.attributes)
    assert ("GET", "/interviews/{id}") == (
        read.attributes["http.request.method"],
        read.attributes["url.template"],
    )
    assert emulator.base_url + "/interviews/REDACTED" == read.attributes["url.full"]
    assert [StatusCode.UNSET] * 2 == [each.status.status_code for each in (create, read)]
    assert [()] * 2 == [each.events for each in (create, read)]
    assert "hindsight_async" == create.instrumentation_scope.name


async def test_what_is_sent_again_has_its_attempts_and_pauses_as_events(collector):
    """A 502 on a read: what the first attempt had, how long the pause is, what the second had; the span ends well."""
    options = {"retry": RetryPolicy(first_pause=4)}
    async with Emulator(plan=Plan.ENTERPRISE, latency=2.0) as emulator:
        async with instrumented(emulator, collector, **options) as hindsight:
            await hindsight.interviews.create(REQUEST)
            emulator.fail(READ, 502, times=1)
            await hindsight.interviews.get(1)
    (span,) = collector.spans(READ)
    first, pause, second = span.events
    assert ["hindsight.attempt", "hindsight.pause", "hindsight.attempt"] == [
        each.name for each in span.events
    ]
    told = first.attributes
    assert (1, 502, "502", "unknown") == (
        told["hindsight.attempt"], told["http.response.status_code"], told["error.type"], told["hindsight.delivery"],
    )  # fmt: skip
    assert 2 <= pause.attributes["hindsight.seconds"] <= 4
    assert (2, 200) == (
        second.attributes["hindsight.attempt"],
        second.attributes["http.response.status_code"],
    )
    assert pytest.approx(2.0, abs=0.1) == second.attributes["hindsight.seconds"]
    assert (200, 1) == (
        span.attributes["http.response.status_code"],
        span.attributes["http.request.resend_count"],
    )
    assert StatusCode.UNSET is span.status.status_code
    assert "error.type" not in span.attributes


async def test_a_wait_for_the_budget_is_a_span_of_its_own_within_the_call(collector):
    """It says which attempt waits; the seconds are on the call, and in a metric of those that waited."""
    async with one_a_minute(collector) as hindsight:
        await hindsight.interviews.get(7)
        at_once, waited = collector.spans(READ)
        (wait,) = collector.spans(WAIT)
        (point,) = collector.points("hindsight.client.budget.wait.duration")
    assert (waited.context.span_id, 1) == (wait.parent.span_id, wait.attributes["hindsight.attempt"])
    assert SpanKind.INTERNAL is wait.kind
    assert waited.start_time <= wait.start_time <= wait.end_time <= waited.end_time
    assert "hindsight.budget.wait" not in at_once.attributes
    assert pytest.approx(MINUTE, abs=1) == waited.attributes["hindsight.budget.wait"]
    assert (1, pytest.approx(MINUTE, abs=1)) == (point.count, point.sum)


async def test_a_wait_that_is_given_up_ends_with_its_call(collector):
    """Who is cancelled in line leaves no span open, and nothing in the context."""
    async with one_a_minute(collector) as hindsight:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await hindsight.interviews.get(7)
        assert not trace.get_current_span().get_span_context().is_valid
    (wait,), call = collector.spans(WAIT), collector.spans(READ)[-1]
    assert call.context.span_id == wait.parent.span_id
    assert ("CancelledError", "not_sent") == (
        call.attributes["error.type"],
        call.attributes["hindsight.delivery"],
    )
    assert "http.response.status_code" not in call.attributes
    assert StatusCode.ERROR is call.status.status_code


async def test_a_refusal_and_a_lost_answer_are_errors_that_say_what_may_have_happened(collector):
    """The type is the status where there is one, else the class; what may have emailed somebody can be searched for."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
        emulator.fail(CREATE, 401)
        with pytest.raises(UnauthorizedError):
            await hindsight.interviews.create(REQUEST)
        emulator.fail(CREATE, how="disconnect", at="after_commit")
        with pytest.raises(OutcomeUnknownError):
            await hindsight.interviews.create(REQUEST)
    refused, lost = collector.spans(CREATE)
    assert [StatusCode.ERROR] * 2 == [each.status.status_code for each in (refused, lost)]
    assert ("401", "rejected") == (refused.attributes["error.type"], refused.attributes["hindsight.delivery"])
    assert "hindsight.outcome_unknown" not in refused.attributes
    assert ("OutcomeUnknownError", "unknown") == (
        lost.attributes["error.type"],
        lost.attributes["hindsight.delivery"],
    )
    assert lost.attributes["hindsight.outcome_unknown"] is True
    assert ["OutcomeUnknownError"] == [each.attributes["error.type"] for each in lost.events]


async def test_nothing_that_is_told_names_a_person_a_path_or_a_key(collector):
    """Neither spans nor metrics have an address, notes, the key or an id."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
        for _ in range(98):
            await hindsight.interviews.create(REQUEST)
        emulator.fail(READ, 500, times=None)
        with pytest.raises(Exception, match="500"):
            await hindsight.interviews.get(98)
        emulator.fail(CREATE, how="disconnect", at="after_commit")
        with pytest.raises(OutcomeUnknownError):
            await hindsight.interviews.create(REQUEST)
        port, key = emulator.base_url.split(":")[2].split("/")[0], emulator.api_key
        points = collector.points("hindsight.client.call.duration")
        points += collector.points("http.client.request.duration") + collector.points(
            "hindsight.client.budget.free"
        )
    told = [dict(span.attributes) | {"hindsight.call": 0} for span in collector.spans()]
    told += [
        dict(event.attributes) | {"hindsight.seconds": 0}
        for span in collector.spans()
        for event in span.events
    ]
    text = repr([told, [point.attributes for point in points]]).replace(port, "")
    for secret in ("jane", "acme", "tea", key, "98"):
        assert secret not in text


@contextmanager
def aiohttp_instrumented(collector):
    """Instrument aiohttp as its own package does, for as long as the block lasts."""
    instrumentor = AioHttpClientInstrumentor()
    instrumentor.instrument(**collector.providers)
    try:
        yield
    finally:
        instrumentor.uninstrument()


@pytest.mark.parametrize("lent", [False, True], ids=["ours", "lent"])
async def test_the_spans_of_aiohttp_are_children_one_for_each_attempt(collector, lent):
    """What the server gets is the trace of the call, in a span of aiohttp's own below it; on a lent session too."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        async with told_by_aiohttp(emulator, collector, lent) as hindsight:
            await hindsight.interviews.create(REQUEST)
            emulator.fail(READ, 502, times=1)
            with collector.tracer_provider.get_tracer("app").start_as_current_span(
                "request of a user"
            ) as users:
                await hindsight.interviews.get(1)
                assert users is trace.get_current_span()
        sent = [request.headers["traceparent"].split("-")[1:3] for request in emulator.requests]
    create, read = collector.spans(CREATE) + collector.spans(READ)
    assert users.get_span_context().span_id == read.parent.span_id
    assert create.parent is None
    below = collector.spans("POST") + collector.spans("GET")
    assert ["opentelemetry.instrumentation.aiohttp_client"] * 3 == [
        span.instrumentation_scope.name for span in below
    ]
    assert [create.context.span_id, *[read.context.span_id] * 2] == [span.parent.span_id for span in below]
    assert [[f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"] for span in below] == sent


@asynccontextmanager
async def told_by_aiohttp(emulator, collector, lent):
    if not lent:
        with aiohttp_instrumented(collector):
            async with instrumented(emulator, collector) as hindsight:
                yield hindsight
        return
    config = create_trace_config(tracer_provider=collector.tracer_provider)
    async with (
        ClientSession(trace_configs=[config]) as http,
        instrumented(emulator, collector, http=http) as hindsight,
    ):
        yield hindsight


async def test_calls_at_once_do_not_mix_their_traces(collector):
    """Each of many calls is a child of what its own task is about."""
    tracer = collector.tracer_provider.get_tracer("app")

    async def one(hindsight, number):
        with tracer.start_as_current_span(f"job {number}") as job:
            await hindsight.interviews.create(REQUEST)
            assert job is trace.get_current_span()

    async with (
        Emulator(plan=Plan.ENTERPRISE, latency=1.0) as emulator,
        instrumented(emulator, collector) as hindsight,
    ):
        await asyncio.gather(*(one(hindsight, number) for number in range(30)))
    jobs = {span.context.span_id for span in collector.spans() if span.name.startswith("job")}
    assert 30 == len(jobs)
    assert jobs == {span.parent.span_id for span in collector.spans(CREATE)}


async def test_what_the_log_says_of_a_call_is_within_its_span(collector, caplog):
    """A filter that writes the current trace into records finds that of the call."""
    seen = []

    class Note(logging.Filter):
        def filter(self, record):
            seen.append((record.getMessage(), trace.get_current_span().get_span_context().span_id))
            return True

    note = Note()
    logging.getLogger("hindsight_async.call").addFilter(note)
    try:
        async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
            with caplog.at_level(logging.INFO, "hindsight_async"):
                await hindsight.interviews.create(REQUEST)
                emulator.fail(READ, 502, times=1)
                await hindsight.interviews.get(1)
    finally:
        logging.getLogger("hindsight_async.call").removeFilter(note)
    (span,) = collector.spans(READ)
    assert ["the next is due", "ended well"] == [
        word for text, _ in seen for word in ("the next is due", "ended well") if word in text
    ]
    assert {span.context.span_id} == {found for _, found in seen}


async def test_a_trace_that_is_not_sampled_stays_so(collector):
    """With sampling off nothing is exported, and what is below a call is off as well; metrics go on."""
    off = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
    off.add_span_processor(SimpleSpanProcessor(collector.exporter))
    flags = []

    def note(_event):
        flags.append(trace.get_current_span().get_span_context().trace_flags)

    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            instrument(hindsight, tracer_provider=off, meter_provider=collector.meter_provider)
            hindsight.listen(note)
            await hindsight.interviews.create(REQUEST)
            (point,) = collector.points("hindsight.client.call.duration")
    assert [] == collector.spans()
    assert 1 == point.count
    assert not any(flag.sampled for flag in flags)


async def test_calls_and_requests_are_measured_by_route_and_outcome(collector):
    """Each attempt is a request by the conventions, each call has one outcome; a 429 is seen by its status."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
        await hindsight.interviews.create(REQUEST)
        await hindsight.interviews.create(REQUEST)
        emulator.fail(CREATE, 429, times=1)
        await hindsight.interviews.create(REQUEST)
        emulator.fail(CREATE, how="disconnect", at="after_commit")
        with pytest.raises(OutcomeUnknownError):
            await hindsight.interviews.create(REQUEST)
        requests = collector.points("http.client.request.duration")
        calls = collector.points("hindsight.client.call.duration")
    by_answer = {
        (point.attributes.get("http.response.status_code"), point.attributes.get("error.type")): point.count
        for point in requests
    }
    assert {(201, None): 3, (429, "429"): 1, (None, "OutcomeUnknownError"): 1} == by_answer
    assert REQUEST_SECONDS == requests[0].explicit_bounds
    assert {"POST"} == {point.attributes["http.request.method"] for point in requests}
    assert {("/interviews", "127.0.0.1")} == {
        (point.attributes["url.template"], point.attributes["server.address"]) for point in requests + calls
    }
    assert {"ok": 3, "unknown": 1} == {point.attributes["hindsight.outcome"]: point.count for point in calls}


async def test_an_open_budget_is_observed(collector):
    """The limit, what is free, under way and queued by lane, as the snapshot says."""
    names = ("limit", "free", "in_flight")
    async with Emulator(plan=Plan.ENTERPRISE, latency=5.0) as emulator:
        async with instrumented(emulator, collector, max_in_flight=2) as hindsight:
            await hindsight.interviews.create(REQUEST)
            calls = [asyncio.create_task(hindsight.interviews.create(REQUEST)) for _ in range(5)]
            await asyncio.sleep(1)
            snapshot = hindsight.budget.snapshot()
            seen = [collector.values(f"hindsight.client.budget.{name}") for name in names]
            queued = collector.points("hindsight.client.budget.queued")
            await asyncio.gather(*calls)
    assert [[snapshot.limit], [snapshot.free_now], [snapshot.in_flight]] == seen
    assert {"interactive": 3, "bulk": 0} == {
        point.attributes["hindsight.lane"]: point.value for point in queued
    }
    assert {"127.0.0.1"} == {point.attributes["server.address"] for point in queued}


async def test_a_budget_of_several_sessions_counts_once_and_several_budgets_apart(collector):
    """Two sessions share one budget and are one; another organisation's is told apart by its attributes, or added."""
    shared, other = RateBudget(300), RateBudget(50)
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        one, two = ({"plan": None, "budget": shared}, {"plan": None, "budget": other})
        async with (
            instrumented(emulator, collector, **one),
            instrumented(emulator, collector, **one),
            instrumented(emulator, collector, {"organisation": "other"}, **two) as hindsight,
        ):
            points = collector.points("hindsight.client.budget.limit")
            assert {None: 300, "other": 50} == {
                point.attributes.get("organisation"): point.value for point in points
            }
            await hindsight.interviews.create(REQUEST)
            async with instrumented(emulator, collector, plan=None, budget=RateBudget(7)):
                assert {307, 50} == set(collector.values("hindsight.client.budget.limit"))
    (span,) = collector.spans(CREATE)
    assert "other" == span.attributes["organisation"]


async def test_a_queue_is_observed_while_its_block_is_open(collector, tmp_path):
    """How many rows wait, since when, and whether it is paused; nothing once it is over."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
        emulator.fail(CREATE, 401, times=None)
        async with hindsight.interviews.queue(Ledger(tmp_path / "queue.db")) as queue:
            instrument(queue, attributes={"queue": "deals"}, **collector.providers)
            await queue.put_many(
                [REQUEST, CreateInterview(contact_email="b@acme.example", sequence_id="seq_1")]
            )
            await asyncio.sleep(10)
            (length,) = collector.points("hindsight.client.queue.length")
            assert (queue.snapshot().queued, {"queue": "deals"}) == (length.value, dict(length.attributes))
            assert length.value
            assert [1] == collector.values("hindsight.client.queue.paused")
            (age,) = collector.values("hindsight.client.queue.oldest.age")
            assert age > 0
        assert [] == collector.points("hindsight.client.queue.length")


async def test_a_reader_in_a_thread_of_its_own_looks_in_the_thread_of_the_loop(collector):
    """A budget belongs to its loop: who collects elsewhere has the loop look, and gets nothing of one that is gone."""
    looked_in = []

    class Budget(RateBudget):
        def snapshot(self):
            looked_in.append(threading.get_ident())
            return super().snapshot()

    collected = []

    async def serve():
        async with Emulator(plan=Plan.ENTERPRISE) as emulator:
            async with instrumented(emulator, collector, plan=None, budget=Budget(300)):
                collected.append(await asyncio.to_thread(collector.values, "hindsight.client.budget.free"))

    await asyncio.to_thread(asyncio.run, serve())
    assert [[300]] == collected
    assert 1 == len(set(looked_in))
    before = len(looked_in)
    assert [] == collector.values("hindsight.client.budget.free")
    assert before == len(looked_in)


async def test_a_loop_that_has_no_time_holds_a_reader_up_once(collector):
    """A program that ends its metrics in the loop's thread waits for one look that nobody answers, not for one each."""
    reader = PeriodicExportingMetricReader(NoExporter(), export_interval_millis=MINUTE * 1000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            instrument(hindsight, meter_provider=provider)
            began = time.monotonic()
            provider.shutdown()  # collects a last time, in a thread that this one waits for
            took = time.monotonic() - began
    assert LOOP_ANSWERS_WITHIN <= took < 4 * LOOP_ANSWERS_WITHIN  # there are seven gauges


class NoExporter(MetricExporter):
    def export(self, metrics_data, timeout_millis=0, **_options):
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=0):
        return True

    def shutdown(self, timeout_millis=0, **_options):
        pass


async def test_a_call_that_is_thrown_away_leaves_the_context_alone(collector, caplog):
    """A coroutine that is closed unfinished, in whatever context, ends its span, and nothing complains."""
    async with one_a_minute(collector) as hindsight:
        call = hindsight.interviews.get(7)
        contextvars.Context().run(call.send, None)  # now it waits for the budget
        call.close()
        assert not trace.get_current_span().get_span_context().is_valid
    assert 1 == len(collector.spans(WAIT))
    span = collector.spans(READ)[-1]
    assert "GeneratorExit" == span.attributes["error.type"]
    assert [] == caplog.messages


async def test_a_session_is_not_kept_alive(collector):
    """Who is instrumented and forgotten is gone, and is no longer observed."""
    hindsight = HindsightSession("k3y", base_url="http://127.0.0.1:1")
    instrument(hindsight, **collector.providers)
    gone = ref(hindsight)
    assert 1 == len(collector.values("hindsight.client.budget.free"))
    del hindsight
    gc.collect()
    assert gone() is None
    assert [] == collector.values("hindsight.client.budget.free")


async def test_a_session_is_instrumented_once_however_often_that_is_said(collector):
    """A program that starts again in the same process has one span of each call."""
    async with Emulator(plan=Plan.ENTERPRISE) as emulator, instrumented(emulator, collector) as hindsight:
        instrument(hindsight, **collector.providers)
        await hindsight.interviews.create(REQUEST)
        (point,) = collector.points("hindsight.client.call.duration")
    assert 1 == len(collector.spans())
    assert 1 == point.count


async def test_an_address_that_cannot_be_used_is_told_by_the_call_alone(collector, monkeypatch, caplog):
    """The span of a call that raises before anything else has no server."""
    hindsight = HindsightSession("k3y")
    instrument(hindsight, **collector.providers)
    monkeypatch.setenv("HINDSIGHT_BASE_URL", "ftp://elsewhere.example")
    with pytest.raises(ValueError, match="HINDSIGHT_BASE_URL must look like"):
        await hindsight.interviews.get(1)
    (span,) = collector.spans()
    assert "server.address" not in span.attributes
    assert "ValueError" == span.attributes["error.type"]
    assert [] == caplog.messages


async def test_what_cannot_be_instrumented_is_named():
    """A view, and whatever else is no session and no queue, is a TypeError that says what would be right."""
    hindsight = HindsightSession("k3y")
    with pytest.raises(TypeError, match=r"view \(with_options\): listen to the session that it is of"):
        instrument(hindsight.with_options(deadline=1))
    with pytest.raises(TypeError, match="instrument a HindsightSession or a queue, not RateBudget"):
        instrument(hindsight.budget)
