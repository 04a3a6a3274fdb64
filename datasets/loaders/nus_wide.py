"""NUS-WIDE: Chua et al., "NUS-WIDE: A Real-World Web Image Database", CIVR 2009.

269,648 Flickr photos, 81 concepts that people checked, and the uploaders' own tags. Protocol of the recurrent taggers'
line: the official lists of training and test photos, without photos that have none of the 81; 3 labels for each
photo. As user tags the 1,000 most frequent ones (metadata-neighbours.txt) or all of the 5,018.

Files, as they come out of the archives: Concepts81.txt; ImageList/{TrainImagelist,TestImagelist}.txt with backslashes;
Groundtruth/TrainTestLabels/Labels_CONCEPT_{Train,Test}.txt, a 0 or 1 a line; NUS_WID_Tags/All_Tags.txt, the photo's
number and its tags a line; NUS_WID_Tags/{TagList1k,Final_Tag_List}.txt; photos below Flickr/.
Known flaw: line 78,372 of Labels_lake_Train.txt is neither 0 nor 1. It is read as 0, and so is no other one.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from annotator.datasets.loaders.loading import DataSet, existing, read_lines, same_length, tidy
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

LIST_LENGTH = 3
"""Labels proposed for each photo in the published tables (jvsp.txt)."""
HOW = (
    "Download Groundtruth, Tags, ConceptsList and ImageList of NUS-WIDE (lms.comp.nus.edu.sg, research, NUS-WIDE) and "
    "its photos; put Concepts81.txt and the folders ImageList, Groundtruth, NUS_WID_Tags and Flickr (photos) into one."
)
TAG_LISTS = {"1k": "TagList1k.txt", "5k": "Final_Tag_List.txt"}
KNOWN_FLAW = "-1130179"


def load_nus_wide(folder: Path, user_tags: Literal["1k", "5k"] = "1k") -> DataSet:
    """Load NUS-WIDE.

    Args:
        folder: Holds what `HOW` names.
        user_tags: Which of the uploaders' tags to keep.

    Returns:
        Labels in the order of Concepts81.txt: a photo's labels have none of their own.

    Raises:
        DataError: Something is missing or damaged.
    """
    concepts = list(tidy(read_lines(folder / "Concepts81.txt", HOW), "Concepts81.txt"))
    tag_list = folder / "NUS_WID_Tags" / TAG_LISTS[user_tags]
    known_tags = set(tidy(read_lines(tag_list, HOW, "latin-1"), str(tag_list)))
    tags_of = _read_user_tags(folder / "NUS_WID_Tags" / "All_Tags.txt", known_tags)
    sides = {}
    for side in ("Train", "Test"):
        list_path = folder / "ImageList" / f"{side}Imagelist.txt"
        names = [name.replace("\\", "/") for name in read_lines(list_path, HOW)]
        labels = _read_labels(folder, concepts, side, list_path, len(names))
        records = [
            Record(
                (folder / "Flickr" / name).resolve(),
                tuple(concepts[index] for index in np.flatnonzero(row)),
                tags_of.get(photo_number(name), ()),
            )
            for name, row in zip(names, labels, strict=True)
            if row.any()
        ]
        sides[side] = existing(records, "NUS-WIDE", HOW, logger.warning)
    return DataSet(sides["Train"], sides["Test"], concepts)


def photo_number(name: str) -> str:
    """Return Flickr's number of a listed photo: "actor/0001_2124494179.jpg" -> "2124494179"."""
    return Path(name).stem.rpartition("_")[2]


def _read_labels(folder: Path, concepts: list[str], side: str, list_path: Path, num: int) -> npt.NDArray[np.bool_]:
    """Return (N, 81)."""
    columns = []
    for concept in concepts:
        path = folder / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_{side}.txt"
        lines = read_lines(path, HOW)
        same_length("NUS-WIDE", {list_path: num, path: len(lines)})
        wrong = next((line for line in lines if line not in ("0", "1", KNOWN_FLAW)), None)
        if wrong is not None:
            raise DataError(f"{path} holds {wrong[:20]!r} where a 0 or 1 must be. Download it again.")
        columns.append(np.array([line == "1" for line in lines]))
    return np.stack(columns, axis=1)


def _read_user_tags(path: Path, known: set[str]) -> dict[str, tuple[str, ...]]:
    """Return each photo's known tags by its number."""
    tags_of = {}
    for line in read_lines(path, HOW, "latin-1"):
        number, *tags = line.split()
        tags_of[number] = tuple(dict.fromkeys(tag for tag in tags if tag in known))
    return tags_of
