"""Several people on one project: whose photo is whose, whom it is asked of, what a reviewer decides, what happened.

Answers are JSON-ready. Knows nothing of Gradio, HTTP or SQL.
"""

from collections.abc import Sequence

from annotator.auth.roles import LOCAL_USER
from annotator.collaboration.responses import in_share
from annotator.errors import (
    AccountError,
)
from annotator.json_types import JsonObject
from annotator.reports.agreement_report import agreement_report
from annotator.session.session_core import SessionCore
from annotator.storage.correction_log import Annotation, Effort

NUM_ASKED_AT_ONCE = 500
"""Photos of which people are asked while others' saves wait."""


class PeopleSession(SessionCore):
    """Sharing out, asking several people, reviewing, and a photo's past."""

    def agreement(self) -> JsonObject:
        """Return how far people agree with the accepted lists and with one another; see reports/agreement_report.py."""
        return agreement_report(self._store.rows)

    def assign(self, users: Sequence[str], image_ids: Sequence[int], query: str, state: str) -> JsonObject:
        """Share photos out between people; nobody gives them back to everybody.

        Args:
            users: Whose they are from now on; several share them evenly.
            image_ids: The photos; empty takes those that match.
            query: Text in their tags or paths.
            state: ``all``, ``saved`` or ``unsaved``.

        Raises:
            AccountError: Somebody may not annotate.
            UnknownImageError: The project has no such image.
        """
        for user in users:
            if not self._may_annotate(user):
                raise AccountError(f"There is no user {user[:80]!r} who may annotate.")
        ids = list(image_ids) or self._store.images.find(" ".join(query.split()), state)
        for image_id in ids:
            self._check(image_id)
        if not users:
            return {"assigned": {}, "num_given_back": self.assignments.assign(ids, None)}
        return {"assigned": self.assignments.share_out(ids, users), "num_given_back": 0}

    def ask(
        self,
        user: str,
        num_people: int,
        people: Sequence[str],
        image_ids: Sequence[int],
        query: str,
        state: str,
        share: float,
        added_too: bool,
    ) -> JsonObject:
        """Ask photos of several people, each blind to the others.

        Args:
            user: Who asks.
            num_people: How many answers each photo needs; 0 withdraws the question where nobody has answered.
            people: Who may answer; empty: anybody who annotates.
            image_ids: The photos; empty takes those that match.
            query: Text in their tags or paths.
            state: ``all``, ``saved`` or ``unsaved``.
            share: Of these photos, in [0, 1]; which ones is drawn by their content.
            added_too: Ask of photos that are added from now on, too, or of none of them if ``num_people`` is 0.

        Raises:
            AccountError: Somebody may not annotate.
            UnknownImageError: The project has no such image.
            ReviewError: The number cannot be asked for.
            StoreError: A commit failed; photos before it are done.
        """
        for name in people:
            if not self._may_annotate(name):
                raise AccountError(f"There is no user {name[:80]!r} who may annotate.")
        ids = list(image_ids) or self._store.images.find(" ".join(query.split()), state)
        for image_id in ids:
            self._check(image_id)
        asked = self._in_share(ids, share)
        for first in range(0, len(asked), NUM_ASKED_AT_ONCE):
            part = asked[first : first + NUM_ASKED_AT_ONCE]
            with self._lock:
                for annotation in self._answers.ask(part, num_people, people, user, first):
                    self._took(annotation)
                self.assignments.assign(part, None)
        if added_too:
            self.project.update_settings(asked_people=num_people, asked_share=share)
        return {"num_asked": len(asked), "states": self.state(user)["states"]}

    def end_lease(self, image_id: int) -> JsonObject:
        """Let others have a photo, whoever has it open."""
        self._check(image_id)
        self.leases.end(image_id)
        return {}

    def review(self, user: str, image_id: int | None, after: int | None) -> JsonObject:
        """Return the answers to a photo side by side, with how far they agree; null takes the next one in review.

        Raises:
            ReviewError: The photo is not asked of anybody, or its answers may not be seen yet.
        """
        wanted = self._desk.next_in_review(after) if image_id is None else image_id
        if wanted is None:
            return {"done": True, "states": self.state(user)["states"]}
        self._check(wanted)
        return self._desk.compare(user, wanted)

    def accept(
        self,
        user: str,
        image_id: int,
        revision: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        effort: Effort,
        seen: dict[str, int] | None,
    ) -> JsonObject:
        """Make a list the accepted one; it is on disk when this returns. Returns the next photo with it.

        Args:
            user: The reviewer.
            image_id: The photo.
            revision: Of the standing list on which the decision was made.
            kept: The list, most important first.
            dropped: Proposals refused.
            effort: What it cost.
            seen: The revision of each answer that was looked at; None when none was.

        Raises:
            ReviewError: Answers are still awaited.
            StaleRevisionError: The list or an answer changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has this photo open.
        """
        self._check(image_id)
        self._hold(user, image_id)
        tags, refused = self._clean(kept, "kept"), self._clean(dropped, "dropped")
        with self._lock:
            given = self._answers.all(image_id) if self._answers.is_complete(image_id) else []
            taken_from = next((one.user_name for one in given if list(one.tags) == tags), None)
            before, standing = self._counts_of(tags), Annotation(image_id, revision)
            annotation = self._answers.accept(standing, tags, refused, user, effort, seen, taken_from)
            self._took(annotation)
            now_common = self._now_common(before)
        self._pins.let_go(user, image_id)
        self.models.note_save()
        return {"revision": annotation.revision, "now_common": now_common, "next": self._next(user, image_id)}

    def send_back(
        self,
        user: str,
        image_id: int,
        revision: int,
        people: Sequence[str],
        note: str,
        seen: dict[str, int] | None,
    ) -> JsonObject:
        """Have people answer a photo again, with a note that they read when it comes back to them.

        Args:
            user: The reviewer.
            image_id: The photo.
            revision: Of the standing list on which the decision was made.
            people: Whose answers; empty: everybody's.
            note: What should be different.
            seen: The revision of each answer that was looked at; None when none was.

        Raises:
            ReviewError: Answers are still awaited, or one of the people has given none.
            StaleRevisionError: The list or an answer changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
            LeaseError: Somebody else has this photo open.
        """
        self._check(image_id)
        self._hold(user, image_id)
        with self._lock:
            standing = Annotation(image_id, revision)
            changed = self._answers.send_back(standing, people, " ".join(note.split()), user, seen)
            if changed is not None:
                self._took(changed)
            self._queue.mark(image_id, saved=False)
        self.leases.give_back(image_id, user)
        return {"states": self.state(user)["states"]}

    def timeline(self, user: str, image_id: int) -> JsonObject:
        """Return who did what to a photo when, as far as this user may see it; see collaboration/timeline.py."""
        self._check(image_id)
        entries = self._timeline.entries(user, image_id, self._store.images.added_at(image_id))
        if not self._may_annotate(user) or self._not_theirs(user, image_id):
            entries = [{**entry, "can_restore": False} for entry in entries]
        return {"entries": entries, "revision": self._reviewing.list_of(user, image_id).revision}

    def restore(self, user: str, image_id: int, entry_id: str, revision: int) -> JsonObject:
        """Make the list of an entry of the time line the current one again, by one more entry; return the photo.

        Args:
            user: Who.
            image_id: The photo.
            entry_id: Of the time line.
            revision: Of the list that this user saw.

        Raises:
            ReviewError: There is no such state, or this user cannot restore it.
            StaleRevisionError: The list changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
            LeaseError: Somebody else has this photo open.
        """
        self._check(image_id)
        self._check_unlocked(user, image_id)
        self._hold(user, image_id)
        with self._lock:
            was = self._timeline.state_of(user, image_id, entry_id, self._store.images.added_at(image_id))
            if self._reviewing.is_personal(user, image_id):
                effort = Effort(actions=[["restore", entry_id]])
                self._answers.give(image_id, user, revision=revision, tags=was.tags, dropped=was.dropped, effort=effort)
            else:
                now = Annotation(image_id, revision)
                self._took(self._log.record("restore", now, was.tags, was.dropped, was.is_saved, user))
        return self._photo(user, image_id)

    def history(self, image_id: int, user: str = LOCAL_USER) -> JsonObject:
        """Return every event of a photo, oldest first; none by which this user would see another's answer too early."""
        self._check(image_id)
        events = self._reviewing.history(user, image_id)
        return {"events": [{**e, "created_at": f"{e['created_at'].isoformat()}Z"} for e in events]}

    def _in_share(self, image_ids: Sequence[int], share: float) -> list[int]:
        return [image_id for image_id in image_ids if in_share(self._files[image_id][0], share)]
