"""The annotating conversation: next photo, propose, revise, save, undo, skip.

Everything the page and the REST routes may do, and all they may do. Answers are JSON-ready. Knows nothing of Gradio,
HTTP or SQL; one object serves every person working on a project.
"""

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import (
    BackupError,
    ReviewError,
    TagError,
)
from annotator.ingest.pipeline import NewImage
from annotator.json_types import JsonObject
from annotator.maintenance.backup import back_up
from annotator.maintenance.integrity import check
from annotator.models.tag_order import boxes_for
from annotator.proposals.missing_tags import UNKNOWN_NOTE, sweep
from annotator.proposals.proposer import NO_EXCLUSIONS, Exclusions
from annotator.proposals.vocabulary.completions import completions_of
from annotator.reports.effort import effort_report
from annotator.session.group_session import GroupSession
from annotator.session.session_core import words_of
from annotator.storage.correction_log import Annotation, Draft, Effort, NothingToUndoError
from annotator.storage.images import SeenPath


class Session(GroupSession):
    """One project, open for annotating; what it is made of stands in session/session_core.py."""

    # What the project is

    def add_images(self, images: Sequence[NewImage], paths: Sequence[SeenPath]) -> None:
        """Take what ingest has just committed into the queue, the indexes and the evidence."""
        # First, since whatever a search finds must have a file name.
        hashes = {image.image_id: image.entry.content_hash for image in images}
        for seen in paths:
            if seen.image_id is not None:
                known_hash, _ = self._files.get(seen.image_id, ("", ""))
                self._files[seen.image_id] = (known_hash or hashes[seen.image_id], self._shown_name(seen.path))
        if images:
            self._looks.add([image.image_id for image in images], [image.vector for image in images])
        for image in images:
            self._carried.add_image(image.image_id, words_of(image.entry))
        settings = self.project.settings
        if settings.asked_people:
            new = [image.image_id for image in images]
            self._answers.ask(self._in_share(new, settings.asked_share), settings.asked_people, [], LOCAL_USER)
        self._queue.add(image.image_id for image in images)
        self.queue_order.added(len(images))

    def unreadable(self, user: str, offset: int, limit: int) -> JsonObject:
        """Return a page of the files that could not be read, with reasons."""
        in_full = self._shows_folders(user)
        total, found = self._store.images.unreadable(offset, limit, in_full=in_full)
        items = [{"path": path if in_full else self._shown_name(path), "reason": reason} for path, reason in found]
        return {"total": total, "items": items}

    def set_keys(self, keys: dict[str, list[str]]) -> JsonObject:
        """Re-map actions to keys, for good.

        Raises:
            ConfigError: A key clashes or cannot be used.
        """
        settings = self.project.update_settings(keys={action: tuple(names) for action, names in keys.items()})
        return {"keys": {action: list(names) for action, names in settings.keys.items()}}

    def set_show_expected(self, shown: bool) -> JsonObject:
        """Draw the line below what is more likely right than wrong from now on, or do not."""
        return {"show_expected": self.project.update_settings(show_expected=shown).show_expected}

    def set_tagger(self, name: str, user: str = LOCAL_USER) -> JsonObject:
        """Let another tagger propose from now on, for good; for this user also on the photo in hand.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        self.models.choose(name, user)
        self._pins.let_go(user)
        self.queue_order.request()
        return {"tagger": self._shelf.chosen}

    def set_strategy(self, strategy: str, random_share: float | None, probe_share: float | None) -> JsonObject:
        """Choose which photo comes next, for good; a share that is None stays as it is.

        Raises:
            ConfigError: There is no such strategy, or a share is not in [0, 1].
        """
        shares = {"random_share": random_share, "probe_share": probe_share}
        self.project.update_settings(
            strategy=strategy, **{name: share for name, share in shares.items() if share is not None}
        )
        self.queue_order.request()
        return {"queue": self.queue_order.describe()}

    def effort_report(self) -> JsonObject:
        """Return what tagging has cost so far and what the proposals were worth; see reports/effort.py."""
        return effort_report(self._store.rows)

    # Going from photo to photo

    def open(self, user: str, image_id: int | None) -> JsonObject:
        """Return a photo with its proposals; None opens the one to work on now."""
        if image_id is None:
            newest = self._answers.taken_back(user) or self._log.newest_image(user)
            if newest is not None and newest not in self._queue:
                newest = None
            # An open one is the photo whose save was just taken back.
            is_free = self._is_free_for(user)
            if newest is None or not (self._queue.is_open(newest) and is_free(newest)):
                return self._following_photo(user, newest)
            image_id = newest
        return self._photo(user, image_id)

    def hold(self, user: str, image_id: int) -> JsonObject:
        """Keep a photo from being given to others for some more minutes.

        Raises:
            LeaseError: Somebody else has this photo open.
            ReviewError: This user cannot change it now.
        """
        self._check(image_id)
        self._check_unlocked(user, image_id)
        self._hold(user, image_id)
        return {}

    def leave(self, user: str, image_id: int) -> JsonObject:
        """Let others have a photo that the user had open."""
        self._check(image_id)
        self.leases.give_back(image_id, user)
        return {}

    def step(self, user: str, image_id: int, by: int) -> JsonObject:
        """Return the photo before or after one in folder order, whatever its state; at an end, the same one."""
        self._check(image_id)
        self.leases.give_back(image_id, user)
        position = min(max(self._queue.position(image_id) + by, 0), len(self._queue) - 1)
        return self._photo(user, self._queue.at(position))

    def skip(self, user: str, image_id: int) -> JsonObject:
        """Put a photo off until no other is open, and return the next one."""
        self._check(image_id)
        is_locked = self._reviewing.lock(user, image_id) or self._not_theirs(user, image_id)
        if not self._queue.is_saved(image_id) and not is_locked:
            self._hold(user, image_id)
            self._log.skip(image_id, user)
            self._queue.skip(image_id)
        return self._next(user, image_id)

    def strip(self, image_id: int, num_before: int, num_after: int, user: str = LOCAL_USER) -> JsonObject:
        """Return the photos around one, in folder order."""
        self._check(image_id)
        position = self._queue.position(image_id)
        ids = self._queue.window(position - num_before, position + num_after + 1)
        return {
            "items": [
                {
                    "image_id": other,
                    "thumbnail_url": self._thumbnail_url(other),
                    "state": self._state_of(user, other),
                    "current": other == image_id,
                }
                for other in ids
            ]
        }

    def browse(self, offset: int, limit: int, query: str, state: str, user: str = LOCAL_USER) -> JsonObject:
        """Return one page of the photos whose standing tags or file names hold a text.

        ``state`` is ``all``, ``saved`` (a list stands), ``unsaved``, or one of the states of collaboration/review_rules.py as this user
        sees them.
        """
        words = " ".join(query.split())
        if words or state != "all":
            wanted = state if state in ("saved", "unsaved") else "all"
            # What ingest has committed this moment is not in the queue yet.
            found = [image_id for image_id in self._store.images.find(words, wanted) if image_id in self._queue]
            if wanted != state:
                found = [image_id for image_id in found if self._state_of(user, image_id) == state]
            total, ids = len(found), found[offset : offset + limit]
        else:
            total, ids = len(self._queue), self._queue.window(offset, offset + limit)
        own = self._answers.own_tags(ids, user)
        items = [
            {
                "image_id": image_id,
                "thumbnail_url": self._thumbnail_url(image_id),
                "file_name": self._files[image_id][1],
                "state": self._state_of(user, image_id),
                "tags": list(self._carried.saved_tags(image_id)) or own.get(image_id, []),
            }
            for image_id in ids
        ]
        return {"total": total, "items": items}

    # The list of one photo

    def propose(
        self,
        user: str,
        image_id: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        revision: int,
        without: Exclusions = NO_EXCLUSIONS,
    ) -> JsonObject:
        """Propose how the settled tags go on, without what is switched off, and keep the list as a draft.

        Raises:
            LeaseError: Somebody else has this photo open.
            ReviewError: This user cannot change it now.
        """
        self._check(image_id)
        self._check_unlocked(user, image_id)
        self._hold(user, image_id)
        kept, dropped = self._clean(kept, "kept"), self._clean(dropped, "dropped")
        if (kept, dropped) == self._list_of(user, image_id):
            self._log.discard_draft(image_id, user)
            return self._proposals(user, image_id, self._store.images.entry(image_id), kept, dropped, without)
        draft = Draft(revision, tuple(kept), tuple(dropped))
        written = self._drafts.submit(self._log.save_draft, image_id, user, draft)
        try:
            return self._proposals(user, image_id, self._store.images.entry(image_id), kept, dropped, without)
        finally:
            written.result()  # on disk before the answer, like everything

    def complete(self, image_id: int, text: str, kept: Sequence[str], user: str = LOCAL_USER) -> JsonObject:
        """Return completions of what is being typed: the model's, the project's, plain words, then by meaning."""
        self._check(image_id)
        if not text.strip():
            return {"completions": []}
        scores = self._scores(user, image_id, kept)
        found = completions_of(
            text,
            scores,
            kept,
            autocomplete=self._autocomplete,
            meanings=self._meanings,
            tagger=self._shelf.taggers[0],
        )
        return {"completions": [asdict(item) for item in found]}

    def _scores(self, user: str, image_id: int, kept: Sequence[str]) -> dict[str, float]:
        """Return how likely each tag is; asked for each character of a word, and computed once."""
        taggers = self._pins.taggers(user, image_id) or tuple(self._shelf.taggers)
        key = (image_id, tuple(kept), taggers)
        known = self._typing.get(user)
        if known is None or known[0] != key:
            known = (key, self._suggester.scores(image_id, words_of(self._store.images.entry(image_id)), kept, taggers))
            self._typing[user] = known
        return known[1]

    def explain(self, user: str, image_id: int, tag: str, without: Exclusions = NO_EXCLUSIONS) -> JsonObject:
        """Return what the model would say of a tag without the photo's neighbours or metadata, which takes a moment."""
        self._check(image_id)
        taggers = self._pins.taggers(user, image_id)
        return {
            "text": self._suggester.explain(
                image_id, words_of(self._store.images.entry(image_id)), tag, without, taggers
            )
        }

    def heat_map(self, image_id: int, tag: str, user: str = LOCAL_USER) -> JsonObject:
        """Return where a tag is seen in a photo: its ``found`` boxes, or else a glow, ``grid`` and ``box``.

        ``grid`` and ``box`` are null when there are boxes, or when nobody can tell.

        Raises:
            UnreadableImageError: The photo is gone or damaged.
        """
        self._check(image_id)
        boxes = boxes_for(tag, self._detections(image_id))
        if boxes:
            return {"grid": None, "box": None, "found": [asdict(item) for item in boxes]}
        glow = self._heat_mapper.heat_map(self._pins.taggers(user, image_id) or self._shelf.taggers, image_id, tag)
        return {"grid": None, "box": None, "found": [], **(glow or {})}

    def save(
        self,
        user: str,
        image_id: int,
        revision: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        effort: Effort,
        *,
        brings_next: bool = True,
    ) -> JsonObject:
        """Save the list above the cut line; it is on disk when this returns. Returns the next photo with it.

        Of a photo that is asked of several people it is this person's answer, on a revision of its own.

        Args:
            user: Who.
            image_id: The photo.
            revision: Of the list that this user had before them.
            kept: The list, most important first.
            dropped: Proposals refused.
            effort: What it cost.
            brings_next: Whether the next photo comes with the answer, else None.

        Raises:
            ReviewError: The photo is in review, accepted, or not asked of this person; nothing was written.
            StaleRevisionError: Somebody saved this photo meanwhile; nothing was overwritten.
            StoreError: The commit failed; nothing was written.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has this photo open.
            ForbiddenError: The photo is assigned to somebody else; nothing was written.
        """
        self._check(image_id)
        self._check_theirs(user, image_id)
        self._hold(user, image_id)
        tags = self._clean(kept, "kept")
        refused = self._clean(dropped, "dropped")
        if self._answers.state(image_id) is not None:
            return self._answer(user, image_id, revision, tags, refused, effort, brings_next=brings_next)
        selection = self._selection(image_id)
        with self._lock:
            if self._answers.state(image_id) is not None:
                raise ReviewError("This photo was asked of several people meanwhile. Nothing was saved: open it anew.")
            before = self._counts_of(tags)
            annotation = self._log.save(
                image_id,
                revision=revision,
                tags=tags,
                dropped=refused,
                user_name=user,
                effort=effort,
                selection=selection,
            )
            self._took(annotation)
            now_common = self._now_common(before)
        self._pins.let_go(user, image_id)
        self.models.note_save()
        return {
            "revision": annotation.revision,
            "now_common": now_common,
            "next": self._after(user, image_id, brings_next),
        }

    def _answer(
        self,
        user: str,
        image_id: int,
        revision: int,
        tags: list[str],
        dropped: list[str],
        effort: Effort,
        *,
        brings_next: bool,
    ) -> JsonObject:
        with self._lock:
            reason = self._reviewing.lock(user, image_id)
            if reason or not self._reviewing.is_personal(user, image_id):
                raise ReviewError(
                    f"{reason or 'A reviewer decides on this photo by accepting a list.'} Nothing was saved."
                )
            given = self._answers.give(image_id, user, revision=revision, tags=tags, dropped=dropped, effort=effort)
            self._queue.mark(image_id, saved=False)  # not put off any more, for those who are asked next
        self._pins.let_go(user, image_id)
        return {"revision": given.revision, "now_common": [], "next": self._after(user, image_id, brings_next)}

    # Reviewing, and what happened to a photo

    def retro_tag(self, tag: str, limit: int, user: str = LOCAL_USER) -> JsonObject:
        """Return the saved photos that probably need a tag too, the likeliest first; changes nothing.

        Photos whose person refused the tag, or which this user may not change, are left out. `num_likely` is how many
        score like those that carry it. `note` says where nothing is known of the tag, so that the order means nothing;
        else it is empty.

        Raises:
            TagError: That is no tag.
            WordVectorError: The word vectors of the open vocabulary are damaged.
        """
        tag = self._autocomplete.spelling(clean_tag(tag))
        carriers, others = (
            [image_id for image_id in ids if image_id in self._features] for ids in self._carried.saved_with(tag)
        )
        found = sweep(
            tag, self._features.vectors(carriers), self._features.vectors(others), self._shelf.open_vocabulary
        )
        items: list[JsonObject] = []
        num_left_out = 0
        for place, candidate in enumerate(found.order[: max(limit, found.num_likely)].tolist()):
            image_id = others[candidate]
            annotation = self._log.annotation(image_id)
            if tag_key(tag) in map(tag_key, annotation.dropped) or self._not_theirs(user, image_id):
                num_left_out += place < found.num_likely
            elif len(items) < limit:
                items.append(self._swept(image_id, annotation))
        return {
            "tag": tag,
            "num_examples": len(carriers),
            "num_likely": found.num_likely - num_left_out,
            "note": "" if found.is_informed else UNKNOWN_NOTE,
            "items": items,
        }

    def undo(self, user: str) -> JsonObject:
        """Take back the user's last save, and return its photo with the list as it was just before.

        Raises:
            NothingToUndoError: There is none.
            StaleRevisionError: Somebody else has saved that photo since.
        """
        with self._lock:
            answered, saved_at = self._answers.newest(user), self._log.newest_save(user)
            decided_at, others = self._log.newest_decision(user), ""
            moments = [moment for moment in (saved_at, answered and answered[1]) if moment]
            if decided_at and all(decided_at > moment for moment in moments):
                raise NothingToUndoError("Your last step was a decision: the time line of its photo takes that back.")
            if answered is not None and (saved_at is None or answered[1] >= saved_at):
                image_id, num_tags = answered[0], self._take_back(user, answered[0])
            else:
                back = self._groups.take_back(user)
                image_id, num_tags = back.image_id, back.num_tags
                others = f" and {back.num_members} with it" * (back.num_members > 0)
                others += f"; {back.num_left} that were changed since stay" * (back.num_left > 0)
        photo = self._photo(user, image_id)
        return {**photo, "undone": f"Took back the save of {photo['file_name']}{others} ({num_tags} tags)."}

    def _take_back(self, user: str, image_id: int) -> int:
        """Withdraw a person's answer, keeping it as their half-edited list; return how many tags it has."""
        if self._queue.is_saved(image_id):
            raise ReviewError("Your last save is in review, and stands meanwhile: a reviewer can send it back.")
        was, now = self._answers.take_back(image_id, user)
        self._log.save_draft(image_id, user, Draft(now.revision, was.tags, was.dropped))
        return len(was.tags)

    def change_tag(self, kind: str, old: str, new: str, user: str, where: str = "") -> JsonObject:
        """Rename a tag, merge it into another, split it, or let it mean another from now on; the log is not edited.

        Args:
            kind: One of tag_changes.KINDS.
            old: The tag as it was.
            new: The tag as it is to be.
            user: Who.
            where: Text in the tags or paths of the photos that a split concerns.

        Raises:
            TagError: A tag cannot be kept, the kind does not fit the tags in use, or a split concerns no photo.
            StoreError: A commit failed; photos before it are done, and the change can be repeated.
        """
        words = " ".join(where.split())
        if (kind == "split") != bool(words):
            raise TagError("A split needs a text that tells which photos it concerns; the other changes take none.")
        with self._lock:
            among = set(self._store.images.find(words, "saved")) if words else None
            # A renamed tag is on as many photos as before.
            before = self._counts_of([new] if kind in ("merge", "split") else [])
            num_photos = self._tag_changes.apply(kind, old, new, user, self._took, among)
            self._autocomplete.set_aliases(self._tag_changes.aliases())
            now_common = self._now_common(before)
        return {"num_photos": num_photos, "now_common": now_common}

    def tag_changes(self) -> JsonObject:
        """Return every change of a tag, oldest first."""
        changes = [
            {**asdict(change), "changed_at": f"{change.changed_at.isoformat()}Z"} for change in self._tag_changes.all()
        ]
        return {"changes": changes}

    def check(self) -> JsonObject:
        """Look whether the project holds together; changes nothing."""
        return {"findings": [asdict(finding) for finding in check(self.project, self._store)]}

    def back_up(self, *, with_features: bool) -> Path:
        """Write a backup into the project's folder and return where; the caller takes it away.

        Raises:
            BackupError: It cannot be written, or one is being made.
            StoreError: The database could not be copied.
        """
        if not self._backing_up.acquire(blocking=False):
            raise BackupError("A backup is being made. Try again when it is done.")
        try:
            with tempfile.TemporaryDirectory(dir=self.project.folder, prefix=".backup-") as folder:
                snapshot = Path(folder) / "project.duckdb"
                self._store.copy_to(snapshot)
                target = self.project.folder / f".backup-{secrets.token_hex(8)}.tar"
                back_up(self.project, snapshot, target, with_features=with_features)
        finally:
            self._backing_up.release()
        return target

    def export(self, user: str = LOCAL_USER) -> Iterator[dict[str, Any]]:
        """Yield a record for every saved photo; where its folder lies is told at this machine only."""
        rows = self._log.export_rows()
        return rows if self._shows_folders(user) else ({**row, "root": ""} for row in rows)

    # Inside

    def _swept(self, image_id: int, annotation: Annotation) -> JsonObject:
        return {
            "image_id": image_id,
            **self._shown(image_id),
            "kept": list(annotation.tags),
            "dropped": list(annotation.dropped),
            "revision": annotation.revision,
        }
