"""Lines of JSON with everything that is known of a saved photo; what `annotator train` reads as records.jsonl."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from annotator.datasets.formats.contract import Format, NoOptions, Place, Report, Survival
from annotator.datasets.formats.reading import bounded_lines, clean_list
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import DataError


def row_of(photo: TaggedPhoto) -> dict[str, Any]:
    """Return a photo as an object: the keys of the project's own export, and what else is known."""
    row: dict[str, Any] = {"image": photo.name, "tags": list(photo.tags), "dropped": list(photo.dropped)}
    row |= photo.row
    if photo.scores:
        row["scores"] = dict(photo.scores)
    for key in ("title", "description", "category"):
        if getattr(photo, key):
            row[key] = getattr(photo, key)
    return row


def json_line(row: Mapping[str, Any]) -> str:
    """Return an object as a line with its line end."""
    return json.dumps(dict(row), ensure_ascii=False) + "\n"


def write(photos: Iterable[TaggedPhoto], place: Place, options: NoOptions, report: Report) -> None:
    """Write one line a photo."""
    with place.path.open("w", encoding="utf-8", newline="\n") as file:
        for photo in photos:
            file.write(json_line(row_of(photo)))
            report.num_photos += 1


def json_objects(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a file of JSON lines.

    Raises:
        DataError: The file cannot be read, or a line is not a JSON object.
    """
    for number, line in bounded_lines(source):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"Line {number:,} of {source} is not JSON ({error}).") from error
        if not isinstance(values, dict):
            raise DataError(f"Line {number:,} of {source} is not a JSON object.")
        yield number, values


def read(source: Path, options: NoOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a file of lines, or of the records.jsonl of a folder."""
    path = source / "records.jsonl" if source.is_dir() else source
    for number, values in json_objects(path):
        name, tags = values.get("image"), values.get("tags", [])
        if not isinstance(name, str) or not name:
            raise DataError(f'Line {number:,} of {path} has no "image": the path of the photo.')
        yield photo_of(name, tags, values, f"Line {number:,} of {path}", report)


def photo_of(name: str, tags: object, values: Mapping[str, Any], place: str, report: Report) -> TaggedPhoto:
    """Return the photo of an object.

    Raises:
        DataError: The tags are no list.
    """
    dropped = values.get("dropped", [])
    if not isinstance(tags, list) or not isinstance(dropped, list):
        raise DataError(f"{place}: the tags must be a list of texts; found {str(tags)[:60]!r}.")
    report.num_photos += 1
    return TaggedPhoto(
        name,
        clean_list(tags, name, report),
        dropped=clean_list(dropped, name, report),
        content_hash=_text(values.get("content_hash")),
        title=_text(values.get("title")),
        description=_text(values.get("description")),
        category=_text(values.get("category")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


FORMAT = Format(
    "jsonl",
    "JSON lines with everything, for programs and for annotator train",
    Survival(order="yes", scores="yes", who="yes", dropped="yes", hierarchy="yes"),
    write=write,
    read=read,
    suffix=".jsonl",
)
