import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from annotator.datasets import file_types
from annotator.datasets.file_types import IMAGE_SUFFIXES, RAW_SUFFIXES, count_types, why_not_read
from annotator.datasets.image_folder import decode_image, find_images
from annotator.errors import UnreadableImageError

Encode = Callable[..., bytes]
Photo = Callable[[], Image.Image]
NOBODY = 65534


def touch(root: Path, *relative_paths: str) -> None:
    for relative_path in relative_paths:
        path = root / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def search(root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the photos found, and the reason of each file or folder that is not read."""
    reasons: dict[str, str] = {}
    found = list(find_images(root, lambda path, reason: reasons.update({path.relative_to(root).as_posix(): reason})))
    return [path.relative_to(root).as_posix() for path in found], reasons


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_types, "is_installed", lambda format: False)


# --- finding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", [".jfif", ".mpo", ".jpe", ".jps", ".jpg_large", ".JPG", ".avif", ".heic", ".HIF", ".jxl", ".jp2", ".dng"]
)
def test_photos_of_every_name_are_found(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"a{suffix}")
    assert search(tmp_path) == ([f"a{suffix}"], {})


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.MP4", "video"), ("a.psd", "picture editor"), ("a.svg", "drawing"), ("a.exr", "kind of picture")],
)
def test_pictures_and_videos_that_are_not_read_are_named(tmp_path: Path, name: str, reason: str) -> None:
    touch(tmp_path, name, "notes.txt", "a.pdf")
    found, reasons = search(tmp_path)
    assert found == []
    assert list(reasons) == [name]
    assert reason in reasons[name]


def test_what_needs_a_package_that_is_not_there_is_named_with_the_command(
    tmp_path: Path, without_packages: None
) -> None:
    touch(tmp_path, "a.heic", "b.jxl", "c.nef", "d.jpg")
    found, reasons = search(tmp_path)
    assert found == ["d.jpg"]
    assert {name: reason.split(". ")[0].split()[-1] for name, reason in reasons.items()} == {
        "a.heic": "pillow-heif",
        "b.jxl": "pillow-jxl-plugin",
        "c.nef": "rawpy",
    }


def test_a_raw_photo_or_a_video_beside_its_photo_belongs_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.CR2", "A.jpg", "b.dng", "c/a.cr2", "live.heic", "live.MOV", "film.mov")
    found, reasons = search(tmp_path)
    assert found == ["A.jpg", "b.dng", "live.heic", "c/a.cr2"]
    assert list(reasons) == ["film.mov"]


def test_pairs_of_phones_that_name_their_parts_are_one_photo(tmp_path: Path) -> None:
    names = [
        "PXL_1.RAW-01.COVER.jpg",
        "PXL_1.RAW-02.ORIGINAL.dng",
        "PXL_2.RAW-01.MP.COVER.jpg",
        "PXL_3.RAW-02.ORIGINAL.dng",
    ]
    touch(tmp_path, *names, "PXL_2.RAW-02.ORIGINAL.dng")
    assert search(tmp_path) == ([names[0], names[2], names[3]], {})


def test_a_raw_photo_beside_a_photo_that_cannot_be_read_stands_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_types, "is_installed", lambda format: format == "RAW")
    touch(tmp_path, "a.heic", "a.cr3")
    assert search(tmp_path)[0] == ["a.cr3"]


def test_files_are_counted_by_the_name_of_their_type() -> None:
    assert count_types({".heic": 2, ".hif": 1, ".mp4": 3, ".jpg": 1, ".jpeg": 1, ".nef": 1, "": 1, ".psd": 1}) == {
        "HEIC": 3,
        "video (.mp4)": 3,
        "JPEG": 2,
        "RAW (.nef)": 1,
        "folder or other file": 1,
        "layered picture (.psd)": 1,
    }


def test_no_suffix_is_both_read_and_not_read() -> None:
    assert {suffix for suffix in IMAGE_SUFFIXES - RAW_SUFFIXES if why_not_read(f"a{suffix}")} == set()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to give root's rights up")
@pytest.mark.parametrize("mode", [0o744, 0o644, 0o711, 0o600])
def test_a_folder_that_cannot_be_entered_or_listed_is_reported_and_the_rest_is_found(tmp_path: Path, mode: int) -> None:
    touch(tmp_path, "a.jpg", "locked/b.jpg", "locked/below/c.jpg", "z/d.jpg")
    (tmp_path / "locked").chmod(mode)
    for folder in [tmp_path, *tmp_path.parents][:-1]:
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:  # rights are those of a process, so they are given up in one of its own
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(sender, repr(search(tmp_path)).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as answer:
        found, reasons = eval(answer.read())
    assert os.waitpid(child, 0)[1] == 0
    assert found == ["a.jpg", "z/d.jpg"]
    assert list(reasons) == ["locked"]
    assert "permission denied" in reasons["locked"]


def test_a_path_that_is_too_long_is_reported_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    opened = [descriptor]
    for _ in range(20):
        os.mkdir("d" * 240, dir_fd=opened[-1])
        opened.append(os.open("d" * 240, os.O_RDONLY, dir_fd=opened[-1]))
    try:
        found, reasons = search(tmp_path)
        assert found == ["a.jpg"]
        (reason,) = reasons.values()
        assert reason == "The folder could not be listed: file name too long."
    finally:  # pytest cannot remove it
        for below, above in zip(reversed(opened[1:]), reversed(opened[:-1]), strict=True):
            os.close(below)
            os.rmdir("d" * 240, dir_fd=above)
        os.close(descriptor)


# --- reading -------------------------------------------------------------------------------------------------


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


def test_an_mpo_gives_its_first_picture(real_photo: Photo, encode: Encode) -> None:
    data = encode(real_photo(), "MPO", save_all=True, append_images=[real_photo().rotate(180)], quality=95)
    decoded = decode_image(data)
    assert decoded.format == "JPEG"
    assert difference(decoded.image, real_photo()) < 3


@pytest.mark.parametrize(("format", "name"), [("AVIF", "AVIF"), ("JPEG2000", "JPEG 2000")])
@pytest.mark.parametrize("orientation", [1, 6])
def test_formats_of_pillow_are_read_upright_with_their_metadata(
    real_photo: Photo, encode: Encode, format: str, name: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    options = {"exif": exif, "xmp": b"<x/>", "quality": 95} if format == "AVIF" else {"quality_layers": [10]}
    decoded = decode_image(encode(real_photo(), format, **options))
    expected = real_photo().transpose(Image.Transpose.ROTATE_270) if orientation == 6 and exif else real_photo()
    if format != "AVIF":
        expected = real_photo()
    assert decoded.format == name
    assert difference(decoded.image, expected) < 4
    assert (decoded.width, decoded.height) == expected.size
    if format == "AVIF":
        assert decoded.embedded.exif[0x010F] == "Maker"
        assert decoded.embedded.xmp == b"<x/>"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_read_upright_with_its_metadata(real_photo: Photo, orientation: int) -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    photo = real_photo()
    file = io.BytesIO()
    heif.from_pillow(photo).save(file, quality=95, exif=exif.tobytes(), xmp=b"<x/>")
    decoded = decode_image(file.getvalue(), min_side=100)
    angle = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    expected = photo.transpose(angle[orientation]) if orientation in angle else photo
    assert decoded.format == "HEIC"
    assert (decoded.width, decoded.height) == expected.size
    assert difference(decoded.image, expected) < 4
    assert decoded.embedded.exif[0x010F] == "Maker"
    assert decoded.embedded.xmp.rstrip(b"\0") == b"<x/>"


def test_a_heic_of_too_many_pixels_is_refused_before_it_is_decoded(real_photo: Photo) -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(real_photo()).save(file)
    with pytest.raises(UnreadableImageError, match="megapixels"):
        decode_image(file.getvalue(), max_pixels=100_000)


@pytest.mark.parametrize("size", [(451, 300), (320, 240), (256, 256), (8, 16), (1000, 1)])
def test_jpeg_xl_is_read_and_its_size_is_known_before(real_photo: Photo, size: tuple[int, int]) -> None:
    pytest.importorskip("pillow_jxl")
    photo = real_photo().resize(size)
    file = io.BytesIO()
    photo.save(file, "JXL", lossless=True)
    decoded = decode_image(file.getvalue())
    assert decoded.format == "JPEG XL"
    assert decoded.image.tobytes() == photo.tobytes()
    with pytest.raises(UnreadableImageError, match="megapixels"):
        decode_image(file.getvalue(), max_pixels=size[0] * size[1] - 1)


@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_xl_is_turned_once(real_photo: Photo, encode: Encode, orientation: int, tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.jpg").write_bytes(encode(real_photo(), "JPEG", exif=exif, quality=95))
    expected = decode_image((tmp_path / "a.jpg").read_bytes()).image
    with Image.open(tmp_path / "a.jpg") as stored:
        stored.save(tmp_path / "recompressed.jxl", lossless_jpeg=True)
    decoded = decode_image((tmp_path / "recompressed.jxl").read_bytes())
    assert decoded.image.size == (decoded.width, decoded.height) == expected.size
    assert difference(decoded.image, expected) < 3


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"), (b"\xff\x0a" + bytes(20), "JPEG XL"), (b"IIRO\x08\0\0\0", "RAW")],
)
def test_without_the_package_the_reason_names_it(
    without_packages: None, monkeypatch: pytest.MonkeyPatch, data: bytes, name: str
) -> None:
    monkeypatch.setattr("annotator.datasets.picture_formats.is_installed", lambda format: False)
    monkeypatch.setattr("annotator.datasets.raw_photos.is_installed", lambda format: False)
    with pytest.raises(UnreadableImageError, match=f"{name} photos need another package: pip install"):
        decode_image(data)


# --- colour profiles -----------------------------------------------------------------------------------------


def swapped_profile() -> bytes:
    """A profile in which red and blue are exchanged, made from sRGB's."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {}
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        places[bytes(profile[at : at + 4])] = at + 4
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    profile[red : red + 8], profile[blue : blue + 8] = profile[blue : blue + 8], profile[red : red + 8]
    return bytes(profile)


def as_shown(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None:
        return image
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    assert shown is not None
    return shown


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("padding", [0, 18_000_000])
def test_a_profile_is_kept_or_applied_in_every_mode_and_never_megabytes_long(
    real_photo: Photo, encode: Encode, mode: str, padding: int
) -> None:
    profile = swapped_profile()
    profile = (len(profile) + padding).to_bytes(4, "big") + profile[4:] + bytes(padding)
    stored = real_photo().convert(mode)
    decoded = decode_image(encode(stored, "PNG", icc_profile=profile))
    expected = as_shown(stored.convert("RGB"), swapped_profile())
    assert difference(expected, real_photo()) > 10
    assert difference(as_shown(decoded.image, decoded.icc_profile), expected) < 1.5
    assert (decoded.icc_profile is None) == (padding > 0)


def test_grey_and_lab_pictures_are_converted(encode: Encode, real_photo: Photo) -> None:
    lab = ImageCms.profileToProfile(
        real_photo(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert difference(decode_image(encode(lab, "TIFF")).image, real_photo()) < 3


def test_a_profile_of_another_kind_of_colours_is_ignored(real_photo: Photo, encode: Encode) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    decoded = decode_image(encode(real_photo(), "PNG", icc_profile=profile))
    assert decoded.icc_profile is None
    assert decoded.image.tobytes() == real_photo().tobytes()
