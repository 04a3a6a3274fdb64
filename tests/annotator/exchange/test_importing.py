from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.photo_fields import FieldSpec
from annotator.errors import DataError, StoreError
from annotator.exchange.importing import carry_out, leave_out_changed, plan_import
from annotator.maintenance.integrity import check
from annotator.storage.bulk_changes import BulkChanges, Kind, NoSuchChangeError
from annotator.storage.correction_log import CorrectionLog, Draft, Effort
from annotator.storage.database import Store
from annotator.storage.field_values import FieldValues, values_of
from annotator.storage.images import IngestedBatch, SeenPath
from annotator.storage.project import Project
from annotator.storage.queries import utc_now

PHOTOS = [TaggedPhoto(f"{number}.jpg", ("cat", f"tag {number}"), dropped=("dog",)) for number in (1, 2, 3)]


@dataclass
class Importing:
    """A project with three photos, 1.jpg to 3.jpg."""

    store: Store
    log: CorrectionLog

    def run(
        self, photos: Sequence[TaggedPhoto] = PHOTOS, kind: Kind = "accepted", *, replace: bool = False
    ) -> dict[str, str]:
        """Import; return photo -> reason of those left out."""
        plan = plan_import(self.store, photos, kind, "ana", replace=replace)
        carry_out(self.store, self.log, plan, "jsonl: x", "ana")
        return {problem.photo: problem.reason for problem in plan.report.problems}

    def lists(self) -> dict[int, tuple[str, ...]]:
        return dict(self.log.saved())

    @property
    def changes(self) -> BulkChanges:
        return BulkChanges(self.store, self.log)


@pytest.fixture
def importing(make_store: Callable[..., Store]) -> Importing:
    store = make_store(3)
    root = store.images.root_id(Path("/photos"))
    store.images.add(IngestedBatch(paths=[SeenPath(root, f"{i}.jpg", 1, 1, image_id=i) for i in (1, 2, 3)]))
    return Importing(store, CorrectionLog(store))


def save(log: CorrectionLog, image_id: int, *tags: str) -> None:
    revision = log.annotation(image_id).revision
    log.save(image_id, revision=revision, tags=tags, dropped=["bird"], user_name="ben", effort=Effort())


def test_lists_become_saved_and_are_marked_as_imported(importing: Importing) -> None:
    assert importing.run() == {}
    assert importing.lists() == {i: ("cat", f"tag {i}") for i in (1, 2, 3)}
    (event,) = importing.log.history(2)
    assert (event["kind"], event["user_name"], event["dropped"]) == ("import", "ana", ["dog"])
    (change,) = importing.changes.all()
    assert (change.kind, change.source, change.num_photos, change.undone_at) == ("accepted", "jsonl: x", 3, None)


def test_one_undo_takes_all_back_except_what_was_changed_since(importing: Importing) -> None:
    save(importing.log, 1, "before")
    importing.run(replace=True)
    save(importing.log, 3, "cat", "after")
    undone = importing.changes.undo("ana")
    assert (undone.num_undone, undone.later) == (2, (3,))
    assert importing.lists() == {1: ("before",), 3: ("cat", "after")}
    assert importing.log.annotation(1).dropped == ("bird",)
    with pytest.raises(NoSuchChangeError, match="nothing to undo"):
        importing.changes.undo("ana")
    with pytest.raises(NoSuchChangeError, match="no change 1 that is not undone"):
        importing.changes.undo("ana", 1)


def test_changes_are_undone_the_newest_first_or_by_their_number(importing: Importing) -> None:
    importing.run(PHOTOS[:1])
    importing.run(PHOTOS[1:])
    importing.changes.undo("ana", 1)
    assert sorted(importing.lists()) == [2, 3]
    importing.changes.undo("ana")
    assert importing.lists() == {}


def test_saved_lists_drafts_and_photos_asked_of_several_people_are_left_out(importing: Importing) -> None:
    save(importing.log, 1, "mine")
    importing.log.save_draft(2, "cem", Draft(0, ("begun",)))
    with importing.store.transaction() as cursor:
        cursor.execute("INSERT INTO asked VALUES (3, 2, [], 'ana', ?)", [utc_now()])
    with pytest.raises(DataError, match=r"no photo of 3 is left; the first is 1\.jpg: ben has saved it already"):
        importing.run()
    assert importing.run(replace=True) == {"3.jpg": "several people are asked about it"}
    assert importing.lists() == {1: ("cat", "tag 1"), 2: ("cat", "tag 2")}


def test_what_the_project_lacks_or_what_has_no_tags_is_named(importing: Importing) -> None:
    photos = [*PHOTOS, TaggedPhoto("9.jpg", ("x",))]
    photos[0] = TaggedPhoto("1.jpg")
    assert importing.run(photos) == {"1.jpg": "it has no tags there", "9.jpg": "the project has no such photo"}


def test_a_photo_named_twice_with_different_tags_refuses_all(importing: Importing) -> None:
    with pytest.raises(DataError, match="are one photo of the project, with different tags"):
        importing.run([*PHOTOS, TaggedPhoto("/photos/1.jpg", ("other",))])
    assert importing.lists() == {}
    assert importing.run([*PHOTOS, PHOTOS[0]]) == {}


def test_a_source_that_breaks_off_imports_nothing(importing: Importing) -> None:
    def source():  # type: ignore[no-untyped-def]
        yield PHOTOS[0]
        raise DataError("Line 2 is damaged.")

    with pytest.raises(DataError, match="Line 2 is damaged"):
        importing.run(source())
    assert importing.lists() == {}
    assert importing.changes.all() == []


@pytest.mark.parametrize("kind", ["accepted", "draft", "proposal"])
def test_a_commit_that_fails_imports_nothing(kind: Kind, importing: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    from annotator.storage import bulk_changes

    def failing(*_: object) -> None:
        raise StoreError("Not saved: the disk is full.")

    monkeypatch.setattr(bulk_changes, "_insert_photos", failing)
    with pytest.raises(StoreError):
        importing.run(kind=kind)
    assert importing.lists() == {}
    assert importing.log.draft(1, "ana") is None
    assert importing.store.images.entry(1).user_tags == ()
    monkeypatch.undo()
    importing.run(kind=kind)  # the log goes on without a gap
    save(importing.log, 1, "next") if kind != "accepted" else None
    assert [change.num_photos for change in importing.changes.all()] == [3]


def test_lists_become_drafts_and_one_undo_deletes_those_that_nobody_edited(importing: Importing) -> None:
    importing.run(kind="draft")
    assert importing.log.draft(2, "ana") == Draft(0, ("cat", "tag 2"))
    assert importing.lists() == {}
    importing.log.save_draft(3, "ana", Draft(0, ("cat", "more")))
    undone = importing.changes.undo("ana")
    assert (undone.num_undone, undone.later) == (2, (3,))
    assert importing.log.draft(2, "ana") is None
    assert importing.log.draft(3, "ana") == Draft(0, ("cat", "more"))


def test_lists_become_words_that_come_with_the_photo(make_store: Callable[..., Store], importing: Importing) -> None:
    with importing.store.transaction() as cursor:
        cursor.execute("UPDATE images SET user_tags = ['Cat', 'own'] WHERE image_id = 1")
    importing.run(kind="proposal")
    path = importing.store.path
    importing.store.close()
    store = make_store(3, path)
    assert [store.images.entry(i).user_tags for i in (1, 2)] == [("cat", "tag 1", "own"), ("cat", "tag 2")]
    assert BulkChanges(store, CorrectionLog(store)).undo("ana").num_undone == 3
    assert store.rows("SELECT user_tags FROM images ORDER BY image_id") == [(["Cat", "own"],), ([],), ([],)]


def test_the_log_of_an_imported_project_is_consistent(importing: Importing, tmp_path: Path) -> None:
    save(importing.log, 2, "before")
    importing.run(replace=True)
    importing.changes.undo("ana")
    importing.run(kind="draft", replace=True)
    save(importing.log, 1, "after")
    importing.log.undo("ben")
    project = Project.open_or_create(tmp_path, "test")
    assert [finding for finding in check(project, importing.store) if "event" in finding.text] == []


def test_an_undo_of_ones_own_save_does_not_reach_over_an_import(importing: Importing) -> None:
    from annotator.errors import StaleRevisionError

    save(importing.log, 1, "mine")
    importing.run(replace=True)
    with pytest.raises(StaleRevisionError, match="ana has saved this photo"):
        importing.log.undo("ben")


def test_thousands_of_photos_are_one_change(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(3_000, tmp_path / "large.duckdb")
    root = store.images.root_id(Path("/photos"))
    paths = [SeenPath(root, f"{i}.jpg", 1, 1, image_id=i) for i in range(1, 3_001)]
    store.images.add(IngestedBatch(paths=paths))
    importing = Importing(store, CorrectionLog(store))
    importing.run([TaggedPhoto(f"{i}.jpg", ("cat", f"t{i}")) for i in range(1, 3_001)])
    assert len(importing.lists()) == 3_000
    events = store.rows("SELECT min(event_id), max(event_id), count(*) FROM events")
    assert events == [(1, 3_000, 3_000)]
    assert importing.changes.undo("ana").num_undone == 3_000
    assert importing.lists() == {}


@pytest.mark.parametrize("kind", ["accepted", "draft", "proposal"])
def test_fields_of_the_project_come_along_and_go_with_the_undo(kind: Kind, importing: Importing) -> None:
    FieldValues(importing.store).put(1, "title", "Before", "", "ben")
    specs = (FieldSpec("title"), FieldSpec("category", "choice", ("Animals",)))
    photos = [
        TaggedPhoto("1.jpg", ("cat",), title=" A  cat ", description="no field here", category="Animals"),
        TaggedPhoto("2.jpg", ("dog",), title="A dog", category="Cars"),
        TaggedPhoto("3.jpg", ("owl",)),
    ]
    plan = plan_import(importing.store, photos, kind, "ana", replace=False, specs=specs)
    assert [note.photo for note in plan.report.notes] == ["2.jpg"]
    assert "none of the choices" in plan.report.notes[0].reason
    carry_out(importing.store, importing.log, plan, "adobe: x", "ana")
    expected = {1: {"title": "A cat", "category": "Animals"}, 2: {"title": "A dog"}}
    assert values_of(importing.store, [1, 2, 3]) == expected
    FieldValues(importing.store).put(2, "title", "My dog", "A dog", "ben")
    importing.changes.undo("ana")
    assert values_of(importing.store, [1, 2, 3]) == {1: {"title": "Before"}, 2: {"title": "My dog"}}


def test_what_was_saved_after_the_plan_is_left_out(importing: Importing) -> None:
    plan = plan_import(importing.store, PHOTOS, "accepted", "ana", replace=True)
    save(importing.log, 2, "meanwhile")
    leave_out_changed(importing.store, plan, "ana")
    assert [(problem.photo, problem.reason) for problem in plan.report.problems] == [
        ("2.jpg", "it was saved meanwhile")
    ]
    carry_out(importing.store, importing.log, plan, "x", "ana")
    assert importing.lists() == {1: ("cat", "tag 1"), 2: ("meanwhile",), 3: ("cat", "tag 3")}
