"""Kernel ridge regression and the balanced decision against plain loops and cases worked by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.taggers.kernel_tagger import (
    KernelConfig,
    KernelTagger,
    View,
    calibrate,
    calibrated,
    combine,
    find_utility,
    ridge_regression,
    squared_distances,
)
from annotator.models.taggers.scoring_tagger import unit_rows
from annotator.trainer.evaluation import metrics

TAGS = ["often", "sometimes", "rare"]


def _photos(num: int, seed: int = 0) -> tuple[Any, list[list[str]]]:
    """Photos of two views, of which only the second depends on the rare tag."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, 6)).astype(np.float32)
    given_tags = [
        [tag for tag, holds in zip(TAGS, (True, row[0] > 0, row[4] > 1.2), strict=True) if holds] for row in features
    ]
    return features, given_tags


def test_leaving_one_out_in_closed_form_equals_leaving_one_out() -> None:
    features, given_tags = _photos(14)
    labels = Vocabulary(TAGS).matrix(given_tags)
    rows = unit_rows(features)
    kernel = np.exp(-squared_distances(rows, rows))
    _, left_out = ridge_regression(kernel, labels, 0.3)
    for row in range(14):
        rest = [other for other in range(14) if other != row]
        inner = kernel[np.ix_(rest, rest)] + 0.3 * np.eye(13)
        expected = kernel[row, rest] @ np.linalg.solve(inner, labels[rest])
        np.testing.assert_allclose(left_out[row], expected, atol=1e-3)


def test_the_kernel_equals_the_plain_loop() -> None:
    features, _ = _photos(5)
    config = KernelConfig(views=(View(4, 2.0), View(2, 1.0)), gamma=1.5)
    parts = [unit_rows(part) for part in (features[:, :4], features[:, 4:])]
    scale = np.array([0.8, 0.5], np.float32)
    kernel = combine([squared_distances(part, part) for part in parts], scale, config)
    for a in range(5):
        for b in range(5):
            apart = [(1 - float(part[a] @ part[b])) for part in parts]
            total = 2 / 3 * apart[0] / 0.8 + 1 / 3 * apart[1] / 0.5
            assert kernel[a, b] == pytest.approx(math.exp(-1.5 * max(total, 0)), abs=1e-5)


def test_calibrated_scores_are_probabilities() -> None:
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.1, 0.02], np.float32)
    values = np.clip(prior + 0.2 * rng.normal(size=(3000, 3)), -0.2, 1.2).astype(np.float32)
    truth = 1 / (1 + np.exp(-(6 * values - 3 + 0.5 * np.log(prior))))
    labels = (rng.random(values.shape) < truth).astype(np.float32)
    scores = calibrated(values, prior, calibrate(values, labels, prior))
    for low in np.arange(0, 0.8, 0.2):
        inside = (scores >= low) & (scores < low + 0.2)
        assert labels[inside].mean() == pytest.approx(scores[inside].mean(), abs=0.05)


def test_the_utility_of_one_round_worked_by_hand() -> None:
    # Two photos, two tags, one tag a photo, almost no smoothing. Sum of p: N = (1.4, 0.8).
    scores = np.array([[0.9, 0.2], [0.5, 0.6]], np.float32)
    utility = find_utility(scores, KernelConfig(more_photos=0, more_proposals=1e-9, list_length=1))
    # Photo 1 gets tag 1, photo 2 tag 2: M = (1, 1), T = (0.9, 0.6), P = (0.9, 0.6), R = (0.9 / 1.4, 0.6 / 0.8).
    precision, recall = (0.9 + 0.6) / 2, (0.9 / 1.4 + 0.6 / 0.8) / 2
    gain = [1 / (n * recall**2) + 1 / (1 * precision**2) for n in (1.4, 0.8)]
    cost = [p / (1 * precision**2) for p in (0.9, 0.6)]
    assert utility.gain.tolist() == pytest.approx(gain, rel=1e-4)
    assert utility.cost.tolist() == pytest.approx(cost, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_the_utility_is_finite_and_positive(seed: int, k: int) -> None:
    scores = np.random.default_rng(seed).beta(0.3, 2.0, (20, 6)).astype(np.float32)
    utility = find_utility(scores, KernelConfig(more_photos=1, more_proposals=1, list_length=k))
    assert np.isfinite(utility.gain).all()
    assert (utility.gain > 0).all()
    assert (utility.cost >= 0).all()


def test_the_balanced_decision_raises_the_f1_of_the_means_over_tags() -> None:
    # Probabilities known exactly: 300 photos, frequent and rare tags, labels drawn from them.
    rng = np.random.default_rng(0)
    prior = np.geomspace(0.4, 0.01, 30)
    scores = rng.beta(4 * prior, 4 * (1 - prior), (2000, 30)).astype(np.float32)
    labels = rng.random(scores.shape) < scores
    config = KernelConfig(more_photos=3, more_proposals=3, list_length=3)
    values = {"score": scores, "balanced": find_utility(scores, config).of(scores)}
    measures = {}
    for name, utilities in values.items():
        chosen = np.zeros(scores.shape, bool)
        np.put_along_axis(chosen, np.argsort(-utilities, axis=1)[:, :3], True, axis=1)
        measures[name] = (metrics.per_tag(labels, chosen).f1, metrics.overall(labels, chosen).f1)
    assert measures["balanced"][0] > measures["score"][0] + 0.03
    assert measures["balanced"][1] < measures["score"][1]  # what it costs


def test_a_list_of_free_length_is_not_balanced() -> None:
    features, given_tags = _photos(80)
    taggers = [
        KernelTagger.fit(Vocabulary(TAGS), features, given_tags, KernelConfig(decide=decide, list_length=1))
        for decide in ("score", "balanced")
    ]
    lists = [tagger.decode(features, [[]] * 80, k=3, free_length=True) for tagger in taggers]
    assert lists[0] == lists[1]
    lists = [tagger.decode(features, [[]] * 80, k=1) for tagger in taggers]
    assert lists[0] != lists[1]


def test_a_second_view_finds_a_tag_that_the_first_does_not() -> None:
    features, given_tags = _photos(300)
    asked, truth = _photos(200, seed=1)
    labels = Vocabulary(TAGS).matrix(truth) > 0
    found = {}
    for name, columns, views in (("one", slice(0, 4), (View(4),)), ("two", slice(0, 6), (View(4), View(2)))):
        config = KernelConfig(views=views)
        tagger = KernelTagger.fit(Vocabulary(TAGS), features[:, columns], given_tags, config)
        found[name] = metrics.mean_average_precision(labels[:, 2:], tagger.scores(asked[:, columns])[:, 2:], "tag")
    assert found["two"] > found["one"] + 0.2


def test_views_whose_sizes_do_not_sum_to_the_features_are_refused() -> None:
    features, given_tags = _photos(5)
    with pytest.raises(ValueError, match="views have 5 values, the features 6"):
        KernelTagger.fit(Vocabulary(TAGS), features, given_tags, KernelConfig(views=(View(3), View(2))))


@pytest.mark.parametrize(
    "bad", [{"gamma": 0.0}, {"ridge": 0.0}, {"list_length": 0}, {"more_photos": -1.0}, {"decide": "luck"}]
)
def test_invalid_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be above 0|decided by"):
        KernelConfig(**bad)
    with pytest.raises(ValueError, match="needs a size"):
        View(0)
