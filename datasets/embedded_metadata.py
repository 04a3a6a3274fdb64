"""Metadata embedded in a photo's file: EXIF, IPTC and XMP, read from an opened Pillow image.

Two steps: ``embedded_blocks`` collects the used fields while the image is open; xmp.py and iptc.py parse the blocks
later. Metadata may be damaged or malicious: each problem becomes a sentence in ``notes``, never an exception. Knows
nothing of sidecar files or of the use of the fields.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

ORIENTATION = 0x0112
IMAGE_DESCRIPTION = 0x010E
MAKE = 0x010F
MODEL = 0x0110
DATE_TIME_ORIGINAL = 0x9003
DATE_TIME_DIGITIZED = 0x9004
USER_COMMENT = 0x9286
XP_KEYWORDS = 0x9C9E
GPS_LATITUDE_REF, GPS_LATITUDE, GPS_LONGITUDE_REF, GPS_LONGITUDE = 1, 2, 3, 4

_MAIN_TAGS = (ORIENTATION, IMAGE_DESCRIPTION, MAKE, MODEL, XP_KEYWORDS)
_EXIF_IFD, _EXIF_TAGS = 0x8769, (DATE_TIME_ORIGINAL, DATE_TIME_DIGITIZED, USER_COMMENT)
_GPS_IFD, _GPS_TAGS = 0x8825, (GPS_LATITUDE_REF, GPS_LATITUDE, GPS_LONGITUDE_REF, GPS_LONGITUDE)

MAX_BLOCK_BYTES = 5_000_000
"""Largest XMP or IPTC block, or sidecar file, that is read."""

_PNG_TEXTS = {
    "parameters": USER_COMMENT,
    "prompt": USER_COMMENT,
    "invokeai_metadata": USER_COMMENT,
    "Comment": USER_COMMENT,
    "Keywords": XP_KEYWORDS,
    "Description": IMAGE_DESCRIPTION,
}
_PNG_JSON = frozenset({"prompt", "invokeai_metadata", "Comment"})  # read where they hold JSON
# Texts of a PNG -> the EXIF value that says the same: image generators write their prompt into either.
_EMPTY_EXIF_BYTES = 20  # marker, TIFF header, a count of zero and the end of the list
_IPTC_RESOURCE = 0x0404  # number of IPTC among Photoshop's image resources
_PHOTOSHOP, _EXTENSION = b"Photoshop 3.0\0", b"http://ns.adobe.com/xmp/extension/\0"
_IPTC_TIFF_TAG = 33723
_XMP_TIFF_TAG = 700


@dataclass(frozen=True)
class EmbeddedBlocks:
    """The raw metadata of one photo's file."""

    exif: Mapping[int, Any] = field(default_factory=dict)
    """The EXIF values named by this module's constants, by tag number."""
    gps: Mapping[int, Any] = field(default_factory=dict)
    """The GPS values named by this module's constants, by tag number."""
    iptc: bytes = b""
    """The IPTC-IIM datasets."""
    xmp: bytes = b""
    """The XMP packet."""
    xmp_extension: bytes = b""
    """The second packet of a JPEG with more XMP than a segment holds."""
    notes: tuple[str, ...] = ()
    """What could not be read, with the reason."""

    def completed_by(self, other: "EmbeddedBlocks") -> "EmbeddedBlocks":
        """Return these blocks, with those of another file of the same photo where they are missing here."""
        return EmbeddedBlocks(
            exif={**other.exif, **self.exif},
            gps=self.gps or other.gps,
            iptc=self.iptc or other.iptc,
            xmp=self.xmp or other.xmp,
            xmp_extension=self.xmp_extension or (b"" if self.xmp else other.xmp_extension),
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def embedded_blocks(image: Image.Image) -> EmbeddedBlocks:
    """Collect the metadata of an opened image; a TIFF must not be loaded yet, a PNG must be.

    Never raises: a field that Pillow cannot read becomes a note.
    """
    notes: list[str] = []
    exif: dict[int, Any] = {}
    gps: dict[int, Any] = {}
    try:
        found = image.getexif()
        _pick(found, _MAIN_TAGS, exif, notes)
        if _EXIF_IFD in found:
            _pick(found.get_ifd(_EXIF_IFD), _EXIF_TAGS, exif, notes)
        if _GPS_IFD in found:
            _pick(found.get_ifd(_GPS_IFD), _GPS_TAGS, gps, notes)
        if not found and len(image.info.get("exif") or b"") > _EMPTY_EXIF_BYTES:
            # Pillow reads a JPEG's EXIF on opening, for the resolution, and suppresses errors.
            notes.append("The EXIF data could not be read.")
    except Exception as error:  # Pillow's parsers raise errors of many types
        notes.append(f"The EXIF data could not be read ({type(error).__name__}).")
    if isinstance(image, PngImagePlugin.PngImageFile):
        for name, tag in _PNG_TEXTS.items():
            text = image.info.get(name)
            if isinstance(text, str) and (name not in _PNG_JSON or text.lstrip().startswith("{")):
                exif.setdefault(tag, str(text))
    blocks = []
    for name, read in (("IPTC", _iptc_block), ("XMP", _xmp_block), ("extended XMP", _xmp_extension)):
        try:
            block = read(image)
        except Exception as error:  # as above
            notes.append(f"The {name} data could not be read ({type(error).__name__}).")
            block = b""
        if len(block) > MAX_BLOCK_BYTES:
            notes.append(f"The {name} data has {len(block):,} bytes and was not read.")
            block = b""
        blocks.append(block)
    iptc, xmp, extension = blocks
    return EmbeddedBlocks(exif=exif, gps=gps, iptc=iptc, xmp=xmp, xmp_extension=extension, notes=tuple(notes))


def exif_of_tiff(data: bytes) -> EmbeddedBlocks:
    """Return EXIF, GPS and XMP of a RAW photo whose container is a TIFF; empty for other containers."""
    exif: dict[int, Any] = {}
    gps: dict[int, Any] = {}
    xmp = b""
    if data[:4] in {b"II*\0", b"MM\0*"}:
        found = Image.Exif()
        with contextlib.suppress(Exception):  # Pillow's parsers raise errors of many types
            found.load(data)
            _pick(found, _MAIN_TAGS, exif, [])
            _pick(found.get_ifd(_EXIF_IFD), _EXIF_TAGS, exif, [])
            _pick(found.get_ifd(_GPS_IFD), _GPS_TAGS, gps, [])
            xmp = _as_bytes(found.get(_XMP_TIFF_TAG))
    exif.pop(ORIENTATION, None)  # of the sensor's pixels
    return EmbeddedBlocks(exif=exif, gps=gps, xmp=xmp if len(xmp) <= MAX_BLOCK_BYTES else b"")


def _pick(source: Any, tags: tuple[int, ...], into: dict[int, Any], notes: list[str]) -> None:
    """Copy some tags; Pillow decodes each on access, so a broken value does not affect the others."""
    for tag in tags:
        try:
            value = source.get(tag)
        except Exception as error:  # Pillow's parsers raise errors of many types
            notes.append(f"The EXIF value 0x{tag:04X} could not be read ({type(error).__name__}).")
            continue
        if value is not None:
            into[tag] = value


def _iptc_block(image: Image.Image) -> bytes:
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _photoshop_iptc(b"".join(_segments(image, "APP13", _PHOTOSHOP)))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Read as raw bytes: many programs declare 32-bit numbers, of which Pillow would return only one.
        block = _as_bytes(image.tag_v2._tagdata.get(_IPTC_TIFF_TAG))
        return block or _as_bytes(image.get_photoshop_blocks().get(_IPTC_RESOURCE, {}).get("data"))
    if isinstance(image, PngImagePlugin.PngImageFile) and "Raw profile type iptc" in image.info:
        data = _hexadecimal(image.info["Raw profile type iptc"])  # possibly as Photoshop resources
        starts = [at for at in (data.find(b"\x1c\x01"), data.find(b"\x1c\x02")) if at >= 0]
        return data[min(starts) :] if starts else b""
    return b""


def _xmp_block(image: Image.Image) -> bytes:
    packet = _as_bytes(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"))
    raw = image.info.get("Raw profile type xmp")
    return _hexadecimal(raw) if raw and not packet else packet


def _xmp_extension(image: Image.Image) -> bytes:
    """Return the XMP that a JPEG has in further segments: 32 digits, whole length and offset before each part."""
    parts = _segments(image, "APP1", _EXTENSION) if isinstance(image, JpegImagePlugin.JpegImageFile) else []
    return b"".join(part[40:] for part in sorted(parts, key=lambda part: part[36:40]))


def _segments(image: JpegImagePlugin.JpegImageFile, name: str, start: bytes) -> list[bytes]:
    """Return the contents of a JPEG's segments that begin in this way, without it."""
    return [data[len(start) :] for found, data in image.applist if found == name and data.startswith(start)]


def _photoshop_iptc(resources: bytes) -> bytes:
    """Return the IPTC among Photoshop's resources: "8BIM", a number, a name, a length, the content; even lengths."""
    position, found = 0, []
    while resources[position : position + 4] == b"8BIM":
        number = int.from_bytes(resources[position + 4 : position + 6], "big")
        position += 6 + (resources[position + 6] + 2) // 2 * 2 if position + 6 < len(resources) else 6
        size = int.from_bytes(resources[position : position + 4], "big")
        if number == _IPTC_RESOURCE:
            found.append(resources[position + 4 : position + 4 + size])
        position += 4 + size + size % 2
    return b"".join(found)


def _hexadecimal(text: object) -> bytes:
    """Decode the form of ImageMagick and ExifTool in a PNG: name, length, hexadecimal digits."""
    return bytes.fromhex("".join(str(text).split("\n")[3:]))


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else b""
