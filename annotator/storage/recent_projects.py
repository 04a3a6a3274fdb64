"""The projects that a person has opened on this machine, the newest first, in the person's state folder.

The file is its owner's alone. Projects that are no longer there are left out, and forgotten at the next change. Knows
nothing of servers.
"""

import fcntl
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from annotator.datasets.photo_roots import PhotoRoot
from annotator.storage.project import is_project, write_atomically
from annotator.storage.queries import utc_now

logger = logging.getLogger(__name__)

MOST_PROJECTS = 20
"""Projects that are remembered."""
_VERSION = 1


@dataclass(frozen=True)
class RecentProject:
    """A project that was opened."""

    folder: str
    """The project's folder, in full."""
    name: str
    photos: list[str]
    """Its folders of photos, in full."""
    opened_at: str
    """ISO 8601 in UTC."""


def recent_path() -> Path:
    """Return the file with the projects, in the user's state folder."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "annotator" / "recent_projects.json"


def recent_projects() -> list[RecentProject]:
    """Return the projects that were opened and are still there, the newest first; none if the file is damaged."""
    return [project for project in _read(recent_path()) if is_project(Path(project.folder))]


def note_opened(folder: Path, name: str, photos: Sequence[PhotoRoot]) -> None:
    """Put a project first.

    Args:
        folder: The project's folder, in full.
        name: What the page calls it.
        photos: Its folders of photos, in full.

    Raises:
        OSError: The file cannot be written.
    """
    path = recent_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = RecentProject(str(folder), name, [str(one) for one in photos], f"{utc_now().isoformat()}Z")
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # two servers may start at once
        others = [project for project in recent_projects() if project.folder != opened.folder]
        projects = [asdict(project) for project in [opened, *others][:MOST_PROJECTS]]
        text = json.dumps({"version": _VERSION, "projects": projects}, indent=1)
        write_atomically(path, text.encode(), mode=0o600, exact=True)
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[RecentProject]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        projects = [RecentProject(**one) for one in stored["projects"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("The recent projects in %s cannot be read (%s); they are begun anew.", path, error)
        return []
    return [project for project in projects if isinstance(project.folder, str) and isinstance(project.photos, list)]
