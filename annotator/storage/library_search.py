"""Which photos fit a search (datasets/photo_search.py), and how many there are of each tag, folder, year and person.

Knows nothing of pages.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from annotator.datasets.photo_search import Term, parse_search
from annotator.datasets.tags import search_key, tag_key
from annotator.storage.library_tables import NO_TAG, NO_YEAR, Ids, LibraryTables, Lists, Mask, chosen
from annotator.storage.queries import Queries

NUM_CACHED_WORDS = 8
FEW_TAGS = 4
"""So many tags are looked for one after the other, which is faster than to look up each tag of each list."""
Names = Callable[[str], Collection[str]]
"""Returns further tags that a search key stands for."""


@dataclass(frozen=True)
class Facets:
    """Value -> number of photos."""

    tags: Counter[str]
    """Of saved lists, by spelling."""
    folders: Counter[str]
    """The folder of each photo and every one above it, relative to the root, with "/"; photos directly in a root have
    none."""
    years: Counter[str]
    people: Counter[str]
    """Who saved the newest list."""


class LibrarySearch:
    """Finds photos among all of a project. Thread-safe.

    Args:
        queries: The open database.
        version: Returns a number that changes with the rows of images and files.
    """

    def __init__(self, queries: Queries, version: Callable[[], int]) -> None:
        self._queries = queries
        self._version = version
        self._tables = LibraryTables(queries)
        self._with_in_path = lru_cache(NUM_CACHED_WORDS)(self._find_in_paths)

    def find(self, words: str, state: str, names: Names) -> Ids:
        """Return the photos that fit a search, ascending.

        Args:
            words: The search; empty finds every photo.
            state: ``all``, ``saved``, ``unsaved``, ``empty`` (saved without tags) or ``changed`` (other pixels since).
            names: Further tags that a word stands for.

        Raises:
            StoreError: The database could not be read.
        """
        lists, files = self._tables.lists(), self._tables.files(self._version())
        size = max(len(lists.savers), int(files.photos.max(initial=0)) + 1)
        found = chosen(files.photos, size) & self._in_state(lists, state, size)
        for clause in parse_search(words):
            fits = np.zeros(size, bool)
            for term in clause:
                fits |= self._fits(lists, term, names, size) ^ term.is_excluded
            found &= fits
        return np.flatnonzero(found).astype(np.int32)

    def is_in_a_path(self, key: str) -> bool:
        """Tell whether a search key is contained in the path of a photo."""
        return len(self._with_in_path(key, self._version())) > 0

    def facets(self, image_ids: Ids | None) -> Facets:
        """Return the facets of some photos; None: of all.

        Raises:
            StoreError: The database could not be read.
        """
        lists, files = self._tables.lists(), self._tables.files(self._version())
        size = max(len(lists.savers), int(files.photos.max(initial=0)) + 1)
        among = np.ones(size, bool) if image_ids is None else chosen(image_ids, size)
        is_listed = among[: len(lists.is_saved)] & lists.is_saved
        years = files.year_codes[among[: len(files.year_codes)]]
        folders: Counter[str] = Counter()
        known = files.folder_photos < size
        of_folder = _counts(files.folders, files.folder_codes[known][among[files.folder_photos[known]]])
        for folder, number in of_folder.items():
            parts = folder.split("/") if folder else []
            for depth in range(1, len(parts) + 1):
                folders["/".join(parts[:depth])] += number
        return Facets(
            _counts(lists.tags, lists.tag_codes[is_listed[lists.image_ids]]),
            folders,
            _counts(files.years, years[years != NO_YEAR]),
            _counts(lists.people, lists.savers[is_listed]),
        )

    def _in_state(self, lists: Lists, state: str, size: int) -> Mask:
        if state == "all":
            return np.ones(size, bool)
        saved = _to(lists.is_saved, size)
        if state == "saved":
            return saved
        if state == "unsaved":
            return ~saved
        if state == "empty":
            return saved & ~_to(lists.first_tags != NO_TAG, size)
        rows = self._queries.arrays(CHANGED)
        return chosen(rows["image_id"], size)

    def _fits(self, lists: Lists, term: Term, names: Names, size: int) -> Mask:
        """Return which photos have what a term names, whether it excludes them or not."""
        if term.field == "tag":
            return _with_a_tag(lists, self._same(lists, term, names), size)
        if term.field == "first":
            wanted = np.append(_are(lists.tags, self._same(lists, term, names)), False)
            return _to(wanted[lists.first_tags], size)
        if term.field == "by":
            name = term.text.lower()
            wanted = np.append(np.array([person.lower() == name for person in lists.people], bool), False)
            return _to(wanted[lists.savers] & lists.is_saved, size)
        if term.field == "date":
            query = "SELECT image_id FROM images WHERE starts_with(taken_at, ?)"
            return chosen(self._queries.arrays(query, [term.text])["image_id"], size)
        if term.field == "folder":
            files = self._tables.files(self._version())
            start = term.key.replace("\\", "/").strip("/") + "/"
            wanted = np.array([f"{search_key(folder)}/".startswith(start) for folder in files.folders], bool)
            return chosen(files.folder_photos[wanted[files.folder_codes]], size)
        return self._holding(lists, term, names, size)

    def _holding(self, lists: Lists, term: Term, names: Names, size: int) -> Mask:
        """Return which photos have a tag or a path that contains a word."""
        # What is excluded is meant literally: a tag of similar meaning is not.
        further = set() if term.is_excluded else {tag_key(name) for name in names(term.key)}
        wanted = [tag for tag in lists.tags if term.key in search_key(tag) or tag_key(tag) in further]
        return _with_a_tag(lists, wanted, size) | chosen(self._with_in_path(term.key, self._version()), size)

    def _same(self, lists: Lists, term: Term, names: Names) -> Collection[str]:
        """Return the spellings of one tag; if no photo has it, the tags that it stands for."""
        key = tag_key(term.text)
        same = [tag for tag in lists.tags if tag_key(tag) == key]
        return same if _with_a_tag(lists, same, len(lists.savers)).any() or term.is_excluded else names(term.key)

    def _find_in_paths(self, key: str, version: int) -> Ids:
        files = self._tables.files(version)
        is_in = np.fromiter((key in path for path in files.keys), bool, len(files.keys))
        found: Ids = files.image_ids[is_in]
        return found


CHANGED = (
    "SELECT image_id FROM images i JOIN annotations a USING (image_id) WHERE a.is_saved AND i.changed_at > a.saved_at"
)
"""The photos whose pixels changed after their tags were saved."""


def _with_a_tag(lists: Lists, tags: Collection[str], size: int) -> Mask:
    wanted = _are(lists.tags, tags)
    codes = np.flatnonzero(wanted)
    if len(codes) > FEW_TAGS:
        return chosen(lists.image_ids[wanted[lists.tag_codes]], size)
    found = np.zeros(size, bool)
    for code in codes:
        found |= chosen(lists.image_ids[lists.tag_codes == code], size)
    return found


def _are(names: Iterable[str], wanted: Collection[str]) -> Mask:
    among = set(wanted)
    return np.array([name in among for name in names], bool)


def _to(mask: Mask, size: int) -> Mask:
    """Return a mask of another length; what is added is false."""
    longer = np.zeros(size, bool)
    longer[: len(mask)] = mask[:size]
    return longer


def _counts(names: Sequence[str], codes: Ids) -> Counter[str]:
    numbers = np.bincount(codes, minlength=len(names))
    return Counter({name: number for name, number in zip(names, numbers.tolist(), strict=True) if number})
