"""What a tagger with a context is told of a project's photo: its metadata, and its neighbours among the tagged photos.

The pool of neighbours is the project's photos that carry tags; a photo is never its own neighbour, and of its
neighbours only looks and metadata are told, never their tags. Where the metadata find too few, look-alikes are the
further neighbours, and `Gathered.note` says so. One index for each field and kind of distance, made when it is first
asked for, of many photos in the background, and then kept in step with every save. Knows nothing of how a tagger uses
them.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger, Pool, VectorSums, uses_context
from annotator.models.tagger import Tagger
from annotator.proposals.evidence import Neighbour, Words
from annotator.proposals.proposer import TaggerContext
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.storage.features import FeatureStore, Vectors

logger = logging.getLogger(__name__)

MAX_READ_AT_ONCE = 500
"""Tagged photos that are read while the proposal that first needs them waits; more are read in the background."""
CHUNK_SIZE = 2_000
"""Photos read between two looks at whether the program ends."""
FIELD_NAMES = {"user_tags": "keywords", "caption": "caption"}
"""A tagger's metadata field -> the source of a project's photo that it is."""
BEING_READ = "The neighbours are being read: until then they are tagged photos that look like this one."
"""What is said while an index is being filled."""
NOT_READ = "The neighbours could not be read (the log says why): these are tagged photos that look like this one."
"""What is said once an index failed to be filled."""
LEAST_SIMILARITY = 1e-6
"""Below it two photos share nothing."""


def field_words(words: Words, field: str) -> tuple[str, ...]:
    """Return a photo's metadata words of one field, as keys, each once."""
    own = words.caption if field == "caption" else words.keywords
    return tuple(dict.fromkeys(map(tag_key, own)))


class FieldIndex(Protocol):
    """Photos by the words of one field; told of every photo that begins or ceases to carry tags."""

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take photos in, in place of what was known of them."""
        ...

    def remove(self, image_id: int) -> None:
        """Forget a photo."""
        ...

    def search(self, words: Sequence[str], k: int, image_id: int) -> list[tuple[int, float]]:
        """Return at most k other photos that have something in common, most similar first."""
        ...


class SharedWords:
    """By the Jaccard index of the word sets.

    Args:
        field: Of the metadata.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._index = KeywordIndex()

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take photos in."""
        self._index.set_many((image_id, field_words(words, self._field)) for image_id, words in photos)

    def remove(self, image_id: int) -> None:
        """Forget a photo."""
        self._index.remove(image_id)

    def search(self, words: Sequence[str], k: int, image_id: int) -> list[tuple[int, float]]:
        """Return the k most similar."""
        return [(item.image_id, item.similarity) for item in self._index.search(words, k, exclude=[image_id])]


class SimilarMeaning:
    """By the cosine of the summed word vectors.

    Args:
        field: Of the metadata.
        sums: Of the vectors.
    """

    def __init__(self, field: str, sums: VectorSums) -> None:
        self._field = field
        self._sums = sums
        self._codes: dict[int, Vectors] = {}  # kept after a removal: searches under way may ask for them
        self._index = VectorIndex(sums.size, VectorIndexSettings(), self._vectors_of, tag=sums.vectors.version)

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take photos in; one whose words have no vectors is left out."""
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
        """Forget a photo."""
        self._index.remove([image_id])

    def search(self, words: Sequence[str], k: int, image_id: int) -> list[tuple[int, float]]:
        """Return the k most similar."""
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


class GrowingIndex:
    """A field's index that is filled while saves go on: changes wait until the photos from before them are in.

    Args:
        index: To fill; empty.
    """

    def __init__(self, index: FieldIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._meanwhile: list[tuple[int, Words | None]] | None = []
        """Photos that came, and with None that went, while the index is being filled."""
        self.note = BEING_READ
        """Why there is no index yet."""

    @property
    def index(self) -> FieldIndex | None:
        """The index; None until it is filled."""
        return None if self._meanwhile is not None else self._index

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take photos in that carry tags now."""
        photos = list(photos)
        if not self._note(photos):
            self._index.set_many(photos)

    def remove(self, image_id: int) -> None:
        """Forget a photo that carries none any more."""
        if not self._note([(image_id, None)]):
            self._index.remove(image_id)

    def fill(self, photos: Sequence[tuple[int, Words]], is_stopped: Callable[[], bool]) -> None:
        """Take in the photos that carried tags when this began to follow, then what changed since.

        Args:
            photos: All of them.
            is_stopped: Tells whether to give up.
        """
        for start in range(0, len(photos), CHUNK_SIZE):
            if is_stopped():
                return
            self._index.set_many(photos[start : start + CHUNK_SIZE])
        while self._meanwhile is not None:
            with self._lock:
                noted, self._meanwhile = self._meanwhile, [] if self._meanwhile else None
            for image_id, words in noted:
                if words is None:
                    self._index.remove(image_id)
                else:
                    self._index.set_many([(image_id, words)])

    def _note(self, changes: Iterable[tuple[int, Words | None]]) -> bool:
        with self._lock:
            if self._meanwhile is not None:
                self._meanwhile += changes
            return self._meanwhile is not None


def lone_context(tagger: Tagger, vector: Vectors, words: Words) -> Context | None:
    """Return what a tagger is told of a photo outside any project: its own metadata, no neighbours.

    Args:
        tagger: None is returned for one that hears of no context.
        vector: (1, D).
        words: What the photo brings along.
    """
    if not uses_context(tagger):
        return None
    own = field_words(words, tagger.metadata)
    nobody = Pool(np.zeros((0, vector.shape[1]), np.float32), [])
    return Context([own], nobody, np.zeros((1, 0), np.int64))


@dataclass(frozen=True)
class _Found:
    image_id: int
    similarity: float
    by: str


class ProjectContext:
    """Gathers the context of a project's photos; any method may be called from any thread.

    Args:
        features: The project's features.
        tagged_looks: Visual index of the photos that carry tags.
        carried: Which photos carry tags.
        max_at_once: Tagged photos that are read while whoever first needs them waits; None: however many there are.
    """

    def __init__(
        self,
        features: FeatureStore,
        tagged_looks: VectorIndex,
        carried: TaggedPhotos,
        *,
        max_at_once: int | None = MAX_READ_AT_ONCE,
    ) -> None:
        self._features = features
        self._looks = tagged_looks
        self._carried = carried
        self._max_at_once = max_at_once
        self._indexes: dict[tuple[str, str], GrowingIndex] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def stop(self) -> None:
        """Read no more photos, and wait until nothing does: a process that ends in the middle of it is aborted."""
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
        """Return what a tagger is told of a photo, and the neighbours for a person to see.

        Args:
            tagger: Who asks.
            image_id: The photo.
            vector: (1, D), its features.
            words: What it brings along.
            without_neighbours: Photos that somebody switched off; they are found, shown, and not told.
        """
        own = field_words(words, tagger.metadata)
        num = tagger.num_candidates
        growing = self._index_of(tagger) if own and num else None
        index = growing.index if growing else None
        alike = index.search(own, num, image_id) if index is not None else []
        found = self._nearest(num, image_id, vector, alike) if num else []
        told = [item.image_id for item in found if item.image_id not in without_neighbours]
        pool = Pool(
            self._features.vectors(told) if told else np.zeros((0, vector.shape[1]), np.float32),
            [field_words(self._carried.words_of(other), tagger.metadata) for other in told],
        )
        return TaggerContext(
            Context([own], pool, np.arange(len(told), dtype=np.int64)[None]),
            [self._neighbour(item, own, tagger.metadata) for item in found],
            growing.note if growing and index is None else _note(found, own, tagger),
        )

    def _nearest(self, num: int, image_id: int, vector: Vectors, alike: Sequence[tuple[int, float]]) -> list[_Found]:
        """Return the photos with alike metadata, then as many that look alike as are wanting."""
        found = [_Found(other, value, "metadata") for other, value in alike if other in self._features]
        if len(found) < num:
            known = {image_id, *(item.image_id for item in found)}
            ids, similarities = self._looks.search(vector, num + len(known))
            further = zip(ids[0].tolist(), similarities[0].tolist(), strict=True)
            found += [_Found(other, value, "looks") for other, value in further if other >= 0 and other not in known]
        return found[:num]

    def _index_of(self, tagger: ContextTagger) -> GrowingIndex:
        """Return what finds a tagger's neighbours, perhaps still being filled, which no lock is held over."""
        sums = tagger.neighbourhood
        key = (tagger.metadata, "" if sums is None else sums.vectors.version)
        with self._lock:
            growing = self._indexes.get(key)
            is_new = growing is None
            if growing is None:
                empty = SharedWords(tagger.metadata) if sums is None else SimilarMeaning(tagger.metadata, sums)
                growing = self._indexes[key] = GrowingIndex(empty)
        if is_new:
            self._fill(growing)
        return growing

    def _fill(self, growing: GrowingIndex) -> None:
        if self._max_at_once is None or self._carried.num_at_most() <= self._max_at_once:
            growing.fill(self._carried.follow(growing), self._stopping.is_set)
            return
        thread = threading.Thread(target=self._read, args=(growing,), name="neighbours", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, growing: GrowingIndex) -> None:
        try:
            growing.fill(self._carried.follow(growing), self._stopping.is_set)
        except Exception:
            growing.note = NOT_READ
            logger.exception("The tagged photos could not be read: the model's neighbours go by looks alone.")

    def _neighbour(self, item: _Found, own: Sequence[str], field: str) -> Neighbour:
        its = set(field_words(self._carried.words_of(item.image_id), field))
        return Neighbour(
            item.image_id,
            item.similarity,
            tuple(self._carried.tags_of(item.image_id)),
            tuple(word for word in own if word in its),
            item.by,
        )


def _note(found: Sequence[_Found], own: Sequence[str], tagger: ContextTagger) -> str:
    """Return in a sentence why the neighbours are not those that the metadata should give; empty if they are."""
    if not tagger.num_candidates:
        return "This model looks at the photo alone."
    name = FIELD_NAMES[tagger.metadata]
    by_words = sum(item.by == "metadata" for item in found)
    if not found:
        return "No other photo is tagged yet, so the model looks at this one alone."
    if by_words == len(found):
        return ""
    if not own:
        lacks = "no caption, or it is" if name == "caption" else "no keywords, or they are"
        return f"This photo has {lacks} left out: the model's neighbours are tagged photos that look like it."
    if by_words:
        others = "photo has" if by_words == 1 else "photos have"
        return f"Only {by_words} tagged {others} something in common with its {name}; the others look like it."
    sums = tagger.neighbourhood
    if sums is not None and not sums.encode([own]).any():
        return f"Nothing is known of what its {name} mean: the model's neighbours are photos that look like it."
    return f"No tagged photo has anything in common with its {name}: the model's neighbours look like it."
