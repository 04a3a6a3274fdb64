"""Precedence: one number a tag, larger for tags that people name earlier.

Bradley and Terry's model ("Rank Analysis of Incomplete Block Designs", 1952) of the pairs in people's lists:
P(i before j) = sigmoid(theta_i - theta_j), by regularised maximum likelihood. Knows nothing of photos or taggers.
Shapes: N lists of tag ids below V -> theta (V,) float32, mean 0; 0 for a tag that never occurs with another.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RIDGE = 0.3
"""Weight of the L2 penalty; about as strong as one pair in each direction for each tag."""
NUM_ITERATIONS = 1000
TOLERANCE = 1e-5


def fit_precedence(sequences: Sequence[Sequence[int]], num_tags: int) -> npt.NDArray[np.float32]:
    """Return theta, (V,): of two tags, the one with the larger value is more often named first.

    Minimises sum_(i before j) log(1 + exp(theta_j - theta_i)) + RIDGE / 2 sum_i theta_i^2 by Nesterov's
    accelerated gradient, with a step size for each tag from the bound of its curvature.

    Args:
        sequences: Tag ids of each list, in the person's order.
        num_tags: V.
    """
    first, second, times = _count_pairs(sequences, num_tags)
    theta = np.zeros(num_tags)
    # A pair adds at most 1/4 to the second derivative of each of its tags, and at most 1/4 to the mixed one.
    curvature = RIDGE + 0.5 * (np.bincount(first, times, num_tags) + np.bincount(second, times, num_tags))
    lookahead, momentum = theta, 1.0
    for _ in range(NUM_ITERATIONS):
        residual = times * 0.5 * (1 - np.tanh(0.5 * (lookahead[first] - lookahead[second])))
        slope = np.bincount(second, residual, num_tags) - np.bincount(first, residual, num_tags) + RIDGE * lookahead
        moved = lookahead - slope / curvature
        next_momentum = 0.5 * (1 + np.sqrt(1 + 4 * momentum * momentum))
        change = moved - theta
        lookahead, theta, momentum = moved + (momentum - 1) / next_momentum * change, moved, next_momentum
        if np.abs(change).max(initial=0) < TOLERANCE and np.abs(slope / curvature).max(initial=0) < TOLERANCE:
            break
    return theta.astype(np.float32)


def _count_pairs(
    sequences: Sequence[Sequence[int]], num_tags: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (earlier tag, later tag, count) of all ordered pairs that occur in the lists."""
    codes = [
        earlier * num_tags + later
        for tags in sequences
        for place, earlier in enumerate(tags)
        for later in tags[place + 1 :]
    ]
    found, times = np.unique(np.array(codes, np.int64), return_counts=True)
    return found // num_tags, found % num_tags, times
