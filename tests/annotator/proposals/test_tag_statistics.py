import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.proposals.tag_statistics import PRIOR_LISTS, OtherPhotosStatistics, TagStatistics

LISTS = [("Beach", "sea", "sun"), ("beach", "sea"), ("beach", "palm"), ("sun",)]


def statistics_of(lists: Sequence[Sequence[str]]) -> TagStatistics:
    statistics = TagStatistics()
    for tags in lists:
        statistics.note(tags, +1)
    return statistics


def test_what_follows_the_last_tag_comes_first_with_its_share_by_hand() -> None:
    usual = statistics_of(LISTS).usual(["BEACH"])
    assert [item.tag for item in usual] == ["sea", "palm", "sun"]
    assert usual[0].share == pytest.approx(2 / (3 + PRIOR_LISTS))
    assert usual[0].text == "after “BEACH” it came next in 2 of 3 lists"
    assert usual[1].text == "after “BEACH” it came next in 1 of 3 lists"
    assert usual[2].text == "usual here: 2 of 4 tagged photos carry it"


def test_a_list_begins_with_what_lists_begin_with() -> None:
    first = statistics_of(LISTS).usual([])[0]
    assert (first.tag, first.text) == ("beach", "3 of 4 lists begin with it")


def test_the_facts_of_a_tag_by_hand() -> None:
    sea, new = statistics_of(LISTS).of(["Sea", "never"], ["beach"])
    assert sea.count == pytest.approx(math.log(2.5 / 5))
    assert sea.next == pytest.approx(-math.log(1 - 2 / 6))
    shared = (2 + 2 * 0.4) / (3 + 2)
    assert sea.together == pytest.approx(math.log((shared + 1e-3) / (0.4 + 1e-3)))
    assert sea.place == 0  # it stands at place 1, and place 1 is to be filled
    assert not sea.is_unused
    assert new.is_unused
    assert (new.next, new.place) == (0, 0)


def test_without_any_list_nothing_is_usual() -> None:
    assert TagStatistics().usual([]) == []
    assert TagStatistics().usual(["dog"]) == []
    assert TagStatistics().of(["cat"], ["dog"])[0].is_unused


@given(st.lists(st.lists(st.sampled_from("abcdeA"), max_size=5), max_size=8), st.data())
def test_what_is_taken_back_was_never_there(lists: list[list[str]], data: st.DataObject) -> None:
    remaining = data.draw(st.lists(st.sampled_from(range(len(lists))), unique=True)) if lists else []
    statistics = statistics_of(lists)
    for place in sorted(set(range(len(lists))).difference(remaining)):
        statistics.note(lists[place], -1)
    alone = statistics_of([lists[place] for place in sorted(remaining)])
    for kept in ([], ["a"], ["b", "c"]):
        assert statistics.of("abcde", kept) == alone.of("abcde", kept)
        assert {item.tag.casefold(): item.share for item in statistics.usual(kept)} == {
            item.tag.casefold(): item.share for item in alone.usual(kept)
        }


def test_lists_that_end_count_in_what_a_person_reads_and_empty_ones_nowhere() -> None:
    statistics = statistics_of([("salad",), ("salad", "bread"), ()])
    assert statistics.usual(["salad"])[0].text == "after “salad” it came next in 1 of 2 lists"
    assert statistics.usual([])[0].text == "2 of 2 lists begin with it"


def test_a_photos_own_list_does_not_count_for_it() -> None:
    own = ("beach", "shell", "sea")
    with_own, without = statistics_of([*LISTS, own]), statistics_of(LISTS)
    beside = OtherPhotosStatistics(with_own, own)
    for kept in ([], ["beach"], ["beach", "shell"]):
        assert beside.usual(kept) == without.usual(kept)
        assert beside.of(["sea", "shell", "sun"], kept) == without.of(["sea", "shell", "sun"], kept)
    assert with_own.usual(["shell"])[0].tag == "sea"  # for every other photo it counts
