"""Backup and restore: one tar file with everything of a project that cannot be computed again, made during use.

It contains what a fresh machine needs to serve the project: a consistent copy of the database (with accounts, answers
in review, answers of vision-language models, vocabulary), settings, checkpoints, tuned and installed backbones, the
detector, word vectors (needed_files.py) and, unless excluded, features. Indexes and thumbnails are computed again. It
never contains photos. A manifest lists every file with its size and SHA-256; only
listed files are extracted. Knows nothing of servers.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from annotator import __version__
from annotator.errors import BackupError, ProjectError
from annotator.maintenance.archive_bounds import MAX_READ_BYTES, check_path, check_room, open_archive
from annotator.maintenance.needed_files import DIGESTS_FILE, MODELS, needed_files
from annotator.storage.correction_log import count_entries
from annotator.storage.database import Store
from annotator.storage.project import Project, open_private, settings_text, write_atomically
from annotator.storage.queries import utc_now
from annotator.storage.webhooks import Webhooks

FORMAT_VERSION = 2
MANIFEST = "backup.json"
DATABASE = "project.duckdb"
SETTINGS = "settings.json"
CHUNK = 1 << 20

ALLOWED = re.compile(r"project\.duckdb|settings\.json|(checkpoints|features|backbones|models)/[^\0]+")
"""Paths of the files of a backup."""


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
    left_out: tuple[str, ...] = ()
    """What the project needs, and its machine did not have, as sentences."""


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
        needed = needed_files(project)
        settings = replace(project.settings, tagger=needed.tagger)
        texts = {SETTINGS: settings_text(settings), **needed.texts}
        files = {**needed.files, **(dict(feature_files(project)) if with_features else {})}
        members = []
        with open_private(part) as file, tarfile.open(fileobj=file, mode="w") as archive:
            counts = _prepare(snapshot, needed.renamed)
            members.append(_add(archive, DATABASE, snapshot))
            for name, text in texts.items():
                members.append(_add_bytes(archive, name, text))
            for name, path in files.items():
                members.append(_add(archive, name, path))
            created_at = utc_now().isoformat(timespec="seconds") + "Z"
            manifest = Manifest(
                FORMAT_VERSION, __version__, created_at, *counts, tuple(members), tuple(needed.left_out)
            )
            _add_bytes(archive, MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.link(part, target)  # unlike a rename, this fails if the target exists
    except FileExistsError:
        raise BackupError(f"{target} exists already. Name a new file.") from None
    except OSError as error:
        of_file = f" ({error.filename})" if error.filename not in (None, str(target), str(part)) else ""
        raise BackupError(
            f"The backup {target} cannot be written: {error.strerror}{of_file}. Nothing was changed."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def feature_files(project: Project) -> Iterator[tuple[str, Path]]:
    """Yield (path in the project, file) of the features."""
    for path in sorted(project.features_path.rglob("*")):
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


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    archive.addfile(info, io.BytesIO(data))
    return Member(name, info.size, hashlib.sha256(data).hexdigest())


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


def _prepare(snapshot: Path, renamed: Mapping[str, str]) -> tuple[int, int, int]:
    """Give checkpoints from outside their name in the backup; return the numbers of images, saved lists and events."""
    store = Store(snapshot, keeps_copy=False)
    try:
        prepare(store, renamed)
        return store.images.count(), *count_entries(store)
    finally:
        store.close()


def prepare(store: Store, renamed: Mapping[str, str]) -> None:
    """Give checkpoints from outside the project their name inside a copy of it.

    Args:
        store: The copy of the database.
        renamed: As of `NeededFiles`.
    """
    with store.transaction() as cursor:
        for outside, inside in renamed.items():
            # An earlier checkpoint of that name keeps its row.
            cursor.execute(
                "UPDATE models SET name = ? WHERE name = ? AND NOT EXISTS (SELECT 1 FROM models WHERE name = ?)",
                [inside, outside, inside],
            )


def restore(source: Path, folder: Path) -> Manifest:
    """Create a project from a backup.

    Args:
        source: The backup.
        folder: The project's folder; must not exist, or be empty.

    Raises:
        BackupError: The backup is damaged, incomplete, or of a newer version; or the folder is not empty or cannot be
            written. The folder has not changed then.
    """
    return build_project(str(source), folder, lambda part: _unpack(source, part))


def build_project(source: str, folder: Path, unpack: Callable[[Path], Manifest]) -> Manifest:
    """Create a project of files that somebody else may have written; all of it, or nothing.

    Args:
        source: Where they come from, for messages.
        folder: The project's folder; must not exist, or be empty.
        unpack: Writes them into a folder and returns their list.

    Raises:
        BackupError: The files are damaged, or the folder is not empty or cannot be written. It has not changed then.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty. Name a new folder; nothing is overwritten.")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=0o700)
        manifest = unpack(part)
        manifest = replace(manifest, left_out=(*manifest.left_out, *_open_restored(part, manifest)))
        _note_models(part, manifest)
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


def _note_models(folder: Path, manifest: Manifest) -> None:
    """Write the SHA-256 of the models that the project brings along, for `annotator check`."""
    prefix = f"{MODELS}/"
    digests = {
        member.path.removeprefix(prefix): member.sha256 for member in manifest.members if member.path.startswith(prefix)
    }
    if digests:
        write_atomically(folder / MODELS / DIGESTS_FILE, json.dumps(digests, indent=1).encode())


def read_manifest(source: Path) -> Manifest:
    """Return the list of a backup.

    Raises:
        BackupError: The backup is damaged, or of a newer version.
    """
    try:
        with tarfile.open(source, "r:") as archive:
            return _read_manifest(archive, source)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BackupError(f"{source} is not a whole backup ({error}).") from error


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
        values["left_out"] = tuple(map(str, values.get("left_out", ())))
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
        if not ALLOWED.fullmatch(member.path):
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


def _open_restored(folder: Path, manifest: Manifest) -> list[str]:
    """Check that the database opens, and take its webhooks out: whoever made the backup may have given their addresses.

    Returns:
        What was taken out, as sentences.

    Raises:
        BackupError: The database does not open, or does not hold what the list says.
    """
    try:
        store = Store(folder / DATABASE, keeps_copy=False)  # the backup is the copy
    except ProjectError as error:
        raise BackupError(f"The backup's database does not open: {error}") from error
    try:
        _, num_events = count_entries(store)
        webhooks = Webhooks(store)
        urls = [webhook.url for webhook in webhooks.all()]
        for webhook in webhooks.all():
            webhooks.remove(webhook.webhook_id)
    finally:
        store.close()
    if num_events != manifest.num_events:
        raise BackupError(f"The backup's log holds {num_events:,} events, not the {manifest.num_events:,} of its list.")
    return [f"the webhook {url}; add it again with `annotator webhooks` if it is yours." for url in urls]
