"""What a format writes, it reads back: the same photos, the same tags, in the same order."""

import string
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Format, Report
from annotator.datasets.formats.csv_table import CsvOptions
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import write_format
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import ConfigError, DataError, TagError

STOCK = ("adobe", "shutterstock", "pond5", "freepik", "istock")
BY_STEM = ("captions",)
MAY_NEVER_REFUSE = ("jsonl", "csv", "xmp", "imagefolder", "parquet", "coco", "cvat", "labelstudio", "fiftyone")
"""Formats that hold every tag."""
BY_FILE_NAME = STOCK
NOT_IN_CSV = ";'=+-@\uff1d\uff0b\uff0d\uff20|,\u200b\u2060\ufeff\""
"""Characters with which a tag is changed by the csv export, which says so in a note."""
READING_FORMATS = [name for name in registry.names() if registry.find(name).read is not None]


def cleaned(text: str) -> str | None:
    try:
        return clean_tag(text)
    except TagError:
        return None


TAGS = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
    | st.text(string.ascii_letters + " ()[]_,;:/|\\<>&\"'=+-@#.", min_size=1, max_size=12)
).map(cleaned).filter(lambda tag: tag is not None)  # fmt: skip
LISTS = st.lists(TAGS, min_size=1, max_size=8, unique_by=lambda tag: tag_key(str(tag)))


def photo(name: str, tags: list[str], path: Path | None = None) -> TaggedPhoto:
    return TaggedPhoto(name, tuple(tags), path=path, width=8, height=6, scores={tags[0]: 0.5})


def written_and_read(format: Format, photos: list[TaggedPhoto], folder: Path) -> tuple[Report, list[TaggedPhoto]]:
    options = format.configure({})
    report = Report()
    try:
        report = write_format(format, photos, folder / "out", options, leave_out=True)
    except DataError as error:  # all of them break a rule of the format
        for one in photos:
            report.refuse(one.name, str(error))
        return report, []
    assert format.read is not None
    again = Report()
    found = list(format.read(folder / "out", options, again))
    assert again.problems == []
    return report, found


@pytest.mark.parametrize("name", READING_FORMATS)
@settings(max_examples=40)
@given(first=LISTS, second=LISTS)
def test_tags_and_their_order_come_back(name: str, first: list[str], second: list[str]) -> None:
    if name in STOCK:  # at least seven keywords
        first = [*first, *(f"word {number}" for number in range(7))]
    if name == "csv":
        first = ["".join(c for c in tag if c not in NOT_IN_CSV).strip() or "x" for tag in first]
        second = ["".join(c for c in tag if c not in NOT_IN_CSV).strip() or "x" for tag in second]
        first, second = list({tag_key(t): t for t in first}.values()), list({tag_key(t): t for t in second}.values())
    format = registry.find(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        Image.new("RGB", (8, 6)).save(folder / "a.jpg")
        path = folder / "a.jpg" if name == "imagefolder" else None
        photos = [photo("x/a.jpg", first, path), photo("y b.png", second, path)]
        report, found = written_and_read(format, photos, folder)
        assert all(name not in MAY_NEVER_REFUSE for _ in report.problems)
        refused = {problem.photo for problem in report.problems}
        expected = [(_name(name, one), one.tags) for one in photos if one.name not in refused]
        assert sorted((one.name, one.tags) for one in found) == sorted(expected)


def _name(format: str, one: TaggedPhoto) -> str:
    if format in BY_FILE_NAME:
        return one.file_name
    return one.stem if format in BY_STEM else one.name


@pytest.mark.parametrize("name", sorted(set(READING_FORMATS) - {"csv"}))
def test_a_list_that_a_format_cannot_hold_is_refused_and_never_changed(name: str, tmp_path: Path) -> None:
    """The tags that are hardest to keep, each alone, either come back or are refused by name."""
    hard = ["a,b", "a;b", "=1+1", "(red:1.2)", "a|||b", "a_b c", "#x", "x:y", "1 2 3 4 5", "steps: 3", "'a'", '"a"']
    format = registry.find(name)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    filler = [f"word {number}" for number in range(6)] if name in STOCK else []
    for number, tag in enumerate(hard):
        one = photo("a.jpg", [tag, *filler], tmp_path / "a.jpg" if name == "imagefolder" else None)
        folder = tmp_path / str(number)
        folder.mkdir()
        report, found = written_and_read(format, [one], folder)
        assert [again.tags for again in found] == ([] if report.problems else [one.tags]), tag
        assert all("a.jpg" in problem.reason for problem in report.problems), tag


def test_csv_says_which_tags_it_changes(tmp_path: Path, write: Callable[..., Report]) -> None:
    report = write("csv", [photo("a.jpg", ["=1+1"]), photo("b.jpg", ["a;b"]), photo("c.jpg", ["cat"])], tmp_path / "t")
    assert [(note.photo, note.reason.split(",")[0]) for note in report.notes] == [
        ("a.jpg", "the tag '=1+1' got an apostrophe"),
        ("b.jpg", "the tag 'a;b' holds a semicolon and cannot be told from two tags"),
    ]


def test_options_are_checked_by_name_and_type() -> None:
    with pytest.raises(ConfigError, match=r"has no option 'colour'\. Its options: trigger, most, keep"):
        registry.find("captions").configure({"colour": 1})
    with pytest.raises(ConfigError, match="most must be of type int"):
        registry.find("captions").configure({"most": "many"})
    with pytest.raises(ConfigError, match="separator needs a sign"):
        CsvOptions(separator=" ")
    with pytest.raises(ConfigError, match="There is no format 'xlsx'"):
        registry.find("xlsx")
    assert registry.find("adobe").configure({"category": 3}).category == "3"
