"""The photos that carry a tag, in any of its spellings, by the database. Knows nothing of changes of tags."""

from dataclasses import dataclass

from annotator.datasets.tags import tag_key
from annotator.storage.correction_log import Annotation
from annotator.storage.database import Store


@dataclass(frozen=True)
class Carrier:
    """The list of a photo on which a tag was kept or refused."""

    annotation: Annotation
    """The list now."""
    event_id: int
    """Of the event that wrote it."""
    is_asked: bool
    """Whether several people are asked about the photo, who do not see one another's lists."""


def carriers(store: Store, tag: str) -> list[Carrier]:
    """Return the photos on which a tag was kept or refused, by ascending image id.

    Raises:
        StoreError: The database could not be read.
    """
    same = spellings(store, tag)
    rows = store.rows(
        "SELECT a.image_id, a.revision, a.tags, a.dropped, a.is_saved, a.user_name, a.saved_at, a.event_id, "
        "a.image_id IN (SELECT image_id FROM asked) FROM annotations a "
        "WHERE list_has_any(a.tags, ?::VARCHAR[]) OR list_has_any(a.dropped, ?::VARCHAR[]) ORDER BY a.image_id",
        [same, same],
    )
    return [
        Carrier(
            Annotation(int(i), int(revision), tuple(tags), tuple(dropped), bool(is_saved), str(user), saved_at),
            int(event_id),
            bool(is_asked),
        )
        for i, revision, tags, dropped, is_saved, user, saved_at, event_id, is_asked in rows
    ]


def newest_carriers(store: Store, tag: str, limit: int) -> list[int]:
    """Return saved photos with a tag, at most `limit`: where it ranks highest first, then those saved last.

    Photos that several people are asked about are left out.

    Raises:
        StoreError: The database could not be read.
    """
    same = spellings(store, tag)
    rows = store.rows(
        "SELECT image_id FROM annotations WHERE is_saved AND list_has_any(tags, ?::VARCHAR[]) "
        "AND image_id NOT IN (SELECT image_id FROM asked) "
        "ORDER BY list_min(list_transform(?::VARCHAR[], lambda one: nullif(list_position(tags, one), 0))), "
        "event_id DESC LIMIT ?",
        [same, same, limit],
    )
    return [int(row[0]) for row in rows]


def spellings(store: Store, tag: str) -> list[str]:
    """Return the spellings of a tag that the lists hold, kept or refused.

    Raises:
        StoreError: The database could not be read.
    """
    key = tag_key(tag)
    rows = store.rows("SELECT DISTINCT unnest(list_concat(tags, dropped)) AS tag FROM annotations ORDER BY tag")
    return [str(spelling) for (spelling,) in rows if tag_key(spelling) == key]
