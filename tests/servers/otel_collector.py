"""A real collector of traces, Rotel (PyPI), for as long as a `with` block lasts; what it sends on is kept.

It takes OTLP over HTTP as every collector does, and exports what it took to a receiver of the test, which reads it with
OpenTelemetry's own protobufs.
"""

import gzip
import importlib.util
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.local.processes import Child
from tests.servers.s3_server import free_ports
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, web_server


@dataclass(frozen=True, slots=True)
class Span:
    """One span as the collector sent it on. Ids in hex."""

    name: str
    service: str
    trace: str
    id: str
    parent: str  # "": none
    begin: int  # ns
    end: int
    failed: str  # message of a status that is an error
    attributes: dict[str, Any]


@dataclass(slots=True)
class Collector:
    """Where it listens, and what went through it."""

    endpoint: str
    spans: list[Span] = field(default_factory=list)

    def named(self, name: str) -> Span:
        """The span of that name, of which there must be one; waits for it."""
        eventually(lambda: [span for span in self.spans if span.name == name], "the collector has the span")
        (found,) = [span for span in self.spans if span.name == name]
        return found


@contextmanager
def otel_collector(folder: Path) -> Iterator[Collector]:
    """Start it, with its log in `folder`. Skips the test where the package is not installed."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        pytest.skip("no collector: the package rotel is not installed (make install-dev)")
    http, grpc = free_ports(2)
    collector = Collector(f"http://127.0.0.1:{http}")

    def take(handler: Handler) -> None:
        body = handler.body
        zipped = handler.headers.get("Content-Encoding") == "gzip"
        collector.spans.extend(_spans(gzip.decompress(body) if zipped else body))
        handler.reply(200, Content_Type="application/x-protobuf")

    with web_server(take) as receiver:
        command = [
            str(Path(found.origin).with_name("rotel-agent")), "start",
            "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
            "--exporter", "otlp", "--otlp-exporter-endpoint", receiver.url, "--otlp-exporter-protocol", "http",
            "--traces-batch-timeout", "100ms",
        ]  # fmt: skip
        child = Child("rotel", command, folder / "rotel.log", environ={"PATH": "/usr/bin:/bin"})
        try:
            eventually(lambda: _listens(http), "the collector listens")
            yield collector
        finally:
            child.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _spans(body: bytes) -> Iterator[Span]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.name,
                    service,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.message if span.status.code == 2 else "",
                    {one.key: one.value.string_value or one.value.int_value for one in span.attributes},
                )
