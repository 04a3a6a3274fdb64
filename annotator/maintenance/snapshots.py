"""Snapshots of a project that are read without it: Parquet tables in a folder or an object store.

``NUMBER/`` holds the tables of one snapshot (storage/snapshot_tables.py), ``report.json`` and ``snapshot.json``, which
is written after them; ``manifest.json`` is the newest ``snapshot.json`` and is written last, as a whole: whoever begins
with it reads tables of one moment. Knows nothing of what is reported.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from annotator import __version__
from annotator.datasets.folder_store import ObjectStore
from annotator.errors import BackupError, RemoteError, StoreError
from annotator.maintenance.archive_bounds import check_room
from annotator.storage.correction_log import count_entries, newest_event
from annotator.storage.database import Store
from annotator.storage.digested_json import with_digest, without_digest
from annotator.storage.live_files import copy_at_one_moment
from annotator.storage.project import Project
from annotator.storage.queries import utc, utc_now
from annotator.storage.snapshot_tables import TABLES, file_of, load_tables, missing_tables, write_tables
from annotator.storage.write_ahead_log import read_database

FORMAT = "annotator-snapshot"
VERSION = 1
MANIFEST = "manifest.json"
ABOUT = "snapshot.json"
REPORT = "report.json"
MAX_ABOUT_BYTES = 1_000_000
ATTEMPTS = 3
"""To read the newest snapshot, while older ones are deleted."""
LEAST_KEPT = 2
"""Whoever reads the one before the newest can end that."""


@dataclass(frozen=True)
class About:
    """One snapshot."""

    number: int
    folder: str
    """Of its tables, below the target."""
    project: str
    """Name."""
    database_id: str
    """In hex; the same in every snapshot of a project."""
    annotator: str
    made_at: str
    """ISO 8601, UTC, by the clock of the machine that made it."""
    checked_at: str
    """When the project was looked at last and had nothing newer."""
    event_id: int
    """The newest event; every one before it is in the snapshot."""
    event_digest: str
    event_at: str
    """When it was saved; empty without one."""
    num_photos: int
    num_saved: int
    with_folders: bool
    """Whether the paths of the photo folders are in it."""
    vocabulary: str
    """How the project uses its vocabulary: extend, restrict, or empty."""
    gold_share: float
    """Share of the photos that no model of the project is trained on."""
    files: Mapping[str, tuple[int, str]]
    """File of the folder -> (bytes, SHA-256)."""
    kept: tuple[int, ...]
    """Numbers of the snapshots that are there, the newest first."""


def about_text(about: About) -> bytes:
    """Return the content of a manifest."""
    return json.dumps(with_digest({"format": FORMAT, "version": VERSION, **asdict(about)}), indent=1).encode()


def parse_about(data: bytes, source: str) -> About:
    """Return what a manifest says.

    Raises:
        BackupError: It is damaged, of a newer version, or of something else.
    """
    try:
        values, is_as_written = without_digest(json.loads(data))
        if values.pop("format") != FORMAT:
            raise ValueError("it is of something else")
        version = values.pop("version")
        if version > VERSION:
            raise BackupError(
                f"{source} has format {version}, newer than the {VERSION} this version of annotator knows. Update "
                "annotator to read it."
            )
        values["files"] = {str(name): (int(size), str(digest)) for name, (size, digest) in values["files"].items()}
        values["kept"] = tuple(map(int, values["kept"]))
        found = About(**values)
        missing = [*missing_tables(found.files), *({REPORT} - found.files.keys())]
        numbers = (found.number, found.event_id, *(size for size, _ in found.files.values()))
        if not is_as_written or missing or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("it is not as it was written")
        if not isinstance(found.gold_share, float) or not 0 <= found.gold_share < 1:
            raise ValueError("a share is none")
        if found.folder != folder_of(found.number) or any("/" in name or ".." in name for name in found.files):
            raise ValueError("it names what no snapshot has")
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BackupError(f"{source} is not a whole manifest of `annotator snapshot` ({error}).") from error
    return found


def folder_of(number: int) -> str:
    """Return the folder of a snapshot."""
    return f"{number:06}"


class Publisher:
    """Publishes snapshots of one project.

    Args:
        project: The project; it may be in use, but not by this process.
        store: The target.
        report: Makes the report of a database, as JSON values.
        num_kept: Snapshots that stay.
        with_folders: Whether the paths of the photo folders are published.

    Raises:
        BackupError: The target holds snapshots of another project, or a damaged manifest.
        RemoteError: The target does not answer, or refuses.
    """

    def __init__(
        self,
        project: Project,
        store: ObjectStore,
        report: Callable[[Store], Any],
        *,
        num_kept: int,
        with_folders: bool = False,
    ) -> None:
        self._project, self._store, self._report = project, store, report
        self._num_kept, self._with_folders = max(num_kept, LEAST_KEPT), with_folders
        self._text = self._read()
        self._found = self._list_numbers()
        """Snapshots that were there at the start, also those that were not finished."""
        self._attempt: bytes | None = None
        """The manifest that was written last; whether it arrived may not be known."""
        self._last = parse_about(self._text, f"{store.url}/{MANIFEST}") if self._text is not None else None

    def publish(self) -> About:
        """Publish the project as it is now; where nothing has changed, only that this is so.

        Raises:
            BackupError: The target holds snapshots of another project, or another process publishes there too.
            RemoteError: The target does not answer, refuses, or does not keep what is written.
            StoreError: The project cannot be read, or there is no room for a copy of its database.
        """
        with tempfile.TemporaryDirectory(prefix="annotator-") as name:
            about, files = self._make(Path(name))
            last = self._last
            if last is not None and last.database_id != about.database_id:
                raise BackupError(
                    f"{self._store.url} holds snapshots of another project. Name another target; nothing was written."
                )
            if last is not None and _content(last) == _content(about):
                about = replace(last, checked_at=about.made_at)
            else:
                self._put_all(about, files)
            self._put_manifest(about)
        there = {*self._found, *(last.kept if last is not None else ())}
        self._delete(sorted(there - set(about.kept)))
        self._found = set()
        return about

    def _make(self, folder: Path) -> tuple[About, dict[str, Path]]:
        database = copy_at_one_moment(self._project.database_path, folder)
        state = read_database(database)
        assert state is not None  # it was read while it was copied
        copy = Store(database, keeps_copy=False)
        try:
            write_tables(copy, folder, with_folders=self._with_folders)
            (folder / REPORT).write_text(json.dumps(self._report(copy), ensure_ascii=False, indent=1), encoding="utf-8")
            event_id, saved_at = newest_event(copy)
            digest = copy.rows("SELECT digest FROM events WHERE event_id = ?", [event_id])
            num_photos, (num_saved, _) = copy.images.count(), count_entries(copy)
        except OSError as error:
            raise StoreError(f"The snapshot cannot be written to {folder}: {error.strerror}.") from error
        finally:
            copy.close()
        files = {name: folder / name for name in (*map(file_of, TABLES), REPORT)}
        now, last = utc(utc_now()), self._last
        number = last.number + 1 if last is not None else 1
        about = About(
            number=number,
            folder=folder_of(number),
            project=self._project.settings.name,
            database_id=state.database_id.hex(),
            annotator=__version__,
            made_at=now,
            checked_at=now,
            event_id=event_id,
            event_digest=str(digest[0][0]) if digest else "",
            event_at=utc(saved_at) if saved_at else "",
            num_photos=num_photos,
            num_saved=num_saved,
            with_folders=self._with_folders,
            vocabulary=self._project.settings.vocabulary,
            gold_share=self._project.settings.loop.gold_share,
            files={name: (path.stat().st_size, _digest_of(path)) for name, path in files.items()},
            kept=(number, *(last.kept if last is not None else ())[: self._num_kept - 1]),
        )
        return about, files

    def _put_all(self, about: About, files: Mapping[str, Path]) -> None:
        for name, path in files.items():
            place, data = f"{about.folder}/{name}", path.read_bytes()
            self._store.write(place, data)
            size = self._store.size_of(place)
            if size != len(data):
                raise RemoteError(f"{self._store.url} keeps {size or 0:,} bytes of {place}, which has {len(data):,}.")
        self._store.write(f"{about.folder}/{ABOUT}", about_text(about))

    def _put_manifest(self, about: About) -> None:
        current = self._read()
        if current != self._text and (current is None or current != self._attempt):
            raise BackupError(
                f"Another process publishes in {self._store.url} too, so this one ends. Nothing was overwritten."
            )
        self._attempt = about_text(about)
        self._store.write(MANIFEST, self._attempt)
        if self._read() != self._attempt:
            raise RemoteError(f"{self._store.url} does not answer with the manifest that was written to it.")
        self._text, self._last = self._attempt, about

    def _list_numbers(self) -> set[int]:
        try:
            found = self._store.list_folder("")
        except RemoteError as error:
            if error.is_missing:
                return set()
            raise
        return {int(one.name) for one in found if one.is_folder and one.name.isdecimal()}

    def _read(self) -> bytes | None:
        return _read_if_there(self._store, MANIFEST)

    def _delete(self, numbers: list[int]) -> None:
        for number in numbers:
            for name in (ABOUT, REPORT, *map(file_of, TABLES)):
                self._store.delete(f"{folder_of(number)}/{name}")


def _content(about: About) -> tuple[object, ...]:
    return (
        about.files, about.event_id, about.event_digest, about.with_folders, about.vocabulary, about.gold_share,
        about.project,
    )  # fmt: skip


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_if_there(store: ObjectStore, path: str) -> bytes | None:
    try:
        return store.read(path, MAX_ABOUT_BYTES)
    except RemoteError as error:
        if error.is_missing:
            return None
        raise


def find_snapshot(store: ObjectStore) -> About | None:
    """Return the snapshot that a store names: the newest one of a target, or that of one folder; None if it names none.

    Raises:
        BackupError: The manifest is damaged, or of something else.
        RemoteError: The store does not answer, or refuses.
    """
    found = _find(store)
    return None if found is None else found[0]


def _find(store: ObjectStore) -> tuple[About, str] | None:
    """Return the snapshot that a store names, and what its files' paths begin with."""
    for name in (MANIFEST, ABOUT):
        data = _read_if_there(store, name)
        if data is not None:
            about = parse_about(data, f"{store.url}/{name}")
            return about, f"{about.folder}/" if name == MANIFEST else ""
    return None


class SnapshotChangedError(BackupError):
    """A file of a snapshot is missing, or not as it was written."""


def _read_file(store: ObjectStore, about: About, name: str, prefix: str) -> bytes:
    size, digest = about.files[name]
    path = f"{prefix}{name}"
    data = b""
    for _ in range(2):  # the answer may have been wrong
        try:
            data = store.read(path, size)
        except RemoteError as error:
            if not error.is_missing:
                raise
        if len(data) == size and hashlib.sha256(data).hexdigest() == digest:
            return data
    raise SnapshotChangedError(
        f"{store.url}/{path} is missing, cut short or altered: the snapshot was deleted while it was read, or damaged. "
        "Read the newest one, or publish another."
    )


def _fetch(store: ObjectStore, names: Iterable[str], folder: Path) -> About:
    """Write files of a snapshot into a folder; begins again with the newer one where one was deleted meanwhile."""
    for attempt in range(ATTEMPTS):
        found = _find(store)
        if found is None:
            raise BackupError(f"{store.url} holds no snapshot: it has neither {MANIFEST} nor {ABOUT}.")
        about, prefix = found
        check_room(2 * sum(about.files[name][0] for name in names), folder, str(store.url))
        try:
            for name in names:
                (folder / name).write_bytes(_read_file(store, about, name, prefix))
        except OSError as error:
            raise StoreError(f"The snapshot cannot be copied to {folder}: {error.strerror}.") from error
        except SnapshotChangedError:
            newer = find_snapshot(store)
            if attempt == ATTEMPTS - 1 or newer is None or newer.number == about.number:
                raise
        else:
            return about
    raise AssertionError("the last attempt returns or raises")


def read_report(store: ObjectStore) -> tuple[About, Any]:
    """Return a snapshot and its report, as JSON values.

    Raises:
        BackupError: There is none, or it is damaged.
        RemoteError: The store does not answer, or refuses.
    """
    with tempfile.TemporaryDirectory(prefix="annotator-") as name:
        about = _fetch(store, [REPORT], Path(name))
        try:
            return about, json.loads((Path(name) / REPORT).read_bytes())
        except (ValueError, RecursionError) as error:
            raise BackupError(f"The report in {store.url} is not JSON ({error}).") from error


@contextmanager
def open_snapshot(store: ObjectStore) -> Iterator[tuple[About, Store]]:
    """Yield a snapshot, and a database of its tables, which is deleted at the end.

    Raises:
        BackupError: There is none, it is damaged, or was deleted meanwhile.
        RemoteError: The store does not answer, or refuses.
        StoreError: There is no room for it here.
    """
    with tempfile.TemporaryDirectory(prefix="annotator-") as name:
        about = _fetch(store, list(map(file_of, TABLES)), Path(name))
        try:
            database = load_tables(Path(name))
        except StoreError as error:
            raise BackupError(f"{store.url} holds other tables than `annotator snapshot` writes.") from error
        try:
            yield about, database
        finally:
            database.close()
