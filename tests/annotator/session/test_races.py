"""A rename and the saves that wait for it; a clock that is set back; the end of a save after its commit."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annotator.collaboration import responses as responses_module
from annotator.errors import ReviewError, StoreError
from annotator.session.edited_list import EditedList
from annotator.session.navigation import Navigation
from annotator.session.session import Session
from annotator.storage import correction_log as log_module
from annotator.storage.correction_log import Effort, NothingToUndoError


@pytest.fixture
def session(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", range(1, 5))
    return open_project(tmp_path / "photos")


def edited(image_id: int, revision: int, *tags: str) -> EditedList:
    return EditedList(image_id, revision, tags, [], Effort())


def save(session: Session, user: str, image_id: int, *tags: str) -> dict[str, Any]:
    revision = session.navigation.open(user, image_id)["revision"]
    return session.tagging.save(user, edited(image_id, revision, *tags))


def ways(session: Session) -> dict[str, Callable[[], Any]]:
    """Ways to save photo 1, or 1 and 2, with the tag `cat`."""
    session.workspace.accounts.add("rita", "reviewer", "correct horse battery")
    session.workspace.accounts.add("anna", "annotator", "correct horse battery")
    return {
        "save": lambda: session.tagging.save("local", edited(1, 0, "Cat")),
        "save_group": lambda: session.group_tagging.save_group("local", edited(1, 0, "Cat"), [(2, 0)]),
        "respond": lambda: session.tagging.save("local", edited(1, 0, "Cat")),
        "accept": lambda: session.review.accept("rita", edited(1, 0, "Cat"), None),
    }


@pytest.mark.parametrize("way", ["save", "save_group", "respond", "accept"])
@pytest.mark.parametrize("kind", ["rename", "merge"])
def test_a_save_in_flight_gets_the_new_name_of_a_tag(session: Session, way: str, kind: str) -> None:
    call = ways(session)[way]
    save(session, "local", 3, "cat")
    save(session, "local", 4, "feline" if kind == "merge" else "dog")
    session.navigation.leave("local", 1)  # the answer to a save brings it
    if way == "respond":
        session.review.ask("rita", 1, ["local"], [1], "", "all", 1.0, False)
    if way == "accept":
        session.review.ask("rita", 1, ["anna"], [1], "", "all", 1.0, False)
        session.tagging.save("anna", edited(1, 0, "dog"))
        session.navigation.leave("anna", 2)
    workspace = session.workspace
    waits, lock = threading.Event(), workspace.lock

    class Announced:
        """The lock of the workspace, at which the save waits while the rename holds it."""

        def __enter__(self) -> None:
            if threading.current_thread() is saving:
                waits.set()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    saving = threading.Thread(target=call)
    workspace.lock = Announced()  # type: ignore[assignment]
    apply = workspace.tag_changes.apply

    def renamed_meanwhile(*arguments: Any) -> int:
        saving.start()
        assert waits.wait(60)
        return apply(*arguments)

    workspace.tag_changes.apply = renamed_meanwhile  # type: ignore[method-assign]
    session.tag_editing.change_tag("local", kind, "cat", "feline")
    saving.join()
    lists = [tags for _, tags in workspace.log.saved()]
    if way == "respond":
        lists.append(workspace.responses.own(1, "local").tags)
    assert ("feline",) in lists
    assert not any(tag.casefold() == "cat" for tags in lists for tag in tags)
    assert workspace.ranking.vocabulary.num_photos("cat") == 0


class ClockSetBack:
    """A clock that is a minute earlier at each look."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1)

    def __call__(self) -> datetime:
        self.now -= timedelta(minutes=1)
        return self.now


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ClockSetBack()
    for module in (log_module, responses_module):
        monkeypatch.setattr(module, "utc_now", clock)


@pytest.mark.usefixtures("set_back")
def test_undo_takes_back_the_last_answer_after_the_clock_was_set_back(session: Session) -> None:
    session.review.ask("local", 1, ["local"], [2], "", "all", 1.0, False)
    save(session, "local", 1, "cat")
    save(session, "local", 2, "dog")  # an answer
    assert session.tagging.undo("local")["image_id"] == 2
    assert session.workspace.log.annotation(1).tags == ("cat",)


@pytest.mark.usefixtures("set_back")
def test_undo_takes_back_the_last_save_after_the_clock_was_set_back(session: Session) -> None:
    session.review.ask("local", 1, ["local"], [2], "", "all", 1.0, False)
    save(session, "local", 2, "dog")  # an answer
    save(session, "local", 1, "cat")
    save(session, "local", 3, "fish")
    assert session.tagging.undo("local")["image_id"] == 3
    assert session.tagging.undo("local")["image_id"] == 1
    assert session.workspace.responses.own(2, "local").tags == ("dog",)


@pytest.mark.usefixtures("set_back")
def test_a_decision_is_the_last_step_after_the_clock_was_set_back(session: Session) -> None:
    save(session, "local", 1, "cat")
    session.workspace.log.record("restore", session.workspace.log.annotation(1), ("dog",), (), True, "local")
    with pytest.raises(NothingToUndoError, match="was a decision"):
        session.tagging.undo("local")


def test_a_saved_list_that_became_an_answer_is_ordered_by_its_save(session: Session) -> None:
    save(session, "local", 1, "cat")
    save(session, "local", 2, "dog")
    session.review.ask("local", 1, [], [1], "", "all", 1.0, False)
    assert session.tagging.undo("local")["image_id"] == 2


def test_a_person_who_is_named_twice_is_asked_once(session: Session) -> None:
    accounts = session.workspace.accounts
    for name in ("anna", "ben"):
        accounts.add(name, "annotator", "correct horse battery")
    with pytest.raises(ReviewError, match="2 answers are wanted of 1 people"):
        session.review.ask("local", 2, ["anna", "anna"], [1], "", "all", 1.0, False)
    session.review.ask("local", 2, ["anna", "anna", "ben"], [1], "", "all", 1.0, False)
    save(session, "anna", 1, "cat")
    save(session, "ben", 1, "dog")
    assert session.workspace.responses.is_complete(1)


def test_a_save_that_was_committed_is_answered_as_one_whatever_comes_after(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise StoreError("The disk failed.")

    monkeypatch.setattr(Navigation, "following_photo", fails)
    answer = session.tagging.save("local", edited(1, 0, "cat"))
    assert (answer["revision"], answer["next"]) == (1, None)
    assert session.workspace.log.annotation(1).tags == ("cat",)


@pytest.mark.parametrize("num", [101, 400])
def test_nothing_is_searched_for_a_text_that_is_longer_than_a_tag(
    session: Session, monkeypatch: pytest.MonkeyPatch, num: int
) -> None:
    monkeypatch.setattr(session.tagging, "_scores_of", lambda *arguments: pytest.fail("it was searched"))
    assert session.tagging.complete("local", 1, "x" * num, []) == {"completions": []}
