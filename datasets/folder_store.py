"""Files below a folder of this machine, with the calls of remote_store.RemoteStore; and the choice between the two.

A file is written under another name and renamed when it is on the disk, so that it is there whole or not at all. Knows
nothing of what the files are.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from annotator.datasets.photo_roots import typed_root
from annotator.datasets.remote_store import RemoteFile, RemoteStore
from annotator.errors import ConfigError, RemoteError

UNFINISHED = ".part"
"""End of the name of a file that is being written."""
WRITABLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Schemes of stores that can be written; ``memory`` is the process's own, for tests."""
Result = TypeVar("Result")


class FolderStore:
    """The files below a folder; it is made when the first one is written. Only this user may read what is written.

    Args:
        url: The folder.
    """

    def __init__(self, url: Path) -> None:
        self.url = url

    def list_folder(self, folder: str) -> list[RemoteFile]:
        """Return what is directly in a folder.

        Args:
            folder: Relative to the store's folder; empty for that folder itself.

        Raises:
            RemoteError: There is no such folder, or it cannot be read.
        """

        def look() -> list[RemoteFile]:
            with os.scandir(self.url / folder) as found:
                statuses = [(entry.name, entry.is_dir(), entry.stat()) for entry in found]
            return [
                RemoteFile(name, is_folder, 0 if is_folder else status.st_size, status.st_mtime_ns)
                for name, is_folder, status in statuses
            ]

        return _tried(look, self.url / folder, "read")

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the bytes of a file, at most one more than `max_bytes` of them.

        Raises:
            RemoteError: There is no such file, or it cannot be read.
        """

        def read() -> bytes:
            with open(self.url / path, "rb") as file:
                return file.read(max_bytes + 1)

        return _tried(read, self.url / path, "read")

    def size_of(self, path: str) -> int | None:
        """Return the size of a file in bytes; None if it is not there.

        Raises:
            RemoteError: The folder cannot be read.
        """

        def look() -> int | None:
            try:
                return (self.url / path).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

        return _tried(look, self.url / path, "read")

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in place of the one that is there; it is on the disk when this returns.

        Raises:
            RemoteError: The disk is full, or refuses.
        """

        def write() -> None:
            target = self.url / path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = target.with_name(f".{target.name}.{os.getpid()}{UNFINISHED}")
            try:
                with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
            _sync(target.parent)

        _tried(write, self.url / path, "written")

    def delete(self, path: str) -> None:
        """Delete a file, if it is there.

        Raises:
            RemoteError: The disk refuses.
        """
        _tried(lambda: (self.url / path).unlink(missing_ok=True), self.url / path, "deleted")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tried(call: Callable[[], Result], what: Path, how: str) -> Result:
    try:
        return call()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RemoteError(f"{what} is not there.", is_missing=True) from error
    except OSError as error:
        advice = " Free some space." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise RemoteError(f"{what} cannot be {how}: {error.strerror}.{advice}") from error


ObjectStore = FolderStore | RemoteStore
"""Files that are written and read whole, by their path below a folder or URL."""


def typed_store(text: str, *, writes: bool) -> ObjectStore:
    """Return the store that a person has named: a folder of this machine, or a URL.

    Args:
        text: As of `photo_roots.typed_root`.
        writes: Whether files will be written.

    Raises:
        ConfigError: The URL is of no known store, is an archive, or of a store that cannot be written.
    """
    root = typed_root(text)
    if isinstance(root, Path):
        return FolderStore(root)
    scheme = root.text.partition("://")[0].lower()
    if root.is_archive or (writes and scheme not in WRITABLE):
        raise ConfigError(f"{root} cannot be written. Name a folder, or a URL of: {', '.join(WRITABLE[:-1])}.")
    return RemoteStore(root)
