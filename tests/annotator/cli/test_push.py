"""`annotator push` against a local stand-in for the hub that keeps what huggingface_hub sends it."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from PIL import Image

from annotator.cli.main import main
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.exchange.dataset_card import CardFacts, card_of
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project

pytestmark = pytest.mark.integration  # listens on a socket


@dataclass
class Hub:
    """What the stand-in was asked and sent."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    created: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    address: str = ""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            hub.calls.append((self.path, self.headers.get("authorization", "")))
            self.answer(reply(hub, self.path, body))

        def do_GET(self) -> None:
            hub.calls.append((self.path, self.headers.get("authorization", "")))
            self.answer({})

        def answer(self, value: dict[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(hub.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield hub
    server.shutdown()
    server.server_close()


def reply(hub: Hub, path: str, body: bytes) -> dict[str, Any]:
    if path == "/api/repos/create":
        hub.created = json.loads(body)
        return {"url": f"{hub.address}/datasets/anna/holiday", "name": "anna/holiday"}
    if path.endswith("/preupload/main"):
        names = [one["path"] for one in json.loads(body)["files"]]
        return {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
    if path.endswith("/commit/main"):
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        return {"commitUrl": f"{hub.address}/datasets/anna/holiday/commit/1", "commitOid": "1", "success": True}
    return {}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    photos, project = tmp_path / "photos", Project.open_or_create(tmp_path / "project", "holiday")
    photos.mkdir()
    store = Store(project.database_path)
    root_id = store.images.root_id(photos)
    for image_id in (1, 2, 3):
        path = photos / f"photo {image_id}.png"
        Image.new("RGB", (8, 6), (image_id * 50, 0, 0)).save(path)
        seen = SeenPath(root_id, path.name, path.stat().st_size, 0, image_id)
        entry = ImageEntry(f"{image_id:064x}", 8, 6, "PNG")
        store.images.add(IngestedBatch(images=[(image_id, entry)], paths=[seen]))
    log = CorrectionLog(store)
    for image_id, tags in ((1, ["cat", "red, hot"]), (2, ["<b>", "cat"]), (3, ["dog"])):
        log.save(image_id, revision=0, tags=tags, dropped=[], user_name="anna", effort=Effort())
    store.close()
    (photos / "photo 3.png").unlink()
    return tmp_path / "project"


def test_by_default_nothing_leaves_the_machine(project: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(project), "anna/holiday", "--license", "cc-by-4.0"]) == 0
    out = capsys.readouterr().out
    assert "Nothing was uploaded" in out
    assert 'license: "cc-by-4.0"' in out
    assert "2 photos with 3 different tags" in out
    assert "1 photos are left out" in out
    assert "photo 1.png" in out
    assert hub.calls == []


def test_with_yes_photos_lists_and_card_are_uploaded_with_the_logins_token(
    project: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(project), "anna/holiday", "--yes"]) == 0
    assert f"Uploaded: {hub.address}" in capsys.readouterr().out
    writing = [(path, token) for path, token in hub.calls if path.startswith(("/api/repos/", "/api/datasets/"))]
    assert {token for _, token in writing} == {"Bearer hf_secret"}
    assert len(writing) >= 3
    assert (hub.created["name"], hub.created["organization"], hub.created["type"]) == ("holiday", "anna", "dataset")
    assert hub.created.get("private") or hub.created.get("visibility") == "private"
    assert {"README.md", "metadata.jsonl", "photo 1.png", "photo 2.png"} == {*hub.files} - {".gitattributes"}
    photo = project.parent / "photos" / "photo 1.png"
    assert hub.files["photo 1.png"] == photo.read_bytes()
    assert not photo.is_symlink()
    lines = [json.loads(line) for line in hub.files["metadata.jsonl"].splitlines()]
    assert [line["tags"] for line in lines] == [["cat", "red, hot"], ["<b>", "cat"]]


def test_a_refusal_of_the_hub_is_a_sentence(
    project: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 403
    assert main(["push", str(project), "anna/holiday", "--yes"]) == 1
    error = capsys.readouterr().err
    assert "could not be uploaded" in error
    assert len(error.splitlines()) == 1
    assert "hf_secret" not in error
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main(["push", str(project), "anna/holiday", "--yes"]) == 1
    assert "hf auth login" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["holiday"], ["a/b/c"], ["../x"], ["anna/holiday", "--license", "my own\nx: y"]])
def test_a_name_that_is_none_is_refused(arguments: list[str], project: Path, hub: Hub) -> None:
    assert main(["push", str(project), *arguments, "--yes"]) == 1
    assert hub.calls == []


def test_the_card_reads_as_metadata_and_runs_no_text_of_a_tag(project: Path) -> None:
    facts = CardFacts()
    facts.count([TaggedPhoto("a.jpg", ("<script>", "a|b", "*x*")), TaggedPhoto("b.jpg", ("a|b",))])
    card = huggingface_hub.DatasetCard(card_of('ho"li: day', "anna/holiday", "parquet", "", facts))
    assert card.data.pretty_name == 'ho"li: day'
    assert card.data.size_categories == ["n<1K"]
    assert "license" not in card.data.to_dict()
    assert "<script>" not in card.text
    assert r"| a\|b | 2 | 1 |" in card.text


def test_parquet_is_pushed_as_one_file(project: Path, hub: Hub) -> None:
    assert main(["push", str(project), "anna/holiday", "--yes", "--format", "parquet", "--tag", "cat"]) == 0
    assert {"README.md", "train.parquet"} == {*hub.files} - {".gitattributes"}
    assert hub.files["train.parquet"][:4] == b"PAR1"
