"""NUS-WIDE: Chua et al., "NUS-WIDE: A Real-World Web Image Database", CIVR 2009.

269,648 Flickr photos, manual labels for 81 concepts, and the uploaders' tags. Protocol of the papers on recurrent
taggers: the official lists of training and test photos, without photos that have none of the 81; 3 labels for each
photo. User tags are the 1,000 most frequent ones, the side information of S-CNN-RNN (Liu et al., 2017, section 4.2),
or all 5,018; the paper on metadata neighbours (Tesan et al., 2020) takes the 5,000 most frequent ones.

Files, as in the archives: Concepts81.txt; ImageList/{TrainImagelist,TestImagelist}.txt with backslashes;
Groundtruth/TrainTestLabels/Labels_CONCEPT_{Train,Test}.txt, a 0 or 1 a line; NUS_WID_Tags/All_Tags.txt, the photo's
number and its tags a line; NUS_WID_Tags/{TagList1k,Final_Tag_List}.txt; photos below Flickr/.
Known error: line 78,372 of Labels_lake_Train.txt is neither 0 nor 1. It is read as 0; any other such value is refused.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from annotator.datasets.loaders.loading import DataSet, check_same_length, clean_tags, existing_photos, read_lines
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

LIST_LENGTH = 3
"""Length of the lists in the published tables (Ma et al., JVSP, 2017)."""
INSTRUCTIONS = (
    "Download Groundtruth, Tags, ConceptsList and ImageList of NUS-WIDE (lms.comp.nus.edu.sg, research, NUS-WIDE) and "
    "its photos; put Concepts81.txt and the folders ImageList, Groundtruth, NUS_WID_Tags and Flickr (photos) into one."
)
TAG_LISTS = {"1k": "TagList1k.txt", "5k": "Final_Tag_List.txt"}
KNOWN_FLAW = "-1130179"


def load_nus_wide(folder: Path, user_tags: Literal["1k", "5k"] = "1k") -> DataSet:
    """Load NUS-WIDE.

    Args:
        folder: Folder of the files that `INSTRUCTIONS` names.
        user_tags: Vocabulary of the uploaders' tags.

    Returns:
        Labels in the order of Concepts81.txt, since they have no order of importance.

    Raises:
        DataError: A file is missing or damaged.
    """
    concepts = list(clean_tags(read_lines(folder / "Concepts81.txt", INSTRUCTIONS), "Concepts81.txt"))
    tag_list = folder / "NUS_WID_Tags" / TAG_LISTS[user_tags]
    known_tags = set(clean_tags(read_lines(tag_list, INSTRUCTIONS, "latin-1"), str(tag_list)))
    tags_of = _read_user_tags(folder / "NUS_WID_Tags" / "All_Tags.txt", known_tags)
    sides = {}
    for side in ("Train", "Test"):
        list_path = folder / "ImageList" / f"{side}Imagelist.txt"
        names = [name.replace("\\", "/") for name in read_lines(list_path, INSTRUCTIONS)]
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
        sides[side] = existing_photos(records, "NUS-WIDE", INSTRUCTIONS, logger.warning)
    return DataSet(sides["Train"], sides["Test"], concepts)


def photo_number(name: str) -> str:
    """Return the Flickr id of a listed photo: "actor/0001_2124494179.jpg" -> "2124494179"."""
    return Path(name).stem.rpartition("_")[2]


def _read_labels(folder: Path, concepts: list[str], side: str, list_path: Path, num: int) -> npt.NDArray[np.bool_]:
    """Return (N, 81), the labels of the listed photos."""
    columns = []
    for concept in concepts:
        path = folder / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_{side}.txt"
        lines = read_lines(path, INSTRUCTIONS)
        check_same_length("NUS-WIDE", {list_path: num, path: len(lines)})
        wrong = next((line for line in lines if line not in ("0", "1", KNOWN_FLAW)), None)
        if wrong is not None:
            raise DataError(f"{path} holds {wrong[:20]!r} where a 0 or 1 must be. Download it again.")
        columns.append(np.array([line == "1" for line in lines]))
    return np.stack(columns, axis=1)


def _read_user_tags(path: Path, known: set[str]) -> dict[str, tuple[str, ...]]:
    """Return Flickr id -> known tags of the photo."""
    tags_of = {}
    for line in read_lines(path, INSTRUCTIONS, "latin-1"):
        number, *tags = line.split()
        tags_of[number] = tuple(dict.fromkeys(tag for tag in tags if tag in known))
    return tags_of
