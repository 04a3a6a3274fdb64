"""What every part of the annotating conversation stands on: a project's parts, whose turn it is, one photo's answer.

Checks, leases, the queue, and a photo with its proposals in the form that the page gets. Knows nothing of what people
then do with it: session/review.py and session/session.py add that.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from annotator import __version__
from annotator.active_learning.queue import PhotoQueue
from annotator.active_learning.random_sample import Probe, is_in_sample, probe_of, shuffle_key
from annotator.active_learning.scheduler import QueueScheduler
from annotator.collaboration.assignments import Assignments
from annotator.collaboration.comparison import ResponseComparison
from annotator.collaboration.leases import Leases
from annotator.collaboration.responses import Responses
from annotator.collaboration.review_rules import ReviewRules, State
from annotator.collaboration.timeline import Timeline
from annotator.datasets.metadata_words import caption_words
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import (
    ForbiddenError,
    LeaseError,
    ReviewError,
    TagError,
    UnknownImageError,
)
from annotator.ingest.detection_pass import DetectionProgress
from annotator.ingest.pipeline import IngestProgress
from annotator.json_types import JsonObject
from annotator.learning.loop import ModelLoop
from annotator.models.detectors.detector import Detection
from annotator.models.tagger import Tagger
from annotator.proposals.evidence import Neighbour, Words
from annotator.proposals.fusion import num_expected
from annotator.proposals.heatmap import HeatMapper
from annotator.proposals.pinned_taggers import PinnedTaggers
from annotator.proposals.proposer import NO_EXCLUSIONS, Exclusions, Proposer
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.proposals.tagger_catalog import TaggerCatalog
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.retrieval.vector_index import VectorIndex
from annotator.session.group_tagging import GroupTagging
from annotator.session.serializers import form_of, place_of
from annotator.storage.correction_log import Annotation, CorrectionLog, Selection
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.images import ImageEntry
from annotator.storage.project import Project
from annotator.storage.tag_changes import TagChanges

MAX_TAGS = 200
"""Most tags of one photo."""
NUM_SHOWN_NEIGHBOURS = 12
NUM_FOR_SWEEP = 10
"""Photos on which a tag is offered for a look through those that were saved before it."""

TypedOn = tuple[int, tuple[str, ...], tuple[Tagger, ...]]
"""(image id, kept tags, taggers)."""


class SessionCore:
    """One project's parts, connected.

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
        looks: VectorIndex,
        carried_tags: TaggedPhotos,
        suggester: Proposer,
        autocomplete: ProjectVocabulary,
        shelf: TaggerCatalog,
        meanings: SimilarTags,
        heat_mapper: HeatMapper,
        progress: Callable[[], IngestProgress],
        models: ModelLoop,
        may_annotate: Callable[[str], bool] = lambda user: True,
        *,
        may_review: Callable[[str], bool] = lambda user: True,
        shows_folders: Callable[[str], bool] = lambda user: True,
        shown_name: Callable[[str], str] = lambda path: path,
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
        self._shows_folders = shows_folders
        self._shown_name = shown_name
        self._backing_up = threading.Lock()
        self._detections = detections
        self._detection_progress = detection_progress
        self._pins = PinnedTaggers()
        self._typing: dict[str, tuple[TypedOn, dict[str, float]]] = {}
        """User -> what is settled where they type, and how likely each tag is there."""
        self.leases = Leases()
        self.assignments = Assignments(store)
        self._answers = Responses(store, log)
        self._reviewing = ReviewRules(self._answers, log, may_review)
        self._desk = ResponseComparison(log, self._answers, self._reviewing, self._shown)
        self._timeline = Timeline(log, self._answers, self._reviewing)
        self._tag_changes = TagChanges(store, log)
        autocomplete.set_aliases(self._tag_changes.aliases())
        # A draft is committed while the list is proposed: one waits for the disk, the other for the processor.
        self._drafts = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drafts")
        self._lock = threading.Lock()  # queue, indexes and completions follow the saves in their order
        # (content hash, file name) by id: the strip, the neighbours and the browse view need them at every step.
        self._files = {
            i: (content_hash, shown_name(path)) for i, (content_hash, path) in store.images.file_names().items()
        }
        self._queue = PhotoQueue()
        self._queue.add(self._files)
        self._groups = GroupTagging(
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
        self.queue_order = QueueScheduler(
            project, self._queue, features, shelf, lambda image_id: self._files[image_id][0], log.work_times
        )

    def state(self, user: str) -> JsonObject:
        """Return the project's name, counts, ingest progress and keys."""
        ingest = asdict(self._progress())  # first: when no more photos are being read, those counted are all
        return {
            "project": self.project.settings.name,
            "num_images": len(self._queue),
            "num_saved": self._queue.num_saved,
            "num_unreadable": self._store.images.unreadable(limit=0)[0],
            "ingest": ingest,
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
            "tags_without_vector": self._meanings.describe_unknown(self._autocomplete.tags_in_use()),
            "queue": self.queue_order.describe(),
            "version": __version__,
        }

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

    def _counts_of(self, tags: Iterable[str]) -> dict[str, int]:
        """Return how many photos carry each tag, to compare with after a save."""
        return {tag: self._autocomplete.num_photos(tag) for tag in tags}

    def _now_common(self, before: Mapping[str, int]) -> list[str]:
        """Return the tags that came to enough photos for a sweep since `before` was counted."""
        return [tag for tag, num in before.items() if num < NUM_FOR_SWEEP <= self._autocomplete.num_photos(tag)]

    def _is_random(self, image_id: int) -> bool:
        return is_in_sample(self._files[image_id][0], self.project.settings.random_share)

    def _probe(self, image_id: int) -> Probe | None:
        """Return what is done to a photo's proposals until its first save."""
        settings = self.project.settings
        probe = probe_of(self._files[image_id][0], settings.random_share, settings.probe_share)
        is_first = self._log.annotation(image_id).revision == 0 and self._answers.state(image_id) is None
        return probe if probe and is_first else None

    def _selection(self, image_id: int) -> Selection:
        """Return why a photo came up, with what a probe kept from sight."""
        strategy, is_random, probe = self.project.settings.strategy, self._is_random(image_id), self._probe(image_id)
        if probe is None:
            return Selection(strategy, is_random)
        suggestion = self._suggester.propose(image_id, words_of(self._store.images.entry(image_id)), [], [])
        return Selection(strategy, is_random, probe, [proposal.tag for proposal in suggestion.proposals])

    def _shown(self, image_id: int) -> JsonObject:
        content_hash, file_name = self._files[image_id]
        return {"image_url": f"/image/{image_id}?v={content_hash[:16]}", "file_name": file_name}

    def _list_of(self, user: str, image_id: int) -> tuple[list[str], list[str]]:
        annotation = self._reviewing.list_of(user, image_id)
        return list(annotation.tags), list(annotation.dropped)

    def _check_unlocked(self, user: str, image_id: int) -> None:
        self._check_theirs(user, image_id)
        reason = self._reviewing.lock(user, image_id)
        if reason:
            raise ReviewError(f"{reason} Nothing was changed.")

    def _not_theirs(self, user: str, image_id: int) -> str | None:
        """Return why a photo is somebody else's to tag; None when it is not. Reviewers may change everybody's."""
        owner = self.assignments.of(image_id)
        if owner in (None, user) or self._reviewing.may_review(user):
            return None
        return f"This photo is assigned to {owner}: a reviewer can change it, an admin can assign it to you."

    def _check_theirs(self, user: str, image_id: int) -> None:
        """Refuse that somebody changes a photo that is assigned to somebody else.

        Raises:
            ForbiddenError: It is.
        """
        reason = self._not_theirs(user, image_id)
        if reason:
            raise ForbiddenError(f"{reason} Nothing was changed.")

    def _hold(self, user: str, image_id: int) -> None:
        """Take or renew the user's lease of a photo.

        Raises:
            LeaseError: Somebody else has this photo open.
        """
        if not self._take(user, image_id):
            raise LeaseError(self.leases.holders(image_id))

    def _take(self, user: str, image_id: int) -> bool:
        places = self._reviewing.places(user, image_id)
        return places == 0 or self.leases.take(image_id, user, places)

    def _is_free_for(self, user: str) -> Callable[[int], bool]:
        return lambda image_id: (
            self.assignments.is_open_to(image_id, user)
            and self._answers.is_open_to(image_id, user)
            and self.leases.is_free(image_id, user, self._reviewing.places(user, image_id))
        )

    def _following(self, user: str, image_id: int | None) -> int | None:
        """Return the photo to work on after one: what a reviewer sent back first, then the queue."""
        is_free = self._is_free_for(user)
        for other in self._answers.sent_back_to(user):
            if other != image_id and self._queue.is_open(other) and is_free(other):
                return other
        return self._queue.next_open(image_id, is_free)

    def _next(self, user: str, image_id: int) -> JsonObject:
        self.leases.give_back(image_id, user)
        return self._following_photo(user, image_id)

    def _after(self, user: str, image_id: int, brings_next: bool) -> JsonObject | None:
        """Return the photo that follows a save, if it is wanted; the saved one is free for others either way."""
        if brings_next:
            return self._next(user, image_id)
        self.leases.give_back(image_id, user)
        return None

    def _following_photo(self, user: str, image_id: int | None) -> JsonObject:
        """Return the photo to work on after one, or that there is none."""
        following = self._following(user, image_id)
        if following is None:
            state = self.state(user)
            # A page does not ask again when it hears of photos and that no more are being read: the last may have come
            # since the first look.
            following = self._following(user, image_id)
            if following is None:
                return {"done": True, **state}
        return self._photo(user, following)

    def _photo(self, user: str, image_id: int) -> JsonObject:
        self._check(image_id)
        about = self._reviewing.about(user, image_id)
        if self._may_annotate(user):
            about["locked"] = about["locked"] or self._not_theirs(user, image_id)
        may_annotate = self._may_annotate(user) and not about["locked"]
        is_held = may_annotate and not self._take(user, image_id)
        entry = self._store.images.entry(image_id)
        paths, in_full = self._store.images.paths(image_id), self._shows_folders(user)
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
            "file_name": self._shown_name(paths[0][1]) if paths else f"(file is gone) {version}",
            "paths": [str(root / path) if in_full else self._shown_name(path) for root, path in paths],
            "width": entry.width,
            "height": entry.height,
            "format": entry.format,
            "taken_at": entry.taken_at,
            "camera": entry.camera,
            "place": place_of(entry),
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
            "held_by": self.leases.holders(image_id) if is_held else [],
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
        without: Exclusions = NO_EXCLUSIONS,
    ) -> JsonObject:
        taggers = self._pins.taggers(user, image_id)
        suggestion = self._suggester.propose(image_id, words_of(entry), kept, dropped, without, taggers)
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
            "proposals": [form_of(proposal) for proposal in proposals],
            "num_expected": num_expected(proposals) if self.project.settings.show_expected and not probe else 0,
            "neighbours": {
                "looks": [self._neighbour(item, without) for item in looks],
                "metadata": [self._neighbour(item, without) for item in metadata],
                "model": None if model is None else [self._neighbour(item, without) for item in model],
                "note": suggestion.note,
                "has_learnt_order": suggestion.has_learnt_order,
                "has_detections": suggestion.has_detections,
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

    def _neighbour(self, item: Neighbour, without: Exclusions) -> JsonObject:
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


def words_of(entry: ImageEntry) -> Words:
    """Return what a photo brings along beside its pixels."""
    own = tuple(dict.fromkeys((*entry.keywords, *entry.user_tags)))
    return Words(own, entry.path_words, caption_words(entry.caption))
