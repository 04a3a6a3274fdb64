"""LabelMe with ranked tag lists: Russell et al., IJCV 2008; ranked as in Hwang, Grauman, CVPR 2010.

People outline objects and name them; the order of the outlines shows what they find important. Protocol as
in ranked_protocol.py: duplicates removed, tags on fewer than 10 training photos ignored (97 remain), 1,800 photos for
training, 200 for validation, 1,825 for testing. The selection of these 3,825 photos is not published: all
photos of the folder are used.

Files: Annotations/FOLDER/NAME.xml and Images/FOLDER/NAME.jpg. The objects of an annotation are in the order in which
they were outlined; objects marked as deleted are ignored.
"""

import logging
from pathlib import Path
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import parse  # type: ignore[import-untyped]

from annotator.datasets.loaders.loading import clean_tags, existing_photos, require_path
from annotator.datasets.loaders.ranked_protocol import RankedDataSet, RankedSizes, apply_protocol
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

SIZES = RankedSizes(num_train=1800, num_validation=200, num_test=1825, min_count=10)
INSTRUCTIONS = (
    "Download a collection from LabelMe (labelme.csail.mit.edu, Download) and put its folders Annotations and Images "
    "into the folder."
)


def load_labelme(folder: Path, seed: int = 0) -> RankedDataSet:
    """Load LabelMe.

    Args:
        folder: Folder of Annotations/ and Images/.
        seed: Seed of the split.

    Raises:
        DataError: A file is missing or damaged.
    """
    annotations = require_path(folder / "Annotations", INSTRUCTIONS)
    records = [record for path in sorted(annotations.rglob("*.xml")) if (record := _read(path, folder)).tags]
    return apply_protocol(existing_photos(records, "LabelMe", INSTRUCTIONS, logger.warning), SIZES, seed)


def _read(path: Path, folder: Path) -> Record:
    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException, OSError) as error:
        raise DataError(f"{path} is not an annotation of LabelMe: {error}. {INSTRUCTIONS}") from error
    names = [
        (found.findtext("name") or "").strip().lower()
        for found in root.iter("object")
        if (found.findtext("deleted") or "0").strip() != "1"
    ]
    image = folder / "Images" / path.parent.relative_to(folder / "Annotations") / f"{path.stem}.jpg"
    return Record(image.resolve(), clean_tags([name for name in names if name], str(path)))
