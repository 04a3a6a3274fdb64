"""The loop with a real project; the training process is a small script unless a test says otherwise."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ConfigError, StoreError, TrainingError
from annotator.learning import loop as model_loop_module
from annotator.learning import training_process
from annotator.learning.job import TRAINED_FILE, read_trained
from annotator.models import checkpoint
from annotator.models.checkpoint import About
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

LIMIT_SECONDS = 180

COPY_THE_LIVE_ONE = """
import json, shutil, sys, pathlib
folder = pathlib.Path(sys.argv[1])
job = json.loads((folder / "job.json").read_text())
print(json.dumps({"phase": "learning", "step": 1, "num_steps": 2, "loss": 3.5, "seconds_left": 1.0}), flush=True)
shutil.copytree(SOURCE, folder / "candidate")
figures = {"actions_per_photo": 3, "ndcg": 1}
verdict = {"is_promoted": PASSES, "sentence": "Promoted: 3.00 actions."}
verdict |= {"findings": "3.00 actions", "candidate": figures}
report = {"tagger": "jvsp new", "num_fresh": 2, "num_replayed": 0, "new_tags": [], "note": "", "verdict": verdict}
print(json.dumps({"phase": "done", "report": report}), flush=True)
"""
WAIT = 'import time; print(\'{"phase": "reading"}\', flush=True); time.sleep(600)'
RAISE = "raise RuntimeError('out of luck')"
SAY_FAILED = 'print(\'{"phase": "failed", "sentence": "The loss was not a finite number."}\', flush=True)'


@pytest.fixture(scope="module")
def other_jvsp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter with another version, as a candidate would be."""
    folder = tmp_path_factory.mktemp("other") / "jvsp"
    about = checkpoint.read_info("starter/jvsp").about
    checkpoint.save(
        checkpoint.load("starter/jvsp"), folder, About(about.backbone, about.backbone_version, about.order, {"n": 1})
    )
    return folder


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch, other_jvsp: Path) -> Callable[..., None]:
    """Let a script be the training process."""

    def use(script: str, *, passes: bool = True) -> None:
        filled = script.replace("SOURCE", repr(str(other_jvsp))).replace("PASSES", str(passes))
        monkeypatch.setattr(training_process, "command", lambda folder: [sys.executable, "-c", filled, str(folder)])

    return use


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    opened = open_project(demo_photos, tagger="starter/jvsp")
    for image_id, tags in ((1, ["cat"]), (2, ["coffee", "cup"])):
        save(opened, image_id, tags)
    return opened


def save(opened: Session, image_id: int, tags: list[str]) -> None:
    photo = opened.navigation.open("local", image_id)
    opened.tagging.save("local", EditedList(image_id, photo["revision"], tags, [], Effort(tagger=photo["tagger"])))


def train(opened: Session) -> dict[str, Any]:
    run_id = opened.workspace.models.train("ann")
    opened.workspace.models.wait()
    return opened.workspace.models.run(run_id)


def proposing(answer: dict[str, Any]) -> str:
    """The tagger of an answer, without the count of rows made for the project's own words."""
    return str(answer["tagger"]).split("+")[0]


def until(is_so: Callable[[], Any]) -> None:
    ends = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.02)


def test_a_candidate_that_passes_goes_live_and_can_be_taken_back(
    opened: Session, run_script: Callable[..., None]
) -> None:
    run_script(COPY_THE_LIVE_ONE)
    before = proposing(opened.navigation.open("local", 3))
    run = train(opened)
    assert (run["state"], run["user"], run["cause"]) == ("promoted", "ann", "button")
    assert run["report"]["verdict"]["candidate"]["actions_per_photo"] == 3
    state = opened.workspace.models.state()
    live = next(model for model in state["models"] if model["is_live"])
    assert live["model_id"] == state["live_id"]
    assert live["name"] == opened.workspace.project.settings.tagger == "checkpoints/run-0001"
    assert (live["num_fresh"], live["actions_per_photo"]) == (2, 3)
    parent = next(model for model in state["models"] if model["model_id"] == live["parent_id"])
    assert parent["name"] == "starter/jvsp"
    assert proposing(opened.navigation.open("local", 4)) != before
    opened.workspace.models.roll_back("ann")
    assert opened.workspace.project.settings.tagger == "starter/jvsp"
    assert proposing(opened.navigation.open("local", 4)) == before
    assert [change.reason for change in opened.workspace.models.registry.changes()] == [
        "live when the project was opened", "training 1", f"rolled back from model {live['model_id']}",
    ]  # fmt: skip


def test_an_open_photo_keeps_the_model_that_it_was_opened_with(
    opened: Session, run_script: Callable[..., None]
) -> None:
    run_script(COPY_THE_LIVE_ONE)
    session = opened
    before = proposing(session.navigation.open("local", 3))
    train(opened)
    assert proposing(session.tagging.propose("local", 3, ["tree"], [], 0)) == before
    after = proposing(session.navigation.open("ben", 4))
    assert after != before
    following = session.tagging.save("local", EditedList(3, 0, ["tree"], [], Effort(tagger=before)))["next"]
    assert proposing(following) == after
    assert [event["tagger"] for event in session.review.history("local", 3)["events"]] == [before]


def test_a_candidate_that_fails_is_kept_but_not_live(opened: Session, run_script: Callable[..., None]) -> None:
    run_script(COPY_THE_LIVE_ONE, passes=False)
    run = train(opened)
    state = opened.workspace.models.state()
    assert run["state"] == "refused"
    num = opened.workspace.project.settings.loop.train_after or 50
    assert run["sentence"].endswith(f" The next try is worth it after {num} new corrections.")
    assert opened.workspace.project.settings.tagger == "starter/jvsp"
    refused = state["models"][0]
    assert not refused["is_live"]
    opened.workspace.models.promote(refused["model_id"], "ann")  # a person may still want it
    assert opened.workspace.project.settings.tagger == refused["name"]


def test_without_leave_a_candidate_that_passes_waits_for_a_person(
    opened: Session, run_script: Callable[..., None]
) -> None:
    run_script(COPY_THE_LIVE_ONE)
    opened.workspace.models.set({"promotes": False})
    run = train(opened)
    assert run["state"] == "waiting"
    assert run["sentence"] == "Passed, and waits to be promoted: 3.00 actions."
    assert opened.workspace.project.settings.tagger == "starter/jvsp"


def test_a_candidate_does_not_replace_another_model_than_it_was_judged_against(
    opened: Session, run_script: Callable[..., None]
) -> None:
    run_script("import time; time.sleep(0.5)\n" + COPY_THE_LIVE_ONE)
    run_id = opened.workspace.models.train("ann")
    opened.administration.set_tagger("local", "starter/scnn_rnn")
    opened.workspace.models.wait()
    assert opened.workspace.models.run(run_id)["state"] == "waiting"
    assert opened.workspace.project.settings.tagger == "starter/scnn_rnn"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (RAISE, "broke off (RuntimeError: out of luck)"),
        (SAY_FAILED, "The loss was not a finite number."),
        ("pass", "broke off (exit code 0)"),
        ("import os; os.kill(os.getpid(), 9)", "was ended from outside (SIGKILL)"),
        ("print('not JSON')", "broke off"),
    ],
    ids=["exception", "failed", "silent", "killed", "noise"],
)
def test_a_process_that_breaks_off_leaves_the_live_model_and_says_why(
    opened: Session, run_script: Callable[..., None], script: str, sentence: str
) -> None:
    run_script(script)
    run = train(opened)
    assert run["state"] == "failed"
    assert sentence in run["sentence"]
    assert opened.workspace.project.settings.tagger == "starter/jvsp"
    assert [model["name"] for model in opened.workspace.models.state()["models"] if model["run_id"]] == []
    assert not opened.workspace.models.state()["is_training"]


def test_one_training_at_a_time_and_it_can_be_cancelled(opened: Session, run_script: Callable[..., None]) -> None:
    run_script(WAIT)
    with pytest.raises(TrainingError, match="nothing to cancel"):
        opened.workspace.models.cancel()
    run_id = opened.workspace.models.train("ann")
    until(lambda: (opened.workspace.models.state()["progress"] or {}).get("phase") == "reading")
    with pytest.raises(TrainingError, match="learning already"):
        opened.workspace.models.train("ben")
    opened.workspace.models.cancel()
    opened.workspace.models.wait()
    assert opened.workspace.models.run(run_id)["state"] == "cancelled"
    assert opened.workspace.project.settings.tagger == "starter/jvsp"


def test_a_training_that_the_server_did_not_survive_is_marked_and_leaves_nothing(
    opened: Session, open_project: Callable[..., Session], run_script: Callable[..., None]
) -> None:
    run_script(WAIT)
    run_id = opened.workspace.models.train("ann")
    training = opened.workspace.models._training
    assert training is not None
    # As if this process were killed: nobody ends the run in the log.
    opened.workspace.models._end = lambda *_: None  # type: ignore[method-assign]
    os.kill(training.process.pid, signal.SIGKILL)
    opened.workspace.models.wait()
    opened.close()
    again = open_project(folder=opened.workspace.project.folder, tagger="starter/jvsp")
    run = again.workspace.models.run(run_id)
    assert run["state"] == "interrupted"
    assert "server ended" in run["sentence"]
    assert again.workspace.models.state()["num_new"] == 2  # what it would have learnt is still to be learnt
    assert not (again.workspace.project.training_path / "run-0001" / "candidate").exists()


def test_enough_new_corrections_start_a_training_by_themselves(
    opened: Session, run_script: Callable[..., None]
) -> None:
    import threading

    run_script(COPY_THE_LIVE_ONE, passes=False)
    opened.workspace.models.set({"train_after": 4})
    watch = threading.Thread(target=opened.workspace.models.keep_watch)
    watch.start()
    try:
        save(opened, 3, ["rocket"])
        assert opened.workspace.models.registry.runs() == []
        save(opened, 4, ["woman"])
        until(lambda: [run.state for run in opened.workspace.models.registry.runs()] == ["refused"])
        assert opened.workspace.models.registry.runs()[0].cause == "corrections"
        until(lambda: not opened.workspace.models.state()["is_training"])
        save(opened, 5, ["house"])  # one is not four
        assert opened.workspace.models.state()["num_new"] == 1
        assert len(opened.workspace.models.registry.runs()) == 1
    finally:
        opened.workspace.models.close()
        watch.join(timeout=60)
    assert not watch.is_alive()


def test_a_clock_that_jumps_starts_nothing(
    opened: Session, run_script: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    run_script(COPY_THE_LIVE_ONE)
    opened.workspace.models.set({"train_every_minutes": 60.0, "train_after": 0})
    monkeypatch.setattr("annotator.learning.loop.SECONDS_BETWEEN_CHECKS", 0.0)
    watch = threading.Thread(target=opened.workspace.models.keep_watch)
    watch.start()
    try:
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 10 * 365 * 86_400)
        save(opened, 3, ["rocket"])
        opened.workspace.models.note_save()
        time.sleep(0.1)
        assert opened.workspace.models.registry.runs() == []
    finally:
        opened.workspace.models.close()
        watch.join(timeout=60)


def test_many_saves_are_not_each_counted(opened: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    looks: list[None] = []
    has_looked, is_resting, rest_is_over = threading.Event(), threading.Event(), threading.Event()
    count = opened.workspace.models.registry.num_corrections_since

    def counted(event_id: int) -> int:
        looks.append(None)
        has_looked.set()
        return count(event_id)

    def rest(seconds: float) -> bool:
        assert seconds == model_loop_module.SECONDS_BETWEEN_CHECKS
        is_resting.set()
        return rest_is_over.wait(timeout=60)

    monkeypatch.setattr(opened.workspace.models.registry, "num_corrections_since", counted)
    monkeypatch.setattr(opened.workspace.models._closing, "wait", rest)
    watch = threading.Thread(target=opened.workspace.models.keep_watch)
    watch.start()
    try:
        assert is_resting.wait(timeout=60)
        has_looked.clear()
        for _ in range(50):
            opened.workspace.models.note_save()
        assert len(looks) == 1
        rest_is_over.set()
        assert has_looked.wait(timeout=60)  # what was saved meanwhile is not forgotten
    finally:
        rest_is_over.set()
        opened.workspace.models.close()
        watch.join(timeout=60)
    assert len(looks) == 2


def test_a_tagger_that_cannot_be_trained_is_refused(opened: Session) -> None:
    opened.administration.set_tagger("local", "cold_start")
    assert not opened.workspace.models.state()["can_learn"]
    with pytest.raises(TrainingError, match="cold_start"):
        opened.workspace.models.train("ann")


def test_without_corrections_there_is_nothing_to_learn(open_project: Callable[..., Session], demo_photos: Path) -> None:
    opened = open_project(demo_photos, tagger="starter/jvsp")
    with pytest.raises(TrainingError, match="no correction yet"):
        opened.workspace.models.train("ann")


def test_a_full_disk_at_the_start_is_reported_and_nothing_runs(
    opened: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("The snapshot could not be written: No space left on device.")

    monkeypatch.setattr(model_loop_module, "write_snapshot", refuse)
    with pytest.raises(TrainingError, match="could not start: The snapshot could not be written: No space left"):
        opened.workspace.models.train("ann")
    assert opened.workspace.models.registry.runs()[0].state == "failed"
    assert not opened.workspace.models.state()["is_training"]


def test_a_full_disk_at_the_end_leaves_the_live_model(
    opened: Session, run_script: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_script(COPY_THE_LIVE_ONE)

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("Not saved: the disk is full.")

    monkeypatch.setattr(opened.workspace.models.registry, "end_run_with_model", refuse)
    run = train(opened)
    assert run["state"] == "failed"
    assert "the disk is full" in run["sentence"]
    assert opened.workspace.project.settings.tagger == "starter/jvsp"


def test_an_end_that_could_not_be_recorded_is_shown_and_recorded_later(
    opened: Session, run_script: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_script(SAY_FAILED)

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("Not saved: the disk is full.")

    with monkeypatch.context() as full:
        full.setattr(opened.workspace.models.registry, "end_run", refuse)
        first = train(opened)
        assert (first["state"], first["sentence"]) == ("failed", "The loss was not a finite number.")
        assert opened.workspace.models.state()["last"]["sentence"] == first["sentence"]
        assert opened.workspace.models.registry.runs()[0].state == "running"
    train(opened)
    assert [run.state for run in opened.workspace.models.registry.runs()] == ["failed", "failed"]


def test_a_candidate_that_could_not_be_recorded_is_deleted(
    opened: Session, run_script: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_script(COPY_THE_LIVE_ONE)

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("Not saved: the disk is full.")

    monkeypatch.setattr(opened.workspace.models.registry, "end_run_with_model", refuse)
    train(opened)
    assert not list(opened.workspace.project.checkpoints_path.glob("*"))


def test_models_and_runs_that_do_not_exist_are_refused(opened: Session) -> None:
    with pytest.raises(ConfigError, match="no model 99"):
        opened.workspace.models.promote(99, "ann")
    with pytest.raises(ConfigError, match="no training 99"):
        opened.workspace.models.run(99)
    with pytest.raises(ConfigError, match="none to go back to"):
        opened.workspace.models.roll_back("ann")
    with pytest.raises(ConfigError, match="gold_margin"):
        opened.workspace.models.set({"gold_margin": -1.0})


def test_a_checkpoint_put_into_the_project_is_listed(
    opened: Session, open_project: Callable[..., Session], other_jvsp: Path
) -> None:
    import shutil

    shutil.copytree(other_jvsp, opened.workspace.project.checkpoints_path / "mine")
    opened.close()
    again = open_project(folder=opened.workspace.project.folder, tagger="starter/jvsp")
    assert "checkpoints/mine" in [model["name"] for model in again.workspace.models.state()["models"]]


def test_a_damaged_list_of_training_corrections_is_an_error(tmp_path: Path) -> None:
    assert read_trained(tmp_path) == {}
    (tmp_path / TRAINED_FILE).write_text(json.dumps({"a": 3}))
    assert read_trained(tmp_path) == {"a": 3}
    (tmp_path / TRAINED_FILE).write_text("[1, 2")
    with pytest.raises(TrainingError, match="damaged"):
        read_trained(tmp_path)


def test_only_the_newest_refused_candidates_are_kept_on_the_disk(
    opened: Session, run_script: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes 11 MB, and a project may train for years."""
    monkeypatch.setattr(model_loop_module, "KEPT_REFUSED", 1)
    models, folder = opened.workspace.models, opened.workspace.project.checkpoints_path
    run_script(COPY_THE_LIVE_ONE, passes=False)
    train(opened)
    wanted = models.state()["models"][0]["model_id"]
    models.promote(wanted, "ann")  # it was live, and may be gone back to
    models.roll_back("ann")
    for _ in range(3):
        train(opened)
    assert sorted(path.name for path in folder.iterdir()) == ["run-0001", "run-0004"]
    states = [run.state for run in models.registry.runs()]
    assert states == ["refused"] * 4
    deleted = next(model for model in models.state()["models"] if model["name"] == "checkpoints/run-0002")
    assert "(deleted)" in deleted["label"]
    with pytest.raises(ConfigError, match="There is no tagger 'checkpoints/run-0002' here"):
        models.promote(deleted["model_id"], "ann")
