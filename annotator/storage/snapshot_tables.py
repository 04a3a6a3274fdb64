"""The tables of a snapshot that is read without the project: photos, ranked tags, files, fields, vocabulary.

What a viewer of the project may see: saved lists and who saved them, no drafts, no responses of several people, no
accounts, no places. A database of these tables alone answers the searches and exports of saved lists as the project
does. Knows nothing of where snapshots lie.
"""

from collections.abc import Iterable
from pathlib import Path

from annotator.storage.correction_log import NOT_LOOKED_AT
from annotator.storage.database import Store

_PHOTOS = f"""
SELECT i.image_id, i.content_hash, i.shown_hash, f.path, i.width, i.height, i.format, i.taken_at, i.camera, i.caption,
       i.keywords, i.user_tags, i.hierarchies, i.added_at, i.changed_at, a.image_id IS NOT NULL AS is_saved,
       coalesce(a.tags, []) AS tags, coalesce(a.dropped, []) AS dropped, coalesce(a.revision, 0) AS revision,
       a.saved_at, a.user_name AS saved_by, a.event_id, e.tagger, CAST(e.shown AS VARCHAR) AS proposals,
       n.image_id IS NULL AS is_looked_at
FROM images i
LEFT JOIN annotations a ON a.image_id = i.image_id AND a.is_saved
LEFT JOIN events e ON e.event_id = a.event_id
LEFT JOIN ({NOT_LOOKED_AT}) n ON n.image_id = i.image_id
LEFT JOIN (SELECT image_id, arg_min(path, [is_gone::INTEGER::VARCHAR, printf('%010d', root_id), path]) AS path
           FROM paths WHERE image_id IS NOT NULL GROUP BY image_id) f ON f.image_id = i.image_id
ORDER BY i.image_id
"""

_TAGS = """
SELECT image_id, CAST(rank AS INTEGER) AS rank, tag
FROM (SELECT image_id, unnest(range(1, len(tags) + 1)) AS rank, unnest(tags) AS tag FROM annotations WHERE is_saved)
ORDER BY image_id, rank
"""

_FILES = """
SELECT p.image_id, p.root_id, CASE WHEN ? THEN r.path ELSE '/folder-' || p.root_id END AS folder, p.path, p.is_gone
FROM paths p JOIN roots r USING (root_id) WHERE p.image_id IS NOT NULL ORDER BY p.image_id, p.root_id, p.path
"""

_FIELDS = "SELECT image_id, field, value FROM field_values ORDER BY image_id, field"
_VOCABULARY = "SELECT place, tag, aliases, levels, class, is_forbidden FROM vocabulary ORDER BY place"
_TAG_CHANGES = """
SELECT t.change_id, t.kind, t.old_tag, t.new_tag FROM tag_changes t
LEFT JOIN bulk_changes b ON b.change_id = t.bulk_change_id WHERE b.undone_at IS NULL ORDER BY t.change_id
"""

TABLES = {
    "photos": _PHOTOS,
    "tags": _TAGS,
    "files": _FILES,
    "fields": _FIELDS,
    "vocabulary": _VOCABULARY,
    "tag_changes": _TAG_CHANGES,
}
"""Table -> the query that makes it."""

_LOAD = (
    """INSERT INTO images BY NAME SELECT image_id, content_hash, width, height, format, keywords, user_tags,
       []::VARCHAR[] AS path_words, caption, taken_at, camera, []::VARCHAR[] AS notes, added_at, changed_at,
       hierarchies, shown_hash FROM photos""",
    """INSERT INTO annotations BY NAME SELECT image_id, revision, tags, dropped, is_saved, saved_by AS user_name,
       saved_at, event_id FROM photos WHERE is_saved""",
    """INSERT INTO events BY NAME SELECT event_id, CASE WHEN is_looked_at THEN 'save' ELSE 'suggest' END AS kind,
       image_id, saved_by AS user_name, saved_at AS created_at, revision, []::VARCHAR[] AS before_tags,
       tags AS after_tags, is_saved,
       '[]' AS edit_script, dropped, tagger, proposals AS shown FROM photos WHERE is_saved""",
    "INSERT INTO roots SELECT DISTINCT root_id, folder FROM files",
    """INSERT INTO paths BY NAME SELECT root_id, path, image_id, 0 AS file_size, 0 AS modified_ns, is_gone
       FROM files""",
    """INSERT INTO field_values BY NAME SELECT image_id, field, value, '' AS user_name, now()::TIMESTAMP AS changed_at
       FROM fields""",
    "INSERT INTO vocabulary BY NAME SELECT * FROM vocabulary_of_snapshot",
    """INSERT INTO tag_changes BY NAME SELECT *, now()::TIMESTAMP AS changed_at, '' AS user_name
       FROM tag_changes_of_snapshot""",
)
_VIEWS = {"vocabulary": "vocabulary_of_snapshot", "tag_changes": "tag_changes_of_snapshot"}
"""Tables of a snapshot that the database has under the same name."""


def file_of(table: str) -> str:
    """Return the name of a table's file."""
    return f"{table}.parquet"


def write_tables(store: Store, folder: Path, *, with_folders: bool) -> None:
    """Write all tables as Parquet files; equal content makes equal files.

    Args:
        store: The database of the project, or a copy of it.
        folder: Where; holds none of them.
        with_folders: Whether the paths of the photo folders are written; otherwise these are numbered.

    Raises:
        StoreError: The database cannot be read, or the disk is full.
    """
    for table, query in TABLES.items():
        parameters = [with_folders] if table == "files" else []
        store.write_parquet(query, parameters, folder / file_of(table))


def load_tables(folder: Path) -> Store:
    """Return a new database of the tables in a folder, for exports; it lies in that folder.

    Raises:
        StoreError: A file is missing, or has not the columns that `write_tables` writes.
    """
    store = Store(folder / "project.duckdb", keeps_copy=False)
    try:
        with store.transaction() as cursor:
            for table in TABLES:
                view, path = _VIEWS.get(table, table), str((folder / file_of(table)).absolute()).replace("'", "''")
                cursor.execute(f"CREATE TEMPORARY VIEW {view} AS SELECT * FROM read_parquet('{path}')")
            for statement in _LOAD:
                cursor.execute(statement)
    except BaseException:
        store.close()
        raise
    return store


def missing_tables(names: Iterable[str]) -> list[str]:
    """Return the tables whose files are not among some names."""
    there = set(names)
    return [table for table in TABLES if file_of(table) not in there]
