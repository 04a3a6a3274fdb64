"""2PKNN's metric against plain loops, and on photos of which one dimension alone tells the tags apart."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint
from annotator.models.checkpoint import About
from annotator.models.taggers.neighbour_baselines import NeighbourConfig, TwoPassKnnTagger
from annotator.models.taggers.neighbour_metric import (
    PULL_SHARE,
    find_triples,
    learn_metric,
    metric_loss,
    tag_balanced,
)
from annotator.models.taggers.scoring_tagger import unit_rows
from annotator.trainer.evaluation import metrics

Array = npt.NDArray[np.float32]
TAGS = ["a", "b", "c"]


def make_photos(num: int, seed: int = 0) -> tuple[Array, Array]:
    """Two dimensions that tell three tags apart, and ten of noise that is stronger than them."""
    rng = np.random.default_rng(seed)
    tags = rng.integers(0, 3, num)
    angles = 2 * np.pi * tags / 3
    told = np.stack([np.cos(angles), np.sin(angles)], axis=1) + rng.normal(0, 0.2, (num, 2))
    features = np.concatenate([told, rng.normal(0, 1.0, (num, 10))], axis=1).astype(np.float32)
    return features, np.eye(3, dtype=np.float32)[tags]


def distance(one: Array, other: Array, weights: Array) -> float:
    parts = [vector * np.sqrt(weights) for vector in (one, other)]
    left, right = (part / np.linalg.norm(part) for part in parts)
    return float(((left - right) ** 2).sum())


def test_the_loss_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(1)
    keys, weights = unit_rows(rng.normal(size=(8, 4)).astype(np.float32)), rng.uniform(0.2, 2, 4).astype(np.float32)
    photos, targets, impostors, margin = [0, 5], [[1, 2], [3, -1]], [[4, -1, -1], [6, 7, 1]], 0.1
    pulls, pushes = [], []
    for photo, near, far in zip(photos, targets, impostors, strict=True):
        for target in near:
            if target < 0:
                continue
            pulls.append(distance(keys[photo], keys[target], weights))
            for impostor in far:
                if impostor >= 0:
                    pushes.append(max(0.0, margin + pulls[-1] - distance(keys[photo], keys[impostor], weights)))
    found = metric_loss(
        torch.from_numpy(weights),
        torch.from_numpy(keys),
        *(torch.tensor(rows) for rows in (photos, targets, impostors)),
        margin,
    )
    assert float(found) == pytest.approx(PULL_SHARE * np.mean(pulls) + np.mean(pushes), rel=1e-4)


def test_the_first_pass_takes_the_nearest_photos_of_every_tag() -> None:
    rng = np.random.default_rng(2)
    distances, labels = rng.random((4, 12)).astype(np.float32), (rng.random((12, 5)) < 0.4).astype(np.float32)
    labels[:, 4] = 0  # a tag without photos
    found = tag_balanced(distances, labels, 2)
    for row in range(4):
        expected = set()
        for tag in range(5):
            photos = sorted((photo for photo in range(12) if labels[photo, tag]), key=lambda p: distances[row, p])
            expected |= set(photos[:2])
        assert set(np.flatnonzero(found[row])) == expected


def test_targets_share_a_tag_and_impostors_none_and_neither_is_the_photo_itself() -> None:
    features, labels = make_photos(40)
    labels[:5, 1] = 1  # photos of two tags
    triples = find_triples(unit_rows(features), labels, 3)
    assert len(triples.photos) == 40
    for photo, near, far in zip(triples.photos, triples.targets, triples.impostors, strict=True):
        own = labels[photo]
        assert near[0] >= 0
        assert far[0] >= 0
        for rows, shares in ((near, True), (far, False)):
            real = rows[rows >= 0]
            assert photo not in real
            assert len(set(real)) == len(real)
            assert all((labels[row] @ own > 0) == shares for row in real)


def test_the_dimensions_that_tell_tags_apart_gain_weight() -> None:
    features, labels = make_photos(120)
    roots = learn_metric(unit_rows(features), labels, num_nearest=5, margin=0.1, num_steps=60)
    assert roots[:2].min() > 1.2 * roots[2:].max()
    assert float((roots**2).mean()) == pytest.approx(1, abs=1e-4)


def test_without_impostors_nothing_is_learnt() -> None:
    features, _ = make_photos(10)
    roots = learn_metric(unit_rows(features), np.ones((10, 1), np.float32), num_nearest=2, margin=0.1, num_steps=5)
    np.testing.assert_array_equal(roots, np.ones(12, np.float32))


def test_a_learnt_metric_ranks_better_and_survives_a_checkpoint(tmp_path: Path) -> None:
    features, labels = make_photos(160)
    given = [[TAGS[tag] for tag in np.flatnonzero(row)] for row in labels]
    vocabulary = Vocabulary(TAGS)
    plain, learnt = (
        TwoPassKnnTagger.fit(vocabulary, features[:120], given[:120], NeighbourConfig(5, 0.1, metric_steps=steps))
        for steps in (0, 60)
    )
    truth = labels[120:] > 0
    ranked = [metrics.mean_average_precision(truth, tagger.scores(features[120:]), "tag") for tagger in (plain, learnt)]
    assert ranked[1] > ranked[0] + 0.05
    checkpoint.save(learnt, tmp_path, About("colour_grid", "1", "given"))
    loaded = checkpoint.load(tmp_path)
    assert isinstance(loaded, TwoPassKnnTagger)
    np.testing.assert_allclose(loaded.scores(features[120:]), learnt.scores(features[120:]), atol=1e-5)


def test_steps_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="metric_steps must not be below 0"):
        NeighbourConfig(metric_steps=-1)
