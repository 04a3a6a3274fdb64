"""Several people on one project: assignments, responses, decisions of reviewers, and the history of a photo."""

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
"""Photos written per lock, so that other users' saves wait briefly."""


class Review:
    """Assigning photos, asking several people about one, reviewing responses, and a photo's history.

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

    def assign(
        self, users: Sequence[str], image_ids: Sequence[int], query: str, state: str, *, tells_before: bool = False
    ) -> JsonObject:
        """Assign photos to users; without any user, the photos are open to everybody again.

        Args:
            users: The assigned users; several share the photos evenly.
            image_ids: The photos; empty takes those that match the search.
            query: Text to find in tags or paths.
            state: ``all``, ``saved`` or ``unsaved``.
            tells_before: Return also who had which photos, to undo it: ``before``, where "" is everybody.

        Raises:
            AccountError: Somebody may not annotate.
            UnknownImageError: The project has no such image.
        """
        self._check_annotators(users)
        ids, assignments = self._matching(image_ids, query, state), self._workspace.assignments
        before: dict[str, list[int]] = {}
        for image_id in ids if tells_before else ():
            before.setdefault(assignments.of(image_id) or "", []).append(image_id)
        told = {"before": before} if tells_before else {}
        if not users:
            return {"assigned": {}, "num_given_back": assignments.assign(ids, None), **told}
        return {"assigned": assignments.share_out(ids, users), "num_given_back": 0, **told}

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
        """Ask several people about photos; none of them sees the others' responses.

        Args:
            user: Who asks.
            num_people: How many responses each photo needs; 0 withdraws the question where nobody has responded.
            people: Who may respond; empty: anybody who annotates.
            image_ids: The photos; empty takes those that match the search.
            query: Text to find in tags or paths.
            state: ``all``, ``saved`` or ``unsaved``.
            share: Share of these photos, in [0, 1], chosen by the hash of their content.
            added_too: Also for photos added from now on; with ``num_people`` 0, for none of those.

        Raises:
            AccountError: Somebody may not annotate.
            UnknownImageError: The project has no such image.
            ReviewError: The number of people is not possible.
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
        names = self._workspace.ranking.vocabulary.aliases_with
        ids = list(image_ids) or self._workspace.store.images.find(query, state, names)
        for image_id in ids:
            self._access.check(image_id)
        return ids

    def end_lease(self, image_id: int) -> JsonObject:
        """End the lease of a photo, whoever holds it."""
        self._access.check(image_id)
        self._workspace.leases.end(image_id)
        return {}

    def review(self, user: str, image_id: int | None, after: int | None) -> JsonObject:
        """Return the responses to a photo and their agreement; None takes the next photo in review.

        Raises:
            ReviewError: Nobody is asked about the photo, or its responses are not visible yet.
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
            edited: The list, with the revision of the saved list that the reviewer saw.
            seen: User -> revision of each response that was shown; None when none was.

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
        responses = workspace.responses
        with workspace.lock:
            # Under the lock: a tag that is renamed while this call waits gets its new name.
            own = workspace.ranking.tagged_photos.saved_tags(image_id)
            workspace.vocabulary.check(edited.kept, own)
            tags, dropped = self._access.clean(edited.kept, "kept", own), self._access.clean(edited.dropped, "dropped")
            respelled = self._access.respelled(edited.kept, own)
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
            "respelled": respelled,
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
        """Ask people to respond to a photo again, with a note that they see when it is opened.

        Args:
            user: The reviewer.
            image_id: The photo.
            revision: Revision of the saved list that the reviewer saw.
            people: Who responds again; empty: everybody.
            note: What to change.
            seen: User -> revision of each response that was shown; None when none was.

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
        """Return the events of a photo that this user may see; see collaboration/timeline.py."""
        workspace = self._workspace
        self._access.check(image_id)
        entries = self._timeline.entries(user, image_id, workspace.store.images.added_at(image_id))
        if not workspace.may_annotate(user) or self._access.assigned_to_other(user, image_id):
            entries = [{**entry, "can_restore": False} for entry in entries]
        return {"entries": entries, "revision": workspace.review_rules.list_of(user, image_id).revision}

    def restore(self, user: str, image_id: int, entry_id: str, revision: int) -> JsonObject:
        """Restore the list of an entry of the time line as a new entry; return the photo.

        Args:
            user: Who restores.
            image_id: The photo.
            entry_id: Id of the entry.
            revision: Revision of the list that this user saw.

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
        """Return the events of a photo, oldest first, without responses that this user may not see yet."""
        self._access.check(image_id)
        events = self._workspace.review_rules.history(user, image_id)
        return {"events": [{**e, "created_at": f"{e['created_at'].isoformat()}Z"} for e in events]}
