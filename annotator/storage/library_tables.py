"""What searches and facets of the library read, in memory: the newest list of every photo, and its files.

Arrays, since a million photos with ten tags each are ten million tags: they take 8 bytes a tag here, and counting them
takes a tenth of the time of a query that unfolds every list. Knows nothing of searches.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import search_key
from annotator.storage.queries import Queries

Ids = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
"""One value for each image id from 0 to the largest."""
NOBODY, NO_TAG, NO_YEAR = -1, -1, -1

_NEWEST = "SELECT coalesce(max(event_id), 0), count(*) FROM annotations"
_NAMES = (
    "SELECT DISTINCT unnest(tags) AS tag FROM annotations WHERE event_id > ?",
    "SELECT DISTINCT user_name FROM annotations WHERE event_id > ?",
)
_CODES = "(SELECT unnest(?::VARCHAR[]) AS name, unnest(range(?))::INTEGER AS code)"


@dataclass(frozen=True)
class Lists:
    """The newest list of every photo that was ever saved."""

    newest_event: int
    num_lists: int
    tags: tuple[str, ...]
    """Every tag, in every spelling; it may hold some that no list has any more."""
    people: tuple[str, ...]
    image_ids: Ids
    """Shape (M,): the photo of each tag of each list."""
    tag_codes: Ids
    """Shape (M,): the tag, as an index of `tags`."""
    first_tags: Ids
    """By image id: the first tag, or NO_TAG."""
    savers: Ids
    """By image id: who saved it, as an index of `people`, or NOBODY."""
    is_saved: Mask
    """By image id."""


@dataclass(frozen=True)
class Files:
    """The photos, and their files as of the last ingest, those that are gone too."""

    photos: Ids
    """Every image id, ascending."""
    image_ids: Ids
    """Shape (P,): the photo that each file shows."""
    keys: tuple[str, ...]
    """Length P: the search key of each file's path, relative to its root."""
    folder_photos: Ids
    """Shape (Q,): the photos of each folder, each once."""
    folder_codes: Ids
    """Shape (Q,): the folder, as an index of `folders`."""
    folders: tuple[str, ...]
    """Relative to the root, with "/"; that of a root is empty."""
    year_codes: Ids
    """By image id: the year in which the photo was taken, as an index of `years`, or NO_YEAR."""
    years: tuple[str, ...]


class LibraryTables:
    """Reads the lists and the files once, then only what has changed. Thread-safe.

    Args:
        queries: The open database.
    """

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._lock = threading.Lock()
        self._lists: Lists | None = None
        self._files: tuple[int, Files] | None = None

    def lists(self) -> Lists:
        """Return every list as of the last commit.

        Raises:
            StoreError: The database could not be read.
        """
        with self._lock:
            ((newest, number),) = self._queries.rows(_NEWEST)
            known = self._lists
            if known is None or (newest, number) != (known.newest_event, known.num_lists):
                changed = None if known is None else self._read_lists(known, int(newest), int(number))
                # Fewer lists than expected: some were removed, or came with an earlier event's number.
                if changed is None or np.count_nonzero(changed.savers != NOBODY) != number:
                    changed = self._read_lists(_NO_LISTS, int(newest), int(number))
                known = self._lists = changed
            return known

    def files(self, version: int) -> Files:
        """Return every file.

        Args:
            version: A number that changes with the rows of images and files.

        Raises:
            StoreError: The database could not be read.
        """
        with self._lock:
            if self._files is None or self._files[0] != version:
                self._files = version, self._read_files()
            return self._files[1]

    def _read_lists(self, known: Lists, newest: int, number: int) -> Lists:
        """Return lists with those that were saved after the newest event that is known."""
        since = known.newest_event
        tags, people = (
            _joined(names, self._queries.rows(query, [since]))
            for names, query in zip((known.tags, known.people), _NAMES, strict=True)
        )
        # In this order: of a list that is saved meanwhile, the old tags stay until the next call.
        rows = self._queries.arrays(
            f"SELECT image_id, is_saved, code FROM annotations JOIN {_CODES} ON name = user_name WHERE event_id > ?",
            [list(people), len(people), since],
        )
        tag_rows = self._queries.arrays(
            "SELECT image_id, code, rank FROM (SELECT image_id, unnest(tags) AS name, unnest(range(len(tags))) AS rank "
            f"FROM annotations WHERE event_id > ?) JOIN {_CODES} USING (name)",
            [since, list(tags), len(tags)],
        )
        photos = rows["image_id"]
        size = max(int(photos.max(initial=0)) + 1, len(known.savers))
        savers, first_tags = _grown(known.savers, size, NOBODY), _grown(known.first_tags, size, NO_TAG)
        is_saved, is_new = _grown(known.is_saved, size, fill=False), np.zeros(size, bool)
        is_new[photos] = True
        savers[photos], is_saved[photos], first_tags[photos] = rows["code"], rows["is_saved"], NO_TAG
        is_read = is_new[np.minimum(tag_rows["image_id"], size - 1)] if size else np.zeros(0, bool)
        image_ids, codes, ranks = (tag_rows[name][is_read] for name in ("image_id", "code", "rank"))
        first_tags[image_ids[ranks == 0]] = codes[ranks == 0]
        stays = ~is_new[known.image_ids]
        return Lists(
            newest, number, tags, people,
            np.concatenate([known.image_ids[stays], image_ids]).astype(np.int32, copy=False),
            np.concatenate([known.tag_codes[stays], codes]).astype(np.int32, copy=False),
            first_tags, savers, is_saved,
        )  # fmt: skip

    def _read_files(self) -> Files:
        photos = self._queries.arrays("SELECT image_id FROM images ORDER BY image_id")["image_id"]
        rows = self._queries.rows("SELECT image_id, path FROM paths WHERE image_id IS NOT NULL")
        folders: dict[str, int] = {}
        folder_codes = np.fromiter(
            (folders.setdefault(_folder(path), len(folders)) for _, path in rows), np.int64, len(rows)
        )
        image_ids = np.fromiter((image_id for image_id, _ in rows), np.int32, len(rows))
        placed = np.unique(folder_codes << 32 | image_ids)
        years: dict[str, int] = {}
        year_codes = np.full(int(photos.max(initial=0)) + 1, NO_YEAR, np.int32)
        for image_id, year in self._queries.rows(
            "SELECT image_id, left(taken_at, 4) FROM images WHERE taken_at IS NOT NULL"
        ):
            if image_id < len(year_codes):
                year_codes[image_id] = years.setdefault(year, len(years))
        return Files(
            photos.astype(np.int32, copy=False),
            image_ids,
            tuple(search_key(path) for _, path in rows),
            (placed & 0xFFFFFFFF).astype(np.int32),
            (placed >> 32).astype(np.int32),
            tuple(folders),
            year_codes,
            tuple(years),
        )


def chosen(image_ids: Ids, size: int) -> Mask:
    """Return a mask in which these photos are true; ids from ``size`` on are left out."""
    mask = np.zeros(size, bool)
    mask[image_ids[image_ids < size]] = True
    return mask


def _grown(values: npt.NDArray[Any], size: int, fill: object) -> npt.NDArray[Any]:
    """Return a copy of an array, made longer."""
    longer = np.full(size, fill, values.dtype)
    longer[: len(values)] = values
    return longer


def _joined(known: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*known, *(str(row[0]) for row in rows)]))


def _folder(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[0]


_NO_LISTS = Lists(
    0, 0, (), (), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32),
    np.empty(0, bool),
)  # fmt: skip
