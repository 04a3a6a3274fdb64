"""A vocabulary file: tags that may be proposed, each with aliases.

Text: one tag a line; blank lines and lines that begin with # are left out. CSV (by the name's end): the first column is
the tag, the others are aliases; a first line that begins with "tag" is a header. Knows nothing of projects.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import DataError, TagError

MAX_TAGS = 200_000
MAX_FILE_BYTES = 50_000_000
MAX_ALIASES = 50
"""Most aliases of a tag."""


@dataclass(frozen=True)
class VocabularyTag:
    """One tag of a vocabulary."""

    tag: str
    aliases: tuple[str, ...] = ()


def read_vocabulary(path: Path) -> list[VocabularyTag]:
    """Return the tags of a file in its order; a tag that stands there twice is one, with all aliases.

    Raises:
        DataError: The file is missing, too large, not UTF-8, empty, or a line holds no valid tag; or an alias belongs
            to two tags.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"The vocabulary {path} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"The vocabulary {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The vocabulary {path} is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.") from error
    is_csv = path.suffix.lower() == ".csv"
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for number, cells in _lines(text, is_csv, path):
        tag, aliases = found.setdefault(*_entry(cells, path, number))
        for alias in cells[1:]:
            if alias.strip():
                cleaned = _clean(alias, path, number)
                aliases[tag_key(cleaned)] = cleaned
        if len(aliases) > MAX_ALIASES:
            raise DataError(f"The vocabulary {path} gives {tag!r} more than {MAX_ALIASES} aliases.")
        if len(found) > MAX_TAGS:
            raise DataError(f"The vocabulary {path} has more than {MAX_TAGS:,} tags.")
    if not found:
        raise DataError(f"The vocabulary {path} holds no tag. Write one a line.")
    _check_aliases(found, path)
    return [
        VocabularyTag(tag, tuple(alias for key, alias in aliases.items() if key not in found))
        for tag, aliases in found.values()
    ]


def _lines(text: str, is_csv: bool, path: Path) -> list[tuple[int, list[str]]]:
    if not is_csv:
        return [
            (number, [line])
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
    reader = csv.reader(io.StringIO(text, newline=""))
    found = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"The vocabulary {path} is no CSV file at line {reader.line_num}: {error}.") from error
    if found and tag_key(found[0][1][0].strip()) == "tag":
        del found[0]
    return found


def _entry(cells: list[str], path: Path, number: int) -> tuple[str, tuple[str, dict[str, str]]]:
    tag = _clean(cells[0], path, number)
    return tag_key(tag), (tag, {})


def _clean(text: str, path: Path, number: int) -> str:
    try:
        return clean_tag(text)
    except TagError as error:
        raise DataError(f"The vocabulary {path}, line {number}: {error}") from error


def _check_aliases(found: dict[str, tuple[str, dict[str, str]]], path: Path) -> None:
    owner: dict[str, str] = {}
    for tag, aliases in found.values():
        for key, alias in aliases.items():
            if owner.setdefault(key, tag) != tag:
                raise DataError(f"The vocabulary {path} gives the alias {alias!r} to {owner[key]!r} and to {tag!r}.")
