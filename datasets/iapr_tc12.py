"""IAPR TC-12: Grubinger, Clough, Mueller, Deselaers, 2006.

Protocol: about 20,000 travel photos, the 291 nouns of their descriptions, 17,665 for training and 1,962 for testing, 5 words proposed for each
(split of Guillaumin et al., TagProp, ICCV 2009). The tags have no order; the files list them in the dictionary's.
"""

from pathlib import Path

from annotator.datasets.annotation_lists import load_annotation_lists
from annotator.datasets.loading import DataSet

LIST_LENGTH = 5
"""Words proposed for each photo in the published tables."""
HOW = (
    "Download iaprtc12.20091111.zip (TagProp's data, LEAR, INRIA) and the photos of IAPR TC-12, and put iaprtc12"
    "_dictionary.txt, iaprtc12_train_list.txt, iaprtc12_train_annot.hvecs and the same two for test into the folder, "
    "the photos into its folder images."
)


def load_iapr_tc12(folder: Path) -> DataSet:
    """Load IAPR TC-12.

    Args:
        folder: Holds what `HOW` names.

    Raises:
        DataError: Something is missing or damaged.
    """
    return load_annotation_lists(folder, "iaprtc12", "IAPR TC-12", HOW)
