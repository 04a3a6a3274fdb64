"""Fields beside the tags: what they take, and what is proposed for them."""

import pytest

from annotator.datasets.photo_fields import FieldSpec, fields_from, parse_field
from annotator.errors import ConfigError, DataError

CATEGORY = FieldSpec("category", "choice", ("Animals", "Food"))


def test_proposals_follow_the_first_tags() -> None:
    tags = ["red", "cat", "sofa", "lamp", "wall", "floor"]
    assert FieldSpec("title").proposed(tags, "A caption", {}) == "Red cat sofa lamp wall"
    assert FieldSpec("description").proposed(tags, "A  caption", {}) == "A caption"
    assert FieldSpec("description").proposed(tags, "", {}) == "Red, cat, sofa, lamp, wall, floor"
    assert FieldSpec("place").proposed(tags, "", {}) == ""
    assert CATEGORY.proposed(tags, "", {}) == ""
    assert CATEGORY.proposed(tags, "", {"cat": ("things", "animals")}) == "Animals"
    assert CATEGORY.proposed(["FOOD", "cat"], "", {"cat": ("animals",)}) == "Food"
    assert FieldSpec("title").proposed([], "", {}) == ""


def test_values_are_cleaned_or_refused() -> None:
    assert FieldSpec("title").clean("  a \n b ") == "a b"
    assert CATEGORY.clean("Food") == "Food"
    assert CATEGORY.clean("") == ""
    for spec, value, message in (
        (CATEGORY, "Cars", "none of the choices: Animals, Food"),
        (FieldSpec("title"), "x" * 2001, "has 2,001 characters"),
        (FieldSpec("title"), "a\x00b", "control character"),
    ):
        with pytest.raises(DataError, match=message):
            spec.clean(value)


def test_fields_come_from_settings_and_the_command_line() -> None:
    assert parse_field("title") == FieldSpec("title")
    assert parse_field("category: Animals | Food") == CATEGORY
    assert fields_from([{"name": "title"}, CATEGORY]) == (FieldSpec("title"), CATEGORY)
    for bad in (
        [{"name": ""}],
        [{"name": "a", "kind": "number"}],
        [{"name": "a", "kind": "choice"}],
        [{"name": "a", "choices": ["x"]}],
        [{"name": "a"}, {"name": "a"}],
        [{"title": "a"}],
        "title",
    ):
        with pytest.raises(ConfigError):
            fields_from(bad)  # type: ignore[arg-type]
