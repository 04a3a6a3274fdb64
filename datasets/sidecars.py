"""Metadata of a photo: embedded metadata, sidecar files, and the words of its path.

Sidecars of ``photo.jpg`` are ``photo.xmp``, ``photo.txt`` and ``photo.json``, or the same with the full name
(``photo.jpg.xmp``). A problem with metadata becomes a sentence in ``notes`` and never makes a photo unreadable.
Knows nothing of projects or databases.
"""

import contextlib
import json
import math
import os
import re
import stat
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from annotator.datasets import embedded_metadata as em
from annotator.datasets.image_folder import DecodedImage, display_name
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import TagError

MAX_TAGS = 1_000
"""Most keywords, and most user tags, of one photo."""

MAX_CAPTION_LENGTH = 5_000
"""Most characters of a caption."""

_MAX_TAG_WORDS = 8  # a longer piece of text between two commas is a sentence, not a tag
_MAX_REFUSED_NOTES = 5
_SIDECAR_SUFFIXES = (".xmp", ".txt", ".json")
_TAKEOUT_SUFFIX = ".supplemental-metadata"  # Google Takeout: photo.jpg.supplemental-metadata.json

_CAMERA_CAPTIONS = frozenset(
    {
        "olympus digital camera",
        "minolta digital camera",
        "konica minolta digital camera",
        "kodak digital still camera",
        "digital camera",
        "sony dsc",
        "samsung",
        "default",
        "dcim100media",
        "exif_jpeg_picture",
        "camera",
    }
)
# Texts that cameras write as ImageDescription of every photo.

_PROGRAM_WORDS = """
    img imgp imag dsc dscn dscf dcim pxl mvimg pict mg gopr cimg image images photo photos picture
    pictures pic pics foto fotos bild untitled copy edited wa whatsapp burst
"""  # names that cameras and programs give to every photo
_SUFFIX_WORDS = "jpg jpeg jpe png webp gif bmp dib tif tiff heic raw nef dng arw mp"  # as in photo.jpg.png
_FUNCTION_WORDS = "a an and at by for from in my of on or our the to with"
_NOISE_WORDS = frozenset(f"{_PROGRAM_WORDS} {_SUFFIX_WORDS} {_FUNCTION_WORDS}".split())
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEX_NOISE = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}", re.IGNORECASE)
_CAMERA_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}")  # the DCF standard's 100CANON, 101_PANA
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class PhotoMetadata:
    """The metadata of one photo."""

    keywords: tuple[str, ...] = ()
    """IPTC keywords and XMP dc:subject, embedded first, then from the sidecar; one spelling of each tag."""
    user_tags: tuple[str, ...] = ()
    """Tags of .txt and .json sidecars, in order; one spelling of each tag."""
    caption: str | None = None
    """The first of: .xmp sidecar, IPTC, XMP, EXIF, .json, .txt."""
    taken_at: str | None = None
    """ISO 8601 local time without an offset, from EXIF or else XMP; a date if the time is unknown."""
    camera: str | None = None
    """Make and model; the make is not repeated."""
    latitude: float | None = None
    """Decimal degrees, north positive."""
    longitude: float | None = None
    """Decimal degrees, east positive."""
    path_words: tuple[str, ...] = ()
    """Lower-case words of folder and file names."""
    notes: tuple[str, ...] = ()
    """A sentence for each item that could not be read, with the reason."""


class SidecarFinder:
    """Finds sidecars; caches the listing of each folder until its modification time changes.

    This costs one stat call a photo instead of one for every possible sidecar. Thread-safe.

    Args:
        num_folders: Size of the cache: the most recently used folders.
    """

    def __init__(self, num_folders: int = 64) -> None:
        self._num_folders = num_folders
        self._folders: OrderedDict[str, tuple[int, dict[str, list[str]]]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, path: Path) -> list[Path]:
        """Return a photo's sidecars: .xmp, .txt, .json; of each kind those with the full name first.

        Raises:
            OSError: The folder cannot be listed.
        """
        folder, name = os.path.split(path)
        sidecars = self._list(folder or ".")
        if not sidecars:
            return []
        found = []
        for suffix in _SIDECAR_SUFFIXES:
            for stem in (name, name + _TAKEOUT_SUFFIX, os.path.splitext(name)[0]):
                found += sidecars.get(stem + suffix, [])
        return [path.with_name(sidecar) for sidecar in found]

    def _list(self, folder: str) -> dict[str, list[str]]:
        """Return stem and lower-case suffix -> names of the possible sidecars in the folder."""
        modified = os.stat(folder).st_mtime_ns
        with self._lock:
            cached = self._folders.get(folder)
            if cached is not None and cached[0] == modified:
                self._folders.move_to_end(folder)
                return cached[1]
        sidecars: dict[str, list[str]] = {}
        for name in sorted(os.listdir(folder)):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in _SIDECAR_SUFFIXES:
                sidecars.setdefault(stem + suffix.lower(), []).append(name)
        with self._lock:
            self._folders[folder] = modified, sidecars
            self._folders.move_to_end(folder)
            while len(self._folders) > self._num_folders:
                self._folders.popitem(last=False)
        return sidecars


@dataclass
class _Found:
    """The content of one photo's sidecars, collected file by file."""

    keywords: list[str]
    user_tags: list[str]
    captions: dict[str, str]  # by kind: "xmp", "json", "txt"
    notes: list[str]
    taken_at: str | None = None
    place: tuple[float, float] | None = None


def read_metadata(
    path: Path, decoded: DecodedImage, *, root: Path, sidecars: SidecarFinder | None = None
) -> PhotoMetadata:
    """Read the metadata of a photo.

    Args:
        path: The photo's file, below root.
        decoded: The same photo, decoded; its ``embedded`` blocks are parsed.
        root: The photo folder. Its own name gives no words, and links out of it are not read.
        sidecars: A finder shared between photos. Without one, the folder is listed for this photo alone.
    """
    blocks = decoded.embedded
    iptc = em.parse_iptc(blocks.iptc) if blocks.iptc else em.IptcFields()
    xmp = em.parse_xmp(blocks.xmp, "The embedded XMP") if blocks.xmp else em.XmpFields()
    found = _read_sidecars(path, root, sidecars or SidecarFinder())
    notes = [*blocks.notes, *iptc.notes, *xmp.notes, *found.notes]
    captions = (
        found.captions.get("xmp"),
        iptc.caption,
        xmp.caption,
        _exif_caption(blocks.exif.get(em.IMAGE_DESCRIPTION)),
        found.captions.get("json"),
        found.captions.get("txt"),
    )
    dates = (
        blocks.exif.get(em.DATE_TIME_ORIGINAL),
        xmp.taken_at,
        found.taken_at,
        blocks.exif.get(em.DATE_TIME_DIGITIZED),
    )
    place = _exif_place(blocks.gps) or found.place
    return PhotoMetadata(
        keywords=_clean_tags([*iptc.keywords, *xmp.keywords, *found.keywords], "keyword", notes),
        user_tags=_clean_tags(found.user_tags, "tag", notes),
        caption=next((text for text in (_clean_caption(c, notes) for c in captions) if text), None),
        taken_at=next((when for when in map(_iso_time, dates) if when), None),
        camera=_camera(blocks.exif.get(em.MAKE), blocks.exif.get(em.MODEL)),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
        path_words=path_words(_relative(path, root)),
        notes=tuple(dict.fromkeys(notes)),
    )


def path_words(relative_path: str) -> tuple[str, ...]:
    """Return the words of folder and file names, lower case, in order, each once.

    ``beach/Summer_2026-IMG_2041.jpg`` gives beach, summer. Left out: numbers, single Latin letters, camera
    prefixes and folders, default names of programs, random identifiers, function words.
    """
    words: dict[str, None] = {}
    parts = _unicode(relative_path).replace("\\", "/").split("/")
    parts[-1] = os.path.splitext(parts[-1])[0]
    for part in parts:
        if _CAMERA_FOLDER.fullmatch(part):
            continue
        part = unicodedata.normalize("NFC", _UUID.sub(" ", part))
        for token in _tokens(part):
            if _HEX_NOISE.fullmatch(token):
                continue
            token = token.strip("0123456789")
            if any(character.isdigit() for character in token):
                continue  # digits between letters: a random identifier
            if token.casefold() in _NOISE_WORDS:
                continue  # checked before the split of camel case, as for WhatsApp
            for word in _CAMEL_CASE.split(token):
                word = word.casefold()
                if word not in _NOISE_WORDS and (len(word) > 1 or word > "ɏ"):  # a single Han character is a word
                    words[word] = None
    return tuple(words)


def _tokens(text: str) -> list[str]:
    """Split at all characters but letters, digits and marks; re.split would split at Indic vowel signs (marks)."""
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split()


def _unicode(text: str) -> str:
    """Decode a file name that is not UTF-8 as Latin-1."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("latin-1")
    return text


def _relative(path: Path, root: Path) -> str:
    try:
        return str(path.relative_to(root))
    except ValueError:
        return path.name


def _read_sidecars(path: Path, root: Path, finder: SidecarFinder) -> _Found:
    found = _Found([], [], {}, [])
    try:
        paths = finder.find(path)
    except OSError as error:
        found.notes.append(f"The photo's folder could not be searched for sidecars: {error.strerror}.")
        return found
    for sidecar in paths:
        what = f"The sidecar {display_name(sidecar.name)}"
        data = _read_sidecar_file(sidecar, root, what, found.notes)
        if not data:
            continue
        match sidecar.suffix.lower():
            case ".xmp":
                _take_xmp(data, what, found)
            case ".txt":
                _take_txt(data, what, found)
            case _:
                _take_json(data, what, found)
    return found


def _read_sidecar_file(sidecar: Path, root: Path, what: str, notes: list[str]) -> bytes:
    try:
        status = sidecar.lstat()
        if stat.S_ISLNK(status.st_mode):
            if not sidecar.resolve().is_relative_to(root.resolve()):
                notes.append(f"{what} is a link out of the photo folder and was not read.")
                return b""
            status = sidecar.stat()
        if not stat.S_ISREG(status.st_mode):
            notes.append(f"{what} is not a regular file and was not read.")
            return b""
        if status.st_size > em.MAX_BLOCK_BYTES:
            size = f"{status.st_size / 1e6:,.1f} MB, more than {em.MAX_BLOCK_BYTES / 1e6:,.0f} MB"
            notes.append(f"{what} has {size}, and was not read.")
            return b""
        return sidecar.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: resolve() in a cycle of links
        notes.append(f"{what} could not be read: {getattr(error, 'strerror', None) or error}.")
        return b""


def _take_xmp(data: bytes, what: str, found: _Found) -> None:
    xmp = em.parse_xmp(data, what)
    found.keywords += xmp.keywords
    found.notes += xmp.notes
    found.taken_at = found.taken_at or xmp.taken_at
    if xmp.caption:
        found.captions.setdefault("xmp", xmp.caption)


def _take_txt(data: bytes, what: str, found: _Found) -> None:
    """Add comma- or line-separated tags; a line with more than eight words between commas is a caption."""
    text = _decode_text_file(data)
    if "\0" in text:
        found.notes.append(f"{what} is not text.")
        return
    captions = []
    for line in text.splitlines():
        pieces = [piece for piece in line.split(",") if piece.strip()]
        if any(len(piece.split(None, _MAX_TAG_WORDS)) > _MAX_TAG_WORDS for piece in pieces):
            captions.append(line.strip())
        else:
            found.user_tags += pieces
    if captions:
        found.captions.setdefault("txt", " ".join(captions))


def _take_json(data: bytes, what: str, found: _Found) -> None:
    """Add a list of tags, or an object's tags, keywords, caption, description and Google Takeout's geoData."""
    try:
        value = json.loads(_decode_text_file(data))
    except (ValueError, RecursionError):
        found.notes.append(f"{what} is not valid JSON.")
        return
    if not isinstance(value, dict):
        found.user_tags += _json_tags(value, what, found.notes)
        return
    for key in ("tags", "keywords"):
        if value.get(key) is not None:
            found.user_tags += _json_tags(value[key], what, found.notes)
    for key in ("caption", "description"):
        caption = value.get(key)
        if isinstance(caption, str) and caption.strip():
            found.captions.setdefault("json", caption)
    geo = value.get("geoData")
    if isinstance(geo, dict) and found.place is None:
        found.place = _place(geo.get("latitude"), geo.get("longitude"))


def _json_tags(value: Any, what: str, notes: list[str]) -> list[str]:
    """Return tags from a list of strings or {"tag": string}, a comma-separated string, or {tag: score}."""
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, dict):
        return list(value)
    if not isinstance(value, list):
        notes.append(f"{what} holds no list of tags.")
        return []
    tags = []
    for item in value:
        if isinstance(item, dict):
            item = item.get("tag", item.get("name"))
        if isinstance(item, str):
            tags.append(item)
        else:
            notes.append(f"{what} holds a tag that is not text.")
    return tags


def _decode_text_file(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return em.decode_text(data)


def _clean_tags(values: Sequence[str], noun: str, notes: list[str]) -> tuple[str, ...]:
    tags: dict[str, str] = {}
    refused: list[str] = []
    for value in values:
        value = value.strip("\0 \t\r\n")
        if not value:
            continue
        if len(tags) == MAX_TAGS:
            notes.append(f"The photo has {len(values):,} {noun}s; the first {MAX_TAGS:,} were kept.")
            break
        try:
            tag = clean_tag(value)
        except TagError as error:
            refused.append(f"A {noun} was left out: {error}")
            continue
        tags.setdefault(tag_key(tag), tag)
    notes += refused[:_MAX_REFUSED_NOTES]
    if len(refused) > _MAX_REFUSED_NOTES:
        notes.append(f"{len(refused) - _MAX_REFUSED_NOTES:,} more {noun}s were left out.")
    return tuple(tags.values())


def _clean_caption(text: str | None, notes: list[str]) -> str | None:
    if not text:
        return None
    longest = MAX_CAPTION_LENGTH
    if len(text) > longest:
        notes.append(f"The caption has {len(text):,} characters; the first {longest:,} were kept.")
        text = text[:longest]
    text = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)
    return " ".join(unicodedata.normalize("NFC", text).split()) or None


def _exif_text(value: Any) -> str:
    """Return an EXIF string without padding, decoded as UTF-8 if valid; Pillow decodes it as Latin-1."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    with contextlib.suppress(UnicodeError):  # Latin-1, or decoded by Pillow in another way
        value = value.encode("latin-1").decode("utf-8")
    text: str = value.split("\0")[0]
    return text.strip()


def _exif_caption(value: Any) -> str | None:
    text = _exif_text(value)
    return None if " ".join(text.split()).casefold() in _CAMERA_CAPTIONS else text


def _camera(make: Any, model: Any) -> str | None:
    """Join make and model: ("Apple", "iPhone 15") but not ("NIKON CORPORATION", "NIKON D90")."""
    texts = (" ".join(_exif_text(value)[:100].split()) for value in (make, model))
    make_name, model_name = ("".join(c for c in text if c.isprintable()) for text in texts)
    if make_name and model_name.casefold().split()[:1] == make_name.casefold().split()[:1]:
        return model_name
    return f"{make_name} {model_name}".strip() or None


def _iso_time(value: Any) -> str | None:
    """Convert "2026:07:01 12:30:05" or an ISO 8601 time to ISO 8601 local time; None if it is invalid."""
    text = _exif_text(value)
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?", text, re.ASCII)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(group or 0) for group in match.groups())
    try:
        if match[4] is None:
            return date(year, month, day).isoformat()
        return datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:
        return None


def _exif_place(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    latitude = _degrees(gps.get(em.GPS_LATITUDE), gps.get(em.GPS_LATITUDE_REF), "S")
    longitude = _degrees(gps.get(em.GPS_LONGITUDE), gps.get(em.GPS_LONGITUDE_REF), "W")
    return _place(latitude, longitude)


def _degrees(value: Any, reference: Any, negative: str) -> float | None:
    """Convert degrees, minutes and seconds to decimal degrees."""
    if not isinstance(value, tuple) or not 1 <= len(value) <= 3:
        return None
    try:
        degrees: float = sum(float(part) / 60**power for power, part in enumerate(value))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return -degrees if _exif_text(reference).upper().startswith(negative) else degrees


def _place(latitude: Any, longitude: Any) -> tuple[float, float] | None:
    """Return valid coordinates or None; devices and Takeout write 0, 0 for an unknown place."""
    for value, limit in ((latitude, 90), (longitude, 180)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not math.isfinite(value) or abs(value) > limit:
            return None
    if latitude == 0 and longitude == 0:
        return None
    return round(float(latitude), 6), round(float(longitude), 6)
