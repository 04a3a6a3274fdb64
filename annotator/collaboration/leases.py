"""Who has which photo open: no more people are given one at the same time than it has places.

A photo has one place, or as many as people are to answer it, each for themselves. A lease ends by itself some minutes
after its holder last did something. Leases live in memory: after a restart of the server nobody holds any, and the
log's revision check alone keeps two people from overwriting each other, as it does whenever a lease is lost. Knows
nothing of photos or pages.
"""

import threading
import time
from collections.abc import Callable


class Leases:
    """All leases of one project.

    Args:
        seconds: How long a lease lasts after its holder's last sign of life.
        clock: Seconds that never go back.
    """

    def __init__(self, seconds: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[int, dict[str, float]] = {}
        """Photo -> holder -> when the lease ends, on the clock; holders in the order in which they came."""

    def take(self, image_id: int, user: str, places: int = 1) -> bool:
        """Take or renew a lease; who holds one may always renew it.

        Args:
            image_id: The photo.
            user: For whom.
            places: How many people may hold this photo now.

        Returns:
            Whether they hold it now; False, and nothing changed, when others have all places.
        """
        now = self._clock()
        with self._lock:
            held = self._standing(image_id)
            if user not in held and len(held) >= places:
                return False
            self._ends[image_id] = {**held, user: now + self.seconds}
            return True

    def holders(self, image_id: int) -> list[str]:
        """Return who holds a photo now, in the order in which they came."""
        with self._lock:
            return list(self._standing(image_id))

    def is_free(self, image_id: int, user: str, places: int = 1) -> bool:
        """Tell whether this person may be given a photo that so many may hold."""
        held = self.holders(image_id)
        return user in held or len(held) < places

    def give_back(self, image_id: int, user: str) -> None:
        """End a person's lease; those of others stay."""
        with self._lock:
            held = self._ends.get(image_id, {})
            held.pop(user, None)
            if not held:
                self._ends.pop(image_id, None)

    def end(self, image_id: int) -> None:
        """End all leases of a photo, whoever holds them."""
        with self._lock:
            self._ends.pop(image_id, None)

    def all(self) -> dict[int, list[str]]:
        """Return who holds what, by image; leases that are over are forgotten."""
        with self._lock:
            standing = {image_id: self._standing(image_id) for image_id in self._ends}
            self._ends = {image_id: held for image_id, held in standing.items() if held}
            return {image_id: list(held) for image_id, held in self._ends.items()}

    def _standing(self, image_id: int) -> dict[str, float]:
        now = self._clock()
        return {user: ends for user, ends in self._ends.get(image_id, {}).items() if ends > now}
