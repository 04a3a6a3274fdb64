"""The taggers that each open photo was opened with: a model that goes live later does not change its proposals.

Knows nothing of models or photos.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from annotator.models.tagger import Tagger

MOST_PINS = 256
"""Most open photos of all users and tabs; the least recently opened are forgotten first."""


class PinnedTaggers:
    """Taggers by (user, image id)."""

    def __init__(self) -> None:
        self._pins: OrderedDict[tuple[str, int], tuple[Tagger, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def pin(self, user: str, image_id: int, taggers: Sequence[Tagger]) -> None:
        """Store the taggers with which a user opens a photo."""
        with self._lock:
            self._pins[user, image_id] = tuple(taggers)
            self._pins.move_to_end((user, image_id))
            while len(self._pins) > MOST_PINS:
                self._pins.popitem(last=False)

    def taggers(self, user: str, image_id: int) -> tuple[Tagger, ...] | None:
        """Return the taggers with which a photo was opened; None if it is not open."""
        with self._lock:
            return self._pins.get((user, image_id))

    def unpin(self, user: str, image_id: int | None = None) -> None:
        """Forget one photo of a user, or all of them where `image_id` is None."""
        with self._lock:
            for key in [key for key in self._pins if key[0] == user and image_id in (None, key[1])]:
                del self._pins[key]
