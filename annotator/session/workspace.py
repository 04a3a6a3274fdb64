"""An open project: its database, features, indexes, models and queue, connected.

Knows nothing of the services of this package nor of HTTP.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from annotator.active_learning.queue import PhotoQueue
from annotator.active_learning.random_sample import Probe, probe_of
from annotator.active_learning.scheduler import QueueScheduler
from annotator.auth.accounts import Accounts
from annotator.auth.project_auth import ProjectAuthenticator
from annotator.collaboration.assignments import Assignments
from annotator.collaboration.leases import Leases
from annotator.collaboration.responses import Responses
from annotator.collaboration.review_rules import ReviewRules
from annotator.datasets.order_rules import OrderRules, rules_from
from annotator.errors import BackboneError, CheckpointError
from annotator.exchange.sidecars_in_step import SidecarsInStep, SidecarWriter
from annotator.exchange.transfers import Transfers
from annotator.exchange.webhooks import WebhookSender
from annotator.ingest.detection_pass import DetectionPass, wanted_detector
from annotator.ingest.digest_pass import DigestPass
from annotator.ingest.pictures import Pictures
from annotator.ingest.pipeline import Ingest
from annotator.ingest.project_backbone import backbone_options
from annotator.ingest.renditions import decoded_side
from annotator.ingest.text_pass import TextPass
from annotator.ingest.vision_config import VisionConfig
from annotator.ingest.vision_pass import VisionPass
from annotator.learning.loop import ModelLoop
from annotator.models.backbones.backbone import Backbone, load_backbone, load_text_tower
from annotator.models.backbones.text_index import TextIndex
from annotator.models.backbones.text_index import default_cache_path as words_cache_path
from annotator.models.detectors.detector import NONE
from annotator.models.vision_language.endpoint import LONGEST_SIDE, MAX_TOLD_TAGS
from annotator.models.word_vectors.word_vectors import WordVectors
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words, words_from, words_of
from annotator.proposals.heatmap import HeatMapper
from annotator.proposals.late_evidence import LateSource
from annotator.proposals.pinned_taggers import PinnedTaggers
from annotator.proposals.sources.text_tower import TextTowerSource, words_to_compare
from annotator.proposals.sources.vision_language import VisionLanguageSource
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.retrieval.index_file import ALL_PHOTOS, TAGGED_PHOTOS
from annotator.retrieval.vector_index import VectorIndex
from annotator.session.after_commit import AfterCommit
from annotator.session.photo_access import PhotoAccess
from annotator.session.photo_files import PhotoFiles
from annotator.session.photo_parts import (
    index_path,
    label_of,
    open_backbone,
    open_features,
    read_index,
    settings_problem,
)
from annotator.session.project_servers import ProjectServers
from annotator.settings import IngestConfig
from annotator.storage.correction_log import CorrectionLog
from annotator.storage.database import Store
from annotator.storage.detections import DetectionStore
from annotator.storage.field_values import FieldValues
from annotator.storage.project import Project
from annotator.storage.sidecar_states import SidecarStates
from annotator.storage.tag_changes import TagChanges
from annotator.storage.vision_answers import VisionAnswers
from annotator.storage.vocabulary import imported_vocabulary
from annotator.storage.webhooks import Webhooks

logger = logging.getLogger(__name__)

NUM_SAVED_ASKED = 50
"""Saved photos that a vision-language model is asked about too, to learn how often it is right here."""


class Workspace:
    """An open project and its parts.

    Args:
        project: The folder.
        ingest_config: Threads and sizes.
        finetune: Settings of trainer/finetuning/finetune.py that differ from its defaults.
        shown_name: The name that the page shows for a path below its folder; None shows the path itself, and the
            location of the folder to the user at this machine.
        vision: The vision-language model to ask; None: no photo is sent anywhere.

    Raises:
        ProjectError: The database is damaged or in use.
        FeatureMismatchError: The stored features do not fit.
        BackboneError: The project's backbone cannot be loaded, and no photo was read with it before.
    """

    def __init__(
        self,
        project: Project,
        ingest_config: IngestConfig | None = None,
        finetune: dict[str, Any] | None = None,
        shown_name: Callable[[str], str] | None = None,
        vision: VisionConfig | None = None,
    ) -> None:
        self.project = project
        self._vision = vision
        self.ingest_config = ingest_config or IngestConfig()
        self._shows_folders = shown_name is None
        self.project_servers: ProjectServers | None = None
        """Servers of other projects that are opened from the page; None where nobody may open any."""
        self.store = Store(project.database_path)
        try:
            self._open_features()
            self._open_ranking()
            self._open_collaboration()
            self._open_queue(shown_name or (lambda path: path))
            self.models = ModelLoop(
                project,
                self.store,
                self.catalog,
                self.backbone,
                self.features.path,
                self.tag_changes,
                finetune,
                self.proposer.log_losses,
            )
            self._open_ingest()
        except BaseException:
            self.store.close()
            raise

    def _open_features(self) -> None:
        self._notices: dict[str, tuple[str, str]] = {}
        """What could not be loaded -> what the project does without it, briefly, and the reason with its paths."""
        changed = settings_problem(self.project)
        if changed is not None:
            self._notice(
                "settings", "The settings of this project were changed outside of annotator, or are damaged.", changed
            )
        self.backbone: Backbone
        self.backbone, problem = open_backbone(self.project, self.store, load_backbone, 1)
        if problem is not None:
            self._notice(
                "backbone",
                "The backbone of this project is missing: photos that were read before can be tagged, new ones are not "
                "read, and no model is trained.",
                problem,
            )
        self.backbone_label = label_of(self.project, self.backbone)
        self.features = open_features(self.project, self.store, self.backbone)
        self._kept_versions: dict[str, int] = {}
        """Name of an index -> its version in the file."""
        self._keeping = threading.Lock()
        self.vectors = self._read_index(ALL_PHOTOS)
        self.vectors.hold_only(self.features.image_ids(), waits=False)  # no proposal needs it
        """Index of all photos' features, tagged or not."""
        self.pictures = Pictures(self.project, self.store)
        self.heat_mapper = HeatMapper(self.backbone, self.features, self.pictures.decoded)

    def notices(self, user: str) -> list[str]:
        """Return what of the project could not be loaded, and what it does without, as sentences for a user."""
        return [full if self.shows_folders(user) else brief for brief, full in self._notices.values()]

    def forget_notice(self, part: str) -> None:
        """Take back a notice, because that part was loaded meanwhile."""
        self._notices.pop(part, None)

    def _notice(self, part: str, brief: str, full: str) -> None:
        logger.warning("%s", full)
        self._notices[part] = (brief, full)

    def check_features(self) -> None:
        """Compare all features with their digests, and give notice of those that have changed on the disk."""
        number = self.features.num_changed(self._is_closing.is_set)
        if number:
            brief = f"The features of {number:,} photos have changed on the disk, so their proposals may be wrong."
            advice = f"End the server and run: annotator check {self.project.folder} --repair; then start it again."
            self._notice("features", brief, f"{brief} {advice}")

    def _open_catalog(self, chosen: str) -> TaggerCatalog:
        """Open the taggers with the chosen one; without it, with the one that the program would choose."""
        try:
            return TaggerCatalog(self.backbone, self.project.checkpoints_path, chosen)
        except CheckpointError as error:
            instead = default_tagger(self.backbone)
            catalog = TaggerCatalog(self.backbone, self.project.checkpoints_path, instead)
            self._notice(
                "tagger",
                f"The tagger of this project is missing or damaged; it proposes with {catalog.label_of(instead)}.",
                f"The tagger of this project cannot be loaded: {error} It is opened with {catalog.label_of(instead)} "
                "instead. Put the checkpoint back and start again, or choose another tagger.",
            )
            return catalog

    def _read_index(self, name: str) -> VectorIndex:
        """Read an index that was kept; an empty one where the file is missing or does not fit."""
        index, version = read_index(self._index_path(name), self.backbone_label, self.features)
        if version is not None:
            self._kept_versions[name] = version
        return index

    def _index_path(self, name: str) -> Path:
        return index_path(self.project, self.backbone_label, name)

    def keep_indexes(self, only: Collection[VectorIndex] | None = None) -> None:
        """Write the indexes that take long to build, where they changed since; the next start reads them.

        Small ones are searched exactly and are made anew in a moment.

        Args:
            only: Those to write; None: all of them, for which a build that runs is waited for.

        Raises:
            RetrievalError: The disk is full or the folder cannot be written to.
        """
        with self._keeping:
            for name, index in ((ALL_PHOTOS, self.vectors), (TAGGED_PHOTOS, self.ranking.vectors)):
                if only is not None and index not in only:
                    continue
                version = index.version
                if index.kind != "exact" and self._kept_versions.get(name) != version:
                    self.project.indexes_path.mkdir(exist_ok=True)
                    index.save(self._index_path(name))
                    self._kept_versions[name] = version

    def _open_ranking(self) -> None:
        settings = self.project.settings
        chosen = settings.tagger or default_tagger(self.backbone)
        self.catalog = self._open_catalog(chosen)
        self.log = CorrectionLog(self.store)
        self.tag_changes = TagChanges(self.store, self.log)
        self.vocabulary = imported_vocabulary(self.store, settings.vocabulary)
        self._rules: tuple[dict[str, Any], OrderRules] | None = None
        self.ranking = Ranking(
            self.features, self.catalog.cold_start, self.backbone_label, self.vocabulary.tags, self.vocabulary.aliases,
            self.vocabulary.spelling, self._read_index(TAGGED_PHOTOS),
        )  # fmt: skip
        words = {
            image_id: words_from(keywords, path_words, caption)
            for image_id, keywords, path_words, caption in self.store.images.metadata_words()
        }
        self.ranking.load(words, dict(self.log.saved()), self.tag_changes.aliases())
        self.similar_tags = SimilarTags(settings.word_vectors, self._use_word_vectors)
        detector = wanted_detector(settings.detector)
        self.field_values = FieldValues(self.store)
        self.detections = DetectionStore(self.store, is_read=detector != NONE)
        self.detection_pass = DetectionPass(
            self.detections, detector, self.pictures.read, self.ingest_config.num_detector_threads
        )
        self.vision_answers = VisionAnswers(self.store, settings.vision_language_model)
        self.context = self.ranking.context()
        self.proposer = self.ranking.proposer(
            lambda: self.catalog.taggers,
            self.context,
            detections=self.detections.of,
            open_vocabulary=self.catalog.open_vocabulary,
            added_words=self.catalog.added_words,
            least=lambda: self.project.settings.least_probability,
            never=lambda: self.project.settings.never_proposed,
            late_sources=self._late_sources(),
            permits=self.vocabulary.permits if settings.vocabulary else None,
        )
        self._is_closing = threading.Event()
        self.prepare_proposals()
        self.catalog.add_listener(self.prepare_proposals)

    def _late_sources(self) -> list[LateSource]:
        """Return the sources that join after the fusion model."""
        try:
            tower = load_text_tower(self.project.settings.backbone, num_threads=1)
        except BackboneError as error:
            tower = None
            brief = "Photos are not compared with words: the text tower of the backbone is damaged."
            self._notice("text", brief, f"Photos are not compared with words: {error}")
        index = None if tower is None else TextIndex(tower, self.project.settings.prompts, words_cache_path())
        self.text_pass = TextPass(index, self._words_to_embed)
        sources: list[LateSource] = []
        if self.vision_answers.model:
            sources.append(VisionLanguageSource(self.vision_answers.model, self.vision_answers.of))
        if index is not None:
            sources.append(TextTowerSource(index, self.features, self.vocabulary.permits))
        return sources

    def _words_to_embed(self) -> tuple[str, ...]:
        """Return the words that an image-text model compares photos with, the most wanted first."""
        return words_to_compare(
            self.ranking.vocabulary.tags_in_use(),
            self.vocabulary.tags,
            self.project.settings.vocabulary,
            self.catalog.cold_start.allowed_words(),
        )

    def prepare_proposals(self) -> None:
        """Prepare the proposer in the background: at the start, and for another tagger."""
        prepare = partial(self.proposer.prepare, self._is_closing.is_set)
        threading.Thread(target=prepare, name="proposals", daemon=True).start()

    def _use_word_vectors(self, vectors: WordVectors) -> None:
        self.catalog.use_word_vectors(vectors, self.ranking.vocabulary.tags_in_use())
        self.ranking.use_word_vectors(vectors)

    def _open_collaboration(self) -> None:
        self.accounts = Accounts(self.store)
        self.authenticator = ProjectAuthenticator(self.accounts)
        self.leases = Leases()
        self.assignments = Assignments(self.store)
        self.responses = Responses(self.store, self.log)
        self.review_rules = ReviewRules(self.responses, self.log, self.authenticator.may_review)

    def _open_queue(self, shown_name: Callable[[str], str]) -> None:
        self.files = PhotoFiles(self.store.images.photo_files(), shown_name)
        self.queue = PhotoQueue(self.files.place)
        self.queue.add(self.files)
        for image_id, _ in self.log.saved():
            self.queue.mark(image_id, saved=True)
        for image_id in self.log.skipped():
            self.queue.skip(image_id)
        self.scheduler = QueueScheduler(
            self.project, self.queue, self.features, self.catalog, self.files.content_hash, self.log.work_times
        )
        self.access = PhotoAccess(
            self.queue, self.leases, self.assignments, self.responses, self.review_rules, self.ranking.vocabulary
        )
        profile = self.project.settings.sidecars
        self.sidecar_states = SidecarStates(self.store)
        self.sidecars = (
            SidecarWriter(SidecarsInStep(self.store, self.log, profile, self.vocabulary.levels_of)) if profile else None
        )
        """Writes a sidecar after each save, where the project wants them."""
        self.after_commit = AfterCommit(
            self.project, self.files, self.queue, self.scheduler, self.vectors, self.ranking, self.catalog,
            self.responses, self.sidecars,
        )  # fmt: skip
        self.webhooks = Webhooks(self.store)
        self._webhook_senders: list[WebhookSender] = []
        self.transfers = Transfers(self.project.folder)
        self.pinned_taggers = PinnedTaggers()
        self.lock = threading.Lock()
        """Held during a save, so that queue, indexes and counts are updated in the order of the saves."""
        self.vision_pass = VisionPass(
            self.vision_answers,
            self._vision,
            self._photos_to_ask_about,
            lambda image_id: self.pictures.decoded(image_id, LONGEST_SIDE).image,
            lambda: self.ranking.vocabulary.tags_in_use()[:MAX_TOLD_TAGS],
            self._use_answer,
        )
        # Writes a draft while its proposals are computed: one is limited by the disk, the other by the processor.
        self.draft_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drafts")

    def _photos_to_ask_about(self) -> Iterator[int]:
        """Yield the photos for the vision-language model: those presented next; every fourth is a saved one."""
        saved = iter(self.queue.saved_ids()[-NUM_SAVED_ASKED:])
        for place, image_id in enumerate(self.queue.upcoming(), start=1):
            yield image_id
            if place % 3 == 0:
                yield from islice(saved, 1)
        yield from saved

    def _use_answer(self, image_id: int) -> None:
        """Compare the vision-language model's answer about a saved photo with its list."""
        if self.queue.is_saved(image_id):
            self.proposer.note_first_list(image_id)

    def _open_ingest(self) -> None:
        name, num_threads = self.project.settings.backbone, self.ingest_config.num_network_threads
        options = backbone_options(self.project)
        self.ingest = Ingest(
            self.project,
            self.store,
            self.features,
            lambda: load_backbone(name, num_threads=num_threads, **options),
            self.backbone_label,
            self.ingest_config,
            self.after_commit.images_added,
            self.after_commit.images_changed,
        )
        side = decoded_side(self.backbone.image_size, self.ingest_config.thumbnail_size)
        self.digest_pass = DigestPass(self.store.images, self.pictures.read, side)

    @property
    def order_rules(self) -> OrderRules:
        """The rules that a list gets when it is saved."""
        values = self.project.settings.order_rules
        if self._rules is None or self._rules[0] is not values:
            self._rules = values, rules_from(values, "The order_rules", self.vocabulary.group_of)
        return self._rules[1]

    def use_tag_changes(self) -> None:
        """Use the aliases and parents that follow from the changes of tags; call it after each change and undo."""
        self.ranking.vocabulary.set_aliases(self.tag_changes.aliases())
        self.vocabulary.parents = self.tag_changes.parents()

    def may_annotate(self, user: str) -> bool:
        """Return whether a user may change tags."""
        return self.authenticator.may_annotate(user)

    def shows_folders(self, user: str) -> bool:
        """Return whether a user may see the paths of photo folders on this machine."""
        return self._shows_folders and self.authenticator.shows_folders(user)

    def may_open_projects(self, user: str) -> bool:
        """Return whether a user may open other projects of this machine from the page."""
        return self.project_servers is not None and self.shows_folders(user)

    def words_of(self, image_id: int) -> Words:
        """Return the words of a photo's metadata and path."""
        return words_of(self.store.images.entry(image_id))

    def is_random(self, image_id: int) -> bool:
        """Return whether a photo belongs to the project's random sample."""
        return self.files.is_in_sample(image_id, self.project.settings.random_share)

    def probe(self, image_id: int) -> Probe | None:
        """Return a photo's anchoring probe (hidden or shuffled proposals) until its first save; None without one."""
        settings = self.project.settings
        probe = probe_of(self.files.content_hash(image_id), settings.random_share, settings.probe_share)
        is_first = self.log.annotation(image_id).revision == 0 and self.responses.state(image_id) is None
        return probe if probe and is_first else None

    def start_webhooks(self) -> None:
        """Tell the project's webhooks what they were not told yet, and from now on what happens."""
        name = self.project.settings.name
        for webhook in self.webhooks.all():
            sender = WebhookSender(self.webhooks, webhook, name, self.files.name)
            self._webhook_senders.append(sender)
            self.after_commit.listeners.append(sender.notify)
            sender.start()

    def close(self) -> None:
        """Stop all work, write the indexes that are built, and close the database."""
        self._is_closing.set()
        if self.project_servers is not None:
            self.project_servers.close()
        self.transfers.close()
        self.ingest.stop()
        self.digest_pass.stop()
        self.detection_pass.stop()
        if self.sidecars is not None:
            self.sidecars.stop()
        self.vision_pass.stop()
        self.text_pass.stop()
        self.models.close()
        self.similar_tags.stop()
        self.context.stop()
        self.scheduler.stop()
        for sender in self._webhook_senders:
            sender.stop()
        try:
            self.keep_indexes([index for index in (self.vectors, self.ranking.vectors) if index.stop()])
        finally:
            self.store.close()
