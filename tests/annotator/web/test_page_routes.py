"""The page's calls go to our route: Gradio keeps nothing for callers, looks up nothing and holds no connection."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from gradio.routes import App
from starlette.routing import Mount
from starlette.testclient import TestClient

from annotator.models.backbones.backbone import Backbone
from annotator.session import workspace as workspace_module
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project
from annotator.web.page_routes import PATH

HOME = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def app(
    backbone: Backbone,
    build_app: Callable[..., FastAPI],
    photo_bytes: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FastAPI]:
    folder = tmp_path_factory.mktemp("page routes")
    (folder / "photos").mkdir()
    (folder / "photos" / "photo.jpg").write_bytes(photo_bytes(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        opened = Session.over(Workspace(Project.open_or_create(folder / "project", "test")))
        opened.workspace.ingest.run([folder / "photos"])
        yield build_app(opened)
        opened.close()


@pytest.fixture(scope="module")
def client(app: FastAPI) -> TestClient:
    client = TestClient(app, base_url=HOME, raise_server_exceptions=False)
    client.get("/api/session")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    return client


@pytest.fixture(scope="module")
def component_id(client: TestClient) -> int:
    return int(next(part["id"] for part in client.get("/config").json()["components"] if part["type"] == "html"))


def gradio_of(app: FastAPI) -> App:
    return next(route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, App))


def test_calls_with_made_up_sessions_leave_nothing_in_gradio(
    app: FastAPI, client: TestClient, component_id: int
) -> None:
    state = gradio_of(app).state_holder
    before = len(state.session_data)
    for number in range(20):
        body = {"data": {}, "session_hash": f"made up {number}", "component_id": component_id, "fn_name": "state"}
        for path in (PATH, f"{PATH}/"):
            assert client.post(path, json=body).json()["num_images"] == 1
    assert len(state.session_data) == before


@pytest.mark.parametrize("wrong", [0, -1, 10**9, "1", None, True, 1.0, [1], {"a": 1}])
def test_another_component_is_not_looked_up(client: TestClient, wrong: Any) -> None:
    answer = client.post(PATH, json={"data": {}, "session_hash": "x", "component_id": wrong, "fn_name": "state"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "request")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["__class__", "postprocess", "", None, 7, ["state"], {}])
def test_only_operations_can_be_called(client: TestClient, component_id: int, name: Any) -> None:
    answer = client.post(PATH, json={"data": {}, "session_hash": "x", "component_id": component_id, "fn_name": name})
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["kind"] == "request"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 15_000, b'{"data": {}}'])
def test_a_malformed_call_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(PATH, content=body)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "request")


@pytest.mark.parametrize("path", ["heartbeat/x", "startup-events"])
def test_connections_without_end_and_start_up_events_are_closed(client: TestClient, path: str) -> None:
    assert client.get(f"/gradio_api/{path}").status_code == 404


def test_the_page_opens_no_heartbeat(client: TestClient) -> None:
    assert client.get("/config").json()["connect_heartbeat"] is False


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-host": "evil.example"},
        {"x-gradio-server": "http://evil.example"},
        {"x-forwarded-proto": "https"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/config"])
def test_headers_of_callers_do_not_change_the_addresses_in_the_page(
    client: TestClient, path: str, headers: dict[str, str]
) -> None:
    plain, forged = client.get(path), client.get(path, headers=headers)
    assert forged.status_code == 200
    assert "evil.example" not in forged.text
    assert forged.text.count("https://127.0.0.1") == plain.text.count("https://127.0.0.1")
