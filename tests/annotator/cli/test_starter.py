"""`annotator starter build`, from photos and a small random backbone to the first proposals of a project."""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.cli import starter as command
from annotator.cli.main import main
from annotator.cli.train import _request, add_train
from annotator.errors import CheckpointError
from annotator.ingest.project_backbone import choose_backbone, choose_tagger
from annotator.models import checkpoint
from annotator.models.backbones import installed
from annotator.models.backbones.backbone import load_backbone
from annotator.models.backbones.hub_install import install
from annotator.models.taggers.open_vocabulary import OpenVocabulary
from annotator.proposals.tagger_catalog import TaggerCatalog
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project
from annotator.trainer import starter
from annotator.trainer.families import TrainingRequest
from annotator.trainer.starter import BUILDING_FOLDER, RECIPES, remove_starter

pytestmark = pytest.mark.integration  # trains
CARD = Path(__file__).parents[3] / "models" / "starter" / "CARD.md"
NAME = "tiny-starter-timm"
TAGS = [["cat", "sofa"], ["coffee", "table", "cup"], ["rocket"], ["astronaut", "rocket"]]


@pytest.fixture(scope="module")
def backbone(tiny_models: Any, tmp_path_factory: pytest.TempPathFactory, _own_folders: None) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub") / NAME
    tiny_models.write_timm(folder)
    install(str(folder))
    yield NAME
    installed.remove_installed(NAME)


@pytest.fixture
def data(write_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    """A folder of 20 tagged photos."""
    photos = write_photos(tmp_path / "data", range(20))
    lines = [json.dumps({"image": path.name, "tags": TAGS[row % 4]}) for row, path in enumerate(photos)]
    (tmp_path / "data" / "records.jsonl").write_text("\n".join(lines))
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _nothing_built() -> Iterator[None]:
    yield
    remove_starter(NAME)


def build(data: Path, *options: str) -> int:
    given = ["--backbone", NAME, "--data", str(data), "--epochs", "1", "--threads", "1"]
    return main(["starter", "build", *given, *options])


def test_a_built_starter_proposes_in_a_new_project_of_that_backbone(
    backbone: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write_photos: Callable[..., list[Path]],
) -> None:
    project = Project.open_or_create(tmp_path / "project", "test")
    choose_backbone(project, backbone)
    before = Workspace(project)
    assert before.catalog.chosen == "cold_start"
    before.close()

    assert build(data, "--only", "jvsp", "--only", "open_vocabulary", "--json") == 0
    built = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(built) == [f"starter/{NAME}/jvsp", f"starter/{NAME}/open_vocabulary"]
    assert [row["num_train"] for row in built.values()] == [20, 20]
    assert built[f"starter/{NAME}/jvsp"]["num_tags"] == 7
    assert not (checkpoint.built_starters_path() / NAME / BUILDING_FOLDER).exists()

    opened = Session.over(Workspace(project))
    try:
        workspace = opened.workspace
        assert workspace.catalog.chosen == f"starter/{NAME}/jvsp"
        assert workspace.catalog.open_vocabulary is not None
        assert [choice.label for choice in workspace.catalog.choices()] == [
            "JVSP, starter", "Open vocabulary, starter", "Cold start"
        ]  # fmt: skip
        photos = tmp_path / "new"
        write_photos(photos, [31])
        workspace.ingest.run([photos])
        proposals = opened.navigation.open("local", 1)["proposals"]
        assert {tag for tags in TAGS for tag in tags} & {
            item["tag"] for item in proposals if item["source"] == "decoder"
        }
    finally:
        opened.close()

    # The embedded backbone still has its own, and the built one has a name of its own.
    assert TaggerCatalog(load_backbone(num_threads=1), tmp_path, f"starter/{checkpoint.STARTER_TAGGER}").choices()
    assert choose_tagger(project, "starter/jvsp") is None
    assert project.settings.tagger == f"starter/{NAME}/jvsp"
    assert main(["starter", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(built)
    assert main(["suggest", str(photos / "photo 31.jpg"), "--tagger", f"starter/{NAME}/jvsp", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["tags"]
    assert main(["starter", "remove", NAME]) == 0
    assert checkpoint.built_starters(NAME) == []
    assert main(["starter", "remove", NAME]) == 0
    assert "No starter was built" in capsys.readouterr().out


def test_all_taggers_of_the_starter_can_be_built(backbone: str, data: Path) -> None:
    assert build(data) == 0
    loaded = load_backbone(NAME, num_threads=1)
    for name in RECIPES:
        assert checkpoint.load(f"starter/{NAME}/{name}", backbone=loaded).vocabulary.tags
    opened = checkpoint.load(f"starter/{NAME}/open_vocabulary", backbone=loaded)
    assert isinstance(opened, OpenVocabulary)
    np.testing.assert_allclose(opened.arrays()["class_weight"], loaded.class_weights, rtol=1e-3, atol=1e-4)
    scores, known = opened.score_words(np.zeros((1, loaded.feature_size), np.float32), ["lighthouse", "zzqxw"])
    assert known.tolist() == [True, False]
    assert 0 < scores[0, 0] < 1


def test_an_interrupted_build_goes_on_and_other_tags_begin_anew(
    backbone: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, trained = starter.train, list[str]()

    def train_one(request: TrainingRequest, *arguments: Any, **options: Any) -> Any:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(request.tagger)
        return plain(request, *arguments, **options)

    monkeypatch.setattr(starter, "train", train_one)
    assert build(data, "--only", "jvsp", "--only", "ranked_lstm") == 130
    assert checkpoint.built_starters(NAME) == []
    monkeypatch.setattr(starter, "train", plain)
    capsys.readouterr()
    assert build(data, "--only", "jvsp", "--only", "ranked_lstm") == 0
    said = capsys.readouterr().err
    assert "Training ranked_lstm." in said
    assert "Training jvsp." not in said

    trained.clear()
    monkeypatch.setattr(starter, "train", train_one)
    assert build(data, "--only", "jvsp", "--only", "ranked_lstm") == 130
    lines = (data / "records.jsonl").read_text().replace("sofa", "couch")
    (data / "records.jsonl").write_text(lines)
    monkeypatch.setattr(starter, "train", plain)
    assert build(data, "--only", "jvsp") == 0
    assert "couch" in checkpoint.read_info(f"starter/{NAME}/jvsp").vocabulary.tags
    assert len(checkpoint.built_starters(NAME)) == 2  # the former ranked LSTM stays


def test_held_out_photos_are_there_to_measure_on(backbone: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(data, "--only", "jvsp", "--hold-out", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["num_train"] == 16
    name = f"starter/{NAME}/jvsp"
    assert main(["evaluate", name, "--data", str(data), "--split", "validation", "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_unreadable"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backbone", "no-such"], "There is no backbone 'no-such'"),
        (["--backbone", "efficientnet_lite0"], "efficientnet_lite0 is none"),
        (["--data", "missing"], "records.jsonl"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--min-count", "100"], "No tag occurs in 100"),
        (["--min-count", "0"], "min_count must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence_and_builds_nothing(
    options: list[str], said: str, backbone: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(data, *options) == 1
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("annotator: ")
    assert said in printed
    assert checkpoint.built_starters(NAME) == []


def test_an_unknown_tagger_is_refused(backbone: str, data: Path) -> None:
    with pytest.raises(SystemExit):
        build(data, "--only", "svm")


def test_a_folder_that_cannot_be_written_is_said(backbone: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint.built_starters_path() / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    try:
        assert build(data, "--only", "jvsp") == 1
        assert "The starter cannot be written to" in capsys.readouterr().err
        assert path.read_text() == "in the way"
    finally:
        path.unlink()


@pytest.mark.parametrize("name", ["..", ".", "", "x/../..", "/tmp", ".building"])
def test_only_a_starter_is_removed(name: str, backbone: str, data: Path) -> None:
    assert build(data, "--only", "open_vocabulary") == 0
    assert not remove_starter(name)
    assert checkpoint.built_starters(NAME)


def test_a_starter_of_other_features_is_refused(backbone: str, data: Path) -> None:
    assert build(data, "--only", "jvsp") == 0
    with pytest.raises(CheckpointError, match=f"trained on features of {NAME}"):
        checkpoint.load(f"starter/{NAME}/jvsp", backbone=load_backbone(num_threads=1))


def test_the_recipes_are_the_commands_of_the_card() -> None:
    text = CARD.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^annotator (train .*)$", text, re.MULTILINE)
    parser = argparse.ArgumentParser()
    add_train(parser.add_subparsers())
    requests = {request.tagger: request for request in (_request(parser.parse_args(line.split())) for line in lines)}
    assert requests == RECIPES
    assert tuple(RECIPES) == command.NAMES
