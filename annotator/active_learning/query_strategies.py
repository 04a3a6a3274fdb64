"""Query strategies: the order in which untagged photos are presented for tagging.

Each takes a `Pool` and returns its rows in that order. Probabilities are those of independent tags (sigmoid outputs):
each tag has its own entropy. A softmax over the tags would make a photo without any tag the least certain of all.

Sources: binary entropy and k-centre (farthest-first traversal): Sener and Savarese, "Active Learning for
Convolutional Neural Networks: A Core-Set Approach", 2018. Disagreement: the Jensen-Shannon divergence of a committee,
McCallum and Nigam, 1998, per tag. Largest cluster: Hacohen, Dekel and Weinshall, "Active Learning on a Budget",
2022. Knows nothing of databases, taggers or threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from annotator.errors import ConfigError
from annotator.settings import STRATEGIES

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

NUM_DIVERSE = 100
"""Number of diverse photos at the head of the order; the rest is ordered by entropy alone."""
CANDIDATES_A_PICK = 5
"""Least certain photos among which each of those is picked."""
NUM_CLUSTERS = 50
NUM_ITERATIONS = 15
"""Iterations of k-means."""
CLUSTER_SAMPLE = 2000
"""Photos on which k-means runs."""


@dataclass(frozen=True)
class WorkTime:
    """Seconds that a person needs for a photo: ``base_seconds + seconds_per_tag * num_tags``."""

    base_seconds: float = 6.0
    seconds_per_tag: float = 2.0

    def of(self, num_tags: Matrix) -> Matrix:
        """Return the predicted seconds for numbers of tags."""
        return (self.base_seconds + self.seconds_per_tag * num_tags).astype(np.float32)


@dataclass(frozen=True)
class Pool:
    """The untagged photos that a strategy orders, with their data."""

    features: Matrix
    """(N, D)."""
    random_keys: npt.NDArray[np.float64]
    """(N,) uniform in [0, 1), from the photos' content."""
    probabilities: Sequence[Matrix] = ()
    """One (N, V) for each tagger, over the tags that all of them know; the chosen tagger's first."""
    tagged_features: Matrix = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """(M, D) of tagged photos."""
    work_time: WorkTime = WorkTime()

    def __len__(self) -> int:
        return len(self.features)


Strategy = Callable[[Pool], Rows]


def binary_entropy(probabilities: Matrix) -> Matrix:
    """Return -p log p - (1 - p) log(1 - p) in nats, elementwise."""
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def mean_entropy(pool: Pool) -> Matrix:
    """Return (N,) the mean binary entropy of the chosen tagger's tags."""
    _check_taggers(pool, 1)
    means: Matrix = binary_entropy(pool.probabilities[0]).mean(axis=1)
    return means


def disagreement(pool: Pool) -> Matrix:
    """Return (N,) the entropy of the taggers' mean minus the mean of their entropies, averaged over tags.

    Raises:
        ConfigError: There are fewer than two taggers.
    """
    _check_taggers(pool, 2)
    stacked = np.stack(list(pool.probabilities))  # (taggers, N, V)
    gain = binary_entropy(stacked.mean(axis=0)) - binary_entropy(stacked).mean(axis=0)
    means: Matrix = gain.mean(axis=1)
    return means


def information_per_second(pool: Pool) -> Matrix:
    """Return (N,) the entropy divided by the predicted seconds for the expected number of tags, the sum of p."""
    _check_taggers(pool, 1)
    entropy: Matrix = binary_entropy(pool.probabilities[0]).sum(axis=1)
    return entropy / pool.work_time.of(pool.probabilities[0].sum(axis=1))


def fit_work_time(num_tags: Sequence[float], seconds: Sequence[float]) -> WorkTime:
    """Fit a line to the logged times by least squares; both coefficients are positive.

    Args:
        num_tags: Of each saved photo.
        seconds: Of each saved photo. Times above five times the median count as breaks and are left out.
    """
    tags, times = np.asarray(num_tags, np.float64), np.asarray(seconds, np.float64)
    is_work = times > 0
    is_work &= times <= 5 * np.median(times[is_work]) if is_work.any() else False
    tags, times = tags[is_work], times[is_work]
    if len(times) < 10:
        return WorkTime()
    deviation = tags - tags.mean()
    slope = max(0.0, float(deviation @ times / (deviation @ deviation))) if deviation.any() else 0.0
    base = float(times.mean() - slope * tags.mean())
    if base < 0.1:  # a line through the origin
        return WorkTime(0.1, max(0.0, float(tags @ times / (tags @ tags))))
    return WorkTime(base, slope)


def k_centre(features: Matrix, centres: Matrix, num: int) -> Rows:
    """Return greedy k-centre picks: each is the row farthest from all centres and earlier picks.

    Args:
        features: (N, D), unit length.
        centres: (M, D), unit length; without any, the first row is the first pick.
        num: How many rows to pick, at most N.
    """
    num = min(num, len(features))
    nearest = np.full(len(features), -np.inf, np.float32)  # similarity to the nearest centre
    for start in range(0, len(centres), 256):
        np.maximum(nearest, (features @ centres[start : start + 256].T).max(axis=1), out=nearest)
    picks: list[int] = []
    for _ in range(num):
        pick = int(nearest.argmin())
        picks.append(pick)
        np.maximum(nearest, features @ features[pick], out=nearest)
        nearest[pick] = np.inf
    return np.array(picks, dtype=np.intp)


def k_means(features: Matrix, num_clusters: int, seed: int = 0) -> Matrix:
    """Return (K, D) centres of spherical k-means (Lloyd's iterations from farthest-first rows of a random start).

    Args:
        features: (N, D), unit length.
        num_clusters: K, at most N.
        seed: Of the random start.
    """
    start = np.random.default_rng(seed).permutation(len(features))
    centres = features[start[k_centre(features[start], features[:0], num_clusters)]]
    for _ in range(NUM_ITERATIONS):
        member_of = (features @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, member_of, features)
        is_empty = np.bincount(member_of, minlength=len(centres)) == 0
        centres = np.where(is_empty[:, None], centres, unit_rows(sums))
    return centres


def unit_rows(features: Matrix) -> Matrix:
    """Return rows scaled to unit length; a row of zeros does not change."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _in_order(pool: Pool) -> Rows:
    return np.arange(len(pool))


def _random(pool: Pool) -> Rows:
    return np.argsort(pool.random_keys, kind="stable")


def _highest_first(score: Callable[[Pool], Matrix]) -> Strategy:
    return lambda pool: np.argsort(-score(pool), kind="stable")


def _entropy_k_centre(pool: Pool) -> Rows:
    order = np.argsort(-mean_entropy(pool), kind="stable")
    candidates = order[: NUM_DIVERSE * CANDIDATES_A_PICK]
    if len(order) <= len(candidates):
        candidates = order[: max(1, len(order) // 2)]
    centres = unit_rows(pool.tagged_features) if len(pool.tagged_features) else pool.features[:0]
    picks = candidates[k_centre(unit_rows(pool.features[candidates]), centres, NUM_DIVERSE)]
    return np.concatenate([picks, order[~np.isin(order, picks)]])


def _largest_cluster(pool: Pool) -> Rows:
    """The most typical photo of each cluster, the largest cluster first; then the second most typical of each, ..."""
    features = unit_rows(pool.features)
    sample = features[np.argsort(pool.random_keys, kind="stable")[:CLUSTER_SAMPLE]]
    centres = k_means(sample, min(NUM_CLUSTERS, len(sample)))
    similarities = features @ centres.T  # (N, K)
    member_of = similarities.argmax(axis=1)
    sizes = np.bincount(member_of, minlength=len(centres))
    # A tagged photo represents its cluster already: clusters without one come first.
    num_tagged = np.zeros(len(centres), np.intp)
    if len(pool.tagged_features):
        tagged = (unit_rows(pool.tagged_features) @ centres.T).argmax(axis=1)
        num_tagged = np.bincount(tagged, minlength=len(centres))
    round_of = np.empty(len(pool), np.intp)
    for cluster in range(len(centres)):
        members = np.flatnonzero(member_of == cluster)
        typical_first = members[np.argsort(-similarities[members, cluster], kind="stable")]
        round_of[typical_first] = num_tagged[cluster] + np.arange(len(members))
    return np.lexsort((member_of, -sizes[member_of], round_of))


_STRATEGIES: dict[str, Strategy] = {
    "in_order": _in_order,
    "random": _random,
    "entropy": _highest_first(mean_entropy),
    "entropy_k_centre": _entropy_k_centre,
    "disagreement": _highest_first(disagreement),
    "information_per_second": _highest_first(information_per_second),
    "largest_cluster": _largest_cluster,
}

NUM_TAGGERS = {"entropy": 1, "entropy_k_centre": 1, "information_per_second": 1, "disagreement": 2}
"""Strategy -> number of taggers whose probabilities it needs; the others need none."""


def order_pool(strategy: str, pool: Pool) -> Rows:
    """Return all rows of a pool in the order of presentation.

    Args:
        strategy: A key of settings.STRATEGIES.
        pool: The photos.

    Raises:
        ConfigError: There is no such strategy, or too few taggers for it.
    """
    if strategy not in _STRATEGIES:
        raise ConfigError(f"There is no strategy {strategy[:80]!r}. Choose one of: {', '.join(STRATEGIES)}.")
    if not len(pool):
        return np.empty(0, np.intp)
    return _STRATEGIES[strategy](pool)


def mix_in(ranked: Sequence[int], sample: Sequence[int], share: float, deficit: float = 0.0) -> list[int]:
    """Merge both lists so that each prefix of the result has the given share of the sample.

    Args:
        ranked: Ids as ranked by a strategy.
        sample: Ids of the random sample, in its order.
        share: Of the sample, in [0, 1].
        deficit: By how many photos the sample is behind its share so far.
    """
    mixed: list[int] = []
    num_ranked = num_sample = 0
    while num_ranked < len(ranked) or num_sample < len(sample):
        is_due = deficit + share * (len(mixed) + 1) - num_sample >= 1 - 1e-9
        if num_sample < len(sample) and (is_due or num_ranked == len(ranked)):
            mixed.append(sample[num_sample])
            num_sample += 1
        else:
            mixed.append(ranked[num_ranked])
            num_ranked += 1
    return mixed


def _check_taggers(pool: Pool, least: int) -> None:
    if len(pool.probabilities) < least:
        raise ConfigError(
            f"This strategy needs {least} taggers with tags in common; {len(pool.probabilities)} can be used here."
        )
