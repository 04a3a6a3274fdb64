import json

import numpy as np
import pytest

from annotator.models.fusion import COLUMNS, FEATURES, Fusion, Trees, load_fusion

COLUMN = {name: place for place, name in enumerate(FEATURES)}


def test_probabilities_are_those_of_a_logistic_model():
    features = np.zeros((2, len(FEATURES)))
    features[1, COLUMN["gain"]] = 0.5
    probabilities = Fusion(-1.0, {"gain": 4.0}).probabilities(features)
    assert probabilities == pytest.approx([1 / (1 + np.exp(1.0)), 1 / (1 + np.exp(-1.0))])


def test_goes_through_json():
    fusion = Fusion(-2.5, {"gain": 3.25, "share": -1.0})
    again = Fusion.from_json(json.loads(json.dumps(fusion.to_json())))
    np.testing.assert_allclose(again.vector, fusion.vector)
    assert again.bias == fusion.bias


@pytest.mark.parametrize(
    "values", [None, [], {}, {"bias": 1}, {"bias": True, "weights": {}}, {"bias": 1, "weights": {"gain": "x"}}]
)
def test_refuses_what_is_no_fusion(values):
    with pytest.raises(ValueError, match="A fusion is"):
        Fusion.from_json(values)


def test_refuses_unknown_and_infinite_weights():
    with pytest.raises(ValueError, match="no feature"):
        Fusion(0.0, {"luck": 1.0})
    with pytest.raises(ValueError, match="finite"):
        Fusion(0.0, {"gain": float("inf")})


def test_the_weights_that_come_along_prefer_more_evidence():
    fusion = load_fusion()
    nothing = np.zeros((1, len(FEATURES)))
    for name in ("model_rank", "looks", "share", "keyword", "detector", "gain"):
        more = nothing.copy()
        more[0, COLUMN[name]] = 4.0
        assert fusion.probabilities(more)[0] > fusion.probabilities(nothing)[0], name


def random_trees(rng, num, depth):
    """Full trees of random questions, their nodes numbered from the root downwards."""
    num_nodes = 2 ** (depth + 1) - 1
    inner = 2**depth - 1
    left = np.tile(np.arange(num_nodes), (num, 1))
    right = left.copy()
    left[:, :inner], right[:, :inner] = 2 * np.arange(inner) + 1, 2 * np.arange(inner) + 2
    leaf = rng.normal(size=(num, num_nodes)) * (np.arange(num_nodes) >= inner)
    feature = rng.integers(len(COLUMNS), size=(num, num_nodes))
    return Trees(-1.5, feature, rng.normal(size=(num, num_nodes)), left, right, leaf)


def test_trees_say_what_a_walk_by_hand_says():
    rng = np.random.default_rng(0)
    trees = random_trees(rng, 7, 3)
    fusion = Fusion(0.5, {"gain": 2.0}, trees)
    features = rng.normal(size=(20, len(FEATURES)))
    probabilities = fusion.probabilities(features)
    for row, chance in zip(features, probabilities, strict=True):
        asked = [*row, 0.5 + 2.0 * row[COLUMN["gain"]]]
        value = -1.5
        for tree in range(7):
            node = 0
            while node < 7:
                goes_left = asked[trees.feature[tree, node]] <= trees.threshold[tree, node]
                node = 2 * node + 1 if goes_left else 2 * node + 2
            value += trees.leaf[tree, node]
        assert chance == pytest.approx(1 / (1 + np.exp(-value)))
    assert trees.depth == 3
    again = Fusion.from_json(json.loads(json.dumps(fusion.to_json())))
    assert again.probabilities(features) == pytest.approx(probabilities)


def test_refuses_trees_that_have_no_end_or_ask_for_nothing():
    one = np.zeros((1, 2), np.int64)
    numbers = np.zeros((1, 2))
    with pytest.raises(ValueError, match="child"):
        Trees(0.0, one, numbers, np.array([[1, 0]]), np.array([[1, 1]]), numbers)
    with pytest.raises(ValueError, match="feature"):
        Trees(0.0, one + len(COLUMNS), numbers, np.array([[1, 1]]), np.array([[1, 1]]), numbers)
    with pytest.raises(ValueError, match="one shape"):
        Trees(0.0, one, np.zeros((1, 3)), one, one, numbers)
    with pytest.raises(ValueError, match="finite"):
        Trees(0.0, one, numbers, np.array([[1, 1]]), np.array([[1, 1]]), numbers + np.inf)


@pytest.mark.parametrize("trees", [[], {"columns": ["gain"]}, {"columns": list(COLUMNS), "base": 0, "feature": "x"}])
def test_refuses_trees_of_other_features(trees):
    with pytest.raises(ValueError, match="trees of"):
        Fusion.from_json({"bias": 0, "weights": {}, "trees": trees})
