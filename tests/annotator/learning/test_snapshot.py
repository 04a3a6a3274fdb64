from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import FeatureMismatchError, StoreError
from annotator.learning.snapshot import read_snapshot, write_snapshot
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import Annotation, Effort, ListChange


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    return open_project(demo_photos)


def test_a_snapshot_gives_back_the_standing_corrections(opened: Session, tmp_path: Path) -> None:
    session = opened
    shown = [{"tag": "dog", "score": 0.5, "source": "looks"}, {"tag": "cat", "score": 0.4, "source": "looks"}]
    session.tagging.save("ann", EditedList(1, 0, ["a", "b"], ["c"], Effort()))
    session.tagging.save(
        "ben", EditedList(1, 1, ["cat", "'quoted'", "日本"], ["dog"], Effort(tagger="jvsp 1", shown=shown))
    )
    session.tagging.save("ann", EditedList(2, 0, ["undone"], [], Effort()))
    session.tagging.undo("ann")
    path = tmp_path / "it's a folder" / "snapshot.parquet"
    path.parent.mkdir()
    write_snapshot(opened.workspace.store, opened.workspace.features.path.stem, path)
    snapshot = read_snapshot(path, opened.workspace.features.path, opened.workspace.features.feature_size)
    (item,) = snapshot.corrections  # the contradicted save and the undone one do not count
    assert (item.tags, item.dropped, item.shown) == (("cat", "'quoted'", "日本"), ("dog",), ("dog", "cat"))
    assert (item.user, item.tagger, item.event_id) == ("ben", "jvsp 1", 2)
    assert item.saved_at.endswith("Z")
    np.testing.assert_array_equal(item.features, opened.workspace.features.vectors([1])[0])
    assert snapshot.untagged.shape == (5, opened.workspace.features.feature_size)
    assert set(snapshot.words) == {1}


def test_a_list_that_was_taken_from_suggestions_teaches_once_a_person_has_decided_on_it(
    opened: Session, tmp_path: Path
) -> None:
    log, store, registry = opened.workspace.log, opened.workspace.store, opened.workspace.models.registry
    changes = BulkChanges(store, log)

    def taught() -> list[int]:
        path = tmp_path / "snapshot.parquet"
        write_snapshot(store, opened.workspace.features.path.stem, path)
        snapshot = read_snapshot(path, opened.workspace.features.path, opened.workspace.features.feature_size)
        assert registry.num_corrections_since(0) == len(snapshot.corrections)
        assert registry.newest_event_id() == max((item.event_id for item in snapshot.corrections), default=0)
        assert len(snapshot.corrections) + len(snapshot.untagged) == 6
        return [item.image_id for item in snapshot.corrections]

    changes.save_lists("suggested", [ListChange(Annotation(i), ("cat",), ()) for i in (1, 2, 3)], "suggestions", "ann")
    assert taught() == []
    opened.tagging.save("ann", EditedList(1, 1, ["cat", "sofa"]))
    assert taught() == [1]
    opened.tagging.undo("ann")  # back to what nobody has looked at
    assert taught() == []
    opened.tagging.save("ann", EditedList(2, 1, ["cat"]))  # as it is
    edited = [ListChange(log.annotation(i), ("cat", "indoors"), ()) for i in (1, 2, 3)]
    changes.save_lists("edit", edited, "add indoors", "ann")  # nobody has looked at each of them
    assert taught() == [2]
    log.skip(3, "ann")
    assert taught() == [2]


def test_a_feature_file_that_is_too_short_is_refused(opened: Session, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.parquet"
    write_snapshot(opened.workspace.store, opened.workspace.features.path.stem, path)
    short = tmp_path / "short.f32"
    short.write_bytes(opened.workspace.features.path.read_bytes()[:-4])
    with pytest.raises(FeatureMismatchError, match="holds 5 features"):
        read_snapshot(path, short, opened.workspace.features.feature_size)


def test_a_damaged_snapshot_and_one_that_cannot_be_written_are_errors(opened: Session, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match="could not be read"):
        read_snapshot(path, opened.workspace.features.path, opened.workspace.features.feature_size)
    with pytest.raises(StoreError, match="could not be written"):
        write_snapshot(opened.workspace.store, "x", tmp_path / "missing" / "snapshot.parquet")
