"""Edit scripts: applying the difference gives the other list, in as few steps as possible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.storage import edit_script

ranked = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(ranked, ranked)
def test_applying_the_difference_gives_the_other_list(before: list[str], after: list[str]) -> None:
    assert edit_script.apply(edit_script.diff(before, after), before) == after


@given(st.permutations("abcde"), st.permutations("abcde"))
def test_a_reordering_takes_as_few_moves_as_the_longest_common_order_leaves(
    before: list[str], after: list[str]
) -> None:
    ranks = [after.index(tag) for tag in before]
    longest = max(
        bin(mask).count("1")
        for mask in range(32)
        if (chosen := [r for i, r in enumerate(ranks) if mask >> i & 1]) == sorted(chosen)
    )
    assert len(edit_script.diff(before, after)) == 5 - longest


def test_a_case_worked_by_hand() -> None:
    script = edit_script.diff(["dog", "tree", "sky", "boat"], ["boat", "dog", "sky", "lake"])
    assert script == [("delete", "tree", 1), ("move", "boat", 2, 0), ("insert", "lake", 3)]


def test_a_repeated_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        edit_script.diff(["a", "a"], [])


def test_a_step_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        edit_script.apply([("delete", "a", 0)], ["b"])
    with pytest.raises(ValueError, match="unknown step"):
        edit_script.apply([("swap", "a", 0)], ["a"])
