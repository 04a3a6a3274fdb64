"""Precedence: one number a tag, how early people name it when they name it beside another one.

Bradley and Terry's model ("Rank Analysis of Incomplete Block Designs", 1952) of the pairs in people's lists:
P(i before j) = sigmoid(theta_i - theta_j), by regularised maximum likelihood. Knows nothing of photos or taggers.
Shapes: N lists of tag ids below V -> theta (V,) float32, mean 0; 0 for a tag that no list holds beside another.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RIDGE = 0.3
"""Pull of each number towards 0, worth about as much as one pair each way."""
NUM_ITERATIONS = 1000
TOLERANCE = 1e-5


def fit_precedence(sequences: Sequence[Sequence[int]], num_tags: int) -> npt.NDArray[np.float32]:
    """Return theta, (V,): of two tags, the one that has more is named first more often.

    Minimises sum_(i before j) log(1 + exp(theta_j - theta_i)) + RIDGE / 2 sum_i theta_i^2 by accelerated gradient
    steps, each tag's by the bound of its own curvature.

    Args:
        sequences: Tag ids of each list, in the person's order.
        num_tags: V.
    """
    first, second, times = _count_pairs(sequences, num_tags)
    theta = np.zeros(num_tags)
    # A pair curves by at most 1/4 in each of its tags, and by as much between the two.
    curvature = RIDGE + 0.5 * (np.bincount(first, times, num_tags) + np.bincount(second, times, num_tags))
    ahead, pace = theta, 1.0
    for _ in range(NUM_ITERATIONS):
        surprise = times * 0.5 * (1 - np.tanh(0.5 * (ahead[first] - ahead[second])))
        slope = np.bincount(second, surprise, num_tags) - np.bincount(first, surprise, num_tags) + RIDGE * ahead
        moved = ahead - slope / curvature
        next_pace = 0.5 * (1 + np.sqrt(1 + 4 * pace * pace))
        change = moved - theta
        ahead, theta, pace = moved + (pace - 1) / next_pace * change, moved, next_pace
        if np.abs(change).max(initial=0) < TOLERANCE and np.abs(slope / curvature).max(initial=0) < TOLERANCE:
            break
    return theta.astype(np.float32)


def _count_pairs(
    sequences: Sequence[Sequence[int]], num_tags: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (earlier tag, later tag, how often) of all pairs of a list that occur."""
    codes = [
        earlier * num_tags + later
        for tags in sequences
        for place, earlier in enumerate(tags)
        for later in tags[place + 1 :]
    ]
    found, times = np.unique(np.array(codes, np.int64), return_counts=True)
    return found // num_tags, found % num_tags, times
