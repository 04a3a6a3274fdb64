"""Corel5k: Duygulu, Barnard, de Freitas, Forsyth, ECCV 2002.

Protocol: 5,000 photos of 50 CDs, 260 words in use, 4,500 for training and 499 for testing, 5 words proposed for each
(split of Guillaumin et al., TagProp, ICCV 2009). The tags have no order; the files list them in the dictionary's.
"""

from pathlib import Path

from annotator.datasets.annotation_lists import load_annotation_lists
from annotator.datasets.loading import DataSet

LIST_LENGTH = 5
"""Words proposed for each photo in the published tables."""
HOW = (
    "Download corel5k.20091111.zip (TagProp's data, LEAR, INRIA) and the photos of Corel5k, and put corel5k"
    "_dictionary.txt, corel5k_train_list.txt, corel5k_train_annot.hvecs and the same two for test into the folder, "
    "the photos into its folder images."
)


def load_corel5k(folder: Path) -> DataSet:
    """Load Corel5k.

    Args:
        folder: Holds what `HOW` names.

    Raises:
        DataError: Something is missing or damaged.
    """
    return load_annotation_lists(folder, "corel5k", "Corel5k", HOW)
