"""Words that are new to a project, each described by how likely it is a photo's tag.

The words are the most frequent ones of the word vectors. Three values are known of a word before any photo is looked
at: how alike it is to words that name what is seen in photos (``picturable``), how rare it is, and whether it is an
inflected verb or an adverb. A fourth depends on the project: its cosine with the mean direction of the words of the
project's tags, the subject: "par" becomes "parsley" among photos of food and "park" among photos of towns.
``picturable`` is the logit of a logistic regression over word vectors, fitted when the lexicon is made: the everyday
words and the words of ImageNet's classes against all others. On words held out of the fit, half of them, the area under
the curve is .95. Names and verbs get low values; no list of names is needed.
Knows nothing of photos, projects or how completions are shown.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import everyday_words
from annotator.datasets.word_forms import split_words
from annotator.errors import WordVectorError
from annotator.models.taggers.cold_start import load_table
from annotator.models.word_vectors.word_vector_files import Vectors
from annotator.models.word_vectors.word_vectors import DEFAULT_VECTORS, WORDNET, WordVectors, load_word_vectors, unit

logger = logging.getLogger(__name__)

NUM_WORDS = 50_000
"""Most frequent words that are used."""
LEAST_LENGTH = 3
"""Letters of the shortest completion."""
LEAST_EXAMPLES = 20
"""Fewest picturable words with a vector from which the regression is fitted; with fewer, ``picturable`` is 0."""
VECTOR_SCALE = 3.0
"""Factor of the unit vectors in the regression, whose ridge is 1."""
NUM_STEPS = 12
"""Steps of Newton's method."""
Mask = npt.NDArray[np.bool_]
DESCRIBED = ("picturable", "rarity", "subject", "inflected")
"""Columns of `Lexicon.describe`."""


class Lexicon:
    """Describes words; any method may be called from any thread.

    Args:
        vectors: Word vectors.
        picturable: Words and tags that name what is seen in photos.
    """

    def __init__(self, vectors: WordVectors, picturable: Collection[str] = ()) -> None:
        words, rows = vectors.common_words(NUM_WORDS)
        found = sorted((word, rank) for rank, word in enumerate(words) if len(word) >= LEAST_LENGTH and word.isalpha())
        ranks = np.array([rank for _, rank in found], np.int64)
        self._vectors = vectors
        self._words = [word for word, _ in found]
        self._place = {word: place for place, word in enumerate(self._words)}
        self._rows = unit(rows[ranks])  # (W, S)
        rarity = np.log1p(ranks.astype(np.float32))
        examples = {word for tag in picturable for word in split_words(tag)}
        is_example = np.array([word in examples for word in self._words])
        picturability = _fit_picturable(self._rows, rarity, is_example)
        inflected = np.array([is_inflected(word, self._place) for word in self._words], np.float32)
        self._known = np.stack([picturability, rarity, inflected], axis=1).astype(np.float32)  # (W, 3)

    def start_with(self, start: str) -> list[str]:
        """Return the words with a start, which is in lower case; an empty start gives no words."""
        first = bisect_left(self._words, start)
        return self._words[first : bisect_left(self._words, start + "\U0010ffff")] if start else []

    def describe(self, words: Sequence[str], subject: Vectors) -> Vectors:
        """Return the (N, 4) float32 values `DESCRIBED` of N words; 0 for those that are not in the lexicon.

        Args:
            words: In lower case.
            subject: (S,) float32, from `subject`.
        """
        places = [self._place.get(word, -1) for word in words]
        values = np.zeros((len(words), len(DESCRIBED)), np.float32)
        inside = [row for row, place in enumerate(places) if place >= 0]
        at = [places[row] for row in inside]
        values[inside, :2] = self._known[at, :2]
        values[inside, 2] = self._rows[at] @ subject
        values[inside, 3] = self._known[at, 2]
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
    """Return the lexicon of word vectors; all projects share one, since it takes 60 MiB.

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
            lexicon = _LEXICONS[key] = Lexicon(vectors, [*everyday_words(), *load_table().words])
        return lexicon


def _fit_picturable(rows: Vectors, rarity: Vectors, is_example: Mask) -> Vectors:
    """Return the (W,) logits of a logistic regression of `is_example` over (W, S) unit vectors and (W,) rarities."""
    if is_example.sum() < LEAST_EXAMPLES:
        return np.zeros(len(rows), np.float32)
    columns = [VECTOR_SCALE * rows, rarity[:, None] / 10, np.ones((len(rows), 1))]
    design = np.concatenate(columns, axis=1).astype(np.float64)
    ridge = np.ones(design.shape[1])
    ridge[-1] = 0
    found = np.zeros(design.shape[1])
    for _ in range(NUM_STEPS):
        predicted = 0.5 * (1 + np.tanh(0.5 * design @ found))
        gradient = design.T @ (predicted - is_example) + ridge * found
        curvature = (design * (predicted * (1 - predicted))[:, None]).T @ design + np.diag(ridge + 1e-6)
        step = np.linalg.solve(curvature, gradient)
        found -= step / max(1.0, float(np.abs(step).max()) / 3)
    logits: Vectors = (design @ found).astype(np.float32)
    return logits


_LEXICONS: WeakValueDictionary[tuple[str, str], Lexicon] = WeakValueDictionary()
_LOCK = threading.Lock()
