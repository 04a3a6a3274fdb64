"""The check finds each kind of damage, and repairs what follows from the log or can be computed again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.answers import Answers
from annotator.check import check, repair
from annotator.correction_log import CorrectionLog, Effort
from annotator.models.pretrained import find_architecture
from annotator.project import Project
from annotator.store import IngestedBatch, Store

LABEL = "efficientnet_lite0-1"
SIZE = find_architecture("efficientnet_lite0").feature_size


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open_or_create(tmp_path / "project", "checked")


@pytest.fixture
def store(project: Project, make_store: Callable[..., Store]) -> Store:
    store = make_store(path=project.database_path)
    np.ones((3, SIZE), "<f4").tofile(project.features_path / f"{LABEL}.f32")
    store.add_batch(IngestedBatch(backbone=LABEL, feature_rows=[(1, 0), (2, 1), (3, 2)]))
    log = CorrectionLog(store)
    for revision, tags in enumerate((["cat"], ["cat", "sofa"])):
        log.save(1, revision=revision, tags=tags, dropped=["dog"], user_name="anna", effort=Effort())
    log.skip(2, "anna")
    log.save(3, revision=0, tags=["rocket"], dropped=[], user_name="ben", effort=Effort())
    log.undo("ben")
    answers = Answers(store, log)
    answers.ask([2], 2, [], "rita")
    for revision, tags in enumerate((["sea"], ["sea", "sky"])):
        answers.give(2, "anna", revision=revision, tags=tags, dropped=[], effort=Effort())
    return store


def change(store: Store, *statements: str) -> None:
    with store.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_sound_project_has_no_findings(project: Project, store: Store) -> None:
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
    assert check(project, store) == findings  # looking changes nothing
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
    "a question is missing": ("DELETE FROM asked", "2 rows of answers are of images that are not asked"),
    "an image is missing": ("DELETE FROM images WHERE image_id = 2", "1 rows of events"),
}


@pytest.mark.parametrize("damage", LOST)
def test_damage_to_the_log_itself_is_found_and_not_papered_over(project: Project, store: Store, damage: str) -> None:
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
    assert sorted(store.feature_rows(LABEL)) == [(1, 0), (3, 2)]
    path.unlink()
    assert ["2 features" in finding.what for finding in check(project, store)] == [True]
    assert repair(project, store) == []
    assert store.feature_rows(LABEL) == []


def test_a_checkpoint_with_other_weights_than_it_names_is_found(project: Project, store: Store) -> None:
    folder = project.checkpoints_path / "mine"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "tagger.json").write_text(json.dumps({"weights": {"file": "weights.safetensors", "sha256": "0" * 64}}))
    (project.checkpoints_path / "other").mkdir()
    (project.checkpoints_path / "other" / "tagger.json").write_text("{")
    words = [finding.what for finding in check(project, store)]
    assert len(words) == 2
    assert "another hash" in words[0]
    assert "cannot be read" in words[1]
