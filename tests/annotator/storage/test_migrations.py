from pathlib import Path

import duckdb
import pytest

from annotator.errors import ProjectError
from annotator.storage import migrations
from annotator.storage.database import Store
from annotator.storage.migrations import MIGRATIONS, NEWEST_VERSION, migrate


def test_each_migration_is_applied_once_and_noted(tmp_path: Path) -> None:
    store = Store(tmp_path / "project.duckdb")
    assert store.migrated == [version for version, _, _ in MIGRATIONS]
    noted = store.rows("SELECT version, name FROM migrations ORDER BY version")
    assert noted == [(version, name) for version, name, _ in MIGRATIONS]
    store.close()
    again = Store(tmp_path / "project.duckdb")
    assert again.migrated == []
    again.close()


def test_versions_are_ascending() -> None:
    versions = [version for version, _, _ in MIGRATIONS]
    assert versions == sorted(set(versions))
    assert versions[-1] == NEWEST_VERSION


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "project.duckdb"
    Store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (?, 'of the future', now()::TIMESTAMP)", [NEWEST_VERSION + 1])
    with pytest.raises(ProjectError, match=rf"schema {NEWEST_VERSION + 1}, newer than .* Update annotator"):
        Store(path)
    with duckdb.connect(str(path)) as connection:  # not left open by the refusal
        assert connection.execute("SELECT max(version) FROM migrations").fetchone() == (NEWEST_VERSION + 1,)


def test_a_failing_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "project.duckdb"
    Store(path).close()
    following = (NEWEST_VERSION + 1, "broken", ("CREATE TABLE half (a INTEGER)", "CREATE TABLE half (a INTEGER)"))
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, following))
        patch.setattr(migrations, "NEWEST_VERSION", NEWEST_VERSION + 1)
        with pytest.raises(ProjectError):
            Store(path)
    with duckdb.connect(str(path)) as connection:
        assert migrate(connection) == []
        assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchone() == (0,)
