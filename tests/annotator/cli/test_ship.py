"""A served project is shipped into S3 (as moto serves it) while people save; then the machine's folder is deleted."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.cli import ship as module
from annotator.cli.main import main
from annotator.cli.server_client import ServerClient
from annotator.errors import BackupError, RemoteError
from annotator.storage.database import Store
from annotator.storage.project import Project

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture
def s3(s3_client: Any) -> Any:
    """A client of a server of S3's protocol with an empty bucket."""
    s3_client.create_bucket(Bucket="lists")
    return s3_client


def started(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "annotator.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def test_after_the_machine_is_lost_every_shipped_save_is_there_in_order(
    s3: Any,
    write_photos: Callable[..., list[Path]],
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    photos, folder, target = tmp_path / "photos", tmp_path / "project", "s3://lists/holiday"
    write_photos(photos, range(12))
    serving = started("serve", photos, "--project", folder, "--port", "0")
    assert serving.stdout is not None
    assert serving.stdout.readline().startswith("Tagging page")
    server = ServerClient(Project.open(folder))
    wait_for(lambda: not server.call("state")["ingest"]["running"], "the photos are not read")
    shipping = started("ship", folder, target, "--every", "0.2")
    assert shipping.stdout is not None
    assert shipping.stdout.readline().startswith(f"{target}: ")

    def shipped_event() -> int:
        answer = s3.get_object(Bucket="lists", Key="holiday/manifest.json")
        return int(json.loads(answer["Body"].read())["event_id"])

    lists = {}
    for image_id in range(1, 9):
        kept = [f"tag {image_id}", "<b>"]
        assert server.call("save", {"image_id": image_id, "revision": 0, "kept": kept})["revision"] == 1
        lists[image_id] = kept
        if image_id == 4:  # in the middle of its work; the next one goes on
            wait_for(lambda: shipped_event() > 0, "nothing was shipped")
            shipping.send_signal(signal.SIGKILL)
            shipping.communicate()
            shipping = started("ship", folder, target, "--every", "0.2")
    wait_for(lambda: shipped_event() == 8, "not all was shipped")
    for process in (serving, shipping):
        process.send_signal(signal.SIGKILL)
        process.communicate()
    shutil.rmtree(folder)

    restored = run_command("restore", target, tmp_path / "again")
    assert restored.returncode == 0, restored.stderr
    assert "12 photos, 8 saved, 8 events, up to event 8 of 20" in restored.stdout
    assert "seconds ago" in restored.stdout
    exported = run_command("export", tmp_path / "again", check=True)
    assert {row["image_id"]: row["tags"] for row in map(json.loads, exported.stdout.splitlines())} == lists
    assert run_command("check", tmp_path / "again").returncode == 0
    store = Store(tmp_path / "again" / "project.duckdb")
    assert store.rows("SELECT image_id FROM events ORDER BY event_id") == [(image_id,) for image_id in lists]
    store.close()
    for path in (tmp_path / "again").rglob("*"):  # credentials are nowhere kept
        assert not path.is_file() or b"a-secret-of-the-test" not in path.read_bytes()

    names = [one["Key"] for one in s3.list_objects_v2(Bucket="lists")["Contents"]]
    largest = max(names, key=lambda name: s3.head_object(Bucket="lists", Key=name)["ContentLength"])
    s3.put_object(Bucket="lists", Key=largest, Body=b"cut")
    refused = run_command("restore", target, tmp_path / "third")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "is missing, cut short or altered" in refused.stderr
    assert not (tmp_path / "third").exists()


def test_a_bucket_that_refuses_is_a_sentence(
    s3: Any, tmp_path: Path, run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    Store(project.database_path).close()
    for command, said in (
        (["ship", project.folder, "s3://none/holiday"], "s3://none/holiday"),
        (["restore", "s3://lists/nothing", tmp_path / "again"], "Nothing was shipped to s3://lists/nothing"),
        (["restore", "s3://none/nothing", tmp_path / "again"], "s3://none/nothing"),
        (["ship", project.folder, "https://host/folder"], "cannot be written"),
        (["ship", project.folder, tmp_path / "out", "--every", "0"], "--every must be from"),
    ):
        answer = run_command(*command)
        assert (answer.returncode, answer.stderr.count("\n")) == (1, 1), answer.stderr
        assert said in answer.stderr
        assert "Traceback" not in answer.stderr


def test_what_may_pass_does_not_end_a_ship_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    outcomes: list[Exception | None] = [
        None,
        RemoteError("The store refuses."),
        RemoteError("The store refuses."),
        None,
        BackupError("Another process ships."),
    ]

    def work() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    with pytest.raises(BackupError):
        module.repeat(work, 2.0)
    assert slept == [2.0] * 4
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "not up to date, tried again every 2 s. The store refuses." in said[0]
    assert "up to date again" in said[1]
    with pytest.raises(RemoteError):
        module.repeat(lambda: (_ for _ in ()).throw(RemoteError("once")), None)


def test_a_folder_is_a_target_and_the_age_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    Store(project.database_path).close()
    assert main(["ship", str(project.folder), str(tmp_path / "target")]) == 0
    assert "the whole project, shipped at 20" in capsys.readouterr().out
    assert main(["restore", str(tmp_path / "target"), str(tmp_path / "again")]) == 0
    assert re.search(r"up to its beginning, shipped \d seconds ago \(20", capsys.readouterr().out)
    file = tmp_path / "a.tar"
    assert main(["backup", str(project.folder), str(file)]) == 0
    assert main(["restore", str(file), str(tmp_path / "third"), "--before-damage"]) == 1
    assert "--before-damage is of what `annotator ship` wrote" in capsys.readouterr().err
