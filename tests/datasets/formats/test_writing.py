"""A result appears as a whole or not at all, and photos are never written to."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from annotator.datasets.formats import registry, writing
from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import DataError

Write = Callable[..., Report]
WORDS = tuple(f"word {number}" for number in range(7))
WRITING_FORMATS = [name for name in registry.names() if registry.find(name).write is not None]


@pytest.fixture
def photos(tmp_path: Path) -> list[TaggedPhoto]:
    """Three photos with files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    found = []
    for number in range(3):
        path = folder / f"{number}.jpg"
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path)
        found.append(TaggedPhoto(path.name, WORDS, path=path, width=8, height=6))
    return found


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}  # fmt: skip


def stopping(photos: list[TaggedPhoto], error: BaseException) -> Iterator[TaggedPhoto]:
    yield from photos[:2]
    raise error


@pytest.mark.parametrize("name", WRITING_FORMATS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_run_that_is_stopped_leaves_what_was_there(
    name: str, error: BaseException, photos: list[TaggedPhoto], tmp_path: Path, write: Write
) -> None:
    out = tmp_path / "photos" if registry.find(name).layout == "tree" else tmp_path / "out"
    before = digests(tmp_path)
    with pytest.raises((KeyboardInterrupt, DataError)) as caught:
        write(name, stopping(photos, error), out)
    assert digests(tmp_path) == before
    assert not list(tmp_path.rglob(".annotator*"))
    if isinstance(error, OSError):
        assert "could not be written: No space left on device. Nothing there was replaced." in str(caught.value)


@pytest.mark.parametrize("name", WRITING_FORMATS)
def test_photos_are_never_written_to(name: str, photos: list[TaggedPhoto], tmp_path: Path, write: Write) -> None:
    before = digests(tmp_path / "photos")
    write(name, photos, tmp_path / "photos" if registry.find(name).layout == "tree" else tmp_path / "out")
    after = digests(tmp_path / "photos")
    assert {path: digest for path, digest in after.items() if path in before} == before


@pytest.mark.parametrize("name", [one for one in WRITING_FORMATS if registry.find(one).layout != "tree"])
def test_a_result_is_only_replaced_when_asked(
    name: str, photos: list[TaggedPhoto], tmp_path: Path, write: Write
) -> None:
    out = tmp_path / "out"
    write(name, photos[:1], out)
    before = digests(tmp_path)
    with pytest.raises(DataError, match="exists already"):
        write(name, photos, out)
    assert digests(tmp_path) == before
    assert write(name, photos, out, overwrite=True).num_photos == 3
    assert not list(tmp_path.rglob(".annotator*"))


def test_a_folder_that_cannot_take_the_new_one_keeps_the_old_one(
    photos: list[TaggedPhoto], tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("voc", photos[:1], tmp_path / "out")
    before = digests(tmp_path)
    rename, calls = os.rename, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(writing.os, "rename", failing)
    with pytest.raises(DataError, match="Permission denied"):
        write("voc", photos, tmp_path / "out", overwrite=True)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "a\\..\\b.jpg", ""])
@pytest.mark.parametrize("format", ["xmp", "captions", "voc", "imagefolder"])
def test_no_file_is_written_outside_of_the_folder(
    name: str, format: str, photos: list[TaggedPhoto], tmp_path: Path, write: Write
) -> None:
    before = digests(tmp_path)
    bad = TaggedPhoto(name, WORDS, path=photos[0].path, width=8, height=6)
    with pytest.raises(DataError, match="does not lie inside of the folder of photos"):
        write(format, [photos[1], bad], tmp_path / "sub" / "out")
    assert digests(tmp_path) == before


def test_two_photos_of_one_name_are_refused(photos: list[TaggedPhoto], tmp_path: Path, write: Write) -> None:
    with pytest.raises(DataError, match=r"Two photos are called '0\.jpg'"):
        write("jsonl", [photos[0], photos[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_photo_at_all_is_one_sentence(tmp_path: Path, write: Write) -> None:
    with pytest.raises(DataError, match="No photo is selected"):
        write("coco", [], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_an_imagefolder_has_a_line_and_a_file_for_every_photo(
    how: str, photos: list[TaggedPhoto], tmp_path: Path, write: Write
) -> None:
    untagged = TaggedPhoto("none.jpg", path=photos[0].path)
    write("imagefolder", [*photos, untagged], tmp_path / "out", photos=how)
    assert len((tmp_path / "out" / "metadata.jsonl").read_text().splitlines()) == 4
    for photo in photos:
        assert photo.path is not None
        assert (tmp_path / "out" / photo.name).read_bytes() == photo.path.read_bytes()


def test_a_photo_whose_file_is_gone_is_refused_where_files_are_taken_along(
    photos: list[TaggedPhoto], tmp_path: Path, write: Write
) -> None:
    assert photos[1].path is not None
    photos[1].path.unlink()
    for format, options in (("imagefolder", {}), ("parquet", {"photos": "embed"})):
        with pytest.raises(DataError, match=r"1\.jpg: its file is gone"):
            write(format, photos, tmp_path / "out", **options)


def test_an_embedded_photo_has_the_bytes_of_its_file(photos: list[TaggedPhoto], tmp_path: Path, write: Write) -> None:
    import pyarrow.parquet as pq

    write("parquet", photos, tmp_path / "out.parquet", photos="embed")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["image"]["bytes"] for row in rows] == [p.path.read_bytes() for p in photos if p.path]
    assert [row["tags"] for row in rows] == [list(WORDS)] * 3
