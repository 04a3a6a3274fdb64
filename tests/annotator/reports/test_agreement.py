"""Each measure against a second, plain-loop version, and a case worked by hand."""

import math
import random
from dataclasses import astuple
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.reports.agreement import (
    agreement_between,
    agreement_with,
    by_place,
    by_tag,
    jaccard,
    mean_agreement,
    ndcg,
    rank_biased_overlap,
    tau_b,
)
from annotator.trainer.evaluation.metrics import TOP_GRADE

LISTS = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)


def plain_tau_b(first: list[str], second: list[str]) -> float | None:
    """(concordant - discordant) / sqrt((pairs - ties in one) (pairs - ties in the other))."""
    tags = sorted({*first, *second})
    one = [first.index(tag) if tag in first else len(first) for tag in tags]
    two = [second.index(tag) if tag in second else len(second) for tag in tags]
    concordant = discordant = untied_one = untied_two = 0
    for i, j in combinations(range(len(tags)), 2):
        a, b = one[i] - one[j], two[i] - two[j]
        untied_one += a != 0
        untied_two += b != 0
        concordant += a * b > 0
        discordant += a * b < 0
    if not untied_one or not untied_two:
        return None
    return (concordant - discordant) / math.sqrt(untied_one * untied_two)


def plain_rbo(first: list[str], second: list[str], p: float) -> float | None:
    """The sum of eq. 4 to depth 2,000, the lists going on as eq. 30 assumes: with the agreement they had."""
    short, long = (first, second) if len(first) <= len(second) else (second, first)
    if not long:
        return None
    if not short:
        return 0.0
    s, num = len(short), len(long)
    x_s = len(set(short) & set(long[:s]))
    total = 0.0
    for depth in range(1, 2001):
        shared = 0
        for tag in short[:depth]:
            shared += tag in long[:depth]
        if depth <= s:
            agreement = shared / depth
        elif depth <= num:
            agreement = (shared + (depth - s) * x_s / s) / depth  # the short list would have gone on as it was
        else:
            agreement = (len(set(short) & set(long)) + (num - s) * x_s / s) / num
        total += (1 - p) * p ** (depth - 1) * agreement
    return total


def plain_ndcg(tags: list[str], right: list[str]) -> float | None:
    if not right:
        return None
    best = gained = 0.0
    for place in range(len(right)):
        best += (2 ** max(0, TOP_GRADE - place) - 1) / math.log(2 + place)
    for place, tag in enumerate(tags):
        if tag in right:
            gained += (2 ** max(0, TOP_GRADE - right.index(tag)) - 1) / math.log(2 + place)
    return gained / best


@given(LISTS, LISTS)
def test_tau_b_is_the_plain_loops(first: list[str], second: list[str]) -> None:
    assert tau_b(first, second) == pytest.approx(plain_tau_b(first, second))


@given(LISTS, LISTS, st.sampled_from([0.5, 0.9, 0.98]))
def test_rank_biased_overlap_is_the_plain_loops(first: list[str], second: list[str], p: float) -> None:
    assert rank_biased_overlap(first, second, p) == pytest.approx(plain_rbo(first, second, p), abs=1e-9)


@given(LISTS, LISTS)
def test_ndcg_is_the_plain_loops(first: list[str], second: list[str]) -> None:
    assert ndcg(first, second) == pytest.approx(plain_ndcg(first, second))


@given(LISTS, LISTS)
def test_measures_lie_where_they_may_and_are_symmetric(first: list[str], second: list[str]) -> None:
    found = agreement_between(first, second)
    assert astuple(found) == pytest.approx(astuple(agreement_between(second, first)))
    for value, low in ((found.tau_b, -1.0), (found.rbo, 0.0), (found.ndcg, 0.0), (found.jaccard, 0.0)):
        assert value is None or low - 1e-9 <= value <= 1 + 1e-9


def test_cases_worked_by_hand() -> None:
    # Pairs ab, ac, bc: the order of a and b differs, the two others agree: (2 - 1) / 3.
    assert tau_b(["a", "b", "c"], ["b", "a", "c"]) == pytest.approx(1 / 3)
    # Shared 0, 2, 3 tags at depths 1, 2, 3: 0.5 (0 + 1/2 * 1 + 1/4 * 1) + 1 * 1/8 = 0.5.
    assert rank_biased_overlap(["a", "b", "c"], ["b", "a", "c"], 0.5) == pytest.approx(0.5)
    assert jaccard(["a", "b"], ["b", "c"]) == pytest.approx(1 / 3)
    # One list is a prefix of the other: it is taken to go on the same way.
    assert rank_biased_overlap(["a"], ["a", "b"], 0.9) == pytest.approx(1.0)


def test_equal_lists_agree_fully_and_strange_ones_not_at_all() -> None:
    same = agreement_with(["Sea", "sky"], ["sea", "SKY"])
    assert (same.tau_b, same.rbo, same.ndcg, same.jaccard) == pytest.approx((1, 1, 1, 1))
    other = agreement_with(["a", "b"], ["c", "d"])
    assert (other.rbo, other.ndcg, other.jaccard) == (0, 0, 0)
    assert other.tau_b is not None
    assert other.tau_b < 0


def test_what_cannot_be_measured_is_none() -> None:
    assert agreement_with([], []) == agreement_between([], [])
    assert set(mean_agreement([agreement_with([], [])]).values()) == {None}
    assert tau_b(["a"], ["a"]) is None  # nothing stands before anything
    assert agreement_with(["a"], []).ndcg is None
    assert mean_agreement([agreement_with([], []), agreement_with(["a"], ["a"])])["rbo"] == pytest.approx(1)


def test_agreement_by_tag_and_by_place() -> None:
    lists = [["sea", "sky", "boat"], ["Sky", "sea"], ["sea", "sand"]]
    tags = {item.tag: (item.num_people, item.places, item.mean_place) for item in by_tag(lists)}
    assert list(tags) == ["sea", "sky", "sand", "boat"]
    assert tags["sea"] == (3, [1, 2, 1], pytest.approx(4 / 3))
    assert tags["sky"] == (2, [2, 1, None], 1.5)
    places = by_place(lists)
    assert [(item.place, item.tag, item.num_people) for item in places] == [
        (1, "sea", 2),
        (2, "sky", 1),
        (3, "boat", 1),
    ]
    # Shared at depth 1: 0, 1, 0 of 1; at depth 2: 2, 1, 1 of 2; at depth 3 (short lists end): 2, 1, 1 of 3.
    assert [item.overlap for item in places] == pytest.approx([1 / 3, 4 / 6, 4 / 9])
    assert by_place([["a"]])[0].overlap == 1.0
    assert by_place([]) == []
    assert by_place([[], []]) == []


def test_places_are_counted_by_plain_loops() -> None:
    draw = random.Random(5)
    lists = [draw.sample("abcdefg", draw.randint(1, 7)) for _ in range(4)]
    for item in by_place(lists):
        shares = []
        for one, two in combinations(lists, 2):
            shared = 0
            for tag in one[: item.place]:
                shared += tag in two[: item.place]
            shares.append(shared / item.place)
        assert item.overlap == pytest.approx(sum(shares) / len(shares))
        assert item.num_people == max(
            sum(len(tags) >= item.place and tags[item.place - 1] == tag for tags in lists) for tag in "abcdefg"
        )
