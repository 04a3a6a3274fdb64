"""A project's database may come from somebody else."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from annotator.errors import ProjectError, StoreError
from annotator.storage.database import SNAPSHOT_PREFIX, Store, read_parquet

MakeStore = Callable[..., Store]

OBJECTS = {
    "view": "CREATE VIEW more AS SELECT 1",
    "function": "CREATE MACRO len(x) AS 5",
    "schema": "CREATE SCHEMA other",
    "sequence": "CREATE SEQUENCE numbers",
    "type": "CREATE TYPE colour AS ENUM ('red')",
    "index": "CREATE INDEX by_width ON images (width)",
    "trigger": "CREATE TRIGGER hit AFTER INSERT ON drafts FOR EACH STATEMENT INSERT INTO roots VALUES (9, '/etc')",
}
TABLES = {
    "other columns": "ALTER TABLE images ADD COLUMN extra VARCHAR",
    "other default": "ALTER TABLE events ALTER COLUMN tagger SET DEFAULT upper('x')",
    "one more": "CREATE TABLE more (a INTEGER)",
    "one fewer": "DROP TABLE vocabulary",
    "no list of migrations": "DROP TABLE migrations",
}


def view_of_a_file(secret: Path) -> list[str]:
    """Return statements that put a view that reads a file in the place of the photos' table."""
    return [
        "ALTER TABLE images RENAME TO photos",
        f"CREATE VIEW images AS SELECT * REPLACE (r.content AS caption) FROM photos, read_text('{secret}') r",
    ]


def make_database(path: Path, *statements: str) -> Path:
    Store(path).close()
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside the project."""
    path = tmp_path / "secret.txt"
    path.write_text("the password")
    return path


@pytest.mark.parametrize("kind", OBJECTS)
def test_anything_but_a_table_is_refused(tmp_path: Path, kind: str) -> None:
    path = make_database(tmp_path / "project.duckdb", OBJECTS[kind])
    with pytest.raises(ProjectError, match=rf"holds the {kind} '\w+', which no project has"):
        Store(path)


@pytest.mark.parametrize("change", TABLES)
def test_tables_that_are_not_ours_are_refused(tmp_path: Path, change: str) -> None:
    path = make_database(tmp_path / "project.duckdb", TABLES[change])
    with pytest.raises(ProjectError, match=r"The database .* holds (no table|the table) .*it is not opened"):
        Store(path)


def test_a_view_that_reads_a_file_in_place_of_a_table_is_refused(tmp_path: Path, secret: Path) -> None:
    path = make_database(tmp_path / "project.duckdb", *view_of_a_file(secret))
    with pytest.raises(ProjectError, match="holds the view 'images', which no project has"):
        Store(path)


def test_statements_reach_no_file_outside_the_folder_of_the_database(make_store: MakeStore, secret: Path) -> None:
    (secret.parent / "inside").mkdir()
    store = make_store(1, secret.parent / "inside" / "project.duckdb")
    for query in (f"SELECT * FROM read_text('{secret}')", f"SELECT * FROM '{secret}'", f"COPY roots TO '{secret}'"):
        with pytest.raises(StoreError, match=r"disabled by configuration|does not exist"):
            store.rows(query)
    link = secret.parent / "inside" / "link.txt"
    link.symlink_to(secret)
    for query in (f"SELECT * FROM read_text('{link}')", f"ATTACH '{secret.parent / 'other.duckdb'}' AS other"):
        with pytest.raises(StoreError, match="disabled by configuration"):
            store.rows(query)
    assert secret.read_text() == "the password"


@pytest.mark.parametrize(
    "statement",
    ["INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "SET allowed_directories = ['/']",
     "SET autoload_known_extensions = true", "SET lock_configuration = false"],
)  # fmt: skip
def test_the_limits_cannot_be_lifted_and_no_extension_is_loaded(make_store: MakeStore, statement: str) -> None:
    store = make_store(1)
    with pytest.raises(StoreError, match=r"locked|disabled"):
        store.rows(statement)


def test_every_limit_is_set(make_store: MakeStore) -> None:
    """Some of them forbid the same thing: each is looked at by itself, since another version may lift one of them."""
    wanted = {
        "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
        "allow_community_extensions": "false", "allow_persistent_secrets": "false",
        "python_enable_replacements": "false", "enable_external_access": "false", "lock_configuration": "true",
    }  # fmt: skip
    found = make_store(1).rows("SELECT name, value FROM duckdb_settings() WHERE name = ANY(?)", [list(wanted)])
    assert {name: value.lower() for name, value in found} == wanted


def test_a_parquet_file_is_read_alone(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(1, tmp_path / "project.duckdb")
    store.write_parquet("SELECT 'x' AS a", [], tmp_path / "it's.parquet")
    assert read_parquet(tmp_path / "it's.parquet") == [{"a": "x"}]
    with pytest.raises(StoreError):
        read_parquet(tmp_path / "*.parquet")


def test_a_copy_can_be_written_anywhere_and_leaves_nothing_behind(make_store: MakeStore, tmp_path: Path) -> None:
    target = tmp_path / "copy" / "it's.duckdb"
    for folder in (tmp_path / "project", target.parent):
        folder.mkdir()
    store = make_store(2, tmp_path / "project" / "project.duckdb")
    left_over = tmp_path / "project" / f"{SNAPSHOT_PREFIX}killed"
    left_over.mkdir()
    (left_over / "project.duckdb").write_bytes(b"half")
    store.copy_to(target)
    copy = Store(target)
    assert copy.images.count() == 2
    copy.close()
    assert not list((tmp_path / "project").glob(f"{SNAPSHOT_PREFIX}*"))
