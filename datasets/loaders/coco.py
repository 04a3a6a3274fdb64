"""MS-COCO: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

80 object classes. Protocol of the papers on recurrent taggers: the 2014 edition, 82,783 training photos, and the 40,504
validation photos for testing (the labels of the test photos are not public); lists of free length or of 3 labels.

Files: annotations/instances_{train2014,val2014}.json and optionally captions_*.json; photos below train2014/ and
val2014/. The 2017 edition has the same format.
A photo's labels are sorted by the total area of their objects, largest first: people tend to name large objects first.
The papers' orders, frequent or rare first, do not depend on it. Files of other programs in this format may lack areas
(that of the box is taken, else none), name categories that they do not list (left out, with a count), and write paths
with backslashes.
"""

import json
import logging
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from annotator.datasets.loaders.loading import DataSet, clean_tags, existing_photos, require_path
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)


def load_coco(folder: Path, edition: str = "2014") -> DataSet:
    """Load MS-COCO.

    Args:
        folder: Folder of annotations/ and the folders of the photos.
        edition: "2014" or "2017".

    Returns:
        Records with their first caption, and all captions under `captions` of `extra`; photos without an object
        are left out.

    Raises:
        DataError: A file is missing or damaged.
    """
    sides = {}
    vocabulary: list[str] = []
    for side in ("train", "val"):
        instructions = (
            f"Download the {edition} train and val photos and annotations of MS-COCO (cocodataset.org, Download) and "
            f"put the folders annotations, train{edition} and val{edition} into one."
        )
        path = folder / "annotations" / f"instances_{side}{edition}.json"
        instances = _read_json(path, instructions)
        try:
            names = {entry["id"]: entry["name"] for entry in sorted(instances["categories"], key=lambda c: c["id"])}
            vocabulary = list(clean_tags(list(names.values()), str(path)))
            captions = _read_captions(folder / "annotations" / f"captions_{side}{edition}.json", instructions)
            records = _records(instances, names, captions, folder / f"{side}{edition}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} lacks {error}, so it is no file of MS-COCO's instances. {instructions}") from error
        sides[side] = existing_photos(records, "MS-COCO", instructions, logger.warning)
    return DataSet(sides["train"], sides["val"], vocabulary)


def _records(
    instances: dict[str, Any], names: dict[int, str], captions: dict[int, list[str]], photos: Path
) -> list[Record]:
    areas: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    unknown: Counter[Any] = Counter()
    for entry in instances["annotations"]:
        name = names.get(entry["category_id"])
        if name is None:
            unknown[entry["category_id"]] += 1
        else:
            areas[entry["image_id"]][name] += _area(entry)
    if unknown:
        ids = ", ".join(map(str, list(unknown)[:5]))
        logger.warning("%d objects have a category that is not listed (%s); they were left out.", unknown.total(), ids)
    records = []
    for image in instances["images"]:
        found = areas.get(image["id"])
        if found:
            tags = tuple(sorted(found, key=lambda tag: (-found[tag], tag)))
            texts = captions.get(image["id"], [])
            path = (photos / str(image["file_name"]).replace("\\", "/")).resolve()
            records.append(Record(path, tags, caption=texts[0] if texts else None, extra={"captions": texts}))
    return records


def _area(entry: dict[str, Any]) -> float:
    """Return an object's area in pixels; 0 if it has neither an area nor a box."""
    area, box = entry.get("area"), entry.get("bbox")
    if area is None and isinstance(box, list) and len(box) == 4:
        area = float(box[2]) * float(box[3])
    value = float(area or 0)
    return value if math.isfinite(value) else 0.0


def _read_captions(path: Path, instructions: str) -> dict[int, list[str]]:
    if not path.is_file():
        return {}
    captions: dict[int, list[str]] = defaultdict(list)
    for entry in _read_json(path, instructions)["annotations"]:
        captions[entry["image_id"]].append(" ".join(entry["caption"].split()))
    return captions


def _read_json(path: Path, instructions: str) -> dict[str, Any]:
    try:
        values = json.loads(require_path(path, instructions).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} could not be read: {error}. {instructions}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} is not a JSON object. {instructions}")
    return values
