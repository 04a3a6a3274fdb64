"""Precedence, against plain loops and a case worked by hand."""

import math

import numpy as np

from annotator.trainer.precedence import RIDGE, fit_precedence


def test_two_tags_stand_where_the_slope_is_zero() -> None:
    # 0 stood before 1 in three lists, after it in one: by symmetry theta_0 = -theta_1 = t with
    # 3 (1 - s) - s = RIDGE t, s = sigmoid(2 t).
    theta = fit_precedence([[0, 1], [0, 1], [0, 1], [1, 0]], 2)
    t = float(theta[0])
    s = 1 / (1 + math.exp(-2 * t))
    assert abs(theta[1] + t) < 1e-4
    assert abs(3 * (1 - s) - s - RIDGE * t) < 1e-3


def test_slope_by_plain_loops_is_zero_at_the_solution() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.permutation(12)[: rng.integers(1, 6)].tolist() for _ in range(200)]
    theta = fit_precedence(sequences, 12)
    for tag in range(12):
        slope = RIDGE * theta[tag]
        for tags in sequences:
            for place, earlier in enumerate(tags):
                for later in tags[place + 1 :]:
                    doubt = 1 / (1 + math.exp(theta[earlier] - theta[later]))
                    slope += doubt * ((tag == later) - (tag == earlier))
        assert abs(slope) < 1e-2


def test_a_hidden_order_is_found() -> None:
    rng = np.random.default_rng(1)
    sequences = [sorted(rng.permutation(8)[:3].tolist()) for _ in range(300)]
    assert np.argsort(-fit_precedence(sequences, 8)).tolist() == list(range(8))


def test_tags_without_a_companion_stay_in_the_middle() -> None:
    theta = fit_precedence([[0], [1, 2], [1, 2]], 4)
    assert theta[0] == theta[3] == 0
    assert theta[1] > 0 > theta[2]
    assert not fit_precedence([[0], [1]], 2).any()
