"""PASCAL VOC 2007 with ranked tag lists: Hwang, Grauman, "Reading Between the Lines", CVPR 2010.

9,963 photos; people on Mechanical Turk typed a list of tags for each, the most important first. Protocol as in
ranked_protocol.py: duplicates removed, tags on fewer than 15 training photos ignored (217 remain), 8,500 photos for
training, 500 for validation, 963 for testing.

The lists are available from the authors on request, in an unpublished format. This loader reads a simple format that
they can be converted to: ranked_tags.txt, a photo a line, "000001: dog, boy, grass". Photos as in VOCdevkit.
Without the lists, `load_voc2007_objects` gives the official split with the 20 classes, largest object first.
"""

import logging
from pathlib import Path
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import parse  # type: ignore[import-untyped]

from annotator.datasets.loaders.loading import DataSet, clean_tags, existing_photos, read_lines, require_path
from annotator.datasets.loaders.ranked_protocol import RankedDataSet, RankedSizes, apply_protocol
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

SIZES = RankedSizes(num_train=8500, num_validation=500, num_test=963, min_count=15)
PHOTO_INSTRUCTIONS = (
    "Download VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar (host.robots.ox.ac.uk/pascal/VOC/voc2007) and "
    "unpack both, so that VOCdevkit/VOC2007 lies in the folder."
)
LIST_INSTRUCTIONS = (
    "Ask the authors of Reading Between the Lines (CVPR 2010) for the ranked tag lists and write them into "
    'ranked_tags.txt in the folder, a photo a line: "000001: dog, boy, grass".'
)
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def load_voc2007(folder: Path, seed: int = 0) -> RankedDataSet:
    """Load the photos with their ranked tag lists.

    Args:
        folder: Folder of VOCdevkit/VOC2007 and ranked_tags.txt.
        seed: Seed of the split.

    Raises:
        DataError: A file is missing or damaged.
    """
    photos = require_path(folder / "VOCdevkit" / "VOC2007" / "JPEGImages", PHOTO_INSTRUCTIONS)
    path = folder / "ranked_tags.txt"
    records = []
    for line in read_lines(path, LIST_INSTRUCTIONS):
        name, colon, listed = line.partition(":")
        if not colon:
            raise DataError(f"{path} has the line {line[:60]!r} without a colon. {LIST_INSTRUCTIONS}")
        tags = clean_tags([tag.lower() for tag in listed.split(",") if tag.strip()], str(path))
        if tags:
            records.append(Record((photos / f"{name.strip()}.jpg").resolve(), tags))
    return apply_protocol(existing_photos(records, "PASCAL VOC 2007", PHOTO_INSTRUCTIONS, logger.warning), SIZES, seed)


def load_voc2007_objects(folder: Path) -> DataSet:
    """Load the official split (5,011 training photos, 4,952 test photos) with the 20 classes, largest object first.

    Args:
        folder: Folder of VOCdevkit/VOC2007.

    Raises:
        DataError: A file is missing or damaged.
    """
    base = folder / "VOCdevkit" / "VOC2007"
    sides = []
    for side in ("trainval", "test"):
        names = read_lines(base / "ImageSets" / "Main" / f"{side}.txt", PHOTO_INSTRUCTIONS)
        records = [
            Record((base / "JPEGImages" / f"{name}.jpg").resolve(), _objects(base / "Annotations" / f"{name}.xml"))
            for name in (line.split()[0] for line in names)
        ]
        tagged = [record for record in records if record.tags]
        sides.append(existing_photos(tagged, "PASCAL VOC 2007", PHOTO_INSTRUCTIONS, logger.warning))
    return DataSet(sides[0], sides[1], list(CLASSES))


def _objects(path: Path) -> tuple[str, ...]:
    """Return the classes of an annotation, largest total box area first."""
    areas: dict[str, float] = {}
    try:
        root = parse(require_path(path, PHOTO_INSTRUCTIONS)).getroot()
        for found in root.iter("object"):
            left, top, right, bottom = (
                float(found.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            name = found.findtext("name").strip()
            areas[name] = areas.get(name, 0.0) + (right - left) * (bottom - top)
    except (ParseError, DefusedXmlException, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not an annotation of PASCAL VOC: {error}. {PHOTO_INSTRUCTIONS}") from error
    return tuple(sorted(areas, key=lambda name: (-areas[name], name)))
