"""The source of photos that `annotator embed` has read: nothing is decoded, and the files need not be there.

Knows nothing of projects or networks.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from annotator.datasets.photo_roots import known_root
from annotator.datasets.sidecars import PhotoMetadata
from annotator.errors import ShardError, UnreadableImageError
from annotator.ingest.photo_source import (
    DecodedPhoto,
    FoundFile,
    LoadPreprocessor,
    NetworkInput,
    OpenedPhoto,
    RefusedPath,
)
from annotator.storage.shard_table import PhotoData, ShardTable
from annotator.storage.shards import ListedFile, ShardFolder

SHARDS_IN_MEMORY = 4


class ShardPhotos:
    """The photos of a folder of shards. Thread-safe.

    Args:
        shards: Complete and checked.

    Raises:
        ShardError: A list of files is not as it was written.
    """

    needs_network = False

    def __init__(self, shards: ShardFolder) -> None:
        self.root = known_root(shards.about.root)
        self._shards = shards
        self._files = {file.path: file for file in shards.files()}
        self._refused = [one for one in shards.unreadable() if one.path not in self._files]
        self._reasons = {one.path: one.reason for one in shards.unreadable() if one.path in self._files}
        self._loaded: OrderedDict[int, ShardTable] = OrderedDict()
        self._lock = threading.Lock()

    def is_there(self) -> bool:
        """Tell that what was read can be listed."""
        return True

    def find(self, skip_folders: Collection[Path] = ()) -> Iterator[FoundFile | RefusedPath]:
        """Yield every possible photo in the order of the ingest, and every path that was not read."""

        def is_skipped(path: str) -> bool:
            root = self.root
            return isinstance(root, Path) and any((root / path).is_relative_to(folder) for folder in skip_folders)

        for one in self._refused:
            if not is_skipped(one.path):
                yield RefusedPath(one.path, one.reason, one.is_folder)
        for file in self._files.values():
            if not is_skipped(file.path):
                yield FoundFile(file.path, file.file_size, file.modified_ns)

    def signature(self, path: str) -> str:
        """Return names, sizes and times that a photo's sidecars had."""
        return self._files[path].sidecars if path in self._files else ""

    def holds(self, path: str) -> bool:
        """Tell whether a file was there."""
        return path in self._files

    def open(self, path: str, opened: Sequence[OpenedPhoto] = ()) -> OpenedPhoto:
        """Return a file as it was read; see `PhotoSource.open`.

        Raises:
            UnreadableImageError: It was not there, or could not be read.
            ShardError: Its shard is not as it was written.
        """
        file = self._files.get(path)
        if file is None:
            raise UnreadableImageError("The file was not there when the shards were written.")
        if file.content_hash is None:
            raise UnreadableImageError(self._reasons.get(path, "The file could not be read."))
        return _ShardFile(self, file, file.content_hash)

    def table(self, number: int | None) -> ShardTable:
        """Return a shard; the last few stay in memory.

        Raises:
            ShardError: It is not as it was written.
        """
        if number is None:
            raise ShardError(f"The list of files in {self._shards.folder} lacks the place of a photo.")
        with self._lock:
            if number not in self._loaded:
                self._loaded[number] = self._shards.shard(number)
            self._loaded.move_to_end(number)
            while len(self._loaded) > SHARDS_IN_MEMORY:
                self._loaded.popitem(last=False)
            return self._loaded[number]


class _ShardFile:
    """A file that was read."""

    def __init__(self, source: ShardPhotos, file: ListedFile, content_hash: str) -> None:
        self._source, self._file, self.content_hash = source, file, content_hash

    def decode(self, min_side: int) -> DecodedPhoto:
        return _ShardPhoto(self, self._data())

    def has_pixels(self, digest: str) -> bool:
        return self._data().pixel_digest == digest

    def metadata(self) -> PhotoMetadata:
        table = self._source.table(self._file.shard)
        return table.metadata(self._checked(table, self._file.row))

    def _data(self) -> PhotoData:
        table = self._source.table(self._file.data_shard)
        return table.data(self._checked(table, self._file.data_row))

    def _checked(self, table: ShardTable, row: int | None) -> int:
        """Return a row after a look at whether it is one of this file's bytes."""
        if row is None or not 0 <= row < len(table) or table.content_hash(row) != self.content_hash:
            raise ShardError(f"The list of files and the shards differ about {self._file.path!r}.")
        return row


class _ShardPhoto:
    """A photo whose pixels were seen."""

    def __init__(self, file: _ShardFile, data: PhotoData) -> None:
        self._file, self._data = file, data
        self.width, self.height, self.format = data.width, data.height, data.format
        self.pixel_digest, self.orientation = data.pixel_digest, data.orientation

    def network_input(self, network: LoadPreprocessor) -> NetworkInput:
        return NetworkInput(vector=self._data.vector)

    def thumbnail(self, longest_side: int) -> bytes:
        return self._data.thumbnail

    def metadata(self) -> PhotoMetadata:
        return self._file.metadata()
