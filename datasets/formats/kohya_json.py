"""kohya's metadata file: `{image key: {"caption": ..., "tags": "a, b", "image_size": [w, h]}}`, tags as one text."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from annotator.datasets.formats.caption_text import CaptionOptions, caption_line, caption_problem, parse_caption
from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, read_json
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import passing
from annotator.errors import DataError


def write(photos: Iterable[TaggedPhoto], place: Place, options: CaptionOptions, report: Report) -> None:
    """Write one object with an entry a photo."""
    with place.path.open("w", encoding="utf-8", newline="\n") as file:
        mark = "{\n"
        for photo in passing(photos, lambda one: caption_problem(one, options), report):
            file.write(f"{mark}{json.dumps(photo.name, ensure_ascii=False)}: {_dumped(entry_of(photo, options))}")
            mark = ",\n"
        file.write("\n}\n" if report.num_photos else "{}\n")


def entry_of(photo: TaggedPhoto, options: CaptionOptions) -> dict[str, Any]:
    """Return a photo's entry."""
    entry: dict[str, Any] = {"tags": caption_line(photo, options)}
    if photo.description:
        entry["caption"] = photo.description
    if photo.width and photo.height:
        entry["image_size"] = [photo.width, photo.height]
    return entry


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read(source: Path, options: CaptionOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a metadata file."""
    entries = read_json(source)
    if not isinstance(entries, dict):
        raise DataError(f"{source} is not kohya's metadata: it must be an object with an entry a photo.")
    for name, entry in entries.items():
        photo = photo_of(name, entry, options, report)
        if photo is not None:
            yield photo


def photo_of(name: str, entry: object, options: CaptionOptions, report: Report) -> TaggedPhoto | None:
    """Return the photo of an entry; None if it has no tags.

    Raises:
        DataError: The entry is of another form.
    """
    if not isinstance(entry, dict):
        raise DataError(f"The entry of {name!r} is not an object with tags.")
    text = entry.get("tags")
    caption = entry.get("caption")
    if text is None:
        text, caption = caption, None
    tags = clean_list(tags_of(text, options), name, report)
    if not tags:
        return None
    report.num_photos += 1
    return TaggedPhoto(name.replace("\\", "/"), tags, description=caption if isinstance(caption, str) else "")


def tags_of(value: object, options: CaptionOptions) -> list[object]:
    """Return the tags of a text, of a list, or of a booru's groups (`{"general": [...], "artist": [...]}`)."""
    if isinstance(value, str):
        return list(parse_caption(value, options))
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [tag for group in value.values() if isinstance(group, list) for tag in group]
    return []


FORMAT = Format(
    "kohya-json",
    "kohya's metadata.json",
    Survival(order="yes", scores="no", who="no", dropped="no", hierarchy="no"),
    write=write,
    read=read,
    options=CaptionOptions,
    suffix=".json",
)
