"""Updates queue, indexes, counts and the order of the queue after a commit.

Knows nothing of users or of the form of answers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from annotator.active_learning.queue import PhotoQueue
from annotator.active_learning.scheduler import QueueScheduler
from annotator.auth.roles import LOCAL_USER
from annotator.collaboration.responses import Responses
from annotator.exchange.sidecars_in_step import SidecarWriter
from annotator.ingest.pipeline import ChangedImage, NewImage
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words, words_of
from annotator.proposals.tagger_catalog import TaggerCatalog
from annotator.retrieval.vector_index import VectorIndex
from annotator.session.photo_files import PhotoFiles
from annotator.storage.correction_log import Annotation
from annotator.storage.images import SeenPath
from annotator.storage.project import Project

NUM_FOR_SWEEP = 10
"""Photos with a tag, from which on the page offers to search the saved photos for it."""


class AfterCommit:
    """Keeps everything that is held in memory consistent with the database.

    Args:
        project: Settings.
        files: Paths and content hashes of the photos.
        queue: The photos and their states.
        scheduler: Orders the queue.
        vectors: Index of all photos' features.
        ranking: Tag statistics and tagged photos, the evidence for other photos.
        catalog: The taggers; new tags are added to their vocabularies.
        responses: Photos that several people are asked about.
        sidecars: Writes the sidecars of saved photos, where that is wanted.
    """

    def __init__(
        self,
        project: Project,
        files: PhotoFiles,
        queue: PhotoQueue,
        scheduler: QueueScheduler,
        vectors: VectorIndex,
        ranking: Ranking,
        catalog: TaggerCatalog,
        responses: Responses,
        sidecars: SidecarWriter | None = None,
    ) -> None:
        self._project = project
        self._files = files
        self._queue = queue
        self._scheduler = scheduler
        self._vectors = vectors
        self._ranking = ranking
        self._catalog = catalog
        self._responses = responses
        self._sidecars = sidecars
        self.listeners: list[Callable[[], None]] = []
        """Called after each committed list; they return at once."""
        self.num_commits = 0
        """Committed lists since the project was opened; results computed before the newest one may be out of date."""

    def saved(self, annotation: Annotation) -> None:
        """Take in one committed list."""
        self._queue.mark(annotation.image_id, saved=annotation.is_saved)
        tags = annotation.tags if annotation.is_saved else None
        self._ranking.tagged_photos.set_saved(annotation.image_id, tags)
        self.num_commits += 1
        self._catalog.add_tags(annotation.tags)
        self._scheduler.saved()
        if self._sidecars is not None:
            self._sidecars.request([annotation.image_id])
        for listener in self.listeners:
            listener()

    def images_added(self, images: Sequence[NewImage], paths: Sequence[SeenPath]) -> None:
        """Take in one committed batch of ingest."""
        # Comes first: every photo that a search finds must have a file name.
        self._files.add(paths, {image.image_id: image.entry.content_hash for image in images})
        if images:
            self._vectors.add([image.image_id for image in images], [image.vector for image in images])
        for image in images:
            self._ranking.tagged_photos.add_image(image.image_id, words_of(image.entry))
        settings = self._project.settings
        if settings.asked_people:
            asked = self._files.in_share([image.image_id for image in images], settings.asked_share)
            self._responses.ask(asked, settings.asked_people, [], LOCAL_USER)
        self._queue.add(image.image_id for image in images)
        self._scheduler.added(len(images))

    def images_changed(self, images: Sequence[ChangedImage]) -> None:
        """Take in other metadata or other pixels of known photos."""
        for image in images:
            if image.vector is not None:
                self._files.renew(image.image_id, image.entry)
                self._vectors.add([image.image_id], [image.vector])
            self._ranking.tagged_photos.renew_image(image.image_id, words_of(image.entry))
        self.num_commits += len(images)

    def imported_words(self, words: Mapping[int, Words]) -> None:
        """Take in other words that come with photos: image id -> all of its words."""
        for image_id, found in words.items():
            self._ranking.tagged_photos.renew_image(image_id, found)
        self.num_commits += 1

    def counts_of(self, tags: Iterable[str]) -> dict[str, int]:
        """Return on how many photos each tag is, for the comparison after a save."""
        return {tag: self._ranking.vocabulary.num_photos(tag) for tag in tags}

    def now_common(self, before: Mapping[str, int]) -> list[str]:
        """Return the tags that have reached NUM_FOR_SWEEP photos since `before` was counted."""
        num_photos = self._ranking.vocabulary.num_photos
        return [tag for tag, num in before.items() if num < NUM_FOR_SWEEP <= num_photos(tag)]
