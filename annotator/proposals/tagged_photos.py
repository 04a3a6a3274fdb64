"""The photos that have tags: their indexes, tag counts and tag statistics.

A photo's tags are the saved ones; those of a photo that was never saved are its own keywords. Knows nothing of the
database: it is filled once and then receives each change.
"""

import heapq
import threading
from collections.abc import Iterable, Sequence
from typing import Protocol

from annotator.datasets.tags import tag_key
from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.tag_statistics import OtherPhotosStatistics, TagStatistics
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex


class TaggedPhotosListener(Protocol):
    """Receives each change of the set of tagged photos."""

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Add or replace tagged photos, given as (image id, words of the metadata)."""
        ...

    def remove(self, image_id: int) -> None:
        """Remove a photo that has no tags any more."""
        ...


class TaggedPhotos:
    """Updates the two indexes of tagged photos, the vocabulary and the tag statistics with each save.

    A photo without tags is in neither index.

    Args:
        features: Features by image id.
        vectors: Index of the features of tagged photos.
        keywords: Index of the metadata words and tags of tagged photos.
        vocabulary: Counts the saved tags.
    """

    def __init__(
        self,
        features: FeatureSource,
        vectors: VectorIndex,
        keywords: KeywordIndex,
        vocabulary: ProjectVocabulary,
    ) -> None:
        self._features = features
        self._vectors = vectors
        self._keywords = keywords
        self._vocabulary = vocabulary
        self._own: dict[int, Words] = {}
        self._saved: dict[int, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._listeners: list[TaggedPhotosListener] = []
        self._tag_statistics: TagStatistics | None = None
        self._counting = threading.Lock()
        self._changes_while_counting: list[tuple[tuple[str, ...], int]] | None = None
        """Lists that were saved (+1) or removed (-1) during the count of the tag statistics; None at other times."""

    def num_at_most(self) -> int:
        """Return an upper bound of the number of tagged photos, in constant time."""
        return len(self._own) + len(self._saved)

    def add_listener(self, listener: TaggedPhotosListener) -> list[tuple[int, Words]]:
        """Call a listener for each change from now on; return the present tagged photos as (image id, words)."""
        with self._lock:
            own, saved = dict(self._own), dict(self._saved)
            self._listeners.append(listener)
        with_keywords = {i for i, words in own.items() if words.keywords and i not in saved}
        tagged = sorted(with_keywords | {i for i, tags in saved.items() if tags})
        return [(i, own.get(i, Words())) for i in tagged]

    def tag_statistics(self, image_id: int) -> OtherPhotosStatistics:
        """Return the statistics of the saved lists of all other photos; the first call counts them."""
        statistics = self.count_tag_statistics()
        with self._lock:
            return OtherPhotosStatistics(statistics, self._saved.get(image_id, ()))

    def count_tag_statistics(self) -> TagStatistics:
        """Count the tag statistics unless that is done; 100,000 lists take seconds, during which saves continue."""
        with self._counting:
            if self._tag_statistics is not None:
                return self._tag_statistics
            statistics = TagStatistics()
            with self._lock:
                saved = list(self._saved.values())
                self._changes_while_counting = []
            for tags in saved:
                statistics.note(tags, +1)
            with self._lock:
                for tags, change in self._changes_while_counting:
                    statistics.note(tags, change)
                self._changes_while_counting = None
                self._tag_statistics = statistics
            return statistics

    def words_of(self, image_id: int) -> Words:
        """Return the words of a photo's metadata, whether it has tags or not."""
        return self._own.get(image_id, Words())

    def tags_of(self, image_id: int) -> Sequence[str]:
        """Return the tags of a photo: the saved ones, else its own keywords."""
        if image_id in self._saved:
            return self._saved[image_id]
        own = self._own.get(image_id)
        return own.keywords if own else ()

    def is_saved(self, image_id: int) -> bool:
        """Return whether a photo's tags are saved ones."""
        return image_id in self._saved

    def saved_tags(self, image_id: int) -> tuple[str, ...]:
        """Return the saved tags of a photo, most important first; empty if it is not saved."""
        return self._saved.get(image_id, ())

    def newest_saved(self, num: int) -> list[int]:
        """Return saved photos with tags, at most so many, those with the highest ids first."""
        with self._lock:
            return heapq.nlargest(num, (image_id for image_id, tags in self._saved.items() if tags))

    def saved_with(self, tag: str) -> tuple[list[int], list[int]]:
        """Return (saved photos that have a tag, all other saved photos), ascending."""
        key = tag_key(tag)
        with self._lock:
            saved = sorted(self._saved.items())
        tagged = [image_id for image_id, tags in saved if key in map(tag_key, tags)]
        return tagged, sorted({image_id for image_id, _ in saved}.difference(tagged))

    def load(self, words: dict[int, Words], saved: dict[int, tuple[str, ...]]) -> None:
        """Add all photos of a project at once; an index that was kept gets what it lacks, and loses what is too much.

        Args:
            words: Image id -> words of the photo's metadata.
            saved: Image id -> saved tags, most important first.
        """
        with self._lock:
            self._own.update({i: w for i, w in words.items() if w != Words()})
            self._saved.update(saved)
            tagged = sorted(i for i in self._own.keys() | self._saved.keys() if self.tags_of(i))
            with_features = [i for i in tagged if i in self._features]
            self._vectors.hold_only(with_features)
            self._keywords.set_many((i, self._keys(i)) for i in tagged)
            for tags in saved.values():
                self._count(tags, +1)

    def add_image(self, image_id: int, words: Words) -> None:
        """Add a new photo with the words of its metadata."""
        with self._lock:
            if words != Words():
                self._own[image_id] = words
            if self.tags_of(image_id):
                self._index(image_id)

    def renew_image(self, image_id: int, words: Words) -> None:
        """Take in other words of a photo's metadata, or other features."""
        with self._lock:
            self._own.pop(image_id, None)
            if words != Words():
                self._own[image_id] = words
            if self.tags_of(image_id):
                self._index(image_id)
            else:
                self._drop(image_id)

    def set_saved(self, image_id: int, tags: tuple[str, ...] | None) -> None:
        """Set the saved tags of a photo; None after an undo that left it unsaved."""
        with self._lock:
            if image_id in self._saved:
                self._count(self._saved.pop(image_id), -1)
            if tags is not None:
                self._saved[image_id] = tags
                self._count(tags, +1)
            if self.tags_of(image_id):
                self._index(image_id)
            else:
                self._drop(image_id)

    def _count(self, tags: tuple[str, ...], change: int) -> None:
        self._vocabulary.count(tags, change)
        if self._changes_while_counting is not None:
            self._changes_while_counting.append((tags, change))
        if self._tag_statistics is not None:
            self._tag_statistics.note(tags, change)

    def _index(self, image_id: int) -> None:
        if image_id in self._features:
            self._vectors.add([image_id], self._features.vectors([image_id]))
        self._keywords.set(image_id, self._keys(image_id))
        for listener in self._listeners:
            listener.set_many([(image_id, self.words_of(image_id))])

    def _drop(self, image_id: int) -> None:
        self._vectors.remove([image_id])
        self._keywords.remove(image_id)
        for listener in self._listeners:
            listener.remove(image_id)

    def _keys(self, image_id: int) -> set[str]:
        return self._own.get(image_id, Words()).keys(self._saved.get(image_id, ()))
