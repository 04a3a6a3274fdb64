"""The project's database: one DuckDB file, one writing process, transactions, and what is known of each image.

DuckDB's only home. Corrections are in correction_log.py, on top of ``transaction`` and ``rows``.
Knows nothing of pixels, models or pages.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import ProjectError, StoreError, UnknownImageError
from annotator.migrations import migrate

Row = tuple[Any, ...]
Cursor = duckdb.DuckDBPyConnection


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
        path: The DuckDB file; made when missing.

    Raises:
        ProjectError: The file is damaged, newer than this program, or open in another process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # One thread: nearly all queries touch a few rows, and a pool that wakes up for each costs more than it
            # brings.
            self._connection = duckdb.connect(str(path), config={"threads": 1})
            self.migrated = migrate(self._connection)
        except duckdb.Error as error:
            raise ProjectError(_sentence_for_open(path, error)) from error
        self._local = threading.local()
        self._write_lock = threading.Lock()

    def close(self) -> None:
        """Write everything to the database file and let other processes open it."""
        with self._write_lock:
            self._connection.close()

    def _cursor(self) -> Cursor:
        cursor = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self._connection.cursor()
        return cursor

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return every row of a reading query, as of the last commit.

        Raises:
            StoreError: The database could not be read.
        """
        try:
            return self._cursor().execute(query, list(parameters)).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"The project's database could not be read: {_first_line(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Yield a cursor whose writes are on disk when the block ends, or undone when it raises.

        Raises:
            StoreError: The commit failed (a full disk, a read-only file); nothing was written.
        """
        with self._write_lock:
            cursor = self._cursor()
            try:
                cursor.execute("BEGIN")
                yield cursor
                cursor.execute("COMMIT")
            except duckdb.Error as error:
                _rollback(cursor)
                raise StoreError(_sentence_for_write(error)) from error
            except BaseException:
                _rollback(cursor)
                raise

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

    def unreadable(self, offset: int = 0, limit: int = 100) -> tuple[int, list[tuple[str, str]]]:
        """Return how many files could not be read, and one page of (full path, reason)."""
        total = self.rows("SELECT count(*) FROM paths WHERE reason IS NOT NULL")[0][0]
        rows = self.rows(
            "SELECT r.path, p.path, p.reason FROM paths p JOIN roots r USING (root_id) "
            "WHERE p.reason IS NOT NULL ORDER BY r.path, p.path LIMIT ? OFFSET ?",
            [limit, offset],
        )
        return int(total), [(str(Path(root) / path), reason) for root, path, reason in rows]

    # Images

    def add_batch(self, batch: IngestedBatch) -> None:
        """Commit one step of ingest. A path that was known before is replaced."""
        now = utc_now()
        with self.transaction() as cursor:
            for image_id, entry in batch.images:
                cursor.execute(
                    "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        image_id,
                        entry.content_hash,
                        entry.width,
                        entry.height,
                        entry.format,
                        list(entry.keywords),
                        list(entry.user_tags),
                        list(entry.path_words),
                        entry.caption,
                        entry.taken_at,
                        entry.camera,
                        entry.latitude,
                        entry.longitude,
                        list(entry.notes),
                        now,
                    ],
                )
            for root_id in {seen.root_id for seen in batch.paths}:
                known = [seen.path for seen in batch.paths if seen.root_id == root_id]
                cursor.execute(
                    "DELETE FROM paths WHERE root_id = ? AND path IN (SELECT unnest(?::VARCHAR[]))",
                    [root_id, known],
                )
            for seen in batch.paths:
                cursor.execute(
                    "INSERT INTO paths VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        seen.root_id,
                        seen.path,
                        seen.image_id,
                        seen.reason,
                        seen.file_size,
                        seen.modified_ns,
                    ],
                )
            for image_id, row in batch.feature_rows:
                cursor.execute("INSERT INTO features VALUES (?, ?, ?)", [batch.backbone, image_id, row])

    def image_ids_by_hash(self) -> dict[str, int]:
        """Return every image's id by its content hash."""
        return {h: int(i) for h, i in self.rows("SELECT content_hash, image_id FROM images")}

    def image(self, image_id: int) -> ImageEntry:
        """Return what is known of an image.

        Raises:
            UnknownImageError: The project has no such image.
        """
        rows = self.rows("SELECT * EXCLUDE (image_id, added_at) FROM images WHERE image_id = ?", [image_id])
        if not rows:
            raise UnknownImageError(f"This project has no image {image_id}.")
        values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in rows[0]]
        return ImageEntry(*values)

    def image_paths(self, image_id: int) -> list[tuple[Path, str]]:
        """Return the (root, relative path) pairs under which an image was seen."""
        rows = self.rows(
            "SELECT r.path, p.path FROM paths p JOIN roots r USING (root_id) WHERE p.image_id = ? "
            "ORDER BY root_id, p.path",
            [image_id],
        )
        return [(Path(root), path) for root, path in rows]

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

    def metadata_words(self) -> list[tuple[int, list[str], list[str]]]:
        """Return (image id, keywords and user tags, path words) of every image."""
        return [
            (int(row[0]), list(row[1]), list(row[2]))
            for row in self.rows("SELECT image_id, keywords || user_tags, path_words FROM images")
        ]

    def feature_rows(self, backbone: str) -> list[tuple[int, int]]:
        """Return (image id, row in the feature file) for every image a backbone has seen."""
        rows = self.rows("SELECT image_id, feature_row FROM features WHERE backbone = ?", [backbone])
        return [(int(image_id), int(row)) for image_id, row in rows]


def _rollback(cursor: Cursor) -> None:
    try:
        cursor.execute("ROLLBACK")
    except duckdb.TransactionException:
        # DuckDB has already ended a transaction whose COMMIT failed.
        return


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _sentence_for_write(error: Exception) -> str:
    text = _first_line(error)
    if "No space left" in text:
        return "Not saved: the disk is full. Free some space and save again; nothing was lost."
    if "ead-only" in text or "Permission denied" in text:
        return "Not saved: the project's folder cannot be written. Nothing was lost."
    return f"Not saved: {text}"


def _sentence_for_open(path: Path, error: Exception) -> str:
    text = str(error)
    holder = re.search(r"held in (.*?) \(PID (\d+)\)", text)
    if holder:
        return (
            f"The project {path.parent} is in use by process {holder.group(2)} ({Path(holder.group(1)).name}). "
            "Use the page that process serves, or end it first."
        )
    if "not a valid DuckDB" in text or "Corrupt" in text or "Checksum" in text:
        return f"The database {path} is damaged ({_first_line(error)}). Restore it from a copy."
    if "Permission denied" in text or "ead-only" in text:
        return f"The database {path} cannot be written. Check the folder's permissions."
    return f"The database {path} cannot be opened: {_first_line(error)}"
