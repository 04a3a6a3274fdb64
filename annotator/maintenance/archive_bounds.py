"""Reads an untrusted tar file within bounds: of its members, of what is held in memory, of what will be written.

Everything is checked before the first byte is written. Knows nothing of what the members are.
"""

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from annotator.errors import BackupError

MAX_READ_BYTES = 50_000_000
"""That are held in memory at once: a file that is read whole, or one header."""
MAX_MEMBERS = 100_000
MAX_DEPTH = 8
"""Parts of a member's path."""
SPARE_BYTES = 16_000_000
"""That must stay free on the disk."""


class _BoundedReads:
    """A file of which no more than `MAX_READ_BYTES` are read at once: tarfile reads a header of any length whole."""

    def __init__(self, file: IO[bytes], source: Path) -> None:
        self._file, self._source = file, source
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int) -> bytes:
        if size > MAX_READ_BYTES:
            raise BackupError(f"{self._source} is not a backup: it has a header of {size:,} bytes.")
        return self._file.read(size)


@contextmanager
def open_archive(source: Path) -> Iterator[tuple[tarfile.TarFile, list[tarfile.TarInfo]]]:
    """Yield an uncompressed tar file and the list of its members, all of which are plain files.

    Raises:
        BackupError: It is none, is damaged, or has other members than plain files, too many, or larger than itself.
        OSError: It cannot be read.
    """
    try:
        with open(source, "rb") as file, tarfile.open(fileobj=_BoundedReads(file, source), mode="r:") as archive:  # type: ignore[call-overload]
            yield archive, _members(archive, source)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{source} is not a whole backup ({error}).") from error
    except RecursionError as error:
        raise BackupError(f"{source} is not a backup: its headers are nested without end.") from error


def _members(archive: tarfile.TarFile, source: Path) -> list[tarfile.TarInfo]:
    members: list[tarfile.TarInfo] = []
    num_bytes = 0
    while (info := archive.next()) is not None:
        # A sparse file is as large as it says, whatever the size of the archive.
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
            raise BackupError(f"The backup {source} holds {info.name[:99]!r}, which is no plain file.")
        members.append(info)
        num_bytes += info.size
        if len(members) > MAX_MEMBERS:
            raise BackupError(f"The backup {source} holds more than {MAX_MEMBERS:,} files.")
    if info_size := max(0, num_bytes - source.stat().st_size):
        raise BackupError(f"{source} is not a whole backup: {info_size:,} bytes are missing.")
    return members


def check_path(name: str, source: Path | str) -> None:
    """Refuse the path of a member that leads out of its folder, or is deeper than any of ours.

    Raises:
        BackupError: It does.
    """
    parts = PurePosixPath(name).parts
    if ".." in parts or "\\" in name or len(parts) > MAX_DEPTH or any(len(part.encode()) > 255 for part in parts):
        raise BackupError(f"The backup {source} names a file that no project has: {name[:200]!r}.")


def check_room(num_bytes: int, folder: Path, source: Path | str) -> None:
    """Refuse to write more than fits on a disk.

    Args:
        num_bytes: Of all files.
        folder: Where they are written; exists.
        source: The archive, for the message.

    Raises:
        BackupError: They do not fit.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes + SPARE_BYTES > free:
        raise BackupError(
            f"{source} needs {num_bytes / 1e6:,.0f} MB and {SPARE_BYTES / 1e6:,.0f} MB to spare, but {folder} has "
            f"{free / 1e6:,.0f} MB. Nothing was written."
        )
