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
from pathlib import Path, PurePath
from typing import Any, Protocol

from annotator.datasets import embedded_metadata as em
from annotator.datasets.exif_keywords import read_comment, windows_keywords
from annotator.datasets.image_folder import DecodedImage, display_name
from annotator.datasets.iptc import IptcFields, parse_iptc
from annotator.datasets.json_tags import TagFile, read_json_tags
from annotator.datasets.keywords import LEVELS, KeywordPath, own_keywords, path_of, plain_keywords
from annotator.datasets.path_words import path_words
from annotator.datasets.sidecar_names import Listing, file_sidecars, sidecars_of
from annotator.datasets.tag_files import read_text_tags
from annotator.datasets.tags import clean_tag, tag_key
from annotator.datasets.xmp import XmpFields, parse_xmp
from annotator.errors import TagError

MAX_TAGS = 1_000
"""Most keywords, and most user tags, of one photo."""

MAX_CAPTION_LENGTH = 5_000
"""Most characters of a caption."""

MAX_CAMERA_LENGTH = 201
"""Most characters of make and model with the space between them."""

MAX_TEXT = 2 * em.MAX_BLOCK_BYTES
"""Most characters of the other texts of one photo, all together: they come from blocks of that size."""

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


class Sidecars(Protocol):
    """Finds and reads the sidecars of photos, wherever they lie."""

    def find(self, path: PurePath) -> Sequence[PurePath]:
        """Return a photo's sidecars: .xmp, .txt, .caption, .json; of each kind those with the full name first.

        Raises:
            OSError: The folder cannot be listed.
        """
        ...

    def read(self, sidecar: PurePath, root: PurePath, what: str, notes: list[str]) -> bytes:
        """Return a sidecar's bytes; none if it cannot be read, or is no plain file of the root.

        Args:
            sidecar: From `find`.
            root: The photo folder.
            what: Names it at the begin of a sentence.
            notes: A sentence about what was not read is added to it.
        """
        ...


class SidecarFinder:
    """Finds sidecars in folders of a disk; caches the listing of each folder until its modification time changes.

    This costs one stat call a photo instead of one for every possible sidecar. Thread-safe.

    Args:
        num_folders: Size of the cache: the most recently used folders.
    """

    def __init__(self, num_folders: int = 64) -> None:
        self._num_folders = num_folders
        self._folders: OrderedDict[str, tuple[int, Listing]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, path: PurePath) -> list[PurePath]:
        """Return a photo's sidecars; see `Sidecars.find`."""
        folder, name = os.path.split(path)
        listing = self._list(folder or ".")
        if not listing:
            return []

        def is_same_file(one: str, other: str) -> bool:
            with contextlib.suppress(OSError):
                return os.path.samefile(os.path.join(folder, one), os.path.join(folder, other))
            return False

        return [path.with_name(sidecar) for sidecar in sidecars_of(name, listing, is_same_file)]

    def read(self, sidecar: PurePath, root: PurePath, what: str, notes: list[str]) -> bytes:
        """Return a sidecar's bytes; see `Sidecars.read`. Links out of the root are not followed."""
        path = Path(sidecar)
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                if not path.resolve().is_relative_to(Path(root).resolve()):
                    notes.append(f"{what} is a link out of the photo folder and was not read.")
                    return b""
                status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                notes.append(f"{what} is not a regular file and was not read.")
                return b""
            if status.st_size > em.MAX_BLOCK_BYTES:
                notes.append(too_large(what, status.st_size))
                return b""
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: resolve() in a cycle of links
            notes.append(f"{what} could not be read: {getattr(error, 'strerror', None) or error}.")
            return b""

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


def too_large(what: str, num_bytes: int) -> str:
    """Return the sentence about a sidecar that is larger than any."""
    size = f"{num_bytes / 1e6:,.1f} MB, more than {em.MAX_BLOCK_BYTES / 1e6:,.0f} MB"
    return f"{what} has {size}, and was not read."


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
    path: PurePath, decoded: DecodedImage, *, root: PurePath, sidecars: Sidecars | None = None
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
    if blocks.xmp_extension:
        xmp = xmp.completed_by(parse_xmp(blocks.xmp_extension, "The extension of the embedded XMP"))
    comment = read_comment(blocks.exif.get(em.USER_COMMENT))
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
    of_exif = [
        path_of(word, LEVELS) for word in (*windows_keywords(blocks.exif.get(em.XP_KEYWORDS)), *comment.keywords)
    ]
    keywords = own_keywords([*plain_keywords(iptc.keywords), *xmp.keywords, *of_exif, *found.keywords])
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


def is_cleaned(metadata: PhotoMetadata) -> bool:
    """Tell whether metadata that were stored elsewhere are such as `read_metadata` returns: clean and bounded."""
    notes: list[str] = []
    place = (metadata.latitude, metadata.longitude)
    texts = (*metadata.hierarchies, *metadata.path_words, *metadata.notes)
    return (
        metadata.keywords == _clean_tags(metadata.keywords, "keyword", notes)
        and metadata.user_tags == _clean_tags(metadata.user_tags, "tag", notes)
        and _is_plain(metadata.caption, 4 * MAX_CAPTION_LENGTH)  # its normal form may be longer
        and metadata.taken_at in (None, _iso_time(metadata.taken_at))
        and _is_plain(metadata.camera, MAX_CAMERA_LENGTH)
        and place in ((None, None), _place(*place))
        and all(isinstance(text, str) for text in texts)
        and sum(map(len, texts)) <= MAX_TEXT
    )


def _is_plain(text: str | None, longest: int) -> bool:
    return text is None or (len(text) <= longest and not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text))


def _one_line(keyword: KeywordPath) -> str:
    levels = (" ".join(unicodedata.normalize("NFC", level.replace(LEVELS, "/")).split()) for level in keyword)
    return LEVELS.join(levels)


def _relative(path: PurePath, root: PurePath) -> str:
    try:
        return str(path.relative_to(root))
    except ValueError:
        return path.name


def _read_sidecars(path: PurePath, root: PurePath, finder: Sidecars) -> _Found:
    found = _Found([], [], {}, [])
    try:
        paths = finder.find(path)
    except OSError as error:
        found.notes.append(f"The photo's folder could not be searched for sidecars: {error.strerror}.")
        return found
    for sidecar in paths:
        what = f"The sidecar {display_name(sidecar.name)}"
        data = finder.read(sidecar, root, what, found.notes)
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
