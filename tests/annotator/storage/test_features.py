from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.errors import FeatureMismatchError, UnknownImageError
from annotator.storage.features import FeatureStore


def rows_of(first: int, num: int, size: int = 3) -> np.ndarray:
    return np.arange(first * size, (first + num) * size, dtype=np.float32).reshape(num, size)


def test_features_come_back_in_the_order_asked_for_after_a_restart(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    committed = list(zip([7, 5], store.append(rows_of(0, 2)), strict=True))
    store.commit(committed)
    for opened in (store, FeatureStore(tmp_path, "grid-1", 3, committed)):
        np.testing.assert_array_equal(opened.vectors([5, 7, 5]), rows_of(0, 2)[[1, 0, 1]])
        assert opened.image_ids() == [5, 7]
        assert len(opened) == 2
        assert 7 in opened
        assert 6 not in opened


def test_rows_written_but_not_committed_are_overwritten(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    store.commit([(1, store.append(rows_of(0, 1))[0])])
    store.append(rows_of(50, 4))  # killed before the commit
    opened = FeatureStore(tmp_path, "grid-1", 3, [(1, 0)])
    rows = opened.append(rows_of(1, 2))
    assert rows == [1, 2]
    opened.commit([(2, 1), (3, 2)])
    np.testing.assert_array_equal(opened.vectors([1, 2, 3]), rows_of(0, 3))


def test_half_a_row_at_the_end_is_overwritten(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    store.commit([(1, store.append(rows_of(0, 1))[0])])
    with open(store.path, "ab") as file:
        file.write(b"12345")
    opened = FeatureStore(tmp_path, "grid-1", 3, [(1, 0)])
    opened.commit([(2, opened.append(rows_of(1, 1))[0])])
    np.testing.assert_array_equal(opened.vectors([1, 2]), rows_of(0, 2))


def test_a_file_shorter_than_committed_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    store.append(rows_of(0, 2))
    with pytest.raises(FeatureMismatchError, match=r"holds 2 features .* counts on 3\. .* run `annotator add`"):
        FeatureStore(tmp_path, "grid-1", 3, [(1, 2)])


def test_features_of_another_size_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    for wrong in (np.zeros((2, 4), np.float32), np.zeros(3, np.float32)):
        with pytest.raises(FeatureMismatchError, match="3 values each"):
            store.append(wrong)


def test_two_backbones_never_share_a_file(tmp_path: Path) -> None:
    first, second = FeatureStore(tmp_path, "grid-1", 3), FeatureStore(tmp_path, "grid-2", 3)
    first.commit([(1, first.append(rows_of(0, 1))[0])])
    assert 1 not in second
    assert second.path.stat().st_size == 0


def test_an_image_without_features_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownImageError, match="Image 4 has no features"):
        FeatureStore(tmp_path, "grid-1", 3).vectors([4])


def test_no_images_have_no_features(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    assert store.vectors([]).shape == (0, 3)
    store.commit([(1, store.append(rows_of(0, 1))[0])])
    assert store.vectors([]).shape == (0, 3)


def test_features_can_be_read_at_every_moment_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path, "grid-1", 3)
    open_map, seen = store._open_map, []

    def read_meanwhile() -> np.ndarray:
        seen.append(len(store.vectors(store.image_ids())))
        opened = open_map()
        seen.append(len(store.vectors(store.image_ids())))
        return opened

    monkeypatch.setattr(store, "_open_map", read_meanwhile)
    for number in range(3):
        store.commit([(number, store.append(rows_of(number, 1))[0])])
    assert seen == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(store.vectors([0, 1, 2]), rows_of(0, 3))


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=8))
def test_any_mix_of_committed_and_lost_batches_reads_right(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("features")
    store = FeatureStore(folder, "grid-1", 3)
    kept: list[tuple[int, int]] = []
    expected: dict[int, np.ndarray] = {}
    for number, (size, is_committed) in enumerate(batches):
        vectors = rows_of(number * 10, size)
        rows = store.append(vectors)
        if is_committed:
            pairs = [(number * 10 + place, row) for place, row in enumerate(rows)]
            store.commit(pairs)
            kept += pairs
            expected.update((number * 10 + place, vector) for place, vector in enumerate(vectors))
        else:
            store = FeatureStore(folder, "grid-1", 3, kept)
    for image_id, vector in expected.items():
        np.testing.assert_array_equal(store.vectors([image_id])[0], vector)
