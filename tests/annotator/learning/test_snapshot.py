from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import FeatureMismatchError, StoreError
from annotator.learning.snapshot import read_snapshot, write_snapshot
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort


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
