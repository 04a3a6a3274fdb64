"""Reads DuckDB's files from outside, without changing them: the header of a database, and its write-ahead log.

DuckDB opens a log that it cannot read to its end in two ways: it refuses the whole project, or it takes a damaged place
for the end of the log and forgets what follows. So the log is read before DuckDB reads it. A log is a header and
entries, each of a length (8 bytes), a checksum (8 bytes) and a content; a transaction ends with an entry `WAL_FLUSH`.
The layout is that of DuckDB 2.0 (storage/write_ahead_log.cpp, common/checksum.cpp, storage_info.cpp). Knows nothing of
tables.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_LENGTHS = struct.Struct("<QQ")
_DATABASE_HEADERS = (4096, 8192)
"""Offsets of the two headers of a database file; the one with the higher iteration counts."""
HEADER_BYTES = 4096
LOG_HEADER_BYTES = 96
"""More than any header of a log has."""
BLOCK_BYTES = 262_144
HEAD_BYTES = _DATABASE_HEADERS[-1] + 16
_ID_OFFSET, _ID_BYTES = 124, 16
_MAGIC = b"DUCK"
_KNOWN_VERSIONS = frozenset({1, 2})
_NEXT_VERSIONS = frozenset({b"\x03", b"\x04", b"\x05"})
_FLUSH = bytes.fromhex("640064ffff")
_CHECKPOINT_TYPE = bytes.fromhex("640063")
_HEADER_TYPE = bytes.fromhex("640062")
_END = b"\xff\xff"
_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_MURMUR = 0xC6A4A7935BD1E995
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class DatabaseState:
    """Which state of a database its main file holds."""

    database_id: bytes
    """Given when the database was made; the same in every copy of the file."""
    iteration: int
    """Number of its checkpoints."""
    is_damaged: bool = False
    """Whether one of the headers is not as it was written."""


@dataclass(frozen=True)
class LogState:
    """How much of a write-ahead log is whole."""

    num_bytes: int
    """Length of the file; 0 without one."""
    database_id: bytes | None
    iteration: int | None
    """Database and checkpoint that the log continues; None where the header cannot be read."""
    start: int
    """Where the entries begin."""
    commits: tuple[int, ...]
    """Ends of the whole transactions, up to the first damaged entry."""
    is_cut: bool
    """Whether anything that is not whole follows the last whole transaction."""
    stops_at: int
    """Where the first entry is that is not whole, or the end of the file."""
    has_more: bool
    """Whether the end of a further transaction follows what is not whole: damage, and not the trace of a crash."""
    ends_in_checkpoint: bool = False
    """Whether the last whole transaction says that a checkpoint of the database file was begun."""
    is_known: bool = True
    """False if the log has a newer layout, which only DuckDB can read."""

    @property
    def whole_bytes(self) -> int:
        """Length of the header and the whole transactions."""
        return self.commits[-1] if self.commits else self.start


def read_database(path: Path) -> DatabaseState | None:
    """Read the headers of a database file; None if it is too short, or not one.

    The file must not be open in DuckDB in this process: closing it would release DuckDB's lock.
    """
    try:
        with path.open("rb") as file:
            head = file.read(3 * HEADER_BYTES)
    except OSError:
        return None
    return parse_database(head)


def parse_database(head: bytes) -> DatabaseState | None:
    """Return the state that the first 12 KiB of a database file name."""
    if len(head) < _DATABASE_HEADERS[-1] + 16 or head[8:12] != _MAGIC:
        return None
    offsets = [offset for offset in (0, *_DATABASE_HEADERS) if _is_whole_block(head[offset : offset + HEADER_BYTES])]
    iterations = [_LENGTHS.unpack_from(head, offset)[1] for offset in offsets if offset]
    if not iterations:
        return None
    is_damaged = len(offsets) <= len(_DATABASE_HEADERS)
    return DatabaseState(head[_ID_OFFSET : _ID_OFFSET + _ID_BYTES], max(iterations), is_damaged)


def _is_whole_block(block: bytes) -> bool:
    return int.from_bytes(block[:8], "little") == checksum_of(block[8:])


def mended_places(path: Path) -> list[tuple[int, int]]:
    """Return the places of a database file where flipping one bit back makes a block whole, and the bytes to put there.

    Every header and block begins with the checksum of the rest. A block that is not whole and has no such place is left
    out: it may be one that is not in use.
    """
    found = []
    with path.open("rb") as file:
        for start, size in _blocks_of(path.stat().st_size):
            file.seek(start)
            block = file.read(size)
            at = _flipped_bit(block)
            if at is not None:
                found.append((start + at // 8, block[at // 8] ^ 1 << at % 8))
    return found


def torn_blocks(path: Path) -> list[tuple[int, bytes]]:
    """Return where the blocks of a database file begin that are not whole and not empty, and their right checksums.

    A checkpoint writes new metadata between the older ones, into the same block. Where the power fails meanwhile, the
    older metadata, which still count, are whole, and the block's checksum is neither the old one nor the new one.
    """
    found = []
    with path.open("rb") as file:
        for start, size in _blocks_of(path.stat().st_size):
            file.seek(start)
            block = file.read(size)
            if size == BLOCK_BYTES and not _is_whole_block(block) and block.strip(b"\0"):
                found.append((start, checksum_of(block[8:]).to_bytes(8, "little")))
    return found


def _blocks_of(num_bytes: int) -> list[tuple[int, int]]:
    """Return start and size of every whole header and block of a file."""
    headers = [(offset, HEADER_BYTES) for offset in (0, *_DATABASE_HEADERS)]
    blocks = range(3 * HEADER_BYTES, num_bytes - BLOCK_BYTES + 1, BLOCK_BYTES)
    return [item for item in headers if sum(item) <= num_bytes] + [(start, BLOCK_BYTES) for start in blocks]


def newest_state(head: bytes) -> DatabaseState | None:
    """Return the state that the first `HEAD_BYTES` of a database file name, without comparing checksums."""
    if len(head) < HEAD_BYTES or head[8:12] != _MAGIC:
        return None
    iterations = [_LENGTHS.unpack_from(head, offset)[1] for offset in _DATABASE_HEADERS]
    return DatabaseState(head[_ID_OFFSET : _ID_OFFSET + _ID_BYTES], max(iterations))


def log_path(database: Path) -> Path:
    """Return the path of a database's write-ahead log."""
    return database.with_name(f"{database.name}.wal")


def read_log(path: Path) -> LogState:
    """Read a write-ahead log, whether or not it exists."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    return parse_log(data)


def read_log_header(head: bytes) -> int | None:
    """Return the checkpoint that a log continues, from its first `LOG_HEADER_BYTES`; None if that cannot be read."""
    header = _parse_header(head)
    return header[1] if header else None


def parse_log(data: bytes, start: int | None = None) -> LogState:
    """Return how much of a log is whole.

    Args:
        data: The content of the file.
        start: Where the entries begin, if the header is known to be damaged.
    """
    if not data:
        return LogState(0, None, None, 0, (), is_cut=False, stops_at=0, has_more=False)
    if start is None and _is_newer(data):
        return LogState(len(data), None, None, 0, (), is_cut=False, stops_at=0, has_more=False, is_known=False)
    header = _parse_header(data)
    database_id, iteration, begin = header if header else (None, None, 0)
    if start is not None:
        begin = start
    elif header is None:
        return LogState(len(data), None, None, 0, (), is_cut=True, stops_at=0, has_more=_flush_entry() in data)
    commits, place, ends_in_checkpoint = [], begin, False
    while (end := _entry_end(data, place)) is not None:
        if data[place + _LENGTHS.size : end] != _FLUSH:
            ends_in_checkpoint = data[place + _LENGTHS.size :].startswith(_CHECKPOINT_TYPE)
        if data[place + _LENGTHS.size : end] == _FLUSH or data[place + _LENGTHS.size :].startswith(_CHECKPOINT_TYPE):
            commits.append(end)
        place = end
    whole = commits[-1] if commits else begin
    has_more = _flush_entry() in data[place:]
    is_cut = len(data) > whole
    return LogState(
        len(data), database_id, iteration, begin, tuple(commits), is_cut=is_cut, stops_at=place, has_more=has_more,
        ends_in_checkpoint=ends_in_checkpoint,
    )  # fmt: skip


def mend_one_bit(data: bytes, place: int) -> bytes | None:
    """Return a log whose entry at a place is whole after one of its bits was flipped back; None if no one bit does it.

    A checksum has 64 bits, so that another bit than the flipped one fits by accident in one of 10^14 entries.

    Args:
        data: The log.
        place: Where the entry begins that is not whole.
    """
    begin = place + _LENGTHS.size
    if begin > len(data):
        return None
    length, checksum = _LENGTHS.unpack_from(data, place)
    for bit in range(64):
        other = length ^ 1 << bit
        if 0 < other <= len(data) - begin and checksum_of(data[begin : begin + other]) == checksum:
            return data[:place] + _LENGTHS.pack(other, checksum) + data[begin:]
    if not 0 < length <= len(data) - begin:
        return None
    at = _flipped_bit(data[place + 8 : begin + length])
    if at is None:
        return None
    mended = bytearray(data)
    mended[place + 8 + at // 8] ^= 1 << at % 8
    return bytes(mended)


def _flipped_bit(block: bytes) -> int | None:
    """Return the one bit of a block that was flipped, if its other bits are as they were written.

    The checksum is the exclusive or of all words, each times an odd factor, so flips of the same high bit in two words
    may change it in the same way. Where more than one flip fits, the place is not known.

    Args:
        block: The checksum (8 bytes) and what it is of.

    Returns:
        The number of the bit; None if the block is whole, or none or several fit.
    """
    content = block[8:]
    wanted, found = int.from_bytes(block[:8], "little"), checksum_of(content)
    difference = wanted ^ found
    if not difference:
        return None
    fits = [difference.bit_length() - 1] if difference.bit_count() == 1 else []
    num_words = len(content) // 8
    words = np.frombuffer(content, "<u8", num_words)
    for bit in range(64):
        changes = (words * _FACTOR) ^ ((words ^ np.uint64(1 << bit)) * _FACTOR)
        fits += [64 * (int(word) + 1) + bit for word in np.flatnonzero(changes == np.uint64(difference))[:2]]
        if len(fits) > 1:
            return None
    for at in range(num_words * 64, len(content) * 8):
        other = bytearray(content)
        other[at // 8] ^= 1 << at % 8
        if checksum_of(bytes(other)) == wanted:
            fits.append(at + 64)
    return fits[0] if len(fits) == 1 else None


def header_for(database: DatabaseState) -> bytes:
    """Return the header of a log that continues a state of a database."""
    identity = b"".join(map(_varint, database.database_id))
    return (
        _HEADER_TYPE + b"\x65\x00" + _varint(2) + b"\x66\x00" + _varint(_ID_BYTES) + identity + b"\x67\x00"
        + _varint(database.iteration) + _END
    )  # fmt: skip


def _flush_entry() -> bytes:
    return _LENGTHS.pack(len(_FLUSH), checksum_of(_FLUSH)) + _FLUSH


def _entry_end(data: bytes, place: int) -> int | None:
    """Return the end of the entry at a place; None if it is not whole."""
    if place + _LENGTHS.size > len(data):
        return None
    length, checksum = _LENGTHS.unpack_from(data, place)
    begin = place + _LENGTHS.size
    if not 0 < length <= len(data) - begin or checksum_of(data[begin : begin + length]) != checksum:
        return None
    return int(begin + length)


def _is_newer(data: bytes) -> bool:
    """Tell whether a log was written in a layout after those that are known here."""
    start = _HEADER_TYPE + b"\x65\x00"
    return data.startswith(start) and data[len(start) : len(start) + 1] in _NEXT_VERSIONS


def _parse_header(data: bytes) -> tuple[bytes | None, int | None, int] | None:
    """Return database, iteration and length of a log's header; None if it is damaged or of another layout."""
    try:
        if not data.startswith(_HEADER_TYPE + b"\x65\x00"):
            return None
        version, place = _read_varint(data, len(_HEADER_TYPE) + 2)
        if version not in _KNOWN_VERSIONS:
            return None
        database_id = iteration = None
        if data[place : place + 2] == b"\x66\x00":
            length, place = _read_varint(data, place + 2)
            if length != _ID_BYTES:
                return None
            values = []
            for _ in range(length):
                value, place = _read_varint(data, place)
                values.append(value)
            database_id = bytes(values)
        if data[place : place + 2] == b"\x67\x00":
            iteration, place = _read_varint(data, place + 2)
        if data[place : place + 2] != _END:
            return None
        return database_id, iteration, place + 2
    except (IndexError, ValueError):
        return None


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def checksum_of(content: bytes) -> int:
    """Return DuckDB's checksum of some bytes."""
    num_words = len(content) // 8
    words = np.frombuffer(content, "<u8", num_words)
    result = 5381 ^ int(np.bitwise_xor.reduce(words * _FACTOR)) if num_words else 5381
    rest = content[num_words * 8 :]
    return result ^ _checksum_of_rest(rest) if rest else result


def _checksum_of_rest(rest: bytes) -> int:
    """Return MurmurHash64A of up to seven bytes, as DuckDB computes it."""
    value = 0xE17A1465 ^ (len(rest) * _MURMUR & _MASK)
    value ^= int.from_bytes(rest, "little")
    value = value * _MURMUR & _MASK
    value ^= value >> 47
    value = value * _MURMUR & _MASK
    return value ^ value >> 47
