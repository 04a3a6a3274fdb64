"""Where a project's folder lies, and who writes there: what an operator can get wrong.

Knows nothing of what is in a project.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2", "beegfs", "9p",
        "virtiofs", "davfs", "sshfs", "s3fs", "rclone", "gcsfuse", "blobfuse", "mountpoint-s3", "juicefs", "seaweedfs",
    }
)  # fmt: skip
"""File systems that several machines can have mounted, without the prefix ``fuse.``."""
LEAST_FREE_BYTES = 1_000_000_000
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Placement:
    """Where a folder lies."""

    file_system: str
    """Its type, such as ext4; empty where the system does not tell."""
    free_bytes: int
    is_held: bool
    """Whether a process serves the project."""
    problems: tuple[str, ...]
    """Sentences."""


def examine_placement(folder: Path, mounts: str | None = None) -> Placement:
    """Return where a project's folder lies, and what is wrong with that.

    Args:
        folder: An existing folder.
        mounts: The text of /proc/self/mountinfo; None reads it, where there is one.
    """
    folder = folder.resolve()
    if mounts is None:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace") if MOUNTS.exists() else ""
    kind = file_system_of(folder, mounts)
    free = shutil.disk_usage(folder).free
    problems = []
    if kind.removeprefix("fuse.") in NETWORK_TYPES:
        problems.append(
            f"{folder} lies on a network file system ({kind}), where the lock that keeps a second server out may not "
            "hold, and a flush may not reach a disk. Put the project on a local disk; photos may stay where they are."
        )
    if kind == "overlay":
        problems.append(f"{folder} lies in a container's own layer and is lost with it. Put the project on a volume.")
    if kind in ("tmpfs", "ramfs"):
        problems.append(f"{folder} lies in memory ({kind}) and is lost when the machine or container ends.")
    if free < LEAST_FREE_BYTES:
        problems.append(f"The disk of {folder} has {free / 1e9:.2f} GB left. Free some space.")
    return Placement(kind, free, is_held(folder), tuple(problems))


def file_system_of(folder: Path, mounts: str) -> str:
    """Return the type of the file system of a folder; empty if no mount holds it.

    Args:
        folder: An absolute path without links.
        mounts: Lines of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    """
    found: tuple[int, str] = (-1, "")
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if not rest:
            continue
        point = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4]))
        if folder.is_relative_to(point):
            found = max(found, (len(point.parts), rest.split(" ")[0]), key=lambda item: item[0])
    return found[1]


def is_held(folder: Path) -> bool:
    """Return whether a process of this machine serves the project (storage/private_files.py)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def writer_problems(folder: Path, noted: Mapping[str, object] | None, *, is_served: bool, held: bool) -> list[str]:
    """Return what is wrong with who writes a project.

    Args:
        folder: The project.
        noted: What server.json says; None without that file.
        is_served: Whether the server that it names answers, and serves this folder.
        held: Whether a process of this machine holds the project.
    """
    if is_served and not held:
        return [
            f"A server answers for {folder}, but no lock is held on the folder: it runs on another machine or in "
            "another container, where locks are not seen. A second server would not be refused; start none."
        ]
    if held and noted is None:
        return [f"A process holds {folder}, but no server has noted its address there: it is just starting or ending."]
    if noted is not None and not is_served and held:
        return [f"A process holds {folder}, but the server that server.json names does not answer."]
    return []
