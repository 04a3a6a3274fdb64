"""The kernel layer inside a tagger: utility, score, checkpoint, and tags that are added."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.models import checkpoint
from annotator.models.checkpoint import About
from annotator.models.growth import grow, nearest_shares
from annotator.trainer.calibration import calibrate
from annotator.trainer.kernel_fit import fit_kernel

NUM_PHOTOS, NUM_LANDMARKS = 60, 20
SIZES = {"kernel_landmarks": NUM_LANDMARKS, "kernel_size": 6, "kernel_rank": 10}


@pytest.fixture
def make_kernel_tagger(
    make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> Callable[..., tuple[Any, Any, list[list[int]]]]:
    """A small JVSP with a kernel layer, and the photos on which the layer was fitted, each showing its first tag."""

    def make(**ranking: Any) -> tuple[Any, Any, list[list[int]]]:
        features, lists = make_tagged_features(NUM_PHOTOS)
        features = features * 0.1
        for row, tags in enumerate(lists):
            features[row, tags[0]] += 2
        tagger = make_tagger("jvsp", concept_layer=True, **SIZES)
        tagger.set_kernel(fit_kernel(features, lists, tagger.num_tags, num_landmarks=NUM_LANDMARKS, size=6, rank=10))
        tagger.ranking = replace(tagger.ranking, **ranking)
        return tagger, features, lists

    return make


def test_the_gain_moves_the_first_tag_forward(make_kernel_tagger: Callable[..., Any]) -> None:
    def num_right(weight: float) -> int:
        tagger, features, lists = make_kernel_tagger(gain_weight=weight)
        ranked = tagger.decode(features, [[]] * NUM_PHOTOS, k=1)
        names = tagger.vocabulary.tags
        return sum(items[0].tag == names[tags[0]] for items, tags in zip(ranked, lists, strict=True))

    assert num_right(100.0) > 0.9 * NUM_PHOTOS > 0.6 * NUM_PHOTOS > num_right(0.0)


def test_its_presence_is_calibrated_with_the_other_inputs(make_kernel_tagger: Callable[..., Any]) -> None:
    tagger, features, lists = make_kernel_tagger()
    labels = np.zeros((NUM_PHOTOS, tagger.num_tags), np.float32)
    for row, tags in enumerate(lists):
        labels[row, tags] = 1
    coefficients = calibrate(tagger.for_inference(), features, labels)
    assert len(coefficients) == 5
    assert max(coefficients[3:]) > 0
    tagger.ranking = replace(tagger.ranking, calibration=coefficients)
    inference = tagger.for_inference()
    scores = inference.scores(inference.predict(features, [()] * NUM_PHOTOS))
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.02)


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_it(make_kernel_tagger: Callable[..., Any], tmp_path: Path, half: bool) -> None:
    tagger, features, _ = make_kernel_tagger()
    checkpoint.save(tagger, tmp_path, About("any", "1", "given"), half=half)
    before = tagger.for_inference().predict(features, [()] * NUM_PHOTOS)
    for loaded in (checkpoint.load(tmp_path), checkpoint.load_module(tmp_path).for_inference()):
        assert not isinstance(loaded, str)
        after = loaded.predict(features, [()] * NUM_PHOTOS)  # type: ignore[union-attr]
        np.testing.assert_allclose(after.gain, before.gain, atol=0.02 if half else 1e-6)
        np.testing.assert_allclose(after.presence, before.presence, atol=0.02 if half else 1e-6)


def test_added_tags_are_mixed_from_known_ones(make_kernel_tagger: Callable[..., Any]) -> None:
    tagger, features, _ = make_kernel_tagger()
    shares = nearest_shares(tagger.vocabulary.tags, ["cat"], None)
    grown = grow(tagger, ["cat"], [3], shares, np.array([0.1], np.float32))
    before = tagger.for_inference().predict(features, [()] * NUM_PHOTOS)
    after = grown.for_inference().predict(features, [()] * NUM_PHOTOS)
    np.testing.assert_allclose(after.gain[:, :-1], before.gain, atol=1e-5)
    np.testing.assert_allclose(
        grown.weights()["kernel.gain"][-1], tagger.weights()["kernel.gain"].mean(axis=0), atol=1e-5
    )
