"""Reads the files of a database from outside, as they were at one moment, while another process writes them.

The database file changes when its write-ahead log is written into it (a checkpoint), and where much is added at once;
its headers are written last. Between two looks at which it was the same, the file and the whole transactions of the log
are the database at one moment. Changes nothing, and does not keep the other process waiting. Knows nothing of tables.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from annotator.errors import StoreError
from annotator.storage.commit_note import CommitNote, read_note
from annotator.storage.write_ahead_log import DatabaseState, log_path, parse_log, read_database

SETTLED_SECONDS = 0.02
"""A change after this time has another time of change: file systems count in steps of up to 10 ms."""
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before another attempt, where the files changed meanwhile."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Moment:
    """What tells one state of a database file from the next."""

    state: DatabaseState
    file_id: int
    num_bytes: int
    modified_ns: int


def at_one_moment(database: Path, take: Callable[[Moment], Result]) -> Result:
    """Return what a call has read of a database file and its log; it is called again where the file changed meanwhile.

    The database must not be open in this process: closing its file would release DuckDB's lock.

    Args:
        database: The database file.
        take: Reads; each call replaces what the one before has returned.

    Raises:
        StoreError: The file changes all the time, or its head is damaged.
    """
    for pause in (*PAUSES, None):
        before = _moment(database)
        if before is not None:
            time.sleep(SETTLED_SECONDS)
            if _moment(database) == before:
                result = take(before)
                if _moment(database) == before:
                    return result
        if pause is not None:
            time.sleep(pause)
    if read_database(database) is None:
        raise StoreError(f"The head of the database file {database} is damaged, or it is no database.")
    raise StoreError(f"The database file {database} was written all the time. Try again when less is added at once.")


def _moment(database: Path) -> Moment | None:
    """Return the present state; None while the log is written into the file, or the head cannot be read."""
    try:
        status = database.stat()
    except OSError as error:
        raise StoreError(f"The database file {database} cannot be read: {error.strerror}.") from error
    state = read_database(database)
    if state is None or state.is_damaged or _second_log(database).exists():
        return None
    return Moment(state, status.st_ino, status.st_size, status.st_mtime_ns)


def _second_log(database: Path) -> Path:
    """Return the path of the log that DuckDB writes while it writes the first one into the file."""
    log = log_path(database)
    return log.with_name(f"{log.name}.checkpoint")


def whole_log(database: Path, state: DatabaseState) -> tuple[bytes, CommitNote | None]:
    """Return the whole transactions of a log, and the note of a commit that is in it or in the file.

    Args:
        database: The database file.
        state: What the file holds; a log that was written into it already counts as empty.

    Raises:
        StoreError: The log is damaged, does not continue the file, or is of a newer layout.
    """
    note = read_note(database)  # before the log, which then holds at least what was noted
    if note is not None and note.database_id != state.database_id.hex():
        note = None  # of a database that was here before
    try:
        data = log_path(database).read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise StoreError(f"The log of {database} cannot be read: {error.strerror}.") from error
    found = parse_log(data)
    if not found.is_known:
        raise StoreError(f"The log of {database} is of a newer version of DuckDB than this version of annotator knows.")
    is_left_over = found.iteration == state.iteration - 1  # it is removed as soon as the file holds all of it
    whole = 0 if is_left_over or not found.commits else found.whole_bytes
    noted = note.log_bytes if note is not None and note.iteration == state.iteration else 0
    if whole < noted or (found.iteration is None and found.has_more):
        raise StoreError(f"The log of {database} is damaged at byte {whole:,}. Run `annotator check` on the project.")
    if whole and (found.iteration != state.iteration or found.database_id not in (None, state.database_id)):
        raise StoreError(f"The log of {database} does not continue the file. Run `annotator check` on the project.")
    return data[:whole], note


def copy_at_one_moment(database: Path, folder: Path) -> Path:
    """Copy a database, with the whole transactions of its log, into a folder; return the path of the copy.

    Raises:
        StoreError: As of `at_one_moment` and `whole_log`, or there is no room for the copy.
    """
    copy = folder / database.name

    def take(moment: Moment) -> None:
        log, _ = whole_log(database, moment.state)
        try:
            shutil.copyfile(database, copy)
            log_path(copy).write_bytes(log)
        except OSError as error:
            raise StoreError(f"{database} cannot be copied to {folder}: {error.strerror}.") from error

    at_one_moment(database, take)
    if not log_path(copy).stat().st_size:
        log_path(copy).unlink()
    return copy
