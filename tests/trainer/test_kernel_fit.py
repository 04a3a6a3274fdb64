"""Tests of the kernel layer: the fit and its prediction."""

import numpy as np
import pytest

from annotator.models.sequence.kernel_layer import KernelLayer, half_squared_distances, kernel_of, unit_roots
from annotator.trainer.evaluation.metrics import ndcg_at
from annotator.trainer.kernel_fit import RIDGE, STABILISER, fit_kernel, presence_and_gain

pytestmark = pytest.mark.unit

NUM_TAGS, NUM_PHOTOS = 3, 90


@pytest.fixture
def photos() -> tuple[np.ndarray, list[list[int]]]:
    """Return photos of three kinds, whose features show the first tag, and their lists."""
    rng = np.random.default_rng(3)
    kinds = np.arange(NUM_PHOTOS) % NUM_TAGS
    features = rng.uniform(0, 0.2, (NUM_PHOTOS, 8)).astype(np.float32)
    features[np.arange(NUM_PHOTOS), kinds] += 1
    return features, [[int(kind), int(kind + 1) % NUM_TAGS] for kind in kinds]


def test_gains_of_the_best_list_sum_to_its_ndcg() -> None:
    presence, gain = presence_and_gain([[2, 0], [1]], NUM_TAGS)
    assert presence.tolist() == [[1, 0, 1], [0, 1, 0]]
    discounts = 1 / np.log2(2 + np.arange(2))
    assert gain[0, [2, 0]] @ discounts == pytest.approx(1)
    assert gain[1].tolist() == [0, 1, 0]
    # A list of the first tag alone has the gain that NDCG gives it.
    assert gain[0, 2] == pytest.approx(ndcg_at([["c"]], [["c", "a"]], 2, "graded"))


def test_the_first_tag_has_the_most_gain_and_both_are_present(photos: tuple[np.ndarray, list[list[int]]]) -> None:
    features, lists = photos
    layer = KernelLayer(fit_kernel(features[:60], lists[:60], NUM_TAGS, num_landmarks=40, size=4, rank=6))
    presence, gain = layer.predict(features[60:])
    assert presence.shape == gain.shape == (30, NUM_TAGS)
    for row, (first, second) in enumerate(lists[60:]):
        assert gain[row].argmax() == first
        assert presence[row, [first, second]].min() > 0.6 > 0.4 > np.delete(presence[row], [first, second]).max()


def test_with_every_photo_a_landmark_and_full_rank_it_is_kernel_ridge(
    photos: tuple[np.ndarray, list[list[int]]],
) -> None:
    features, lists = photos
    arrays = fit_kernel(features, lists, NUM_TAGS, num_landmarks=NUM_PHOTOS, size=8, rank=2 * NUM_TAGS)
    found = KernelLayer(arrays).predict(features[:5])[0]
    points = unit_roots(features, np.sqrt(features).mean(axis=0))
    distances = half_squared_distances(points, points)
    kernel = kernel_of(distances / np.median(distances)).astype(float)
    labels = presence_and_gain(lists, NUM_TAGS)[0]
    # (K'K + RIDGE K + e I)^-1 K'Y is (K + RIDGE I)^-1 Y but for the stabiliser.
    exact = kernel[:5] @ np.linalg.solve(kernel + RIDGE * np.eye(NUM_PHOTOS), labels)
    assert found == pytest.approx(np.maximum(exact, 0), abs=200 * STABILISER)


def test_a_rank_that_the_lists_have_loses_nothing_and_a_lower_one_does(
    photos: tuple[np.ndarray, list[list[int]]],
) -> None:
    features, lists = photos  # three kinds of lists: their presence and gain have rank 3
    found = {
        rank: KernelLayer(fit_kernel(features, lists, NUM_TAGS, num_landmarks=40, size=8, rank=rank)).predict(features)[
            1
        ]
        for rank in (1, 3, 6)
    }
    np.testing.assert_allclose(found[3], found[6], atol=1e-4)
    assert np.abs(found[1] - found[6]).max() > 0.2


def test_negative_features_count() -> None:
    """Features of image-text models have both signs."""
    features = np.array([[1, -1, 0.2], [-1, 1, 0.2]] * 20, np.float32)
    arrays = fit_kernel(features, [[0], [1]] * 20, 2, num_landmarks=20, size=3, rank=4)
    assert KernelLayer(arrays).predict(features[:2])[0].argmax(axis=1).tolist() == [0, 1]
    assert KernelLayer(arrays).predict(-features[:2])[0].argmax(axis=1).tolist() == [1, 0]


def test_a_photo_of_zeros_and_one_landmark() -> None:
    features = np.zeros((2, 8), np.float32)
    presence, gain = KernelLayer(fit_kernel(features, [[0], [1]], NUM_TAGS, num_landmarks=1, size=4, rank=1)).predict(
        features
    )
    assert np.isfinite(presence).all()
    assert np.isfinite(gain).all()
