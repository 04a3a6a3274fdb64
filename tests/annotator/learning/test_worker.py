"""The real training process: killed at random moments, refused by its lock, out of disk, and from the command line."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from annotator.errors import CheckpointError, TrainingError
from annotator.learning import worker
from annotator.learning.job import CANDIDATE_FOLDER, JOB_FILE, Job, hold_lock
from annotator.models import checkpoint
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

RANDOM = random.Random(7)
NUM_KILLS = 3


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    opened = open_project(demo_photos, tagger="starter/scnn_rnn")  # the smaller of the two
    for image_id in range(1, 7):
        opened.tagging.save("local", EditedList(image_id, 0, ["heron", "reed"], ["dog"], Effort(tagger="x")))
    opened.workspace.models.set({"least_photos": 1, "gold_margin": 50.0, "newest_share": 0.5})
    return opened


def test_a_training_that_is_killed_at_any_moment_changes_nothing_and_the_next_one_works(opened: Session) -> None:
    models = opened.workspace.models
    exported = list(opened.administration.export("local"))
    seen: list[str] = []
    for _ in range(NUM_KILLS):
        run_id = models.train("local")
        training = models._training
        assert training is not None
        # At a random step: after so many words of the process, or so many seconds where it says nothing.
        ends, wanted = time.monotonic() + RANDOM.uniform(0.2, 4.0), RANDOM.choice(["starting", "reading", "learning"])
        while time.monotonic() < ends and training.progress["phase"] == wanted and training.process.poll() is None:
            time.sleep(0.01)
        seen.append(training.progress["phase"])
        training.process.send_signal(signal.SIGKILL)
        models.wait()
        run = models.run(run_id)
        assert (run["state"], "SIGKILL" in run["sentence"]) == ("failed", True), (run, seen)
        assert opened.workspace.project.settings.tagger == "starter/scnn_rnn"
        assert not (training.folder / CANDIDATE_FOLDER).exists()
    assert list(opened.administration.export("local")) == exported
    assert not list(opened.workspace.project.checkpoints_path.glob("*"))
    run_id = models.train("local")
    models.wait()
    run = models.run(run_id)
    assert run["state"] in ("promoted", "refused"), run
    assert run["report"]["new_tags"] == ["heron", "reed"]
    assert (
        run["report"]["num_fresh"] + run["report"]["verdict"]["num_gold"] + run["report"]["verdict"]["num_newest"] == 6
    )
    assert checkpoint.load(opened.workspace.project.checkpoints_path / f"run-{run_id:04}").vocabulary.tags[-2:] == (
        "heron",
        "reed",
    )
    (model,) = [model for model in models.state()["models"] if model["run_id"] == run_id]
    assert model["actions_per_photo"] == run["report"]["verdict"]["candidate"]["actions_per_photo"]


@pytest.mark.integration
def test_the_lock_is_released_however_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "training.lock"
    script = f"""
import sys, time
from pathlib import Path
from annotator.learning.worker import hold_lock
with hold_lock(Path({str(path)!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=rf"learning already \(process {holder.pid}\)"), hold_lock(path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
    with hold_lock(path):
        assert path.read_text() == str(os.getpid())


def test_a_checkpoint_that_does_not_fit_the_disk_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = checkpoint.load("starter/scnn_rnn")
    about = checkpoint.read_info("starter/scnn_rnn").about

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(tagger, tmp_path / "candidate", about, half=True)
    assert not list((tmp_path / "candidate").iterdir())


def test_a_full_disk_is_reported_and_leaves_no_partial_file(mount_disk: Callable[[str], Path]) -> None:
    disk = mount_disk("1m")
    tagger = checkpoint.load("starter/scnn_rnn")
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(tagger, disk / "candidate", checkpoint.read_info("starter/scnn_rnn").about, half=True)
    assert not list((disk / "candidate").iterdir())


def test_the_commands_work_on_a_project_that_nobody_serves(opened: Session, run_command: Callable[..., Any]) -> None:
    folder = opened.workspace.project.folder
    opened.close()
    done = run_command("tags", folder, "rename", "heron", "grey heron")
    assert (done.returncode, done.stdout) == (0, "heron -> grey heron: 6 photos.\n"), done.stderr
    done = run_command("models", folder, "--json")
    state = json.loads(done.stdout)
    assert [model["is_live"] for model in state["models"] if model["name"] == "starter/scnn_rnn"] == [True]
    other = next(model["model_id"] for model in state["models"] if model["name"] == "starter/jvsp")
    assert run_command("models", folder, "promote", other).returncode == 0
    assert json.loads((folder / "settings.json").read_text())["tagger"] == "starter/jvsp"
    done = run_command("models", folder, "rollback")
    assert done.returncode == 0
    assert any(line.startswith("*") and "S-CNN-RNN" in line for line in done.stdout.splitlines())
    refused = run_command("models", folder, "promote", 99)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "no model 99" in refused.stderr


def python_without_memory() -> None:
    bytearray(2**62)


def torch_without_memory() -> None:
    torch.empty(2**50, dtype=torch.uint8)


@pytest.mark.parametrize("runs_out", [python_without_memory, torch_without_memory])
def test_a_training_without_enough_memory_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs_out: Callable[[], None]
) -> None:
    lock = str(tmp_path / "lock")
    job = Job("starter", "efficientnet_lite0", "", "", "", lock, 0.1, 0.2, 1, 2, 0.9, 0.1, 1, 0, {})
    (tmp_path / JOB_FILE).write_text(json.dumps(asdict(job)))
    monkeypatch.setattr(worker, "_train_and_judge", lambda *arguments: runs_out())
    monkeypatch.setattr(worker, "lower_priority", lambda niceness, num_threads: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    assert worker.main([str(tmp_path)]) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    sentence = "The training ran out of memory; the model in use did not change."
    assert said == {"phase": "failed", "sentence": sentence}


def test_an_error_of_the_program_is_not_taken_for_a_lack_of_memory() -> None:
    assert not worker._is_out_of_memory(RuntimeError("The size of tensor a must match"))
