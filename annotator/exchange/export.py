"""The plain exports, JSON Lines and CSV, as lines that can be sent while they are made.

The other formats are files and folders (datasets/formats). Knows nothing of the source of the rows.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from annotator.datasets.formats.csv_table import COLUMNS, csv_lines
from annotator.datasets.formats.json_lines import json_line

__all__ = ["COLUMNS", "FORMATS", "export_lines"]

FORMATS = {
    "jsonl": ("application/x-ndjson", "jsonl"),
    "csv": ("text/csv; charset=utf-8", "csv"),
}
"""Format -> (media type, suffix)."""


def export_lines(rows: Iterable[dict[str, Any]], format: str) -> Iterator[str]:
    """Yield the export line by line, each with its line end.

    Args:
        rows: Photos with the keys of ``COLUMNS``, such as `storage.photo_rows.PLAIN_KEYS`.
        format: A key of ``FORMATS``. ``jsonl`` is what ``annotator train`` reads; in ``csv`` the ranked tags are in
            one cell, most important first, separated by "; ", and the file begins with a byte-order mark. Text that a
            spreadsheet would run as a formula is prefixed with an apostrophe: at the start of a cell, and after
            possible separators.

    Raises:
        KeyError: The format is unknown.
    """
    if format == "jsonl":
        yield from map(json_line, rows)
    elif format == "csv":
        yield from csv_lines(rows)
    else:
        raise KeyError(format)
