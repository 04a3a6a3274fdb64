"""The neighbour baselines against plain loops and cases worked by hand."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.taggers.neighbour_baselines import (
    KnnTagger,
    NeighbourConfig,
    TagPropTagger,
    TwoPassKnnTagger,
    correlated_directions,
    soft_nearest,
    squared_distances,
)
from annotator.models.taggers.scoring_tagger import unit_rows

Array = npt.NDArray[np.float32]

TAGS = ["a", "b", "c", "d"]


def _photos(num: int, seed: int = 0) -> tuple[Array, list[list[str]]]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, 6)).astype(np.float32)
    return features, [[TAGS[index] for index in np.flatnonzero(rng.random(4) < 0.5)] or ["a"] for _ in range(num)]


def _neighbours(features: Array, row: Array, mean: Array) -> list[float]:
    """Squared distances between unit vectors, one by one."""

    def unit(vector: Array) -> Array:
        rows: Array = (vector - mean) / np.linalg.norm(vector - mean)
        return rows

    return [float(((unit(row) - unit(other)) ** 2).sum()) for other in features]


def test_distances_are_those_of_unit_vectors() -> None:
    features, _ = _photos(5)
    mean = features.mean(axis=0)
    rows = unit_rows(features - mean)
    loop = [_neighbours(features, row, mean) for row in features]
    np.testing.assert_allclose(squared_distances(rows, rows), loop, atol=1e-5)


def test_knn_votes_equal_the_plain_loop() -> None:
    features, given = _photos(12)
    asked, _ = _photos(4, seed=1)
    config = NeighbourConfig(num_neighbours=3, temperature=0.3)
    tagger = KnnTagger.fit(Vocabulary(TAGS), features, given, config)
    votes = tagger._all_votes(unit_rows(asked - features.mean(axis=0)))
    for row, found in zip(asked, votes, strict=True):
        distances = _neighbours(features, row, features.mean(axis=0))
        nearest = sorted(range(12), key=lambda index: distances[index])[:3]
        weights = [math.exp(-distances[index] / 0.3) for index in nearest]
        for tag, value in zip(TAGS, found, strict=True):
            share = sum(w for w, index in zip(weights, nearest, strict=True) if tag in given[index]) / sum(weights)
            assert value == pytest.approx(math.sqrt(share), abs=1e-4)


def test_two_pass_votes_equal_the_plain_loop() -> None:
    features, given = _photos(14)
    asked, _ = _photos(4, seed=1)
    config = NeighbourConfig(num_neighbours=2, temperature=0.5)
    tagger = TwoPassKnnTagger.fit(Vocabulary(TAGS), features, given, config)
    votes = tagger._all_votes(unit_rows(asked - features.mean(axis=0)))
    for row, found in zip(asked, votes, strict=True):
        distances = _neighbours(features, row, features.mean(axis=0))
        chosen: set[int] = set()
        for tag in TAGS:  # pass 1: the nearest two of each tag
            carriers = [index for index in range(14) if tag in given[index]]
            chosen |= set(sorted(carriers, key=lambda index: distances[index])[:2])
        total = sum(math.exp(-distances[index] / 0.5) for index in chosen)
        for tag, value in zip(TAGS, found, strict=True):  # pass 2
            voted = sum(math.exp(-distances[index] / 0.5) for index in chosen if tag in given[index])
            assert value == pytest.approx(math.sqrt(voted / total), abs=1e-4)


def test_a_rare_tag_is_found_by_two_passes_and_lost_by_one() -> None:
    # Ten photos near the one asked about carry "common"; the one photo of "rare" lies further off.
    angles = [0.02 * number for number in range(10)] + [0.6, 2.0, 3.0, 4.0, 5.0]
    features = np.array([[math.cos(angle), math.sin(angle)] for angle in angles], np.float32) * 3
    features -= features.mean(axis=0)
    given = [["common"]] * 10 + [["rare"]] + [["far"]] * 4
    vocabulary = Vocabulary(["common", "rare", "far"])
    asked = np.array([0], int)
    one = KnnTagger.fit(vocabulary, features, given, NeighbourConfig(5))
    two = TwoPassKnnTagger.fit(vocabulary, features, given, NeighbourConfig(1, temperature=1.0))
    key = vocabulary.index("rare")
    assert one._all_votes(one.keys[asked], leave_out=False)[0, key] == 0
    assert two._all_votes(two.keys[asked], leave_out=False)[0, key] > 0.3


def test_a_photo_that_is_left_out_does_not_vote() -> None:
    features, given = _photos(6)
    given[0] = ["d"]
    for row in range(1, 6):
        given[row] = ["a"]
    tagger = KnnTagger.fit(Vocabulary(TAGS), features, given, NeighbourConfig(3))
    votes = tagger._all_votes(tagger.keys, leave_out=True)
    assert votes[0].tolist() == pytest.approx([1, 0, 0, 0])


def test_the_nearest_come_in_order_and_their_weights_sum_to_one() -> None:
    distances = np.array([[3.0, 1.0, np.inf, 2.0]], np.float32)
    nearest, weights = soft_nearest(distances, 3, 1.0)
    assert nearest.tolist() == [[1, 3, 0]]
    parts = [math.exp(0), math.exp(-1), math.exp(-2)]
    assert weights[0].tolist() == pytest.approx([part / sum(parts) for part in parts])
    assert soft_nearest(distances, 9, 1.0)[1][0, 3] == 0


def test_tagprop_predicts_by_its_equations() -> None:
    features, given = _photos(30)
    tagger = TagPropTagger.fit(Vocabulary(TAGS), features, given, NeighbourConfig(10))
    learnt = tagger.arrays()
    asked, _ = _photos(3, seed=1)
    keys = unit_rows(asked - features.mean(axis=0))
    votes = tagger._all_votes(keys)
    kept = tagger.keys
    for key, found in zip(keys, votes, strict=True):
        squared = [float(((key - other) ** 2).sum()) for other in kept]
        nearest = sorted(range(30), key=lambda index: squared[index])[:10]
        raw = []
        for index in nearest:
            roots = [np.sign(v) * np.sqrt(np.abs(v)) for v in (key, kept[index])]
            parts = [
                math.sqrt(squared[index]),
                squared[index] / 2,
                float(np.abs(roots[0] - roots[1]).mean()) * math.sqrt(6),
            ]
            raw.append(-sum(w * d for w, d in zip(learnt["distance_weights"], parts, strict=True)))
        weights = [math.exp(value) / sum(map(math.exp, raw)) for value in raw]  # eq. 5
        for tag in range(4):
            present = 0.0
            for weight, index in zip(weights, nearest, strict=True):  # eq. 2
                present += weight * ((1 - 1e-5) if TAGS[tag] in given[index] else 1e-5)
            assert found[tag] == pytest.approx(learnt["slopes"][tag] * present + learnt["offsets"][tag], abs=1e-3)


def test_tagprops_distance_weights_are_not_negative_and_were_learnt() -> None:
    features, given = _photos(40)
    learnt = TagPropTagger.fit(Vocabulary(TAGS), features, given, NeighbourConfig(10)).arrays()
    assert (learnt["distance_weights"] >= 0).all()
    assert len(set(learnt["distance_weights"].tolist())) == 3
    assert len(set(learnt["slopes"].tolist())) == 4


def test_an_embedding_keeps_the_directions_that_correlate_with_tags() -> None:
    rng = np.random.default_rng(0)
    telling = rng.normal(size=(400, 2))
    noise = 5 * rng.normal(size=(400, 3))
    features = np.concatenate([telling, noise], axis=1).astype(np.float32)
    labels = np.concatenate([telling > 0, telling < 0], axis=1).astype(np.float32)
    directions = correlated_directions(features - features.mean(axis=0), labels, 2, 1e-3)
    assert directions.shape == (5, 2)
    spread = np.abs(directions).sum(axis=1)
    assert spread[:2].min() > 10 * spread[2:].max()


def test_an_embedding_is_no_larger_than_its_rank() -> None:
    features, given = _photos(20)
    labels = Vocabulary(TAGS).matrix(given)
    assert correlated_directions(features - features.mean(axis=0), labels, 100, 0.1).shape == (6, 4)


@pytest.mark.parametrize(
    "bad", [{"num_neighbours": 0}, {"temperature": 0.0}, {"embedding_size": -1}, {"embedding_ridge": 0.0}]
)
def test_invalid_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        NeighbourConfig(**bad)  # type: ignore[arg-type]
