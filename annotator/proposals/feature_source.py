"""Sources of features for the ranking: a project's feature file, or photos in memory."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from annotator.storage.features import Vectors


class FeatureSource(Protocol):
    """Features by image id; `FeatureStore` is one."""

    feature_size: int
    """D."""

    def __contains__(self, image_id: int) -> bool:
        """Tell whether the photo has features."""
        ...

    def vectors(self, image_ids: Iterable[int]) -> Vectors:
        """Return (N, D) float32 features.

        Raises:
            UnknownImageError: A photo has no features.
        """
        ...


class FeaturesInMemory:
    """Features of photos outside any project.

    Args:
        vectors: Image id -> (D,) float32.
        feature_size: D.
    """

    def __init__(self, vectors: Mapping[int, Vectors], feature_size: int) -> None:
        self._vectors = vectors
        self.feature_size = feature_size

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._vectors

    def vectors(self, image_ids: Iterable[int]) -> Vectors:
        """Return (N, D) float32 features."""
        return np.stack([self._vectors[image_id] for image_id in image_ids])
