"""Files whose every pixel is there although something beside the pixels is damaged.

A JPEG that lacks its end mark, and a PNG with damaged or oversized chunks of text or colour, are written anew in
memory, so that Pillow reads them. Knows nothing of files on disk.
"""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ImageChops, JpegImagePlugin

MAX_CHUNK_BYTES = 1_000_000
"""Largest text or profile of a PNG that is kept in the file, in bytes, decompressed."""
MAX_TEXT_BYTES = 16_000_000
"""Most bytes of all texts of a PNG together, decompressed; Pillow refuses a file with more than 64 MB."""
MAX_PROFILE_BYTES = 50_000_000
"""Largest colour profile that is applied, in bytes."""

_END = b"\xff\xd9"
_SCAN = 0xDA
_IN_SCAN = frozenset({0x00, *range(0xD0, 0xD8), 0xFF})  # what may follow 0xFF between the bits of a scan
_BETWEEN_SCANS = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})  # tables, comments, the next scan
_NOISE = bytes(random.Random(0).choices(range(1, 255), k=4096))  # bits of a scan, without marks

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_CHUNK_SIZES = {
    b"gAMA": {4}, b"cHRM": {32}, b"sRGB": {1}, b"pHYs": {9}, b"tIME": {7}, b"cICP": {4}, b"tRNS": range(1, 257),
    b"bKGD": range(1, 7), b"sBIT": range(1, 5), b"eXIf": range(4, 1_000_001),
}  # fmt: skip
"""Content of small chunks in bytes; transparency of a palette has a byte for each colour."""
_TRANSPARENCY_SIZES = {0: {2}, 2: {6}}
"""Colour type -> content of the chunk tRNS, in bytes."""


def completed_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG with an end mark and without what follows its last scan, if no pixel depends on missing data.

    What a decoder does not find, it fills up. So the file is decoded twice, with its end and with noise before its end:
    pixels that differ were filled up.

    Args:
        data: A file that Pillow found truncated or damaged.

    Returns:
        The file to decode; None if pixels are missing.
    """
    end = _end_of_scans(data)
    if end is None or _lacks_scans(data[:end]):
        return None
    # Zeros fill the end of a file that was copied in part; one may be the last byte of the scan.
    body = data[:end].rstrip(b"\0")
    body += data[len(body) : min(end, len(body) + 1)]
    try:
        one, other = (JpegImagePlugin.JpegImageFile(io.BytesIO(body + rest + _END)) for rest in (b"", _NOISE))
        is_sound = ImageChops.difference(one, other).getbbox() is None
    except (OSError, SyntaxError, ValueError, struct.error, IndexError):
        return None
    return body + _END if is_sound else None


def _end_of_scans(data: bytes) -> int | None:
    """Return where the last scan of a JPEG ends; None if it has none."""
    position, in_scan, end = 2, False, None
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            return len(data) if in_scan else end
        mark = data[position + 1]
        if mark in _IN_SCAN:
            position += 2 if mark != 0xFF else 1
            continue
        if in_scan:
            end, in_scan = position, False
        if (end is not None and mark not in _BETWEEN_SCANS) or position + 4 > len(data):
            return end
        following = position + 2 + struct.unpack_from(">H", data, position + 2)[0]
        if end is not None and mark != _SCAN and data[following : following + 1] != b"\xff":
            return end  # no segment: what follows the picture
        in_scan = mark == _SCAN
        position = following


def _lacks_scans(data: bytes) -> bool:
    """Tell whether a progressive JPEG ends before the last bits of its coefficients."""
    low_bits: dict[tuple[int, int], int] = {}  # (component, coefficient) -> bits that are still to come
    position = data.find(b"\xff\xda")
    while position >= 0 and position + 4 < len(data):
        num_components = data[position + 4]
        parameters = position + 5 + 2 * num_components
        if parameters + 3 > len(data):
            break
        first, last, bits = data[parameters], data[parameters + 1], data[parameters + 2] & 15
        for component in data[position + 5 : parameters : 2]:
            low_bits.update({(component, coefficient): bits for coefficient in range(first, min(last, 63) + 1)})
        position = data.find(b"\xff\xda", parameters)
    return any(low_bits.values())


@dataclass(frozen=True)
class CleanedPng:
    """A PNG that Pillow reads."""

    data: bytes
    left_out: tuple[str, ...]
    """The names of the chunks that are not in it."""
    profile: bytes | None
    """A colour profile that is too large for Pillow."""


def cleaned_png(data: bytes) -> CleanedPng | None:
    """Return a PNG without its damaged and oversized chunks; None if its pixels are damaged, or nothing else is.

    Args:
        data: A file that Pillow could not read.
    """
    kept = [_PNG_SIGNATURE]
    left_out: list[str] = []
    profile = None
    has_end = False
    num_text_bytes = 0
    sizes = _CHUNK_SIZES | {b"tRNS": _TRANSPARENCY_SIZES.get(data[25], _CHUNK_SIZES[b"tRNS"])} if len(data) > 25 else {}
    for name, body, is_whole in _chunks(data):
        if name == b"IEND":
            has_end = True
            break
        if name in _PIXEL_CHUNKS:
            if not is_whole:
                return None
        elif is_whole and name == b"iCCP" and not _is_kept(name, body):
            profile = _decompressed(body.partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
            if profile is None:
                left_out.append("iCCP")
            continue
        elif not is_whole or not (len(body) in sizes[name] if name in sizes else _is_kept(name, body)):
            left_out.append(name.decode("latin-1"))
            continue
        elif name in _TEXT_CHUNKS:
            num_text_bytes += _text_size(name, body)
            if num_text_bytes > MAX_TEXT_BYTES:
                left_out.append(name.decode("latin-1"))
                continue
        kept.append(_chunk(name, body))
    if not has_end and not _is_complete(data):
        return None
    if has_end and not left_out and profile is None:
        return None
    sound = b"".join([*kept, _chunk(b"IEND", b"")])
    return CleanedPng(sound, tuple(dict.fromkeys(left_out)), profile)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield (name, content, whether its checksum is right) of each chunk that is there in full length."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        name, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        if not name.isalpha() or position + 12 + size > len(data):
            return
        (checksum,) = struct.unpack_from(">I", data, position + 8 + size)
        yield name, body, zlib.crc32(name + body) == checksum
        position += 12 + size


def _is_complete(data: bytes) -> bool:
    """Tell whether the compressed pixels of a PNG reach their end."""
    stream = zlib.decompressobj()
    try:
        for name, body, _ in _chunks(data):
            while name == b"IDAT" and body and not stream.eof:
                stream.decompress(body, 1 << 20)
                body = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


def _is_kept(name: bytes, body: bytes) -> bool:
    """Tell whether a chunk beside the pixels can be read by Pillow without harm."""
    if len(body) > MAX_CHUNK_BYTES:
        return False
    if name == b"tEXt":
        return True
    if name in {b"iCCP", b"zTXt"}:
        return _decompressed(body.partition(b"\0")[2][1:], MAX_CHUNK_BYTES) is not None
    if name == b"iTXt":
        flags = body.partition(b"\0")[2]
        text = flags[2:].partition(b"\0")[2].partition(b"\0")[2]
        return flags[:1] == b"\0" or _decompressed(text, MAX_CHUNK_BYTES) is not None
    return False


def _text_size(name: bytes, body: bytes) -> int:
    """Return the size of a text that is kept, decompressed, in bytes."""
    if name == b"zTXt":
        return len(_decompressed(body.partition(b"\0")[2][1:], MAX_CHUNK_BYTES) or b"")
    if name == b"iTXt" and body.partition(b"\0")[2][:1] == b"\1":
        return len(_decompressed(body.partition(b"\0")[2][2:].split(b"\0", 2)[-1], MAX_CHUNK_BYTES) or b"")
    return len(body)


def _decompressed(body: bytes, limit: int) -> bytes | None:
    """Return the decompressed bytes; None if they are damaged or more than the limit."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(body, limit + 1)
    except zlib.error:
        return None
    return text if stream.eof and len(text) <= limit else None


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
