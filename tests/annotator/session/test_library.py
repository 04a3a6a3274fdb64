"""What the library finds, in which order, and edits of the tags of many photos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ConfigError
from annotator.exchange.selection import Selection
from annotator.exchange.tag_edits import TagEdit
from annotator.session.edited_list import EditedList
from annotator.session.exporting import Chosen
from annotator.session.session import Session

Open = Callable[..., Session]


@pytest.fixture
def session(open_project: Open, write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos" / "sea" / "2019", range(2))
    write_photos(tmp_path / "photos", range(2, 5))
    return open_project(tmp_path / "photos")


def save(session: Session, image_id: int, *tags: str) -> None:
    session.tagging.save("local", EditedList(image_id, session.workspace.log.annotation(image_id).revision, tags))


def found(session: Session, query: str, sort: str = "folder", alike_to: int | None = None) -> list[int]:
    ids: list[int] = session.library.found_ids("local", query, "all", sort, alike_to)["image_ids"]
    assert [
        item["image_id"] for item in session.navigation.browse("local", 0, 50, query, "all", sort, alike_to)["items"]
    ] == ids
    return ids


def photos(*image_ids: int) -> Chosen:
    return Chosen(Selection(state="all", image_ids=image_ids))


def tags(session: Session, image_id: int) -> tuple[str, ...]:
    return session.workspace.log.annotation(image_id).tags


def test_fields_not_and_or(session: Session) -> None:
    every = found(session, "")
    in_sea = {i for i, file in session.workspace.store.images.photo_files().items() if file.path.startswith("sea/")}
    one, two, three, *rest = every
    save(session, one, "cat", "sofa")
    save(session, two, "sofa", "cat")
    save(session, three, "catalogue")
    assert set(found(session, "cat")) == {one, two, three}
    assert set(found(session, "tag:CAT")) == {one, two}
    assert found(session, "first:cat") == [one]
    assert set(found(session, "NOT tag:cat")) == set(every) - {one, two}
    assert set(found(session, "tag:sofa -first:cat")) == {two}
    assert set(found(session, "first:cat OR tag:catalogue")) == {one, three}
    assert set(found(session, "folder:sea")) == set(found(session, "folder:Sea/2019/")) == in_sea
    assert found(session, "folder:se") == []
    assert set(found(session, "by:LOCAL")) == {one, two, three}
    assert found(session, "date:1980") == []
    assert set(found(session, "-tag:nowhere")) == set(every)
    assert rest


def test_orders(session: Session) -> None:
    every = found(session, "")
    save(session, every[3], "a")
    save(session, every[1], "b")
    assert found(session, "", "saved")[:2] == [every[1], every[3]]
    assert found(session, "", "alike", every[2])[0] == every[2]
    assert sorted(found(session, "", "alike", every[2])) == sorted(every)
    names = [session.workspace.files.name(image_id).rpartition("/")[2] for image_id in found(session, "", "name")]
    assert names == sorted(names)
    dated = [session.workspace.store.images.entry(image_id).taken_at or "" for image_id in found(session, "", "date")]
    assert dated == sorted(dated, reverse=True)


def test_facets_count_the_photos_that_are_found(session: Session) -> None:
    one, two, three, *_ = found(session, "")
    save(session, one, "cat", "sofa")
    save(session, two, "Cat")
    save(session, three, "owl")
    facets = session.library.facets("local", "", "all", "")
    assert {item["value"].casefold(): item["num_photos"] for item in facets["tags"]} == {"cat": 2, "sofa": 1, "owl": 1}
    assert facets["folders"] == [{"value": "sea", "num_photos": 2}, {"value": "sea/2019", "num_photos": 2}]
    assert facets["people"] == [{"value": "local", "num_photos": 3}]
    narrowed = session.library.facets("local", "tag:sofa", "all", "o")
    assert narrowed["tags"] == [{"value": "sofa", "num_photos": 1}]
    assert narrowed["num_tags"] == 1


def test_searches_are_kept_and_forgotten(session: Session) -> None:
    search = {"query": "tag:cat", "state": "saved", "sort": "date"}
    session.library.save_search(" Cats ", search)
    assert session.navigation.state("local")["saved_searches"] == {"Cats": search}
    assert session.library.save_search("Cats", None) == {"saved_searches": {}}
    with pytest.raises(ConfigError):
        session.library.save_search("  ", search)
    for name in ("a\0b", "a\x1b[2J", "a\u202eb"):
        with pytest.raises(ConfigError, match="cannot be shown"):
            session.library.save_search(name, search)


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (TagEdit(add=("owl", "CAT")), ("cat", "sofa"), ("cat", "sofa", "owl")),
        (TagEdit(remove=("CAT",)), ("cat", "sofa"), ("sofa",)),
        (TagEdit(replace={"Cat": "kitten"}), ("sofa", "cat", "dog"), ("sofa", "kitten", "dog")),
        (TagEdit(replace={"cat": "dog"}), ("sofa", "cat", "lamp", "dog"), ("sofa", "dog", "lamp")),
        (TagEdit(first=("owl", "sofa")), ("cat", "Sofa"), ("owl", "Sofa", "cat")),
        (TagEdit(add=("x",), remove=("y",), first=("z",)), ("y", "z"), ("z", "x")),
    ],
)
def test_an_edit_of_a_list(edit: TagEdit, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert edit.apply(before) == after
    assert edit.apply(after) == after


def test_an_edit_without_a_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match="Name a tag"):
        TagEdit()


def test_many_photos_are_edited_in_one_step_and_taken_back_in_one(session: Session) -> None:
    one, two, three, *_ = found(session, "")
    save(session, one, "cat", "sofa")
    save(session, two, "cat")
    edit, chosen = TagEdit(add=("indoors",), remove=("cat",)), photos(one, two, three)
    shown = session.library.edit_tags("local", chosen, edit, is_dry_run=True)
    assert (shown["num_photos"], shown["num_lists"], shown["num_drafts"], shown["change_id"]) == (3, 2, 1, None)
    assert shown["rows"][0]["before"] == ["cat", "sofa"]
    assert shown["rows"][0]["after"] == ["sofa", "indoors"]
    assert tags(session, one) == ("cat", "sofa")
    done = session.library.edit_tags("local", chosen, edit, is_dry_run=False)
    assert [tags(session, image_id) for image_id in (one, two, three)] == [("sofa", "indoors"), ("indoors",), ()]
    assert session.navigation.open("local", three)["kept"] == ["indoors"]
    assert set(found(session, "tag:indoors")) == {one, two}
    assert session.workspace.log.annotation(one).revision == 2
    save(session, two, "garden")
    undone = session.importing.undo_change("local", done["change_id"])
    assert (undone["num_undone"], undone["num_kept"]) == (2, 1)
    assert [tags(session, image_id) for image_id in (one, two)] == [("cat", "sofa"), ("garden",)]
    assert session.navigation.open("local", three)["kept"] == []


def test_a_draft_gets_its_former_tags_back(session: Session) -> None:
    one, *_ = found(session, "")
    session.tagging.propose("local", one, ["lamp"], ["indoors"], 0)
    session.library.edit_tags("local", photos(one), TagEdit(add=("indoors",)), is_dry_run=False)
    draft = session.workspace.log.draft(one, "local")
    assert draft is not None
    assert (draft.kept, draft.dropped) == (("lamp", "indoors"), ())
    session.importing.undo_change("local", None)
    draft = session.workspace.log.draft(one, "local")
    assert draft is not None
    assert draft.kept == ("lamp",)


def test_an_edit_that_changes_nothing_writes_nothing(session: Session) -> None:
    one, *_ = found(session, "")
    save(session, one, "cat")
    done = session.library.edit_tags("local", photos(one), TagEdit(add=("cat",)), is_dry_run=False)
    assert (done["num_lists"], done["change_id"]) == (0, None)
    assert session.importing.changes() == {"changes": []}


def test_photos_are_started_with_their_certain_suggestions_and_that_is_taken_back(session: Session) -> None:
    one, two, *rest = found(session, "")
    save(session, one, "cat")
    session.tagging.propose("local", two, ["lamp"], [], 0)
    session.workspace.project.update_settings(random_share=0.0, probe_share=0.0)
    every = [one, two, *rest]

    def planned(least: float) -> tuple[str, dict[str, Any]]:
        transfer_id = session.importing.begin("local")["transfer_id"]
        session.importing.plan_suggestions("local", transfer_id, every, least)
        transfer = session.workspace.transfers.get("local", transfer_id)
        transfer.wait()
        return transfer_id, transfer.describe()

    assert planned(1.0)[1]["num_planned"] == 0
    proposals = session.navigation.open("local", rest[0])["proposals"]
    least = proposals[0]["score"]
    transfer_id, plan = planned(least)
    assert {item["photo"] for item in plan["left_out"]} >= {session.workspace.files.name(i) for i in (one, two)}
    assert plan["num_planned"] >= 1
    session.importing.carry_out("local", transfer_id)
    session.workspace.transfers.get("local", transfer_id).wait()
    draft = session.workspace.log.draft(rest[0], "local")
    assert draft is not None
    assert draft.kept == tuple(item["tag"] for item in proposals if item["score"] >= least)
    assert tags(session, one) == ("cat",)
    session.importing.undo_change("local", None)
    assert session.workspace.log.draft(rest[0], "local") is None
    draft = session.workspace.log.draft(two, "local")
    assert draft is not None
    assert draft.kept == ("lamp",)


def test_many_photos_are_put_off_and_taken_up_again(session: Session) -> None:
    workspace = session.workspace
    save(session, found(session, "")[1], "cat")
    open_ones = [one for one in found(session, "") if workspace.queue.is_open(one)]
    assert len(open_ones) >= 2
    put_off = session.library.put_off("local", photos(*found(session, "")), back=False)
    assert put_off == {"image_ids": open_ones, "num_left_out": len(found(session, "")) - len(open_ones)}
    assert workspace.log.skipped() == open_ones
    assert session.administration.effort_report()["queue"]["num_put_off"] == len(open_ones)
    kinds = [entry["kind"] for entry in session.review.timeline("local", open_ones[0])["entries"]]
    again = session.library.put_off("local", photos(*open_ones[1:]), back=True)
    assert again["image_ids"] == open_ones[1:]
    assert workspace.log.skipped() == open_ones[:1]
    assert [one for one in found(session, "") if workspace.queue.is_open(one)] == open_ones[1:]
    assert "skip" in kinds
    assert "taken_up" in [entry["kind"] for entry in session.review.timeline("local", open_ones[1])["entries"]]
    assert session.administration.check()["findings"] == []
    assert session.library.put_off("local", photos(*open_ones[:1]), back=False)["image_ids"] == []  # it is already


def test_a_photo_that_somebody_has_open_is_not_put_off_by_another(session: Session) -> None:
    one, other = [i for i in found(session, "") if session.workspace.queue.is_open(i)][:2]
    session.workspace.leases.take(one, "anna")
    assert session.library.put_off("ben", photos(one, other), back=False)["image_ids"] == [other]


def test_the_order_of_the_queue_is_an_order_of_the_library(session: Session) -> None:
    queue = session.workspace.queue
    open_ones = queue.open_ids()
    queue.set_order(open_ones[::-1])
    found = session.navigation.browse("local", 0, 100, "", "all", "queue")["items"]
    assert [item["image_id"] for item in found][: len(open_ones)] == open_ones[::-1]
    assert len(found) == len(queue)
