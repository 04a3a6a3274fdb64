"""The annotating conversation: next photo, propose, revise, save, undo, skip.

Everything the page and the REST routes may do, and all they may do. Answers are JSON-ready. Knows nothing of Gradio,
HTTP or SQL; one object serves every person working on a project.
"""

import secrets
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotator import __version__
from annotator.access import LOCAL_USER
from annotator.agreement_report import agreement_report
from annotator.answers import Answers, in_share
from annotator.assignments import Assignments
from annotator.autocomplete import Autocomplete
from annotator.backup import back_up
from annotator.carried_tags import CarriedTags
from annotator.check import check
from annotator.completions import completions_of
from annotator.correction_log import Annotation, CorrectionLog, Draft, Effort, NothingToUndoError, Selection
from annotator.datasets.metadata_words import caption_words
from annotator.datasets.tags import clean_tag, tag_key
from annotator.detections import DetectionProgress
from annotator.effort_report import effort_report
from annotator.errors import (
    AccountError,
    AnnotatorError,
    BackupError,
    LeaseError,
    ReviewError,
    TagError,
    UnknownImageError,
)
from annotator.feature_store import FeatureStore
from annotator.heat_map import HeatMapper
from annotator.ingest import IngestProgress, NewImage
from annotator.leases import Leases
from annotator.look_alikes import Groups, join_proposals
from annotator.model_loop import ModelLoop
from annotator.models.detector import Detection
from annotator.models.tag_order import boxes_for
from annotator.models.tagger import Tagger
from annotator.photo_queue import PhotoQueue
from annotator.project import Project
from annotator.queue_order import QueueOrder
from annotator.random_sample import Probe, is_in_sample, probe_of, shuffle_key
from annotator.retro_tag import sweep
from annotator.review_desk import ReviewDesk
from annotator.reviewing import Reviewing, State
from annotator.store import ImageEntry, SeenPath, Store
from annotator.suggest import NOTHING_OFF, Neighbour, Proposal, Suggester, Without, Words, num_expected
from annotator.tag_changes import TagChanges
from annotator.tag_meanings import TagMeanings
from annotator.tagger_pins import TaggerPins
from annotator.tagger_shelf import TaggerShelf
from annotator.timeline import Timeline
from annotator.visual_index import VisualIndex

MAX_TAGS = 200
"""Most tags of one photo."""
NUM_SHOWN_NEIGHBOURS = 12
NUM_ASKED_AT_ONCE = 500
"""Photos of which people are asked while others' saves wait."""
NUM_FOR_SWEEP = 10
"""Photos on which a tag is offered for a look through those that were saved before it."""

Answer = dict[str, Any]
TypedOn = tuple[int, tuple[str, ...], tuple[Tagger, ...]]
"""(image id, kept tags, taggers)."""


class AnnotatingSession:
    """One project, open for annotating.

    Args:
        project: Paths and settings.
        store: The database.
        log: The correction log on it.
        features: Features by image id.
        looks: Visual index of all photos.
        carried_tags: Which photos carry which tags, kept in step with every save.
        suggester: Joins all evidence.
        autocomplete: Completions and spellings.
        shelf: The taggers to choose from.
        meanings: The project's word vectors.
        heat_mapper: Shows where a tag is seen.
        progress: Tells how far the ingest is.
        models: Lets the model learn from corrections.
        may_annotate: Tells of a user whether they may change tags; who may not holds no photo.
        may_review: Tells of a user whether they may accept lists, or send them back.
        detections: Image id -> what was found in the photo.
        detection_progress: Tells how far the detector is.
    """

    def __init__(
        self,
        project: Project,
        store: Store,
        log: CorrectionLog,
        features: FeatureStore,
        looks: VisualIndex,
        carried_tags: CarriedTags,
        suggester: Suggester,
        autocomplete: Autocomplete,
        shelf: TaggerShelf,
        meanings: TagMeanings,
        heat_mapper: HeatMapper,
        progress: Callable[[], IngestProgress],
        models: ModelLoop,
        may_annotate: Callable[[str], bool] = lambda user: True,
        *,
        may_review: Callable[[str], bool] = lambda user: True,
        detections: Callable[[int], Sequence[Detection]] = lambda image_id: (),
        detection_progress: Callable[[], DetectionProgress] = DetectionProgress,
    ) -> None:
        self.project = project
        self._store = store
        self._log = log
        self._features = features
        self._looks = looks
        self._carried = carried_tags
        self._suggester = suggester
        self._autocomplete = autocomplete
        self._shelf = shelf
        self._meanings = meanings
        self._heat_mapper = heat_mapper
        self._progress = progress
        self.models = models
        self._may_annotate = may_annotate
        self._backing_up = threading.Lock()
        self._detections = detections
        self._detection_progress = detection_progress
        self._pins = TaggerPins()
        self._typing: dict[str, tuple[TypedOn, dict[str, float]]] = {}
        """User -> what is settled where they type, and how likely each tag is there."""
        self.leases = Leases()
        self.assignments = Assignments(store)
        self._answers = Answers(store, log)
        self._reviewing = Reviewing(self._answers, log, may_review)
        self._desk = ReviewDesk(log, self._answers, self._reviewing, self._shown)
        self._timeline = Timeline(log, self._answers, self._reviewing)
        self._tag_changes = TagChanges(store, log)
        autocomplete.set_aliases(self._tag_changes.aliases())
        # A draft is committed while the list is proposed: one waits for the disk, the other for the processor.
        self._drafts = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drafts")
        self._lock = threading.Lock()  # queue, indexes and completions follow the saves in their order
        # (content hash, file name) by id: the strip, the neighbours and the browse view need them at every step.
        self._files = store.file_names()
        self._queue = PhotoQueue()
        self._queue.add(self._files)
        self._groups = Groups(
            log,
            looks,
            features,
            self._queue,
            self.leases,
            self.assignments,
            self._answers,
            lambda image_id: self._probe(image_id) is not None,
            self._took,
        )
        for image_id, _ in log.saved():
            self._queue.mark(image_id, saved=True)
        for image_id in log.skipped():
            self._queue.skip(image_id)
        self.queue_order = QueueOrder(
            project, self._queue, features, shelf, lambda image_id: self._files[image_id][0], log.work_times
        )

    # What the project is

    def state(self, user: str) -> Answer:
        """Return the project's name, counts, ingest progress and keys."""
        return {
            "project": self.project.settings.name,
            "num_images": len(self._queue),
            "num_saved": self._queue.num_saved,
            "num_unreadable": self._store.unreadable(limit=0)[0],
            "ingest": asdict(self._progress()),
            "detections": asdict(self._detection_progress()),
            "keys": {action: list(keys) for action, keys in self.project.settings.keys.items()},
            "show_expected": self.project.settings.show_expected,
            "user": user,
            "may_annotate": self._may_annotate(user),
            "may_review": self._reviewing.may_review(user),
            "states": self._reviewing.counts(user, len(self._queue), self._queue.num_saved, self._queue.is_saved),
            "tagger": self._shelf.chosen,
            "taggers": [asdict(choice) for choice in self._shelf.choices()],
            "word_vectors": self._meanings.describe(),
            "queue": self.queue_order.describe(),
            "version": __version__,
        }

    def add_images(self, images: Sequence[NewImage], paths: Sequence[SeenPath]) -> None:
        """Take what ingest has just committed into the queue, the indexes and the evidence."""
        # First, since whatever a search finds must have a file name.
        hashes = {image.image_id: image.entry.content_hash for image in images}
        for seen in paths:
            if seen.image_id is not None:
                known_hash, _ = self._files.get(seen.image_id, ("", ""))
                self._files[seen.image_id] = (known_hash or hashes[seen.image_id], seen.path)
        if images:
            self._looks.add([image.image_id for image in images], [image.vector for image in images])
        for image in images:
            self._carried.add_image(image.image_id, _words(image.entry))
        settings = self.project.settings
        if settings.asked_people:
            new = [image.image_id for image in images]
            self._answers.ask(self._in_share(new, settings.asked_share), settings.asked_people, [], LOCAL_USER)
        self._queue.add(image.image_id for image in images)
        self.queue_order.added(len(images))

    def unreadable(self, offset: int, limit: int) -> Answer:
        """Return a page of the files that could not be read, with reasons."""
        total, items = self._store.unreadable(offset, limit)
        return {"total": total, "items": [{"path": path, "reason": reason} for path, reason in items]}

    def set_keys(self, keys: dict[str, list[str]]) -> Answer:
        """Re-map actions to keys, for good.

        Raises:
            ConfigError: A key clashes or cannot be used.
        """
        settings = self.project.update_settings(keys={action: tuple(names) for action, names in keys.items()})
        return {"keys": {action: list(names) for action, names in settings.keys.items()}}

    def set_show_expected(self, shown: bool) -> Answer:
        """Draw the line below what is more likely right than wrong from now on, or do not."""
        return {"show_expected": self.project.update_settings(show_expected=shown).show_expected}

    def set_tagger(self, name: str, user: str = LOCAL_USER) -> Answer:
        """Let another tagger propose from now on, for good; for this user also on the photo in hand.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        self.models.choose(name, user)
        self._pins.let_go(user)
        self.queue_order.request()
        return {"tagger": self._shelf.chosen}

    def set_strategy(self, strategy: str, random_share: float | None, probe_share: float | None) -> Answer:
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

    def effort_report(self) -> Answer:
        """Return what tagging has cost so far and what the proposals were worth; see effort_report.py."""
        return effort_report(self._store.rows)

    def agreement(self) -> Answer:
        """Return how far people agree with the accepted lists and with one another; see agreement_report.py."""
        return agreement_report(self._store.rows)

    # Going from photo to photo

    def open(self, user: str, image_id: int | None) -> Answer:
        """Return a photo with its proposals; None opens the one to work on now."""
        if image_id is None:
            newest = self._answers.taken_back(user) or self._log.newest_image(user)
            if newest is not None and newest not in self._queue:
                newest = None
            # An open one is the photo whose save was just taken back.
            is_free = self._is_free_for(user)
            is_current = newest is not None and self._queue.is_open(newest) and is_free(newest)
            image_id = newest if is_current else self._following(user, newest)
        return self._photo(user, image_id) if image_id is not None else self._all_done(user)

    def hold(self, user: str, image_id: int) -> Answer:
        """Keep a photo from being given to others for some more minutes.

        Raises:
            LeaseError: Somebody else has this photo open.
            ReviewError: This user cannot change it now.
        """
        self._check(image_id)
        self._check_unlocked(user, image_id)
        self._hold(user, image_id)
        return {}

    def leave(self, user: str, image_id: int) -> Answer:
        """Let others have a photo that the user had open."""
        self._check(image_id)
        self.leases.give_back(image_id, user)
        return {}

    def assign(self, users: Sequence[str], image_ids: Sequence[int], query: str, state: str) -> Answer:
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
        ids = list(image_ids) or self._store.find_images(" ".join(query.split()), state)
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
    ) -> Answer:
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
        ids = list(image_ids) or self._store.find_images(" ".join(query.split()), state)
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

    def end_lease(self, image_id: int) -> Answer:
        """Let others have a photo, whoever has it open."""
        self._check(image_id)
        self.leases.end(image_id)
        return {}

    def step(self, user: str, image_id: int, by: int) -> Answer:
        """Return the photo before or after one in folder order, whatever its state; at an end, the same one."""
        self._check(image_id)
        self.leases.give_back(image_id, user)
        position = min(max(self._queue.position(image_id) + by, 0), len(self._queue) - 1)
        return self._photo(user, self._queue.at(position))

    def skip(self, user: str, image_id: int) -> Answer:
        """Put a photo off until no other is open, and return the next one."""
        self._check(image_id)
        if not self._queue.is_saved(image_id) and not self._reviewing.lock(user, image_id):
            self._hold(user, image_id)
            self._log.skip(image_id, user)
            self._queue.skip(image_id)
        return self._next(user, image_id)

    def strip(self, image_id: int, num_before: int, num_after: int, user: str = LOCAL_USER) -> Answer:
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

    def browse(self, offset: int, limit: int, query: str, state: str, user: str = LOCAL_USER) -> Answer:
        """Return one page of the photos whose standing tags or file names hold a text.

        ``state`` is ``all``, ``saved`` (a list stands), ``unsaved``, or one of the states of reviewing.py as this user
        sees them.
        """
        words = " ".join(query.split())
        if words or state != "all":
            wanted = state if state in ("saved", "unsaved") else "all"
            # What ingest has committed this moment is not in the queue yet.
            found = [image_id for image_id in self._store.find_images(words, wanted) if image_id in self._queue]
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
        without: Without = NOTHING_OFF,
    ) -> Answer:
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
            return self._proposals(user, image_id, self._store.image(image_id), kept, dropped, without)
        draft = Draft(revision, tuple(kept), tuple(dropped))
        written = self._drafts.submit(self._log.save_draft, image_id, user, draft)
        try:
            return self._proposals(user, image_id, self._store.image(image_id), kept, dropped, without)
        finally:
            written.result()  # on disk before the answer, like everything

    def complete(self, image_id: int, text: str, kept: Sequence[str], user: str = LOCAL_USER) -> Answer:
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
            known = (key, self._suggester.scores(image_id, _words(self._store.image(image_id)), kept, taggers))
            self._typing[user] = known
        return known[1]

    def heat_map(self, image_id: int, tag: str, user: str = LOCAL_USER) -> Answer:
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
    ) -> Answer:
        """Save the list above the cut line; it is on disk when this returns. Returns the next photo with it.

        Of a photo that is asked of several people it is this person's answer, on a revision of its own.

        Raises:
            ReviewError: The photo is in review, accepted, or not asked of this person; nothing was written.
            StaleRevisionError: Somebody saved this photo meanwhile; nothing was overwritten.
            StoreError: The commit failed; nothing was written.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has this photo open.
        """
        self._check(image_id)
        self._hold(user, image_id)
        tags = self._clean(kept, "kept")
        refused = self._clean(dropped, "dropped")
        if self._answers.standing(image_id) is not None:
            return self._answer(user, image_id, revision, tags, refused, effort)
        selection = self._selection(image_id)
        with self._lock:
            if self._answers.standing(image_id) is not None:
                raise ReviewError("This photo was asked of several people meanwhile. Nothing was saved: open it anew.")
            before = {tag_key(tag) for tag in self._carried.saved_tags(image_id)}
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
        self._pins.let_go(user, image_id)
        self.models.note_save()
        now_common = [tag for tag in tags if self._is_now_common(tag, before)]
        return {"revision": annotation.revision, "now_common": now_common, "next": self._next(user, image_id)}

    def look_alikes(self, user: str, image_id: int) -> Answer:
        """Return the open photos that look like one, the most alike first, with which it can be saved; see `Groups`."""
        self._check(image_id)
        note = self._groups.lead_refusal(image_id)
        found = [] if note else self._groups.find(user, image_id)
        items = [
            {
                "image_id": item.image_id,
                "thumbnail_url": self._thumbnail_url(item.image_id),
                "file_name": self._files[item.image_id][1],
                "similarity": round(item.similarity, 4),
                "is_near": item.is_near,
                "revision": item.revision,
            }
            for item in found
        ]
        return {"items": items, "num_near": sum(item.is_near for item in found), "note": note}

    def propose_group(
        self,
        user: str,
        image_id: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        members: Sequence[int],
        without: Without = NOTHING_OFF,
    ) -> Answer:
        """Propose to a photo and others how the settled tags go on; nothing is kept or saved.

        Raises:
            UnknownImageError: The project has no such image.
        """
        for one in (image_id, *members):
            self._check(one)
        if self._groups.lead_refusal(image_id):
            return {"proposals": [], "num_heard": 0}
        kept, dropped = self._clean(kept, "kept"), self._clean(dropped, "dropped")
        heard, taggers = self._groups.heard(user, image_id, members), self._pins.taggers(user, image_id)
        lists = [
            self._suggester.propose(one, _words(self._store.image(one)), kept, dropped, without, taggers).proposals
            for one in heard
        ]
        return {"proposals": [_proposal(item) for item in join_proposals(lists)], "num_heard": len(heard)}

    def save_group(
        self,
        user: str,
        image_id: int,
        revision: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        effort: Effort,
        members: Sequence[tuple[int, int]],
    ) -> Answer:
        """Save one list to a photo and to others, (image id, revision) each; returns the next photo, as `save` does.

        A photo that was changed meanwhile is left out and reported under ``group``.

        Raises:
            ReviewError: The photo in hand cannot be saved with others; nothing was written.
            UnknownImageError: The project has no such image; nothing was written.
            StaleRevisionError: Somebody saved the photo in hand meanwhile; nothing was written.
            StoreError: A commit failed; photos before it are saved.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has the photo in hand open.
        """
        for one in (image_id, *(member for member, _ in members)):
            self._check(one)
        self._hold(user, image_id)
        tags, refused = self._clean(kept, "kept"), self._clean(dropped, "dropped")
        selection = self._selection(image_id)
        with self._lock:
            reason = self._groups.lead_refusal(image_id)
            if reason:
                raise ReviewError(f"{reason} Nothing was saved.")
            before = {tag: self._autocomplete.num_photos(tag) for tag in tags}
            lead = Annotation(image_id, revision, tuple(tags), tuple(refused))
            group = self._groups.save(user, lead, members, effort, selection, self._is_random)
            now_common = [n for n in tags if before[n] < NUM_FOR_SWEEP <= self._autocomplete.num_photos(n)]
        self._pins.let_go(user, image_id)
        self.models.note_save()
        left_out = [{**asdict(item), "file_name": self._files[item.image_id][1]} for item in group.refused]
        return {
            "revision": group.lead.revision,
            "now_common": now_common,
            "group": {"saved": [item.image_id for item in group.members], "left_out": left_out},
            "next": self._next(user, image_id),
        }

    def _answer(
        self, user: str, image_id: int, revision: int, tags: list[str], dropped: list[str], effort: Effort
    ) -> Answer:
        with self._lock:
            reason = self._reviewing.lock(user, image_id)
            if reason or not self._reviewing.is_personal(user, image_id):
                raise ReviewError(
                    f"{reason or 'A reviewer decides on this photo by accepting a list.'} Nothing was saved."
                )
            given = self._answers.give(image_id, user, revision=revision, tags=tags, dropped=dropped, effort=effort)
            self._queue.mark(image_id, saved=False)  # not put off any more, for those who are asked next
        self._pins.let_go(user, image_id)
        return {"revision": given.revision, "now_common": [], "next": self._next(user, image_id)}

    # Reviewing, and what happened to a photo

    def review(self, user: str, image_id: int | None, after: int | None) -> Answer:
        """Return the answers to a photo side by side, with how far they agree; null takes the next one in review.

        Raises:
            ReviewError: The photo is not asked of anybody, or its answers may not be seen yet.
        """
        wanted = self._desk.following(after) if image_id is None else image_id
        if wanted is None:
            return {"done": True, "states": self.state(user)["states"]}
        self._check(wanted)
        return self._desk.look(user, wanted)

    def accept(
        self,
        user: str,
        image_id: int,
        revision: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        effort: Effort,
        seen: dict[str, int] | None,
    ) -> Answer:
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
            standing = Annotation(image_id, revision)
            annotation = self._answers.accept(standing, tags, refused, user, effort, seen, taken_from)
            self._took(annotation)
        self._pins.let_go(user, image_id)
        self.models.note_save()
        return {"revision": annotation.revision, "now_common": [], "next": self._next(user, image_id)}

    def send_back(
        self, user: str, image_id: int, people: Sequence[str], note: str, seen: dict[str, int] | None
    ) -> Answer:
        """Have people answer a photo again, with a note that they read when it comes back to them.

        Args:
            user: The reviewer.
            image_id: The photo.
            people: Whose answers; empty: everybody's.
            note: What should be different.
            seen: The revision of each answer that was looked at; None when none was.

        Raises:
            ReviewError: Answers are still awaited, or one of the people has given none.
            StaleRevisionError: An answer changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        self._check(image_id)
        with self._lock:
            changed = self._answers.send_back(
                self._log.annotation(image_id), people, " ".join(note.split()), user, seen
            )
            if changed is not None:
                self._took(changed)
            self._queue.mark(image_id, saved=False)
        self.leases.give_back(image_id, user)
        return {"states": self.state(user)["states"]}

    def timeline(self, user: str, image_id: int) -> Answer:
        """Return who did what to a photo when, as far as this user may see it; see timeline.py."""
        self._check(image_id)
        entries = self._timeline.entries(user, image_id, self._store.added_at(image_id))
        return {"entries": entries, "revision": self._reviewing.list_of(user, image_id).revision}

    def restore(self, user: str, image_id: int, entry_id: str, revision: int) -> Answer:
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
            was = self._timeline.state_of(user, image_id, entry_id, self._store.added_at(image_id))
            if self._reviewing.is_personal(user, image_id):
                effort = Effort(actions=[["restore", entry_id]])
                self._answers.give(image_id, user, revision=revision, tags=was.tags, dropped=was.dropped, effort=effort)
            else:
                now = Annotation(image_id, revision)
                self._took(self._log.record("restore", now, was.tags, was.dropped, was.is_saved, user))
        return self._photo(user, image_id)

    def retro_tag(self, tag: str, limit: int) -> Answer:
        """Return the saved photos that probably need a tag too, the likeliest first; changes nothing.

        Photos whose person refused the tag are left out. `num_likely` is how many score like those that carry it.

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
        items: list[Answer] = []
        num_refused = 0
        for place, candidate in enumerate(found.order[: max(limit, found.num_likely)].tolist()):
            image_id = others[candidate]
            annotation = self._log.annotation(image_id)
            if tag_key(tag) in map(tag_key, annotation.dropped):
                num_refused += place < found.num_likely
            elif len(items) < limit:
                items.append(self._swept(image_id, annotation))
        return {
            "tag": tag,
            "num_examples": len(carriers),
            "num_likely": found.num_likely - num_refused,
            "items": items,
        }

    def undo(self, user: str) -> Answer:
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

    def change_tag(self, kind: str, old: str, new: str, user: str, where: str = "") -> Answer:
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
            among = set(self._store.find_images(words, "saved")) if words else None
            num_photos = self._tag_changes.apply(kind, old, new, user, self._took, among)
            self._autocomplete.set_aliases(self._tag_changes.aliases())
        return {"num_photos": num_photos}

    def tag_changes(self) -> Answer:
        """Return every change of a tag, oldest first."""
        changes = [
            {**asdict(change), "changed_at": f"{change.changed_at.isoformat()}Z"} for change in self._tag_changes.all()
        ]
        return {"changes": changes}

    def history(self, image_id: int, user: str = LOCAL_USER) -> Answer:
        """Return every event of a photo, oldest first; none by which this user would see another's answer too early."""
        self._check(image_id)
        events = self._reviewing.history(user, image_id)
        return {"events": [{**e, "created_at": f"{e['created_at'].isoformat()}Z"} for e in events]}

    def check(self) -> Answer:
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

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield a record for every saved photo."""
        return self._log.export_rows()

    # Inside

    def _check(self, image_id: int) -> None:
        if image_id not in self._queue:
            raise UnknownImageError(f"This project has no image {image_id}.")

    def _clean(self, tags: Sequence[str], what: str) -> list[str]:
        if len(tags) > MAX_TAGS:
            raise TagError(f"{len(tags)} tags were {what}; a photo can have at most {MAX_TAGS}.")
        cleaned: dict[str, str] = {}
        for tag in tags:
            spelled = self._autocomplete.spelling(clean_tag(tag))
            cleaned.setdefault(tag_key(spelled), spelled)
        return list(cleaned.values())

    def _took(self, annotation: Annotation) -> None:
        """Let queue, indexes and completions follow what was just committed."""
        self._queue.mark(annotation.image_id, saved=annotation.is_saved)
        self._carried.set_saved(annotation.image_id, annotation.tags if annotation.is_saved else None)
        self._typing.clear()
        self._shelf.add_tags(annotation.tags)
        self.queue_order.saved()

    def _is_random(self, image_id: int) -> bool:
        return is_in_sample(self._files[image_id][0], self.project.settings.random_share)

    def _probe(self, image_id: int) -> Probe | None:
        """Return what is done to a photo's proposals until its first save."""
        settings = self.project.settings
        probe = probe_of(self._files[image_id][0], settings.random_share, settings.probe_share)
        is_first = self._log.annotation(image_id).revision == 0 and self._answers.standing(image_id) is None
        return probe if probe and is_first else None

    def _selection(self, image_id: int) -> Selection:
        """Return why a photo came up, with what a probe kept from sight."""
        strategy, is_random, probe = self.project.settings.strategy, self._is_random(image_id), self._probe(image_id)
        if probe is None:
            return Selection(strategy, is_random)
        suggestion = self._suggester.propose(image_id, _words(self._store.image(image_id)), [], [])
        return Selection(strategy, is_random, probe, [proposal.tag for proposal in suggestion.proposals])

    def _is_now_common(self, tag: str, before: Collection[str]) -> bool:
        """Tell whether this save brought a tag to the number of photos from which a sweep is worth while."""
        return self._autocomplete.num_photos(tag) == NUM_FOR_SWEEP and tag_key(tag) not in before

    def _shown(self, image_id: int) -> Answer:
        content_hash, file_name = self._files[image_id]
        return {"image_url": f"/image/{image_id}?v={content_hash[:16]}", "file_name": file_name}

    def _swept(self, image_id: int, annotation: Annotation) -> Answer:
        return {
            "image_id": image_id,
            **self._shown(image_id),
            "kept": list(annotation.tags),
            "dropped": list(annotation.dropped),
            "revision": annotation.revision,
        }

    def _list_of(self, user: str, image_id: int) -> tuple[list[str], list[str]]:
        annotation = self._reviewing.list_of(user, image_id)
        return list(annotation.tags), list(annotation.dropped)

    def _check_unlocked(self, user: str, image_id: int) -> None:
        reason = self._reviewing.lock(user, image_id)
        if reason:
            raise ReviewError(f"{reason} Nothing was changed.")

    def _hold(self, user: str, image_id: int) -> None:
        """Take or renew the user's lease of a photo.

        Raises:
            LeaseError: Somebody else has this photo open.
        """
        if not self.leases.take(image_id, user):
            holder = self.leases.holder(image_id)
            raise LeaseError(f"{holder} has this photo open. Nothing was changed; try again when they are done.")

    def _is_free_for(self, user: str) -> Callable[[int], bool]:
        return lambda image_id: (
            self.leases.is_free(image_id, user)
            and self.assignments.is_open_to(image_id, user)
            and self._answers.is_open_to(image_id, user)
        )

    def _following(self, user: str, image_id: int | None) -> int | None:
        """Return the photo to work on after one: what a reviewer sent back first, then the queue."""
        is_free = self._is_free_for(user)
        for other in self._answers.sent_back_to(user):
            if other != image_id and self._queue.is_open(other) and is_free(other):
                return other
        return self._queue.next_open(image_id, is_free)

    def _in_share(self, image_ids: Sequence[int], share: float) -> list[int]:
        return [image_id for image_id in image_ids if in_share(self._files[image_id][0], share)]

    def _next(self, user: str, image_id: int) -> Answer:
        self.leases.give_back(image_id, user)
        following = self._following(user, image_id)
        return self._photo(user, following) if following is not None else self._all_done(user)

    def _all_done(self, user: str) -> Answer:
        return {"done": True, **self.state(user)}

    def _photo(self, user: str, image_id: int) -> Answer:
        self._check(image_id)
        about = self._reviewing.about(user, image_id)
        may_annotate = self._may_annotate(user) and not about["locked"]
        is_held = may_annotate and not self.leases.take(image_id, user)
        entry = self._store.image(image_id)
        paths = self._store.image_paths(image_id)
        self._pins.pin(user, image_id, self._shelf.taggers)
        annotation = self._reviewing.list_of(user, image_id)
        draft = None if about["locked"] else self._log.draft(image_id, user)
        kept = list(draft.kept if draft else annotation.tags)
        dropped = list(draft.dropped if draft else annotation.dropped)
        version = entry.content_hash[:16]
        return {
            "image_id": image_id,
            "image_url": f"/image/{image_id}?v={version}",
            "full_url": f"/image/{image_id}?v={version}&full=1",
            "thumbnail_url": self._thumbnail_url(image_id),
            "file_name": paths[0][1] if paths else f"(file is gone) {version}",
            "paths": [str(root / path) for root, path in paths],
            "width": entry.width,
            "height": entry.height,
            "format": entry.format,
            "taken_at": entry.taken_at,
            "camera": entry.camera,
            "place": _place(entry),
            "caption": entry.caption,
            "keywords": list(dict.fromkeys((*entry.keywords, *entry.user_tags))),
            "position": self._queue.position(image_id) + 1,
            "revision": draft.revision if draft else annotation.revision,
            "state": self._state_of(user, image_id),
            "kept": kept,
            "saved": list(annotation.tags) if annotation.is_saved else [],
            "dropped": dropped,
            "notes": list(entry.notes),
            "read_only": not may_annotate,
            **about,
            "held_by": self.leases.holder(image_id) if is_held else None,
            "assigned_to": self.assignments.of(image_id),
            "is_random_sample": self._is_random(image_id),
            "probe": self._probe(image_id),
            **self._proposals(user, image_id, entry, kept, dropped),
        }

    def _proposals(
        self,
        user: str,
        image_id: int,
        entry: ImageEntry,
        kept: Sequence[str],
        dropped: Sequence[str],
        without: Without = NOTHING_OFF,
    ) -> Answer:
        taggers = self._pins.taggers(user, image_id)
        suggestion = self._suggester.propose(image_id, _words(entry), kept, dropped, without, taggers)
        looks = suggestion.looks[:NUM_SHOWN_NEIGHBOURS]
        if len(looks) < NUM_SHOWN_NEIGHBOURS and image_id in self._features:
            looks += self._untagged_look_alikes(image_id, {item.image_id for item in looks})
        looks = looks[:NUM_SHOWN_NEIGHBOURS]
        metadata = suggestion.metadata[:NUM_SHOWN_NEIGHBOURS]
        model = suggestion.model
        proposals = list(suggestion.proposals)
        probe = self._probe(image_id)
        if probe == "shuffled":
            proposals.sort(key=lambda proposal: shuffle_key(entry.content_hash, proposal.tag))
        elif probe == "hidden":
            # Neighbours' tags are proposals, too.
            proposals, looks, metadata, model = [], [], [], None if model is None else []
        return {
            "proposals": [_proposal(proposal) for proposal in proposals],
            "num_expected": num_expected(proposals) if self.project.settings.show_expected and not probe else 0,
            "neighbours": {
                "looks": [self._neighbour(item, without) for item in looks],
                "metadata": [self._neighbour(item, without) for item in metadata],
                "model": None if model is None else [self._neighbour(item, without) for item in model],
                "note": suggestion.note,
            },
            "tagger": suggestion.tagger,
        }

    def _untagged_look_alikes(self, image_id: int, known: set[int]) -> list[Neighbour]:
        """Photos without tags that look alike: no evidence, but good to see."""
        ids, similarities = self._looks.search(self._features.vectors([image_id]), NUM_SHOWN_NEIGHBOURS + 1)
        return [
            Neighbour(int(other), float(similarity), ())
            for other, similarity in zip(ids[0], similarities[0], strict=True)
            if other >= 0 and other != image_id and int(other) not in known
        ]

    def _neighbour(self, item: Neighbour, without: Without) -> Answer:
        return {
            "image_id": item.image_id,
            "thumbnail_url": self._thumbnail_url(item.image_id),
            "similarity": round(min(max(item.similarity, 0.0), 1.0), 4),
            "tags": list(item.tags),
            "shared": list(item.shared),
            "by": item.by,
            "off": item.image_id in without.neighbours,
            "file_name": self._files[item.image_id][1],
        }

    def _thumbnail_url(self, image_id: int) -> str:
        return f"/thumbnail/{image_id}?v={self._files[image_id][0][:16]}"

    def _state_of(self, user: str, image_id: int) -> State:
        return self._reviewing.state(
            user,
            image_id,
            is_saved=self._queue.is_saved(image_id),
            has_draft=self._log.has_draft(image_id, user),
        )


def error_answer(error: AnnotatorError) -> Answer:
    """Return a known error as the page and the routes say it."""
    kind = _ERROR_KINDS.get(type(error).__name__, "request")
    details = {name: getattr(error, name) for name in ("revision", "tags", "user", "saved_at") if hasattr(error, name)}
    return {"error": {"kind": kind, "message": str(error), **details}}


_ERROR_KINDS = {
    "StaleRevisionError": "stale",
    "UnknownImageError": "unknown_image",
    "TagError": "tag",
    "ConfigError": "config",
    "CheckpointError": "config",
    "TrainingError": "training",
    "ForbiddenError": "forbidden",
    "LeaseError": "leased",
    "ReviewError": "review",
    "AccountError": "account",
    "StoreError": "store",
    "ProjectError": "store",
    "DemoError": "demo",
}


def _words(entry: ImageEntry) -> Words:
    own = tuple(dict.fromkeys((*entry.keywords, *entry.user_tags)))
    return Words(own, entry.path_words, caption_words(entry.caption))


def _place(entry: ImageEntry) -> str | None:
    if entry.latitude is None or entry.longitude is None:
        return None
    return f"{entry.latitude:.4f}, {entry.longitude:.4f}"


def _proposal(proposal: Proposal) -> Answer:
    return {
        "tag": proposal.tag,
        "score": round(proposal.score, 4),
        "source": proposal.source,
        "why": proposal.why,
        "evidence": [
            {
                "source": item.source,
                "score": round(item.score, 4),
                "weight": round(item.score if item.rank_score is None else item.rank_score, 4),
                "text": item.text,
            }
            for item in proposal.evidence
        ],
    }
