"""The imported vocabulary in the database: spelling, aliases, levels, classes, and forbidden words."""

from collections.abc import Callable

import pytest

from annotator.datasets.vocabulary_file import VocabularyTag
from annotator.errors import TagError
from annotator.storage.database import Store
from annotator.storage.vocabulary import imported_vocabulary, replace_vocabulary

TAGS = [
    VocabularyTag("animals"),
    VocabularyTag("Cat", ("kitty",), ("animals",), "beast"),
    VocabularyTag("ugly", ("hideous",), is_forbidden=True),
]


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    store = make_store(1)
    replace_vocabulary(store, TAGS)
    return store


def test_a_vocabulary_comes_back_from_the_database(store: Store) -> None:
    found = imported_vocabulary(store, "extend")
    assert (found.tags, found.aliases) == (("animals", "Cat"), {"kitty": "Cat"})
    assert (found.levels_of("CAT"), found.group_of("cat"), found.spelling["cat"]) == (("animals",), "beast", "Cat")
    assert found.place_of("cat") == "beast \u00b7 animals"
    assert (found.place_of("animals"), found.levels_of("dog"), found.group_of("dog")) == ("", (), "")
    assert [found.permits(tag) for tag in ("cat", "dog", "Ugly", "hideous")] == [True, True, False, False]
    restricting = imported_vocabulary(store, "restrict")
    assert [restricting.permits(tag) for tag in ("cat", "dog", "ugly")] == [True, False, False]


def test_forbidden_tags_are_refused_unless_the_photo_has_them(store: Store) -> None:
    found = imported_vocabulary(store, "extend")
    found.check(["cat", "dog"])
    found.check(["UGLY"], own=["ugly"])
    for tag in ("Ugly", "hideous"):
        with pytest.raises(TagError, match=rf"forbids '{tag}'\. Nothing was saved"):
            found.check(["cat", tag])


def test_a_vocabulary_that_is_not_used_forbids_nothing(store: Store) -> None:
    found = imported_vocabulary(store, "")
    assert (found.tags, found.permits("ugly")) == ((), True)
    found.check(["ugly"])


def test_a_large_vocabulary_is_stored_in_its_order(store: Store) -> None:
    replace_vocabulary(store, [VocabularyTag(f"tag {number}") for number in range(12_345)])
    assert imported_vocabulary(store, "extend").tags == tuple(f"tag {number}" for number in range(12_345))
