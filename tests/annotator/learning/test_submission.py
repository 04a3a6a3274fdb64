"""A checkpoint that was trained elsewhere: taken in, refused where it does not fit, tested like one trained here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from annotator.auth.roles import LOCAL_USER
from annotator.cli.main import main
from annotator.datasets.folder_store import FolderStore, ObjectStore
from annotator.datasets.photo_roots import PhotoUrl
from annotator.datasets.remote_store import RemoteStore
from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import CheckpointError, TrainingError
from annotator.learning.job import SUBMITTED_FOLDER, TRAINED_FILE, read_trained
from annotator.learning.submission import take_in, trained_text
from annotator.models import checkpoint, registry
from annotator.session.edited_list import EditedList
from annotator.session.operations import answer
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

pytestmark = pytest.mark.integration  # the real training process

LISTS = {1: ["heron", "reed"], 2: ["reed", "heron", "water"], 3: ["heron"], 4: ["water", "reed"], 5: ["heron", "reed"],
         6: ["reed"]}  # fmt: skip


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    opened = open_project(demo_photos, tagger="starter/scnn_rnn")  # the smallest
    for image_id, tags in LISTS.items():
        opened.tagging.save("local", EditedList(image_id, 0, tags, ["dog"], Effort(tagger="x")))
    opened.workspace.models.set({"least_photos": 1, "gold_margin": 50.0, "newest_share": 0.5, "promotes": False})
    return opened


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The starter with another version, as one that was trained elsewhere would be."""
    found, folder = checkpoint.load("starter/scnn_rnn"), tmp_path / "elsewhere"
    about = checkpoint.read_info("starter/scnn_rnn").about
    checkpoint.save(found, folder, checkpoint.About(about.backbone, about.backbone_version, about.order, {"n": 1}))
    return folder


def submit(opened: Session, source: ObjectStore, *, is_unseen: bool = False) -> dict[str, Any]:
    models = opened.workspace.models
    with take_in(opened.workspace.project, source) as name:
        run_id = models.submit(name, "ann", is_unseen=is_unseen)
        models.wait()
    return models.run(run_id)


def nothing_is_left(opened: Session) -> bool:
    folder = opened.workspace.project.training_path
    return not [*folder.glob("submitted-*"), *folder.glob(f"*/{SUBMITTED_FOLDER}")]


def test_the_test_of_a_candidate_of_this_project_s_own_trainer_ends_as_after_its_training(
    opened: Session, tmp_path: Path
) -> None:
    models = opened.workspace.models
    run_id = models.train("ann")
    models.wait()
    trained = models.run(run_id)
    verdict = trained["report"]["verdict"]
    assert verdict["num_newest"] + verdict["num_gold"] > 0, trained
    shutil.move(opened.workspace.project.checkpoints_path / "run-0001", tmp_path / "candidate")
    num_new = models.state()["num_new"]
    tested = submit(opened, FolderStore(tmp_path / "candidate"))
    assert (tested["cause"], tested["user"], tested["state"]) == ("submitted", "ann", trained["state"])
    for name in ("num_gold", "num_newest", "is_promoted", "live", "saved", "gold_saved"):
        assert tested["report"]["verdict"][name] == verdict[name], name
    for name, value in verdict["candidate"].items():
        assert tested["report"]["verdict"]["candidate"][name] == pytest.approx(value, rel=0.02)
    model = next(model for model in models.state()["models"] if model["run_id"] == tested["run_id"])
    assert model["name"] == "checkpoints/run-0002"
    folder = opened.workspace.project.checkpoints_path / "run-0002"
    assert read_trained(folder) == read_trained(tmp_path / "candidate")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert models.state()["num_new"] == num_new  # the test does not count as a training
    models.promote(model["model_id"], "ann")
    assert opened.workspace.project.settings.tagger == "checkpoints/run-0002"
    assert nothing_is_left(opened)


def test_a_checkpoint_that_has_seen_no_list_is_judged_by_all_of_them(opened: Session, elsewhere: Path) -> None:
    store = fsspec.filesystem("memory")
    store.store.clear()
    for path in elsewhere.iterdir():
        store.pipe_file(f"/bucket/model/{path.name}", path.read_bytes())
    tested = submit(opened, RemoteStore(PhotoUrl("memory://bucket/model")), is_unseen=True)
    verdict = tested["report"]["verdict"]
    assert verdict["num_gold"] + verdict["num_newest"] == len(LISTS)
    assert verdict["saved"]["mean"] == 0  # it is the live model under another version
    assert tested["state"] == "refused"
    assert "The next try" not in tested["sentence"]
    assert opened.workspace.project.settings.tagger == "starter/scnn_rnn"


def test_only_lists_that_neither_model_has_seen_judge(opened: Session, elsewhere: Path) -> None:
    rows = opened.workspace.store.rows(
        "SELECT i.content_hash, a.event_id FROM images i JOIN annotations a USING (image_id) WHERE image_id <= 4"
    )
    (elsewhere / TRAINED_FILE).write_bytes(trained_text({str(name): int(event) for name, event in rows}))
    verdict = submit(opened, FolderStore(elsewhere))["report"]["verdict"]
    assert verdict["num_gold"] + verdict["num_newest"] == 2


def altered(folder: Path, **values: Any) -> None:
    path = folder / checkpoint.SETTINGS_FILE
    stored = json.loads(path.read_text()) | values
    stored["version"] = checkpoint._version(stored)
    path.write_text(json.dumps(stored))


def of_another_backbone(folder: Path) -> None:
    altered(folder, backbone={"name": "efficientnet_lite0", "version": "other-1"})


def of_another_format(folder: Path) -> None:
    altered(folder, format_version=99)


def with_a_pickle(folder: Path) -> None:
    weights = json.loads((folder / checkpoint.SETTINGS_FILE).read_text())["weights"]
    (folder / weights["file"]).rename(folder / "weights.pt")
    altered(folder, weights=weights | {"file": "weights.pt"})


def with_damaged_weights(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def without_weights(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    path.unlink()


def of_another_kind(folder: Path) -> None:
    info = checkpoint.read_info("starter/zero_shot")
    shutil.rmtree(folder)
    checkpoint.save(checkpoint.load("starter/zero_shot"), folder, info.about)


def of_other_tags(folder: Path) -> None:
    info = checkpoint.read_info(folder)
    module = registry.create("scnn_rnn", Vocabulary(["zebra", "quagga"]), info.feature_size)
    shutil.rmtree(folder)
    checkpoint.save(module, folder, info.about)


def with_a_damaged_list(folder: Path) -> None:
    (folder / TRAINED_FILE).write_text(json.dumps({"a" * 64: 1, "digest": "wrong"}))


def without_a_list(folder: Path) -> None:
    assert not (folder / TRAINED_FILE).exists()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (of_another_backbone, "was trained on features of efficientnet_lite0 other-1"),
        (of_another_format, "has the format version 99"),
        (with_a_pickle, "Only safetensors are read"),
        (with_damaged_weights, "are damaged: their SHA-256"),
        (without_weights, "lacks its weights"),
        (of_another_kind, "is not one that learns from corrections"),
        (of_other_tags, "knows 2 tags, and none of the 3 that are saved in this project"),
        (with_a_damaged_list, "is damaged"),
        (without_a_list, "it is not known which lists of this project it was trained on"),
        (empty, "There is no checkpoint in"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    opened: Session, elsewhere: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(elsewhere)
    with pytest.raises((CheckpointError, TrainingError), match=said):
        submit(opened, FolderStore(elsewhere), is_unseen=spoil is of_other_tags)
    assert nothing_is_left(opened)
    assert opened.workspace.models.registry.runs() == []


@pytest.mark.parametrize("name", ["0" * 16, "../../etc", "", "checkpoints"])
def test_an_operation_names_no_other_folder(opened: Session, name: str) -> None:
    found = answer(opened, LOCAL_USER, "submit_model", {"submission": name})
    assert found["error"]["message"].startswith("There is no such submission.")


@pytest.fixture
def closed(opened: Session) -> Path:
    opened.close()
    return opened.workspace.project.folder


def test_the_command_tests_a_checkpoint_of_a_closed_project(
    closed: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", str(closed), "submit", str(elsewhere), "--unseen", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert (run["cause"], run["state"]) == ("submitted", "refused")
    assert main(["models", str(closed), "submit", str(elsewhere)]) == 1
    assert "add --unseen" in capsys.readouterr().err
    assert main(["models", str(closed), "submit"]) == 1
    assert "Name the checkpoint to test" in capsys.readouterr().err
    assert main(["models", str(closed), "promote", "two"]) == 1
    assert "A model is named by its number" in capsys.readouterr().err
    assert not list((closed / "training").glob("submitted-*"))
