import logging
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.errors import ConfigError, RetrievalError
from annotator.retrieval import faiss_backend, vector_index
from annotator.retrieval.faiss_backend import describe_faiss, load_faiss
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings

SIZE = 16
Vectors = npt.NDArray[np.float32]


class Features:
    """A feature store in memory: row i belongs to image i."""

    def __init__(self, num: int, seed: int = 0) -> None:
        self.rows = np.random.default_rng(seed).normal(size=(num, SIZE)).astype(np.float32)

    def vectors(self, ids: npt.NDArray[np.int64]) -> Vectors:
        return self.rows[ids]


def make_index(features: Features, **changed: Any) -> VectorIndex:
    return VectorIndex(SIZE, VectorIndexSettings(**changed), features.vectors, tag="test 1")


def make_full(features: Features, **changed: Any) -> VectorIndex:
    index = make_index(features, **changed)
    index.add(np.arange(len(features.rows)), features.rows)
    return index


def kind_of(index: VectorIndex) -> str:
    return index.kind


def plain_neighbours(stored: dict[int, Vectors], query: Vectors, k: int) -> list[tuple[int, float]]:
    found = []
    for image_id, vector in stored.items():
        lengths = float(np.linalg.norm(query)) * float(np.linalg.norm(vector))
        found.append((-float(query @ vector) / lengths, image_id))
    return [(image_id, -similarity) for similarity, image_id in sorted(found)[:k]]


EXHAUSTIVE: dict[str, Any] = {"exact_below": 100, "num_probes": 10_000, "num_candidates": 10_000}


@pytest.mark.parametrize("changed", [{}, EXHAUSTIVE], ids=["exact", "inverted file"])
def test_neighbours_are_those_of_a_plain_loop(changed: dict[str, Any]) -> None:
    features = Features(400)
    index = make_full(features, **changed)
    assert kind_of(index) == ("inverted file" if changed else "exact")
    queries = Features(20, seed=1).rows
    ids, similarities = index.search(queries, 7)
    assert ids.dtype == np.int64
    assert similarities.dtype == np.float32
    for row, query in enumerate(queries):
        expected = plain_neighbours(dict(enumerate(features.rows)), query, 7)
        assert ids[row].tolist() == [image_id for image_id, _ in expected]
        np.testing.assert_allclose(similarities[row], [value for _, value in expected], atol=1e-5)


def test_a_case_worked_by_hand() -> None:
    stored = np.zeros((3, SIZE), np.float32)
    stored[0, 0], stored[1, :2], stored[2, 1] = 5, 3, -2
    index = VectorIndex(SIZE, VectorIndexSettings(), lambda ids: stored[ids], tag="test 1")
    index.add([10, 11, 12], stored)
    ids, similarities = index.search(stored[:1] * 9, 3)
    assert ids.tolist() == [[10, 11, 12]]
    np.testing.assert_allclose(similarities, [[1, 0.5**0.5, 0]], atol=1e-6)


@pytest.mark.parametrize("changed", [{}, EXHAUSTIVE], ids=["exact", "inverted file"])
def test_fewer_images_than_asked_for_are_filled_with_minus_one(changed: dict[str, Any]) -> None:
    features = Features(200)
    index = make_full(features, **changed)
    index.remove(np.arange(2, 200))
    ids, similarities = index.search(features.rows[:1], 4)
    assert sorted(ids[0, :2].tolist()) == [0, 1]
    assert ids[0, 2:].tolist() == [-1, -1]
    assert similarities[0, 2:].tolist() == [0, 0]


def test_an_empty_index_and_an_empty_batch_give_no_neighbours() -> None:
    features = Features(4)
    assert make_index(features).search(features.rows[:1], 2)[0].tolist() == [[-1, -1]]
    assert make_full(features).search(np.zeros((0, SIZE)), 2)[0].shape == (0, 2)
    index = make_index(features)
    index.add([], np.zeros((0, SIZE)))
    index.remove([])
    index.rebuild([])
    assert len(index) == 0


def test_equal_similarities_are_ordered_by_image_id() -> None:
    rows = np.tile(np.arange(1, SIZE + 1, dtype=np.float32), (300, 1))
    for changed in ({}, EXHAUSTIVE):
        index = VectorIndex(SIZE, VectorIndexSettings(**changed), lambda ids: rows[ids], tag="test 1")
        order = np.random.default_rng(0).permutation(300)
        index.add(order, rows)
        assert index.search(rows[:1], 300)[0][0].tolist() == list(range(300))


def test_a_zero_vector_is_similar_to_nothing() -> None:
    features = Features(5)
    features.rows[2] = 0
    index = make_full(features)
    assert index.search(features.rows[2:3], 5)[1].tolist() == [[0, 0, 0, 0, 0]]
    ids, similarities = index.search(features.rows[:1], 5)
    assert similarities[0, ids[0] == 2].tolist() == [0]


def test_of_equal_ids_the_last_vector_counts() -> None:
    features = Features(3)
    index = make_index(features)
    index.add([7, 7, 7], features.rows)
    assert len(index) == 1
    assert index.search(features.rows[2:], 1)[1][0, 0] == pytest.approx(1)


OPERATION = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 59)), min_size=1, max_size=15)),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 60), max_size=8)),
    st.tuples(st.just("rebuild"), st.none()),
    st.tuples(st.just("save"), st.none()),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATION, max_size=12), exact_below=st.sampled_from([0, 5, 1_000]))
def test_add_remove_rebuild_and_save_agree_with_a_dictionary(
    tmp_path: Path, operations: list[tuple[str, Any]], exact_below: int
) -> None:
    pool = Features(60).rows
    stored: dict[int, Vectors] = {}
    everything = np.zeros((64, SIZE), np.float32)
    chosen = VectorIndexSettings(exact_below=exact_below, num_probes=1_000, num_candidates=1_000)

    def vectors_of(ids: npt.NDArray[np.int64]) -> Vectors:
        return everything[ids]

    index = VectorIndex(SIZE, chosen, vectors_of, tag="test 1")
    for name, argument in operations:
        if name == "add":
            for image_id, place in argument:
                stored[image_id] = everything[image_id] = pool[place]
            index.add([image_id for image_id, _ in argument], pool[[place for _, place in argument]])
        elif name == "remove":
            for image_id in argument:
                stored.pop(image_id, None)
            index.remove(argument)
        elif name == "rebuild":
            index.rebuild()
        else:
            index.save(tmp_path / "visual.index")
            index = VectorIndex.load(tmp_path / "visual.index", SIZE, chosen, vectors_of, tag="test 1")
        assert len(index) == len(stored)
        assert index.image_ids().tolist() == sorted(stored)
        ids, similarities = index.search(pool[:1], 10)
        expected = plain_neighbours(stored, pool[0], 10)
        assert sorted(ids[0].tolist()) == sorted(
            [i for i, _ in expected] + [-1] * (10 - len(expected))
        ) or similarities[0, -1] == pytest.approx(expected[-1][1], abs=1e-5)
        np.testing.assert_allclose(similarities[0, : len(expected)], [value for _, value in expected], atol=1e-5)


def test_the_index_becomes_an_inverted_file_and_keeps_finding_nearly_all_neighbours() -> None:
    features = Features(3_000)
    index = make_index(features, exact_below=1_000, projected_size=12)
    index.add(np.arange(1_000), features.rows[:1_000])
    assert kind_of(index) == "exact"
    index.add(np.arange(1_000, 3_000), features.rows[1_000:])
    assert kind_of(index) == "inverted file"
    assert len(index) == 3_000
    queries = Features(50, seed=1).rows
    found, similarities = index.search(queries, 10)
    hits = 0
    for row, query in enumerate(queries):
        expected = plain_neighbours(dict(enumerate(features.rows)), query, 10)
        hits += len({image_id for image_id, _ in expected} & set(found[row].tolist()))
    assert hits >= 0.97 * 500
    own = features.rows / np.linalg.norm(features.rows, axis=1, keepdims=True)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_allclose(similarities, np.einsum("bd,bkd->bk", unit, own[found]), atol=1e-5)


def test_searches_and_changes_go_on_while_an_inverted_file_is_trained() -> None:
    features = Features(600)
    may_train, is_training = threading.Event(), threading.Event()

    def vectors_of(ids: npt.NDArray[np.int64]) -> Vectors:
        if threading.current_thread().name == "ingest":
            is_training.set()
            assert may_train.wait(30)
        return features.rows[ids]

    index = VectorIndex(SIZE, VectorIndexSettings(exact_below=500, num_probes=1_000), vectors_of, tag="test 1")
    index.add(np.arange(500), features.rows[:500])
    ingest = threading.Thread(target=index.add, args=([500], features.rows[500:501]), name="ingest")
    ingest.start()
    assert is_training.wait(30)
    assert kind_of(index) == "exact"
    assert index.search(features.rows[:1], 1)[0].tolist() == [[0]]
    index.remove([0, 1])
    index.add([510], features.rows[510:511])
    features.rows[2] = features.rows[511]
    index.add([2], features.rows[511:512])
    may_train.set()
    ingest.join(30)
    assert kind_of(index) == "inverted file"
    assert set(range(501)) - {0, 1} | {510} == set(index.image_ids().tolist())
    ids, similarities = index.search(features.rows[[0, 1, 510, 511]], 1)
    assert not {0, 1} & set(ids.ravel().tolist())
    assert ids[2:].tolist() == [[510], [2]]
    np.testing.assert_allclose(similarities[2:], 1, atol=1e-5)


def test_a_failed_build_leaves_the_old_index_serving() -> None:
    features = Features(50)
    is_broken = False

    def vectors_of(ids: npt.NDArray[np.int64]) -> Vectors:
        if is_broken:
            raise OSError("the disk is gone")
        return features.rows[ids]

    index = VectorIndex(SIZE, VectorIndexSettings(exact_below=20), vectors_of, tag="test 1")
    index.add(np.arange(20), features.rows[:20])
    is_broken = True
    with pytest.raises(OSError, match="the disk is gone"):
        index.add([20], features.rows[20:21])
    assert index.search(features.rows[20:21], 1)[0].tolist() == [[20]]
    is_broken = False
    index.add([21], features.rows[21:22])
    assert kind_of(index) == "inverted file"
    assert len(index) == 22


@pytest.mark.parametrize("changed", [{}, {"exact_below": 300}], ids=["exact", "inverted file"])
def test_removed_images_never_come_back_while_threads_search_and_change(changed: dict[str, Any]) -> None:
    features = Features(900)
    index = make_index(features, num_probes=1_000, **changed)
    index.add(np.arange(500), features.rows[:500])
    gone: set[int] = set()
    failures: list[str] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            before = set(gone)
            ids, similarities = index.search(features.rows[:40:10], 20)
            if before & set(ids.ravel().tolist()):
                failures.append("a removed image came back")
            if (np.diff(similarities, axis=1) > 0).any() or (ids < 0).any():
                failures.append("a result is not whole")

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for image_id in range(0, 400, 2):
        index.remove([image_id])
        gone.add(image_id)
        index.add([500 + image_id], features.rows[500 + image_id : 501 + image_id])
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(index) == 500


def test_rebuild_takes_the_given_images_from_the_feature_store() -> None:
    features = Features(300)
    index = make_index(features, exact_below=100)
    index.rebuild(np.arange(50, 250))
    assert kind_of(index) == "inverted file"
    assert index.image_ids().tolist() == list(range(50, 250))
    assert 60 in index
    assert 10 not in index
    assert 9_999_999 not in index
    index.rebuild([3, 4])
    assert kind_of(index) == "exact"
    assert index.search(features.rows[3:4], 5)[0].tolist() == [[3, 4, -1, -1, -1]]


def test_a_much_larger_project_is_trained_again() -> None:
    features = Features(1_000)
    index = make_index(features, exact_below=100)
    index.add(np.arange(101), features.rows[:101])
    first = faiss.extract_index_ivf(index._index).nlist
    index.add(np.arange(101, 1_000), features.rows[101:])
    assert faiss.extract_index_ivf(index._index).nlist > first
    assert len(index) == 1_000


@pytest.mark.parametrize("changed", [{}, {"exact_below": 100}], ids=["exact", "inverted file"])
def test_a_saved_index_finds_the_same_and_goes_on_changing(tmp_path: Path, changed: dict[str, Any]) -> None:
    features = Features(400)
    index = make_full(features, **changed)
    index.remove([5])
    path = tmp_path / "indexes" / "visual.index"
    index.save(path)
    index.save(path)
    assert [child.name for child in path.parent.iterdir()] == ["visual.index"]
    loaded = VectorIndex.load(path, SIZE, VectorIndexSettings(**changed), features.vectors, tag="test 1")
    assert kind_of(loaded) == index.kind
    for ours, theirs in zip(index.search(features.rows[:30], 9), loaded.search(features.rows[:30], 9), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    loaded.add([5], features.rows[5:6])
    assert loaded.search(features.rows[5:6], 1)[0].tolist() == [[5]]
    assert len(loaded) == 400


def load(path: Path, features: Features, *, size: int = SIZE, tag: str = "test 1") -> VectorIndex:
    return VectorIndex.load(path, size, VectorIndexSettings(), features.vectors, tag=tag)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    features = Features(30)
    path = tmp_path / "visual.index"
    make_full(features).save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 101):
        path.write_bytes(whole[:place])
        with pytest.raises(RetrievalError, match="must be rebuilt"):
            load(path, features)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(RetrievalError, match="checksum"):
            load(path, features)
    path.unlink()
    with pytest.raises(RetrievalError, match="must be rebuilt"):
        load(path, features)


def test_an_index_of_another_backbone_or_size_is_refused(tmp_path: Path) -> None:
    features = Features(30)
    path = tmp_path / "visual.index"
    make_full(features).save(path)
    with pytest.raises(RetrievalError, match="test 1, not 16 of test 2"):
        load(path, features, tag="test 2")
    with pytest.raises(RetrievalError, match="16 values of test 1, not 8"):
        load(path, features, size=8)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features(30)
    path = tmp_path / "visual.index"
    index = make_full(features)
    index.save(path)
    before = path.read_bytes()
    index.remove([1])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("annotator.retrieval.index_file.os.fsync", full)
    with pytest.raises(RetrievalError, match="No space left"):
        index.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index: index.search(np.zeros((1, SIZE + 1)), 1), r"\(N, 16\) are needed, got shape \(1, 17\)"),
        (lambda index: index.search(np.zeros(SIZE), 1), "got shape"),
        (lambda index: index.search(np.full((1, SIZE), np.nan), 1), "not finite"),
        (lambda index: index.search(np.zeros((1, SIZE)), 0), "k = 0"),
        (lambda index: index.add([1, 2], np.zeros((1, SIZE))), "2 image ids for 1 features"),
        (lambda index: index.add([-1], np.zeros((1, SIZE))), "between 0 and"),
        (lambda index: index.add([2**40], np.zeros((1, SIZE))), "between 0 and"),
        (lambda index: index.add([0.5], np.zeros((1, SIZE))), "integers"),
        (lambda index: index.remove([[1]]), "integers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call: Callable[[VectorIndex], Any], message: str) -> None:
    index = make_full(Features(3))
    with pytest.raises(RetrievalError, match=message):
        call(index)
    assert len(index) == 3


@pytest.mark.parametrize(
    "changed",
    [{"num_probes": 0}, {"projected_size": 0}, {"num_lists": 0}, {"exact_below": -1}, {"use_gpu": "always"}],
)
def test_bad_settings_are_refused_by_name(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changed))):
        VectorIndexSettings(**changed)


def test_the_callers_arrays_are_left_as_they_were() -> None:
    features = Features(300)
    before = features.rows.copy()
    index = make_full(features, exact_below=100)
    index.search(features.rows, 3)
    np.testing.assert_array_equal(features.rows, before)


def fake_gpu(monkeypatch: pytest.MonkeyPatch, clone: Callable[[Any, int, Any], Any]) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", clone, raising=False)


def test_a_gpu_that_fails_is_logged_once_and_the_cpu_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def clone(resources: Any, device: int, index: Any) -> Any:
        raise RuntimeError("out of memory")

    fake_gpu(monkeypatch, clone)
    features = Features(20)
    index = make_full(features, gpu_settle_seconds=0)
    with caplog.at_level(logging.INFO, logger="annotator"):
        for image_id in range(3):
            assert index.search(features.rows[image_id : image_id + 1], 1)[0].tolist() == [[image_id]]
        index.remove([0])
        assert index.search(features.rows[:1], 20)[0].min() == -1
    assert [record.message for record in caplog.records] == [
        "The GPU cannot serve searches (out of memory); the CPU index serves them from now on."
    ]


def test_the_gpu_serves_an_unchanged_index_and_never_an_old_copy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copies = []

    def clone(resources: Any, device: int, index: Any) -> Any:
        copies.append(faiss.clone_index(index))
        return copies[-1]

    fake_gpu(monkeypatch, clone)
    features = Features(20)
    index = make_full(features, gpu_settle_seconds=0)
    for _ in range(3):
        assert index.search(features.rows[:1], 1)[0].tolist() == [[0]]
    assert len(copies) == 1
    index.remove([0])
    assert index.search(features.rows[:1], 1)[0].tolist() != [[0]]
    assert len(copies) == 2
    assert caplog.records == []


def test_an_index_that_keeps_changing_is_not_copied_to_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    fake_gpu(monkeypatch, lambda resources, device, index: copies.append(index))
    features = Features(20)
    index = make_full(features, gpu_settle_seconds=3_600)
    assert index.search(features.rows[:1], 1)[0].tolist() == [[0]]
    never = make_full(features, gpu_settle_seconds=0, use_gpu="never")
    assert never.search(features.rows[:1], 1)[0].tolist() == [[0]]
    assert copies == []


def without_faiss(name: str) -> Any:
    raise ImportError(f"No module named {name!r}")


def pretend_installed(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in packages:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(faiss_backend, "version", version)


def test_missing_faiss_is_one_sentence_that_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, {})
    monkeypatch.setattr("annotator.retrieval.faiss_backend.importlib.import_module", without_faiss)
    with pytest.raises(RetrievalError, match=r"annotator\[cpu\].*annotator\[gpu\]"):
        make_index(Features(1))
    described = describe_faiss()
    assert described["version"] is None
    assert "not installed" in described["problem"]


def test_faiss_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, {"faiss-gpu": "1.15.1"})
    monkeypatch.setattr("annotator.retrieval.faiss_backend.importlib.import_module", without_faiss)
    with pytest.raises(RetrievalError, match=r"faiss-gpu 1\.15\.1 cannot be imported"):
        load_faiss()


def test_both_faiss_packages_at_once_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.0"})
    described = describe_faiss()
    assert described["packages"] == {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.0"}
    assert "pip uninstall faiss-cpu faiss-gpu" in described["problem"]


def test_an_intact_faiss_has_no_problem() -> None:
    described = describe_faiss()
    assert described["problem"] is None
    assert described["version"] == faiss.__version__
    assert len(described["packages"]) == 1
    assert described["num_gpus"] == faiss.get_num_gpus()


def test_faiss_has_one_home() -> None:
    root = Path(faiss_backend.__file__).parent.parent.parent
    folders = [root / name for name in ("annotator", "models", "trainer", "datasets")]
    found = [path for folder in folders for path in folder.rglob("*.py") if "import faiss" in path.read_text()]
    assert [path.name for path in found if 'import_module("faiss")' not in path.read_text()] == []
    assert sum('import_module("faiss")' in p.read_text() for f in folders for p in f.rglob("*.py")) == 1


@pytest.mark.parametrize("changed", [{}, EXHAUSTIVE], ids=["exact", "inverted file"])
def test_an_index_is_brought_to_the_images_it_shall_hold(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    features = Features(400)
    index = make_full(features, **changed)
    index.remove([390, 391])
    monkeypatch.setattr(vector_index, "train_inverted_file", lambda *arguments, **options: pytest.fail("trained anew"))
    wanted = np.r_[0:380, 385:395]
    version = index.version
    index.hold_only(wanted)
    assert index.image_ids().tolist() == wanted.tolist()
    assert index.version > version
    for image_id in (0, 390, 393):
        assert index.search(features.rows[image_id : image_id + 1], 1)[0].tolist() == [[image_id]]
    version = index.version
    index.hold_only(wanted)
    assert index.version == version


def test_an_empty_index_of_many_images_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, trained = Features(400), []
    train = vector_index.train_inverted_file

    def counted(*arguments: Any, **options: Any) -> Any:
        trained.append(len(arguments[1]))
        return train(*arguments, **options)

    monkeypatch.setattr(vector_index, "train_inverted_file", counted)
    settings = VectorIndexSettings(**EXHAUSTIVE)
    index = VectorIndex(SIZE, settings, features.vectors, tag="test 1")
    index.hold_only(np.arange(400))
    assert len(index) == 400
    assert len(trained) == 1
    index.hold_only([])
    assert len(index) == 0


def building(features: Features, monkeypatch: pytest.MonkeyPatch, goes_on: threading.Event) -> VectorIndex:
    """An index whose build was begun beside its caller, and goes on after the event."""
    train = vector_index.train_inverted_file

    def waiting(*arguments: Any, **options: Any) -> Any:
        assert goes_on.wait(60)
        return train(*arguments, **options)

    monkeypatch.setattr(vector_index, "train_inverted_file", waiting)
    index = VectorIndex(SIZE, VectorIndexSettings(**EXHAUSTIVE), features.vectors, tag="test 1")
    index.hold_only(np.arange(400), waits=False)
    return index


@pytest.mark.parametrize("begins_late", [False, True])
def test_a_build_beside_its_caller_is_waited_for_by_readers_alone(
    monkeypatch: pytest.MonkeyPatch, begins_late: bool
) -> None:
    features, goes_on, begins = Features(410), threading.Event(), threading.Event()
    if begins_late:
        monkeypatch.setattr(vector_index, "lower_priority", lambda: begins.wait(60))
    index = building(features, monkeypatch, goes_on)
    index.add(np.arange(400, 410), features.rows[400:])  # changes do not wait
    index.remove([7])
    begins.set()
    read: dict[str, Any] = {}
    readers = [
        threading.Thread(target=lambda: read.update(near=index.search(features.rows[405:406], 1)[0].tolist())),
        threading.Thread(target=lambda: read.update(ids=index.image_ids().tolist())),
        threading.Thread(target=lambda: read.update(num=len(index), kind=index.kind)),
    ]
    for reader in readers:
        reader.start()
    readers[0].join(0.2)
    assert read == {}
    goes_on.set()
    for reader in readers:
        reader.join(60)
    assert read == {"near": [[405]], "ids": [*range(7), *range(8, 410)], "num": 409, "kind": "inverted file"}


def test_a_build_that_is_stopped_is_not_waited_for_and_no_empty_index(monkeypatch: pytest.MonkeyPatch) -> None:
    features, goes_on = Features(400), threading.Event()
    index = building(features, monkeypatch, goes_on)
    refused: list[str] = []

    def read() -> None:
        try:
            index.save(Path("nowhere"))
        except RetrievalError as error:
            refused.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    assert not index.stop()  # the build still waits
    reader.join(60)
    assert refused == ["The index could not be built: the program ends"]
    goes_on.set()
    with pytest.raises(RetrievalError, match="the program ends"):
        index.search(features.rows[:1], 1)


def test_an_index_that_is_whole_can_be_written_after_it_is_stopped(tmp_path: Path) -> None:
    features = Features(400)
    index = VectorIndex(SIZE, VectorIndexSettings(**EXHAUSTIVE), features.vectors, tag="test 1")
    index.hold_only(np.arange(400))
    assert index.stop()
    index.save(tmp_path / "index.faiss")
    assert (tmp_path / "index.faiss").exists()


def test_a_build_beside_its_caller_that_fails_is_no_empty_index(monkeypatch: pytest.MonkeyPatch) -> None:
    features, goes_on = Features(400), threading.Event()
    index = building(features, monkeypatch, goes_on)
    features.rows[3, 0] = np.nan
    goes_on.set()
    with pytest.raises(RetrievalError, match="could not be built: A feature holds a value that is not finite"):
        index.search(features.rows[:1], 1)
    with pytest.raises(RetrievalError, match="could not be built"):
        index.save(Path("nowhere"))
