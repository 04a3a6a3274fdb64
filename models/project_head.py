"""A head on frozen features that learns with every save: kernel ridge regression on a project's tagged photos.

Features x become unit vectors z = sqrt(x) / |sqrt(x)|, where a negative value has a negative root. A backbone with a
classifier gives a second view, h = sqrt(p) for its class probabilities p (a Hellinger embedding), in which photos of
the same class are near. The kernel is the mean over the views of Laplacian kernels:

    k(a, b) = mean of exp(-SHARPNESS |z_a - z_b|) and exp(-SHARPNESS |h_a - h_b|).

For N exemplars (tagged photos that are held) the inverse P = (K + RIDGE I)^-1 is stored. A new photo gives exemplar i
the weight w_i, w = P k(photo), and the predicted presence of a tag with labels y_i (1 if exemplar i has it, else 0),
above the tag's mean m, is

    gain = sum_i w_i (y_i - m),

the mean of a Gaussian process (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 2.25). Its
variance, 1 - k' P k (eq. 2.26), is high where no exemplar resembles the photo. The labels enter only in the last sum:
a changed list costs nothing, and all tags share one inverse. Adding or removing an exemplar updates P by the block
inverse in O(N^2). Exemplars S are left out exactly without a new inverse: with k_S = 0 and v = P k,
w = v - P_.S (P_SS)^-1 v_S (the block form of Rifkin and Lippert, "Notes on Regularized Least Squares", 2007).

At most MAX_PHOTOS exemplars are held, so that the time of a prediction does not depend on the size of the project. When
there is one too many, the exemplar with the smallest leave-one-out variance (the largest P_ii), which the others
predict best, is removed.

Knows nothing of tags, databases or taggers. Not thread-safe: the caller holds a lock. Shapes: features (D,), N
exemplars, K and P (N, N) float64.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Classify = Callable[[Features], Features]

MAX_PHOTOS = 1_000
SHARPNESS = 1.0
RIDGE = 0.3
"""Chosen with SHARPNESS on food: of 12 pairs and the RBF kernel all lie within .02 of each other."""
BROAD_SHARPNESS = 10.0
"""Of `HeadPrediction.nearness`: exp(-BROAD_SHARPNESS (usual - cosine)) for a cosine below `usual`, else 1."""
NUM_NEAREST = 5
"""Exemplars whose mean similarity is `HeadPrediction.nearest`."""
USUAL_EVERY = 20
"""`HeadPrediction.usual` is computed again after a change of one exemplar in so many."""
_FIRST_CAPACITY = 64


@dataclass(frozen=True)
class HeadPrediction:
    """The relation of the exemplars to one photo."""

    photo_ids: Ids
    """(N,), without those that were left out."""
    weights: Matrix
    """(N,) w, the weight of each exemplar's labels; of any sign."""
    nearness: Matrix
    """(N,) in (0, 1], a wide kernel: how likely each exemplar shows the same subject; 1 with fewer than two."""
    similarities: Matrix
    """(N,) cosine of z, the first view."""
    confidence: float
    """1 - variance, in [0, 1]; 0 where no exemplar resembles the photo."""
    nearest: float
    """Mean similarity of the NUM_NEAREST most similar exemplars; -1 without exemplars."""
    usual: float
    """Mean over the exemplars of their own `nearest` among the others; -1 with fewer than two."""
    spread: float
    """Standard deviation that belongs to `usual`."""


class ProjectHead:
    """The exemplars of a project and the inverse of their kernel matrix.

    Args:
        feature_size: D.
        classify: (N, D) features -> (N, K) class probabilities, the second view; None: one view.
        max_photos: Most exemplars.

    Raises:
        ValueError: `max_photos` is below 1.
    """

    def __init__(self, feature_size: int, classify: Classify | None = None, *, max_photos: int = MAX_PHOTOS) -> None:
        if max_photos < 1:
            raise ValueError(f"A head holds at least 1 exemplar; max_photos is {max_photos}.")
        self.feature_size = feature_size
        self.max_photos = max_photos
        self._ids: list[int] = []
        self._row_of: dict[int, int] = {}
        self._classify = classify
        self._rows: list[Matrix] = []
        """For each view, (capacity, size) unit vectors."""
        self._cosines = np.zeros((0, 0))
        self._inverse = np.zeros((0, 0))
        self._usual = (-1.0, 0.0)
        self._changes = 0
        """Exemplars added or removed since `_usual` was computed."""

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, photo_id: int) -> bool:
        return photo_id in self._row_of

    @property
    def photo_ids(self) -> list[int]:
        """The exemplars, in any order."""
        return list(self._ids)

    def set(self, photo_id: int, features: Features) -> int | None:
        """Add an exemplar, or replace the one with this id.

        Args:
            photo_id: Any number.
            features: (D,).

        Returns:
            The exemplar that was removed for it, which may be this one; None if there was room.

        Raises:
            ValueError: The feature size does not fit, or a value is not finite.
        """
        rows = [view[0] for view in self._views(features[None])]
        self.remove(photo_id)
        self._add(photo_id, rows)
        if len(self._ids) <= self.max_photos:
            return None
        most_redundant = self._ids[int(np.argmax(np.diagonal(self._inverse)[: len(self._ids)]))]
        self.remove(most_redundant)
        return most_redundant

    def load(self, photo_ids: Sequence[int], features: Features) -> None:
        """Replace all exemplars, by one inversion; of too many photos, evenly spaced ones are taken.

        Args:
            photo_ids: M different numbers.
            features: (M, D).

        Raises:
            ValueError: The sizes do not fit, or a value is not finite.
        """
        if len(photo_ids) != len(features) or len(set(photo_ids)) < len(photo_ids):
            raise ValueError(f"There must be one id a photo: {len(photo_ids)} ids, {len(features)} features.")
        chosen = evenly_spaced(range(len(photo_ids)), self.max_photos)
        num = len(chosen)
        self._ids = [int(photo_ids[place]) for place in chosen]
        self._row_of = {photo_id: place for place, photo_id in enumerate(self._ids)}
        self._rows, self._cosines, self._inverse = [], np.zeros((0, 0)), np.zeros((0, 0))
        if num:
            self._rows = self._views(features[chosen])
            cosines = [rows @ rows.T for rows in self._rows]
            for matrix in cosines:
                np.fill_diagonal(matrix, 1.0)
            self._cosines = cosines[0]
            inverse: Matrix = np.asarray(np.linalg.inv(_kernel(cosines) + RIDGE * np.eye(num)), np.float64)
            self._inverse = inverse
        self._changes = num

    def remove(self, photo_id: int) -> None:
        """Remove an exemplar, if there is one with this id."""
        place = self._row_of.pop(photo_id, None)
        if place is None:
            return
        num = len(self._ids)
        last = num - 1
        if place != last:  # the last photo takes its place
            moved = self._ids[last]
            self._ids[place], self._row_of[moved] = moved, place
            for rows in self._rows:
                rows[place] = rows[last]
            for matrix in (self._cosines, self._inverse):
                matrix[[place, last], :num] = matrix[[last, place], :num]
                matrix[:num, [place, last]] = matrix[:num, [last, place]]
        self._ids.pop()
        column = self._inverse[:last, last].copy()
        self._inverse[:last, :last] -= np.outer(column, column / self._inverse[last, last])
        self._changes += 1

    def predict(self, features: Features, without: Collection[int] = ()) -> HeadPrediction:
        """Return the relation of the exemplars to one photo.

        Args:
            features: (D,).
            without: Exemplars that are left out, as if they had never been added.

        Raises:
            ValueError: The feature size does not fit, or a value is not finite.
        """
        num = len(self._ids)
        views = self._views(features[None])
        cosines = [rows[:num] @ view[0] for rows, view in zip(self._rows, views, strict=False)]
        kernel = _kernel(cosines) if num else np.zeros(0)
        inverse = self._inverse[:num, :num]
        out = sorted(self._row_of[photo_id] for photo_id in set(without) if photo_id in self._row_of)
        kernel[out] = 0.0
        weights = inverse @ kernel
        if out:
            weights -= inverse[:, out] @ np.linalg.solve(inverse[np.ix_(out, out)], weights[out])
        confidence = float(kernel @ weights)
        others = np.delete(np.arange(num), out)
        similarities = cosines[0][others] if num else np.zeros(0)
        usual, spread = self._usual_nearest()
        return HeadPrediction(
            np.array(self._ids, np.int64)[others],
            weights[others],
            np.exp(BROAD_SHARPNESS * np.minimum(similarities - usual, 0.0)),
            similarities,
            min(max(confidence, 0.0), 1.0),
            _mean_of_largest(similarities),
            usual,
            spread,
        )

    def _views(self, features: Features) -> list[Matrix]:
        """Return the (N, size) unit vectors of each view of (N, D) features."""
        if features.ndim != 2 or features.shape[1] != self.feature_size:
            raise ValueError(f"Features must be ({self.feature_size},); their shape is {features.shape[1:]}.")
        if not np.isfinite(features).all():
            raise ValueError("A feature is not a finite number.")
        views = [features] if self._classify is None else [features, self._classify(features)]
        return [_unit(_signed_roots(view.astype(np.float64))) for view in views]

    def _add(self, photo_id: int, row_of_view: Sequence[Matrix]) -> None:
        num = len(self._ids)
        if num == len(self._cosines):
            self._grow(min(max(2 * num, _FIRST_CAPACITY), self.max_photos + 1), [len(row) for row in row_of_view])
        cosines = [rows[:num] @ row for rows, row in zip(self._rows, row_of_view, strict=True)]
        kernel = _kernel(cosines)
        inverse: Matrix = self._inverse[:num, :num]
        weights = inverse @ kernel
        left = 1.0 + RIDGE - float(kernel @ weights)  # the Schur complement, at least RIDGE
        inverse += np.outer(weights, weights / left)
        self._inverse[num, :num] = self._inverse[:num, num] = -weights / left
        self._inverse[num, num] = 1.0 / left
        self._cosines[num, :num] = self._cosines[:num, num] = cosines[0]
        self._cosines[num, num] = 1.0
        for rows, row in zip(self._rows, row_of_view, strict=True):
            rows[num] = row
        self._row_of[photo_id] = num
        self._ids.append(photo_id)
        self._changes += 1

    def _grow(self, capacity: int, sizes: Sequence[int]) -> None:
        num = len(self._ids)
        grown = [np.zeros((capacity, size)) for size in sizes]
        for larger, rows in zip(grown, self._rows, strict=False):
            larger[:num] = rows[:num]
        self._rows = grown
        for name in ("_cosines", "_inverse"):
            larger = np.zeros((capacity, capacity))
            larger[:num, :num] = getattr(self, name)[:num, :num]
            setattr(self, name, larger)

    def _usual_nearest(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of the exemplars' own `HeadPrediction.nearest`.

        Computed again after a change of one exemplar in USUAL_EVERY, as it takes O(N^2) and changes slowly.
        """
        num = len(self._ids)
        if self._changes and self._changes >= num // USUAL_EVERY:
            self._changes = 0
            self._usual = (-1.0, 0.0)
            if num > 1:
                cosines = self._cosines[:num, :num].copy()
                np.fill_diagonal(cosines, -np.inf)
                k = min(NUM_NEAREST, num - 1)
                nearest = np.partition(cosines, num - k, axis=1)[:, num - k :].mean(axis=1)
                self._usual = (float(nearest.mean()), float(nearest.std()))
        return self._usual


def evenly_spaced(photo_ids: Sequence[int], num: int) -> list[int]:
    """Return at most so many of some photos, evenly spaced, the first and the last among them."""
    if len(photo_ids) <= num:
        return list(photo_ids)
    return [photo_ids[place] for place in np.unique(np.linspace(0, len(photo_ids) - 1, num).round().astype(int))]


def _signed_roots(values: Matrix) -> Matrix:
    roots: Matrix = np.copysign(np.sqrt(np.abs(values)), values)
    return roots


def _unit(rows: Matrix) -> Matrix:
    unit: Matrix = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _kernel(cosines_of_view: Sequence[Matrix]) -> Matrix:
    kernels = [np.exp(-SHARPNESS * np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0))) for cosines in cosines_of_view]
    return np.asarray(sum(kernels) / len(kernels), np.float64)


def _mean_of_largest(similarities: Matrix) -> float:
    k = min(NUM_NEAREST, len(similarities))
    if not k:
        return -1.0
    return float(np.partition(similarities, len(similarities) - k)[len(similarities) - k :].mean())
