"""The parts of an open project that photos are read with, as a served project and a command that only reads open them.

Knows nothing of tags.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from annotator.errors import BackboneError, RetrievalError
from annotator.ingest.project_backbone import backbone_options, stand_in
from annotator.models.backbones.backbone import Backbone
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.project import Project

logger = logging.getLogger(__name__)


def open_backbone(
    project: Project, store: Store, load: Callable[..., Backbone], num_threads: int
) -> tuple[Backbone, str | None]:
    """Load a project's backbone, or what stands for it where photos were read with it before.

    Args:
        project: The project.
        store: Its database.
        load: `load_backbone`.
        num_threads: Threads of the network.

    Returns:
        The backbone, and why the project's own cannot be loaded, as a sentence; None if it can.

    Raises:
        BackboneError: It cannot be loaded, and no photo was read with it.
    """
    try:
        return load(project.settings.backbone, num_threads=num_threads, **backbone_options(project)), None
    except BackboneError as error:
        missing = stand_in(project, store.images.num_feature_rows(), error)
        return missing, missing.problem


def open_features(project: Project, store: Store, backbone: Backbone) -> FeatureStore:
    """Open the stored features of a backbone."""
    label = label_of(project, backbone)
    return FeatureStore(project.features_path, label, backbone.feature_size, store.images.feature_rows(label))


def label_of(project: Project, backbone: Backbone) -> str:
    """Return the name and version under which features are stored."""
    return f"{project.settings.backbone}-{backbone.version}"


def settings_problem(project: Project) -> str | None:
    """Return a sentence on settings that are not as the program wrote them; None if they are."""
    if project.settings_are_as_written:
        return None
    return f"{project.settings_path} is not as annotator wrote it: it was changed by hand, or is damaged."


def index_settings() -> VectorIndexSettings:
    """Return how neighbours are searched in a project."""
    return VectorIndexSettings()


def index_path(project: Project, label: str, name: str) -> Path:
    """Return the file of an index of photos' features."""
    return project.indexes_path / f"{label}{name}.faiss"


def read_index(path: Path, label: str, features: FeatureStore) -> tuple[VectorIndex, int | None]:
    """Read an index that was kept; an empty one where the file is missing or does not fit.

    Returns:
        The index, without photos that are not the project's, and its version in the file; None if it is a new one.
    """
    settings, size = index_settings(), features.feature_size
    if path.exists():
        try:
            index = VectorIndex.load(path, size, settings, features.vectors, tag=label)
        except RetrievalError as error:
            logger.warning("An index is built anew: %s", error)
        else:
            index.remove([i for i in index.image_ids().tolist() if i not in features])
            return index, index.version
    return VectorIndex(size, settings, features.vectors, tag=label), None
