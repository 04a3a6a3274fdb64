"""The imported vocabulary of a project in the database. Knows nothing of files or proposals."""

import json
from collections.abc import Mapping, Sequence

from annotator.datasets.tags import clean_tag, tag_key
from annotator.datasets.vocabulary_file import VocabularyTag
from annotator.errors import TagError
from annotator.storage.database import Store
from annotator.storage.tag_changes import parents_of, standing
from annotator.storage.tag_parents import TagParents

ROWS_A_STATEMENT = 5_000


class ImportedVocabulary:
    """The tags that a vocabulary file brought into the project; read once, as it changes only between servers.

    Args:
        tags: Those that may be proposed, in the file's order.
        aliases: Key of an alias -> its tag.
        use: ``extend``, ``restrict``, or empty: it is not used.
        levels: Key of a tag -> the tags above it, the highest first.
        groups: Key of a tag -> its class.
        forbidden: Key of a forbidden tag, or of an alias of one -> the tag.
        parents: Which tag is below which by the project; they come before the levels.
    """

    def __init__(
        self,
        tags: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
        use: str = "",
        levels: Mapping[str, tuple[str, ...]] | None = None,
        groups: Mapping[str, str] | None = None,
        forbidden: Mapping[str, str] | None = None,
        parents: TagParents | None = None,
    ) -> None:
        self.tags = tuple(tags)
        self.aliases = dict(aliases or {})
        """Key of an alias -> its tag."""
        self.use = use
        self.levels: Mapping[str, tuple[str, ...]] = levels or {}
        """Key of a tag -> the tags above it, the highest first."""
        self.groups: Mapping[str, str] = groups or {}
        """Key of a tag -> its class."""
        self.forbidden = dict(forbidden or {})
        """Key of a forbidden tag, or of an alias of one -> the tag."""
        self.parents = parents or TagParents()
        """Which tag is below which by the project; replaced when one is set."""
        self.spelling = {tag_key(tag): tag for tag in self.tags}
        """Key of a tag -> its spelling."""

    def permits(self, tag: str) -> bool:
        """Tell whether a tag may be proposed."""
        key = tag_key(tag)
        return key not in self.forbidden and (self.use != "restrict" or key in self.spelling)

    def is_forbidden(self, tag: str) -> bool:
        """Tell whether a tag may not be saved."""
        return tag_key(tag) in self.forbidden

    def group_of(self, tag: str) -> str:
        """Return the class of a tag; empty if it has none."""
        return self.groups.get(tag_key(tag), "")

    def levels_of(self, tag: str) -> tuple[str, ...]:
        """Return the tags above a tag, the highest first: by the project, and above these by the vocabulary."""
        own = self.parents.above(tag)
        highest = own[0] if own else tag
        if self.parents.of(highest) is not None:
            return own
        below = {tag_key(one) for one in (*own, tag)}
        return (*(one for one in self.levels.get(tag_key(highest), ()) if tag_key(one) not in below), *own)

    def check(self, tags: Sequence[str], own: Sequence[str] = ()) -> None:
        """Refuse forbidden tags.

        Args:
            tags: To save.
            own: The tags that the photo has already, which may stay.

        Raises:
            TagError: A tag is forbidden.
        """
        if not self.forbidden:
            return
        known = set(map(tag_key, own))
        for tag in tags:
            key = tag_key(clean_tag(tag))
            if key in self.forbidden and key not in known:
                raise TagError(f"The vocabulary of this project forbids {tag[:100]!r}. Nothing was saved.")

    def place_of(self, tag: str) -> str:
        """Return where a tag stands: its class and the tags above it; empty if it has neither."""
        key = tag_key(tag)
        return " \u00b7 ".join(
            part for part in (self.groups.get(key, ""), " \u203a ".join(self.levels_of(tag))) if part
        )


def imported_vocabulary(store: Store, use: str) -> ImportedVocabulary:
    """Return the vocabulary of a project.

    Args:
        store: The database.
        use: ``extend``, ``restrict``, or empty: it is not used.
    """
    query = "SELECT tag, aliases, levels, class, is_forbidden FROM vocabulary ORDER BY place"
    rows = store.rows(query) if use else []
    allowed = [(str(tag), names) for tag, names, *_, is_forbidden in rows if not is_forbidden]
    return ImportedVocabulary(
        [tag for tag, _ in allowed],
        {tag_key(alias): tag for tag, names in allowed for alias in names},
        use,
        {tag_key(tag): tuple(levels) for tag, _, levels, *_ in rows if levels},
        {tag_key(tag): str(group) for tag, _, _, group, _ in rows if group},
        {tag_key(name): str(tag) for tag, names, *_, is_gone in rows if is_gone for name in (tag, *names)},
        parents_of(standing(store)),
    )


def replace_vocabulary(store: Store, tags: Sequence[VocabularyTag]) -> None:
    """Commit a vocabulary in place of the former one.

    Raises:
        StoreError: The commit failed; nothing was written.
    """
    with store.transaction() as cursor:
        cursor.execute("DELETE FROM vocabulary")
        for start in range(0, len(tags), ROWS_A_STATEMENT):
            rows = [
                {"place": place, "tag": one.tag, "aliases": one.aliases, "levels": one.levels, "class": one.group,
                 "is_forbidden": one.is_forbidden}
                for place, one in enumerate(tags[start : start + ROWS_A_STATEMENT], start)
            ]  # fmt: skip
            cursor.execute(
                'INSERT INTO vocabulary SELECT unnest(from_json(?, \'[{"place": "INTEGER", "tag": "VARCHAR", '
                '"aliases": ["VARCHAR"], "levels": ["VARCHAR"], "class": "VARCHAR", "is_forbidden": "BOOLEAN"}]\'), '
                "recursive := true)",
                [json.dumps(rows)],
            )
