"""Leases: who has which photo open. A photo is shown to a limited number of people at the same time.

The limit is 1, or the number of outstanding responses if several people are asked about the photo. A lease ends some
minutes after the last action of its holder. Leases are kept in memory only: after a restart of the server, or when a
lease is lost, the revision check of the log still prevents that two people overwrite each other's list. Knows nothing
of photos or pages.
"""

import threading
import time
from collections.abc import Callable


class Leases:
    """All leases of one project.

    Args:
        seconds: How long a lease lasts after the last action of its holder.
        clock: Seconds that never go back.
    """

    def __init__(self, seconds: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[int, dict[str, float]] = {}
        """Image id -> holder -> when the lease ends, by the clock; holders in the order of their first lease."""

    def take(self, image_id: int, user: str, places: int = 1) -> bool:
        """Take or renew a lease; a holder may always renew it.

        Args:
            image_id: The photo.
            user: For whom.
            places: How many people may hold this photo now.

        Returns:
            Whether this person holds a lease now; False, and nothing changed, if others hold all places.
        """
        now = self._clock()
        with self._lock:
            held = self._current(image_id)
            if user not in held and len(held) >= places:
                return False
            self._ends[image_id] = {**held, user: now + self.seconds}
            return True

    def holders(self, image_id: int) -> list[str]:
        """Return who holds a lease of a photo now, in the order of their first lease."""
        with self._lock:
            return list(self._current(image_id))

    def is_free(self, image_id: int, user: str, places: int = 1) -> bool:
        """Tell whether this person could take a lease of a photo with so many places."""
        held = self.holders(image_id)
        return user in held or len(held) < places

    def give_back(self, image_id: int, user: str) -> None:
        """End the lease of one person."""
        with self._lock:
            held = self._ends.get(image_id, {})
            held.pop(user, None)
            if not held:
                self._ends.pop(image_id, None)

    def end(self, image_id: int) -> None:
        """End all leases of a photo."""
        with self._lock:
            self._ends.pop(image_id, None)

    def all(self) -> dict[int, list[str]]:
        """Return the holders by image id, and delete the leases that have ended."""
        with self._lock:
            current = {image_id: self._current(image_id) for image_id in self._ends}
            self._ends = {image_id: held for image_id, held in current.items() if held}
            return {image_id: list(held) for image_id, held in self._ends.items()}

    def _current(self, image_id: int) -> dict[str, float]:
        now = self._clock()
        return {user: ends for user, ends in self._ends.get(image_id, {}).items() if ends > now}
