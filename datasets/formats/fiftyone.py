"""FiftyOne: a folder that `fo.Dataset.from_dir(..., fo.types.FiftyOneDataset)` loads.

The list is a field of Classifications, each with confidence and rank: FiftyOne sorts its own sample tags, so they are
not used.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.datasets.formats.contract import Format, Place, Report, Survival
from annotator.datasets.formats.reading import clean_list, read_json
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import DataError

SAMPLES, METADATA = "samples.json", "metadata.json"


@dataclass(frozen=True)
class FiftyOneOptions:
    """Options of `fiftyone`."""

    field: str = "ranked_tags"
    """Name of the field."""


def write(photos: Iterable[TaggedPhoto], place: Place, options: FiftyOneOptions, report: Report) -> None:
    """Write the samples; paths are absolute where the photo's file is known."""
    place.path.mkdir()
    (place.path / METADATA).write_text('{"media_type": "image"}\n', encoding="utf-8")
    with (place.path / SAMPLES).open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"samples": [')
        for photo in photos:
            sample = json.dumps(_sample(photo, options), ensure_ascii=False)
            file.write((",\n" if report.num_photos else "\n") + sample)
            report.num_photos += 1
        file.write("\n]}\n")


def _sample(photo: TaggedPhoto, options: FiftyOneOptions) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for rank, tag in enumerate(photo.tags, start=1):
        one: dict[str, Any] = {"_cls": "Classification", "label": tag, "rank": rank}
        if tag in photo.scores:
            one["confidence"] = photo.scores[tag]
        found.append(one)
    return {
        "filepath": str(photo.path) if photo.path is not None else photo.name,
        options.field: {"_cls": "Classifications", "classifications": found},
    }


def read(source: Path, options: FiftyOneOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a folder with samples.json: by rank, those without one in the order of the file."""
    path = source / SAMPLES if source.is_dir() else source
    values = read_json(path)
    samples = values.get("samples") if isinstance(values, dict) else None
    if not isinstance(samples, list):
        raise DataError(f"{path} is not FiftyOne's samples.json: it must be an object with samples.")
    for number, sample in enumerate(samples, start=1):
        try:
            name = sample["filepath"]
            found = (sample.get(options.field) or {}).get("classifications", [])
            ranked = sorted(found, key=lambda one: float(one.get("rank") or float("inf")))
            labels = [one["label"] for one in ranked]
            if not isinstance(name, str):
                raise TypeError("filepath")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"Sample {number:,} of {path} is not FiftyOne's: {error} is missing or wrong.") from error
        report.num_photos += 1
        yield TaggedPhoto(name.replace("\\", "/"), clean_list(labels, name, report))


FORMAT = Format(
    "fiftyone",
    "a folder that FiftyOne loads, with confidence and rank",
    Survival(order="yes", scores="yes", who="no", dropped="no", hierarchy="no"),
    layout="folder",
    write=write,
    read=read,
    options=FiftyOneOptions,
)
