"""IAPR TC-12: Grubinger, Clough, Mueller, Deselaers, "The IAPR TC-12 Benchmark", 2006.

Protocol: about 20,000 travel photos with 291 nouns of their descriptions; 17,665 for training, 1,962 for testing; 5
words for each photo. The split is that of TagProp (Guillaumin et al., ICCV 2009). Words have no order of importance:
they come in the order of the dictionary.
"""

from pathlib import Path

from annotator.datasets.loaders.annotation_lists import load_annotation_lists
from annotator.datasets.loaders.loading import DataSet

LIST_LENGTH = 5
"""Length of the lists in the published tables."""
INSTRUCTIONS = (
    "Download TagProp's files of IAPR TC-12 (lear.inrialpes.fr/people/guillaumin/data.php) and its photos; put "
    "iaprtc12_dictionary.txt, iaprtc12_{train,test}_list.txt and iaprtc12_{train,test}_annot.hvecs into the "
    "folder, the photos into its folder images."
)


def load_iapr_tc12(folder: Path) -> DataSet:
    """Load IAPR TC-12.

    Args:
        folder: Folder of the files that `INSTRUCTIONS` names.

    Raises:
        DataError: A file is missing or damaged.
    """
    return load_annotation_lists(folder, "iaprtc12", "IAPR TC-12", INSTRUCTIONS)
