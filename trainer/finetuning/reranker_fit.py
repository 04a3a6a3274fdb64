"""Fits a re-ranker: at each place of a corrected list, the tag that the person put there should rank first.

Maximises the sum of log P(next tag of the person's list), see `models/reranker.py`, minus PRIOR_WEIGHT times the
squared distance to the previous weights: a Gaussian prior, so that few corrections change little. The problem is
convex; L-BFGS solves it. The tagger must not have been trained on these corrections, or its weight is biased upwards.
Knows nothing of where features come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]

from annotator.errors import TrainingError
from annotator.models.reranker import FEATURES, Matrix, Reranker

PRIOR_WEIGHT = 3.0
"""Of the penalty towards the previous weights. 1, 3 and 10 give similar results on two data sets: docs/experiments."""


@dataclass(frozen=True)
class Place:
    """One place of a corrected list."""

    features: Matrix
    """(N, F), of the candidate tags for that place."""
    chosen: int
    """Row of the tag that the person put there."""


def fit_reranker(places: Sequence[Place], before: Reranker, *, prior_weight: float = PRIOR_WEIGHT) -> Reranker:
    """Return the most probable re-ranker, given these places and the prior around the previous one.

    Args:
        places: Any number; none returns `before`.
        before: The previous re-ranker.
        prior_weight: Of the penalty towards its weights.

    Raises:
        TrainingError: A feature is not a finite number.
    """
    if not places:
        return before
    features = np.concatenate([place.features for place in places])  # (M, F), all places stacked
    if not np.isfinite(features).all():
        raise TrainingError("A feature of the re-ranker was not a finite number; nothing was learnt.")
    sizes = np.array([len(place.features) for place in places])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chosen = starts + np.array([place.chosen for place in places])
    centre = before.vector

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        values = features @ weights
        highest = np.maximum.reduceat(values, starts)
        powers = np.exp(values - np.repeat(highest, sizes))
        totals = np.add.reduceat(powers, starts)
        away = weights - centre
        lost = np.sum(np.log(totals) + highest - values[chosen]) + prior_weight * away @ away
        expected = (powers / np.repeat(totals, sizes)) @ features
        return float(lost), expected - features[chosen].sum(axis=0) + 2 * prior_weight * away

    found = minimize(loss, centre, jac=True, method="L-BFGS-B")
    return Reranker(dict(zip(FEATURES, found.x.tolist(), strict=True)))
