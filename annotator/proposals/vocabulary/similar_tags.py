"""Which tags mean nearly what was typed: completions by meaning, from the project's word vectors.

The vectors are loaded in the background, since that takes seconds; until then, and where they cannot be loaded,
nothing is found by meaning and everything else works. Knows nothing of photos or pages.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence

from annotator.datasets.tags import tag_key
from annotator.errors import WordVectorError
from annotator.models.word_vectors.word_vectors import (
    DEFAULT_VECTORS,
    WORDNET,
    WordVectors,
    find_wordnet_table,
    load_word_vectors,
)

logger = logging.getLogger(__name__)

MAX_NEAR = 3
"""Completions by meaning for one typed word."""
LEAST_COSINE = 0.65
"""Tags farther from what was typed are not offered."""
LEAST_TYPED = 3
"""Letters typed before a meaning is looked up: shorter words are beginnings."""


class SimilarTags:
    """The word vectors of one project, and what they are asked for.

    Args:
        source: As `load_word_vectors` takes it; empty: WordNet's if they were made, else GloVe.
        on_loaded: Called once the vectors are there, in the thread that loaded them.
    """

    def __init__(self, source: str, on_loaded: Callable[[WordVectors], None] = lambda vectors: None) -> None:
        self._source = source
        self._on_loaded = on_loaded
        self.vectors: WordVectors | None = None
        self.problem = ""
        """Why there are none, as a sentence."""
        self._thread: threading.Thread | None = None
        self._unknown: tuple[tuple[str, ...] | None, str] = (None, "")

    def start(self) -> threading.Thread:
        """Load the vectors in the background."""
        self._thread = threading.Thread(target=self.load, name="word vectors", daemon=True)
        self._thread.start()
        return self._thread

    def stop(self) -> None:
        """Wait until nothing is loaded any more: a process that ends in the middle of it is aborted."""
        if self._thread is not None:
            self._thread.join()

    def load(self) -> None:
        """Load the vectors now; a failure of whatever kind is kept as the problem."""
        try:
            self.vectors = load_word_vectors(choose_source(self._source))
        except WordVectorError as error:
            self.problem = str(error)
            logger.warning("Nothing is found by meaning: %s", error)
            return
        except Exception as error:  # else the page would wait for the vectors for ever
            detail = " ".join(str(error).split()) or type(error).__name__
            self.problem = f"The word vectors could not be loaded: {detail.removesuffix('.')}."
            logger.exception("Nothing is found by meaning")
            return
        self._on_loaded(self.vectors)

    def near(self, text: str, vocabularies: Sequence[Sequence[str]], exclude: Collection[str] = ()) -> list[str]:
        """Return the tags that mean nearly what was typed, nearest first.

        Args:
            text: What was typed.
            vocabularies: Tags to choose among. A vocabulary that was asked before is fast.
            exclude: Tags that are not to be offered, by any spelling.
        """
        vectors, typed = self.vectors, tag_key(text)
        if vectors is None or len(typed) < LEAST_TYPED:
            return []
        vector = vectors.vector(typed)
        if vector is None:
            return []
        barred = {tag_key(tag) for tag in exclude} | {typed}
        num = MAX_NEAR + len(barred)
        found = [item for vocabulary in vocabularies for item in vectors.nearest(vector, num, vocabulary)]
        near: dict[str, str] = {}
        for tag, cosine in sorted(found, key=lambda item: -item[1]):
            if cosine >= LEAST_COSINE and tag_key(tag) not in barred:
                near.setdefault(tag_key(tag), tag)
        return list(near.values())[:MAX_NEAR]

    def describe_unknown(self, tags: tuple[str, ...]) -> str:
        """Return a sentence on the tags in use that have no vector; empty if there is none such, or nothing is loaded.

        Args:
            tags: Those in use. The same tuple asked again is fast.
        """
        vectors = self.vectors
        if vectors is None:
            return ""
        asked, told = self._unknown
        if asked is not tags:
            told = vectors.describe_unknown(tags, "tags in use")
            self._unknown = tags, told
        return told

    def describe(self) -> str:
        """Return which vectors are used, or why none are."""
        if self.vectors is None:
            return self.problem or "not loaded yet"
        return f"{self.vectors.name} {self.vectors.version}, {self.vectors.size} values"


def choose_source(source: str) -> str:
    """Return which vectors a setting means: empty is WordNet's where they were made, else GloVe."""
    return source or (WORDNET if find_wordnet_table() is not None else DEFAULT_VECTORS)
