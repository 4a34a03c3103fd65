"""An OTLP receiver on 127.0.0.1: what a collector would get, decoded; or one that takes it and never answers."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

__all__ = ["Received", "Sender", "Spanned", "collector", "sending"]


@dataclass(frozen=True)
class Spanned:
    """One span as it arrived; times in seconds since 1970."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: float
    end: float
    error: bool
    attributes: dict[str, Any]
    events: tuple[tuple[str, float, dict[str, Any]], ...]
    links: tuple[str, ...]


@dataclass
class Received:
    """What came in so far."""

    url: str
    spans: list[Spanned] = field(default_factory=list)
    metrics: dict[str, list[Any]] = field(default_factory=dict)
    raw: bytes = b""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set once somebody has sent something."""
    let_go: threading.Event = field(default_factory=threading.Event)
    """Until it is set, a receiver that hangs does."""

    def named(self, name: str) -> Spanned:
        """The only span of that name."""
        [found] = [span for span in self.spans if span.name == name]
        return found

    def children(self, parent: Spanned) -> list[str]:
        """The names of what hangs below a span, in the order in which it began."""
        below = (span for span in self.spans if span.parent == parent.id)
        return [span.name for span in sorted(below, key=lambda span: span.start)]


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _spanned(span: Any) -> Spanned:
    return Spanned(
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
        error=span.status.code == 2,
        attributes=_attributes(span.attributes),
        events=tuple((e.name, e.time_unix_nano / 1e9, _attributes(e.attributes)) for e in span.events),
        links=tuple(link.span_id.hex() for link in span.links),
    )


class _Collector(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, *, hangs: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hangs = hangs
        self.received = Received(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        received = self.server.received
        received.asked.set()
        if self.server.hangs:
            received.let_go.wait()
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        received.raw += body
        if self.path == "/v1/traces":
            sent = ExportTraceServiceRequest.FromString(body)
            received.spans += [
                _spanned(span) for r in sent.resource_spans for scope in r.scope_spans for span in scope.spans
            ]
        else:
            counted = ExportMetricsServiceRequest.FromString(body)
            for metric in (m for r in counted.resource_metrics for scope in r.scope_metrics for m in scope.metrics):
                points = getattr(metric, metric.WhichOneof("data")).data_points
                received.metrics[metric.name] = list(points)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        pass


@contextmanager
def collector(*, hangs: bool = False) -> Iterator[Received]:
    """A receiver of traces and metrics; `hangs`: it takes what is sent, and answers only when it is let go."""
    server = _Collector(hangs=hangs)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.received
    finally:
        server.received.let_go.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Sender:
    """What a user sets up: providers that send to a collector in the background."""

    spans: TracerProvider
    metrics: MeterProvider

    def flush(self) -> None:
        """Send what is there."""
        self.spans.force_flush()
        self.metrics.force_flush()


@contextmanager
def sending(url: str, *, at_once: bool = False) -> Iterator[Sender]:
    """Providers that send to `url`; `at_once` leaves hardly a wait between the batches."""
    spans = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=1)
    spans.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1 if at_once else 60_000))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{url}/v1/metrics", timeout=1), 3_600_000)
    metrics = MeterProvider(metric_readers=[reader])
    try:
        yield Sender(spans, metrics)
    finally:
        spans.shutdown()
        metrics.shutdown()
