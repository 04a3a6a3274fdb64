"""What a person means by a path: a project, or a folder of photos and the project that belongs to it."""

import os
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.demo_photos import copy_demo_photos
from annotator.datasets.file_types import IMAGE_SUFFIXES, SKIPPED_FOLDERS, suffix_of
from annotator.datasets.image_folder import find_images
from annotator.errors import ConfigError
from annotator.storage.project import data_folder, default_folder, is_project

MOST_FOLDERS = 1_000
"""Subfolders in one answer."""


@dataclass(frozen=True)
class ChosenProject:
    """A project to open, which may not have been made yet."""

    folder: Path
    """The project's own folder."""
    photos: Path | None
    """The folder of photos that was named; None: those of the project."""
    name: str
    """For a project that is made."""


@dataclass(frozen=True)
class ListedFolder:
    """A folder and its subfolders."""

    path: Path
    folders: tuple[Path, ...]
    """By name, without hidden ones; at most `MOST_FOLDERS`."""
    num_photos: int
    """Files that look like photos, in this folder itself."""


def full_path(text: str) -> Path:
    """Return a typed path in full; ``~`` is the home folder.

    Raises:
        ConfigError: It is empty or relative, or there is no such folder.
    """
    text = text.strip()
    try:
        path = Path(text).expanduser()
        if not path.is_absolute():
            raise ConfigError("Type the whole path of a folder, from / or ~.")
        path = path.resolve()
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{text[:200]!r} is no path of a folder.") from error
    if not exists:
        raise ConfigError(f"There is no folder {path}.")
    if not is_folder:
        raise ConfigError(f"{path} is not a folder. Name the folder that holds the photos.")
    return path


def project_of(path: Path) -> ChosenProject:
    """Return the project that a folder is or has.

    Args:
        path: A project, or a folder of photos, in full.

    Raises:
        ConfigError: It is no project and holds no photos, or it cannot be read.
    """
    if is_project(path):
        return ChosenProject(path, None, path.name)
    list_folder(path)
    folder = default_folder(path)
    if not is_project(folder) and next(find_images(path, lambda path, reason: None), None) is None:
        raise ConfigError(f"{path} is no project, and there are no photos in it or below it.")
    return ChosenProject(folder, path, path.name or "photos")


def demo_project() -> ChosenProject:
    """Return the project of the demo in the user's data, with its photos in place.

    Raises:
        ConfigError: The photos are missing, or cannot be copied.
    """
    folder = data_folder() / "demo"
    copy_demo_photos(folder / "photos")
    return ChosenProject(folder / "project", folder / "photos", "demo")


def list_folder(path: Path) -> ListedFolder:
    """Return the subfolders of a folder, and how many photos are in it.

    Args:
        path: In full.

    Raises:
        ConfigError: It cannot be read.
    """
    folders, num_photos = [], 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
                    continue
                if entry.is_dir():
                    folders.append(path / entry.name)
                elif suffix_of(entry.name) in IMAGE_SUFFIXES:
                    num_photos += 1
    except OSError as error:
        raise ConfigError(f"The folder {path} cannot be read: {error.strerror}.") from error
    folders.sort(key=lambda folder: folder.name.casefold())
    return ListedFolder(path, tuple(folders[:MOST_FOLDERS]), num_photos)
