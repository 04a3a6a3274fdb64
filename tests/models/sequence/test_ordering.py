"""Adjustments of ranked lists, against plain loops and cases worked by hand."""

import math

import numpy as np
import pytest

from annotator.models.sequence.ordering import NUM_HEADS, SHARPNESS, order_heads, rarity_factors


def test_a_tag_that_people_name_first_ranks_first() -> None:
    # Tag 1 is named before tag 0 almost always, and likely; tag 2 lies outside the head and stays.
    utilities = np.array([[0.6, 0.5, 0.4]], np.float32)
    order_heads(utilities, np.array([[0.5, 0.9, 0.9]], np.float32), np.array([-3, 3, 9], np.float32), 2, 0.8)
    np.testing.assert_allclose(utilities, [[0.5, 0.6, 0.4]])


def test_an_unlikely_tag_does_not_hold_others_back() -> None:
    utilities = np.array([[0.6, 0.5]], np.float32)
    order_heads(utilities, np.array([[0.5, 0.01]], np.float32), np.array([-3, 3], np.float32), 2, 0.8)
    np.testing.assert_allclose(utilities, [[0.6, 0.5]])


@pytest.mark.parametrize(("head", "weight"), [(0, 0.8), (3, 0.0)])
def test_no_head_or_no_weight_leaves_the_list(head: int, weight: float) -> None:
    utilities = np.array([[0.3, 0.5, 0.4]], np.float32)
    order_heads(utilities, np.ones((1, 3), np.float32), np.array([1, -1, 0], np.float32), head, weight)
    np.testing.assert_allclose(utilities, [[0.3, 0.5, 0.4]])


@pytest.mark.parametrize("head", [1, 3, 5, 20])
def test_order_agrees_with_plain_loops(head: int) -> None:
    rng = np.random.default_rng(head)
    before = rng.random((6, 14)).astype(np.float32)
    before[2, :10] = -1  # masked
    chances, theta = rng.random((6, 14)).astype(np.float32), rng.normal(size=14).astype(np.float32)
    found = before.copy()
    order_heads(found, chances, theta, head, 0.7)
    for row in range(6):
        best = sorted(range(14), key=lambda tag: -before[row, tag])[: NUM_HEADS * head]
        keys = {}
        for tag in best:
            keys[tag] = float(before[row, tag])
            for other in best:
                if other != tag:
                    earlier = 1 / (1 + math.exp(theta[tag] - theta[other]))
                    keys[tag] *= 1 - 0.7 * float(chances[row, other]) ** SHARPNESS * earlier
        expected = before[row].copy()
        for start in range(0, len(best), head):
            part = best[start : start + head]
            for place, tag in enumerate(sorted(part, key=lambda tag: -keys[tag])):
                expected[tag] = before[row, part[place]]
        allowed = before[row] >= 0
        np.testing.assert_allclose(found[row][allowed], expected[allowed], rtol=1e-6)
        assert (found[row][~allowed] < 0).all()


def test_rare_tags_gain_and_a_typical_one_stays() -> None:
    # A random tag of a random photo: (80 x 80 + 20 x 20) / 100 = 68 photos carry it.
    factors = rarity_factors([80, 20], 0.5)
    np.testing.assert_allclose(factors, [math.sqrt(68 / 80), math.sqrt(68 / 20)], rtol=1e-6)
    np.testing.assert_allclose(rarity_factors([80, 20], 0.0), [1, 1])
    np.testing.assert_allclose(rarity_factors((), 0.5), [1])
    assert rarity_factors([80, 10, 1], 0.5)[1] == rarity_factors([80, 10, 1], 0.5)[2]
    assert rarity_factors([80, 10, 0], 0.5)[2] == 1
