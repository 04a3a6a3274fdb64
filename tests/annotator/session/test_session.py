import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ConfigError, StaleRevisionError, TagError, UnknownImageError
from annotator.session import administration
from annotator.session.edited_list import EditedList
from annotator.session.photo_access import MAX_TAGS
from annotator.session.serializers import error_answer
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Effort, NothingToUndoError

Opened = tuple[Workspace, Session]


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", range(1, 5))
    return open_project(tmp_path / "photos")


@pytest.fixture
def session(opened: Session) -> Session:
    return opened


def save(session: Session, image_id: int, *tags: str, user: str = "local", **values: Any) -> dict[str, Any]:
    revision = values.get("revision", session.navigation.open(user, image_id)["revision"])
    return session.tagging.save(user, EditedList(image_id, revision, tags, values.get("dropped", []), Effort()))


def test_a_person_begins_at_the_first_photo_and_goes_on_to_the_next_unsaved(session: Session) -> None:
    assert session.navigation.open("local", None)["image_id"] == 1
    assert save(session, 1, "cat")["next"]["image_id"] == 2
    save(session, 3, "dog")
    assert session.navigation.open("local", None)["image_id"] == 4
    assert save(session, 4, "dog")["next"]["image_id"] == 2
    assert save(session, 2, "dog")["next"]["done"] is True
    assert session.navigation.open("local", None)["done"] is True
    assert session.navigation.state("local")["num_saved"] == 4


def test_an_empty_project_is_done_and_answers_its_number_of_photos(open_project: Callable[..., Session]) -> None:
    answer = open_project().navigation.open("local", None)
    assert (answer["done"], answer["num_images"], answer["ingest"]["running"]) == (True, 0, False)


def test_the_photo_that_is_read_last_while_none_is_found_is_opened(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_open, state, is_read = session.workspace.queue.next_open, session.navigation.state, False

    def read_and_tell(user: str) -> dict[str, Any]:
        nonlocal is_read
        is_read = True
        return state(user)

    monkeypatch.setattr(session.navigation, "state", read_and_tell)
    monkeypatch.setattr(session.workspace.queue, "next_open", lambda *given: next_open(*given) if is_read else None)
    assert session.navigation.open("local", None)["image_id"] == 1


def test_the_answer_about_a_photo_has_all_that_the_page_shows(session: Session) -> None:
    photo = session.navigation.open("local", 2)
    assert (photo["file_name"], photo["width"], photo["height"], photo["format"]) == ("photo 2.jpg", 96, 80, "JPEG")
    assert (photo["position"], photo["revision"], photo["state"]) == (2, 0, "new")
    assert (photo["kept"], photo["saved"], photo["dropped"], photo["keywords"]) == ([], [], [], [])
    assert photo["image_url"].startswith("/image/2?v=")
    assert photo["thumbnail_url"].startswith("/thumbnail/2?v=")
    assert photo["full_url"] == photo["image_url"] + "&full=1"
    assert {item["image_id"] for item in photo["neighbours"]["looks"]} == {1, 3, 4}
    for proposal in photo["proposals"]:
        assert 0 <= proposal["score"] <= 1
        assert proposal["source"] in {"looks", "words", "neighbours", "metadata", "keywords", "folder"}
        assert proposal["why"].endswith(".")


def test_saved_tags_keep_their_order(session: Session) -> None:
    save(session, 1, "zebra", "apple", "  mango  ", dropped=["dog"])
    photo = session.navigation.open("local", 1)
    assert photo["kept"] == photo["saved"] == ["zebra", "apple", "mango"]
    assert (photo["dropped"], photo["state"], photo["revision"]) == (["dog"], "saved", 1)


def test_spellings_of_one_tag_are_one_and_the_projects_spelling_wins(session: Session) -> None:
    save(session, 1, "Paris", "PARIS", "pa\u0301tes", "p\u00e1tes")
    assert session.navigation.open("local", 1)["saved"] == ["Paris", "p\u00e1tes"]
    save(session, 2, "paris")
    assert session.navigation.open("local", 2)["saved"] == ["Paris"]


ODD_TAGS = [
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE events; --",
    'say "hi"',
    "\\N{nothing}",
    "{{7*7}} ${x}",
    "👩‍👩‍👧‍👦 family",
    "كلب في الحديقة",
    "日本",
    "a; b, c|d",
    "=1+1",
    "%s %d",
    "x" * 100,
]


def test_tags_with_unusual_characters_are_stored_unchanged(session: Session) -> None:
    save(session, 1, *ODD_TAGS)
    assert session.navigation.open("local", 1)["saved"] == ODD_TAGS
    assert next(iter(session.administration.export("local")))["tags"] == ODD_TAGS
    for tag in ODD_TAGS:
        assert [item["image_id"] for item in session.navigation.browse("local", 0, 10, tag, "all")["items"]] == [1]


@pytest.mark.parametrize(
    "tag", ["", "   ", "x" * 101, "x" * 10_000, "a\0b", "a\x1bb", "\x7f", "\ud800", "a\u0085\x01"], ids=repr
)
def test_a_tag_that_cannot_be_kept_is_refused_and_nothing_saved(session: Session, tag: str) -> None:
    for call in (
        lambda: save(session, 1, "cat", tag),
        lambda: save(session, 1, "cat", dropped=[tag]),
        lambda: session.tagging.propose("local", 1, [tag], [], 0),
    ):
        with pytest.raises(TagError) as caught:
            call()
        assert error_answer(caught.value)["error"]["kind"] == "tag"
        assert len(str(caught.value)) < 200
    assert session.navigation.open("local", 1)["state"] == "new"


def test_too_many_tags_are_refused(session: Session) -> None:
    tags = [f"tag {number}" for number in range(MAX_TAGS + 1)]
    with pytest.raises(TagError, match="201 tags were kept; a photo can have at most 200"):
        save(session, 1, *tags)
    save(session, 1, *tags[:MAX_TAGS])
    assert len(session.navigation.open("local", 1)["saved"]) == MAX_TAGS


def test_a_draft_survives_reopening_and_belongs_to_its_user(session: Session) -> None:
    session.tagging.propose("ann", 1, ["cat"], ["dog"], 0)
    photo = session.navigation.open("ann", 1)
    assert (photo["kept"], photo["dropped"], photo["state"], photo["saved"]) == (["cat"], ["dog"], "draft", [])
    assert session.navigation.open("ben", 1)["state"] == "new"
    session.tagging.propose("ann", 1, [], [], 0)  # back to the saved list
    assert session.navigation.open("ann", 1)["state"] == "new"


def test_a_stale_save_answers_with_the_saved_list_and_can_be_repeated(session: Session) -> None:
    save(session, 1, "cat", user="ben")
    session.tagging.propose("ann", 1, ["dog"], [], 0)
    assert session.navigation.open("ann", 1)["revision"] == 0  # the draft was made on it
    with pytest.raises(StaleRevisionError) as caught:
        save(session, 1, "dog", user="ann")
    error = error_answer(caught.value)["error"]
    assert (error["kind"], error["revision"], error["tags"], error["user"]) == ("stale", 1, ["cat"], "ben")
    assert session.navigation.open("ben", 1)["saved"] == ["cat"]
    save(session, 1, "dog", user="ann", revision=error["revision"])
    assert session.navigation.open("ben", 1)["saved"] == ["dog"]


def test_undo_opens_the_photo_with_the_list_as_it_was_saved(session: Session) -> None:
    save(session, 1, "cat", "sofa", dropped=["dog"])
    save(session, 2, "bed")
    assert session.tagging.undo("local")["image_id"] == 2
    photo = session.tagging.undo("local")
    assert (photo["image_id"], photo["state"], photo["saved"]) == (1, "draft", [])
    assert (photo["kept"], photo["dropped"]) == (["cat", "sofa"], ["dog"])
    assert photo["undone"] == "Took back the save of photo 1.jpg (2 tags)."
    assert session.navigation.state("local")["num_saved"] == 0
    with pytest.raises(NothingToUndoError) as caught:
        session.tagging.undo("local")
    assert error_answer(caught.value) == {"error": {"kind": "request", "message": "Nothing to undo."}}
    save(session, 1, "cat")
    assert session.navigation.open("local", 1)["saved"] == ["cat"]


def test_after_an_undo_a_refresh_shows_that_photo_again(session: Session) -> None:
    save(session, 1, "cat")
    save(session, 2, "dog")
    session.tagging.undo("local")
    photo = session.navigation.open("local", None)
    assert (photo["image_id"], photo["kept"], photo["state"]) == (2, ["dog"], "draft")


def test_undo_removes_the_tag_from_completions_and_evidence(session: Session) -> None:
    save(session, 1, "zebrra")
    assert [item["tag"] for item in session.tagging.complete("local", 2, "zebrr", [])["completions"]] == ["zebrra"]
    session.tagging.undo("local")
    assert session.tagging.complete("local", 2, "zebrr", [])["completions"] == []


def test_skipped_photos_come_last_and_the_last_one_stays(session: Session) -> None:
    assert session.navigation.skip("local", 1)["image_id"] == 2
    for image in (2, 3, 4):
        following = save(session, image, "cat")["next"]
    assert following["image_id"] == 1
    assert session.navigation.skip("local", 1)["image_id"] == 1
    save(session, 1, "cat")
    assert session.navigation.skip("local", 1)["done"] is True
    assert session.navigation.open("local", 1)["state"] == "saved"


def test_stepping_goes_in_folder_order_and_stays_at_the_ends(session: Session) -> None:
    save(session, 2, "cat")
    assert [
        session.navigation.step("local", image, by)["image_id"] for image, by in ((1, 1), (1, -1), (4, 1), (3, -1))
    ] == [
        2,
        1,
        4,
        2,
    ]


def test_the_strip_shows_the_photos_around_one(session: Session) -> None:
    save(session, 1, "cat")
    items = session.navigation.strip("local", 2, 3, 1)["items"]
    assert [item["image_id"] for item in items] == [1, 2, 3]
    assert [item["state"] for item in items] == ["saved", "new", "new"]
    assert [item["current"] for item in items] == [False, True, False]


def test_browsing_finds_by_tag_and_file_name_and_state(session: Session) -> None:
    save(session, 1, "Red Sofa")
    save(session, 3, "sofa bed")

    def found(query: str, state: str = "all") -> list[int]:
        return [item["image_id"] for item in session.navigation.browse("local", 0, 10, query, state)["items"]]

    assert found("SOFA") == [1, 3]
    assert found("photo 3") == [3]
    assert found("", "saved") == [1, 3]
    assert found("photo", "unsaved") == [2, 4]
    assert found("nothing like it") == []
    page = session.navigation.browse("local", 1, 2, "", "all")
    assert (page["total"], [item["image_id"] for item in page["items"]]) == (4, [2, 3])
    assert session.navigation.browse("local", 0, 1, "sofa", "all")["items"][0]["tags"] == ["Red Sofa"]
    assert session.navigation.browse("local", 10, 5, "", "all") == {"total": 4, "items": [], "meant": []}


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.navigation.open("local", 99),
        lambda s: s.navigation.step("local", 99, 1),
        lambda s: s.navigation.skip("local", 99),
        lambda s: s.navigation.strip("local", 99, 1, 1),
        lambda s: s.tagging.propose("local", 99, [], [], 0),
        lambda s: s.tagging.complete("local", 99, "a", []),
        lambda s: s.tagging.save("local", EditedList(99, 0, [])),
        lambda s: s.review.history("local", 99),
    ],
)
def test_an_unknown_image_is_refused_everywhere(session: Session, call: Any) -> None:
    with pytest.raises(UnknownImageError, match="no image 99"):
        call(session)


def test_keys_are_stored_and_a_clash_changes_nothing(opened: Session) -> None:
    keys = opened.administration.set_keys({"help": ["F1"]})["keys"]
    assert keys["help"] == ["F1"]
    with pytest.raises(ConfigError, match="is taken"):
        opened.administration.set_keys({"help": ["Enter"]})
    assert opened.navigation.state("local")["keys"]["help"] == ["F1"]
    assert opened.workspace.project.settings.keys["help"] == ("F1",)


def test_history_answers_every_event_in_json(session: Session) -> None:
    save(session, 1, "cat")
    session.tagging.undo("local")
    events = session.review.history("local", 1)["events"]
    assert [event["kind"] for event in events] == ["save", "undo"]
    assert all(event["created_at"].endswith("Z") for event in events)


def test_a_restart_changes_no_answer(opened: Session, open_project: Callable[..., Session], tmp_path: Path) -> None:
    session = opened
    save(session, 2, "Cat", "sofa")
    save(session, 3)
    session.navigation.skip("local", 1)
    session.tagging.propose("local", 4, ["dog"], [], 0)

    def view(session: Session) -> list[Any]:
        photos = [session.navigation.open("local", image) for image in (1, 2, 3, 4)]
        state = {**session.navigation.state("local"), "ingest": None}  # which is about this run only
        return [
            *photos,
            session.navigation.browse("local", 0, 9, "", "all"),
            state,
            session.navigation.open("local", None),
        ]

    before = view(session)
    opened.close()
    assert view(open_project(folder=tmp_path / "project")) == before


def test_a_copied_project_opens_elsewhere_and_finds_its_photos(
    opened: Session, open_project: Callable[..., Session], tmp_path: Path
) -> None:
    save(opened, 1, "cat")
    opened.close()
    shutil.copytree(tmp_path / "project", tmp_path / "copy")
    (tmp_path / "photos").rename(tmp_path / "moved photos")
    copied = open_project(tmp_path / "moved photos", tmp_path / "copy")
    assert copied.navigation.open("local", 1)["saved"] == ["cat"]
    assert copied.navigation.state("local")["num_images"] == 4
    assert copied.workspace.pictures.photo(1).data == (tmp_path / "moved photos" / "photo 1.jpg").read_bytes()


def test_the_page_can_be_used_while_ingest_adds_photos(
    open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path
) -> None:
    write_photos(tmp_path / "photos", range(30))
    opened = open_project()
    failures: list[BaseException] = []
    done = threading.Event()

    def use() -> None:
        try:
            while not done.is_set():
                photo = opened.navigation.open("local", None)
                for item in opened.navigation.browse("local", 0, 500, "photo", "all")["items"]:
                    opened.navigation.strip("local", item["image_id"], 3, 12)
                if "image_id" in photo:
                    save(opened, photo["image_id"], "cat")
        except BaseException as error:
            failures.append(error)

    user = threading.Thread(target=use)
    user.start()
    opened.workspace.ingest.run([tmp_path / "photos"])
    done.set()
    user.join()
    assert failures == []
    assert opened.navigation.state("local")["num_images"] == 30


def test_a_save_without_the_next_photo_ends_the_lease(session: Session) -> None:
    answer = session.tagging.save("local", EditedList(1, 0, ["cat"], [], Effort()), brings_next=False)
    assert answer["next"] is None
    assert session.workspace.leases.holders(1) == []


def test_a_tag_is_never_proposed_in_a_project_until_it_is_given_back(session: Session) -> None:
    before = [proposal["tag"] for proposal in session.navigation.open("local", 1)["proposals"]]
    never = before[1]
    assert session.administration.set_never_proposed(never.upper(), never=True) == {"never_proposed": [never.upper()]}
    assert session.navigation.state("local")["never_proposed"] == [never.upper()]
    assert never not in [proposal["tag"] for proposal in session.navigation.open("local", 1)["proposals"]]
    answer = session.tagging.propose("local", 1, before[:1], [], 0)
    assert never not in [proposal["tag"] for proposal in answer["proposals"]]
    grouped = session.group_tagging.propose_group("local", 1, [], [], [2])
    assert never not in [proposal["tag"] for proposal in grouped["proposals"]]

    def completed(text: str) -> list[str]:
        return [item["tag"] for item in session.tagging.complete("local", 1, text, [])["completions"]]

    assert never not in completed(never[:-1])
    assert completed(never)[0] == never
    # It can be kept all the same, and comes back in any spelling.
    save(session, 1, never)
    assert session.navigation.open("local", 1)["kept"] == [never]
    assert session.administration.set_never_proposed(never, never=False) == {"never_proposed": []}
    assert never in completed(never[:-1])
    with pytest.raises(TagError):
        session.administration.set_never_proposed(" ", never=True)


def test_tags_that_are_never_proposed_are_counted_once_and_limited(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "MAX_NEVER_PROPOSED", 2)
    for tag in ("cat", "Cat", "dog"):
        session.administration.set_never_proposed(tag, never=True)
    assert session.navigation.state("local")["never_proposed"] == ["Cat", "dog"]
    with pytest.raises(ConfigError, match=r"^At most 2 tags"):
        session.administration.set_never_proposed("sky", never=True)


def test_photos_saved_without_tags_are_counted_and_found(session: Session) -> None:
    save(session, 1)
    save(session, 2, "cat")
    save(session, 3)
    assert session.navigation.state("local")["states"]["empty"] == 2
    found = session.navigation.browse("local", 0, 10, "", "empty")
    assert [item["image_id"] for item in found["items"]] == [1, 3]
    save(session, 3, "dog")
    assert session.navigation.state("local")["states"]["empty"] == 1
    assert session.navigation.browse("local", 0, 10, "cat", "empty")["total"] == 0
    session.tagging.undo("local")
    assert session.navigation.state("local")["states"]["empty"] == 2
