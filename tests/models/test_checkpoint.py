import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import CheckpointError
from annotator.models import checkpoint
from annotator.models.checkpoint import About, check_backbone, read_info
from annotator.models.reranker import IDENTITY, Reranker
from annotator.models.taggers.baselines import LinearConfig, LogisticTagger

ABOUT = About("colour_grid", "version-1", "rare_first", {"seed": 3})


@pytest.fixture
def saved(make_tagger: Callable[..., Any], tmp_path: Path) -> Path:
    checkpoint.save(make_tagger("scnn_rnn"), tmp_path / "tagger", ABOUT)
    return tmp_path / "tagger"


def change(folder: Path, **values: Any) -> None:
    """Change the description and its version."""
    path = folder / checkpoint.SETTINGS_FILE
    changed = {**json.loads(path.read_text()), **values}
    changed["version"] = checkpoint._version(changed)
    path.write_text(json.dumps(changed))


def fit_logistic() -> tuple[LogisticTagger, Any]:
    features = np.random.default_rng(0).random((12, 5)).astype(np.float32)
    given = [["dog"] if row % 2 else ["cat", "dog"] for row in range(12)]
    return LogisticTagger.fit(Vocabulary(["cat", "dog"]), features, given, LinearConfig(epochs=2)), features


def weights_of(folder: Path) -> Path:
    return next(folder.glob("weights-*.safetensors"))


def test_a_description_can_be_read_without_the_weights(saved: Path) -> None:
    weights_of(saved).unlink()
    info = read_info(saved)
    assert (info.name, info.feature_size, info.about) == ("scnn_rnn", 12, ABOUT)
    assert info.vocabulary.tags[:2] == ("man", "dog")


def test_a_missing_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("cut", [0, 7, 100, 1000])
def test_cut_weights_are_refused(saved: Path, cut: int) -> None:
    path = weights_of(saved)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match="are damaged"):
        checkpoint.load(saved)


def test_one_changed_byte_is_found(saved: Path) -> None:
    path = weights_of(saved)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoint.load(saved)


def test_missing_weights_are_reported(saved: Path) -> None:
    weights_of(saved).unlink()
    with pytest.raises(CheckpointError, match="could not be read"):
        checkpoint.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', "[" * 100_000])
def test_a_file_that_is_no_description_is_refused(saved: Path, text: str) -> None:
    (saved / checkpoint.SETTINGS_FILE).write_text(text)
    with pytest.raises(CheckpointError):
        checkpoint.load(saved)


def test_an_edited_description_is_refused(saved: Path) -> None:
    path = saved / checkpoint.SETTINGS_FILE
    path.write_text(path.read_text().replace("rare_first", "given"))
    with pytest.raises(CheckpointError, match="changed after it was written"):
        checkpoint.load(saved)


def test_another_format_version_is_refused_with_what_to_do(saved: Path) -> None:
    change(saved, format_version=9)
    with pytest.raises(CheckpointError, match=r"format version 9.*Train the tagger again"):
        checkpoint.load(saved)


def test_another_vocabulary_is_refused(saved: Path) -> None:
    change(saved, vocabulary={"tags": ["one", "two", "three"], "counts": []})
    with pytest.raises(CheckpointError, match="8 outputs, but the vocabulary 3 tags"):
        checkpoint.load(saved)


def test_weights_of_another_tagger_are_refused(saved: Path) -> None:
    change(saved, name="jvsp", settings={"phi": "gate", "root_features": True})
    with pytest.raises(CheckpointError, match="does not fit together"):
        checkpoint.load(saved)


def test_an_unknown_tagger_is_refused(saved: Path) -> None:
    change(saved, name="oracle")
    with pytest.raises(CheckpointError, match="'oracle', which this program does not know"):
        checkpoint.load(saved)


def test_a_path_in_place_of_the_weights_name_is_refused(saved: Path) -> None:
    change(saved, weights={"file": "../secret", "sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="not the name of a file beside it"):
        checkpoint.load(saved)


@pytest.mark.parametrize(("field", "value"), [("name", "lite2"), ("version", "version-2"), ("feature_size", 13)])
def test_another_backbone_is_refused_with_both_named(saved: Path, field: str, value: Any) -> None:
    class Backbone:
        name, version, feature_size = "colour_grid", "version-1", 12

    backbone = Backbone()
    checkpoint.load(saved, backbone=backbone)
    setattr(backbone, field, value)
    with pytest.raises(CheckpointError, match=rf"colour_grid version-1 \(12 values\).*{value}"):
        check_backbone(read_info(saved), backbone)


def test_weights_that_are_not_finite_are_not_saved(make_tagger: Callable[..., Any], tmp_path: Path) -> None:
    tagger = make_tagger("ranked_lstm")
    with torch.no_grad():
        tagger.output.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"output.weight hold values that are not finite"):
        checkpoint.save(tagger, tmp_path / "tagger", ABOUT)
    assert not (tmp_path / "tagger").exists()


def test_a_weight_beyond_16_bits_is_not_cut(make_tagger: Callable[..., Any], tmp_path: Path) -> None:
    tagger = make_tagger("ranked_lstm")
    with torch.no_grad():
        tagger.output.weight[0, 0] = 1e5
    with pytest.raises(CheckpointError, match="which 16 bits do not hold"):
        checkpoint.save(tagger, tmp_path, ABOUT, half=True)


def test_16_bits_take_half_the_space(make_tagger: Callable[..., Any], tmp_path: Path) -> None:
    tagger = make_tagger("jvsp", size=64)
    checkpoint.save(tagger, tmp_path / "whole", ABOUT)
    checkpoint.save(tagger, tmp_path / "half", ABOUT, half=True)
    assert weights_of(tmp_path / "half").stat().st_size < 0.6 * weights_of(tmp_path / "whole").stat().st_size


def test_a_new_checkpoint_replaces_the_old_one_and_its_weights(saved: Path, make_tagger: Callable[..., Any]) -> None:
    old = checkpoint.load(saved).version
    new = checkpoint.save(make_tagger("scnn_rnn", seed=5), saved, ABOUT)
    assert checkpoint.load(saved).version == new != old
    assert len(list(saved.iterdir())) == 2


def test_a_kill_before_the_last_step_leaves_the_old_checkpoint(
    saved: Path, make_tagger: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = checkpoint.load(saved).version
    write = checkpoint.write_atomically

    def write_weights_only(path: Path, content: bytes) -> None:
        if path.name == checkpoint.SETTINGS_FILE:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", write_weights_only)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(make_tagger("scnn_rnn", seed=5), saved, ABOUT)
    assert checkpoint.load(saved).version == old


def test_a_folder_that_cannot_be_written_is_reported(make_tagger: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoint.save(make_tagger("ria"), tmp_path / "file" / "tagger", ABOUT)


def test_a_baseline_is_saved_too(tmp_path: Path) -> None:
    tagger, features = fit_logistic()
    checkpoint.save(tagger, tmp_path, ABOUT)
    loaded: Any = checkpoint.load(tmp_path)
    np.testing.assert_allclose(loaded.scores(features), tagger.scores(features), atol=1e-6)
    assert (loaded.name, loaded.version) == ("logistic", tagger.version)
    with pytest.raises(CheckpointError, match="not trained by steps"):
        checkpoint.load_module(tmp_path)


def test_a_checkpoint_without_precedence_still_loads(
    make_tagger: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = make_tagger("ria")
    weights = {name: values for name, values in tagger.weights().items() if name != "precedence"}
    monkeypatch.setattr(type(tagger), "weights", lambda self: weights)
    checkpoint.save(tagger, tmp_path, ABOUT)
    monkeypatch.undo()
    features = np.random.default_rng(0).random((2, tagger.feature_size)).astype(np.float32)
    expected = tagger.decode(features, [[], []])
    assert checkpoint.load(tmp_path).decode(features, [[], []]) == expected
    assert checkpoint.load_module(tmp_path).decode(features, [[], []]) == expected


@pytest.mark.parametrize("name", ["scnn_rnn", "logistic"])
def test_a_reranker_is_saved_with_its_tagger(name: str, make_tagger: Callable[..., Any], tmp_path: Path) -> None:
    reranker = Reranker({"probability": 1.5, "next": 0.25})
    tagger = make_tagger(name) if name == "scnn_rnn" else fit_logistic()[0]
    versions = [
        checkpoint.save(tagger, tmp_path / "without", ABOUT),
        checkpoint.save(tagger, tmp_path / "with", ABOUT, reranker=reranker),
    ]
    assert versions[0] != versions[1]
    assert checkpoint.load(tmp_path / "with").reranker == reranker
    assert checkpoint.load(tmp_path / "without").reranker == IDENTITY
    assert "reranker" not in json.loads((tmp_path / "without" / checkpoint.SETTINGS_FILE).read_text())
    change(tmp_path / "with", reranker={"probability": "much"})
    with pytest.raises(CheckpointError, match="damaged: A re-ranker is"):
        checkpoint.load(tmp_path / "with")
