"""A digest of each row of a feature file, in a file beside it: a row that changed on the disk is found out.

Row i's eight bytes stand at 8 i. Projects of before have no such file, or a shorter one: their rows are taken for sound
until `fill` gives them digests. Knows nothing of images or the database.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
DIGEST_BYTES = 8
ROWS_AT_ONCE = 4096


def digests_path(features_path: Path) -> Path:
    """Return where the digests of a feature file are."""
    return features_path.with_suffix(".digests")


def write_digests(features_path: Path, first: int, vectors: Vectors) -> None:
    """Write the digests of rows that begin at ``first``; on disk when this returns. Those before must have theirs.

    Args:
        features_path: The feature file.
        first: The first row.
        vectors: (B, D) float32, as they stand in the feature file.
    """
    path = digests_path(features_path)
    path.touch(exist_ok=True)
    with open(path, "r+b") as file:
        file.seek(first * DIGEST_BYTES)
        file.write(b"".join(map(_digest, np.ascontiguousarray(vectors, dtype="<f4"))))
        file.flush()
        os.fsync(file.fileno())


def fill(features_path: Path, feature_size: int, num_rows: int) -> None:
    """Give the first ``num_rows`` rows digests, as far as they have none.

    Args:
        features_path: The feature file.
        feature_size: D, values a feature.
        num_rows: Rows that count.
    """
    path = digests_path(features_path)
    have = path.stat().st_size // DIGEST_BYTES if path.exists() else 0
    for first in range(have, num_rows, ROWS_AT_ONCE):
        num = min(ROWS_AT_ONCE, num_rows - first)
        values = np.fromfile(features_path, "<f4", num * feature_size, offset=first * feature_size * 4)
        write_digests(features_path, first, values.reshape(-1, feature_size))


def changed_rows(features_path: Path, rows: Sequence[int], vectors: Vectors) -> list[int]:
    """Return which rows are not what was written; rows without a digest are taken for sound.

    Args:
        features_path: The feature file.
        rows: Row numbers.
        vectors: (B, D) float32 what is read at these rows.
    """
    path = digests_path(features_path)
    num_kept = path.stat().st_size // DIGEST_BYTES if path.exists() else 0
    kept = np.memmap(path, f"V{DIGEST_BYTES}", "r", shape=(num_kept,)) if num_kept else np.empty(0, f"V{DIGEST_BYTES}")
    return [
        row
        for row, vector in zip(rows, vectors, strict=True)
        if row < num_kept and kept[row].tobytes() != _digest(vector)
    ]


def _digest(vector: Vectors) -> bytes:
    return hashlib.blake2b(vector.tobytes(), digest_size=DIGEST_BYTES).digest()
