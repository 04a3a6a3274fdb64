"""The re-ranker: how much each source of evidence, and each habit of the people who tag here, counts for a tag's place.

A log-linear model over the tags that are open for one photo,

    P(tag is the next of the person's list) = exp(w . x(tag)) / sum over the open tags of exp(w . x)

(Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", 2007, top-one probabilities), with the
features `FEATURES`. `IDENTITY` weighs only the joint score and leaves every list as it is; the others are learnt from
corrections (trainer/reranker_fit.py) and kept with a checkpoint.
Knows nothing of where the features are from.
Shapes: N open tags, F features: x (N, F) -> P (N,) float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

SOURCES = ("decoder", "looks", "neighbours", "metadata", "words", "detector", "keywords", "folder")
"""Sources with a weight of their own; what a tagger with a context says counts as the decoder's."""
FEATURES = ("joint", *SOURCES, "count", "next", "together", "place", "unused")
"""The columns of x.

joint: log of the joint score of all sources. Each source: log of its own score, above that of silence.
count: log of the share of tagged photos that carry the tag. next: of the lists that go on after the last settled tag,
those that do so with this one. together: how much more often it goes with the settled tags than without. place: how
near it usually stands to the place that is to be filled. unused: no tagged photo carries it.
"""


@dataclass(frozen=True)
class Reranker:
    """Weights of the features.

    Args:
        weights: Feature -> weight; a feature that is not named weighs nothing.

    Raises:
        ValueError: An unknown feature, or a weight that is no finite number.
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
        """Return how likely each of N open tags is the next.

        Args:
            features: (N, F).

        Returns:
            (N,) of sum 1.
        """
        values = features @ self.vector
        powers = np.exp(values - values.max(initial=-np.inf))
        probabilities: Matrix = powers / powers.sum()
        return probabilities

    @classmethod
    def from_json(cls, values: Any) -> "Reranker":
        """Return the re-ranker of `to_json`.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(values, dict) or not all(
            isinstance(weight, int | float) and not isinstance(weight, bool) for weight in values.values()
        ):
            raise ValueError("A re-ranker is a table of weights.")
        return cls({str(name): float(weight) for name, weight in values.items()})

    def to_json(self) -> dict[str, float]:
        """Return the weights that are not zero."""
        return {name: round(float(weight), 6) for name, weight in zip(FEATURES, self.vector, strict=True) if weight}


IDENTITY = Reranker({"joint": 1.0})
