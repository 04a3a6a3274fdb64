"""A project: a folder with a database, features, indexes, thumbnails, checkpoints and settings.

It can be copied and opened elsewhere; the photos are not part of it. Knows nothing of servers or models.
"""

import contextlib
import errno
import hashlib
import json
import os
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from annotator import carried_models
from annotator.datasets.photo_roots import PhotoRoot
from annotator.errors import ConfigError, ProjectError
from annotator.keymap import with_new_actions
from annotator.settings import ProjectSettings
from annotator.storage.digested_json import with_digest, without_digest
from annotator.storage.private_files import make_private

SETTINGS_VERSION = 1
CHECKED_BYTES = 16_384
"""Bytes that must fit on the disk before a project is served: less room than a save needs."""


def write_atomically(path: Path, data: bytes, mode: int = 0o666, *, exact: bool = False) -> None:
    """Write a file so that after a crash it has either the old content or the new, never a part.

    Args:
        path: The file.
        data: Its content.
        mode: Permission bits, reduced by the umask of the process unless ``exact``.
        exact: Whether the file gets these bits whatever the umask is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            if exact:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def open_private(path: Path) -> IO[bytes]:
    """Open a new file for writing that only its owner may read.

    Raises:
        FileExistsError: It is there already.
    """
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


class Project:
    """Paths and settings of one project folder.

    Args:
        folder: The project's folder; must exist.

    Raises:
        ProjectError: It is not a project, or its settings cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings_path = folder / "settings.json"
        self.database_path = folder / "project.duckdb"
        self.features_path = folder / "features"
        self.indexes_path = folder / "indexes"
        self.thumbnails_path = folder / "thumbnails"
        self.photo_cache_path = folder / "photo-cache"
        """Of photos behind URLs."""
        self.checkpoints_path = folder / "checkpoints"
        self.backbones_path = folder / "backbones"
        self.models_path = folder / "models"
        """What a restored project brings along (carried_models.py)."""
        self.training_path = folder / "training"
        self.server_path = folder / "server.json"
        self.settings_are_as_written = True
        """False if the settings file was changed by another program since it was written: by hand, or by damage."""
        self.settings_lock = threading.RLock()
        """Held by who computes a setting from its present value, until `update_settings` has stored it."""
        carried_models.use(self.models_path)
        self.settings = self._read_settings()

    @classmethod
    def open(cls, folder: Path) -> "Project":
        """Open an existing project.

        Raises:
            ProjectError: There is none.
        """
        folder = folder.expanduser().resolve()
        if not is_project(folder):
            raise ProjectError(
                f"{folder} is not a project (it has no project.duckdb). "
                "Make one with: annotator serve PHOTOS --project DIR"
            )
        return cls(folder)

    @classmethod
    def open_or_create(cls, folder: Path, name: str) -> "Project":
        """Open a project, and create the folder and its settings if they are missing.

        Raises:
            ProjectError: The folder cannot be created, or contains something else.
        """
        folder = folder.expanduser().resolve()
        if is_project(folder):
            return cls(folder)
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "settings.json").exists():
            raise ProjectError(f"{folder} is not empty and not a project. Name a new or an empty folder.")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (folder / "settings.json").exists():
                make_private(folder, 0o700)
            for part in ("features", "indexes", "thumbnails", "checkpoints"):
                (folder / part).mkdir(exist_ok=True)
            if not (folder / "settings.json").exists():
                _write_settings(folder / "settings.json", ProjectSettings(name=name))
        except OSError as error:
            raise ProjectError(f"The project folder {folder} cannot be made: {error.strerror}.") from error
        return cls(folder)

    def update_settings(self, **changes: Any) -> ProjectSettings:
        """Change some settings, on disk first; safe to call from several threads.

        Raises:
            ConfigError: A value is not allowed.
            ProjectError: The file cannot be written.
        """
        with self.settings_lock:
            settings = replace(self.settings, **changes)
            try:
                _write_settings(self.settings_path, settings)
            except OSError as error:
                raise ProjectError(f"The settings {self.settings_path} cannot be written: {error.strerror}.") from error
            self.settings, self.settings_are_as_written = settings, True
            return settings

    def check_writable(self) -> None:
        """Check that files can be written into the folder.

        Raises:
            ProjectError: The disk is full or read-only, or the folder belongs to somebody else.
        """
        path = self.folder / ".write-check"
        try:
            write_atomically(path, b"x" * CHECKED_BYTES)
            path.unlink()
        except OSError as error:
            advice = " Free some space; nothing was lost." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            with contextlib.suppress(OSError):
                path.unlink()
            raise ProjectError(f"The project {self.folder} cannot be written: {error.strerror}.{advice}") from error

    def identity(self) -> str:
        """Return the numbers that tell this folder and its database from every copy: device and inode of both.

        Raises:
            ProjectError: One of them is not there.
        """
        try:
            found = [os.stat(path) for path in (self.folder, self.database_path)]
        except OSError as error:
            raise ProjectError(f"The project {self.folder} cannot be read: {error.strerror}.") from error
        return " ".join(f"{status.st_dev}:{status.st_ino}" for status in found)

    def thumbnail_path(self, content_hash: str) -> Path:
        """Return the path of the thumbnail of a content hash."""
        return self.thumbnails_path / content_hash[:2] / f"{content_hash}.jpg"

    def _read_settings(self) -> ProjectSettings:
        try:
            stored = json.loads(self.settings_path.read_text(encoding="utf-8"))
            values, self.settings_are_as_written = without_digest(stored)
            version = values.pop("version")
            if version > SETTINGS_VERSION:
                raise ProjectError(
                    f"{self.settings_path} has version {version}, newer than the {SETTINGS_VERSION} this version "
                    "of annotator knows. Update annotator to open it."
                )
            if isinstance(values.get("keys"), dict):
                values["keys"] = with_new_actions(values["keys"])
            return ProjectSettings(**values)
        except FileNotFoundError:
            return ProjectSettings(name=self.folder.name)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
            raise ProjectError(
                f"The settings {self.settings_path} cannot be read ({error}). Mend or delete the file."
            ) from error


def is_project(folder: Path) -> bool:
    """Tell whether a folder is a project."""
    return (folder / "project.duckdb").is_file()


def default_folder(photos: PhotoRoot) -> Path:
    """Return the default project folder of a photo folder or URL, in the user's data folder.

    Not in the photo folder itself: these are often read-only, or synchronised, which breaks an open database.
    """
    if isinstance(photos, Path):
        photos = photos.expanduser().resolve()
    digest = hashlib.sha256(os.fsencode(str(photos))).hexdigest()[:8]
    return data_folder() / f"{photos.name or 'photos'}-{digest}"


def data_folder() -> Path:
    """Return the folder of the user's projects."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "annotator"


def settings_text(settings: ProjectSettings) -> bytes:
    """Return the content of a settings file, with a digest by which a changed file is known."""
    return json.dumps(with_digest({"version": SETTINGS_VERSION, **asdict(settings)}), indent=2).encode()


def _write_settings(path: Path, settings: ProjectSettings) -> None:
    write_atomically(path, settings_text(settings), mode=0o600)
