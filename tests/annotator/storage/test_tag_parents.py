"""Which tag is below which: chains, circles, and what other changes of tags do to them."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from annotator.errors import TagError
from annotator.storage.tag_changes import TagChange, parents_of
from annotator.storage.tag_parents import TagParents
from annotator.storage.vocabulary import ImportedVocabulary


def after(*changes: Sequence[str]) -> TagParents:
    return parents_of(
        [TagChange(1, kind, old, new, datetime(2030, 1, 1), "anna", 1, False) for kind, old, new in changes]
    )


def test_the_tags_above_are_named_from_the_highest_down() -> None:
    parents = after(("parent", "cat", "pet"), ("parent", "Pet", "animal"))
    assert parents.above("CAT") == ("animal", "pet")
    assert (parents.of("cat"), parents.of("animal")) == ("pet", None)


def test_a_tag_cannot_be_above_itself() -> None:
    parents = after(("parent", "cat", "pet"), ("parent", "pet", "animal"))
    with pytest.raises(TagError, match="'cat' is below 'Animal'"):
        parents.check("Animal", "cat")
    parents.check("dog", "cat")
    parents.check("cat", "")
    # A circle in a database that was edited by hand ends.
    assert TagParents({"a": "b", "b": "a"}).above("a") == ("a", "b")


def test_a_renamed_tag_keeps_its_place_and_a_deleted_one_leaves_the_tree() -> None:
    tree = (("parent", "cat", "pet"), ("parent", "pet", "animal"))
    assert dict(after(*tree, ("rename", "pet", "house pet"))) == {"cat": "house pet", "house pet": "animal"}
    assert dict(after(*tree, ("merge", "pet", "cat"))) == {"cat": "animal"}
    assert dict(after(*tree, ("delete", "pet", ""))) == {}
    assert dict(after(*tree, ("alias", "puss", "cat"))) == dict(after(*tree))


def test_the_project_comes_before_the_vocabulary_and_above_it_the_vocabulary_goes_on() -> None:
    vocabulary = ImportedVocabulary(["cat", "pet"], levels={"cat": ("fauna",), "pet": ("life", "animal")})
    assert vocabulary.levels_of("cat") == ("fauna",)
    vocabulary.parents = after(("parent", "cat", "pet"))
    assert vocabulary.levels_of("cat") == ("life", "animal", "pet")
    assert vocabulary.place_of("cat") == "life \u203a animal \u203a pet"
    vocabulary.parents = after(("parent", "cat", ""))
    assert vocabulary.levels_of("cat") == ()
