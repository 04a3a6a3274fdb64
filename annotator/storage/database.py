"""The project's database: one DuckDB file, one writing process, transactions, and what is known of each image.

DuckDB's only home. Corrections are in storage/correction_log.py, on top of ``transaction`` and ``rows``.
Knows nothing of pixels, models or pages.
"""

import logging
import re
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import ProjectError, StoreError, UnknownImageError
from annotator.rwlock import ReadWriteLock
from annotator.storage.migrations import NEWEST_VERSION, forget_older, keep_copy, migrate, pending

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]
Cursor = duckdb.DuckDBPyConnection

_BROKEN = (duckdb.FatalException, duckdb.ConnectionException)
# After a fatal error, such as a checkpoint on a full disk, DuckDB answers nothing until its file is opened anew.


ROWS_A_STATEMENT = 64
"""Rows inserted by one statement."""
NUM_REMEMBERED = 4096
"""Photos whose rows are kept in memory: who edits a list asks for the same one at every key."""


def utc_now() -> datetime:
    """Return the time as the database keeps it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class ImageEntry:
    """What is kept of one image beside its tags."""

    content_hash: str
    width: int
    height: int
    format: str
    keywords: tuple[str, ...] = ()
    user_tags: tuple[str, ...] = ()
    path_words: tuple[str, ...] = ()
    caption: str | None = None
    taken_at: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeenPath:
    """One file of a root: the image it shows, or why it shows none."""

    root_id: int
    path: str
    """Relative to the root."""
    file_size: int
    modified_ns: int
    image_id: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class IngestedBatch:
    """What one step of ingest commits: all of it, or nothing."""

    images: Sequence[tuple[int, ImageEntry]] = ()
    paths: Sequence[SeenPath] = ()
    backbone: str = ""
    feature_rows: Sequence[tuple[int, int]] = field(default=())
    """(image_id, row in the feature file) pairs."""


class Store:
    """An open project database.

    Reads may run in any thread, each on its own cursor. Writes take turns.

    Args:
        path: The DuckDB file; made when missing. One with an older schema is brought to the newest.
        keeps_copy: Whether it is copied before its schema is changed (migrations.keep_copy).

    Raises:
        ProjectError: The file is damaged, newer than this program, or open in another process.
    """

    def __init__(self, path: Path, *, keeps_copy: bool = True) -> None:
        self.path = path
        self._keeps_copy = keeps_copy
        self._local = threading.local()
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._generation = 0
        self._gate = ReadWriteLock()  # readers share it; closing the connections excludes them
        self._write_lock = threading.RLock()
        self._is_writing = False
        self._is_closed = False
        self._paths_version = 0
        # A photo's row never changes; its paths do with an ingest.
        self._image = lru_cache(NUM_REMEMBERED)(self._read_image)
        self._image_paths = lru_cache(NUM_REMEMBERED)(self._read_image_paths)
        self._connection = self._connect()

    def close(self) -> None:
        """Write everything to the database file and let other processes open it."""
        with self._write_lock, self._gate.exclusive():
            self._is_closed = True
            self._disconnect()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = None
        try:
            # One thread: nearly all queries touch a few rows, and a pool that wakes up for each costs more than it
            # brings.
            connection = duckdb.connect(str(self.path), config={"threads": 1})
            self.migrated = _bring_up_to_date(connection, self.path) if self._keeps_copy else migrate(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, duckdb.Error):
                raise ProjectError(_sentence_for_open(self.path, error)) from error
            raise
        return connection

    def _disconnect(self) -> None:
        # The file stays locked as long as one cursor is open.
        for cursor in list(self._cursors):
            cursor.close()
        self._connection.close()
        self._generation += 1

    def _recover(self) -> None:
        """Open the database anew if DuckDB has given up on it."""
        with self._write_lock:
            if self._is_writing or self._is_closed or self._answers():
                return
            logger.warning("The database %s is opened anew after a failure.", self.path)
            with self._gate.exclusive():
                self._disconnect()
                self._connection = self._connect()

    def _answers(self) -> bool:
        try:
            self._connection.execute("SELECT 1")
        except duckdb.Error:
            return False
        return True

    def _cursor(self) -> Cursor:
        cursor: Cursor | None = getattr(self._local, "cursor", None)
        if cursor is None or self._local.generation != self._generation:
            self._local.generation = self._generation
            cursor = self._local.cursor = self._connection.cursor()
            self._cursors.add(cursor)
        return cursor

    def _read(self, query: str, parameters: Sequence[object]) -> list[Row]:
        with self._gate.shared():
            return self._cursor().execute(query, list(parameters)).fetchall()

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return every row of a reading query, as of the last commit.

        Raises:
            StoreError: The database could not be read.
        """
        try:
            try:
                return self._read(query, parameters)
            except _BROKEN:
                self._recover()
                return self._read(query, parameters)
        except duckdb.Error as error:
            raise StoreError(_sentence_for_read(self.path, error)) from error

    def write_parquet(self, query: str, parameters: Sequence[object], path: Path) -> None:
        """Write the rows of a reading query, as of the last commit, into a Parquet file; whole, or not at all.

        Raises:
            StoreError: The database could not be read, or the file not be written.
        """
        temporary = path.with_name(f".{path.name}.part")
        target = str(temporary).replace("'", "''")
        try:
            self.rows(f"COPY ({query}) TO '{target}' (FORMAT parquet)", parameters)
            temporary.replace(path)
        except (StoreError, OSError) as error:
            raise StoreError(f"The snapshot {path} could not be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Yield a cursor whose writes are on disk when the block ends, or undone when it raises.

        Raises:
            StoreError: The commit failed (a full disk, a read-only file); nothing was written.
        """
        with self._write_lock:
            cursor: Cursor | None = None
            try:
                cursor = self._begin()
                self._is_writing = True
                yield cursor
                _commit(cursor)
            except duckdb.Error as error:
                _rollback(cursor)
                raise StoreError(_sentence_for_write(error)) from error
            except BaseException:
                _rollback(cursor)
                raise
            finally:
                self._is_writing = False

    def _begin(self) -> Cursor:
        try:
            return self._cursor().execute("BEGIN")
        except _BROKEN:
            self._recover()
            return self._cursor().execute("BEGIN")

    def copy_to(self, path: Path) -> None:
        """Write a copy of the database as of one moment, while others read and write.

        Args:
            path: The new file; must not exist.

        Raises:
            StoreError: It could not be written.
        """
        try:
            with self._gate.shared():
                cursor = self._connection.cursor()
                try:
                    source = cursor.execute("SELECT current_database()").fetchall()[0][0]
                    text = str(path).replace("'", "''")
                    cursor.execute(f"ATTACH '{text}' AS snapshot")
                    try:
                        cursor.execute(f'COPY FROM DATABASE "{source}" TO snapshot')
                    finally:
                        cursor.execute("DETACH snapshot")
                finally:
                    cursor.close()
        except duckdb.Error as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"The database could not be copied: {_first_line(error)}") from error

    # Roots and paths

    def root_id(self, root: Path) -> int:
        """Return the id of a photo folder, adding it when it is new."""
        text = str(root)
        with self.transaction() as cursor:
            found = cursor.execute("SELECT root_id FROM roots WHERE path = ?", [text]).fetchone()
            if found:
                return int(found[0])
            top = cursor.execute("SELECT coalesce(max(root_id), 0) FROM roots").fetchone()
            new_id = int(top[0]) + 1 if top else 1
            cursor.execute("INSERT INTO roots VALUES (?, ?)", [new_id, text])
            return new_id

    def roots(self) -> list[tuple[int, Path]]:
        """Return the photo folders of the project."""
        return [(int(i), Path(p)) for i, p in self.rows("SELECT root_id, path FROM roots ORDER BY root_id")]

    def seen_paths(self, root_id: int) -> dict[str, SeenPath]:
        """Return every known file of a root by its relative path."""
        rows = self.rows(
            "SELECT path, file_size, modified_ns, image_id, reason FROM paths WHERE root_id = ?", [root_id]
        )
        return {row[0]: SeenPath(root_id, *row) for row in rows}

    def forget_paths(self, root_id: int, paths: Sequence[str]) -> None:
        """Remove paths whose files are gone; their images and tags stay."""
        if paths:
            with self.transaction() as cursor:
                cursor.execute(
                    "DELETE FROM paths WHERE root_id = ? AND path IN (SELECT unnest(?::VARCHAR[]))",
                    [root_id, list(paths)],
                )
            self._paths_version += 1

    def unreadable(
        self, offset: int = 0, limit: int = 100, *, in_full: bool = True
    ) -> tuple[int, list[tuple[str, str]]]:
        """Return how many files could not be read, and one page of (path, reason).

        Args:
            offset: Where the page begins.
            limit: How many it has.
            in_full: Full paths; else as below the folder of photos.
        """
        total = self.rows("SELECT count(*) FROM paths WHERE reason IS NOT NULL")[0][0]
        rows = self.rows(
            "SELECT r.path, p.path, p.reason FROM paths p JOIN roots r USING (root_id) "
            "WHERE p.reason IS NOT NULL ORDER BY r.path, p.path LIMIT ? OFFSET ?",
            [limit, offset],
        )
        return int(total), [(str(Path(root) / path) if in_full else path, reason) for root, path, reason in rows]

    # Images

    def add_batch(self, batch: IngestedBatch) -> None:
        """Commit one step of ingest. A path that was known before is replaced."""
        now = utc_now()
        with self.transaction() as cursor:
            _insert(cursor, "images", [_image_row(image_id, entry, now) for image_id, entry in batch.images])
            for root_id in {seen.root_id for seen in batch.paths}:
                known = [seen.path for seen in batch.paths if seen.root_id == root_id]
                cursor.execute(
                    "DELETE FROM paths WHERE root_id = ? AND path IN (SELECT unnest(?::VARCHAR[]))",
                    [root_id, known],
                )
            rows = [(s.root_id, s.path, s.image_id, s.reason, s.file_size, s.modified_ns) for s in batch.paths]
            _insert(cursor, "paths", rows)
            _insert(cursor, "features", [(batch.backbone, image_id, row) for image_id, row in batch.feature_rows])
        self._paths_version += 1

    def image_ids_by_hash(self) -> dict[str, int]:
        """Return every image's id by its content hash."""
        return {h: int(i) for h, i in self.rows("SELECT content_hash, image_id FROM images")}

    def image(self, image_id: int) -> ImageEntry:
        """Return what is known of an image.

        Raises:
            UnknownImageError: The project has no such image.
        """
        return self._image(image_id)

    def _read_image(self, image_id: int) -> ImageEntry:
        rows = []
        if 0 < image_id < 2**31:  # what the column can hold
            rows = self.rows("SELECT * EXCLUDE (image_id, added_at) FROM images WHERE image_id = ?", [image_id])
        if not rows:
            raise UnknownImageError(f"This project has no image {image_id}.")
        values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in rows[0]]
        return ImageEntry(*values)

    def added_at(self, image_id: int) -> datetime:
        """Return when an image came into the project, UTC without a zone.

        Raises:
            UnknownImageError: The project has no such image.
        """
        rows = self.rows("SELECT added_at FROM images WHERE image_id = ?", [image_id])
        if not rows:
            raise UnknownImageError(f"This project has no image {image_id}.")
        added_at: datetime = rows[0][0]
        return added_at

    def image_paths(self, image_id: int) -> list[tuple[Path, str]]:
        """Return the (root, relative path) pairs under which an image was seen."""
        return list(self._image_paths(image_id, self._paths_version))

    def _read_image_paths(self, image_id: int, version: int) -> tuple[tuple[Path, str], ...]:
        rows = self.rows(
            "SELECT r.path, p.path FROM paths p JOIN roots r USING (root_id) WHERE p.image_id = ? "
            "ORDER BY root_id, p.path",
            [image_id],
        )
        return tuple((Path(root), path) for root, path in rows)

    def file_names(self) -> dict[int, tuple[str, str]]:
        """Return (content hash, first path) of every image, by id; the path is empty when no file is left."""
        rows = self.rows(
            "SELECT i.image_id, any_value(i.content_hash), coalesce(min(p.path), '') "
            "FROM images i LEFT JOIN paths p USING (image_id) GROUP BY i.image_id ORDER BY i.image_id"
        )
        return {int(image_id): (content_hash, path) for image_id, content_hash, path in rows}

    def find_images(self, words: str, state: str) -> list[int]:
        """Return the ids of images whose saved tags or paths hold a text, in the order of the queue.

        Args:
            words: Text to find, case ignored; empty finds every image.
            state: ``all``, ``saved`` or ``unsaved``.
        """
        clauses, parameters = ["true"], []
        if state != "all":
            clauses.append(f"coalesce(a.is_saved, false) = {'true' if state == 'saved' else 'false'}")
        if words:
            clauses.append(
                "(len(list_filter(coalesce(a.tags, []), lambda t: contains(lower(t), ?))) > 0 OR "
                "EXISTS (SELECT 1 FROM paths p WHERE p.image_id = i.image_id AND contains(lower(p.path), ?)))"
            )
            parameters += [words.lower(), words.lower()]
        rows = self.rows(
            "SELECT i.image_id FROM images i LEFT JOIN annotations a USING (image_id) "
            f"WHERE {' AND '.join(clauses)} ORDER BY i.image_id",
            parameters,
        )
        return [int(row[0]) for row in rows]

    def metadata_words(self) -> list[tuple[int, list[str], list[str], str | None]]:
        """Return (image id, keywords and user tags, path words, caption) of every image."""
        return [
            (int(row[0]), list(row[1]), list(row[2]), row[3])
            for row in self.rows("SELECT image_id, keywords || user_tags, path_words, caption FROM images")
        ]

    def feature_rows(self, backbone: str) -> list[tuple[int, int]]:
        """Return (image id, row in the feature file) for every image a backbone has seen."""
        rows = self.rows("SELECT image_id, feature_row FROM features WHERE backbone = ?", [backbone])
        return [(int(image_id), int(row)) for image_id, row in rows]


def _bring_up_to_date(connection: Cursor, path: Path) -> list[int]:
    """Migrate an open database, keeping a copy of one that has anything in it; return the versions applied."""
    version, wanted = pending(connection)
    if not version or not wanted:
        return migrate(connection)
    connection.execute("CHECKPOINT")  # what a killed process left in the log beside the file belongs in the copy
    kept = keep_copy(path, version)
    try:
        applied = migrate(connection)
    except duckdb.Error as error:
        raise ProjectError(
            f"The schema of {path} could not be brought from {version} to {NEWEST_VERSION} ({_first_line(error)}). "
            f"As it was before, it is kept in {kept}."
        ) from error
    forget_older(path, kept)
    logger.warning(
        "The schema of %s was brought from %d to %d. As it was before, it is kept in %s.",
        path, version, NEWEST_VERSION, kept,
    )  # fmt: skip
    return applied


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file that `Store.write_parquet` wrote; needs no project.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    except duckdb.Error as error:
        raise StoreError(f"The snapshot {path} could not be read: {_first_line(error)}") from error


def _image_row(image_id: int, entry: ImageEntry, added_at: datetime) -> Row:
    values = (list(value) if isinstance(value, tuple) else value for value in astuple(entry))
    return (image_id, *values, added_at)


def _insert(cursor: Cursor, table: str, rows: Sequence[Row]) -> None:
    """Insert rows by statements of many: a statement of its own for each would cost more than decoding the photo."""
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        part = rows[start : start + ROWS_A_STATEMENT]
        places = ", ".join(["(" + ", ".join("?" * len(part[0])) + ")"] * len(part))
        cursor.execute(f"INSERT INTO {table} VALUES {places}", [value for row in part for value in row])


def _commit(cursor: Cursor) -> None:
    try:
        cursor.execute("COMMIT")
    except duckdb.FatalException as error:
        # Only tidying up failed (a full disk): the data is on disk, and the next call opens the database anew.
        if "COMMIT succeeded and is durable" not in str(error):
            raise
        logger.warning("%s", _first_line(error))


def _rollback(cursor: Cursor | None) -> None:
    try:
        if cursor is not None:
            cursor.execute("ROLLBACK")
    except (duckdb.TransactionException, *_BROKEN):
        # DuckDB has already ended a transaction whose COMMIT failed, or all of them.
        return


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _sentence_for_write(error: Exception) -> str:
    text = _first_line(error)
    if "No space left" in text:
        return "Not saved: the disk is full. Free some space and save again; nothing was lost."
    if "File too large" in text:
        return "Not saved: a file has reached the size that this process may write. Nothing was lost."
    if "ead-only" in text or "Permission denied" in text:
        return "Not saved: the project's folder cannot be written. Nothing was lost."
    return f"Not saved: {text}"


def _sentence_for_read(path: Path, error: Exception) -> str:
    if _is_damage(error):
        return f"The database {path} is damaged ({_first_line(error)}). {_way_back(path)}"
    return f"The project's database could not be read: {_first_line(error)}"


def _way_back(path: Path) -> str:
    """Say how to get a damaged project back."""
    return (
        f"Restore a backup into a new folder (annotator restore FILE {path.parent}-restored); nothing in "
        f"{path.parent} is overwritten."
    )


def _is_damage(error: Exception) -> bool:
    signs = ("not a valid DuckDB", "Corrupt", "Checksum", "Could not read enough bytes")
    return any(sign in str(error) for sign in signs)


def _sentence_for_open(path: Path, error: Exception) -> str:
    text = str(error)
    holder = re.search(r"held in (.*?) \(PID (\d+)\)", text)
    if holder:
        return (
            f"The project {path.parent} is in use by process {holder.group(2)} ({Path(holder.group(1)).name}). "
            "Use the page that process serves, or end it first."
        )
    if _is_damage(error):
        return _sentence_for_read(path, error)
    if "No space left" in text:
        return f"The database {path} cannot be opened: the disk is full. Free some space; nothing was lost."
    if "Permission denied" in text or "ead-only" in text:
        return f"The database {path} cannot be written. Check the folder's permissions."
    return f"The database {path} cannot be opened: {_first_line(error)}"


def utc(moment: datetime) -> str:
    """Return a moment of the database as JSON has it."""
    return f"{moment.isoformat(timespec='seconds')}Z"
