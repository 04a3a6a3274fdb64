"""Fits the kernel layer of a recurrent tagger to ordered tag lists, see models/sequence/kernel_layer.py.

Knows nothing of torch, files or commands. Shapes: N photos, D features, V tags, M landmarks.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from annotator.models.sequence.kernel_layer import (
    PREFIX,
    Array,
    combined_kernel,
    half_squared_distances,
    unit_rows,
    view_values,
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
    num_landmarks: int,
    size: int,
    classifier: tuple[Array, Array] | None = None,
    seed: int = 0,
) -> dict[str, Array]:
    """Return the arrays of `KernelLayer`.

    Args:
        features: (N, D) of the training photos.
        sequences: N lists of tag ids, the most important first.
        num_tags: V.
        num_landmarks: M, at most N.
        size: P, number of principal directions, at most D and the number of classes.
        classifier: Weights (D, C) and bias (C,) of the backbone's classifier; None leaves the second view out.
        seed: Of the random choice of landmarks.
    """
    chosen = np.sort(np.random.default_rng(seed).choice(len(features), num_landmarks, replace=False))
    arrays: dict[str, Array] = {}
    distances = []
    for kind, values in zip(("", "class_"), view_values(features, classifier), strict=False):
        mean = values.mean(axis=0)
        unit = unit_rows(values - mean)
        basis = principal_directions(unit, size)
        points = unit @ basis
        landmarks = points[chosen]
        found = half_squared_distances(points, landmarks)
        scale = max(float(np.median(found[:MAX_SCALE_PHOTOS])), 1e-9)
        distances.append(found / np.float32(scale))
        named = {"mean": mean, "basis": basis, "landmarks": landmarks, "scale": np.array([scale], np.float32)}
        arrays |= {f"{PREFIX}{kind}{name}": array for name, array in named.items()}
    if classifier is not None:
        arrays |= {f"{PREFIX}class_head": classifier[0], f"{PREFIX}class_bias": classifier[1]}
    kernel = combined_kernel(distances).astype(np.float64)
    system = kernel.T @ kernel + RIDGE * kernel[chosen] + STABILISER * len(features) * np.eye(num_landmarks)
    targets = np.concatenate(presence_and_gain(sequences, num_tags), axis=1)
    weights = np.linalg.solve(system, kernel.T @ targets).astype(np.float32).T  # (2 V, M)
    return arrays | {f"{PREFIX}presence": weights[:num_tags], f"{PREFIX}gain": weights[num_tags:]}


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


def principal_directions(rows: npt.NDArray[np.float32], size: int) -> Array:
    """Return the directions of most variance of (N, D) rows, (D, size)."""
    _, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    directions: Array = np.ascontiguousarray(vectors[:, ::-1][:, :size]).astype(np.float32)
    return directions
