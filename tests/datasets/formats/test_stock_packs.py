"""Tables for stock sites: exact columns, every limit named for its photo, nothing cut."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import DataError

Write = Callable[..., Report]
WORDS = tuple(f"word {number}" for number in range(7))
COLUMNS = {
    "adobe": (",", "Filename,Title,Keywords,Category,Releases"),
    "shutterstock": (",", "Filename,Description,Keywords,Categories,Illustration,Mature Content,Editorial"),
    "pond5": (",", "originalfilename,title,description,keywords,copyright,price,editorial"),
    "freepik": (";", "File name;Title;Keywords;Prompt;Model"),
    "istock": (",", "file name,created date,description,country,brief code,title,keywords"),
}


def rows(folder: Path, delimiter: str = ",") -> list[dict[str, str]]:
    found = []
    for path in sorted(folder.iterdir()):
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file, delimiter=delimiter, strict=True))
    return found


@pytest.mark.parametrize("site", COLUMNS)
def test_the_columns_are_exact_and_keywords_keep_their_order(site: str, tmp_path: Path, write: Write) -> None:
    delimiter, header = COLUMNS[site]
    tags = ("gr\u00fcn", 'say "hi"', *WORDS)
    write(site, [TaggedPhoto("sub/a.jpg", tags, title="A title")], tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    data = path.read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert data.decode().split("\r\n")[0] == header
    assert data.endswith(b"\r\n")
    (row,) = rows(tmp_path / "out", delimiter)
    keywords = next(cell for column, cell in row.items() if column.lower() == "keywords")
    assert keywords.split(",") == list(tags)
    assert "a.jpg" in row.values()


BREACHES = {
    "too few": ("shutterstock", TaggedPhoto("a.jpg", WORDS[:6]), {}, "it has 6 tags; Shutterstock takes 7 to 50"),
    "too many": ("adobe", TaggedPhoto("a.jpg", tuple(map(str, range(51)))), {}, "51 tags; Adobe Stock takes 5 to 50"),
    "comma": ("adobe", TaggedPhoto("a.jpg", ("a,b", *WORDS)), {}, "'a,b' holds a comma"),
    "formula": ("pond5", TaggedPhoto("a.jpg", ("=1+1", *WORDS)), {}, "'=1[+]1' would be run as a formula"),
    "formula title": ("adobe", TaggedPhoto("a.jpg", WORDS, title="@x"), {}, "the title '@x' would be run"),
    "formula name": ("pond5", TaggedPhoto("-a.jpg", WORDS), {}, "the originalfilename '-a.jpg' would be run"),
    "long name": ("adobe", TaggedPhoto("a" * 27 + ".jpg", WORDS), {}, "file name has 31 characters"),
    "long title": ("adobe", TaggedPhoto("a.jpg", WORDS, title="a" * 71), {}, "title has 71 characters"),
    "comma in title": ("adobe", TaggedPhoto("a.jpg", WORDS, title="a, b"), {}, "title 'a, b' holds a comma"),
    "category": ("adobe", TaggedPhoto("a.jpg", WORDS, category="22"), {}, "'22' is not a number from 1 to 21"),
    "other category": ("shutterstock", TaggedPhoto("a.jpg", WORDS), {"category": "Cats"}, "'Cats' is not one of"),
    "three": ("shutterstock", TaggedPhoto("a.jpg", WORDS, category="Arts,Nature,People"), {}, "it has 3 categories"),
    "semicolon": ("freepik", TaggedPhoto("a.jpg", ("a;b", *WORDS), title="t"), {}, "its keywords holds a semicolon"),
    "price": ("pond5", TaggedPhoto("a.jpg", WORDS), {"price": "cheap"}, "price 'cheap' is not a number"),
}


@pytest.mark.parametrize("case", BREACHES)
def test_each_breach_is_named_for_its_photo_and_nothing_is_written(case: str, tmp_path: Path, write: Write) -> None:
    site, photo, options, reason = BREACHES[case]
    with pytest.raises(DataError, match=f"{photo.name}: .*{reason}"):
        write(site, [photo, TaggedPhoto("good.jpg", WORDS)], tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_breaks_a_rule_can_be_left_out_and_is_named(tmp_path: Path, write: Write) -> None:
    photos = [TaggedPhoto("good.jpg", WORDS), TaggedPhoto("bad.jpg", WORDS[:1])]
    report = write("adobe", photos, tmp_path / "out", leave_out=True)
    assert [row["Filename"] for row in rows(tmp_path / "out")] == ["good.jpg"]
    assert [problem.photo for problem in report.problems] == ["bad.jpg"]


def test_two_photos_of_one_file_name_cannot_be_told_apart_by_the_site(tmp_path: Path, write: Write) -> None:
    with pytest.raises(DataError, match=r"y/A\.jpg: x/a\.jpg has the same file name"):
        write("adobe", [TaggedPhoto("x/a.jpg", WORDS), TaggedPhoto("y/A.jpg", WORDS)], tmp_path / "out")


def test_a_file_ends_at_5000_rows(tmp_path: Path, write: Write) -> None:
    photos = (TaggedPhoto(f"{number}.jpg", ("a", "b", "c", "d", "e")) for number in range(5_001))
    write("adobe", photos, tmp_path / "out")
    sizes = [len(path.read_text().splitlines()) - 1 for path in sorted((tmp_path / "out").iterdir())]
    assert sizes == [5_000, 1]
    assert [row["Filename"] for row in rows(tmp_path / "out")] == [f"{number}.jpg" for number in range(5_001)]


def test_a_file_ends_at_a_megabyte(tmp_path: Path, write: Write) -> None:
    tags = tuple(f"{number:03d}{'ü' * 45}" for number in range(50))  # 4,700 bytes a row
    photos = (TaggedPhoto(f"{number}.jpg", tags, title="t") for number in range(500))
    write("adobe", photos, tmp_path / "out")
    paths = sorted((tmp_path / "out").iterdir())
    assert [path.stat().st_size <= 1_000_000 for path in paths] == [True] * 3
    assert len(rows(tmp_path / "out")) == 500


def test_a_title_is_the_photos_own_its_caption_or_its_first_tags_whole(tmp_path: Path, write: Write) -> None:
    long = tuple(letter * 20 for letter in "abcdefg")
    photos = [
        TaggedPhoto("1.jpg", WORDS, title="Own", description="Caption"),
        TaggedPhoto("2.jpg", WORDS, description="Caption"),
        TaggedPhoto("3.jpg", WORDS),
        TaggedPhoto("4.jpg", long),
    ]
    write("adobe", photos, tmp_path / "out", category="7")
    found = rows(tmp_path / "out")
    assert [row["Title"] for row in found] == [
        "Own", "Caption", "Word 0 word 1 word 2 word 3 word 4", " ".join(long[:3]).capitalize()
    ]  # fmt: skip
    assert {row["Category"] for row in found} == {"7"}
