"""Changes of many photos at once, each one transaction, and undone as one: imports, order rules, changes of tags.

Knows nothing of formats, rules or pages.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from annotator.errors import AnnotatorError
from annotator.storage.correction_log import ROWS_A_STATEMENT, Annotation, CorrectionLog, Draft, ListChange, write_draft
from annotator.storage.database import Store
from annotator.storage.field_values import write_value
from annotator.storage.queries import Cursor, Queries, utc, utc_now

Kind = Literal["accepted", "draft", "proposal", "reorder", "edit", "suggested"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""accepted: imported lists that count as saved; draft: imported as drafts; proposal: imported as words that come with
the photo, which proposals are made from; reorder: saved lists in another order; edit: tags added, removed or moved, in
saved lists and in drafts; suggested: suggestions that were saved as lists without a look at each photo."""
TAG = "tag"
"""Kind of the changes of a tag (tag_changes.py)."""
_EVENTS = {"accepted": "import", "reorder": "reorder", "edit": "edit", "suggested": "suggest"}
"""Kind of change -> kind of the events of its photos."""


FieldsOfImages = Mapping[int, Mapping[str, str]]
"""Image id -> field -> value."""
NO_FIELDS: FieldsOfImages = {}
NO_DRAFTS: Mapping[int, tuple[Draft | None, Draft]] = {}


class NoSuchChangeError(AnnotatorError):
    """There is no such change, or it was undone already."""


@dataclass(frozen=True)
class BulkChange:
    """One change of many photos."""

    change_id: int
    kind: str
    source: str
    """Format and file of an import, or the rules."""
    user_name: str
    changed_at: datetime
    undone_at: datetime | None
    num_photos: int


@dataclass(frozen=True)
class Undone:
    """What an undo did."""

    change: BulkChange
    annotations: tuple[Annotation, ...]
    """The lists after it, of changes that wrote lists."""
    image_ids: tuple[int, ...]
    """Photos on which it was undone."""
    later: tuple[int, ...]
    """Photos that were changed since, and kept."""

    @property
    def num_undone(self) -> int:
        """Number of photos on which it was undone."""
        return len(self.image_ids)


class BulkChanges:
    """The changes of many photos of one project.

    Args:
        store: The open database.
        log: The correction log on it.
    """

    def __init__(self, store: Store, log: CorrectionLog) -> None:
        self._store = store
        self._log = log

    def all(self) -> list[BulkChange]:
        """Return every change, oldest first."""
        rows = self._store.rows(
            "SELECT c.change_id, c.kind, c.source, c.user_name, c.changed_at, c.undone_at, "
            "(SELECT count(*) FROM bulk_change_photos p WHERE p.change_id = c.change_id) "
            "FROM bulk_changes c ORDER BY c.change_id"
        )
        return [BulkChange(*row) for row in rows]

    def newest_id(self) -> int | None:
        """Return the id of the newest change; None if there is none."""
        (row,) = self._store.rows("SELECT max(change_id) FROM bulk_changes")
        return None if row[0] is None else int(row[0])

    def described(self) -> list[dict[str, Any]]:
        """Return every change as JSON values, oldest first."""
        return [
            {
                "change_id": one.change_id,
                "kind": one.kind,
                "source": one.source,
                "user": one.user_name,
                "changed_at": utc(one.changed_at),
                "num_photos": one.num_photos,
                "is_undone": one.undone_at is not None,
            }
            for one in self.all()
        ]

    def save_lists(
        self,
        kind: Kind,
        changes: Sequence[ListChange],
        source: str,
        user: str,
        fields: FieldsOfImages = NO_FIELDS,
        drafts: Mapping[int, tuple[Draft | None, Draft]] = NO_DRAFTS,
    ) -> list[Annotation]:
        """Make lists current: imported ones (accepted), suggested, reordered or edited ones.

        Args:
            kind: Of the change.
            changes: One for each photo.
            source: Where they come from.
            user: Who.
            fields: Fields that come along.
            drafts: Image id -> the user's draft before and after, of photos that have no saved list.

        Raises:
            StaleRevisionError: A photo was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """

        def note(cursor: Cursor, first_id: int) -> None:
            change_id = _insert_change(cursor, kind, source, user)
            rows = _rows_of(change_id, changes, first_id)
            rows += [
                [change_id, image_id, None, list(before.kept) if before else [], list(after.kept)]
                for image_id, (before, after) in drafts.items()
            ]
            _insert_photos(cursor, rows)
            _write_fields(cursor, change_id, fields, user)

        written = {image_id: after for image_id, (_, after) in drafts.items()}
        return self._log.record_many(_EVENTS[kind], changes, user, note, written)

    def save_tag_change(
        self, changes: Sequence[ListChange], source: str, user: str, also: Callable[[Cursor, int], None]
    ) -> tuple[int, list[Annotation]]:
        """Make the lists current that a change of a tag leaves; there may be none.

        Args:
            changes: One for each photo.
            source: The change of the tag, in a few words.
            user: Who.
            also: Called within the transaction with its cursor and the id of the change, to write more.

        Returns:
            (id of the change, the new lists).

        Raises:
            StaleRevisionError: A photo was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        change_ids: list[int] = []

        def note(cursor: Cursor, first_id: int) -> None:
            change_ids.append(_insert_change(cursor, TAG, source, user))
            _insert_photos(cursor, _rows_of(change_ids[0], changes, first_id))
            also(cursor, change_ids[0])

        annotations = self._log.record_many("rename", changes, user, note)
        return change_ids[0], annotations

    def save_drafts(
        self,
        lists: Mapping[int, tuple[int, tuple[str, ...]]],
        source: str,
        user: str,
        fields: FieldsOfImages = NO_FIELDS,
    ) -> None:
        """Store lists as drafts of a user.

        Args:
            lists: Image id -> (revision, tags).
            source: Where they come from.
            user: Whose drafts.
            fields: Fields that come along.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        drafts = {image_id: Draft(revision, tags) for image_id, (revision, tags) in lists.items()}

        def note(cursor: Cursor) -> None:
            change_id = _insert_change(cursor, "draft", source, user)
            _insert_photos(cursor, [[change_id, i, None, [], list(draft.kept)] for i, draft in drafts.items()])
            _write_fields(cursor, change_id, fields, user)

        self._log.save_drafts(drafts, user, note)

    def save_words(
        self, lists: Mapping[int, tuple[str, ...]], source: str, user: str, fields: FieldsOfImages = NO_FIELDS
    ) -> None:
        """Store lists as words that come with the photos; they are read when the project is opened.

        Args:
            lists: Image id -> the photo's whole list of such words.
            source: Where they come from.
            user: Who.
            fields: Fields that come along.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        before = {int(i): list(tags) for i, tags in self._store.rows("SELECT image_id, user_tags FROM images")}
        with self._store.transaction() as cursor:
            change_id = _insert_change(cursor, "proposal", source, user)
            for image_id, tags in lists.items():
                cursor.execute("UPDATE images SET user_tags = ? WHERE image_id = ?", [list(tags), image_id])
            _insert_photos(cursor, [[change_id, i, None, before[i], list(tags)] for i, tags in lists.items()])
            _write_fields(cursor, change_id, fields, user)
        self._store.images.reread()

    def undo(self, user: str, change_id: int | None = None) -> Undone:
        """Undo a change; photos that were changed since keep their list.

        Args:
            user: Who.
            change_id: Which; None takes the newest that was not undone.

        Raises:
            NoSuchChangeError: There is none.
            StoreError: The commit failed; nothing was undone.
        """
        open_changes = [one for one in self.all() if one.undone_at is None and change_id in (None, one.change_id)]
        if not open_changes:
            raise NoSuchChangeError("There is nothing to undo." if change_id is None else
                                    f"There is no change {change_id} that is not undone yet.")  # fmt: skip
        change = open_changes[-1]
        if change.kind == "draft":
            return self._undo_drafts(change)
        return self._undo_words(change) if change.kind == "proposal" else self._undo_lists(change, user)

    def _undo_lists(self, change: BulkChange, user: str) -> Undone:
        rows = self._store.rows(
            "SELECT p.image_id, p.event_id, a.event_id, a.revision, a.tags, a.dropped, a.is_saved, p.before_tags, "
            "e.dropped, e.is_saved FROM bulk_change_photos p JOIN annotations a USING (image_id) "
            "LEFT JOIN events e ON e.image_id = p.image_id AND e.revision = a.revision - 1 AND e.kind <> 'skip' "
            "WHERE p.change_id = ? AND p.event_id IS NOT NULL ORDER BY p.image_id",
            [change.change_id],
        )
        undoes, later = [], []
        for image_id, event_id, newest, revision, tags, dropped, is_saved, before, was_dropped, was_saved in rows:
            if newest != event_id:
                later.append(int(image_id))
                continue
            now = Annotation(int(image_id), int(revision), tuple(tags), tuple(dropped), bool(is_saved))
            undoes.append(ListChange(now, tuple(before), tuple(was_dropped or ()), bool(was_saved), int(event_id)))
        drafts = self._drafts_of(change)
        new = [image_id for image_id, before, _, is_unchanged in drafts if is_unchanged and not before]

        def note(cursor: Cursor, _: int) -> None:
            # The drafts are those of the person who made the change, whoever undoes it.
            for image_id, before, now, is_unchanged in drafts:
                if is_unchanged and before:
                    write_draft(cursor, image_id, change.user_name, replace(now, kept=before))
            _delete_drafts(cursor, new, change.user_name)
            _mark_undone(cursor, change)

        annotations = self._log.record_many("undo", undoes, user, note)
        self._log.forget_drafts(new, change.user_name)
        image_ids = [one.image_id for one in annotations] + [draft[0] for draft in drafts if draft[3]]
        return Undone(change, tuple(annotations), tuple(image_ids), (*later, *(d[0] for d in drafts if not d[3])))

    def _drafts_of(self, change: BulkChange) -> list[tuple[int, tuple[str, ...], Draft, bool]]:
        """Return (image id, tags before a change, draft now, whether it is as the change left it) of its drafts."""
        rows = self._store.rows(
            "SELECT p.image_id, p.before_tags, p.after_tags, d.revision, d.kept, d.dropped "
            "FROM bulk_change_photos p LEFT JOIN drafts d ON d.image_id = p.image_id AND d.user_name = ? "
            "WHERE p.change_id = ? AND p.event_id IS NULL ORDER BY p.image_id",
            [change.user_name, change.change_id],
        )
        return [
            (int(i), tuple(before), Draft(revision or 0, tuple(kept or ()), tuple(dropped or ())), kept == after)
            for i, before, after, revision, kept, dropped in rows
        ]

    def _undo_drafts(self, change: BulkChange) -> Undone:
        drafts = self._drafts_of(change)
        unchanged = [image_id for image_id, _, _, is_unchanged in drafts if is_unchanged]
        with self._store.transaction() as cursor:
            _delete_drafts(cursor, unchanged, change.user_name)
            _mark_undone(cursor, change)
        self._log.forget_drafts(unchanged, change.user_name)
        return Undone(change, (), tuple(unchanged), tuple(draft[0] for draft in drafts if not draft[3]))

    def _undo_words(self, change: BulkChange) -> Undone:
        rows = self._store.rows(
            "SELECT p.image_id, p.before_tags, p.after_tags, i.user_tags FROM bulk_change_photos p "
            "JOIN images i USING (image_id) WHERE p.change_id = ?",
            [change.change_id],
        )
        unchanged = [(int(image_id), before) for image_id, before, after, now in rows if now == after]
        with self._store.transaction() as cursor:
            for image_id, before in unchanged:
                cursor.execute("UPDATE images SET user_tags = ? WHERE image_id = ?", [list(before), image_id])
            _mark_undone(cursor, change)
        self._store.images.reread()
        kept = {image_id for image_id, _ in unchanged}
        return Undone(change, (), tuple(kept), tuple(int(row[0]) for row in rows if int(row[0]) not in kept))


def list_changes(
    store: Queries, lists: Sequence[tuple[Annotation, tuple[str, ...], tuple[str, ...]]]
) -> list[ListChange]:
    """Return the changes of lists, with what was shown before the save and by which tagger.

    The training on corrections reads these of the newest event of a photo.

    Args:
        store: The open database.
        lists: Each list as it is, and its tags and dropped tags after the change.
    """
    shown = {
        int(image_id): (tagger or "", json.loads(text) if text else ())
        for image_id, tagger, text in store.rows(
            "SELECT a.image_id, e.tagger, CAST(e.shown AS VARCHAR) FROM annotations a JOIN events e USING (event_id) "
            "WHERE a.image_id IN (SELECT unnest(?::INTEGER[]))",
            [[annotation.image_id for annotation, _, _ in lists]],
        )
    }
    changes = []
    for annotation, tags, dropped in lists:
        tagger, proposals = shown[annotation.image_id]
        changes.append(ListChange(annotation, tags, dropped, annotation.is_saved, tagger=tagger, shown=proposals))
    return changes


def _rows_of(change_id: int, changes: Sequence[ListChange], first_id: int) -> list[list[object]]:
    return [
        [change_id, change.annotation.image_id, event_id, list(change.annotation.tags), list(change.tags)]
        for event_id, change in enumerate(changes, start=first_id)
    ]


def _insert_change(cursor: Cursor, kind: str, source: str, user: str) -> int:
    row = cursor.execute("SELECT coalesce(max(change_id), 0) + 1 FROM bulk_changes").fetchone()
    assert row is not None  # an aggregate has one row
    cursor.execute("INSERT INTO bulk_changes VALUES (?, ?, ?, ?, ?, NULL)", [row[0], kind, source, user, utc_now()])
    return int(row[0])


def _insert_photos(cursor: Cursor, rows: Sequence[Sequence[object]]) -> None:
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        names = ("change_id", "image_id", "event_id", "before", "after")
        part = [dict(zip(names, row, strict=True)) for row in rows[start : start + ROWS_A_STATEMENT]]
        cursor.execute(
            'INSERT INTO bulk_change_photos SELECT unnest(from_json(?, \'[{"change_id": "INTEGER", '
            '"image_id": "INTEGER", "event_id": "BIGINT", "before": ["VARCHAR"], "after": ["VARCHAR"]}]\'), '
            "recursive := true)",
            [json.dumps(part)],
        )


def _write_fields(cursor: Cursor, change_id: int, fields: FieldsOfImages, user: str) -> None:
    """Write fields of photos, and what they were before, for the undo."""
    for image_id, values in fields.items():
        for name, value in values.items():
            cursor.execute(
                "INSERT INTO bulk_change_fields SELECT ?, ?, ?, coalesce((SELECT value FROM field_values "
                "WHERE image_id = ? AND field = ?), ''), ?",
                [change_id, image_id, name, image_id, name, value],
            )
            write_value(cursor, image_id, name, value, user)


def _delete_drafts(cursor: Cursor, image_ids: Sequence[int], user: str) -> None:
    cursor.execute(
        "DELETE FROM drafts WHERE user_name = ? AND image_id IN (SELECT unnest(?::INTEGER[]))", [user, list(image_ids)]
    )


def _undo_fields(cursor: Cursor, change: BulkChange) -> None:
    """Give fields back what they were before a change, unless somebody has written there since."""
    cursor.execute(
        "SELECT c.image_id, c.field, c.before_value FROM bulk_change_fields c JOIN field_values v "
        "ON v.image_id = c.image_id AND v.field = c.field AND v.value = c.after_value WHERE c.change_id = ?",
        [change.change_id],
    )
    for image_id, name, before in cursor.fetchall():
        write_value(cursor, int(image_id), str(name), str(before), change.user_name)


def _mark_undone(cursor: Cursor, change: BulkChange) -> None:
    _undo_fields(cursor, change)
    cursor.execute("UPDATE bulk_changes SET undone_at = ? WHERE change_id = ?", [utc_now(), change.change_id])
