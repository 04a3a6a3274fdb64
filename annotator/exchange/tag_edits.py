"""One edit of the tags of many photos: what would change, and the change. Knows nothing of pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from annotator.datasets.tags import tag_key
from annotator.errors import ConfigError
from annotator.storage.bulk_changes import BulkChanges, list_changes
from annotator.storage.correction_log import Annotation, CorrectionLog, Draft
from annotator.storage.database import Store


@dataclass(frozen=True)
class TagEdit:
    """Tags to add, remove, replace and put first, in this order: removed and replaced ones, added ones, first ones."""

    add: tuple[str, ...] = ()
    """At the end of lists that do not have them."""
    remove: tuple[str, ...] = ()
    replace: Mapping[str, str] = field(default_factory=dict)
    """Tag -> the tag that takes its rank; in a list that has both, the better rank stays."""
    first: tuple[str, ...] = ()
    """Moved to the top in this order, and added to lists that do not have them."""

    def __post_init__(self) -> None:
        if not (self.add or self.remove or self.replace or self.first):
            raise ConfigError("Name a tag to add, to remove, to replace or to put first.")

    def apply(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Return a list after the edit."""
        removed = set(map(tag_key, self.remove))
        replaced = {tag_key(old): new for old, new in self.replace.items()}
        kept = [replaced.get(tag_key(tag), tag) for tag in tags if tag_key(tag) not in removed]
        own = {tag_key(tag): tag for tag in kept}
        by_key: dict[str, str] = {}
        for tag in (*(own.get(tag_key(tag), tag) for tag in self.first), *kept, *self.add):
            by_key.setdefault(tag_key(tag), tag)
        return tuple(by_key.values())

    def described(self) -> str:
        """Return the edit in a few words, for the history."""
        parts = [
            f"{verb} {', '.join(tags[:3])}{', ...' if len(tags) > 3 else ''}"
            for verb, tags in (
                ("add", self.add),
                ("remove", self.remove),
                ("replace", [f"{old} by {new}" for old, new in self.replace.items()]),
                ("first", self.first),
            )
            if tags
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class PlannedEdit:
    """What an edit would do to some photos."""

    lists: tuple[tuple[Annotation, tuple[str, ...]], ...]
    """Saved lists that change: each as it is, and its tags after the edit."""
    drafts: Mapping[int, tuple[Draft | None, Draft]]
    """Image id -> the user's draft before and after, of photos without a saved list that get a tag."""
    num_closed: int
    """Photos that this user may not change, or that several people are asked about: they stay as they are."""

    @property
    def image_ids(self) -> list[int]:
        """Every photo that changes."""
        return [annotation.image_id for annotation, _ in self.lists] + list(self.drafts)


def plan_edit(
    store: Store,
    log: CorrectionLog,
    image_ids: Sequence[int],
    edit: TagEdit,
    user: str,
    is_closed: Callable[[int], bool],
) -> PlannedEdit:
    """Return what an edit would do.

    A photo without a saved list is not finished by it: what it gets is kept in the user's draft, and tags of a draft
    change as those of a list do.

    Args:
        store: The open database.
        log: The correction log on it.
        image_ids: The chosen photos.
        edit: What to do.
        user: Who.
        is_closed: Tells whether this user may not change a photo.

    Raises:
        StoreError: The database could not be read.
    """
    asked = {int(row[0]) for row in store.rows("SELECT image_id FROM asked")}
    lists, drafts, num_closed = [], {}, 0
    for annotation in log.annotations(image_ids):
        image_id = annotation.image_id
        if image_id in asked or is_closed(image_id):
            num_closed += 1
            continue
        if annotation.is_saved:
            tags = edit.apply(annotation.tags)
            if tags != annotation.tags:
                lists.append((annotation, tags))
            continue
        draft = log.draft(image_id, user)
        before = draft.kept if draft else ()
        kept = edit.apply(before)
        if kept != before:
            keys = set(map(tag_key, kept))
            dropped = tuple(tag for tag in (draft.dropped if draft else ()) if tag_key(tag) not in keys)
            drafts[image_id] = (draft, Draft(draft.revision if draft else annotation.revision, kept, dropped))
    return PlannedEdit(tuple(lists), drafts, num_closed)


def carry_out_edit(
    store: Store, log: CorrectionLog, planned: PlannedEdit, edit: TagEdit, user: str
) -> list[Annotation]:
    """Save what was planned, in one transaction and with one undo (`BulkChanges.undo`); return the new lists.

    What was shown, and by which tagger, is kept for the training on corrections. A tag that is added is no longer
    among the refused ones.

    Raises:
        StaleRevisionError: A photo was saved meanwhile; nothing was written.
        StoreError: The commit failed; nothing was written.
    """
    lists = []
    for annotation, tags in planned.lists:
        keys = set(map(tag_key, tags))
        lists.append((annotation, tags, tuple(tag for tag in annotation.dropped if tag_key(tag) not in keys)))
    changes = list_changes(store, lists)
    return BulkChanges(store, log).save_lists("edit", changes, edit.described(), user, drafts=planned.drafts)
