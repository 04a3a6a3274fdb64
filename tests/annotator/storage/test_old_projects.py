"""Projects of every released schema open, and the original database is kept; see old_projects/make.py."""

import gzip
import hashlib
import io
import json
import logging
import tarfile
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest

from annotator.collaboration.responses import Responses
from annotator.errors import ProjectError
from annotator.maintenance.backup import Manifest, Member, restore
from annotator.maintenance.integrity import check
from annotator.storage import database as store_module
from annotator.storage import migrations
from annotator.storage.correction_log import CorrectionLog, Draft, Effort
from annotator.storage.database import Store
from annotator.storage.migrations import MIGRATIONS, NEWEST_VERSION, copy_path
from annotator.storage.project import Project

OLD = {
    "schema_1": [1],
    "schema_1_and_5": [1, 5],
    "schema_2": [1, 2],
    "schema_3": [1, 2, 3],
    "schema_4": [1, 2, 3, 4],
    "schema_5": [1, 2, 3, 4, 5],
    "schema_6": [1, 2, 3, 4, 5, 6],
    "schema_7": [1, 2, 3, 4, 5, 6, 7],
    "schema_8": [1, 2, 3, 4, 5, 6, 7, 8],
    "schema_9": [1, 2, 3, 4, 5, 6, 9],
    "schema_10": [1, 2, 3, 4, 5, 6, 10],
    "schema_11": [1, 2, 3, 4, 5, 6, 11],
    "schema_12": [1, 2, 3, 4, 5, 6, 12],
    "schema_13": [1, 2, 3, 4, 5, 6, 9, 10, 13],
    "schema_14": [1, 2, 3, 4, 5, 6, 14],
    "schema_15": [1, 2, 3, 4, 5, 6, 15],
}
"""Fixture -> the versions it has."""
CAME_WITH = {
    2: ("detections",),
    3: ("selections",),
    4: ("models", "training_runs", "model_changes", "tag_changes"),
    5: ("users", "sessions", "api_tokens", "assignments"),
    9: ("bulk_changes", "bulk_change_photos", "sidecars"),
    10: ("vision_answers", "vocabulary"),
    11: ("webhooks",),
    13: ("field_values", "bulk_change_fields"),
}


def old_project(name: str, folder: Path) -> Project:
    project = Project.open_or_create(folder / "project", "holiday")
    packed = Path(__file__).parent / "old_projects" / f"{name}.duckdb.gz"
    project.database_path.write_bytes(gzip.decompress(packed.read_bytes()))
    return project


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("name", OLD)
def test_a_project_of_an_old_schema_opens_with_all_that_is_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    project = old_project(name, tmp_path)
    before = ask(project.database_path, "SELECT * FROM events ORDER BY event_id")
    with caplog.at_level(logging.WARNING):
        store = Store(project.database_path)
    try:
        assert store.migrated == [version for version, _, _ in MIGRATIONS if version not in OLD[name]]
        columns = "*" if 14 in OLD[name] else "* EXCLUDE (digest)"
        assert store.rows(f"SELECT {columns} FROM events ORDER BY event_id") == before
        log = CorrectionLog(store)
        assert dict(log.saved()) == {1: ("sofa", "cat", "caf\u00e9"), 2: ("rocket",)}
        assert log.draft(3, "anna") == Draft(0, ("half",))
        assert log.skipped() == [3]
        for version in set(OLD[name]) & set(CAME_WITH):
            for table in CAME_WITH[version]:
                assert store.rows(f"SELECT count(*) FROM {table}") == [(1,)], table
        # The features of the photos are not in the fixture. Otherwise only schema 7 has a finding, the changed photo.
        others = [finding.what for finding in check(project, store) if "features" not in finding.what]
        changed = ["The pixels of image 1 (chelsea.png) have changed"] if 7 in OLD[name] else []
        assert [what.partition(" since ")[0] for what in others] == changed
        saved = log.save(3, revision=0, tags=["fish"], dropped=(), user_name="ben", effort=Effort())
        assert saved.revision == 1
        assert log.undo("anna")[0].image_id == 2
        assert log.annotation(2).tags == ()
    finally:
        store.close()
    kept = copy_path(project.database_path, max(OLD[name]))
    if store.migrated:
        assert ask(kept, "SELECT version FROM migrations ORDER BY version") == [(v,) for v in OLD[name]]
        assert ask(kept, "SELECT * FROM events ORDER BY event_id") == before
        assert f"from {max(OLD[name])} to {NEWEST_VERSION}" in caplog.text
        assert str(kept) in caplog.text
    else:
        assert not list(project.folder.glob("*schema*"))


def test_every_schema_is_kept_as_a_project() -> None:
    assert {version for versions in OLD.values() for version in versions} == {version for version, _, _ in MIGRATIONS}


def test_hierarchical_keywords_are_read_and_an_older_project_has_none(tmp_path: Path) -> None:
    for name, found in (("schema_8", ("animal|cat",)), ("schema_6", ())):
        (tmp_path / name).mkdir()
        store = Store(old_project(name, tmp_path / name).database_path)
        try:
            assert store.images.entry(1).hierarchies == found
        finally:
            store.close()


def test_answers_notes_and_accepted_lists_of_schema_6_are_read(tmp_path: Path) -> None:
    store = Store(old_project("schema_6", tmp_path).database_path)
    try:
        log = CorrectionLog(store)
        answers = Responses(store, log)
        assert [answers.state(image_id) for image_id in (1, 2, 3)] == ["accepted", None, "waiting"]
        assert log.annotation(1).user_name == "rita"
        assert answers.own_tags([1], "anna") == {1: ["sofa", "cat", "caf\u00e9"]}
        rows = [(row["user_name"], row["revision"], row["tags"]) for row in answers.response_rows(1)]
        assert rows == [
            ("anna", 2, ["sofa", "cat", "caf\u00e9"]), ("ben", 1, ["cat"]), ("ben", 2, ["cat", "caf\u00e9"]),
        ]  # fmt: skip
        decisions = [(row["verdict"], row["note"], row["people"]) for row in answers.review_rows(1)]
        assert decisions == [("sent_back", "And the caf\u00e9?", ["ben"]), ("accepted", "", ["anna"])]
        note = answers.note(3, "ben")
        assert note is not None
        assert (note.user_name, note.text) == ("rita", "Which fish?")
        given = answers.give(3, "ben", revision=1, tags=["trout"], dropped=(), effort=Effort())
        assert (given.revision, answers.state(3)) == (2, "in_review")
    finally:
        store.close()


def test_a_project_that_is_up_to_date_or_new_is_not_copied(tmp_path: Path) -> None:
    for _ in range(2):
        Store(tmp_path / "project.duckdb").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project.duckdb", "project.duckdb.note"]


def test_the_copy_holds_what_a_killed_process_left_beside_the_file(tmp_path: Path) -> None:
    project = old_project("schema_1", tmp_path)
    path, log = project.database_path, project.database_path.with_suffix(".duckdb.wal")
    with duckdb.connect(str(path)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO roots VALUES (2, '/late')")
    assert log.stat().st_size > 0
    Store(path).close()
    assert ("/late",) in ask(copy_path(path, 1), "SELECT path FROM roots")


def test_only_the_last_copy_is_kept(tmp_path: Path) -> None:
    project = old_project("schema_1", tmp_path)
    older = copy_path(project.database_path, 0)
    older.write_bytes(b"older")
    Store(project.database_path).close()
    assert [path.name for path in project.folder.glob("*schema*")] == ["project-schema-1.duckdb"]


def test_nothing_is_changed_where_no_copy_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = old_project("schema_1", tmp_path)

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(migrations.shutil, "copyfile", full)
        with pytest.raises(ProjectError, match=r"no copy could be kept .*No space left.* Nothing was changed\.$"):
            Store(project.database_path)
    assert ask(project.database_path, "SELECT version FROM migrations") == [(1,)]
    assert not list(project.folder.glob("*schema*"))
    Store(project.database_path).close()


def test_a_change_that_fails_names_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = old_project("schema_5", tmp_path)
    broken = (NEWEST_VERSION + 1, "broken", ("CREATE TABLE half (a INTEGER)", "CREATE TABLE half (a INTEGER)"))
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, broken))
        patch.setattr(migrations, "NEWEST_VERSION", broken[0])
        patch.setattr(store_module, "NEWEST_VERSION", broken[0])
        with pytest.raises(ProjectError, match=rf"from 5 to {broken[0]} .* kept in .*project-schema-5\.duckdb\.$"):
            Store(project.database_path)
    kept = copy_path(project.database_path, 5)
    assert ask(kept, "SELECT max(version) FROM migrations") == [(5,)]
    kept.replace(project.database_path)  # restores the original
    store = Store(project.database_path)
    assert len(store.rows("SELECT * FROM events")) == 6
    store.close()


def test_a_backup_of_an_old_schema_is_restored_without_a_further_copy(tmp_path: Path) -> None:
    database = old_project("schema_1", tmp_path).database_path.read_bytes()
    member = Member("project.duckdb", len(database), hashlib.sha256(database).hexdigest())
    manifest = Manifest(1, "0", "2026-01-01T00:00:00Z", 3, 2, 6, (member,))
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        for name, data in (("backup.json", json.dumps(asdict(manifest)).encode()), (member.path, database)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    restore(tmp_path / "old.tar", tmp_path / "restored")
    assert not list((tmp_path / "restored").glob("*schema*"))
    store = Store(tmp_path / "restored" / "project.duckdb")
    assert store.migrated == []
    store.close()


def test_answers_of_an_older_project_are_ordered_among_its_events_by_their_times(tmp_path: Path) -> None:
    project = old_project("schema_6", tmp_path)
    before = ask(
        project.database_path,
        "SELECT answer_id, (SELECT count(*) FROM events e WHERE e.created_at <= a.created_at) FROM answers a "
        "ORDER BY answer_id",
    )
    Store(project.database_path).close()
    after = ask(project.database_path, "SELECT answer_id, after_event FROM answers ORDER BY answer_id")
    assert after == before
    assert len(after) > 2
