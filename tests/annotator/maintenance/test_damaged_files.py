"""One flipped bit in any file of a project, or any file cut: opened as it was, reported, or refused; never wrong.

Left out are thumbnails, which are pictures that are made again, and the address of a server, which the server has to
confirm.
"""

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from annotator.errors import AnnotatorError
from annotator.learning.job import read_trained
from annotator.maintenance.integrity import check
from annotator.maintenance.recovery import recover
from annotator.models import checkpoint
from annotator.retrieval.faiss_backend import load_faiss
from annotator.retrieval.index_file import IndexHeader, write_index_file
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.digested_json import with_digest
from annotator.storage.features import FeatureStore
from annotator.storage.images import ImageEntry, IngestedBatch
from annotator.storage.project import Project

pytestmark = pytest.mark.integration  # a process that is killed

LABEL, FEATURE_SIZE, NUM_IMAGES = "efficientnet_lite0-579344248a93-p1", 1280, 6
NUM_IN_FILE = 5


@dataclass
class Seen:
    """What a project holds, and what is said of it."""

    values: list[Any]
    findings: list[str]


def see(folder: Path) -> Seen:
    project = Project.open(folder)
    store = Store(project.database_path)
    try:
        findings = [finding.what for finding in check(project, store)]
        names = [name for (name,) in store.rows("SELECT table_name FROM duckdb_tables() ORDER BY table_name")]
        tables = [sorted(store.rows(f"SELECT * FROM {name}"), key=str) for name in names]
        features = FeatureStore(project.features_path, LABEL, FEATURE_SIZE, store.images.feature_rows(LABEL))
        vectors = features.vectors(features.image_ids()).tobytes()
    finally:
        store.close()
    mine = project.checkpoints_path / "mine"
    try:
        about: Any = checkpoint.read_info(mine), read_trained(mine)
    except AnnotatorError:
        about = "refused"
    return Seen([project.settings, names, tables, vectors, about], findings)


def save(store: Store, first: int, num: int) -> None:
    log = CorrectionLog(store)
    for number in range(first, first + num):
        image_id = 1 + number % NUM_IMAGES
        revision = log.annotation(image_id).revision
        tags = [f"tag {number}", "cat"]
        log.save(image_id, revision=revision, tags=tags, dropped=(), user_name="anna", effort=Effort(seconds=1.5))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything in it, whose process was killed."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    project = Project.open_or_create(folder, "test")
    store = Store(project.database_path)
    entries = [(n, ImageEntry(f"{n:064x}", 640, 480, "JPEG")) for n in range(1, NUM_IMAGES + 1)]
    store.images.add(IngestedBatch(images=entries))
    features = FeatureStore(project.features_path, LABEL, FEATURE_SIZE)
    vectors = np.random.default_rng(0).random((NUM_IMAGES, FEATURE_SIZE), np.float32)
    pairs = list(zip(range(1, NUM_IMAGES + 1), features.append(vectors), strict=True))
    store.images.add(IngestedBatch(backbone=LABEL, feature_rows=pairs))
    save(store, 0, NUM_IN_FILE)
    store.close()
    faiss = load_faiss()
    index, ids = faiss.IndexIDMap(faiss.IndexFlatIP(FEATURE_SIZE)), np.arange(1, NUM_IMAGES + 1)
    index.add_with_ids(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ids)
    write_index_file(
        project.indexes_path / f"{LABEL}.faiss", IndexHeader(LABEL, FEATURE_SIZE, 0, NUM_IMAGES), ids, faiss, index
    )
    mine = project.checkpoints_path / "mine"
    shutil.copytree(checkpoint.find("starter/zero_shot"), mine)
    (mine / "trained_on.json").write_text(json.dumps(with_digest({f"{n:064x}": n for n in range(3)})))
    network = os.urandom(3_000)
    project.backbones_path.mkdir()
    name = f"backbone-{hashlib.sha256(network).hexdigest()[:12]}.safetensors"
    (project.backbones_path / name).write_bytes(network)
    (project.models_path / "word_vectors").mkdir(parents=True)
    (project.models_path / "word_vectors" / "vectors.npy").write_bytes(network)
    digests = {"word_vectors/vectors.npy": hashlib.sha256(network).hexdigest()}
    (project.models_path / "digests.json").write_text(json.dumps(digests))
    project.update_settings(least_probability=0.07, never_proposed=("dog",))
    pid = os.fork()
    if not pid:
        try:
            save(Store(project.database_path), NUM_IN_FILE, 5)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return folder


def copy_of(folder: Path) -> Path:
    copy = folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    return copy


FILES = (
    "project.duckdb", "project.duckdb.wal", "project.duckdb.note", "settings.json", f"features/{LABEL}.f32",
    f"features/{LABEL}.digests", f"indexes/{LABEL}.faiss", "checkpoints/mine/tagger.json",
    "checkpoints/mine/weights", "checkpoints/mine/trained_on.json", "backbones/backbone",
    "models/word_vectors/vectors.npy", "models/digests.json",
)  # fmt: skip
"""Files of a project, or the beginning of their names."""


def test_the_files_are_all_there_are(whole: Path) -> None:
    present = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    others = {name for name in present if not name.startswith(FILES)}
    assert others <= {"checkpoints/mine/split.json", "checkpoints/mine/training.json"}  # nothing reads them
    assert see(copy_of(whole)).findings == []


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(FILES), share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cuts=st.booleans())
@example(name="settings.json", share=0.99, bit=0, cuts=False)
@example(name="project.duckdb", share=0.0, bit=0, cuts=True)
@example(name="project.duckdb.wal", share=0.0, bit=0, cuts=True)
@example(name="project.duckdb.wal", share=0.5, bit=3, cuts=False)
@example(name=f"features/{LABEL}.f32", share=0.5, bit=3, cuts=False)
def test_a_damaged_file_is_never_silently_wrong(whole: Path, name: str, share: float, bit: int, cuts: bool) -> None:
    expected = see(copy_of(whole))
    copy = copy_of(whole)
    (path,) = copy.glob(f"{name}*") if not (copy / name).is_file() else [copy / name]
    data = path.read_bytes()
    place = int(share * len(data))
    path.write_bytes(data[:place] if cuts else data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
    found = seen_or_refused(copy)
    if isinstance(found, Seen):
        assert found.findings != expected.findings or found.values == expected.values
        return
    if not name.startswith("project.duckdb"):
        return
    # What is recovered is a beginning of the log, and at least what the database file held.
    with contextlib.suppress(AnnotatorError):
        recover(Project.open(copy))
    found = seen_or_refused(copy)
    if isinstance(found, Seen) and found.findings == []:
        events = dict(zip(found.values[1], found.values[2], strict=True))["events"]
        assert sorted(row[0] for row in events) == list(range(1, len(events) + 1))
        assert len(events) >= NUM_IN_FILE


def seen_or_refused(folder: Path) -> Seen | str:
    """What a project holds, or the one sentence that refuses it; any other error is raised."""
    try:
        return see(folder)
    except AnnotatorError as error:
        sentence = str(error)
    assert "\n" not in sentence
    return sentence
