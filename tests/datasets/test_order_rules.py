import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.datasets.order_rules import OrderRules, read_rules, rules_from
from annotator.errors import ConfigError

TAGS = st.lists(st.sampled_from("abcdefgh"), unique=True)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, "dcba"),
        ({"pinned": ("a", "x", "c")}, "acdb"),
        ({"classes": (("b",), ("c", "a"))}, "bcad"),
        ({"classes": (("b",), ("*",), ("d",))}, "bcad"),
        ({"before": (("a", "d"),)}, "cbad"),
        ({"before": (("a", "c"), ("b", "d"))}, "bdac"),
        ({"most": 2}, "dc"),
        ({"pinned": ("a",), "classes": (("b",),), "most": 3}, "abd"),
        ({"pinned": ("A",)}, "adcb"),
    ],
)
def test_rules_give_the_order(rules: dict[str, Any], expected: str) -> None:
    assert "".join(OrderRules(**rules).apply("dcba")) == expected


@given(
    TAGS, st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.tuples(*[st.sampled_from("abcdefgh")] * 2))
)
def test_nothing_is_lost_and_a_second_call_changes_nothing(
    tags: list[str], pinned: list[str], pairs: list[tuple[str, str]]
) -> None:
    pairs = [(first, second) for first, second in pairs if first < second]  # no circle
    rules = OrderRules(tuple(pinned), before=tuple(pairs))
    ordered = rules.apply(tags)
    assert sorted(ordered) == sorted(tags)
    assert rules.apply(ordered) == ordered
    for first, second in pairs:
        if first in tags and second in tags:
            assert ordered.index(first) < ordered.index(second)


@given(TAGS)
def test_without_pairs_tags_of_one_class_keep_their_order(tags: list[str]) -> None:
    ordered = OrderRules(classes=(("a", "b", "c"), ("*",), ("h",))).apply(tags)
    for group in ("abc", "defg", "h"):
        assert [tag for tag in ordered if tag in group] == [tag for tag in tags if tag in group]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"most": -1}, "most must be 0 or more"),
    ({"pinned": ["a", "A"]}, "pinned twice"),
    ({"classes": [["a"], ["A"]]}, "stands in two classes"),
    ({"before": [["a", "b"], ["b", "c"], ["c", "A"]]}, "contradict each other: a before b before c before a"),
    ({"before": [["a", "a"]]}, "contradict each other: a before a"),
    ({"before": [["a"]]}, "is no pair of tags"),
    ({"pinned": "a"}, "is no list of tags"),
    ({"pinned": [""]}, "A rule has a bad tag"),
    ({"first": []}, "hold 'first', which is no rule"),
    ([], "of another form"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_bad_rules_are_named(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message):
        read_rules(tmp_path / "rules.json")


def test_the_rules_of_a_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"pinned": ["x"], "classes": [["a"], ["*"]], "before": [["b", "c"]], "most": 9}')
    assert read_rules(path) == OrderRules(("x",), (("a",), ("*",)), (("b", "c"),), 9)
    path.write_text("{")
    with pytest.raises(ConfigError, match="could not be read"):
        read_rules(path)


def test_the_rule_that_decides_about_a_tag_is_named() -> None:
    rules = OrderRules(("x",), (("a",),), (("b", "c"),))
    assert [rules.reason(tag) for tag in "xabz"] == ["pinned", "class 1", "b before c", ""]


def test_a_class_of_the_vocabulary_stands_for_all_of_its_tags() -> None:
    groups = {"miku": "character", "smile": "general", "ann": "artist"}
    rules = rules_from(
        {"classes": [["@Character"], ["smile", "*"], ["@artist"]]}, group_of=lambda tag: groups.get(tag, "")
    )
    assert rules.apply(["ann", "tree", "smile", "miku"]) == ("miku", "tree", "smile", "ann")
    assert [rules.reason(tag) for tag in ("miku", "smile", "ann", "tree")] == ["class 1", "class 2", "class 3", ""]
    without = rules_from({"classes": [["@character"], ["*"]]})
    assert without.apply(["tree", "miku"]) == ("tree", "miku")


def test_rules_are_values_and_come_back() -> None:
    rules = OrderRules(("a",), (("b",), ("*",)), (("c", "d"),), 5)
    assert rules_from(rules.values()) == rules
    for bad in ({"pin": []}, {"pinned": "a"}, {"most": -1}, {"before": [["a", "b"], ["b", "a"]]}, []):
        with pytest.raises(ConfigError):
            rules_from(bad)
