import importlib
import importlib.util
import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from annotator.datasets import image_folder
from annotator.datasets.image_folder import (
    MAX_PIXELS,
    content_hash,
    decode_image,
    display_name,
    find_images,
    read_image_file,
)
from annotator.errors import UnreadableImageError

Encode = Callable[..., bytes]
Photo = Callable[[], Image.Image]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


def names(root: Path, found: Iterator[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


# --- finding -------------------------------------------------------------------------------------------------


def touch(root: Path, *relative_paths: str) -> None:
    for relative_path in relative_paths:
        path = root / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_photos_come_in_natural_order_folder_by_folder(tmp_path: Path) -> None:
    touch(tmp_path, "IMG_10.jpg", "img_2.JPG", "trip 10/a.png", "trip 9/b.tiff", "trip 9/day/c.webp", "IMG_1.jpeg")
    assert names(tmp_path, find_images(tmp_path)) == [
        "IMG_1.jpeg",
        "img_2.JPG",
        "IMG_10.jpg",
        "trip 9/b.tiff",
        "trip 9/day/c.webp",
        "trip 10/a.png",
    ]


def test_only_image_suffixes_are_found_and_hidden_and_system_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".b.jpg", ".hidden/c.jpg", "@eaDir/d.jpg", "__MACOSX/e.jpg", "f.txt", "g.jpg.xmp", "jpg")
    assert names(tmp_path, find_images(tmp_path)) == ["a.jpg"]


def test_a_folder_named_like_a_photo_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg/inside.png")
    assert names(tmp_path, find_images(tmp_path)) == ["x.jpg/inside.png"]


def test_a_named_folder_is_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "project/thumbnails/1.jpg")
    found = find_images(tmp_path, skip_folders=[tmp_path / "other" / ".." / "project"])
    assert names(tmp_path, found) == ["a.jpg"]


def test_a_single_file_is_found_as_itself(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    assert list(find_images(tmp_path / "a.jpg")) == [tmp_path / "a.jpg"]


def test_links_inside_count_loops_end_and_links_out_are_reported(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    touch(tmp_path, "photos/a.jpg", "photos/folder/b.jpg", "outside/secret.jpg", "outside/notes.txt")
    (root / "again.jpg").symlink_to(root / "a.jpg")
    (root / "folder" / "loop").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (root / "out.txt").symlink_to(tmp_path / "outside" / "notes.txt")
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "self.jpg").symlink_to(root / "self.jpg")
    reported: dict[str, str] = {}
    found = find_images(root, lambda path, reason: reported.update({path.name: reason}))
    assert names(root, found) == ["a.jpg", "again.jpg", "folder/b.jpg"]
    assert set(reported) == {"out", "out.jpg", "gone.jpg", "self.jpg"}
    assert "outside" in reported["out"]
    assert "outside" in reported["out.jpg"]
    assert "not there" in reported["gone.jpg"]


def test_a_root_that_is_a_link_itself_is_searched(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path, find_images(tmp_path / "link")) == ["link/a.jpg"]


def test_a_folder_that_cannot_be_listed_is_reported_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.jpg", "locked/2.jpg", "z/3.jpg")
    scandir = os.scandir

    def refuse(path: Any) -> Any:  # simulated, since root may list every folder
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    reported: list[tuple[Path, str]] = []
    found = find_images(tmp_path, lambda path, reason: reported.append((path, reason)))
    assert names(tmp_path, found) == ["a/1.jpg", "z/3.jpg"]
    assert reported == [(tmp_path / "locked", "The folder could not be listed: permission denied.")]


def test_a_missing_root_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert list(find_images(tmp_path / "gone")) == []
    assert "no such file" in caplog.text


def test_unusual_names_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "Größe 写真.jpg", "new\nline.jpg", "١٢.jpg", "²3.jpg", f"{'9' * 200}.jpg")
    assert len(list(find_images(tmp_path))) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_found_read_and_shown(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg"), "wb") as file:
        file.write(b"data")
    (path,) = find_images(tmp_path)
    assert read_image_file(path) == b"data"
    assert display_name(path).endswith("caf\N{REPLACEMENT CHARACTER}.jpg")


def test_a_very_deep_tree_is_searched_to_its_end(tmp_path: Path) -> None:
    folder, depth = tmp_path, 0
    while len(str(folder)) < 3800:
        folder, depth = folder / "dd", depth + 1
        folder.mkdir()
    (folder / "a.jpg").touch()
    found = list(find_images(tmp_path))
    (folder / "a.jpg").unlink()
    while folder != tmp_path:  # pytest cannot remove so deep a tree
        folder.rmdir()
        folder = folder.parent
    assert depth > sys.getrecursionlimit()
    assert len(found) == 1


# --- reading -------------------------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").touch()
    for name, reason in {
        "folder.jpg": "folder",
        "pipe.jpg": "pipe",
        "empty.jpg": "empty",
        "gone.jpg": "no such file",
        "nul\0.jpg": "null",
    }.items():
        with pytest.raises(UnreadableImageError, match=reason):
            read_image_file(tmp_path / name)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(600_000_000)  # sparse: takes no disk space
    with pytest.raises(UnreadableImageError, match="600 MB; at most 500 MB"):
        read_image_file(tmp_path / "large.jpg")


def test_the_content_hash_is_sha256() -> None:
    assert content_hash(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# --- decoding: formats and modes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 3),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 4),
        ("BMP", {}, 0),
        ("DIB", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_deflate"}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 3),
        ("TIFF", {"big_tiff": True}, 0),
    ],
)
def test_every_format_gives_the_photo(
    real_photo: Photo, encode: Encode, format: str, options: dict[str, Any], tolerance: float
) -> None:
    decoded = decode_image(encode(real_photo(), format, **options))
    assert decoded.format == {"DIB": "BMP"}.get(format, format)
    assert decoded.image.mode == "RGB"
    assert (decoded.width, decoded.height) == decoded.image.size == (451, 300)
    assert difference(decoded.image, real_photo()) <= tolerance


@pytest.mark.parametrize(
    ("mode", "format"), [("P", "PNG"), ("P", "GIF"), ("1", "PNG"), ("L", "JPEG"), ("L", "TIFF"), ("CMYK", "JPEG")]
)
def test_palettes_bilevel_grey_and_cmyk_become_rgb(real_photo: Photo, encode: Encode, mode: str, format: str) -> None:
    stored = real_photo().convert(mode)
    decoded = decode_image(encode(stored, format))
    assert decoded.image.mode == "RGB"
    assert difference(decoded.image, stored.convert("RGB")) < 3


@pytest.mark.parametrize(("format", "mode"), [("PNG", "RGBA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("PNG", "LA")])
def test_alpha_lies_on_white(real_photo: Photo, encode: Encode, format: str, mode: str) -> None:
    photo = real_photo().convert(mode)
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, (0, 0, 100, 100))
    alpha.paste(128, (100, 0, 200, 100))
    photo.putalpha(alpha)
    pixels = np.asarray(decode_image(encode(photo, format, lossless=True)).image, np.float64)
    opaque = np.asarray(real_photo().convert(mode).convert("RGB"), np.float64)
    assert (pixels[:100, :100] == 255).all()
    assert np.abs(pixels[:100, 100:200] - (opaque[:100, 100:200] * 128 + 255 * 127) / 255).max() <= 1.5
    assert (pixels[100:] == opaque[100:]).all()


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_lies_on_white(encode: Encode, mode: str) -> None:
    image = Image.new("RGB", (4, 4), (10, 10, 10)).convert("L")
    image.putpixel((0, 0), 200)
    image = image.convert(mode)
    transparent = image.getpixel((1, 1))
    decoded = decode_image(encode(image, "PNG", transparency=transparent))
    assert decoded.image.getpixel((1, 1)) == (255, 255, 255)
    assert decoded.image.getpixel((0, 0)) == (200, 200, 200)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(encode: Encode, format: str) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    decoded = decode_image(encode(Image.fromarray(values), format))
    assert np.abs(np.asarray(decoded.image)[..., 0].ravel() - np.arange(256.0)).max() <= 1


def test_big_endian_16_bit_grey_is_scaled(encode: Encode) -> None:
    values = np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), values.tobytes())
    decoded = decode_image(encode(image, "TIFF"))
    assert np.abs(np.asarray(decoded.image)[..., 0].ravel() - np.arange(256.0)).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3e38, 3e38), (0.0, 255.0), (-5.0, 20.0)])
def test_floating_point_grey_uses_the_whole_range(encode: Encode, low: float, high: float) -> None:
    values = np.array([[low, high, np.nan]], np.float32)
    grey = np.asarray(decode_image(encode(Image.fromarray(values), "TIFF")).image)[0, :, 0]
    assert grey[0] == 0
    assert grey[1] == 255


@pytest.mark.parametrize(("format", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_of_several_frames_or_pages_the_first_counts(
    real_photo: Photo, encode: Encode, format: str, options: dict[str, Any]
) -> None:
    first = real_photo().quantize(64).convert("RGB")
    second = ImageOps.invert(first)
    decoded = decode_image(encode(first, format, save_all=True, append_images=[second], **options))
    assert difference(decoded.image, first) < 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(0, 10))
def test_every_orientation_gives_upright_pixels(
    real_photo: Photo, encode: Encode, format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(real_photo(), format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    decoded = decode_image(data)
    assert decoded.image.tobytes() == expected.tobytes()
    assert (decoded.width, decoded.height) == expected.size


def test_the_colour_profile_is_carried_along_and_a_damaged_one_is_not(real_photo: Photo, encode: Encode) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_image(encode(real_photo(), "JPEG", icc_profile=profile)).icc_profile == profile
    assert decode_image(encode(real_photo(), "JPEG", icc_profile=b"profile")).icc_profile is None
    assert decode_image(encode(real_photo(), "JPEG")).icc_profile is None


@pytest.mark.parametrize("progressive", [False, True])
def test_min_side_decodes_smaller_but_gives_the_same_resized_photo(
    real_photo: Photo, encode: Encode, progressive: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = real_photo().resize((2001, 1201), Image.Resampling.LANCZOS)
    data = encode(large, "JPEG", quality=92, exif=exif, progressive=progressive)
    full, reduced = decode_image(data), decode_image(data, min_side=128)
    assert (reduced.width, reduced.height) == (full.width, full.height) == full.image.size == (1201, 2001)
    assert 2 * 128 <= min(reduced.image.size) < 2 * 2 * 128
    size = (128, 213)
    resized = [decoded.image.resize(size, Image.Resampling.BICUBIC) for decoded in (full, reduced)]
    assert difference(*resized) < 1


def test_min_side_never_makes_a_small_photo_smaller(real_photo: Photo, encode: Encode) -> None:
    assert decode_image(encode(real_photo(), "JPEG"), min_side=256).image.size == (451, 300)


def test_the_content_decides_and_not_the_name(tmp_path: Path, real_photo: Photo) -> None:
    path = tmp_path / "really-a-png.jpg"
    real_photo().save(path, "PNG")
    assert decode_image(read_image_file(path)).format == "PNG"


def test_threads_decode_the_same_photos_at_once(real_photo: Photo, encode: Encode) -> None:
    data = [encode(real_photo(), format) for format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")] * 4
    with ThreadPoolExecutor(4) as pool:
        together = [decoded.image.tobytes() for decoded in pool.map(decode_image, data)]
    assert together == [decode_image(one).image.tobytes() for one in data]


# --- decoding: hostile and broken files ----------------------------------------------------------------------


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claimed_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def claimed_jpeg(data: bytes, width: int, height: int, marker: bytes = b"\xff\xc0") -> bytes:
    at = data.index(marker) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is a note\n", "text file"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"\0" * 5000, "zeros"),
        (b"%PDF-1.7\n\x80\x81\x82", "not a JPEG, PNG"),
        (b"\xff\xd8\xff", "JPEG file"),
        (b"\x89PNG\r\n\x1a\n", "PNG file"),
        (b"GIF89a", "GIF file"),
        (b"RIFF\0\0\0\0WEBP", "WEBP file"),
        (b"BM", "BMP file"),
        (b"II*\0", "TIFF file"),
    ],
)
def test_what_is_no_photo_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(data)


@pytest.mark.parametrize("size", [(20_000, 10_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)])
def test_a_png_of_too_many_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImageError, match=r"megapixels; at most 120"):
        decode_image(claimed_png(*size), min_side=256)


def test_a_bomb_is_refused_before_pixels_are_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated: list[object] = []
    monkeypatch.setattr("PIL.Image.core.new", lambda *arguments: allocated.append(arguments))
    with pytest.raises(UnreadableImageError, match="megapixels"):
        decode_image(claimed_png(20_000, 10_000))
    assert allocated == []


def test_limits_hold_for_the_other_formats(encode: Encode) -> None:
    small = Image.new("RGB", (16, 16))
    gif = bytearray(encode(small, "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    gif_frame = bytearray(encode(small, "GIF"))
    at = gif_frame.index(b"\x2c") + 5
    gif_frame[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    bmp = bytearray(encode(small, "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    webp = bytearray(encode(small, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")]))
    at = webp.index(b"VP8X") + 12
    webp[at : at + 6] = (16_383).to_bytes(3, "little") * 2
    tiff = encode(Image.new("1", (20_000, 10_000)), "TIFF", compression="group4")
    for data in (gif, gif_frame, bmp, webp, tiff):
        with pytest.raises(UnreadableImageError, match="pixels"):
            decode_image(bytes(data))


def test_a_large_jpeg_passes_only_at_reduced_size_and_only_if_not_progressive(encode: Encode) -> None:
    image = Image.new("L", (1000, 1000), 77)
    baseline, progressive = encode(image, "JPEG"), encode(image, "JPEG", progressive=True)
    decoded = decode_image(baseline, min_side=50, max_pixels=600_000)
    assert decoded.image.size == (125, 125)
    assert (decoded.width, decoded.height) == (1000, 1000)
    for data, min_side, max_pixels in (
        (baseline, None, 600_000),
        (baseline, 400, 600_000),
        (baseline, 50, 400_000),
        (progressive, 50, 600_000),
        (claimed_jpeg(baseline, 65_500, 65_500), 50, MAX_PIXELS),
    ):
        with pytest.raises(UnreadableImageError, match="megapixels"):
            decode_image(data, min_side=min_side, max_pixels=max_pixels)


def test_a_jpeg_of_endless_scans_is_refused(encode: Encode) -> None:
    data = encode(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableImageError, match="scans"):
        decode_image(data[:-2] + last_scan * 200 + data[-2:])


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "MAX_FILE_BYTES", 10)
    with pytest.raises(UnreadableImageError, match="MB"):
        decode_image(b"\xff\xd8\xff" + b"\0" * 8)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_photo_is_called_truncated(real_photo: Photo, encode: Encode, format: str, kept: float) -> None:
    data = encode(real_photo(), format)
    with pytest.raises(UnreadableImageError, match="truncated"):
        decode_image(data[: int(len(data) * kept)])


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_deflate"}, {"compression": "tiff_lzw"}])
def test_a_truncated_tiff_is_refused(real_photo: Photo, encode: Encode, options: dict[str, str]) -> None:
    data = encode(real_photo(), "TIFF", **options)
    for kept in (0.01, 0.5, 0.9):
        with pytest.raises(UnreadableImageError, match=r"truncated|damaged"):
            decode_image(data[: int(len(data) * kept)])


def test_running_out_of_memory_is_a_reason(real_photo: Photo, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    data = encode(real_photo().convert("L"), "PNG")
    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(UnreadableImageError, match="memory"):
        decode_image(data)


def test_pillows_warnings_stay_inside(encode: Encode) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\xff\xff\xff\x7f\0\0\0\0"  # a value past the end of the data
    data = encode(Image.new("RGB", (16, 16)), "JPEG", exif=exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Image.open(io.BytesIO(data)) as image:
            image.getexif().get(0x0112)
        assert caught, "this file no longer makes Pillow warn: find another one"
        del caught[:]
        assert decode_image(data).image.size == (16, 16)
        assert not caught


def small_photos() -> list[bytes]:
    image = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Canon"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 1.5)
    photos = []
    for format, options in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {"exif": exif}),
        ("WEBP", {"exif": exif.tobytes()}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"exif": exif}),
        ("AVIF", {"exif": exif}),
        ("JPEG2000", {}),
    ):
        file = io.BytesIO()
        image.save(file, format, **options)
        photos.append(file.getvalue())
    if importlib.util.find_spec("pillow_heif"):
        from pillow_heif import from_pillow

        file = io.BytesIO()
        from_pillow(image).save(file, exif=exif.tobytes())
        photos.append(file.getvalue())
    if importlib.util.find_spec("pillow_jxl"):
        importlib.import_module("pillow_jxl")
        file = io.BytesIO()
        image.save(file, "JXL")
        photos.append(file.getvalue())
    return photos


_SMALL_PHOTOS = small_photos()
_EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.sampled_from(["set", "cut", "insert"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(_SMALL_PHOTOS), _EDITS, st.floats(0.02, 1), st.sampled_from([None, 16]))
def test_mutated_photos_give_pixels_or_a_reason_and_nothing_else(
    photo: bytes, edits: list[tuple[float, int, str]], kept: float, min_side: int | None
) -> None:
    data = bytearray(photo[: int(len(photo) * kept)])
    for where, value, edit in edits:
        # Squared, since most of the structure that a parser reads is at the start.
        at = int(where * where * len(data))
        if edit == "set":
            data[at : at + 1] = bytes([value])
        elif edit == "cut":
            del data[at : at + value]
        else:
            data[at:at] = b"\xff" * (value % 16)
    try:
        outcome = decode_image(bytes(data), min_side=min_side, max_pixels=4_000_000).image.mode
    except UnreadableImageError as error:
        outcome = str(error)[-1]
    assert outcome in {"RGB", "."}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([photo[:12] for photo in _SMALL_PHOTOS] + [b""]))
def test_random_bytes_are_refused(data: bytes, start: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode_image(start + data)
