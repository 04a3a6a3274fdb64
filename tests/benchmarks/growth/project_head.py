"""A head that learns with every save: kernel ridge regression over a project's own tagged photos, kept up to date.

Features x are made z = sqrt(x) / |sqrt(x)|, and two photos are alike by the Laplacian kernel

    k(a, b) = exp(-SHARPNESS |z_a - z_b|).

Of N kept photos the inverse P = (K + RIDGE I)^-1 is kept. A photo's weights are w = P k(photo), and what the head
expects of a tag that photo i carries (y_i = 1) or not (y_i = 0), above the mean m that the caller knows, is

    gain = sum_i w_i (y_i - m),

the mean of a Gaussian process (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 2.25); its
variance 1 - k' P k (eq. 2.26) tells how little the kept photos say of this one. Since the tags enter the last sum
alone, a list that is replaced costs nothing, and any number of tags shares one inverse. A new photo adds a row and a
column to P by the block inverse, one that goes takes them out again: O(N^2), no solve. A kept photo that is itself
looked at is left out exactly, by w_j = -P_ij / P_ii (Rifkin and Lippert, "Notes on Regularized Least Squares", 2007).

At most MAX_PHOTOS are kept, so that a look takes the same time at 100,000 tagged photos as at 1,000. The rule: when all
places are taken, the photo that the others tell best (the largest P_ii, whose leave-one-out variance is the smallest)
makes place, whether that is a kept one or the new one. What a person said of it stays in the caller's counts.

Knows nothing of tags, stores or taggers. Not safe to use from several threads: the caller holds a lock. Shapes:
features (D,), N kept photos, K and P (N, N) float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

MAX_PHOTOS = 1_000
SHARPNESS = 1.0
RIDGE = 0.3
"""Chosen with SHARPNESS on food: of 12 pairs and the RBF kernel all lie within .02 of each other."""
BROAD_SHARPNESS = 10.0
"""Of `Look.nearness`, exp(-BROAD_SHARPNESS (usual - cosine)) where the cosine is below what is usual between a photo of
the project and those nearest to it, else 1: which photos are of the same subject."""
NUM_NEAREST = 5
"""Photos whose mean similarity says how near the kept photos come to one."""
USUAL_EVERY = 20
_FIRST_CAPACITY = 64


@dataclass(frozen=True)
class Look:
    """What the kept photos are to one photo."""

    photo_ids: Ids
    """(N,), without the photo itself."""
    weights: Matrix
    """(N,) w, what each photo's list counts; of any sign."""
    nearness: Matrix
    """(N,) in (0, 1], a broad kernel: how much each photo is of the same subject, 1 with fewer than two photos."""
    similarities: Matrix
    """(N,) cosine of z."""
    confidence: float
    """1 - variance, in [0, 1]: 0 where no photo says anything of this one."""
    nearest: float
    """Mean similarity of the NUM_NEAREST most similar photos; -1 without photos."""
    usual: float
    """The same of the kept photos among themselves, their mean; -1 with fewer than two."""
    spread: float
    """The standard deviation of `usual` over the kept photos."""


class ProjectHead:
    """Keeps a project's tagged photos and the inverse of their kernel.

    Args:
        feature_size: D.
        max_photos: Most photos that are kept.

    Raises:
        ValueError: Fewer than one photo may be kept.
    """

    def __init__(self, feature_size: int, *, max_photos: int = MAX_PHOTOS) -> None:
        if max_photos < 1:
            raise ValueError(f"A head keeps at least 1 photo; max_photos is {max_photos}.")
        self.feature_size = feature_size
        self.max_photos = max_photos
        self._ids: list[int] = []
        self._row_of: dict[int, int] = {}
        self._rows = np.zeros((0, feature_size))
        self._cosines = np.zeros((0, 0))
        self._inverse = np.zeros((0, 0))
        self._usual = (-1.0, 0.0)
        self._changes = 0
        """Photos that came or went since `_usual` was found."""

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, photo_id: int) -> bool:
        return photo_id in self._row_of

    @property
    def photo_ids(self) -> list[int]:
        """The kept photos, in no order that means anything."""
        return list(self._ids)

    def set(self, photo_id: int, features: Features) -> int | None:
        """Keep a photo, in place of what was kept under this id.

        Args:
            photo_id: Any number.
            features: (D,), not negative.

        Returns:
            The photo that made place, which may be this one; None if all are kept.

        Raises:
            ValueError: The feature size does not fit, or a value is no finite number.
        """
        row = self._to_row(features)
        self.remove(photo_id)
        self._add(photo_id, row)
        if len(self._ids) <= self.max_photos:
            return None
        told_best = self._ids[int(np.argmax(np.diagonal(self._inverse)[: len(self._ids)]))]
        self.remove(told_best)
        return told_best

    def load(self, photo_ids: Sequence[int], features: Features) -> None:
        """Keep these photos in place of all others, by one inversion; of too many, evenly spaced ones.

        Args:
            photo_ids: M different numbers.
            features: (M, D), not negative.

        Raises:
            ValueError: The sizes do not fit, or a value is no finite number.
        """
        if len(photo_ids) != len(features) or len(set(photo_ids)) < len(photo_ids):
            raise ValueError(f"There must be one id a photo: {len(photo_ids)} ids, {len(features)} features.")
        chosen = evenly_spaced(range(len(photo_ids)), self.max_photos)
        num = len(chosen)
        self._ids = [int(photo_ids[place]) for place in chosen]
        self._row_of = {photo_id: place for place, photo_id in enumerate(self._ids)}
        self._rows, self._cosines, self._inverse = np.zeros((0, self.feature_size)), np.zeros((0, 0)), np.zeros((0, 0))
        if num:
            self._rows = np.stack([self._to_row(features[place]) for place in chosen])
            self._cosines = self._rows @ self._rows.T
            np.fill_diagonal(self._cosines, 1.0)
            inverse: Matrix = np.asarray(np.linalg.inv(_kernel(self._cosines) + RIDGE * np.eye(num)), np.float64)
            self._inverse = inverse
        self._changes = num

    def remove(self, photo_id: int) -> None:
        """Forget a photo; one that is not kept changes nothing."""
        place = self._row_of.pop(photo_id, None)
        if place is None:
            return
        num = len(self._ids)
        last = num - 1
        if place != last:  # the last photo takes its place
            moved = self._ids[last]
            self._ids[place], self._row_of[moved] = moved, place
            self._rows[place] = self._rows[last]
            for matrix in (self._cosines, self._inverse):
                matrix[[place, last], :num] = matrix[[last, place], :num]
                matrix[:num, [place, last]] = matrix[:num, [last, place]]
        self._ids.pop()
        column = self._inverse[:last, last].copy()
        self._inverse[:last, :last] -= np.outer(column, column / self._inverse[last, last])
        self._changes += 1

    def look(self, features: Features, photo_id: int | None = None) -> Look:
        """Return what the kept photos are to one photo.

        Args:
            features: (D,), not negative.
            photo_id: The photo's own; if it is kept, it is left out. None: it is not kept.

        Raises:
            ValueError: The feature size does not fit, or a value is no finite number.
        """
        num = len(self._ids)
        row = self._to_row(features)
        own = self._row_of.get(photo_id) if photo_id is not None else None
        cosines = self._rows[:num] @ row
        kernel = _kernel(cosines)
        inverse = self._inverse[:num, :num]
        if own is None:
            weights = inverse @ kernel
            confidence = float(kernel @ weights)
            others = np.arange(num)
        else:
            # Without photo i the inverse is P - p p' / P_ii, p its column.
            column = inverse[:, own] / inverse[own, own]
            kernel[own] = 0.0
            weights = inverse @ kernel - column * (inverse[own] @ kernel)
            confidence = float(kernel @ weights)
            others = np.delete(np.arange(num), own)
        similarities = cosines[others]
        usual, spread = self._usual_nearest()
        return Look(
            np.array(self._ids, np.int64)[others],
            weights[others],
            np.exp(BROAD_SHARPNESS * np.minimum(similarities - usual, 0.0)),
            similarities,
            min(max(confidence, 0.0), 1.0),
            _mean_of_largest(similarities),
            usual,
            spread,
        )

    def _to_row(self, features: Features) -> Matrix:
        if features.shape != (self.feature_size,):
            raise ValueError(f"Features must be ({self.feature_size},); their shape is {features.shape}.")
        if not np.isfinite(features).all():
            raise ValueError("A feature is not a finite number.")
        row = np.sqrt(np.maximum(features.astype(np.float64), 0.0))
        return row / max(float(np.linalg.norm(row)), 1e-12)

    def _add(self, photo_id: int, row: Matrix) -> None:
        num = len(self._ids)
        if num == len(self._rows):
            self._grow(min(max(2 * num, _FIRST_CAPACITY), self.max_photos + 1))
        cosines = self._rows[:num] @ row
        kernel = _kernel(cosines)
        inverse: Matrix = self._inverse[:num, :num]
        weights = inverse @ kernel
        left = 1.0 + RIDGE - float(kernel @ weights)  # the Schur complement, at least RIDGE
        inverse += np.outer(weights, weights / left)
        self._inverse[num, :num] = self._inverse[:num, num] = -weights / left
        self._inverse[num, num] = 1.0 / left
        self._cosines[num, :num] = self._cosines[:num, num] = cosines
        self._cosines[num, num] = 1.0
        self._rows[num] = row
        self._row_of[photo_id] = num
        self._ids.append(photo_id)
        self._changes += 1

    def _grow(self, capacity: int) -> None:
        num = len(self._ids)
        rows = np.zeros((capacity, self.feature_size))
        rows[:num] = self._rows[:num]
        self._rows = rows
        for name in ("_cosines", "_inverse"):
            larger = np.zeros((capacity, capacity))
            larger[:num, :num] = getattr(self, name)[:num, :num]
            setattr(self, name, larger)

    def _usual_nearest(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of the kept photos' own `Look.nearest`.

        Found anew after a change of at least one photo in USUAL_EVERY: it takes O(N^2), and hardly moves.
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


def _kernel(cosines: Matrix) -> Matrix:
    distances = np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0))
    kernel: Matrix = np.exp(-SHARPNESS * distances)
    return kernel


def _mean_of_largest(similarities: Matrix) -> float:
    k = min(NUM_NEAREST, len(similarities))
    if not k:
        return -1.0
    return float(np.partition(similarities, len(similarities) - k)[len(similarities) - k :].mean())
