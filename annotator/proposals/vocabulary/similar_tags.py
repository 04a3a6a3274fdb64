"""Tags of similar meaning to typed text, found by the project's word vectors.

The vectors are loaded in the background, since that takes seconds; until then, and if they cannot be loaded, no such
tags are found. Knows nothing of photos or the user interface.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence

from annotator.datasets.tags import tag_key
from annotator.errors import WordVectorError
from annotator.models.word_vectors.word_vectors import (
    WordVectors,
    choose_source,
    load_word_vectors,
)

logger = logging.getLogger(__name__)

MAX_NEAR = 3
"""Most similar tags for one typed text."""
LEAST_COSINE = 0.65
"""Least cosine with the typed text."""
LEAST_TYPED = 3
"""Fewest letters of a typed text for which similar tags are searched."""


class SimilarTags:
    """The word vectors of one project, and the searches that need them.

    Args:
        source: As for `load_word_vectors`; empty: WordNet's if they are installed, else GloVe's.
        on_loaded: Called with the vectors in the thread that loaded them.
    """

    def __init__(self, source: str, on_loaded: Callable[[WordVectors], None] = lambda vectors: None) -> None:
        self._source = source
        self._on_loaded = on_loaded
        self.vectors: WordVectors | None = None
        self.problem = ""
        """Why the vectors could not be loaded, as a sentence."""
        self._thread: threading.Thread | None = None
        self._unknown: tuple[tuple[str, ...] | None, str] = (None, "")

    def start(self) -> threading.Thread:
        """Load the vectors in the background."""
        self._thread = threading.Thread(target=self.load, name="word vectors", daemon=True)
        self._thread.start()
        return self._thread

    def stop(self) -> None:
        """Wait until loading has ended: a process that ends before it is aborted."""
        if self._thread is not None:
            self._thread.join()

    def load(self) -> None:
        """Load the vectors in this thread; any failure is stored in `problem`."""
        try:
            self.vectors = load_word_vectors(choose_source(self._source))
        except WordVectorError as error:
            self.problem = str(error)
            logger.warning("Similar tags are not found: %s", error)
            return
        except Exception as error:  # else a user would wait for the vectors for ever
            detail = " ".join(str(error).split()) or type(error).__name__
            self.problem = f"The word vectors could not be loaded: {detail.removesuffix('.')}."
            logger.exception("Similar tags are not found")
            return
        self._on_loaded(self.vectors)

    def near(self, text: str, vocabularies: Sequence[Sequence[str]], exclude: Collection[str] = ()) -> list[str]:
        """Return tags of similar meaning, the most similar first.

        Args:
            text: Typed text.
            vocabularies: Tags to search. A second search of the same vocabulary is fast.
            exclude: Tags in any spelling that are left out.
        """
        vectors, typed = self.vectors, tag_key(text)
        if vectors is None or len(typed) < LEAST_TYPED:
            return []
        vector = vectors.vector(typed)
        if vector is None:
            return []
        excluded = {tag_key(tag) for tag in exclude} | {typed}
        num = MAX_NEAR + len(excluded)
        found = [item for vocabulary in vocabularies for item in vectors.nearest(vector, num, vocabulary)]
        near: dict[str, str] = {}
        for tag, cosine in sorted(found, key=lambda item: -item[1]):
            if cosine >= LEAST_COSINE and tag_key(tag) not in excluded:
                near.setdefault(tag_key(tag), tag)
        return list(near.values())[:MAX_NEAR]

    def describe_unknown(self, tags: tuple[str, ...]) -> str:
        """Return a sentence on the tags without a word vector; empty if there are none or no vectors are loaded.

        Args:
            tags: The tags in use. A second call with the same tuple is fast.
        """
        vectors = self.vectors
        if vectors is None:
            return ""
        described, sentence = self._unknown
        if described is not tags:
            sentence = vectors.describe_unknown(tags, "tags in use")
            self._unknown = tags, sentence
        return sentence

    def describe(self) -> str:
        """Return the name of the loaded vectors, or why none are loaded."""
        if self.vectors is None:
            return self.problem or "not loaded yet"
        return f"{self.vectors.name} {self.vectors.version}, {self.vectors.size} values"
