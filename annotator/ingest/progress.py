"""The progress of an ingest. Knows nothing of files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NotMounted:
    """A folder of the project that is missing or holds no photo, as that of a disk that is not mounted."""

    folder: str
    num_photos: int
    """Photos that have files in this folder and in no other."""


@dataclass(frozen=True)
class IngestProgress:
    """Progress of a run."""

    running: bool = False
    num_found: int = 0
    """Possible photo files found so far."""
    num_done: int = 0
    """Of these, files that are done: known before, ingested, or unreadable."""
    num_new: int = 0
    """Images added by this run."""
    photos_per_second: float = 0.0
    seconds_left: float | None = None
    error: str | None = None
    """Why the run stopped before its end, or None."""
    num_changed: int = 0
    """Known images in whose files this run found other pixels."""
    not_mounted: tuple[NotMounted, ...] = ()


class ProgressCounter:
    """Counts for the progress of a run."""

    def __init__(self) -> None:
        self.num_found = self.num_done = self.num_new = self.num_changed = self._num_read = 0
        self._started = time.monotonic()

    def found(self, num: int) -> None:
        """Count files that were found."""
        self.num_found += num

    def done(self, num: int, num_new: int | None = None) -> None:
        """Count files that are done; with ``num_new``, files that were read."""
        self.num_done += num
        if num_new is not None:
            self.num_new += num_new
            self._num_read += num

    def progress(
        self, *, running: bool, error: str | None = None, not_mounted: Sequence[NotMounted] = ()
    ) -> IngestProgress:
        """Return the progress."""
        seconds = time.monotonic() - self._started
        speed = self._num_read / seconds if seconds > 0.2 else 0.0
        left = (self.num_found - self.num_done) / speed if speed and running else None
        return IngestProgress(
            running=running,
            num_found=self.num_found,
            num_done=self.num_done,
            num_new=self.num_new,
            photos_per_second=round(speed, 1),
            seconds_left=round(left, 1) if left is not None else None,
            error=error,
            num_changed=self.num_changed,
            not_mounted=tuple(not_mounted),
        )
