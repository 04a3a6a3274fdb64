"""Which photos fit one term of a search (datasets/photo_search.py): by tags, paths, dates and people.

Knows nothing of pages.
"""

from collections.abc import Callable, Collection, Sequence

from annotator.datasets.photo_search import Term
from annotator.datasets.tags import search_key, tag_key
from annotator.storage.queries import Queries

KeyedPaths = Sequence[tuple[int, str]]
"""(image id, search key of a path)."""

# Faster than list_has_any, which compares each list with each of the tags.
_WITH_A_TAG = (
    "SELECT DISTINCT image_id FROM (SELECT image_id, unnest(tags) AS tag FROM annotations) "
    "WHERE tag IN (SELECT unnest(?::VARCHAR[]))"
)


class PhotoMatches:
    """Finds the photos that fit a term.

    Args:
        queries: The open database.
        paths: Of every file, relative to its root.
        tags: Every tag in use, in every spelling.
        names: Further tags that a search key stands for.
    """

    def __init__(
        self,
        queries: Queries,
        paths: KeyedPaths,
        tags: Collection[str],
        names: Callable[[str], Collection[str]],
    ) -> None:
        self._queries = queries
        self._paths = paths
        self._tags = tags
        self._names = names

    def of(self, term: Term) -> set[int]:
        """Return the photos that fit a term, not those that it excludes.

        Raises:
            StoreError: The database could not be read.
        """
        if term.field == "tag":
            return self._ids(_WITH_A_TAG, self._same(term))
        if term.field == "first":
            return self._ids(
                "SELECT image_id FROM annotations WHERE tags[1] IN (SELECT unnest(?::VARCHAR[]))", self._same(term)
            )
        if term.field == "by":
            return self._ids(
                "SELECT image_id FROM annotations WHERE is_saved AND lower(user_name) = lower(?)", term.text
            )
        if term.field == "date":
            return self._ids("SELECT image_id FROM images WHERE starts_with(taken_at, ?)", term.text)
        if term.field == "folder":
            start = term.key.replace("\\", "/").strip("/") + "/"
            return {image_id for image_id, path in self._paths if path.startswith(start)}
        return self._holding(term)

    def _holding(self, term: Term) -> set[int]:
        """Return the photos with a tag or a path that contains a word."""
        # What is excluded is meant literally: a tag of similar meaning is not.
        further = set() if term.is_excluded else {tag_key(name) for name in self._names(term.key)}
        wanted = [tag for tag in self._tags if term.key in search_key(tag) or tag_key(tag) in further]
        found = self._ids(_WITH_A_TAG, wanted)
        found.update(image_id for image_id, path in self._paths if term.key in path)
        return found

    def _same(self, term: Term) -> list[str]:
        """Return the spellings of one tag; if no photo has it, the tags that it stands for."""
        key = tag_key(term.text)
        same = [tag for tag in self._tags if tag_key(tag) == key]
        return same if same or term.is_excluded else list(self._names(term.key))

    def _ids(self, query: str, value: object) -> set[int]:
        return {int(row[0]) for row in self._queries.rows(query, [value])}
