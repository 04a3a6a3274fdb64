"""COCO instances: a category a tag; an annotation of the whole photo carries the rank as an attribute.

COCO has no image-level labels, so each tag is a box around the whole photo; readers that keep attributes (datumaro,
CVAT) keep rank and score.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from annotator.datasets.formats.contract import Format, NoOptions, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, read_json
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import passing
from annotator.errors import DataError


def size_problem(photo: TaggedPhoto) -> str | None:
    """Return why a photo cannot have a box; None if it can."""
    return None if photo.width and photo.height else "its width and height are unknown"


def write(photos: Iterable[TaggedPhoto], place: Place, options: NoOptions, report: Report) -> None:
    """Write images, annotations and categories; the annotations wait in a temporary file beside the result."""
    categories: dict[str, int] = {}
    num_annotations = 0
    with (
        place.path.open("w", encoding="utf-8", newline="\n") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=place.path.parent) as annotations,
    ):
        file.write('{"info": {"description": "ranked tags"}, "licenses": [],\n"images": [')
        for number, photo in enumerate(passing(photos, size_problem, report), start=1):
            image = {"id": number, "file_name": photo.name, "width": photo.width, "height": photo.height}
            _add(file, image, number)
            for rank, tag in enumerate(photo.tags, start=1):
                num_annotations += 1
                category = categories.setdefault(tag, len(categories) + 1)
                annotation = _annotation(photo, tag, rank) | {"image_id": number, "category_id": category}
                _add(annotations, annotation | {"id": num_annotations}, num_annotations)
        file.write('\n],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write('\n],\n"categories": [')
        for tag, category in categories.items():
            _add(file, {"id": category, "name": tag, "supercategory": ""}, category)
        file.write("\n]}\n")


def _add(file: TextIO, value: Mapping[str, Any], number: int) -> None:
    file.write((",\n" if number > 1 else "\n") + json.dumps(value, ensure_ascii=False))


def _annotation(photo: TaggedPhoto, tag: str, rank: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {"rank": rank}
    if tag in photo.scores:
        attributes["score"] = round(photo.scores[tag], 6)
    return {
        "bbox": [0, 0, photo.width, photo.height],
        "area": photo.width * photo.height,
        "segmentation": [],
        "iscrowd": 0,
        "attributes": attributes,
    }


def read(source: Path, options: NoOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of an instances file: by rank where annotations have one, else the largest total area first."""
    values = read_json(source)
    if not isinstance(values, dict) or not isinstance(values.get("images"), list):
        raise DataError(f"{source} is not a COCO file: it must be an object with images, annotations and categories.")
    try:
        names = _by_id(values.get("categories", []), "name", "categories", source)
        images = _by_id(values["images"], "file_name", "images", source)
        found: dict[Any, dict[str, tuple[float, float]]] = {}
        for annotation in values.get("annotations", []):
            image_id, category = annotation["image_id"], annotation.get("category_id")
            if image_id not in images:
                raise DataError(f"{source} has an annotation of image {image_id}, which is not listed.")
            if category not in names:
                report.note(images[image_id], f"an object of category {category} was left out: it is not listed")
                continue
            tag, (rank, area) = names[category], _place_of(annotation)
            known = found.setdefault(image_id, {}).get(tag, (rank, 0.0))
            found[image_id][tag] = (min(rank, known[0]), known[1] - area)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{source} is not a COCO file: {error} is missing or of another form.") from error
    for image_id, name in images.items():
        ranked = sorted(found.get(image_id, {}).items(), key=lambda item: item[1])
        report.num_photos += 1
        yield TaggedPhoto(name, clean_list([tag for tag, _ in ranked], name, report))


def _place_of(annotation: Mapping[str, Any]) -> tuple[float, float]:
    """Return (rank, area); of an annotation without an area, that of its box."""
    attributes, area, box = annotation.get("attributes") or {}, annotation.get("area"), annotation.get("bbox")
    if area is None and isinstance(box, list) and len(box) == 4:
        area = float(box[2]) * float(box[3])
    return float(attributes.get("rank", float("inf"))), float(area or 0.0)


def _by_id(entries: list[Mapping[str, Any]], key: str, what: str, source: Path) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for entry in entries:
        if entry["id"] in found:
            raise DataError(f"{source} has two {what} with the id {entry['id']}.")
        if not isinstance(entry[key], str) or not entry[key]:
            raise DataError(f"{source} has an entry of {what} without {key}.")
        found[entry["id"]] = entry[key]
    return found


FORMAT = Format(
    "coco",
    "COCO instances with the rank as an attribute",
    Survival(order="yes", scores="yes", who="no", dropped="no", hierarchy="no"),
    write=write,
    read=read,
    suffix=".json",
)
