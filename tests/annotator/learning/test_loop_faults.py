"""Faults around the real training process: the server killed, poisoned features, photos and tags gone meanwhile."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.learning.job import CANDIDATE_FOLDER
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

RANDOM = random.Random(3)
LIMIT_SECONDS = 120
LIVE = "starter/scnn_rnn"


@pytest.fixture
def photos(write_photos: Callable[..., list[Path]], tmp_path: Path) -> list[Path]:
    return write_photos(tmp_path / "photos", range(6))


@pytest.fixture
def opened(open_project: Callable[..., Session], photos: list[Path]) -> Session:
    opened = open_project(photos[0].parent, tagger=LIVE)
    save_corrections(opened)
    return opened


def save_corrections(opened: Session) -> None:
    for image_id in range(1, 7):
        opened.tagging.save("local", EditedList(image_id, 0, ["heron", "reed"], ["dog"], Effort(tagger="x")))
    opened.workspace.models.set({"least_photos": 1, "gold_margin": 50.0, "newest_share": 0.5, "niceness": 0})


def until(is_so: Callable[[], Any]) -> None:
    ends = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children_of(pid: int) -> list[int]:
    """Read from /proc: the program ps is not everywhere."""
    return [child for child in processes() if parent_of(child) == pid]


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def parent_of(pid: int) -> int | None:
    try:
        # The name of the program, in parentheses, may hold anything; then state and parent.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return None


def test_a_server_that_is_killed_during_training_loses_nothing_and_its_trainer_ends(
    opened: Session, open_project: Callable[..., Session]
) -> None:
    folder = opened.workspace.project.folder
    exported = list(opened.administration.export("local"))
    opened.close()
    # The command opens the project and trains as a server does.
    server = subprocess.Popen(
        [sys.executable, "-m", "annotator.cli", "finetune", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: (folder / "training" / "run-0001" / "job.json").exists() or server.poll() is not None)
    time.sleep(RANDOM.uniform(0.0, 2.0))
    trainers = children_of(server.pid)
    server.send_signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    until(lambda: not any(map(is_running, trainers)))
    again = open_project(folder=folder, tagger=LIVE)
    run = again.workspace.models.run(1)
    assert (run["state"], again.workspace.project.settings.tagger) == ("interrupted", LIVE)
    assert list(again.administration.export("local")) == exported
    assert not (folder / "training" / "run-0001" / CANDIDATE_FOLDER).exists()
    assert not list(again.workspace.project.checkpoints_path.glob("*"))
    assert again.workspace.models.state()["num_new"] == 6  # what it would have learnt is still to be learnt


@pytest.mark.parametrize("num_left", [0, 400_000], ids=["every byte", "what the log needs is left"])
def test_a_disk_that_fills_up_before_the_checkpoint_is_written_fails_that_training_alone(
    open_project: Callable[..., Session],
    photos: list[Path],
    mount_disk: Callable[[str], Path],
    fill_disk: Callable[..., Path],
    num_left: int,
) -> None:
    disk = mount_disk("48m")
    opened = open_project(photos[0].parent, folder=disk / "project", tagger=LIVE)
    session, models = opened, opened.workspace.models
    save_corrections(opened)
    exported = list(session.administration.export("local"))
    run_id = models.train("local")
    until(lambda: (models.state()["progress"] or {"phase": "over"})["phase"] != "starting")
    filler = fill_disk(disk, num_left)
    models.wait()
    state = models.state()
    assert (state["is_training"], state["last"]["run_id"], state["last"]["state"]) == (False, run_id, "failed")
    assert "No space left on device" in state["last"]["sentence"]
    assert models.run(run_id)["sentence"] == state["last"]["sentence"]
    assert opened.workspace.project.settings.tagger == LIVE
    assert session.navigation.open("local", 3)["tagger"].startswith("scnn_rnn")
    assert list(session.administration.export("local")) == exported
    assert not list(opened.workspace.project.checkpoints_path.glob("*"))
    assert not (opened.workspace.project.training_path / "run-0001" / CANDIDATE_FOLDER).exists()
    filler.unlink()
    session.tagging.save("local", EditedList(1, 1, ["heron"], [], Effort(tagger="x")))
    following = models.train("local")
    models.wait()
    assert models.run(following)["state"] in ("promoted", "refused"), models.run(following)["sentence"]
    opened.close()
    again = open_project(folder=disk / "project", tagger=LIVE)
    assert again.workspace.models.run(run_id)["state"] == "failed"
    assert [record["tags"] for record in again.administration.export("local")] == [
        ["heron"],
        *(r["tags"] for r in exported[1:]),
    ]


def test_a_feature_that_is_no_number_ends_the_training_in_a_sentence(opened: Session) -> None:
    features = np.memmap(
        opened.workspace.features.path, dtype="<f4", mode="r+", shape=(6, opened.workspace.features.feature_size)
    )
    features[:, 7] = np.nan
    features.flush()
    run_id = opened.workspace.models.train("local")
    opened.workspace.models.wait()
    run = opened.workspace.models.run(run_id)
    assert run["state"] == "failed"
    assert "finite numbers; extract them again" in run["sentence"]
    assert opened.workspace.project.settings.tagger == LIVE
    assert not list(opened.workspace.project.checkpoints_path.glob("*"))


def test_photos_and_tags_that_are_removed_during_training_stay_removed(
    opened: Session, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened
    # Two people who contradict each other: the last word on each photo counts, and both can be learnt from.
    session.tagging.save("ann", EditedList(1, 1, ["dog"], ["heron", "reed"], Effort(tagger="x")))
    session.tagging.save("ben", EditedList(1, 2, ["heron"], ["dog"], Effort(tagger="x")))
    run_id = opened.workspace.models.train("local")
    until(lambda: (opened.workspace.models.state()["progress"] or {}).get("phase") != "starting")
    photos[1].unlink()
    opened.workspace.ingest.run([photos[0].parent])
    assert session.tag_editing.change_tag("ann", "rename", "heron", "grey heron")["num_photos"] == 6
    assert session.tag_editing.change_tag("ann", "rename", "reed", "grass")["num_photos"] == 5
    jump = time.time() - 10 * 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: jump)  # the clock on the wall goes back ten years
    opened.workspace.models.wait()
    run = opened.workspace.models.run(run_id)
    assert run["state"] in ("promoted", "refused"), run["sentence"]
    opened.workspace.models.promote(
        max(model["model_id"] for model in opened.workspace.models.state()["models"]), "ann"
    )
    # The new model learnt "heron" and "reed"; nobody is offered a name that is not used any more.
    shown = [proposal["tag"] for proposal in session.navigation.open("local", 3)["proposals"]]
    assert not {"heron", "reed"} & set(shown)
    following = [
        proposal["tag"] for proposal in session.tagging.propose("local", 3, [], ["grey heron"], 1)["proposals"]
    ]
    assert "grey heron" not in following
    assert next(record["tags"] for record in session.administration.export("local")) == ["grey heron"]
