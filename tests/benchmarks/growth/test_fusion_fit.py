import numpy as np
import pytest
from fusion_fit import Rows, fit_fusion, fit_trees, reliability

from annotator.errors import TrainingError
from annotator.models.fusion import FEATURES, Fusion

COLUMN = {name: place for place, name in enumerate(FEATURES)}


def drawn(seed, num=4000, gain=3.0, bias=-2.0):
    rng = np.random.default_rng(seed)
    features = np.zeros((num, len(FEATURES)), np.float32)
    features[:, COLUMN["gain"]] = rng.normal(size=num)
    features[:, COLUMN["share"]] = rng.normal(size=num)
    probabilities = 1 / (1 + np.exp(-(bias + gain * features[:, COLUMN["gain"]])))
    return Rows(features, rng.random(num) < probabilities)


def test_finds_the_weights_that_made_the_data():
    fusion = fit_fusion([drawn(0), drawn(1)], Fusion(0.0, {"detector": 0.7}), pull=1e-6)
    assert fusion.bias == pytest.approx(-2.0, abs=0.2)
    assert fusion.weights["gain"] == pytest.approx(3.0, abs=0.25)
    assert fusion.weights["share"] == pytest.approx(0.0, abs=0.12)
    assert fusion.weights["detector"] == 0.7
    error, _ = reliability(fusion.probabilities(drawn(2).features.astype(float)), drawn(2).is_right)
    assert error < 0.02


def test_projects_weigh_the_same_whatever_their_size():
    large, small = drawn(3, 20000, gain=3.0), drawn(4, 2000, gain=-3.0)
    assert abs(fit_fusion([large, small]).weights["gain"]) < 0.5
    assert fit_fusion([large]).weights["gain"] > 2.0


def test_a_strong_pull_keeps_the_weights_of_before():
    before = Fusion(-1.0, {"gain": 0.25})
    assert fit_fusion([drawn(5)], before, pull=1e4).weights["gain"] == pytest.approx(0.25, abs=0.01)


def test_refuses_nothing_and_nonsense():
    rows = drawn(6, 50)
    with pytest.raises(TrainingError, match="No candidate tag is right"):
        fit_fusion([])
    with pytest.raises(TrainingError, match="No candidate tag is right"):
        fit_fusion([Rows(rows.features, np.zeros(50, bool))])
    rows.features[3, 3] = np.nan
    with pytest.raises(TrainingError, match="finite"):
        fit_fusion([rows])


def test_reliability_counts_what_is_off():
    probabilities, right = np.array([0.25, 0.25, 0.25, 0.25, 0.95]), np.array([True, False, False, False, False])
    error, bins = reliability(probabilities, right)
    assert error == pytest.approx(0.95 / 5)
    assert [(item.num, item.right) for item in bins] == [(4, 0.25), (1, 0.0)]
    with pytest.raises(ValueError, match="no probabilities"):
        reliability(np.zeros(0), np.zeros(0, bool))


def test_trees_learn_what_a_line_cannot_and_stay_monotone():
    rng = np.random.default_rng(7)
    features = np.zeros((6000, len(FEATURES)), np.float32)
    features[:, COLUMN["gain"]] = rng.normal(size=6000)
    features[:, COLUMN["trained"]] = rng.random(6000) < 0.5
    value = np.where(features[:, COLUMN["trained"]] > 0, 4.0, 0.0) * features[:, COLUMN["gain"]] - 1.0
    rows = Rows(features, rng.random(6000) < 1 / (1 + np.exp(-value)))
    line = fit_fusion([rows])
    trees = fit_trees([rows], line)

    def loss(fusion):
        probabilities = np.clip(fusion.probabilities(features), 1e-6, 1 - 1e-6)
        return -np.mean(np.where(rows.is_right, np.log(probabilities), np.log(1 - probabilities)))

    assert loss(trees) < loss(line) - 0.01
    rising = np.zeros((50, len(FEATURES)))
    rising[:, COLUMN["gain"]] = np.linspace(-3, 3, 50)
    for known in (0.0, 1.0):
        rising[:, COLUMN["trained"]] = known
        assert (np.diff(trees.probabilities(rising)) >= -1e-12).all()
    with pytest.raises(TrainingError, match="No candidate tag is right"):
        fit_trees([], line)
