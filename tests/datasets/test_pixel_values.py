import io
import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from annotator.datasets.image_folder import decode_image
from annotator.datasets.pixel_values import to_8_bit
from annotator.errors import UnreadableImageError

Encode = Callable[..., bytes]
Photo = Callable[[], Image.Image]
Array = np.ndarray[Any, np.dtype[Any]]


def extrema(data: bytes) -> tuple[int, int]:
    low, high = decode_image(data).image.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    return low, high


def as_tiff(values: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def ramp(low: float, high: float, dtype: str, shape: tuple[int, ...] = (64, 64)) -> Array:
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(dtype)


# --- deep grey -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize(("low", "high"), [(0, 4095), (29_000, 29_255), (100, 1023), (0, 16_383), (65_000, 65_535)])
def test_grey_that_uses_a_part_of_its_range_is_stretched(encode: Encode, format: str, low: int, high: int) -> None:
    darkest, brightest = extrema(encode(Image.fromarray(ramp(low, high, "uint16")), format))
    assert darkest < 5
    assert brightest > 250


def test_a_few_hot_pixels_do_not_darken_the_others(encode: Encode) -> None:
    values = ramp(100, 1100, "uint16", (200, 200))
    values[0, :3] = 65_535
    values[1, 0] = 0
    pixels = np.asarray(decode_image(encode(Image.fromarray(values), "TIFF")).image)
    assert np.percentile(pixels, 99) > 240
    assert np.percentile(pixels, 1) < 15


def test_a_few_bright_pixels_on_black_are_seen(encode: Encode) -> None:
    values = np.zeros((200, 200), np.uint16)
    values[10, 10] = 900
    assert extrema(encode(Image.fromarray(values), "PNG")) == (0, 255)


@pytest.mark.parametrize("marker", [-9999.0, -32768.0, -3.4e38])
@pytest.mark.parametrize("share", [0.01, 0.6])
def test_a_mark_for_unknown_heights_does_not_hide_the_others(encode: Encode, marker: float, share: float) -> None:
    values = ramp(300, 900, "float32", (100, 100))
    values.ravel()[: int(share * values.size)] = marker
    pixels = np.asarray(decode_image(encode(Image.fromarray(values), "TIFF")).image)[..., 0]
    known = pixels[values > 0]
    assert known.min() < 5
    assert known.max() > 250
    assert (pixels[values < 0] == 0).all()


def test_grey_that_uses_most_of_its_range_keeps_its_values(encode: Encode) -> None:
    values = ramp(6_000, 60_000, "uint16")
    pixels = np.asarray(decode_image(encode(Image.fromarray(values), "TIFF")).image)[..., 0]
    assert np.abs(pixels - values / 257).max() <= 1


@pytest.mark.parametrize("value", [0, 1000, 65_535])
def test_a_picture_of_one_value_is_not_stretched(encode: Encode, value: int) -> None:
    values = np.full((8, 8), value, np.uint16)
    low, high = extrema(encode(Image.fromarray(values), "PNG"))
    assert low == high == round(value / 257)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["uint16", "int32", "float32", "float64"]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))
    )
)
def test_any_values_give_8_bits_in_their_order(values: Array) -> None:
    pixels = to_8_bit(values)
    assert pixels.dtype == np.uint8
    assert pixels.shape == values.shape
    finite = np.isfinite(values) & (np.abs(values.astype(np.float64)) < 1e30)
    order = np.argsort(values[finite], kind="stable")
    assert (np.diff(pixels[finite][order].astype(int)) >= 0).all()


# --- deep colour ---------------------------------------------------------------------------------------------


def deep_png(values: Array, colour_type: int) -> bytes:
    """A PNG of 16 bits: colour type 2 is RGB, 4 grey and alpha, 6 RGB and alpha."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def in_8_bits(data: bytes) -> Array:
    return np.asarray(decode_image(data).image, int)


def deep_colour(bits: int) -> Array:
    """Colours that use so many bits, from 0 to the highest value."""
    return np.random.default_rng(0).permutation(ramp(0, 2**bits - 1, "uint16", (40, 50, 3)).ravel()).reshape(40, 50, 3)


@pytest.mark.parametrize("bits", [9, 12, 14])
@pytest.mark.parametrize(
    "options",
    [
        None,
        {},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "byteorder": ">"},
        {"tile": (16, 16)},
    ],
)
def test_colour_that_uses_few_of_16_bits_is_stretched(bits: int, options: dict[str, Any] | None) -> None:
    values = deep_colour(bits)
    data = deep_png(values, 2) if options is None else as_tiff(values, photometric="rgb", **options)
    assert np.abs(in_8_bits(data) - values * (255 / (2**bits - 1))).max() <= 1


@pytest.mark.parametrize("opaque", [4095, 65_535])
def test_deep_colour_and_grey_with_alpha_are_stretched_and_lie_on_white(opaque: int) -> None:
    colour, alpha = deep_colour(12), np.full((40, 50, 1), opaque)
    alpha[:5] = 0
    for values, colour_type in ((colour, 6), (colour[..., :1], 4)):
        pixels = in_8_bits(deep_png(np.dstack([values, alpha]), colour_type))
        assert (pixels[:5] == 255).all()
        assert np.abs(pixels[5:] - values[5:] * (255 / 4095)).max() <= 1


def test_a_few_hot_values_do_not_keep_deep_colour_dark() -> None:
    values = deep_colour(12)
    values[0, :2] = 65_535
    assert np.percentile(in_8_bits(deep_png(values, 2)), 99) > 240


@pytest.mark.parametrize("values", [deep_colour(16), deep_colour(15), np.full((40, 50, 3), 20_000, np.uint16)])
def test_deep_colour_that_uses_its_range_keeps_its_values(values: Array) -> None:
    for data in (deep_png(values, 2), as_tiff(values, photometric="rgb")):
        assert (in_8_bits(data) == values >> 8).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_planes_of_16_bits_are_not_taken_for_8_bits(bits: int) -> None:
    values = deep_colour(bits)
    data = as_tiff(np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.abs(in_8_bits(data) - values * (255 / (2**bits - 1))).max() <= 1


def test_a_deep_tiff_is_turned_upright() -> None:
    values = np.dstack([ramp(0, 1, "float32", (30, 40))] * 3)
    decoded = decode_image(as_tiff(values, photometric="rgb", extratags=[(274, 3, 1, 6, True)]))
    assert (decoded.width, decoded.height) == (30, 40)
    assert (np.asarray(decoded.image) == np.rot90(in_8_bits(as_tiff(values, photometric="rgb")), -1)).all()


# --- colour profiles -----------------------------------------------------------------------------------------


def profile_of(kind: bytes, space: bytes, connection: bytes, tag: bytes, body: bytes) -> bytes:
    """An ICC profile with one tag."""
    size = 128 + 16 + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sIIIIIIIII", size, b"\0\0\0\0", 0x02400000, kind, space, connection, bytes(12), b"acsp",
        b"\0\0\0\0", 0, 0, 0, 0, 0, 0, 0xF6D6, 0x10000, 0xD32D,
    )  # fmt: skip
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, tag, 144, len(body)) + body


def cmyk_profile(lightness: int) -> bytes:
    """A profile in which full cyan is a neutral tone, and any other ink black."""
    identity = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
    curve = bytes(range(256))
    tones = [0 if any(others) else lightness if cyan else 100 for cyan, *others in itertools.product((0, 1), repeat=4)]
    table = b"".join(bytes([round(tone * 2.55), 128, 128]) for tone in tones)
    body = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * curve + table + 3 * curve
    return profile_of(b"prtr", b"CMYK", b"Lab ", b"A2B0", body)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_the_profile_of_a_cmyk_picture_is_applied(encode: Encode, format: str) -> None:
    picture = Image.new("CMYK", (40, 30), (255, 0, 0, 0))
    red, green, blue = decode_image(encode(picture, format)).image.getpixel((5, 5))  # type: ignore[misc]
    assert max(green, blue) - red > 100
    decoded = decode_image(encode(picture, format, icc_profile=cmyk_profile(50)))
    pixels = np.asarray(decoded.image, int)
    assert np.abs(pixels - 119).max() <= 3  # L* 50 in sRGB
    assert decoded.icc_profile is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_the_profile_of_a_grey_picture_is_applied(encode: Encode, format: str) -> None:
    linear = profile_of(b"mntr", b"GRAY", b"XYZ ", b"kTRC", b"curv" + bytes(8))
    picture = Image.new("L", (40, 30), 64)
    assert decode_image(encode(picture, format)).image.getpixel((5, 5)) == (64, 64, 64)
    decoded = decode_image(encode(picture, format, icc_profile=linear))
    assert np.abs(np.asarray(decoded.image, int) - 137).max() <= 2  # a quarter of the light
    assert decoded.icc_profile is None


# --- TIFFs that Pillow does not read -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}, {"tile": (32, 32)}])
def test_floating_point_colour_is_read(real_photo: Photo, dtype: str, options: dict[str, Any]) -> None:
    values = (np.asarray(real_photo(), np.float64) / 255).astype(dtype)
    if "planarconfig" in options:
        values = np.moveaxis(values, -1, 0)
    decoded = decode_image(as_tiff(values, photometric="rgb", **options))
    assert decoded.format == "TIFF"
    assert (decoded.width, decoded.height) == (451, 300)
    assert np.abs(np.asarray(decoded.image, int) - np.asarray(real_photo(), int)).mean() < 8


@pytest.mark.parametrize("dtype", ["uint32", "int16", "float64", "uint64"])
def test_grey_of_unusual_number_types_is_read_with_its_range(dtype: str) -> None:
    assert extrema(as_tiff(ramp(10, 3000, dtype), photometric="minisblack")) == (0, 255)


def test_a_number_type_that_is_not_read_is_named_and_not_called_damaged() -> None:
    values = np.zeros((8, 8, 3), np.complex64)
    with pytest.raises(UnreadableImageError, match="This kind of TIFF") as refused:
        decode_image(as_tiff(values, photometric="rgb"))
    assert "damaged" not in str(refused.value)


def test_a_deep_tiff_of_too_many_pixels_is_refused() -> None:
    data = as_tiff(np.zeros((400, 400, 3), np.float32), photometric="rgb", compression="zlib")
    with pytest.raises(UnreadableImageError, match="megapixels"):
        decode_image(data, max_pixels=100_000)


def test_a_bomb_in_a_segment_of_a_deep_tiff_is_refused() -> None:
    data = as_tiff(np.zeros((16, 16, 3), np.float32), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        (offset,), (size,) = page.dataoffsets, page.databytecounts
        places = [page.tags[number].valueoffset for number in (273, 279)]
    bomb = zlib.compress(bytes(50_000_000), 9)
    changed = bytearray(data + bomb)
    for place, value, former in zip(places, (len(data), len(bomb)), (offset, size), strict=True):
        width = 4 if int.from_bytes(changed[place : place + 4], "little") == former else 2
        assert int.from_bytes(changed[place : place + width], "little") == former
        changed[place : place + 4] = value.to_bytes(4, "little")
    with pytest.raises(UnreadableImageError, match="far more pixels"):
        decode_image(bytes(changed))


# --- pages ---------------------------------------------------------------------------------------------------


def pages(*images: Image.Image, marked: bool) -> bytes:
    """A TIFF with a page for each image, the first of which is marked as a reduced copy or not."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, image in enumerate(images):
            kind = 1 if marked and number == 0 else 0
            writer.write(np.asarray(image), photometric="rgb", subfiletype=kind)
    return file.getvalue()


@pytest.mark.parametrize("marked", [True, False])
def test_a_first_page_that_is_a_thumbnail_is_passed_over(real_photo: Photo, marked: bool) -> None:
    photo = real_photo()
    decoded = decode_image(pages(photo.resize((113, 75)), photo, marked=marked))
    assert (decoded.width, decoded.height) == (451, 300)
    assert decoded.image.tobytes() == photo.tobytes()


def test_a_first_page_beside_other_pictures_stays_the_first(real_photo: Photo) -> None:
    photo = real_photo()
    decoded = decode_image(pages(photo.crop((0, 0, 200, 200)), photo, marked=False))
    assert (decoded.width, decoded.height) == (200, 200)


def predicted(values: Array, *, is_tiled: bool = False) -> bytes:
    """A TIFF of floating-point RGB, compressed with the predictor for such values; (H, W, 3)."""
    height, width, bands = values.shape
    rows, columns = (16, 16) if is_tiled else (height, width)
    segments = []
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            block = np.zeros((rows, columns, bands), ">f4")
            part = values[top : top + rows, left : left + columns]
            block[: part.shape[0], : part.shape[1]] = part
            stored = b""
            for row in block:
                planes = row.reshape(-1).view(np.uint8).reshape(-1, 4).T.reshape(-1, bands)
                stored += np.diff(planes, axis=0, prepend=np.zeros((1, bands), np.uint8)).astype(np.uint8).tobytes()
            segments.append(zlib.compress(stored))
    sizes = [322, 323, 324, 325] if is_tiled else [278, 273, 279]
    place, counts = (324, 325) if is_tiled else (273, 279)
    entries = {
        256: [width],
        257: [height],
        258: [32] * 3,
        259: [8],
        262: [2],
        277: [3],
        284: [1],
        317: [3],
        339: [3] * 3,
    }
    entries |= {number: [rows] for number in sizes if number in (278, 322, 323)}
    entries |= {place: [0] * len(segments), counts: [len(segment) for segment in segments]}
    start = 8 + 2 + 12 * len(entries) + 4
    entries[place] = [start + sum(map(len, segments[:number])) for number in range(len(segments))]
    tail, end = b"", start + sum(map(len, segments))
    directory = struct.pack("<H", len(entries))
    for number, value in sorted(entries.items()):
        packed = struct.pack(f"<{len(value)}I", *value)
        directory += struct.pack("<HHI", number, 4, len(value))
        directory += packed if len(packed) == 4 else struct.pack("<I", end + len(tail))
        tail += b"" if len(packed) == 4 else packed
    return b"II*\0" + struct.pack("<I", 8) + directory + b"\0" * 4 + b"".join(segments) + tail


@pytest.mark.parametrize("is_tiled", [False, True])
def test_floating_point_colour_with_its_predictor_is_read(real_photo: Photo, is_tiled: bool) -> None:
    pixels = np.asarray(real_photo().resize((75, 50)).convert("RGB"))
    decoded = decode_image(predicted(pixels.astype(np.float32) / 255, is_tiled=is_tiled))
    assert decoded.image.size == (75, 50)
    assert np.abs(np.asarray(decoded.image).astype(int) - pixels).max() <= 1


def test_a_cut_segment_with_that_predictor_is_refused(real_photo: Photo) -> None:
    data = predicted(np.asarray(real_photo().resize((75, 50)).convert("RGB")).astype(np.float32) / 255)
    start = data.index(b"x\x9c")
    with pytest.raises(UnreadableImageError):
        decode_image(data[: start + 40] + b"\0" * 400 + data[start + 440 :])


def test_a_picture_below_a_first_page_that_is_its_thumbnail_is_read(real_photo: Photo) -> None:
    photo = real_photo().resize((200, 100)).convert("RGB")
    small = np.asarray(photo.resize((40, 20)))
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(small, subifds=1, subfiletype=1, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
        writer.write(np.asarray(photo), photometric="rgb")
    decoded = decode_image(file.getvalue())
    assert decoded.image.size == (decoded.width, decoded.height) == (100, 200)  # the orientation is of the whole
    assert np.array_equal(np.asarray(decoded.image.transpose(Image.Transpose.ROTATE_90)), np.asarray(photo))


@pytest.mark.parametrize("mode", ["LA", "I;16"])
def test_the_profile_of_a_grey_picture_with_transparency_or_16_bits_is_applied(encode: Encode, mode: str) -> None:
    grey = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (8, 1)))
    profile = profile_of(b"mntr", b"GRAY", b"XYZ ", b"kTRC", b"curv" + bytes(8))
    plain = decode_image(encode(grey, "PNG", icc_profile=profile)).image
    assert not np.array_equal(np.asarray(plain), np.asarray(grey.convert("RGB")))
    other = grey.convert("LA") if mode == "LA" else Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    decoded = decode_image(encode(other, "PNG", icc_profile=profile))
    assert decoded.icc_profile is None
    assert np.abs(np.asarray(decoded.image).astype(int) - np.asarray(plain)).max() <= 1
