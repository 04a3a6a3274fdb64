"""What `annotator ship` writes into a folder or an object store, and a project made of it again.

``pieces/SHA-256``: the content of files in pieces, each named by its digest, so that a piece that is cut or altered is
known, and none is written twice. ``manifest.json``: which pieces are the database's log, and which piece is the list of
all other files. Object stores rename nothing, so the manifest is what publishes: it is written last, as a whole. Until
then the pieces of an unfinished round are not used by anybody. Knows nothing of how a project is read while it changes.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from annotator import __version__
from annotator.datasets.folder_store import ObjectStore
from annotator.errors import BackupError, ProjectError, RemoteError
from annotator.maintenance.archive_bounds import check_path, check_room
from annotator.maintenance.backup import ALLOWED, DATABASE, FORMAT_VERSION, Manifest, Member, build_project, prepare
from annotator.storage.correction_log import count_entries, newest_event
from annotator.storage.database import Store
from annotator.storage.digested_json import with_digest, without_digest
from annotator.storage.event_digests import SELECTED, running_digests
from annotator.storage.project import open_private
from annotator.storage.queries import utc
from annotator.storage.write_ahead_log import log_path

FORMAT = "annotator-ship"
VERSION = 1
MANIFEST = "manifest.json"
PIECES = "pieces"
PIECE_BYTES = 4 << 20
"""Of every piece of a file but its last one."""
MAX_LIST_BYTES = 50_000_000
ATTEMPTS = 3
"""To read one manifest with all its pieces, while a newer one is shipped and the old pieces are deleted."""
HASH_LETTERS = 64


@dataclass(frozen=True)
class Shipped:
    """What a target holds."""

    number: int
    """Of the manifest, from 1."""
    ship_id: str
    """Of the process that wrote it."""
    annotator: str
    shipped_at: str
    """ISO 8601, UTC, by the clock of the machine that ships."""
    database_id: str
    """In hex; the same in every copy of the database file."""
    iteration: int
    """Number of checkpoints of the database file."""
    event_id: int
    """An event that is shipped, as are all before it; newer ones may be."""
    event_digest: str
    event_at: str
    files: str
    """The piece that lists the files."""
    files_bytes: int
    log: tuple[tuple[str, int], ...] = ()
    """(piece, its bytes) of the database's log, in order."""


@dataclass(frozen=True)
class FileList:
    """Every file but the log."""

    files: Mapping[str, tuple[int, tuple[str, ...]]]
    """Path in the project -> (bytes, pieces in order)."""
    renamed: Mapping[str, str]
    """Name of a checkpoint outside the project -> its name inside."""
    left_out: tuple[str, ...]
    """What the project needs, and its machine did not have, as sentences."""


def piece_path(digest: str) -> str:
    """Return the path of a piece in its target."""
    return f"{PIECES}/{digest}"


def digest_of(data: bytes) -> str:
    """Return the name of a piece."""
    return hashlib.sha256(data).hexdigest()


def manifest_text(shipped: Shipped) -> bytes:
    """Return the content of a manifest."""
    values = {"format": FORMAT, "version": VERSION, **asdict(shipped)}
    return json.dumps(with_digest(values), indent=1).encode()


def read_shipped(store: ObjectStore) -> Shipped | None:
    """Return what a target holds; None if nothing was shipped there.

    Raises:
        BackupError: The manifest is damaged, or of a newer version.
        RemoteError: The store does not answer, or refuses.
    """
    try:
        data = store.read(MANIFEST, MAX_LIST_BYTES)
    except RemoteError as error:
        if error.is_missing:
            return None
        raise
    return parse_manifest(data, str(store.url))


def parse_manifest(data: bytes, source: str) -> Shipped:
    """Return what a manifest says.

    Raises:
        BackupError: It is damaged, or of a newer version.
    """
    try:
        values, is_as_written = without_digest(json.loads(data))
        if values.pop("format") != FORMAT:
            raise ValueError("it is of another program")
        version = values.pop("version")
        if version > VERSION:
            raise BackupError(
                f"{source} has format {version}, newer than the {VERSION} this version of annotator knows. Update "
                "annotator to restore it."
            )
        values["log"] = tuple((str(digest), int(size)) for digest, size in values["log"])
        found = Shipped(**values)
        numbers = (found.number, found.iteration, found.event_id, found.files_bytes, *(size for _, size in found.log))
        if not is_as_written or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("it is not as it was written")
        for digest in (found.files, *(digest for digest, _ in found.log)):
            _check_name(digest)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BackupError(f"{source}/{MANIFEST} is not a whole manifest of `annotator ship` ({error}).") from error
    return found


def _check_name(digest: object) -> None:
    if not isinstance(digest, str) or len(digest) != HASH_LETTERS or set(digest) - set("0123456789abcdef"):
        raise ValueError("a name of a piece is none")


def files_text(files: FileList) -> bytes:
    """Return the content of the piece that lists the files."""
    return json.dumps(asdict(files), sort_keys=True).encode()


def read_files(store: ObjectStore, shipped: Shipped) -> FileList:
    """Return the list of files.

    Raises:
        BackupError: It is missing or altered, or names what no project has.
        RemoteError: The store does not answer, or refuses.
    """
    source = str(store.url)
    if shipped.files_bytes > MAX_LIST_BYTES:
        raise BackupError(f"{source} lists more files than any project has.")
    try:
        values = json.loads(read_piece(store, shipped.files, shipped.files_bytes))
        files = {str(path): (int(size), tuple(pieces)) for path, (size, pieces) in values["files"].items()}
        for size, pieces in files.values():
            if size < 0 or len(pieces) != -(-size // PIECE_BYTES):
                raise ValueError("a file has another number of pieces than its size says")
            for digest in pieces:
                _check_name(digest)
        renamed = {str(old): str(new) for old, new in values["renamed"].items()}
        found = FileList(files, renamed, tuple(map(str, values["left_out"])))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BackupError(
            f"{source} holds a list of files that no run of `annotator ship` writes ({error})."
        ) from error
    for path in files:
        check_path(path, source)
        if not ALLOWED.fullmatch(path):
            raise BackupError(f"{source} names a file that no project has: {path[:200]!r}.")
    if DATABASE not in files:
        raise BackupError(f"{source} holds no database.")
    return found


class DamagedPieceError(BackupError):
    """A piece is missing, cut short or altered."""


def read_piece(store: ObjectStore, digest: str, size: int) -> bytes:
    """Return a piece, which is read again once where it is not what was written: the answer may have been wrong.

    Raises:
        DamagedPieceError: It is missing, cut short or altered.
        RemoteError: The store does not answer, or refuses.
    """
    path = piece_path(digest)
    for _ in range(2):
        try:
            data = store.read(path, size)
        except RemoteError as error:
            if not error.is_missing:
                raise
            data = b""
        if len(data) == size and digest_of(data) == digest:
            return data
    raise DamagedPieceError(
        f"The piece {store.url}/{path} is missing, cut short or altered: it is not what was shipped. Nothing was "
        "restored."
    )


def restore_shipped(store: ObjectStore, folder: Path, *, before_damage: bool = False) -> tuple[Manifest, Shipped, str]:
    """Create a project from what was shipped, up to the last whole piece.

    Args:
        store: The target of `annotator ship`.
        folder: The project's folder; must not exist, or be empty.
        before_damage: Whether a damaged piece of the log ends the restored project before it; otherwise it is refused.

    Returns:
        What was restored, the manifest that was read, and up to where, as a clause.

    Raises:
        BackupError: A piece or the manifest is damaged or missing, or the folder is not empty or cannot be written. The
            folder has not changed then.
        RemoteError: The store does not answer, or refuses.
    """
    for attempt in range(ATTEMPTS):
        shipped = read_shipped(store)
        if shipped is None:
            raise BackupError(f"Nothing was shipped to {store.url}: it has no {MANIFEST}.")
        restoring = _Restoring(store, shipped, before_damage=before_damage)
        try:
            return build_project(str(store.url), folder, restoring.unpack), shipped, restoring.until
        except DamagedPieceError:
            newer = read_shipped(store)
            if attempt == ATTEMPTS - 1 or newer is None or newer.number == shipped.number:
                raise
    raise AssertionError("the last attempt returns or raises")


class _Restoring:
    """One attempt to restore.

    Args:
        store: The target.
        shipped: Its manifest.
        before_damage: As of `restore_shipped`.
    """

    def __init__(self, store: ObjectStore, shipped: Shipped, *, before_damage: bool) -> None:
        self._store, self._shipped, self._before_damage = store, shipped, before_damage
        self._is_cut = False
        self.until = ""
        """Up to where, as a clause."""

    def unpack(self, folder: Path) -> Manifest:
        """Write all files below a folder, and compare the database's events with their digests.

        Raises:
            BackupError: As of `restore_shipped`.
            OSError: The disk is full.
        """
        listed = read_files(self._store, self._shipped)
        num_log_bytes = sum(size for _, size in self._shipped.log)
        check_room(sum(size for size, _ in listed.files.values()) + num_log_bytes, folder, str(self._store.url))
        members = []
        for path, (size, pieces) in listed.files.items():
            digest = _write(folder / path, self._pieces(size, pieces))
            members.append(Member(path, size, digest))
        if self._shipped.log:
            _write(log_path(folder / DATABASE), self._log())
        counts = self._open(folder / DATABASE, listed.renamed)
        left_out = listed.left_out
        if self._is_cut:
            left_out = (*left_out, "what the log says after a piece that is damaged.")
        return Manifest(FORMAT_VERSION, __version__, self._shipped.shipped_at, *counts, tuple(members), left_out)

    def _pieces(self, size: int, pieces: tuple[str, ...]) -> Iterator[bytes]:
        for number, digest in enumerate(pieces):
            yield read_piece(self._store, digest, min(PIECE_BYTES, size - number * PIECE_BYTES))

    def _log(self) -> Iterator[bytes]:
        for digest, size in self._shipped.log:
            try:
                yield read_piece(self._store, digest, size)
            except DamagedPieceError as error:
                if not self._before_damage:
                    raise DamagedPieceError(f"{error} With --before-damage, all before it is restored.") from error
                self._is_cut = True
                return

    def _open(self, database: Path, renamed: Mapping[str, str]) -> tuple[int, int, int]:
        try:
            store = Store(database, keeps_copy=False)
        except ProjectError as error:
            raise BackupError(f"The shipped database does not open: {error}") from error
        try:
            prepare(store, renamed)
            self._check_events(store)
            newest_id, saved_at = newest_event(store)
            self.until = f"event {newest_id:,} of {utc(saved_at)}" if saved_at else "its beginning"
            return store.images.count(), *count_entries(store)
        finally:
            store.close()

    def _check_events(self, store: Store) -> None:
        rows = store.rows(f"SELECT {SELECTED}, digest FROM events ORDER BY event_id")
        if [row[-1] for row in rows] != list(running_digests(row[:-1] for row in rows)):
            raise BackupError(f"The events in {self._store.url} do not fit their digests. Nothing was restored.")
        known = {int(row[0]): row[-1] for row in rows}
        wanted, digest = self._shipped.event_id, self._shipped.event_digest
        if wanted and not self._is_cut and known.get(wanted) != digest:
            raise BackupError(
                f"{self._store.url} lacks event {wanted:,}, which its manifest names. Nothing was restored."
            )


def _write(path: Path, pieces: Iterator[bytes]) -> str:
    """Write a file; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open_private(path) as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
        _flush(file)
    return digest.hexdigest()


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
