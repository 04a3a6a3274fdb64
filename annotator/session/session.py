"""The services of one open project.

Every operation of the page and of the REST routes calls one method of a service; operations.py lists them.
"""

from dataclasses import dataclass

from annotator.session.administration import Administration
from annotator.session.exporting import Exporting
from annotator.session.group_tagging import GroupTagging
from annotator.session.importing import Importing
from annotator.session.label_studio import LabelStudio
from annotator.session.library import Library
from annotator.session.navigation import Navigation
from annotator.session.photo_groups import PhotoGroups
from annotator.session.photo_view import PhotoView
from annotator.session.projects import Projects
from annotator.session.review import Review
from annotator.session.sidecars import Sidecars
from annotator.session.tag_editing import TagEditing
from annotator.session.tag_overview import TagOverview
from annotator.session.tagging import Tagging
from annotator.session.workspace import Workspace


@dataclass(frozen=True)
class Session:
    """The services of one open project; all its users share one object."""

    workspace: Workspace
    navigation: Navigation
    tagging: Tagging
    group_tagging: GroupTagging
    review: Review
    tag_editing: TagEditing
    administration: Administration
    sidecars: Sidecars
    label_studio: LabelStudio
    exporting: Exporting
    importing: Importing
    library: Library
    tag_overview: TagOverview
    projects: Projects

    @classmethod
    def over(cls, workspace: Workspace) -> "Session":
        """Build the services of an open project."""
        view, groups = PhotoView(workspace), PhotoGroups(workspace)
        navigation = Navigation(workspace, view)
        exporting = Exporting(workspace, navigation)
        tagging = Tagging(workspace, view, navigation, groups)
        return cls(
            workspace,
            navigation,
            tagging,
            GroupTagging(workspace, navigation, tagging, groups),
            Review(workspace, view, navigation),
            TagEditing(workspace, view, exporting),
            Administration(workspace),
            Sidecars(workspace),
            LabelStudio(workspace, view),
            exporting,
            Importing(workspace),
            Library(workspace, navigation, exporting),
            TagOverview(workspace),
            Projects(workspace),
        )

    def close(self) -> None:
        """Close the project."""
        self.workspace.close()
