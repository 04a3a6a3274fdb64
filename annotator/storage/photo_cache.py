"""Files of photos that lie elsewhere, kept on the disk by the hash of their bytes, up to a number of bytes.

Knows nothing of where they lie.
"""

import hashlib
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from annotator.storage.project import write_atomically

logger = logging.getLogger(__name__)

ROOM = 0.9
"""Share of the most bytes that is left after the files read longest ago were deleted."""


class PhotoCache:
    """A bounded folder of files. Thread-safe; a disk that cannot be written costs only time.

    Args:
        folder: Made when the first file is kept.
        max_bytes: Of all files together; a larger file is not kept.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._num_bytes: int | None = None  # unknown before the first file is kept

    def get(self, digest: str) -> bytes | None:
        """Return the bytes with a SHA-256; None if they are not here, or damaged."""
        path = self._folder / digest
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:  # cut by a power loss
            return None
        with suppress(OSError):
            os.utime(path)
        return data

    def put(self, digest: str, data: bytes) -> None:
        """Keep bytes by their SHA-256."""
        if len(data) > self._max_bytes:
            return
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self._folder / digest, data)
                self._num_bytes = self._num_bytes + len(data) if self._num_bytes is not None else self._measured()
                if self._num_bytes > self._max_bytes:
                    self._num_bytes = self._delete_oldest()
            except OSError as error:
                logger.warning("A photo could not be kept in %s: %s", self._folder, error.strerror)

    def _measured(self) -> int:
        return sum(path.stat().st_size for path in self._folder.iterdir())

    def _delete_oldest(self) -> int:
        """Delete the files that were read longest ago; return the bytes of those that stay."""
        known = [(path.stat(), path) for path in self._folder.iterdir()]
        files = sorted((status.st_mtime_ns, status.st_size, path) for status, path in known)
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= ROOM * self._max_bytes:
                break
            path.unlink(missing_ok=True)
            left -= size
        return left
