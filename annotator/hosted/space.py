"""One space of the hosted demo: its state, its files, and how they are read and deleted.

Knows nothing of the other spaces.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from annotator.storage.project import write_atomically

SPACE_FILE = "space.json"
_SPACE_NAME = re.compile(r"space-[0-9a-f]{16}")
_DELETED = "deleted-"


class Opened(Protocol):
    """The content of a space in memory."""

    def close(self) -> None:
        """Store everything and free the memory."""
        ...


O = TypeVar("O", bound=Opened)  # noqa: E741 - short for an opened space


@dataclass
class Space(Generic[O]):
    """One visitor's space."""

    space_id: str
    folder: Path
    digest: str
    """SHA-256 of the session id, which itself is stored in the visitor's browser only."""
    created_at: float
    """Seconds since 1970, like all times here, since they are stored across restarts."""
    seen_at: float
    address: str = ""
    """Salted hash of the visitor's address, stored so that the limit for an address holds across restarts."""
    opened: O | None = None
    used_at: float = 0.0
    num_users: int = 0
    """Calls and trainings that use it now; it is not closed during them."""
    is_changing: bool = False
    """Whether it is being opened or closed."""
    is_over: bool = False
    is_full: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while its photos are counted and added."""
    num_arriving: int = 0
    """Uploads with a reserved place."""
    remembered: dict[str, Any] = field(default_factory=dict)
    """Answers that stay valid while it is closed."""

    @property
    def photos_path(self) -> Path:
        """Folder of its photos."""
        return self.folder / "photos"

    @property
    def project_path(self) -> Path:
        """Folder of its project."""
        return self.folder / "project"

    def num_bytes(self) -> int:
        """Return the size of all its files."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def write(self) -> None:
        """Create the folder, and store in it what a restart needs.

        Raises:
            OSError: It cannot be written.
        """
        self.photos_path.mkdir(parents=True)
        values = {"digest": self.digest, "created_at": self.created_at, "address": self.address}
        write_atomically(self.folder / SPACE_FILE, json.dumps(values).encode(), mode=0o600)


def read_space(folder: Path, now: float) -> Space[Any] | None:
    """Return the space in a folder; None if there is none, or one that was not completely written or deleted."""
    if not _SPACE_NAME.fullmatch(folder.name):
        return None
    try:
        values = json.loads((folder / SPACE_FILE).read_text(encoding="utf-8"))
        created_at = min(float(values["created_at"]), now)  # a clock that was set back must not extend the time
        return Space(folder.name, folder, str(values["digest"]), created_at, now, str(values.get("address", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest_of(session_id: str) -> str:
    """Return the SHA-256 of a session id."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def delete_folder(folder: Path) -> None:
    """Delete a folder; it is renamed first, so that a crash leaves nothing that looks like a space."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    target = folder
    if not folder.name.startswith(_DELETED):
        target = folder.with_name(f"{_DELETED}{secrets.token_hex(8)}")
        folder.replace(target)
    shutil.rmtree(target)
