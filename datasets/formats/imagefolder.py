"""Hugging Face ImageFolder: the photos and a metadata.jsonl with their ranked tags.

A photo without a line would vanish silently on loading, so every photo has one, also without tags.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.formats.contract import Format, Place, Report, Survival, check_choice
from annotator.datasets.formats.json_lines import json_objects, photo_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto, safe_name
from annotator.datasets.formats.writing import passing
from annotator.datasets.photo_roots import is_url
from annotator.errors import DataError

METADATA = "metadata.jsonl"
_HOW = ("copy", "hardlink", "symlink")


@dataclass(frozen=True)
class ImageFolderOptions:
    """Options of `imagefolder`."""

    photos: str = "copy"
    """How the photos come into the folder: copy, hardlink (same disk, no space) or symlink."""
    scores: bool = False
    """Add a list with the score of each tag; null where no model proposed it."""

    def __post_init__(self) -> None:
        check_choice("photos", self.photos, _HOW)


def file_problem(photo: TaggedPhoto) -> str | None:
    """Return why a photo's file cannot be taken along; None if it can."""
    if is_url(str(photo.row.get("root", ""))):
        return f"its file is in {photo.row['root']}, not on this machine's disk"
    if photo.path is None or not photo.path.is_file():
        return "its file is gone"
    return None


def write(photos: Iterable[TaggedPhoto], place: Place, options: ImageFolderOptions, report: Report) -> None:
    """Write the photos and their lines."""
    place.path.mkdir()
    with (place.path / METADATA).open("w", encoding="utf-8", newline="\n") as file:
        for photo in passing(photos, file_problem, report):
            name = safe_name(photo.name, "The project")
            assert photo.path is not None  # checked above
            _bring(photo.path, place.path / name, options.photos)
            line: dict[str, object] = {"file_name": name, "tags": list(photo.tags)}
            if options.scores:
                line["scores"] = [photo.scores.get(tag) for tag in photo.tags]
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _bring(source: Path, target: Path, how: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "copy":
        shutil.copyfile(source, target)
    elif how == "hardlink":
        os.link(source, target)
    else:
        target.symlink_to(source.resolve())


def read(source: Path, options: ImageFolderOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a folder with metadata.jsonl, or of that file."""
    path = source / METADATA if source.is_dir() else source
    for number, values in json_objects(path):
        name, tags = values.get("file_name"), values.get("tags", [])
        if not isinstance(name, str) or not name:
            raise DataError(f"Line {number:,} of {path} has no file_name.")
        yield photo_of(name, tags, values, f"Line {number:,} of {path}", report)


FORMAT = Format(
    "imagefolder",
    "a folder that Hugging Face datasets loads: the photos and metadata.jsonl",
    Survival(order="yes", scores="partly", who="no", dropped="no", hierarchy="no"),
    layout="folder",
    write=write,
    read=read,
    options=ImageFolderOptions,
    takes_photos=True,
)
