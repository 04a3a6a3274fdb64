"""The context of photos: their metadata words and their neighbours, as an input of taggers beside the features.

Paper: Tesan, Coscia, Ballan, "A CNN-RNN Framework for Image Annotation from Visual Cues and Social Network Metadata",
2020. Section 3.1.
Implements: eq. 4 in WordSets, eq. 6 in VectorSums, the candidate neighbourhoods of eq. 1-2 in `subsets`.
Knows nothing of how neighbours are found, of torch or of projects.
Shapes: B sets of words -> codes (B, S) float32.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from annotator.models.tagger import Features, RankedTag, Tagger

Codes = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
WordLists = Sequence[Collection[str]]

ENCODINGS = ("id", "w2v", "wnet")
"""How words are encoded: id, an indicator of each known word; w2v, the sum of their word vectors; wnet, the sum of
their WordNet vectors."""


@dataclass(frozen=True)
class Pool:
    """The photos among which neighbours are."""

    features: Features
    """(N, D)."""
    words: WordLists
    """N sets of metadata words, as keys."""

    def __post_init__(self) -> None:
        if len(self.features) != len(self.words):
            raise ValueError(f"A pool of {len(self.features)} photos has {len(self.words)} sets of words.")


@dataclass(frozen=True)
class Context:
    """Metadata words and neighbours of B photos."""

    words: WordLists
    """B sets of metadata words, as keys."""
    pool: Pool
    """The photos that `neighbours` refers to."""
    neighbours: Ids
    """(B, M) rows of the pool, nearest first; padded with -1 at the end of a row."""

    def __post_init__(self) -> None:
        if self.neighbours.shape[:1] != (len(self.words),):
            raise ValueError(f"There are {len(self.words)} sets of words, but neighbours of {self.neighbours.shape}.")

    def take(self, rows: Sequence[int] | slice) -> "Context":
        """Return the context of some of the photos."""
        words = self.words[rows] if isinstance(rows, slice) else [self.words[row] for row in rows]
        return Context(words, self.pool, self.neighbours[rows])

    def without_neighbours(self) -> "Context":
        """Return the context without any neighbours."""
        return Context(self.words, self.pool, self.neighbours[:, :0])

    def without_words(self) -> "Context":
        """Return the context without the photos' own metadata words; their neighbours stay."""
        return Context([()] * len(self.words), self.pool, self.neighbours)


class ContextTagger(Tagger, Protocol):
    """A tagger that also takes a photo's metadata words and neighbours."""

    @property
    def metadata(self) -> str:
        """The field the words come from, see datasets/metadata_words.py."""
        ...

    @property
    def num_candidates(self) -> int:
        """M: how many of the nearest photos a context should hold."""
        ...

    @property
    def neighbourhood(self) -> "VectorSums | None":
        """Neighbours are found by the cosine of these vector sums; if None, by the Jaccard distance of word sets."""
        ...

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        context: Context | None = None,
    ) -> list[list[RankedTag]]:
        """Rank tags; see `Tagger.decode`. Without a context the photos have no words and no neighbours."""
        ...


def uses_context(tagger: Tagger) -> TypeGuard[ContextTagger]:
    """Tell whether a tagger's `decode` takes a context."""
    return tagger.capabilities.uses_context


class WordVectorsLike(Protocol):
    """The part of `word_vectors.WordVectors` that is needed here."""

    name: str
    version: str
    size: int

    def matrix(self, tags: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return (N, S) vectors, zeros for unknown tags, and (N,) whether each tag is known."""
        ...


class Encoder(Protocol):
    """Turns sets of words into codes."""

    @property
    def size(self) -> int:
        """S."""
        ...

    def encode(self, words: WordLists) -> Codes:
        """Return (B, S) float32; zeros for a set without known words."""
        ...


class WordSets:
    """`id`: an indicator of the known words that a photo has, eq. 4.

    Args:
        words: The tau known words, as keys.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._columns = {word: column for column, word in enumerate(words)}

    @property
    def size(self) -> int:
        """Tau."""
        return len(self._columns)

    def encode(self, words: WordLists) -> Codes:
        """Return (B, tau) of 0 and 1."""
        codes = np.zeros((len(words), self.size), np.float32)
        for row, own in zip(codes, words, strict=True):
            row[[self._columns[word] for word in own if word in self._columns]] = 1.0
        return codes


class VectorSums:
    """`w2v` and `wnet`: the sum of the vectors of a photo's words, eq. 6. Words without a vector add nothing."""

    def __init__(self, vectors: WordVectorsLike) -> None:
        self.vectors = vectors

    @property
    def size(self) -> int:
        """S of the vectors."""
        return self.vectors.size

    def encode(self, words: WordLists) -> Codes:
        """Return (B, S)."""
        rows = {word: row for row, word in enumerate(dict.fromkeys(word for own in words for word in own))}
        vectors, _ = self.vectors.matrix(list(rows))
        codes = np.zeros((len(words), self.size), np.float32)
        for code, own in zip(codes, words, strict=True):
            if own:
                code += vectors[[rows[word] for word in set(own)]].sum(axis=0)
        return codes


@lru_cache(maxsize=256)
def subsets(num_candidates: int, size: int, num: int) -> tuple[tuple[int, ...], ...]:
    """Return random subsets of the places 0..num_candidates-1, each in rising order: samples of eq. 2's neighbourhoods.

    The same arguments always give the same subsets, so that a list can be explained and reproduced.

    Args:
        num_candidates: M.
        size: m; with M or more there is one subset, all places.
        num: How many to draw otherwise; duplicates are removed.
    """
    if size >= num_candidates:
        return (tuple(range(num_candidates)),)
    rng = np.random.default_rng(0)
    drawn = [tuple(sorted(rng.permutation(num_candidates)[:size].tolist())) for _ in range(num)]
    return tuple(dict.fromkeys(drawn))
