"""What an import reads: a file, a folder, or a ZIP archive of either. Knows nothing of any one format."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator.datasets.formats.contract import Format
from annotator.datasets.formats.unpacking import is_archive, unpack
from annotator.errors import DataError
from annotator.exchange.transfers import LEAST_FREE_BYTES


@contextmanager
def opened_source(source: Path, format: Format, working: Path | None = None) -> Iterator[Path]:
    """Yield the file or folder that a format's reader gets.

    An archive is unpacked into a temporary folder; of a folder with a single file in it, a format that is one file
    gets that file.

    Args:
        source: A file, a folder or an archive.
        format: The format.
        working: Where archives are unpacked, on a disk on which saves still have to fit; None: the system's folder for
            temporary files.

    Raises:
        DataError: There is no such file, or the archive is damaged or malicious, or does not fit on the disk.
    """
    if not source.exists():
        raise DataError(f"There is no {source}.")
    if not is_archive(source):
        yield _single(source, format)
        return
    with tempfile.TemporaryDirectory(prefix="annotator-", dir=working) as folder:
        if not unpack(source, Path(folder), LEAST_FREE_BYTES if working else 0):
            raise DataError(f"{source.name} holds no file.")
        yield _single(Path(folder), format)


def _single(source: Path, format: Format) -> Path:
    if format.layout != "file" or not source.is_dir():
        return source
    files = [path for path in source.rglob("*") if path.is_file()]
    if len(files) > 1:
        raise DataError(f"The format {format.name} is one file; {source.name} holds {len(files):,} files.")
    return files[0] if files else source
