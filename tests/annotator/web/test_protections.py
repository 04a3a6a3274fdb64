"""Protections that hold for all routes, all operations and all text fields at once; the table is in README.md."""

import ast
import contextlib
import hashlib
import io
import json
import logging
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import annotator
from annotator.auth.account_admin import UsersRequest
from annotator.auth.accounts import Accounts
from annotator.auth.login_limit import FREE_FAILURES
from annotator.errors import BackboneError, CheckpointError
from annotator.models import checkpoint
from annotator.models.backbones import pretrained
from annotator.models.backbones.backbone import Backbone
from annotator.session import workspace as workspace_module
from annotator.session.operations import OPERATIONS
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.database import Store
from annotator.storage.project import Project

HOME = "http://127.0.0.1:7860"
PASSWORD = "correct horse battery"
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


@pytest.fixture(scope="module")
def opened(backbone: Backbone, demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        project = Project.open_or_create(tmp_path_factory.mktemp("protected") / "project", "protected")
        project.update_settings(tagger="cold_start")
        opened = Session.over(Workspace(project))
        opened.workspace.ingest.run([demo_photos])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def app(opened: Session, build_app: Callable[..., FastAPI]) -> FastAPI:
    return build_app(opened)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client with the cookies and the token of the page, and all rights."""
    client = TestClient(app, base_url=HOME, follow_redirects=False, raise_server_exceptions=False)
    client.get("/login")
    client.headers.update({"x-annotator-token": client.cookies["annotator_token_7860"], "origin": HOME})
    return client


def routes_of(routes: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield (method, path) of every route, those of mounted apps (Gradio's) too."""
    for route in routes:
        if isinstance(route, Mount):
            yield from routes_of(route.routes, before + route.path)
        elif hasattr(route, "original_router"):  # how newer versions of FastAPI keep included routers
            yield from routes_of(route.original_router.routes, before)
        elif isinstance(route, Route):
            for method in sorted(route.methods or ()):
                yield method, before + re.sub(r"{[^}]*}", "1", route.path)


def test_every_changing_route_refuses_other_origins_and_calls_without_the_token(
    app: FastAPI, client: TestClient
) -> None:
    changing = sorted({(method, path) for method, path in routes_of(app.routes) if method in CHANGING})
    paths = {path for _, path in changing}
    assert {
        "/api/v1/save",
        "/api/v1/login",
        "/api/v1/users",
        "/gradio_api/upload",
        "/gradio_api/component_server",
    } <= paths
    assert {"/gradio_api/queue/join", "/gradio_api/run/1"} <= paths
    assert len([path for path in paths if path.startswith("/gradio_api/")]) > 8
    for method, path in changing:
        foreign = client.request(method, path, json={}, headers={"origin": "https://evil.example"})
        assert (foreign.status_code, foreign.json()["error"]["kind"]) == (403, "refused"), path
        assert "another origin" in foreign.json()["error"]["message"]
        cross = client.request(method, path, json={}, headers={"sec-fetch-site": "cross-site"})
        assert (cross.status_code, cross.json()["error"]["kind"]) == (403, "refused"), path
        bare = client.request(method, path, json={}, headers={"x-annotator-token": ""})
        assert (bare.status_code, bare.json()["error"]["kind"]) == (403, "refused"), path


def test_no_route_that_only_reads_changes_anything(app: FastAPI, opened: Session, client: TestClient) -> None:
    """These need no token: pages of other origins can send them, though not read the answer."""
    before = contents(opened.workspace.store)
    reading = sorted({path for method, path in routes_of(app.routes) if method == "GET"})
    assert "/api/v1/export" in reading
    for path in reading:
        assert client.get(path).status_code < 500, path
    assert contents(opened.workspace.store) == before


def test_of_gradio_s_routes_only_those_of_the_page_are_served(app: FastAPI, client: TestClient) -> None:
    gradio = {x for x in routes_of(app.routes) if x[1].startswith("/gradio_api/") and x[0] != "HEAD"}
    ours = re.compile(r"/gradio_api/(component_server|info|theme\.css)/?")
    switched_off = {(method, path) for method, path in gradio if not ours.fullmatch(path)}
    assert len(switched_off) > 10
    # Those that change something first: some of the others would not end.
    for method, path in sorted(switched_off, key=lambda route: (route[0] == "GET", route)):
        answer = client.request(method, path, json={})
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, "This server does not offer that."), (
            path
        )


def contents(store: Store) -> dict[str, list[Any]]:
    tables = [row[0] for row in store.rows("SELECT table_name FROM duckdb_tables() ORDER BY table_name")]
    return {table: sorted(store.rows(f"SELECT * FROM {table}"), key=str) for table in tables}


# Image ids

FITTING: dict[str, Any] = {
    "by": 1, "kept": [], "text": "c", "tag": "cat", "kind": "rename", "old": "a", "new": "b", "tagger": "cold_start",
    "keys": {}, "strategy": "in_order", "shown": True, "run_id": 1, "model_id": 99, "users": [],
    "people": 1, "note": "why?", "field": "title", "value": "A cat", "format": "csv", "transfer_id": "0" * 32,
    "entry_id": "event:0", "take": "ours", "label_config": "<View/>",
    "photos": {}, "submission": "0" * 16, "name": "cats", "least": 0.9, "path": "/",
}  # fmt: skip
"""A value for each required field of the operations."""


def needed(model: type[BaseModel]) -> dict[str, Any]:
    return {
        name: FITTING.get(name, 1 if field.annotation is int else [])
        for name, field in model.model_fields.items()
        if field.is_required()
    }


@pytest.mark.parametrize("name", [item.name for item in OPERATIONS.values() if "image_id" in item.request.model_fields])
def test_an_image_that_is_not_of_this_project_is_refused_by_every_operation(
    client: TestClient, opened: Session, name: str
) -> None:
    before = contents(opened.workspace.store)
    for image_id in (7, 2**31 - 1):  # the project has six
        answer = client.post(f"/api/{name}", json=needed(OPERATIONS[name].request) | {"image_id": image_id})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "unknown_image"), answer.text
    for image_id in (0, -1, 2**31, "1", 1.0, True, [1], None if name not in ("open", "review") else {}):
        answer = client.post(f"/api/{name}", json=needed(OPERATIONS[name].request) | {"image_id": image_id})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "request"), answer.text
    assert contents(opened.workspace.store) == before


# Text fields

SQL = [
    "'; DROP TABLE events; --",
    "' OR '1'='1",
    "x') ; DELETE FROM annotations; --",
    "\"; ATTACH '/tmp/x' AS y; --",
    "1); INSERT INTO users VALUES ('x', 'x', 4, false, now()); --",
]


def texts_of(model: type[BaseModel]) -> Iterator[str]:
    """Yield the fields of a payload that hold a text, or a list of texts."""
    for name, field in model.model_fields.items():
        if "str" in str(field.annotation) and "Literal" not in str(field.annotation):
            yield name


def with_text(model: type[BaseModel], field: str, text: str) -> dict[str, Any]:
    longest = max((m.max_length for m in model.model_fields[field].metadata if hasattr(m, "max_length")), default=None)
    text = text[:longest]
    kind = str(model.model_fields[field].annotation)
    value: Any = {"sql": [text]} if "dict" in kind else [text] if "list" in kind else text
    if "actions" in field:
        value = [[text]]
    if "shown" in field:
        value = [{"tag": text, "score": 0.5, "source": text[:40]}]
    return needed(model) | {field: value}


MODELS = {**{name: item.request for name, item in OPERATIONS.items()}, "users": UsersRequest}
FIELDS = [(name, field) for name, model in MODELS.items() for field in texts_of(model)]


def test_the_text_fields_are_found() -> None:
    assert {("save", "kept"), ("save", "tagger"), ("browse", "query"), ("set_keys", "keys"), ("users", "name"),
            ("change_tag", "old"), ("complete", "text"), ("assign", "users")} <= set(FIELDS)  # fmt: skip
    assert len(FIELDS) > 20


def test_sql_in_a_text_is_not_executed(client: TestClient, opened: Session) -> None:
    client.post("/api/save", json={"image_id": 1, "revision": 0, "kept": ["cat", "sofa"]})
    before = contents(opened.workspace.store)
    for name, field in FIELDS:
        for text in SQL[:2]:
            answer = client.post(f"/api/{name}", json=with_text(MODELS[name], field, text))
            assert answer.status_code < 500, (name, field, text, answer.text)
    after = contents(opened.workspace.store)
    assert set(after) == set(before)
    assert all(event in after["events"] for event in before["events"])
    assert after["users"] == before["users"] == []
    assert {row[0]: list(row[2]) for row in after["annotations"]}[1]
    client.post("/api/set_order_rules", json={})
    client.post("/api/save", json={"image_id": 2, "revision": revision(opened, 2), "kept": SQL})
    assert opened.workspace.log.annotation(2).tags == tuple(SQL)
    for text in SQL:
        found = client.post("/api/browse", json={"query": text}).json()["items"]
        assert 2 in [item["image_id"] for item in found]
        assert 4 not in [item["image_id"] for item in found]


def revision(opened: Session, image_id: int) -> int:
    return opened.workspace.log.annotation(image_id).revision


# Secrets


@contextlib.contextmanager
def captured(level: int) -> Iterator[io.StringIO]:
    """All messages of all loggers at a level."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    was = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(was)


def test_no_secret_is_logged_or_repeated_in_an_answer(app: FastAPI, opened: Session, client: TestClient) -> None:
    with captured(logging.DEBUG) as log:
        answers = []

        def call(operation: str, /, **payload: Any) -> Any:
            answers.append(client.post(f"/api/{operation}", json=payload))
            client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
            return answers[-1].json()

        call("users", do="add", name="root", role="admin", password=PASSWORD)
        call("login", name="root", password=f"wrong {PASSWORD}")
        call("login", name="root", password=PASSWORD)
        call("login", name="root", password=[PASSWORD])
        call("login", name="root", password=PASSWORD + "x" * 2000)
        token = call("users", do="token", name="root", role="viewer")["token"]
        session_id = client.cookies["annotator_session_7860"]
        program = TestClient(app, base_url=HOME, headers={"authorization": f"Bearer {token}"})
        assert program.get("/api/session").status_code == 200
        assert program.get("/api/session", headers={"authorization": f"Bearer {token}x"}).status_code == 401
        call("users", do="password", name="root", password="short")
        logging.getLogger("test").debug("this is heard")
    secrets = [
        PASSWORD,
        token,
        session_id,
        opened.workspace.authenticator.local_secret,
        client.headers["x-annotator-token"],
    ]
    text = log.getvalue()
    assert "this is heard" in text
    assert [secret for secret in secrets if secret in text] == []
    told = "".join(answer.text for answer in answers).replace(token, "", 1)  # shown once, when it is made
    assert [secret for secret in secrets if secret in told] == []
    with opened.workspace.store.transaction() as cursor:
        for table in ("users", "sessions", "api_tokens"):
            cursor.execute(f"DELETE FROM {table}")
    opened.workspace.accounts._load()


def test_a_served_project_prints_no_secret_and_keeps_its_own_to_the_owner(
    backbone_cache: Path, tmp_path: Path, until: Callable[..., Any]
) -> None:
    project = Project.open_or_create(tmp_path / "project", "quiet")
    store = Store(project.database_path)
    Accounts(store).add("root", "admin", PASSWORD)
    store.close()
    options = ["--project", str(project.folder), "--port", "0", "--tagger", "cold_start"]
    (tmp_path / "photos").mkdir()
    command = [sys.executable, "-m", "annotator.cli", "--verbose", "serve", str(tmp_path / "photos"), *options]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: project.server_path.exists() or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert stat.S_IMODE(os.stat(project.server_path).st_mode) == 0o600
        about = json.loads(project.server_path.read_text())
        with httpx.Client(base_url=about["address"], timeout=60) as client:
            client.get("/login")
            port = about["address"].rsplit(":", 1)[1]
            for password in ("a wrong password", PASSWORD):
                client.headers["x-annotator-token"] = client.cookies[f"annotator_token_{port}"]
                client.post("/api/login", json={"name": "root", "password": password})
            assert client.get("/api/session").json()["user"] == "root"
            client.get("/api/session", headers={"authorization": f"Bearer {about['secret']}"})
            client.headers["x-annotator-token"] = client.cookies[f"annotator_token_{port}"]
            answers = [
                client.post(
                    "/api/login",
                    json={"name": "guessed", "password": f"wrong {number}"},
                    headers={"x-forwarded-for": f"203.0.113.{number}"},  # the server ignores such headers
                )
                for number in range(2 * FREE_FAILURES)
            ]
            assert "Too many wrong passwords" in " ".join(answer.text for answer in answers)
            secrets = [PASSWORD, "a wrong password", about["secret"], *dict(client.cookies).values()]
    finally:
        process.terminate()
        process.wait(60)
    text = (tmp_path / "log").read_text()
    assert about["address"] in text
    assert [secret for secret in secrets if secret in text] == []
    assert PASSWORD.encode() not in project.database_path.read_bytes()


def test_guessing_passwords_over_http_is_delayed(app: FastAPI, opened: Session, client: TestClient) -> None:
    answers = [client.post("/api/login", json={"name": "guessed", "password": f"wrong {n}"}) for n in range(7)]
    assert {answer.status_code for answer in answers} == {401}
    assert re.search(r"Too many wrong passwords\. Try again in \d+ s\.", answers[-1].json()["error"]["message"])


# Pickles


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def sources() -> list[Path]:
    root = Path(annotator.__file__).parents[1]
    return [path for folder in ("annotator", "models", "datasets", "trainer") for path in (root / folder).rglob("*.py")]


AMONG_WORKERS = "ray_engine.py: pickle.loads"
"""What the tasks of a Ray cluster send each other; Ray pickles their calls and results in any case, and no file of a
project or of shards is read so."""


def test_no_module_loads_pickles() -> None:
    """No module contains any of the calls that load pickles, but for one."""
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name.endswith(
                ("pickle.load", "pickle.loads", "joblib.load", "marshal.loads", "shelve.open", "yaml.load")
            ):
                found.append(f"{path.name}: {name}")
            if name == "torch.load" and options.get("weights_only") != "True":
                found.append(f"{path.name}: {name} without weights_only")
            if options.get("allow_pickle", "False") != "False":
                found.append(f"{path.name}: {name} with pickles")
    assert found == [AMONG_WORKERS]
    assert len(sources()) > 100


def test_a_pickle_in_place_of_weights_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save(Bomb(mark), tmp_path / "bomb.pt")
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert mark.exists()  # the pickle does work
    mark.unlink()
    with pytest.raises(BackboneError, match="cannot be read"):
        pretrained.load_state(tmp_path / "bomb.pt")
    starter = checkpoint.find("starter")
    for data in (pickle.dumps(Bomb(mark)), (tmp_path / "bomb.pt").read_bytes()):
        folder = tmp_path / f"of {len(data)} bytes"
        shutil.copytree(starter, folder)
        about = json.loads((folder / checkpoint.SETTINGS_FILE).read_text())
        about["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / about["weights"]["file"]).write_bytes(data)
        (folder / checkpoint.SETTINGS_FILE).write_text(json.dumps(about))
        with pytest.raises(CheckpointError):
            checkpoint.load(folder)
    assert not mark.exists()
