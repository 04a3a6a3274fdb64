"""Review: comparison of responses, decisions, sending back, the time line, restoring, and who may do it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.cli.agreement import agreement_text
from annotator.errors import ReviewError, StaleRevisionError
from annotator.reports.agreement_report import BLOCK, agreement_report
from annotator.session import operations
from annotator.session.after_commit import NUM_FOR_SWEEP
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort, NothingToUndoError

ROLES = {"anna": "annotator", "ben": "annotator", "rita": "reviewer", "rob": "reviewer"}


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", range(1, 4))
    opened = open_project(tmp_path / "photos")
    for name, role in ROLES.items():
        opened.workspace.accounts.add(name, role, "correct horse battery")
    return opened


@pytest.fixture
def session(opened: Session) -> Session:
    """Photo 1 is in review with the answers of Anna and Ben; photo 2 waits for Ben's."""
    session = opened
    session.review.ask("rita", 2, [], [1, 2], "", "all", 1.0, False)
    save(session, "anna", 1, "sea", "sky", "boat", dropped=["dog"])
    save(session, "ben", 1, "sky", "sea")
    save(session, "anna", 2, "cat")
    return session


def save(session: Session, user: str, image_id: int, *tags: str, **values: Any) -> dict[str, Any]:
    revision = values.get("revision", session.navigation.open(user, image_id)["revision"])
    effort = Effort(tagger="cold start", shown=[{"tag": "sky", "score": 0.5, "source": "looks"}])
    try:
        return session.tagging.save(user, EditedList(image_id, revision, tags, values.get("dropped", []), effort))
    finally:
        let_go(session)


def let_go(session: Session) -> None:
    """Everybody leaves: these tests are not about who has a photo open."""
    for image_id in session.workspace.leases.all():
        session.workspace.leases.end(image_id)


def accept(session: Session, *tags: str, image_id: int = 1, **values: Any) -> dict[str, Any]:
    revision, seen = values.get("revision", session.workspace.log.annotation(image_id).revision), values.get("seen")
    let_go(session)
    return session.review.accept("rita", EditedList(image_id, revision, tags, [], Effort()), seen)


def kinds(session: Session, image_id: int, user: str = "rita") -> list[str]:
    return [entry["kind"] for entry in session.review.timeline(user, image_id)["entries"]]


def test_an_accepted_list_that_makes_a_tag_common_says_so(session: Session) -> None:
    for _ in range(NUM_FOR_SWEEP - 1):
        session.workspace.ranking.vocabulary.count(["sky"], 1)
    assert accept(session, "sea", "sky", seen={"anna": 1, "ben": 1})["now_common"] == ["sky"]


def test_the_answers_stand_side_by_side_with_their_measures(session: Session) -> None:
    found = session.review.review("rita", None, None)
    assert (found["image_id"], found["state"], found["place"], found["num_in_review"]) == (1, "in_review", 1, 1)
    assert [(one["user"], one["tags"]) for one in found["answers"]] == [
        ("anna", ["sea", "sky", "boat"]), ("ben", ["sky", "sea"]),
    ]  # fmt: skip
    assert (found["revision"], found["revisions"]) == (0, {"anna": 1, "ben": 1})
    (pair,) = found["pairs"]
    assert pair["users"] == ["anna", "ben"]
    assert pair["jaccard"] == pytest.approx(2 / 3)
    assert {name: pair[name] for name in found["mean"]} == found["mean"]
    assert [(item["tag"], item["places"]) for item in found["tags"]] == [
        ("sea", [1, 2]), ("sky", [2, 1]), ("boat", [3, None]),
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_the_responses_to_a_photo_are_hidden_while_some_are_outstanding(session: Session) -> None:
    with pytest.raises(ReviewError, match="still awaited"):
        session.review.review("rita", 2, None)
    with pytest.raises(ReviewError, match="annotator assign PROJECT --people 1"):
        session.review.review("rita", 3, None)
    with pytest.raises(ReviewError, match="still awaited"):
        accept(session, "cat", image_id=2)
    with pytest.raises(ReviewError, match="still awaited"):
        session.review.send_back("rita", 2, 0, [], "why?", None)


def test_accepting_makes_the_list_stand_for_all(session: Session) -> None:
    assert list(session.administration.export("local")) == []
    answer = accept(session, "sea", "sky", seen={"anna": 1, "ben": 1})
    assert answer["revision"] == 1
    assert [row["tags"] for row in session.administration.export("local")] == [["sea", "sky"]]
    for user in ROLES:
        assert session.navigation.open(user, 1)["kept"] == ["sea", "sky"]
        assert session.navigation.state(user)["states"]["accepted"] == 1
        assert session.navigation.browse(user, 0, 10, "sky", "accepted")["total"] == 1
        session.navigation.leave(user, 1)
    assert (
        session.navigation.open("anna", 1)["locked"]
        == "A reviewer has accepted this list: only a reviewer can change it."
    )
    with pytest.raises(ReviewError):
        save(session, "anna", 1, "dog")
    with pytest.raises(ReviewError):
        session.tagging.propose("anna", 1, ["dog"], [], 1)
    with pytest.raises(ReviewError):
        session.navigation.hold("anna", 1)
    assert session.review.review("rita", None, None)["done"] is True
    # A reviewer changes it on the usual page, whose save is then the accepted list.
    assert session.navigation.open("rita", 1)["save_as"] == "accept"
    accept(session, "sky", revision=1)
    assert session.navigation.open("ben", 1)["kept"] == ["sky"]


def test_the_person_of_an_accepted_response_is_stored(session: Session) -> None:
    accept(session, "sky", "sea")
    assert session.workspace.responses.review_rows(1)[0]["people"] == ["ben"]
    accept(session, "sea", "sun")
    assert session.workspace.responses.review_rows(1)[1]["people"] == []


def test_a_decision_on_what_changed_meanwhile_is_refused(session: Session) -> None:
    seen = session.review.review("rita", 1, None)["revisions"]
    session.tagging.undo("anna")  # her answer to photo 2
    session.tagging.undo("anna")
    save(session, "anna", 1, "fish")
    for decide in (
        lambda: accept(session, "sea", seen=seen),
        lambda: session.review.send_back("rita", 1, 0, [], "why?", seen),
        lambda: session.review.send_back("rita", 1, 5, [], "why?", None),
        lambda: accept(session, "sea", revision=5),
    ):
        with pytest.raises(StaleRevisionError):
            decide()
    assert session.workspace.responses.state(1) == "in_review"
    assert session.workspace.responses.review_rows(1) == []
    assert session.workspace.log.history(1) == []


def test_what_another_reviewer_accepted_meanwhile_is_not_sent_back(session: Session) -> None:
    looked_at = session.review.review("rita", 1, None)
    let_go(session)
    session.review.accept("rob", EditedList(1, 0, ["sea", "sky"], [], Effort()), looked_at["revisions"])
    payload = {"image_id": 1, "note": "why?", "seen": looked_at["revisions"]}
    for revision in ({}, {"revision": looked_at["revision"]}):
        error = operations.answer(session, "rita", "send_back", {**payload, **revision})["error"]
        assert (error["kind"], error["revision"], error["tags"], error["user"]) == ("stale", 1, ["sea", "sky"], "rob")
    assert [row["tags"] for row in session.administration.export("local")] == [["sea", "sky"]]
    assert kinds(session, 1)[-1] == "accept"
    now_seen = {**payload, "revision": 1}
    assert "error" not in operations.answer(session, "rita", "send_back", now_seen)


def test_no_decision_is_made_on_a_photo_that_another_reviewer_has_open(session: Session) -> None:
    save(session, "anna", 3, "a")
    payloads: dict[str, dict[str, Any]] = {
        "accept": {"image_id": 1, "revision": 0, "kept": ["sea"]},
        "send_back": {"image_id": 1, "revision": 0, "note": "why?"},
        "restore": {"image_id": 3, "revision": 1, "entry_id": "event:0"},
    }
    for image_id in (1, 3):
        session.navigation.open("rob", image_id)
    for operation, payload in payloads.items():
        assert operations.answer(session, "rita", operation, payload)["error"]["kind"] == "leased", operation
    assert session.workspace.responses.state(1) == "in_review"
    assert [row["tags"] for row in session.administration.export("local")] == [["a"]]
    let_go(session)
    payloads["send_back"]["revision"] = 1  # of the list that is accepted here
    for operation, payload in payloads.items():
        assert "error" not in operations.answer(session, "rita", operation, payload), operation
        let_go(session)


def test_what_is_sent_back_comes_first_with_its_note_and_only_to_who_is_asked(session: Session) -> None:
    session.review.send_back("rita", 1, 0, ["anna"], "  The boat\n is a ship. ", None)
    assert session.navigation.open("ben", None)["image_id"] == 2
    let_go(session)
    photo = session.navigation.open("anna", None)
    assert (photo["image_id"], photo["kept"], photo["locked"]) == (1, ["sea", "sky", "boat"], None)
    assert (photo["sent_back"]["by"], photo["sent_back"]["note"]) == ("rita", "The boat is a ship.")
    assert session.navigation.open("ben", 1)["sent_back"] is None
    assert session.navigation.state("anna")["states"]["in_review"] == 0
    assert save(session, "anna", 1, "sea", "ship")["revision"] == 2
    assert session.navigation.open("anna", 1)["sent_back"] is None
    again = session.review.review("rita", None, None)
    assert [one["tags"] for one in again["answers"]] == [["sea", "ship"], ["sky", "sea"]]
    assert [row["note"] for row in again["decisions"]] == ["The boat is a ship."]
    with pytest.raises(ReviewError, match="'rita' has not answered"):
        session.review.send_back("rita", 1, 0, ["rita"], "why?", None)


def test_an_accepted_list_that_is_sent_back_is_not_saved_any_more(session: Session) -> None:
    accept(session, "sea")
    session.review.send_back("rita", 1, 1, [], "Look again.", None)
    assert list(session.administration.export("local")) == []
    assert session.navigation.open("ben", 1)["kept"] == ["sky", "sea"]
    assert session.navigation.state("ben")["num_saved"] == 0
    assert kinds(session, 1)[-2:] == ["accept", "reopen"]


def test_a_restart_keeps_what_was_sent_back_and_accepted(
    session: Session, opened: Session, open_project: Callable[..., Session], tmp_path: Path
) -> None:
    session.review.send_back("rita", 1, 0, ["anna"], "Once more.", None)
    save(session, "ben", 2, "cat")
    accept(session, "cat", image_id=2)
    before = session.workspace.responses.counts()
    opened.close()
    again = open_project(folder=tmp_path / "project")
    assert again.workspace.responses.counts() == before == {"waiting": 1, "in_review": 0, "accepted": 1}
    assert again.navigation.open("anna", 1)["sent_back"]["note"] == "Once more."
    save(again, "anna", 1, "sea")
    assert again.workspace.responses.sent_back_to("anna") == []


def test_the_time_line_tells_who_did_what_and_from_which_proposal(session: Session) -> None:
    session.review.send_back("rita", 1, 0, ["ben"], "More, please.", None)
    save(session, "ben", 1, "sea", "sky", "boat")
    accept(session, "sea", "boat")
    entries = session.review.timeline("vera", 1)["entries"]
    assert [(entry["kind"], entry["user"]) for entry in entries] == [
        ("added", ""), ("asked", "rita"), ("answer", "anna"), ("answer", "ben"), ("sent_back", "rita"),
        ("answer", "ben"), ("accept", "rita"),
    ]  # fmt: skip
    anna, _, back, again, accepted = entries[2:]
    assert (anna["tagger"], anna["dropped"]) == ("cold start", ["dog"])
    assert [(item["tag"], item["place"]) for item in anna["changes"]["added"]] == [("sea", 1), ("sky", 2), ("boat", 3)]
    assert [item["proposal"] for item in anna["changes"]["added"]] == [
        None, {"rank": 1, "source": "looks", "score": 0.5}, None,
    ]  # fmt: skip
    assert (back["note"], back["people"]) == ("More, please.", ["ben"])
    assert again["changes"]["moved"] == [{"tag": "sea", "from": 2, "to": 1}, {"tag": "sky", "from": 1, "to": 2}]
    assert (accepted["tags"], accepted["is_current"]) == (["sea", "boat"], True)
    assert json.loads(json.dumps(entries)) == entries


def test_the_time_line_hides_what_a_person_must_not_see_yet(session: Session) -> None:
    assert kinds(session, 2, "ben") == kinds(session, 2, "rita") == ["added", "asked"]
    assert kinds(session, 2, "anna") == ["added", "asked", "answer"]
    save(session, "ben", 2, "dog")
    assert kinds(session, 2, "ben") == ["added", "asked", "answer", "answer"]


def test_any_earlier_list_is_restored_and_nothing_is_erased(session: Session) -> None:
    save(session, "anna", 3, "a", "b", dropped=["c"])
    save(session, "ben", 3, "b")
    line = session.review.timeline("ben", 3)
    assert [entry["can_restore"] for entry in line["entries"]] == [True, True, False]
    photo = session.review.restore("ben", 3, line["entries"][1]["id"], line["revision"])
    assert (photo["kept"], photo["dropped"], photo["revision"]) == (["a", "b"], ["c"], 3)
    with pytest.raises(StaleRevisionError):  # somebody restored meanwhile
        session.review.restore("ben", 3, line["entries"][0]["id"], line["revision"])
    photo = session.review.restore("ben", 3, "event:0", 3)
    assert (photo["kept"], photo["state"]) == ([], "new")
    assert kinds(session, 3) == ["added", "save", "save", "restore", "restore"]
    with pytest.raises(NothingToUndoError, match="time line"):
        session.tagging.undo("ben")
    with pytest.raises(ReviewError, match="no earlier state"):
        session.review.restore("ben", 3, "event:99", 4)
    assert [
        finding for finding in session.administration.check()["findings"] if "features" not in finding["what"]
    ] == []


def test_a_person_restores_only_their_own_responses_to_an_asked_photo(session: Session) -> None:
    save(session, "anna", 2, "fish")
    line = session.review.timeline("anna", 2)["entries"]
    assert [(entry["kind"], entry["can_restore"]) for entry in line] == [
        ("added", False), ("asked", False), ("answer", True), ("answer", False),
    ]  # fmt: skip
    photo = session.review.restore("anna", 2, line[2]["id"], 2)
    assert (photo["kept"], photo["revision"]) == (["cat"], 3)
    assert session.workspace.log.history(2) == []
    let_go(session)
    with pytest.raises(ReviewError):
        session.review.restore("ben", 2, line[2]["id"], 0)
    with pytest.raises(ReviewError):
        session.review.restore("rita", 1, "answer:1", 0)  # in review: a decision, not a restoration
    accept(session, "sea")
    accept(session, "sky")
    first = next(entry for entry in session.review.timeline("rita", 1)["entries"] if entry["kind"] == "accept")
    assert session.review.restore("rita", 1, first["id"], 2)["kept"] == ["sea"]
    assert session.navigation.state("rita")["states"]["accepted"] == 1
    with pytest.raises(ReviewError):
        session.review.restore("anna", 1, first["id"], 3)


def test_agreement_with_gold_is_told_by_person_and_over_time(session: Session, opened: Session) -> None:
    assert "cat" not in json.dumps(session.review.agreement())  # Ben is still asked
    save(session, "ben", 2, "dog")
    accept(session, "sea", "sky", "boat")
    accept(session, "cat", image_id=2)
    session.review.send_back("rita", 2, 1, ["ben"], "That is a cat.", None)
    save(session, "ben", 2, "cat")  # not blind any more: his first answer counts
    accept(session, "cat", image_id=2)
    report = session.review.agreement()
    assert report == agreement_report(opened.workspace.store.rows)
    assert (report["num_answers"], report["num_accepted"]) == (4, 2)
    people = {row["user"]: row for row in report["people"]}
    assert (people["anna"]["num_photos"], people["anna"]["rbo"], people["anna"]["jaccard"]) == (2, 1.0, 1.0)
    assert people["ben"]["jaccard"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-4)
    assert people["anna"]["over_time"][0]["num_photos"] == 2
    (pair,) = report["pairs"]
    assert (pair["users"], pair["num_photos"]) == (["anna", "ben"], 2)
    shares = {row["tag"]: row["share_of_people"] for row in report["tags"]}
    assert shares == {"boat": 0.5, "cat": 0.5, "dog": 0.5, "sea": 1.0, "sky": 1.0}
    text = agreement_text(report)
    assert text.startswith("4 first answers, 2 accepted lists.\n")
    assert "anna and ben" in text


def test_agreement_over_time_has_one_point_per_block_of_responses() -> None:
    from datetime import datetime, timedelta

    start = datetime(2026, 1, 1)
    answers = [(number, "anna", start + timedelta(hours=number), ["a", "b"]) for number in range(2 * BLOCK + 1)]
    gold = [(number, ["a", "b"] if number < BLOCK else ["c"]) for number in range(2 * BLOCK + 1)]
    report = agreement_report(lambda query, parameters: answers if "FROM answers" in query else gold)
    course = report["people"][0]["over_time"]
    assert [point["num_photos"] for point in course] == [BLOCK, BLOCK, 1]
    assert [point["jaccard"] for point in course] == [1.0, 0.0, 0.0]
    assert course[1]["from"] == "2026-01-01T20:00:00Z"
    assert agreement_report(lambda query, parameters: [])["people"] == []
