"""How many photos and pixels are decoded at once in this process, each picture once; and the newest pictures made so.

Knows nothing of files or of HTTP.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

AT_ONCE = 2
MAX_PIXELS_IN_FLIGHT = 140_000_000
"""Of all photos that are decoded at once; a single larger one is decoded alone."""
MAX_CACHED_BYTES = 160_000_000


class DecodingBudget:
    """Lets callers decode in the order in which they came, as long as both bounds hold.

    Args:
        at_once: Photos at once.
        max_pixels: Pixels of all of them.
    """

    def __init__(self, at_once: int = AT_ONCE, max_pixels: int = MAX_PIXELS_IN_FLIGHT) -> None:
        self._at_once, self._max_pixels = at_once, max_pixels
        self._changed = threading.Condition()
        self._waiting: OrderedDict[object, None] = OrderedDict()
        self._num_now = self._pixels_now = 0

    @contextmanager
    def hold(self, num_pixels: int) -> Iterator[None]:
        """Wait until a photo of so many pixels may be decoded, and count it until the block ends."""
        num_pixels, ticket = min(num_pixels, self._max_pixels), object()
        with self._changed:
            self._waiting[ticket] = None
            try:
                self._changed.wait_for(lambda: next(iter(self._waiting)) is ticket and self._fits(num_pixels))
                self._num_now += 1
                self._pixels_now += num_pixels
            finally:
                del self._waiting[ticket]
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._num_now -= 1
                self._pixels_now -= num_pixels
                self._changed.notify_all()

    def _fits(self, num_pixels: int) -> bool:
        return self._num_now < self._at_once and self._pixels_now + num_pixels <= self._max_pixels


class MakingLocks:
    """One lock for each picture that is being made, so that callers who want the same one wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        """Wait until nobody else makes the picture of a key, and keep others from making it until the block ends."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            yield


class PictureCache:
    """The pictures that were used last, up to a number of bytes.

    Args:
        max_bytes: Of all of them.
    """

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pictures: OrderedDict[Hashable, bytes] = OrderedDict()
        self.num_bytes = 0

    def get(self, key: Hashable) -> bytes | None:
        """Return a picture; None if it is not among them."""
        with self._lock:
            data = self._pictures.get(key)
            if data is not None:
                self._pictures.move_to_end(key)
            return data

    def put(self, key: Hashable, data: bytes) -> None:
        """Keep a picture, and forget those that were not used for the longest time."""
        with self._lock:
            self.num_bytes -= len(self._pictures.pop(key, b""))
            self._pictures[key] = data
            self.num_bytes += len(data)
            while self.num_bytes > self._max_bytes:
                _, forgotten = self._pictures.popitem(last=False)
                self.num_bytes -= len(forgotten)
