"""Recovers a project whose files hold less than was committed: up to the last whole transaction.

The files are copied aside first, and nothing is tried on them: each attempt is made on a copy. The result is never less
than what the database file holds without its write-ahead log. Knows nothing of servers.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from annotator.errors import ProjectError, StoreError
from annotator.storage.commit_note import CommitNote, find_loss, is_locked_by_another, note_of, note_path
from annotator.storage.correction_log import newest_event
from annotator.storage.database import Store
from annotator.storage.event_digests import SELECTED, running_digests
from annotator.storage.project import Project, write_atomically
from annotator.storage.queries import utc_now
from annotator.storage.write_ahead_log import (
    LOG_HEADER_BYTES,
    DatabaseState,
    LogState,
    header_for,
    log_path,
    mend_one_bit,
    mended_places,
    parse_log,
    read_database,
    torn_blocks,
)

MOST_MENDED = 8
"""Most entries of a log in which a flipped bit is flipped back."""


def recover(project: Project) -> list[str]:
    """Recover the database of a project if it is not whole.

    Args:
        project: Not open in this process.

    Returns:
        What was done and what is missing, as sentences; empty if the files are whole, or another process has them open.

    Raises:
        ProjectError: The database file does not open in any way.
        OSError: The files cannot be copied aside.
    """
    database = project.database_path
    if not database.is_file() or is_locked_by_another(database):
        return []
    places, loss, note = mended_places(database), find_loss(database), note_of(database)
    log = _read_if_there(log_path(database))
    if not places and loss is None:
        newest_in_copy = _newest_event_of(database, log)
        if newest_in_copy is not None and (note is None or newest_in_copy >= note.event_id):
            return []
    aside = _copy_aside(project)
    found = []
    for place, byte in places:
        _put(database, place, bytes([byte]))
        found.append(f"A bit of the database file was flipped, in byte {place:,}; it was flipped back.")
    loss, note, state = find_loss(database), note_of(database), read_database(database)
    if state is None or state.is_damaged:
        raise ProjectError(_hopeless(project, "The head of its database file is damaged", aside))
    if loss is not None:
        found.append(loss.what)
        log = _longest_that_opens(database, log, note, state)
    if _newest_event_of(database, log) is None:
        blocks = torn_blocks(database) if parse_log(log).ends_in_checkpoint else []
        if not blocks or not _is_sound_with(database, log, blocks):
            raise ProjectError(_hopeless(project, "Its database file is damaged inside", aside))
        for place, checksum in blocks:
            _put(database, place, checksum)
        found.append(
            f"The power failed while the database file was written: the checksum of {len(blocks):,} blocks was made "
            "again, and every event was compared with its digest."
        )
    if not found:
        found.append("Its newest events are missing, while its files are whole.")
    is_complete = note is not None and len(log) >= note.log_bytes
    if log:
        write_atomically(log_path(database), log, mode=0o600)
    else:
        log_path(database).unlink(missing_ok=True)
    note_path(database).unlink(missing_ok=True)
    store = Store(database)
    try:
        newest_id, saved_at = newest_event(store)
    finally:
        store.close()
    until = f"event {newest_id:,}, of {saved_at:%Y-%m-%d %H:%M:%S} UTC" if saved_at else "its beginning"
    return [*found, f"The project was recovered up to {until}.", _missing(note, newest_id, is_complete),
            f"The files as they were are in {aside}."]  # fmt: skip


def _hopeless(project: Project, what: str, aside: Path) -> str:
    return (
        f"The project {project.folder} is not whole, and cannot be mended. {what}. Restore a backup into a new folder "
        f"(annotator restore FILE {project.folder}-restored). The files as they were are in {aside}."
    )


def _read_if_there(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _newest_event_of(database: Path, log: bytes) -> int | None:
    """Return the newest event of a copy with a given log; None if the copy does not open."""
    with _copy(database, log) as copy:
        try:
            store = Store(copy, keeps_copy=False)
        except ProjectError:
            return None
        try:
            return newest_event(store)[0]
        except StoreError:
            return None
        finally:
            store.close()


def _is_sound_with(database: Path, log: bytes, blocks: Sequence[tuple[int, bytes]]) -> bool:
    """Tell whether a copy with other checksums opens, every table of it can be read, and each event has its digest."""
    with _copy(database, log) as copy:
        for place, content in blocks:
            _put(copy, place, content)
        try:
            store = Store(copy, keeps_copy=False)
        except ProjectError:
            return False
        try:
            rows = store.rows(f"SELECT {SELECTED}, digest FROM events ORDER BY event_id")
            for (table,) in store.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal"):
                store.rows(f'SELECT * FROM "{table}"')
        except StoreError:
            return False
        finally:
            store.close()
    return [row[-1] for row in rows] == list(running_digests(row[:-1] for row in rows))


def _put(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _missing(note: CommitNote | None, newest_id: int, is_complete: bool) -> str:
    if note is None:
        return "Whether anything is missing after it is not known: there was no note of the last save."
    if note.event_id <= newest_id and is_complete:
        return "Nothing is missing."
    if note.event_id <= newest_id:
        return (
            f"No event is missing: the newest save was event {note.event_id:,}. Drafts, answers and accounts that were "
            "changed after it may be."
        )
    number = note.event_id - newest_id
    which = f"event {note.event_id:,}" if number == 1 else f"events {newest_id + 1:,} to {note.event_id:,}"
    return (
        f"{number:,} missing: {which}; the newest was written at {note.written_at[:19]} UTC. Drafts, answers and "
        "accounts that were changed since are missing too."
    )


class _copy:  # noqa: N801 - used as a context manager, like a function
    """Yield the path of a copy of a database with a given write-ahead log and no note; deleted at the end."""

    def __init__(self, database: Path, log: bytes) -> None:
        self._database, self._log = database, log
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(dir=self._database.parent, prefix=".recover-")
        copy = Path(self._folder.name) / self._database.name
        shutil.copyfile(self._database, copy)
        if self._log:
            log_path(copy).write_bytes(self._log)
        return copy

    def __exit__(self, *_: object) -> None:
        assert self._folder is not None
        self._folder.cleanup()


def _copy_aside(project: Project) -> Path:
    folder = project.folder / f"damaged-{utc_now():%Y%m%dT%H%M%S%f}"
    folder.mkdir(mode=0o700)
    database = project.database_path
    for path in (database, log_path(database), note_path(database)):
        if path.exists():
            shutil.copyfile(path, folder / path.name)
            with (folder / path.name).open("rb") as file:
                os.fsync(file.fileno())
    return folder


def _longest_that_opens(database: Path, log: bytes, note: CommitNote | None, state: DatabaseState) -> bytes:
    """Return the longest beginning of the log, by whole transactions, with which the database opens; empty for none."""
    head, body, found = _with_sound_header(log, note, state)
    for _ in range(MOST_MENDED):
        mended = mend_one_bit(body, found.stops_at) if found.stops_at < len(body) else None
        if mended is None:
            break
        body, found = mended, parse_log(mended, found.start)
    ends = [head + body[found.start : end] for end in found.commits]
    # The longest nearly always opens. Otherwise the place where it stops to do so is searched by halves.
    low, high = 0, len(ends)
    attempt = high
    while low < high:
        if _newest_event_of(database, ends[attempt - 1]) is not None:
            low = attempt
        else:
            high = attempt - 1
        attempt = (low + high + 1) // 2
    return ends[low - 1] if low else b""


def _with_sound_header(log: bytes, note: CommitNote | None, state: DatabaseState) -> tuple[bytes, bytes, LogState]:
    """Return the header to use, the log, and how much of it is whole; a damaged header is made again."""
    found = parse_log(log)
    if found.iteration == state.iteration and (found.database_id in (None, state.database_id)):
        return log[: found.start], log, found
    if not _is_damaged_header(found, note, state):
        return b"", b"", parse_log(b"")  # a log of another database, or of another state of this one
    header = header_for(state)
    starts = (found.start, len(header), *range(LOG_HEADER_BYTES)) if found.start else range(LOG_HEADER_BYTES)
    for start in (len(header), *starts):
        entries = parse_log(log, start)
        if entries.commits:
            return header, log, entries
    return b"", b"", parse_log(b"")


def _is_damaged_header(found: LogState, note: CommitNote | None, state: DatabaseState) -> bool:
    if not found.num_bytes:
        return False
    if note is not None and note.iteration == state.iteration and 0 < note.log_bytes <= found.num_bytes:
        return True  # a log of this length was written after this checkpoint
    if found.iteration is None:
        return True
    if found.database_id is None:
        return False
    differing = int.from_bytes(found.database_id, "big") ^ int.from_bytes(state.database_id, "big")
    return differing.bit_count() == 1 and found.iteration == state.iteration
