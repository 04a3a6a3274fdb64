"""Limits of the hosted demo: sizes, numbers, times, and calls a second.

Knows nothing of HTTP or of projects.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from annotator.ranges import check_range

MAX_KEYS = 20_000
"""Callers that a limiter remembers; the one idle the longest is forgotten and starts with a full bucket."""


@dataclass(frozen=True)
class HostedLimits:
    """The limits of a hosted demo."""

    num_visitors: int = 12
    """Spaces at a time; further visitors wait in a queue."""
    num_open: int = 12
    """Spaces in memory; the least recently used one is closed for another (30 MiB each,
    docs/experiments/load.md)."""
    minutes: float = 60.0
    """Lifetime of a space."""
    idle_minutes: float = 20.0
    """A space without a call for so long ends earlier."""
    num_photos: int = 24
    """Photos in a space."""
    max_photo_bytes: int = 15_000_000
    max_photo_pixels: int = 25_000_000
    """Twice as many for a JPEG that is not progressive, which is decoded at half size."""
    decoder_bytes: int = 700_000_000
    """Address space of the process that decodes a photo. A WebP of 25 megapixels takes nearly all of it, one with
    transparency needs more and is refused."""
    decoder_seconds: float = 30.0
    uploads_at_once: int = 2
    """Of one space; further ones are refused before they are read."""
    longest_side: int = 2048
    """Of the stored copy of a photo, in pixels."""
    max_space_bytes: int = 250_000_000
    """All files of a space: photos, database, models."""
    max_body_bytes: int = 200_000
    """Of a call other than an upload."""
    visitors_an_address: int = 4
    """Spaces at a time from one address."""
    entries_an_hour: int = 20
    """New spaces an hour from one address."""
    calls_a_second: float = 15.0
    """Of one visitor, on average."""
    calls_at_once: int = 150
    """Of one visitor, after a pause that fills the bucket."""
    connections_an_address: int = 60
    num_waiting: int = 200
    """Browsers in the queue."""
    waiting_seconds: float = 45.0
    """A browser that has not asked again for so long leaves the queue."""
    num_trainings: int = 5
    """Trainings of one space."""
    training_epochs: int = 4
    training_seconds: float = 180.0
    """A training that takes longer is ended."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("num_visitors", 1, 1000),
            ("num_open", 1, 1000),
            ("minutes", 0.1, 10_000),
            ("idle_minutes", 0.1, 10_000),
            ("num_photos", 1, 1000),
            ("visitors_an_address", 1, 1000),
        ):
            check_range(self, name, low, high)


class RateLimiter:
    """Token buckets, one a key: `burst` calls at once, refilled by `rate` a second.

    Args:
        rate: Calls a second on average.
        burst: Calls after a pause.
        clock: Seconds; any clock that does not jump.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (calls left, when)

    def take(self, key: str) -> float:
        """Count a call; return 0 if it is allowed, else the seconds until the next one is."""
        with self._lock:
            now = self._clock()
            left, since = self._buckets.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._rate)
            wait = 0.0 if left >= 1 else (1 - left) / self._rate
            self._buckets[key] = (left if wait else left - 1, now)
            if len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)
        return wait
