"""Evidence of an image-text model: words whose embedding is near to the photo's, joined after the fusion model."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import everyday_words
from annotator.models.backbones.text_index import TextIndex
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.late_evidence import NamedTag, Prior

TEXT = "text"
TEXT_PRIOR = Prior(shift=0.5, slope=2.5)
"""Chosen, not fitted, as no published weights can be had where this is developed: of a tag for which nothing else
speaks, one `HIGHEST` standard deviations above the mean gets about .29, one at `LEAST` .03, the least probability of a
proposal."""
NUM_NAMED = 15
"""Most words of a photo."""
LEAST, HIGHEST = 2.0, 5.0
"""Standard deviations above the mean over all words between which the strength rises from 0 to 1."""


class TextTowerSource:
    """Words near a photo.

    Args:
        index: The words.
        features: Features by image id, of the same model.
        is_wanted: Tells whether a word may be named.
    """

    name = TEXT
    prior = TEXT_PRIOR

    def __init__(
        self, index: TextIndex, features: FeatureSource, is_wanted: Callable[[str], bool] = lambda word: True
    ) -> None:
        self._index = index
        self._features = features
        self._is_wanted = is_wanted

    def named(self, image_id: int) -> list[NamedTag]:
        """Return the words that stand out for a photo, the nearest first."""
        if not len(self._index) or image_id not in self._features:
            return []
        vector: npt.NDArray[np.float32] = self._features.vectors([image_id])[0]
        return [
            NamedTag(
                item.word,
                min((item.deviation - LEAST) / (HIGHEST - LEAST), 1.0),
                f"the image-text model finds it alike, {item.deviation:.1f} standard deviations above other words",
            )
            for item in self._index.nearest(vector, NUM_NAMED)
            if item.deviation >= LEAST and self._is_wanted(item.word)
        ]


def words_to_compare(
    tags_in_use: Sequence[str], vocabulary: Sequence[str], use: str, known_words: Sequence[str]
) -> tuple[str, ...]:
    """Return the words that an image-text model compares photos with, the most wanted first.

    Args:
        tags_in_use: Of the project, the most frequent first.
        vocabulary: Of an imported vocabulary.
        use: What that does: ``extend`` or ``restrict``; empty: nothing.
        known_words: Further words, such as those of the cold start.
    """
    words = (*tags_in_use, *vocabulary)
    if use != "restrict":
        words = (*words, *everyday_words(), *known_words)
    return tuple({tag_key(word): word for word in reversed(words)}.values())[::-1]
