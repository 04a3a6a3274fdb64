"""The outermost layer: request ids, names of operations, observers, and the end of a server."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from annotator.hosted.routes import build_hosted_router
from annotator.request_record import REQUEST, RequestRecord
from annotator.session.navigation import Navigation
from annotator.session.operations import FORMER_NAMES, OPERATIONS
from annotator.session.session import Session
from annotator.web.readiness import DRAINING, Readiness
from annotator.web.recorded_requests import RecordedRequests, operation_of
from annotator.web.server import behind_proxies

OWN_ID = re.compile(r"[0-9a-f]{12}")
GIVEN = "7f3a-9.b:c_d"
HOME = "http://127.0.0.1:7860"


def shown_id(request: Request) -> Response:
    logging.getLogger("annotator.shown").warning("here")
    return PlainTextResponse(REQUEST.get().request_id)


def failing(request: Request) -> Response:
    raise RuntimeError("a mistake")


def app_of(*paths: str) -> Starlette:
    return Starlette(routes=[*(Route(path, shown_id) for path in paths), Route("/fails", failing)])


def client_of(layer: RecordedRequests, address: str = "127.0.0.1") -> TestClient:
    return TestClient(layer, base_url=HOME, client=(address, 5000), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("address", "trusted", "given", "is_taken"),
    [
        ("10.0.0.7", ("10.0.0.0/8",), GIVEN, True),
        ("::ffff:10.0.0.7", ("10.0.0.0/8",), GIVEN, True),
        ("127.0.0.1", ("10.0.0.0/8",), GIVEN, False),
        ("127.0.0.1", (), GIVEN, False),
        ("10.0.0.7", ("10.0.0.0/8",), "short", False),
        ("10.0.0.7", ("10.0.0.0/8",), 'x" onload="x()', False),
        ("10.0.0.7", ("10.0.0.0/8",), "x" * 200, False),
        ("10.0.0.7", ("10.0.0.0/8",), "", False),
    ],
)
def test_an_id_is_taken_from_a_trusted_proxy_alone_and_made_otherwise(
    address: str, trusted: tuple[str, ...], given: str, is_taken: bool
) -> None:
    client = client_of(RecordedRequests(app_of("/x"), Readiness(), trusted), address)
    answer = client.get("/x", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == answer.text  # the thread that answers knows it
    assert answer.text == given if is_taken else OWN_ID.fullmatch(answer.text)
    assert client.get("/x").text != answer.text


def test_behind_a_proxy_the_id_is_taken_although_the_caller_s_address_is_another() -> None:
    trusted = ("10.0.0.7",)
    layer = RecordedRequests(behind_proxies(app_of("/x"), trusted), Readiness(), trusted)
    headers = {"x-request-id": GIVEN, "x-forwarded-for": "203.0.113.9"}
    assert client_of(layer, "10.0.0.7").get("/x", headers=headers).text == GIVEN
    # A caller cannot pass itself off as the proxy by a header.
    headers["x-forwarded-for"] = "10.0.0.7"
    assert client_of(layer, "203.0.113.9").get("/x", headers=headers).text != GIVEN


def test_an_observer_sees_every_request_with_its_end() -> None:
    seen: list[tuple[str, str, int]] = []

    @contextmanager
    def observe(record: RequestRecord) -> Iterator[None]:
        assert record.seconds == 0
        try:
            yield
        finally:
            assert record.seconds > 0
            seen.append((record.method, record.operation, record.status))

    layer = RecordedRequests(app_of("/api/v1/save", "/image/7"), Readiness(), root_path="/photos", observers=[observe])
    client = client_of(layer)
    for path in ("/api/v1/save", "/photos/api/v1/save", "/image/7", "/fails", "/api/v1/nothing/tag/cat"):
        client.get(path)
    client.request("TAG/cat", "/image/7")
    assert seen == [
        ("GET", "save", 200),
        ("GET", "save", 404),  # this app does not take the prefix off
        ("GET", "get_image", 200),
        ("GET", "page", 500),  # the error is raised through this layer
        ("GET", "other", 404),
        ("OTHER", "get_image", 405),
    ]
    assert layer.num_in_progress == 0


def test_a_caller_that_goes_away_is_counted_as_nginx_does() -> None:
    seen: list[int] = []

    @contextmanager
    def observe(record: RequestRecord) -> Iterator[None]:
        yield
        seen.append(record.status)

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    layer = RecordedRequests(silent, Readiness(), observers=[observe])
    client_of(layer).get("/")
    assert seen == [499]


def test_while_the_server_ends_only_probes_are_answered() -> None:
    readiness = Readiness(lambda: "no space can be made")
    layer = RecordedRequests(app_of("/api/v1/save", "/api/v1/ready", "/api/v1/health"), readiness)
    client = client_of(layer)
    assert readiness.missing() == ["no space can be made"]
    assert client.get("/api/v1/save").status_code == 200
    readiness.is_draining = True
    assert readiness.missing() == [DRAINING]
    refused = client.get("/api/v1/save")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "refused")
    assert "Try again" in refused.json()["error"]["message"]
    assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
    assert OWN_ID.fullmatch(refused.headers["x-request-id"])
    assert [client.get(f"/api/v1/{name}").status_code for name in ("ready", "health")] == [200, 200]


def test_each_request_is_one_line_of_the_log_and_probes_are_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "annotator")
    client = client_of(RecordedRequests(app_of("/api/v1/save", "/api/v1/ready"), Readiness()))
    client.get("/api/v1/ready?tag=cat")
    client.get("/api/v1/save?tag=cat")
    lines = [record.getMessage() for record in caplog.records if record.name == "annotator.web.recorded_requests"]
    assert len(lines) == 1
    assert re.fullmatch(r"GET save: 200 in \d+ ms", lines[0])


def paths_of(app: FastAPI) -> set[str]:
    return {re.sub(r"\{\w+\}", "1", path) for path in app.openapi()["paths"] if not path.startswith("/gradio_api")}


def demo_routes() -> FastAPI:
    app, nothing = FastAPI(), cast("Any", None)
    app.include_router(build_hosted_router(nothing, nothing, nothing, nothing, nothing))
    return app


def test_every_route_has_a_name_of_its_own(
    open_project: Callable[..., Session], build_app: Callable[..., FastAPI]
) -> None:
    paths = paths_of(build_app(open_project())) | paths_of(demo_routes())
    assert len([path for path in paths if path.startswith("/api/v1/demo/")]) == 5
    names = {path: operation_of(path) for path in paths}
    assert {path for path, name in names.items() if name in ("other", "page")} == set()
    assert len(set(names.values())) == len(names)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names.values())
    assert set(OPERATIONS) <= set(names.values())


def test_former_paths_count_as_the_present_ones_and_made_up_ones_as_one() -> None:
    for former, name in FORMER_NAMES.items():
        assert operation_of(f"/api/{former}") == name
    assert operation_of("/api/save") == "save"
    assert {operation_of(f"/api/v1/{number}") for number in range(50)} == {"other"}
    assert {operation_of(f"/{number}") for number in range(50)} == {"page"}
    assert {operation_of(path) for path in ("", "/", "//", "/login", "/assets/index.js", "/config")} == {"page"}
    assert operation_of("/ui/languages/de.js") == "page_file"


def failing_state(*arguments: object) -> None:
    raise RuntimeError("a mistake")


@pytest.mark.parametrize("by_page", [False, True])
def test_the_sentence_about_a_failed_call_names_the_id_that_the_log_has(
    by_page: bool,
    open_project: Callable[..., Session],
    build_app: Callable[..., FastAPI],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    records: list[RequestRecord] = []

    @contextmanager
    def observe(record: RequestRecord) -> Iterator[None]:
        records.append(record)
        yield

    ids: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        if record.exc_info:
            ids.append(REQUEST.get().request_id)
        return True

    caplog.handler.addFilter(note)
    client = client_of(RecordedRequests(build_app(open_project()), Readiness(), observers=[observe]))
    client.get("/api/v1/session")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    monkeypatch.setattr(Navigation, "state", failing_state)
    if by_page:
        part = next(part for part in client.get("/config").json()["components"] if part["type"] == "html")
        body = {"data": {}, "session_hash": "x", "component_id": part["id"], "fn_name": "state"}
        answer = client.post("/gradio_api/component_server", json=body)
    else:
        answer = client.post("/api/v1/state", json={})
    caplog.handler.removeFilter(note)
    # Gradio's client shows the page nothing of an answer with another status.
    assert answer.status_code == (200 if by_page else 500)
    error = answer.json()["error"]
    own = answer.headers["x-request-id"]
    assert error["kind"] == "failed"
    assert error["message"] == f"The server failed at this call; its log says why under the request id {own}."
    assert "mistake" not in answer.text
    assert ids == [own]
    assert (records[-1].operation, records[-1].status, records[-1].status_class) == ("state", 500, "5xx")


def test_a_known_error_in_the_page_s_answer_counts_with_its_status(
    open_project: Callable[..., Session], build_app: Callable[..., FastAPI]
) -> None:
    records: list[RequestRecord] = []

    @contextmanager
    def observe(record: RequestRecord) -> Iterator[None]:
        records.append(record)
        yield

    client = client_of(RecordedRequests(build_app(open_project()), Readiness(), observers=[observe]))
    client.get("/api/v1/session")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    part = next(part for part in client.get("/config").json()["components"] if part["type"] == "html")
    for name, payload in (("open", {"image_id": 99}), ("state", {}), ("made up", {})):
        body = {"data": payload, "session_hash": "x", "component_id": part["id"], "fn_name": name}
        client.post("/gradio_api/component_server", json=body)
    found = [(record.operation, record.status) for record in records[-3:]]
    assert found == [("open", 404), ("state", 200), ("page", 404)]


def test_a_json_answer_of_the_layer_below_is_left_as_it_is() -> None:
    async def answer(request: Request) -> Response:
        return JSONResponse({"a": 1}, 201, headers={"x-request-id": "from below"})

    client = client_of(RecordedRequests(Starlette(routes=[Route("/", answer)]), Readiness()))
    got = client.get("/")
    assert (got.status_code, got.json()) == (201, {"a": 1})
    assert OWN_ID.fullmatch(got.headers["x-request-id"])  # one header, ours
