"""Reads the files of Guillaumin et al. for Corel5k, ESP Game and IAPR TC-12, published with TagProp (ICCV 2009).

A set NAME has NAME_dictionary.txt (a word a line), and for train and test each NAME_train_list.txt (a photo a line,
without suffix) and NAME_train_annot.hvecs: for every photo the number of words as an unsigned 16-bit integer,
little-endian, then as many 16-bit values, 1 where the photo has the word. Later papers use these splits.
"""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotator.datasets.loaders.loading import (
    DataSet,
    check_same_length,
    clean_tags,
    existing_photos,
    read_lines,
    require_path,
)
from annotator.datasets.record import Record
from annotator.errors import DataError

logger = logging.getLogger(__name__)

ENDINGS = (".jpeg", ".jpg", ".png", ".JPG", ".JPEG", "")


def load_annotation_lists(folder: Path, name: str, title: str, instructions: str) -> DataSet:
    """Load one of the three sets.

    Args:
        folder: Folder of the files, with the photos in it or in its subfolder `images`.
        name: The files' prefix.
        title: The set's name, for messages.
        instructions: One sentence: what to download and where to put it.

    Raises:
        DataError: A file is missing, damaged or inconsistent with the others, or all photos are missing.
    """
    dictionary = folder / f"{name}_dictionary.txt"
    words = list(clean_tags(read_lines(dictionary, instructions), str(dictionary)))
    sides = {}
    for side in ("train", "test"):
        list_path, matrix_path = folder / f"{name}_{side}_list.txt", folder / f"{name}_{side}_annot.hvecs"
        photos = read_lines(list_path, instructions)
        matrix = read_hvecs(require_path(matrix_path, instructions))  # (N, V)
        check_same_length(title, {list_path: len(photos), matrix_path: len(matrix)})
        check_same_length(title, {dictionary: len(words), matrix_path: matrix.shape[1]})
        records = [
            Record(find_photo(folder, photo), tuple(words[index] for index in np.flatnonzero(row)))
            for photo, row in zip(photos, matrix, strict=True)
        ]
        tagged = [record for record in records if record.tags]
        sides[side] = existing_photos(tagged, title, instructions, logger.warning)
    return DataSet(sides["train"], sides["test"], words)


def read_hvecs(path: Path) -> npt.NDArray[np.uint16]:
    """Read vectors of equal length.

    Returns:
        (N, V).

    Raises:
        DataError: The file is empty or truncated, or its vectors differ in length.
    """
    values = np.fromfile(path, dtype="<u2")
    width = int(values[0]) + 1 if len(values) else 0
    if width < 2 or len(values) % width or path.stat().st_size % 2:
        raise DataError(f"{path} is not a whole .hvecs file ({path.stat().st_size:,} bytes). Download it again.")
    rows: npt.NDArray[np.uint16] = values.reshape(-1, width)
    if (rows[:, 0] != width - 1).any():
        raise DataError(f"{path} holds vectors of different lengths. Download it again.")
    return rows[:, 1:]


def find_photo(folder: Path, name: str) -> Path:
    """Return the path of a listed photo: in the folder or its `images`, with any of ENDINGS."""
    for base in (folder / "images", folder):
        for ending in ENDINGS:
            path = base / f"{name}{ending}"
            if path.is_file():
                return path.resolve()
    return (folder / "images" / f"{name}.jpg").resolve()
