"""Visually similar photos: cosine neighbours of backbone features, with FAISS.

Small projects are searched exactly. Large ones use an inverted file, whose best candidates are re-ranked by their
exact features. The feature store of the caller is authoritative; the index is a cache that can always be rebuilt.
Knows nothing of tags, files of photos or the database.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from annotator.errors import ConfigError, RetrievalError
from annotator.retrieval.faiss_backend import GpuClone, UseGpu, load_faiss
from annotator.retrieval.index_file import (
    TRAINING_POINTS,
    IndexHeader,
    nearest_num_lists,
    read_index_file,
    train_inverted_file,
    write_index_file,
)
from annotator.rwlock import ReadWriteLock
from annotator.thread_priority import lower_priority

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
VectorsOf = Callable[[Ids], Vectors]

MAX_IMAGE_ID = 2**28 - 1
"""Largest image id; an array of at most this many bytes stores which images are in the index."""
GROWTH_BEFORE_REBUILD = 4
"""An inverted file is trained again when it has this many times the images it was trained for."""
CHUNK_SIZE = 256
"""Vectors added while the lock is held once, so that searches wait for some milliseconds at most."""
READ_SIZE = 8_192
"""Vectors read from the feature store at once during a build: 40 MB with 1,280 values each."""


@dataclass(frozen=True)
class VectorIndexSettings:
    """How visual neighbours are searched. tests/benchmarks/search.py measures the defaults."""

    exact_below: int = 20_000
    """Projects of up to this many images are searched exactly."""
    num_lists: int | None = None
    """Lists of the inverted file; None: the power of two nearest to the square root of the number of images."""
    num_probes: int = 64
    """Lists read for each search. More is slower and finds more."""
    projected_size: int = 256
    """Principal components stored of each feature, one byte each."""
    num_candidates: int = 200
    """Candidates that are re-ranked by their exact features."""
    num_threads: int = 1
    """FAISS threads of one search or change. Searches run concurrently, and a second thread for each made them
    slower."""
    num_build_threads: int = 2
    """FAISS threads of a build."""
    use_gpu: UseGpu = "auto"
    """"auto" serves searches from the GPU if FAISS detects one, "never" from the CPU."""
    gpu_settle_seconds: float = 5.0
    """How long the index must be unchanged before it is copied to the GPU."""
    seed: int = 0
    """Of the training sample and the first centroids."""

    def __post_init__(self) -> None:
        for name in ("projected_size", "num_probes", "num_candidates", "num_threads", "num_build_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}.")
        if self.num_lists is not None and self.num_lists < 1:
            raise ConfigError(f"num_lists must be at least 1 or None, got {self.num_lists!r}.")
        if self.exact_below < 0:
            raise ConfigError(f"exact_below must not be negative, got {self.exact_below!r}.")
        if self.use_gpu not in ("auto", "never"):
            raise ConfigError(f"use_gpu must be 'auto' or 'never', got {self.use_gpu!r}.")


class VectorIndex:
    """Cosine neighbours of images; images are added and removed while searches are served.

    Any method may be called from any thread. Searches run concurrently; a change waits for running searches and takes
    milliseconds. Training an inverted file takes longer: it runs in the thread that adds, while searches and other
    changes continue.

    Args:
        feature_size: D, values per feature.
        settings: How to search.
        vectors_of: (N,) int64 image ids -> (N, D) float32 features as stored, from any thread. It must know an image
            before the image is added, and until searches and builds that began before its removal have ended. It
            must not call the index.
        tag: Name and version of the backbone; an index file of another one is refused.

    Raises:
        RetrievalError: FAISS is not installed.
    """

    def __init__(self, feature_size: int, settings: VectorIndexSettings, vectors_of: VectorsOf, *, tag: str) -> None:
        self._faiss = load_faiss()
        self._feature_size = feature_size
        self._settings = settings
        self._vectors_of = vectors_of
        self._tag = tag
        self._index = self._empty_exact()
        self._num_trained_for = 0  # images at the training of the inverted file; 0: the index is exact
        self._present: npt.NDArray[np.bool_] = np.zeros(1_024, dtype=np.bool_)
        self._lock = ReadWriteLock()  # shared by searches, exclusive for the swap of a change
        self._write_lock = threading.Lock()  # one change at a time; acquired before _lock
        self._build_lock = threading.Lock()  # one build at a time; acquired before both
        self._changed_ids: set[int] | None = None  # images changed during a build
        self._is_whole = threading.Event()  # cleared while `hold_only` builds beside its caller
        self._is_whole.set()
        self._problem: Exception | None = None  # why that build failed
        self._is_stopped = False
        self._version = 0
        self._changed_at = time.monotonic()
        self._gpu = GpuClone(self._faiss, settings.use_gpu, settings.gpu_settle_seconds)

    def __len__(self) -> int:
        self._wait()
        return int(self._index.ntotal)

    def __contains__(self, image_id: int) -> bool:
        self._wait()
        return 0 <= image_id < len(self._present) and bool(self._present[image_id])

    @property
    def kind(self) -> Literal["exact", "inverted file"]:
        """Whether neighbours are exact or, in a large project, approximate."""
        self._wait()
        return "inverted file" if self._num_trained_for else "exact"

    def image_ids(self) -> Ids:
        """Return the images in the index, in ascending order: (N,) int64."""
        self._wait()
        with self._lock.shared():
            return np.flatnonzero(self._present).astype(np.int64)

    def add(self, image_ids: npt.ArrayLike, vectors: npt.ArrayLike) -> None:
        """Add images; one that is in the index already gets the new vector.

        The call that makes the project too large for the current index also builds the next one.

        Args:
            image_ids: (N,) integers from 0 to ``MAX_IMAGE_ID``. Of equal ones the last counts.
            vectors: (N, D) features, of any length except zero.

        Raises:
            RetrievalError: The shapes do not match, or a vector has a value that is not finite.
        """
        ids, rows = self._checked_ids(image_ids), self._normalised(vectors)
        if len(ids) != len(rows):
            raise RetrievalError(f"There are {len(ids):,} image ids for {len(rows):,} features; give one each.")
        last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
        for start in range(0, len(last), CHUNK_SIZE):
            chunk = last[start : start + CHUNK_SIZE]
            self._change(ids[chunk], rows[chunk])
            if self._is_outgrown() and self._build_lock.acquire(blocking=False):
                try:
                    self._build_and_swap(None)
                finally:
                    self._build_lock.release()

    def remove(self, image_ids: npt.ArrayLike) -> None:
        """Remove images: no search that begins afterwards returns them. Unknown ones are ignored."""
        self._change(np.unique(self._checked_ids(image_ids)), None)

    def hold_only(self, image_ids: npt.ArrayLike, *, waits: bool = True) -> None:
        """Let the index hold these images: remove others, and add those that are missing from the feature store.

        Images that are in the index are not read again. Where most are missing, the index is built anew.

        Args:
            image_ids: (N,) the images.
            waits: Whether an index that is built anew is there when this returns; otherwise it is built in a thread of
                low priority, for which the first call that reads the index waits. Changes need not wait.
        """
        wanted = np.unique(self._checked_ids(np.asarray(image_ids, dtype=np.int64)))
        known = self.image_ids()
        missing = np.setdiff1d(wanted, known, assume_unique=True)
        self.remove(np.setdiff1d(known, wanted, assume_unique=True))
        if len(wanted) > self._settings.exact_below and 2 * len(missing) > len(wanted):
            if waits:
                self.rebuild(wanted)
            else:
                self._is_whole.clear()
                self._build_lock.acquire()  # the thread releases it
                with self._write_lock:
                    self._changed_ids = set()  # from now on: the thread may begin later than the next change
                threading.Thread(target=self._build_beside, args=(wanted,), name="index", daemon=True).start()
            return
        for start in range(0, len(missing), READ_SIZE):
            chunk = missing[start : start + READ_SIZE]
            self.add(chunk, self._vectors_of(chunk))

    def rebuild(self, image_ids: npt.ArrayLike | None = None) -> None:
        """Rebuild the index from the feature store; searches and changes continue meanwhile.

        Args:
            image_ids: (N,) the images of the new index; None: the current ones.

        Raises:
            RetrievalError: The feature store returned features of another size.
        """
        ids = None if image_ids is None else np.unique(self._checked_ids(image_ids))
        with self._build_lock:
            self._build_and_swap(ids)

    def stop(self) -> bool:
        """End a build beside the caller of `hold_only`, so that a program that ends need not wait for it.

        Returns:
            Whether the index can be read; otherwise whoever reads it gets a `RetrievalError`.
        """
        self._is_stopped = True
        if not self._is_whole.is_set():
            self._problem = RetrievalError("the program ends")
            self._is_whole.set()
        return self._problem is None

    def _build_beside(self, image_ids: Ids) -> None:
        lower_priority()
        try:
            self._build_and_swap(image_ids)
        except Exception as error:
            self._problem = self._problem or error  # raised by whoever reads the index
        finally:
            self._build_lock.release()
            self._is_whole.set()

    def _wait(self) -> None:
        """Wait for a build beside the caller of `hold_only`.

        Raises:
            RetrievalError: It failed.
        """
        self._is_whole.wait()
        if self._problem is not None:
            raise RetrievalError(f"The index could not be built: {self._problem}") from self._problem

    def search(self, vectors: npt.ArrayLike, k: int) -> tuple[Ids, Vectors]:
        """Find the k most similar images for each vector.

        Args:
            vectors: (B, D) features. A zero vector has similarity 0 to all images.
            k: Number of neighbours, at least 1.

        Returns:
            Image ids, (B, k) int64, most similar first, equal ones by id, padded with -1; and cosine similarities,
            (B, k) float32 in [-1, 1], padded with 0.

        Raises:
            RetrievalError: The vectors have another size than the index, k is below 1, or the index could not be built.
        """
        queries = self._normalised(vectors)
        if k < 1:
            raise RetrievalError(f"At least one neighbour must be asked for, got k = {k}.")
        self._wait()
        with self._lock.shared():
            is_exact = self._num_trained_for == 0
            scores, found = self._serve(queries, k if is_exact else max(2 * k, self._settings.num_candidates))
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        similarities = np.zeros((len(queries), k), dtype=np.float32)
        for row, query in enumerate(queries):
            # In ascending order, so that the feature store is read sequentially.
            candidates = np.argsort(found[row])[np.count_nonzero(found[row] < 0) :]
            images = found[row][candidates]
            exact = scores[row][candidates] if is_exact else self._similarities(query, images)
            best = np.argsort(-exact, kind="stable")[:k]
            ids[row, : len(best)] = images[best]
            similarities[row, : len(best)] = exact[best]
        return ids, np.clip(similarities, -1, 1)

    @property
    def version(self) -> int:
        """A number that grows with each change."""
        self._wait()
        return self._version

    def save(self, path: Path) -> None:
        """Write the index; after a crash, the file is the old one or the new one, complete.

        Raises:
            RetrievalError: The disk is full or the folder cannot be written to.
        """
        self._wait()
        with self._write_lock:  # changes wait, searches continue
            ids = np.flatnonzero(self._present).astype(np.int64)
            header = IndexHeader(
                tag=self._tag,
                feature_size=self._feature_size,
                num_trained_for=self._num_trained_for,
                num_images=len(ids),
            )
            write_index_file(path, header, ids, self._faiss, self._index)

    @classmethod
    def load(
        cls, path: Path, feature_size: int, settings: VectorIndexSettings, vectors_of: VectorsOf, *, tag: str
    ) -> Self:
        """Read an index that ``save`` wrote.

        Args:
            path: The file.
            feature_size: As for the class.
            settings: As for the class; those of training are used from the next build on.
            vectors_of: As for the class.
            tag: As for the class.

        Raises:
            RetrievalError: The file is missing, damaged, or of another backbone or feature size. Create an empty
                index and ``rebuild`` it.
        """
        loaded = cls(feature_size, settings, vectors_of, tag=tag)
        header, ids, index = read_index_file(path, loaded._faiss)
        if (header.tag, header.feature_size) != (tag, feature_size):
            raise RetrievalError(
                f"{path} indexes {header.feature_size} values of {header.tag}, not {feature_size} of {tag}. "
                "It must be rebuilt."
            )
        loaded._install(index, ids, header.num_trained_for)
        return loaded

    def _change(self, ids: Ids, rows: Vectors | None) -> None:
        """Remove images, or with rows (N, D) replace their vectors."""
        with self._write_lock:
            self._faiss.omp_set_num_threads(self._settings.num_threads)
            known = ids[ids < len(self._present)]
            known = known[self._present[known]]
            if self._changed_ids is not None:
                self._changed_ids.update(ids.tolist())
            if rows is None and not len(known):
                return
            with self._lock.exclusive():
                if len(known):
                    self._index.remove_ids(known)
                    self._present[known] = False
                if rows is not None:
                    self._index.add_with_ids(rows, ids)
                    self._mark_present(ids)
                self._note_change()

    def _mark_present(self, ids: Ids) -> None:
        needed = int(ids.max(initial=-1)) + 1
        if needed > len(self._present):
            grown = np.zeros(max(needed, 2 * len(self._present)), dtype=np.bool_)
            grown[: len(self._present)] = self._present
            self._present = grown
        self._present[ids] = True

    def _note_change(self) -> None:
        self._version += 1
        self._changed_at = time.monotonic()

    def _serve(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        # OpenMP stores the number per calling thread, so every search must set it.
        self._faiss.omp_set_num_threads(self._settings.num_threads)
        if not self._index.ntotal:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
        k = min(k, self._index.ntotal)
        found = self._gpu.search(self._index, self._version, self._changed_at, queries, k)
        if found is None:
            found = self._index.search(queries, k)
        return found

    def _similarities(self, query: Vectors, ids: Ids) -> Vectors:
        """Return exact cosines of a normalised query (D,) with images (N,): (N,) float32."""
        if not len(ids):
            return np.zeros(0, dtype=np.float32)
        rows = self._vectors_of(ids)  # (N, D)
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        similarities: Vectors = rows @ query / np.maximum(lengths, np.finfo(np.float32).tiny)
        return similarities

    def _is_outgrown(self) -> bool:
        limit = GROWTH_BEFORE_REBUILD * self._num_trained_for or self._settings.exact_below
        return int(self._index.ntotal) > limit

    def _build_and_swap(self, ids: Ids | None) -> None:
        with self._write_lock:
            if self._changed_ids is None:
                self._changed_ids = set()
            if ids is None:
                ids = np.flatnonzero(self._present).astype(np.int64)
        try:
            num_trained_for = len(ids) if len(ids) > max(self._settings.exact_below, 1) else 0
            index = self._trained(ids) if num_trained_for else self._empty_exact()
            for start in range(0, len(ids), READ_SIZE):
                if self._is_stopped:
                    return
                self._copy_rows(index, ids[start : start + READ_SIZE])
            with self._write_lock:
                self._catch_up(index, ids, num_trained_for)
        finally:
            with self._write_lock:
                self._changed_ids = None

    def _catch_up(self, index: Any, ids: Ids, num_trained_for: int) -> None:
        """Apply the changes during a build to a new index and use it. The caller holds ``_write_lock``."""
        changed = np.array(sorted(self._changed_ids or ()), dtype=np.int64)
        present = changed[changed < len(self._present)]
        present = present[self._present[present]]
        if len(changed):
            index.remove_ids(changed)
        if len(present):
            self._copy_rows(index, present)
        indexed = np.union1d(np.setdiff1d(ids, changed, assume_unique=True), present)
        with self._lock.exclusive():
            self._install(index, indexed, num_trained_for)

    def _install(self, index: Any, ids: Ids, num_trained_for: int) -> None:
        if num_trained_for:
            lists = self._faiss.extract_index_ivf(index)
            lists.nprobe = min(self._settings.num_probes, lists.nlist)
        self._index, self._num_trained_for = index, num_trained_for
        self._present = np.zeros(max(int(ids.max(initial=-1)) + 1, 1_024), dtype=np.bool_)
        self._present[ids] = True
        self._note_change()

    def _copy_rows(self, index: Any, ids: Ids) -> None:
        self._faiss.omp_set_num_threads(self._settings.num_build_threads)
        index.add_with_ids(self._normalised(self._vectors_of(ids)), ids)

    def _empty_exact(self) -> Any:
        return self._faiss.IndexIDMap2(self._faiss.IndexFlatIP(self._feature_size))

    def _trained(self, ids: Ids) -> Any:
        """Train an empty inverted file on a sample of the images."""
        settings = self._settings
        num_lists = min(settings.num_lists or nearest_num_lists(len(ids)), len(ids))
        num_points = min(len(ids), max(TRAINING_POINTS * num_lists, 2 * self._feature_size))
        sample = np.sort(np.random.default_rng(settings.seed).choice(ids, num_points, replace=False))
        points = np.empty((num_points, self._feature_size), dtype=np.float32)
        for start in range(0, num_points, READ_SIZE):
            chunk = slice(start, start + READ_SIZE)
            points[chunk] = self._normalised(self._vectors_of(sample[chunk]))
        return train_inverted_file(
            self._faiss,
            points,
            num_lists=num_lists,
            projected_size=settings.projected_size,
            num_threads=settings.num_build_threads,
            seed=settings.seed,
        )

    def _checked_ids(self, image_ids: npt.ArrayLike) -> Ids:
        ids = np.asarray(image_ids)
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise RetrievalError(f"Image ids must be one row of integers, got {ids.dtype} of shape {ids.shape}.")
        if ids.size and (ids.min() < 0 or ids.max() > MAX_IMAGE_ID):
            raise RetrievalError(f"Image ids must lie between 0 and {MAX_IMAGE_ID}, got {ids.min()} to {ids.max()}.")
        return ids.astype(np.int64)

    def _normalised(self, vectors: npt.ArrayLike) -> Vectors:
        rows = np.array(vectors, dtype=np.float32, order="C")
        if rows.ndim != 2 or rows.shape[1] != self._feature_size:
            raise RetrievalError(
                f"Features of shape (N, {self._feature_size}) are needed, got shape {rows.shape}. "
                "Compute them with the backbone of this project."
            )
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, np.newaxis]
        if not np.isfinite(lengths).all():
            raise RetrievalError("A feature holds a value that is not finite. Compute the features again.")
        rows /= np.where(lengths > 0, lengths, np.float32(1))
        return rows
