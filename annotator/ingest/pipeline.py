"""The ingest of photo folders: read, hash, decode, compute features, thumbnail and metadata, commit by batches.

Reading and decoding run in threads while the network processes the previous batch. A run that is killed at any point
continues after the last committed batch. Knows nothing of pages or tags.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.path_words import path_words
from annotator.datasets.photo_roots import PhotoRoot, PhotoUrl
from annotator.datasets.sidecars import PhotoMetadata
from annotator.errors import StoreError, UnreadableImageError
from annotator.ingest.known_photos import KnownPhotos
from annotator.ingest.photo_metadata import NOT_READ, merge_metadata
from annotator.ingest.photo_source import (
    DecodedPhoto,
    FeatureExtractor,
    NetworkInput,
    OpenedPhoto,
    PhotoSource,
    RefusedPath,
    features_of,
    work_ahead,
)
from annotator.ingest.progress import IngestProgress, NotMounted, ProgressCounter
from annotator.ingest.remote_photos import source_of
from annotator.ingest.renditions import decoded_side
from annotator.settings import IngestConfig
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore, Vectors
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.photo_places import PhotoFolders
from annotator.storage.project import Project
from annotator.thread_priority import lower_priority

logger = logging.getLogger(__name__)

SAME_PIXELS = 0.9999
"""Least cosine of the features of a photo before and after its file was written, where the older pixels have no digest:
equal pixels have equal features, but for rounding."""
FIRST_BATCH_SIZE = 4
"""The first batch of a run is small, so that the first photo can be tagged soon; each further one is twice as large."""


@dataclass(frozen=True)
class NewImage:
    """One image of a commit."""

    image_id: int
    entry: ImageEntry
    vector: Vectors
    """(D,) float32."""


@dataclass(frozen=True)
class ChangedImage:
    """A known image with other metadata or other pixels."""

    image_id: int
    entry: ImageEntry
    vector: Vectors | None = None
    """(D,) float32; None if the pixels are the same."""


@dataclass(frozen=True)
class _Todo:
    """A file to read."""

    source: PhotoSource
    seen: SeenPath
    before: SeenPath | None = None
    """What was known of its path."""
    image_id: int | None = None
    """The image that it may show, with other pixels than before; decided once all folders were searched."""


@dataclass(frozen=True)
class _Prepared:
    """A file after the work of the decoding threads."""

    todo: _Todo
    seen: SeenPath
    is_same: bool = False
    """Whether the file has bytes that the project knows."""
    waits_for: int | None = None
    """The image that the file may show, with other pixels than before."""
    entry: ImageEntry | None = None
    network_input: NetworkInput | None = None
    """Of a photo with an entry."""


class Ingest:
    """Adds photo folders to a project; one run at a time.

    A file belongs to an image if it has its bytes or its pixels. A file with other pixels at the path of an image is
    that image, changed, unless another file still shows it; then it is a new one.

    Args:
        project: Has the folder of thumbnails.
        store: The database.
        features: Where features are stored.
        load_backbone: Called once, in the thread of the run, for the first new image. The backbone's threads inherit
            the low priority of that thread, so the page remains fast.
        backbone_version: Name and version under which features are stored.
        config: Threads and sizes.
        on_commit: Called after each commit with the new images and the paths of the batch.
        on_change: Called after each commit that changed known images.
    """

    def __init__(
        self,
        project: Project,
        store: Store,
        features: FeatureStore,
        load_backbone: Callable[[], FeatureExtractor],
        backbone_version: str,
        config: IngestConfig,
        on_commit: Callable[[Sequence[NewImage], Sequence[SeenPath]], None] = lambda images, paths: None,
        on_change: Callable[[Sequence[ChangedImage]], None] = lambda images: None,
    ) -> None:
        self._project = project
        self._images = store.images
        self._features = features
        self._load_backbone = load_backbone
        self._backbone: FeatureExtractor | None = None
        self._backbone_version = backbone_version
        self._config = config
        self._on_commit = on_commit
        self._on_change = on_change
        self._folders: dict[PhotoRoot, PhotoSource] = {}
        self._sources: dict[PhotoRoot, PhotoSource] = {}
        """Of the present run, by root."""
        self._known = KnownPhotos(store.images)
        self._next_id = store.images.next_id()
        self._stop = threading.Event()
        self.progress = IngestProgress()

    def stop(self) -> None:
        """Request that a run ends after the current batch."""
        self._stop.set()

    def run(self, roots: Sequence[PhotoRoot | PhotoSource]) -> IngestProgress:
        """Ingest every photo of these roots that is not in the project yet.

        Args:
            roots: Folders and URLs, or other sources of photos.

        Returns:
            The final progress. Files that could not be read are in the database with their reasons.

        Raises:
            StoreError: The project cannot be written (a full disk); what was committed before remains.
        """
        lower_priority()
        sources = [self._folder(root) if isinstance(root, Path | PhotoUrl) else root for root in roots]
        self._sources = {source.root: source for source in sources}
        self._counter = ProgressCounter()
        self._not_mounted: list[NotMounted] = []
        self._away: dict[int, PhotoRoot] = {}
        """Roots without a photo, by id."""
        self._waiting: list[_Todo] = []
        self._gone: list[tuple[int, list[str]]] = []
        self._unread: set[int] = set()
        """Images with files whose metadata is still to be read."""
        self._moved: set[int] = set()
        """Images with paths whose words are still to be counted."""
        self._report(running=True)
        error: str | None = "The run was interrupted."
        try:
            with ThreadPoolExecutor(self._config.num_decode_threads, "decode", initializer=lower_priority) as pool:
                for source in sources:
                    self._run_root(source, pool)
                self._finish(pool)
            self._name_those_away(list(self._sources))
            error = None if not self._stop.is_set() else error
        except OSError as failure:
            error = f"The ingest stopped: {failure.strerror}. What was done is kept; free some space and run it again."
            raise StoreError(error) from failure
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            self._sources = {}
            self._report(running=False, error=error)
        return self.progress

    def _report(self, *, running: bool, error: str | None = None) -> None:
        self.progress = self._counter.progress(running=running, error=error, not_mounted=self._not_mounted)

    def _folder(self, root: PhotoRoot) -> PhotoSource:
        """Return the source of a folder or URL; the listings of a folder's sidecars stay from run to run."""
        if root not in self._folders:
            self._folders[root] = source_of(root)
        return self._folders[root]

    def _source(self, root: PhotoRoot) -> PhotoSource:
        """Return the source of a root of the project."""
        return self._sources.get(root) or self._folder(root)

    def _run_root(self, source: PhotoSource, pool: ThreadPoolExecutor) -> None:
        root_id = self._images.root_id(source.root)
        known = self._images.seen_paths(root_id)
        todo, gone, problems, num_present = self._scan(source, root_id, known)
        if problems:
            self._images.add(IngestedBatch(paths=problems))
        if not num_present and any(seen.image_id is not None for seen in known.values()):
            self._away[root_id] = source.root
            return
        self._counter.found(num_present)
        self._counter.done(num_present - len(todo))
        self._read(todo, pool)
        self._gone.append((root_id, gone))

    def _read(self, todo: Sequence[_Todo], pool: ThreadPoolExecutor) -> None:
        batch: list[_Prepared] = []
        size = min(FIRST_BATCH_SIZE, self._config.batch_size)
        for prepared in self._prepare_ahead(todo, pool):
            batch.append(prepared)
            if sum(item.entry is not None for item in batch) >= size or len(batch) >= 4 * size:
                self._commit(batch)
                batch, size = [], min(size * 2, self._config.batch_size)
            self._report(running=True)
            if self._stop.is_set():
                return
        self._commit(batch)

    def _finish(self, pool: ThreadPoolExecutor) -> None:
        """Decide what could not be decided before all folders were searched: a moved photo has its new path now."""
        for root_id, gone in self._gone:
            if self._stop.is_set():
                return
            self._images.forget_paths(root_id, gone)
        for todo in chain(self._waiting, self._put_back()):
            if self._stop.is_set():
                return
            self._settle(todo)
            self._report(running=True)
        for image_ids in self._batches(self._unread):
            if self._stop.is_set():
                return
            read = [item for item in pool.map(self._read_again, image_ids) if item is not None]
            self._change([image for image, _ in read], [file for _, files in read for file in files])
        for image_ids in self._batches(self._moved - self._unread):
            changed = [ChangedImage(image_id, self._with_words(image_id)) for image_id in image_ids]
            self._change([item for item in changed if item.entry != self._images.entry(item.image_id)])

    def _put_back(self) -> Iterator[_Todo]:
        """Yield a file of each photo whose changed file is gone while one is left with the pixels that it had first."""
        for image_id in self._images.without_shown_file():
            for root, file in self._images.seen_files(image_id):
                if not file.is_gone and self._source(root).holds(file.path):
                    self._counter.done(-1)  # it is read once more
                    yield _Todo(self._source(root), file, file, image_id)
                    break

    def _name_those_away(self, roots: Sequence[PhotoRoot]) -> None:
        """Name the project's folders that are missing or empty, unless all their photos are elsewhere too.

        Args:
            roots: Those of this run; the others are looked at here.
        """
        folders = PhotoFolders()
        for root_id, root in self._images.roots():
            if root not in roots and not folders.is_there(str(root)):
                self._away[root_id] = root
        for root_id, root in self._away.items():
            if num_photos := self._images.num_only_in(root_id, self._away):
                self._not_mounted.append(NotMounted(str(root), num_photos))

    def _batches(self, image_ids: set[int]) -> Iterator[list[int]]:
        ordered, size = sorted(image_ids), self._config.batch_size
        return (ordered[start : start + size] for start in range(0, len(ordered), size))

    def _scan(
        self, source: PhotoSource, root_id: int, known: dict[str, SeenPath]
    ) -> tuple[list[_Todo], list[str], list[SeenPath], int]:
        """Return files to read, known paths that no longer exist, unreadable paths, and the number of files."""
        problems: list[SeenPath] = []
        if not source.is_there():
            return [], [], problems, 0
        unlisted: list[str] = []
        todo, present = [], set()
        last_known = self._images.last_known(root_id) if any(seen.image_id is None for seen in known.values()) else {}
        for found in source.find([self._project.folder]):
            if isinstance(found, RefusedPath):
                problems.append(SeenPath(root_id, found.path, 0, 0, reason=found.reason))
                if found.is_folder:
                    unlisted.append("" if found.path == "." else f"{found.path}/")
                continue
            present.add(found.path)
            seen = known.get(found.path)
            image_id = seen.image_id if seen else None
            # What could not be read is tried again: a package was installed, a right given, the program updated.
            if (
                seen is None
                or image_id is None
                or (seen.file_size, seen.modified_ns) != (found.file_size, found.modified_ns)
                or image_id not in self._features
            ):
                if seen is not None and image_id is None:  # could not be read, as while a program was writing it
                    seen = replace(seen, image_id=last_known.get(found.path), sidecars=NOT_READ)
                todo.append(_Todo(source, SeenPath(root_id, found.path, found.file_size, found.modified_ns), seen))
            elif (seen.sidecars or "") != source.signature(found.path):
                self._unread.add(image_id)
        problem_paths = {problem.path for problem in problems}
        # Files in a folder that cannot be listed now (such as a disconnected drive) do not count as removed.
        gone = [
            path
            for path in known
            if path not in present and path not in problem_paths and not path.startswith(tuple(unlisted))
        ]
        return todo, gone, problems, len(present)

    def _prepare_ahead(self, todo: Sequence[_Todo], pool: ThreadPoolExecutor) -> Iterator[_Prepared]:
        """Yield prepared files in order, with a bounded number of them prepared ahead."""
        if any(item.source.needs_network for item in todo):
            self._network()
        return work_ahead(pool, self._prepare, todo, num_ahead(self._config))

    def _network(self) -> FeatureExtractor:
        if self._backbone is None:
            self._backbone = self._load_backbone()
        return self._backbone

    def _decode(self, opened: OpenedPhoto, source: PhotoSource) -> DecodedPhoto:
        """Return a photo with its pixels; the side depends on the network, which a source may do without."""
        if not source.needs_network:
            return opened.decode(0)
        return opened.decode(decoded_side(self._network().image_size, self._config.thumbnail_size))

    def _prepare(self, todo: _Todo) -> _Prepared:
        """Read one file, independently of the others; runs in a decoding thread."""
        source, before = todo.source, todo.before.image_id if todo.before else None
        seen = replace(todo.seen, sidecars=source.signature(todo.seen.path))
        try:
            opened = source.open(seen.path)
            digest = opened.content_hash
            image_id = self._known.by_content(digest)
            if image_id is not None and image_id in self._features:
                return _Prepared(todo, replace(seen, image_id=image_id, content_hash=digest), is_same=True)
            photo = self._decode(opened, source)
            if image_id is None and todo.image_id is None:
                image_id = self._image_with(photo.pixel_digest, todo)
                if image_id is not None and image_id in self._features:
                    if self._images.entry(image_id).orientation != photo.orientation:
                        return _Prepared(todo, seen, waits_for=image_id)
                    return _Prepared(todo, replace(seen, image_id=image_id, content_hash=digest))
                former = self._known.by_former_content(digest)
                if image_id is None and (former is not None or before is not None):
                    return _Prepared(todo, seen, waits_for=before if former is None else former)
            network_input = photo.network_input(self._network)
        except UnreadableImageError as error:
            return _Prepared(todo, replace(seen, reason=str(error)))
        metadata = photo.metadata()
        self._write_thumbnail(digest, photo.thumbnail(self._config.thumbnail_size))
        entry = ImageEntry(
            content_hash=digest,
            width=photo.width,
            height=photo.height,
            format=photo.format,
            pixel_digest=photo.pixel_digest,
            orientation=photo.orientation,
            **_stored(metadata),
        )
        return _Prepared(todo, seen, entry=entry, network_input=network_input)

    def _image_with(self, pixels: str, todo: _Todo) -> int | None:
        """Return the image with this digest of its pixels; of several, that which the path showed."""
        before = todo.image_id or (todo.before.image_id if todo.before else None)
        if before is not None and self._images.entry(before).pixel_digest == pixels:
            return before
        return self._known.by_pixels(pixels)

    def _write_thumbnail(self, digest: str, jpeg: bytes) -> None:
        path = self._project.thumbnail_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name first: the page may be reading this thumbnail, if the photo has another path.
        temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.part")
        temporary.write_bytes(jpeg)
        temporary.replace(path)

    def _commit(self, batch: Sequence[_Prepared]) -> None:
        """Extract features of a batch, write them, and commit the batch in one transaction."""
        if not batch:
            return
        fresh: dict[int, _Prepared] = {}
        added: list[tuple[int, ImageEntry]] = []
        paths: list[SeenPath] = []
        ids: dict[str, int] = {}
        digests: list[tuple[int, str, int]] = []
        num_waiting = 0
        for item in batch:
            if item.waits_for is not None:
                self._waiting.append(replace(item.todo, image_id=item.waits_for))
                num_waiting += 1
            elif item.entry is None or item.entry.pixel_digest is None:
                paths.append(self._placed(item) if item.seen.image_id is not None else item.seen)
            else:
                digest, pixels = item.entry.content_hash, item.entry.pixel_digest
                image_id = self._known.by_content(digest) or ids.get(pixels) or self._image_with(pixels, item.todo)
                is_known = image_id is not None
                if image_id is None:
                    image_id = self._next_id + len(added)
                    added.append((image_id, item.entry))
                    ids[pixels] = image_id
                if image_id not in self._features and image_id not in fresh:
                    fresh[image_id] = item
                seen = replace(item.seen, image_id=image_id, content_hash=digest)
                if is_known:
                    own = dict(added).get(image_id)
                    seen = self._placed(replace(item, seen=seen), own)
                    if (own or self._images.entry(image_id)).pixel_digest != pixels:  # none, or of another scheme
                        digests.append((image_id, pixels, item.entry.orientation or 1))
                paths.append(seen if is_known else replace(seen, content_hash=None))
        vectors = self._extract(list(fresh.values()))
        rows = self._features.append(vectors) if fresh else []
        new = [
            NewImage(image_id, item.entry, vector)
            for (image_id, item), vector in zip(fresh.items(), vectors, strict=True)
            if item.entry is not None
        ]
        feature_rows = [(image.image_id, row) for image, row in zip(new, rows, strict=True)]
        self._images.add(
            IngestedBatch(
                images=added,
                paths=paths,
                backbone=self._backbone_version,
                feature_rows=feature_rows,
                replaces=any(item.todo.before is not None for item in batch),
            )
        )
        if digests:
            self._images.set_pixel_digests(digests)
        self._features.commit(feature_rows)
        for image_id, entry in added:
            self._known.add(image_id, entry.content_hash, entry.pixel_digest)
        for seen in paths:
            if seen.image_id is not None and seen.content_hash is not None:
                self._known.add(seen.image_id, seen.content_hash)
        self._next_id += len(added)
        self._counter.done(len(batch) - num_waiting, num_new=len(added))
        self._on_commit(new, paths)

    def _placed(self, item: _Prepared, added: ImageEntry | None = None) -> SeenPath:
        """Return the path of a known image as it is stored, and note what is still to be read of it.

        Args:
            item: The file.
            added: The image, if it is added by the same commit.
        """
        seen, before = item.seen, item.todo.before
        image_id = seen.image_id
        assert image_id is not None  # the callers have found it
        is_its_own = seen.content_hash == (added or self._images.entry(image_id)).content_hash
        seen = replace(seen, content_hash=None if is_its_own else seen.content_hash)
        if before is not None and before.image_id == image_id and (item.is_same or is_its_own):
            seen = replace(seen, sidecars=before.sidecars)  # only its time has changed, or its features were missing
            if (before.sidecars or "") != item.seen.sidecars:
                self._unread.add(image_id)
            return seen
        self._moved.add(image_id)
        has_bytes = item.is_same or is_its_own
        known = set() if added else {file.sidecars for _, file in self._images.seen_files(image_id)}
        if has_bytes and (not seen.sidecars or seen.sidecars in known):
            return seen
        self._unread.add(image_id)
        return replace(seen, sidecars=NOT_READ)

    def _extract(self, items: Sequence[_Prepared]) -> Vectors:
        if not items:
            return np.empty((0, self._features.feature_size), dtype=np.float32)
        return features_of([item.network_input for item in items if item.network_input is not None], self._network)

    def _settle(self, todo: _Todo) -> None:
        """Commit a file with pixels that an image may show from now on."""
        assert todo.image_id is not None  # it waited for this image
        item = self._prepare(todo)
        was = self._images.entry(todo.image_id)
        other = self._image_with(item.entry.pixel_digest or "", todo) if item.entry is not None else None
        if item.entry is None or other not in (None, todo.image_id):
            self._commit([item])
        elif todo.image_id not in self._features and self._has_the_pixels(todo, was):
            # Features and digests of another backbone: both are made anew.
            self._known.add(todo.image_id, item.entry.content_hash)
            self._commit([item])
        elif self._is_shown_elsewhere(todo, was):
            is_its_own = item.entry.content_hash == was.content_hash or item.entry.pixel_digest == was.pixel_digest
            if is_its_own:
                seen = replace(item.seen, image_id=todo.image_id, content_hash=item.entry.content_hash)
                item = _Prepared(todo, seen)
            self._commit([item])
        else:
            self._renew(todo.image_id, was, item)

    @staticmethod
    def _has_the_pixels(todo: _Todo, entry: ImageEntry) -> bool:
        """Tell whether a file has the pixels of a digest, of whatever scheme; without a digest it has not."""
        opened = todo.source.open(todo.seen.path)
        return entry.pixel_digest is not None and opened.has_pixels(entry.pixel_digest)

    def _is_shown_elsewhere(self, todo: _Todo, entry: ImageEntry) -> bool:
        """Return whether a file other than this one still shows an image."""
        assert todo.image_id is not None  # it waited for this image
        return any(
            (file.root_id, file.path) != (todo.seen.root_id, todo.seen.path)
            and entry.is_shown_by(file)
            and self._source(root).holds(file.path)
            for root, file in self._images.seen_files(todo.image_id)
            if not file.is_gone
        )

    def _renew(self, image_id: int, was: ImageEntry, item: _Prepared) -> None:
        """Commit that an image shows the pixels of a file from now on; its tags and its history stay."""
        now, vector = item.entry, self._extract([item])
        assert now is not None  # the caller has checked it
        if was.pixel_digest is not None and _same_scheme(was.pixel_digest, now.pixel_digest):
            is_same = was.pixel_digest == now.pixel_digest  # turned by its metadata
        else:
            is_same = (
                image_id in self._features and _cosine(self._features.vectors([image_id])[0], vector[0]) > SAME_PIXELS
            )
        is_turned = is_same and was.orientation not in (None, now.orientation)
        if is_same and not is_turned:
            entry = replace(now, content_hash=was.content_hash, shown_hash=was.shown_hash, changed_at=was.changed_at)
            rows = []
        else:
            changed_at = was.changed_at if is_same else self._images.changed_at(image_id, now.content_hash)
            shown_hash = None if now.content_hash == was.content_hash else now.content_hash
            entry = replace(now, content_hash=was.content_hash, shown_hash=shown_hash, changed_at=changed_at)
            rows = [(image_id, self._features.append(vector)[0])]
        own_hash = None if now.content_hash == was.content_hash else now.content_hash
        seen = replace(item.seen, image_id=image_id, content_hash=own_hash)
        files = [file for _, file in self._images.seen_files(image_id)]
        self._images.add(
            IngestedBatch(paths=[seen], changed=[(image_id, entry)], backbone=self._backbone_version, feature_rows=rows)
        )
        self._features.commit(rows)
        if rows:
            self._known.renew(image_id, was, entry, files)
        self._known.add(image_id, now.content_hash, now.pixel_digest)
        self._counter.done(1)
        self._counter.num_changed += bool(rows) and not is_same
        self._on_commit([], [seen])
        self._on_change([ChangedImage(image_id, entry, vector[0] if rows else None)])

    def _read_again(self, image_id: int) -> tuple[ChangedImage, list[SeenPath]] | None:
        """Read the metadata of all files of an image; None if none of them can be read now."""
        found: list[PhotoMetadata] = []
        files: list[SeenPath] = []
        opened: list[OpenedPhoto] = []
        for root, file in self._images.seen_files(image_id):
            if file.is_gone:
                continue
            source = self._source(root)
            signature = source.signature(file.path)
            try:
                photo = source.open(file.path, opened)
                found.append(photo.metadata())
            except UnreadableImageError:
                continue
            if photo.content_hash not in {other.content_hash for other in opened}:
                opened.append(photo)  # an image may have many files with the same bytes
            files.append(replace(file, sidecars=signature))
        if not found:
            return None
        entry = replace(self._images.entry(image_id), **_stored(merge_metadata(found)))
        return ChangedImage(image_id, entry), files

    def _with_words(self, image_id: int) -> ImageEntry:
        """Return an image with the words of all its paths."""
        files = [file.path for _, file in self._images.seen_files(image_id) if not file.is_gone]
        words = dict.fromkeys(word for path in files for word in path_words(path))
        entry = self._images.entry(image_id)
        return replace(entry, path_words=tuple(words)) if files else entry

    def _change(self, items: Sequence[ChangedImage], paths: Sequence[SeenPath] = ()) -> None:
        """Commit other metadata of known images."""
        if items:
            self._images.add(IngestedBatch(changed=[(item.image_id, item.entry) for item in items], paths=paths))
            self._on_change(items)


def num_ahead(config: IngestConfig) -> int:
    """Return how many files may be prepared before the network takes them."""
    return config.num_decode_threads * 4 + config.batch_size


def _stored(metadata: PhotoMetadata) -> dict[str, Any]:
    """Return the fields of an image's row that come from its metadata."""
    return {field.name: getattr(metadata, field.name) for field in fields(PhotoMetadata)}


def _same_scheme(one: str, other: str | None) -> bool:
    return other is not None and one.partition(":")[0] == other.partition(":")[0]


def _cosine(one: Vectors, other: Vectors) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 1.0
