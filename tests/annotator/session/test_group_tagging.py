"""Groups of similar photos: their members, their proposals, and that each photo is saved as an event of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance

from annotator.errors import LeaseError, ReviewError, UnknownImageError
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import Proposal
from annotator.reports.effort import effort_report
from annotator.session.edited_list import EditedList
from annotator.session.photo_groups import PhotoGroups, group_members, join_proposals
from annotator.session.session import Session
from annotator.storage.correction_log import GROUP_LEAD, GROUP_MEMBER, Draft, Effort, SavedEvent, StaleRevisionError

NUM_SAME = 5
"""Photos of the same scene: ids 1 to 5. The sixth shows something else."""


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path, tmp_path: Path) -> Session:
    folder = tmp_path / "burst"
    folder.mkdir()
    sources = sorted(path for path in demo_photos.rglob("*") if path.suffix in (".jpg", ".png"))
    with Image.open(sources[0]) as photo:
        scene = photo.convert("RGB")
    for number in range(1, NUM_SAME + 1):
        ImageEnhance.Brightness(scene).enhance(1 + number / 100).save(folder / f"a{number}.jpg")
    with Image.open(sources[-1]) as photo:
        photo.convert("RGB").save(folder / "other.jpg")
    return open_project(folder)


@pytest.fixture
def session(opened: Session) -> Session:
    return opened


def alike(session: Session, image_id: int = 1, user: str = "anna") -> dict[str, Any]:
    return session.group_tagging.look_alikes(user, image_id)


def ids_of(session: Session, image_id: int = 1, user: str = "anna") -> list[int]:
    return sorted(item["image_id"] for item in alike(session, image_id, user)["items"])


def save_group(session: Session, *members: int, **options: Any) -> dict[str, Any]:
    wanted = options.pop("wanted", [(member, 0) for member in members])
    lead, revision = options.pop("lead", 1), options.pop("revision", 0)
    effort = Effort("model", [{"tag": "cat", "score": 0.5, "source": "looks"}], [["take", "cat", 1]], 4.0, 3, 1)
    return session.group_tagging.save_group(
        "anna", EditedList(lead, revision, ["cat", "sofa"], ["dog"], effort), wanted
    )


def tags_of(session: Session) -> dict[int, list[str]]:
    return {row["image_id"]: row["tags"] for row in session.administration.export("local")}


def test_near_duplicates_are_found_and_another_scene_is_not(session: Session) -> None:
    answer = alike(session)
    assert sorted(item["image_id"] for item in answer["items"]) == [2, 3, 4, 5]
    assert answer["num_near"] == NUM_SAME - 1
    assert answer["note"] is None
    similarities = [item["similarity"] for item in answer["items"]]
    assert similarities == sorted(similarities, reverse=True)
    assert alike(session, 6)["items"] == []


def test_a_photo_that_is_leased_assigned_or_drafted_is_in_no_group(opened: Session) -> None:
    session = opened
    session.tagging.save("anna", EditedList(2, 0, ["cat"], [], Effort()))
    assert ids_of(session) == [3, 4, 5]
    opened.workspace.log.save_draft(3, "ben", Draft(0, ("cat",)))
    assert ids_of(session) == [4, 5]
    opened.workspace.log.discard_draft(3, "ben")
    session.workspace.leases.take(4, "ben")
    assert ids_of(session) == [3, 5]
    assert ids_of(session, user="ben") == [3, 4, 5]
    session.workspace.assignments.assign([5], "ben")
    assert ids_of(session) == [3]
    session.review.ask("anna", 2, [], [3], "", "all", 1.0, False)
    assert ids_of(session) == []
    session.navigation.skip("ben", 4)
    assert 4 not in ids_of(session, user="ben")


def test_a_photo_with_a_probe_is_in_no_group(session: Session) -> None:
    session.administration.set_strategy("in_order", 1.0, 1.0)  # every photo is one
    answer = alike(session)
    assert answer["items"] == []
    assert "by itself" in answer["note"]
    assert session.group_tagging.propose_group("anna", 1, [], [], [2])["proposals"] == []
    with pytest.raises(ReviewError, match="Nothing was saved"):
        save_group(session, 2)
    session.tagging.save("anna", EditedList(1, 0, ["cat"], [], Effort()))
    assert alike(session)["items"] == []  # the others have not been saved yet
    answer = save_group(session, 2, revision=1)
    assert answer["group"]["saved"] == []
    assert "probe" in answer["group"]["left_out"][0]["reason"]


def test_a_group_save_is_one_event_a_photo_whose_effort_counts_once(opened: Session) -> None:
    session = opened
    answer = save_group(session, 2, 3)
    assert (answer["group"], answer["next"]["image_id"]) == ({"saved": [2, 3], "left_out": []}, 4)
    assert tags_of(session) == {image_id: ["cat", "sofa"] for image_id in (1, 2, 3)}
    (lead,) = session.review.history("local", 1)["events"]
    assert (lead["num_keys"], lead["actions"], lead["dropped"]) == (3, [["take", "cat", 1], [GROUP_LEAD, 2]], ["dog"])
    for member in (2, 3):
        (event,) = session.review.history("local", member)["events"]
        assert (event["user_name"], event["revision"], event["kind"]) == ("anna", 1, "save")
        assert (event["num_keys"], event["num_clicks"], event["seconds"], event["shown"]) == (0, 0, 0, [])
        # Tags were dropped for the open photo only.
        assert (event["actions"], event["dropped"]) == ([[GROUP_MEMBER, 1, 2]], [])
    report = effort_report(opened.workspace.store.rows)
    assert (report["num_saves"], report["num_photos"], report["mean_actions"]) == (3, 1, 4)
    assert report["tags_added"] == [{"tag": "sofa", "num_photos": 1}]
    assert [row["strategy"] for row in report["queue"]["by_strategy"]] == ["in_order"]
    assert opened.workspace.log.work_times() == [(2, 4.0)]


def test_a_member_that_changed_is_left_out_and_nothing_is_overwritten(session: Session) -> None:
    session.tagging.save("ben", EditedList(2, 0, ["tree"], [], Effort()))
    session.workspace.leases.take(3, "ben")
    session.tagging.save("anna", EditedList(4, 0, ["wrong"], [], Effort()))
    session.tagging.undo("anna")
    session.navigation.open("anna", 5)
    answer = save_group(session, wanted=[(2, 0), (2, 1), (3, 0), (4, 0), (5, 0), (5, 7), (1, 0)])
    left_out = {item["image_id"]: item["reason"] for item in answer["group"]["left_out"]}
    assert left_out[2] == "it was saved or put off meanwhile."
    assert left_out[3] == "ben opened it."
    assert "begun" in left_out[4]
    assert left_out[5] == "it was changed meanwhile."  # of two revisions the last one is used
    assert answer["group"]["left_out"][0]["file_name"] == "a2.jpg"
    assert tags_of(session) == {1: ["cat", "sofa"], 2: ["tree"]}


def test_a_stale_or_leased_open_photo_or_an_unknown_member_saves_nothing(session: Session) -> None:
    session.tagging.save("ben", EditedList(1, 0, ["tree"], [], Effort()))
    with pytest.raises(StaleRevisionError):
        save_group(session, 2)
    session.workspace.leases.take(6, "ben")
    with pytest.raises(LeaseError):
        save_group(session, 2, lead=6)
    with pytest.raises(UnknownImageError):
        save_group(session, 2, 99, revision=1)
    session.review.ask("anna", 2, [], [6], "", "all", 1.0, False)
    session.workspace.leases.end(6)
    with pytest.raises(ReviewError):
        save_group(session, 2, lead=6)
    assert tags_of(session) == {1: ["tree"]}


def test_one_undo_reverts_the_group_and_leaves_what_others_changed(session: Session) -> None:
    save_group(session, 2, 3)
    session.tagging.save("ben", EditedList(3, 1, ["tree"], [], Effort()))
    session.tagging.save("anna", EditedList(4, 0, ["later"], [], Effort()))
    assert session.tagging.undo("anna")["image_id"] == 4
    photo = session.tagging.undo("anna")
    assert (photo["image_id"], photo["kept"]) == (1, ["cat", "sofa"])
    assert photo["undone"] == "Took back the save of a1.jpg and 1 with it; 1 that were changed since stay (2 tags)."
    assert tags_of(session) == {3: ["tree"]}
    assert session.navigation.open("anna", None)["image_id"] == 1  # also after a refresh
    assert session.navigation.open("anna", 2)["kept"] == []  # there is no draft, so it can be in a group again
    session.navigation.leave("anna", 2)
    assert 2 in ids_of(session)


def test_a_group_whose_open_photo_was_changed_since_is_not_reverted(session: Session) -> None:
    save_group(session, 2)
    session.tagging.save("ben", EditedList(1, 1, ["tree"], [], Effort()))
    with pytest.raises(StaleRevisionError, match="Nothing was undone"):
        session.tagging.undo("anna")
    assert tags_of(session)[2] == ["cat", "sofa"]


def test_the_members_of_a_group_save_are_read_from_its_actions() -> None:
    lead, own = SavedEvent(9, 1, ([GROUP_LEAD, 2],)), ([GROUP_MEMBER, 1, 2],)
    saves = [lead, SavedEvent(8, 3, own), SavedEvent(7, 2, own), SavedEvent(6, 4, ()), SavedEvent(5, 5, own)]
    assert group_members(saves) == saves[1:3]
    assert group_members([SavedEvent(9, 1, ()), *saves[1:]]) == []
    assert group_members([lead, SavedEvent(8, 3, ([GROUP_MEMBER, 7, 2],))]) == []
    assert group_members([]) == []


def proposal(tag: str, score: float) -> Proposal:
    return Proposal(tag, score, "looks", (Evidence(tag, "looks", score, "seen"),), score)


def test_joined_proposals_are_ordered_by_the_mean_over_all_photos() -> None:
    lists = [[proposal("cat", 0.8), proposal("sofa", 0.7)], [proposal("Sofa", 0.5), proposal("dog", 0.3)]]
    joined = join_proposals(lists, ["DOG"])
    assert [(item.tag, round(item.score, 3), round(item.rank_score, 3)) for item in joined] == [
        ("sofa", 0.6, 0.6), ("cat", 0.4, 0.4),
    ]  # fmt: skip
    assert joined[0].why == "Proposed for 2 of 2 photos."


def test_proposals_for_a_group_use_a_sample_of_it_and_leave_out_kept_tags(session: Session) -> None:
    answer = session.group_tagging.propose_group("anna", 1, [], [], [2, 3, 6])
    assert answer["num_joined"] == 4
    first = answer["proposals"][0]["tag"]
    again = session.group_tagging.propose_group("anna", 1, [first], [], [2, 3])
    assert first not in [item["tag"] for item in again["proposals"]]
    assert session.review.history("local", 1)["events"] == []
    assert session.navigation.open("anna", 1)["kept"] == []
    assert len(PhotoGroups(session.workspace).joined("anna", 1, [2, 3, 4, 5] * 9)) == 5
