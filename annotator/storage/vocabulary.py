"""The imported vocabulary of a project in the database. Knows nothing of files or proposals."""

from collections.abc import Mapping, Sequence

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary_file import VocabularyTag
from annotator.storage.database import Store


class ImportedVocabulary:
    """The tags that a vocabulary file brought into the project; read once, as it changes only between servers.

    Args:
        tags: The tags.
        aliases: Key of an alias -> its tag.
        use: ``extend``, ``restrict``, or empty: it is not used.
    """

    def __init__(self, tags: Sequence[str] = (), aliases: Mapping[str, str] | None = None, use: str = "") -> None:
        self.tags = tuple(tags)
        self.aliases = dict(aliases or {})
        """Key of an alias -> its tag."""
        self.use = use
        self._keys = frozenset(map(tag_key, self.tags))

    def permits(self, tag: str) -> bool:
        """Tell whether a tag may be proposed."""
        return self.use != "restrict" or tag_key(tag) in self._keys


def imported_vocabulary(store: Store, use: str) -> ImportedVocabulary:
    """Return the vocabulary of a project.

    Args:
        store: The database.
        use: ``extend``, ``restrict``, or empty: it is not used.
    """
    rows = store.rows("SELECT tag, aliases FROM vocabulary ORDER BY place") if use else []
    aliases = {tag_key(alias): str(tag) for tag, names in rows for alias in names}
    return ImportedVocabulary([str(tag) for tag, _ in rows], aliases, use)


def replace_vocabulary(store: Store, tags: Sequence[VocabularyTag]) -> None:
    """Commit a vocabulary in place of the former one.

    Raises:
        StoreError: The commit failed; nothing was written.
    """
    with store.transaction() as cursor:
        cursor.execute("DELETE FROM vocabulary")
        places = list(range(len(tags)))
        names, aliases = [item.tag for item in tags], [list(item.aliases) for item in tags]
        cursor.execute(
            "INSERT INTO vocabulary SELECT unnest(?::INTEGER[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[][])",
            [places, names, aliases],
        )
