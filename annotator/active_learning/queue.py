"""The queue of images: which ones are open, saved or skipped, and which open one is next.

First in the order of a query strategy (active_learning/scheduler.py), then in the order of the folder; skipped images
are last. Knows nothing of the database, nor of how an order is computed.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence


class PhotoQueue:
    """Images in folder order; the unsaved ones are presented, in a strategy's order if there is one.

    Image ids are small positive integers assigned in folder order, so one byte per image is enough: 100,000 images
    take 100 KB, and the next open one is found by a memory scan.
    """

    _OPEN, _SAVED, _SKIPPED, _ABSENT = 0, 1, 2, 3

    def __init__(self) -> None:
        self._state = bytearray([self._ABSENT])
        self._skipped: dict[int, None] = {}
        self._ids: list[int] = []
        self._position: dict[int, int] = {}
        self._order: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self.num_saved = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._position

    def add(self, image_ids: Iterable[int]) -> None:
        """Append images; ids that are present already keep their positions."""
        with self._lock:
            for image_id in image_ids:
                if image_id in self._position:
                    continue
                if image_id >= len(self._state):
                    self._state.extend([self._ABSENT] * (image_id + 1 - len(self._state)))
                self._state[image_id] = self._OPEN
                self._position[image_id] = len(self._ids)
                self._ids.append(image_id)

    def mark(self, image_id: int, *, saved: bool) -> None:
        """Mark an image as saved, or as open again."""
        with self._lock:
            self.num_saved += int(saved) - int(self._state[image_id] == self._SAVED)
            self._skipped.pop(image_id, None)
            self._state[image_id] = self._SAVED if saved else self._OPEN

    def skip(self, image_id: int) -> None:
        """Skip an image until no other is open; a saved one remains saved."""
        with self._lock:
            if self._state[image_id] != self._SAVED:
                self._skipped.pop(image_id, None)
                self._skipped[image_id] = None
                self._state[image_id] = self._SKIPPED

    def set_order(self, image_ids: Sequence[int]) -> None:
        """Present these images before all others, in this order; empty: the order of the folder."""
        with self._lock:
            self._order = tuple(image_id for image_id in image_ids if image_id in self._position)

    def open_ids(self) -> list[int]:
        """Return every image that is neither saved nor skipped, in folder order."""
        with self._lock:
            return [image_id for image_id in self._ids if self._state[image_id] == self._OPEN]

    def upcoming(self) -> Iterator[int]:
        """Yield every image that is neither saved nor skipped, in the order of presentation, as it is now."""
        with self._lock:
            order, ids, state = self._order, self._ids, bytes(self._state)
        first = set(order)
        for image_id in (*order, *(image_id for image_id in ids if image_id not in first)):
            if state[image_id] == self._OPEN:
                yield image_id

    def saved_ids(self) -> list[int]:
        """Return every image that is saved, in folder order."""
        with self._lock:
            return [image_id for image_id in self._ids if self._state[image_id] == self._SAVED]

    def is_saved(self, image_id: int) -> bool:
        """Tell whether an image is saved."""
        return self._state[image_id] == self._SAVED

    def is_open(self, image_id: int) -> bool:
        """Tell whether an image is neither saved nor skipped."""
        return self._state[image_id] == self._OPEN

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
                if self._state[image_id] == self._OPEN and image_id != after and is_free(image_id):
                    return image_id
            start = after + 1 if after is not None else 0
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
        while found >= 0 and not is_free(found):
            found = self._state.find(self._OPEN, found + 1, stop)
        return found if found >= 0 else None
