import numpy as np
import pytest

from annotator.trainer.calibration import fit_logistic


def test_logistic_fit_finds_the_line_the_labels_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (40_000, 2))
    chances = 1 / (1 + np.exp(-(-1.0 + 0.5 * inputs[:, 0] + 1.5 * inputs[:, 1])))
    labels = (rng.random(40_000) < chances).astype(float)
    np.testing.assert_allclose(fit_logistic(inputs, labels), [-1.0, 0.5, 1.5], atol=0.06)


def test_logistic_fit_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    rng = np.random.default_rng(1)
    inputs = rng.normal(0, 1, (500, 1))
    labels = (inputs[:, 0] + rng.normal(0, 1, 500) > 0.5).astype(float)
    oracle = LogisticRegression(C=1e6, tol=1e-8).fit(inputs, labels)
    found = fit_logistic(inputs, labels)
    assert found[0] == pytest.approx(float(oracle.intercept_[0]), abs=1e-2)
    assert found[1] == pytest.approx(float(oracle.coef_[0, 0]), abs=1e-2)


def test_a_witness_that_points_the_wrong_way_is_left_out() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.normal(0, 1, (2_000, 2))
    labels = (inputs[:, 0] - inputs[:, 1] > 0).astype(float)
    found = fit_logistic(inputs, labels)
    assert found[2] == 0
    assert found[1] > 0


def test_labels_that_a_line_parts_give_finite_weights() -> None:
    found = fit_logistic(np.array([[-1.0], [1.0]] * 10), np.array([0.0, 1.0] * 10))
    assert np.isfinite(found).all()
