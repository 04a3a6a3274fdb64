"""Which taggers a photo in hand was opened with: another model may go live meanwhile, but not under a person's eyes.

Knows nothing of models or photos.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from annotator.models.tagger import Tagger

MOST_PINS = 256
"""Photos in hand at once, all people and tabs; the longest untouched go first."""


class PinnedTaggers:
    """Taggers by (user, image id)."""

    def __init__(self) -> None:
        self._pins: OrderedDict[tuple[str, int], tuple[Tagger, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def pin(self, user: str, image_id: int, taggers: Sequence[Tagger]) -> None:
        """Note what a photo is opened with."""
        with self._lock:
            self._pins[user, image_id] = tuple(taggers)
            self._pins.move_to_end((user, image_id))
            while len(self._pins) > MOST_PINS:
                self._pins.popitem(last=False)

    def taggers(self, user: str, image_id: int) -> tuple[Tagger, ...] | None:
        """Return what a photo was opened with, if it is in hand."""
        with self._lock:
            return self._pins.get((user, image_id))

    def let_go(self, user: str, image_id: int | None = None) -> None:
        """Forget one photo of a user, or all of them."""
        with self._lock:
            for key in [key for key in self._pins if key[0] == user and image_id in (None, key[1])]:
                del self._pins[key]
