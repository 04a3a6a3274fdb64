"""Learning a re-ranker: of each correction, at each place of its list, the tag that the person put there comes first.

Maximises the sum of log P(next tag of the person's list), `models/reranker.py`, less PULL times the squared distance of
the weights to those of before: a Gaussian prior, so that few corrections change little. Convex; L-BFGS finds the end.
To be fair to the sources, the corrections must be ones that the tagger itself did not learn from.
Knows nothing of where features are from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]

from annotator.errors import TrainingError
from annotator.models.reranker import FEATURES, Matrix, Reranker

PULL = 3.0
"""Towards the weights of before. 1, 3 and 10 did alike on two data sets: EXPERIMENTS.md."""


@dataclass(frozen=True)
class Place:
    """One place of one person's list."""

    features: Matrix
    """(N, F) of the tags that were open there."""
    chosen: int
    """Which of them the person put there."""


def fit_reranker(places: Sequence[Place], before: Reranker, *, pull: float = PULL) -> Reranker:
    """Return the re-ranker that these places and the one of before make the likeliest.

    Args:
        places: Any number; none leaves everything as it was.
        before: The weights to stay near.
        pull: How near.

    Raises:
        TrainingError: A feature is not a finite number.
    """
    if not places:
        return before
    features = np.concatenate([place.features for place in places])  # (M, F), all places one below the other
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
        lost = np.sum(np.log(totals) + highest - values[chosen]) + pull * away @ away
        expected = (powers / np.repeat(totals, sizes)) @ features
        return float(lost), expected - features[chosen].sum(axis=0) + 2 * pull * away

    found = minimize(loss, centre, jac=True, method="L-BFGS-B")
    return Reranker(dict(zip(FEATURES, found.x.tolist(), strict=True)))
