"""Who has which photo open: two people are not given the same one at the same time.

A lease ends by itself some minutes after its holder last did something. Leases live in memory: after a restart of the
server nobody holds any, and the log's revision check alone keeps two people from overwriting each other, as it does
whenever a lease is lost. Knows nothing of photos or pages.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Lease:
    """One photo, held by one person."""

    user: str
    ends: float
    """On the given clock, seconds."""


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
        self._leases: dict[int, Lease] = {}

    def take(self, image_id: int, user: str) -> bool:
        """Take or renew a lease; return False, changing nothing, when somebody else holds it."""
        now = self._clock()
        with self._lock:
            held = self._leases.get(image_id)
            if held is not None and held.ends > now and held.user != user:
                return False
            self._leases[image_id] = Lease(user, now + self.seconds)
            return True

    def holder(self, image_id: int) -> str | None:
        """Return who holds a photo now."""
        with self._lock:
            held = self._leases.get(image_id)
        return held.user if held is not None and held.ends > self._clock() else None

    def is_free(self, image_id: int, user: str) -> bool:
        """Tell whether this person may be given a photo."""
        return self.holder(image_id) in (None, user)

    def give_back(self, image_id: int, user: str) -> None:
        """End a person's lease; somebody else's stays."""
        with self._lock:
            held = self._leases.get(image_id)
            if held is not None and held.user == user:
                del self._leases[image_id]

    def end(self, image_id: int) -> None:
        """End a lease, whoever holds it."""
        with self._lock:
            self._leases.pop(image_id, None)

    def all(self) -> dict[int, Lease]:
        """Return the leases that stand, by image; those that are over are forgotten."""
        now = self._clock()
        with self._lock:
            self._leases = {image_id: held for image_id, held in self._leases.items() if held.ends > now}
            return dict(self._leases)
