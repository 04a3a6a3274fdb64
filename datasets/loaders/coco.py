"""MS-COCO: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

80 object classes. Protocol of the recurrent taggers' line: the 2014 edition, 82,783 training photos to learn from and
the 40,504 validation photos to report on (the test photos' labels are not public); a list ends by itself, or after 3.

Files: annotations/instances_{train2014,val2014}.json and, where they are there, captions_*.json; photos below
train2014/ and val2014/. The edition of 2017 has the same form.
A photo's labels come largest first (the area of all its objects of a class): size is one thing that makes people name
an object first. The papers' orders, frequent or rare first, do not depend on it.
"""

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

from annotator.datasets.loaders.loading import DataSet, existing, need, tidy
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)


def load_coco(folder: Path, edition: str = "2014") -> DataSet:
    """Load MS-COCO.

    Args:
        folder: Holds annotations/ and the photos' folders.
        edition: "2014" or "2017".

    Returns:
        Records with their first caption, and all of them under `captions` of `extra`; photos without an object are
        left out.

    Raises:
        DataError: Something is missing or damaged.
    """
    sides = {}
    vocabulary: list[str] = []
    for side in ("train", "val"):
        how = (
            f"Download the {edition} train and val photos and annotations of MS-COCO (cocodataset.org, Download) and "
            f"put the folders annotations, train{edition} and val{edition} into one."
        )
        path = folder / "annotations" / f"instances_{side}{edition}.json"
        instances = _read_json(path, how)
        try:
            names = {entry["id"]: entry["name"] for entry in sorted(instances["categories"], key=lambda c: c["id"])}
            vocabulary = list(tidy(list(names.values()), str(path)))
            captions = _read_captions(folder / "annotations" / f"captions_{side}{edition}.json", how)
            records = _records(instances, names, captions, folder / f"{side}{edition}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} lacks {error}, so it is no file of MS-COCO's instances. {how}") from error
        sides[side] = existing(records, "MS-COCO", how, logger.warning)
    return DataSet(sides["train"], sides["val"], vocabulary)


def _records(
    instances: dict[str, Any], names: dict[int, str], captions: dict[int, list[str]], photos: Path
) -> list[Record]:
    areas: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for entry in instances["annotations"]:
        areas[entry["image_id"]][names[entry["category_id"]]] += float(entry["area"])
    records = []
    for image in instances["images"]:
        found = areas.get(image["id"])
        if found:
            tags = tuple(sorted(found, key=lambda tag: (-found[tag], tag)))
            texts = captions.get(image["id"], [])
            path = (photos / image["file_name"]).resolve()
            records.append(Record(path, tags, caption=texts[0] if texts else None, extra={"captions": texts}))
    return records


def _read_captions(path: Path, how: str) -> dict[int, list[str]]:
    if not path.is_file():
        return {}
    captions: dict[int, list[str]] = defaultdict(list)
    for entry in _read_json(path, how)["annotations"]:
        captions[entry["image_id"]].append(" ".join(entry["caption"].split()))
    return captions


def _read_json(path: Path, how: str) -> dict[str, Any]:
    try:
        values = json.loads(need(path, how).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} could not be read: {error}. {how}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} is not a JSON object. {how}")
    return values
