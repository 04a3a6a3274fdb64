"""A visitor's project while it is in memory."""

from annotator.auth.roles import LOCAL_USER
from annotator.hosted.limits import HostedLimits
from annotator.hosted.photos import read_names
from annotator.hosted.space import Space
from annotator.models.detectors.detector import NONE
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import IngestConfig, LoopSettings
from annotator.storage.project import Project

LOOP = LoopSettings(train_after=0, least_photos=2, gold_share=0.1)
"""The promotion test runs on few photos; a visitor can promote a candidate that failed it."""


class OpenSpace:
    """The open project of one space; the answers that the page polls are stored in the space on closing.

    Args:
        space: The space.
        limits: Limits of a visitor's space.
        root_path: The prefix under which a reverse proxy offers the page.

    Raises:
        ProjectError: The project cannot be opened.
    """

    def __init__(self, space: "Space[OpenSpace]", limits: HostedLimits, root_path: str = "") -> None:
        project = Project.open_or_create(space.project_path, "Demo")
        project.update_settings(detector=NONE, loop=LOOP, word_vectors="")
        config = IngestConfig(num_decode_threads=1, num_network_threads=1, batch_size=8)
        finetune = {"epochs": limits.training_epochs}
        workspace = Workspace(project, config, finetune, lambda path: read_names(space).get(path, path))
        workspace.files.root_path = root_path
        self.session = Session.over(workspace)
        self._remembered = space.remembered
        workspace.similar_tags.start()
        workspace.scheduler.start()

    def close(self) -> None:
        """Close it, so that it can be opened again."""
        self._remembered["state"] = self.session.navigation.state(LOCAL_USER)
        self._remembered["models"] = self.session.workspace.models.state()
        self.session.close()
