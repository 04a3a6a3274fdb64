"""Several people on one project: assignments, responses, what a reviewer decides, and the past of a photo."""

from collections.abc import Sequence

from annotator.collaboration.comparison import ResponseComparison
from annotator.collaboration.timeline import Timeline
from annotator.errors import AccountError
from annotator.json_types import JsonObject
from annotator.reports.agreement_report import agreement_report
from annotator.session.edited_list import EditedList
from annotator.session.navigation import Navigation
from annotator.session.photo_view import PhotoView
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Annotation, Effort

NUM_ASKED_AT_ONCE = 500
"""Photos of which people are asked while others' saves wait."""


class Review:
    """Sharing photos out, asking several people about one, reviewing, and a photo's past.

    Args:
        workspace: The open project.
        view: Answers about photos.
        navigation: Brings the next photo.
    """

    def __init__(self, workspace: Workspace, view: PhotoView, navigation: Navigation) -> None:
        self._workspace = workspace
        self._access = workspace.access
        self._view = view
        self._navigation = navigation
        self._comparison = ResponseComparison(workspace.log, workspace.responses, workspace.review_rules, view.shown)
        self._timeline = Timeline(workspace.log, workspace.responses, workspace.review_rules)

    def agreement(self) -> JsonObject:
        """Return how far people agree with the accepted lists and with one another; see reports/agreement_report.py."""
        return agreement_report(self._workspace.store.rows)

    def assign(self, users: Sequence[str], image_ids: Sequence[int], query: str, state: str) -> JsonObject:
        """Share photos out between people; no user at all gives them back to everybody.

        Args:
            users: Whose they are from now on; several share them evenly.
            image_ids: The photos; empty takes those that match.
            query: Text in their tags or paths.
            state: ``all``, ``saved`` or ``unsaved``.

        Raises:
            AccountError: Somebody may not annotate.
            UnknownImageError: The project has no such image.
        """
        self._check_annotators(users)
        ids, assignments = self._matching(image_ids, query, state), self._workspace.assignments
        if not users:
            return {"assigned": {}, "num_given_back": assignments.assign(ids, None)}
        return {"assigned": assignments.share_out(ids, users), "num_given_back": 0}

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
        """Ask several people about photos, each blind to the others.

        Args:
            user: Who asks.
            num_people: How many responses each photo needs; 0 withdraws the question where nobody has responded.
            people: Who may respond; empty: anybody who annotates.
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
        workspace = self._workspace
        self._check_annotators(people)
        asked = workspace.files.in_share(self._matching(image_ids, query, state), share)
        for first in range(0, len(asked), NUM_ASKED_AT_ONCE):
            part = asked[first : first + NUM_ASKED_AT_ONCE]
            with workspace.lock:
                for annotation in workspace.responses.ask(part, num_people, people, user, first):
                    workspace.after_commit.saved(annotation)
                workspace.assignments.assign(part, None)
        if added_too:
            workspace.project.update_settings(asked_people=num_people, asked_share=share)
        return {"num_asked": len(asked), "states": self._navigation.state(user)["states"]}

    def _check_annotators(self, users: Sequence[str]) -> None:
        for user in users:
            if not self._workspace.may_annotate(user):
                raise AccountError(f"There is no user {user[:80]!r} who may annotate.")

    def _matching(self, image_ids: Sequence[int], query: str, state: str) -> list[int]:
        ids = list(image_ids) or self._workspace.store.images.find(" ".join(query.split()), state)
        for image_id in ids:
            self._access.check(image_id)
        return ids

    def end_lease(self, image_id: int) -> JsonObject:
        """Let others have a photo, whoever has it open."""
        self._access.check(image_id)
        self._workspace.leases.end(image_id)
        return {}

    def review(self, user: str, image_id: int | None, after: int | None) -> JsonObject:
        """Return the responses to a photo side by side, with how far they agree; null takes the next one in review.

        Raises:
            ReviewError: Nobody is asked about the photo, or its responses may not be seen yet.
        """
        wanted = self._comparison.next_in_review(after) if image_id is None else image_id
        if wanted is None:
            return {"done": True, "states": self._navigation.state(user)["states"]}
        self._access.check(wanted)
        return self._comparison.compare(user, wanted)

    def accept(self, user: str, edited: EditedList, seen: dict[str, int] | None) -> JsonObject:
        """Make a list the accepted one; it is on disk when this returns. Returns the next photo with it.

        Args:
            user: The reviewer.
            edited: The list, on the revision of the saved list on which the decision was made.
            seen: The revision of each response that was looked at; None when none was.

        Raises:
            ReviewError: Responses are still awaited.
            StaleRevisionError: The list or a response changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has this photo open.
        """
        workspace, image_id = self._workspace, edited.image_id
        self._access.check(image_id)
        self._access.hold(user, image_id)
        tags, dropped = self._access.clean(edited.kept, "kept"), self._access.clean(edited.dropped, "dropped")
        responses = workspace.responses
        with workspace.lock:
            given = responses.all(image_id) if responses.is_complete(image_id) else []
            taken_from = next((one.user_name for one in given if list(one.tags) == tags), None)
            before, current = workspace.after_commit.counts_of(tags), Annotation(image_id, edited.revision)
            annotation = responses.accept(current, tags, dropped, user, edited.effort, seen, taken_from)
            workspace.after_commit.saved(annotation)
            now_common = workspace.after_commit.now_common(before)
        workspace.pinned_taggers.unpin(user, image_id)
        workspace.models.note_save()
        return {
            "revision": annotation.revision,
            "now_common": now_common,
            "next": self._navigation.next(user, image_id),
        }

    def send_back(
        self,
        user: str,
        image_id: int,
        revision: int,
        people: Sequence[str],
        note: str,
        seen: dict[str, int] | None,
    ) -> JsonObject:
        """Have people respond to a photo again, with a note that they read when it comes back to them.

        Args:
            user: The reviewer.
            image_id: The photo.
            revision: Of the saved list on which the decision was made.
            people: Whose responses; empty: everybody's.
            note: What should be different.
            seen: The revision of each response that was looked at; None when none was.

        Raises:
            ReviewError: Responses are still awaited, or one of the people has given none.
            StaleRevisionError: The list or a response changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
            LeaseError: Somebody else has this photo open.
        """
        workspace = self._workspace
        self._access.check(image_id)
        self._access.hold(user, image_id)
        with workspace.lock:
            current = Annotation(image_id, revision)
            changed = workspace.responses.send_back(current, people, " ".join(note.split()), user, seen)
            if changed is not None:
                workspace.after_commit.saved(changed)
            workspace.queue.mark(image_id, saved=False)
        workspace.leases.give_back(image_id, user)
        return {"states": self._navigation.state(user)["states"]}

    def timeline(self, user: str, image_id: int) -> JsonObject:
        """Return who did what to a photo when, as far as this user may see it; see collaboration/timeline.py."""
        workspace = self._workspace
        self._access.check(image_id)
        entries = self._timeline.entries(user, image_id, workspace.store.images.added_at(image_id))
        if not workspace.may_annotate(user) or self._access.assigned_to_other(user, image_id):
            entries = [{**entry, "can_restore": False} for entry in entries]
        return {"entries": entries, "revision": workspace.review_rules.list_of(user, image_id).revision}

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
        workspace = self._workspace
        self._access.check(image_id)
        self._access.check_unlocked(user, image_id)
        self._access.hold(user, image_id)
        with workspace.lock:
            was = self._timeline.state_of(user, image_id, entry_id, workspace.store.images.added_at(image_id))
            if workspace.review_rules.is_personal(user, image_id):
                effort = Effort(actions=[["restore", entry_id]])
                workspace.responses.give(
                    image_id, user, revision=revision, tags=was.tags, dropped=was.dropped, effort=effort
                )
            else:
                now = Annotation(image_id, revision)
                restored = workspace.log.record("restore", now, was.tags, was.dropped, was.is_saved, user)
                workspace.after_commit.saved(restored)
        return self._view.photo(user, image_id)

    def history(self, user: str, image_id: int) -> JsonObject:
        """Return every event of a photo, oldest first; none that would show this user another's response too early."""
        self._access.check(image_id)
        events = self._workspace.review_rules.history(user, image_id)
        return {"events": [{**e, "created_at": f"{e['created_at'].isoformat()}Z"} for e in events]}
