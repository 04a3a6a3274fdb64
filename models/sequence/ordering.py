"""How a ranked list leans: towards rare tags, and towards the order in which people name things.

Knows nothing of taggers: numbers in, numbers out. Shapes: B images, V tags.
"""

from collections.abc import Sequence

import numpy as np

from annotator.models.sequence.decoding import Array

LEAST_COUNT = 10
NUM_HEADS = 2
"""Of how many heads the tags are put in order and may stand before others."""
SHARPNESS = 0.5
"""Power of a tag's probability when it is asked whether something stands before another tag. Probabilities of captions
are low, since a caption leaves out most of what is seen. With 0.7 NDCG gains .003 to .005, and .010 to .014 fewer pairs
stand in the person's order."""


def rarity_factors(counts: Sequence[int], power: float) -> Array:
    """Return what each tag's utility is multiplied by, (V,): (typical count / its count)^power.

    The typical count is that of a random tag of a random photo, so that utilities keep their size. A mean over tags
    (C-F1, N+) gains by it, since common tags otherwise fill the lists.

    Args:
        counts: How many training photos carry each tag; fewer than LEAST_COUNT count as so many, since little is known
            of such tags. A tag that no photo carried, and everything if it is empty, has factor 1.
        power: 0 for none.
    """
    numbers = np.maximum(np.asarray(counts, np.float32), LEAST_COUNT)
    if not len(numbers):
        return np.ones(1, np.float32)
    typical = (numbers**2).sum() / numbers.sum()
    factors: Array = np.where(np.asarray(counts) > 0, (typical / numbers) ** power, 1).astype(np.float32)
    return factors


def order_heads(utilities: Array, chances: Array, precedence: Array, head: int, weight: float) -> None:
    """Put the `head` best tags of each image in a person's order, then the `head` next ones, in place.

    A tag's key is utility_j prod_i (1 - weight c_i^SHARPNESS p_ij): it falls with every likely tag i among the best of
    both heads that people name before it, p_ij = sigmoid(theta_i - theta_j). The tags of a head deal its utilities
    out anew, highest key first; so no tag leaves its head.

    Args:
        utilities: (B, V), changed; masked tags are negative.
        chances: (B, V) c, how likely each tag is right.
        precedence: (V,) theta, see trainer/precedence.py.
        head: Tags of a head; 0 leaves everything.
        weight: In [0, 1]; 0 leaves everything.
    """
    if head < 1 or weight == 0:
        return
    best = np.argsort(-utilities, axis=1, kind="stable")[:, : NUM_HEADS * head]  # (B, R)
    theta = precedence[best]
    before = 0.5 * (1 + np.tanh(0.5 * (theta[:, :, None] - theta[:, None, :])))  # (B, R, R) p_ij
    before[:, np.arange(best.shape[1]), np.arange(best.shape[1])] = 0
    sure = np.clip(np.take_along_axis(chances, best, axis=1), 0, 1) ** np.float32(SHARPNESS)
    values = np.take_along_axis(utilities, best, axis=1)
    keys = values * np.prod(1 - weight * sure[:, :, None] * before, axis=1)
    for start in range(0, best.shape[1], head):
        part = slice(start, start + head)
        order = np.argsort(-keys[:, part], axis=1, kind="stable")
        np.put_along_axis(utilities, np.take_along_axis(best[:, part], order, axis=1), values[:, part], axis=1)
