"""Which tag is below which, as it was set in a project. Knows nothing of the database or of imported vocabularies."""

from collections.abc import Iterator, Mapping

from annotator.datasets.tags import tag_key
from annotator.errors import TagError


class TagParents:
    """The parents of tags.

    Args:
        parents: Key of a tag -> its parent; an empty parent says that the tag has none, whatever a vocabulary says.
    """

    def __init__(self, parents: Mapping[str, str] | None = None) -> None:
        self._parents = dict(parents or {})

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._parents.items())

    def of(self, tag: str) -> str | None:
        """Return the parent of a tag; empty: it has none; None: nothing was set."""
        return self._parents.get(tag_key(tag))

    def above(self, tag: str) -> tuple[str, ...]:
        """Return the tags above a tag as far as they were set, the highest first."""
        found: list[str] = []
        parent = self.of(tag)
        while parent and tag_key(parent) not in map(tag_key, found):
            found.append(parent)
            parent = self.of(parent)
        return tuple(reversed(found))

    def check(self, tag: str, parent: str) -> None:
        """Refuse a parent that is itself below the tag.

        Raises:
            TagError: It is.
        """
        if parent and tag_key(tag) in map(tag_key, self.above(parent)):
            raise TagError(f"{parent!r} is below {tag!r}, so it cannot be its parent. Nothing was changed.")
