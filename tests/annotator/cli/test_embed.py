"""`annotator embed` and `annotator add --from` with the real backbone; what is killed runs in processes of its own."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from annotator.cli.main import main
from annotator.models.backbones import backbone as backbone_module
from annotator.models.backbones.backbone import Backbone
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.shards import ShardFolder

pytest.importorskip("pyarrow", reason="shards need pyarrow: the extra parquet")
pytestmark = pytest.mark.integration

WritePhotos = Callable[..., list[Path]]
LIMIT_SECONDS = 240
NO_RAY = "ray is not installed: pip install 'annotator[ray]'"


@pytest.fixture
def photos(tmp_path: Path, write_photos: WritePhotos, demo_photos: Path, backbone_cache: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(demo_photos, folder / "demo")
    write_photos(folder, range(24))
    shutil.copy(folder / "photo 3.jpg", folder / "demo" / "a copy.jpg")
    (folder / "photo 5.txt").write_text("harbour, boat")
    (folder / "broken.jpg").write_bytes(b"not a photo")
    return folder


NUM_PHOTOS = 30


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def tag_all(project: Path) -> None:
    """Save a list for every photo, so that the export names all of them."""
    store = Store(project / "project.duckdb")
    log = CorrectionLog(store)
    for (image_id,) in store.rows("SELECT image_id FROM images ORDER BY image_id"):
        log.save(image_id, revision=0, tags=["sea", f"tag {image_id}"], dropped=[], user_name="local", effort=Effort())
    store.rows("UPDATE annotations SET saved_at = TIMESTAMP '2026-01-01' RETURNING 1")
    store.close()


def exported(project: Path, capsys: pytest.CaptureFixture[str]) -> str:
    tag_all(project)
    capsys.readouterr()
    assert run("export", project, "--format", "jsonl") == 0
    return capsys.readouterr().out


def features(project: Path) -> bytes:
    (path,) = (project / "features").glob("*.f32")
    return path.read_bytes()


def thumbnails(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project / "thumbnails").rglob("*.jpg")}


def content(project: Path) -> list[object]:
    store = Store(project / "project.duckdb")
    rows = [store.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in ("images", "paths", "roots", "features")]
    store.close()
    return [*rows, features(project), thumbnails(project), (project / "settings.json").read_bytes()]


def assert_same_project(taken: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert features(taken) == features(plain)
    assert thumbnails(taken) == thumbnails(plain)
    lines = exported(plain, capsys)
    assert len(lines.splitlines()) == NUM_PHOTOS
    assert exported(taken, capsys) == lines


def content_hashes(folder: Path) -> list[str]:
    """Of every row with a photo's data."""
    shards = ShardFolder.open(folder)
    tables = [shards.shard(number) for number in shards.numbers()]
    pairs = [pair for table in tables for pair in zip(table.column("content_hash"), table.has_data(), strict=True)]
    return [content_hash for content_hash, has_data in pairs if has_data]


def test_shards_give_the_features_and_the_export_of_an_ordinary_ingest(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("embed", photos, "--out", tmp_path / "shards", "--shard-size", 10, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary.pop("photos_per_second") >= 0
    assert summary == {"num_found": 32, "num_read": 32, "num_photos": NUM_PHOTOS, "num_unreadable": 1, "num_shards": 4}
    assert run("add", tmp_path / "plain", photos, "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert run("add", tmp_path / "taken", "--from", tmp_path / "shards", "--json") == 0
    taken = json.loads(capsys.readouterr().out)
    for values in (plain, taken):
        del values["photos_per_second"]
    assert taken == plain
    assert_same_project(tmp_path / "taken", tmp_path / "plain", capsys)


def test_a_run_that_is_killed_goes_on_and_every_photo_is_there_once(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "annotator.cli", "embed", str(photos), "--out", str(tmp_path / "shards")]
    process = subprocess.Popen([*command, "--shard-size", "3"], stderr=subprocess.PIPE)
    wait_for(lambda: (tmp_path / "shards" / "shard-00001.parquet").exists() or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not ShardFolder.open(tmp_path / "shards").is_complete
    num_before = len(content_hashes(tmp_path / "shards"))
    assert 0 < num_before < NUM_PHOTOS
    assert run("add", tmp_path / "early", "--from", tmp_path / "shards") == 1
    assert "are not complete" in capsys.readouterr().err
    assert not (tmp_path / "early").exists()
    assert run("embed", photos, "--out", tmp_path / "shards", "--json") == 0
    assert json.loads(capsys.readouterr().out)["num_read"] < 32
    hashes = content_hashes(tmp_path / "shards")
    assert len(hashes) == len(set(hashes)) == NUM_PHOTOS
    assert run("add", tmp_path / "taken", "--from", tmp_path / "shards") == 0
    assert run("add", tmp_path / "plain", photos) == 0
    assert_same_project(tmp_path / "taken", tmp_path / "plain", capsys)


def wait_for(is_right: Callable[[], Any]) -> Any:
    ends = time.monotonic() + LIMIT_SECONDS
    while not (answer := is_right()):
        assert time.monotonic() < ends, "it takes too long"
        time.sleep(0.02)
    return answer


def test_shards_of_another_version_of_the_backbone_are_refused_and_change_nothing(
    tmp_path: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    backbone: Backbone,
) -> None:
    with monkeypatch.context() as patch:
        other = object.__new__(Backbone)
        other.__dict__.update(backbone.__dict__, version="0123456789ab")
        patch.setattr(backbone_module, "load_backbone", lambda *_, **__: other)
        assert run("embed", photos, "--out", tmp_path / "shards") == 0
    assert run("add", tmp_path / "new", "--from", tmp_path / "shards") == 1
    assert "of the backbone efficientnet_lite0-0123456789ab" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert run("add", tmp_path / "known", photos) == 0
    before = content(tmp_path / "known")
    capsys.readouterr()
    assert run("add", tmp_path / "known", "--from", tmp_path / "shards") == 1
    assert "Nothing was changed" in capsys.readouterr().err
    assert content(tmp_path / "known") == before
    assert run("embed", photos, "--out", tmp_path / "shards") == 1
    assert "Name another folder" in capsys.readouterr().err


def test_damaged_shards_are_refused_before_a_project_is_made(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("embed", photos, "--out", tmp_path / "shards") == 0
    path = tmp_path / "shards" / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert run("add", tmp_path / "project", "--from", tmp_path / "shards") == 1
    assert "is missing, or not as `annotator embed` wrote it" in capsys.readouterr().err
    assert not (tmp_path / "project").exists()
    assert run("embed", photos, "--out", tmp_path / "shards") == 1  # nor does a run go on from it
    assert "Delete it" in capsys.readouterr().err


def test_two_runs_do_not_write_into_one_folder(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from annotator.storage.private_files import hold_alone

    (tmp_path / "shards").mkdir()
    with hold_alone(tmp_path / "shards"):
        assert run("embed", photos, "--out", tmp_path / "shards") == 1
    assert "Another run writes shards" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "project"], "either folders of photos, or --from"),
        (["add", "project", "photos", "--from", "shards"], "either folders of photos, or --from"),
        (["add", "project", "--from", "nowhere"], "holds no shards"),
        (["embed", "nowhere", "--out", "shards"], "There is no folder"),
        (["embed", "photos", "--out", "shards", "--shard-size", "0"], "--shard-size must be"),
        (["embed", "photos", "--out", "shards", "--address", "auto"], "add --engine ray"),
        (["embed", "photos", "--out", "shards", "--backbone", "nothing"], "There is no backbone"),
        (["embed", "photos", "--out", "photos"], "not empty and holds no shards"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_sentence(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_without_ray_its_engine_says_how_to_get_it(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run("embed", photos, "--out", tmp_path / "shards", "--engine", "ray") == 1
    assert "pip install 'annotator[ray]'" in capsys.readouterr().err


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)


@needs_ray
@pytest.mark.parametrize(
    ("address", "message"), [("127.0.0.1:1", "No Ray cluster is reached at '127.0.0.1:1'"), ("nowhere", "HOST:PORT")]
)
def test_a_cluster_that_is_not_there_is_said_at_once(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], address: str, message: str
) -> None:
    process = embed_with_ray(photos, tmp_path / "shards", "--address", address)
    assert message in process.communicate(timeout=LIMIT_SECONDS)[1]
    assert process.returncode == 1


def embed_with_ray(photos: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "annotator.cli", "embed", str(photos), "--out", str(out), "--engine", "ray"]
    return subprocess.Popen([*command, *options, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_below(process_id: int, title: str) -> list[int]:
    """Process ids of the Ray workers with a title that a process has started, in their order."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue  # it has ended
    found = []
    for one in sorted(parents):
        above = one
        while above in parents and above != process_id:
            above = parents[above]
        if above == process_id and title in titles[one]:
            found.append(one)
    return found


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, str]]:
    """A Ray cluster on this machine with four cores by name: the process id of its start, and its address.

    It has a token of its own, which the processes of this test inherit.
    """
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tempfile.mkdtemp(prefix="ray")  # the paths of Ray's sockets must be short
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=4",
               "--node-ip-address=127.0.0.1", f"--port={address.partition(':')[2]}", "--include-dashboard=false",
               "--disable-usage-stats", f"--temp-dir={folder}"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            lines = list(takewhile(lambda line: "Ray runtime started" not in line, process.stdout))
            assert process.poll() is None, lines
            yield process.pid, address
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_SECONDS)
            shutil.rmtree(folder, ignore_errors=True)


@needs_ray
def test_with_ray_a_killed_worker_costs_no_photo_and_all_is_as_in_one_process(
    tmp_path: Path,
    photos: Path,
    write_photos: WritePhotos,
    cluster: tuple[int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(10):  # enough for several tasks of each worker
        write_photos(photos / f"more {number}", range(24 + 24 * number, 48 + 24 * number))
    assert run("embed", photos, "--out", tmp_path / "local", "--shard-size", 40) == 0
    started, address = cluster
    options = ("--actors", "2", "--network-threads", "1", "--shard-size", "40", "--address", address)
    with embed_with_ray(photos, tmp_path / "shards", *options) as process:
        wait_for(lambda: (tmp_path / "shards" / "shard-00000.parquet").exists() or process.poll() is not None)
        workers = workers_below(started, "ray::MapWorker")
        if workers:
            os.kill(workers[0], signal.SIGKILL)
        is_complete = ShardFolder.open(tmp_path / "shards").is_complete
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert len(workers) == 2, err
    assert not is_complete
    assert process.returncode == 0, err
    hashes = content_hashes(tmp_path / "shards")
    assert len(hashes) == len(set(hashes)) == json.loads(out)["num_photos"]
    names = sorted(path.name for path in (tmp_path / "local").iterdir())
    for name in names:
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name
    assert run("add", tmp_path / "taken", "--from", tmp_path / "shards") == 0
    assert run("add", tmp_path / "plain", photos) == 0
    assert features(tmp_path / "taken") == features(tmp_path / "plain")
    assert exported(tmp_path / "taken", capsys) == exported(tmp_path / "plain", capsys)
