"""The queue of images: which ones are open, saved or skipped, and which open one is next.

First in the order of a query strategy (active_learning/scheduler.py), then in the order of the folder; skipped images
are last. Knows nothing of the database, nor of how an order is computed.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


class PhotoQueue:
    """Images in folder order; the unsaved ones are presented, in a strategy's order if there is one.

    One byte for each position has the state of its image: 100,000 images take 100 KB, and the next open one is found
    by a memory scan.

    Args:
        place: Image id -> its place in the folder order, to compare with others; by default the id.
    """

    _OPEN, _SAVED, _SKIPPED = 0, 1, 2

    def __init__(self, place: Callable[[int], Any] = lambda image_id: image_id) -> None:
        self._place = place
        self._places: list[Any] = []
        self._state = bytearray()
        self._skipped: dict[int, None] = {}
        self._ids: list[int] = []
        self._position: dict[int, int] = {}
        self._order: tuple[int, ...] = ()
        self._arrays = np.empty(0, np.int32), np.empty(0, np.int32)
        """Image ids in folder order, and by image id the position, or -1; made anew when it is asked for."""
        self._lock = threading.RLock()
        self.num_saved = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._position

    def add(self, image_ids: Iterable[int]) -> None:
        """Add images at their places; those that are present already keep theirs."""
        with self._lock:
            new = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in self._position]
            placed = sorted(zip(map(self._place, new), new, strict=True))
            if placed and self._places and placed[0][0] < self._places[-1]:
                self._insert(placed)
                return
            for place, image_id in placed:
                self._places.append(place)
                self._state.append(self._OPEN)
                self._position[image_id] = len(self._ids)
                self._ids.append(image_id)

    def in_order(self, image_ids: Ids) -> Ids:
        """Return those of some images that are in the queue, in folder order."""
        with self._lock:
            ids, positions = self._arrays
            if len(ids) != len(self._ids):
                ids = np.array(self._ids, np.int32)
                positions = np.full(int(ids.max()) + 1, -1, np.int32)
                positions[ids] = np.arange(len(ids))
                self._arrays = ids, positions
        found = positions[image_ids[image_ids < len(positions)]]
        return ids[np.sort(found[found >= 0])]

    def _insert(self, placed: Sequence[tuple[Any, int]]) -> None:
        """Insert images between others: all lists are made anew, since other threads read them without the lock."""
        state = dict(zip(self._ids, self._state, strict=True))
        everything = sorted([*zip(self._places, self._ids, strict=True), *placed])
        ids = [image_id for _, image_id in everything]
        self._places = [place for place, _ in everything]
        self._state = bytearray(state.get(image_id, self._OPEN) for image_id in ids)
        self._ids, self._position = ids, {image_id: position for position, image_id in enumerate(ids)}

    def mark(self, image_id: int, *, saved: bool) -> None:
        """Mark an image as saved, or as open again."""
        with self._lock:
            position = self._position[image_id]
            self.num_saved += int(saved) - int(self._state[position] == self._SAVED)
            self._skipped.pop(image_id, None)
            self._state[position] = self._SAVED if saved else self._OPEN

    def skip(self, image_id: int) -> None:
        """Skip an image until no other is open; a saved one remains saved."""
        with self._lock:
            position = self._position[image_id]
            if self._state[position] != self._SAVED:
                self._skipped.pop(image_id, None)
                self._skipped[image_id] = None
                self._state[position] = self._SKIPPED

    def set_order(self, image_ids: Sequence[int]) -> None:
        """Present these images before all others, in this order; empty: the order of the folder."""
        with self._lock:
            self._order = tuple(image_id for image_id in image_ids if image_id in self._position)

    def open_ids(self) -> list[int]:
        """Return every image that is neither saved nor skipped, in folder order."""
        with self._lock:
            return [image_id for image_id, state in zip(self._ids, self._state, strict=True) if state == self._OPEN]

    def upcoming(self) -> Iterator[int]:
        """Yield every image that is neither saved nor skipped when its turn comes, in the order of presentation."""
        with self._lock:
            order, ids = self._order, list(self._ids)
        first = set(order)
        for image_id in (*order, *(image_id for image_id in ids if image_id not in first)):
            if self.is_open(image_id):
                yield image_id

    def saved_ids(self) -> list[int]:
        """Return every image that is saved, in folder order."""
        with self._lock:
            return [image_id for image_id, state in zip(self._ids, self._state, strict=True) if state == self._SAVED]

    def is_saved(self, image_id: int) -> bool:
        """Tell whether an image is saved."""
        return self._has(image_id, self._SAVED)

    def is_open(self, image_id: int) -> bool:
        """Tell whether an image is neither saved nor skipped."""
        return self._has(image_id, self._OPEN)

    def is_skipped(self, image_id: int) -> bool:
        """Tell whether an image is skipped."""
        return self._has(image_id, self._SKIPPED)

    def _has(self, image_id: int, state: int) -> bool:
        with self._lock:
            position = self._position.get(image_id)
            return position is not None and self._state[position] == state

    def position(self, image_id: int) -> int:
        """Return the 0-based position of an image in the folder order."""
        return self._position[image_id]

    def at(self, position: int) -> int:
        """Return the image at a position."""
        return self._ids[position]

    def window(self, start: int, stop: int) -> list[int]:
        """Return the images at the positions start .. stop - 1, as far as they exist."""
        return self._ids[max(0, start) : max(0, stop)]

    def next_open(self, after: int | None, is_free: Callable[[int], bool] = lambda image_id: True) -> int | None:
        """Return the next image to present.

        Args:
            after: The image presented before; in folder order the search wraps around. None: from the beginning.
            is_free: Returns whether an image may be presented.

        Returns:
            The first open image of the strategy's order other than ``after``; if there is none, an open image after
            that one in folder order, or before it, or the image skipped the longest ago, or None.
        """
        with self._lock:
            for image_id in self._order:
                if self._state[self._position[image_id]] == self._OPEN and image_id != after and is_free(image_id):
                    return image_id
            start = self._position.get(after, -1) + 1 if after is not None else 0
            found = self._find_open(start, len(self._state), is_free)
            if found is None:
                found = self._find_open(0, start, is_free)
            if found is not None and found != after:
                return found
            for image_id in self._skipped:
                if image_id != after and is_free(image_id):
                    return image_id
            return after if after in self._skipped or found == after else None

    def _find_open(self, start: int, stop: int, is_free: Callable[[int], bool]) -> int | None:
        found = self._state.find(self._OPEN, start, stop)
        while found >= 0 and not is_free(self._ids[found]):
            found = self._state.find(self._OPEN, found + 1, stop)
        return self._ids[found] if found >= 0 else None
