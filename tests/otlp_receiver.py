"""Takes what an OTLP/HTTP exporter sends, and reads it with the messages that OpenTelemetry publishes."""

from contextlib import asynccontextmanager

from aiohttp import web
from attrs import field, frozen
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def _value(value):
    return getattr(value, value.WhichOneof("value"))


@frozen
class Span:
    """A span as a collector sees it."""

    name: str
    scope: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    attributes: dict
    events: list


@frozen
class Received:
    """Where to send to, and what came."""

    url: str
    spans: list = field(factory=list)
    metrics: dict = field(factory=dict)
    """The data points that came last, by scope and name."""

    def take_spans(self, body):
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {each.key: _value(each.value) for each in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            name=span.name,
                            scope=scope.scope.name,
                            service=service,
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            parent_id=span.parent_span_id.hex(),
                            failed=span.status.code == span.status.STATUS_CODE_ERROR,
                            attributes={each.key: _value(each.value) for each in span.attributes},
                            events=[
                                (event.name, {each.key: _value(each.value) for each in event.attributes})
                                for event in span.events
                            ],
                        )
                    )

    def take_metrics(self, body):
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = getattr(metric, metric.WhichOneof("data")).data_points
                    self.metrics[scope.scope.name, metric.name] = [
                        ({each.key: _value(each.value) for each in point.attributes}, point)
                        for point in points
                    ]


@asynccontextmanager
async def otlp_receiver():
    """Serve one on this machine until the block ends."""
    app = web.Application()
    runner = web.AppRunner(app)

    async def take(request):
        take = received.take_spans if request.path == "/v1/traces" else received.take_metrics
        take(await request.read())
        return web.Response(content_type="application/x-protobuf")

    app.router.add_post("/v1/traces", take)
    app.router.add_post("/v1/metrics", take)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        received = Received(f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield received
    finally:
        await runner.cleanup()
