"""Export of saved tags as lines of JSON or CSV. Knows nothing of the source of the rows."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

FORMATS = {
    "jsonl": ("application/x-ndjson", "jsonl"),
    "csv": ("text/csv; charset=utf-8", "csv"),
}
"""Format -> (media type, suffix)."""

COLUMNS = ("image", "tags", "dropped", "image_id", "content_hash", "root", "user", "saved_at", "revision", "file",
           "changed")  # fmt: skip
_LIST_SEPARATOR = "; "
_FORMULA = re.compile(
    r"""((?:^|[;,|\t\r\n])[ ]*)(?=[\s"'\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])"""
)
"""Positions where a spreadsheet may interpret the following text as a formula: after a possible separator, also with
quotes, spaces and invisible characters in between. The last four characters are full-width forms of the first four."""


def export_lines(rows: Iterable[dict[str, Any]], format: str) -> Iterator[str]:
    """Yield the export line by line, each with its line end.

    Args:
        rows: From ``CorrectionLog.export_rows``.
        format: A key of ``FORMATS``. ``jsonl`` is what ``annotator train`` reads; in ``csv`` the ranked tags are in
            one cell, most important first, separated by "; ", and the file begins with a byte-order mark. Text that a
            spreadsheet would run as a formula is prefixed with an apostrophe: at the start of a cell, and after
            possible separators.

    Raises:
        KeyError: The format is unknown.
    """
    if format == "jsonl":
        for row in rows:
            yield json.dumps(row, ensure_ascii=False) + "\n"
    elif format == "csv":
        # Excel takes a file without the mark for text in the system's old encoding.
        yield "\ufeff" + ",".join(COLUMNS) + "\r\n"
        for row in rows:
            yield _csv_line([_cell(row.get(column, "")) for column in COLUMNS])
    else:
        raise KeyError(format)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    text = _LIST_SEPARATOR.join(value) if isinstance(value, list) else str(value)
    return _FORMULA.sub(r"\1'", text)


def _csv_line(cells: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
