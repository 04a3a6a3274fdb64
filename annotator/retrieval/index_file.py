"""The file of a vector index: one JSON line, the image ids, FAISS's own bytes, and a checksum; and inverted files.

FAISS does not validate what it reads, so the checksum is verified first. Knows nothing of searches.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from annotator.errors import RetrievalError

FORMAT = 1
ALL_PHOTOS, TAGGED_PHOTOS = "", "-tagged"
"""Ends of the names of the files of a project's two indexes, after the label of the backbone."""
TRAINING_POINTS = 64
"""Training features per k-means centroid; FAISS requires at least 39."""
_DIGEST_BYTES = 32
_BLOCK_BYTES = 1 << 20

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class IndexHeader:
    """Metadata of an index, read before its bytes."""

    tag: str
    """Name and version of the backbone."""
    feature_size: int
    """D, values per feature."""
    num_trained_for: int
    """Images when the inverted file was trained; 0 for an exact index."""
    num_images: int
    """Images in the index."""
    format: int = FORMAT


def write_index_file(path: Path, header: IndexHeader, ids: Ids, faiss: ModuleType, index: Any) -> None:
    """Write an index to a temporary file, flush it to disk, then rename the file.

    Args:
        path: The file.
        header: Its metadata.
        ids: (N,) int64 images in the index.
        faiss: The imported module.
        index: A FAISS index; must not change meanwhile.

    Raises:
        RetrievalError: The disk is full or the folder cannot be written to.
    """
    # Always the same name, so that the file of a killed process is overwritten.
    temporary_path = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary_path, "wb") as file:
            _write(file, header, ids, faiss, index)
            file.flush()
            os.fsync(file.fileno())
        temporary_path.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary_path.unlink(missing_ok=True)
        raise RetrievalError(f"The index could not be written to {path}: {error}. Free some space there.") from error


def read_index_file(path: Path, faiss: ModuleType) -> tuple[IndexHeader, Ids, Any]:
    """Read an index.

    Returns:
        The header, the (N,) int64 image ids, and the FAISS index.

    Raises:
        RetrievalError: The file is missing, damaged, or of another format.
    """
    try:
        with open(path, "rb") as file:
            _check_digest(file)
            file.seek(0)
            header = IndexHeader(**json.loads(file.readline()))
            if header.format != FORMAT:
                raise ValueError(f"format {header.format}, not {FORMAT}")
            ids = np.frombuffer(file.read(8 * header.num_images), dtype="<i8").astype(np.int64)
            index = faiss.read_index(faiss.PyCallbackIOReader(file.read, _BLOCK_BYTES))
            if index.ntotal != header.num_images:
                raise ValueError(f"{index.ntotal} vectors, not {header.num_images}")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise RetrievalError(f"The index {path} cannot be read ({error}). It must be rebuilt.") from error
    return header, ids, index


def _write(file: IO[bytes], header: IndexHeader, ids: Ids, faiss: ModuleType, index: Any) -> None:
    digest = hashlib.sha256()

    def write(block: bytes) -> int:
        digest.update(block)
        return file.write(block)

    write(json.dumps(asdict(header)).encode() + b"\n")
    write(ids.astype("<i8").tobytes())
    writer = faiss.PyCallbackIOWriter(write, _BLOCK_BYTES)
    faiss.write_index(index, writer)
    del writer  # flushes nothing, but must be deleted before the file is closed
    file.write(digest.digest())


def _check_digest(file: IO[bytes]) -> None:
    left = file.seek(0, os.SEEK_END) - _DIGEST_BYTES
    if left < 0:
        raise ValueError("it is cut short")
    file.seek(0)
    digest = hashlib.sha256()
    while left:
        block = file.read(min(left, _BLOCK_BYTES))
        digest.update(block)
        left -= len(block)
    if file.read() != digest.digest():
        raise ValueError("its checksum is wrong")


def _sync_folder(folder: Path) -> None:
    """Make the rename durable in case of a power failure."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def nearest_num_lists(num_images: int) -> int:
    """Return the power of two nearest to the square root of the number: 128 for 20,000, 1,024 for a million."""
    return int(2 ** round(float(np.log2(num_images)) / 2))


def train_inverted_file(
    faiss: ModuleType,
    points: npt.NDArray[np.float32],
    *,
    num_lists: int,
    projected_size: int,
    num_threads: int,
    seed: int,
) -> Any:
    """Train an empty FAISS index.

    Args:
        faiss: The imported module.
        points: (N, D) normalised features, at least ``num_lists`` of them.
        num_lists: Lists of the inverted file.
        projected_size: Principal components kept; at most D and at most N are.
        num_threads: FAISS threads.
        seed: Chooses the first centroids.
    """
    size = min(projected_size, *points.shape)
    # For normalised features, Euclidean order equals cosine order; unlike inner products, it does not change with
    # the centring of principal components.
    lists = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(size), size, num_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2
    )
    lists.cp.seed = seed
    lists.cp.min_points_per_centroid = 1  # only avoids a warning of FAISS
    lists.cp.max_points_per_centroid = TRAINING_POINTS
    index = faiss.IndexPreTransform(faiss.PCAMatrix(points.shape[1], size), lists)
    faiss.omp_set_num_threads(num_threads)
    index.train(points)
    return index
