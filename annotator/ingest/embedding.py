"""`annotator embed`: reads a folder's photos into shards, without a project.

The steps are the ingest's own (photo_source.py): list, read, hash, decode, features, thumbnail, metadata. An engine
runs them: this process (`LocalEngine`), or a cluster (ray_engine.py). One process writes the shards in the order of the
folder, so each photo is there once whatever the engine. Knows nothing of projects.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from annotator.errors import UnreadableImageError
from annotator.ingest.photo_source import (
    FoundFile,
    LoadNetwork,
    LoadPreprocessor,
    NetworkInput,
    PhotoSource,
    RefusedPath,
    features_of,
    work_ahead,
)
from annotator.ingest.pipeline import num_ahead
from annotator.ingest.progress import IngestProgress, ProgressCounter
from annotator.ingest.renditions import decoded_side
from annotator.settings import IngestConfig
from annotator.storage.features import Vectors
from annotator.storage.shard_table import PhotoData, ShardRow
from annotator.storage.shards import ListedFile, ShardFolder, UnreadablePath

NO_FEATURES: Vectors = np.empty(0, np.float32)
"""Of a photo that the network has not seen yet."""


@dataclass(frozen=True)
class FileRead:
    """What one file gave."""

    found: FoundFile
    sidecars: str
    """Names, sizes and times of its sidecars."""
    reason: str | None = None
    """Why it could not be read."""
    row: ShardRow | None = None
    """A photo's data has no features yet."""
    network_input: NetworkInput | None = None
    """Of a row with a photo's data."""


class Engine(Protocol):
    """Runs the steps on files."""

    def run(self, files: Sequence[FoundFile], is_known: Callable[[str], bool]) -> Iterator[FileRead]:
        """Yield what each file gave, in the given order, with its features.

        Args:
            files: Of one source.
            is_known: Content hash -> whether the photo's data is in a shard; asked while the run goes on.

        Raises:
            AnnotatorError: The run cannot go on.
        """
        ...


def read_file(
    source: PhotoSource,
    found: FoundFile,
    network: LoadPreprocessor,
    thumbnail_size: int,
    is_known: Callable[[str], bool] = lambda content_hash: False,
) -> FileRead:
    """Read one file up to what the network is given.

    Args:
        source: Has the file.
        found: The file.
        network: Brings photos to the size of the network.
        thumbnail_size: Longest side, in pixels.
        is_known: Content hash -> whether the pixels were seen before.
    """
    sidecars = source.signature(found.path)
    data = network_input = None
    try:
        opened = source.open(found.path)
        if is_known(opened.content_hash):
            metadata = opened.metadata()
        else:
            photo = opened.decode(decoded_side(network().image_size, thumbnail_size))
            network_input = photo.network_input(network)
            metadata = photo.metadata()
            data = PhotoData(
                photo.width, photo.height, photo.format, photo.pixel_digest, photo.orientation,
                photo.thumbnail(thumbnail_size), NO_FEATURES,
            )  # fmt: skip
    except UnreadableImageError as error:
        return FileRead(found, sidecars, reason=str(error))
    row = ShardRow(found.path, found.file_size, found.modified_ns, sidecars, opened.content_hash, metadata, data)
    return FileRead(found, sidecars, row=row, network_input=network_input)


def with_features(files: Sequence[FileRead], network: LoadNetwork, seen: set[str]) -> list[FileRead]:
    """Return files with the features of their photos; a copy of a photo that was seen has no data.

    Args:
        files: In order.
        network: The network.
        seen: Content hashes of the photos before these; those of these are added.
    """
    files = [_without_data_if_seen(file, seen) for file in files]
    inputs = [file.network_input for file in files if file.network_input is not None]
    vectors = iter(features_of(inputs, network) if inputs else ())
    return [file if file.network_input is None else _completed(file, next(vectors)) for file in files]


def _without_data_if_seen(file: FileRead, seen: set[str]) -> FileRead:
    if file.row is None or file.row.data is None:
        return file
    if file.row.content_hash in seen:
        return replace(file, row=replace(file.row, data=None), network_input=None)
    seen.add(file.row.content_hash)
    return file


def _completed(file: FileRead, vector: Vectors) -> FileRead:
    assert file.row is not None  # it has what the network is given
    assert file.row.data is not None
    return replace(file, row=replace(file.row, data=replace(file.row.data, vector=vector)), network_input=None)


class LocalEngine:
    """Runs the steps in this process: threads read and decode while the network computes features.

    Args:
        source: The photos.
        network: The network.
        config: Threads and sizes.
    """

    def __init__(self, source: PhotoSource, network: LoadNetwork, config: IngestConfig) -> None:
        self._source, self._network, self._config = source, network, config

    def run(self, files: Sequence[FoundFile], is_known: Callable[[str], bool]) -> Iterator[FileRead]:
        """Yield what each file gave; see `Engine.run`."""
        size = self._config.batch_size

        def read(found: FoundFile) -> FileRead:
            return read_file(self._source, found, self._network, self._config.thumbnail_size, is_known)

        self._network()  # before the threads need it
        with ThreadPoolExecutor(self._config.num_decode_threads, "decode") as pool:
            batch: list[FileRead] = []
            seen: set[str] = set()
            for file in work_ahead(pool, read, files, num_ahead(self._config)):
                batch.append(file)
                if sum(item.network_input is not None for item in batch) >= size or len(batch) >= 4 * size:
                    yield from with_features(batch, self._network, seen)
                    batch = []
            yield from with_features(batch, self._network, seen)


@dataclass(frozen=True)
class EmbedSummary:
    """What a run did, and what the shards hold after it."""

    num_found: int
    """Possible photo files of the folder."""
    num_read: int
    """Of these, files that this run read."""
    num_photos: int
    """Photos in the shards, each once."""
    num_unreadable: int
    num_shards: int
    photos_per_second: float


class Embedding:
    """One run over one folder.

    Args:
        source: The photos.
        shards: Where they go; a run that was ended before goes on.
        engine: Runs the steps.
        shard_size: Files of a shard; these are held in memory.
        on_progress: Called after each file.
    """

    def __init__(
        self,
        source: PhotoSource,
        shards: ShardFolder,
        engine: Engine,
        shard_size: int,
        on_progress: Callable[[IngestProgress], None] = lambda progress: None,
    ) -> None:
        self._source, self._shards, self._engine = source, shards, engine
        self._shard_size, self._on_progress = shard_size, on_progress
        self._places: dict[str, ListedFile] = {}
        """Path -> where the newest row of a file is."""
        self._data: dict[str, tuple[int, int]] = {}
        """Content hash -> shard and row of a photo's data."""
        self._pending: list[ShardRow] = []
        self._pending_data: set[str] = set()

    def run(self) -> EmbedSummary:
        """Read every file that is not in the shards as it is now, and write the lists of all files.

        Raises:
            ShardError: A shard is not as it was written.
            AnnotatorError: The engine cannot go on; the shards that were written stay.
            OSError: The disk is full; the shards that were written stay.
        """
        self._shards.drop_missing()
        for number in self._shards.numbers():
            self._note_shard(number)
        listed = list(self._source.find([self._shards.folder]))
        found = [one for one in listed if isinstance(one, FoundFile)]
        refused = [one for one in listed if isinstance(one, RefusedPath)]
        unreadable = [UnreadablePath(one.path, one.reason, one.is_folder) for one in refused]
        todo = [file for file in found if not self._is_done(file)]
        counter = ProgressCounter()
        counter.found(len(found))
        counter.done(len(found) - len(todo))
        failed: dict[str, FileRead] = {}
        for file in self._engine.run(todo, self._is_known) if todo else ():
            if file.row is None:
                failed[file.found.path] = file
                unreadable.append(UnreadablePath(file.found.path, file.reason or ""))
            else:
                self._add(file.row)
            counter.done(1, num_new=file.row is not None)
            self._on_progress(counter.progress(running=True))
        self._write_pending()
        self._shards.finish([self._listed(file, failed) for file in found], unreadable)
        photos = {self._places[file.path].content_hash for file in found if file.path not in failed}
        return EmbedSummary(
            num_found=len(found),
            num_read=len(todo),
            num_photos=len(photos),
            num_unreadable=len(unreadable),
            num_shards=len(self._shards.numbers()),
            photos_per_second=counter.progress(running=False).photos_per_second,
        )

    def _is_known(self, content_hash: str) -> bool:
        return content_hash in self._data or content_hash in self._pending_data

    def _is_done(self, file: FoundFile) -> bool:
        there = self._places.get(file.path)
        return (
            there is not None
            and (there.file_size, there.modified_ns) == (file.file_size, file.modified_ns)
            and there.sidecars == self._source.signature(file.path)
            and there.content_hash in self._data
        )

    def _note_shard(self, number: int) -> None:
        table = self._shards.shard(number)
        names = ("path", "file_size", "modified_ns", "sidecars", "content_hash")
        files: Iterable[tuple[Any, ...]] = zip(*(table.column(name) for name in names), strict=True)
        for row, (file, has_data) in enumerate(zip(files, table.has_data(), strict=True)):
            path, file_size, modified_ns, sidecars, content_hash = file
            there = ListedFile(path, file_size, modified_ns, sidecars, content_hash, number, row, None, None)
            self._note(there, has_data)

    def _note(self, file: ListedFile, has_data: bool) -> None:
        """Note a row of a shard; that of a later shard takes the place of an earlier one."""
        self._places[file.path] = file
        if has_data and file.content_hash is not None and file.shard is not None and file.row is not None:
            self._data.setdefault(file.content_hash, (file.shard, file.row))

    def _add(self, row: ShardRow) -> None:
        if row.data is not None and self._is_known(row.content_hash):
            row = replace(row, data=None)  # a copy that another worker read
        if row.data is not None:
            self._pending_data.add(row.content_hash)
        self._pending.append(row)
        if len(self._pending) >= self._shard_size:
            self._write_pending()

    def _write_pending(self) -> None:
        if not self._pending:
            return
        number = self._shards.add_shard(self._pending)
        for place, row in enumerate(self._pending):
            there = ListedFile(
                row.path, row.file_size, row.modified_ns, row.sidecars, row.content_hash, number, place, None, None
            )  # fmt: skip
            self._note(there, row.data is not None)
        self._pending, self._pending_data = [], set()

    def _listed(self, file: FoundFile, failed: dict[str, FileRead]) -> ListedFile:
        """Return the line of a file; what could not be read has no place."""
        if file.path in failed:
            sidecars = failed[file.path].sidecars
            return ListedFile(file.path, file.file_size, file.modified_ns, sidecars, None, None, None, None, None)
        there = self._places[file.path]
        data_shard, data_row = self._data[there.content_hash or ""]
        return replace(there, data_shard=data_shard, data_row=data_row)
