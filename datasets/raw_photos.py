"""RAW photos of cameras: their embedded preview, or a half-size development where there is no useful preview.

rawpy (LibRaw) reads them; it is an extra. Knows nothing of files on disk.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin

from annotator.datasets.file_types import is_installed, not_installed
from annotator.errors import UnreadableImageError

MIN_PREVIEW_SIDE = 600
"""Shorter side in pixels below which a preview is too small to look at, if the photo itself is larger."""

_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_DNG_VERSION, _PHOTOMETRIC, _SUBIFDS, _MAKE, _COMPRESSION = 50706, 262, 330, 271, 259
_SENSOR = {32803, 34892}  # photometric interpretation of sensor values
_RAW_COMPRESSIONS = {34713, 32767, 32769, 32770, 65535}  # of Nikon, Sony, Epson, Samsung, Pentax
_ORIENTATION = {3: 3, 5: 8, 6: 6}  # LibRaw's flip -> EXIF orientation


@dataclass(frozen=True)
class RawPreview:
    """What can be shown of a RAW photo."""

    jpeg: bytes | None
    """The embedded preview, a JPEG; it may have its own orientation."""
    image: Image.Image | None
    """Without a JPEG: upright RGB."""
    orientation: int
    """EXIF orientation of a JPEG that does not say its own."""


def is_raw_content(data: bytes) -> bool:
    """Tell whether a file's bytes are a RAW photo."""
    if data.startswith(_STARTS) or data[6:14] == b"HEAPCCDR" or data[4:12] == b"ftypcrx ":
        return True
    if not data.startswith(_TIFF_STARTS):
        return False
    if data[8:10] == b"CR":
        return True
    try:
        return _holds_sensor_values(data)
    except Exception:  # Pillow's parsers raise errors of many types; such a file is left to the TIFF reader
        return False


def read_preview(data: bytes, max_pixels: int) -> RawPreview:
    """Return the embedded preview of a RAW photo, or develop it at half size.

    Args:
        data: The whole file.
        max_pixels: Most pixels of a photo that is developed.

    Raises:
        UnreadableImageError: rawpy is not installed, or LibRaw does not read this file.
    """
    if not is_installed("RAW"):
        raise UnreadableImageError(not_installed("RAW"))
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = raw.sizes.width, raw.sizes.height
            orientation = _ORIENTATION.get(raw.sizes.flip, 1)
            preview = None
            try:
                thumbnail = raw.extract_thumb()
            except rawpy.LibRawError:  # none, or of an unknown kind
                thumbnail = None
            size = (0, 0)
            if thumbnail is not None and isinstance(thumbnail.data, bytes):
                size = Image.open(io.BytesIO(thumbnail.data), formats=["JPEG"]).size
                preview = RawPreview(thumbnail.data, None, orientation)
            elif thumbnail is not None:
                image = Image.fromarray(np.asarray(thumbnail.data)).convert("RGB")
                size, preview = image.size, RawPreview(None, image, orientation)
            if preview is not None and min(size) >= min(MIN_PREVIEW_SIDE, min(width, height) // 2):
                return preview
            if width * height > max_pixels:
                if preview is not None:
                    return preview
                raise UnreadableImageError(
                    f"The RAW photo has {width * height / 1e6:,.0f} megapixels and no preview; "
                    f"at most {max_pixels / 1e6:,.0f} are read. Save it as JPEG."
                )
            # LibRaw turns the pixels upright itself.
            pixels = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
            return RawPreview(None, Image.fromarray(pixels), 1)
    except rawpy.LibRawError as error:
        reason = " ".join(str(error).split())[:80]
        raise UnreadableImageError(
            f"The RAW file is damaged, or of a camera that is not known here ({reason}). Save it as JPEG."
        ) from error


def _holds_sensor_values(data: bytes) -> bool:
    """Tell whether a TIFF has the marks of RAW in its first directory or the directories below that."""
    file = io.BytesIO(data)
    first = _directory(data, file, None)
    if _DNG_VERSION in first or _is_sensor(first):
        return True
    below = first.get(_SUBIFDS, ())
    offsets = below if isinstance(below, tuple) else (below,)
    return any(_is_sensor(_directory(data, file, offset)) for offset in offsets[:8] if isinstance(offset, int))


def _directory(data: bytes, file: io.BytesIO, offset: int | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    return directory


def _is_sensor(directory: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    return directory.get(_PHOTOMETRIC) in _SENSOR or directory.get(_COMPRESSION) in _RAW_COMPRESSIONS
