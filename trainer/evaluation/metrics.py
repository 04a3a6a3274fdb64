"""Evaluation measures of the papers: for the set of tags, their ranking and their order.

Set measures take two matrices, ranking measures take lists of tags. All are shares in [0, 1] except N+, a count.
Knows nothing of taggers, features or files.

Sources: C- and O-measures, N+ and AP as in "Semantic Regularisation for Recurrent Image Annotation" (section 6) and
the CNN-RNN line of papers; NDCG and precision@k from the ranked tag lists paper (its section "Evaluation").

Shapes: truth, predicted (B, V) bool; scores (B, V) float.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
TagList = Sequence[str]
NeverPredicted = Literal["zero", "skip"]
"""Precision of a tag that is predicted for no image: 0, or left out of the mean."""
Gain = Literal["binary", "graded"]
"""Gain of a right tag: equal for all, or by its place in the person's list."""

MAX_K = 10
"""Ranking measures are averaged over k = 1..10, as the ranked tag lists paper does."""
TOP_GRADE = 5
"""Grade of the person's first tag; the second has one less, and so on down to 0."""


@dataclass(frozen=True)
class SetMeasure:
    """Precision, recall and their F1."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean: of the mean precision and the mean recall, not the mean of F1s."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def per_tag(truth: Matrix, predicted: Matrix, never_predicted: NeverPredicted = "zero") -> SetMeasure:
    """Return C-P and C-R: the means over the tags that have at least one positive.

    Args:
        truth: (B, V), the right tags.
        predicted: (B, V), the predicted tags.
        never_predicted: With "skip", tags that are predicted for no image are left out of the mean precision. Their
            recall of 0 counts in either case.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(truth, predicted)
    num_right, num_predicted, num_true = _count(truth, predicted, axis=0)
    has_positives = num_true > 0
    counted = has_positives & (num_predicted > 0) if never_predicted == "skip" else has_positives
    precision = num_right / np.maximum(num_predicted, 1)
    recall = num_right / np.maximum(num_true, 1)
    return SetMeasure(_mean(precision[counted]), _mean(recall[has_positives]))


def overall(truth: Matrix, predicted: Matrix) -> SetMeasure:
    """Return O-P and O-R over all (image, tag) pairs at once: the micro average.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(truth, predicted)
    num_right = float((truth & predicted).sum())
    return SetMeasure(num_right / max(float(predicted.sum()), 1.0), num_right / max(float(truth.sum()), 1.0))


def overall_per_image(truth: Matrix, predicted: Matrix) -> SetMeasure:
    """Return the means of the images' precisions and recalls.

    An image with no predicted tag has precision 0; an image with no true tag is left out.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(truth, predicted)
    num_right, num_predicted, num_true = _count(truth, predicted, axis=1)
    counted = num_true > 0
    precision = num_right / np.maximum(num_predicted, 1)
    recall = num_right / np.maximum(num_true, 1)
    return SetMeasure(_mean(precision[counted]), _mean(recall[counted]))


def num_recalled_tags(truth: Matrix, predicted: Matrix) -> int:
    """Return N+, the number of tags that are predicted correctly at least once.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(truth, predicted)
    return int((truth & predicted).any(axis=0).sum())


def mean_average_precision(truth: Matrix, scores: Scores, by: Literal["tag", "image"]) -> float:
    """Return mAP_lab (by tag) or mAP_img (by image); tags or images without positives are left out.

    Args:
        truth: (B, V), the right tags.
        scores: (B, V), higher is more likely. Ties are handled as in scikit-learn.
        by: What to average over.

    Raises:
        ValueError: The shapes differ, or a score is not a number.
    """
    from sklearn.metrics import average_precision_score  # type: ignore[import-untyped]

    _check_shapes(truth, scores)
    if np.isnan(scores).any():
        raise ValueError("A score is not a number.")
    if by == "tag":
        truth, scores = truth.T, scores.T
    pairs = zip(truth, scores, strict=True)
    return _mean(np.array([average_precision_score(right, row) for right, row in pairs if right.any()]))


def ndcg_at(ranked: Sequence[TagList], given: Sequence[TagList], k: int, gain: Gain) -> float:
    """Return NDCG@k = 1/Z sum_{p<=k} (2^{s(p)} - 1) / log(1 + p), averaged over images with true tags.

    s is 1 for a right tag ("binary"), or `TOP_GRADE` for the person's first tag, one less for the second and so on,
    but not below 0 ("graded"). Z is the value of the sum for the best possible list.

    Args:
        ranked: The proposed tags of each image, best first.
        given: The person's tags of each image, most important first.
        k: Number of places that count.
        gain: Definition of s.

    Raises:
        ValueError: The numbers of lists differ, k is below 1, or a list proposes a tag twice.
    """
    _check_lists(ranked, given, k)
    values = []
    for proposed, person in zip(ranked, given, strict=True):
        grades = {tag: 1 if gain == "binary" else max(0, TOP_GRADE - rank) for rank, tag in enumerate(person)}
        best = _discounted(sorted(grades.values(), reverse=True)[:k])
        if best:
            values.append(_discounted([grades.get(tag, 0) for tag in proposed[:k]]) / best)
    return _mean(np.array(values))


def precision_at(ranked: Sequence[TagList], given: Sequence[Collection[str]], k: int) -> float:
    """Return the share of right tags among k proposed ones, divided by k even if fewer are proposed.

    Raises:
        ValueError: As for `ndcg_at`.
    """
    _check_lists(ranked, given, k)
    return _mean(np.array([_num_right(tags, true, k) / k for tags, true in zip(ranked, given, strict=True) if true]))


def recall_at(ranked: Sequence[TagList], given: Sequence[Collection[str]], k: int) -> float:
    """Return the share of an image's true tags among the first k proposed ones, averaged over images.

    Raises:
        ValueError: As for `ndcg_at`.
    """
    _check_lists(ranked, given, k)
    pairs = zip(ranked, given, strict=True)
    return _mean(np.array([_num_right(tags, true, k) / len(set(true)) for tags, true in pairs if true]))


def f1_at(ranked: Sequence[TagList], given: Sequence[Collection[str]], k: int) -> float:
    """Return the F1 of `precision_at` and `recall_at`.

    Raises:
        ValueError: As for `ndcg_at`.
    """
    return SetMeasure(precision_at(ranked, given, k), recall_at(ranked, given, k)).f1


def top_k_accuracy(ranked: Sequence[TagList], given: Sequence[Collection[str]], k: int) -> float:
    """Return the share of images with a right tag among the first k: top-k accuracy of the zero-shot paper, section V.

    The paper says "the correct class in the top-k"; of a photo with several right tags, one is enough here.

    Raises:
        ValueError: As for `ndcg_at`.
    """
    _check_lists(ranked, given, k)
    pairs = zip(ranked, given, strict=True)
    return _mean(np.array([_num_right(tags, true, k) > 0 for tags, true in pairs if true]))


def first_tag_accuracy(ranked: Sequence[TagList], given: Sequence[TagList]) -> float:
    """Return the share of images whose first proposed tag is the person's first.

    Raises:
        ValueError: The numbers of lists differ, or a list proposes a tag twice.
    """
    _check_lists(ranked, given, 1)
    pairs = zip(ranked, given, strict=True)
    return _mean(np.array([bool(tags) and tags[0] == true[0] for tags, true in pairs if true]))


def order_accuracy(ranked: Sequence[TagList], given: Sequence[TagList]) -> float | None:
    """Return the share of the pairs of right tags that are in the person's order; chance is 0.5.

    The pairs of all images have the same weight.

    Returns:
        The share, or None if no list has two right tags.

    Raises:
        ValueError: The numbers of lists differ, or a list proposes a tag twice.
    """
    _check_lists(ranked, given, 1)
    num_pairs = num_ordered = 0
    for tags, true in zip(ranked, given, strict=True):
        rank_of = {tag: rank for rank, tag in enumerate(true)}
        ranks = [rank_of[tag] for tag in tags if tag in rank_of]
        for place, rank in enumerate(ranks):
            num_pairs += len(ranks) - place - 1
            num_ordered += sum(rank < later for later in ranks[place + 1 :])
    return num_ordered / num_pairs if num_pairs else None


def by_k(values: Sequence[float]) -> dict[str, float]:
    """Return values for k = 1, 2, ... under "1", "2", ... with their mean under "mean"."""
    return {**{str(k): value for k, value in enumerate(values, start=1)}, "mean": _mean(np.array(values))}


def _discounted(grades: Sequence[int]) -> float:
    # The base of the logarithm cancels with Z.
    return sum((2.0**grade - 1) / math.log2(1 + place) for place, grade in enumerate(grades, start=1))


def _num_right(tags: TagList, true: Collection[str], k: int) -> int:
    return len(set(tags[:k]) & set(true))


def _count(
    truth: Matrix, predicted: Matrix, axis: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return (truth & predicted).sum(axis=axis), predicted.sum(axis=axis), truth.sum(axis=axis)


def _mean(values: npt.NDArray[np.floating] | npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _check_shapes(truth: Matrix, other: npt.NDArray[np.generic]) -> None:
    if truth.ndim != 2 or truth.shape != other.shape:
        raise ValueError(f"Truth and prediction must be (B, V) alike; got {truth.shape} and {other.shape}.")


def _check_lists(ranked: Sequence[TagList], given: Sequence[Collection[str]], k: int) -> None:
    if len(ranked) != len(given):
        raise ValueError(f"There are {len(ranked)} proposed lists for {len(given)} images.")
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}.")
    for tags in ranked:
        if len(set(tags)) < len(tags):
            raise ValueError(f"A list proposes a tag twice: {list(tags)}.")
