"""Visitors of the real app of a hosted demo: none reaches the data of another, and harmful files are refused."""

import asyncio
import gc
import io
import json
import math
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from annotator.hosted import limits as limits_module
from annotator.hosted import server as hosted_app
from annotator.hosted.dispatch import PROJECT_OPERATIONS, train_in_space
from annotator.hosted.limits import HostedLimits
from annotator.hosted.middleware import AddressLimit
from annotator.hosted.server import HostedDemo, HostedOptions
from annotator.hosted.visit import Visitor, VisitorAuthenticator
from annotator.learning.model_registry import ModelRegistry
from annotator.models.backbones.backbone import Backbone
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.session import workspace as workspace_module
from annotator.session.operations import OPERATIONS
from annotator.settings import ServerConfig

HOME = "http://127.0.0.1:7860"
SECRET = "zebra of my aunt"
LIMITS = HostedLimits(
    num_visitors=20, num_open=3, visitors_an_address=100, entries_an_hour=1000, calls_at_once=100_000,
    connections_an_address=1000, num_photos=4, max_photo_bytes=300_000, longest_side=512,
)  # fmt: skip


@pytest.fixture(scope="module")
def demo(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedDemo]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        patch.setattr(hosted_app, "SWEEP_SECONDS", 3600.0)  # the tests call sweep themselves
        patch.setattr(workspace_module, "default_tagger", lambda backbone: "cold_start")  # is opened sooner
        patch.setattr(SimilarTags, "start", lambda self: None)  # they take seconds to load
        demo = HostedDemo(HostedOptions(tmp_path_factory.mktemp("hosted") / "spaces", LIMITS))
        yield demo
        demo.close()


@pytest.fixture(scope="module")
def app(demo: HostedDemo) -> FastAPI:
    with warnings.catch_warnings():
        # Gradio makes event loops for its locks (safe_get_lock) and never closes them.
        warnings.simplefilter("ignore", ResourceWarning)
        app = demo.build_app(ServerConfig())
        asyncio.set_event_loop(None)
        gc.collect()
    return app


def new_browser(app: FastAPI) -> TestClient:
    """A browser that has opened the entrance and has no space."""
    client = TestClient(app, base_url=HOME)
    assert client.get("/demo").status_code == 200
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    return client


def visitor(app: FastAPI) -> TestClient:
    """A browser with a space."""
    client = new_browser(app)
    before = client.cookies["annotator_session_7860"]
    assert client.post("/api/demo/enter", json={}).json() == {"state": "open"}
    assert client.cookies["annotator_session_7860"] != before
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    return client


def call(client: TestClient, name: str, /, **payload: Any) -> Any:
    return client.post(f"/api/{name}", json=payload)


def upload(client: TestClient, data: bytes, name: str = "photo.jpg") -> Any:
    return client.post("/api/demo/photos", files={"photo": (name, data)})


def wait_for_photos(client: TestClient, num: int) -> None:
    ends = time.monotonic() + 60
    while call(client, "state").json()["num_images"] < num:
        assert time.monotonic() < ends, "the photos were not read"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def anna(app: FastAPI, photo_bytes: Callable[..., bytes]) -> TestClient:
    """A visitor with two photos, one of them tagged."""
    client = visitor(app)
    for number in range(2):
        assert upload(client, photo_bytes(number), f"{SECRET} {number}.jpg").status_code == 201
    wait_for_photos(client, 2)
    assert call(client, "save", image_id=1, revision=0, kept=[SECRET]).status_code == 200
    return client


def payload_of(name: str) -> dict[str, Any]:
    """A request with the ids and words of another visitor."""
    if name == "set_never_proposed":  # the answer, and that of `state`, list what was asked for
        return {"tag": "a word", "never": True}
    if name == "save_search":  # as above
        return {"name": "a word"}
    schema = OPERATIONS[name].request.model_json_schema()
    values: dict[str, Any] = {"integer": 1, "number": 0.5, "string": SECRET, "boolean": True, "array": [], "object": {}}
    wanted = schema.get("required", [])
    return {
        field: sample(schema["properties"][field], values)
        for field in {*wanted, "image_id", "new"} & {*schema["properties"]}
    }


def sample(field: dict[str, Any], values: dict[str, Any]) -> Any:
    options = field.get("enum") or ([field["const"]] if "const" in field else None)
    if options:
        return options[0]
    kind = field.get("type") or next((part["type"] for part in field.get("anyOf", ()) if "type" in part), "object")
    return values[kind]


def view_of(client: TestClient) -> list[Any]:
    """All answers about a visitor's own space that do not change by themselves."""
    parts = [call(client, "history", image_id=1), call(client, "models"), call(client, "browse")]
    return [*(part.json() for part in parts), client.get("/api/export").text, client.get("/thumbnail/1").content]


def leaks(app: FastAPI, other: TestClient, anna: TestClient) -> list[str]:
    """Call every operation and route as a visitor without photos; return what shows or changes data of another."""
    before = view_of(anna)
    hidden = [SECRET, call(anna, "browse").json()["items"][0]["thumbnail_url"].rsplit("=", 1)[-1]]
    html_id = next(part["id"] for part in other.get("/config").json()["components"] if part["type"] == "html")
    found = []
    for name in sorted(OPERATIONS):
        payload = payload_of(name)
        body = {"data": payload, "session_hash": "x", "component_id": html_id, "fn_name": name}
        answers = [call(other, name, **payload), other.post("/gradio_api/component_server", json=body)]
        for way, answer in zip(("REST", "page"), answers, strict=True):
            # An answer may repeat the request; an error names it.
            text = answer.text.replace(SECRET, "") if "error" in answer.json() else answer.text
            is_asked = name in {
                "missing_tags",
                "change_tag",
                "tag_details",
                "preview_tag_change",
                "tag_changes",
                "propose",
                "save",
                "propose_group",
                "save_group",
            }
            told = any(word in text for word in hidden[1 if is_asked else 0 :])
            knows_image = "image_id" in payload and answer.json().get("error", {}).get("kind") != "unknown_image"
            if told or (knows_image and name not in {"assign"}):
                found.append(f"{name} by {way}")
    paths = ["/thumbnail/1", "/image/1", "/image/1?full=1", "/thumbnail/2"]
    found += [path for path in paths if other.get(path).status_code != 404]
    found += [path for path in ("/api/export", "/api/export?format=csv") if SECRET in other.get(path).text]
    if other.get("/api/backup").status_code < 400:
        found.append("backup")
    if view_of(anna) != before:
        found.append("changed")
    return found


def test_no_operation_shows_or_changes_data_of_another_visitor(app: FastAPI, anna: TestClient) -> None:
    assert leaks(app, visitor(app), anna) == []


def test_the_leak_test_fails_when_sessions_are_mixed_up(
    app: FastAPI, anna: TestClient, demo: HostedDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = visitor(app)
    own = VisitorAuthenticator.by_session
    session_id = anna.cookies["annotator_session_7860"]
    monkeypatch.setattr(VisitorAuthenticator, "by_session", lambda self, other: own(self, session_id))
    monkeypatch.setattr(demo.trainings, "ask", lambda name, train: True)  # a training of Anna's model would take long
    found = leaks(app, ben, anna)
    assert {"/thumbnail/1", "/image/1", "/api/export", "open by REST", "open by page", "browse by REST"} <= {*found}


def test_equal_image_ids_of_two_visitors_are_different_photos(
    app: FastAPI, anna: TestClient, photo_bytes: Callable[..., bytes]
) -> None:
    ben = visitor(app)
    assert upload(ben, photo_bytes(5), "mine.jpg").status_code == 201
    wait_for_photos(ben, 1)
    assert ben.get("/thumbnail/1").content != anna.get("/thumbnail/1").content
    assert ben.get("/thumbnail/2").status_code == 404
    call(ben, "save", image_id=1, revision=0, kept=["goat"])
    assert [json.loads(line)["tags"] for line in ben.get("/api/export").text.splitlines()] == [["goat"]]
    row = json.loads(anna.get("/api/export").text)
    assert (row["image"], row["tags"], row["root"]) == (f"{SECRET} 0.jpg", [SECRET], "")


def strings(value: Any) -> Iterator[str]:
    """Yield every text in an answer."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


def test_no_operation_shows_paths_and_each_photo_has_its_visitor_s_name(
    app: FastAPI, demo: HostedDemo, anna: TestClient
) -> None:
    photo = call(anna, "open", image_id=1).json()
    assert (photo["file_name"], photo["paths"]) == (f"{SECRET} 0.jpg", [f"{SECRET} 0.jpg"])
    assert [item["file_name"] for item in call(anna, "browse").json()["items"]] == [f"{SECRET} {n}.jpg" for n in (0, 1)]
    space = demo.spaces.find(anna.cookies["annotator_session_7860"])
    assert space is not None
    (space.photos_path / "photo-009.jpg").write_bytes(b"broken")  # as a disk would make it
    with demo.spaces.use(space) as opened:
        opened.session.workspace.ingest.run([space.photos_path])
    assert [item["path"] for item in call(anna, "unreadable").json()["items"]] == ["photo-009.jpg"]
    reads = sorted(name for name, item in OPERATIONS.items() if not item.writes and name != "leave")
    texts = [text for name in reads for text in strings(call(anna, name, **payload_of(name)).json())]
    texts.append(anna.get("/api/export").text)
    assert [text for text in texts if str(demo.spaces.root) in text or space.space_id in text] == []
    (space.photos_path / "photo-009.jpg").unlink()


@pytest.mark.parametrize("path", ["/", "/api/export", "/thumbnail/1", "/image/1", "/api/session", "/config", "/login"])
def test_without_a_space_only_the_entrance_is_served(app: FastAPI, path: str) -> None:
    client = TestClient(app, base_url=HOME, follow_redirects=False)
    assert client.get(path).status_code == 401
    page = client.get(path, headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"].split("?")[0]) == (303, "/demo")


def test_without_a_space_no_operation_answers(app: FastAPI) -> None:
    client = new_browser(app)
    codes = {call(client, name, **payload_of(name)).status_code for name in OPERATIONS}
    assert codes == {401}
    assert upload(client, b"x").status_code == 401


def test_accounts_do_not_exist_here(app: FastAPI, anna: TestClient) -> None:
    assert anna.post("/api/login", json={"name": "a", "password": "b"}).status_code in (404, 405)
    assert anna.post("/api/users", json={"do": "list"}).status_code in (404, 405)


def test_a_backup_is_refused_as_a_client_error(anna: TestClient) -> None:
    answer = anna.get("/api/backup")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "demo")


def test_an_invented_session_id_is_refused(app: FastAPI) -> None:
    client = new_browser(app)
    client.cookies.set("annotator_session_7860", "chosen by somebody else")
    client.get("/demo")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    client.post("/api/demo/enter", json={})
    held = TestClient(app, base_url=HOME, cookies={"annotator_session_7860": "chosen by somebody else"})
    assert held.get("/api/session").status_code == 401


@pytest.mark.parametrize("path", ["/api/demo/enter", "/api/demo/photos", "/api/demo/samples", "/api/demo/leave"])
def test_another_site_s_page_can_use_none_of_the_demo_s_routes(anna: TestClient, path: str) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"x-annotator-token": "x"}):
        assert anna.post(path, headers=headers).status_code == 403


# Harmful files


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header states very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


HARMFUL = {
    "bomb of 200 megapixels": (bomb(20_000, 10_000), "megapixels"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "SVG"),
    "html": (b"<!doctype html><script>alert(1)</script>", "web page"),
    "html in a comment of a GIF that is none": (b"GIF89a<script>alert(1)</script>", "damaged|truncated"),
    "text": (b"hello", "text file"),
    "nothing": (b"", "empty"),
    "half a photo": (b"\xff\xd8\xff\xe0" + bytes(200), "damaged|truncated"),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_a_file_that_is_no_photo_is_refused_with_its_reason_and_not_stored(
    app: FastAPI, anna: TestClient, demo: HostedDemo, what: str
) -> None:
    import re

    data, reason = HARMFUL[what]
    before = files_of(demo)
    answer = upload(anna, data, "photo.jpg")
    assert answer.status_code == 415
    assert re.search(reason, answer.json()["error"]["message"])
    assert files_of(demo) == before


def files_of(demo: HostedDemo) -> set[str]:
    return {str(path) for space in demo.spaces.present() for path in space.photos_path.rglob("*")}


NAMES = [
    "../../../evil.jpg",
    "/etc/cron.d/evil",
    "..",
    "a\0b.jpg",
    "C:\\evil.jpg",
    "x" * 3000,
    "<script>.jpg",
    "=1+1",
    "",
]


def test_no_name_becomes_a_path(app: FastAPI, demo: HostedDemo, photo_bytes: Callable[..., bytes]) -> None:
    for number, name in enumerate(NAMES):
        if number % LIMITS.num_photos == 0:
            client = visitor(app)
        space = demo.spaces.find(client.cookies["annotator_session_7860"])
        assert space is not None
        body = b'--x\r\ncontent-disposition: form-data; name="photo"; filename="' + name.encode() + b'"\r\n\r\n'
        answer = client.post(
            "/api/demo/photos", content=body + photo_bytes(number) + b"\r\n--x--\r\n",
            headers={"content-type": "multipart/form-data; boundary=x"},
        )  # fmt: skip
        assert answer.status_code in (201, 400), name
        stored = {path.name for path in space.photos_path.iterdir()}
        assert all(name.startswith("photo-") and name.endswith(".jpg") for name in stored)
    assert not list(demo.spaces.root.rglob("*evil*"))


def test_a_body_that_is_too_large_is_refused_before_it_is_read(anna: TestClient) -> None:
    assert upload(anna, bytes(LIMITS.max_photo_bytes + 100_000)).status_code == 413
    assert call(anna, "save", image_id=1, revision=0, kept=["x" * 300_000]).status_code == 413

    def drip() -> Iterator[bytes]:
        yield from [bytes(50_000)] * 8  # chunked, without a length

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert anna.post("/api/demo/photos", content=drip(), headers=headers).status_code == 413


def test_an_upload_without_a_place_is_refused_before_it_is_read(
    app: FastAPI, demo: HostedDemo, photo_bytes: Callable[..., bytes]
) -> None:
    client = visitor(app)
    space = demo.spaces.find(client.cookies["annotator_session_7860"])
    assert space is not None
    asked: list[int] = []

    def body() -> Iterator[bytes]:
        asked.append(1)
        yield b"--x--"

    space.num_arriving = LIMITS.uploads_at_once
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/api/demo/photos", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["kind"], asked) == (409, "demo", [])
    space.num_arriving = 0
    for data in (b"no photo", photo_bytes(1)):  # the place of a refused upload is released
        for _ in range(LIMITS.uploads_at_once):
            upload(client, data)
        assert space.num_arriving == 0


@pytest.mark.parametrize("body", [{"other": ("a.jpg", b"x")}, None])
def test_an_upload_without_a_photo_is_refused(anna: TestClient, body: Any) -> None:
    assert anna.post("/api/demo/photos", files=body).status_code == 400


def test_metadata_is_not_stored(app: FastAPI, demo: HostedDemo, photo_bytes: Callable[..., bytes]) -> None:
    client = visitor(app)
    exif = Image.Exif()
    exif[0x010E] = "the house of my aunt"  # ImageDescription
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 30.0)  # GPSLatitude
    source = io.BytesIO()
    Image.open(io.BytesIO(photo_bytes(3))).save(source, "JPEG", exif=exif, comment=b"of my aunt")
    assert b"of my aunt" in source.getvalue()
    assert upload(client, source.getvalue() + b"PK\x03\x04 of my aunt").status_code == 201
    space = demo.spaces.find(client.cookies["annotator_session_7860"])
    assert space is not None
    (path,) = space.photos_path.iterdir()
    assert b"of my aunt" not in path.read_bytes()
    with Image.open(path) as image:
        assert dict(image.getexif()) == {}


def test_the_photos_of_a_space_are_limited(app: FastAPI, photo_bytes: Callable[..., bytes]) -> None:
    client = visitor(app)
    codes = [upload(client, photo_bytes(number)).status_code for number in range(5)]
    assert codes == [201, 201, 201, 201, 409]
    assert client.post("/api/demo/samples").status_code == 409


def test_the_samples_are_offered_as_far_as_there_is_room(app: FastAPI) -> None:
    client = visitor(app)
    assert client.post("/api/demo/samples").json() == {"num_photos": 4, "max_photos": 4}
    wait_for_photos(client, 4)
    assert call(client, "open").json()["proposals"]


def test_a_space_that_is_full_can_still_be_looked_at_and_exported(
    app: FastAPI, demo: HostedDemo, anna: TestClient
) -> None:
    space = demo.spaces.find(anna.cookies["annotator_session_7860"])
    assert space is not None
    space.is_full = True
    try:
        assert call(anna, "save", image_id=1, revision=1, kept=["x"]).json()["error"]["kind"] == "demo"
        assert call(anna, "train_now").status_code == 429
        assert call(anna, "open", image_id=1).status_code == 200
        assert SECRET in anna.get("/api/export").text
    finally:
        space.is_full = False


def test_a_training_waits_in_the_queue_and_shows_for_how_long(app: FastAPI, demo: HostedDemo, anna: TestClient) -> None:
    import threading

    release = threading.Event()
    demo.trainings.ask("somebody else", lambda: release.wait(60) and None)
    try:
        assert call(anna, "train_now").status_code == 200
        waiting = call(anna, "models").json()["waiting"]
        assert waiting["position"] == 1
        assert 0 < waiting["seconds"] <= demo.trainings.mean_seconds
        assert call(anna, "train_now").json()["error"]["kind"] == "training"
        assert call(anna, "cancel_training").status_code == 200
        assert call(anna, "models").json()["waiting"] is None
    finally:
        release.set()


def test_a_training_with_nothing_to_learn_from_does_not_queue(app: FastAPI) -> None:
    assert call(visitor(app), "train_now").json()["error"]["kind"] == "training"


def test_trainings_start_by_hand_only(anna: TestClient) -> None:
    assert call(anna, "set_loop", train_after=1).status_code == 422
    assert call(anna, "set_loop", promotes=False).status_code == 200


def test_too_many_calls_are_refused_with_the_time_to_wait(
    app: FastAPI, anna: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module.RateLimiter, "take", lambda self, key: 2.6)
    answer = call(anna, "state")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src" in answer.headers["content-security-policy"]


def app_with(demo: HostedDemo, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> FastAPI:
    """The demo's app with other limits of addresses; its page is left out, since the app's own has it already."""
    monkeypatch.setattr(hosted_app, "mount_page", lambda *arguments: None)
    monkeypatch.setattr(demo, "_options", replace(demo._options, limits=replace(LIMITS, **limits)))
    return demo.build_app(ServerConfig())


def test_the_calls_of_an_address_are_limited_and_another_address_is_served(
    demo: HostedDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with(demo, monkeypatch, calls_at_once=3, calls_a_second=0.001, visitors_an_address=1)

    def codes(address: str, num: int) -> list[int]:
        client = TestClient(app, base_url=HOME, client=(address, 1))
        return [client.get("/api/health").status_code for _ in range(num)]

    assert codes("6.6.6.6", 5) == [200, 200, 200, 429, 429]
    assert codes("7.7.7.7", 1) == [200]
    assert codes("2001:db8::1", 2) + codes("2001:db8:0:0:9::2", 2) == [200, 200, 200, 429]
    assert codes("2001:db8:0:1::1", 1) == [200]


def test_the_calls_of_an_address_at_a_time_are_limited() -> None:
    waiting: list[str] = []

    async def ask_all() -> list[int]:
        release = asyncio.Event()

        async def wait(scope: Any, receive: Any, send: Any) -> None:
            waiting.append(scope["client"][0])
            await release.wait()

        layer = AddressLimit(wait, replace(LIMITS, connections_an_address=2))
        codes: list[int] = []

        async def send(message: Any) -> None:
            codes.append(message.get("status", 0))

        addresses = ["6.6.6.6", "6.6.6.6", "6.6.6.6", "7.7.7.7"]
        scopes = [{"type": "http", "client": (address, 1)} for address in addresses]
        calls = [asyncio.ensure_future(layer(scope, wait, send)) for scope in scopes]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*calls)
        await layer(scopes[0], wait, send)  # type: ignore[arg-type]
        return codes

    assert asyncio.run(ask_all()) == [429, 0]
    assert waiting == ["6.6.6.6", "6.6.6.6", "7.7.7.7", "6.6.6.6"]


def test_the_trainings_of_a_space_are_limited(
    demo: HostedDemo, anna: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_had = LIMITS.num_trainings - 1
    monkeypatch.setattr(ModelRegistry, "runs", lambda self, limit: [None] * min(limit, num_had))
    asked: list[str] = []
    monkeypatch.setattr(demo.trainings, "ask", lambda name, train: asked.append(name) or True)
    assert call(anna, "train_now").status_code == 200
    num_had += 1
    answer = call(anna, "train_now")
    assert (answer.status_code, answer.json()["error"]["kind"], len(asked)) == (429, "demo", 1)


def test_a_training_that_takes_too_long_is_ended(demo: HostedDemo, anna: TestClient) -> None:
    space = demo.spaces.find(anna.cookies["annotator_session_7860"])
    assert space is not None
    for seconds, wanted in ((0.0, ["cancel"]), (3600.0, [])):
        done: list[str] = []

        class Models:
            def train(self, user: str) -> None:
                pass

            def cancel(self) -> None:
                done.append("cancel")  # noqa: B023 - called within the round

            def wait(self, watch: Callable[[dict[str, Any]], None]) -> None:
                time.sleep(0.001)
                watch({"is_cancelled": False})
                watch({"is_cancelled": True})

        class Spaces:
            @contextmanager
            def use(self, space: Any) -> Iterator[Any]:
                yield SimpleNamespace(session=SimpleNamespace(workspace=SimpleNamespace(models=Models())))

        train_in_space(cast(Any, Spaces()), space, replace(LIMITS, training_seconds=seconds))
        assert done == wanted


def test_leaving_deletes_everything(app: FastAPI, demo: HostedDemo, photo_bytes: Callable[..., bytes]) -> None:
    client = visitor(app)
    upload(client, photo_bytes(1))
    session_id = client.cookies["annotator_session_7860"]
    space = demo.spaces.find(session_id)
    assert space is not None
    wait_for_photos(client, 1)
    assert client.post("/api/demo/leave").status_code == 200
    ends = time.monotonic() + 60
    while space.folder.exists():
        assert time.monotonic() < ends
        demo.spaces.sweep()
        time.sleep(0.02)
    client.cookies.set("annotator_session_7860", session_id)
    assert client.get("/api/session").status_code == 401


def test_a_space_that_was_closed_for_memory_has_its_saves_when_reopened(
    app: FastAPI, demo: HostedDemo, anna: TestClient
) -> None:
    before = anna.get("/api/export").text
    for _ in range(LIMITS.num_open):
        call(visitor(app), "open")
    space = demo.spaces.find(anna.cookies["annotator_session_7860"])
    assert space is not None
    assert space.opened is None
    # What the page polls opens no space ...
    assert call(anna, "state").json()["num_images"] == 2
    assert call(anna, "models").status_code == 200
    assert space.opened is None
    # ... and everything else does.
    assert anna.get("/api/export").text == before


def test_the_state_has_the_end_of_the_space(demo: HostedDemo, anna: TestClient) -> None:
    state = call(anna, "state").json()["demo"]
    assert 0 < state["ends_at"] - time.time() <= 60 * LIMITS.minutes
    assert (state["num_photos"], state["max_photos"]) == (2, 4)


def test_a_visitor_with_a_space_is_redirected_from_the_entrance(anna: TestClient) -> None:
    assert anna.get("/demo", follow_redirects=False).headers["location"] == "/"
    assert anna.post("/api/demo/enter", json={}).json() == {"state": "open"}


def test_the_authenticator_finds_the_space_by_the_session_alone(demo: HostedDemo, anna: TestClient) -> None:
    found = VisitorAuthenticator(demo.spaces).by_session(anna.cookies["annotator_session_7860"])
    assert isinstance(found, Visitor)
    assert VisitorAuthenticator(demo.spaces).by_session(found.space.space_id) is None
    assert VisitorAuthenticator(demo.spaces).by_bearer(found.space.space_id) is None


def test_a_demo_is_alive_but_not_ready_while_no_space_can_be_made(
    app: FastAPI, demo: HostedDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_browser(app)
    assert client.get("/api/v1/ready").json() == {"status": "ready", "missing": []}
    monkeypatch.setattr(demo.spaces, "_health", (-math.inf, ""))
    monkeypatch.setattr(demo.spaces, "_find_problem", lambda: "no space can be made")
    answer = client.get("/api/v1/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "missing": ["no space can be made"]})
    assert (client.get("/api/health").status_code, client.get("/api/health").json()) == (200, {"status": "ok"})


def test_a_visitor_submits_no_checkpoint_of_the_server(app: FastAPI) -> None:
    answer = call(visitor(app), "submit_model", submission="0" * 16).json()
    assert answer["error"]["message"] == "The hosted demo takes no models that were trained elsewhere."


def test_a_visitor_opens_and_ends_no_other_project_and_sees_no_folder(app: FastAPI) -> None:
    client = visitor(app)
    assert not call(client, "state").json()["may_open_projects"]
    payloads = {
        "projects": {},
        "list_folder": {"path": "/"},
        "open_project": {"demo": True},
        "close_project": {"path": "/"},
    }
    assert payloads.keys() == set(PROJECT_OPERATIONS)
    for name, payload in payloads.items():
        assert call(client, name, **payload).json()["error"]["message"] == "The hosted demo has no other projects."
