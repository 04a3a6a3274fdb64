"""All tags of a project, one tag, and what a change would do; then the change and its undo."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.datasets.vocabulary_file import VocabularyTag
from annotator.errors import StaleRevisionError, TagError
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.session.tag_overview import NUM_EXAMPLES
from annotator.storage.correction_log import Effort
from annotator.storage.vocabulary import replace_vocabulary


def save(session: Session, image_id: int, *tags: str, user: str = "ann", dropped: tuple[str, ...] = ()) -> None:
    revision = session.workspace.log.annotation(image_id).revision
    session.tagging.save(user, EditedList(image_id, revision, tags, dropped, Effort()))


@pytest.fixture
def session(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    session = open_project(demo_photos)
    save(session, 1, "street", "cat")
    save(session, 2, "Cats", "cat", "tree")
    save(session, 3, "sofa", dropped=("cat",))
    save(session, 4, "cat")
    return session


def lists(session: Session) -> dict[int, tuple[str, ...]]:
    return dict(session.workspace.log.saved())


def names(answer: dict[str, Any]) -> list[str]:
    return [item["tag"] for item in answer["items"]]


def test_the_tags_come_by_count_or_name_in_pages_and_by_text(session: Session) -> None:
    listed = session.tag_overview.list_tags(0, 100, "", "count")
    assert [(item["tag"], item["num_photos"]) for item in listed["items"]] == [
        ("cat", 3), ("Cats", 1), ("sofa", 1), ("street", 1), ("tree", 1)
    ]  # fmt: skip
    assert (listed["total"], listed["num_in_use"]) == (5, 5)
    assert names(session.tag_overview.list_tags(3, 1, "", "name")) == ["street"]
    session.tag_editing.change_tag("zoe", "alias", "kitty", "cat")
    assert names(session.tag_overview.list_tags(0, 100, "KIT", "name")) == ["cat"]
    assert names(session.tag_overview.list_tags(0, 100, "tr", "name")) == ["street", "tree"]


def test_what_is_known_of_a_tag_is_listed(session: Session) -> None:
    session.administration.set_never_proposed("logo", never=True)
    session.tag_editing.change_tag("zoe", "alias", "kitty", "cat")
    session.tag_editing.change_tag("zoe", "parent", "cat", "animal")
    items = {item["tag"]: item for item in session.tag_overview.list_tags(0, 100, "", "count")["items"]}
    assert items["cat"] == {
        "tag": "cat", "num_photos": 3, "aliases": ["kitty"], "parent": "animal", "is_never_proposed": False
    }  # fmt: skip
    assert (items["logo"]["num_photos"], items["logo"]["is_never_proposed"]) == (0, True)
    assert items["animal"]["num_photos"] == 0


def test_one_tag_comes_with_examples_and_with_tags_that_may_be_the_same(session: Session) -> None:
    details = session.tag_overview.tag_details("CAT")
    assert details["tag"] == "cat"
    assert [example["image_id"] for example in details["examples"]] == [4, 2, 1]
    assert len(details["examples"]) <= NUM_EXAMPLES
    assert [(one["tag"], one["why"], one["num_photos"]) for one in details["similar"]] == [
        ("Cats", "Singular and plural.", 1)
    ]
    session.tag_editing.change_tag("zoe", "parent", "cat", "pet")
    session.tag_editing.change_tag("zoe", "parent", "pet", "animal")
    assert session.tag_overview.tag_details("cat")["above"] == ["animal", "pet"]
    assert session.tag_overview.tag_details("pet")["below"] == ["cat"]
    with pytest.raises(TagError, match="is below 'animal'"):
        session.tag_overview.preview_tag_change("parent", "animal", "cat")


def test_the_levels_of_an_imported_vocabulary_are_parents_too(
    session: Session, open_project: Callable[..., Session]
) -> None:
    replace_vocabulary(session.workspace.store, [VocabularyTag("tree", (), ("nature", "plant"))])
    session.workspace.project.update_settings(vocabulary="extend")
    session.close()
    again = open_project(folder=session.workspace.project.folder)
    assert again.tag_overview.tag_details("tree")["parent"] == "plant"
    assert again.tag_overview.tag_details("plant")["below"] == ["tree"]


@pytest.mark.parametrize(
    ("kind", "old", "new", "after"),
    [
        ("rename", "cat", "feline", {1: ("street", "feline"), 2: ("Cats", "feline", "tree"), 4: ("feline",)}),
        ("merge", "Cats", "cat", {2: ("cat", "tree")}),
        ("delete", "cat", "", {1: ("street",), 2: ("Cats", "tree"), 4: ()}),
        ("alias", "kitty", "cat", {}),
        ("parent", "cat", "animal", {}),
    ],
)
def test_a_preview_says_what_the_change_then_does_and_one_undo_takes_it_back(
    session: Session, kind: str, old: str, new: str, after: dict[int, tuple[str, ...]]
) -> None:
    before = lists(session)
    counts = session.tag_overview.list_tags(0, 100, "", "count")
    preview = session.tag_overview.preview_tag_change(kind, old, new)
    assert lists(session) == before
    assert preview["num_photos"] == len(after)
    assert [(row["before"], row["after"]) for row in preview["rows"]] == [
        (list(before[image_id]), list(tags)) for image_id, tags in after.items()
    ]
    assert preview["num_emptied"] == sum(not tags for tags in after.values())
    done = session.tag_editing.change_tag("zoe", kind, old, new, seen_event=preview["seen_event"])
    assert done["num_photos"] == preview["num_photos"] + preview["num_refusals"]
    assert lists(session) == before | after
    changes = session.importing.changes()["changes"]
    assert [(one["kind"], one["num_photos"], one["change_id"]) for one in changes] == [
        ("tag", done["num_photos"], done["change_id"])
    ]
    undone = session.importing.undo_change("zoe", done["change_id"])
    assert undone == {"change_id": done["change_id"], "num_undone": done["num_photos"], "num_kept": 0}
    assert lists(session) == before
    assert session.workspace.log.annotation(3).dropped == ("cat",)
    assert session.tag_overview.list_tags(0, 100, "", "count") == counts
    assert session.workspace.tag_changes.aliases() == {}
    assert session.workspace.vocabulary.levels_of("cat") == ()
    assert session.tag_editing.tag_changes()["changes"][0]["is_undone"] is True
    # One event a photo, and one for its undo.
    for image_id in after:
        assert [event["kind"] for event in session.review.history("ann", image_id)["events"]] == [
            "save",
            "rename",
            "undo",
        ]


def test_a_photo_that_was_saved_since_the_preview_stops_the_change(session: Session) -> None:
    preview = session.tag_overview.preview_tag_change("delete", "cat", "")
    save(session, 4, "cat", "window", user="ben")
    with pytest.raises(StaleRevisionError, match=r"1 photo was saved since you looked\. Nothing was changed"):
        session.tag_editing.change_tag("zoe", "delete", "cat", "", seen_event=preview["seen_event"])
    assert lists(session)[1] == ("street", "cat")
    again = session.tag_overview.preview_tag_change("delete", "cat", "")
    assert session.tag_editing.change_tag("zoe", "delete", "cat", "", seen_event=again["seen_event"])["num_photos"] == 3


def test_an_undo_leaves_what_somebody_saved_since(session: Session) -> None:
    done = session.tag_editing.change_tag("zoe", "rename", "cat", "feline")
    save(session, 4, "feline", "window", user="ben")
    undone = session.importing.undo_change("zoe", done["change_id"])
    assert (undone["num_undone"], undone["num_kept"]) == (3, 1)
    assert lists(session)[4] == ("feline", "window")
    assert lists(session)[1] == ("street", "cat")


def test_another_spelling_is_undone_too(session: Session) -> None:
    done = session.tag_editing.change_tag("zoe", "rename", "cat", "CAT")
    assert session.tag_overview.tag_details("cat")["tag"] == "CAT"
    session.importing.undo_change("zoe", done["change_id"])
    assert session.tag_overview.tag_details("cat")["tag"] == "cat"


def test_aliases_and_parents_are_there_after_the_project_is_opened_again(
    session: Session, open_project: Callable[..., Session]
) -> None:
    session.tag_editing.change_tag("zoe", "parent", "cat", "animal")
    undone = session.tag_editing.change_tag("zoe", "parent", "tree", "plant")
    session.importing.undo_change("zoe", undone["change_id"])
    session.close()
    again = open_project(folder=session.workspace.project.folder)
    assert again.workspace.vocabulary.levels_of("cat") == ("animal",)
    assert again.workspace.vocabulary.levels_of("tree") == ()
    exported = {row["image"]: row.get("levels") for row in again.administration.export("local", detailed=True)}
    assert {"cat": ["animal"]} in exported.values()


@pytest.mark.parametrize(("kind", "old", "new"), [("rename", "cat", ""), ("merge", "cat", "fish"), ("delete", "x", "")])
def test_a_preview_refuses_what_the_change_would_refuse(session: Session, kind: str, old: str, new: str) -> None:
    with pytest.raises(TagError):
        session.tag_overview.preview_tag_change(kind, old, new)
    with pytest.raises(TagError):
        session.tag_editing.change_tag("zoe", kind, old, new)
