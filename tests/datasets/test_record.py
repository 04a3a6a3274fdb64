import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotator.datasets.record import Record, read_records
from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import DataError

WriteFolder = Callable[..., Path]


@pytest.fixture
def write_folder(tmp_path: Path, real_photo: Callable[[], Image.Image]) -> WriteFolder:
    """Write lines into records.jsonl, with a photo for every image they name."""

    def write(*lines: dict[str, Any] | str, with_photos: bool = True) -> Path:
        text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
        (tmp_path / "records.jsonl").write_text(text, encoding="utf-8")
        for line in lines:
            if with_photos and isinstance(line, dict) and isinstance(line.get("image"), str):
                real_photo().resize((8, 8)).save(tmp_path / line["image"])
        return tmp_path

    return write


def test_a_record_keeps_the_given_order_and_everything_else(write_folder: WriteFolder) -> None:
    folder = write_folder(
        {"image": "a.jpg", "tags": ["cat", "a sofa"], "user_tags": ["pet"], "caption": "A cat.", "author": "N. N."}
    )
    (record,) = read_records(folder)
    assert record == Record((folder / "a.jpg").resolve(), ("cat", "a sofa"), ("pet",), "A cat.")
    assert record.extra == {"author": "N. N."}
    assert record.image.is_absolute()


def test_tags_are_cleaned_and_duplicates_dropped_with_a_count(
    write_folder: WriteFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder({"image": "a.jpg", "tags": [" dog ", "sky", "dog", "cafe\u0301", "caf\u00e9"]})
    assert read_records(folder)[0].tags == ("dog", "sky", "caf\u00e9")
    assert "2 duplicate tags" in caplog.text


def test_a_byte_order_mark_and_windows_line_ends_are_read(write_folder: WriteFolder) -> None:
    folder = write_folder({"image": "a.jpg", "tags": ["sky"]}, {"image": "b.jpg", "tags": ["sea"]})
    lines = (folder / "records.jsonl").read_text(encoding="utf-8")
    (folder / "records.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.replace("\n", "\r\n").encode())
    assert [record.tags for record in read_records(folder)] == [("sky",), ("sea",)]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_its_mark_is_read(write_folder: WriteFolder, encoding: str) -> None:
    folder = write_folder({"image": "a.jpg", "tags": ["Šárka"]}, {"image": "b.jpg", "tags": ["sea"]})
    lines = (folder / "records.jsonl").read_text(encoding="utf-8")
    (folder / "records.jsonl").write_bytes(("\ufeff" + lines).encode(encoding))
    assert [record.tags for record in read_records(folder)] == [("Šárka",), ("sea",)]


def test_a_path_with_backslashes_leads_to_the_photo(write_folder: WriteFolder) -> None:
    folder = write_folder('{"image": "day 1\\\\a.jpg", "tags": ["sky"]}')
    (folder / "day 1").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "day 1" / "a.jpg")
    assert read_records(folder)[0].image == (folder / "day 1" / "a.jpg").resolve()


def test_a_tag_has_one_spelling_in_all_records(write_folder: WriteFolder) -> None:
    folder = write_folder(
        {"image": "a.jpg", "tags": ["Dog", "sky", "dog"]},
        {"image": "b.jpg", "tags": ["dog"]},
        {"image": "c.jpg", "tags": ["sea", "dog"]},
    )
    records = read_records(folder)
    assert [record.tags for record in records] == [("dog", "sky"), ("dog",), ("sea", "dog")]
    assert Vocabulary.from_records(records).tags == ("dog", "sky", "sea")


def test_photos_without_tags_are_left_out_with_a_count_or_kept(
    write_folder: WriteFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder({"image": "a.jpg", "tags": []}, {"image": "b.jpg", "tags": ["sky"]}, {"image": "c.jpg"})
    assert [record.image.name for record in read_records(folder)] == ["b.jpg"]
    assert "2 photos without tags" in caplog.text
    assert len(read_records(folder, keep_untagged=True)) == 3


def test_photos_without_a_file_in_an_export_are_left_out_with_a_count(
    write_folder: WriteFolder, caplog: pytest.LogCaptureFixture
) -> None:
    exported = {"tags": ["sky"], "content_hash": "f" * 64}
    folder = write_folder(
        {"image": "a.jpg", "file": "present", **exported}, {"image": "came back.jpg", "file": "missing", **exported}
    )
    with (folder / "records.jsonl").open("a") as file:
        for image, state in (("gone.jpg", "missing"), ("away.jpg", "not mounted"), ("", "missing"), ("", None)):
            file.write(json.dumps({"image": image, "file": state, **exported}) + "\n")
    assert [record.image.name for record in read_records(folder)] == ["a.jpg", "came back.jpg"]
    assert "4 photos were left out" in caplog.text
    with (folder / "records.jsonl").open("a") as file:
        file.write(json.dumps({"image": "lost.jpg", "file": "present", **exported}) + "\n")
    with pytest.raises(DataError, match=r"lost\.jpg"):
        read_records(folder)


def test_a_line_separator_inside_a_string_ends_no_line(write_folder: WriteFolder) -> None:
    folder = write_folder('{"image": "a.jpg", "tags": ["x"], "caption": "one\u2028two"}')
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    assert read_records(folder)[0].caption == "one\u2028two"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "Line 1 .* is not JSON"),
        (["[" * 100_000], "Line 1 .* is not JSON"),
        (['["a.jpg"]'], "not a JSON object, but list"),
        ([{"tags": ["sky"]}], 'has no "image"'),
        (['{"image": "a\\u0000b", "tags": ["sky"]}'], 'has no "image"'),
        ([{"image": "a.jpg", "tags": "sky"}], '"tags" must be a list of strings'),
        ([{"image": "a.jpg", "tags": ["sky", 3]}], '"tags" must be a list of strings'),
        ([{"image": "a.jpg", "tags": ["  "]}], "cannot be empty"),
        ([{"image": "a.jpg", "tags": ["sky"], "caption": 3}], '"caption" that is not a string'),
        ([{"image": "a.jpg", "tags": []}], "no photo with a tag"),
        ([], "no photo with a tag"),
        ([{"image": "a.jpg", "tags": ["sky"]}, {"image": "a.jpg", "tags": ["sea"]}], "twice"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(
    write_folder: WriteFolder, lines: list[dict[str, Any] | str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_records(write_folder(*lines))


def test_missing_photos_are_counted_and_the_first_is_named(write_folder: WriteFolder) -> None:
    folder = write_folder({"image": "a.jpg", "tags": ["sky"]}, {"image": "b.jpg", "tags": ["sea"]}, with_photos=False)
    with pytest.raises(DataError, match=r"2 of the 2 photos .* the first is .*a\.jpg"):
        read_records(folder)


def test_a_folder_without_records_is_refused_with_the_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'There is no .*records\.jsonl.*"tags"'):
        read_records(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="could not be read"):
        read_records(tmp_path)
