"""Backbone features on disk: one flat float32 file for each backbone version, mapped into memory.

Rows are appended; the database says which row belongs to which image, so a row that was written but not committed
is simply written again. Knows nothing of images, networks or indexes.
"""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotator.errors import FeatureMismatchError, UnknownImageError
from annotator.storage.feature_digests import fill, write_digests

Vectors = npt.NDArray[np.float32]
_BYTES = 4


class FeatureStore:
    """The features of one backbone version.

    Args:
        folder: Where the project keeps features.
        backbone: Name and version; names the file, so features of two backbones can never mix.
        feature_size: D, values a feature.
        rows: Committed (image id, row) pairs.

    Raises:
        FeatureMismatchError: The file is shorter than the committed rows say.
    """

    def __init__(self, folder: Path, backbone: str, feature_size: int, rows: Iterable[tuple[int, int]] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{backbone}.f32"
        self.feature_size = feature_size
        self._row_of: dict[int, int] = dict(rows)
        self._num_rows = max(self._row_of.values(), default=-1) + 1
        self._lock = threading.Lock()
        self.path.touch(exist_ok=True)
        have = self.path.stat().st_size // (feature_size * _BYTES)
        if have < self._num_rows:
            raise FeatureMismatchError(
                f"{self.path} holds {have:,} features of {feature_size} values, but the project counts on "
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
        """Write features to disk and return their rows; ``commit`` makes them count.

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
            fill(self.path, self.feature_size, first)
            write_digests(self.path, first, vectors)
        return list(range(first, first + len(vectors)))

    def commit(self, rows: Iterable[tuple[int, int]]) -> None:
        """Take (image id, row) pairs into use, after the database has committed them."""
        rows = list(rows)
        with self._lock:
            self._num_rows = max([self._num_rows, *(row + 1 for _, row in rows)])
            # The map first: other threads read whatever has a row.
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

    def _open_map(self) -> npt.NDArray[np.float32]:
        if self._num_rows == 0:
            return np.empty((0, self.feature_size), dtype=np.float32)
        return np.memmap(self.path, dtype="<f4", mode="r", shape=(self._num_rows, self.feature_size))
