"""Fits the kernel layer of a recurrent tagger to ordered tag lists, see models/sequence/kernel_layer.py.

Knows nothing of torch, files or commands. Shapes: N photos, D features, V tags, M landmarks, R shared directions.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from annotator.models.sequence.kernel_layer import (
    PREFIX,
    Array,
    half_squared_distances,
    kernel_of,
    signed_roots,
    unit_roots,
)
from annotator.trainer.evaluation.metrics import TOP_GRADE

RIDGE = 0.6
"""Weight of the squared norm in the space of the kernel."""
STABILISER = 1e-6
"""Added to the diagonal, times N: landmarks that are nearly alike make the system singular."""
MAX_SCALE_PHOTOS = 2_000
"""Photos from which the median distance is taken."""


def fit_kernel(
    features: Array,
    sequences: Sequence[Sequence[int]],
    num_tags: int,
    *,
    num_landmarks: int,
    size: int,
    rank: int,
    seed: int = 0,
) -> dict[str, Array]:
    """Return the arrays of `KernelLayer`.

    Args:
        features: (N, D) of the training photos.
        sequences: N lists of tag ids, the most important first.
        num_tags: V.
        num_landmarks: M, at most N.
        size: P, number of principal directions, at most D.
        rank: R, at most M and 2 V.
        seed: Of the random choice of landmarks.
    """
    chosen = np.sort(np.random.default_rng(seed).choice(len(features), num_landmarks, replace=False))
    mean = signed_roots(features).mean(axis=0)
    unit = unit_roots(features, mean)
    basis = leading_directions(unit, size)
    points = unit @ basis
    distances = half_squared_distances(points, points[chosen])
    scale = np.float32(max(float(np.median(distances[:MAX_SCALE_PHOTOS])), 1e-9))
    kernel = kernel_of(distances / scale)
    targets = np.concatenate(presence_and_gain(sequences, num_tags), axis=1)
    weights = solve(kernel, chosen, targets)  # (M, 2 V)
    outputs = leading_directions(
        (kernel @ weights).astype(np.float32), rank
    )  # (2 V, R): nearest in the training photos
    arrays = {
        "mean": mean,
        "basis": basis,
        "landmarks": points[chosen],
        "scale": np.array([scale], np.float32),
        "shared": (weights @ outputs).T.astype(np.float32),
        "presence": outputs[:num_tags],
        "gain": outputs[num_tags:],
    }
    return {f"{PREFIX}{name}": array for name, array in arrays.items()}


def solve(kernel: Array, chosen: npt.NDArray[np.int64], targets: Array) -> npt.NDArray[np.float64]:
    """Return the weights of the landmarks, (M, T).

    Args:
        kernel: (N, M) of the training photos and the landmarks.
        chosen: (M,) the landmarks among the training photos.
        targets: (N, T).
    """
    exact = kernel.astype(np.float64)
    stabiliser = STABILISER * len(exact) * np.eye(len(chosen))
    system = exact.T @ exact + RIDGE * exact[chosen] + stabiliser
    return np.asarray(np.linalg.solve(system, exact.T @ targets), np.float64)


def presence_and_gain(sequences: Sequence[Sequence[int]], num_tags: int) -> tuple[Array, Array]:
    """Return the targets, each (N, V): 1 for the tags of a photo, and the share of each in the gain of its list.

    The gain of the tag at place p is (2^s - 1) / Z, s = TOP_GRADE for the first, one less for the next, at least 0; Z
    is the discounted sum of the whole list, by which `metrics.ndcg_at` divides.
    """
    presence = np.zeros((len(sequences), num_tags), np.float32)
    gain = np.zeros((len(sequences), num_tags), np.float32)
    for row, tags in enumerate(sequences):
        gains = [2.0 ** max(0, TOP_GRADE - place) - 1 for place in range(len(tags))]
        best = sum(value / math.log2(2 + place) for place, value in enumerate(gains))
        presence[row, list(tags)] = 1
        gain[row, list(tags)] = np.array(gains) / max(best, 1e-9)
    return presence, gain


def leading_directions(rows: Array, size: int) -> Array:
    """Return the orthonormal directions in which (N, D) rows are longest, (D, size)."""
    _, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    directions: Array = np.ascontiguousarray(vectors[:, ::-1][:, :size]).astype(np.float32)
    return directions
