"""A tagger that was trained with its backbone: training, evaluation, and use in a project."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.cli.main import main
from annotator.cli.train import add_train
from annotator.errors import BackboneError, CheckpointError
from annotator.ingest.project_backbone import choose_backbone, choose_tagger
from annotator.models import checkpoint
from annotator.models.backbones.backbone import Backbone, default_cache_path
from annotator.models.taggers.cold_start import COLD_START
from annotator.proposals.tagger_catalog import TaggerCatalog
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project

TAGS = [["cat", "sofa"], ["coffee", "table"], ["rocket"], ["astronaut", "rocket"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, photo_bytes: Callable[..., bytes]) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(photo_bytes(number))
        lines.append(json.dumps({"image": f"{number}.jpg", "tags": TAGS[number % 4]}))
    (folder / "records.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def tuned(data: Path, tmp_path_factory: pytest.TempPathFactory, backbone: Backbone) -> Path:
    """The checkpoint of `annotator train --train-backbone`."""
    folder = tmp_path_factory.mktemp("tuned") / "tagger"
    arguments = ["train", "--tagger", "ranked_lstm", "--data", data, "--out", folder, "--train-backbone",
                 "--backbone-after", 0, "--backbone-epochs", 1, "--backbone-learning-rate", 1e-4, "--workers", 0,
                 "--backbone-batch-size", 5, "--set", "dropout=0", "--threads", 1, "--seed", 1]  # fmt: skip
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def test_a_checkpoint_brings_its_backbone(tuned: Path, backbone: Backbone) -> None:
    info = checkpoint.read_info(tuned)
    assert sorted(path.name.partition("-")[0] for path in tuned.iterdir()) == [
        "backbone", "split.json", "tagger.json", "training.json", "weights"
    ]  # fmt: skip
    own = checkpoint.load_backbone_of(tuned, device="cpu", num_threads=1)
    assert own.version == info.about.backbone_version != backbone.version
    checkpoint.load(tuned, backbone=own)
    with pytest.raises(CheckpointError, match=r"It brings its own backbone: name its folder with --tagger"):
        checkpoint.load(tuned, backbone=backbone)
    # The export was made when it was trained.
    assert (default_cache_path() / f"{info.about.backbone}-{Path(info.backbone_file).stem}-1-2.npz").exists()


def test_it_is_measured_on_its_own_features(tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tuned), "--data", str(data), "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 12


def test_suggest_uses_it(tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", str(data / "0.jpg"), "--tagger", str(tuned), "--json"]) == 0
    assert {tag["source"] for tag in json.loads(capsys.readouterr().out)[0]["tags"]} >= {"decoder"}


def test_a_project_is_switched_to_it_and_back(tuned: Path, data: Path, tmp_path: Path, backbone: Backbone) -> None:
    def open_it(project: Project) -> tuple[str, Any, int]:
        opened = Session.over(Workspace(project))
        try:
            before = len(opened.workspace.features)
            opened.workspace.ingest.run([data])
            proposals = opened.navigation.open("user", 1)["proposals"]
            assert len(opened.workspace.features) == 12
            return (
                opened.workspace.backbone.version,
                opened.workspace.features.vectors([1]),
                before if proposals else -1,
            )
        finally:
            opened.close()

    project = Project.open_or_create(tmp_path / "project", "test")
    version, plain, num_known = open_it(project)
    assert (version, num_known) == (backbone.version, 0)
    sentence = choose_tagger(project, str(tuned))
    assert sentence is not None
    assert "uses the backbone that was trained with this tagger" in sentence
    assert choose_tagger(project, str(tuned)) is None
    moved = tuned.rename(tuned.with_name("moved"))  # the project keeps its own copy of the network
    try:
        project.update_settings(tagger=COLD_START)
        version, other, num_known = open_it(Project.open(project.folder))
    finally:
        moved.rename(tuned)
    assert (version, num_known) == (checkpoint.read_info(tuned).about.backbone_version, 0)
    assert np.abs(other - plain).max() > 1e-4
    project = Project.open(project.folder)
    assert choose_tagger(project, "starter/jvsp") is not None
    assert project.settings.backbone_weights == ""
    version, again, num_known = open_it(project)
    assert (version, num_known) == (backbone.version, 12)  # they had stayed
    np.testing.assert_array_equal(again, plain)


def test_naming_a_backbone_takes_the_published_one(tuned: Path, tmp_path: Path) -> None:
    project = Project.open_or_create(tmp_path / "project", "test")
    choose_tagger(project, str(tuned))
    choose_backbone(project, "efficientnet_lite0")
    assert (project.settings.backbone_weights, project.settings.tagger) == ("", "")
    with pytest.raises(BackboneError, match="There is no backbone"):
        choose_backbone(project, "nonet")


def test_the_error_of_a_tagger_of_another_backbone_says_what_to_do(
    tuned: Path, tmp_path: Path, backbone: Backbone
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine").symlink_to(tuned)
    catalog = TaggerCatalog(backbone, tmp_path / "checkpoints", COLD_START)
    with pytest.raises(CheckpointError, match="name its folder with --tagger"):
        catalog.choose(str(tmp_path / "checkpoints" / "mine"))
    assert catalog.chosen == COLD_START


def test_a_missing_or_damaged_network_is_one_sentence(tuned: Path) -> None:
    path = tuned / checkpoint.read_info(tuned).backbone_file
    content = path.read_bytes()
    try:
        path.unlink()
        with pytest.raises(BackboneError, match="is missing"):
            checkpoint.load_backbone_of(tuned)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tagger", "logistic", "--train-backbone"], "cannot train the backbone; choose one of: scnn_rnn"),
        (["--tagger", "jvsp", "--backbone-epochs", "3"], "need --train-backbone"),
        (["--tagger", "jvsp", "--train-backbone", "--crop-area", "0"], "least_area must lie"),
        (["--tagger", "jvsp", "--train-backbone", "--workers", "-1"], "--workers must lie"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(
    arguments: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_names_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_train(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["train", "--help"])
    assert "--backbone-learning-rate" in capsys.readouterr().out
