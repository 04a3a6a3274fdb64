"""Photos behind a URL as a source of the ingest: object stores, lists of addresses, archives.

Photos, sidecars and their names follow the rules of folders. A photo is read whole, once; what the page shows later
comes from thumbnails, or is read again through the cache of `RemoteFiles`. Knows nothing of projects or databases.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath

from annotator.datasets.embedded_metadata import MAX_BLOCK_BYTES
from annotator.datasets.image_folder import (
    MAX_FILE_BYTES,
    check_bytes,
    content_hash,
    display_name,
    folders_among,
    photos_among,
)
from annotator.datasets.photo_roots import PhotoRoot, PhotoUrl
from annotator.datasets.remote_store import RemoteFile, RemoteStore, remote_store
from annotator.datasets.sidecar_names import file_sidecars, sidecars_of
from annotator.datasets.sidecars import too_large
from annotator.errors import RemoteError, UnreadableImageError
from annotator.ingest.photo_source import FolderPhotos, FoundFile, OpenedPhoto, PhotoFile, PhotoSource, RefusedPath
from annotator.storage.photo_cache import PhotoCache

NUM_FOLDERS = 64
"""Folders whose files are kept in memory, for sidecars."""
MAX_DEPTH = 100
"""Folders above a photo; a web server may list folders without end."""
_ROOT = PurePosixPath("/")

Files = dict[str, RemoteFile]
"""Name -> file."""


class RemotePhotos:
    """The photos behind a URL. Thread-safe.

    Args:
        root: The URL.
    """

    needs_network = True

    def __init__(self, root: PhotoUrl) -> None:
        self.root = root
        self._store = remote_store(root)
        self._sidecars = _RemoteSidecars(self._store)

    def is_there(self) -> bool:
        """Return True: whether the store answers is known when it is listed."""
        return True

    def find(self, skip_folders: Collection[Path] = ()) -> Iterator[FoundFile | RefusedPath]:
        """Yield every possible photo, each folder's own before those of its subfolders, and what is not read.

        A folder that cannot be listed is refused with the reason; what it holds is unknown, not gone.
        """
        self._sidecars.forget()
        pending = [""]
        while pending:
            folder = pending.pop()
            above = f"{folder}/" if folder else ""
            if folder.count("/") >= MAX_DEPTH:
                yield RefusedPath(folder, f"It is more than {MAX_DEPTH} folders deep.", is_folder=True)
                continue
            try:
                found = {item.name: item for item in self._store.list_folder(folder)}
            except RemoteError as error:
                yield RefusedPath(folder or ".", str(error), is_folder=True)
                continue
            files = {name: item for name, item in found.items() if not item.is_folder}
            self._sidecars.keep(folder, files)
            for name, reason in photos_among(files):
                if reason is None and display_name(name) != name:
                    reason = "Its name is not valid UTF-8. Rename it."
                if reason is not None:
                    yield RefusedPath(display_name(above + name), reason)
                else:
                    yield FoundFile(above + name, files[name].size, files[name].version)
            subfolders = folders_among(name for name, item in found.items() if item.is_folder)
            pending += [above + name for name in reversed(subfolders)]

    def signature(self, path: str) -> str:
        """Return names, sizes and times of a photo's sidecars; none if its folder cannot be listed."""
        try:
            names = self._sidecars.find(PurePosixPath(path))
            files = self._sidecars.files(PurePosixPath(path).parent)
        except OSError:
            return ""
        found = [files[sidecar.name] for sidecar in names]
        return "|".join(f"{file.name}:{file.size}:{file.version}" for file in found)

    def holds(self, path: str) -> bool:
        """Tell whether a file is there; one of a store that does not answer is taken for one that is."""
        try:
            return self._store.holds(path)
        except RemoteError:
            return True

    def open(self, path: str, opened: Sequence[OpenedPhoto] = ()) -> OpenedPhoto:
        """Read a file; see `PhotoSource.open`."""
        file = PhotoFile(_ROOT, path, _read(self._store, path), self._sidecars)
        for other in opened:
            if isinstance(other, PhotoFile) and other.content_hash == file.content_hash:
                file.take_metadata_of(other)
        return file


def source_of(root: PhotoRoot) -> PhotoSource:
    """Return the photos of a folder or URL."""
    if isinstance(root, Path):
        return FolderPhotos(root)
    return RemotePhotos(root)


class RemoteFiles:
    """Reads single photos behind URLs, for the page; each is cached on the disk. Thread-safe.

    Args:
        cache: Keeps photos by the hash of their bytes.
    """

    def __init__(self, cache: PhotoCache) -> None:
        self._cache = cache
        self._stores: dict[PhotoUrl, RemoteStore] = {}
        self._lock = threading.Lock()

    def read(self, root: PhotoUrl, path: str, digest: str) -> bytes | None:
        """Return a photo's bytes; None if the file has others now.

        Args:
            root: As in the database.
            path: Relative to it.
            digest: The content hash that the bytes must have.

        Raises:
            UnreadableImageError: The store does not answer, refuses, or has no such file.
        """
        data = self._cache.get(digest)
        if data is None:
            with self._lock:
                store = self._stores.setdefault(root, remote_store(root))
            data = _read(store, path)
            if content_hash(data) != digest:
                return None
            self._cache.put(digest, data)
        return data


class _RemoteSidecars:
    """Finds and reads sidecars in a store; the files of the folders looked at last are kept."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self._folders: OrderedDict[str, Files] = OrderedDict()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """List each folder anew."""
        with self._lock:
            self._folders.clear()

    def keep(self, folder: str, files: Files) -> None:
        """Keep what a folder was found to hold."""
        with self._lock:
            self._folders[folder] = files
            self._folders.move_to_end(folder)
            while len(self._folders) > NUM_FOLDERS:
                self._folders.popitem(last=False)

    def files(self, folder: PurePath) -> Files:
        """Return the files of a folder.

        Raises:
            OSError: It cannot be listed.
        """
        name = folder.as_posix().lstrip("/")
        name = "" if name == "." else name
        with self._lock:
            files = self._folders.get(name)
        if files is None:
            try:
                files = {item.name: item for item in self._store.list_folder(name) if not item.is_folder}
            except RemoteError as error:
                raise OSError(0, str(error).rstrip(".")) from error
            self.keep(name, files)
        return files

    def find(self, path: PurePath) -> list[PurePath]:
        """Return a photo's sidecars; see `Sidecars.find`."""
        files = self.files(path.parent)
        # Stores tell names in another case apart.
        return [path.with_name(name) for name in sidecars_of(path.name, file_sidecars(files), lambda one, other: False)]

    def read(self, sidecar: PurePath, root: PurePath, what: str, notes: list[str]) -> bytes:
        """Return a sidecar's bytes; see `Sidecars.read`."""
        try:
            data = self._store.read(sidecar.as_posix().lstrip("/"), MAX_BLOCK_BYTES)
        except RemoteError as error:
            notes.append(f"{what} could not be read: {error}")
            return b""
        if len(data) > MAX_BLOCK_BYTES:
            notes.append(too_large(what, len(data)))
            return b""
        return data


def _read(store: RemoteStore, path: str) -> bytes:
    try:
        data = store.read(path, MAX_FILE_BYTES)
    except RemoteError as error:
        raise UnreadableImageError(str(error)) from error
    check_bytes(data)
    return data
