"""A CSV table for spreadsheets: one row a photo, its tags in one cell, most important first.

Text that a spreadsheet would run as a formula gets an apostrophe before it; use jsonl where every character counts.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.formulas import without_formulas
from annotator.datasets.formats.json_lines import row_of
from annotator.datasets.formats.reading import bounded_lines, clean_list, encoding_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import ConfigError, DataError

COLUMNS = ("image", "tags", "dropped", "image_id", "content_hash", "root", "user", "saved_at", "revision", "file",
           "changed")  # fmt: skip
_BYTE_ORDER_MARK = "\ufeff"
"""Excel takes a file without it for text in the system's old encoding."""
_LIST_SEPARATOR = "; "
_NAMED_DELIMITER = re.compile("sep=(.)", re.IGNORECASE)
_NAME_COLUMNS = ("image", "file_name", "filename", "file name", "name", "path", "file", "photo")
_TAG_COLUMNS = ("tags", "keywords", "labels")


@dataclass(frozen=True)
class CsvOptions:
    """Options of `csv`."""

    separator: str = ";"
    """What parts the tags within their cell."""
    delimiter: str = ""
    """What parts the cells; empty: what the header tells, a comma, a semicolon or a tab."""

    def __post_init__(self) -> None:
        if not self.separator.strip() or len(self.delimiter) > 1:
            raise ConfigError("The option separator needs a sign, and the option delimiter at most one.")


def csv_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the header, after a byte-order mark, and a line for each row, each with its line end."""
    yield _BYTE_ORDER_MARK + ",".join(COLUMNS) + "\r\n"
    for row in rows:
        yield csv_line([_cell(row.get(column, "")) for column in COLUMNS])


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return without_formulas(_LIST_SEPARATOR.join(value) if isinstance(value, list) else str(value))


def csv_line(cells: Iterable[str], delimiter: str = ",") -> str:
    """Return cells as a line of RFC 4180 with its line end."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerow(cells)
    return buffer.getvalue()


def write(photos: Iterable[TaggedPhoto], place: Place, options: CsvOptions, report: Report) -> None:
    """Write one row a photo."""
    with place.path.open("w", encoding="utf-8", newline="") as file:
        for line in csv_lines(map(row_of, _noted(photos, report))):
            file.write(line)


def _noted(photos: Iterable[TaggedPhoto], report: Report) -> Iterator[TaggedPhoto]:
    for photo in photos:
        for tag in photo.tags:
            if ";" in tag:
                report.note(photo.name, f"the tag {tag!r} holds a semicolon and cannot be told from two tags")
            elif without_formulas(tag) != tag:
                report.note(photo.name, f"the tag {tag!r} got an apostrophe, since a spreadsheet would run it")
        report.num_photos += 1
        yield photo


def table_rows(source: Path, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, column in lower case -> cell) of a CSV file with a header.

    Args:
        source: The file, in UTF-8, UTF-16 with a mark, or an older encoding, which is guessed.
        delimiter: What parts the cells; empty: what the header tells.

    Raises:
        DataError: The file cannot be read, is damaged, or a row has more cells than the header.
    """
    numbered = bounded_lines(source, encoding_of(source))
    number, header_line = next(numbered, (1, ""))
    named = _NAMED_DELIMITER.fullmatch(header_line)  # Excel reads and drops such a line
    if named:
        number, header_line = next(numbered, (2, ""))
    delimiter = delimiter or (named[1] if named else _delimiter_of(header_line))

    def lines() -> Iterator[str]:
        nonlocal number
        yield header_line + "\n"
        for number, line in numbered:  # noqa: B007 - read below
            yield line + "\n"

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        for cells in reader:
            if len(cells) > len(header):
                raise DataError(f"Line {number:,} of {source} has {len(cells)} cells, the header {len(header)}.")
            if any(cells):
                yield number, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise DataError(f"Line {number:,} of {source} is not CSV: {error}.") from error


def _delimiter_of(header: str) -> str:
    """Return what parts the names of a header: Excel writes semicolons in many languages, tabs as Unicode text."""
    return max((",", ";", "\t"), key=header.count)


def read(source: Path, options: CsvOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a table with a column for the photo (image, file_name, ...) and one for the tags."""
    for number, row in table_rows(source, options.delimiter):
        name_column = next((name for name in _NAME_COLUMNS if name in row), None)
        tag_column = next((name for name in _TAG_COLUMNS if name in row), None)
        if name_column is None or tag_column is None:
            raise DataError(
                f"{source} needs a column for the photo ({', '.join(_NAME_COLUMNS)}) and one for its tags "
                f"({', '.join(_TAG_COLUMNS)}); line {number:,} has {', '.join(row) or 'none'}."
            )
        name = row[name_column].strip()
        if not name:
            raise DataError(f"Line {number:,} of {source} names no photo.")
        report.num_photos += 1
        yield TaggedPhoto(
            name.removeprefix("'"),
            clean_list(_split(row[tag_column], options), name, report),
            dropped=clean_list(_split(row.get("dropped", ""), options), name, report),
            content_hash=row.get("content_hash", ""),
        )


def _split(cell: str, options: CsvOptions) -> list[str]:
    parts = (part.strip() for part in cell.split(options.separator.strip()))
    return [part[1:] if part.startswith("'") and without_formulas(part[1:]) != part[1:] else part for part in parts]


FORMAT = Format(
    "csv",
    "one table for a spreadsheet",
    Survival(order="yes", scores="no", who="yes", dropped="yes", hierarchy="partly"),
    write=write,
    read=read,
    options=CsvOptions,
    suffix=".csv",
)
