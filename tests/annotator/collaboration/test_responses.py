"""Photos that several people are asked about: who gets which, who sees what, and no response overwrites another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import LeaseError, ReviewError, StaleRevisionError
from annotator.session import operations
from annotator.session.edited_list import EditedList
from annotator.session.serializers import error_answer
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

ROLES = {"anna": "annotator", "ben": "annotator", "cleo": "annotator", "rita": "reviewer"}
SECRET = "zebrra"
"""A tag that no model proposes: wherever it appears, a response has leaked."""


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", range(1, 5))
    opened = open_project(tmp_path / "photos")
    for name, role in ROLES.items():
        opened.workspace.accounts.add(name, role, "correct horse battery")
    return opened


@pytest.fixture
def session(opened: Session) -> Session:
    return opened


def ask(session: Session, num_people: int, *people: str, images: Any = (1,), **values: Any) -> dict[str, Any]:
    state, share, added_too = values.get("state", "all"), values.get("share", 1.0), values.get("added_too", False)
    return session.review.ask("rita", num_people, people, list(images), "", state, share, added_too)


def save(session: Session, user: str, image_id: int, *tags: str, **values: Any) -> dict[str, Any]:
    revision = values.get("revision", session.navigation.open(user, image_id)["revision"])
    return session.tagging.save(user, EditedList(image_id, revision, tags, values.get("dropped", []), Effort()))


TELL_NO_TAGS = {
    "hold", "leave", "assign", "ask", "end_lease", "check", "unreadable", "set_tagger", "set_strategy",
    "set_show_expected", "set_never_proposed", "set_keys", "set_loop", "models", "training_run", "train_now",
    "cancel_training", "submit_model", "promote_model", "roll_back", "tag_changes", "change_tag", "heat_map",
    "send_back",
    "webhooks", "formats", "start_export", "transfer", "cancel_transfer", "begin_import", "plan_import",
    "carry_out_import", "changes", "undo_change", "set_field", "order_rules", "set_order_rules", "find_photos",
    "found_ids", "save_search", "plan_suggestions", "projects", "list_folder", "open_project",
    "close_project", "put_off",
}  # fmt: skip
"""Operations that return no tags except those of the caller, or counts only."""
SETTLE = {"settle_sidecar"}
"""Operations that change something and return what one of `looks` returns."""
GIVE_A_PHOTO = {"step", "skip", "save", "save_group", "undo", "accept", "restore"}
"""Operations that change something and return a photo in the form of `open`."""


def looks(session: Session, user: str) -> dict[str, Any]:
    """What a person gets by each operation that only reads, or stores their own draft."""

    def ask_all(name: str, *payloads: dict[str, Any]) -> list[Any]:
        return [operations.answer(session, user, name, payload) for payload in payloads]

    both = ({"image_id": 1}, {"image_id": 2})
    revision = session.navigation.open(user, 1)["revision"]
    return {
        "open": ask_all("open", *({"image_id": image_id} for image_id in (1, 2, 3, 4))),
        "browse": ask_all("browse", {}, {"query": SECRET}),
        "facets": ask_all("facets", {}, {"query": SECRET}, {"tag": SECRET}),
        "edit_tags": ask_all("edit_tags", {"add": ["owl"], "photos": {"state": "all"}}),
        "strip": ask_all("strip", *both),
        "history": ask_all("history", *both),
        "timeline": ask_all("timeline", *both),
        "propose": ask_all("propose", {"image_id": 1, "kept": ["cat"], "revision": revision}),
        "look_alikes": ask_all("look_alikes", *both),
        "propose_group": ask_all("propose_group", *({**one, "kept": ["cat"], "members": [3]} for one in both)),
        "explain": ask_all("explain", *({**one, "tag": "cat"} for one in both)),
        "complete": ask_all("complete", *({**one, "text": "zeb"} for one in both)),
        "missing_tags": ask_all("missing_tags", {"tag": "cat"}),
        "list_tags": ask_all("list_tags", {}, {"query": SECRET[:3]}),
        "tag_details": ask_all("tag_details", {"tag": "cat"}, {"tag": SECRET[:5]}),
        "preview_tag_change": ask_all(
            "preview_tag_change",
            {"kind": "delete", "old": "cat"},
            {"kind": "rename", "old": "cat", "new": "pet"},
        ),
        "review": ask_all("review", {}, *both),
        "agreement": ask_all("agreement", {}),
        "effort_report": ask_all("effort_report", {}),
        "sidecars": ask_all("sidecars", {}),
        "preview_export": ask_all("preview_export", {"format": "csv", "state": "all"}),
        "reorder": ask_all("reorder", {"most": 1, "photos": {"state": "all"}}),
        "predict_tasks": ask_all(
            "predict_tasks",
            {
                "label_config": '<View><Image name="i" value="$i"/><TextArea name="t" toName="i"/></View>',
                "tasks": [{"data": {"i": session.workspace.files.name(image_id)}} for image_id in (1, 2, 3, 4)],
            },
        ),
        "state": ask_all("state", {}),
    }


def everything(session: Session, user: str) -> str:
    """All that a person can get at, as text."""
    seen = [looks(session, user), list(session.administration.export("local"))]
    for image_id in (1, 2, 3, 4):
        session.navigation.leave(user, image_id)
    return json.dumps(seen, default=str)


def test_every_operation_that_could_reveal_a_response_is_checked(session: Session) -> None:
    assert set(looks(session, "ben")) | TELL_NO_TAGS | SETTLE | GIVE_A_PHOTO == set(operations.OPERATIONS)


def test_a_photo_goes_to_as_many_people_as_it_is_asked_of(session: Session) -> None:
    ask(session, 2)
    assert session.navigation.open("anna", None)["image_id"] == 1
    assert save(session, "anna", 1, "cat")["next"]["image_id"] == 2
    session.navigation.leave("anna", 2)
    assert session.navigation.open("ben", None)["image_id"] == 1
    save(session, "ben", 1, "dog")
    for user in ("anna", "ben", "cleo"):
        assert session.navigation.open(user, None)["image_id"] != 1
        for image_id in (1, 2, 3, 4):
            session.navigation.leave(user, image_id)
    assert session.navigation.open("cleo", 1)["locked"] == "This photo has all its answers: a reviewer decides now."
    with pytest.raises(ReviewError, match="Nothing was saved"):
        save(session, "cleo", 1, "fish")
    assert {user: session.navigation.open(user, 1)["state"] for user in ROLES} == dict.fromkeys(ROLES, "in_review")


def test_as_many_people_as_are_asked_have_a_photo_open_at_the_same_time(session: Session) -> None:
    ask(session, 2)
    photos = {user: session.navigation.open(user, None) for user in ("anna", "ben", "cleo")}
    assert {user: photo["image_id"] for user, photo in photos.items()} == {"anna": 1, "ben": 1, "cleo": 2}
    assert [photo["held_by"] for photo in photos.values()] == [[], [], []]
    assert session.navigation.open("cleo", 1)["held_by"] == ["anna", "ben"]
    with pytest.raises(LeaseError, match=r"^anna and ben have this photo open"):
        save(session, "cleo", 1, "fish", revision=0)
    session.tagging.propose("anna", 1, [SECRET], [], 0)
    assert SECRET not in json.dumps(session.tagging.propose("ben", 1, ["dog"], [], 0))
    save(session, "anna", 1, SECRET, revision=0)
    assert session.navigation.open("cleo", 1)["held_by"] == ["ben"]  # one answer is outstanding, and Ben is at it
    save(session, "ben", 1, "dog", revision=0)
    assert [(one.user_name, one.tags) for one in session.workspace.responses.all(1)] == [
        ("anna", (SECRET,)),
        ("ben", ("dog",)),
    ]


def test_whoever_gives_an_asked_photo_back_makes_room_for_another(session: Session) -> None:
    ask(session, 2)
    for user in ("anna", "ben"):
        session.navigation.open(user, None)
    session.navigation.leave("anna", 1)
    assert session.navigation.open("cleo", None)["image_id"] == 1
    assert session.navigation.open("anna", 1)["held_by"] == ["ben", "cleo"]
    session.review.end_lease(1)
    assert session.navigation.open("anna", 1)["held_by"] == []


def test_who_changes_their_own_answer_takes_nobodys_place(session: Session) -> None:
    ask(session, 2)
    save(session, "anna", 1, "cat")
    assert session.navigation.open("anna", 1)["held_by"] == []
    assert session.navigation.open("ben", None)["image_id"] == 1
    assert save(session, "anna", 1, "cat", "sofa")["revision"] == 2
    save(session, "ben", 1, "dog")
    assert len(session.workspace.responses.all(1)) == 2


def test_a_photo_that_is_not_asked_of_several_people_is_for_one_at_a_time(session: Session) -> None:
    ask(session, 2, images=(2,))
    assert session.navigation.open("anna", 1)["held_by"] == []
    assert session.navigation.open("ben", None)["image_id"] == 2
    assert session.navigation.open("ben", 1)["held_by"] == ["anna"]
    with pytest.raises(LeaseError, match=r"^anna has this photo open"):
        save(session, "ben", 1, "dog")


def test_what_is_sent_back_to_two_is_open_to_both_at_once(session: Session) -> None:
    ask(session, 2)
    for user in ("anna", "ben"):
        save(session, user, 1, "cat")
    session.review.send_back("rita", 1, 0, [], "Look again.", None)
    assert [session.navigation.open(user, None)["image_id"] for user in ("anna", "ben")] == [1, 1]
    assert session.navigation.open("rita", 1)["held_by"] == ["anna", "ben"]
    for user in ("anna", "ben"):
        assert save(session, user, 1, "dog", revision=1)["revision"] == 2


def test_a_person_sees_no_part_of_another_response_before_saving_their_own(session: Session) -> None:
    ask(session, 2)
    save(session, "anna", 1, SECRET, "cat")
    for user in ("ben", "cleo", "rita"):
        assert SECRET not in everything(session, user), user
    assert session.navigation.browse("ben", 0, 1, "", "all")["items"][0]["state"] == "draft"  # his own
    assert session.navigation.open("anna", 1)["kept"] == [SECRET, "cat"]


def test_a_list_that_was_saved_before_is_its_persons_answer_and_hidden_from_the_others(
    session: Session,
) -> None:
    save(session, "anna", 1, SECRET, "cat", dropped=["dog"])
    assert SECRET in everything(session, "ben")  # what everybody could see
    ask(session, 2)
    assert SECRET not in everything(session, "ben")
    photo = session.navigation.open("anna", 1)
    assert (photo["kept"], photo["dropped"], photo["state"]) == ([SECRET, "cat"], ["dog"], "saved")
    assert session.navigation.state("ben")["num_saved"] == 0
    with pytest.raises(StaleRevisionError):  # it is open again: her old save cannot be taken back under it
        session.workspace.log.undo("anna")


def test_a_list_that_is_only_to_be_reviewed_stays_as_it_is(session: Session) -> None:
    save(session, "anna", 1, "cat")
    answer = ask(session, 1, images=(), state="saved")
    assert answer["num_asked"] == 1
    assert answer["states"] == {
        "new": 3,
        "draft": 0,
        "saved": 0,
        "in_review": 1,
        "accepted": 0,
        "empty": 0,
        "changed": 0,
    }
    assert [row["tags"] for row in session.administration.export("local")] == [["cat"]]
    with pytest.raises(ReviewError, match="in review"):
        session.tagging.undo("anna")
    ask(session, 2)
    assert list(session.administration.export("local")) == []
    assert session.tagging.undo("anna")["kept"] == ["cat"]
    assert session.workspace.responses.all(1) == []


def test_nobody_overwrites_another_and_each_has_a_revision_of_their_own(session: Session) -> None:
    ask(session, 3)
    save(session, "anna", 1, "cat")
    assert save(session, "ben", 1, "dog")["revision"] == 1
    assert save(session, "anna", 1, "cat", "sofa")["revision"] == 2
    with pytest.raises(StaleRevisionError) as caught:  # from a window that was opened before
        save(session, "anna", 1, "bed", revision=1)
    error = error_answer(caught.value)["error"]
    assert (error["kind"], error["revision"], error["tags"], error["user"]) == ("stale", 2, ["cat", "sofa"], "anna")
    assert [list(answer.tags) for answer in session.workspace.responses.all(1)] == [["cat", "sofa"], ["dog"]]
    rows = session.workspace.responses.response_rows(1)
    assert [(row["user_name"], row["revision"], row["tags"]) for row in rows] == [
        ("anna", 1, ["cat"]), ("ben", 1, ["dog"]), ("anna", 2, ["cat", "sofa"]),
    ]  # fmt: skip
    assert session.workspace.log.history(1) == []


def test_the_reason_of_a_sent_back_response_is_hidden_from_people_still_asked(session: Session) -> None:
    ask(session, 2)
    for user in ("anna", "ben"):
        save(session, user, 1, "cat")
    session.review.send_back("rita", 1, 0, ["anna"], f"That is no {SECRET}.", None)
    ask(session, 3)
    for user in ("cleo", "rita"):
        assert SECRET not in everything(session, user), user
    assert SECRET in everything(session, "anna")  # to whom it was written


def test_drafts_are_each_persons_own(session: Session) -> None:
    ask(session, 2)
    session.tagging.propose("anna", 1, ["cat"], [], 0)
    assert session.navigation.open("anna", 1)["state"] == "draft"
    session.navigation.leave("anna", 1)
    assert session.navigation.open("ben", 1)["kept"] == []
    session.navigation.leave("ben", 1)
    save(session, "anna", 1, "cat")
    assert not session.workspace.log.has_draft(1, "anna")
    session.tagging.propose("anna", 1, ["cat"], [], 1)  # what stands: no draft
    assert session.navigation.open("anna", 1)["state"] == "saved"


def test_an_answer_is_taken_back_as_any_save_and_the_newest_first(session: Session) -> None:
    ask(session, 2)
    save(session, "anna", 1, "cat", "sofa", dropped=["dog"])
    save(session, "anna", 2, "bed")
    assert session.tagging.undo("anna")["image_id"] == 2
    photo = session.tagging.undo("anna")
    assert (photo["image_id"], photo["kept"], photo["dropped"], photo["state"]) == (
        1,
        ["cat", "sofa"],
        ["dog"],
        "draft",
    )
    assert photo["undone"] == "Took back the save of photo 1.jpg (2 tags)."
    assert session.navigation.open("anna", None)["image_id"] == 1
    assert session.workspace.responses.all(1) == []
    assert save(session, "anna", 1, "cat")["revision"] == 3
    assert [row["is_given"] for row in session.workspace.responses.response_rows(1)] == [True, False, True]


def test_named_people_are_asked_in_turn(session: Session) -> None:
    ask(session, 2, "anna", "ben", "cleo", images=(1, 2, 3))
    wanted = {
        image_id: [user for user in ROLES if session.workspace.responses.is_open_to(image_id, user)]
        for image_id in (1, 2, 3)
    }
    assert wanted == {1: ["anna", "ben"], 2: ["anna", "cleo"], 3: ["ben", "cleo"]}
    assert session.navigation.open("cleo", 1)["locked"] == "This photo is asked of other people."
    with pytest.raises(ReviewError, match="3 answers are wanted of 2 people"):
        ask(session, 3, "anna", "ben")
    with pytest.raises(ReviewError, match="1 to 20 people"):
        ask(session, 21)


def test_a_question_is_withdrawn_only_where_nobody_has_answered(session: Session) -> None:
    ask(session, 2, images=(1, 2))
    save(session, "anna", 1, "cat")
    ask(session, 0, images=(1, 2))
    assert [session.workspace.responses.num_people(image_id) for image_id in (1, 2)] == [2, 0]
    ask(session, 1, images=(1,))  # fewer are enough
    assert session.navigation.open("ben", 1)["state"] == "in_review"


def test_states_are_counted_and_found_as_each_person_sees_them(session: Session) -> None:
    ask(session, 2, images=(1, 2))
    save(session, "anna", 1, "cat")
    save(session, "ben", 1, "cat")
    save(session, "anna", 2, "dog")
    session.navigation.leave("anna", 3)
    save(session, "ben", 3, "bed")
    session.navigation.leave("ben", 4)
    session.tagging.propose("anna", 4, ["tree"], [], 0)
    session.navigation.leave("anna", 4)
    assert session.navigation.state("anna")["states"] == {
        "new": 0,
        "draft": 1,
        "saved": 2,
        "in_review": 1,
        "accepted": 0,
        "empty": 0,
        "changed": 0,
    }
    assert session.navigation.state("ben")["states"] == {
        "new": 2,
        "draft": 0,
        "saved": 1,
        "in_review": 1,
        "accepted": 0,
        "empty": 0,
        "changed": 0,
    }
    for user in ROLES:
        counts = session.navigation.state(user)["states"]
        found = {
            state: session.navigation.browse(user, 0, 10, "", state)["total"] for state in counts if state != "saved"
        }
        assert found == {state: number for state, number in counts.items() if state != "saved"}, user
    assert [item["tags"] for item in session.navigation.browse("anna", 0, 10, "", "all")["items"]][:2] == [
        ["cat"],
        ["dog"],
    ]
    assert [item["tags"] for item in session.navigation.browse("cleo", 0, 10, "", "all")["items"]][:2] == [[], []]


def test_photos_added_later_are_asked_when_that_was_wished(
    opened: Session, write_photos: Callable[..., Any], tmp_path: Path
) -> None:
    ask(opened, 2, images=(1, 2, 3, 4), added_too=True)
    write_photos(tmp_path / "more", range(5, 8))
    opened.workspace.ingest.run([tmp_path / "more"])
    assert [opened.workspace.responses.num_people(image_id) for image_id in range(1, 8)] == [2] * 7


def test_a_share_is_drawn_by_content_and_only_grows(session: Session) -> None:
    few = {i for i in (1, 2, 3, 4) if i in session.workspace.files.in_share([1, 2, 3, 4], 0.4)}
    many = set(session.workspace.files.in_share([1, 2, 3, 4], 0.9))
    assert few <= many
    assert session.workspace.files.in_share([1, 2, 3, 4], 0.0) == []
    assert session.workspace.files.in_share([1, 2, 3, 4], 1.0) == [1, 2, 3, 4]


def test_a_restart_changes_nothing_of_it(opened: Session, open_project: Callable[..., Session], tmp_path: Path) -> None:
    session = opened
    ask(session, 2, images=(1, 2, 3))
    save(session, "anna", 1, "cat")
    save(session, "ben", 1, "dog")
    save(session, "anna", 2, "cat")
    session.tagging.undo("anna")

    def view(session: Session) -> list[Any]:
        photos = [session.navigation.open(user, image_id) for user in ROLES for image_id in (1, 2, 3)]
        return [
            photos,
            [session.navigation.state(user)["states"] for user in ROLES],
            session.workspace.responses.counts(),
        ]

    session.workspace.leases._ends.clear()
    before = view(session)
    opened.close()
    assert view(open_project(folder=tmp_path / "project")) == before


def test_the_command_asks_with_and_without_a_server(
    opened: Session, run_command: Callable[..., Any], tmp_path: Path
) -> None:
    opened.close()
    folder = tmp_path / "project"
    done = run_command("assign", folder, "anna", "ben", "--people", 2, "--images", "1-2", "--json", check=True)
    assert json.loads(done.stdout) == {"num_asked": 2}
    refused = run_command("assign", folder, "nobody", "--people", 1)
    assert (refused.returncode, refused.stderr) == (1, "annotator: There is no user 'nobody' who may annotate.\n")
    refused = run_command("assign", folder, "--people", 2, "--images", "99")
    assert refused.stderr == "annotator: This project has no image 99.\n"
