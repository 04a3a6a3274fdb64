"""Files of a store that fsspec opens: object stores, web servers, archives.

Credentials come from the store's own ways (configuration files, environment variables, the machine's role). A call that
fails for a reason that may pass is tried again. Knows nothing of photos, projects or databases.
"""

import logging
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from annotator.datasets.photo_roots import LOCAL_ARCHIVES, SCHEMES, PhotoUrl
from annotator.errors import RemoteError

logger = logging.getLogger(__name__)

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before a failed call is tried again."""
CONNECT_SECONDS, READ_SECONDS = 10, 60
MAX_LIST_BYTES = 200_000_000
"""Largest list of addresses."""
_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az", "http": "web",
    "https": "web", "hf": "hub",
}  # fmt: skip
"""Scheme -> extra of this package that brings what opens it."""
_QUERY = re.compile(r"\?\S*")

Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """A file or folder of a store."""

    name: str
    """Its own name, without those of the folders above."""
    is_folder: bool
    size: int
    """In bytes; 0 if the store does not say."""
    version: int
    """Another number after each change, as far as the store says: nanoseconds of its time, or a digest of its tag."""


class RemoteStore:
    """The files below a URL. Thread-safe; nothing is opened before the first call.

    Args:
        url: A folder of a store, or a ZIP or tar file in one.
    """

    def __init__(self, url: PhotoUrl) -> None:
        self.url = url
        self._lock = threading.Lock()
        # The files of an archive share one position in it.
        self._serial: AbstractContextManager[Any] = threading.Lock() if url.is_archive else nullcontext()
        self._opened: tuple[Any, str] | None = None  # fsspec has no types

    def list_folder(self, folder: str) -> list[RemoteFile]:
        """Return what is directly in a folder, as it is now.

        Args:
            folder: Relative to the URL, with forward slashes; empty for the URL itself.

        Raises:
            RemoteError: The store does not answer, refuses, or has no such folder.
        """
        return self._tried(lambda: self._list(folder), self.url / folder if folder else self.url)

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the bytes of a file, at most one more than `max_bytes` of them.

        Raises:
            RemoteError: The store does not answer, refuses, or has no such file.
        """
        return self._tried(lambda: self._read(path, max_bytes), self.url / path)

    def holds(self, path: str) -> bool:
        """Tell whether a file is there.

        Raises:
            RemoteError: The store does not answer, or refuses.
        """

        def look() -> bool:
            store, at = self._place(path)
            with self._serial:
                return bool(store.isfile(at))

        return self._tried(look, self.url / path)

    def size_of(self, path: str) -> int | None:
        """Return the size of a file in bytes; None if it is not there.

        Raises:
            RemoteError: The store does not answer, or refuses.
        """

        def look() -> int | None:
            store, at = self._place(path)
            try:
                return int(store.info(at)["size"])
            except FileNotFoundError:
                return None

        return self._tried(look, self.url / path)

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in place of the one that is there: as a whole, as far as the store writes whole objects.

        Raises:
            RemoteError: The store does not answer, refuses, or is full.
        """

        def write() -> None:
            store, at = self._place(path)
            store.pipe_file(at, data)

        self._tried(write, self.url / path, "written")

    def delete(self, path: str) -> None:
        """Delete a file, if it is there.

        Raises:
            RemoteError: The store does not answer, or refuses.
        """

        def delete() -> None:
            store, at = self._place(path)
            with suppress(FileNotFoundError):
                store.rm_file(at)

        self._tried(delete, self.url / path, "deleted")

    def _list(self, folder: str) -> list[RemoteFile]:
        store, at = self._place(folder)
        with self._serial:
            found = store.ls(at, detail=True)
        files = []
        for info in found:
            path = str(info["name"]).rstrip("/")
            name = path.rpartition("/")[2]
            # Left out are the folder itself, and the links that sort a web server's list.
            if name and "?" not in name and path.strip("/") != at.strip("/"):
                is_folder = info.get("type") == "directory"
                files.append(RemoteFile(name, is_folder, int(info.get("size") or 0), _version(info)))
        return files

    def _read(self, path: str, max_bytes: int) -> bytes:
        store, at = self._place(path)
        with self._serial, store.open(at, "rb", cache_type="readahead") as file:
            data: bytes = file.read(max_bytes + 1)
        return data

    def _place(self, path: str) -> tuple[Any, str]:
        """Return the file system, and a path as it takes it."""
        store, root = self._file_system()
        return store, f"{root}/{path}" if path and root else path or root

    def _file_system(self) -> tuple[Any, str]:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self.url)
            return self._opened

    def _tried(self, call: Callable[[], Result], what: PhotoUrl, how: str = "read") -> Result:
        """Return what a call returns; it is made again where it may succeed later.

        Args:
            call: The call.
            what: What it is about, for messages.
            how: What is done to that, for messages.

        Raises:
            RemoteError: It failed.
        """
        for pause in PAUSES:
            try:
                return call()
            except Exception as error:  # each store has its own: of the network, its client, its protocol
                if _is_final(error):
                    raise _as_remote(error, what, how) from error
                logger.info("%s: tried again in %g s (%s)", what, pause, _sentence(error))
                time.sleep(pause)
        try:
            return call()
        except Exception as error:
            raise _as_remote(error, what, how) from error


class AddressList(RemoteStore):
    """The files whose addresses are the lines of a text file on a web server. Thread-safe.

    Args:
        url: Of the text file; see `addresses_of`.
    """

    def __init__(self, url: PhotoUrl) -> None:
        super().__init__(url)
        self._addresses: dict[str, str] | None = None

    def _list(self, folder: str) -> list[RemoteFile]:
        if not folder:
            self._addresses = None  # the list as it is now
        above = f"{folder}/" if folder else ""
        files: dict[str, RemoteFile] = {}
        for path in self._read_list():
            if path.startswith(above):
                name, slash, _ = path[len(above) :].partition("/")
                files[name] = RemoteFile(name, bool(slash), 0, 0)
        return list(files.values())

    def _place(self, path: str) -> tuple[Any, str]:
        address = self._read_list().get(path)
        if address is None:
            raise FileNotFoundError(path)
        return self._file_system()[0], address

    def _read_list(self) -> dict[str, str]:
        """Return path -> address."""
        addresses = self._addresses
        if addresses is None:
            store, at = self._file_system()
            with store.open(at, "rb") as file:
                data = file.read(MAX_LIST_BYTES + 1)
            if len(data) > MAX_LIST_BYTES:
                raise RemoteError(f"The list {self.url} is larger than {MAX_LIST_BYTES:,} bytes.")
            addresses = self._addresses = addresses_of(self.url.text, data.decode("utf-8", "replace"))
        return addresses


def remote_store(url: PhotoUrl) -> RemoteStore:
    """Return the store of a URL: a list of addresses if it is a text file of a web server."""
    text = url.text.lower()
    is_list = text.startswith(("http://", "https://")) and text.endswith(".txt")
    return AddressList(url) if is_list else RemoteStore(url)


def addresses_of(base: str, text: str) -> dict[str, str]:
    """Return path -> address for the lines of a list; empty lines and those that begin with # are left out.

    Args:
        base: Address of the list, to which lines may be relative. Addresses at another host are left out: whoever
            writes the list must not have this machine ask others.
        text: The list.
    """
    host, found = urlsplit(base).netloc, {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        address = urljoin(base, line)
        parts = urlsplit(address)
        path = unquote(parts.path).strip("/")
        if parts.scheme in ("http", "https") and parts.netloc == host and path and ".." not in path.split("/"):
            found[path] = address
    return found


def _open(url: PhotoUrl) -> tuple[Any, str]:
    """Return the file system of a URL, and the URL's path in it.

    Raises:
        RemoteError: No package opens it, or the archive cannot be opened.
    """
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError as error:
        raise RemoteError(f"{url} needs the package fsspec: pip install fsspec.") from error
    scheme = url.text.partition("://")[0].lower()
    if scheme not in SCHEMES:  # a database may come from somebody else
        raise RemoteError(f"Photos are not read from {scheme[:40]}://.")
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        limits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        options |= {"config_kwargs": limits, "default_fill_cache": False}
    elif scheme in ("http", "https"):
        options |= {"timeout": READ_SECONDS}
    target, chain = url.text, options
    if scheme in LOCAL_ARCHIVES:
        target, chain = f"{scheme}://::file://{url.text.partition('://')[2]}", {}
    elif url.is_archive:
        kind = url.text.rpartition(".")[2].lower()
        target, chain = f"{kind}://::{url}", {scheme: options}
    try:
        store, root = fsspec.core.url_to_fs(target, **chain)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        how = f"pip install 'annotator[{extra}]'" if extra else _sentence(error)
        raise RemoteError(f"{scheme}:// needs a package that is missing. {how}") from error
    except ValueError as error:
        raise RemoteError(f"Photos cannot be read from {scheme}://: {_sentence(error)}") from error
    return store, str(root).rstrip("/")


def _version(info: dict[str, Any]) -> int:
    """Return a number that changes with a file."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created", "date_time"):
        value = info.get(key)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    tag = info.get("ETag") or info.get("etag") or info.get("CRC") or info.get("blob_id")
    return int.from_bytes(sha256(str(tag).encode()).digest()[:7]) if tag else 0


def _is_final(error: Exception) -> bool:
    """Tell whether trying again is of no use: there is no such thing, no right to it, or nothing that can open it."""
    if isinstance(error, RemoteError | FileNotFoundError | PermissionError | NotImplementedError | ValueError):
        return True
    if isinstance(error, zipfile.BadZipFile | tarfile.TarError):
        return True
    of_the_store = ("NoCredentialsError", "PartialCredentialsError")  # of packages that may not be installed
    return type(error).__name__ in of_the_store or getattr(error, "status", 0) in (400, 401, 403, 404, 405, 410)


def _as_remote(error: Exception, what: PhotoUrl, how: str) -> RemoteError:
    if isinstance(error, RemoteError):
        return error
    if isinstance(error, FileNotFoundError):
        return RemoteError(f"{what} is not there.", is_missing=True)
    return RemoteError(f"{what} cannot be {how}{'' if _is_final(error) else ' now'}: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    """Return an error's first line, without queries of addresses, which may hold keys."""
    lines = str(error).strip().splitlines()
    return f"{_QUERY.sub('', lines[0] if lines else type(error).__name__)[:200].rstrip('.')}."
