import csv
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotator.exchange.export import COLUMNS, export_lines


def row(**values: Any) -> dict[str, Any]:
    base = {
        "image": "a.jpg",
        "tags": ["cat", "sofa"],
        "dropped": [],
        "image_id": 1,
        "content_hash": "f" * 64,
        "root": "/photos",
        "user": "local",
        "saved_at": "2026-01-02T03:04:05Z",
        "revision": 2,
    }
    return {**base, **values}


ODD = ["<img src=x onerror=alert(1)>", 'say "hi"', "'; DROP TABLE", "🐈‍⬛", "كلب", "a,b", "=1+1", "x" * 100]


def test_jsonl_gives_every_record_back_one_a_line() -> None:
    rows = [row(), row(tags=ODD, image="a\nb.jpg")]
    lines = list(export_lines(rows, "jsonl"))
    assert [json.loads(line) for line in lines] == rows
    assert all(line.count("\n") == 1 and line.endswith("\n") for line in lines)


def test_csv_has_a_header_and_every_cell_comes_back() -> None:
    text = "".join(export_lines([row(tags=['say "hi"', "a,b", "🐈"], image="a\nb.jpg")], "csv"))
    header, values = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    assert tuple(header) == COLUMNS
    cells = dict(zip(header, values, strict=True))
    assert cells["tags"] == 'say "hi"; a,b; 🐈'
    assert (cells["image"], cells["image_id"]) == ("a\nb.jpg", "1")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
@pytest.mark.parametrize("column", ["tags", "dropped", "image", "root", "user"])
def test_no_csv_cell_can_run_as_a_formula(start: str, column: str) -> None:
    dangerous = f"{start}cmd|' /C calc'!A0"
    value = [dangerous, "cat"] if column in {"tags", "dropped"} else dangerous
    text = "".join(export_lines([row(**{column: value})], "csv"))
    for values in csv.reader(io.StringIO(text, newline="")):
        for cell in values:
            assert cell[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    assert f"'{start}cmd" in text


def test_no_part_of_a_csv_cell_can_run_as_a_formula_where_semicolons_part_the_cells() -> None:
    text = "".join(export_lines([row(tags=["cat", "=1+1"], image="a;=cmd.jpg")], "csv"))
    for values in csv.reader(io.StringIO(text, newline=""), delimiter=";"):
        for cell in values:
            assert cell.strip()[:1] not in {"=", "+", "-", "@", "\t", "\r", "\n"}


TEXTS = st.text("ab=+-@\uff1d\uff0b\uff0d\uff20\"';,| \t\r\n\u200b\ufeff", max_size=12)


@given(tags=st.lists(TEXTS, max_size=3), image=TEXTS)
@example(tags=['x;"=1+1;'], image='x;"=1+1;')
@example(tags=["\uff1d1+1"], image="a;\u200b=1+1")
@example(tags=["a,=1+1", 'b;"" =1+1'], image="a\n=1+1")
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_can_run_as_a_formula_wherever_cells_are_parted(delimiter: str, tags: list[str], image: str) -> None:
    text = "".join(export_lines([row(tags=tags, dropped=tags, image=image)], "csv"))
    for values in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        for cell in values:
            assert cell[:1] not in {"\t", "\r", "\n"}
            assert cell.lstrip(' \t\r\n"\u200b\ufeff')[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20")


def test_nothing_saved_is_an_empty_file_or_a_header() -> None:
    assert list(export_lines([], "jsonl")) == []
    assert list(export_lines([], "csv")) == ["\ufeff" + ",".join(COLUMNS) + "\r\n"]


def test_a_csv_file_begins_with_the_mark_by_which_excel_knows_utf8() -> None:
    data = "".join(export_lines([row(tags=["Šárka", "straße"])], "csv")).encode()
    assert data.startswith(b"\xef\xbb\xbfimage,")
    assert data.count(b"\xef\xbb\xbf") == 1
    (record,) = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
    assert record["tags"] == "Šárka; straße"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(KeyError):
        list(export_lines([], "xlsx"))
