"""Sidecars that are not in step with the saved lists: which, why, and what a person chooses."""

from typing import Literal

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.reading import clean_list
from annotator.errors import ConfigError, ReviewError
from annotator.json_types import JsonObject
from annotator.session.workspace import Workspace
from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import ListChange
from annotator.storage.sidecar_states import CHANGED, FAILED, WRITTEN, SidecarState

MOST_SHOWN = 200
"""Sidecars of one answer."""


class Sidecars:
    """The sidecars of a project's photos.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def sidecars(self, user: str) -> JsonObject:
        """Return how many sidecars are in step, and those that are not with both lists or the reason."""
        workspace = self._workspace
        counts = workspace.sidecar_states.counts()
        return {
            "profile": workspace.project.settings.sidecars,
            "num_written": counts.get(WRITTEN, 0),
            "num_changed": counts.get(CHANGED, 0),
            "num_failed": counts.get(FAILED, 0),
            "num_waiting": workspace.sidecars.num_waiting if workspace.sidecars else 0,
            "items": [self._shown(user, state) for state in workspace.sidecar_states.troubled(MOST_SHOWN)],
        }

    def _shown(self, user: str, state: SidecarState) -> JsonObject:
        workspace = self._workspace
        saved = workspace.log.annotation(state.image_id)
        in_full = workspace.shows_folders(user) or not state.reason
        return {
            "image_id": state.image_id,
            "file_name": workspace.files.name(state.image_id),
            "state": state.state,
            "saved": list(saved.tags) if saved.is_saved else [],
            "found": list(state.found),
            "reason": state.reason if in_full else "The sidecar could not be read or written.",
        }

    def settle(self, user: str, image_id: int, take: Literal["ours", "theirs"]) -> JsonObject:
        """Bring a photo and its changed sidecars in step again.

        Args:
            user: Who chooses.
            image_id: The photo.
            take: ours writes the saved list over the sidecar; theirs makes the sidecar's list the saved one.

        Returns:
            As `sidecars`.

        Raises:
            UnknownImageError: The project has no such image.
            ConfigError: The project keeps no sidecars, or none of this photo was changed by another program.
            ForbiddenError: The photo is assigned to somebody else.
            LeaseError: Somebody else has this photo open.
            ReviewError: Several people are asked about it.
            StoreError: The commit failed; nothing was written.
        """
        workspace = self._workspace
        workspace.access.check(image_id)
        changed = [state for state in workspace.sidecar_states.of(image_id) if state.state == CHANGED]
        if workspace.sidecars is None or not changed:
            raise ConfigError("No sidecar of this photo was changed by another program.")
        workspace.access.check_unlocked(user, image_id)
        if workspace.responses.state(image_id) is not None:
            raise ReviewError("Several people are asked about this photo. Nothing was changed.")
        workspace.access.hold(user, image_id)
        if take == "theirs":
            self._save(user, image_id, changed[0])
        workspace.sidecars.sidecars.write(image_id, overwrites=True)
        return self.sidecars(user)

    def _save(self, user: str, image_id: int, state: SidecarState) -> None:
        """Make the list of a sidecar the saved one."""
        workspace = self._workspace
        tags = clean_list(state.found, state.path, Report())
        with workspace.lock:
            annotation = workspace.log.annotation(image_id)
            change = ListChange(annotation, tags, tuple(tag for tag in annotation.dropped if tag not in tags))
            changes = BulkChanges(workspace.store, workspace.log)
            for saved in changes.save_lists("accepted", [change], f"xmp: {state.path}", user):
                workspace.after_commit.saved(saved)
