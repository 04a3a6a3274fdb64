"""The project's database: one DuckDB file, one writing process, connections, transactions and errors.

DuckDB's only home. What is in the tables belongs to the modules on top of ``rows`` and ``transaction``, such as
storage/images.py and storage/correction_log.py. Knows nothing of pixels, models or pages.
"""

import logging
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy.typing as npt

from annotator.errors import ProjectError, StoreError
from annotator.rwlock import ReadWriteLock
from annotator.storage.commit_note import (
    CommitNote,
    NoteWriter,
    find_loss,
    is_cut,
    is_locked_by_another,
    note_of,
    note_path,
    trim_log,
)
from annotator.storage.images import Images
from annotator.storage.migrations import NEWEST_VERSION, forget_older, keep_copy, migrate, pending
from annotator.storage.private_files import make_private
from annotator.storage.queries import Row, utc_now
from annotator.storage.schema_check import check_objects, check_tables
from annotator.storage.temporary_folders import held_folder
from annotator.storage.write_ahead_log import log_path

logger = logging.getLogger(__name__)
Rows = TypeVar("Rows")

SNAPSHOT_PREFIX = ".snapshot-"
"""Of the folder, beside the database, in which a copy of it is made."""

_BROKEN = (duckdb.FatalException, duckdb.ConnectionException)
# After a fatal error, such as a checkpoint on a full disk, DuckDB refuses every statement until the file is reopened.

_FULL = "No space left"
"""In a message of the system: the disk is full."""

_SANDBOX: dict[str, str | bool | int | float | list[str]] = {
    # One thread: nearly all queries read few rows, and waking up a thread pool takes longer than it saves.
    "threads": 1,
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}


def _open_empty() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file whose statements reach no file outside its folder, no network and no extension.

    These limits cannot be lifted for as long as it is open.

    Raises:
        duckdb.Error: It cannot be opened.
    """
    connection = duckdb.connect(str(path), config=_SANDBOX)
    try:
        folder = path.absolute().parent
        _confine(connection, "allowed_directories", folder, folder.resolve())
    except BaseException:
        connection.close()
        raise
    return connection


def _confine(connection: duckdb.DuckDBPyConnection, setting: str, *places: Path) -> None:
    connection.execute(f"SET {setting} = [{', '.join(map(_quoted, places))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


class Store:
    """An open project database; ``images`` are the tables about photos (storage/images.py).

    Reads may run in any thread, each on its own cursor. Only one thread writes at a time.

    Args:
        path: The DuckDB file; created if missing. An older schema is migrated to the newest.
        keeps_copy: Whether the file is copied before a migration (migrations.keep_copy).

    Raises:
        ProjectError: The file is damaged, newer than this program, or open in another process.
    """

    def __init__(self, path: Path, *, keeps_copy: bool = True) -> None:
        self.path = path
        self._keeps_copy = keeps_copy
        self._local = threading.local()
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._generation = 0
        self._lock = ReadWriteLock()  # readers share it; closing the connections excludes them
        self._write_lock = threading.RLock()
        self._is_writing = False
        self._is_closed = False
        self._newest_event = (0, "")
        """Id and digest of the newest event."""
        self._pending_event: tuple[int, str] | None = None
        """Of the transaction that runs."""
        self._note: NoteWriter | None = None
        self.images = Images(self)
        self._connection = self._connect()

    def close(self) -> None:
        """Write everything to the database file and let other processes open it."""
        with self._write_lock, self._lock.exclusive():
            self._is_closed = True
            self._disconnect()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = None
        note = self._refuse_loss()
        try:
            connection = connect(self.path)
            if self.path.exists():  # not one in memory
                make_private(self.path)
            check_objects(connection, self.path)
            check_tables(connection, self.path, _open_empty)
            version, wanted = pending(connection)
            kept = None
            if self._keeps_copy and version and wanted:
                # The copy must contain what a killed process left in the write-ahead log. The file is copied while it
                # is closed: closing any descriptor of it would release DuckDB's lock.
                connection.execute("CHECKPOINT")
                connection.close()
                connection, kept = None, keep_copy(self.path, version)
                connection = connect(self.path)
            self.migrated = _migrate(connection, self.path, version, kept)
            newest = connection.execute("SELECT event_id, digest FROM events ORDER BY event_id DESC LIMIT 1").fetchall()
            self._newest_event = (int(newest[0][0]), newest[0][1] or "") if newest else (0, "")
            if note is not None and note.event_id > self._newest_event[0]:
                raise ProjectError(
                    message_for_loss(self.path, f"Its log ends with event {self._newest_event[0]:,}.", note)
                )
            self._note = NoteWriter(self.path)
            self._note.write(*self._newest_event, utc_now().isoformat(), waits=True)
        except BaseException as error:
            if connection is not None:
                connection.close()
            self._close_note()
            if isinstance(error, duckdb.Error):
                raise ProjectError(_message_for_open(self.path, error)) from error
            raise
        return connection

    def _disconnect(self) -> None:
        # The file stays locked as long as one cursor is open.
        for cursor in list(self._cursors):
            cursor.close()
        self._connection.close()
        self._generation += 1
        if self._note is not None:
            self._note.write(*self._newest_event, utc_now().isoformat())  # closing writes all into the database file
        self._close_note()

    def _close_note(self) -> None:
        if self._note is not None:
            self._note.close()
            self._note = None

    def _refuse_loss(self) -> CommitNote | None:
        """Refuse a database whose files hold less than was committed; DuckDB would open most of them as they are.

        Returns:
            The note of what was committed last; None without one.

        Raises:
            ProjectError: Something is missing or damaged, and no other process has the database open.
        """
        if (find_loss(self.path) is not None or is_cut(self.path)) and not is_locked_by_another(self.path):
            loss = find_loss(self.path)  # another process may have saved while the files were read
            if loss is not None:
                raise ProjectError(message_for_loss(self.path, loss.what, loss.note))
            num_bytes = trim_log(self.path)
            if num_bytes:
                logger.warning(
                    "%d bytes of a change of %s that was never finished were dropped; no save is missing.",
                    num_bytes, self.path,
                )  # fmt: skip
        return note_of(self.path)

    def note_event(self, event_id: int, digest: str) -> None:
        """Name the newest event of the transaction that runs, for the note of its commit."""
        self._pending_event = (event_id, digest)

    def _recover(self) -> None:
        """Reopen the database if DuckDB refuses every statement."""
        with self._write_lock:
            if self._is_writing or self._is_closed or self._responds():
                return
            logger.warning("The database %s is reopened after a failure.", self.path)
            with self._lock.exclusive():
                self._disconnect()
                self._connection = self._connect()

    def _responds(self) -> bool:
        try:
            self._connection.execute("SELECT 1")
        except duckdb.Error:
            return False
        return True

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None or self._local.generation != self._generation:
            self._local.generation = self._generation
            cursor = self._local.cursor = self._connection.cursor()
            self._cursors.add(cursor)
        return cursor

    def _read(
        self, query: str, parameters: Sequence[object], fetched: Callable[[duckdb.DuckDBPyConnection], Rows]
    ) -> Rows:
        try:
            try:
                return self._read_once(query, parameters, fetched)
            except _BROKEN:
                self._recover()
                return self._read_once(query, parameters, fetched)
        except duckdb.Error as error:
            raise StoreError(_message_for_read(self.path, error)) from error

    def _read_once(
        self, query: str, parameters: Sequence[object], fetched: Callable[[duckdb.DuckDBPyConnection], Rows]
    ) -> Rows:
        with self._lock.shared():
            return fetched(self._cursor().execute(query, list(parameters)))

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return every row of a reading query, as of the last commit.

        Raises:
            StoreError: The database could not be read.
        """
        return self._read(query, parameters, duckdb.DuckDBPyConnection.fetchall)

    def arrays(self, query: str, parameters: Sequence[object] = ()) -> dict[str, npt.NDArray[Any]]:
        """Return each column of a reading query as an array, as of the last commit; no value may be missing.

        Raises:
            StoreError: The database could not be read.
        """
        return self._read(query, parameters, duckdb.DuckDBPyConnection.fetchnumpy)

    def write_parquet(self, query: str, parameters: Sequence[object], path: Path) -> None:
        """Write the rows of a reading query, as of the last commit, into a Parquet file; completely, or not at all.

        Raises:
            StoreError: The database could not be read, or the file not be written.
        """
        temporary = path.with_name(f".{path.name}.part")
        try:
            with held_folder(self.path.parent, SNAPSHOT_PREFIX) as folder:
                inside = (folder / path.name).absolute()
                self.rows(f"COPY ({query}) TO {_quoted(inside)} (FORMAT parquet)", parameters)
                shutil.move(inside, temporary)
            temporary.replace(path)
        except (StoreError, OSError) as error:
            raise StoreError(f"The snapshot {path} could not be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor whose writes are on disk when the block ends, or undone when it raises.

        Raises:
            StoreError: The commit failed (a full disk, a read-only file); nothing was written.
        """
        with self._write_lock:
            cursor: duckdb.DuckDBPyConnection | None = None
            try:
                cursor = self._begin()
                self._is_writing = True
                yield cursor
                _commit(cursor)
                self._newest_event = self._pending_event or self._newest_event
                if self._note is not None:
                    self._note.write(*self._newest_event, utc_now().isoformat())
            except duckdb.Error as error:
                _rollback(cursor)
                raise StoreError(_message_for_write(error), is_full=_FULL in _first_line(error)) from error
            except BaseException:
                _rollback(cursor)
                raise
            finally:
                self._pending_event = None
                self._is_writing = False

    def _begin(self) -> duckdb.DuckDBPyConnection:
        try:
            return self._cursor().execute("BEGIN")
        except _BROKEN:
            self._recover()
            return self._cursor().execute("BEGIN")

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the database, while others read and write.

        The copy is made in the folder of the database, outside of which DuckDB cannot write, and moved from there.

        Args:
            path: The new file; must not exist.

        Raises:
            StoreError: It could not be written.
        """
        try:
            with held_folder(self.path.parent, SNAPSHOT_PREFIX) as folder:
                self._copy_inside(folder / path.name)
                shutil.move(folder / path.name, path)
        except (duckdb.Error, OSError) as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"The database could not be copied: {_first_line(error)}") from error

    def _copy_inside(self, path: Path) -> None:
        with self._lock.shared():
            cursor = self._connection.cursor()
            try:
                source = cursor.execute("SELECT current_database()").fetchall()[0][0]
                cursor.execute(f"ATTACH {_quoted(path.absolute())} AS snapshot")
                try:
                    cursor.execute(f'COPY FROM DATABASE "{source}" TO snapshot')
                finally:
                    cursor.execute("DETACH snapshot")
            finally:
                cursor.close()


def is_writable(path: Path) -> bool:
    """Tell whether a database file and its folder can be written."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(place, os.W_OK, effective_ids=effective) for place in (path, path.parent))


@contextmanager
def open_copy(path: Path) -> Iterator[Store]:
    """Yield a copy of a database that cannot be written, brought to the newest schema; it is deleted afterwards.

    Raises:
        ProjectError: The database is damaged or newer than this program, or there is no room for a copy.
    """
    with tempfile.TemporaryDirectory(prefix="annotator-") as folder:
        copy = Path(folder) / path.name
        try:
            for source in (path, log_path(path), note_path(path)):
                if source.exists():
                    shutil.copyfile(source, copy.with_name(source.name))
        except OSError as error:
            raise ProjectError(
                f"{path} cannot be written, and not be copied to {folder} to be read: {error.strerror}."
            ) from error
        store = Store(copy, keeps_copy=False)
        try:
            yield store
        finally:
            store.close()


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    # One thread: nearly all queries read few rows, and waking up a thread pool takes longer than it saves.
    return duckdb.connect(str(path), config={"threads": 1})


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path, version: int, kept: Path | None) -> list[int]:
    """Migrate an open database, of which a copy was kept unless it is new; return the versions applied."""
    if kept is None:
        return migrate(connection)
    try:
        applied = migrate(connection)
    except duckdb.Error as error:
        raise ProjectError(
            f"The schema of {path} could not be migrated from {version} to {NEWEST_VERSION} ({_first_line(error)}). "
            f"The original is kept in {kept}."
        ) from error
    forget_older(path, kept)
    logger.warning(
        "The schema of %s was migrated from %d to %d. The original is kept in %s.",
        path, version, NEWEST_VERSION, kept,
    )  # fmt: skip
    return applied


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file that `Store.write_parquet` wrote; needs no project.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        with duckdb.connect(config=_SANDBOX) as connection:
            _confine(connection, "allowed_paths", path)
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    except duckdb.Error as error:
        raise StoreError(f"The snapshot {path} could not be read: {_first_line(error)}") from error


def _commit(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("COMMIT")
    except duckdb.FatalException as error:
        # Only the cleanup failed (a full disk): the data is on disk, and the next call reopens the database.
        if "COMMIT succeeded and is durable" not in str(error):
            raise
        logger.warning("%s", _first_line(error))


def _rollback(cursor: duckdb.DuckDBPyConnection | None) -> None:
    try:
        if cursor is not None:
            cursor.execute("ROLLBACK")
    except (duckdb.TransactionException, *_BROKEN):
        # DuckDB has already ended a transaction whose COMMIT failed, or all of them.
        return


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _message_for_write(error: Exception) -> str:
    text = _first_line(error)
    if _FULL in text:
        return "Not saved: the disk is full. Free some space and save again; nothing was lost."
    if "File too large" in text:
        return "Not saved: a file has reached the size that this process may write. Nothing was lost."
    if "ead-only" in text or "Permission denied" in text:
        return "Not saved: the project's folder cannot be written. Nothing was lost."
    return f"Not saved: {text}"


def _message_for_read(path: Path, error: Exception) -> str:
    if _is_damage(error):
        return f"The database {path} is damaged ({_first_line(error)}). {_restore_advice(path)}"
    return f"The project's database could not be read: {_first_line(error)}"


def _restore_advice(path: Path) -> str:
    """Return how to restore a damaged project."""
    return (
        f"Try: annotator check {path.parent} --repair. Or restore a backup into a new folder (annotator restore FILE "
        f"{path.parent}-restored); nothing in {path.parent} is overwritten."
    )


def message_for_loss(path: Path, what: str, note: CommitNote | None) -> str:
    """Return what is said of a database whose files hold less than was committed.

    Args:
        path: The database.
        what: What is missing or damaged, as a sentence.
        note: What was committed last, if known.
    """
    newest = (
        f" The newest save was event {note.event_id:,}, at {note.written_at[:19]} UTC."
        if note is not None and note.event_id
        else ""
    )
    return (
        f"The project {path.parent} is not whole. {what}{newest} If a file of it was moved or replaced, put it back. "
        f"{_restore_advice(path)}"
    )


def _is_damage(error: Exception) -> bool:
    signs = ("not a valid DuckDB", "Corrupt", "Checksum", "Could not read enough bytes")
    return any(sign in str(error) for sign in signs)


def _message_for_open(path: Path, error: Exception) -> str:
    text = str(error)
    holder = re.search(r"held in (.*?) \(PID (\d+)\)", text)
    if holder:
        return (
            f"The project {path.parent} is in use by process {holder.group(2)} ({Path(holder.group(1)).name}). "
            "Use the page that process serves, or end it first."
        )
    if _is_damage(error):
        return _message_for_read(path, error)
    if _FULL in text:
        return f"The database {path} cannot be opened: the disk is full. Free some space; nothing was lost."
    if "Permission denied" in text or "ead-only" in text:
        return f"The database {path} cannot be written. Check the folder's permissions."
    return f"The database {path} cannot be opened: {_first_line(error)}"
