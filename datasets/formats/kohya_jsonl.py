"""kohya's metadata as lines: `{"image_path": ..., "caption": "a, b", "image_size": [w, h]}`."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from annotator.datasets.formats.caption_text import CaptionOptions, caption_line, caption_problem
from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.json_lines import json_objects
from annotator.datasets.formats.kohya_json import photo_of
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import passing
from annotator.errors import DataError


def write(photos: Iterable[TaggedPhoto], place: Place, options: CaptionOptions, report: Report) -> None:
    """Write one line a photo; the trainer opens the paths, so they are absolute where the photo's file is known."""
    with place.path.open("w", encoding="utf-8", newline="\n") as file:
        for photo in passing(photos, lambda one: caption_problem(one, options), report):
            path = str(photo.path) if photo.path is not None else photo.name
            entry: dict[str, object] = {"image_path": path, "caption": caption_line(photo, options)}
            if photo.width and photo.height:
                entry["image_size"] = [photo.width, photo.height]
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read(source: Path, options: CaptionOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a file of lines."""
    for number, entry in json_objects(source):
        name = entry.get("image_path", entry.get("file_name"))
        if not isinstance(name, str):
            raise DataError(f"Line {number:,} of {source} has no image_path.")
        photo = photo_of(name, entry, options, report)
        if photo is not None:
            yield photo


FORMAT = Format(
    "kohya-jsonl",
    "kohya's metadata as JSON lines with image_path",
    Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="no"),
    write=write,
    read=read,
    options=CaptionOptions,
    suffix=".jsonl",
)
