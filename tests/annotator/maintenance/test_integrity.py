"""The check finds each kind of damage, and repairs what can be derived from the log or computed again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.collaboration.responses import Responses
from annotator.exchange.selection import SAVED_PHOTOS, select
from annotator.maintenance.integrity import check, repair
from annotator.models.backbones.pretrained import find_architecture
from annotator.models.checkpoint import find as find_checkpoint
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore, Vectors, digests_path
from annotator.storage.images import IngestedBatch
from annotator.storage.photo_rows import photo_rows
from annotator.storage.project import Project

LABEL = "efficientnet_lite0-1"
SIZE = find_architecture("efficientnet_lite0").feature_size


def exported(store: Store) -> list[dict[str, Any]]:
    """Return the rows of an export of all saved photos."""
    return list(photo_rows(store, select(store, SAVED_PHOTOS)))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open_or_create(tmp_path / "project", "checked")


@pytest.fixture
def store(project: Project, make_store: Callable[..., Store]) -> Store:
    store = make_store(path=project.database_path)
    np.ones((3, SIZE), "<f4").tofile(project.features_path / f"{LABEL}.f32")
    store.images.add(IngestedBatch(backbone=LABEL, feature_rows=[(1, 0), (2, 1), (3, 2)]))
    log = CorrectionLog(store)
    for revision, tags in enumerate((["cat"], ["cat", "sofa"])):
        log.save(1, revision=revision, tags=tags, dropped=["dog"], user_name="anna", effort=Effort())
    log.skip(2, "anna")
    log.save(3, revision=0, tags=["rocket"], dropped=[], user_name="ben", effort=Effort())
    log.undo("ben")
    answers = Responses(store, log)
    answers.ask([2], 2, [], "rita")
    for revision, tags in enumerate((["sea"], ["sea", "sky"])):
        answers.give(2, "anna", revision=revision, tags=tags, dropped=[], effort=Effort())
    return store


def change(store: Store, *statements: str) -> None:
    with store.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_an_intact_project_has_no_findings(project: Project, store: Store) -> None:
    assert check(project, store) == []
    assert repair(project, store) == []


REPAIRABLE = {
    "other tags": ("UPDATE annotations SET tags = ['dog'] WHERE image_id = 1", "image 1"),
    "no annotation": ("DELETE FROM annotations WHERE image_id = 1", "image 1"),
    "an annotation of nobody": (
        "INSERT INTO annotations VALUES (2, 1, ['x'], [], true, 'eve', now()::TIMESTAMP, 9)",
        "image 2",
    ),
    "saved though undone": ("UPDATE annotations SET is_saved = true WHERE image_id = 3", "image 3"),
    "a draft of an unknown image": (
        "INSERT INTO drafts VALUES (77, 'anna', 0, [], [], now()::TIMESTAMP)",
        "1 rows of drafts",
    ),
    "a feature row beyond the file": ("UPDATE features SET feature_row = 900 WHERE image_id = 2", "1 features"),
}


@pytest.mark.parametrize("damage", REPAIRABLE)
def test_what_follows_from_the_log_is_found_and_repaired(project: Project, store: Store, damage: str) -> None:
    statement, words = REPAIRABLE[damage]
    change(store, statement)
    findings = check(project, store)
    assert [words in finding.what and finding.is_repairable for finding in findings] == [True]
    assert check(project, store) == findings  # a check changes nothing
    assert repair(project, store) == []
    log = CorrectionLog(store)
    assert (log.annotation(1).tags, log.annotation(1).dropped) == (("cat", "sofa"), ("dog",))
    assert (log.annotation(3).revision, log.annotation(3).is_saved) == (2, False)
    assert len(log.history(1)) == 2


LOST = {
    "an event is missing": ("DELETE FROM events WHERE event_id = 1", "from event 0 to event 2"),
    "an event was changed": ("UPDATE events SET before_tags = ['fish'] WHERE event_id = 2", "other tags"),
    "a revision was changed": ("UPDATE events SET revision = 7 WHERE event_id = 2", "does not follow"),
    "an answer is missing": (
        "UPDATE answers SET revision = 3 WHERE answer_id = 2",
        "answers of anna on image 2 have a gap",
    ),
    "an answer is there twice": ("UPDATE answers SET revision = 1", "answers of anna on image 2 have a gap"),
    "a question is missing": ("DELETE FROM asked", "2 rows of answers belong to images that nobody is asked"),
    "an image is missing": ("DELETE FROM images WHERE image_id = 2", "1 rows of events"),
}


@pytest.mark.parametrize("damage", LOST)
def test_damage_to_the_log_itself_is_found_and_not_repaired(project: Project, store: Store, damage: str) -> None:
    statement, words = LOST[damage]
    change(store, statement)
    assert [f for f in check(project, store) if words in f.what and not f.is_repairable]
    assert [f for f in repair(project, store) if words in f.what and not f.is_repairable]


def test_features_that_are_no_numbers_or_gone_are_computed_again(project: Project, store: Store) -> None:
    path = project.features_path / f"{LABEL}.f32"
    values = np.memmap(path, "<f4", "r+", shape=(3, SIZE))
    values[1, 5] = np.nan
    values.flush()
    assert ["1 features" in finding.what for finding in check(project, store)] == [True]
    assert repair(project, store) == []
    assert sorted(store.images.feature_rows(LABEL)) == [(1, 0), (3, 2)]
    path.unlink()
    assert ["2 features" in finding.what for finding in check(project, store)] == [True]
    assert repair(project, store) == []
    assert store.images.feature_rows(LABEL) == []


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    with open(path, "r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def feature_file(project: Project, store: Store, num: int = 3) -> FeatureStore:
    """The features of the fixture, written again by the program itself."""
    digests_path(project.features_path / f"{LABEL}.f32").unlink(missing_ok=True)
    features = FeatureStore(project.features_path, LABEL, SIZE)
    features.append(np.random.default_rng(0).normal(size=(num, SIZE)).astype(np.float32))
    features.commit((image_id, row) for image_id, row in store.images.feature_rows(LABEL))
    return features


def test_one_bit_of_a_feature_that_changed_is_found_and_it_is_computed_again(project: Project, store: Store) -> None:
    features = feature_file(project, store)
    assert check(project, store) == []
    flip(features.path, 4 * SIZE + 40)  # the lowest bit of a value of row 1
    assert np.isfinite(np.fromfile(features.path, "<f4")).all()
    assert ["1 features" in finding.what and finding.is_repairable for finding in check(project, store)] == [True]
    assert repair(project, store) == []
    assert sorted(store.images.feature_rows(LABEL)) == [(1, 0), (3, 2)]
    again = FeatureStore(project.features_path, LABEL, SIZE, store.images.feature_rows(LABEL))
    rows = again.append(np.ones((1, SIZE), np.float32))
    store.images.add(IngestedBatch(backbone=LABEL, feature_rows=[(2, rows[0])]))
    assert check(project, store) == []


@pytest.mark.parametrize("by", ["repair", "append"])
def test_features_without_digests_count_as_unchanged_until_they_get_them(
    project: Project, store: Store, by: str
) -> None:
    path = project.features_path / f"{LABEL}.f32"
    flip(path, 40)
    assert check(project, store) == []  # as before: nobody knows what was written
    if by == "repair":
        repair(project, store)
    else:
        FeatureStore(project.features_path, LABEL, SIZE, store.images.feature_rows(LABEL)).append(
            np.ones((1, SIZE), "<f4")
        )
    assert check(project, store) == []
    flip(path, 8 * SIZE + 40)
    assert ["1 features" in finding.what for finding in check(project, store)] == [True]


SETTINGS = {
    "exact": VectorIndexSettings(),
    "inverted file": VectorIndexSettings(exact_below=10, num_lists=4, projected_size=16, num_build_threads=1),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_saved_index_is_compared_with_the_features(project: Project, store: Store, kind: str) -> None:
    image_ids = list(range(1, 601))
    store.images.add(IngestedBatch(backbone=LABEL, feature_rows=[(i, i - 1) for i in image_ids[3:]]))
    features = feature_file(project, store, 600)
    path = project.indexes_path / f"{LABEL}.faiss"

    def save(image_ids: list[int], vectors: Vectors) -> None:
        index = VectorIndex(SIZE, SETTINGS[kind], lambda ids: vectors[ids - 1], tag=LABEL)
        index.rebuild(image_ids)
        assert index.kind == kind
        index.save(path)

    def found() -> list[str]:
        findings = check(project, store)
        assert all(finding.is_repairable for finding in findings)
        return [finding.what for finding in findings]

    vectors = features.vectors(image_ids)
    save(image_ids[:-50], vectors)
    assert found() == []  # the rest came later, and is added when the project is opened
    flip(path, path.stat().st_size // 2)
    assert ["checksum" in what for what in found()] == [True]
    save([*image_ids, 601], np.concatenate([vectors, vectors[:1]]))
    assert ["1 photos that have no features" in what for what in found()] == [True]
    save(image_ids, np.roll(vectors, 1, axis=0))
    assert ["other features than the project" in what for what in found()] == [True]
    assert repair(project, store) == []
    assert not path.exists()


def test_photos_are_read_and_compared_only_when_asked_for(
    run_command: Callable[..., Any], write_photos: Callable[..., Any], open_project: Callable[..., Any], tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", range(1, 4))
    opened = open_project(tmp_path / "photos")
    try:
        assert check(opened.workspace.project, opened.workspace.store, reads_photos=True) == check(
            opened.workspace.project, opened.workspace.store
        )
        flip(photos[0], photos[0].stat().st_size - 20)
        photos[1].unlink()
        words = [finding.what for finding in check(opened.workspace.project, opened.workspace.store, reads_photos=True)]
        assert words[-2:] == [
            f"The photo {photos[0]} has changed since it was added: its pixels are others.",
            f"The photo {photos[1]} is gone: deleted, or moved out of the project's folders.",
        ]
        assert len(check(opened.workspace.project, opened.workspace.store)) == len(words) - 2
    finally:
        opened.close()
    told = run_command("check", opened.workspace.project.folder, "--photos")
    assert f"needs a backup   The photo {photos[0]} has changed since" in told.stdout


def test_a_photo_that_another_program_wrote_into_is_not_damaged(
    write_photos: Callable[..., Any], open_project: Callable[..., Any], tmp_path: Path
) -> None:
    first, *_ = write_photos(tmp_path / "photos", range(2))
    opened = open_project(tmp_path / "photos").workspace
    data = first.read_bytes()
    first.write_bytes(data[:2] + b"\xff\xfe\x00\x07hello" + data[2:])
    written, *others = check(opened.project, opened.store, reads_photos=True)
    assert "written into 1 photos" in written.what
    assert (written.is_damage, others) == (False, [])
    opened.ingest.run([tmp_path / "photos"])
    assert check(opened.project, opened.store, reads_photos=True) == []


def test_a_photo_that_changed_after_it_was_tagged_is_named_by_page_check_and_export(
    write_photos: Callable[..., Any],
    open_project: Callable[..., Any],
    photo_bytes: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    first, *_ = write_photos(tmp_path / "photos", range(2))
    session = open_project(tmp_path / "photos")
    opened = session.workspace
    for image_id in (1, 2):
        opened.log.save(image_id, revision=0, tags=["cat"], dropped=[], user_name="local", effort=Effort())
    before = session.navigation.open("local", 1)
    first.write_bytes(photo_bytes(9))
    opened.ingest.run([tmp_path / "photos"])
    assert [row["changed"] for row in exported(opened.store)] == [True, False]
    (finding,) = check(opened.project, opened.store, reads_photos=True)
    assert "image 1 (photo 0.jpg) have changed" in finding.what
    assert not finding.is_damage
    after = session.navigation.open("local", 1)
    assert after["changed_at"] is not None
    assert (after["saved"], after["file_name"]) == (["cat"], "photo 0.jpg")
    assert after["image_url"] != before["image_url"]
    assert session.navigation.state("local")["states"]["changed"] == 1
    assert [item["image_id"] for item in session.navigation.browse("local", 0, 9, "", "changed")["items"]] == [1]
    # Saved again, it is a photo like the others.
    opened.log.save(1, revision=1, tags=["dog"], dropped=[], user_name="local", effort=Effort())
    assert [row["changed"] for row in exported(opened.store)] == [False, False]
    assert check(opened.project, opened.store, reads_photos=True) == []
    assert session.navigation.open("local", 1)["changed_at"] is None


def test_a_folder_that_is_away_is_no_damage_and_exports_are_marked(
    write_photos: Callable[..., Any], open_project: Callable[..., Any], tmp_path: Path
) -> None:
    photos, away = tmp_path / "photos", tmp_path / "away"
    first, *_ = write_photos(photos, range(3))
    session = open_project(photos)
    opened = session.workspace
    for image_id in (1, 2, 3):
        opened.log.save(image_id, revision=0, tags=["cat"], dropped=[], user_name="local", effort=Effort())

    def places() -> list[tuple[str, str, str]]:
        return [(row["root"], row["image"], row["file"]) for row in exported(opened.store)]

    photos.rename(away)
    for is_empty in (False, True):
        if is_empty:
            photos.mkdir()
        assert places() == [(str(photos), f"photo {number}.jpg", "not mounted") for number in range(3)]
        (finding,) = check(opened.project, opened.store, reads_photos=True)
        assert f"{photos} is missing or empty, so 3 photos" in finding.what
        assert not finding.is_damage
        opened.ingest.run([photos])
        assert session.navigation.state("local")["ingest"]["not_mounted"][0]["num_photos"] == 3
    # At its new place: that one is named, and nothing is said of the old one.
    opened.ingest.run([away])
    (away / first.name).unlink()
    assert places() == [
        (str(photos), "photo 0.jpg", "not mounted"), (str(away), "photo 1.jpg", "present"),
        (str(away), "photo 2.jpg", "present"),
    ]  # fmt: skip
    opened.ingest.run([away, photos])
    assert session.navigation.open("local", 2)["paths"][0] in (str(photos / "photo 1.jpg"), str(away / "photo 1.jpg"))


def test_a_checkpoint_with_other_weights_than_it_names_is_found(project: Project, store: Store) -> None:
    folder = project.checkpoints_path / "mine"
    shutil.copytree(find_checkpoint("starter/zero_shot"), folder)
    assert check(project, store) == []
    (weights,) = folder.glob("weights-*")
    weights.write_bytes(weights.read_bytes() + b"x")
    (project.checkpoints_path / "other").mkdir()
    (project.checkpoints_path / "other" / "tagger.json").write_text("{")
    words = [finding.what for finding in check(project, store)]
    assert len(words) == 2
    assert "another hash" in words[0]
    assert "cannot be read" in words[1]
