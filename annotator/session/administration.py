"""Settings of a project, its unreadable files, consistency check, backup and export."""

import secrets
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import BackupError, ConfigError
from annotator.exchange.selection import SAVED_PHOTOS, Selection, select
from annotator.exchange.webhooks import webhook_row
from annotator.json_types import JsonObject
from annotator.maintenance.backup import back_up
from annotator.maintenance.integrity import check
from annotator.reports.effort import effort_report
from annotator.session.workspace import Workspace
from annotator.storage.photo_rows import PLAIN_KEYS, photo_rows
from annotator.storage.temporary_folders import held_folder

BACKUP_PREFIX = ".backup-"
"""Of files and folders in the project's folder while a backup is made and sent."""
MAX_NEVER_PROPOSED = 1_000
"""Most tags of a project that are never proposed."""


class Administration:
    """Settings, reports, checks and exports of a project.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._backing_up = threading.Lock()

    def unreadable(self, user: str, offset: int, limit: int) -> JsonObject:
        """Return a page of the files that could not be read, with reasons, and the number of all by type."""
        workspace = self._workspace
        in_full = workspace.shows_folders(user)
        total, found = workspace.store.images.unreadable(offset, limit, in_full=in_full)
        shown_name = workspace.files.shown_name
        items = [{"path": path if in_full else shown_name(path), "reason": reason} for path, reason in found]
        return {"total": total, "types": workspace.store.images.unread_types(), "items": items}

    def set_keys(self, keys: dict[str, list[str]]) -> JsonObject:
        """Map actions to keys and store the mapping in the project's settings.

        Raises:
            ConfigError: A key clashes or cannot be used.
        """
        mapped = {action: tuple(names) for action, names in keys.items()}
        settings = self._workspace.project.update_settings(keys=mapped)
        return {"keys": {action: list(names) for action, names in settings.keys.items()}}

    def set_show_expected(self, shown: bool) -> JsonObject:
        """Store whether the expected line is drawn."""
        return {"show_expected": self._workspace.project.update_settings(show_expected=shown).show_expected}

    def set_never_proposed(self, tag: str, *, never: bool) -> JsonObject:
        """Store that a tag is never proposed in this project, or that it is proposed again.

        Raises:
            TagError: The text is not a valid tag.
            ConfigError: `MAX_NEVER_PROPOSED` tags are stored already.
        """
        tag = clean_tag(tag)
        project = self._workspace.project
        with project.settings_lock:
            others = [other for other in project.settings.never_proposed if tag_key(other) != tag_key(tag)]
            if never and len(others) >= MAX_NEVER_PROPOSED:
                raise ConfigError(
                    f"At most {MAX_NEVER_PROPOSED:,} tags can be kept from being proposed; give one back first."
                )
            settings = project.update_settings(never_proposed=(*others, tag) if never else tuple(others))
        return {"never_proposed": list(settings.never_proposed)}

    def set_tagger(self, user: str, name: str) -> JsonObject:
        """Switch the project to another tagger and store the choice; it applies at once to this user's open photo.

        Raises:
            ConfigError: It is not among the choices.
            CheckpointError: Its checkpoint is damaged or of another backbone.
        """
        workspace = self._workspace
        workspace.models.choose(name, user)
        workspace.forget_notice("tagger")
        workspace.pinned_taggers.unpin(user)
        workspace.scheduler.request()
        return {"tagger": workspace.catalog.chosen}

    def set_strategy(self, strategy: str, random_share: float | None, probe_share: float | None) -> JsonObject:
        """Store the query strategy and its shares; a share that is None stays as it is.

        Raises:
            ConfigError: There is no such strategy, or a share is not in [0, 1].
        """
        shares = {"random_share": random_share, "probe_share": probe_share}
        self._workspace.project.update_settings(
            strategy=strategy, **{name: share for name, share in shares.items() if share is not None}
        )
        self._workspace.scheduler.request()
        return {"queue": self._workspace.scheduler.describe()}

    def effort_report(self) -> JsonObject:
        """Return the effort spent so far and how good the proposals were; see reports/effort.py."""
        return effort_report(self._workspace.store.rows)

    def check(self) -> JsonObject:
        """Check whether the project is consistent; changes nothing."""
        return {"findings": [asdict(finding) for finding in check(self._workspace.project, self._workspace.store)]}

    def webhooks(self) -> JsonObject:
        """Return the webhooks without their secrets, and how far each was told."""
        webhooks = self._workspace.webhooks
        return {"webhooks": [webhook_row(webhooks, webhook) for webhook in webhooks.all()]}

    def back_up(self, *, with_features: bool) -> Path:
        """Write a backup into the project's folder and return its path; the caller deletes it.

        Raises:
            BackupError: It cannot be written, or another backup is running.
            StoreError: The database could not be copied.
        """
        project = self._workspace.project
        if not self._backing_up.acquire(blocking=False):
            raise BackupError("A backup is being made. Try again when it is done.")
        try:
            with held_folder(project.folder, BACKUP_PREFIX) as folder:
                snapshot = folder / "project.duckdb"
                self._workspace.store.copy_to(snapshot)
                back_up(project, snapshot, folder / "project.tar", with_features=with_features)
                target = project.folder / f"{BACKUP_PREFIX}{secrets.token_hex(8)}.tar"
                (folder / "project.tar").replace(target)
        finally:
            self._backing_up.release()
        return target

    def export(self, user: str, selection: Selection = SAVED_PHOTOS, *, detailed: bool = False) -> Iterator[JsonObject]:
        """Yield a record for every selected photo; users who may not see paths get no root folder.

        Args:
            user: Who asks.
            selection: Which photos.
            detailed: All that `photo_rows` knows of them; otherwise its `PLAIN_KEYS`.

        Raises:
            TagError: The selection's tag is not a valid tag.
            StoreError: The database could not be read.
        """
        store = self._workspace.store
        for row in photo_rows(store, select(store, selection), self._workspace.vocabulary.levels_of):
            if not self._workspace.shows_folders(user):
                row |= {"root": "", "name": row["image"]}
            yield row if detailed else {key: row[key] for key in PLAIN_KEYS}
