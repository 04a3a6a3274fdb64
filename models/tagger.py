"""The contract of every tagger: features and a prefix in, a ranked list of tags out.

Knows nothing of projects, stores or pages.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annotator.models.reranker import Reranker

Features = npt.NDArray[np.float32]
Labels = Sequence[tuple[str, float]]
"""A detector's labels of one photo with their scores, best first."""


@dataclass(frozen=True)
class RankedTag:
    """One proposed tag."""

    tag: str
    score: float
    """The probability that the tag is right, in [0, 1]."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """What the proposal is based on, by tagger: class probabilities, step, concept probability. JSON values only."""


@dataclass(frozen=True)
class Capabilities:
    """What a tagger takes beside features and prefixes, and how it ranks.

    The defaults describe a trained classifier that scores each tag by itself.
    """

    uses_context: bool = False
    """`decode` takes a `context`; the tagger is a `context.ContextTagger`."""
    uses_metadata: bool = False
    """The metadata words of a context are an input of the model. Without this they only select neighbours."""
    uses_user_tags: bool = False
    """`decode` takes `user_tags`: B collections of the photos' own tags, as side information."""
    uses_labels: bool = False
    """`decode` takes `labels`: the detector's `Labels` of each of B photos."""
    is_sequential: bool = False
    """It predicts an ordered list tag by tag. The evidence of a tag holds `next`, the probability that it is the next
    one after the prefix, and `step`, its likeliest place."""
    has_open_vocabulary: bool = False
    """It scores any word that has a word vector, see `open_vocabulary.OpenVocabulary.score_words`."""
    is_trained: bool = True
    """It is trained on tagged photos and needs a checkpoint. Without this it works from the backbone alone."""
    takes_batches: bool = True
    """`decode` takes any number of photos, and a photo's list does not depend on the others of the batch."""


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

    @property
    def capabilities(self) -> Capabilities:
        """What it takes and how it ranks; does not change."""
        ...

    @property
    def reranker(self) -> Reranker:
        """The re-ranker trained with it; `reranker.IDENTITY` if none was."""
        ...

    def __hash__(self) -> int:
        """Taggers are compared by identity."""
        ...

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
    ) -> list[list[RankedTag]]:
        """Continue each image's prefix with up to k further tags, best first.

        Args:
            features: (B, D) float32, from the backbone the tagger was built for.
            prefixes: B lists of the tags already kept, most important first. Never proposed again.
            dropped: B collections of the tags the person refused; never proposed. Empty means none for any image.
            k: How many tags to propose for each image.

        Returns:
            B lists of at most k ranked tags, none of them in the image's prefix or dropped set.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        ...

    def probabilities(self, features: Features) -> tuple[Sequence[str], Features] | None:
        """Return the probability of each tag, whatever the prefix.

        Args:
            features: (B, D) float32.

        Returns:
            V tags and (B, V) float32 in [0, 1]; None if it has no such probabilities.

        Raises:
            ValueError: The feature size does not fit.
        """
        ...

    def allowed_words(self) -> list[str]:
        """Return every tag it can propose."""
        ...

    def trained_words(self) -> list[str]:
        """Return `allowed_words` without the tags whose rows are derived from those of other tags (new_tags.py)."""
        ...

    def channel_weights(self, tag: str, features: Features) -> Features | None:
        """Return how much each feature channel contributes to a tag's score in one photo, for a heat-map.

        Args:
            tag: Any tag.
            features: (1, D) float32, the photo's.

        Returns:
            (D,) float32, or None when the tagger does not know the tag or has no such weights.
        """
        ...
