"""Unpacks a ZIP archive that somebody else made: nothing is written outside of a folder, and no more than a limit.

Knows nothing of formats.
"""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO

from annotator.datasets.formats.tagged_photo import safe_name
from annotator.errors import DataError

MAX_ENTRIES = 500_000
"""Most files of an archive."""
MAX_UNPACKED_BYTES = 4_000_000_000
"""Most bytes that an archive may have once it is unpacked, counted while they are written."""
_BLOCK = 1_000_000
_PASSWORD_FLAG = 0x1
_LEFT_OUT = ("__MACOSX/",)
"""Folders that macOS adds to an archive."""


def is_archive(path: Path) -> bool:
    """Tell whether a file is a ZIP archive by name and content."""
    return path.suffix.lower() == ".zip" and path.is_file() and zipfile.is_zipfile(path)


def unpack(source: Path, folder: Path, spare_bytes: int = 0) -> int:
    """Unpack an archive into an empty folder; return the number of files.

    Args:
        source: The archive.
        folder: Where to; on an error, what is there already is the caller's to remove.
        spare_bytes: That must stay free on the disk.

    Raises:
        DataError: It is damaged, has a password, is too large, does not fit on the disk, or holds a link, or a name
            that leaves the folder or comes twice.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith(_LEFT_OUT)]
            if len(entries) > MAX_ENTRIES:
                raise DataError(f"{source.name} holds {len(entries):,} files; at most {MAX_ENTRIES:,} are unpacked.")
            targets = [_target(one, source, folder) for one in entries]
            # No file is read beyond the length that its entry names.
            _check_room(sum(one.file_size for one in entries), folder, spare_bytes, source)
            num_left = MAX_UNPACKED_BYTES
            for entry, target in zip(entries, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, target.open("xb") as file:
                    num_left -= _copy(packed, file, num_left, source)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{source.name} is not a ZIP archive that can be read: {error}.") from error
    except FileExistsError as error:
        raise DataError(f"{source.name} holds {Path(error.filename).name!r} twice.") from error
    except OSError as error:
        raise DataError(f"{source.name} could not be unpacked: {error.strerror}.") from error
    return len(entries)


def _check_room(num_bytes: int, folder: Path, spare_bytes: int, source: Path) -> None:
    if num_bytes > MAX_UNPACKED_BYTES:
        raise DataError(f"{source.name} has more than {MAX_UNPACKED_BYTES:,} bytes once it is unpacked.")
    free = shutil.disk_usage(folder).free
    if num_bytes + spare_bytes > free:
        raise DataError(
            f"{source.name} needs {num_bytes / 1e6:,.0f} MB once it is unpacked, and {spare_bytes / 1e6:,.0f} MB are "
            f"kept free; the disk has {free / 1e6:,.0f} MB left. Nothing was unpacked."
        )


def _target(entry: zipfile.ZipInfo, source: Path, folder: Path) -> Path:
    if entry.flag_bits & _PASSWORD_FLAG:
        raise DataError(f"{source.name} has a password. Unpack it, and name the folder.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"{source.name} holds the link {entry.filename[:80]!r}; links are not unpacked.")
    return folder / safe_name(entry.filename, source.name)


def _copy(packed: IO[bytes], file: IO[bytes], most: int, source: Path) -> int:
    """Copy a file of at most so many bytes; return how many it has."""
    number = 0
    while block := packed.read(_BLOCK):
        number += len(block)
        if number > most:
            raise DataError(f"{source.name} has more than {MAX_UNPACKED_BYTES:,} bytes once it is unpacked.")
        file.write(block)
    return number
