"""A vocabulary file: tags that may be proposed, each with aliases, levels and a class, and tags that are forbidden.

Text: one tag a line; blank lines and lines that begin with # are left out. CSV: the first column is the tag, the others
are aliases; a first line that begins with "tag" is a header, which may also name columns "parent", "class" and "use"
(allowed or forbidden). The files of other programs are read by datasets/vocabulary_formats.py. Knows nothing of
projects.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotator.datasets import vocabulary_formats as formats
from annotator.datasets.tags import clean_tag, tag_key
from annotator.datasets.vocabulary_formats import Entry
from annotator.errors import ConfigError, DataError, TagError

MAX_TAGS = 200_000
MAX_FILE_BYTES = 50_000_000
MAX_ALIASES = 50
"""Most aliases of a tag."""
MAX_LEVELS = 30
"""Most levels above a tag."""
FORMATS = ("text", "csv", "skos", "lightroom", "digikam", "booru")
USES = ("", "allowed", "forbidden")


@dataclass(frozen=True)
class VocabularyTag:
    """One tag of a vocabulary."""

    tag: str
    aliases: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    """The tags above it, the highest first: ("animals", "mammals") of "cat"."""
    group: str = ""
    """Its class, such as "character"; empty: none."""
    is_forbidden: bool = False
    """Whether it is no tag: it is not proposed and not saved."""


@dataclass
class _Joined:
    """What all entries of one tag say."""

    tag: str
    place: str
    aliases: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    group: str = ""
    is_forbidden: bool = False


def read_vocabulary(path: Path, format: str = "") -> list[VocabularyTag]:
    """Return the tags of a file in its order; a tag that stands there twice is one, with all aliases.

    Args:
        path: The file.
        format: One of `FORMATS`; empty: told by the name and the content.

    Raises:
        ConfigError: There is no such format.
        DataError: The file is missing, too large, not UTF-8, empty, or a line holds no valid tag; the levels form a
            circle; or, in text and CSV, an alias belongs to two tags, or they are too many. In the files of other
            programs the first tag keeps such an alias, and a tag the first of its aliases.
    """
    if format not in ("", *FORMATS):
        raise ConfigError(f"There is no vocabulary format {format[:40]!r}. Formats: {', '.join(FORMATS)}.")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"The vocabulary {path} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"The vocabulary {path} cannot be read: {error.strerror}.") from error
    try:
        entries, is_ours = _entries(path, data, format)
        found = _join(entries, path, is_ours)
    except csv.Error as error:
        raise DataError(f"The vocabulary {path} is no CSV file: {error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The vocabulary {path} is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.") from error
    if not found:
        raise DataError(f"The vocabulary {path} holds no tag. Write one a line.")
    _check_aliases(found, path, is_ours)
    return [
        VocabularyTag(
            one.tag,
            tuple(alias for key, alias in one.aliases.items() if key not in found),
            _levels(key, found, path),
            one.group,
            one.is_forbidden,
        )
        for key, one in found.items()
    ]


def _entries(path: Path, data: bytes, format: str) -> tuple[Iterator[Entry], bool]:
    """Return the entries of a file, and whether it is a text or CSV file of this program's form."""
    suffix = path.suffix.lower()
    if format == "digikam" or (not format and data.startswith(b"SQLite format 3")):
        return formats.digikam(path), False
    if format == "skos" or (not format and suffix in (".rdf", ".ttl", ".skos", ".xml")):
        return formats.skos(data, suffix), False
    text = data.decode("utf-8-sig")
    if format == "booru" or (not format and suffix == ".csv" and formats.is_booru_table(text)):
        return formats.booru(text), False
    if format == "lightroom" or (not format and suffix != ".csv" and formats.is_indented(text)):
        return formats.lightroom(text), False
    return (_csv(text) if format == "csv" or (not format and suffix == ".csv") else _text(text)), True


def _text(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Entry(line, f"line {number}")


def _csv(text: str) -> Iterator[Entry]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    is_first = True
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if is_first and tag_key(cells[0].strip()) == "tag":
            header = [name.strip().casefold() for name in cells]
        else:
            yield _row(cells, header, reader.line_num)
        is_first = False


def _row(cells: Sequence[str], header: Sequence[str], number: int) -> Entry:
    columns: dict[str, list[str]] = {"parent": [], "class": [], "use": [], "alias": []}
    for place, cell in enumerate(cells[1:], 1):
        name = header[place] if place < len(header) else ""
        if cell.strip():
            columns[name if name in columns else "alias"].append(cell.strip())
    use = "".join(columns["use"]).casefold()
    if use not in USES:
        raise DataError(f"line {number}: the use is {use[:40]!r}, but can be allowed or forbidden")
    group = " ".join(columns["class"])
    return Entry(
        cells[0], f"line {number}", tuple(columns["alias"]), tuple(columns["parent"]), group, use == "forbidden"
    )


def _join(entries: Iterable[Entry], path: Path, is_ours: bool) -> dict[str, _Joined]:
    """Return tag key -> what all entries of the tag say.

    Raises:
        DataError: As `read_vocabulary`.
    """
    found: dict[str, _Joined] = {}
    try:
        for entry in entries:
            tag = _clean(entry.tag, entry.place)
            one = found.setdefault(tag_key(tag), _Joined(tag, entry.place))
            aliases = entry.aliases if is_ours else entry.aliases[: MAX_ALIASES - len(one.aliases)]
            for names, into in ((aliases, one.aliases), (entry.parents, one.parents)):
                cleaned = [_clean(name, entry.place) for name in names if name.strip()]
                into.update((tag_key(name), name) for name in cleaned)
            one.group = one.group or " ".join(entry.group.split())[:100]
            one.is_forbidden |= entry.is_forbidden
            if len(one.aliases) > MAX_ALIASES:
                raise DataError(f"{entry.place}: {tag!r} has more than {MAX_ALIASES} aliases")
            if len(found) > MAX_TAGS:
                raise DataError(f"it has more than {MAX_TAGS:,} tags")
    except DataError as error:
        raise DataError(f"The vocabulary {path}, {str(error).rstrip('.')}.") from error
    return found


def _clean(text: str, place: str) -> str:
    try:
        return clean_tag(text)
    except TagError as error:
        raise DataError(f"{place}: {error}") from error


def _levels(key: str, found: dict[str, _Joined], path: Path) -> tuple[str, ...]:
    """Return the tags above a tag, the highest first; of several parents, the first counts.

    Raises:
        DataError: They form a circle, or are too many.
    """
    levels: list[str] = []
    seen = {key}
    while parents := found[key].parents if key in found else {}:
        key = next(iter(parents))
        if key in seen:
            raise DataError(f"The vocabulary {path}: the levels above {found[key].tag!r} form a circle.")
        seen.add(key)
        levels.insert(0, found[key].tag if key in found else parents[key])
        if len(levels) > MAX_LEVELS:
            raise DataError(f"The vocabulary {path} has more than {MAX_LEVELS} levels above {levels[-1]!r}.")
    return tuple(levels)


def _check_aliases(found: dict[str, _Joined], path: Path, is_ours: bool) -> None:
    owner: dict[str, str] = {}
    for one in found.values():
        for key, alias in list(one.aliases.items()):
            if owner.setdefault(key, one.tag) == one.tag:
                continue
            if is_ours:
                raise DataError(
                    f"The vocabulary {path} gives the alias {alias!r} to {owner[key]!r} and to {one.tag!r}."
                )
            del one.aliases[key]
