"""Tags renamed, merged, split, deleted, aliased or put below another: what each change does, and what follows from all.

Each photo with such a tag gets another event; no event is edited. A change is one change of many photos
(bulk_changes.py) and is undone as one. Knows nothing of pages or models.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from annotator.datasets.tags import clean_tag, search_key, tag_key
from annotator.errors import TagError
from annotator.json_types import JsonObject
from annotator.storage.bulk_changes import BulkChanges, list_changes
from annotator.storage.carriers import Carrier, carriers
from annotator.storage.correction_log import Annotation, CorrectionLog, ListChange, stale
from annotator.storage.database import Store
from annotator.storage.queries import Cursor, utc_now
from annotator.storage.tag_parents import TagParents

KINDS = ("rename", "merge", "split", "alias", "delete", "parent")
TOUCH_NO_PHOTO = ("alias", "parent")
"""Kinds that change no list."""
NEEDS_NO_NEW_TAG = ("delete", "parent")
"""Kinds whose new tag may be empty."""


@dataclass(frozen=True)
class TagChange:
    """One change of a tag."""

    change_id: int
    kind: str
    """rename (to an unused tag, or to another spelling), merge (into a tag in use), split (to another tag on some
    photos), alias (for later input only), delete (from every list) or parent (below another tag)."""
    old_tag: str
    new_tag: str
    """Empty: a deleted tag, or one that has no parent any more."""
    changed_at: datetime
    user_name: str
    bulk_change_id: int | None
    """The change of many photos that it was; None: it was made by a version that could not undo one."""
    is_undone: bool

    def to_json(self) -> JsonObject:
        """Return the change as JSON values; the time is UTC."""
        return {
            "change_id": self.change_id,
            "kind": self.kind,
            "old_tag": self.old_tag,
            "new_tag": self.new_tag,
            "changed_at": f"{self.changed_at.isoformat()}Z",
            "user_name": self.user_name,
            "is_undone": self.is_undone,
        }


@dataclass(frozen=True)
class PlannedTagChange:
    """What a change would do now; see `TagChanges.plan`."""

    kind: str
    old: str
    new: str
    carriers: tuple[Carrier, ...]
    """The photos that it changes, by ascending image id."""
    changes: tuple[ListChange, ...]
    """One for each carrier, in the same order."""

    @property
    def num_kept(self) -> int:
        """Number of photos whose tags it changes; on the others only the refused tags change."""
        return sum(change.tags != change.annotation.tags for change in self.changes)

    @property
    def num_emptied(self) -> int:
        """Number of photos that it leaves without any tag."""
        return sum(bool(change.annotation.tags) and not change.tags for change in self.changes)

    def check_seen(self, seen_event: int) -> None:
        """Refuse a change of photos that were saved after somebody looked at what it would do.

        Args:
            seen_event: The newest event when they looked.

        Raises:
            StaleRevisionError: The list of a photo was written since.
        """
        later = [one.annotation for one in self.carriers if one.event_id > seen_event]
        if later:
            photos = "1 photo was" if len(later) == 1 else f"{len(later):,} photos were"
            raise stale(later[0], f"{photos} saved since you looked. Nothing was changed; look again.")


class TagChanges:
    """The changes of one project's tags, and the aliases and parents that follow from them.

    Args:
        store: The open database.
        log: The correction log on it.
    """

    def __init__(self, store: Store, log: CorrectionLog) -> None:
        self._store = store
        self._log = log

    def all(self) -> list[TagChange]:
        """Return every change, oldest first, also those that were undone."""
        return read_changes(self._store)

    def of_bulk_change(self, bulk_change_id: int) -> TagChange | None:
        """Return the change of a tag that a change of many photos was; None if it was something else."""
        return next((change for change in self.all() if change.bulk_change_id == bulk_change_id), None)

    def aliases(self) -> dict[str, str]:
        """Return the current name of each changed tag by its key; the newest change of a tag counts."""
        aliases: dict[str, str] = {}
        for change in standing(self._store):
            old, new = tag_key(change.old_tag), tag_key(change.new_tag)
            if change.kind not in ("rename", "merge", "split", "alias"):
                continue
            aliases.pop(new, None)
            if change.kind == "split" or old == new:
                continue  # the old tag keeps its meaning on the other photos, or is only spelled in another way
            aliases |= {key: change.new_tag for key, target in aliases.items() if tag_key(target) == old}
            aliases[old] = change.new_tag
        return aliases

    def parents(self) -> TagParents:
        """Return which tag is below which, as far as it was set in this project."""
        return parents_of(standing(self._store))

    def aliases_with(self, term: str) -> list[str]:
        """Return the current names of changed tags whose former name contains a search key (datasets/tags.py)."""
        return [tag for former, tag in self.aliases().items() if term in search_key(former)]

    def newest_event(self) -> int:
        """Return the id of the newest event of the log; 0 if there is none."""
        return int(self._store.rows("SELECT coalesce(max(event_id), 0) FROM events")[0][0])

    def plan(self, kind: str, old: str, new: str, among: Collection[int] | None = None) -> PlannedTagChange:
        """Return what a change would do, and change nothing.

        Args:
            kind: One of `KINDS`.
            old: The tag before the change, in any spelling.
            new: The tag after the change; a parent, or empty, for the kind ``parent``; not used by ``delete``.
            among: The photos that a split concerns.

        Raises:
            TagError: A tag is not valid, both are the same, or the kind does not fit the tags in use.
            StoreError: The database could not be read.
        """
        old = clean_tag(old)
        new = "" if kind == "delete" or (kind == "parent" and not new.strip()) else clean_tag(new)
        if tag_key(old) == tag_key(new) and kind != "rename":
            raise TagError(f"{old!r} and {new!r} are one tag already: only case or form differs.")
        if kind == "parent":
            self.parents().check(old, new)
        if kind in TOUCH_NO_PHOTO:
            return PlannedTagChange(kind, old, new, (), ())
        found = carriers(self._store, old)
        if kind in ("split", "delete"):  # a refusal stays
            found = [item for item in found if tag_key(old) in map(tag_key, item.annotation.tags)]
        if kind == "split" and among is not None:
            found = [item for item in found if item.annotation.image_id in among]
        self._check_use(kind, old, new, found)
        lists = []
        for item in found:
            one = item.annotation
            dropped = one.dropped if kind == "delete" else replaced(one.dropped, old, new)
            lists.append((one, replaced(one.tags, old, new), dropped))
        changes = list_changes(self._store, lists)
        return PlannedTagChange(kind, old, new, tuple(found), tuple(changes))

    def _check_use(self, kind: str, old: str, new: str, found: Sequence[Carrier]) -> None:
        is_new_in_use = tag_key(old) != tag_key(new) and bool(new) and bool(carriers(self._store, new))
        if kind == "rename" and is_new_in_use:
            raise TagError(
                f"{new!r} is in use already. To make both one tag: annotator tags PROJECT merge {old!r} {new!r}."
            )
        if kind == "merge" and not is_new_in_use:
            raise TagError(f"No photo carries {new!r}. To give {old!r} that name: annotator tags PROJECT rename.")
        if not found:
            which = "None of these photos" if kind == "split" else "No photo"
            raise TagError(f"{which} carries {old!r}, so there is nothing to {kind}.")

    def carry_out(self, planned: PlannedTagChange, user: str) -> tuple[int, list[Annotation]]:
        """Write a planned change, in one transaction and with one undo (`BulkChanges.undo`).

        Args:
            planned: From `plan`.
            user: Who.

        Returns:
            (id of the change of many photos, the new lists).

        Raises:
            StaleRevisionError: A photo was saved since it was planned; nothing was written.
            StoreError: The commit failed; nothing was written.
        """

        def note(cursor: Cursor, bulk_change_id: int) -> None:
            row = cursor.execute("SELECT coalesce(max(change_id), 0) + 1 FROM tag_changes").fetchone()
            assert row is not None  # an aggregate has one row
            cursor.execute(
                "INSERT INTO tag_changes VALUES (?, ?, ?, ?, ?, ?, ?)",
                [row[0], planned.kind, planned.old, planned.new, utc_now(), user, bulk_change_id],
            )

        bulk = BulkChanges(self._store, self._log)
        source = " -> ".join(part for part in (f"{planned.kind}: {planned.old}", planned.new) if part)
        return bulk.save_tag_change(planned.changes, source, user, note)

    def apply(
        self,
        kind: str,
        old: str,
        new: str,
        user: str,
        on_commit: Callable[[Annotation], None],
        among: Collection[int] | None = None,
        seen_event: int | None = None,
    ) -> tuple[int, int]:
        """Plan a change and carry it out.

        Args:
            kind: As of `plan`.
            old: As of `plan`.
            new: As of `plan`.
            user: Who.
            on_commit: Called with each photo's new annotation, after the commit.
            among: As of `plan`.
            seen_event: As of `PlannedTagChange.check_seen`.

        Returns:
            (number of photos, id of the change of many photos).

        Raises:
            TagError: As of `plan`.
            StaleRevisionError: A photo was saved since it was seen or planned; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        planned = self.plan(kind, old, new, among)
        if seen_event is not None:
            planned.check_seen(seen_event)
        bulk_change_id, annotations = self.carry_out(planned, user)
        for annotation in annotations:
            on_commit(annotation)
        return len(annotations), bulk_change_id


def read_changes(store: Store) -> list[TagChange]:
    """Return every change of a tag, oldest first, also those that were undone."""
    rows = store.rows(
        "SELECT t.change_id, t.kind, t.old_tag, t.new_tag, t.changed_at, t.user_name, t.bulk_change_id, "
        "b.undone_at IS NOT NULL FROM tag_changes t LEFT JOIN bulk_changes b ON b.change_id = t.bulk_change_id "
        "ORDER BY t.change_id"
    )
    return [TagChange(*row) for row in rows]


def standing(store: Store) -> list[TagChange]:
    """Return the changes that were not undone, oldest first."""
    return [change for change in read_changes(store) if not change.is_undone]


def parents_of(changes: Sequence[TagChange]) -> TagParents:
    """Return which tag is below which after changes, oldest first, of which none was undone."""
    parents: dict[str, str] = {}
    for change in changes:
        old, new = tag_key(change.old_tag), tag_key(change.new_tag)
        if change.kind == "parent":
            parents[old] = change.new_tag
        elif change.kind in ("rename", "merge"):
            own = parents.pop(old, None)
            if tag_key(parents.get(new, "")) == old:
                del parents[new]
            if own is not None and tag_key(own) != new:
                parents.setdefault(new, own)
            parents = {key: change.new_tag if tag_key(tag) == old else tag for key, tag in parents.items()}
            parents = {key: tag for key, tag in parents.items() if tag_key(tag) != key}
        elif change.kind == "delete":
            parents.pop(old, None)
            parents = {key: tag for key, tag in parents.items() if tag_key(tag) != old}
    return TagParents(parents)


def replaced(tags: Sequence[str], old: str, new: str) -> tuple[str, ...]:
    """Return a list with a tag replaced by another, or without it where `new` is empty; of equal tags, the first stays.

    Args:
        tags: Most important first.
        old: In any spelling.
        new: The tag in its place.
    """
    keys = {tag_key(old), tag_key(new)} - {""}
    names = (new if tag_key(tag) in keys else tag for tag in tags)
    return tuple(dict.fromkeys(name for name in names if name))
