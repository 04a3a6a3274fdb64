"""The tables about images: metadata, files and folders, and the rows of the feature files.

Knows nothing of pixels, models or pages. Tags are in storage/correction_log.py.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import Any

from annotator.datasets.file_types import count_types
from annotator.datasets.photo_roots import PhotoRoot, known_root
from annotator.errors import UnknownImageError
from annotator.storage.library_search import CHANGED, LibrarySearch, Names
from annotator.storage.library_tables import Ids
from annotator.storage.queries import Cursor, Queries, Row, utc_now

ROWS_A_STATEMENT = 512
"""Rows inserted by one statement."""
NUM_CACHED = 4096
"""Photos whose rows are cached in memory: editing a list reads the same row at every key."""


@dataclass(frozen=True)
class ImageEntry:
    """What is stored about one image besides its tags."""

    content_hash: str
    """Of the file as it was added first; the identity of the image, which never changes."""
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
    pixel_digest: str | None = None
    """Of the newest decoded pixels; None until they were decoded by a version that computes it."""
    orientation: int | None = None
    """The EXIF orientation of these pixels, 1 to 8; None with the digest."""
    shown_hash: str | None = None
    """Content hash of the file whose pixels are shown, where that is another than `content_hash`."""
    changed_at: datetime | None = None
    """When ingest found other pixels at the image's path, UTC; None: never."""
    hierarchies: tuple[str, ...] = ()
    """Hierarchical keywords with all levels, "animal|dog"; their last levels are in `keywords`."""

    @property
    def version(self) -> str:
        """The content hash of the shown pixels, for names of files that are computed from them, and for URLs."""
        return self.shown_hash or self.content_hash

    def is_shown_by(self, file: "SeenPath") -> bool:
        """Tell whether a file of the image has the pixels that are shown, not those with which it was added."""
        return not self.shown_hash or file.content_hash not in (None, self.content_hash)


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
    content_hash: str | None = None
    """Of its bytes; None: that of the image."""
    sidecars: str | None = None
    """Names, sizes and times of the sidecars that were read; None: as an older version read them."""
    is_gone: bool = False
    """The file is no longer there: this is its image's last known path."""


@dataclass(frozen=True)
class PhotoFile:
    """Where an image's first file is, or was."""

    content_hash: str
    version: str
    """As of `ImageEntry`."""
    root_id: int
    """0: no file was ever known."""
    path: str
    """Relative to the root."""
    is_gone: bool


@dataclass(frozen=True)
class IngestedBatch:
    """What one step of ingest commits, in one transaction."""

    images: Sequence[tuple[int, ImageEntry]] = ()
    paths: Sequence[SeenPath] = ()
    backbone: str = ""
    feature_rows: Sequence[tuple[int, int]] = field(default=())
    """(image_id, row in the feature file) pairs."""
    changed: Sequence[tuple[int, ImageEntry]] = ()
    """Known images with other metadata or pixels; whoever has other pixels has new features, too."""
    replaces: bool = True
    """Whether some of the paths may be known; otherwise they are not looked for, which saves a scan of the table."""


class Images:
    """The images of one project.

    Args:
        store: The database.
    """

    def __init__(self, store: Queries) -> None:
        self._store = store
        # Rows of images and paths change with an ingest only.
        self._version = 0
        self._entry = lru_cache(NUM_CACHED)(self._read_entry)
        self._paths = lru_cache(NUM_CACHED)(self._read_paths)
        self.search = LibrarySearch(store, lambda: self._version)

    # Roots and paths

    def root_id(self, root: PhotoRoot) -> int:
        """Return the id of a photo folder or URL; a new one is added."""
        text = str(root)
        with self._store.transaction() as cursor:
            found = cursor.execute("SELECT root_id FROM roots WHERE path = ?", [text]).fetchone()
            if found:
                return int(found[0])
            top = cursor.execute("SELECT coalesce(max(root_id), 0) FROM roots").fetchone()
            new_id = int(top[0]) + 1 if top else 1
            cursor.execute("INSERT INTO roots VALUES (?, ?)", [new_id, text])
            return new_id

    def roots(self) -> list[tuple[int, PhotoRoot]]:
        """Return the photo folders of the project."""
        rows = self._store.rows("SELECT root_id, path FROM roots ORDER BY root_id")
        return [(int(root_id), known_root(path)) for root_id, path in rows]

    def seen_paths(self, root_id: int) -> dict[str, SeenPath]:
        """Return every file of a root, as of the last ingest, by its relative path; without those that are gone."""
        rows = self._store.rows(
            "SELECT path, file_size, modified_ns, image_id, reason, content_hash, sidecars FROM paths "
            "WHERE root_id = ? AND NOT is_gone",
            [root_id],
        )
        return {row[0]: SeenPath(root_id, *row) for row in rows}

    def last_known(self, root_id: int) -> dict[str, int]:
        """Return the image that each file of a root showed which is gone or cannot be read, by its relative path."""
        rows = self._store.rows(
            "SELECT path, image_id FROM paths WHERE root_id = ? AND is_gone AND image_id IS NOT NULL", [root_id]
        )
        return {path: int(image_id) for path, image_id in rows}

    def without_shown_file(self) -> list[int]:
        """Return the images with files, of which none has the pixels that the image shows, ascending."""
        rows = self._store.rows(
            "SELECT i.image_id FROM images i JOIN paths p USING (image_id) WHERE i.shown_hash IS NOT NULL "
            "AND NOT p.is_gone GROUP BY i.image_id, i.content_hash "
            "HAVING bool_and(coalesce(p.content_hash, i.content_hash) = i.content_hash) ORDER BY i.image_id"
        )
        return [int(row[0]) for row in rows]

    def forget_paths(self, root_id: int, paths: Sequence[str]) -> None:
        """Note that files no longer exist; their images and tags remain, with the last known paths."""
        if paths:
            with self._store.transaction() as cursor:
                _mark_gone(cursor, root_id, list(paths))
                _drop_former_paths(cursor)
            self._version += 1

    def num_only_in(self, root_id: int, away: Collection[int]) -> int:
        """Return the number of images with a file in this root whose files are all in roots that are away.

        Args:
            root_id: One of the roots that are away.
            away: All of them; one may lie within another.
        """
        rows = self._store.rows(
            "SELECT count(*) FROM (SELECT image_id FROM paths WHERE image_id IS NOT NULL AND NOT is_gone "
            "GROUP BY image_id HAVING bool_and(root_id IN (SELECT unnest(?))) AND bool_or(root_id = ?))",
            [list(away), root_id],
        )
        return int(rows[0][0])

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
        return int(total), [(str(known_root(root) / path) if in_full else path, reason) for root, path, reason in rows]

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
            _insert(
                cursor, "images", _IMAGE_TYPES, [_image_row(image_id, entry, now) for image_id, entry in batch.images]
            )
            for image_id, entry in batch.changed:
                cursor.execute(_UPDATE, [*_image_row(image_id, entry, now)[1:-1], image_id])
            for root_id in {seen.root_id for seen in batch.paths if batch.replaces}:
                _replace_paths(cursor, root_id, [seen for seen in batch.paths if seen.root_id == root_id])
            _insert(cursor, "paths", _PATH_TYPES, [_values(seen, _PATH_TYPES) for seen in batch.paths])
            placed = None if batch.replaces else [seen.image_id for seen in batch.paths if seen.image_id is not None]
            _drop_former_paths(cursor, placed)
            with_pixels = {image_id for image_id, _ in batch.feature_rows}
            if renewed := [image_id for image_id, _ in batch.changed if image_id in with_pixels]:
                for table in ("features", "detections"):
                    cursor.execute(f"DELETE FROM {table} WHERE image_id IN (SELECT unnest(?::INTEGER[]))", [renewed])
            _insert(
                cursor, "features", _FEATURE_TYPES,
                [(batch.backbone, image_id, row) for image_id, row in batch.feature_rows],
            )  # fmt: skip
        self._version += 1

    def set_pixel_digests(self, digests: Sequence[tuple[int, str, int]]) -> None:
        """Store digests of decoded pixels: (image id, digest, EXIF orientation)."""
        with self._store.transaction() as cursor:
            for image_id, digest, orientation in digests:
                cursor.execute(
                    "UPDATE images SET pixel_digest = ?, orientation = ? WHERE image_id = ?",
                    [digest, orientation, image_id],
                )
        self._version += 1

    def without_pixel_digest(self, scheme: str) -> list[int]:
        """Return the images that have a file and no digest of this scheme (datasets/pixel_digest.py), ascending."""
        rows = self._store.rows(
            "SELECT image_id FROM images i WHERE NOT starts_with(coalesce(pixel_digest, ''), ?) "
            "AND EXISTS (SELECT 1 FROM paths p WHERE p.image_id = i.image_id AND NOT p.is_gone) ORDER BY image_id",
            [scheme],
        )
        return [int(row[0]) for row in rows]

    def count(self) -> int:
        """Return the number of images."""
        return int(self._store.rows("SELECT count(*) FROM images")[0][0])

    def next_id(self) -> int:
        """Return the id of the next image."""
        return int(self._store.rows("SELECT coalesce(max(image_id), 0) + 1 FROM images")[0][0])

    def changed_at(self, image_id: int, content_hash: str) -> datetime | None:
        """Return when an image whose file has this content hash now has changed; None if nobody saw it otherwise.

        A file that is put back as it was, before anybody saved the photo, has not changed.
        """
        rows = self._store.rows(
            "SELECT count(*) FROM images i LEFT JOIN annotations a USING (image_id) WHERE image_id = ? "
            "AND i.content_hash = ? AND coalesce(a.saved_at <= i.changed_at, true)",
            [image_id, content_hash],
        )
        return None if rows[0][0] else utc_now()

    def ids_by_hash(self) -> dict[str, int]:
        """Return the id of the image that shows the pixels of a file, by the file's content hash."""
        rows = self._store.rows(
            "SELECT coalesce(shown_hash, content_hash), image_id FROM images UNION ALL "
            "SELECT content_hash, image_id FROM paths WHERE content_hash IS NOT NULL AND image_id IS NOT NULL "
            "AND NOT is_gone"
        )
        return {content_hash: int(image_id) for content_hash, image_id in rows}

    def ids_by_former_hash(self) -> dict[str, int]:
        """Return the id of each image with other pixels than those it was added with, by its first content hash."""
        rows = self._store.rows("SELECT content_hash, image_id FROM images WHERE shown_hash IS NOT NULL")
        return {content_hash: int(image_id) for content_hash, image_id in rows}

    def ids_by_pixels(self) -> dict[str, int]:
        """Return every image's id by the digest of its pixels."""
        rows = self._store.rows(
            "SELECT pixel_digest, image_id FROM images WHERE pixel_digest IS NOT NULL ORDER BY image_id DESC"
        )
        return {digest: int(image_id) for digest, image_id in rows}

    def reread(self) -> None:
        """Take notice that rows of images were changed by another statement."""
        self._version += 1

    def entry(self, image_id: int) -> ImageEntry:
        """Return the metadata of an image.

        Raises:
            UnknownImageError: The project has no such image.
        """
        return self._entry(image_id, self._version)

    def _read_entry(self, image_id: int, version: int) -> ImageEntry:
        rows = []
        if 0 < image_id < 2**31:  # what the column can hold
            rows = self._store.rows(f"SELECT {', '.join(_COLUMNS)} FROM images WHERE image_id = ?", [image_id])
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

    def paths(self, image_id: int) -> list[tuple[PhotoRoot, str]]:
        """Return the (root, relative path) pairs of an image's files, without those that are gone."""
        return [(root, file.path) for root, file in self.seen_files(image_id) if not file.is_gone]

    def seen_files(self, image_id: int) -> tuple[tuple[PhotoRoot, SeenPath], ...]:
        """Return an image's files with their roots, as of the last ingest; those that are gone are last."""
        return self._paths(image_id, self._version)

    def _read_paths(self, image_id: int, version: int) -> tuple[tuple[PhotoRoot, SeenPath], ...]:
        rows = self._store.rows(
            "SELECT r.path, root_id, p.path, file_size, modified_ns, image_id, reason, content_hash, sidecars, is_gone "
            "FROM paths p JOIN roots r USING (root_id) WHERE p.image_id = ? ORDER BY is_gone, root_id, p.path",
            [image_id],
        )
        return tuple((known_root(root), SeenPath(*values)) for root, *values in rows)

    def photo_files(self) -> dict[int, PhotoFile]:
        """Return the first file of every image, by id: one that is gone if there is no other."""
        rows = self._store.rows(
            "SELECT i.image_id, any_value(i.content_hash), any_value(coalesce(i.shown_hash, i.content_hash)), "
            "coalesce(arg_min(p.root_id, k), 0), coalesce(arg_min(p.path, k), ''), coalesce(min(k).is_gone, true) "
            "FROM images i LEFT JOIN (SELECT *, {'is_gone': is_gone, 'root': root_id, 'path': path} AS k FROM paths) p "
            "USING (image_id) GROUP BY i.image_id ORDER BY i.image_id"
        )
        return {int(image_id): PhotoFile(*values) for image_id, *values in rows}

    def file_names(self) -> dict[int, tuple[str, str]]:
        """Return (content hash, first path) of every image, by id; the last known path if no file is left."""
        return {image_id: (file.content_hash, file.path) for image_id, file in self.photo_files().items()}

    def find(self, words: str, state: str, names: Names = lambda term: ()) -> list[int]:
        """Return the ids of images that fit a search, in ascending order.

        Case, accents and invisible letters are ignored (datasets/tags.py).

        Args:
            words: The text, in the language of datasets/photo_search.py; empty finds every image.
            state: ``all``, ``saved``, ``unsaved``, ``empty`` (saved without tags) or ``changed`` (other pixels since).
            names: Further tags that a word of the text stands for.
        """
        found: list[int] = self.search.find(words, state, names).tolist()
        return found

    def newest_first(self, date: str) -> Ids:
        """Return the ids of images that have a date, the newest first; equal ones in ascending order.

        Args:
            date: ``date`` (when the photo was taken) or ``saved`` (when its list was saved last).
        """
        tables = {
            "date": "FROM images WHERE taken_at IS NOT NULL ORDER BY taken_at DESC",
            "saved": "FROM annotations WHERE is_saved ORDER BY saved_at DESC",
        }
        return self._store.arrays(f"SELECT image_id {tables[date]}, image_id")["image_id"]

    def num_changed(self) -> int:
        """Return the number of images whose pixels changed after their tags were saved."""
        return int(self._store.rows(f"SELECT count(*) FROM ({CHANGED})")[0][0])

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

    def num_feature_rows(self) -> dict[str, int]:
        """Return name and version of each backbone -> the number of images with features of it."""
        rows = self._store.rows("SELECT backbone, count(*) FROM features GROUP BY backbone")
        return {str(backbone): int(number) for backbone, number in rows}


_SQL_TYPES = {
    str: "VARCHAR", str | None: "VARCHAR", int: "BIGINT", int | None: "BIGINT", float | None: "DOUBLE", bool: "BOOLEAN",
    datetime | None: "TIMESTAMP", tuple[str, ...]: "VARCHAR[]",
}  # fmt: skip


def _column_types(row: type) -> dict[str, str]:
    """Return the SQL type of each field of a dataclass, by its name."""
    return {column.name: _SQL_TYPES[column.type] for column in fields(row)}  # type: ignore[index]


_COLUMNS = tuple(column.name for column in fields(ImageEntry))
_UPDATE = f"UPDATE images SET {', '.join(f'{name} = ?' for name in _COLUMNS)} WHERE image_id = ?"
_IMAGE_TYPES = {"image_id": "BIGINT", **_column_types(ImageEntry), "added_at": "TIMESTAMP"}
_PATH_TYPES = _column_types(SeenPath)
_FEATURE_TYPES = {"backbone": "VARCHAR", "image_id": "BIGINT", "feature_row": "BIGINT"}


def _image_row(image_id: int, entry: ImageEntry, added_at: datetime) -> Row:
    return (image_id, *_values(entry, _COLUMNS), added_at)


def _values(row: ImageEntry | SeenPath, names: Iterable[str]) -> Row:
    """Return values as DuckDB takes them; not `dataclasses.astuple`, which copies each value."""
    values = (getattr(row, name) for name in names)
    return tuple(list(value) if isinstance(value, tuple) else value for value in values)


def _replace_paths(cursor: Cursor, root_id: int, paths: Sequence[SeenPath]) -> None:
    """Delete the rows of paths that are inserted next; that of another image stays as its last known path."""
    new = "(SELECT unnest(?::VARCHAR[]) AS path, unnest(?::INTEGER[]) AS image_id) n"
    values = [[seen.path for seen in paths], [seen.image_id for seen in paths], root_id]
    there = "paths.root_id = ? AND paths.path = n.path AND"
    cursor.execute(
        f"UPDATE paths SET is_gone = true FROM {new} WHERE {there} paths.image_id <> coalesce(n.image_id, 0)", values
    )
    cursor.execute(
        f"DELETE FROM paths USING {new} WHERE {there} coalesce(paths.image_id = n.image_id, paths.image_id IS NULL)",
        values,
    )


def _mark_gone(cursor: Cursor, root_id: int, paths: list[str]) -> None:
    """Mark paths as gone; of files that never were an image nothing remains."""
    cursor.execute(
        "DELETE FROM paths WHERE root_id = ? AND path IN (SELECT unnest(?::VARCHAR[])) AND image_id IS NULL",
        [root_id, paths],
    )
    cursor.execute(
        "UPDATE paths SET is_gone = true WHERE root_id = ? AND path IN (SELECT unnest(?::VARCHAR[]))",
        [root_id, paths],
    )


def _drop_former_paths(cursor: Cursor, placed: Sequence[int] | None = None) -> None:
    """Delete the last known paths of images that have a file again, or still have another.

    Args:
        cursor: In a transaction.
        placed: The only images to which that can apply, all with a file; None: any.
    """
    cursor.execute("SELECT 1 FROM paths WHERE is_gone LIMIT 1")
    if not cursor.fetchone():
        return
    if placed is not None:
        cursor.execute("DELETE FROM paths WHERE is_gone AND image_id IN (SELECT unnest(?::INTEGER[]))", [list(placed)])
        return
    cursor.execute(
        "DELETE FROM paths WHERE is_gone AND image_id IN "
        "(SELECT image_id FROM paths WHERE NOT is_gone AND image_id IS NOT NULL)"
    )


def _insert(cursor: Cursor, table: str, types: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Insert many rows by each statement, column by column.

    One statement for each row takes longer than decoding the photo, and one value after the other half as long again.

    Args:
        cursor: In a transaction.
        table: Its name.
        types: Column -> SQL type, in the order of the values.
        rows: The values.
    """
    columns = ", ".join(f"unnest(?::{sql_type}[])" for sql_type in types.values())
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        values = [list(column) for column in zip(*rows[start : start + ROWS_A_STATEMENT], strict=True)]
        cursor.execute(f"INSERT INTO {table} ({', '.join(types)}) SELECT {columns}", values)
