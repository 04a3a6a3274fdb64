"""Photos with common words: exact Jaccard neighbours of word sets.

A sparse inverted index in numpy arrays that only grow: each set of words gets the next slot, and each word has a list
of the slots that contain it. A replaced or removed set leaves a dead slot; the index is compacted when there are many.
Words are compared as exact strings; the caller normalises them. Knows nothing of the source of words.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.rwlock import ReadWriteLock

CHUNK_SIZE = 5_000
"""Sets that ``set_many`` adds while it holds the lock once."""
MIN_DEAD = 10_000
"""The index is compacted when there are at least this many dead slots, and more dead than live ones."""
_SAMPLING = 16

Ids32 = npt.NDArray[np.int32]
Counts = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class MetadataNeighbour:
    """An image that shares words with the query."""

    image_id: int
    similarity: float
    """Jaccard index: common words over words of either, in (0, 1]."""
    shared: tuple[str, ...]
    """The common words, in alphabetical order."""


class _Column:
    """A numpy column that grows by doubling."""

    def __init__(self, dtype: npt.DTypeLike, capacity: int = 4) -> None:
        self._values: npt.NDArray[Any] = np.empty(capacity, dtype=dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> npt.NDArray[Any]:
        return self._values[: self._size]

    def extend(self, values: npt.NDArray[Any]) -> None:
        size = self._size + len(values)
        if size > len(self._values):
            grown = np.empty(max(size, 2 * len(self._values)), dtype=self._values.dtype)
            grown[: self._size] = self.values
            self._values = grown
        self._values[self._size : size] = values
        self._size = size


class KeywordIndex:
    """Word sets of images. Any method may be called from any thread; searches continue during changes."""

    def __init__(self) -> None:
        self._lock = ReadWriteLock()
        self._word_ids: dict[str, int] = {}
        self._words: list[str] = []
        self._clear()

    def __len__(self) -> int:
        return len(self._slot_of)

    def set(self, image_id: int, words: Collection[str]) -> None:
        """Set the words of an image, replacing earlier ones; the empty set is a set like any other."""
        self.set_many([(image_id, words)])

    def set_many(self, sets: Iterable[tuple[int, Collection[str]]]) -> None:
        """Set the words of many images, in order; of equal image ids the last counts.

        Args:
            sets: (image id, words) pairs.
        """
        chunk: dict[int, Collection[str]] = {}
        for image_id, words in sets:
            if isinstance(words, str):
                raise TypeError(f"Words must be a collection of strings, got the string {words!r}.")
            chunk[image_id] = words
            if len(chunk) == CHUNK_SIZE:
                self._add(chunk)
                chunk = {}
        if chunk:
            self._add(chunk)

    def remove(self, image_id: int) -> None:
        """Remove an image; an unknown one is ignored."""
        with self._lock.exclusive():
            self._remove_slots([image_id])

    def words(self, image_id: int) -> tuple[str, ...]:
        """Return an image's words in alphabetical order; none for an unknown image."""
        with self._lock.shared():
            slot = self._slot_of.get(image_id)
            return () if slot is None else self._sorted_words(self._word_ids_in(slot).tolist())

    def search(self, words: Collection[str], k: int, *, exclude: Collection[int] = ()) -> list[MetadataNeighbour]:
        """Find the k images with the most similar word sets.

        Args:
            words: The query; repeated words count once.
            k: Number of neighbours, at least 1.
            exclude: Image ids that are not returned.

        Returns:
            At most k neighbours with a common word, most similar first, equal ones by image id.

        Raises:
            ValueError: k is below 1.
        """
        if k < 1:
            raise ValueError(f"At least one neighbour must be asked for, got k = {k}.")
        query = set(words)
        with self._lock.shared():
            asked = {self._word_ids[word] for word in query if word in self._word_ids}
            known = np.array(sorted(asked), np.int32)
            counts = self._count(known)
            counts[[self._slot_of[image] for image in exclude if image in self._slot_of]] = 0
            return [
                MetadataNeighbour(
                    int(self._images.values[slot]),
                    float(similarity),
                    self._sorted_words(asked.intersection(self._word_ids_in(slot).tolist())),
                )
                for slot, similarity in self._best(counts, len(query), k)
            ]

    def _count(self, word_ids: Ids32) -> Counts:
        """Return how many of these words each slot contains: (S,)."""
        counts: Counts = np.zeros(len(self._sizes), dtype=np.uint8 if len(word_ids) < 256 else np.uint32)
        for word_id in word_ids:
            counts[self._postings[word_id].values] += 1  # a slot occurs once in a posting list
        return counts

    def _best(self, counts: Counts, num_words: int, k: int) -> list[tuple[int, float]]:
        """Return at most k (slot, similarity) pairs, most similar first, equal ones by image id."""
        either = self._sizes.values + np.float32(num_words)  # (S,), infinite for dead slots
        similarities = counts.astype(np.float32)
        either -= similarities
        np.maximum(either, 1, out=either)  # an empty set and an empty query: 0 / 1
        similarities /= either
        # Single precision may make two similarities equal but never reverses their order, so it is safe for
        # discarding slots.
        slots = _largest(similarities, k)
        shared = counts[slots].astype(np.float64)
        exact = shared / (self._sizes.values[slots].astype(np.float64) + num_words - shared)
        images = self._images.values[slots]
        if len(slots) > k:
            last = np.partition(exact, len(exact) - k)[len(exact) - k]
            above, tied = np.flatnonzero(exact > last), np.flatnonzero(exact == last)
            wanted = k - len(above)
            chosen = np.concatenate([above, tied[np.argpartition(images[tied], wanted - 1)[:wanted]]])
            slots, exact, images = slots[chosen], exact[chosen], images[chosen]
        order = np.lexsort((images, -exact))
        return [(int(slots[row]), float(exact[row])) for row in order]

    def _word_ids_in(self, slot: int) -> Ids32:
        start, end = self._ends.values[slot : slot + 2]
        word_ids: Ids32 = self._forward.values[start:end]
        return word_ids

    def _sorted_words(self, word_ids: Iterable[int]) -> tuple[str, ...]:
        return tuple(sorted(self._words[word_id] for word_id in word_ids))

    def _add(self, sets: dict[int, Collection[str]]) -> None:
        with self._lock.exclusive():
            self._remove_slots(sets)
            word_ids = [[self._word_id(word) for word in dict.fromkeys(words)] for words in sets.values()]
            self._append(
                np.fromiter(sets, np.int64, len(sets)),
                np.fromiter(map(len, word_ids), np.int64, len(sets)),
                np.fromiter(chain.from_iterable(word_ids), np.int32),
            )

    def _word_id(self, word: str) -> int:
        word_id = self._word_ids.setdefault(word, len(self._words))
        if word_id == len(self._words):
            self._words.append(word)
            self._postings.append(_Column(np.int32))
        return word_id

    def _append(self, images: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], forward: Ids32) -> None:
        """Assign the next slots to N images.

        Args:
            images: (N,) image ids, none of them in a live slot.
            sizes: (N,) number of words of each.
            forward: (sum of sizes,) word ids, image by image, each at most once per image.
        """
        first = len(self._images)
        slots = np.arange(first, first + len(images), dtype=np.int32)
        self._slot_of.update(zip(images.tolist(), slots.tolist(), strict=True))
        self._images.extend(images)
        self._sizes.extend(sizes)
        self._ends.extend(self._ends.values[-1] + np.cumsum(sizes))
        self._forward.extend(forward)
        by_word = np.argsort(forward, kind="stable")
        word_ids, starts = np.unique(forward[by_word], return_index=True)
        posted = np.split(np.repeat(slots, sizes)[by_word], starts[1:])
        for word_id, slots_of_word in zip(word_ids, posted, strict=False):  # without words, one empty part remains
            self._postings[word_id].extend(slots_of_word)

    def _remove_slots(self, images: Iterable[int]) -> None:
        slots = [slot for slot in (self._slot_of.pop(image, None) for image in images) if slot is not None]
        self._sizes.values[slots] = np.inf  # similarity 0 to every query
        num_dead = len(self._images) - len(self._slot_of)
        if num_dead >= MIN_DEAD and num_dead > len(self._slot_of):
            self._compact()

    def _compact(self) -> None:
        """Remove the dead slots."""
        is_live = np.isfinite(self._sizes.values)
        lengths = np.diff(self._ends.values)
        images, forward = self._images.values[is_live], self._forward.values[np.repeat(is_live, lengths)]
        self._clear()
        self._append(images, lengths[is_live], forward)

    def _clear(self) -> None:
        self._slot_of: dict[int, int] = {}
        self._postings = [_Column(np.int32) for _ in self._words]  # word id -> slots that contain it
        self._images = _Column(np.int64)  # slot -> image id
        self._sizes = _Column(np.float32)  # slot -> number of words, infinite when dead
        self._forward = _Column(np.int32)  # word ids, slot after slot
        self._ends = _Column(np.int64)  # slot s has forward[ends[s]:ends[s + 1]]
        self._ends.extend(np.zeros(1, np.int64))


def _largest(values: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Return the indices of the k largest positive values and of all values equal to the smallest of these."""
    # The k-th largest of a sample is a lower bound of the k-th largest of all, at a sixteenth of the cost.
    bound = _kth_largest(values[::_SAMPLING], k)
    indices = np.flatnonzero(values >= bound if bound > 0 else values > 0)
    return indices[values[indices] >= _kth_largest(values[indices], k)]


def _kth_largest(values: npt.NDArray[np.float32], k: int) -> float:
    """Return the k-th largest value, or 0 if there are fewer values."""
    return float(np.partition(values, len(values) - k)[len(values) - k]) if len(values) >= k else 0.0
