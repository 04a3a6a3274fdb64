"""The spans of requests."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from annotator.errors import ConfigError
from annotator.request_record import RequestRecord
from annotator.session.session import Session
from annotator.web import traces
from annotator.web.readiness import Readiness
from annotator.web.recorded_requests import RecordedRequests
from annotator.web.traces import RequestTraces, destination

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", ENDPOINT,
                 "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SERVICE_NAME"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def test_a_span_has_the_operation_and_the_status_and_nothing_of_the_photos(
    open_project: Callable[..., Session], build_app: Callable[..., FastAPI]
) -> None:
    exporter = InMemorySpanExporter()
    found = RequestTraces(exporter)
    app = RecordedRequests(build_app(open_project()), Readiness(), observers=[found.observe])
    client = TestClient(app, base_url="http://127.0.0.1:7860")
    client.get("/api/v1/session")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    answer = client.post("/api/v1/save?tag=sunset", json={"image_id": 99, "revision": 0, "kept": ["sunset"]})
    client.get("/image/99?full=1")
    found.close()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"GET session", "POST save", "GET get_image"}
    save = spans["POST save"]
    assert dict(save.attributes or {}) == {
        "annotator.operation": "save",
        "annotator.request_id": answer.headers["x-request-id"],
        "http.request.method": "POST",
        "http.response.status_code": 404,
    }
    assert save.kind == trace.SpanKind.SERVER
    assert not save.events
    assert save.status.is_unset
    assert save.resource.attributes["service.name"] == "annotator"
    assert "sunset" not in "".join(span.to_json() for span in spans.values())


def test_fastapi_s_own_spans_which_hold_query_strings_go_nowhere(
    open_project: Callable[..., Session], build_app: Callable[..., FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    other = FastAPI()
    TestClient(other).get("/x?tag=sunset")
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["url.query"] == "tag=sunset"  # what an app does by default
    exporter.clear()
    client = TestClient(build_app(open_project()), base_url="http://127.0.0.1:7860")
    for path in ("/api/v1/export?tag=sunset", "/config?tag=sunset", "/?tag=sunset"):
        assert client.get(path).status_code == 200
    assert exporter.get_finished_spans() == ()


def observed(exporter: InMemorySpanExporter, record: RequestRecord) -> None:
    found = RequestTraces(exporter)
    with found.observe(record):
        record.operation, record.status = "open", 500
    found.close()


def test_a_failed_request_is_an_error_under_the_operation_that_the_page_named() -> None:
    exporter = InMemorySpanExporter()
    observed(exporter, RequestRecord("page", "POST"))
    (span,) = exporter.get_finished_spans()
    assert span.name == "POST open"
    assert span.status.status_code == trace.StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "500"
    assert span.parent is None


@pytest.mark.parametrize(("given", "is_taken"), [(PARENT, True), ("00-junk", False), ("", False)])
def test_the_span_of_a_trusted_proxy_is_the_parent(given: str, is_taken: bool) -> None:
    exporter = InMemorySpanExporter()
    observed(exporter, RequestRecord("open", "POST", trace_parent=given))
    (span,) = exporter.get_finished_spans()
    assert (span.parent is not None) is is_taken
    if span.parent is not None:
        assert f"{span.parent.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"


def test_an_error_s_text_is_not_in_the_span() -> None:
    exporter = InMemorySpanExporter()
    found = RequestTraces(exporter)
    record = RequestRecord("save", "POST", status=500)
    with pytest.raises(RuntimeError), found.observe(record):
        raise RuntimeError("the tag sunset")
    found.close()
    (span,) = exporter.get_finished_spans()
    assert "sunset" not in span.to_json()


@contextmanager
def collector(taken: list[ExportTraceServiceRequest]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.integration
def test_spans_go_to_the_collector_that_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[ExportTraceServiceRequest] = []
    with collector(taken) as address:
        monkeypatch.setenv(ENDPOINT, address)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "tags")
        assert destination() == address
        found = RequestTraces()
        with found.observe(RequestRecord("save", "POST", status=200)):
            pass
        found.close()
    (resource,) = taken[0].resource_spans
    names = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert names["service.name"] == "tags"
    assert [span.name for span in resource.scope_spans[0].spans] == ["POST save"]


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
)
def test_a_variable_that_is_not_supported_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
        RequestTraces()


def test_spans_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert destination() == "http://localhost:4318"
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    assert isinstance(traces._exporter(), ConsoleSpanExporter)
    assert destination() == "standard output"
