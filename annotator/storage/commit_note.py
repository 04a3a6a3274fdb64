"""A note beside the database of what was committed last, and the check of the database's files against it.

The note is written after each commit, without waiting for the disk: a save still costs one write that is waited for.
So a process that is killed leaves it complete, and after a power cut it may be older than the database, never newer.
If the files hold less than the note says, something was lost since: the write-ahead log was deleted, cut or damaged, or
an older file was put in place of the database. Then the project is refused until somebody has decided, since DuckDB
would open it without a word, and the next save would take the place of the lost ones. Knows nothing of tables.
"""

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from annotator.storage.write_ahead_log import (
    HEAD_BYTES,
    LOG_HEADER_BYTES,
    DatabaseState,
    LogState,
    log_path,
    newest_state,
    read_database,
    read_log,
    read_log_header,
)

FORMAT = "annotator-commit 1"
NUM_BYTES = 192
"""Length of the file, so that each note replaces the one before in one write."""


@dataclass(frozen=True)
class CommitNote:
    """What was committed last."""

    database_id: str
    """In hex; see `DatabaseState`."""
    iteration: int
    """Number of checkpoints of the database file."""
    log_bytes: int
    """Length of the write-ahead log."""
    event_id: int
    """The newest event; 0 without one."""
    digest: str
    """Of the newest event."""
    written_at: str
    """UTC, ISO 8601."""


def note_path(database: Path) -> Path:
    """Return the path of a database's note."""
    return database.with_name(f"{database.name}.note")


def packed(note: CommitNote) -> bytes:
    """Return the content of a note's file."""
    text = f"{FORMAT} {note.database_id} {note.iteration} {note.log_bytes} {note.event_id} {note.digest or '-'} " + (
        note.written_at
    )
    return f"{text} {zlib.crc32(text.encode()):08x}".ljust(NUM_BYTES - 1).encode() + b"\n"


def read_note(database: Path) -> CommitNote | None:
    """Read a database's note; None if there is none, or it is damaged: then it says nothing."""
    try:
        text = note_path(database).read_bytes().decode()
        body, _, checksum = text.rstrip().rpartition(" ")
        form, version, database_id, iteration, log_bytes, event_id, digest, written_at = body.split(" ")
        if f"{form} {version}" != FORMAT or int(checksum, 16) != zlib.crc32(body.encode()):
            return None
        return CommitNote(
            database_id, int(iteration), int(log_bytes), int(event_id), "" if digest == "-" else digest, written_at
        )
    except (OSError, ValueError):
        return None


def note_of(database: Path) -> CommitNote | None:
    """Return a database's note; None if there is none, or it is of a database that was here before."""
    note, state = read_note(database), read_database(database)
    return note if note is not None and state is not None and note.database_id == state.database_id.hex() else None


class NoteWriter:
    """Writes the note of an open database.

    Args:
        database: The path of the database. No other note writer of this process is open on it.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._log = log_path(database)
        self._note: int | None = None
        self._known_log, self._known_size = (0, -1), 0
        """File number of the log and state of the database when the log's header was read, and its length since."""
        self._continues = True
        # Closed after DuckDB has closed the file: closing any descriptor of it releases DuckDB's lock.
        self._main: int | None = None
        with suppress(OSError):
            self._main = os.open(database, os.O_RDONLY)
            self._note = os.open(note_path(database), os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, event_id: int, digest: str, written_at: str, *, waits: bool = False) -> None:
        """Note the present state of the files; on a full or read-only disk the note stays as it was.

        Args:
            event_id: The newest event; 0 without one.
            digest: Its digest.
            written_at: UTC, ISO 8601.
            waits: Whether to return only when the note is on the disk, as at the start.
        """
        if self._main is None or self._note is None:
            return
        with suppress(OSError):
            state = newest_state(os.pread(self._main, HEAD_BYTES, 0))
            if state is None:
                return
            log_bytes = self._log_bytes(state.iteration)
            note = CommitNote(state.database_id.hex(), state.iteration, log_bytes, event_id, digest, written_at)
            os.pwrite(self._note, packed(note), 0)
            if waits:
                os.fsync(self._note)

    def _log_bytes(self, iteration: int) -> int:
        """Return the length of the log, if it continues this state of the database.

        A checkpoint that fails at its end leaves the log of the state before, whose content is in the database file.
        """
        try:
            status = os.stat(self._log)
        except FileNotFoundError:
            return 0
        known = (status.st_ino, iteration)
        if known != self._known_log or status.st_size < self._known_size:
            with self._log.open("rb") as file:
                self._continues = read_log_header(file.read(LOG_HEADER_BYTES)) in (None, iteration)
        self._known_log, self._known_size = known, status.st_size
        return status.st_size if self._continues else 0

    def close(self) -> None:
        """Close the files; after DuckDB has closed the database."""
        for descriptor in (self._main, self._note):
            if descriptor is not None:
                os.close(descriptor)
        self._main = self._note = None


@dataclass(frozen=True)
class Loss:
    """What the files of a database lack."""

    what: str
    """A sentence."""
    note: CommitNote | None
    log: LogState


def find_loss(database: Path) -> Loss | None:
    """Compare the files of a database that is not open with its note and with each other.

    Returns:
        What is missing or damaged; None if nothing is, or nothing is known of the database file.
    """
    note, state = read_note(database), read_database(database)
    log = read_log(log_path(database))
    if state is None:
        is_known = database.is_file() and (note is not None or log.num_bytes > 0)
        return Loss("The head of the database file is damaged, or cut off.", note, log) if is_known else None
    if state.is_damaged:
        return Loss("The head of the database file is damaged.", note, log)
    what = _what_is_lost(note, state, log)
    return Loss(what, note, log) if what else None


def _what_is_lost(note: CommitNote | None, state: DatabaseState, log: LogState) -> str:
    if note is not None and note.database_id != state.database_id.hex():
        note = None  # of a database that was here before
    if note is not None and note.iteration > state.iteration:
        return "The database file is older than the last save: another copy of it was put in its place."
    is_newest = note is not None and note.iteration == state.iteration
    num_noted = note.log_bytes if note is not None and is_newest else 0
    if not log.num_bytes:
        return "The write-ahead log with the newest saves is gone." if num_noted else ""
    if not log.is_known:
        return ""
    if log.iteration is None:  # the header is damaged, or the log was begun when the power failed
        return "The head of the write-ahead log is damaged." if num_noted or log.has_more else ""
    if log.database_id is not None and any(state.database_id) and log.database_id != state.database_id:
        return "The write-ahead log belongs to another database."
    if log.iteration != state.iteration:
        # A process that is killed between a checkpoint and the removal of the log leaves the log of before.
        is_left_over = log.iteration == state.iteration - 1 and not num_noted
        return "" if is_left_over else "The write-ahead log does not continue the database file."
    if log.whole_bytes < num_noted:
        return f"The write-ahead log is damaged or cut at byte {log.whole_bytes:,} of {num_noted:,}."
    if log.has_more and not is_newest:
        return f"The write-ahead log is damaged at byte {log.whole_bytes:,}, and goes on after it."
    return ""


def is_cut(database: Path) -> bool:
    """Tell whether something that is not a whole transaction follows the last one in a database's log."""
    return read_log(log_path(database)).is_cut


def trim_log(database: Path) -> int:
    """Cut what follows the last whole transaction of a log off, if it was never acknowledged; return how many bytes.

    A power cut leaves part of a transaction that was being written. DuckDB refuses the whole database for some of them.
    The database must not be open in this process, nor in another.
    """
    note, state, log = note_of(database), read_database(database), read_log(log_path(database))
    if note is None or state is None or note.iteration != state.iteration or not log.is_cut:
        return 0
    if log.iteration is None and not note.log_bytes:
        log_path(database).unlink()
        return log.num_bytes
    if log.iteration != state.iteration or log.whole_bytes < note.log_bytes:
        return 0
    with log_path(database).open("r+b") as file:
        file.truncate(log.whole_bytes)
        os.fsync(file.fileno())
    return log.num_bytes - log.whole_bytes


def is_locked_by_another(database: Path) -> bool:
    """Tell whether another process has a database open. This process must not have it open."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: DuckDB itself says so
        return False
    try:
        with database.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
