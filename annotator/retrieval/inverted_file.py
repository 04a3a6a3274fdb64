"""The inverted file of a large visual index, trained on a sample of its features.

Features are rotated and cut to their principal components, kept a byte each in lists around k-means centroids.
Knows nothing of images, of threads or of when to train.
"""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

TRAINING_POINTS = 64
"""Training features a k-means centroid; FAISS asks for at least 39."""


def nearest_num_lists(num_images: int) -> int:
    """Return the power of two nearest to the root of the number: 128 at 20,000, 1,024 at a million."""
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
    # Euclidean order of normalised features is cosine order, and unlike inner products it survives the
    # centring that principal components need.
    lists = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(size), size, num_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2
    )
    lists.cp.seed = seed
    lists.cp.min_points_per_centroid = 1  # fewer only make FAISS print a warning
    lists.cp.max_points_per_centroid = TRAINING_POINTS
    index = faiss.IndexPreTransform(faiss.PCAMatrix(points.shape[1], size), lists)
    faiss.omp_set_num_threads(num_threads)
    index.train(points)
    return index
