"""The ingest of photo folders: read, hash, decode, compute features, thumbnail and metadata, commit by batches.

Reading and decoding run in threads while the network processes the previous batch. A run that is killed at any point
continues after the last committed batch. Knows nothing of pages or tags.
"""

import io
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.datasets.image_folder import (
    DecodedImage,
    content_hash,
    decode_image,
    display_name,
    find_images,
    read_image_file,
)
from annotator.datasets.sidecars import SidecarFinder, read_metadata
from annotator.errors import StoreError, UnreadableImageError
from annotator.settings import IngestConfig
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore, Vectors
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project

logger = logging.getLogger(__name__)

FIRST_BATCH_SIZE = 4
"""The first batch of a run is small, so that the first photo can be tagged soon; each further one is twice as large."""


class FeatureExtractor(Protocol):
    """The part of a backbone that the ingest uses."""

    image_size: int

    def preprocess(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Return the (H, W, 3) input of the network."""
        ...

    def extract(self, batch: npt.NDArray[np.uint8]) -> Vectors:
        """Return (B, D) features of (B, H, W, 3) crops."""
        ...


@dataclass(frozen=True)
class IngestProgress:
    """Progress of a run."""

    running: bool = False
    num_found: int = 0
    """Possible photo files found so far."""
    num_done: int = 0
    """Of these, files that are done: known before, ingested, or unreadable."""
    num_new: int = 0
    """Images added by this run."""
    photos_per_second: float = 0.0
    seconds_left: float | None = None
    error: str | None = None
    """Why the run stopped before its end, or None."""


@dataclass(frozen=True)
class NewImage:
    """One image of a commit."""

    image_id: int
    entry: ImageEntry
    vector: Vectors
    """(D,) float32."""


@dataclass(frozen=True)
class _Prepared:
    """A file after the work of the decoding threads."""

    seen: SeenPath
    entry: ImageEntry | None = None
    crop: npt.NDArray[np.uint8] | None = None


class Ingest:
    """Adds photo folders to a project; one run at a time.

    Args:
        project: Has the folder of thumbnails.
        store: The database.
        features: Where features are stored.
        load_backbone: Called once, in the thread of the run, for the first new image. The backbone's threads inherit
            the low priority of that thread, so the page remains fast.
        backbone_version: Name and version under which features are stored.
        config: Threads and sizes.
        on_commit: Called after each commit with the new images and the paths of the batch.
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
    ) -> None:
        self._project = project
        self._store = store
        self._features = features
        self._load_backbone = load_backbone
        self._backbone: FeatureExtractor | None = None
        self._backbone_version = backbone_version
        self._config = config
        self._on_commit = on_commit
        self._sidecars = SidecarFinder()
        self._id_by_hash = store.images.ids_by_hash()
        self._next_id = max(self._id_by_hash.values(), default=0) + 1
        self._known_hashes_lock = threading.Lock()
        self._stop = threading.Event()
        self.progress = IngestProgress()

    def stop(self) -> None:
        """Request that a run ends after the current batch."""
        self._stop.set()

    def run(self, roots: Sequence[Path]) -> IngestProgress:
        """Ingest every photo below these folders that is not in the project yet.

        Returns:
            The final progress. Files that could not be read are in the database with their reasons.

        Raises:
            StoreError: The project cannot be written (a full disk); what was committed before remains.
        """
        _lower_priority()
        counter = _Counter()
        self.progress = counter.progress(running=True)
        error: str | None = "The run was interrupted."
        try:
            with ThreadPoolExecutor(self._config.num_decode_threads, "decode", initializer=_lower_priority) as pool:
                for root in roots:
                    self._run_root(root, pool, counter)
            error = None if not self._stop.is_set() else error
        except OSError as failure:
            error = f"The ingest stopped: {failure.strerror}. What was done is kept; free some space and run it again."
            raise StoreError(error) from failure
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            self.progress = counter.progress(running=False, error=error)
        return self.progress

    def _run_root(self, root: Path, pool: ThreadPoolExecutor, counter: "_Counter") -> None:
        root_id = self._store.images.root_id(root)
        known = self._store.images.seen_paths(root_id)
        todo, gone, problems, num_present = self._scan(root, root_id, known)
        counter.found(num_present)
        counter.done(num_present - len(todo))
        if problems:
            self._store.images.add(IngestedBatch(paths=problems))
        batch: list[_Prepared] = []
        size = min(FIRST_BATCH_SIZE, self._config.batch_size)
        for prepared in self._prepare_ahead(root, todo, pool):
            batch.append(prepared)
            if sum(item.crop is not None for item in batch) >= size or len(batch) >= 4 * size:
                self._commit(batch, counter)
                batch, size = [], min(size * 2, self._config.batch_size)
            self.progress = counter.progress(running=True)
            if self._stop.is_set():
                return
        self._commit(batch, counter)
        # Only after the whole folder was scanned: a moved photo has its new path already.
        self._store.images.forget_paths(root_id, gone)

    def _scan(
        self, root: Path, root_id: int, known: dict[str, SeenPath]
    ) -> tuple[list[SeenPath], list[str], list[SeenPath], int]:
        """Return files to read, known paths that no longer exist, unreadable paths, and the number of files."""
        problems: list[SeenPath] = []

        def refuse(path: Path, reason: str) -> None:
            problems.append(SeenPath(root_id, display_name(_relative(path, root)), 0, 0, reason=reason))
            if path == root or os.path.isdir(path):  # Path.is_dir raises if the folder above cannot be entered
                unlisted.append("" if path == root else f"{_relative(path, root)}/")

        unlisted: list[str] = []
        todo, present = [], set()
        for path in find_images(root, refuse, skip_folders=[self._project.folder]):
            relative = _relative(path, root)
            if display_name(relative) != relative:
                refuse(path, "Its name is not valid UTF-8. Rename it.")
                continue
            try:
                stat = path.stat()
            except OSError as error:
                refuse(path, f"Its size and time cannot be read: {error.strerror}.")
                continue
            present.add(relative)
            seen = known.get(relative)
            unchanged = seen and (seen.file_size, seen.modified_ns) == (stat.st_size, stat.st_mtime_ns)
            # What could not be read is tried again: a package was installed, a right given, the program updated.
            image_id = seen.image_id if seen else None
            if not unchanged or image_id is None or image_id not in self._features:
                todo.append(SeenPath(root_id, relative, stat.st_size, stat.st_mtime_ns))
        problem_paths = {problem.path for problem in problems}
        # Files in a folder that cannot be listed now (such as a disconnected drive) do not count as removed.
        gone = [
            path
            for path in known
            if path not in present and path not in problem_paths and not path.startswith(tuple(unlisted))
        ]
        return todo, gone, problems, len(present)

    def _prepare_ahead(self, root: Path, todo: Sequence[SeenPath], pool: ThreadPoolExecutor) -> Iterator[_Prepared]:
        """Yield prepared files in order, with a bounded number of them prepared ahead."""
        if todo and self._backbone is None:
            self._backbone = self._load_backbone()
        ahead = self._config.num_decode_threads * 4 + self._config.batch_size
        waiting: deque[Future[_Prepared]] = deque()
        try:
            for seen in todo:
                waiting.append(pool.submit(self._prepare, root, seen))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _prepare(self, root: Path, seen: SeenPath) -> _Prepared:
        """Read one file, independently of the others; runs in a decoding thread."""
        backbone = self._backbone
        assert backbone is not None  # _prepare_ahead has loaded it
        path = root / seen.path
        try:
            data = read_image_file(path)
            digest = content_hash(data)
            with self._known_hashes_lock:
                image_id = self._id_by_hash.get(digest)
            if image_id is not None and image_id in self._features:
                return _Prepared(_with(seen, image_id=image_id))
            decoded = decode_image(data, min_side=max(backbone.image_size * 8 // 7, self._config.thumbnail_size))
            crop = backbone.preprocess(decoded.image)
        except UnreadableImageError as error:
            return _Prepared(_with(seen, reason=str(error)))
        metadata = read_metadata(path, decoded, root=root, sidecars=self._sidecars)
        self._write_thumbnail(digest, decoded)
        entry = ImageEntry(
            content_hash=digest,
            width=decoded.width,
            height=decoded.height,
            format=decoded.format,
            keywords=metadata.keywords,
            user_tags=metadata.user_tags,
            path_words=metadata.path_words,
            caption=metadata.caption,
            taken_at=metadata.taken_at,
            camera=metadata.camera,
            latitude=metadata.latitude,
            longitude=metadata.longitude,
            notes=metadata.notes,
        )
        return _Prepared(seen, entry, crop)

    def _write_thumbnail(self, digest: str, decoded: DecodedImage) -> None:
        path = self._project.thumbnail_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name first: the page may be reading this thumbnail, if the photo has another path.
        temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.part")
        temporary.write_bytes(encode_jpeg(decoded, self._config.thumbnail_size))
        temporary.replace(path)

    def _commit(self, batch: Sequence[_Prepared], counter: "_Counter") -> None:
        """Extract features of a batch, write them, and commit the batch in one transaction."""
        if not batch:
            return
        fresh: dict[str, _Prepared] = {}
        paths: list[SeenPath] = []
        ids: dict[str, int] = {}
        for item in batch:
            if item.entry is None:
                paths.append(item.seen)
                continue
            digest = item.entry.content_hash
            if digest not in ids:
                known_id = self._id_by_hash.get(digest)
                ids[digest] = known_id if known_id is not None else self._next_id + len(ids)
                if ids[digest] not in self._features:
                    fresh[digest] = item
            paths.append(_with(item.seen, image_id=ids[digest]))
        vectors = np.empty((0, self._features.feature_size), dtype=np.float32)
        rows: list[int] = []
        if fresh:
            assert self._backbone is not None  # a fresh image was prepared with it
            vectors = self._backbone.extract(np.stack([i.crop for i in fresh.values() if i.crop is not None]))
            rows = self._features.append(vectors)
        new = [
            NewImage(ids[digest], item.entry, vector)
            for (digest, item), vector in zip(fresh.items(), vectors, strict=True)
            if item.entry is not None
        ]
        feature_rows = [(image.image_id, row) for image, row in zip(new, rows, strict=True)]
        added = [image for image in new if image.entry.content_hash not in self._id_by_hash]
        self._store.images.add(
            IngestedBatch(
                images=[(image.image_id, image.entry) for image in added],
                paths=paths,
                backbone=self._backbone_version,
                feature_rows=feature_rows,
            )
        )
        self._features.commit(feature_rows)
        with self._known_hashes_lock:
            self._id_by_hash.update({image.entry.content_hash: image.image_id for image in added})
            self._next_id = max([self._next_id, *(image.image_id + 1 for image in added)])
        counter.done(len(batch), num_new=len(added))
        self._on_commit(new, paths)


def encode_jpeg(decoded: DecodedImage, longest_side: int | None, quality: int = 82) -> bytes:
    """Return a decoded image as JPEG, shrunk to a longest side, with its colour profile.

    Args:
        decoded: Upright RGB.
        longest_side: In pixels; None: the original size. An image is never enlarged.
        quality: JPEG quality, 1-95.
    """
    image = decoded.image
    if longest_side is not None and max(image.size) > longest_side:
        image = image.copy()
        image.thumbnail((longest_side, longest_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, icc_profile=decoded.icc_profile)
    return buffer.getvalue()


class _Counter:
    """Counts for the progress of a run."""

    def __init__(self) -> None:
        self.num_found = self.num_done = self.num_new = self._num_read = 0
        self._started = time.monotonic()
        self._read_before = 0

    def found(self, num: int) -> None:
        self.num_found += num

    def done(self, num: int, num_new: int | None = None) -> None:
        self.num_done += num
        if num_new is not None:
            self.num_new += num_new
            self._num_read += num

    def progress(self, *, running: bool, error: str | None = None) -> IngestProgress:
        seconds = time.monotonic() - self._started
        speed = self._num_read / seconds if seconds > 0.2 else 0.0
        left = (self.num_found - self.num_done) / speed if speed and running else None
        return IngestProgress(
            running=running,
            num_found=self.num_found,
            num_done=self.num_done,
            num_new=self.num_new,
            photos_per_second=round(speed, 1),
            seconds_left=round(left, 1) if left is not None else None,
            error=error,
        )


def _with(seen: SeenPath, *, image_id: int | None = None, reason: str | None = None) -> SeenPath:
    return SeenPath(seen.root_id, seen.path, seen.file_size, seen.modified_ns, image_id, reason)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root if os.path.isdir(root) else root.parent).as_posix() if path != root else "."


def _lower_priority() -> None:
    """Lower the priority of this thread: on Linux each thread has its own niceness, and its children inherit it."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
