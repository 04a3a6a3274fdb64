"""The tables about images: metadata, files and folders, and the rows of the feature files.

Knows nothing of pixels, models or pages. Tags are in storage/correction_log.py.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from annotator.datasets.file_types import count_types
from annotator.errors import UnknownImageError
from annotator.storage.queries import Cursor, Queries, Row, utc_now

ROWS_A_STATEMENT = 64
"""Rows inserted by one statement."""
NUM_CACHED = 4096
"""Photos whose rows are cached in memory: editing a list reads the same row at every key."""


@dataclass(frozen=True)
class ImageEntry:
    """What is stored about one image besides its tags."""

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
    """One file of a root: its image, or why it could not be read."""

    root_id: int
    path: str
    """Relative to the root."""
    file_size: int
    modified_ns: int
    image_id: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class IngestedBatch:
    """What one step of ingest commits, in one transaction."""

    images: Sequence[tuple[int, ImageEntry]] = ()
    paths: Sequence[SeenPath] = ()
    backbone: str = ""
    feature_rows: Sequence[tuple[int, int]] = field(default=())
    """(image_id, row in the feature file) pairs."""


class Images:
    """The images of one project.

    Args:
        store: The database.
    """

    def __init__(self, store: Queries) -> None:
        self._store = store
        self._paths_version = 0
        # The row of an image never changes; its paths change with an ingest.
        self._entry = lru_cache(NUM_CACHED)(self._read_entry)
        self._paths = lru_cache(NUM_CACHED)(self._read_paths)

    # Roots and paths

    def root_id(self, root: Path) -> int:
        """Return the id of a photo folder; a new one is added."""
        text = str(root)
        with self._store.transaction() as cursor:
            found = cursor.execute("SELECT root_id FROM roots WHERE path = ?", [text]).fetchone()
            if found:
                return int(found[0])
            top = cursor.execute("SELECT coalesce(max(root_id), 0) FROM roots").fetchone()
            new_id = int(top[0]) + 1 if top else 1
            cursor.execute("INSERT INTO roots VALUES (?, ?)", [new_id, text])
            return new_id

    def roots(self) -> list[tuple[int, Path]]:
        """Return the photo folders of the project."""
        return [(int(i), Path(p)) for i, p in self._store.rows("SELECT root_id, path FROM roots ORDER BY root_id")]

    def seen_paths(self, root_id: int) -> dict[str, SeenPath]:
        """Return every known file of a root by its relative path."""
        rows = self._store.rows(
            "SELECT path, file_size, modified_ns, image_id, reason FROM paths WHERE root_id = ?", [root_id]
        )
        return {row[0]: SeenPath(root_id, *row) for row in rows}

    def forget_paths(self, root_id: int, paths: Sequence[str]) -> None:
        """Delete paths of files that no longer exist; their images and tags remain."""
        if paths:
            with self._store.transaction() as cursor:
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
            offset: Index of the page's first file.
            limit: Most files of a page.
            in_full: Full paths; otherwise relative to the folder of photos.
        """
        total = self._store.rows("SELECT count(*) FROM paths WHERE reason IS NOT NULL")[0][0]
        rows = self._store.rows(
            "SELECT r.path, p.path, p.reason FROM paths p JOIN roots r USING (root_id) "
            "WHERE p.reason IS NOT NULL ORDER BY r.path, p.path LIMIT ? OFFSET ?",
            [limit, offset],
        )
        return int(total), [(str(Path(root) / path) if in_full else path, reason) for root, path, reason in rows]

    def unread_types(self) -> dict[str, int]:
        """Return how many files of each type could not be read or are of a type that is not read."""
        rows = self._store.rows(
            r"SELECT lower(regexp_extract(path, '\.[^./]*$')), count(*) FROM paths WHERE reason IS NOT NULL GROUP BY 1"
        )
        return count_types({suffix: int(number) for suffix, number in rows})

    # Images

    def add(self, batch: IngestedBatch) -> None:
        """Commit one step of ingest. A path that is known already is replaced."""
        now = utc_now()
        with self._store.transaction() as cursor:
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

    def count(self) -> int:
        """Return the number of images."""
        return int(self._store.rows("SELECT count(*) FROM images")[0][0])

    def ids_by_hash(self) -> dict[str, int]:
        """Return every image's id by its content hash."""
        return {h: int(i) for h, i in self._store.rows("SELECT content_hash, image_id FROM images")}

    def entry(self, image_id: int) -> ImageEntry:
        """Return the metadata of an image.

        Raises:
            UnknownImageError: The project has no such image.
        """
        return self._entry(image_id)

    def _read_entry(self, image_id: int) -> ImageEntry:
        rows = []
        if 0 < image_id < 2**31:  # what the column can hold
            rows = self._store.rows("SELECT * EXCLUDE (image_id, added_at) FROM images WHERE image_id = ?", [image_id])
        if not rows:
            raise UnknownImageError(f"This project has no image {image_id}.")
        values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in rows[0]]
        return ImageEntry(*values)

    def added_at(self, image_id: int) -> datetime:
        """Return when an image was added to the project, UTC without a zone.

        Raises:
            UnknownImageError: The project has no such image.
        """
        rows = self._store.rows("SELECT added_at FROM images WHERE image_id = ?", [image_id])
        if not rows:
            raise UnknownImageError(f"This project has no image {image_id}.")
        added_at: datetime = rows[0][0]
        return added_at

    def paths(self, image_id: int) -> list[tuple[Path, str]]:
        """Return the (root, relative path) pairs of an image's files."""
        return list(self._paths(image_id, self._paths_version))

    def _read_paths(self, image_id: int, version: int) -> tuple[tuple[Path, str], ...]:
        rows = self._store.rows(
            "SELECT r.path, p.path FROM paths p JOIN roots r USING (root_id) WHERE p.image_id = ? "
            "ORDER BY root_id, p.path",
            [image_id],
        )
        return tuple((Path(root), path) for root, path in rows)

    def file_names(self) -> dict[int, tuple[str, str]]:
        """Return (content hash, first path) of every image, by id; the path is empty if no file is left."""
        rows = self._store.rows(
            "SELECT i.image_id, any_value(i.content_hash), coalesce(min(p.path), '') "
            "FROM images i LEFT JOIN paths p USING (image_id) GROUP BY i.image_id ORDER BY i.image_id"
        )
        return {int(image_id): (content_hash, path) for image_id, content_hash, path in rows}

    def find(self, words: str, state: str) -> list[int]:
        """Return the ids of images whose saved tags or paths contain a text, in ascending order.

        Args:
            words: The text, case ignored; empty finds every image.
            state: ``all``, ``saved``, ``unsaved`` or ``empty``: saved without tags.
        """
        clauses, parameters = ["true"], []
        if state == "empty":
            clauses.append("coalesce(a.is_saved, false) AND len(a.tags) = 0")
        elif state != "all":
            clauses.append(f"coalesce(a.is_saved, false) = {'true' if state == 'saved' else 'false'}")
        if words:
            clauses.append(
                "(len(list_filter(coalesce(a.tags, []), lambda t: contains(lower(t), ?))) > 0 OR "
                "EXISTS (SELECT 1 FROM paths p WHERE p.image_id = i.image_id AND contains(lower(p.path), ?)))"
            )
            parameters += [words.lower(), words.lower()]
        rows = self._store.rows(
            "SELECT i.image_id FROM images i LEFT JOIN annotations a USING (image_id) "
            f"WHERE {' AND '.join(clauses)} ORDER BY i.image_id",
            parameters,
        )
        return [int(row[0]) for row in rows]

    def metadata_words(self) -> list[tuple[int, list[str], list[str], str | None]]:
        """Return (image id, keywords and user tags, path words, caption) of every image."""
        return [
            (int(row[0]), list(row[1]), list(row[2]), row[3])
            for row in self._store.rows("SELECT image_id, keywords || user_tags, path_words, caption FROM images")
        ]

    def feature_rows(self, backbone: str) -> list[tuple[int, int]]:
        """Return (image id, row in the feature file) of every image with features of a backbone."""
        rows = self._store.rows("SELECT image_id, feature_row FROM features WHERE backbone = ?", [backbone])
        return [(int(image_id), int(row)) for image_id, row in rows]


def _image_row(image_id: int, entry: ImageEntry, added_at: datetime) -> Row:
    values = (list(value) if isinstance(value, tuple) else value for value in astuple(entry))
    return (image_id, *values, added_at)


def _insert(cursor: Cursor, table: str, rows: Sequence[Row]) -> None:
    """Insert many rows by each statement: one statement for each row would take longer than decoding the photo."""
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        part = rows[start : start + ROWS_A_STATEMENT]
        places = ", ".join(["(" + ", ".join("?" * len(part[0])) + ")"] * len(part))
        cursor.execute(f"INSERT INTO {table} VALUES {places}", [value for row in part for value in row])
