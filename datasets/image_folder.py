"""Photos in folders: search for files, and decoding of their bytes to upright RGB pixels.

Any file may be damaged or malicious. ``decode_image`` either returns pixels or raises ``UnreadableImageError``; it
refuses decompression bombs before their pixels are allocated. Knows nothing of projects or backbones.
"""

import hashlib
import io
import logging
import os
import re
import stat
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from annotator.datasets.deep_colour import stretched
from annotator.datasets.deep_tiff import below_thumbnail, is_misread, read_deep, select_picture
from annotator.datasets.embedded_metadata import ORIENTATION, EmbeddedBlocks, embedded_blocks, exif_of_tiff
from annotator.datasets.file_types import (
    IMAGE_SUFFIXES,
    SKIPPED_FOLDERS,
    is_raw,
    is_video,
    suffix_of,
    why_not_read,
)
from annotator.datasets.picture_formats import open_picture, recognise
from annotator.datasets.pixel_values import to_rgb
from annotator.datasets.raw_photos import read_preview
from annotator.datasets.sound_pixels import cleaned_png, completed_jpeg
from annotator.errors import UnreadableImageError

_log = logging.getLogger(__name__)

MAX_FILE_BYTES = 500_000_000
"""Largest file that is read, in bytes."""

MAX_PIXELS = 120_000_000
"""Most pixels of a decoded photo: enough for a 102-megapixel camera; 480 MB at Pillow's 4 bytes a pixel."""

_MAX_REDUCED_FACTOR = 2
# A JPEG decoded at reduced size never allocates its full pixels, so its full size may be this many times max_pixels:
# enough for a 200-megapixel phone. Not for progressive JPEGs, of which libjpeg keeps all coefficients.

_MAX_JPEG_SCANS = 100
# Each scan of a progressive JPEG is a pass over the whole picture and can be a few bytes long, so a small file could
# take hours to decode. Encoders write about 10.

_PART_OF_PAIR = re.compile(r"\.raw-\d\d(?:\.mp)?\.(?:cover|original)")
# PXL_1.RAW-01.COVER.jpg and PXL_1.RAW-02.ORIGINAL.dng of Pixel phones, PXL_1.RAW-01.MP.COVER.jpg with motion

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# EXIF orientation -> operation that turns the stored pixels upright; 5 to 8 swap width and height.


@dataclass(frozen=True)
class DecodedImage:
    """The pixels and metadata of one photo."""

    image: Image.Image
    """RGB, upright, at full size or, with ``min_side``, reduced."""
    width: int
    """Width of the upright photo at full size."""
    height: int
    """Height of the upright photo at full size."""
    format: str
    """JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIC, JPEG XL, JPEG 2000 or RAW (then of the embedded preview)."""
    embedded: EmbeddedBlocks
    """EXIF, IPTC and XMP as found, for ``read_metadata``."""
    icc_profile: bytes | None
    """The colour profile that the pixels need, of at most ``pixel_values.MAX_PROFILE_BYTES``; None: sRGB or unknown."""


def find_images(
    root: Path,
    on_error: Callable[[Path, str], None] | None = None,
    *,
    skip_folders: Collection[Path] = (),
) -> Iterator[Path]:
    """Yield the photos below a folder: its own first, then those of its subfolders; IMG_2 before IMG_10.

    Hidden files and folders and ``SKIPPED_FOLDERS`` are left out. Links to folders are not followed: their target
    is either searched itself, or lies outside of root, which is reported. A RAW photo with another photo of its name
    in its folder, and a video with such a photo, belong to that photo and are left out.

    Args:
        root: A folder, or a single file, which is then yielded.
        on_error: Called with a path and the reason if a folder cannot be listed or entered, a link is broken or leads
            out of root, or a picture or video is of a type that is not read. Without it, these are logged as warnings.
        skip_folders: Folders to leave out, such as a project inside of the photo folder.
    """
    report = on_error or _log_error
    if os.path.isfile(root):
        yield root
        return
    real_root = os.path.realpath(root)
    skipped = {os.path.realpath(folder) for folder in skip_folders}
    pending = [root]  # a stack, since a tree may be deeper than Python's recursion limit
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=_entry_key)
        except OSError as error:
            report(folder, f"The folder could not be listed: {_os_reason(error)}.")
            continue
        try:
            os.stat(os.path.join(folder, "."))  # a folder may be listed but not entered
        except OSError as error:
            report(folder, f"The folder could not be entered: {_os_reason(error)}.")
            continue
        subfolders = []
        photos = _names_of_pairs([entry.name for entry in entries])
        for entry in entries:
            path = folder / entry.name
            try:
                if entry.is_symlink():
                    problem = _link_problem(entry, real_root)
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name not in SKIPPED_FOLDERS and (not skipped or os.path.realpath(path) not in skipped):
                        subfolders.append(path)
                    continue
                else:
                    problem = None
                if problem is None and _belongs_to_another(entry.name, photos):
                    continue
                problem = problem or why_not_read(entry.name)
                if problem:
                    report(path, problem)
                elif _has_image_suffix(entry.name) and entry.is_file():
                    yield path
            except OSError as error:
                report(path, f"The file could not be examined: {_os_reason(error)}.")
        pending.extend(reversed(subfolders))


def photos_among(names: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the photos among the files of one folder, IMG_2 before IMG_10, and what is not read, with the reason.

    Hidden files are left out, and RAW photos and videos that belong to another photo; see `find_images`.

    Args:
        names: Of files, without those of folders.
    """
    visible = [name for name in names if not name.startswith(".")]
    photos = _names_of_pairs(visible)
    for name in sorted(visible, key=_natural_key):
        if _belongs_to_another(name, photos):
            continue
        reason = why_not_read(name)
        if reason or _has_image_suffix(name):
            yield name, reason


def folders_among(names: Iterable[str]) -> list[str]:
    """Return the names of folders that are searched for photos, in order: not hidden ones nor `SKIPPED_FOLDERS`."""
    searched = [name for name in names if not name.startswith(".") and name not in SKIPPED_FOLDERS]
    return sorted(searched, key=_natural_key)


def read_image_file(path: Path) -> bytes:
    """Read a photo's bytes.

    Raises:
        UnreadableImageError: The file is not regular, empty, too large or unreadable; the message is one sentence
            without the path.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe blocks until there is a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise UnreadableImageError("This is a folder, not a photo.")
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("This is a device or a pipe, not a file.")
            if status.st_size > MAX_FILE_BYTES:
                raise UnreadableImageError(_too_large(status.st_size))
            data = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError as error:
        raise UnreadableImageError("This is a folder, not a photo.") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character
        raise UnreadableImageError(f"The file could not be read: {_os_reason(error)}.") from error
    check_bytes(data)
    return data


def check_bytes(data: bytes) -> None:
    """Check that a file's bytes may be a photo's.

    Raises:
        UnreadableImageError: There are none, or too many.
    """
    if not data:
        raise UnreadableImageError("The file is empty (0 bytes).")
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableImageError(_too_large(len(data)))


def content_hash(data: bytes) -> str:
    """Return the identity of an image: the SHA-256 of its file's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def decode_image(data: bytes, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode a photo to upright RGB: the first of several frames or pages, with alpha over white.

    A file that is damaged beside its pixels only is read, with a note in ``embedded``.

    Thread-safe; Pillow releases the interpreter lock while it decodes and converts.

    Args:
        data: A whole file; the format is detected from its content.
        min_side: The short side that the caller will resize to, in pixels. Large JPEGs are then decoded at a
            half, quarter or eighth, but never below twice this. None decodes at full size.
        max_pixels: Most pixels of the decoded photo.

    Raises:
        UnreadableImageError: The bytes are in another format, damaged, truncated, or hold too many pixels. The
            message says which, without a path.
    """
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableImageError(_too_large(len(data)))
    name = recognise(data)
    _silence_pillow()
    try:
        return _decode(name, data, min_side, max_pixels)
    except UnreadableImageError:
        raise
    # Pillow's parsers raise errors of many types: SyntaxError, struct.error, IndexError, zlib.error ...
    except Exception as error:
        sound = None if isinstance(error, MemoryError) else _decode_sound_pixels(name, data, min_side, max_pixels)
        if sound is None:
            raise UnreadableImageError(_reason(error, name, data)) from error
        return sound


def _decode(
    name: str, data: bytes, min_side: int | None, max_pixels: int, profile: bytes | None = None
) -> DecodedImage:
    """Decode a file in a known format; a profile stands for the one that it lacks."""
    if name == "RAW":
        return _decode_raw(data, min_side, max_pixels)
    source = open_picture(name, data, max_pixels)
    embedded = None
    if isinstance(source, TiffImagePlugin.TiffImageFile):
        embedded = embedded_blocks(source)  # loading closes a TIFF's file
        select_picture(source)
        below = below_thumbnail(source, data)
        if below is not None:
            decoded = _decode(name, below, min_side, max_pixels, profile or source.info.get("icc_profile"))
            return _turned(decoded, embedded)
        if is_misread(source):
            deep = _decode_deep_tiff(data, max_pixels)
            if deep is None:
                raise SyntaxError("its planes cannot be read")
            return deep
    full_size = source.size
    reduced_size = _reduce_and_check(source, data, min_side, max_pixels)
    tiles = list(source.tile)
    source.load()
    embedded = embedded or embedded_blocks(source)  # a PNG's metadata may come after the pixels
    profile = profile or source.info.get("icc_profile")
    reduced = _trim(source, reduced_size) if reduced_size else source
    if name in {"PNG", "TIFF"}:
        reduced = stretched(source, tiles, lambda: _open_again(name, data, max_pixels))
    image, profile = to_rgb(reduced, profile if isinstance(profile, bytes) and profile else None)
    orientation = embedded.exif.get(ORIENTATION)
    if name == "TIFF":  # Pillow has applied the orientation already
        full_size = image.size
    elif name == "JPEG XL" and not getattr(source, "jpeg", False):
        # The decoder has applied the orientation; it has not to a JPEG that the file holds.
        embedded = replace(embedded, exif={tag: embedded.exif[tag] for tag in embedded.exif if tag != ORIENTATION})
    elif isinstance(orientation, int) and orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
        if orientation >= 5:
            full_size = full_size[1], full_size[0]
    return DecodedImage(
        image=image,
        width=full_size[0],
        height=full_size[1],
        format="BMP" if name == "DIB" else name,
        embedded=embedded,
        icc_profile=profile,
    )


def _turned(below: DecodedImage, above: EmbeddedBlocks) -> DecodedImage:
    """Return the picture below a thumbnail with the metadata of that, and upright by its orientation."""
    embedded = above.completed_by(below.embedded)
    orientation = above.exif.get(ORIENTATION)
    if ORIENTATION in below.embedded.exif or orientation not in _TRANSPOSE:
        return replace(below, embedded=embedded)
    image = below.image.transpose(_TRANSPOSE[orientation])
    return replace(below, image=image, width=image.width, height=image.height, embedded=embedded)


def _open_again(name: str, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    source = open_picture(name, data, max_pixels)
    if isinstance(source, TiffImagePlugin.TiffImageFile):
        select_picture(source)
    return source


def _decode_raw(data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage:
    preview = read_preview(data, max_pixels)
    own = exif_of_tiff(data)
    if preview.jpeg is None:
        assert preview.image is not None
        image = preview.image
        if preview.orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[preview.orientation])
        return DecodedImage(image, *image.size, "RAW", own, None)
    decoded = _decode("JPEG", preview.jpeg, min_side, max_pixels)
    image, width, height = decoded.image, decoded.width, decoded.height
    if ORIENTATION not in decoded.embedded.exif and preview.orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[preview.orientation])
        if preview.orientation >= 5:
            width, height = height, width
    return DecodedImage(image, width, height, "RAW", own.completed_by(decoded.embedded), decoded.icc_profile)


def _decode_sound_pixels(name: str, data: bytes, min_side: int | None, max_pixels: int) -> DecodedImage | None:
    """Decode a file that is damaged beside its pixels, with a note; None if pixels are missing."""
    if name == "TIFF":
        return _decode_deep_tiff(data, max_pixels)
    profile = None
    if name == "JPEG" and _fits(data, max_pixels):
        sound, note = completed_jpeg(data), "The JPEG file lacks its end mark; all pixels are there."
    elif name == "PNG" and (cleaned := cleaned_png(data)) is not None:
        sound, profile = cleaned.data, cleaned.profile
        parts = f"parts beside the pixels ({', '.join(cleaned.left_out)}) are damaged or too large and were not read"
        note = f"In the PNG file, {parts}; all pixels are there." if cleaned.left_out else ""
    else:
        return None
    if sound is None:
        return None
    try:
        decoded = _decode(name, sound, min_side, max_pixels, profile)
    except UnreadableImageError:
        raise
    except Exception:  # as above: it is damaged in other places too
        return None
    notes = (*decoded.embedded.notes, note) if note else decoded.embedded.notes
    return replace(decoded, embedded=replace(decoded.embedded, notes=notes))


def _decode_deep_tiff(data: bytes, max_pixels: int) -> DecodedImage | None:
    try:
        image, embedded = read_deep(data, max_pixels)
    except UnreadableImageError:
        raise
    except Exception:  # tifffile's parser raises errors of many types; Pillow's reason is shown
        return None
    orientation = embedded.exif.get(ORIENTATION)
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    return DecodedImage(image, *image.size, "TIFF", embedded.completed_by(exif_of_tiff(data)), None)


def _fits(data: bytes, max_pixels: int) -> bool:
    """Tell whether a JPEG may be decoded at full size."""
    try:
        source = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        _reduce_and_check(source, data, None, max_pixels)
    except Exception:  # it will not be decoded then
        return False
    return True


def display_name(path: Path | str) -> str:
    """Return a path as valid Unicode, with the replacement character for bytes that are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _reduce_and_check(
    source: ImageFile.ImageFile, data: bytes, min_side: int | None, max_pixels: int
) -> tuple[float, float] | None:
    """Set a JPEG to decode at reduced size; refuse pictures with too many pixels or scans.

    Returns:
        The full size divided by the reduction, not rounded; None if it will be decoded at full size.
    """
    width, height = source.size
    reduced = None
    allowed = max_pixels
    if isinstance(source, JpegImagePlugin.JpegImageFile):
        progressive = bool(source.info.get("progressive"))
        if progressive and data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
            raise UnreadableImageError(f"The JPEG has more than {_MAX_JPEG_SCANS} scans, which no camera writes.")
        if min_side is not None:
            reduced = source.draft(None, (2 * min_side, 2 * min_side))
            allowed = max_pixels if progressive else _MAX_REDUCED_FACTOR * max_pixels
    if width * height > allowed or source.width * source.height > max_pixels:
        raise UnreadableImageError(
            f"The picture has {width:,} x {height:,} = {width * height / 1e6:,.0f} megapixels; "
            f"at most {allowed / 1e6:,.0f} are read. Save a smaller copy."
        )
    return reduced[1][2:] if reduced else None


def _trim(image: Image.Image, exact_size: tuple[float, float]) -> Image.Image:
    """Cut the last column and row of a reduced JPEG if the photo fills less than half of them.

    libjpeg rounds up and pads: 1201 pixels at a quarter give 301. Resizing those shifts the photo: a mean difference of
    1.9 grey levels at 128 pixels, against 0.7 after the cut.
    """
    size = int(exact_size[0] + 0.5), int(exact_size[1] + 0.5)
    return image if image.size == size else image.crop((0, 0, *size))


def _reason(error: Exception, name: str, data: bytes) -> str:
    if isinstance(error, MemoryError):
        return f"There is not enough memory to decode this {name} picture. Save a smaller copy."
    if isinstance(error, Image.DecompressionBombError):  # a tile is larger than the picture
        return f"The {name} file claims far more pixels than are read. Save a smaller copy."
    if "truncated" in str(error).lower() or _lacks_its_end(name, data):
        return f"The {name} file is truncated: its end is missing. Copy it again from the camera or a backup."
    # Pillow's own messages are readable; those of other errors in its parsers (KeyError: 320) are not.
    text = " ".join(str(error).split())[:120].rstrip(".")
    detail = f" ({text})" if re.search("[a-z]", text) and isinstance(error, SyntaxError | OSError | ValueError) else ""
    return f"The {name} file is damaged{detail}. Copy it again from the camera or a backup."


def _lacks_its_end(name: str, data: bytes) -> bool:
    """Tell whether a file is shorter than its header says, or lacks the end marker of its format."""
    match name:
        case "JPEG":
            return b"\xff\xd9" not in data[-65536:]
        case "PNG":
            return b"IEND" not in data[-65536:]
        case "GIF":
            return not data.rstrip(b"\0").endswith(b";")
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8 > len(data)
        case "TIFF":
            order = "little" if data.startswith(b"II") else "big"
            return int.from_bytes(data[4:8], order) >= len(data)  # type: ignore[arg-type]
        case _:
            return data.startswith(b"BM") and int.from_bytes(data[2:6], "little") > len(data)


_PILLOW_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _silence_pillow() -> None:
    """Ignore Pillow's warnings about unusual files, so that they are neither printed nor raised as errors.

    warnings.catch_warnings replaces the filters of the process and is not thread-safe, so one permanent filter for
    Pillow's modules is added, and added again if the filters were reset.
    """
    if _PILLOW_FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _too_large(num_bytes: int) -> str:
    return f"The file has {num_bytes / 1e6:,.0f} MB; at most {MAX_FILE_BYTES / 1e6:,.0f} MB are read."


def _has_image_suffix(name: str) -> bool:
    return suffix_of(name) in IMAGE_SUFFIXES


def _belongs_to_another(name: str, photos: Collection[str]) -> bool:
    """Tell whether a file is the RAW form, or the video, of one of these photos (keys of their names)."""
    return (is_raw(name) or is_video(name)) and _pair_key(name) in photos


def _pair_key(name: str) -> str:
    """Return what the files of one photo share: the stem, without what phones append to it, in one case."""
    return _PART_OF_PAIR.sub("", os.path.splitext(name)[0].casefold())


def _names_of_pairs(names: Iterable[str]) -> set[str]:
    """Return the keys of the photos to which RAW files and videos of the same folder may belong."""
    return {
        _pair_key(name) for name in names if _has_image_suffix(name) and not is_raw(name) and why_not_read(name) is None
    }


def _natural_key(name: str) -> tuple[list[str | int], str]:
    parts: list[str | int] = list(re.split(r"(\d+)", name.casefold()))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


def _entry_key(entry: os.DirEntry[str]) -> tuple[list[str | int], str]:
    return _natural_key(entry.name)


def _link_problem(entry: os.DirEntry[str], real_root: str) -> str | None:
    """Return why a link to a photo or folder is not followed, or None."""
    is_folder = entry.is_dir()
    if not is_folder and not _has_image_suffix(entry.name):
        return None
    target = os.path.realpath(entry.path)
    if not os.path.exists(target):
        return "The link leads to a file that is not there."
    if os.path.commonpath([real_root, target]) != real_root:
        kind = "folder" if is_folder else "file"
        return f"The link leads to a {kind} outside of the photo folder. Add that {kind} itself."
    return None


def _os_reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]


def _log_error(path: Path, reason: str) -> None:
    _log.warning("%s: %s", display_name(path), reason)
