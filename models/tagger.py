"""The contract of every tagger: features and a settled prefix in, a ranked list of tags out.

Knows nothing of projects, stores or pages.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Labels = Sequence[tuple[str, float]]
"""A detector's labels of one photo with their scores, best first."""


@dataclass(frozen=True)
class RankedTag:
    """One proposed tag."""

    tag: str
    score: float
    """How likely the tag is right, in [0, 1]."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """Why, in the tagger's own terms: concept probability, step, classes seen. JSON values only."""


def takes_user_tags(tagger: object) -> bool:
    """Tell whether a tagger's `decode` has a `user_tags`: the photos' own tags, as side information."""
    return bool(getattr(tagger, "takes_user_tags", False))


def takes_labels(tagger: object) -> bool:
    """Tell whether a tagger's `decode` has `labels`: what a detector found, as (label, score)."""
    return bool(getattr(tagger, "takes_labels", False))


class Tagger(Protocol):
    """Anything that ranks tags for images."""

    @property
    def name(self) -> str:
        """Registry name, such as ``cold_start``."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same features could give another list."""
        ...

    def __hash__(self) -> int:
        """Taggers are told apart by identity."""
        ...

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
    ) -> list[list[RankedTag]]:
        """Continue each image's settled prefix with up to k further tags, best first.

        Args:
            features: (B, D) float32, from the backbone the tagger was built for.
            prefixes: B lists of the tags already settled, most important first. Never proposed again.
            dropped: B collections of tags the person refused; never proposed. Empty means none for any image.
            k: How many tags to propose for each image.

        Returns:
            B lists of at most k ranked tags, none of them in the image's prefix or dropped set.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        ...

    def allowed_words(self) -> list[str]:
        """Return every tag it can propose."""
        ...

    def channel_weights(self, tag: str, features: Features) -> Features | None:
        """Return how much each feature channel speaks for a tag in one photo, for a heat-map.

        Args:
            tag: Any tag.
            features: (1, D) float32, the photo's.

        Returns:
            (D,) float32, or None when the tagger does not know the tag or has no such weights.
        """
        ...
