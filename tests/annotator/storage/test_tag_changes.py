from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from annotator.cli import models as model_commands
from annotator.cli.main import main
from annotator.errors import AnnotatorError, StoreError, TagError
from annotator.storage.correction_log import Effort
from annotator.web.server import Workspace


@pytest.fixture
def opened(open_project: Callable[..., Workspace], demo_photos: Path) -> Workspace:
    opened = open_project(demo_photos)
    save = opened.session.save
    shown = [{"tag": "auto", "score": 0.5, "source": "looks"}]
    save("ann", 1, 0, ["street", "auto", "man"], ["dog"], Effort(tagger="jvsp 1", shown=shown))
    save("ann", 2, 0, ["car", "Auto", "tree"], [], Effort())
    save("ben", 3, 0, ["tree"], ["auto"], Effort())
    return opened


def tags_of(opened: Workspace, image_id: int) -> list[str]:
    kept: list[str] = opened.session.open("zoe", image_id)["kept"]
    return kept


def test_a_merged_tag_is_replaced_everywhere_and_the_history_stays(opened: Workspace) -> None:
    session = opened.session
    before = session.history(1)["events"]
    assert session.change_tag("merge", "auto", "car", "zoe") == {"num_photos": 3, "now_common": []}
    assert tags_of(opened, 1) == ["street", "car", "man"]
    assert tags_of(opened, 2) == ["car", "tree"]
    assert session.open("ben", 3)["dropped"] == ["car"]
    events = session.history(1)["events"]
    assert events[:1] == before
    assert (events[1]["kind"], events[1]["user_name"], events[1]["revision"]) == ("rename", "zoe", 2)
    # The training on corrections still has what was shown.
    assert (events[1]["tagger"], [item["tag"] for item in events[1]["shown"]]) == ("jvsp 1", ["auto"])


def test_from_then_on_the_old_tag_means_the_new_one(opened: Workspace, open_project: Callable[..., Workspace]) -> None:
    opened.session.change_tag("rename", "auto", "automobile", "zoe")
    opened.session.save("ann", 4, 0, ["AUTO", "sky"], [], Effort())
    assert tags_of(opened, 4) == ["automobile", "sky"]
    assert "auto" not in [item["tag"] for item in opened.session.complete(5, "aut", [])["completions"]]
    opened.close()
    again = open_project(folder=opened.project.folder)
    again.session.save("ann", 5, 0, ["auto"], [], Effort())
    assert tags_of(again, 5) == ["automobile"]


def test_an_alias_touches_no_photo(opened: Workspace) -> None:
    assert opened.session.change_tag("alias", "auto", "car", "zoe") == {"num_photos": 0, "now_common": []}
    assert "auto" in [tag.lower() for tag in tags_of(opened, 1)]
    opened.session.save("ann", 4, 0, ["auto", "car", "sky"], [], Effort())
    assert tags_of(opened, 4) == ["car", "sky"]
    proposals = [item["tag"] for item in opened.session.open("ann", 5)["proposals"]]
    assert "auto" not in [tag.lower() for tag in proposals]
    assert len(proposals) == len(set(proposals))


def test_the_newest_change_of_a_tag_counts_and_aliases_have_no_cycles(opened: Workspace) -> None:
    session = opened.session
    session.change_tag("rename", "auto", "vehicle", "zoe")
    session.change_tag("rename", "vehicle", "auto", "zoe")
    assert opened.session._tag_changes.aliases() == {"vehicle": "auto"}
    session.change_tag("merge", "auto", "car", "zoe")
    assert opened.session._tag_changes.aliases() == {"vehicle": "car", "auto": "car"}
    assert [change["kind"] for change in session.tag_changes()["changes"]] == ["rename", "rename", "merge"]


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
def test_an_invalid_change_is_refused_and_changes_nothing(
    opened: Workspace, kind: str, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(TagError, match=sentence):
        opened.session.change_tag(kind, old, new, "zoe")
    assert tags_of(opened, 1) == ["street", "auto", "man"]
    assert opened.session.tag_changes()["changes"] == []


def test_only_the_spelling_can_be_changed_too(opened: Workspace) -> None:
    assert opened.session.change_tag("rename", "auto", "AUTO", "zoe") == {"num_photos": 3, "now_common": []}
    assert tags_of(opened, 1) == ["street", "AUTO", "man"]


def test_a_change_that_broke_off_is_finished_by_repeating_it(
    opened: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened.session._log
    plain = log.rewrite

    def break_off(annotation: object, *rest: object) -> object:
        if getattr(annotation, "image_id", 0) == 2:
            raise StoreError("Not saved: the disk is full.")
        return plain(annotation, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(log, "rewrite", break_off)
        with pytest.raises(StoreError):
            opened.session.change_tag("merge", "auto", "car", "zoe")
    assert tags_of(opened, 1) == ["street", "car", "man"]
    assert opened.session.change_tag("merge", "auto", "car", "zoe") == {"num_photos": 2, "now_common": []}
    assert tags_of(opened, 2) == ["car", "tree"]


def test_a_correction_from_before_a_change_is_not_undone_past_it(opened: Workspace) -> None:
    opened.session.change_tag("merge", "auto", "car", "zoe")
    with pytest.raises(AnnotatorError, match="zoe has saved this photo since"):
        opened.session.undo("ben")
    assert opened.session.open("ben", 3)["dropped"] == ["car"]


def test_a_split_changes_the_tag_where_a_text_says_and_nowhere_else(opened: Workspace) -> None:
    session = opened.session
    assert session.change_tag("split", "AUTO", "automatic door", "zoe", "street") == {"num_photos": 1, "now_common": []}
    assert tags_of(opened, 1) == ["street", "automatic door", "man"]
    assert tags_of(opened, 2) == ["car", "auto", "tree"]
    assert session.open("ben", 3)["dropped"] == ["auto"]
    assert [event["kind"] for event in session.history(1)["events"]] == ["save", "rename"]
    # Both tags are still in use.
    session.save("ann", 4, 0, ["auto", "automatic door"], [], Effort())
    assert tags_of(opened, 4) == ["auto", "automatic door"]
    assert session.tag_changes()["changes"][-1]["kind"] == "split"
    with pytest.raises(TagError, match="None of these photos carries 'auto'"):
        session.change_tag("split", "auto", "robot", "zoe", "street")
    for kind, where in (("split", " "), ("rename", "street")):
        with pytest.raises(TagError, match="needs a text"):
            session.change_tag(kind, "auto", "robot", "zoe", where)


def test_the_command_reports_a_tag_that_became_common_by_a_merge(
    opened: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"num_photos": 3, "now_common": ["car"]}
    monkeypatch.setattr(model_commands, "project_operations", lambda project: nullcontext(lambda *asked: answer))
    assert main(["tags", str(opened.project.folder), "merge", "auto", "car"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "auto -> car: 3 photos."
    assert second.startswith("car is on enough photos now to look for others that may need it")
