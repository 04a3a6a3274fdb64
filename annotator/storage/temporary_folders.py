"""Folders for work in progress that a killed process cannot leave behind for good.

Each is locked by the process that uses it, and the system releases the lock however that process ends. So a folder
that can be locked is a left-over. Knows nothing of what is written into them.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder, which is deleted at the end, and delete those that killed processes left.

    Args:
        parent: Where it is made.
        prefix: Start of its name; all folders in ``parent`` that start like this are made by this function.

    Raises:
        OSError: It cannot be made.
    """
    delete_left_over(parent, prefix)
    folder, descriptor = _make_locked(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():
            return folder, descriptor
        os.close(descriptor)  # another process took it for a left-over before it was locked


def delete_left_over(parent: Path, prefix: str) -> list[Path]:
    """Delete the folders that killed processes left; return them."""
    deleted = []
    for folder in parent.glob(f"{prefix}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            deleted.append(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    return deleted
