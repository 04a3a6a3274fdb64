import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.datasets.image_folder import decode_image
from annotator.errors import UnreadableImageError

Encode = Callable[..., bytes]
Photo = Callable[[], Image.Image]

OPTIONS: list[dict[str, Any]] = [
    {"quality": 90},
    {"quality": 90, "progressive": True},
    {"quality": 50, "subsampling": 0, "restart_marker_rows": 1},
]
RANDOM = np.random.default_rng(3).integers(0, 256, 60_000, np.uint8).tobytes()


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)


def with_chunk(png: bytes, added: bytes) -> bytes:
    """Put a chunk after the header."""
    return png[:33] + added + png[33:]


# --- JPEG ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("min_side", [None, 30])
@pytest.mark.parametrize(
    "trailer", [b"", bytes(50_000), b"a text behind the photo " * 500, RANDOM, b"\xff\xe1\0\x10" + RANDOM]
)
def test_a_jpeg_without_its_end_mark_is_read_with_a_note(
    real_photo: Photo, encode: Encode, options: dict[str, Any], min_side: int | None, trailer: bytes
) -> None:
    data = encode(real_photo(), "JPEG", **options)
    whole = decode_image(data, min_side=min_side)
    cut = decode_image(data[:-2] + trailer, min_side=min_side)
    assert cut.image.tobytes() == whole.image.tobytes()
    assert (cut.width, cut.height) == (451, 300)
    # Of some files with a trailer, Pillow misses no end mark.
    assert cut.embedded.notes in {("The JPEG file lacks its end mark; all pixels are there.",), ()}
    assert cut.embedded.notes or trailer


@pytest.mark.parametrize("options", OPTIONS)
def test_a_jpeg_with_its_end_mark_and_a_trailer_needs_no_note(
    real_photo: Photo, encode: Encode, options: dict[str, Any]
) -> None:
    decoded = decode_image(encode(real_photo(), "JPEG", **options) + RANDOM)
    assert decoded.embedded.notes == ()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("num_missing", [8, 40, 200, 4000])
@pytest.mark.parametrize("min_side", [None, 30])
def test_a_jpeg_that_lacks_pixels_is_refused(
    real_photo: Photo, encode: Encode, options: dict[str, Any], num_missing: int, min_side: int | None
) -> None:
    data = encode(real_photo(), "JPEG", **options)
    with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
        decode_image(data[: -2 - num_missing], min_side=min_side)


def test_a_progressive_jpeg_that_lacks_whole_scans_is_refused(real_photo: Photo, encode: Encode) -> None:
    data = encode(real_photo(), "JPEG", quality=90, progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    tables = [data.rfind(b"\xff\xc4", 0, scan) for scan in scans]
    for scan, table in zip(scans[1:], tables[1:], strict=True):
        with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
            decode_image(data[: min(scan, table) if data[table + 2 : scan].count(b"\xff") == 0 else scan])


def test_zeros_at_the_end_of_a_progressive_jpeg_are_no_pixels(real_photo: Photo, encode: Encode) -> None:
    data = encode(real_photo(), "JPEG", quality=90, progressive=True)
    with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
        decode_image(data[:-500] + bytes(30_000))


# --- PNG -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("zTXt", chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000))),
        ("iTXt", chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"x" * 3_000_000))),
        ("zTXt", chunk(b"zTXt", b"Comment\0\0not compressed")),
        ("iCCP", chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(b"x" * 20_000_000))),
        ("iCCP", chunk(b"iCCP", b"sRGB\0\0not compressed")),
        ("tEXt", chunk(b"tEXt", b"Comment\0words", checksum=1)),
        ("iCCP", chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(b"p"), checksum=1)),
        ("eXIf", chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0", checksum=1)),
    ],
)
def test_a_png_with_damaged_or_oversized_chunks_is_read_with_all_its_pixels(
    real_photo: Photo, encode: Encode, name: str, added: bytes
) -> None:
    kept = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")
    decoded = decode_image(with_chunk(encode(real_photo(), "PNG"), kept + added))
    assert decoded.image.tobytes() == real_photo().tobytes()
    assert decoded.embedded.xmp == b"<x/>"
    if decoded.embedded.notes:  # Pillow passes over some of them itself
        assert decoded.embedded.notes == (
            f"In the PNG file, parts beside the pixels ({name}) are damaged or too large and were not read; "
            "all pixels are there.",
        )


def test_a_png_with_a_bomb_of_text_was_refused_by_pillow_itself(real_photo: Photo, encode: Encode) -> None:
    data = with_chunk(encode(real_photo(), "PNG"), chunk(b"zTXt", b"C\0\0" + zlib.compress(b"x" * 3_000_000)))
    with pytest.raises(ValueError, match="too large"), Image.open(io.BytesIO(data)) as image:
        image.load()
    assert "zTXt" in decode_image(data).embedded.notes[0]


@pytest.mark.parametrize("num_missing", [12, 4])
def test_a_png_without_its_end_is_read(real_photo: Photo, encode: Encode, num_missing: int) -> None:
    decoded = decode_image(encode(real_photo(), "PNG")[:-num_missing])
    assert decoded.image.tobytes() == real_photo().tobytes()


@pytest.mark.parametrize("added", [b"", chunk(b"tEXt", b"Comment\0words", checksum=1)])
def test_a_png_that_lacks_pixels_is_refused(real_photo: Photo, encode: Encode, added: bytes) -> None:
    data = with_chunk(encode(real_photo(), "PNG"), added)
    with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
        decode_image(data[:-40])


def test_a_png_with_damaged_pixels_is_refused(real_photo: Photo, encode: Encode) -> None:
    data = bytearray(encode(real_photo(), "PNG"))
    data[len(data) // 2] ^= 255
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode_image(bytes(data))


@pytest.mark.parametrize("name", [b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"tRNS"])
def test_a_png_with_a_chunk_of_a_wrong_size_is_read_without_it(real_photo: Photo, encode: Encode, name: bytes) -> None:
    decoded = decode_image(with_chunk(encode(real_photo(), "PNG"), chunk(name, b"" if name == b"sRGB" else b"x")))
    assert decoded.image.tobytes() == real_photo().tobytes()
    assert name.decode() in decoded.embedded.notes[0]


def test_the_transparency_of_a_png_with_another_damaged_chunk_is_kept(encode: Encode) -> None:
    png = encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    decoded = decode_image(with_chunk(png, chunk(b"gAMA", b"x")))
    assert decoded.image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_a_png_with_more_texts_than_pillow_reads_is_read_with_the_first_of_them(encode: Encode, kind: str) -> None:
    picture = Image.new("RGB", (8, 8), (10, 200, 30))
    data = encode(picture, "PNG")
    text = b"x" * 900_000
    heads = {"tEXt": b"\0" + text, "zTXt": b"\0\0" + zlib.compress(text), "iTXt": b"\0\1\0\0\0" + zlib.compress(text)}
    chunks = b"".join(chunk(kind.encode(), b"k%d" % number + heads[kind]) for number in range(90))
    decoded = decode_image(data[:33] + chunks + data[33:])
    assert decoded.image.getpixel((4, 4)) == (10, 200, 30)
    assert kind in decoded.embedded.notes[0]
