"""The context of a project's photo, for taggers that use one: its metadata and its neighbours among the tagged photos.

The neighbours come from the project's tagged photos without the photo itself; the context has their features and
metadata, never their tags. If too few photos have similar metadata, similar photos by features are added, and
`TaggerContext.note` says so. Each metadata field and similarity has one index. It is built on first use, in the
background if there are many photos, and each save updates it. Knows nothing of how a tagger uses the context.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger, Pool, VectorSums
from annotator.proposals.evidence import Neighbour, Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.proposer import TaggerContext
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.storage.features import Vectors

logger = logging.getLogger(__name__)

MAX_READ_AT_ONCE = 500
"""Tagged photos up to which an index is built while the first request waits; for more, in the background."""
CHUNK_SIZE = 2_000
"""Photos that are indexed between two checks whether to stop."""
FIELD_NAMES = {"user_tags": "keywords", "caption": "caption"}
"""A tagger's metadata field -> its name in the user interface."""
BEING_READ = "The neighbours are being read: until then they are tagged photos that look like this one."
"""Note while an index is being built."""
NOT_READ = "The neighbours could not be read (the log says why): these are tagged photos that look like this one."
"""Note after an index could not be built."""
LEAST_SIMILARITY = 1e-6
"""Photos with less similar metadata are no neighbours."""


def field_words(words: Words, field: str) -> tuple[str, ...]:
    """Return the words of one metadata field as distinct keys."""
    own = words.caption if field == "caption" else words.keywords
    return tuple(dict.fromkeys(map(tag_key, own)))


class FieldIndex(Protocol):
    """Index of the tagged photos by the words of one metadata field."""

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Add or replace photos, given as (image id, words of the metadata)."""
        ...

    def remove(self, image_id: int) -> None:
        """Remove a photo."""
        ...

    def search(self, words: Sequence[str], k: int, image_id: int) -> list[tuple[int, float]]:
        """Return the k most similar photos as (image id, similarity), best first.

        Args:
            words: Of the field, as keys.
            k: Most photos; those without any similarity are left out.
            image_id: The photo itself, which is left out.
        """
        ...


class WordOverlapIndex:
    """Similarity is the Jaccard index of the word sets.

    Args:
        field: Metadata field.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._index = KeywordIndex()

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Add or replace photos."""
        self._index.set_many((image_id, field_words(words, self._field)) for image_id, words in photos)

    def remove(self, image_id: int) -> None:
        """Remove a photo."""
        self._index.remove(image_id)

    def search(self, words: Sequence[str], k: int, image_id: int) -> list[tuple[int, float]]:
        """Return the k most similar photos."""
        return [(item.image_id, item.similarity) for item in self._index.search(words, k, exclude=[image_id])]


class WordVectorIndex:
    """Similarity is the cosine of the summed word vectors.

    Args:
        field: Metadata field.
        sums: Computes the sums.
    """

    def __init__(self, field: str, sums: VectorSums) -> None:
        self._field = field
        self._sums = sums
        self._codes: dict[int, Vectors] = {}  # kept after a removal: concurrent searches may read them
        self._index = VectorIndex(sums.size, VectorIndexSettings(), self._vectors_of, tag=sums.vectors.version)

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Add or replace photos; those whose words have no vectors are left out."""
        ids, own = [], []
        for image_id, words in photos:
            ids.append(image_id)
            own.append(field_words(words, self._field))
        codes = self._sums.encode(own)
        known = [row for row in range(len(ids)) if codes[row].any()]
        for row in known:
            self._codes[ids[row]] = codes[row]
        self._index.remove([image_id for row, image_id in enumerate(ids) if not codes[row].any()])
        if known:
            self._index.add([ids[row] for row in known], codes[known])

    def remove(self, image_id: int) -> None:
        """Remove a photo."""
        self._index.remove([image_id])

    def search(self, words: Sequence[str], k: int, image_id: int) -> list[tuple[int, float]]:
        """Return the k most similar photos."""
        code = self._sums.encode([words])
        if not code.any():
            return []
        ids, similarities = self._index.search(code, k + 1)
        found = zip(ids[0].tolist(), similarities[0].tolist(), strict=True)
        return [(other, value) for other, value in found if other not in (-1, image_id) and value > LEAST_SIMILARITY][
            :k
        ]

    def _vectors_of(self, image_ids: npt.NDArray[np.int64]) -> Vectors:
        return np.stack([self._codes[image_id] for image_id in image_ids.tolist()])


class BackgroundIndex:
    """Builds a `FieldIndex` during which saves continue: it queues their changes and applies them afterwards.

    Args:
        index: An empty index.
    """

    def __init__(self, index: FieldIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._queued: list[tuple[int, Words | None]] | None = []
        """Photos that were set, or with None removed, during the build; None once the index is built."""
        self.note = BEING_READ
        """Why there is no index yet, as a sentence for the user."""

    @property
    def index(self) -> FieldIndex | None:
        """The index; None until it is built."""
        return None if self._queued is not None else self._index

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Add or replace tagged photos."""
        photos = list(photos)
        if not self._queue(photos):
            self._index.set_many(photos)

    def remove(self, image_id: int) -> None:
        """Remove a photo that has no tags any more."""
        if not self._queue([(image_id, None)]):
            self._index.remove(image_id)

    def fill(self, photos: Sequence[tuple[int, Words]], is_stopped: Callable[[], bool]) -> None:
        """Add the photos that were tagged when this became a listener, then apply the queued changes.

        Args:
            photos: All of these photos.
            is_stopped: Tells whether to stop before the end.
        """
        for start in range(0, len(photos), CHUNK_SIZE):
            if is_stopped():
                return
            self._index.set_many(photos[start : start + CHUNK_SIZE])
        while self._queued is not None:
            with self._lock:
                queued, self._queued = self._queued, [] if self._queued else None
            for image_id, words in queued:
                if words is None:
                    self._index.remove(image_id)
                else:
                    self._index.set_many([(image_id, words)])

    def _queue(self, changes: Iterable[tuple[int, Words | None]]) -> bool:
        """Queue changes while the index is being built; return whether they were queued."""
        with self._lock:
            if self._queued is not None:
                self._queued += changes
            return self._queued is not None


@dataclass(frozen=True)
class _Found:
    """A neighbour; `by` as in `Neighbour`."""

    image_id: int
    similarity: float
    by: str


class ProjectContext:
    """Gathers the context of a project's photos; any method may be called from any thread.

    Args:
        features: The project's features.
        vectors: Index of the features of tagged photos.
        tagged_photos: The tagged photos.
        max_at_once: Tagged photos up to which an index is built while the first request waits; None: any number.
    """

    def __init__(
        self,
        features: FeatureSource,
        vectors: VectorIndex,
        tagged_photos: TaggedPhotos,
        *,
        max_at_once: int | None = MAX_READ_AT_ONCE,
    ) -> None:
        self._features = features
        self._vectors = vectors
        self._tagged_photos = tagged_photos
        self._max_at_once = max_at_once
        self._indexes: dict[tuple[str, str], BackgroundIndex] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def stop(self) -> None:
        """Stop building indexes and wait for the threads: a process that ends before them is aborted."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def gather(
        self,
        tagger: ContextTagger,
        image_id: int,
        vector: Vectors,
        words: Words,
        without_neighbours: Collection[int] = (),
    ) -> TaggerContext:
        """Return the context of a photo, and the neighbours to show.

        Args:
            tagger: The tagger that uses the context.
            image_id: The photo.
            vector: (1, D) float32, its features.
            words: Words of its metadata.
            without_neighbours: Excluded photos; they are shown, but are not in the context.
        """
        own = field_words(words, tagger.metadata)
        num = tagger.num_candidates
        background = self._index_of(tagger) if own and num else None
        index = background.index if background else None
        by_metadata = index.search(own, num, image_id) if index is not None else []
        found = self._nearest(num, image_id, vector, by_metadata) if num else []
        used = [item.image_id for item in found if item.image_id not in without_neighbours]
        pool = Pool(
            self._features.vectors(used) if used else np.zeros((0, vector.shape[1]), np.float32),
            [field_words(self._tagged_photos.words_of(other), tagger.metadata) for other in used],
        )
        return TaggerContext(
            Context([own], pool, np.arange(len(used), dtype=np.int64)[None]),
            [self._neighbour(item, own, tagger.metadata) for item in found],
            background.note if background and index is None else _note(found, own, tagger),
        )

    def _nearest(
        self, num: int, image_id: int, vector: Vectors, by_metadata: Sequence[tuple[int, float]]
    ) -> list[_Found]:
        """Return the photos with similar metadata, filled up to `num` with similar photos by features."""
        found = [_Found(other, value, "metadata") for other, value in by_metadata if other in self._features]
        if len(found) < num:
            known = {image_id, *(item.image_id for item in found)}
            ids, similarities = self._vectors.search(vector, num + len(known))
            further = zip(ids[0].tolist(), similarities[0].tolist(), strict=True)
            found += [_Found(other, value, "looks") for other, value in further if other >= 0 and other not in known]
        return found[:num]

    def _index_of(self, tagger: ContextTagger) -> BackgroundIndex:
        """Return the index for a tagger's field and similarity; build it on first use, without holding the lock."""
        sums = tagger.neighbourhood
        key = (tagger.metadata, "" if sums is None else sums.vectors.version)
        with self._lock:
            background = self._indexes.get(key)
            is_new = background is None
            if background is None:
                empty = WordOverlapIndex(tagger.metadata) if sums is None else WordVectorIndex(tagger.metadata, sums)
                background = self._indexes[key] = BackgroundIndex(empty)
        if is_new:
            self._build(background)
        return background

    def _build(self, background: BackgroundIndex) -> None:
        if self._max_at_once is None or self._tagged_photos.num_at_most() <= self._max_at_once:
            background.fill(self._tagged_photos.add_listener(background), self._stopping.is_set)
            return
        thread = threading.Thread(target=self._build_in_background, args=(background,), name="neighbours", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _build_in_background(self, background: BackgroundIndex) -> None:
        try:
            background.fill(self._tagged_photos.add_listener(background), self._stopping.is_set)
        except Exception:
            background.note = NOT_READ
            logger.exception("The tagged photos could not be indexed: the model's neighbours are found by features.")

    def _neighbour(self, item: _Found, own: Sequence[str], field: str) -> Neighbour:
        its = set(field_words(self._tagged_photos.words_of(item.image_id), field))
        return Neighbour(
            item.image_id,
            item.similarity,
            tuple(self._tagged_photos.tags_of(item.image_id)),
            tuple(word for word in own if word in its),
            item.by,
        )


def _note(found: Sequence[_Found], own: Sequence[str], tagger: ContextTagger) -> str:
    """Return a sentence on why not all neighbours were found by metadata; empty if they were."""
    if not tagger.num_candidates:
        return "This model looks at the photo alone."
    name = FIELD_NAMES[tagger.metadata]
    num_by_metadata = sum(item.by == "metadata" for item in found)
    if not found:
        return "No other photo is tagged yet, so the model looks at this one alone."
    if num_by_metadata == len(found):
        return ""
    if not own:
        lacks = "no caption, or it is" if name == "caption" else "no keywords, or they are"
        return f"This photo has {lacks} left out: the model's neighbours are tagged photos that look like it."
    if num_by_metadata:
        others = "photo has" if num_by_metadata == 1 else "photos have"
        return f"Only {num_by_metadata} tagged {others} something in common with its {name}; the others look like it."
    sums = tagger.neighbourhood
    if sums is not None and not sums.encode([own]).any():
        return f"Nothing is known of what its {name} mean: the model's neighbours are photos that look like it."
    return f"No tagged photo has anything in common with its {name}: the model's neighbours look like it."
