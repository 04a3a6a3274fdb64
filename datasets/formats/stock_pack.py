"""What the tables for stock sites share: rows, limits, titles from tags, and the division into files.

A breach of a site's rules refuses the photo and is named; nothing is cut. Each site has a file of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.csv_table import csv_line, table_rows
from annotator.datasets.formats.formulas import is_formula
from annotator.datasets.formats.reading import clean_list
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import ConfigError, DataError

MOST_ROWS = 5_000
MOST_BYTES = 1_000_000
"""Rows and bytes of one file, its header included; Adobe's limit, kept for every site."""


@dataclass(frozen=True)
class StockOptions:
    """Options of every stock pack."""

    category: str = ""
    """Category of the photos that have none of their own."""
    title_tags: int = 5
    """A photo without a title or caption gets so many of its first tags as title."""

    def __post_init__(self) -> None:
        if self.title_tags < 1:
            raise ConfigError(f"The option title_tags must be at least 1; got {self.title_tags}.")


@dataclass(frozen=True)
class Pack:
    """A site's table."""

    name: str
    title: str
    columns: tuple[str, ...]
    row: Callable[[TaggedPhoto, Any], dict[str, str]]
    """(photo, options) -> column -> cell; columns that it leaves out stay empty."""
    breach: Callable[[TaggedPhoto, dict[str, str]], str | None]
    """(photo, row) -> why the site refuses it, beside what every site refuses; None if it does not."""
    keywords_column: str
    name_column: str
    fewest: int = 5
    most: int = 50
    delimiter: str = ","


def stock_format(pack: Pack, options: type[StockOptions]) -> Format:
    """Return the format of a site."""

    def write(photos: Iterable[TaggedPhoto], place: Place, chosen: Any, report: Report) -> None:
        _write(pack, photos, place.path, chosen, report)

    def read(source: Path, chosen: Any, report: Report) -> Iterator[TaggedPhoto]:
        yield from _read(pack, source, report)

    survival = Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="no")
    return Format(pack.name, f"the table that {pack.title} takes", survival, "folder", write, read, options)


def _write(pack: Pack, photos: Iterable[TaggedPhoto], folder: Path, options: Any, report: Report) -> None:
    folder.mkdir()
    header = csv_line(pack.columns, pack.delimiter)
    names: dict[str, str] = {}
    part: list[str] = []
    num_bytes, num_files = 0, 0
    for photo in photos:
        row = pack.row(photo, options)
        reason = _breach(pack, photo, row)
        if reason is None and photo.file_name.casefold() in names:
            reason = f"{names[photo.file_name.casefold()]} has the same file name, by which {pack.title} finds photos"
        if reason is not None:
            report.refuse(photo.name, reason)
            continue
        names[photo.file_name.casefold()] = photo.name
        report.num_photos += 1
        line = csv_line([row.get(column, "") for column in pack.columns], pack.delimiter)
        num_new = len(line.encode())
        if len(part) == MOST_ROWS or num_bytes + num_new > MOST_BYTES - len(header):
            num_files += 1
            _write_part(pack, folder, num_files, [header, *part])
            part, num_bytes = [], 0
        part.append(line)
        num_bytes += num_new
    if part:
        _write_part(pack, folder, num_files + 1, [header, *part])


def _write_part(pack: Pack, folder: Path, number: int, lines: list[str]) -> None:
    (folder / f"{pack.name}-{number}.csv").write_bytes("".join(lines).encode())


def _breach(pack: Pack, photo: TaggedPhoto, row: dict[str, str]) -> str | None:
    if not pack.fewest <= len(photo.tags) <= pack.most:
        return f"it has {len(photo.tags)} tags; {pack.title} takes {pack.fewest} to {pack.most}"
    for tag in photo.tags:
        if "," in tag:
            return f"the tag {tag!r} holds a comma, which parts keywords"
        if is_formula(tag):
            return f"the tag {tag!r} would be run as a formula by a spreadsheet"
    for column, cell in row.items():
        if column != pack.keywords_column and is_formula(cell):
            return f"the {column.lower()} {cell[:60]!r} would be run as a formula by a spreadsheet"
    return pack.breach(photo, row)


def title_of(photo: TaggedPhoto, options: StockOptions, most: int = 200) -> str:
    """Return a photo's title: its own, else its caption, else its first tags, as many as fit whole."""
    given = photo.title or photo.description
    if given:
        return given
    words = list(photo.tags[: options.title_tags])
    while len(words) > 1 and len(" ".join(words)) > most:
        words.pop()
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _read(pack: Pack, source: Path, report: Report) -> Iterator[TaggedPhoto]:
    paths = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not paths:
        raise DataError(f"{source} holds no .csv file.")
    for path in paths:
        for number, row in table_rows(path, pack.delimiter):
            name, keywords = row.get(pack.name_column.lower(), ""), row.get(pack.keywords_column.lower())
            if not name.strip() or keywords is None:
                raise DataError(
                    f"Line {number:,} of {path} lacks the columns {pack.name_column} and {pack.keywords_column}."
                )
            report.num_photos += 1
            yield TaggedPhoto(
                name.strip(),
                clean_list(keywords.split(","), name, report),
                title=row.get("title", ""),
                description=row.get("description", ""),
                category=row.get("category", row.get("categories", "")),
            )
