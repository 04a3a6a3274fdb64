"""Ships a project into a folder or an object store, and then what is added to it, round by round (shipped.py).

The files are read from outside (storage/live_files.py), so that a server that has the project open does not wait. Of a
file that changed only the pieces that changed are written; of the database's log, what was added. A process that is
killed leaves the manifest as it was; the next one goes on with the pieces that are there.
"""

import math
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from annotator import __version__
from annotator.datasets.folder_store import UNFINISHED, FolderStore, ObjectStore
from annotator.errors import BackupError, ConfigError, RemoteError, StoreError
from annotator.maintenance.backup import DATABASE, SETTINGS, feature_files
from annotator.maintenance.needed_files import NeededFiles, needed_files
from annotator.maintenance.shipped import (
    HASH_LETTERS,
    MANIFEST,
    MAX_LIST_BYTES,
    PIECE_BYTES,
    PIECES,
    FileList,
    Shipped,
    digest_of,
    files_text,
    manifest_text,
    parse_manifest,
    piece_path,
    read_files,
)
from annotator.storage.database import Store
from annotator.storage.live_files import Moment, at_one_moment, copy_at_one_moment, whole_log
from annotator.storage.project import Project, settings_text
from annotator.storage.queries import utc_now

MOST_LOG_PIECES = 50
"""More are joined into pieces of full size."""
READ_AGAIN = 8
"""Pieces at the end of a feature file that are read again when it grows: its last rows may be overwritten."""
KEPT_SECONDS = 600.0
"""How long pieces stay that no manifest names any more, for a restore that has begun."""


@dataclass(frozen=True)
class _Known:
    """A file as it was read last."""

    file_id: int
    num_bytes: int
    modified_ns: int
    pieces: tuple[str, ...]


class Shipping:
    """Ships one project into one target.

    Args:
        folder: The project's folder; the project may be in use, but not by this process.
        store: The target.
        with_features: Whether features are shipped. Otherwise they are computed again from the photos.

    Raises:
        BackupError: The target holds another project, newer events than this one, or a damaged manifest.
        ConfigError: The target lies in the project.
        RemoteError: The target does not answer, or refuses.
    """

    def __init__(self, folder: Path, store: ObjectStore, *, with_features: bool = True) -> None:
        if isinstance(store, FolderStore) and store.url.is_relative_to(folder.resolve()):
            raise ConfigError(f"{store.url} lies in the project. Name a place that is not lost with it.")
        self._folder, self._store, self._with_features = folder, store, with_features
        self._database = folder / DATABASE
        self._ship_id = secrets.token_hex(8)
        self._text = self._read_manifest()
        """The manifest that is there."""
        self._attempt = b""
        """The manifest that was written last; whether it arrived may not be known."""
        self._last = parse_manifest(self._text, str(store.url)) if self._text is not None else None
        self._listed = FileList({}, {}, ())
        self._there = self._list_pieces()
        """Piece -> its bytes."""
        self._left_over = self._there.keys() - _used_by(store, self._last)
        self._unused: dict[str, float] = {}
        """Piece -> when no manifest named it any more, by the clock of this process."""
        self._files: dict[str, _Known] = {}
        self._needed: tuple[tuple[int, ...], NeededFiles, Project] | None = None
        self._is_checked = self._last is None
        """Whether the project is known to go on from what the target holds."""

    def ship(self, *, renews: bool = False) -> Shipped | None:
        """Ship what is new; return what the target holds then, or None if nothing is new.

        Args:
            renews: Whether the manifest is written anew also where nothing is new, so that it tells how old it is.

        Raises:
            BackupError: The target holds another project or newer events, or another process ships there too.
            RemoteError: The target does not answer, refuses, or does not keep what is written.
            StoreError: The project cannot be read.
        """
        if not self._is_checked:
            self._check_history()
            self._is_checked = True
        taken = at_one_moment(self._database, self._take)
        if not renews and self._last is not None and _content(taken) == _content(self._last):
            self._clean()
            return None
        self._publish(taken)
        self._clean()
        return taken

    def _take(self, moment: Moment) -> Shipped:
        log, note = whole_log(self._database, moment.state)
        event = (note.event_id, note.digest, note.written_at) if note is not None else (0, "", "")
        self._refuse_older(moment, event[0])
        database = self._pieces_of(DATABASE, self._database)
        listed = self._list_files(database)
        text = files_text(listed)
        self._listed = listed
        if len(text) > MAX_LIST_BYTES:
            raise BackupError(f"The list of the project's files has {len(text):,} bytes, more than is read again.")
        last = self._last
        return Shipped(
            number=last.number + 1 if last is not None else 1,
            ship_id=self._ship_id,
            annotator=__version__,
            shipped_at=f"{utc_now().isoformat(timespec='seconds')}Z",
            database_id=moment.state.database_id.hex(),
            iteration=moment.state.iteration,
            event_id=event[0],
            event_digest=event[1],
            event_at=event[2],
            files=self._put(text),
            files_bytes=len(text),
            log=self._log_pieces(moment, log),
        )

    def _check_history(self) -> None:
        """Refuse a project that has other events than the target: it was restored, and both were saved in since."""
        last = self._last
        assert last is not None
        if not last.event_digest or at_one_moment(self._database, self._goes_on):
            return
        with TemporaryDirectory(prefix="annotator-") as name:
            store = Store(copy_at_one_moment(self._database, Path(name)), keeps_copy=False)
            try:
                rows = store.rows("SELECT digest FROM events WHERE event_id = ?", [last.event_id])
            finally:
                store.close()
        if rows and rows[0][0] != last.event_digest:
            raise BackupError(
                f"{self._store.url} holds another event {last.event_id:,} than this project: both are copies of one "
                "project, and people have saved in both since. Name another target; nothing was written."
            )

    def _goes_on(self, moment: Moment) -> bool:
        """Tell whether the database's log begins with the one that was shipped, or the file is another project's."""
        last = self._last
        assert last is not None
        if last.database_id != moment.state.database_id.hex():
            return True  # refused by `_refuse_older`
        if last.iteration != moment.state.iteration:
            return False
        log, _ = whole_log(self._database, moment.state)
        place = 0
        for name, size in last.log:
            if digest_of(log[place : place + size]) != name:
                return False
            place += size
        return bool(last.log)

    def _refuse_older(self, moment: Moment, event_id: int) -> None:
        last = self._last
        if last is None:
            return
        if last.database_id != moment.state.database_id.hex():
            raise BackupError(f"{self._store.url} holds another project. Name another target; nothing was written.")
        if last.event_id > event_id:
            raise BackupError(
                f"{self._store.url} holds event {last.event_id:,}, but the newest of this project is {event_id:,}: it "
                "was set back, or lost something. Restore the target into a new folder, or name another target; "
                "nothing was written."
            )

    # Pieces

    def _list_pieces(self) -> dict[str, int]:
        """Return the pieces that are there, with their sizes; delete what a killed process has not finished."""
        try:
            found = self._store.list_folder(PIECES)
        except RemoteError as error:
            if error.is_missing:
                return {}
            raise
        for file in found:
            if file.name.endswith(UNFINISHED):
                self._store.delete(piece_path(file.name))
        return {file.name: file.size for file in found if len(file.name) == HASH_LETTERS}

    def _put(self, data: bytes) -> str:
        """Write a piece unless it is there; return its name.

        Raises:
            RemoteError: As of `ship`.
        """
        name = digest_of(data)
        if self._there.get(name) != len(data):
            self._store.write(piece_path(name), data)
            size = self._store.size_of(piece_path(name))
            if size != len(data):
                raise RemoteError(f"{self._store.url} keeps {size or 0:,} bytes of a piece of {len(data):,}.")
            self._there[name] = len(data)
        self._unused.pop(name, None)
        return name

    def _log_pieces(self, moment: Moment, log: bytes) -> tuple[tuple[str, int], ...]:
        last = self._last
        pieces = last.log if last is not None and last.iteration == moment.state.iteration else ()
        place = 0
        for number, (name, size) in enumerate(pieces):
            if digest_of(log[place : place + size]) != name:
                pieces = pieces[:number]  # the rest is a commit that failed on a full disk, and was never answered
                break
            place += size
        if len(pieces) >= MOST_LOG_PIECES:
            pieces, place = (), 0
        added = (log[place + at : place + at + PIECE_BYTES] for at in _starts(len(log) - place))
        return (*pieces, *((self._put(data), len(data)) for data in added))

    def _pieces_of(self, name: str, path: Path) -> tuple[int, tuple[str, ...]]:
        """Return size and pieces of a file; only what may have changed since it was read last is read."""
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            known = self._files.get(name)
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if known is not None and (known.file_id, known.num_bytes, known.modified_ns) == seen:
                return known.num_bytes, known.pieces
            pieces: list[str] = []
            if known is not None and name.startswith("features/") and known.file_id == status.st_ino:
                pieces += known.pieces[: max(0, len(known.pieces) - READ_AGAIN)]
            file.seek(len(pieces) * PIECE_BYTES)
            left = status.st_size - file.tell()
            while left > 0:
                data = file.read(min(PIECE_BYTES, left))
                if not data:
                    raise StoreError(f"{path} was cut while it was read. Try again.")
                pieces.append(self._put(data))
                left -= len(data)
        self._files[name] = _Known(*seen, tuple(pieces))
        return status.st_size, tuple(pieces)

    # Files

    def _list_files(self, database: tuple[int, tuple[str, ...]]) -> FileList:
        needed, project = self._needed_files()
        files = {DATABASE: database}
        settings = replace(project.settings, tagger=needed.tagger)
        for name, text in {SETTINGS: settings_text(settings), **needed.texts}.items():
            files[name] = (len(text), tuple(self._put(text[at : at + PIECE_BYTES]) for at in _starts(len(text))))
        paths = {**needed.files, **(dict(feature_files(project)) if self._with_features else {})}
        for name, path in paths.items():
            try:
                files[name] = self._pieces_of(name, path)
            except FileNotFoundError as error:
                self._needed = None  # a checkpoint was deleted since the list was made
                raise StoreError(f"{path} was deleted while it was read. Try again.") from error
            except OSError as error:
                raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
        return FileList(files, needed.renamed, tuple(needed.left_out))

    def _needed_files(self) -> tuple[NeededFiles, Project]:
        """Return the files beside the database and the features; looked for again where a folder has changed."""
        places = [self._folder / name for name in (SETTINGS, "checkpoints", "backbones", "models")]
        seen = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in places)
        if self._needed is None or self._needed[0] != seen:
            project = Project.open(self._folder)
            self._needed = seen, needed_files(project), project
        return self._needed[1], self._needed[2]

    # Publication

    def _publish(self, shipped: Shipped) -> None:
        current = self._read_manifest()
        if current != self._text:
            if current is None or current != self._attempt:
                raise BackupError(
                    f"Another process ships to {self._store.url} too, so this one ends. Nothing was overwritten."
                )
            # The last one arrived, though the store has not said so.
            shipped = replace(shipped, number=parse_manifest(current, str(self._store.url)).number + 1)
        self._attempt = manifest_text(shipped)
        self._store.write(MANIFEST, self._attempt)
        if self._read_manifest() != self._attempt:
            raise RemoteError(f"{self._store.url} does not answer with the manifest that was written to it.")
        self._text, self._last = self._attempt, shipped

    def _read_manifest(self) -> bytes | None:
        try:
            return self._store.read(MANIFEST, MAX_LIST_BYTES)
        except RemoteError as error:
            if error.is_missing:
                return None
            raise

    def _clean(self) -> None:
        """Delete the pieces that no manifest has named for a while, and those that none named before this process."""
        assert self._last is not None
        used = {self._last.files, *(name for name, _ in self._last.log)}
        used.update(*(pieces for _, pieces in self._listed.files.values()))
        now = time.monotonic()
        for name in self._there.keys() - used:
            self._unused.setdefault(name, now)
        for name in self._left_over - used:
            self._unused[name] = -math.inf
        self._left_over = set()
        for name in [name for name, since in self._unused.items() if now - since > KEPT_SECONDS]:
            self._store.delete(piece_path(name))
            del self._unused[name], self._there[name]


def _used_by(store: ObjectStore, shipped: Shipped | None) -> set[str]:
    """Return the pieces that a manifest names, as far as they can be read."""
    if shipped is None:
        return set()
    used = {shipped.files, *(name for name, _ in shipped.log)}
    with suppress(BackupError):
        used.update(*(pieces for _, pieces in read_files(store, shipped).files.values()))
    return used


def _content(shipped: Shipped) -> tuple[object, ...]:
    return shipped.database_id, shipped.iteration, shipped.files, shipped.log


def _starts(num_bytes: int) -> range:
    """Return where the pieces of a file begin."""
    return range(0, num_bytes, PIECE_BYTES)
