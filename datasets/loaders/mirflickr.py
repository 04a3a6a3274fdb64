"""MIRFLICKR-25k: Huiskes, Lew, "The MIR Flickr Retrieval Evaluation", ACM MIR 2008.

25,000 Flickr photos with their uploaders' tags, and manual labels for 24 topics ("potential": the topic is visible to
some extent) and 14 of them again ("relevant": it is what the photo shows). Protocol of the paper on zero-shot tagging:
20,000 photos for training and 5,000 for testing. Which ones it does not say: here, of every five photos in the order of
their numbers, the first four are for training and the last one for testing.

Files: im1.jpg .. im25000.jpg, meta/tags/tags1.txt .. (a tag a line), and annotations/ with TOPIC.txt and TOPIC_r1.txt,
which list photo numbers.
"""

import logging
from pathlib import Path

from annotator.datasets.loaders.loading import DataSet, clean_tags, existing_photos, read_lines, require_path
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

INSTRUCTIONS = (
    "Download mirflickr25k.zip and mirflickr25k_annotations_v080.zip (press.liacs.nl/mirflickr), put im1.jpg and the "
    "others with the folder meta into the folder, and the annotation files into its folder annotations."
)
TRAIN_OF_FIVE = 4
"""Training photos of every five."""
RELEVANT = "_r1"


def load_mirflickr(folder: Path, *, relevant: bool = False) -> DataSet:
    """Load MIRFLICKR-25k.

    Args:
        folder: Folder of the files that `INSTRUCTIONS` names.
        relevant: Take the 14 "relevant" topics instead of the 24 "potential" ones.

    Returns:
        Topics in alphabetical order, since they have no order of importance; the uploaders' tags as `user_tags`.

    Raises:
        DataError: A file is missing or damaged.
    """
    annotations = require_path(folder / "annotations", INSTRUCTIONS)
    paths = [path for path in sorted(annotations.glob("*.txt")) if path.stem.lower() != "readme"]
    paths = [path for path in paths if path.stem.endswith(RELEVANT) == relevant]
    if not paths:
        raise DataError(f"{annotations} holds no {'TOPIC_r1.txt' if relevant else 'TOPIC.txt'}. {INSTRUCTIONS}")
    topics_of: dict[int, list[str]] = {}
    topics = []
    for path in paths:
        topic = path.stem.removesuffix(RELEVANT).replace("_", " ")
        topics.append(topic)
        for number in _numbers(path):
            topics_of.setdefault(number, []).append(topic)
    records = {
        number: Record((folder / f"im{number}.jpg").resolve(), tuple(found), _user_tags(folder, number))
        for number, found in sorted(topics_of.items())
    }
    train = [record for number, record in records.items() if is_training(number)]
    test = [record for number, record in records.items() if not is_training(number)]
    return DataSet(
        existing_photos(train, "MIRFLICKR-25k", INSTRUCTIONS, logger.warning),
        existing_photos(test, "MIRFLICKR-25k", INSTRUCTIONS, logger.warning),
        topics,
    )


def is_training(number: int) -> bool:
    """Tell whether a photo, numbered from 1, is for training."""
    return (number - 1) % 5 < TRAIN_OF_FIVE


def _numbers(path: Path) -> list[int]:
    try:
        return [int(line) for line in read_lines(path, INSTRUCTIONS)]
    except ValueError as error:
        raise DataError(f"{path} must list photo numbers, one a line: {error}. {INSTRUCTIONS}") from error


def _user_tags(folder: Path, number: int) -> tuple[str, ...]:
    path = folder / "meta" / "tags" / f"tags{number}.txt"
    return clean_tags(read_lines(path, INSTRUCTIONS), str(path)) if path.is_file() else ()
