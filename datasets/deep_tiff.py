"""TIFF pictures of several pages, and of number types that Pillow does not read.

Floating-point and 32-bit colour pictures are read by tifffile. Knows nothing of files on disk.
"""

import io
import logging
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from annotator.datasets.embedded_metadata import ORIENTATION, EmbeddedBlocks
from annotator.datasets.pixel_values import to_8_bit
from annotator.errors import UnreadableImageError

if TYPE_CHECKING:
    import tifffile

_SUBIFDS = 330
_REDUCED = 254  # NewSubfileType: the lowest bit marks a reduced copy of another page
_OLD_REDUCED = 255  # SubfileType: 2 marks it
_MAX_PAGES = 32
_XMP, _IPTC = 700, 33723
_BITS, _PLANES = 258, 284
_SEPARATE = 2  # one plane after the other
_FLOAT_PREDICTOR = 3
_PLAIN, _DEFLATE, _PACKBITS = {1}, {8, 32946}, {32773}  # numbers of compressions


def select_picture(source: TiffImagePlugin.TiffImageFile) -> None:
    """Select the page of the picture, where the first page is a smaller copy of it.

    Args:
        source: Just opened; afterwards at the page to load.
    """
    first_size, is_copy = source.size, _is_reduced(source)
    best, best_pixels = 0, 0 if is_copy else 4 * first_size[0] * first_size[1]
    for page in range(1, _MAX_PAGES):
        try:
            source.seek(page)
        except (EOFError, SyntaxError, OSError, KeyError, ValueError, TypeError):
            break
        width, height = source.size
        if _is_reduced(source) or width * height < max(best_pixels, 1):
            continue
        if is_copy or abs(width / height - first_size[0] / first_size[1]) < 0.05:
            best, best_pixels = page, width * height + 1
    source.seek(best)


def below_thumbnail(source: TiffImagePlugin.TiffImageFile, data: bytes) -> bytes | None:
    """Return a file whose first page is the picture, where that is below a first page that is its smaller copy.

    Args:
        source: At the page that ``select_picture`` has selected.
        data: The whole file.

    Returns:
        The same bytes with another offset in the header; None if the selected page is the picture.
    """
    offsets = source.tag_v2.get(_SUBIFDS, ())
    if not _is_reduced(source) or data[2:4] not in (b"*\0", b"\0*"):
        return None
    order = "<I" if data.startswith(b"II") else ">I"
    for offset in (offsets if isinstance(offsets, tuple) else (offsets,))[:_MAX_PAGES]:
        moved = data[:4] + struct.pack(order, offset) + data[8:]
        page = TiffImagePlugin.TiffImageFile(io.BytesIO(moved))
        if not _is_reduced(page) and page.width * page.height > source.width * source.height:
            return moved
    return None


def _is_reduced(source: TiffImagePlugin.TiffImageFile) -> bool:
    kind, old_kind = source.tag_v2.get(_REDUCED, 0), source.tag_v2.get(_OLD_REDUCED, 0)
    return bool(isinstance(kind, int) and kind & 1) or old_kind == 2


def is_misread(source: TiffImagePlugin.TiffImageFile) -> bool:
    """Tell whether Pillow would read another picture: it takes uncompressed planes of 16-bit values for 8-bit ones.

    Args:
        source: Opened, not loaded.
    """
    bits = source.tag_v2.get(_BITS, ())
    is_raw = any(tile[0] == "raw" for tile in source.tile)
    return is_raw and source.tag_v2.get(_PLANES) == _SEPARATE and len(bits) > 1 and max(bits) > 8


def read_deep(data: bytes, max_pixels: int) -> tuple[Image.Image, EmbeddedBlocks]:
    """Return the first page of a TIFF that Pillow cannot read, as 8-bit RGB in the stored orientation.

    Args:
        data: The whole file.
        max_pixels: Most pixels.

    Raises:
        UnreadableImageError: The number type, layout or compression is not read, or there are too many pixels.
    """
    import tifffile  # takes a while, and few photos need it

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is unusual in a file is not printed
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        width, height = int(page.imagewidth), int(page.imagelength)
        if width * height > max_pixels:
            raise UnreadableImageError(
                f"The picture has {width * height / 1e6:,.0f} megapixels; at most {max_pixels / 1e6:,.0f} are read. "
                "Save a smaller copy."
            )
        kind = f"{page.bitspersample}-bit {'floating-point ' if page.sampleformat == 3 else ''}values"
        if (
            page.compression not in _PLAIN | _DEFLATE | _PACKBITS
            or page.dtype is None
            or page.imagedepth != 1
            or page.samplesperpixel > 8
            or page.photometric not in {0, 1, 2}  # grey, inverted grey, RGB
        ):
            raise UnreadableImageError(
                f"This kind of TIFF ({kind}, {getattr(page.compression, 'name', page.compression)} compression) "
                "is not read. Save it with 8 or 16 bits, or as PNG."
            )
        if page.compression in _DEFLATE:
            _check_segments(data, page)
        is_predicted = page.predictor == _FLOAT_PREDICTOR
        values = _unpredicted(data, page) if is_predicted else np.asarray(page.asarray(maxworkers=1))
        if page.planarconfig == 2 and values.ndim == 3:  # (C, H, W)
            values = np.moveaxis(values, 0, -1)
        if values.ndim == 3:
            values = values[..., :3] if values.shape[-1] >= 3 else values[..., 0]
        if values.dtype.kind not in "uif" or values.shape[:2] != (height, width):
            raise UnreadableImageError(f"This kind of TIFF ({kind}) is not read. Save it with 8 bits.")
        pixels = to_8_bit(values)
        if page.photometric == 0:
            pixels = 255 - pixels
        xmp, iptc = (page.tags[number].value if number in page.tags else b"" for number in (_XMP, _IPTC))
        blocks = EmbeddedBlocks(
            exif={ORIENTATION: int(page.tags[ORIENTATION].value)} if ORIENTATION in page.tags else {},
            xmp=xmp if isinstance(xmp, bytes) else b"",
            iptc=iptc if isinstance(iptc, bytes) else b"",
        )
        return Image.fromarray(pixels).convert("RGB"), blocks


def _check_segments(data: bytes, page: "tifffile.TiffPage") -> None:
    """Refuse a segment that decompresses to more than its share: tifffile sets no limit."""
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    item_bytes = np.dtype(page.dtype).itemsize
    largest = min(int(height), int(page.imagelength) + 1024) * int(width) * int(page.samplesperpixel) * item_bytes
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        stream = zlib.decompressobj()
        stream.decompress(data[offset : offset + size], largest + 1)
        if stream.unconsumed_tail:
            raise UnreadableImageError("The TIFF file claims far more pixels than are read. Save a smaller copy.")


def _unpredicted(data: bytes, page: "tifffile.TiffPage") -> npt.NDArray[Any]:
    """Return the values of a floating-point page that was compressed with the predictor for such values.

    That predictor stores the differences between the bytes of a row, all first bytes before all second ones
    (Adobe Photoshop TIFF Technical Note 3). tifffile leaves it to imagecodecs.

    Args:
        data: The whole file.
        page: Compressed with Deflate.

    Returns:
        (H, W, C) or, with separate planes, (C, H, W).

    Raises:
        ValueError: A segment lacks values.
    """
    kind = np.dtype(page.dtype).newbyteorder(">")
    is_separate = page.planarconfig == _SEPARATE
    num_planes = int(page.samplesperpixel) if is_separate else 1
    num_samples = 1 if is_separate else int(page.samplesperpixel)
    height, width = int(page.imagelength), int(page.imagewidth)
    rows, columns = (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else (int(page.rowsperstrip), width)
    down, across = -(-height // rows), -(-width // columns)
    values = np.zeros((num_planes, height, width, num_samples), np.dtype(page.dtype))
    for number, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        plane, place = divmod(number, down * across)
        top, left = place // across * rows, place % across * columns
        num_rows = rows if page.is_tiled else min(rows, height - top)
        segment = np.frombuffer(zlib.decompress(data[offset : offset + size]), np.uint8)
        segment = segment[: num_rows * columns * num_samples * kind.itemsize].reshape(num_rows, -1, num_samples)
        stored = np.cumsum(segment, axis=1, dtype=np.uint8).reshape(num_rows, kind.itemsize, columns * num_samples)
        block = np.ascontiguousarray(stored.transpose(0, 2, 1)).view(kind).reshape(num_rows, columns, num_samples)
        part = values[plane, top : top + num_rows, left : left + columns]
        part[...] = block[: part.shape[0], : part.shape[1]]
    return values[..., 0] if is_separate else values[0]
