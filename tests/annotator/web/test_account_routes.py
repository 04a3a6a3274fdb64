"""Accounts over HTTP: login, roles, leases of two users; each protection is also tested by removing it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from annotator.auth.login_limit import FREE_FAILURES, LoginLimit
from annotator.auth.project_auth import ProjectAuthenticator
from annotator.auth.roles import LOCAL_USER, Caller, Role
from annotator.models.backbones.backbone import Backbone
from annotator.session import operations
from annotator.session import workspace as workspace_module
from annotator.session.operations import OPERATIONS
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import ServerConfig
from annotator.storage.project import Project
from annotator.web import request_guard as security
from annotator.web import server as app_module
from annotator.web.request_guard import Tokens

HOME = "http://127.0.0.1:7860"
PASSWORD = "correct horse battery"
PEOPLE = {"vera": "viewer", "anna": "annotator", "ben": "annotator", "rita": "reviewer", "root": "admin"}
SESSION, TOKEN = "annotator_session_7860", "annotator_token_7860"


@pytest.fixture(scope="module")
def opened(backbone: Backbone, demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        project = Project.open_or_create(tmp_path_factory.mktemp("people") / "project", "people")
        project.update_settings(tagger="cold_start")
        opened = Session.over(Workspace(project))
        opened.workspace.ingest.run([demo_photos])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def app(opened: Session, build_app: Callable[..., FastAPI]) -> FastAPI:
    return build_app(opened)


@pytest.fixture(scope="module", autouse=True)
def _people(opened: Session) -> None:
    for name, role in PEOPLE.items():
        opened.workspace.accounts.add(name, role, PASSWORD)


@pytest.fixture(autouse=True)
def _no_leases(opened: Session) -> None:
    for image_id in opened.workspace.leases.all():
        opened.workspace.leases.end(image_id)
    opened.workspace.assignments.assign(range(1, 7), None)


def anonymous(app: FastAPI) -> TestClient:
    client = TestClient(app, base_url=HOME, follow_redirects=False)
    client.get("/login")
    client.headers["x-annotator-token"] = client.cookies[TOKEN]
    return client


def person(app: FastAPI, name: str) -> TestClient:
    client = anonymous(app)
    answer = client.post("/api/login", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["x-annotator-token"] = client.cookies[TOKEN]
    return client


def call(client: TestClient, operation: str, /, **payload: Any) -> Any:
    return client.post(f"/api/{operation}", json=payload)


def test_without_a_login_only_the_login_page_is_served(app: FastAPI) -> None:
    client = anonymous(app)
    sent_on = client.get("/", headers={"accept": "text/html"})
    assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/login")
    for path in ("/", "/api/export", "/image/1", "/thumbnail/1", "/config", "/openapi.json", "/gradio_api/info",
                 "/api/session", "/ui/page.js", "/nowhere"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.json()["error"]["kind"] == "login"
    for name in OPERATIONS:
        assert call(client, name).status_code == 401, name
    assert call(client, "users", do="list").status_code == 401
    assert client.get("/api/health").json() == {"status": "ok"}
    assert 'data-text="login.log_in"' in client.get("/login").text


def test_without_the_login_check_everything_would_be_served(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProjectAuthenticator, "by_session", lambda gate, session_id: Caller("local", Role.ADMIN))
    client = anonymous(app)
    assert client.get("/api/export").status_code == 200
    assert call(client, "users", do="list").status_code == 200


def test_a_wrong_password_gives_no_session(app: FastAPI) -> None:
    client = anonymous(app)
    answer = call(client, "login", name="anna", password="a wrong password")
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "The name or the password is wrong.")
    assert "set-cookie" not in answer.headers
    assert call(client, "state").status_code == 401


def test_logging_in_needs_the_page_s_own_token(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of another origin must not log a user in to another account."""
    client = anonymous(app)
    del client.headers["x-annotator-token"]
    credentials = {"name": "anna", "password": PASSWORD}
    assert call(client, "login", **credentials).status_code == 403
    evil = {"x-annotator-token": client.cookies[TOKEN], "origin": "https://evil.example"}
    assert client.post("/api/login", json=credentials, headers=evil).status_code == 403
    monkeypatch.setattr(security.RequestGuard, "_refusal", lambda *args, **named: None)
    assert client.post("/api/login", json=credentials, headers=evil).status_code == 200


def test_logging_in_changes_the_session_id_against_fixation(app: FastAPI) -> None:
    client = anonymous(app)
    before = client.cookies[SESSION]
    answer = call(client, "login", name="anna", password=PASSWORD)
    assert client.cookies[SESSION] != before
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 3
    assert all("SameSite=Strict" in cookie for cookie in cookies)
    assert [("HttpOnly" in cookie) for cookie in cookies if cookie.startswith(SESSION)] == [True]
    assert not [cookie for cookie in cookies if "Secure" in cookie]
    slipped_in = TestClient(app, base_url=HOME, cookies={SESSION: before})
    assert slipped_in.get("/api/session").status_code == 401


def test_with_an_unchanged_session_id_fixation_would_work(
    app: FastAPI, opened: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = anonymous(app)
    before = client.cookies[SESSION]
    monkeypatch.setattr("annotator.auth.accounts.secrets.token_urlsafe", lambda size: before)
    call(client, "login", name="anna", password=PASSWORD)
    assert TestClient(app, base_url=HOME, cookies={SESSION: before}).get("/api/session").status_code == 200
    opened.workspace.accounts.log_out(before)


def test_cookies_are_secure_behind_tls(app: FastAPI) -> None:
    client = TestClient(app, base_url="https://127.0.0.1:7860")
    cookies = client.get("/login").headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert all("Secure" in cookie for cookie in cookies)


def behind(app: FastAPI, trusted: tuple[str, ...]) -> Any:
    """The app as the server runs it, called through a proxy on this machine."""
    return app_module.behind_proxies(app, trusted)


def test_behind_a_trusted_proxy_cookies_are_secure_and_addresses_differ(
    app: FastAPI, opened: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        opened.workspace.accounts, "log_in", lambda name, password, address, known: seen.append(address) or "session"
    )
    for trusted in (("127.0.0.1",), ("10.0.0.0/8",), ()):
        client = TestClient(behind(app, trusted), base_url=HOME, client=("127.0.0.1", 5000))
        client.headers.update({"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"})
        cookies = client.get("/login").headers.get_list("set-cookie")
        assert ["Secure" in cookie for cookie in cookies] == [trusted == ("127.0.0.1",)] * 2
        # Not from the client's own cookie jar, which does not send secure cookies over http.
        values = dict(cookie.split(";")[0].split("=", 1) for cookie in cookies)
        client.headers["x-annotator-token"] = values[TOKEN]
        client.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in values.items())
        assert call(client, "login", name="anna", password=PASSWORD).status_code == 200
    assert seen == ["203.0.113.9", "127.0.0.1", "127.0.0.1"]


def test_the_token_of_one_user_s_browser_is_invalid_in_another(app: FastAPI) -> None:
    anna, ben = person(app, "anna"), person(app, "ben")
    anna.headers["x-annotator-token"] = ben.cookies[TOKEN]
    assert call(anna, "state").status_code == 403


def test_logging_out_ends_the_session_on_the_server(app: FastAPI) -> None:
    client = person(app, "anna")
    cookie = client.cookies[SESSION]
    assert call(client, "state").json()["user"] == "anna"
    assert call(client, "logout").status_code == 200
    again = TestClient(app, base_url=HOME, cookies={SESSION: cookie})
    assert again.get("/api/session").status_code == 401


PAYLOADS: dict[str, dict[str, Any]] = {
    "open": {"image_id": 1},
    "step": {"image_id": 1, "by": 1},
    "skip": {"image_id": 1},
    "strip": {"image_id": 1},
    "propose": {"image_id": 1, "kept": []},
    "complete": {"image_id": 1, "text": "c", "kept": []},
    "explain": {"image_id": 1, "tag": "cat"},
    "heat_map": {"image_id": 1, "tag": "cat"},
    "missing_tags": {"tag": "cat"},
    "edit_tags": {"photos": {}, "add": ["cat"]},
    "save_search": {"name": "cats"},
    "history": {"image_id": 1},
    "hold": {"image_id": 1},
    "leave": {"image_id": 1},
    "end_lease": {"image_id": 1},
    "assign": {"users": [], "image_ids": [1]},
    "ask": {"people": 0, "image_ids": [1]},
    "accept": {"image_id": 1, "revision": 99, "kept": ["cat"]},
    "send_back": {"image_id": 1, "note": "why?"},
    "timeline": {"image_id": 1},
    "restore": {"image_id": 1, "entry_id": "event:99", "revision": 0},
    "save": {"image_id": 1, "revision": 99, "kept": ["cat"]},
    "look_alikes": {"image_id": 1},
    "propose_group": {"image_id": 1, "kept": []},
    "save_group": {"image_id": 1, "revision": 99, "kept": ["cat"]},
    "set_tagger": {"tagger": "cold_start"},
    "list_folder": {"path": "/"},
    "close_project": {"path": "/"},
    "put_off": {"photos": {"image_ids": []}},
    "set_keys": {"keys": {}},
    "set_strategy": {"strategy": "in_order"},
    "set_show_expected": {"shown": True},
    "set_never_proposed": {"tag": "street"},
    "settle_sidecar": {"image_id": 1, "take": "ours"},
    "set_field": {"image_id": 1, "field": "title", "value": "A cat"},
    "plan_suggestions": {"transfer_id": "0" * 32, "photos": {}, "least": 0.9},
    "plan_import": {"transfer_id": "0" * 32, "format": "csv"},
    "carry_out_import": {"transfer_id": "0" * 32},
    "predict_tasks": {"label_config": "<View/>", "tasks": []},
    "training_run": {"run_id": 1},
    "change_tag": {"kind": "rename", "old": "a", "new": "b"},
    "tag_details": {"tag": "cat"},
    "preview_tag_change": {"kind": "rename", "old": "a", "new": "b"},
    "promote_model": {"model_id": 99},
    "submit_model": {"submission": "0" * 16},
}


READING: dict[str, Role] = {
    "/api/v1/session": Role.VIEWER,
    "/api/v1/export": Role.VIEWER,
    "/api/v1/backup": Role.ADMIN,
    "/api/v1/label_studio/health": Role.VIEWER,
    "/thumbnail/1": Role.VIEWER,
    "/image/1": Role.VIEWER,
}
"""GET routes and their least role."""


def test_every_operation_has_a_least_role(app: FastAPI) -> None:
    assert {item.least_role for item in OPERATIONS.values()} == set(Role)
    got = {path.replace("{image_id}", "1") for path, methods in app.openapi()["paths"].items() if "get" in methods}
    assert {path for path in got if not path.startswith("/gradio_api/")} == {
        *READING, "/api/v1/health", "/api/v1/ready", "/api/v1/proof", "/api/v1/exported",
    }  # fmt: skip


def is_allowed(client: TestClient, name: str) -> bool:
    """Whether the role allows it, whatever the operation's answer."""
    return call(client, name, **PAYLOADS.get(name, {})).status_code not in (401, 403)


@pytest.mark.parametrize("who", PEOPLE)
def test_a_role_allows_its_operations_and_no_others(app: FastAPI, who: str) -> None:
    client = person(app, who)
    role = Role[PEOPLE[who].upper()]
    expected = {name: role >= item.least_role for name, item in OPERATIONS.items()}
    assert {name: is_allowed(client, name) for name in OPERATIONS} == expected
    may_get = {path: client.get(path).status_code for path in READING}
    assert may_get == {path: 200 if role >= least else 403 for path, least in READING.items()}
    assert call(client, "users", do="list").status_code == (200 if role == Role.ADMIN else 403)


def test_without_the_check_a_viewer_could_do_all(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all = {name: replace(item, least_role=Role.VIEWER) for name, item in OPERATIONS.items()}
    monkeypatch.setattr(operations, "OPERATIONS", open_to_all)
    client = person(app, "vera")
    assert all(is_allowed(client, name) for name in OPERATIONS)


def test_the_page_s_server_functions_check_roles_too(app: FastAPI) -> None:
    client = person(app, "vera")
    components = client.get("/config").json()["components"]
    html_id = next(part["id"] for part in components if part["type"] == "html")

    def by_gradio(name: str, data: dict[str, Any]) -> Any:
        body = {"data": data, "session_hash": "x", "component_id": html_id, "fn_name": name}
        return client.post("/gradio_api/component_server", json=body)

    assert by_gradio("state", {}).json()["user"] == "vera"
    refused = by_gradio("save", {"image_id": 1, "revision": 0, "kept": ["cat"]}).json()
    assert refused["error"]["kind"] == "forbidden"


@pytest.mark.parametrize(
    "path", ["upload", "run/x", "call/x", "queue/join", "file=/etc/passwd", "proxy=http://x", "reset"]
)
def test_gradio_s_other_routes_are_switched_off(app: FastAPI, path: str) -> None:
    client = person(app, "root")
    for method in ("GET", "POST"):
        answer = client.request(method, f"/gradio_api/{path}")
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, "This server does not offer that.")


def test_a_disabled_account_loses_access_at_once(app: FastAPI, opened: Session) -> None:
    client, root = person(app, "ben"), person(app, "root")
    assert call(client, "state").status_code == 200
    assert call(root, "users", do="disable", name="ben").json()["disabled"] is True
    assert call(client, "state").status_code == 401
    opened.workspace.accounts.set_disabled("ben", False)


def test_with_every_account_disabled_every_call_is_refused(app: FastAPI, opened: Session) -> None:
    """Once, disabling the only account made every caller an admin of the project."""
    root = person(app, "root")
    for name in PEOPLE:
        if name != "root":
            assert call(root, "users", do="disable", name=name).status_code == 200
    refused = call(root, "users", do="disable", name="root")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "account")
    assert call(root, "users", do="role", name="root", role="viewer").status_code == 422
    assert call(root, "state").status_code == 200
    with opened.workspace.store.transaction() as cursor:  # as a database edited by hand may be
        cursor.execute("UPDATE users SET is_disabled = true")
    try:
        opened.workspace.accounts._load()
        assert call(root, "state").status_code == 401
        assert call(anonymous(app), "state").status_code == 401
    finally:
        with opened.workspace.store.transaction() as cursor:
            cursor.execute("UPDATE users SET is_disabled = false")
        opened.workspace.accounts._load()


@pytest.mark.parametrize(("host", "status"), [("0.0.0.0", 401), ("127.0.0.1", 200)])
def test_an_exposed_server_always_needs_a_login(
    opened: Session,
    build_app: Callable[..., FastAPI],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    status: int,
) -> None:
    """Even if all accounts are deleted after its start."""
    monkeypatch.setattr(opened.workspace, "authenticator", ProjectAuthenticator(opened.workspace.accounts))
    served = build_app(opened, ServerConfig(host=host))
    monkeypatch.setattr(opened.workspace.accounts, "_users", {})
    assert call(anonymous(served), "state").status_code == status


def test_a_program_works_with_a_token_and_needs_no_cookie(app: FastAPI) -> None:
    root = person(app, "root")
    token = call(root, "users", do="token", name="anna", role="viewer").json()["token"]
    program = TestClient(app, base_url=HOME, headers={"authorization": f"Bearer {token}"})
    assert call(program, "state").json()["user"] == "anna"
    assert call(program, "save", image_id=1, revision=0, kept=["cat"]).status_code == 403
    assert program.get("/api/backup").status_code == 403
    narrow = call(root, "users", do="token", name="root", role="reviewer").json()["token"]
    assert program.get("/api/backup", headers={"authorization": f"Bearer {narrow}"}).status_code == 403
    call(root, "users", do="revoke_tokens", name="anna")
    answer = call(program, "state")
    assert answer.status_code in (401, 403)
    wrong = TestClient(app, base_url=HOME, headers={"authorization": "Bearer annotator_made_up"})
    assert wrong.get("/api/export").status_code == 401


def test_a_valid_session_does_not_replace_a_wrong_access_token(app: FastAPI) -> None:
    client = person(app, "anna")
    assert client.get("/api/export", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_commands_of_the_project_s_owner_use_the_server_s_secret(app: FastAPI, opened: Session) -> None:
    headers = {"authorization": f"Bearer {opened.workspace.authenticator.local_secret}"}
    owner = TestClient(app, base_url=HOME, headers=headers)
    assert call(owner, "users", do="list").status_code == 200
    assert owner.get("/api/session", headers={"host": "evil.example"}).status_code == 421


def test_two_people_are_not_given_the_same_photo(app: FastAPI) -> None:
    anna, ben = person(app, "anna"), person(app, "ben")
    first, second = call(anna, "open").json(), call(ben, "open").json()
    assert first["image_id"] != second["image_id"]
    looked_at = call(ben, "open", image_id=first["image_id"]).json()
    assert looked_at["held_by"] == ["anna"]
    refused = call(ben, "save", image_id=first["image_id"], revision=first["revision"], kept=["cat"])
    assert (refused.status_code, refused.json()["error"]["kind"]) == (423, "leased")
    assert "anna has this photo open" in refused.json()["error"]["message"]
    assert call(ben, "propose", image_id=first["image_id"], kept=["cat"]).status_code == 423
    call(anna, "leave", image_id=first["image_id"])
    assert call(ben, "open", image_id=first["image_id"]).json()["held_by"] == []


def test_an_admin_ends_a_lease_and_the_revision_check_still_stands(app: FastAPI, opened: Session) -> None:
    anna, ben, root = person(app, "anna"), person(app, "ben"), person(app, "root")
    photo = call(anna, "open", image_id=3).json()
    call(root, "end_lease", image_id=3)
    theirs = call(ben, "open", image_id=3).json()
    assert theirs["held_by"] == []
    assert call(ben, "save", image_id=3, revision=theirs["revision"], kept=["rocket"]).status_code == 200
    late = call(anna, "save", image_id=3, revision=photo["revision"], kept=["fish"])
    assert (late.status_code, late.json()["error"]["kind"]) == (409, "stale")
    assert opened.workspace.log.annotation(3).tags == ("rocket",)


def test_opening_the_next_photo_ends_the_lease(app: FastAPI, opened: Session) -> None:
    anna = person(app, "anna")
    photo = call(anna, "open").json()
    image_id = photo["image_id"]
    following = call(anna, "save", image_id=image_id, revision=photo["revision"], kept=["a thing"]).json()["next"]
    assert opened.workspace.leases.all() == {following["image_id"]: ["anna"]}
    stepped = call(anna, "step", image_id=following["image_id"], by=-1).json()
    assert list(opened.workspace.leases.all()) == [stepped["image_id"]]


def test_a_viewer_takes_no_lease(app: FastAPI, opened: Session) -> None:
    photo = call(person(app, "vera"), "open", image_id=2).json()
    assert photo["read_only"] is True
    assert opened.workspace.leases.all() == {}


def test_assigned_photos_are_opened_for_their_user_alone(app: FastAPI, opened: Session) -> None:
    root, anna, ben = person(app, "root"), person(app, "anna"), person(app, "ben")
    answer = call(root, "assign", users=["anna", "ben"], image_ids=[1, 2, 3, 4, 5, 6]).json()
    assert answer["assigned"] == {"anna": 3, "ben": 3}
    for client, own in ((anna, {1, 3, 5}), (ben, {2, 4, 6})):
        answer = call(client, "open").json()
        assert answer.get("image_id", min(own)) in own
    assert call(root, "assign", users=["nobody"], image_ids=[1]).status_code == 422
    assert call(root, "assign", users=["vera"], image_ids=[1]).status_code == 422
    assert call(root, "assign", users=["anna"], image_ids=[99]).status_code == 404


def test_only_reviewers_change_photos_assigned_to_others(app: FastAPI, opened: Session) -> None:
    root, anna, ben, rita = person(app, "root"), person(app, "anna"), person(app, "ben"), person(app, "rita")
    revision = call(ben, "open", image_id=2).json()["revision"]
    call(root, "assign", users=["anna"], image_ids=[2])
    before = opened.workspace.log.history(2)
    saving = {"image_id": 2, "revision": revision, "kept": ["a zebra"]}
    entry = {"image_id": 2, "entry_id": "event:1", "revision": revision}
    for name, payload in (
        ("save", saving),
        ("save_group", saving),
        ("propose", saving),
        ("restore", entry),
        ("hold", {"image_id": 2}),
    ):
        refused = call(ben, name, **payload)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (403, "forbidden"), name
        assert "This photo is assigned to anna" in refused.json()["error"]["message"]
    call(ben, "skip", image_id=2)
    assert opened.workspace.log.history(2) == before
    call(ben, "leave", image_id=2)
    photo = call(ben, "open", image_id=2).json()
    assert photo["read_only"] is True
    assert photo["locked"].startswith("This photo is assigned to anna")
    assert call(person(app, "vera"), "open", image_id=2).json()["locked"] is None
    assert 2 not in opened.workspace.leases.all()
    for client in (anna, rita, root):
        photo = call(client, "open", image_id=2).json()
        assert (photo["read_only"], photo["locked"]) == (False, None)
        saved = call(client, "save", image_id=2, revision=photo["revision"], kept=["a zebra"])
        assert saved.status_code == 200, saved.text
    offered = {
        name: [entry["can_restore"] for entry in call(person(app, name), "timeline", image_id=2).json()["entries"]]
        for name in ("anna", "rita", "ben", "vera")
    }
    assert offered["anna"] == offered["rita"]
    assert any(offered["anna"])
    assert not any(offered["ben"])  # it is not theirs
    assert not any(offered["vera"])  # a viewer
    call(root, "assign", users=[], image_ids=[2])
    photo = call(ben, "open", image_id=2).json()
    assert call(ben, "save", image_id=2, revision=photo["revision"], kept=["a horse"]).status_code == 200


def test_paths_are_shown_to_the_local_user_only(app: FastAPI, opened: Session, demo_photos: Path) -> None:
    vera = person(app, "vera")
    photo = call(vera, "open", image_id=1).json()
    assert photo["paths"] == [photo["file_name"]]
    call(person(app, "anna"), "save", image_id=1, revision=photo["revision"], kept=["cat"])
    assert str(demo_photos) not in vera.get("/api/export").text
    assert str(demo_photos) not in vera.get("/api/export?format=csv").text
    assert opened.navigation.open(LOCAL_USER, 1)["paths"] == [str(demo_photos / photo["file_name"])]
    assert {row["root"] for row in opened.administration.export("local")} == {str(demo_photos)}


class Everybody:
    has_login = False

    def by_session(self, session_id: str) -> Caller | None:
        return Caller("local", Role.ADMIN)

    def by_bearer(self, secret: str) -> Caller | None:
        return None


def answer_to(receive: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Call a guarded app that reads all of a body; return the sent messages."""
    tokens = Tokens()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def reads_body(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = security.RequestGuard(reads_body, [], 1000, Everybody(), tokens)
    headers = [
        (b"host", b"localhost"),
        (b"cookie", b"annotator_session=a"),
        (b"x-annotator-token", tokens.of("a").encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": headers, "scheme": "http"}
    asyncio.run(guard(scope, receive, send))
    return sent


def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_SECONDS", 0.05)

    async def never() -> Any:
        await asyncio.sleep(60)

    sent = answer_to(never)
    assert sent[0]["status"] == 408
    names = dict(sent[0]["headers"])
    assert names[b"x-content-type-options"] == b"nosniff"
    assert b"content-security-policy" in names


def test_a_body_that_arrives_slowly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece arrives in time, the whole body does not."""
    monkeypatch.setattr(security, "BODY_SECONDS", 0.4)
    num_sent = 0

    async def trickle() -> Any:
        nonlocal num_sent
        num_sent += 1
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": num_sent < 200}

    assert answer_to(trickle)[0]["status"] == 408
    assert num_sent < 200


def test_a_large_upload_may_take_longer() -> None:
    async def never() -> Any:
        raise NotImplementedError

    assert security._LimitedBody(never, 1_000_000).seconds == security.BODY_SECONDS
    assert security._LimitedBody(never, 15_000_000).seconds == 150


def test_refusals_have_the_security_headers(app: FastAPI) -> None:
    nobody, anna = anonymous(app), person(app, "anna")
    too_long = {"content-length": "99999999"}
    answers = {
        303: nobody.get("/", headers={"accept": "text/html"}),
        401: call(nobody, "state"),
        403: anna.post("/api/state", json={}, headers={"x-annotator-token": ""}),
        404: anna.get("/gradio_api/upload"),
        413: anna.post("/api/state", json={}, headers=too_long),
        421: anna.get("/api/session", headers={"host": "evil.example"}),
    }
    pieces = anna.post("/api/state", content=(b" " * 100_000 for _ in range(20)))
    for status, answer in [*answers.items(), (413, pieces)]:
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(app: FastAPI) -> None:
    policy = anonymous(app).get("/login").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "object-src 'none'" in policy
    assert "http" not in policy


def test_a_reviewer_s_token_with_a_lesser_role_cannot_decide(app: FastAPI, opened: Session) -> None:
    root, rita = person(app, "root"), person(app, "rita")
    revision = call(rita, "open", image_id=4).json()["revision"]
    call(rita, "save", image_id=4, revision=revision, kept=["cat"])
    assert call(rita, "ask", people=1, image_ids=[4]).json()["num_asked"] == 1
    standing = opened.workspace.log.annotation(4).revision
    assert call(rita, "accept", image_id=4, revision=standing, kept=["dog"]).status_code == 200
    entry = next(row for row in call(rita, "timeline", image_id=4).json()["entries"] if row["kind"] == "save")
    token = call(root, "users", do="token", name="rita", role="annotator").json()["token"]
    program = TestClient(app, base_url=HOME, headers={"authorization": f"Bearer {token}"})
    assert call(program, "open", image_id=4).json()["save_as"] == "save"
    restoring = {"image_id": 4, "entry_id": entry["id"], "revision": standing + 1}
    for name, payload in (("restore", restoring), ("save", {"image_id": 4, "revision": standing + 1, "kept": ["x"]})):
        refused = call(program, name, **payload)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (409, "review"), name
    assert opened.workspace.log.annotation(4).tags == ("dog",)
    assert call(rita, "restore", **restoring).json()["kept"] == ["cat"]


def test_a_browser_in_which_somebody_logged_in_is_not_kept_out_by_failures_at_the_same_address(
    app: FastAPI, opened: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened.workspace.accounts, "_limit", LoginLimit())  # later tests log in too
    known = anonymous(app)
    answer = call(known, "login", name="vera", password=PASSWORD)
    cookie = next(
        value for value in answer.headers.get_list("set-cookie") if value.startswith("annotator_device_7860=")
    )
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="))
    other = anonymous(app)
    for _ in range(FREE_FAILURES + 4):
        assert call(other, "login", name="vera", password="a wrong password").status_code == 401
    refused = call(anonymous(app), "login", name="vera", password=PASSWORD)
    assert (refused.status_code, "Too many wrong passwords" in refused.text) == (401, True)
    known.cookies.delete(SESSION)
    known.get("/login")
    known.headers["x-annotator-token"] = known.cookies[TOKEN]
    assert call(known, "login", name="vera", password=PASSWORD).status_code == 200
