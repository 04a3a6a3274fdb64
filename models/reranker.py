"""The re-ranker: a log-linear model of which candidate tag a person adds next to a photo's list.

    P(tag is next) = exp(w . x(tag)) / sum over the candidate tags of exp(w . x)

(Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", 2007, top-one probabilities), with the
features `FEATURES`: the scores of the sources and the tag statistics of the project. `IDENTITY` weighs only the
probability of the fusion model and keeps the order of every list; other weights are learnt from corrections
(trainer/finetuning/reranker_fit.py) and stored in a checkpoint.
Knows nothing of where the features come from.
Shapes: N candidate tags, F features: x (N, F) -> P (N,) float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

SOURCES = ("decoder", "looks", "neighbours", "metadata", "words", "detector", "keywords", "folder")
"""Sources with a weight of their own: a sequential tagger (decoder), one without sequence (looks), and so on. The score
of a tagger with a context counts as the decoder's."""
FEATURES = ("probability", *SOURCES, "count", "next", "together", "place", "unused")
"""The columns of x.

probability: log of the probability of the fusion model. Each source: log of its own score, relative to that of no
evidence. count: log of the share of tagged photos that have the tag. next: of the lists with a tag after the last kept
one, the share where it is this tag. together: how much more often it occurs with the kept tags than without them.
place: how near its usual place in lists is to the next place. unused: no tagged photo has it.
"""

FORMER_FEATURE = "joint"
"""Feature of re-rankers that were fitted before the fusion model existed."""


@dataclass(frozen=True)
class Reranker:
    """Weights of the features.

    Args:
        weights: Feature -> weight; 0 for a feature that is not named.

    Raises:
        ValueError: A feature is unknown, or a weight is not a finite number.
    """

    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights).difference(FEATURES))
        if unknown:
            raise ValueError(f"The re-ranker weighs {unknown[0]!r}, which is no feature.")
        if not np.isfinite(list(self.weights.values())).all():
            raise ValueError("A weight of the re-ranker is not a finite number.")

    @cached_property
    def vector(self) -> Matrix:
        """The weights in the order of `FEATURES`, (F,)."""
        return np.array([self.weights.get(name, 0.0) for name in FEATURES])

    def probabilities(self, features: Matrix) -> Matrix:
        """Return the probability of each of N candidate tags to be the next.

        Args:
            features: (N, F).

        Returns:
            (N,), of sum 1.
        """
        values = features @ self.vector
        powers = np.exp(values - values.max(initial=-np.inf))
        probabilities: Matrix = powers / powers.sum()
        return probabilities

    @classmethod
    def from_json(cls, values: Any) -> "Reranker":
        """Return the re-ranker of `to_json`; `IDENTITY` for one that was fitted to the scores before version 0.3.

        Raises:
            ValueError: The values are not a table of weights.
        """
        if not isinstance(values, dict) or not all(
            isinstance(weight, int | float) and not isinstance(weight, bool) for weight in values.values()
        ):
            raise ValueError("A re-ranker is a table of weights.")
        if FORMER_FEATURE in values:
            return IDENTITY
        return cls({str(name): float(weight) for name, weight in values.items()})

    def to_json(self) -> dict[str, float]:
        """Return the weights that are not zero."""
        return {name: round(float(weight), 6) for name, weight in zip(FEATURES, self.vector, strict=True) if weight}


IDENTITY = Reranker({"probability": 1.0})
