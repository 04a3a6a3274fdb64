"""MIRFLICKR-25k: Huiskes, Lew, "The MIR Flickr Retrieval Evaluation", ACM MIR 2008.

25,000 Flickr photos with their uploaders' tags, and 24 topics that people checked ("potential": the topic is there to
some extent) and 14 of them again ("relevant": it is what the photo shows). Protocol: 15,000 photos for training and
10,000 for testing. Here of every five, in the order of their numbers, the first three train and the last two test; that
these are the very photos of the published tables could not be checked.

Files: im1.jpg .. im25000.jpg, meta/tags/tags1.txt .. (a tag a line), and annotations/ with TOPIC.txt and TOPIC_r1.txt,
which list photo numbers.
"""

import logging
from pathlib import Path

from annotator.datasets.loaders.loading import DataSet, existing, need, read_lines, tidy
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

HOW = (
    "Download mirflickr25k.zip and mirflickr25k_annotations_v080.zip (press.liacs.nl/mirflickr), put im1.jpg and the "
    "others with the folder meta into the folder, and the annotation files into its folder annotations."
)
TRAIN_OF_FIVE = 3
"""Of every five photos, so many are for training."""
RELEVANT = "_r1"


def load_mirflickr(folder: Path, *, relevant: bool = False) -> DataSet:
    """Load MIRFLICKR-25k.

    Args:
        folder: Holds what `HOW` names.
        relevant: Take the 14 narrower annotations instead of the 24 wider ones.

    Returns:
        Topics in the alphabet's order, since they have none of their own; the uploaders' tags as `user_tags`.

    Raises:
        DataError: Something is missing or damaged.
    """
    annotations = need(folder / "annotations", HOW)
    paths = [path for path in sorted(annotations.glob("*.txt")) if path.stem.lower() != "readme"]
    paths = [path for path in paths if path.stem.endswith(RELEVANT) == relevant]
    if not paths:
        raise DataError(f"{annotations} holds no {'TOPIC_r1.txt' if relevant else 'TOPIC.txt'}. {HOW}")
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
        existing(train, "MIRFLICKR-25k", HOW, logger.warning),
        existing(test, "MIRFLICKR-25k", HOW, logger.warning),
        topics,
    )


def is_training(number: int) -> bool:
    """Return whether a photo, numbered from 1, is for training."""
    return (number - 1) % 5 < TRAIN_OF_FIVE


def _numbers(path: Path) -> list[int]:
    try:
        return [int(line) for line in read_lines(path, HOW)]
    except ValueError as error:
        raise DataError(f"{path} must list photo numbers, one a line: {error}. {HOW}") from error


def _user_tags(folder: Path, number: int) -> tuple[str, ...]:
    path = folder / "meta" / "tags" / f"tags{number}.txt"
    return tidy(read_lines(path, HOW), str(path)) if path.is_file() else ()
