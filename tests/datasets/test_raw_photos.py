import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.datasets.image_folder import decode_image
from annotator.datasets.raw_photos import is_raw_content
from annotator.datasets.sidecars import read_metadata
from annotator.errors import UnreadableImageError

Encode = Callable[..., bytes]
Photo = Callable[[], Image.Image]

pytest.importorskip("rawpy")


def mosaic(photo: Image.Image) -> np.ndarray[Any, np.dtype[Any]]:
    """The sensor values of a camera with the pattern RGGB."""
    pixels = (np.asarray(photo, np.float64) / 255) ** 2.2 * 60_000
    values = np.empty(pixels.shape[:2], np.uint16)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        values[row::2, column::2] = pixels[row::2, column::2, channel]
    return values


SHORT, LONG, TEXT, BYTES, FRACTIONS = 3, 4, 2, 1, 10


def directory(file: io.BytesIO, entries: dict[int, tuple[int, Any]]) -> int:
    """Write a TIFF directory with its values; return where it is."""
    rows = []
    for tag, (kind, value) in sorted(entries.items()):
        if kind in (TEXT, BYTES):
            data, count = value, len(value)
        elif kind == FRACTIONS:
            data, count = b"".join(struct.pack("<ii", number, 1) for number in value), len(value)
        else:
            values = value if isinstance(value, tuple) else (value,)
            data, count = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values), len(values)
        if len(data) > 4:
            data = struct.pack("<I", append(file, data))
        rows.append(struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0"))
    return append(file, struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4))


def append(file: io.BytesIO, data: bytes) -> int:
    position = file.seek(0, io.SEEK_END)
    file.write(data + b"\0" * (len(data) % 2))
    return position


def dng(
    photo: Image.Image, preview: bytes | None, preview_size: tuple[int, int] = (0, 0), orientation: int = 1
) -> bytes:
    """A RAW photo as a DNG, with a JPEG as its preview or none."""
    file = io.BytesIO(b"II*\0\0\0\0\0")
    values = mosaic(photo)
    file.seek(8)
    sensor: dict[int, tuple[int, Any]] = {
        254: (LONG, 0), 256: (LONG, photo.width), 257: (LONG, photo.height), 258: (SHORT, 16), 259: (SHORT, 1),
        262: (SHORT, 32803), 273: (LONG, append(file, values.tobytes())), 277: (SHORT, 1), 278: (LONG, photo.height),
        279: (LONG, values.nbytes), 284: (SHORT, 1), 33421: (SHORT, (2, 2)), 33422: (BYTES, b"\0\1\1\2"),
        50717: (LONG, 60_000),
    }  # fmt: skip
    first: dict[int, tuple[int, Any]] = {
        271: (TEXT, b"Maker\0"), 272: (TEXT, b"Maker Model\0"), 274: (SHORT, orientation),
        50706: (BYTES, b"\1\4\0\0"), 50708: (TEXT, b"Test Camera\0"),
        50721: (FRACTIONS, (1, 0, 0, 0, 1, 0, 0, 0, 1)), 50728: (FRACTIONS, (1, 1, 1)), 50778: (SHORT, 21),
    }  # fmt: skip
    if preview is None:
        first |= sensor
    else:
        first |= {
            254: (LONG, 1), 256: (LONG, preview_size[0]), 257: (LONG, preview_size[1]), 258: (SHORT, (8, 8, 8)),
            259: (SHORT, 7), 262: (SHORT, 6), 273: (LONG, append(file, preview)), 277: (SHORT, 3),
            278: (LONG, preview_size[1]), 279: (LONG, len(preview)), 330: (LONG, directory(file, sensor)),
        }  # fmt: skip
    place = directory(file, first)
    return file.getvalue()[:4] + struct.pack("<I", place) + file.getvalue()[8:]


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


@pytest.fixture
def large(real_photo: Photo) -> Image.Image:
    return real_photo().resize((1800, 1200))


TURNED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


@pytest.mark.parametrize("orientation", TURNED)
def test_a_raw_photo_is_read_by_its_preview_upright(large: Image.Image, encode: Encode, orientation: int) -> None:
    small = large.resize((1350, 900))
    decoded = decode_image(dng(large, encode(small, "JPEG", quality=95), small.size, orientation))
    turn = TURNED[orientation]
    expected = small if turn is None else small.transpose(turn)
    assert decoded.format == "RAW"
    assert (decoded.width, decoded.height) == expected.size
    assert difference(decoded.image, expected) < 3


def test_the_preview_is_decoded_smaller_where_that_is_enough(large: Image.Image, encode: Encode) -> None:
    decoded = decode_image(dng(large, encode(large, "JPEG"), large.size), min_side=200)
    assert (decoded.width, decoded.height) == (1800, 1200)
    assert decoded.image.size == (900, 600)


@pytest.mark.parametrize("has_thumbnail", [True, False])
def test_without_a_useful_preview_the_photo_is_developed(
    large: Image.Image, encode: Encode, has_thumbnail: bool
) -> None:
    thumbnail = encode(large.resize((160, 106)), "JPEG") if has_thumbnail else None
    decoded = decode_image(dng(large, thumbnail, (160, 106)))
    assert decoded.width in range(880, 901)
    # LibRaw brightens it; the picture is the same.
    one, other = (np.asarray(image.convert("L").resize((90, 60))).ravel() for image in (decoded.image, large))
    assert np.corrcoef(one, other)[0, 1] > 0.9


def test_a_photo_of_too_many_pixels_is_not_developed(large: Image.Image) -> None:
    with pytest.raises(UnreadableImageError, match="no preview"):
        decode_image(dng(large, None), max_pixels=1_000_000)


def test_camera_and_sidecar_of_a_raw_photo_are_read(large: Image.Image, encode: Encode, tmp_path: Path) -> None:
    data = dng(large, encode(large, "JPEG"), large.size)
    (tmp_path / "a.dng").write_bytes(data)
    (tmp_path / "a.dng.txt").write_text("dog, beach")
    found = read_metadata(tmp_path / "a.dng", decode_image(data), root=tmp_path)
    assert found.camera == "Maker Model"
    assert found.user_tags == ("dog", "beach")
    assert found.path_words == ()


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
def test_a_cut_raw_photo_is_refused_or_read_by_its_preview(large: Image.Image, encode: Encode, kept: float) -> None:
    data = dng(large, encode(large, "JPEG"), large.size)
    try:
        found = decode_image(data[: int(len(data) * kept)])
    except UnreadableImageError as error:
        reason = str(error)
    else:
        reason = f"of {found.format}"
    assert any(word in reason for word in ("RAW", "truncated", "damaged"))


def test_a_plain_tiff_is_no_raw_photo(real_photo: Photo, encode: Encode) -> None:
    assert not is_raw_content(encode(real_photo(), "TIFF"))
    assert not is_raw_content(encode(real_photo(), "TIFF", compression="tiff_lzw"))
    assert decode_image(encode(real_photo(), "TIFF")).format == "TIFF"
