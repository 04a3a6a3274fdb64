"""Names of sidecar files: which files beside a photo belong to it.

Sidecars of ``photo.jpg`` are ``photo.jpg.xmp`` and ``photo.xmp``, the same with .txt, .caption and .json, the sidecar
of its RAW form (``photo.cr2.xmp``), and Google Takeout's names, which are shortened and numbered. Names are equal in
composed and decomposed Unicode. Knows nothing of the content of files.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from annotator.datasets.file_types import RAW_SUFFIXES

SIDECAR_SUFFIXES = (".xmp", ".txt", ".caption", ".json")

_TAKEOUT_SUFFIX = ".supplemental-metadata"
_NUMBER = re.compile(r"(.*?)(\(\d+\))?", re.DOTALL)
_CUT_LENGTHS = range(40, 51)  # Takeout cuts a name without .json to 46 characters; older exports to about that
_EDITED = (
    "edited effects smile mix bearbeitet modifié modificato editado editada editat bewerkt redigeret redigerad "
    "redigert muokattu edytowane upraveno upravené szerkesztve düzenlendi отредактировано измененный изменено "
    "編集済み 已修改 已编辑 수정됨"
)  # what Google Photos appends to the name of an edited copy, by language
_EDITED_SUFFIXES = (*(f"-{unicodedata.normalize('NFC', word)}" for word in _EDITED.split()), "-ha editado")
_SAVED_AS_JPEG = (".heic", ".heif", ".dng")  # an edited copy of such a photo is a JPEG
_MIN_CUT_STEM = 44  # a photo's name of Takeout has at most 47 characters before the suffix; "-edited" is cut with it


class _Key(NamedTuple):
    """Under which a sidecar is filed: its kind and its suffix, and a photo's name in composed, folded form."""

    kind: str  # "name", "takeout" or "raw"
    suffix: str
    name: str
    number: str = ""  # "(1)" of Takeout


Listing = Mapping[_Key, list[str]]
"""The sidecars of one folder."""


def file_sidecars(names: Iterable[str]) -> Listing:
    """Return the sidecars among the files of a folder, for ``sidecars_of``."""
    listing: dict[_Key, list[str]] = {}
    for name in sorted(names):
        stem, suffix = os.path.splitext(name)
        suffix = suffix.lower()
        if suffix not in SIDECAR_SUFFIXES:
            continue
        listing.setdefault(_Key("name", suffix, _folded(stem)), []).append(name)
        if suffix == ".json":
            listing.setdefault(_takeout_key(stem), []).append(name)
        elif suffix == ".xmp" and os.path.splitext(stem)[1].lower() in RAW_SUFFIXES:
            listing.setdefault(_Key("raw", suffix, _folded(os.path.splitext(stem)[0])), []).append(name)
    return listing


def sidecars_of(name: str, listing: Listing, is_same_file: Callable[[str, str], bool]) -> list[str]:
    """Return the names of a photo's sidecars: by suffix, of each those with the full name first.

    Args:
        name: The photo's file name.
        listing: Of its folder.
        is_same_file: Tells whether the file system takes two names in the folder as one file; asked for names that
            differ in case only.
    """
    found: dict[str, None] = {}
    stem, own_suffix = os.path.splitext(name)
    for suffix in SIDECAR_SUFFIXES:
        for wanted in (name, stem):
            for sidecar in listing.get(_Key("name", suffix, _folded(wanted)), ()):
                actual = os.path.splitext(sidecar)
                if _composed(actual[0]) == _composed(wanted) or is_same_file(wanted + actual[1], sidecar):
                    found[sidecar] = None
            if suffix == ".json" and wanted == name:
                found.update(dict.fromkeys(_takeout_sidecars(stem, own_suffix, listing)))
        if suffix == ".xmp" and own_suffix.lower() not in RAW_SUFFIXES:
            found.update(dict.fromkeys(listing.get(_Key("raw", suffix, _folded(stem)), ())))
    return list(found)


def _takeout_key(stem: str) -> _Key:
    """Return the key of a JSON file: ``photo.jpg.supplemental-metadata(1)``, shortened anywhere, is photo.jpg (1)."""
    title, number = _numbered(stem)
    base, dot, rest = title.rpartition(".")
    if dot and _TAKEOUT_SUFFIX.startswith(f".{rest.lower()}"):
        title = base
    return _Key("takeout", ".json", _folded(title), number)


def _takeout_sidecars(stem: str, suffix: str, listing: Listing) -> Iterator[str]:
    # The number may also be the photo's own: "photo (1).jpg.supplemental-metadata.json".
    yield from listing.get(_Key("takeout", ".json", _folded(stem + suffix)), ())
    for title, number in _takeout_titles(stem, suffix):
        for name in _cut(title):
            yield from listing.get(_Key("takeout", ".json", _folded(name), number), ())
        yield from listing.get(_Key("takeout", ".json", _folded(title), number), ())


def _cut(title: str) -> list[str]:
    """Return a title cut to the lengths of Takeout, in characters or bytes, the longest first."""
    data = title.encode("utf-8", "surrogateescape")
    lengths = [length for length in reversed(_CUT_LENGTHS) if length < len(data)]
    by_characters = [title[:length] for length in lengths if length < len(title)]
    by_bytes = [data[:length].decode("utf-8", "ignore") for length in lengths]
    return list(dict.fromkeys([*by_characters, *by_bytes]))


def _takeout_titles(stem: str, suffix: str) -> Iterator[tuple[str, str]]:
    """Yield (title, number) of a photo and, if it is an edited copy, of its original."""
    base, number = _numbered(_composed(stem))
    yield base + suffix, number
    yield base, number  # without the suffix
    while (part := _edited_part(base)) is not None:  # an edited copy may be edited again
        base, own_number = _numbered(base[: -len(part)])
        number = own_number or number
        for original in dict.fromkeys((suffix, *_SAVED_AS_JPEG)):
            yield base + original, number


def _edited_part(stem: str) -> str | None:
    """Return the end of a name that says that it is an edited copy, which may be cut; None for other names."""
    for edited in _EDITED_SUFFIXES:
        for length in range(len(edited), 1 if len(stem) >= _MIN_CUT_STEM else len(edited) - 1, -1):
            if stem.casefold().endswith(edited[:length]):
                return edited[:length]
    return None


def _numbered(stem: str) -> tuple[str, str]:
    match = _NUMBER.fullmatch(stem)
    return (match[1], match[2] or "") if match else (stem, "")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())
