"""Metadata embedded in a photo's file: EXIF, IPTC and XMP, read from an opened Pillow image.

Two steps: ``embedded_blocks`` collects the used fields while the image is open, ``parse_xmp`` and ``parse_iptc``
parse the blocks later. Metadata may be damaged or malicious: each problem becomes a sentence in ``notes``, never an
exception. Knows nothing of sidecar files or of the use of the fields.
"""

import contextlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree  # type: ignore[import-untyped]
from defusedxml import DefusedXmlException
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

ORIENTATION = 0x0112
IMAGE_DESCRIPTION = 0x010E
MAKE = 0x010F
MODEL = 0x0110
DATE_TIME_ORIGINAL = 0x9003
DATE_TIME_DIGITIZED = 0x9004
GPS_LATITUDE_REF, GPS_LATITUDE, GPS_LONGITUDE_REF, GPS_LONGITUDE = 1, 2, 3, 4

_MAIN_TAGS = (ORIENTATION, IMAGE_DESCRIPTION, MAKE, MODEL)
_EXIF_IFD, _EXIF_TAGS = 0x8769, (DATE_TIME_ORIGINAL, DATE_TIME_DIGITIZED)
_GPS_IFD, _GPS_TAGS = 0x8825, (GPS_LATITUDE_REF, GPS_LATITUDE, GPS_LONGITUDE_REF, GPS_LONGITUDE)

MAX_BLOCK_BYTES = 5_000_000
"""Largest XMP or IPTC block, or sidecar file, that is read."""

_EMPTY_EXIF_BYTES = 20  # marker, TIFF header, a count of zero and the end of the list
_IPTC_RESOURCE = 0x0404  # number of IPTC among Photoshop's image resources
_IPTC_TIFF_TAG = 33723
_XMP_TIFF_TAG = 700

_DC = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_XMP_DATES = (
    "{http://ns.adobe.com/exif/1.0/}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
)


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
    notes: tuple[str, ...] = ()
    """What could not be read, with the reason."""

    def completed_by(self, other: "EmbeddedBlocks") -> "EmbeddedBlocks":
        """Return these blocks, with those of another file of the same photo where they are missing here."""
        return EmbeddedBlocks(
            exif={**other.exif, **self.exif},
            gps=self.gps or other.gps,
            iptc=self.iptc or other.iptc,
            xmp=self.xmp or other.xmp,
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


@dataclass(frozen=True)
class IptcFields:
    """The IPTC fields of a photo."""

    keywords: tuple[str, ...] = ()
    caption: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class XmpFields:
    """The XMP fields of a photo."""

    keywords: tuple[str, ...] = ()
    caption: str | None = None
    taken_at: str | None = None
    """As stored: an ISO 8601 date that may lack parts."""
    notes: tuple[str, ...] = ()


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
        if not found and len(image.info.get("exif", b"")) > _EMPTY_EXIF_BYTES:
            # Pillow reads a JPEG's EXIF on opening, for the resolution, and suppresses errors.
            notes.append("The EXIF data could not be read.")
    except Exception as error:  # Pillow's parsers raise errors of many types
        notes.append(f"The EXIF data could not be read ({type(error).__name__}).")
    blocks = []
    for name, read in (("IPTC", _iptc_block), ("XMP", _xmp_block)):
        try:
            block = read(image)
        except Exception as error:  # as above
            notes.append(f"The {name} data could not be read ({type(error).__name__}).")
            block = b""
        if len(block) > MAX_BLOCK_BYTES:
            notes.append(f"The {name} data has {len(block):,} bytes and was not read.")
            block = b""
        blocks.append(block)
    return EmbeddedBlocks(exif=exif, gps=gps, iptc=blocks[0], xmp=blocks[1], notes=tuple(notes))


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


def parse_iptc(data: bytes) -> IptcFields:
    """Read keywords (2:25) and caption (2:120) from IPTC-IIM datasets."""
    keywords: list[bytes] = []
    caption: bytes | None = None
    notes: tuple[str, ...] = ()
    position = 0
    while position + 5 <= len(data) and data[position] == 0x1C:
        record, dataset, size = struct.unpack_from(">BBH", data, position + 1)
        position += 5
        if size & 0x8000:  # an extended dataset: the low bits give the number of bytes of the size
            num_size_bytes = size & 0x7FFF
            size = int.from_bytes(data[position : position + num_size_bytes][:8], "big")
            position += num_size_bytes
        if position + size > len(data):
            notes = ("The IPTC data is truncated.",)
            break
        value = data[position : position + size]
        if (record, dataset) == (2, 25):
            keywords.append(value)
        elif (record, dataset) == (2, 120) and caption is None:
            caption = value
        position += size
    return IptcFields(
        keywords=tuple(decode_text(keyword) for keyword in keywords),
        caption=None if caption is None else decode_text(caption),
        notes=notes,
    )


def parse_xmp(data: bytes, what: str) -> XmpFields:
    """Read dc:subject, dc:description and the date from XMP.

    Args:
        data: The packet, or a whole sidecar file.
        what: Its name in notes, such as "The embedded XMP".
    """
    try:
        if not data.startswith((b"\xff\xfe", b"\xfe\xff")):  # in UTF-16, zero bytes are parts of characters
            data = data.strip(b"\0 \t\r\n")
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        return XmpFields(notes=(f"{what} declares a DTD or entities, which is not allowed in XMP.",))
    except (ParseError, ValueError, LookupError):  # ValueError, LookupError: a wrong or unknown encoding
        return XmpFields(notes=(f"{what} is not valid XML.",))
    keywords: list[str] = []
    captions: list[Element] = []
    dates: dict[str, str] = {}
    for element in root.iter():
        if element.tag == f"{_DC}subject":
            items = [item.text or "" for item in element.iter(f"{_RDF}li")]
            keywords += items or [element.text or ""]
        elif element.tag == f"{_DC}description":
            captions += list(element.iter(f"{_RDF}li")) or [element]
        elif element.tag in _XMP_DATES and element.text:
            dates.setdefault(element.tag, element.text)
        elif element.tag == f"{_RDF}Description":
            for name in _XMP_DATES:
                if name in element.attrib:
                    dates.setdefault(name, element.attrib[name])
    # The default language first; the sort is stable and keeps the file's order otherwise.
    captions.sort(key=lambda element: element.get(_XML_LANGUAGE) != "x-default")
    return XmpFields(
        keywords=tuple(keywords),
        caption=next((c.text for c in captions if c.text and c.text.strip()), None),
        taken_at=next((dates[name] for name in _XMP_DATES if name in dates), None),
    )


def decode_text(data: bytes) -> str:
    """Decode text of unknown encoding: UTF-8 if valid, else Latin-1, which accepts all bytes."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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
        return _as_bytes(image.info.get("photoshop", {}).get(_IPTC_RESOURCE))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Read as raw bytes: many programs declare 32-bit numbers, of which Pillow would return only one.
        block = _as_bytes(image.tag_v2._tagdata.get(_IPTC_TIFF_TAG))
        return block or _as_bytes(image.get_photoshop_blocks().get(_IPTC_RESOURCE, {}).get("data"))
    if isinstance(image, PngImagePlugin.PngImageFile) and "Raw profile type iptc" in image.info:
        # The form of ImageMagick and ExifTool: name, length, hexadecimal digits, possibly as Photoshop resources.
        data = bytes.fromhex("".join(str(image.info["Raw profile type iptc"]).split("\n")[3:]))
        starts = [at for at in (data.find(b"\x1c\x01"), data.find(b"\x1c\x02")) if at >= 0]
        return data[min(starts) :] if starts else b""
    return b""


def _xmp_block(image: Image.Image) -> bytes:
    return _as_bytes(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"))


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else b""
