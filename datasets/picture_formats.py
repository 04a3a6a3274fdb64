"""Formats of pictures by their first bytes, and the Pillow reader of each.

Knows nothing of files on disk or of pixels.
"""

import codecs
import contextlib
import io
from collections.abc import Callable, Iterator

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from annotator.datasets.file_types import is_installed, not_installed
from annotator.datasets.raw_photos import is_raw_content
from annotator.errors import UnreadableImageError

Reader = Callable[[io.BytesIO], ImageFile.ImageFile]

_READERS: dict[str, Reader] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "DIB": BmpImagePlugin.DibImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG 2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_JXL_STREAM, _JXL_CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_JP2_STARTS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_JP2_UUIDS = {bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp", b"JpgTiffExif->JP2": "exif"}
_GIF_XMP, _GIF_XMP_END = b"\x21\xff\x0bXMP DataXMP", b"\x01\xff\xfe\xfd"  # the end is a list of numbers downwards
_JXL_RATIOS = ((0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def recognise(data: bytes) -> str:
    """Return the name of the format from the first bytes of a file: a name of `_READERS`, HEIC, JPEG XL or RAW.

    Raises:
        UnreadableImageError: The file is in no format that is read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if is_raw_content(data):
        return "RAW"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    if data[:4] in {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}:
        return "DIB"
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIC"
    if data.startswith((_JXL_STREAM, _JXL_CONTAINER)):
        return "JPEG XL"
    if data.startswith(_JP2_STARTS):
        return "JPEG 2000"
    raise UnreadableImageError(_what_else(data))


def open_picture(name: str, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Open a picture with the reader of its format; the pixels are not decoded yet, but for JPEG XL.

    Each reader is called itself, since the pixel limit of Image.open is global to the process.

    Args:
        name: From `recognise`.
        data: The whole file.
        max_pixels: Most pixels of a JPEG XL picture, which is decoded here.

    Raises:
        UnreadableImageError: The package that reads this format is not installed, or the picture is too large.
    """
    if name in _READERS:
        opened = _READERS[name](io.BytesIO(data))
        opened.info.update(_further_metadata(name, data))
        return opened
    if not is_installed(name):
        raise UnreadableImageError(not_installed(name))
    if name == "HEIC":
        from pillow_heif import HeifImageFile

        heic: ImageFile.ImageFile = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
        return heic
    codestream, xmp = _jxl_parts(data)
    size = _jxl_size(codestream)
    if size is None:
        raise UnreadableImageError("The JPEG XL file is damaged. Copy it again from the camera or a backup.")
    megapixels = size[0] * size[1] / 1e6
    if size[0] * size[1] > max_pixels:
        raise UnreadableImageError(
            f"The picture has {megapixels:,.0f} megapixels; at most {max_pixels / 1e6:,.0f} are read. "
            "Save a smaller copy."
        )
    from pillow_jxl.JpegXLImagePlugin import JXLImageFile

    picture: ImageFile.ImageFile = JXLImageFile(io.BytesIO(data))
    if xmp:
        picture.info["xmp"] = xmp
    return picture


def _brands(data: bytes) -> set[bytes]:
    """Return the major brand and the compatible brands of an ISO media file."""
    end = min(int.from_bytes(data[:4], "big"), 512, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def _further_metadata(name: str, data: bytes) -> dict[str, bytes]:
    """Return the XMP and EXIF of formats in which Pillow does not look for them."""
    if name == "GIF" and _GIF_XMP in data:
        start = data.index(_GIF_XMP) + len(_GIF_XMP)
        return {"xmp": data[start : data.find(_GIF_XMP_END, start)]}
    if name == "JPEG 2000" and data.startswith(_JP2_STARTS[0]):
        uuids = {body[:16]: body[16:] for kind, body in _boxes(data) if kind == b"uuid"}
        return {key: uuids[uuid] for uuid, key in _JP2_UUIDS.items() if uuid in uuids}
    return {}


def _jxl_parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the beginning of the codestream of a JPEG XL file, and its XMP."""
    if data.startswith(_JXL_STREAM):
        return data[:32], b""
    codestream, xmp = b"", b""
    for kind, body in _boxes(data):
        if kind == b"jxlc":
            codestream = codestream or body[:32]
        elif kind == b"jxlp" and len(codestream) < 32:
            codestream += body[4:36]  # after the number of the part
        elif kind == b"xml " and not xmp:
            xmp = body
    return codestream, xmp


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        size, kind, start = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8], 8
        if size == 1:
            size, start = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        elif size == 0:
            size = len(data) - position
        if size < start:
            return
        yield kind, data[position + start : position + size]
        position += size


def _jxl_size(codestream: bytes) -> tuple[int, int] | None:
    """Return width and height from the header of a JPEG XL codestream; None if there is none."""
    if not codestream.startswith(_JXL_STREAM) or len(codestream) < 12:
        return None
    bits = int.from_bytes(codestream[2:12], "little")
    at = 0

    def take(count: int) -> int:
        nonlocal at
        value = bits >> at & (1 << count) - 1
        at += count
        return value

    is_small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = _JXL_RATIOS[take(3)]
    return (height * ratio[0] // ratio[1] if ratio[1] else side()), height


def _what_else(data: bytes) -> str:
    """Return a sentence on what a file in no supported format seems to be."""
    if not data:
        return "The file is empty (0 bytes)."
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"} or data.startswith((b"\x1aE\xdf\xa3", b"OggS")):
        return "This is a video, which is not read."
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "This is a video, which is not read."
    if data.startswith(b"8BPS"):
        return "This is a Photoshop file, which is not read. Export it as JPEG or PNG."
    if start.startswith(b"<") and b"<svg" in start:
        return "This is an SVG drawing, not a photo. Convert it to PNG."
    if start.startswith((b"<!doctype html", b"<html")):
        return "This is a web page, not a photo. Download the photo itself."
    if start.startswith(b"version https://git-lfs"):
        return "This is a Git LFS pointer, not the photo. Run 'git lfs pull'."
    if not data[:1024].strip(b"\0"):
        return "The file holds zeros instead of a photo. Copy it again from the camera or a backup."
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in data[:1024]):
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("utf-8")().decode(data[:1024])  # the last character may be incomplete
            return "This is a text file, not a photo."
    return "This is not a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG XL or RAW picture."
