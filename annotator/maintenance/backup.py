"""Backup and restore: one tar file with everything of a project that cannot be computed again, made during use.

It contains a consistent copy of the database, settings, checkpoints and (unless excluded) features; indexes and
thumbnails are computed again. It never contains photos. A manifest lists every file with its size and SHA-256; only
listed files are extracted. Knows nothing of servers.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from annotator import __version__
from annotator.errors import BackupError, ProjectError
from annotator.maintenance.archive_bounds import MAX_READ_BYTES, check_path, check_room, open_archive
from annotator.storage.correction_log import count_entries
from annotator.storage.database import Store
from annotator.storage.project import Project, open_private
from annotator.storage.queries import utc_now

FORMAT_VERSION = 1
MANIFEST = "backup.json"
DATABASE = "project.duckdb"
CHUNK = 1 << 20

_ALLOWED = re.compile(r"project\.duckdb|settings\.json|(checkpoints|features)/[^\0]+")


@dataclass(frozen=True)
class Member:
    """One file of a backup."""

    path: str
    """Relative to the project, with slashes."""
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of a backup."""

    format_version: int
    annotator: str
    created_at: str
    """ISO 8601, UTC."""
    num_images: int
    num_saved: int
    num_events: int
    members: tuple[Member, ...]


def back_up(project: Project, snapshot: Path, target: Path, *, with_features: bool = True) -> Manifest:
    """Write a backup; after a crash there is a complete one or none.

    Args:
        project: The project; it may be in use.
        snapshot: A consistent copy of its database (`Store.copy_to`).
        target: The file to write; must not exist.
        with_features: Whether features are included. Otherwise they are computed again from the photos.

    Raises:
        BackupError: The file exists already or cannot be written.
    """
    if target.exists():
        raise BackupError(f"{target} exists already. Name a new file.")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        files = {DATABASE: snapshot, **dict(_files(project, with_features))}
        members = []
        with open_private(part) as file, tarfile.open(fileobj=file, mode="w") as archive:
            for name, path in files.items():
                members.append(_add(archive, name, path))
            manifest = _manifest(snapshot, tuple(members))
            _add_bytes(archive, MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.link(part, target)  # unlike a rename, this fails if the target exists
    except FileExistsError:
        raise BackupError(f"{target} exists already. Name a new file.") from None
    except OSError as error:
        raise BackupError(f"The backup {target} cannot be written: {error.strerror}. Nothing was changed.") from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _files(project: Project, with_features: bool) -> Iterator[tuple[str, Path]]:
    if project.settings_path.is_file():
        yield "settings.json", project.settings_path
    for folder in [project.checkpoints_path, *([project.features_path] if with_features else [])]:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield path.relative_to(project.folder).as_posix(), path


def _add(archive: tarfile.TarFile, name: str, path: Path) -> Member:
    """Add a file at its current size: a feature file may grow while it is read."""
    with open(path, "rb") as file:
        info = tarfile.TarInfo(name)
        info.size = os.fstat(file.fileno()).st_size
        info.mode = 0o600
        reader = _Hashing(file, info.size)
        archive.addfile(info, reader)  # type: ignore[arg-type]
    return Member(name, info.size, reader.digest.hexdigest())


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    archive.addfile(info, io.BytesIO(data))


class _Hashing:
    """Reads a number of bytes of a file and hashes them."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._num_left = file, size
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._num_left))
        self._num_left -= len(data)
        self.digest.update(data)
        return data


def _manifest(snapshot: Path, members: tuple[Member, ...]) -> Manifest:
    store = Store(snapshot)
    try:
        num_images, (num_saved, num_events) = store.images.count(), count_entries(store)
    finally:
        store.close()
    created_at = utc_now().isoformat(timespec="seconds") + "Z"
    return Manifest(FORMAT_VERSION, __version__, created_at, num_images, num_saved, num_events, members)


def restore(source: Path, folder: Path) -> Manifest:
    """Create a project from a backup.

    Args:
        source: The backup.
        folder: The project's folder; must not exist, or be empty.

    Raises:
        BackupError: The backup is damaged, incomplete, or of a newer version; or the folder is not empty or cannot be
            written. The folder has not changed then.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty. Name a new folder; nothing is overwritten.")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=0o700)
        manifest = _unpack(source, part)
        _check_opens(part, manifest)
        for name in ("features", "indexes", "thumbnails", "checkpoints"):
            (part / name).mkdir(exist_ok=True)
        if folder.exists():
            folder.rmdir()
        os.rename(part, folder)
    except OSError as error:
        raise BackupError(f"{source} cannot be restored to {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _unpack(source: Path, folder: Path) -> Manifest:
    with open_archive(source) as (archive, infos):
        manifest = _read_manifest(archive, source)
        wanted = {member.path: member for member in manifest.members}
        found: dict[str, tarfile.TarInfo] = {}
        for info in infos:
            if info.name == MANIFEST:
                continue
            member = wanted.get(info.name)
            if member is None or info.name in found or info.size != member.size:
                raise BackupError(f"The backup {source} holds {info.name[:99]!r}, which its list does not name so.")
            found[info.name] = info
        missing = sorted(wanted.keys() - found.keys())
        if missing:
            raise BackupError(f"The backup {source} lacks {missing[0]!r}.")
        check_room(sum(info.size for info in found.values()), folder, source)
        for name, info in found.items():
            _extract(archive, info, wanted[name], folder, source)
    return manifest


def _read_manifest(archive: tarfile.TarFile, source: Path) -> Manifest:
    try:
        info = archive.getmember(MANIFEST)
        file = archive.extractfile(info)
        if file is None or info.size > MAX_READ_BYTES:
            raise ValueError("its list is too long")
        values = json.loads(file.read())
        if values["format_version"] > FORMAT_VERSION:
            raise BackupError(
                f"The backup {source} has format {values['format_version']}, newer than the {FORMAT_VERSION} this "
                "version of annotator knows. Update annotator to restore it."
            )
        members = tuple(Member(**member) for member in values.pop("members"))
        manifest = Manifest(**values, members=members)
        _check_numbers(manifest)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BackupError(f"{source} is not a whole backup of a project ({error}).") from error
    for member in members:
        check_path(member.path, source)
        if not _ALLOWED.fullmatch(member.path):
            raise BackupError(f"The backup {source} names a file that no project has: {member.path[:200]!r}.")
    if DATABASE not in {member.path for member in members}:
        raise BackupError(f"The backup {source} holds no database.")
    return manifest


def _check_numbers(manifest: Manifest) -> None:
    numbers = (manifest.num_images, manifest.num_saved, manifest.num_events, *(each.size for each in manifest.members))
    texts = (manifest.annotator, manifest.created_at, *(each.path for each in manifest.members))
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a number of its list is none")
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("a text of its list cannot be shown")


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo, member: Member, folder: Path, source: Path) -> None:
    target = folder / member.path
    target.parent.mkdir(parents=True, exist_ok=True)
    file = archive.extractfile(info)
    assert file is not None  # a regular file
    digest = hashlib.sha256()
    with file, open_private(target) as out:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != member.sha256:
        raise BackupError(f"The backup {source} is damaged: {member.path!r} has another hash than its list says.")


def _check_opens(folder: Path, manifest: Manifest) -> None:
    try:
        store = Store(folder / DATABASE, keeps_copy=False)  # the backup is the copy
    except ProjectError as error:
        raise BackupError(f"The backup's database does not open: {error}") from error
    try:
        _, num_events = count_entries(store)
    finally:
        store.close()
    if num_events != manifest.num_events:
        raise BackupError(f"The backup's log holds {num_events:,} events, not the {manifest.num_events:,} of its list.")
