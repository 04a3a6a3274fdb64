"""The list of one photo: propose, complete, explain, save, undo."""

from collections.abc import Sequence
from dataclasses import asdict

from annotator.datasets.tags import MAX_TAG_LENGTH
from annotator.errors import ConfigError, ReviewError
from annotator.json_types import JsonObject
from annotator.models.tag_order import boxes_for
from annotator.models.tagger import Tagger
from annotator.proposals.proposer import NO_EXCLUSIONS, Exclusions
from annotator.proposals.vocabulary.completions import completions_of, word_scores_of
from annotator.proposals.vocabulary.project_vocabulary import WordScores, no_word_scores
from annotator.session.edited_list import EditedList
from annotator.session.navigation import Navigation
from annotator.session.photo_groups import PhotoGroups
from annotator.session.photo_view import PhotoView
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Draft, NothingToUndoError, Selection

ScoresKey = tuple[int, tuple[str, ...], tuple[Tagger, ...], int]
"""(image id, kept tags, taggers, commits so far)."""


class Tagging:
    """Operations on the list of the open photo.

    Args:
        workspace: The open project.
        view: Answers about photos.
        navigation: Brings the next photo.
        groups: Photos that are saved together.
    """

    def __init__(self, workspace: Workspace, view: PhotoView, navigation: Navigation, groups: PhotoGroups) -> None:
        self._workspace = workspace
        self._access = workspace.access
        self._view = view
        self._navigation = navigation
        self._groups = groups
        self._scores: dict[str, tuple[ScoresKey, dict[str, float]]] = {}
        """User -> scores of every tag for the list that the user is completing."""

    def propose(
        self,
        user: str,
        image_id: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        revision: int,
        exclusions: Exclusions = NO_EXCLUSIONS,
    ) -> JsonObject:
        """Propose tags after the kept ones, without the excluded evidence, and store the list as a draft.

        Raises:
            LeaseError: Somebody else has this photo open.
            ReviewError: This user cannot change it now.
        """
        workspace = self._workspace
        self._access.check(image_id)
        self._access.check_unlocked(user, image_id)
        self._access.hold(user, image_id)
        own = workspace.ranking.tagged_photos.saved_tags(image_id)
        kept, dropped = self._access.clean(kept, "kept", own), self._access.clean(dropped, "dropped")
        current, entry = workspace.review_rules.list_of(user, image_id), workspace.store.images.entry(image_id)
        if (kept, dropped) == (list(current.tags), list(current.dropped)):
            workspace.log.discard_draft(image_id, user)
            return self._view.proposals(user, image_id, entry, kept, dropped, exclusions)
        draft = Draft(revision, tuple(kept), tuple(dropped))
        written = workspace.draft_writer.submit(workspace.log.save_draft, image_id, user, draft)
        try:
            return self._view.proposals(user, image_id, entry, kept, dropped, exclusions)
        finally:
            written.result()  # the draft is on disk before the answer

    def complete(self, user: str, image_id: int, text: str, kept: Sequence[str]) -> JsonObject:
        """Return completions of a text, best first: by what is seen and what is used, then by meaning."""
        self._access.check(image_id)
        # The time that a search takes grows with the length of the text.
        if not text.strip() or len(text.strip()) > MAX_TAG_LENGTH:
            return {"completions": []}
        found = completions_of(
            text,
            self._scores_of(user, image_id, kept),
            kept,
            vocabulary=self._workspace.ranking.vocabulary,
            similar_tags=self._workspace.similar_tags,
            tagger=self._workspace.catalog.taggers[0],
            word_scores=self._word_scores(image_id),
            never=self._workspace.project.settings.never_proposed,
        )
        vocabulary = self._workspace.vocabulary
        return {
            "completions": [
                {**asdict(item), "place": vocabulary.place_of(item.tag)}
                for item in found
                if not vocabulary.is_forbidden(item.tag)
            ]
        }

    def _word_scores(self, image_id: int) -> WordScores:
        workspace = self._workspace
        if image_id not in workspace.features:
            return no_word_scores
        return word_scores_of(workspace.catalog.added_words, workspace.features.vectors([image_id]))

    def _scores_of(self, user: str, image_id: int, kept: Sequence[str]) -> dict[str, float]:
        """Return the score of each tag; cached, since it is needed for every typed character."""
        workspace = self._workspace
        taggers = workspace.pinned_taggers.taggers(user, image_id) or tuple(workspace.catalog.taggers)
        key = (image_id, tuple(kept), taggers, workspace.after_commit.num_commits)
        known = self._scores.get(user)
        if known is None or known[0] != key:
            scores = workspace.proposer.scores(image_id, workspace.words_of(image_id), kept, taggers)
            known = self._scores[user] = (key, scores)
        return known[1]

    def explain(self, user: str, image_id: int, tag: str, exclusions: Exclusions = NO_EXCLUSIONS) -> JsonObject:
        """Return how the model scores a tag without the photo's neighbours or metadata; computed on demand."""
        self._access.check(image_id)
        workspace = self._workspace
        taggers = workspace.pinned_taggers.taggers(user, image_id)
        words = workspace.words_of(image_id)
        return {"text": workspace.proposer.explain(image_id, words, tag, exclusions, taggers)}

    def heat_map(self, user: str, image_id: int, tag: str) -> JsonObject:
        """Return where a tag is located in a photo: its ``found`` boxes, or else a heat map, ``grid`` and ``box``.

        ``grid`` and ``box`` are null when there are boxes, or when no tagger can locate the tag.

        Raises:
            UnreadableImageError: The photo is missing or damaged.
        """
        self._access.check(image_id)
        workspace = self._workspace
        boxes = boxes_for(tag, workspace.detections.of(image_id))
        if boxes:
            return {"grid": None, "box": None, "found": [asdict(item) for item in boxes]}
        taggers = workspace.pinned_taggers.taggers(user, image_id) or workspace.catalog.taggers
        heat_map = workspace.heat_mapper.heat_map(taggers, image_id, tag)
        return {"grid": None, "box": None, "found": [], **(heat_map or {})}

    def save(self, user: str, edited: EditedList, *, brings_next: bool = True) -> JsonObject:
        """Save a photo's list; it is on disk when this returns. Returns the next photo with it.

        For a photo that several people are asked about, it is this person's response, with its own revision.

        Args:
            user: Who saves.
            edited: The list, with the revision that this user edited.
            brings_next: Whether the next photo comes with the answer, else None.

        Raises:
            ReviewError: The photo is in review, accepted, or not asked of this person; nothing was written.
            StaleRevisionError: Somebody saved this photo meanwhile; nothing was overwritten.
            StoreError: The commit failed; nothing was written.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has this photo open.
            ForbiddenError: The photo is assigned to somebody else; nothing was written.
        """
        workspace, image_id = self._workspace, edited.image_id
        self._access.check(image_id)
        self._access.check_assigned(user, image_id)
        self._access.hold(user, image_id)
        if workspace.responses.state(image_id) is not None:
            return self._respond(user, edited, brings_next=brings_next)
        selection = self.selection(image_id)
        with workspace.lock:
            tags, dropped, respelled = self._cleaned(edited)
            tags = list(workspace.order_rules.apply(tags))
            if workspace.responses.state(image_id) is not None:
                raise ReviewError("This photo was asked of several people meanwhile. Nothing was saved: open it anew.")
            before = workspace.after_commit.counts_of(tags)
            annotation = workspace.log.save(
                image_id,
                revision=edited.revision,
                tags=tags,
                dropped=dropped,
                user_name=user,
                effort=edited.effort,
                selection=selection,
            )
            workspace.after_commit.saved(annotation)
            now_common = workspace.after_commit.now_common(before)
        workspace.pinned_taggers.unpin(user, image_id)
        workspace.models.note_save()
        return {
            "revision": annotation.revision,
            "now_common": now_common,
            "respelled": respelled,
            "next": self._after(user, image_id, brings_next),
        }

    def _cleaned(self, edited: EditedList) -> tuple[list[str], list[str], list[JsonObject]]:
        """Return kept and dropped tags in the project's spelling, and those that got another.

        Called under the workspace's lock: a tag that is renamed while a save waits for it gets its new name.
        """
        own = self._workspace.ranking.tagged_photos.saved_tags(edited.image_id)
        self._workspace.vocabulary.check(edited.kept, own)
        tags, dropped = self._access.clean(edited.kept, "kept", own), self._access.clean(edited.dropped, "dropped")
        return tags, dropped, self._access.respelled(edited.kept, own)

    def _respond(self, user: str, edited: EditedList, *, brings_next: bool) -> JsonObject:
        workspace, image_id = self._workspace, edited.image_id
        with workspace.lock:
            tags, dropped, respelled = self._cleaned(edited)
            reason = workspace.review_rules.lock(user, image_id)
            if reason or not workspace.review_rules.is_personal(user, image_id):
                raise ReviewError(
                    f"{reason or 'A reviewer decides on this photo by accepting a list.'} Nothing was saved."
                )
            given = workspace.responses.give(
                image_id, user, revision=edited.revision, tags=tags, dropped=dropped, effort=edited.effort
            )
            workspace.queue.mark(image_id, saved=False)  # no longer skipped, for those who are asked next
        workspace.pinned_taggers.unpin(user, image_id)
        return {
            "revision": given.revision,
            "now_common": [],
            "respelled": respelled,
            "next": self._after(user, image_id, brings_next),
        }

    def _after(self, user: str, image_id: int, brings_next: bool) -> JsonObject | None:
        """End the saved photo's lease; return the next photo if it is wanted."""
        if brings_next:
            return self._navigation.next(user, image_id)
        self._workspace.leases.give_back(image_id, user)
        return None

    def selection(self, image_id: int) -> Selection:
        """Return why the queue chose a photo, with the proposals that a probe hid or shuffled."""
        workspace = self._workspace
        strategy = workspace.project.settings.strategy
        is_random, probe = workspace.is_random(image_id), workspace.probe(image_id)
        if probe is None:
            return Selection(strategy, is_random)
        proposed = workspace.proposer.propose(image_id, workspace.words_of(image_id), [], [])
        return Selection(strategy, is_random, probe, [proposal.tag for proposal in proposed.proposals])

    def set_field(self, user: str, image_id: int, field: str, value: str, was: str) -> JsonObject:
        """Write a field of a photo beside its tags; it is on disk when this returns.

        Args:
            user: Who.
            image_id: The photo.
            field: The name of one of the project's fields.
            value: What to write; empty removes it.
            was: What the person saw there.

        Raises:
            UnknownImageError: The project has no such image.
            ConfigError: The project has no such field.
            DataError: The field does not take this value, or somebody has written there meanwhile.
            ForbiddenError: The photo is assigned to somebody else.
            LeaseError: Somebody else has this photo open.
            StoreError: The commit failed; nothing was written.
        """
        workspace = self._workspace
        self._access.check(image_id)
        self._access.check_unlocked(user, image_id)
        self._access.hold(user, image_id)
        specs = {spec.name: spec for spec in workspace.project.settings.fields}
        if field not in specs:
            raise ConfigError(f"This project has no field {field!r}. Its fields: {', '.join(specs) or 'none'}.")
        text = specs[field].clean(value)
        workspace.field_values.put(image_id, field, text, was, user)
        if workspace.sidecars is not None:
            workspace.sidecars.request([image_id])
        return {"value": text}

    def undo(self, user: str) -> JsonObject:
        """Revert the user's last save, and return its photo with the list as it was just before.

        Raises:
            NothingToUndoError: There is none.
            StaleRevisionError: Somebody else has saved that photo since.
        """
        workspace = self._workspace
        with workspace.lock:
            # By the numbers of events, not by their times: the clock may have been set back.
            answered, saved = workspace.responses.newest(user), workspace.log.newest_save(user)
            decided, others = workspace.log.newest_decision(user), ""
            if decided > saved and (answered is None or decided > answered[1]):
                raise NothingToUndoError("Your last step was a decision: the time line of its photo takes that back.")
            if answered is not None and answered[1] >= saved:
                image_id, num_tags = answered[0], self._take_back(user, answered[0])
            else:
                back = self._groups.take_back(user)
                image_id, num_tags = back.image_id, back.num_tags
                others = f" and {back.num_members} with it" * (back.num_members > 0)
                others += f"; {back.num_left} that were changed since stay" * (back.num_left > 0)
        photo = self._view.photo(user, image_id)
        return {**photo, "undone": f"Took back the save of {photo['file_name']}{others} ({num_tags} tags)."}

    def _take_back(self, user: str, image_id: int) -> int:
        """Withdraw a person's response, keeping it as their draft; return how many tags it has."""
        workspace = self._workspace
        if workspace.queue.is_saved(image_id):
            raise ReviewError("Your last save is in review, and stands meanwhile: a reviewer can send it back.")
        was, now = workspace.responses.take_back(image_id, user)
        workspace.log.save_draft(image_id, user, Draft(now.revision, was.tags, was.dropped))
        return len(was.tags)
