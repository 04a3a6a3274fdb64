"""Captions, read again by the rules that the trainers document, written here a second time."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import ConfigError, DataError

Write = Callable[..., Report]
Read = Callable[..., list[TaggedPhoto]]
TAGS = ("1girl", "red hat", "gr\u00fcn", "\u732b", "cat (animal) on sofa", "it's")


def kohya_tokens(path: Path) -> list[str]:
    """kohya-ss/sd-scripts: the first line, which must exist, split at commas and stripped."""
    lines = path.read_bytes().decode("utf-8").splitlines()
    assert lines, "kohya stops at an empty file"
    return [token.strip() for token in lines[0].split(",")]


def onetrainer_captions(path: Path) -> list[list[str]]:
    """OneTrainer: each line is one of several captions; tags are split at the delimiter and stripped."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [[tag.strip() for tag in line.split(",")] for line in lines]


def taggui_tags(path: Path) -> list[str]:
    """TagGUI: the whole text, split at the separator ", "."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [tag for tag in text.split(", ") if tag.strip()]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG"])
def test_each_trainer_reads_the_saved_list(suffix: str, tmp_path: Path, write: Write) -> None:
    write("captions", [TaggedPhoto(f"sub/a{suffix}", TAGS)], tmp_path)
    path = tmp_path / "sub" / "a.txt"
    assert kohya_tokens(path) == list(TAGS)
    assert onetrainer_captions(path) == [list(TAGS)]
    assert taggui_tags(path) == list(TAGS)
    data = path.read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert b"\n" not in data


@pytest.mark.parametrize("kept", [1, 3])
def test_after_a_shuffle_with_keep_tokens_our_first_tags_stay(kept: int, tmp_path: Path, write: Write) -> None:
    write("captions", [TaggedPhoto("a.jpg", TAGS)], tmp_path)
    tokens = kohya_tokens(tmp_path / "a.txt")
    fixed, flexible = tokens[:kept], tokens[kept:]
    random.Random(1).shuffle(flexible)
    assert (fixed + flexible)[:kept] == list(TAGS[:kept])


def test_the_keep_separator_parts_the_first_tags(tmp_path: Path, write: Write, read: Read) -> None:
    write("captions", [TaggedPhoto("a.jpg", TAGS)], tmp_path, keep=2, trigger="ohwx cat")
    fixed, flexible = (tmp_path / "a.txt").read_text().split("|||")  # kohya's keep_tokens_separator
    assert [token.strip() for token in fixed.split(",")] == ["ohwx cat", *TAGS[:2]]
    assert [token.strip() for token in flexible.split(",")] == list(TAGS[2:])
    assert [photo.tags for photo in read("captions", tmp_path, keep=2, trigger="ohwx cat")] == [TAGS]


def test_options_change_the_text_and_reading_with_them_gives_the_list_back(
    tmp_path: Path, write: Write, read: Read
) -> None:
    write("captions", [TaggedPhoto("a.jpg", TAGS)], tmp_path, most=5, spaces="underscores", escape=True)
    assert (tmp_path / "a.txt").read_text() == r"1girl, red_hat, grün, 猫, cat_\(animal\)_on_sofa"
    assert [photo.tags for photo in read("captions", tmp_path, spaces="underscores")] == [TAGS[:5]]


REFUSED = {
    "comma": ("a, b", "holds a comma"),
    "separator": ("a ||| b", "holds |||"),
    "weight": ("(a:1.2)", "would be read as a weight"),
    "emphasis": ("((a))", "would be read as a weight"),
    "byte order mark": ("\ufeffa", "byte order mark"),
    "generator": ("Steps: 20", "read as something else"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_tag_that_a_trainer_would_misread_is_refused(case: str, tmp_path: Path, write: Write) -> None:
    tag, reason = REFUSED[case]
    with pytest.raises(DataError, match=rf"a\.jpg: .*{reason.replace('|', '[|]')}"):
        write("captions", [TaggedPhoto("a.jpg", (tag, "b"))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_empty_file_is_written(tmp_path: Path, write: Write) -> None:
    report = write("captions", [TaggedPhoto("a.jpg"), TaggedPhoto("b.jpg", ("x",))], tmp_path, leave_out=True)
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]
    assert [(one.photo, one.reason) for one in report.problems] == [
        ("a.jpg", "it has no tags, and an empty caption stops a training")
    ]


def test_photos_that_would_share_a_caption_are_all_refused(tmp_path: Path, write: Write) -> None:
    photos = [TaggedPhoto(name, ("x",)) for name in ("a.jpg", "b.jpg", "A.png", "a.webp")]
    report = write("captions", photos, tmp_path, leave_out=True)
    assert {problem.photo for problem in report.problems} == {"a.jpg", "A.png", "a.webp"}
    assert (report.num_photos, [path.name for path in tmp_path.iterdir()]) == (1, ["b.txt"])


def test_captions_that_are_there_already_are_only_replaced_when_asked(tmp_path: Path, write: Write) -> None:
    (tmp_path / "a.txt").write_text("mine")
    photos = [TaggedPhoto("a.jpg", ("x",)), TaggedPhoto("b.jpg", ("y",))]
    with pytest.raises(DataError, match=r"1 files exist already, the first is .*a\.txt"):
        write("captions", photos, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "mine")]
    write("captions", photos, tmp_path, overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "x"


FOREIGN = {
    "weights": ("(masterpiece:1.2), [sketch], cat", ("masterpiece", "sketch", "cat")),
    "booru": ("long_hair 1girl red_hat", ("long_hair", "1girl", "red_hat")),
    "generator": ("cat, dog\nNegative prompt: blurry\nSteps: 20, Sampler: Euler", ("cat", "dog")),
    "several lines": ("cat, dog\na cat and a dog", ("cat", "dog")),
    "byte order mark": ("\ufeffcat", ("cat",)),
    "repeats": ("cat, Cat, , dog", ("cat", "dog")),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_captions_of_other_programs_are_read(case: str, tmp_path: Path, read: Read) -> None:
    text, expected = FOREIGN[case]
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert [(photo.name, photo.tags) for photo in read("captions", tmp_path)] == [("a", expected)]


def test_labels_of_a_detector_beside_the_photos_are_no_tags(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.1\n3 0.1 0.2 0.3 0.4\n")
    report = Report()
    assert read("captions", tmp_path, report) == []
    assert [note.reason for note in report.notes] == ["a.txt holds numbers, not tags"]


def test_a_caption_that_is_not_utf_8_is_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    report = Report()
    assert read("captions", tmp_path, report) == []
    assert "is not UTF-8" in report.problems[0].reason


def test_kohyas_metadata_has_tags_as_one_text_and_the_size(tmp_path: Path, write: Write) -> None:
    photo = TaggedPhoto("a.jpg", TAGS, width=8, height=6, description="A cat.")
    write("kohya-json", [photo], tmp_path / "metadata.json")
    assert json.loads((tmp_path / "metadata.json").read_text()) == {
        "a.jpg": {"tags": ", ".join(TAGS), "caption": "A cat.", "image_size": [8, 6]}
    }
    write("kohya-jsonl", [photo], tmp_path / "lines.jsonl")
    assert [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()] == [
        {"image_path": "a.jpg", "caption": ", ".join(TAGS), "image_size": [8, 6]}
    ]


def test_a_boorus_groups_are_read_in_their_order(tmp_path: Path, read: Read) -> None:
    (tmp_path / "m.json").write_text('{"a": {"tags": {"artist": ["x y"], "general": ["cat", "dog"]}}}')
    assert [photo.tags for photo in read("kohya-json", tmp_path / "m.json")] == [("x y", "cat", "dog")]


def test_bad_options_are_named() -> None:
    from annotator.datasets.formats.caption_text import CaptionOptions

    with pytest.raises(ConfigError, match="most must be 0 or more"):
        CaptionOptions(most=-1)
    with pytest.raises(ConfigError, match="spaces must be one of spaces, underscores"):
        CaptionOptions(spaces="dots")
