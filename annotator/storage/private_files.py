"""Files that are their owner's alone, and how long others keep out of a project.

DuckDB makes its files, and a write-ahead log again and again, with the permissions that the process gives to all.
Knows nothing of what is in a project.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator.errors import ProjectError

logger = logging.getLogger(__name__)

_PRIVATE = 0o077
_users_mask: int | None = None
"""The process's own mask while `private_files` is in effect."""


@contextmanager
def private_files() -> Iterator[None]:
    """Let every file that this process makes be its owner's alone, but those made with `shared_mode`."""
    global _users_mask
    before, was = os.umask(_PRIVATE), _users_mask
    if was is None:
        _users_mask = before
    try:
        yield
    finally:
        os.umask(before)
        _users_mask = was


def shared_mode() -> int:
    """Return the permissions of a file for others, such as a sidecar, as the user's own mask has them."""
    if _users_mask is not None:
        return 0o666 & ~_users_mask
    mask = os.umask(_PRIVATE)
    os.umask(mask)
    return 0o666 & ~mask


def make_private(path: Path, mode: int = 0o600) -> None:
    """Take away what others may do with a file or folder that belongs to this user."""
    status = os.stat(path)
    if status.st_uid == os.geteuid() and status.st_mode & _PRIVATE:
        try:
            os.chmod(path, mode)
        except OSError as error:
            logger.warning("Others may read %s, and that cannot be changed: %s.", path, error.strerror)


@contextmanager
def hold_alone(folder: Path, problem: str = "") -> Iterator[None]:
    """Keep every other call of this function for a folder out until the block ends, or the process.

    Args:
        folder: Must exist.
        problem: The sentence of the error; empty: that of a project which is served.

    Raises:
        ProjectError: Another process, or another call, holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProjectError(
                problem
                or f"The project {folder} is in use: another process serves it. Use the page that process serves, or "
                "end it first. Nothing was changed."
            ) from error
        yield
    finally:
        os.close(descriptor)
