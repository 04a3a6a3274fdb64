import gc
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.errors import BackboneError, ConfigError, ProjectError
from annotator.retrieval import vector_index
from annotator.retrieval.vector_index import VectorIndexSettings
from annotator.session import photo_parts
from annotator.session import workspace as workspace_module
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.settings import ServerConfig
from annotator.storage.correction_log import Effort
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.web import server as app_module

WritePhotos = Callable[..., list[Path]]


@dataclass
class Served:
    """``annotator serve`` in a process of its own, called over loopback."""

    process: subprocess.Popen[str]
    lines: list[str]
    port: int

    def __post_init__(self) -> None:
        answer, _ = self._ask("GET", "/api/session", None, {})
        pairs = [value.split(";")[0] for name, value in answer.getheaders() if name == "set-cookie"]
        cookies = dict(pair.split("=", 1) for pair in pairs)
        self.headers = {"cookie": "; ".join(pairs), "x-annotator-token": cookies[f"annotator_token_{self.port}"]}

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, None, self.headers)[1]

    def call(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        headers = self.headers | {"content-type": "application/json"}
        answer: dict[str, Any] = json.loads(self._ask("POST", f"/api/{name}", json.dumps(payload), headers)[1])
        return answer

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        return code


@pytest.fixture
def serve(backbone_cache: Path) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:

        def start(*arguments: object) -> Served:
            command = [sys.executable, "-m", "annotator.cli", "serve", *map(str, arguments), "--port", "0"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            stack.callback(lambda: process.poll() is None and process.kill())
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            return Served(process, lines, int(lines[0].rsplit(":", 1)[1]))

        yield start


def test_a_served_project_survives_kill_9_and_goes_on_where_it_was(
    serve: Callable[..., Served],
    write_photos: WritePhotos,
    tmp_path: Path,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    backbone: object,
) -> None:
    photos, project = tmp_path / "photos", tmp_path / "project"
    write_photos(photos, range(40))
    first = serve(photos, "--project", project)
    assert first.lines[0].startswith("Tagging page: http://127.0.0.1:")
    assert str(project) in first.lines[1]
    while first.call("state", {})["num_images"] < 4:
        time.sleep(0.02)  # the server needs the processor
    acknowledged = {}
    for image_id in range(1, 5):
        tags = [f"tag {image_id}", "<b>"]
        assert first.call("save", {"image_id": image_id, "revision": 0, "kept": tags})["revision"] == 1
        acknowledged[image_id] = tags
    # Another process learns which process has the project open, and the export goes through the server.
    refused = run_command("add", project, photos)
    assert refused.returncode == 1
    assert f"in use by process {first.process.pid}" in refused.stderr
    exported = run_command("export", project, env=os.environ | {"http_proxy": "http://127.0.0.1:9"})
    assert [json.loads(line)["tags"] for line in exported.stdout.splitlines()] == list(acknowledged.values())
    first.end(signal.SIGKILL)

    second = serve(project)  # knows its photo folder
    while second.call("state", {})["ingest"]["running"]:
        time.sleep(0.02)
    state = second.call("state", {})
    assert (state["num_images"], state["num_saved"], state["ingest"]["error"]) == (40, 4, None)
    lines = second.get("/api/export").decode().splitlines()
    assert {row["image_id"]: row["tags"] for row in map(json.loads, lines)} == acknowledged
    assert second.call("undo", {})["image_id"] == 4
    assert (project / "server.json").exists()
    assert second.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert not (project / "server.json").exists()
    exported = run_command("export", project, "--format", "csv", check=True)
    assert len(exported.stdout.splitlines()) == 4


@pytest.mark.integration
@pytest.mark.parametrize("num_left", [0, 4096])
@pytest.mark.parametrize("is_new", [True, False])
def test_serving_on_a_full_disk_says_so_in_a_sentence(
    mount_disk: Callable[[str], Path],
    fill_disk: Callable[..., Path],
    write_photos: WritePhotos,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    backbone: object,
    *,
    is_new: bool,
    num_left: int,
) -> None:
    disk = mount_disk("8m")
    write_photos(tmp_path / "photos", range(2))
    project = disk / "project"
    if not is_new:
        run_command("add", project, tmp_path / "photos", check=True)
    filler = fill_disk(disk, num_left)
    done = run_command("serve", tmp_path / "photos", "--project", project, "--port", 0)
    assert done.returncode == 1
    told = done.stderr.removeprefix("Starting ...\n")
    assert told.count("\n") == 1, told
    assert "full" in told or "No space left" in told
    if not is_new:
        done = run_command("add", project, tmp_path / "photos")
        assert "Traceback" not in done.stderr
        filler.unlink()
        assert run_command("check", project, check=True).stderr == "All is well.\n"


@pytest.mark.integration
def test_a_taken_port_is_reported_before_anything_is_loaded(
    tmp_path: Path, write_photos: WritePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "Workspace", lambda *_: pytest.fail("the project was opened"))
    project = Project.open_or_create(tmp_path / "project", "x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Port {port} on 127\.0\.0\.1 is taken.*--port 0"):
            app_module.serve(project, [], ServerConfig(port=port), None, print)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Cannot listen on 203\.0\.113\.1"):
        app_module.serve(project, [], ServerConfig(host="203.0.113.1", port=0), None, print)  # type: ignore[arg-type]


def test_a_project_that_cannot_be_opened_is_released(
    open_project: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(name: str, num_threads: int) -> None:
        raise BackboneError("no weights")

    with monkeypatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", no_weights)
        with pytest.raises(BackboneError):
            open_project()
    assert open_project().navigation.state("local")["num_images"] == 0


def test_features_of_another_backbone_are_not_searched(
    open_project: Callable[..., Session], write_photos: WritePhotos, tmp_path: Path
) -> None:
    write_photos(tmp_path / "photos", range(3))
    opened = open_project(tmp_path / "photos")
    opened.tagging.save("local", EditedList(1, 0, ["cat"], [], Effort()))
    opened.close()
    store = Store(opened.workspace.project.database_path)
    with store.transaction() as cursor:
        cursor.execute("UPDATE features SET backbone = 'another-1'")
    store.close()
    again = open_project()
    assert len(again.workspace.features) == 0
    assert again.navigation.open("local", 2)["neighbours"]["looks"] == []
    assert again.navigation.open("local", 1)["saved"] == ["cat"]
    again.workspace.ingest.run([tmp_path / "photos"])
    assert again.workspace.features.image_ids() == [1, 2, 3]
    assert again.navigation.state("local")["num_images"] == 3
    looks = again.navigation.open("local", 2)["neighbours"]["looks"]
    assert {item["image_id"]: item["tags"] for item in looks} == {1: ["cat"], 3: []}


@pytest.mark.parametrize("damage", [None, b"", b"not an index", "missing"])
def test_the_index_is_rebuilt_when_it_is_missing_or_damaged(
    open_project: Callable[..., Session],
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: bytes | str | None,
) -> None:
    monkeypatch.setattr(photo_parts, "VectorIndexSettings", lambda: VectorIndexSettings(exact_below=20))
    write_photos(tmp_path / "photos", range(40))
    opened = open_project(tmp_path / "photos")
    query = opened.workspace.features.vectors([1])
    assert opened.workspace.vectors.kind == "inverted file"
    before = opened.workspace.vectors.search(query, 5)
    opened.close()
    (path,) = opened.workspace.project.indexes_path.glob("*.faiss")
    if damage == "missing":
        path.unlink()
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    again = open_project()
    assert again.workspace.vectors.image_ids().tolist() == list(range(1, 41))
    for found, expected in zip(again.workspace.vectors.search(query, 5), before, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_index_follows_photos_added_since_it_was_written(
    open_project: Callable[..., Session],
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photo_parts, "VectorIndexSettings", lambda: VectorIndexSettings(exact_below=20))
    write_photos(tmp_path / "photos", range(30))
    first = open_project(tmp_path / "photos")
    first.close()
    (path,) = first.workspace.project.indexes_path.glob("*.faiss")
    old = path.read_bytes()
    write_photos(tmp_path / "photos", range(30, 36))
    open_project(tmp_path / "photos").close()
    path.write_bytes(old)
    assert open_project().workspace.vectors.image_ids().tolist() == list(range(1, 37))


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_index_of_the_tagged_photos_is_kept_and_not_trained_again(
    open_project: Callable[..., Session],
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_killed: bool,
) -> None:
    monkeypatch.setattr(photo_parts, "VectorIndexSettings", lambda: VectorIndexSettings(exact_below=20))
    write_photos(tmp_path / "photos", range(40))
    first = open_project(tmp_path / "photos")

    def save(session: Session, image_id: int) -> None:
        session.tagging.save("local", EditedList(image_id, 0, ["cat"], [], Effort()), brings_next=False)

    for image_id in range(1, 31):
        save(first, image_id)
    assert first.workspace.ranking.vectors.kind == "inverted file"
    first.workspace.keep_indexes()
    kept = {path: path.read_bytes() for path in first.workspace.project.indexes_path.glob("*.faiss")}
    assert len(kept) == 2
    save(first, 31)
    undone = first.tagging.undo("local")["image_id"]
    save(first, 32)
    first.close()
    if is_killed:  # the files are older than the saves then
        for path, data in kept.items():
            path.write_bytes(data)
    with monkeypatch.context() as patch:
        patch.setattr(vector_index, "train_inverted_file", lambda *arguments, **options: pytest.fail("trained again"))
        again = open_project()
    tagged = again.workspace.ranking.vectors
    assert undone == 31
    assert tagged.image_ids().tolist() == [*range(1, 31), 32]
    query = again.workspace.features.vectors([7])
    assert tagged.search(query, 1)[0].tolist() == [[7]]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again.workspace.keep_indexes()
    if not is_killed:  # nothing has changed
        assert {path: path.stat().st_mtime_ns for path in kept} == before
    again.close()
    damaged = next(path for path in kept if path.stem.endswith("-tagged"))
    damaged.write_bytes(b"not an index")
    assert open_project().workspace.ranking.vectors.image_ids().tolist() == [*range(1, 31), 32]


def test_a_damaged_project_is_refused_at_once(open_project: Callable[..., Session], tmp_path: Path) -> None:
    opened = open_project()
    opened.close()
    opened.workspace.project.database_path.write_bytes(b"junk" * 1000)
    with pytest.raises(ProjectError, match="is damaged"):
        open_project()
    opened.workspace.project.database_path.unlink()
    opened.workspace.project.settings_path.write_text("{")
    with pytest.raises(ProjectError, match="Mend or delete the file"):
        open_project()


def test_a_project_without_its_index_opens_before_that_is_built(
    open_project: Callable[..., Session], write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `annotator restore`: an index of 100,000 photos is trained for a long time, and proposals need none."""
    monkeypatch.setattr(photo_parts, "VectorIndexSettings", lambda: VectorIndexSettings(exact_below=20))
    write_photos(tmp_path / "photos", range(40))
    first = open_project(tmp_path / "photos")
    for image_id in range(1, 16):
        first.tagging.save("local", EditedList(image_id, 0, ["cat"], [], Effort()), brings_next=False)
    first.close()
    for path in first.workspace.project.indexes_path.glob("*.faiss"):
        path.unlink()
    goes_on, train = threading.Event(), vector_index.train_inverted_file

    def waiting(*arguments: Any, **options: Any) -> Any:
        assert goes_on.wait(60)
        return train(*arguments, **options)

    monkeypatch.setattr(vector_index, "train_inverted_file", waiting)
    again = open_project()
    photo = again.navigation.open("local", None)
    assert "cat" in [proposal["tag"] for proposal in photo["proposals"]]
    assert len(photo["neighbours"]["looks"]) > 3
    goes_on.set()
    assert again.workspace.vectors.image_ids().tolist() == list(range(1, 41))
    again.close()
    assert list(again.workspace.project.indexes_path.glob("*.faiss")) != []  # kept for the next start


def test_the_search_for_garbage_goes_on_after_a_project_was_opened_or_refused() -> None:
    assert gc.isenabled()
    with app_module._without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ProjectError), app_module._without_collection():
        raise ProjectError("refused")
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("config", "may"),
    [
        (ServerConfig(), True),
        (ServerConfig(host="localhost"), True),
        (ServerConfig(host="0.0.0.0"), False),
        (ServerConfig(trusted_proxies=("127.0.0.1",)), False),
        (ServerConfig(root_path="/photos"), False),
        (ServerConfig(allowed_hosts=("photos.example",)), False),
    ],
)
def test_only_a_server_of_this_machine_alone_opens_other_projects(config: ServerConfig, may: bool) -> None:
    assert app_module.opens_projects(config) is may
