"""Captions beside photos: `photo.txt` with the tags in one line, for kohya's scripts, OneTrainer and TagGUI.

Strict UTF-8 without a byte order mark. Two photos with one stem would share a caption, so both are refused.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from annotator.datasets.formats.caption_text import (
    CaptionOptions,
    caption_line,
    caption_problem,
    is_label_file,
    parse_caption,
)
from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, read_small
from annotator.datasets.formats.tagged_photo import TaggedPhoto, safe_name
from annotator.datasets.formats.writing import passing, write_small
from annotator.errors import DataError

SUFFIX = ".txt"


def write(photos: Iterable[TaggedPhoto], place: Place, options: CaptionOptions, report: Report) -> None:
    """Write a caption a photo."""
    first: dict[str, tuple[str, str]] = {}  # caption's key -> photo, caption
    shared: set[str] = set()
    for photo in passing(photos, lambda one: caption_problem(one, options), report):
        name = safe_name(photo.stem, "The project") + SUFFIX
        key = name.casefold()  # some file systems ignore case
        if key not in first:
            first[key] = photo.name, name
            write_small(place.path, name, caption_line(photo, options).encode())
            continue
        other, written = first[key]
        report.num_photos -= 1
        report.refuse(photo.name, f"{other} would share the caption {name}")
        if key not in shared:
            shared.add(key)
            report.num_photos -= 1
            report.refuse(other, f"{photo.name} would share the caption {written}")
            (place.path / written).unlink()


def read(source: Path, options: CaptionOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield a photo for each caption below a folder, or for one caption; labels of detectors are left out."""
    paths = [source] if source.is_file() else sorted(source.rglob("*.[tT][xX][tT]"))
    for path in paths:
        name = path.relative_to(source if source.is_dir() else source.parent).with_suffix("").as_posix()
        try:
            text = read_small(path).decode("utf-8-sig")
        except (DataError, UnicodeDecodeError) as error:
            report.refuse(name, str(error) if isinstance(error, DataError) else f"{path} is not UTF-8")
            continue
        if is_label_file(text):
            report.note(name, f"{path.name} holds numbers, not tags")
            continue
        tags = clean_list(parse_caption(text, options), name, report)
        if tags:
            report.num_photos += 1
            yield TaggedPhoto(name, tags)


FORMAT = Format(
    "captions",
    "photo.txt beside each photo, for kohya's scripts, OneTrainer and TagGUI",
    Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="no"),
    layout="tree",
    write=write,
    read=read,
    options=CaptionOptions,
)
