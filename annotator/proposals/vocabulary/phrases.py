"""Tags of several words that are put together from known words.

After "chicken " or "chicken w", the words of the kept tags, of the photo's likely tags and of the project's tags
continue the tag. Knows nothing of photos or of how completions are shown.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.models.word_vectors.word_vector_files import Vectors
from annotator.proposals.vocabulary.odds import (
    KEPT_WORD,
    LAST_WORD,
    LOG_LAST_COUNT,
    LOG_WORD_COUNT,
    LOG_WORD_SCORE,
    LOWEST_SCORE,
    NEXT_WORD,
    NUM_FEATURES,
    SCORED_WORD,
    USED_WORD,
)

LEAST_LIKELY = 0.05
"""Least score of a tag whose word continues another."""
MAX_WORDS = 200
"""Most words that continue a tag, the most frequent ones, beside those of kept and likely tags."""
LEAST_LENGTH = 2
"""Letters of the shortest word that continues a tag."""


class WordUse:
    """How often the words of the tags in use are used.

    Args:
        counts: Tag key -> number of photos.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.words: Counter[str] = Counter()
        """Word -> sum of the numbers of its tags."""
        self.last_words: Counter[str] = Counter()
        """Word -> the same of the tags of several words that end with it."""
        for key, count in counts.items():
            words = key.split(" ")
            if count:
                self.words.update(dict.fromkeys(words, count))
            if count and len(words) > 1:
                self.last_words[words[-1]] += count


def phrases(
    typed: str, kept: Collection[str], scored: Mapping[str, float], use: WordUse, known: Collection[str]
) -> tuple[list[str], Vectors]:
    """Return the tags that continue a typed text by one more word, and their features.

    Args:
        typed: Key of the typed text; a space at its end says that the last word is complete.
        kept: Tags on the photo.
        scored: Tag key -> score for the photo.
        use: Words of the project's tags.
        known: Keys that are candidates already.

    Returns:
        N keys; (N, F) float32, as odds.py names them, without those of the lexicon.
    """
    before, space, last = typed.rpartition(" ")
    if not space:
        return [], np.zeros((0, NUM_FEATURES), np.float32)
    kept_words = {word for tag in kept for word in tag_key(tag).split(" ")}
    scores = {key: score for key, score in scored.items() if " " not in key}
    words = _continuing(before.rpartition(" ")[2], last, kept_words, scores, use)
    words = [word for word in words if f"{before} {word}" not in known]
    rows = np.zeros((len(words), NUM_FEATURES), np.float32)
    for row, word in zip(rows, words, strict=True):
        row[NEXT_WORD] = 1
        if word in kept_words:
            row[KEPT_WORD] = 1
        elif word in scores:
            row[SCORED_WORD], row[LOG_WORD_SCORE] = 1, np.log(max(scores[word], LOWEST_SCORE))
        if count := use.words[word]:
            row[USED_WORD], row[LOG_WORD_COUNT] = 1, np.log(count)
        if count := use.last_words[word]:
            row[LAST_WORD], row[LOG_LAST_COUNT] = 1, np.log(count)
    return [f"{before} {word}" for word in words], rows


def _continuing(
    word_before: str, start: str, kept_words: Collection[str], scores: Mapping[str, float], use: WordUse
) -> list[str]:
    """Return the words that may continue a tag whose next word begins with `start`."""
    used = [word for word in use.words if word.startswith(start)]
    if len(used) > MAX_WORDS:
        used = [word for _, word in sorted((-use.words[word], word) for word in used)[:MAX_WORDS]]
    likely = [word for word, score in scores.items() if score >= LEAST_LIKELY]
    words = dict.fromkeys([*used, *(word for word in (*sorted(kept_words), *likely) if word.startswith(start))])
    return [word for word in words if len(word) >= LEAST_LENGTH and word not in (word_before, start)]
