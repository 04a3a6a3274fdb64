"""Checks that a database holds the tables of our schema and nothing else.

A project's database may come from somebody else. A view, a macro or a trigger in it would run statements of their
author: a view in place of a table could read files of this machine. Knows nothing of what the tables are used for.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from annotator.errors import ProjectError
from annotator.storage import migrations
from annotator.storage.migrations import CREATE_MIGRATIONS
from annotator.storage.queries import Cursor

_OBJECTS = """
SELECT 'schema', schema_name FROM duckdb_schemas() WHERE database_name = current_database() AND NOT internal
    AND schema_name <> 'main'
UNION ALL SELECT 'view', view_name FROM duckdb_views() WHERE NOT internal
UNION ALL SELECT 'function', function_name FROM duckdb_functions() WHERE NOT internal
UNION ALL SELECT 'trigger', trigger_name FROM duckdb_triggers()
UNION ALL SELECT 'sequence', sequence_name FROM duckdb_sequences()
UNION ALL SELECT 'type', type_name FROM duckdb_types() WHERE NOT internal
UNION ALL SELECT 'index', index_name FROM duckdb_indexes()
"""


def check_objects(cursor: Cursor, path: Path) -> None:
    """Refuse a database with anything but tables; reads no table.

    Raises:
        ProjectError: It holds a view, a function, a trigger or the like.
    """
    found = cursor.execute(_OBJECTS).fetchall()
    if found:
        kind, name = found[0]
        raise ProjectError(_refusal(path, f"the {kind} {str(name)[:80]!r}, which no project has"))


def check_tables(cursor: Cursor, path: Path, make_empty: Callable[[], Any]) -> None:
    """Refuse a database whose tables are not those of the migrations it names.

    One of a newer schema is not looked into: `migrations.pending` refuses it.

    Args:
        cursor: An open connection.
        path: The file, for the message.
        make_empty: Opens an empty database in memory, in which our tables are made to compare with.

    Raises:
        ProjectError: A table is missing, is not one of ours, or has other columns.
    """
    found = _tables(cursor)
    if not found:
        return  # a new file
    versions: tuple[int, ...] = ()
    if found.get("migrations") == _expected((), make_empty)["migrations"]:
        versions = tuple(sorted({int(row[0]) for row in cursor.execute("SELECT version FROM migrations").fetchall()}))
    if max(versions, default=0) > migrations.NEWEST_VERSION:
        return
    expected = _expected(versions, make_empty)
    for name in sorted(found.keys() | expected.keys()):
        if name not in expected:
            raise ProjectError(_refusal(path, f"the table {name[:80]!r}, which no project of its schema has"))
        if name not in found:
            raise ProjectError(_refusal(path, f"no table {name!r}"))
        if found[name] != expected[name]:
            raise ProjectError(_refusal(path, f"the table {name!r} with other columns than ours"))


def _tables(cursor: Cursor) -> dict[str, str]:
    """Return the statement that makes each table, as DuckDB writes it."""
    rows = cursor.execute("SELECT table_name, sql FROM duckdb_tables() WHERE database_name = current_database()")
    return {str(name): str(statement) for name, statement in rows.fetchall()}


@cache
def _expected(versions: tuple[int, ...], make_empty: Callable[[], Any]) -> dict[str, str]:
    with make_empty() as connection:
        connection.execute(CREATE_MIGRATIONS)
        for version, _, statements in migrations.MIGRATIONS:
            for statement in statements if version in versions else ():
                migrations.run(connection, statement)
        return _tables(connection)


def _refusal(path: Path, what: str) -> str:
    return (
        f"The database {path} holds {what}. Another program changed it, or somebody wants it to run statements of "
        "theirs, so it is not opened; nothing was changed."
    )
