"""Tags renamed, merged, split or aliased: every photo that carries one gets a further event, none is edited.

Knows nothing of pages or models, and speaks SQL only through the store.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import TagError
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.database import Store
from annotator.storage.queries import utc_now

KINDS = ("rename", "merge", "split", "alias")


@dataclass(frozen=True)
class TagChange:
    """One change of a tag."""

    change_id: int
    kind: str
    """rename (to a tag nobody uses), merge (into one that is used), split (on some photos it is another tag) or alias
    (only what comes from now on)."""
    old_tag: str
    new_tag: str
    changed_at: datetime
    user_name: str


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
        """Return what each old tag, by its key, is called now; the newest word on a tag counts."""
        aliases: dict[str, str] = {}
        for change in self.all():
            old, new = tag_key(change.old_tag), tag_key(change.new_tag)
            aliases.pop(new, None)
            if change.kind == "split":
                continue  # the old tag goes on to mean what it means on the other photos
            aliases |= {key: change.new_tag for key, target in aliases.items() if tag_key(target) == old}
            aliases[old] = change.new_tag
        return aliases

    def apply(
        self,
        kind: str,
        old: str,
        new: str,
        user: str,
        took: Callable[[Annotation], None],
        among: Collection[int] | None = None,
    ) -> int:
        """Change a tag on every photo that carries or refused it; return how many photos that were.

        Interrupted, it can be repeated: photos that are done are not touched again.

        Args:
            kind: One of `KINDS`; an alias touches no photo.
            old: The tag as it was, in any spelling.
            new: The tag as it is to be.
            user: Who.
            took: Told of each photo's new annotation, after its commit.
            among: The photos that a split concerns.

        Raises:
            TagError: A tag cannot be kept, both are one, or the kind does not fit the tags in use.
            StoreError: A commit failed; the photos before it are done.
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
                took(
                    self._log.rewrite(
                        annotation, _put(annotation.tags, old, new), _put(annotation.dropped, old, new), user
                    )
                )
        if tag_key(old) != tag_key(new):
            self._note(kind, old, new, user)
        return 0 if kind == "alias" else len(carriers)

    def _carriers(self, tag: str) -> Iterator[Annotation]:
        """Yield the annotations that hold a tag, kept or dropped, by its key."""
        key = tag_key(tag)
        rows = self._store.rows("SELECT image_id, tags, dropped FROM annotations ORDER BY image_id")
        for image_id, tags, dropped in rows:
            if any(tag_key(other) == key for other in (*tags, *dropped)):
                yield self._log.annotation(int(image_id))

    def _note(self, kind: str, old: str, new: str, user: str) -> None:
        with self._store.transaction() as cursor:
            row = cursor.execute("SELECT coalesce(max(change_id), 0) + 1 FROM tag_changes").fetchone()
            assert row is not None  # an aggregate has one row
            cursor.execute(
                "INSERT INTO tag_changes VALUES (?, ?, ?, ?, ?, ?)", [row[0], kind, old, new, utc_now(), user]
            )


def _put(tags: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    """Return a list with one tag in another's place; where both stand, the one that stands first stays."""
    keys = {tag_key(old), tag_key(new)}
    found: list[str] = []
    for tag in tags:
        name = new if tag_key(tag) in keys else tag
        if name not in found:
            found.append(name)
    return tuple(found)
