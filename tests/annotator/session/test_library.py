"""What the library finds, in which order, and edits of the tags of many photos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ConfigError, StoreError
from annotator.exchange.importing import OF_OTHERS, carry_out
from annotator.exchange.selection import Selection
from annotator.exchange.tag_edits import TagEdit
from annotator.session import importing
from annotator.session.edited_list import EditedList
from annotator.session.exporting import Chosen
from annotator.session.session import Session
from annotator.storage.correction_log import Draft

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


def planned(session: Session, image_ids: list[int], least: float, kind: Any = "draft") -> tuple[str, dict[str, Any]]:
    """Plan suggestions for photos; the id of the transfer, and what is planned."""
    transfer_id = session.importing.begin("local")["transfer_id"]
    session.importing.plan_suggestions("local", transfer_id, image_ids, least, kind)
    return transfer_id, ended(session, transfer_id)


def ended(session: Session, transfer_id: str) -> dict[str, Any]:
    transfer = session.workspace.transfers.get("local", transfer_id)
    transfer.wait()
    return transfer.describe()


def carried_out(session: Session, transfer_id: str) -> dict[str, Any]:
    session.importing.carry_out("local", transfer_id)
    return ended(session, transfer_id)


def without_sample(session: Session) -> None:
    session.workspace.project.update_settings(random_share=0.0, probe_share=0.0)


def reasons(session: Session, plan: dict[str, Any]) -> dict[int, str]:
    """Photo -> why it is left out."""
    ids = {session.workspace.files.name(image_id): image_id for image_id in found(session, "")}
    return {ids[item["photo"]]: item["reason"] for item in plan["left_out"]}


def test_photos_are_started_with_their_certain_suggestions_and_that_is_taken_back(session: Session) -> None:
    one, two, *rest = found(session, "")
    save(session, one, "cat")
    session.tagging.propose("local", two, ["lamp"], [], 0)
    without_sample(session)
    every = [one, two, *rest]
    assert planned(session, every, 1.0)[1]["num_planned"] == 0
    proposals = session.navigation.open("local", rest[0])["proposals"]
    least = proposals[0]["score"]
    transfer_id, plan = planned(session, every, least)
    assert reasons(session, plan)[one] == "local has saved it already"
    assert reasons(session, plan)[two] == "local has a draft of it"
    assert plan["num_planned"] >= 1
    carried_out(session, transfer_id)
    draft = session.workspace.log.draft(rest[0], "local")
    assert draft is not None
    assert draft.kept == tuple(item["tag"] for item in proposals if item["score"] >= least)
    assert tags(session, one) == ("cat",)
    session.importing.undo_change("local", None)
    assert session.workspace.log.draft(rest[0], "local") is None
    draft = session.workspace.log.draft(two, "local")
    assert draft is not None
    assert draft.kept == ("lamp",)


def test_certain_suggestions_are_saved_as_lists_at_once_and_that_is_taken_back(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART", 2)
    without_sample(session)
    every = found(session, "")
    proposed = session.workspace.proposer.propose(every[0], session.workspace.words_of(every[0]))
    wanted = [proposal.tag for proposal in proposed.proposals]
    session.tag_editing.set_order_rules({"pinned": [wanted[2]], "classes": [], "before": [], "most": 0})
    wanted.insert(0, wanted.pop(2))
    transfer_id, plan = planned(session, every, 0.0, "suggested")
    saved = [image_id for image_id in every if image_id not in reasons(session, plan)]
    assert len(saved) == plan["num_planned"] >= 3
    assert all(row["thumbnail_url"] and row["tags"] for row in plan["rows"])
    assert session.workspace.log.annotation(every[0]).revision == 0  # nothing is written before
    done = carried_out(session, transfer_id)
    assert (done["state"], done["num_written"], done["num_done"]) == ("done", len(saved), len(saved))
    assert len(done["change_ids"]) == -(-len(saved) // 2)
    assert tags(session, every[0]) == tuple(wanted)
    assert all(session.workspace.queue.is_saved(image_id) for image_id in saved)
    assert set(found(session, f'tag:"{wanted[0]}"')) >= {every[0]}
    _, event = session.review.timeline("local", every[0])["entries"]
    assert (event["kind"], event["user"], event["is_saved"]) == ("suggest", "local", True)
    assert event["tagger"] == proposed.tagger
    assert [one["proposal"]["rank"] for one in event["changes"]["added"]][:3] == [3, 1, 2]
    assert session.workspace.log.newest_save("local") == 0  # no save by hand, for the effort report and its undo
    save(session, saved[1], "by hand")
    undone = [session.importing.undo_change("local", change_id) for change_id in reversed(done["change_ids"])]
    assert [sum(one[name] for one in undone) for name in ("num_undone", "num_kept")] == [len(saved) - 1, 1]
    assert [image_id for image_id in every if session.workspace.queue.is_saved(image_id)] == [saved[1]]
    assert tags(session, saved[1]) == ("by hand",)
    assert session.administration.check()["findings"] == []


def test_lists_are_not_saved_for_photos_that_people_work_on_or_measure_with(session: Session) -> None:
    one, two, three, *rest = found(session, "")
    without_sample(session)
    session.workspace.log.save_draft(one, "anna", Draft(0, ("lamp",)))
    session.workspace.leases.take(two, "anna")
    transfer_id, plan = planned(session, [one, two, three, *rest], 0.0, "suggested")
    assert reasons(session, plan)[one] == "anna has a draft of it"
    assert reasons(session, plan)[two] == OF_OTHERS
    session.workspace.leases.give_back(two, "anna")
    session.workspace.leases.take(three, "anna")  # since it was planned
    save(session, rest[0], "by hand")
    done = carried_out(session, transfer_id)
    assert reasons(session, done)[three] == OF_OTHERS
    assert reasons(session, done)[rest[0]] == "local has saved it already"
    assert (tags(session, one), tags(session, three), tags(session, rest[0])) == ((), (), ("by hand",))
    assert tags(session, rest[1])
    session.workspace.project.update_settings(random_share=1.0)
    plan = planned(session, [two], 0.0, "suggested")[1]
    assert reasons(session, plan)[two] == "it is in the random sample, which people tag"
    assert planned(session, [two], 0.0)[1]["num_planned"] == 1  # started all the same


def test_saving_suggestions_is_cancelled_after_the_part_in_hand_and_that_part_is_taken_back(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART", 2)
    without_sample(session)
    transfer_id, plan = planned(session, found(session, ""), 0.0, "suggested")
    assert plan["num_planned"] >= 3

    def cancel(*given: Any) -> Any:
        session.exporting.cancel("local", transfer_id)
        return carry_out(*given)

    monkeypatch.setattr(importing, "carry_out", cancel)
    done = carried_out(session, transfer_id)
    assert (done["state"], done["num_written"], len(done["change_ids"])) == ("cancelled", 2, 1)
    assert len(session.workspace.queue.saved_ids()) == 2
    with pytest.raises(ConfigError, match="has not been read yet"):
        session.importing.carry_out("local", transfer_id)
    session.importing.undo_change("local", done["change_ids"][0])
    assert session.workspace.queue.saved_ids() == []


def test_what_was_saved_before_a_failure_is_told_with_its_changes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART", 2)
    without_sample(session)
    transfer_id, _ = planned(session, found(session, ""), 0.0, "suggested")

    def fail_once_saved(*given: Any) -> Any:
        if session.workspace.queue.saved_ids():
            raise StoreError("Not saved: the disk is full.")
        return carry_out(*given)

    monkeypatch.setattr(importing, "carry_out", fail_once_saved)
    done = carried_out(session, transfer_id)
    assert (done["state"], done["problem"]) == ("failed", "Not saved: the disk is full.")
    assert (done["num_written"], len(done["change_ids"])) == (2, 1)


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
