import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.trainer.evaluation import metrics
from annotator.trainer.evaluation.metrics import SetMeasure

_TAGS = list("abcdefgh")
_LISTS = st.lists(st.permutations(_TAGS).flatmap(lambda tags: st.integers(0, 8).map(lambda n: tags[:n])), max_size=6)


@st.composite
def _matrices(draw: st.DrawFn) -> tuple[metrics.Matrix, metrics.Matrix]:
    num_images, num_tags = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rows = st.lists(
        st.lists(st.booleans(), min_size=num_tags, max_size=num_tags), min_size=num_images, max_size=num_images
    )
    return np.array(draw(rows)), np.array(draw(rows))


@st.composite
def _paired_lists(draw: st.DrawFn) -> tuple[list[list[str]], list[list[str]]]:
    ranked = draw(_LISTS)
    given_lists = [draw(st.permutations(_TAGS))[: draw(st.integers(0, 8))] for _ in ranked]
    return ranked, given_lists


# Four images, four tags; the fourth tag is never right, the third never predicted.
TRUTH = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
PREDICTED = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1]], bool)


def test_the_case_worked_by_hand() -> None:
    # Tag 1: 2 right of 3 predicted, of 3 true. Tag 2: 1 of 2, of 2. Tag 3: 0 of 0, of 1. Tag 4 has no positives.
    measure = metrics.per_tag(TRUTH, PREDICTED)
    assert measure.precision == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert measure.recall == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert measure.f1 == pytest.approx(7 / 18)
    # 3 right pairs among 7 predicted and 6 true ones.
    assert metrics.overall(TRUTH, PREDICTED).precision == pytest.approx(3 / 7)
    assert metrics.overall(TRUTH, PREDICTED).recall == pytest.approx(3 / 6)
    per_image = metrics.overall_per_image(TRUTH, PREDICTED)
    assert per_image.precision == pytest.approx((2 / 2 + 1 / 2 + 0 + 0) / 4)
    assert per_image.recall == pytest.approx((2 / 2 + 1 / 2 + 0 + 0) / 4)
    assert metrics.num_recalled_tags(TRUTH, PREDICTED) == 2


def test_skipping_never_predicted_tags_raises_precision_but_not_recall() -> None:
    zero, skip = metrics.per_tag(TRUTH, PREDICTED, "zero"), metrics.per_tag(TRUTH, PREDICTED, "skip")
    assert skip.precision == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert skip.recall == zero.recall


def test_f1_is_of_the_means_and_not_the_mean_of_f1s() -> None:
    truth = np.array([[1, 1], [0, 1], [0, 1]], bool)
    predicted = np.array([[1, 1], [1, 0], [1, 0]], bool)
    # Tag 1: P 1/3, R 1. Tag 2: P 1, R 1/3. Both F1s are 1/2, the means' is 2/3.
    assert metrics.per_tag(truth, predicted).f1 == pytest.approx(2 / 3)


@given(_matrices())
def test_per_tag_equals_the_plain_loop(matrices: tuple[metrics.Matrix, metrics.Matrix]) -> None:
    truth, predicted = matrices
    for never_predicted in ("zero", "skip"):
        precisions, recalls = [], []
        for tag in range(truth.shape[1]):
            right = sum(1 for t, p in zip(truth, predicted, strict=True) if t[tag] and p[tag])
            num_true = sum(1 for row in truth if row[tag])
            num_predicted = sum(1 for row in predicted if row[tag])
            if num_true == 0:
                continue
            recalls.append(right / num_true)
            if num_predicted:
                precisions.append(right / num_predicted)
            elif never_predicted == "zero":
                precisions.append(0.0)
        measure = metrics.per_tag(truth, predicted, never_predicted)
        assert measure.precision == pytest.approx(sum(precisions) / len(precisions) if precisions else 0)
        assert measure.recall == pytest.approx(sum(recalls) / len(recalls) if recalls else 0)


@given(_matrices())
def test_overall_equals_the_plain_loop(matrices: tuple[metrics.Matrix, metrics.Matrix]) -> None:
    truth, predicted = matrices
    right = num_true = num_predicted = 0
    precisions, recalls = [], []
    for t, p in zip(truth, predicted, strict=True):
        hits = sum(1 for a, b in zip(t, p, strict=True) if a and b)
        right, num_true, num_predicted = right + hits, num_true + sum(t), num_predicted + sum(p)
        if sum(t):
            precisions.append(hits / sum(p) if sum(p) else 0)
            recalls.append(hits / sum(t))
    micro, per_image = metrics.overall(truth, predicted), metrics.overall_per_image(truth, predicted)
    assert micro.precision == pytest.approx(right / num_predicted if num_predicted else 0)
    assert micro.recall == pytest.approx(right / num_true if num_true else 0)
    assert per_image.precision == pytest.approx(sum(precisions) / len(precisions) if precisions else 0)
    assert per_image.recall == pytest.approx(sum(recalls) / len(recalls) if recalls else 0)


@given(_matrices())
def test_set_measures_are_shares_and_n_plus_counts_recalled_tags(
    matrices: tuple[metrics.Matrix, metrics.Matrix],
) -> None:
    truth, predicted = matrices
    measures = [measure(truth, predicted) for measure in (metrics.per_tag, metrics.overall, metrics.overall_per_image)]
    assert all(0 <= value <= 1 for m in measures for value in (m.precision, m.recall, m.f1))
    recalled = [
        tag for tag in range(truth.shape[1]) if any(t[tag] and p[tag] for t, p in zip(truth, predicted, strict=True))
    ]
    assert metrics.num_recalled_tags(truth, predicted) == len(recalled)
    assert all(metrics.per_tag(t, t).f1 in (0, 1) for t in (truth, predicted))


def test_average_precision_worked_by_hand() -> None:
    truth = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
    scores = np.array([[0.9, 0.8, 0.7, 0.1], [0.5, 0.5, 0.5, 0.5], [0.3, 0.2, 0.1, 0.0]])
    # Image 1: right at ranks 1 and 3: (1/1 + 2/3) / 2. Image 2 has no tag. Image 3: right at rank 2: 1/2.
    assert metrics.mean_average_precision(truth, scores, "image") == pytest.approx((5 / 6 + 1 / 2) / 2)
    # Tag 1: first of three, 1. Tag 2: third of three, 1/3. Tag 3: first, 1. Tag 4 has no positives.
    assert metrics.mean_average_precision(truth, scores, "tag") == pytest.approx((1 + 1 / 3 + 1) / 3)


def _average_precision_loop(truth: list[bool], scores: list[float]) -> float:
    """Sum over distinct thresholds of precision times the gain in recall."""
    total, previous_recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [right for right, score in zip(truth, scores, strict=True) if score >= threshold]
        recall = sum(chosen) / sum(truth)
        total += sum(chosen) / len(chosen) * (recall - previous_recall)
        previous_recall = recall
    return total


@given(_matrices(), st.integers(0, 1000))
def test_average_precision_equals_the_plain_loop_with_ties(
    matrices: tuple[metrics.Matrix, metrics.Matrix], seed: int
) -> None:
    truth, _ = matrices
    scores = np.random.default_rng(seed).integers(0, 3, truth.shape) / 2
    rows = [_average_precision_loop(list(t), list(s)) for t, s in zip(truth, scores, strict=True) if t.any()]
    measured = metrics.mean_average_precision(truth, scores, "image")
    assert measured == pytest.approx(sum(rows) / len(rows) if rows else 0)
    assert metrics.mean_average_precision(truth.T, scores.T, "tag") == pytest.approx(measured)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        metrics.mean_average_precision(np.ones((1, 1), bool), np.array([[math.nan]]), "tag")


def test_ndcg_worked_by_hand() -> None:
    ranked, person = [["dog", "sky", "man"]], [["man", "dog"]]
    # Grades: man 5, dog 4. At 3: 15/log2(2) + 0 + 31/log2(4), over 31/log2(2) + 15/log2(3).
    assert metrics.ndcg_at(ranked, person, 3, "graded") == pytest.approx((15 + 31 / 2) / (31 + 15 / math.log2(3)))
    assert metrics.ndcg_at(ranked, person, 1, "graded") == pytest.approx(15 / 31)
    assert metrics.ndcg_at(ranked, person, 3, "binary") == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3)))


def test_a_fifth_tag_has_a_grade_and_a_sixth_has_none() -> None:
    person = [list("abcdef")]
    assert metrics.ndcg_at([["e"]], person, 1, "graded") == pytest.approx(1 / 31)
    assert metrics.ndcg_at([["f"]], person, 1, "graded") == 0
    assert metrics.ndcg_at([["f"]], person, 1, "binary") == 1


@given(_paired_lists(), st.integers(1, 10))
def test_ndcg_equals_the_plain_loop(lists: tuple[list[list[str]], list[list[str]]], k: int) -> None:
    for gain in ("binary", "graded"):
        values = []
        for proposed, person in zip(*lists, strict=True):
            if not person:
                continue
            grade = {}
            for rank in range(len(person)):
                grade[person[rank]] = 1 if gain == "binary" else max(0, 5 - rank)
            score = ideal = 0.0
            for place in range(1, k + 1):
                if place <= len(proposed):
                    score += (2 ** grade.get(proposed[place - 1], 0) - 1) / math.log(1 + place)
                if place <= len(person):
                    ideal += (2 ** grade[person[place - 1]] - 1) / math.log(1 + place)
            values.append(score / ideal)
        measured = metrics.ndcg_at(*lists, k, gain)
        assert measured == pytest.approx(sum(values) / len(values) if values else 0)
        assert 0 <= measured <= 1 + 1e-9


def test_precision_divides_by_k_even_when_fewer_were_proposed() -> None:
    assert metrics.precision_at([["a"]], [["a", "b"]], 5) == pytest.approx(1 / 5)
    assert metrics.recall_at([["a"]], [["a", "b"]], 5) == pytest.approx(1 / 2)
    assert metrics.f1_at([["a"]], [["a", "b"]], 5) == pytest.approx(2 * (1 / 5) * (1 / 2) / (1 / 5 + 1 / 2))


@given(_paired_lists(), st.integers(1, 10))
def test_ranking_measures_equal_the_plain_loop(lists: tuple[list[list[str]], list[list[str]]], k: int) -> None:
    precisions, recalls, firsts, found = [], [], [], []
    for proposed, person in zip(*lists, strict=True):
        if person:
            hits = sum(1 for place in range(min(k, len(proposed))) if proposed[place] in person)
            precisions.append(hits / k)
            recalls.append(hits / len(person))
            found.append(1 if hits else 0)
            firsts.append(1 if proposed and proposed[0] == person[0] else 0)
    count = max(len(precisions), 1)
    assert metrics.precision_at(*lists, k) == pytest.approx(sum(precisions) / count)
    assert metrics.recall_at(*lists, k) == pytest.approx(sum(recalls) / count)
    assert metrics.top_k_accuracy(*lists, k) == pytest.approx(sum(found) / count)
    assert metrics.first_tag_accuracy(*lists) == pytest.approx(sum(firsts) / count)


def test_order_accuracy_worked_by_hand() -> None:
    # Right tags c, a, b stand before each other in 1 of 3 pairs as the person put them (a before b).
    assert metrics.order_accuracy([["c", "x", "a", "b"]], [["a", "b", "c"]]) == pytest.approx(1 / 3)
    assert metrics.order_accuracy([["x"], ["a"]], [["a"], ["a", "b"]]) is None


@given(_paired_lists())
def test_order_accuracy_equals_the_plain_loop(lists: tuple[list[list[str]], list[list[str]]]) -> None:
    num_right = num_pairs = 0
    for proposed, person in zip(*lists, strict=True):
        for first in person:
            for second in person:
                if person.index(first) < person.index(second) and first in proposed and second in proposed:
                    num_pairs += 1
                    num_right += proposed.index(first) < proposed.index(second)
    measured = metrics.order_accuracy(*lists)
    assert measured == (pytest.approx(num_right / num_pairs) if num_pairs else None)


def test_order_accuracy_of_random_orders_is_near_a_half() -> None:
    generator = random.Random(0)
    ranked = [generator.sample(_TAGS, 8) for _ in range(400)]
    accuracy = metrics.order_accuracy(ranked, [_TAGS] * 400)
    assert accuracy == pytest.approx(0.5, abs=0.03)


def test_values_by_k_carry_their_mean() -> None:
    assert metrics.by_k([0.2, 0.4]) == {"1": 0.2, "2": 0.4, "mean": pytest.approx(0.3)}


def test_f1_of_nothing_is_nothing() -> None:
    assert SetMeasure(0.0, 0.0).f1 == 0


@pytest.mark.parametrize(
    "measure",
    [
        lambda: metrics.per_tag(np.ones((2, 2), bool), np.ones((2, 3), bool)),
        lambda: metrics.overall(np.ones(2, bool), np.ones(2, bool)),
        lambda: metrics.ndcg_at([["a"]], [], 1, "binary"),
        lambda: metrics.precision_at([["a"]], [["a"]], 0),
        lambda: metrics.recall_at([["a", "a"]], [["a"]], 1),
    ],
)
def test_what_does_not_fit_is_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match=r"must be|images|twice"):
        measure()
