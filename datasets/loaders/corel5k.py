"""Corel5k: Duygulu, Barnard, de Freitas, Forsyth, "Object Recognition as Machine Translation", ECCV 2002.

Protocol: 5,000 photos of 50 stock CDs with 1-5 of 260 words; 4,500 for training, 499 for testing; 5 words for each
photo. The split is that of TagProp (Guillaumin et al., ICCV 2009). Words have no order of importance: they
come in the order of the dictionary.
"""

from pathlib import Path

from annotator.datasets.loaders.annotation_lists import load_annotation_lists
from annotator.datasets.loaders.loading import DataSet

LIST_LENGTH = 5
"""Length of the lists in the published tables."""
INSTRUCTIONS = (
    "Download TagProp's files of Corel5k (lear.inrialpes.fr/people/guillaumin/data.php) and its photos; put "
    "corel5k_dictionary.txt, corel5k_{train,test}_list.txt and corel5k_{train,test}_annot.hvecs into the "
    "folder, the photos into its folder images."
)


def load_corel5k(folder: Path) -> DataSet:
    """Load Corel5k.

    Args:
        folder: Folder of the files that `INSTRUCTIONS` names.

    Raises:
        DataError: A file is missing or damaged.
    """
    return load_annotation_lists(folder, "corel5k", "Corel5k", INSTRUCTIONS)
