"""Attacks on the real app; each must fail, and succeed once its protection is removed."""

import re
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from annotator.auth.roles import Caller, Role
from annotator.models.backbones.backbone import Backbone
from annotator.session import workspace as workspace_module
from annotator.session.administration import Administration
from annotator.session.navigation import Navigation
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import ServerConfig
from annotator.storage.project import Project
from annotator.web import request_guard as security
from annotator.web.request_guard import RequestGuard

HOME = "http://127.0.0.1:7860"
MAX_BODY = 20_000
Attack = Callable[[TestClient], Any]


@pytest.fixture(scope="module")
def opened(backbone: Backbone, demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A project of six photos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        opened = Session.over(
            Workspace(Project.open_or_create(tmp_path_factory.mktemp("secure") / "project", "secure"))
        )
        opened.workspace.ingest.run([demo_photos])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(opened: Session, build_app: Callable[..., FastAPI]) -> Iterator[TestClient]:
    """The real app on six photos, without a session."""
    app = build_app(opened, ServerConfig(max_body_bytes=MAX_BODY, allowed_hosts=("Photos.example",)))
    with TestClient(app, base_url=HOME) as client:
        yield client


@pytest.fixture
def client(served: TestClient) -> Iterator[TestClient]:
    """A browser that has opened the page: it has the cookies, and its page knows the token."""
    served.get("/api/session")
    yield served
    served.cookies.clear()


def token_of(client: TestClient) -> dict[str, str]:
    return {"x-annotator-token": client.cookies["annotator_token_7860"]}


def own_call(client: TestClient, **options: Any) -> Any:
    """A call as the page makes it."""
    headers = {"origin": HOME, "sec-fetch-site": "same-origin", **token_of(client), **options.pop("headers", {})}
    return client.post("/api/state", **({"json": {}} | options), headers=headers)


def gradio_call(client: TestClient, headers: dict[str, str]) -> Any:
    """Call the page's server function directly, with a body that needs no CORS preflight."""
    components = client.get("/config").json()["components"]
    html_id = next(part["id"] for part in components if part["type"] == "html")
    body = '{"data": {}, "session_hash": "x", "component_id": %d, "fn_name": "state"}' % html_id  # noqa: UP031
    return client.post("/gradio_api/component_server", content=body, headers={"content-type": "text/plain", **headers})


def test_the_page_itself_may_call(client: TestClient) -> None:
    assert own_call(client).json()["num_images"] == 6
    answer = gradio_call(client, {"origin": HOME, "content-type": "application/json", **token_of(client)})
    assert answer.json()["num_images"] == 6


def test_a_program_without_origin_may_call_with_the_token(client: TestClient) -> None:
    assert client.post("/api/state", json={}, headers=token_of(client)).status_code == 200


def chunks() -> Iterator[bytes]:
    yield b'{"query": "'
    for _ in range(MAX_BODY // 100 + 1):
        yield b"x" * 100
    yield b'"}'


LARGE = b'{"query": "' + b" " * MAX_BODY + b'"}'

# Name -> (the attack, the status it is refused with, the header that stands for the protection)
ATTACKS: dict[str, tuple[Attack, int, str]] = {
    "foreign origin": (lambda c: own_call(c, headers={"origin": "https://evil.example"}), 403, "origin"),
    "another port of this host": (lambda c: own_call(c, headers={"origin": "http://127.0.0.1:9999"}), 403, "origin"),
    "our address inside a foreign one": (
        lambda c: own_call(c, headers={"origin": "http://127.0.0.1:7860.evil.example"}),
        403,
        "origin",
    ),
    "user name that looks like us": (
        lambda c: own_call(c, headers={"origin": "http://127.0.0.1:7860@evil.example"}),
        403,
        "origin",
    ),
    "opaque origin": (lambda c: own_call(c, headers={"origin": "null"}), 403, "origin"),
    "empty origin": (lambda c: own_call(c, headers={"origin": ""}), 403, "origin"),
    "malformed origin": (lambda c: own_call(c, headers={"origin": "http://["}), 403, "origin"),
    "cross-site": (lambda c: own_call(c, headers={"sec-fetch-site": "cross-site"}), 403, "sec-fetch-site"),
    "same-site but another origin": (
        lambda c: own_call(c, headers={"sec-fetch-site": "same-site"}),
        403,
        "sec-fetch-site",
    ),
    "missing token": (lambda c: c.post("/api/state", json={}), 403, "x-annotator-token"),
    "wrong token": (
        lambda c: own_call(c, headers={"x-annotator-token": "0" * 64}),
        403,
        "x-annotator-token",
    ),
    "token with odd letters": (
        lambda c: own_call(c, headers={"x-annotator-token": b"\xe9" * 64}),
        403,
        "x-annotator-token",
    ),
    "name re-bound to this machine": (
        lambda c: own_call(c, headers={"host": "evil.example:7860", "origin": "http://evil.example:7860"}),
        421,
        "host",
    ),
    "reading under a foreign host": (
        lambda c: c.get("/api/export", headers={"host": "evil.example"}),
        421,
        "host",
    ),
    "malformed host": (lambda c: c.get("/api/export", headers={"host": "["}), 421, "host"),
    "empty host": (lambda c: c.get("/api/export", headers={"host": ""}), 421, "host"),
    "text/plain to Gradio from a foreign page": (
        lambda c: gradio_call(c, {"origin": "https://evil.example", **token_of(c)}),
        403,
        "origin",
    ),
    "text/plain to Gradio with the cookie alone": (lambda c: gradio_call(c, {}), 403, "x-annotator-token"),
    "upload to Gradio from a foreign page": (
        lambda c: c.post("/gradio_api/upload", files={"files": b"x"}, headers={"origin": "https://evil.example"}),
        403,
        "x-annotator-token",
    ),
}


def pretend(headers: Headers, name: str, guard: RequestGuard, session_id: str) -> Headers:
    """Return headers in which the attacked one is correct."""
    host = headers.get("host", "")
    right = {
        "origin": f"http://{host}",
        "sec-fetch-site": "same-origin",
        "x-annotator-token": guard._tokens.of(session_id),
        "host": "127.0.0.1:7860",
    }
    raw = [(key, value) for key, value in headers.raw if key != name.encode()]
    return Headers(raw=[*raw, (name.encode(), right[name].encode())])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(client: TestClient, name: str) -> None:
    attack, status, _ = ATTACKS[name]
    answer = attack(client)
    assert answer.status_code == status
    assert answer.json()["error"]["kind"] == "refused"
    assert answer.json()["error"]["message"].endswith(".")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_attack_succeeds_without_its_protection(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    attack, _, header = ATTACKS[name]
    refusal = RequestGuard._refusal

    def blind(
        guard: RequestGuard, method: str, headers: Headers, session_id: str, is_program: bool = False
    ) -> tuple[int, str] | None:
        seen = pretend(headers, header, guard, session_id)
        if header == "host":  # the origin is compared with it
            seen = pretend(seen, "origin", guard, session_id)
        if name.startswith("upload"):  # two protections at once
            seen = pretend(seen, "origin", guard, session_id)
        return refusal(guard, method, seen, session_id, is_program)

    monkeypatch.setattr(RequestGuard, "_refusal", blind)
    monkeypatch.setattr(security, "GRADIO_PATHS", re.compile(".*"))
    answer = attack(client)
    # Gradio reads text/plain as JSON, so such a call needs no preflight.
    assert answer.status_code == 200


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_origin_cannot_start_a_backup(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """It could not read it, but each backup takes minutes and as much disk as the project."""
    made = []
    back_up = Administration.back_up

    def noted(administration: Administration, *, with_features: bool) -> Path:
        made.append(with_features)
        return back_up(administration, with_features=with_features)

    monkeypatch.setattr(Administration, "back_up", noted)
    answer = client.get("/api/backup", headers=headers)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "refused")
    assert made == []
    for own in ({}, {"sec-fetch-site": "same-origin", "origin": HOME}, {"sec-fetch-site": "none"}):
        assert client.get("/api/backup", headers=own).status_code == 200
    monkeypatch.setattr(security, "COSTLY_PATHS", re.compile("(?!)"))
    assert client.get("/api/backup", headers=headers).status_code == 200
    assert made == [True] * 4


def test_without_the_session_cookie_every_token_is_refused(client: TestClient) -> None:
    headers = token_of(client)
    client.cookies.delete("annotator_session_7860")
    assert client.post("/api/state", json={}, headers=headers).status_code == 403
    assert client.post("/api/state", json={}, headers={"x-annotator-token": ""}).status_code == 403


def test_the_token_of_one_browser_is_invalid_in_another(client: TestClient) -> None:
    stolen = token_of(client)
    client.cookies.clear()
    client.get("/api/session")
    assert client.post("/api/state", json={}, headers=stolen).status_code == 403


def test_an_oversized_body_is_refused_with_and_without_a_length(client: TestClient) -> None:
    headers = token_of(client) | {"content-type": "application/json"}
    named = client.post("/api/browse", content=LARGE, headers=headers)
    assert "content-length" in named.request.headers
    unnamed = client.post("/api/browse", content=chunks(), headers=headers)
    assert "content-length" not in unnamed.request.headers
    to_gradio = client.post("/gradio_api/component_server", content=chunks(), headers=headers)
    lying = client.post("/api/browse", content=LARGE, headers=headers | {"content-length": "10"})
    for answer in (named, unnamed, to_gradio, lying):
        assert answer.status_code == 413
        assert answer.json()["error"]["message"] == "The request is larger than 20,000 bytes and was refused."


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "\u00b2", "99999999999999999999"])
def test_a_malformed_length_is_refused(client: TestClient, length: str) -> None:
    headers = [(k.encode(), v.encode()) for k, v in token_of(client).items()]
    answer = client.post("/api/state", content=b"{}", headers=[*headers, (b"content-length", length.encode("latin-1"))])
    assert answer.status_code == 413


def test_without_the_limit_the_oversized_body_gets_through(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security._LimitedBody, "is_too_large", False)
    headers = token_of(client) | {"content-type": "application/json"}
    answer = client.post("/api/browse", content=chunks(), headers=headers)
    assert answer.status_code == 400
    assert "at most 500 characters" in answer.json()["error"]["message"]


def test_a_body_of_the_largest_size_is_accepted(client: TestClient) -> None:
    body = b"{" + b" " * (MAX_BODY - 2) + b"}"
    headers = token_of(client) | {"content-type": "application/json"}
    assert client.post("/api/state", content=body, headers=headers).status_code == 200


def test_the_cookies_are_strict_and_only_the_token_is_readable(served: TestClient) -> None:
    served.cookies.clear()
    answer = served.get("/")
    cookies = {}
    for header in answer.headers.get_list("set-cookie"):
        cookies.update(SimpleCookie(header))
    session, token = cookies["annotator_session_7860"], cookies["annotator_token_7860"]
    assert {session["samesite"], token["samesite"]} == {"Strict"}
    assert session["httponly"] is True
    assert token["httponly"] == ""
    assert {session["path"], token["path"]} == {"/"}
    assert {session["domain"], token["domain"]} == {""}
    assert len(session.value) >= 32
    assert token.value != session.value
    assert set(cookies) == {"annotator_session_7860", "annotator_token_7860"}
    assert "set-cookie" not in served.get("/api/session").headers
    served.cookies.clear()


def test_a_browser_with_a_token_of_an_earlier_run_gets_a_new_one(served: TestClient) -> None:
    served.cookies.set("annotator_session_7860", "kept")
    served.cookies.set("annotator_token_7860", "of an earlier run")
    header = served.get("/api/session").headers["set-cookie"]
    assert header.startswith("annotator_token_7860=")
    token = SimpleCookie(header)["annotator_token_7860"].value
    headers = {"x-annotator-token": token, "cookie": "annotator_session_7860=kept"}
    assert served.post("/api/state", json={}, headers=headers).status_code == 200
    served.cookies.clear()


@pytest.mark.parametrize("foreign", ['settings={"a": 1, "b": [2]}', "x=a b", "=;;", "a=\u00e9", 'q="unclosed', "[]=1"])
def test_cookies_of_other_programs_on_this_host_do_not_lock_the_user_out(client: TestClient, foreign: str) -> None:
    cookies = f"{foreign}; annotator_session_7860={client.cookies['annotator_session_7860']}; after=1"
    headers = {
        "cookie": cookies.encode("latin-1"),
        "x-annotator-token": client.cookies["annotator_token_7860"].encode(),
    }
    assert client.post("/api/state", json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/", "/api/save", "/gradio_api/queue/join", "/gradio_api/run/x", "/login", "/nowhere"]
)
def test_no_route_takes_a_changing_call_without_the_token(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path, json={}).status_code == 403


def test_a_host_named_in_the_settings_may_be_asked_for(client: TestClient) -> None:
    for host in ("photos.example", "PHOTOS.EXAMPLE:7860", "localhost", "[::1]:7860", "127.0.0.1"):
        assert client.get("/api/session", headers={"host": host}).status_code == 200
    assert client.get("/api/session", headers={"host": "photos.example.evil.example"}).status_code == 421


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    for path in ("/", "/api/export", "/thumbnail/1", "/image/1", "/ui/page.js", "/config"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "access-control-allow-origin" not in headers


def test_no_other_origin_is_allowed_to_read(client: TestClient) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:9999"):
        for path in ("/api/export", "/image/1", "/config", "/gradio_api/info"):
            headers = client.get(path, headers={"origin": origin}).headers
            assert not [name for name in headers if name.startswith("access-control-")]
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = client.options("/api/save", headers=preflight)
    assert "access-control-allow-origin" not in answer.headers


class EverybodyMay:
    has_login = False

    def by_session(self, session_id: str) -> Caller | None:
        return Caller("local", Role.ADMIN)

    def by_bearer(self, secret: str) -> Caller | None:
        return None


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("in")


@pytest.mark.parametrize("path", ["/ws", "/gradio_api/queue/join"])
def test_websockets_are_refused(client: TestClient, path: str) -> None:
    inner = Starlette(routes=[WebSocketRoute(path, _echo)])
    with TestClient(inner, base_url=HOME).websocket_connect(path) as open_socket:
        assert open_socket.receive_text() == "in"
    guarded = TestClient(
        RequestGuard(inner, [], MAX_BODY, authenticator=EverybodyMay(), tokens=security.Tokens()), base_url=HOME
    )
    for refused in (guarded, client):
        with pytest.raises(WebSocketDisconnect) as caught, refused.websocket_connect(path):
            pass
        assert caught.value.code == 1008


def test_gradio_serves_no_file_of_the_machine(client: TestClient, demo_photos: Path) -> None:
    for path in ("/etc/passwd", str(demo_photos / "cat.png"), "../../pyproject.toml", "pyproject.toml"):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert client.get("/gradio_api/proxy=https://evil.example").status_code >= 400


BAD_COOKIES = [
    "annotator_token_7860=\u00e9",
    "annotator_session_7860=\u00e9; annotator_token_7860=\u00e9",
    'annotator_session_7860="\\303\\251"; annotator_token_7860="\\012x"',
    "annotator_session_7860=a b; annotator_token_7860=\u00ff",
    "annotator_device_7860=\u00e9",
    f"annotator_session_7860={'x' * 5000}",
]


@pytest.mark.parametrize("cookie", BAD_COOKIES)
def test_a_bad_cookie_is_answered_as_none_with_the_security_headers(served: TestClient, cookie: str) -> None:
    for path in ("/api/session", "/api/health", "/login", "/"):
        answer = served.get(path, headers={"cookie": cookie.encode("latin-1")}, follow_redirects=False)
        assert answer.status_code in (200, 303)
        assert answer.headers["content-security-policy"]
        assert "annotator_session_7860=" in answer.headers.get("set-cookie", "annotator_session_7860=")
    refused = served.post("/api/state", json={}, headers={"cookie": cookie.encode("latin-1")})
    assert (refused.status_code, refused.json()["error"]["kind"]) == (403, "refused")
    served.cookies.clear()


@pytest.mark.parametrize("cookie", BAD_COOKIES)
def test_what_a_program_has_committed_is_answered_as_done_whatever_cookie_it_sends(
    served: TestClient, opened: Session, cookie: str
) -> None:
    secret = opened.workspace.authenticator.local_secret
    headers = {"authorization": f"Bearer {secret}".encode(), "cookie": cookie.encode("latin-1")}
    answer = served.post("/api/set_never_proposed", json={"tag": "cat", "never": True}, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["never_proposed"] == ["cat"]
    served.cookies.clear()


def test_an_error_of_the_program_is_answered_in_the_same_form_with_the_security_headers(
    client: TestClient, opened: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("a mistake\x1b[2J")

    monkeypatch.setattr(Navigation, "state", fails)
    answer = own_call(client)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "failed")
    assert "mistake" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"]
    assert "a mistake" in caplog.text
