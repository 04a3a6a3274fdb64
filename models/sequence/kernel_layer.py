"""A kernel layer beside a recurrent tagger: the presence and the graded gain of each tag, from one photo alone.

Kernel ridge regression on the training photos, with M of them as landmarks (the Nystroem method: Williams and Seeger,
"Using the Nystroem Method to Speed Up Kernel Machines", 2001). A photo is the vector of the signed square roots of
its features, centred, scaled to length 1 and projected onto the P principal directions of the training photos. With d
half the squared distance of two photos and s its median,

    k(a, b) = exp(-SHARPNESS d / s),

and both outputs are linear in k(photo, landmarks), through R directions that they share (reduced-rank regression:
Izenman, "Reduced-rank regression for the multivariate linear model", 1975). Presence is learnt from 0 and 1, gain from
(2^s - 1) / Z of the person's list, s the grade of the tag's place and Z the best list's sum (`metrics.ndcg_at`), so
that a sum of outputs is an expectation. Fitted by trainer/kernel_fit.py.

Numpy alone. Shapes: features (B, D) -> kernel (B, M) -> presence and gain (B, V).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

PREFIX = "kernel."
SHARPNESS = 1.5
"""Chosen on captions: docs/experiments/order.md."""


class KernelLayer:
    """The layer for inference; safe to use from several threads.

    Args:
        weights: The arrays `kernel.*` of a tagger; others are ignored. mean (D,), basis (D, P), landmarks (M, P),
            scale (1,), shared (R, M), presence and gain (V, R).
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        arrays = {name.removeprefix(PREFIX): array for name, array in weights.items() if name.startswith(PREFIX)}
        self._mean, self._basis, self._landmarks = arrays["mean"], arrays["basis"], arrays["landmarks"]
        self._scale = arrays["scale"][0]
        outputs = np.concatenate([arrays["presence"], arrays["gain"]])
        self._outputs = np.ascontiguousarray((outputs @ arrays["shared"]).T)  # (M, 2 V)
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
        points = unit_roots(features, self._mean) @ self._basis
        kernel = kernel_of(half_squared_distances(points, self._landmarks) / self._scale)
        presence, gain = np.split(np.maximum(kernel @ self._outputs, 0), 2, axis=1)
        if key:
            self._newest = key, presence, gain
        return presence, gain


def signed_roots(features: Array) -> Array:
    """Return sign(x) sqrt(|x|)."""
    roots: Array = np.copysign(np.sqrt(np.abs(features)), features)
    return roots


def unit_roots(features: Array, mean: Array) -> Array:
    """Return centred signed square roots of length 1; a row of zeros stays.

    Args:
        features: (B, D).
        mean: (D,), of the signed square roots of the training photos.
    """
    centred = signed_roots(features) - mean
    rows: Array = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return rows


def half_squared_distances(left: Array, right: Array) -> Array:
    """Return half the squared distances of rows, (B, M)."""
    norms = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    distances: Array = np.maximum(norms / 2 - left @ right.T, 0)
    return distances


def kernel_of(distances: Array) -> Array:
    """Return the kernel of distances over their median."""
    kernel: Array = np.exp(np.float32(-SHARPNESS) * distances)
    return kernel
