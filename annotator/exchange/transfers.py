"""Exports and imports in the background of a served project: progress, cancel, and the folder that each one has.

A person has at most one export and one import; a new one ends and removes the one before. Knows nothing of formats.
"""

import contextlib
import logging
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from annotator.errors import AnnotatorError, ConfigError, DataError
from annotator.json_types import JsonObject

logger = logging.getLogger(__name__)

Kind = Literal["export", "import"]
State = Literal["open", "running", "ready", "done", "failed", "cancelled"]
"""open: files may be added; running: works; ready: waits for the person (an export to be fetched, an import to be
carried out); done: an import was carried out."""
LEAST_FREE_BYTES = 200_000_000
"""What stays free on the project's disk for saves."""
CHECKED_EVERY = 50
"""Photos between two looks at the free space."""
CHECKED_BYTES = 16_000_000
"""Bytes of an upload between two looks at it."""
_PREFIX = ".transfer-"
Item = TypeVar("Item")


class TransferCancelledError(Exception):
    """The person has cancelled; never shown as an error."""


class Transfer:
    """One export or import.

    Args:
        user: Whose.
        kind: Which of the two.
        folder: Its own folder, which is removed with it.
    """

    def __init__(self, user: str, kind: Kind, folder: Path) -> None:
        self.transfer_id = secrets.token_hex(16)
        self.user, self.kind, self.folder = user, kind, folder
        self.state: State = "open"
        self.num_done = 0
        self.num_photos: int | None = None
        """How many photos there are to do; None if nobody knows before the end."""
        self.problem = ""
        """Why it failed, as a sentence; empty: it did not."""
        self.result: JsonObject = {}
        self._is_cancelled = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], JsonObject], then: State) -> None:
        """Do the work in a thread; what it returns becomes part of `result`, and `then` the state.

        Raises:
            ConfigError: Something is running.
        """
        with self._starting:  # two calls at once must not both begin
            if self.state == "running" or self._is_cancelled.is_set():
                raise ConfigError("This export or import is running already, or was cancelled. Begin it anew.")
            self.state, self.num_done, self.problem = "running", 0, ""
        self._thread = threading.Thread(target=self._run, args=(work, then), name=self.kind, daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], JsonObject], then: State) -> None:
        try:
            found = work()  # which may tell a part of it earlier
            self.result = {**self.result, **found}
            self.state = then
        except TransferCancelledError:
            self.state = "cancelled"
        except AnnotatorError as error:
            self.problem, self.state = str(error), "failed"
        except Exception:
            logger.exception("An %s ended with an unexpected error.", self.kind)
            self.problem, self.state = "An unexpected error ended it; the server's log has the details.", "failed"

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items and count them, until the person cancels or the disk is nearly full.

        Raises:
            TransferCancelledError: The person has cancelled.
            DataError: The disk is nearly full.
        """
        for number, item in enumerate(items):
            self._check(sees_disk=number % CHECKED_EVERY == 0)
            yield item
            self.num_done += 1

    def watch_parts(self, items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
        """Yield items in parts of at most `size`, as `watch` does one by one.

        Raises:
            TransferCancelledError: The person has cancelled.
            DataError: The disk is nearly full.
        """
        for start in range(0, len(items), size):
            self._check(sees_disk=True)
            part = items[start : start + size]
            yield part
            self.num_done += len(part)

    def _check(self, *, sees_disk: bool) -> None:
        if self._is_cancelled.is_set():
            raise TransferCancelledError
        if sees_disk:
            check_free(self.folder)

    def cancel(self) -> None:
        """End the work after the photo in hand."""
        self._is_cancelled.set()

    def wait(self) -> None:
        """Wait until the work has ended."""
        if self._thread is not None:
            self._thread.join()

    def describe(self) -> JsonObject:
        """Return its state as JSON values."""
        return {
            "transfer_id": self.transfer_id,
            "kind": self.kind,
            "state": self.state,
            "num_done": self.num_done,
            "num_photos": self.num_photos,
            "problem": self.problem,
            **self.result,
        }


def check_free(folder: Path) -> None:
    """Check that saves still fit on the disk.

    Raises:
        DataError: They may not.
    """
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise DataError(
            f"The disk of the project has {free / 1e6:,.0f} MB left, and {LEAST_FREE_BYTES / 1e6:,.0f} MB are kept "
            "free for saves. Free some space, then try again."
        )


class Upload:
    """Writes a file that arrives in pieces; what has arrived of one that breaks off is removed.

    Args:
        path: Where; nothing is there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_unchecked = 0

    def __enter__(self) -> "Upload":
        try:
            self._file = self._path.open("xb")
        except OSError as error:
            raise DataError(f"The file could not be kept: {error.strerror}.") from error
        return self

    def write(self, data: bytes) -> None:
        """Write the next piece.

        Raises:
            DataError: The disk refuses, or is nearly full.
        """
        self._num_unchecked += len(data)
        if self._num_unchecked > CHECKED_BYTES:
            check_free(self._path.parent)
            self._num_unchecked = 0
        try:
            self._file.write(data)
        except OSError as error:
            raise DataError(f"The file could not be kept: {error.strerror}.") from error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)


class Transfers:
    """The exports and imports of one served project.

    Args:
        folder: The project's folder; what an earlier server left there is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[str, Kind], Transfer] = {}
        self._lock = threading.Lock()
        for left_over in folder.glob(f"{_PREFIX}*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def begin(self, user: str, kind: Kind) -> Transfer:
        """Return a new transfer of a person; the one before ends.

        Raises:
            DataError: The disk is nearly full, or refuses.
        """
        self.end(user, kind)
        check_free(self._folder)
        try:
            transfer = Transfer(user, kind, Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder)))
        except OSError as error:
            raise DataError(f"The project's folder cannot be written: {error.strerror}.") from error
        with self._lock:
            self._found[user, kind] = transfer
        return transfer

    def get(self, user: str, transfer_id: str) -> Transfer:
        """Return a transfer of a person.

        Raises:
            ConfigError: They have none of that id.
        """
        with self._lock:
            mine = [one for (owner, _), one in self._found.items() if owner == user and one.transfer_id == transfer_id]
        if not mine:
            raise ConfigError("This export or import is over. Begin it anew.")
        return mine[0]

    def end(self, user: str, kind: Kind) -> None:
        """End a person's transfer, if there is one, and remove its files."""
        with self._lock:
            transfer = self._found.pop((user, kind), None)
        if transfer is not None:
            _remove(transfer)

    def close(self) -> None:
        """End all."""
        with self._lock:
            found, self._found = list(self._found.values()), {}
        for transfer in found:
            transfer.cancel()
        for transfer in found:
            _remove(transfer)


def _remove(transfer: Transfer) -> None:
    transfer.cancel()
    transfer.wait()
    with contextlib.suppress(OSError):
        shutil.rmtree(transfer.folder)
