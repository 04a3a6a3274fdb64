"""Damaged, huge and malicious files: one sentence each, and no photo comes out of a file that is refused later."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.datasets.formats import reading
from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import DataError

Read = Callable[..., list[TaggedPhoto]]


def coco(**changes: Any) -> str:
    values: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "area": 1}],
    }
    return json.dumps(values | changes)


CASES: dict[str, tuple[str, str, str]] = {
    "jsonl no JSON": ("jsonl", "{", "Line 1 of .* is not JSON"),
    "jsonl no object": ("jsonl", "[1]", "Line 1 of .* is not a JSON object"),
    "jsonl no image": ("jsonl", '{"tags": ["x"]}', 'Line 1 of .* has no "image"'),
    "jsonl no list": ("jsonl", '{"image": "a", "tags": "x"}', "tags must be a list of texts"),
    "jsonl deep": ("jsonl", "[" * 100_000, "Line 1 of .* is not JSON"),
    "csv no columns": ("csv", "a,b\n1,2\n", "needs a column for the photo"),
    "csv too many cells": ("csv", "image,tags\na,b,c\n", "Line 2 of .* has 3 cells, the header 2"),
    "csv quote": ("csv", 'image,tags\na,"b', "is not CSV"),
    "csv no name": ("csv", "image,tags\n,b\n", "Line 2 of .* names no photo"),
    "coco no object": ("coco", "[]", "is not a COCO file"),
    "coco id twice": ("coco", coco(images=[{"id": 1, "file_name": "a"}] * 2), "two images with the id 1"),
    "coco category twice": ("coco", coco(categories=[{"id": 1, "name": "a"}] * 2), "two categories with the id 1"),
    "coco unknown image": ("coco", coco(images=[]), "annotation of image 1, which is not listed"),
    "coco damaged": ("coco", coco(annotations=[{"category_id": 1}]), "is not a COCO file: 'image_id'"),
    "coco rank": (
        "coco",
        coco(annotations=[{"image_id": 1, "category_id": 1, "attributes": {"rank": "first"}}]),
        "is not a COCO file: could not convert",
    ),
    "cvat entities": ("cvat", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities or a document type"),
    "cvat cut off": ("cvat", '<annotations><image name="a"><tag label="b"', "is not an XML document"),
    "cvat no name": ("cvat", "<annotations><image/></annotations>", "an image without a name"),
    "cvat rank": (
        "cvat",
        '<a><image name="x"><tag label="b"><attribute name="rank">one</attribute></tag></image></a>',
        "the rank 'one' of a tag of x is not a number",
    ),
    "voc entities": ("voc", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "declares entities or a document type"),
    "voc box": ("voc", "<a><object><name>x</name><bndbox><xmin>l</xmin></bndbox></object></a>", "is not an annotation"),
    "labelstudio no list": ("labelstudio", "{}", "must be a list of tasks"),
    "labelstudio no photo": ("labelstudio", '[{"data": {"text": "x"}}]', "Task 1 of .* has no photo under 'image'"),
    "fiftyone": ("fiftyone", '{"samples": [{}]}', "Sample 1 of .* is not FiftyOne's"),
    "kohya list": ("kohya-json", "[]", "must be an object with an entry a photo"),
    "kohya entry": ("kohya-json", '{"a": 1}', "entry of 'a' is not an object"),
    "kohya path": ("kohya-jsonl", '{"caption": "a"}', "Line 1 of .* has no image_path"),
    "parquet": ("parquet", "PAR1", "is not a Parquet file"),
    "stock": ("adobe", "Filename,Title\na,b\n", "lacks the columns Filename and Keywords"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_one_sentence(case: str, tmp_path: Path, read: Read) -> None:
    format, text, message = CASES[case]
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read(format, tmp_path / "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["jsonl", "csv", "adobe", "kohya-jsonl"])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    format: str, tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.seek(10_000_000_000)  # a sparse file of 10 GB
        file.write(b"x")
    asked: list[int] = []
    plain = reading._read_line

    def counted(file: Any, *rest: Any) -> bytes:
        asked.append(file.tell())
        return plain(file, *rest)

    monkeypatch.setattr(reading, "_read_line", counted)
    with pytest.raises(DataError, match=r"Line 1 of .* is longer than 4,000,000 bytes"):
        read(format, tmp_path / "file")
    assert asked == [0]


def test_a_json_document_that_is_too_large_is_refused_unread(tmp_path: Path, read: Read) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(reading.MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(DataError, match="at most 2,000,000,000 are read"):
        read("coco", tmp_path / "file")


def test_a_million_categories_are_read(tmp_path: Path, read: Read) -> None:
    categories = [{"id": number, "name": f"c{number}"} for number in range(1_000_000)]
    (tmp_path / "file").write_text(coco(categories=categories))
    assert [photo.tags for photo in read("coco", tmp_path / "file")] == [("c1",)]


def test_a_photo_with_too_many_tags_is_refused(tmp_path: Path, read: Read) -> None:
    (tmp_path / "file").write_text(json.dumps({"image": "a", "tags": [f"t{number}" for number in range(1_001)]}))
    with pytest.raises(DataError, match="a has more than 1,000 tags"):
        read("jsonl", tmp_path / "file")


def test_tags_that_no_list_may_hold_are_left_out_with_a_note(tmp_path: Path, read: Read) -> None:
    (tmp_path / "file").write_text(json.dumps({"image": "a", "tags": ["x" * 101, "a\x00b", "fine", " Fine ", ""]}))
    report = Report()
    assert [photo.tags for photo in read("jsonl", tmp_path / "file", report)] == [("fine",)]
    assert len(report.notes) == 2


@pytest.mark.parametrize("format", ["jsonl", "csv", "coco", "cvat", "labelstudio", "fiftyone", "parquet"])
def test_a_missing_file_or_a_folder_is_one_sentence(format: str, tmp_path: Path, read: Read) -> None:
    with pytest.raises(DataError):
        read(format, tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    if format != "parquet":
        with pytest.raises(DataError):
            read(format, tmp_path / "folder")


LINKS = {
    "/data/local-files/?d=sub/a%20b.jpg": "sub/a b.jpg",
    "http://host:8080/data/local-files/?d=sub/a.jpg": "sub/a.jpg",
    "/data/upload/3/0a1b2c3d-photo.jpg": "photo.jpg",
    "https://example.org/bucket/a.jpg": "bucket/a.jpg",
    "/data/upload/3/photo.jpg": "photo.jpg",
}


@pytest.mark.parametrize("link", LINKS)
def test_label_studios_links_name_their_photo(link: str, tmp_path: Path, read: Read) -> None:
    task = {"data": {"image": link}, "annotations": [{"result": []}]}
    (tmp_path / "file").write_text(json.dumps([task]))
    assert [photo.name for photo in read("labelstudio", tmp_path / "file")] == [LINKS[link]]


def test_label_studios_newest_annotation_that_was_not_cancelled_counts(tmp_path: Path, read: Read) -> None:
    def annotation(*choices: str, **more: object) -> dict[str, object]:
        return {"result": [{"from_name": "tags", "value": {"choices": list(choices)}}], **more}

    annotations = [annotation("old"), annotation("b", "a"), annotation("no", was_cancelled=True)]
    tasks = [
        {"data": {"image": "/data/local-files/?d=a.jpg"}, "annotations": annotations},
        {"image": "b.jpg", "tags": {"choices": ["x", "y"]}},
        {"image": "c.jpg", "tags": "one"},
    ]
    (tmp_path / "file").write_text(json.dumps(tasks))
    found = [(photo.name, photo.tags) for photo in read("labelstudio", tmp_path / "file")]
    assert found == [("a.jpg", ("b", "a")), ("b.jpg", ("x", "y")), ("c.jpg", ("one",))]


def test_objects_without_a_rank_come_largest_first(tmp_path: Path, read: Read) -> None:
    sizes = {"small": 2, "large": 9}
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>{size}</xmax><ymax>1</ymax></bndbox>"
        "</object>"
        for name, size in sizes.items()
    )
    (tmp_path / "a.xml").write_text(f"<annotation><filename>a.jpg</filename>{objects}</annotation>")
    assert [photo.tags for photo in read("voc", tmp_path)] == [("large", "small")]
    annotations = [
        {"image_id": 1, "category_id": 1, "area": 3},
        {"image_id": 1, "category_id": 2, "area": 2},
        {"image_id": 1, "category_id": 2, "area": 2},
    ]
    categories = [{"id": 1, "name": "one"}, {"id": 2, "name": "twice"}]
    (tmp_path / "file").write_text(coco(annotations=annotations, categories=categories))
    assert [photo.tags for photo in read("coco", tmp_path / "file")] == [("twice", "one")]


@pytest.mark.parametrize(
    "data",
    [
        '\ufeffimage;tags\r\na.jpg;"dog; caf\u00e9"\r\n'.encode(),
        'image;tags\r\na.jpg;"dog; caf\u00e9"\r\n'.encode("cp1252"),
        'image,tags\r\na.jpg,"dog; caf\u00e9"\r\n'.encode("cp1252"),
        'image\ttags\r\na.jpg\t"dog; caf\u00e9"\r\n'.encode("utf-16"),
        'sep=;\r\nimage;tags\r\na.jpg;"dog; caf\u00e9"\r\n'.encode(),
    ],
)
def test_a_table_that_excel_has_written_is_read(tmp_path: Path, read: Read, data: bytes) -> None:
    (tmp_path / "file.csv").write_bytes(data)
    assert [(photo.name, photo.tags) for photo in read("csv", tmp_path / "file.csv")] == [
        ("a.jpg", ("dog", "caf\u00e9"))
    ]


def test_categories_that_a_coco_file_does_not_list_are_left_out_with_a_note(tmp_path: Path, read: Read) -> None:
    objects = [{"image_id": 1, "category_id": number} for number in (7, 1)] + [{"image_id": 1}]
    (tmp_path / "file").write_text(coco(annotations=objects))
    report = Report()
    assert [photo.tags for photo in read("coco", tmp_path / "file", report)] == [("cat",)]
    assert [problem.photo for problem in report.notes] == ["a.jpg"] * 2
    assert "category 7" in report.notes[0].reason


def test_objects_without_areas_are_ranked_by_their_boxes(tmp_path: Path, read: Read) -> None:
    boxes = [([0, 0, 2, 2], 1), ([0, 0, 9, 9], 2)]
    objects = [{"image_id": 1, "category_id": number, "bbox": box} for box, number in boxes]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (tmp_path / "file").write_text(coco(annotations=objects, categories=names))
    assert [photo.tags for photo in read("coco", tmp_path / "file")] == [("dog", "cat")]
