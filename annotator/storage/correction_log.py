"""The append-only log of corrections, and the current annotations derived from it.

A save returns only after its commit. Each save names the revision it was made on; a stale one is refused.
Knows nothing of proposals or pages.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from annotator.errors import AnnotatorError, StaleRevisionError
from annotator.storage.database import Store
from annotator.storage.edit_script import diff
from annotator.storage.event_digests import COLUMNS, FIRST, next_digest
from annotator.storage.queries import Cursor, Queries, utc_now

ROWS_A_STATEMENT = 1_000
"""Rows that one statement of a change of many photos inserts."""
GROUP_MEMBER = "group"
"""Action of a save that was made together with that of the open photo: ``["group", image id of the open photo, photos
asked for]``. It has no keys and no seconds of its own."""
GROUP_LEAD = "lead_group"
"""Action of the save of the open photo: ``["lead_group", number of photos saved with it]``."""

IS_SKIPPED = "arg_max(kind = 'skip' AND undoes IS NULL, event_id)"
"""SQL over the events of an image: whether its newest one skips it."""
NOT_LOOKED_AT = """
    SELECT image_id FROM events e
    WHERE image_id IN (SELECT image_id FROM events WHERE kind = 'suggest')
    AND kind NOT IN ('skip', 'undo', 'reorder', 'edit', 'rename')
    AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.event_id)
    GROUP BY image_id HAVING arg_max(kind, event_id) = 'suggest'
"""
"""SQL: the images whose list was taken from suggestions, and which no person has decided on since. Such a list says
nothing about how good the suggestions are, so no training uses it, and no candidate is tested with it."""


@dataclass(frozen=True)
class Annotation:
    """The current tags of one image."""

    image_id: int
    revision: int = 0
    """0: never saved. Each event increases it by one."""
    tags: tuple[str, ...] = ()
    """Most important first."""
    dropped: tuple[str, ...] = ()
    """Proposals that were refused."""
    is_saved: bool = False
    """False after the only save was undone."""
    user_name: str = ""
    saved_at: datetime | None = None


@dataclass(frozen=True)
class Effort:
    """What a correction cost and what was proposed before it; stored with it, never used to derive tags."""

    tagger: str = ""
    shown: Sequence[dict[str, Any]] = ()
    """The list first shown: ``{"tag", "score", "source"}`` each."""
    actions: Sequence[Sequence[Any]] = ()
    """The actions in order: ``["take", tag, rank]``, ``["move", tag, from, to]``, ..."""
    seconds: float = 0.0
    num_keys: int = 0
    num_clicks: int = 0


@dataclass(frozen=True)
class Selection:
    """Why a photo was selected, and how its proposals were changed; stored with its save."""

    strategy: str
    is_random: bool
    """Whether it belongs to the random sample (active_learning/random_sample.py)."""
    probe: str | None = None
    """hidden or shuffled: how the proposals were changed."""
    proposals: Sequence[str] | None = None
    """With a probe: the proposals as ranked by the model, best first."""


@dataclass(frozen=True)
class Draft:
    """A list that is being edited and not saved yet."""

    revision: int
    kept: tuple[str, ...] = field(default=())
    dropped: tuple[str, ...] = field(default=())


NO_DRAFTS: Mapping[int, Draft] = {}


@dataclass(frozen=True)
class ListChange:
    """One photo's part of a change of many."""

    annotation: Annotation
    """Before the change."""
    tags: tuple[str, ...]
    """The whole ranked list after it."""
    dropped: tuple[str, ...]
    is_saved: bool = True
    undoes: int | None = None
    """The event that this change undoes."""
    tagger: str = ""
    """What had proposed the list, where the change keeps a person's correction."""
    shown: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class SavedEvent:
    """A save that was not undone."""

    event_id: int
    image_id: int
    actions: tuple[list[Any], ...]
    """As in `Effort`."""


_INSERT_EVENT = f"INSERT INTO events ({', '.join(COLUMNS)}, digest) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"


class NothingToUndoError(AnnotatorError):
    """The user has no save that can be undone."""


class CorrectionLog:
    """Saves, undoes and drafts of one project.

    Args:
        store: The open database; no other process writes to it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        # Images that may have an annotation; saves a query for the others. Only this process writes.
        self._annotated = {int(row[0]) for row in store.rows("SELECT image_id FROM annotations")}
        # Drafts that may exist; saves a query for the others. Changed under the lock; an entry is removed only after
        # the commit that deleted its row.
        self._drafts = {(int(i), str(u)) for i, u in store.rows("SELECT image_id, user_name FROM drafts")}
        self._next_event_id: int | None = None
        """None after a failure, since its transaction may or may not have used the id."""
        self._digest = FIRST
        """Of the newest event, where its id is known."""

    def annotation(self, image_id: int) -> Annotation:
        """Return the current annotation of an image; revision 0 if it was never saved."""
        if image_id not in self._annotated:
            return Annotation(image_id)
        rows = self._store.rows(
            "SELECT revision, tags, dropped, is_saved, user_name, saved_at FROM annotations WHERE image_id = ?",
            [image_id],
        )
        if not rows:
            return Annotation(image_id)
        revision, tags, dropped, is_saved, user_name, saved_at = rows[0]
        return Annotation(image_id, revision, tuple(tags), tuple(dropped), is_saved, user_name, saved_at)

    def annotations(self, image_ids: Sequence[int]) -> Iterator[Annotation]:
        """Yield the current annotations of images, in their order; revision 0 for those that were never saved."""
        for start in range(0, len(image_ids), ROWS_A_STATEMENT):
            part = list(image_ids[start : start + ROWS_A_STATEMENT])
            rows = self._store.rows(
                "SELECT image_id, revision, tags, dropped, is_saved, user_name, saved_at FROM annotations "
                "WHERE image_id IN (SELECT unnest(?::INTEGER[]))",
                [part],
            )
            found = {
                int(i): Annotation(int(i), revision, tuple(tags), tuple(dropped), is_saved, user_name, saved_at)
                for i, revision, tags, dropped, is_saved, user_name, saved_at in rows
            }
            yield from (found.get(image_id, Annotation(image_id)) for image_id in part)

    def saved(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield (image id, tags) of every image that is saved."""
        for image_id, tags in self._store.rows("SELECT image_id, tags FROM annotations WHERE is_saved"):
            yield int(image_id), tuple(tags)

    def num_without_tags(self) -> int:
        """Return the number of images that are saved without tags."""
        rows = self._store.rows("SELECT count(*) FROM annotations WHERE is_saved AND len(tags) = 0")
        return int(rows[0][0])

    def save(
        self,
        image_id: int,
        *,
        revision: int,
        tags: Sequence[str],
        dropped: Sequence[str],
        user_name: str,
        effort: Effort,
        selection: Selection | None = None,
    ) -> Annotation:
        """Append a correction and make it current; on disk when this returns.

        Args:
            image_id: The image.
            revision: The revision that the person edited.
            tags: The whole ranked list, most important first, no repeats.
            dropped: Proposals refused.
            user_name: Who.
            effort: What it cost.
            selection: Why the photo was selected, if known.

        Raises:
            StaleRevisionError: The image was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        return self._append(
            "save", image_id, revision, tuple(tags), tuple(dropped), True, user_name, effort, selection=selection
        )

    def record(
        self,
        kind: str,
        annotation: Annotation,
        tags: Sequence[str],
        dropped: Sequence[str],
        is_saved: bool,
        user_name: str,
        effort: Effort | None = None,
        also: Callable[[Cursor, int], None] | None = None,
    ) -> Annotation:
        """Append a decision about an annotation: ``accept``, ``reopen`` or ``restore``.

        Args:
            kind: The decision.
            annotation: The annotation it is about.
            tags: The whole ranked list after the decision.
            dropped: Proposals refused.
            is_saved: Whether the list counts as saved; otherwise the photo is open again.
            user_name: Who.
            effort: What it cost.
            also: Called within the transaction with its cursor and the event's id, to write more.

        Raises:
            StaleRevisionError: The image was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        return self._append(
            kind, annotation.image_id, annotation.revision, tuple(tags), tuple(dropped), is_saved, user_name,
            effort or Effort(), keeps_draft=kind == "reopen", also=also,
        )  # fmt: skip

    def record_many(
        self,
        kind: str,
        changes: Sequence[ListChange],
        user_name: str,
        also: Callable[[Cursor, int], None] | None = None,
        drafts: Mapping[int, Draft] = NO_DRAFTS,
    ) -> list[Annotation]:
        """Append one event a photo, all in one transaction.

        Args:
            kind: ``import``, ``suggest``, ``reorder``, ``edit``, ``rename`` (any change of a tag) or ``undo``.
            changes: At most one for each photo.
            user_name: Who.
            drafts: Image id -> draft of this user, stored in the same transaction; others do not change.
            also: Called within the transaction with its cursor and the id of the first event; the others follow it.

        Returns:
            The new annotations, in the order of the changes.

        Raises:
            StaleRevisionError: A photo was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        now = utc_now()
        with self._lock:
            first_id = self._begin_events()
            rows = self._store.rows(
                "SELECT image_id, revision FROM annotations WHERE image_id IN (SELECT unnest(?::INTEGER[]))",
                [[change.annotation.image_id for change in changes]],
            )
            revisions = {int(i): int(r) for i, r in rows}
            for change in changes:
                if revisions.get(change.annotation.image_id, 0) != change.annotation.revision:
                    raise stale(
                        self.annotation(change.annotation.image_id),
                        "A photo was saved meanwhile. Nothing was changed; try again.",
                    )
            with self._store.transaction() as cursor:
                for start in range(0, len(changes), ROWS_A_STATEMENT):
                    part = changes[start : start + ROWS_A_STATEMENT]
                    self._digest = _insert_changes(cursor, kind, part, first_id + start, user_name, now, self._digest)
                if changes:
                    self._store.note_event(first_id + len(changes) - 1, self._digest)
                for image_id, draft in drafts.items():
                    write_draft(cursor, image_id, user_name, draft)
                if also is not None:
                    also(cursor, first_id)
            self._drafts |= {(image_id, user_name) for image_id in drafts}
            self._next_event_id = first_id + len(changes)
            self._annotated.update(change.annotation.image_id for change in changes)
        return [
            Annotation(c.annotation.image_id, c.annotation.revision + 1, c.tags, c.dropped, c.is_saved, user_name, now)
            for c in changes
        ]

    def newest_save(self, user_name: str) -> int:
        """Return the event of the user's newest save that was not undone; 0 if there is none."""
        rows = self._store.rows(
            "SELECT coalesce(max(event_id), 0) FROM events e WHERE kind = 'save' AND user_name = ? AND NOT EXISTS "
            "(SELECT 1 FROM events u WHERE u.undoes = e.event_id)",
            [user_name],
        )
        return int(rows[0][0])

    def newest_decision(self, user_name: str) -> int:
        """Return the event of the list that the user last accepted, restored or reopened, which `undo` does not undo.

        0 if there is none.
        """
        rows = self._store.rows(
            "SELECT coalesce(max(event_id), 0) FROM events WHERE kind IN ('accept', 'restore', 'reopen') "
            "AND user_name = ?",
            [user_name],
        )
        return int(rows[0][0])

    def newest_saves(self, user_name: str, limit: int) -> list[SavedEvent]:
        """Return the user's saves that were not undone, the newest first."""
        rows = self._store.rows(
            "SELECT event_id, image_id, CAST(actions AS VARCHAR) FROM events e WHERE kind = 'save' AND user_name = ? "
            "AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.event_id) ORDER BY event_id DESC LIMIT ?",
            [user_name, limit],
        )
        return [SavedEvent(int(e), int(i), tuple(json.loads(actions) if actions else ())) for e, i, actions in rows]

    def overtaken_by(self, image_id: int, event_id: int) -> str | None:
        """Return who changed an image's list after an event, by a change that was not undone; None if nobody did."""
        later = self._store.rows(
            "SELECT user_name FROM events e WHERE image_id = ? AND event_id > ? "
            "AND kind IN ('save', 'rename', 'accept', 'reopen', 'restore', 'import', 'suggest', 'reorder', 'edit') "
            "AND NOT EXISTS "
            "(SELECT 1 FROM events u WHERE u.undoes = e.event_id)",
            [image_id, event_id],
        )
        return str(later[0][0]) if later else None

    def undo(self, user_name: str, event_id: int | None = None, *, into_draft: bool = True) -> tuple[Annotation, Draft]:
        """Undo the user's newest save that was not undone yet, by another event.

        Args:
            user_name: Who.
            event_id: Undo this save of theirs instead.
            into_draft: Whether the undone list becomes the draft; otherwise a draft does not change.

        Returns:
            The annotation after the undo, and the list that was saved.

        Raises:
            NothingToUndoError: There is none.
            StaleRevisionError: Somebody else has changed that image since.
        """
        rows = self._store.rows(
            "SELECT event_id, image_id, revision, before_tags, after_tags, dropped FROM events e "
            "WHERE kind = 'save' AND user_name = ? AND event_id = coalesce(?, event_id) AND NOT EXISTS "
            "(SELECT 1 FROM events u WHERE u.undoes = e.event_id) ORDER BY event_id DESC LIMIT 1",
            [user_name, event_id],
        )
        if not rows:
            raise NothingToUndoError("Nothing to undo.")
        event_id, image_id, revision, before, after, dropped = rows[0]
        current = self.annotation(image_id)
        later = self.overtaken_by(image_id, event_id)
        if later is not None:
            raise stale(current, f"{later} has saved this photo since your last save. Nothing was undone.")
        # The state before that save: revisions of an image have no gaps.
        earlier = self._store.rows(
            "SELECT is_saved, dropped FROM events WHERE image_id = ? AND revision = ? AND kind <> 'skip'",
            [image_id, revision - 1],
        )
        was_saved, was_dropped = earlier[0] if earlier else (False, [])
        draft = Draft(current.revision + 1, tuple(after), tuple(dropped))
        annotation = self._append(
            "undo",
            image_id,
            current.revision,
            tuple(before),
            tuple(was_dropped),
            bool(was_saved),
            user_name,
            Effort(),
            undoes=event_id,
            draft=draft if into_draft else None,
            keeps_draft=not into_draft,
        )
        return annotation, draft

    def _append(
        self,
        kind: str,
        image_id: int,
        revision: int,
        tags: tuple[str, ...],
        dropped: tuple[str, ...],
        is_saved: bool,
        user_name: str,
        effort: Effort,
        undoes: int | None = None,
        draft: Draft | None = None,
        keeps_draft: bool = False,
        selection: Selection | None = None,
        also: Callable[[Cursor, int], None] | None = None,
    ) -> Annotation:
        now = utc_now()
        key = (image_id, user_name)
        with self._event(None if draft or keeps_draft else key) as (cursor, event_id):
            current = self.annotation(image_id)
            if current.revision != revision:
                by = current.user_name or "nobody"
                raise stale(current, f"This photo was saved by {by} since you opened it. Nothing was overwritten.")
            new_revision = revision + 1
            # Replacing takes several times as long as inserting, and most saves are the first of their photo.
            how = "INSERT OR REPLACE" if image_id in self._annotated else "INSERT"
            self._annotated.add(image_id)
            self._insert_event(
                cursor,
                [
                    event_id,
                    kind,
                    image_id,
                    user_name,
                    now,
                    new_revision,
                    list(current.tags),
                    list(tags),
                    is_saved,
                    json.dumps(diff(current.tags, tags)),
                    list(dropped),
                    undoes,
                    effort.tagger,
                    json.dumps(list(effort.shown)),
                    json.dumps(list(effort.actions)),
                    effort.seconds,
                    effort.num_keys,
                    effort.num_clicks,
                ],
            )
            cursor.execute(
                f"{how} INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [image_id, new_revision, list(tags), list(dropped), is_saved, user_name, now, event_id],
            )
            if selection is not None:
                cursor.execute("INSERT INTO selections VALUES (?, ?, ?, ?, ?)", [event_id, *_values(selection)])
            if also is not None:
                also(cursor, event_id)
            if key in self._drafts and not keeps_draft:
                cursor.execute("DELETE FROM drafts WHERE image_id = ? AND user_name = ?", list(key))
            if draft is not None:
                self._drafts.add(key)
                write_draft(cursor, image_id, user_name, draft)
        return Annotation(image_id, new_revision, tags, dropped, is_saved, user_name, now)

    @contextmanager
    def _event(self, done_draft: tuple[int, str] | None = None) -> Iterator[tuple[Cursor, int]]:
        """Yield a transaction's cursor and the id of the event to write; ids have no gaps, also after failures.

        Args:
            done_draft: The draft that the transaction deletes.
        """
        with self._lock:
            event_id = self._begin_events()
            with self._store.transaction() as cursor:
                yield cursor, event_id
            self._next_event_id = event_id + 1
            if done_draft is not None:
                self._drafts.discard(done_draft)

    def _begin_events(self) -> int:
        """Return the id of the next event, and know the digest of the newest one."""
        event_id = self._next_event_id
        self._next_event_id = None
        if event_id is None:
            newest = self._store.rows("SELECT event_id, digest FROM events ORDER BY event_id DESC LIMIT 1")
            event_id, self._digest = (int(newest[0][0]) + 1, newest[0][1] or FIRST) if newest else (1, FIRST)
        return event_id

    def _insert_event(self, cursor: Cursor, values: Sequence[object]) -> None:
        """Insert an event with its digest; a failure of the transaction is followed by `_begin_events`."""
        self._digest = next_digest(self._digest, values)
        cursor.execute(_INSERT_EVENT, [*values, self._digest])
        self._store.note_event(int(str(values[0])), self._digest)

    def skip(self, image_id: int, user_name: str) -> None:
        """Append that the user skipped an image; its annotation does not change."""
        self.skip_all([image_id], user_name)

    def skip_all(self, image_ids: Sequence[int], user_name: str, *, back: bool = False) -> None:
        """Append that the user skipped images, in one transaction; their annotations do not change.

        Args:
            image_ids: The images.
            user_name: Who.
            back: They are skipped no longer: the event of each undoes that of its skip.
        """
        if not image_ids:
            return
        undone: dict[int, int] = dict(
            self._store.rows(
                "SELECT image_id, max(event_id) FROM events WHERE kind = 'skip' "
                "AND image_id IN (SELECT unnest(?::INTEGER[])) GROUP BY image_id",
                [list(image_ids)],
            )
            if back
            else []
        )
        now = utc_now()
        with self._lock:
            first_id = self._begin_events()
            with self._store.transaction() as cursor:
                for start in range(0, len(image_ids), ROWS_A_STATEMENT):
                    part = [
                        (image_id, undone.get(image_id)) for image_id in image_ids[start : start + ROWS_A_STATEMENT]
                    ]
                    self._digest = _insert_skips(cursor, part, first_id + start, user_name, now, self._digest)
                self._store.note_event(first_id + len(image_ids) - 1, self._digest)
            self._next_event_id = first_id + len(image_ids)

    def skipped(self) -> list[int]:
        """Return the images that were skipped and not saved or taken up since, the longest ago first."""
        rows = self._store.rows(
            f"SELECT image_id FROM events GROUP BY image_id HAVING {IS_SKIPPED} ORDER BY max(event_id)"
        )
        return [int(row[0]) for row in rows]

    def newest_image(self, user_name: str) -> int | None:
        """Return the image of the user's last event."""
        rows = self._store.rows("SELECT arg_max(image_id, event_id) FROM events WHERE user_name = ?", [user_name])
        return int(rows[0][0]) if rows and rows[0][0] is not None else None

    def work_times(self, limit: int = 1000) -> list[tuple[int, float]]:
        """Return (number of tags, seconds) of the newest saves that were the first of their photo."""
        rows = self._store.rows(
            "SELECT len(after_tags), seconds FROM events WHERE kind = 'save' AND revision = 1 AND seconds > 0 "
            "ORDER BY event_id DESC LIMIT ?",
            [limit],
        )
        return [(int(num_tags), float(seconds)) for num_tags, seconds in rows]

    def history(self, image_id: int) -> list[dict[str, Any]]:
        """Return every event of an image, oldest first."""
        columns = ("event_id", "kind", "user_name", "created_at", "revision", "before_tags", "after_tags", "is_saved",
                   "edit_script", "dropped", "undoes", "tagger", "shown", "actions", "seconds", "num_keys",
                   "num_clicks")  # fmt: skip
        rows = self._store.rows(
            f"SELECT {', '.join(columns)} FROM events WHERE image_id = ? ORDER BY event_id", [image_id]
        )
        events = [dict(zip(columns, row, strict=True)) for row in rows]
        for event in events:
            for name in ("edit_script", "shown", "actions"):
                event[name] = json.loads(event[name]) if event[name] else []
        return events

    # Drafts

    def save_drafts(
        self, drafts: Mapping[int, Draft], user_name: str, also: Callable[[Cursor], None] | None = None
    ) -> None:
        """Store drafts of many images in one transaction.

        Args:
            drafts: Image id -> draft.
            user_name: Whose.
            also: Called within the transaction with its cursor.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        with self._lock:
            with self._store.transaction() as cursor:
                for image_id, draft in drafts.items():
                    write_draft(cursor, image_id, user_name, draft)
                if also is not None:
                    also(cursor)
            self._drafts |= {(image_id, user_name) for image_id in drafts}

    def forget_drafts(self, image_ids: Iterable[int], user_name: str) -> None:
        """Take notice that drafts of a user were deleted from the database."""
        with self._lock:
            self._drafts -= {(image_id, user_name) for image_id in image_ids}

    def draft(self, image_id: int, user_name: str) -> Draft | None:
        """Return the user's draft of an image, if there is one."""
        if (image_id, user_name) not in self._drafts:
            return None
        rows = self._store.rows(
            "SELECT revision, kept, dropped FROM drafts WHERE image_id = ? AND user_name = ?",
            [image_id, user_name],
        )
        return Draft(rows[0][0], tuple(rows[0][1]), tuple(rows[0][2])) if rows else None

    def save_draft(self, image_id: int, user_name: str, draft: Draft) -> None:
        """Store a draft; on disk when this returns."""
        with self._lock, self._store.transaction() as cursor:
            self._drafts.add((image_id, user_name))
            write_draft(cursor, image_id, user_name, draft)

    @contextmanager
    def writing_draft(self, image_id: int, user_name: str, *, keeps_draft: bool) -> Iterator[Cursor]:
        """Yield the cursor of a transaction that also deletes the draft, unless it is kept."""
        key = (image_id, user_name)
        with self._lock:
            with self._store.transaction() as cursor:
                yield cursor
                if not keeps_draft:
                    cursor.execute("DELETE FROM drafts WHERE image_id = ? AND user_name = ?", list(key))
            if not keeps_draft:
                self._drafts.discard(key)

    def has_draft(self, image_id: int, user_name: str) -> bool:
        """Tell whether the user has a draft of an image."""
        return (image_id, user_name) in self._drafts

    def has_any_draft(self, image_id: int) -> bool:
        """Tell whether anybody has a draft of an image."""
        with self._lock:
            return any(drafted == image_id for drafted, _ in self._drafts)

    def drafts_of(self, user_name: str) -> list[int]:
        """Return the images with a draft of the user."""
        with self._lock:
            return [image_id for image_id, user in self._drafts if user == user_name]

    def discard_draft(self, image_id: int, user_name: str) -> None:
        """Delete a draft, if there is one."""
        key = (image_id, user_name)
        with self._lock:
            if key in self._drafts:
                with self._store.transaction() as cursor:
                    cursor.execute("DELETE FROM drafts WHERE image_id = ? AND user_name = ?", list(key))
                self._drafts.discard(key)


_EVENT_ROWS = """
SELECT unnest(from_json(?, '[{"event_id": "BIGINT", "image_id": "INTEGER", "revision": "INTEGER",
    "before": ["VARCHAR"], "after": ["VARCHAR"], "is_saved": "BOOLEAN", "script": "VARCHAR", "dropped": ["VARCHAR"],
    "undoes": "BIGINT", "tagger": "VARCHAR", "shown": "VARCHAR", "digest": "VARCHAR"}]'), recursive := true)
"""
# One JSON text for many rows: binding each value by itself takes ten times as long.


def _insert_changes(
    cursor: Cursor,
    kind: str,
    changes: Sequence[ListChange],
    first_id: int,
    user_name: str,
    now: datetime,
    digest: str,
) -> str:
    """Insert events of many photos; return the digest of the last one, given that of the event before the first."""
    rows: list[dict[str, Any]] = [
        {
            "event_id": event_id,
            "image_id": change.annotation.image_id,
            "revision": change.annotation.revision + 1,
            "before": change.annotation.tags,
            "after": change.tags,
            "is_saved": change.is_saved,
            "script": json.dumps(diff(change.annotation.tags, change.tags)),
            "dropped": change.dropped,
            "undoes": change.undoes,
            "tagger": change.tagger,
            "shown": json.dumps(list(change.shown)),
        }
        for event_id, change in enumerate(changes, start=first_id)
    ]
    for row in rows:
        values = [row["event_id"], kind, row["image_id"], user_name, now, row["revision"], list(row["before"]),
                  list(row["after"]), row["is_saved"], row["script"], list(row["dropped"]), row["undoes"],
                  row["tagger"], row["shown"], "[]", 0.0, 0, 0]  # fmt: skip
        row["digest"] = digest = next_digest(digest, values)
    text = json.dumps(rows)
    cursor.execute(
        "INSERT INTO events SELECT event_id, ?, image_id, ?, ?, revision, before, after, is_saved, script, dropped, "
        f"undoes, tagger, shown, '[]', 0, 0, 0, digest FROM ({_EVENT_ROWS})",
        [kind, user_name, now, text],
    )
    cursor.execute(
        "INSERT OR REPLACE INTO annotations SELECT image_id, revision, after, dropped, is_saved, ?, ?, event_id "
        f"FROM ({_EVENT_ROWS})",
        [user_name, now, text],
    )
    return digest


_SKIP_ROWS = """
SELECT unnest(from_json(?, '[{"event_id": "BIGINT", "image_id": "INTEGER", "undoes": "BIGINT", "digest": "VARCHAR"}]'),
              recursive := true)
"""


def _insert_skips(
    cursor: Cursor,
    skips: Sequence[tuple[int, int | None]],
    first_id: int,
    user_name: str,
    now: datetime,
    digest: str,
) -> str:
    """Insert events of many photos that are skipped, with the event that each undoes; return the last one's digest."""
    nothing = list[str]()
    rows: list[dict[str, Any]] = []
    for event_id, (image_id, undoes) in enumerate(skips, start=first_id):
        values = [event_id, "skip", image_id, user_name, now, 0, nothing, nothing, False, "[]", nothing, undoes,
                  *[None] * 6]  # fmt: skip
        digest = next_digest(digest, values)
        rows.append({"event_id": event_id, "image_id": image_id, "undoes": undoes, "digest": digest})
    cursor.execute(
        f"INSERT INTO events ({', '.join(COLUMNS)}, digest) SELECT event_id, 'skip', image_id, ?, ?, 0, [], [], false, "
        f"'[]', [], undoes, NULL, NULL, NULL, NULL, NULL, NULL, digest FROM ({_SKIP_ROWS})",
        [user_name, now, json.dumps(rows)],
    )
    return digest


def count_entries(store: Queries) -> tuple[int, int]:
    """Return the number of saved annotations and the number of events of a project."""
    rows = store.rows("SELECT (SELECT count(*) FROM annotations WHERE is_saved), (SELECT count(*) FROM events)")
    return int(rows[0][0]), int(rows[0][1])


def newest_event(store: Queries) -> tuple[int, datetime | None]:
    """Return the id and the time of the newest event; 0 and None without one."""
    rows = store.rows("SELECT event_id, created_at FROM events ORDER BY event_id DESC LIMIT 1")
    return (int(rows[0][0]), rows[0][1]) if rows else (0, None)


def _values(selection: Selection) -> list[object]:
    proposals = None if selection.proposals is None else list(selection.proposals)
    return [selection.strategy, selection.is_random, selection.probe, proposals]


def stale(current: Annotation, message: str) -> StaleRevisionError:
    """Return the error that tells what an image's list is now."""
    saved_at = current.saved_at.isoformat(timespec="seconds") + "Z" if current.saved_at else ""
    return StaleRevisionError(
        message, revision=current.revision, tags=list(current.tags), user=current.user_name, saved_at=saved_at
    )


def write_draft(cursor: Cursor, image_id: int, user_name: str, draft: Draft) -> None:
    """Write a user's draft of an image in place of the one before."""
    cursor.execute(
        "INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?, ?, ?)",
        [image_id, user_name, draft.revision, list(draft.kept), list(draft.dropped), utc_now()],
    )
