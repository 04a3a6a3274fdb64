"""Tags renamed, merged, split or aliased: each photo with such a tag gets another event; no event is edited.

Knows nothing of pages or models.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from annotator.datasets.tags import clean_tag, search_key, tag_key
from annotator.errors import TagError
from annotator.json_types import JsonObject
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.database import Store
from annotator.storage.queries import utc_now

KINDS = ("rename", "merge", "split", "alias")


@dataclass(frozen=True)
class TagChange:
    """One change of a tag."""

    change_id: int
    kind: str
    """rename (to an unused tag), merge (into a tag in use), split (to another tag on some photos) or alias (for later
    input only)."""
    old_tag: str
    new_tag: str
    changed_at: datetime
    user_name: str

    def to_json(self) -> JsonObject:
        """Return the change as JSON values; the time is UTC."""
        return {**asdict(self), "changed_at": f"{self.changed_at.isoformat()}Z"}


class TagChanges:
    """The changes of one project's tags, and the aliases that follow from them.

    Args:
        store: The open database.
        log: The correction log on it.
    """

    def __init__(self, store: Store, log: CorrectionLog) -> None:
        self._store = store
        self._log = log

    def all(self) -> list[TagChange]:
        """Return every change, oldest first."""
        rows = self._store.rows(
            "SELECT change_id, kind, old_tag, new_tag, changed_at, user_name FROM tag_changes ORDER BY change_id"
        )
        return [TagChange(*row) for row in rows]

    def aliases(self) -> dict[str, str]:
        """Return the current name of each changed tag by its key; the newest change of a tag counts."""
        aliases: dict[str, str] = {}
        for change in self.all():
            old, new = tag_key(change.old_tag), tag_key(change.new_tag)
            aliases.pop(new, None)
            if change.kind == "split":
                continue  # the old tag keeps its meaning on the other photos
            aliases |= {key: change.new_tag for key, target in aliases.items() if tag_key(target) == old}
            aliases[old] = change.new_tag
        return aliases

    def aliases_with(self, term: str) -> list[str]:
        """Return the current names of changed tags whose former name contains a search key (datasets/tags.py)."""
        return [tag for former, tag in self.aliases().items() if term in search_key(former)]

    def apply(
        self,
        kind: str,
        old: str,
        new: str,
        user: str,
        on_commit: Callable[[Annotation], None],
        among: Collection[int] | None = None,
    ) -> int:
        """Change a tag on every photo on which it was kept or dropped; return the number of photos.

        An interrupted call can be repeated: photos that are done do not change again.

        Args:
            kind: One of `KINDS`; an alias changes no photo.
            old: The tag before the change, in any spelling.
            new: The tag after the change.
            user: Who.
            on_commit: Called with each photo's new annotation, after its commit.
            among: The photos that a split concerns.

        Raises:
            TagError: A tag is not valid, both are the same, or the kind does not fit the tags in use.
            StoreError: A commit failed; earlier photos are done.
        """
        old, new = clean_tag(old), clean_tag(new)
        if tag_key(old) == tag_key(new) and kind != "rename":
            raise TagError(f"{old!r} and {new!r} are one tag already: only case or form differs.")
        carriers = list(self._carriers(old))
        if kind == "split":
            carriers = [item for item in carriers if among is None or item.image_id in among]
            carriers = [item for item in carriers if tag_key(old) in map(tag_key, item.tags)]
        if kind == "rename" and tag_key(old) != tag_key(new) and any(True for _ in self._carriers(new)):
            raise TagError(
                f"{new!r} is in use already. To make both one tag: annotator tags PROJECT merge {old!r} {new!r}."
            )
        if kind == "merge" and not any(True for _ in self._carriers(new)):
            raise TagError(f"No photo carries {new!r}. To give {old!r} that name: annotator tags PROJECT rename.")
        if kind != "alias":
            if not carriers:
                which = "None of these photos" if kind == "split" else "No photo"
                raise TagError(f"{which} carries {old!r}, so there is nothing to {kind}.")
            for annotation in carriers:
                on_commit(
                    self._log.rewrite(
                        annotation, _replaced(annotation.tags, old, new), _replaced(annotation.dropped, old, new), user
                    )
                )
        if tag_key(old) != tag_key(new):
            self._insert(kind, old, new, user)
        return 0 if kind == "alias" else len(carriers)

    def _carriers(self, tag: str) -> Iterator[Annotation]:
        """Yield the annotations with a tag, kept or dropped, by its key."""
        key = tag_key(tag)
        rows = self._store.rows("SELECT image_id, tags, dropped FROM annotations ORDER BY image_id")
        for image_id, tags, dropped in rows:
            if any(tag_key(other) == key for other in (*tags, *dropped)):
                yield self._log.annotation(int(image_id))

    def _insert(self, kind: str, old: str, new: str, user: str) -> None:
        with self._store.transaction() as cursor:
            row = cursor.execute("SELECT coalesce(max(change_id), 0) + 1 FROM tag_changes").fetchone()
            assert row is not None  # an aggregate has one row
            cursor.execute(
                "INSERT INTO tag_changes VALUES (?, ?, ?, ?, ?, ?)", [row[0], kind, old, new, utc_now(), user]
            )


def _replaced(tags: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    """Return a list with a tag replaced by another; of two equal tags, the first remains."""
    keys = {tag_key(old), tag_key(new)}
    found: list[str] = []
    for tag in tags:
        name = new if tag_key(tag) in keys else tag
        if name not in found:
            found.append(name)
    return tuple(found)
