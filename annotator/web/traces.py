"""OpenTelemetry traces: one span for each request, sent to a collector by OTLP.

A span holds the operation, the method, the status and the request's id: no path, no user, no tag, no error text. The
standard variables OTEL_* say where spans go and how many are kept. FastAPI's own spans, which are switched off
(web/app.py), hold paths and query strings, believe every caller's `traceparent`, and do not know which operation the
page calls. Knows nothing of what operations do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from annotator import __version__
from annotator.errors import ConfigError
from annotator.request_record import RequestRecord

FLUSH_MILLISECONDS = 3000
"""For the last spans to be sent when the server ends."""


class RequestTraces:
    """Makes the spans of one server's requests.

    Its provider is no global one: spans that libraries make of their own accord, with what they hold, go nowhere.

    Args:
        exporter: Takes the spans; None takes the one that OTEL_TRACES_EXPORTER names.

    Raises:
        ConfigError: OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL has a value that is not supported.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        exporter = exporter or _exporter()
        name = os.environ.get("OTEL_SERVICE_NAME") or "annotator"
        resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("annotator", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def observe(self, record: RequestRecord) -> Iterator[None]:
        """Make the span of one request."""
        parent = self._propagator.extract({"traceparent": record.trace_parent}) if record.trace_parent else None
        with self._tracer.start_as_current_span(
            f"{record.method} {record.operation}",
            context=parent,
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                # The page names its operation in the body, so it is known only by now.
                span.update_name(f"{record.method} {record.operation}")
                span.set_attributes(
                    {
                        "annotator.operation": record.operation,
                        "annotator.request_id": record.request_id,
                        "http.request.method": record.method,
                        "http.response.status_code": record.status,
                    }
                )
                if record.status >= 500:
                    span.set_status(StatusCode.ERROR)
                    span.set_attribute("error.type", str(record.status))

    def close(self) -> None:
        """Send the last spans, for a limited time, and stop."""
        self._provider.force_flush(FLUSH_MILLISECONDS)
        self._provider.shutdown()


def _exporter() -> SpanExporter:
    wanted = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if wanted == "console":
        return ConsoleSpanExporter()
    if wanted != "otlp":
        raise ConfigError(f"OTEL_TRACES_EXPORTER is {wanted[:40]!r}; --traces supports otlp and console.")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name) or "http/protobuf"
        if protocol != "http/protobuf":
            raise ConfigError(f"{name} is {protocol[:40]!r}; --traces supports http/protobuf.")
    return OTLPSpanExporter()


def destination() -> str:
    """Return where the spans go, in words."""
    if os.environ.get("OTEL_TRACES_EXPORTER") == "console":
        return "standard output"
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), "http://localhost:4318")
