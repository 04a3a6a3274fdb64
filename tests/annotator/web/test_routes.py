import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from annotator.models.backbones.backbone import Backbone
from annotator.session import workspace as workspace_module
from annotator.session.operations import FORMER_NAMES
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import ServerConfig
from annotator.storage.project import Project


@pytest.fixture
def photos(write_photos: Callable[..., Any], tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", [1, 2])
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"<html>")
    return tmp_path / "photos"


@pytest.fixture
def client(make_client: Callable[..., TestClient], open_project: Callable[..., Session], photos: Path) -> TestClient:
    return make_client(open_project(photos))


@pytest.fixture(scope="module")
def reader(
    backbone: Backbone,
    build_app: Callable[..., FastAPI],
    photo_bytes: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TestClient]:
    """One app for all tests that change nothing, since building Gradio's part takes long."""
    folder = tmp_path_factory.mktemp("read only")
    (folder / "photos").mkdir()
    for number in (1, 2):
        (folder / "photos" / f"photo {number}.jpg").write_bytes(photo_bytes(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        opened = Session.over(Workspace(Project.open_or_create(folder / "project", "test")))
        opened.workspace.ingest.run([folder / "photos"])
        with TestClient(build_app(opened), base_url="http://127.0.0.1:7860") as client:
            client.get("/api/session")
            client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
            yield client
        opened.close()


def save(client: TestClient, image_id: int, *tags: str, revision: int = 0) -> Any:
    return client.post("/api/save", json={"image_id": image_id, "revision": revision, "kept": tags})


def test_the_page_and_the_routes_do_the_same(client: TestClient) -> None:
    components = client.get("/config").json()["components"]
    html_id = next(part["id"] for part in components if part["type"] == "html")

    def page(name: str, payload: dict[str, Any]) -> Any:
        body = {"data": payload, "session_hash": "x", "component_id": html_id, "fn_name": name}
        return client.post("/gradio_api/component_server", json=body).json()

    assert page("open", {"image_id": 2}) == client.post("/api/open", json={"image_id": 2}).json()
    assert page("open", {"image_id": 99})["error"]["kind"] == "unknown_image"
    assert page("open", {"image_id": "x"})["error"]["kind"] == "request"
    assert page("save", {"image_id": 1, "revision": 0, "kept": ["cat"]})["revision"] == 1
    assert client.post("/api/open", json={"image_id": 1}).json()["saved"] == ["cat"]


def test_a_former_name_of_an_operation_still_answers(client: TestClient) -> None:
    for former, name in FORMER_NAMES.items():
        payload = {"tag": "cat"}
        assert client.post(f"/api/{former}", json=payload).json() == client.post(f"/api/{name}", json=payload).json()
        assert f"/api/v1/{former}" not in client.get("/api/v1/openapi.json").json()["paths"]


def test_the_state_has_what_the_page_starts_with(client: TestClient) -> None:
    state = client.post("/api/state", json={}).json()
    assert (state["project"], state["num_images"], state["num_saved"], state["num_unreadable"]) == ("test", 2, 0, 1)
    assert (state["ingest"]["running"], state["ingest"]["num_found"], state["ingest"]["num_done"]) == (False, 3, 3)
    assert state["keys"]["save"] == ["Enter"]
    assert state["user"] == "local"


def test_unreadable_files_are_listed(client: TestClient, photos: Path) -> None:
    answer = client.post("/api/unreadable", json={}).json()
    assert answer["total"] == 1
    assert answer["items"][0]["path"] == str(photos / "broken.jpg")
    assert "web page" in answer["items"][0]["reason"]


@pytest.mark.parametrize(
    ("name", "payload", "status", "kind"),
    [
        ("save", {"image_id": 1, "revision": 3, "kept": []}, 409, "stale"),
        ("open", {"image_id": 99}, 404, "unknown_image"),
        ("save", {"image_id": 1, "revision": 0, "kept": ["a\0"]}, 422, "tag"),
        ("set_keys", {"keys": {"help": ["a"]}}, 422, "config"),
        ("undo", {}, 400, "request"),
        ("open", {"image_id": "1"}, 400, "request"),
        ("open", {"image_id": 1, "more": 2}, 400, "request"),
        ("open", [], 400, "request"),
        ("open", None, 400, "request"),
    ],
)
def test_an_error_has_its_status_and_one_form(
    reader: TestClient, name: str, payload: Any, status: int, kind: str
) -> None:
    answer = reader.post(f"/api/{name}", json=payload)
    assert answer.status_code == status
    assert answer.json()["error"]["kind"] == kind
    assert answer.json()["error"]["message"].endswith(".")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"image_id": NaN}', b"[" * 5000, b'"\\ud800"'])
def test_a_malformed_body_is_a_400_in_the_same_form(reader: TestClient, body: bytes) -> None:
    answer = reader.post("/api/open", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"kind", "message"}


def test_a_database_that_fails_is_a_507(
    make_client: Callable[..., TestClient], open_project: Callable[..., Session], photos: Path
) -> None:
    opened = open_project(photos)
    client = make_client(opened)
    opened.workspace.store.close()
    for answer in (save(client, 1, "cat"), client.get("/image/1"), client.get("/thumbnail/1")):
        assert answer.status_code == 507
        assert answer.json()["error"]["kind"] == "store"


def test_a_stale_save_carries_both_versions(client: TestClient) -> None:
    save(client, 1, "cat")
    error = save(client, 1, "dog").json()["error"]
    assert (error["revision"], error["tags"], error["user"]) == (1, ["cat"], "local")
    assert error["saved_at"].endswith("Z")
    assert save(client, 1, "dog", revision=1).json()["revision"] == 2


def test_pictures_are_cached_for_ever_and_cannot_run_scripts(client: TestClient, photos: Path) -> None:
    photo = client.post("/api/open", json={"image_id": 1}).json()
    for name in ("image_url", "full_url", "thumbnail_url"):
        answer = client.get(photo[name])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert client.get(photo["image_url"]).content == (photos / "photo 1.jpg").read_bytes()


@pytest.mark.parametrize("route", ["image", "thumbnail"])
@pytest.mark.parametrize("image_id", ["0", "3", "99", "-1", "2147483648", "9" * 19, "9" * 60])
def test_an_unknown_picture_is_a_404_that_is_not_cached(reader: TestClient, route: str, image_id: str) -> None:
    answer = reader.get(f"/{route}/{image_id}")
    assert answer.status_code == 404
    assert answer.json()["error"]["kind"] == "unknown_image"
    assert "immutable" not in answer.headers.get("cache-control", "")


@pytest.mark.parametrize("path", ["/image/..%2f..%2fetc%2fpasswd", "/image/1.5", "/thumbnail/x", "/image/1?full=maybe"])
def test_a_picture_is_asked_for_by_number_only(reader: TestClient, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code in (400, 404)
    assert b"root:" not in answer.content


def test_a_photo_replaced_by_a_page_or_a_link_is_not_sent(client: TestClient, photos: Path, tmp_path: Path) -> None:
    (photos / "photo 1.jpg").write_bytes(b"<script>alert(1)</script>")
    (tmp_path / "secret").write_text("secret")
    (photos / "photo 2.jpg").unlink()
    (photos / "photo 2.jpg").symlink_to(tmp_path / "secret")
    for image_id in (1, 2):
        answer = client.get(f"/image/{image_id}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
        assert client.get(f"/thumbnail/{image_id}").status_code == 200  # made when it was a photo


def test_the_export_comes_in_both_formats(client: TestClient) -> None:
    save(client, 1, "=1+1", "<b>", "🐈")
    lines = client.get("/api/export").text.splitlines()
    assert [json.loads(line)["tags"] for line in lines] == [["=1+1", "<b>", "🐈"]]
    answer = client.get("/api/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="tags.csv"'
    assert "'=1+1; <b>; 🐈" in answer.text
    refused = client.get("/api/export?format=%3Cscript%3E")
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/json")


def test_only_the_pages_own_files_are_served(reader: TestClient) -> None:
    assert reader.get("/ui/page.js").headers["content-type"].startswith(("text/javascript", "application/javascript"))
    assert reader.get("/ui/page.css").status_code == 200
    for name in ("..%2f..%2f__init__.py", "page.html", "nothing.js", "%2e%2e/page.py", ".", "__init__.py"):
        assert reader.get(f"/ui/{name}").status_code == 404, name


def test_tags_and_names_never_reach_the_pages_html(
    make_client: Callable[..., TestClient], open_project: Callable[..., Session], photos: Path
) -> None:
    bad = "<img src=x onerror=alert(1)>"
    (photos / "photo 1.jpg").rename(photos / f"{bad}.jpg")
    opened = open_project(photos)
    opened.workspace.project.update_settings(name=f"{bad}</title><script>")
    client = make_client(opened)
    save(client, 1, bad)
    for path in ("/", "/config"):
        answer = client.get(path)
        if "html" in answer.headers["content-type"]:
            assert "<img src=x" not in answer.text
            assert "</title><script>" not in answer.text.replace("</title><script>window", "")
    assert client.post("/api/open", json={"image_id": 1}).headers["content-type"] == "application/json"


def test_files_of_an_import_are_sent_and_an_export_is_fetched(client: TestClient, photos: Path) -> None:
    def ended(answer: dict[str, Any]) -> dict[str, Any]:
        while answer["state"] == "running":
            answer = client.post("/api/v1/transfer", json={"transfer_id": answer["transfer_id"]}).json()
        return answer

    transfer_id = client.post("/api/v1/begin_import", json={}).json()["transfer_id"]
    place = {"transfer_id": transfer_id, "name": "tags.csv"}
    sent = client.post("/api/v1/uploads", params=place, content=b"image,tags\nphoto 1.jpg,cat; sofa\n")
    assert (sent.status_code, sent.json()) == (200, {"name": "tags.csv"})
    assert client.post("/api/v1/uploads", params=place, content=b"x").json()["error"]["message"].startswith("Two files")
    outside = client.post("/api/v1/uploads", params={**place, "name": "../tags.csv"}, content=b"x")
    assert (outside.status_code, outside.json()["error"]["kind"]) == (400, "request")
    planned = ended(client.post("/api/v1/plan_import", json={"transfer_id": transfer_id, "format": "csv"}).json())
    assert (planned["state"], planned["num_planned"]) == ("ready", 1)
    assert ended(client.post("/api/v1/carry_out_import", json={"transfer_id": transfer_id}).json())["state"] == "done"
    written = ended(client.post("/api/v1/start_export", json={"format": "jsonl"}).json())
    answer = client.get("/api/v1/exported", params={"transfer_id": written["transfer_id"]})
    assert (answer.status_code, json.loads(answer.text)["tags"]) == (200, ["cat", "sofa"])
    assert "attachment" in answer.headers["content-disposition"]
    assert client.get("/api/v1/exported", params={"transfer_id": "x"}).status_code == 422
    rows = client.post("/api/v1/export", json={"image_ids": [2], "state": "all"}).text.splitlines()
    assert [json.loads(row)["image"] for row in rows] == ["photo 2.jpg"]


def test_an_upload_has_its_own_limit(
    make_client: Callable[..., TestClient], open_project: Callable[..., Session], photos: Path
) -> None:
    client = make_client(open_project(photos), ServerConfig(max_body_bytes=20_000, max_upload_bytes=50_000))
    transfer_id = client.post("/api/v1/begin_import", json={}).json()["transfer_id"]

    def send(name: str, num_bytes: int) -> int:
        place = {"transfer_id": transfer_id, "name": name}
        return client.post("/api/v1/uploads", params=place, content=b"x" * num_bytes).status_code

    assert (send("a", 40_000), send("b", 60_000)) == (200, 413)
    assert client.post("/api/v1/state", content=b"x" * 40_000).status_code == 413
