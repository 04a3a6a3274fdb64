"""Metadata of a photo: embedded metadata, sidecar files, and the words of its path.

A problem with metadata becomes a sentence in ``notes`` and never makes a photo unreadable.
Knows nothing of projects or databases.
"""

import contextlib
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
from annotator.datasets.iptc import IptcFields, parse_iptc
from annotator.datasets.keywords import LEVELS, KeywordPath, own_keywords, plain_keywords, split_list
from annotator.datasets.path_words import path_words
from annotator.datasets.sidecar_names import Listing, file_sidecars, sidecars_of
from annotator.datasets.tag_files import TagFile, prompt_tags, read_json_tags, read_text_tags
from annotator.datasets.tags import clean_tag, tag_key
from annotator.datasets.text_encodings import decode_text
from annotator.datasets.xmp import XmpFields, parse_xmp
from annotator.errors import TagError

MAX_TAGS = 1_000
"""Most keywords, and most user tags, of one photo."""

MAX_CAPTION_LENGTH = 5_000
"""Most characters of a caption."""

_MAX_COMMENT_WORDS = 4  # of a keyword in a list that may be a sentence
_MAX_REFUSED_NOTES = 5

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


@dataclass(frozen=True)
class PhotoMetadata:
    """The metadata of one photo."""

    keywords: tuple[str, ...] = ()
    """Keywords of IPTC, XMP and EXIF, embedded first, then from the sidecar; one spelling of each tag. Of hierarchical
    ones, the last level."""
    hierarchies: tuple[str, ...] = ()
    """Hierarchical keywords with all levels, "animal|dog"."""
    user_tags: tuple[str, ...] = ()
    """Tags of .txt, .caption and .json sidecars and of a generator's prompt, in order; one spelling of each tag."""
    caption: str | None = None
    """The first of: .xmp sidecar, IPTC, XMP, EXIF, .json, .caption, .txt, EXIF's comment."""
    taken_at: str | None = None
    """ISO 8601 local time without an offset, from EXIF or else XMP; a date if the time is unknown. Google Takeout's
    time, where the photo has no other, is UTC."""
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
        self._folders: OrderedDict[str, tuple[int, Listing]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, path: Path) -> list[Path]:
        """Return a photo's sidecars: .xmp, .txt, .caption, .json; of each kind those with the full name first.

        Raises:
            OSError: The folder cannot be listed.
        """
        folder, name = os.path.split(path)
        listing = self._list(folder or ".")
        if not listing:
            return []

        def is_same_file(one: str, other: str) -> bool:
            with contextlib.suppress(OSError):
                return os.path.samefile(os.path.join(folder, one), os.path.join(folder, other))
            return False

        return [path.with_name(sidecar) for sidecar in sidecars_of(name, listing, is_same_file)]

    def _list(self, folder: str) -> Listing:
        """Return the sidecars in the folder."""
        modified = os.stat(folder).st_mtime_ns
        with self._lock:
            cached = self._folders.get(folder)
            if cached is not None and cached[0] == modified:
                self._folders.move_to_end(folder)
                return cached[1]
        listing = file_sidecars(os.listdir(folder))
        with self._lock:
            self._folders[folder] = modified, listing
            self._folders.move_to_end(folder)
            while len(self._folders) > self._num_folders:
                self._folders.popitem(last=False)
        return listing


@dataclass
class _Found:
    """The content of one photo's sidecars, collected file by file."""

    keywords: list[KeywordPath]
    user_tags: list[str]
    captions: dict[str, str]  # by suffix
    notes: list[str]
    taken_at: str | None = None
    taken_at_takeout: str | None = None
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
    iptc = parse_iptc(blocks.iptc) if blocks.iptc else IptcFields()
    xmp = parse_xmp(blocks.xmp, "The embedded XMP") if blocks.xmp else XmpFields()
    comment = _read_comment(blocks.exif.get(em.USER_COMMENT))
    found = _read_sidecars(path, root, sidecars or SidecarFinder())
    notes = [*blocks.notes, *iptc.notes, *xmp.notes, *found.notes]
    captions = (
        found.captions.get(".xmp"),
        iptc.caption,
        xmp.caption,
        _exif_caption(blocks.exif.get(em.IMAGE_DESCRIPTION)),
        found.captions.get(".json"),
        found.captions.get(".caption"),
        found.captions.get(".txt"),
        comment.caption,
    )
    dates = (
        blocks.exif.get(em.DATE_TIME_ORIGINAL),
        xmp.taken_at,
        found.taken_at,
        blocks.exif.get(em.DATE_TIME_DIGITIZED),
        found.taken_at_takeout,
    )
    place = _exif_place(blocks.gps) or found.place
    of_windows = [(word,) for word in split_list(_windows_text(blocks.exif.get(em.XP_KEYWORDS)))]
    of_comment = [(word,) for word in comment.keywords]
    keywords = own_keywords([*plain_keywords(iptc.keywords), *xmp.keywords, *of_windows, *of_comment, *found.keywords])
    return PhotoMetadata(
        keywords=_clean_tags([keyword[-1] for keyword in keywords], "keyword", notes),
        hierarchies=tuple(dict.fromkeys(map(_one_line, (keyword for keyword in keywords if len(keyword) > 1)))),
        user_tags=_clean_tags([*found.user_tags, *comment.prompt], "tag", notes),
        caption=next((text for text in (_clean_caption(c, notes) for c in captions) if text), None),
        taken_at=next((when for when in map(_iso_time, dates) if when), None),
        camera=_camera(blocks.exif.get(em.MAKE), blocks.exif.get(em.MODEL)),
        latitude=place[0] if place else None,
        longitude=place[1] if place else None,
        path_words=path_words(_relative(path, root)),
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True)
class _Comment:
    """What EXIF's UserComment holds."""

    keywords: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    caption: str | None = None


def _read_comment(value: Any) -> _Comment:
    """Read a UserComment: a prompt of an image generator, a list of short words, or a comment."""
    text = _comment_text(value)
    prompt = prompt_tags(text)
    if prompt is not None:
        return _Comment(prompt=tuple(prompt))
    words = [word.strip() for word in split_list(text) if word.strip()]
    if len(words) > 1 and all(len(word.split()) <= _MAX_COMMENT_WORDS for word in words):
        return _Comment(keywords=tuple(words))
    return _Comment(caption=text.strip() or None)


def _comment_text(value: Any) -> str:
    """Decode a UserComment: eight bytes name its character set."""
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    kind, text = value[:8], value[8:]
    if kind.startswith(b"UNICODE"):
        # Programs write either order of bytes, whatever the order of the EXIF data.
        order = "utf-16-le" if text[1::2].count(0) > text[0::2].count(0) else "utf-16-be"
        decoded = text.decode("utf-16" if text.startswith((b"\xff\xfe", b"\xfe\xff")) else order, "replace")
    elif kind.startswith(b"JIS"):
        decoded = text.decode("iso2022_jp", "replace")
    else:
        decoded = decode_text((text if kind.strip(b"\0") in {b"", b"ASCII"} else value).rstrip(b"\0 "))
    decoded = decoded.split("\0")[0]
    # Some cameras fill it with binary data.
    return decoded if sum(not c.isprintable() and not c.isspace() for c in decoded) == 0 else ""


def _windows_text(value: Any) -> str:
    """Decode a field of Windows Explorer: UTF-16, low byte first."""
    if isinstance(value, bytes):
        is_wide = len(value) % 2 == 0 and 0 in value
        value = value.decode("utf-16-le", "replace") if is_wide else decode_text(value)
    return value.strip("\0") if isinstance(value, str) else ""


def _one_line(keyword: KeywordPath) -> str:
    levels = (" ".join(unicodedata.normalize("NFC", level.replace(LEVELS, "/")).split()) for level in keyword)
    return LEVELS.join(levels)


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
        suffix = sidecar.suffix.lower()
        match suffix:
            case ".xmp":
                _take_xmp(data, what, found)
            case ".json":
                _take(read_json_tags(data), suffix, what, found)
            case _:
                _take(read_text_tags(data, is_caption=suffix == ".caption"), suffix, what, found)
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
    xmp = parse_xmp(data, what)
    found.keywords += xmp.keywords
    found.notes += xmp.notes
    found.taken_at = found.taken_at or xmp.taken_at
    if xmp.caption:
        found.captions.setdefault(".xmp", xmp.caption)


def _take(file: TagFile, suffix: str, what: str, found: _Found) -> None:
    found.user_tags += file.tags
    found.notes += [f"{what} {problem}." for problem in file.problems]
    if file.caption:
        found.captions.setdefault(suffix, file.caption)
    found.taken_at_takeout = found.taken_at_takeout or file.taken_at
    if file.place is not None and found.place is None:
        found.place = _place(*file.place)


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
        if not abs(value) <= limit:  # also for NaN, and for whole numbers that no float holds
            return None
    if latitude == 0 and longitude == 0:
        return None
    return round(float(latitude), 6), round(float(longitude), 6)
