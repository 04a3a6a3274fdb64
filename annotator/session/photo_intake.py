"""A project that is open for reading photos, without what proposes tags and what several people need.

It does what a served project (`workspace.py`) does after each batch, as far as that is kept: people are asked about new
photos, and the index of a large project is brought up to date. Knows nothing of the command line.
"""

import logging
from collections.abc import Sequence

from annotator.ingest.digest_pass import DigestPass
from annotator.ingest.pictures import Pictures
from annotator.ingest.pipeline import Ingest, NewImage
from annotator.ingest.renditions import decoded_side
from annotator.models.backbones.backbone import load_backbone
from annotator.retrieval.index_file import ALL_PHOTOS
from annotator.session.photo_parts import (
    index_path,
    index_settings,
    label_of,
    open_backbone,
    open_features,
    read_index,
    settings_problem,
)
from annotator.settings import IngestConfig
from annotator.storage.database import Store
from annotator.storage.images import SeenPath
from annotator.storage.project import Project
from annotator.thread_priority import lower_priority

logger = logging.getLogger(__name__)


class PhotoIntake:
    """A project that is open for reading photos.

    Args:
        project: The folder.
        config: Threads and sizes.

    Raises:
        ProjectError: The database is damaged or in use.
        FeatureMismatchError: The stored features do not fit.
        BackboneError: The project's backbone cannot be loaded, and no photo was read with it before.
    """

    def __init__(self, project: Project, config: IngestConfig) -> None:
        self.project = project
        self.store = Store(project.database_path)
        try:
            lower_priority()  # the network's threads, which are started here, take it over
            backbone, problem = open_backbone(project, self.store, load_backbone, config.num_network_threads)
            for sentence in (settings_problem(project), problem):
                if sentence:
                    logger.warning("%s", sentence)
            self.backbone_label = label_of(project, backbone)
            self.features = open_features(project, self.store, backbone)
            self.ingest = Ingest(
                project, self.store, self.features, lambda: backbone, self.backbone_label, config, self._ask_about
            )
            side = decoded_side(backbone.image_size, config.thumbnail_size)
            self.digest_pass = DigestPass(self.store.images, Pictures(project, self.store).read, side)
        except BaseException:
            self.store.close()
            raise

    def _ask_about(self, images: Sequence[NewImage], paths: Sequence[SeenPath]) -> None:
        """Ask people about a share of the new photos, where the project wants several answers."""
        settings = self.project.settings
        if settings.asked_people:
            from annotator.auth.roles import LOCAL_USER
            from annotator.collaboration.responses import Responses, in_share
            from annotator.storage.correction_log import CorrectionLog

            asked = [image.image_id for image in images if in_share(image.entry.content_hash, settings.asked_share)]
            responses = Responses(self.store, CorrectionLog(self.store))
            responses.ask(asked, settings.asked_people, [], LOCAL_USER)

    def keep_index(self) -> None:
        """Bring the index of a large project up to date, which the next start reads.

        Raises:
            RetrievalError: The disk is full or the folder cannot be written to.
        """
        if len(self.features) <= index_settings().exact_below:
            return  # it is searched exactly, and keeps none
        path = index_path(self.project, self.backbone_label, ALL_PHOTOS)
        index, kept_version = read_index(path, self.backbone_label, self.features)
        index.hold_only(self.features.image_ids())
        if index.kind != "exact" and index.version != kept_version:
            self.project.indexes_path.mkdir(exist_ok=True)
            index.save(path)

    def close(self) -> None:
        """Stop all work, and close the database."""
        self.ingest.stop()
        self.digest_pass.stop()
        self.store.close()
