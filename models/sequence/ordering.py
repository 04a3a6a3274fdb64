"""Adjustments of a ranked list: in favour of rare tags, and towards the order in which people name tags.

Knows nothing of taggers: arrays in, arrays out. Shapes: B images, V tags.
"""

from collections.abc import Sequence

import numpy as np

from annotator.models.sequence.decoding import Array

LEAST_COUNT = 10
NUM_HEADS = 2
"""Number of heads (groups of best tags) that are put in order."""
SHARPNESS = 0.5
"""Exponent of a tag's probability in the penalty of the tags after it. Probabilities of captions are low, since a
caption leaves out most of what is in the photo. With 0.7 NDCG gains .003 to .005, and .010 to .014 fewer pairs are in
the person's order."""


def rarity_factors(counts: Sequence[int], power: float) -> Array:
    """Return the factor of each tag's utility, (V,): (typical count / its count)^power.

    The typical count is the expected count of a random tag of a random photo, so that utilities keep their scale.
    Means over tags (C-F1, N+) gain by it, since common tags fill the lists otherwise.

    Args:
        counts: The number of training photos with each tag, at least LEAST_COUNT for the factor. The factor is 1 for a
            tag of no photo, and for all tags if there are no counts.
        power: 0 for no effect.
    """
    numbers = np.maximum(np.asarray(counts, np.float32), LEAST_COUNT)
    if not len(numbers):
        return np.ones(1, np.float32)
    typical = (numbers**2).sum() / numbers.sum()
    factors: Array = np.where(np.asarray(counts) > 0, (typical / numbers) ** power, 1).astype(np.float32)
    return factors


def order_heads(utilities: Array, probabilities: Array, precedence: Array, head: int, weight: float) -> None:
    """Put the `head` best tags of each image, then the `head` next ones, in the order in which people name them.

    A tag's key is utility_j prod_i (1 - weight c_i^SHARPNESS p_ij): it falls with every likely tag i of both heads
    that people name before it, p_ij = sigmoid(theta_i - theta_j). The utilities of a head are reassigned to its tags
    in the order of their keys, so that no tag leaves its head.

    Args:
        utilities: (B, V), changed in place; masked tags are negative.
        probabilities: (B, V) c, the probability that each tag is right.
        precedence: (V,) theta, see trainer/precedence.py.
        head: Tags of a head; 0 changes nothing.
        weight: In [0, 1]; 0 changes nothing.
    """
    if head < 1 or weight == 0:
        return
    best = np.argsort(-utilities, axis=1, kind="stable")[:, : NUM_HEADS * head]  # (B, R)
    theta = precedence[best]
    before = 0.5 * (1 + np.tanh(0.5 * (theta[:, :, None] - theta[:, None, :])))  # (B, R, R) p_ij
    before[:, np.arange(best.shape[1]), np.arange(best.shape[1])] = 0
    confidence = np.clip(np.take_along_axis(probabilities, best, axis=1), 0, 1) ** np.float32(SHARPNESS)
    values = np.take_along_axis(utilities, best, axis=1)
    keys = values * np.prod(1 - weight * confidence[:, :, None] * before, axis=1)
    for start in range(0, best.shape[1], head):
        part = slice(start, start + head)
        order = np.argsort(-keys[:, part], axis=1, kind="stable")
        np.put_along_axis(utilities, np.take_along_axis(best[:, part], order, axis=1), values[:, part], axis=1)
