"""Traces: one from Label Studio's event through claim, launch, job and pointer to the first prediction of the version.

Only if `configure` was given an endpoint: else nothing of OpenTelemetry is imported, and spans are nothing. What the
next program goes on from is W3C's `traceparent`: text that stands in the claim and in the manifest.

Spans leave on a thread of their own. A collector that is down, or hangs, costs the spans that it should have had.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

_EXPORT_SECONDS = 3.0  # for one batch
_BATCH_MILLISECONDS = 1000  # spans wait so long for others: short, as a function may sleep after its answer
_MOST_KNOWN = 10_000  # keys of `once`


class _Sdk(NamedTuple):
    """The parts of OpenTelemetry that are used, once it is imported."""

    provider: Any
    tracer: Any
    propagator: Any
    trace: Any  # the module opentelemetry.trace


_lock = threading.Lock()
_wanted: tuple[str, str] | None = None  # service, endpoint
_sdk: _Sdk | None = None
_known: dict[tuple[str, ...], None] = {}


def configure(service: str, endpoint: str | None) -> None:
    """Turn tracing on when a program starts. `endpoint`: OTEL_EXPORTER_OTLP_ENDPOINT; None: no traces.

    Imports nothing yet.
    """
    global _wanted, _sdk
    with _lock:
        _wanted, _sdk = ((service, endpoint) if endpoint else None), None
        _known.clear()


@contextmanager
def span(name: str, parent: str = "", **attributes: str | int) -> Iterator[str]:
    """A span around the `with` block; gives its traceparent, "" if there are no traces.

    `parent`: the traceparent of the span that it goes on from; "": the one around it, or none.
    """
    if _wanted is None or (sdk := _started()) is None:
        yield ""
        return
    told = {f"labelloop.{key}": value for key, value in attributes.items() if value != ""}
    context = sdk.propagator.extract({"traceparent": parent}) if parent else None
    with sdk.tracer.start_as_current_span(
        name, context=context, attributes=told, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield current()
        except BaseException as error:  # its message is in the log
            made.set_status(sdk.trace.StatusCode.ERROR, type(error).__name__)
            raise


def current() -> str:
    """The traceparent of the span around the caller; "" if there is none."""
    carrier: dict[str, str] = {}
    if _wanted is not None and (sdk := _started()) is not None:
        sdk.propagator.inject(carrier)
    return carrier.get("traceparent", "")


def once(name: str, parent: str, *, began: int, key: tuple[str, ...], **attributes: str | int) -> None:
    """A span from `began` (time.time_ns()) until now; only the first one of this process with this key."""
    if not parent or _wanted is None or (sdk := _started()) is None:
        return
    with _lock:
        if key in _known or len(_known) >= _MOST_KNOWN:
            return
        _known[key] = None
    told = {f"labelloop.{key}": value for key, value in attributes.items()}
    context = sdk.propagator.extract({"traceparent": parent})
    sdk.tracer.start_span(name, context=context, attributes=told, start_time=began).end()


class Steps:
    """Steps that follow one another: each is a span below the current one. For one thread."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def begin(self, name: str, *, control: str = "") -> None:
        """End the last step and begin this one. Spans that are opened until it ends lie below it."""
        self.end()
        self._open.enter_context(span(name, control=control))

    def end(self) -> None:
        """End the last step. Call it before the span around all steps ends."""
        self._open.close()


def flush() -> None:
    """Send the spans that are left, at the end of a program; gives up after three seconds."""
    if (sdk := _sdk) is not None:
        sending = threading.Thread(target=sdk.provider.force_flush, name="traces", daemon=True)
        sending.start()
        sending.join(_EXPORT_SECONDS)


def _started() -> _Sdk | None:
    """OpenTelemetry's SDK, imported with the first span; None if it cannot be used."""
    global _wanted, _sdk
    with _lock:
        if _sdk is not None or _wanted is None:
            return _sdk
        service, endpoint = _wanted
        try:
            _sdk = _start(service, endpoint)
        except (ImportError, ValueError) as error:
            _wanted = None
            logger.warning(
                f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but no traces are sent: {error}", extra={"event": "no_traces"}
            )
        return _sdk


def _start(service: str, endpoint: str) -> _Sdk:
    if not endpoint.startswith(("http://", "https://")):
        raise ValueError("it must be the http address of a collector that takes OTLP over HTTP (mostly port 4318)")
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError as error:
        raise ImportError(f"pip install 'labelloop[otel]' ({error})") from error
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would log each batch that is not taken
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    batches: Any = _Exporter(exporter)
    provider.add_span_processor(BatchSpanProcessor(batches, schedule_delay_millis=_BATCH_MILLISECONDS))
    return _Sdk(provider, provider.get_tracer("labelloop"), TraceContextTextMapPropagator(), trace)


class _Exporter:
    """A SpanExporter that says once that the collector takes nothing, and once that it does again."""

    def __init__(self, inside: Any) -> None:
        self._inside = inside
        self._failed = False

    def export(self, spans: Any) -> Any:
        """Send a batch. Called on the SDK's thread."""
        result = self._inside.export(spans)
        failed = result.name != "SUCCESS"
        if failed and not self._failed:
            logger.warning("the collector takes no traces: they are lost", extra={"event": "traces_lost"})
        elif self._failed and not failed:
            logger.info("the collector takes traces again", extra={"event": "traces_taken"})
        self._failed = failed
        return result

    def shutdown(self) -> None:
        """See SpanExporter."""
        self._inside.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See SpanExporter."""
        return bool(self._inside.force_flush(timeout_millis))
