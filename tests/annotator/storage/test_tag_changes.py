from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from annotator.cli import models as model_commands
from annotator.cli.main import main
from annotator.errors import AnnotatorError, StoreError, TagError
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage import bulk_changes
from annotator.storage.correction_log import Effort


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    opened = open_project(demo_photos)

    def save(user: str, image_id: int, kept: list[str], dropped: list[str], effort: Effort) -> None:
        opened.tagging.save(user, EditedList(image_id, 0, kept, dropped, effort))

    shown = [{"tag": "auto", "score": 0.5, "source": "looks"}]
    save("ann", 1, ["street", "auto", "man"], ["dog"], Effort(tagger="jvsp 1", shown=shown))
    save("ann", 2, ["car", "Auto", "tree"], [], Effort())
    save("ben", 3, ["tree"], ["auto"], Effort())
    return opened


def tags_of(opened: Session, image_id: int) -> list[str]:
    kept: list[str] = opened.navigation.open("zoe", image_id)["kept"]
    return kept


def test_a_merged_tag_is_replaced_everywhere_and_the_history_stays(opened: Session) -> None:
    session = opened
    before = session.review.history("local", 1)["events"]
    assert session.tag_editing.change_tag("zoe", "merge", "auto", "car") == {
        "num_photos": 3,
        "now_common": [],
        "change_id": 1,
    }
    assert tags_of(opened, 1) == ["street", "car", "man"]
    assert tags_of(opened, 2) == ["car", "tree"]
    assert session.navigation.open("ben", 3)["dropped"] == ["car"]
    events = session.review.history("local", 1)["events"]
    assert events[:1] == before
    assert (events[1]["kind"], events[1]["user_name"], events[1]["revision"]) == ("rename", "zoe", 2)
    # The training on corrections still has what was shown.
    assert (events[1]["tagger"], [item["tag"] for item in events[1]["shown"]]) == ("jvsp 1", ["auto"])


def test_from_then_on_the_old_tag_means_the_new_one(opened: Session, open_project: Callable[..., Session]) -> None:
    opened.tag_editing.change_tag("zoe", "rename", "auto", "automobile")
    opened.tagging.save("ann", EditedList(4, 0, ["AUTO", "sky"], [], Effort()))
    assert tags_of(opened, 4) == ["automobile", "sky"]
    assert "auto" not in [item["tag"] for item in opened.tagging.complete("local", 5, "aut", [])["completions"]]
    opened.close()
    again = open_project(folder=opened.workspace.project.folder)
    again.tagging.save("ann", EditedList(5, 0, ["auto"], [], Effort()))
    assert tags_of(again, 5) == ["automobile"]


def test_an_alias_touches_no_photo(opened: Session) -> None:
    assert opened.tag_editing.change_tag("zoe", "alias", "auto", "car")["num_photos"] == 0
    assert "auto" in [tag.lower() for tag in tags_of(opened, 1)]
    opened.tagging.save("ann", EditedList(4, 0, ["auto", "car", "sky"], [], Effort()))
    assert tags_of(opened, 4) == ["car", "sky"]
    proposals = [item["tag"] for item in opened.navigation.open("ann", 5)["proposals"]]
    assert "auto" not in [tag.lower() for tag in proposals]
    assert len(proposals) == len(set(proposals))


def test_the_newest_word_on_a_tag_counts_and_aliases_do_not_go_in_circles(opened: Session) -> None:
    session = opened
    session.tag_editing.change_tag("zoe", "rename", "auto", "vehicle")
    session.tag_editing.change_tag("zoe", "rename", "vehicle", "auto")
    assert opened.workspace.tag_changes.aliases() == {"vehicle": "auto"}
    session.tag_editing.change_tag("zoe", "merge", "auto", "car")
    assert opened.workspace.tag_changes.aliases() == {"vehicle": "car", "auto": "car"}
    assert [change["kind"] for change in session.tag_editing.tag_changes()["changes"]] == ["rename", "rename", "merge"]


@pytest.mark.parametrize(
    ("kind", "old", "new", "sentence"),
    [
        ("rename", "auto", "car", "in use already"),
        ("merge", "auto", "lorry", "No photo carries 'lorry'"),
        ("rename", "lorry", "truck", "nothing to rename"),
        ("merge", "lorry", "car", "nothing to merge"),
        ("merge", "auto", "AUTO", "one tag already"),
        ("alias", "car", "", "cannot be empty"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(
    opened: Session, kind: str, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(TagError, match=sentence):
        opened.tag_editing.change_tag("zoe", kind, old, new)
    assert tags_of(opened, 1) == ["street", "auto", "man"]
    assert opened.tag_editing.tag_changes()["changes"] == []


def test_only_the_spelling_can_be_changed_too(opened: Session) -> None:
    assert opened.tag_editing.change_tag("zoe", "rename", "auto", "AUTO")["num_photos"] == 3
    assert tags_of(opened, 1) == ["street", "AUTO", "man"]


def test_a_change_that_fails_changes_no_photo_and_can_be_repeated(
    opened: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bulk_changes, "_insert_photos", fail)
        with pytest.raises(StoreError):
            opened.tag_editing.change_tag("zoe", "merge", "auto", "car")
    assert tags_of(opened, 1) == ["street", "auto", "man"]
    assert opened.tag_editing.tag_changes()["changes"] == []
    assert opened.tag_editing.change_tag("zoe", "merge", "auto", "car")["num_photos"] == 3
    assert tags_of(opened, 2) == ["car", "tree"]


def fail(*_: object) -> None:
    raise StoreError("Not saved: the disk is full.")


def test_a_correction_from_before_a_change_is_not_undone_past_it(opened: Session) -> None:
    opened.tag_editing.change_tag("zoe", "merge", "auto", "car")
    with pytest.raises(AnnotatorError, match="zoe has saved this photo since"):
        opened.tagging.undo("ben")
    assert opened.navigation.open("ben", 3)["dropped"] == ["car"]


def test_a_split_changes_the_tag_where_a_text_says_and_nowhere_else(opened: Session) -> None:
    session = opened
    assert session.tag_editing.change_tag("zoe", "split", "AUTO", "automatic door", "street") == {
        "num_photos": 1,
        "now_common": [],
        "change_id": 1,
    }
    assert tags_of(opened, 1) == ["street", "automatic door", "man"]
    assert tags_of(opened, 2) == ["car", "auto", "tree"]
    assert session.navigation.open("ben", 3)["dropped"] == ["auto"]
    assert [event["kind"] for event in session.review.history("local", 1)["events"]] == ["save", "rename"]
    # Both tags go on to be used.
    session.tagging.save("ann", EditedList(4, 0, ["auto", "automatic door"], [], Effort()))
    assert tags_of(opened, 4) == ["auto", "automatic door"]
    assert session.tag_editing.tag_changes()["changes"][-1]["kind"] == "split"
    with pytest.raises(TagError, match="None of these photos carries 'auto'"):
        session.tag_editing.change_tag("zoe", "split", "auto", "robot", "street")
    for kind, where in (("split", " "), ("rename", "street")):
        with pytest.raises(TagError, match="needs a text"):
            session.tag_editing.change_tag("zoe", kind, "auto", "robot", where)


def test_the_command_tells_of_a_tag_that_a_merge_made_common(
    opened: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"num_photos": 3, "now_common": ["car"], "change_id": 1}
    monkeypatch.setattr(model_commands, "project_operations", lambda project: nullcontext(lambda *asked: answer))
    assert main(["tags", str(opened.workspace.project.folder), "merge", "auto", "car"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "auto -> car: 3 photos."
    assert second.startswith("car is on enough photos now to look for others that may need it")


@pytest.mark.parametrize(
    ("arguments", "asked", "line"),
    [
        (["delete", "auto"], ("delete", "auto", ""), "auto -> nothing: 3 photos."),
        (["parent", "auto", "vehicle"], ("parent", "auto", "vehicle"), "auto -> vehicle: 3 photos."),
    ],
)
def test_the_command_deletes_a_tag_and_puts_it_below_another(
    opened: Session,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    asked: tuple[str, str, str],
    line: str,
) -> None:
    calls = []

    def answer(name: str, payload: dict[str, object]) -> dict[str, object]:
        calls.append((payload["kind"], payload["old"], payload["new"]))
        return {"num_photos": 3, "now_common": [], "change_id": 1}

    monkeypatch.setattr(model_commands, "project_operations", lambda project: nullcontext(answer))
    assert main(["tags", str(opened.workspace.project.folder), *arguments]) == 0
    assert (calls, capsys.readouterr().out.strip()) == ([asked], line)
    assert main(["tags", str(opened.workspace.project.folder), "rename", "auto"]) == 1
