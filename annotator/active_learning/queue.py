"""Which images are open, saved or put off, and which open one comes next.

Follows the order that a query strategy made (active_learning/scheduler.py), then the order of the folder; images that were put off
come last. Knows nothing of the store, nor of why an order is as it is.
"""

import threading
from collections.abc import Callable, Iterable, Sequence


class PhotoQueue:
    """Images in folder order; those not saved yet come up, in a strategy's order if there is one.

    Image ids are small positive integers given out in folder order, so a byte an image is enough: 100,000 images
    take 100 KB and the next open one is found by a memory scan.
    """

    _OPEN, _SAVED, _SKIPPED, _ABSENT = 0, 1, 2, 3

    def __init__(self) -> None:
        self._state = bytearray([self._ABSENT])
        self._skipped: dict[int, None] = {}
        self._ids: list[int] = []
        self._place: dict[int, int] = {}
        self._order: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self.num_saved = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._place

    def add(self, image_ids: Iterable[int]) -> None:
        """Append images; ids already present stay where they are."""
        with self._lock:
            for image_id in image_ids:
                if image_id in self._place:
                    continue
                if image_id >= len(self._state):
                    self._state.extend([self._ABSENT] * (image_id + 1 - len(self._state)))
                self._state[image_id] = self._OPEN
                self._place[image_id] = len(self._ids)
                self._ids.append(image_id)

    def mark(self, image_id: int, *, saved: bool) -> None:
        """Note that an image is saved, or open again."""
        with self._lock:
            self.num_saved += int(saved) - int(self._state[image_id] == self._SAVED)
            self._skipped.pop(image_id, None)
            self._state[image_id] = self._SAVED if saved else self._OPEN

    def skip(self, image_id: int) -> None:
        """Put an image off until no other is open; a saved one stays saved."""
        with self._lock:
            if self._state[image_id] != self._SAVED:
                self._skipped.pop(image_id, None)
                self._skipped[image_id] = None
                self._state[image_id] = self._SKIPPED

    def set_order(self, image_ids: Sequence[int]) -> None:
        """Let these images come up before all others, in this order; none means the order of the folder."""
        with self._lock:
            self._order = tuple(image_id for image_id in image_ids if image_id in self._place)

    def open_ids(self) -> list[int]:
        """Return every image that is neither saved nor put off, in folder order."""
        with self._lock:
            return [image_id for image_id in self._ids if self._state[image_id] == self._OPEN]

    def saved_ids(self) -> list[int]:
        """Return every image that is saved, in folder order."""
        with self._lock:
            return [image_id for image_id in self._ids if self._state[image_id] == self._SAVED]

    def is_saved(self, image_id: int) -> bool:
        """Tell whether an image is saved."""
        return self._state[image_id] == self._SAVED

    def is_open(self, image_id: int) -> bool:
        """Tell whether an image is neither saved nor put off."""
        return self._state[image_id] == self._OPEN

    def position(self, image_id: int) -> int:
        """Return the 0-based place of an image in the folder order."""
        return self._place[image_id]

    def at(self, position: int) -> int:
        """Return the image at a place."""
        return self._ids[position]

    def window(self, start: int, stop: int) -> list[int]:
        """Return the images at the places start .. stop - 1, as far as they exist."""
        return self._ids[max(0, start) : max(0, stop)]

    def next_open(self, after: int | None, is_free: Callable[[int], bool] = lambda image_id: True) -> int | None:
        """Return the next image to ask about.

        Args:
            after: The image just left; in folder order the search wraps round. None starts at the beginning.
            is_free: Tells of an image whether it may be given out.

        Returns:
            The first open image of the order but the one just left; without any, an open image after that one in the
            folder, else an open one before it, else the one put off longest ago, else None.
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
