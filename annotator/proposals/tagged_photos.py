"""Which photos carry which tags, as evidence for other photos.

Saved tags count; a photo that was never saved speaks through its own keywords. Knows nothing of the store: it is
loaded once and then told of each change.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Protocol

from annotator.datasets.tags import tag_key
from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.tag_statistics import OthersTagStatistics, TagStatistics
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex


class Follower(Protocol):
    """Keeps its own account of the photos that carry tags."""

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take photos in that carry tags, with what they bring along."""
        ...

    def remove(self, image_id: int) -> None:
        """Forget a photo that carries none any more."""
        ...


class TaggedPhotos:
    """Keeps the two indexes of tagged photos, and the counts for completions, in step with every save.

    A photo that carries no tags is in neither index.

    Args:
        features: Features by image id.
        tagged_looks: Visual index to keep.
        tagged_words: Metadata index to keep.
        autocomplete: Completions to keep.
    """

    def __init__(
        self,
        features: FeatureSource,
        tagged_looks: VectorIndex,
        tagged_words: KeywordIndex,
        autocomplete: ProjectVocabulary,
    ) -> None:
        self._features = features
        self._looks = tagged_looks
        self._word_index = tagged_words
        self._autocomplete = autocomplete
        self._own: dict[int, Words] = {}
        self._saved: dict[int, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._followers: list[Follower] = []
        self._habits: TagStatistics | None = None
        self._counting = threading.Lock()
        self._meanwhile: list[tuple[tuple[str, ...], int]] | None = None
        """Lists that came and went while the habits are being counted."""

    def num_at_most(self) -> int:
        """Return a number that the photos that carry tags do not exceed, without counting them."""
        return len(self._own) + len(self._saved)

    def follow(self, follower: "Follower") -> list[tuple[int, Words]]:
        """Tell somebody of each change from now on; return the photos that carry tags now, with what they bring."""
        with self._lock:
            own, saved = dict(self._own), dict(self._saved)
            self._followers.append(follower)
        with_keywords = {i for i, words in own.items() if words.keywords and i not in saved}
        carriers = sorted(with_keywords | {i for i, tags in saved.items() if tags})
        return [(i, own.get(i, Words())) for i in carriers]

    def habits(self, image_id: int) -> OthersTagStatistics:
        """Return what is usual in the saved lists of all other photos; counted when first asked for, then kept."""
        habits = self.count_habits()
        with self._lock:
            return OthersTagStatistics(habits, self._saved.get(image_id, ()))

    def count_habits(self) -> TagStatistics:
        """Count the habits, unless that was done; 100,000 lists take seconds, in which saves go on."""
        with self._counting:
            if self._habits is not None:
                return self._habits
            habits = TagStatistics()
            with self._lock:
                saved = list(self._saved.values())
                self._meanwhile = []
            for tags in saved:
                habits.note(tags, +1)
            with self._lock:
                for tags, change in self._meanwhile:
                    habits.note(tags, change)
                self._meanwhile = None
                self._habits = habits
            return habits

    def words_of(self, image_id: int) -> Words:
        """Return what a photo brings along, whether it carries tags or not."""
        return self._own.get(image_id, Words())

    def tags_of(self, image_id: int) -> Sequence[str]:
        """Return the tags a photo carries."""
        if image_id in self._saved:
            return self._saved[image_id]
        own = self._own.get(image_id)
        return own.keywords if own else ()

    def saved_tags(self, image_id: int) -> tuple[str, ...]:
        """Return the saved tags of a photo, most important first; none when it is not saved."""
        return self._saved.get(image_id, ())

    def saved_with(self, tag: str) -> tuple[list[int], list[int]]:
        """Return (saved photos that carry a tag, all other saved photos), ascending."""
        key = tag_key(tag)
        with self._lock:
            saved = sorted(self._saved.items())
        carriers = [image_id for image_id, tags in saved if key in map(tag_key, tags)]
        return carriers, sorted({image_id for image_id, _ in saved}.difference(carriers))

    def load(self, words: dict[int, Words], saved: dict[int, tuple[str, ...]]) -> None:
        """Fill from the store, at once."""
        with self._lock:
            self._own.update({i: w for i, w in words.items() if w != Words()})
            self._saved.update(saved)
            carriers = sorted(i for i in self._own.keys() | self._saved.keys() if self.tags_of(i))
            with_features = [i for i in carriers if i in self._features]
            if with_features:
                self._looks.add(with_features, self._features.vectors(with_features))
            self._word_index.set_many((i, self._keys(i)) for i in carriers)
            for tags in saved.values():
                self._count(tags, +1)

    def add_image(self, image_id: int, words: Words) -> None:
        """Take a new photo's own words in."""
        with self._lock:
            if words != Words():
                self._own[image_id] = words
            if self.tags_of(image_id):
                self._index(image_id)

    def set_saved(self, image_id: int, tags: tuple[str, ...] | None) -> None:
        """Follow a save, or an undo that left the photo unsaved (None)."""
        with self._lock:
            if image_id in self._saved:
                self._count(self._saved.pop(image_id), -1)
            if tags is not None:
                self._saved[image_id] = tags
                self._count(tags, +1)
            if self.tags_of(image_id):
                self._index(image_id)
            else:
                self._looks.remove([image_id])
                self._word_index.remove(image_id)
                for follower in self._followers:
                    follower.remove(image_id)

    def _count(self, tags: tuple[str, ...], change: int) -> None:
        self._autocomplete.count(tags, change)
        if self._meanwhile is not None:
            self._meanwhile.append((tags, change))
        if self._habits is not None:
            self._habits.note(tags, change)

    def _index(self, image_id: int) -> None:
        if image_id in self._features:
            self._looks.add([image_id], self._features.vectors([image_id]))
        self._word_index.set(image_id, self._keys(image_id))
        for follower in self._followers:
            follower.set_many([(image_id, self.words_of(image_id))])

    def _keys(self, image_id: int) -> set[str]:
        return self._own.get(image_id, Words()).keys(self._saved.get(image_id, ()))
