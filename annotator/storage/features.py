"""Backbone features on disk: one flat float32 file for each backbone version, mapped into memory, with digests.

Rows are appended; the database stores which row belongs to which image, so a row that was written but not committed
is overwritten later. A second file has a digest of each row (row i at byte 8 i), so that a row that changed on the
disk is detected. Older projects have no such file, or a shorter one: rows without a digest count as unchanged until
`add_missing_digests`. Knows nothing of images, networks or indexes.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotator.errors import FeatureMismatchError, UnknownImageError

Vectors = npt.NDArray[np.float32]
DIGEST_BYTES = 8
ROWS_AT_ONCE = 4096
_BYTES = 4


class FeatureStore:
    """The features of one backbone version.

    Args:
        folder: The project's folder of features.
        backbone: Name and version; also the name of the file, so features of two backbones cannot mix.
        feature_size: D, values per feature.
        rows: Committed (image id, row) pairs.

    Raises:
        FeatureMismatchError: The file is shorter than the committed rows.
    """

    def __init__(self, folder: Path, backbone: str, feature_size: int, rows: Iterable[tuple[int, int]] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{backbone}.f32"
        self.feature_size = feature_size
        self._row_of: dict[int, int] = dict(rows)
        self._num_rows = max(self._row_of.values(), default=-1) + 1
        self._lock = threading.Lock()
        self.path.touch(exist_ok=True)
        num_rows = self.path.stat().st_size // (feature_size * _BYTES)
        if num_rows < self._num_rows:
            raise FeatureMismatchError(
                f"{self.path} holds {num_rows:,} features of {feature_size} values, but the project counts on "
                f"{self._num_rows:,}. Delete the file's folder and run `annotator add` to compute them again."
            )
        self._map = self._open_map()

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._row_of

    def image_ids(self) -> list[int]:
        """Return every image that has features, in ascending order."""
        return sorted(self._row_of)

    def append(self, vectors: Vectors) -> list[int]:
        """Write features to disk and return their rows; they are used only after ``commit``.

        Args:
            vectors: (B, D) float32.

        Raises:
            FeatureMismatchError: The feature size differs.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.feature_size:
            raise FeatureMismatchError(
                f"The features have shape {vectors.shape}; this project stores {self.feature_size} values each."
            )
        with self._lock:
            first = self._num_rows
            with open(self.path, "r+b") as file:
                file.seek(first * self.feature_size * _BYTES)
                file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
                file.flush()
                os.fsync(file.fileno())
            add_missing_digests(self.path, self.feature_size, first)
            _write_digests(self.path, first, vectors)
        return list(range(first, first + len(vectors)))

    def commit(self, rows: Iterable[tuple[int, int]]) -> None:
        """Use (image id, row) pairs from now on, after the database has committed them."""
        rows = list(rows)
        with self._lock:
            self._num_rows = max([self._num_rows, *(row + 1 for _, row in rows)])
            # The map first: other threads read every image in _row_of.
            self._map = self._open_map()
            self._row_of.update(rows)

    def vectors(self, image_ids: Iterable[int]) -> Vectors:
        """Return (N, D) float32 features, a copy.

        Raises:
            UnknownImageError: An image has none.
        """
        try:
            rows = [self._row_of[int(image_id)] for image_id in image_ids]
        except KeyError as error:
            raise UnknownImageError(f"Image {error.args[0]} has no features yet.") from None
        return np.array(self._map[rows], dtype=np.float32)

    def num_changed(self, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Return how many images have features that are not as they were written; reads the whole file.

        Args:
            should_stop: Asked between parts; then the number so far is returned.
        """
        image_ids, number = self.image_ids(), 0
        for start in range(0, len(image_ids), ROWS_AT_ONCE):
            if should_stop():
                break
            part = image_ids[start : start + ROWS_AT_ONCE]
            number += len(changed_rows(self.path, [self._row_of[image_id] for image_id in part], self.vectors(part)))
        return number

    def _open_map(self) -> npt.NDArray[np.float32]:
        if self._num_rows == 0:
            return np.empty((0, self.feature_size), dtype=np.float32)
        return np.memmap(self.path, dtype="<f4", mode="r", shape=(self._num_rows, self.feature_size))


def most_alike(features: FeatureStore, image_id: int, among: Sequence[int]) -> list[int]:
    """Return the images that have features, by the cosine of their features with those of one image, best first.

    Args:
        features: Of the project.
        image_id: The image that the others are compared with.
        among: Images to order; in case of equal cosines their order stays.
    """
    seen = [other for other in among if other in features]
    if image_id not in features or not seen:
        return []
    one = features.vectors([image_id])[0]
    cosines = np.empty(len(seen), np.float32)
    for start in range(0, len(seen), ROWS_AT_ONCE):
        rows = features.vectors(seen[start : start + ROWS_AT_ONCE])
        cosines[start : start + len(rows)] = rows @ one / np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    return [seen[place] for place in np.argsort(-cosines, kind="stable").tolist()]


def digests_path(features_path: Path) -> Path:
    """Return the path of the digests of a feature file."""
    return features_path.with_suffix(".digests")


def _write_digests(features_path: Path, first: int, vectors: Vectors) -> None:
    """Write the digests of rows from ``first`` on; on disk when this returns. All earlier rows must have digests.

    Args:
        features_path: The feature file.
        first: The first row.
        vectors: (B, D) float32, as in the feature file.
    """
    path = digests_path(features_path)
    path.touch(exist_ok=True)
    with open(path, "r+b") as file:
        file.seek(first * DIGEST_BYTES)
        file.write(b"".join(map(_digest, np.ascontiguousarray(vectors, dtype="<f4"))))
        file.flush()
        os.fsync(file.fileno())


def add_missing_digests(features_path: Path, feature_size: int, num_rows: int) -> None:
    """Write the digests that the first ``num_rows`` rows lack.

    Args:
        features_path: The feature file.
        feature_size: D, values per feature.
        num_rows: Committed rows.
    """
    path = digests_path(features_path)
    num_digests = path.stat().st_size // DIGEST_BYTES if path.exists() else 0
    for first in range(num_digests, num_rows, ROWS_AT_ONCE):
        num = min(ROWS_AT_ONCE, num_rows - first)
        values = np.fromfile(features_path, "<f4", num * feature_size, offset=first * feature_size * _BYTES)
        _write_digests(features_path, first, values.reshape(-1, feature_size))


def changed_rows(features_path: Path, rows: Sequence[int], vectors: Vectors) -> list[int]:
    """Return the rows that differ from what was written; rows without a digest count as unchanged.

    Args:
        features_path: The feature file.
        rows: Row numbers.
        vectors: (B, D) float32, read from these rows.
    """
    path = digests_path(features_path)
    num_digests = path.stat().st_size // DIGEST_BYTES if path.exists() else 0
    digests = (
        np.memmap(path, f"V{DIGEST_BYTES}", "r", shape=(num_digests,))
        if num_digests
        else np.empty(0, f"V{DIGEST_BYTES}")
    )
    return [
        row
        for row, vector in zip(rows, vectors, strict=True)
        if row < num_digests and digests[row].tobytes() != _digest(vector)
    ]


def _digest(vector: Vectors) -> bytes:
    return hashlib.blake2b(vector.tobytes(), digest_size=DIGEST_BYTES).digest()
