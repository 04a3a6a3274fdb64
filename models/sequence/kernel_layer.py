"""A kernel layer beside a recurrent tagger: the presence and the graded gain of each tag, from one photo alone.

Kernel ridge regression on the training photos, with M of them as landmarks (the Nystroem method: Williams and Seeger,
"Using the Nystroem Method to Speed Up Kernel Machines", 2001). A view of a photo is a vector that is centred, scaled
to length 1 and projected onto the principal directions of the training photos. The first view are the square roots of
the features, the second, where the backbone has a classifier, the square roots of its class probabilities. With d_m
half the squared distance in view m and s_m its median,

    k(a, b) = exp(-SHARPNESS (d_1 / s_1 + CLASS_WEIGHT d_2 / s_2) / (1 + CLASS_WEIGHT)),

and both outputs are linear in k(photo, landmarks). Presence is learnt from 0 and 1, gain from (2^s - 1) / Z of the
person's list, s the grade of the tag's place and Z the best list's sum (Ranked tag lists paper, NDCG), so that a sum
of outputs is an expectation. Fitted by trainer/kernel_fit.py.

Numpy alone. Shapes: features (B, D) -> kernel (B, M) -> presence and gain (B, V).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

PREFIX = "kernel."
SHARPNESS = 1.5
CLASS_WEIGHT = 0.4
"""Of the class probabilities relative to the features. Both were chosen on captions, docs/experiments/order.md."""


@dataclass(frozen=True)
class View:
    """How one view of a photo becomes a point."""

    mean: Array
    """(D_m,)."""
    basis: Array
    """(D_m, P)."""
    landmarks: Array
    """(M, P)."""
    scale: float
    """Median of the half squared distances between training photos."""

    def points(self, values: Array) -> Array:
        """Return the (B, P) points of (B, D_m) square roots."""
        return unit_rows(values - self.mean) @ self.basis

    def distances(self, values: Array) -> Array:
        """Return half the squared distances to the landmarks over the scale, (B, M)."""
        return half_squared_distances(self.points(values), self.landmarks) / np.float32(self.scale)


class KernelLayer:
    """The layer for inference; safe to use from several threads.

    Args:
        weights: The arrays `kernel.*` of a tagger; others are ignored. `kernel.presence` and `kernel.gain` are (V, M).
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._classifier = None
        views = [_view(weights, "")]
        if f"{PREFIX}class_head" in weights:
            self._classifier = weights[f"{PREFIX}class_head"], weights[f"{PREFIX}class_bias"]
            views.append(_view(weights, "class_"))
        self._views = views
        outputs = [weights[f"{PREFIX}presence"], weights[f"{PREFIX}gain"]]
        self._outputs = np.ascontiguousarray(np.concatenate(outputs).T)  # (M, 2 V)
        self._newest: tuple[bytes, Array, Array] | None = None
        """Features and prediction of the photo that was asked for last, which is asked for again after each edit."""

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Return the presence and the gain of each tag, each (B, V) and not below 0.

        Args:
            features: (B, D).
        """
        key, newest = features.tobytes() if len(features) == 1 else b"", self._newest
        if newest is not None and key == newest[0]:
            return newest[1], newest[2]
        kernel = combined_kernel(
            [
                view.distances(values)
                for view, values in zip(self._views, view_values(features, self._classifier), strict=True)
            ]
        )
        presence, gain = np.split(np.maximum(kernel @ self._outputs, 0), 2, axis=1)
        if key:
            self._newest = key, presence, gain
        return presence, gain


def view_values(features: Array, classifier: tuple[Array, Array] | None) -> list[Array]:
    """Return the square roots of the features and, with a classifier, of its class probabilities.

    Args:
        features: (B, D), not negative; negative values count as 0.
        classifier: Weights (D, C) and bias (C,).
    """
    values = [np.sqrt(np.maximum(features, 0))]
    if classifier is not None:
        logits = features @ classifier[0] + classifier[1]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        values.append(np.sqrt(powers / powers.sum(axis=1, keepdims=True)))
    return values


def combined_kernel(distances: list[Array]) -> Array:
    """Return the kernel of the scaled distances in each view, (B, M)."""
    total = distances[0] if len(distances) == 1 else (distances[0] + CLASS_WEIGHT * distances[1]) / (1 + CLASS_WEIGHT)
    kernel: Array = np.exp(np.float32(-SHARPNESS) * total)
    return kernel


def half_squared_distances(left: Array, right: Array) -> Array:
    """Return half the squared distances of rows, (B, M)."""
    norms = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    distances: Array = np.maximum(norms / 2 - left @ right.T, 0)
    return distances


def unit_rows(values: Array) -> Array:
    """Return rows of length 1; a row of zeros stays."""
    rows: Array = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    return rows


def _view(weights: Mapping[str, Array], kind: str) -> View:
    def of(name: str) -> Array:
        return weights[f"{PREFIX}{kind}{name}"]

    return View(of("mean"), of("basis"), of("landmarks"), float(of("scale")[0]))
