"""Words that are new to a project, each described by how likely it is a photo's tag.

The words are the most frequent ones of the word vectors. Known of a word are how rare it is, whether it is an inflected
verb or an adverb, and its cosine with the mean direction of the words of the project's tags, the subject: "par" is
near "parsley" among photos of food, and near "park" among photos of towns.
Knows nothing of photos, projects or how completions are shown.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from weakref import WeakValueDictionary

import numpy as np

from annotator.datasets.word_forms import split_words
from annotator.errors import WordVectorError
from annotator.models.word_vectors.word_vector_files import Vectors
from annotator.models.word_vectors.word_vectors import DEFAULT_VECTORS, WORDNET, WordVectors, load_word_vectors, unit

logger = logging.getLogger(__name__)

NUM_WORDS = 150_000
"""Most frequent words that are used."""
NUM_BY_A_LETTER = 50_000
"""Most frequent words among which one letter is completed, as describing a tenth of all words takes long."""
LEAST_LENGTH = 3
"""Letters of the shortest completion."""
DESCRIBED = ("rarity", "subject", "inflected")
"""Columns of `Lexicon.describe`."""


class Lexicon:
    """Describes words; any method may be called from any thread.

    Args:
        vectors: Word vectors.
    """

    def __init__(self, vectors: WordVectors) -> None:
        words, rows = vectors.common_words(NUM_WORDS)
        found = sorted((word, rank) for rank, word in enumerate(words) if len(word) >= LEAST_LENGTH and word.isalpha())
        ranks = np.array([rank for _, rank in found], np.int64)
        self._vectors = vectors
        self._ranks = ranks
        self._words = [word for word, _ in found]
        self._place = {word: place for place, word in enumerate(self._words)}
        self._rows = unit(rows[ranks])  # (W, S)
        rarity = np.log1p(ranks.astype(np.float32))
        inflected = np.array([is_inflected(word, self._place) for word in self._words], np.float32)
        self._known = np.stack([rarity, inflected], axis=1)  # (W, 2)

    def start_with(self, start: str) -> list[str]:
        """Return the words with a start, which is in lower case; of one letter the frequent ones, of none no words."""
        if not start:
            return []
        first, last = bisect_left(self._words, start), bisect_left(self._words, start + "\U0010ffff")
        if len(start) > 1:
            return self._words[first:last]
        frequent = first + np.flatnonzero(self._ranks[first:last] < NUM_BY_A_LETTER)
        return [self._words[place] for place in frequent.tolist()]

    def describe(self, words: Sequence[str], subject: Vectors) -> Vectors:
        """Return the (N, 3) float32 values `DESCRIBED` of N words; 0 for those that are not in the lexicon.

        Args:
            words: In lower case.
            subject: (S,) float32, from `subject`.
        """
        places = [self._place.get(word, -1) for word in words]
        values = np.zeros((len(words), len(DESCRIBED)), np.float32)
        inside = [row for row, place in enumerate(places) if place >= 0]
        at = [places[row] for row in inside]
        values[inside, 0] = self._known[at, 0]
        values[inside, 1] = self._rows[at] @ subject
        values[inside, 2] = self._known[at, 1]
        return values

    def subject(self, counts: Mapping[str, int]) -> Vectors:
        """Return the subject of a project: (S,) float32 of length 1, or 0 if none of its words is known.

        Args:
            counts: Tag -> number of photos.
        """
        total = np.zeros((1, self._rows.shape[1]), np.float32)
        for tag, count in counts.items():
            for word in split_words(tag) if count > 0 else ():
                vector = self._vectors.vector(word)
                if vector is not None:
                    total += np.sqrt(count) * unit(vector[None])
        direction: Vectors = unit(total)[0]
        return direction


def is_inflected(word: str, words: Collection[str]) -> bool:
    """Tell whether a word is the past or the participle of another of the words, or its adverb.

    Args:
        word: In lower case.
        words: Known words: "baked" is inflected beside "bake", "running" beside "run", "bed" beside neither.
    """
    for end, least in (("ing", LEAST_LENGTH), ("ed", LEAST_LENGTH), ("ly", LEAST_LENGTH + 1)):
        stem = word.removesuffix(end)
        if stem == word or len(stem) < least:
            continue
        if stem in words:
            return True
        if end != "ly" and (f"{stem}e" in words or (stem[-1] == stem[-2] and stem[:-1] in words)):
            return True
        if stem.endswith("i") and f"{stem[:-1]}y" in words:
            return True
    return False


def shared_lexicon(vectors: WordVectors) -> Lexicon:
    """Return the lexicon of word vectors; all projects share one, since it takes 90 MiB.

    WordNet's vectors have no word frequencies, so GloVe's take their place.
    """
    if vectors.name == WORDNET:
        try:
            vectors = load_word_vectors(DEFAULT_VECTORS)
        except WordVectorError as error:
            logger.warning("Words are completed by WordNet's vectors, less well: %s", error)
    key = (vectors.name, vectors.version)
    with _LOCK:
        lexicon = _LEXICONS.get(key)
        if lexicon is None:
            lexicon = _LEXICONS[key] = Lexicon(vectors)
        return lexicon


_LEXICONS: WeakValueDictionary[tuple[str, str], Lexicon] = WeakValueDictionary()
_LOCK = threading.Lock()
