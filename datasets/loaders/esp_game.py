"""ESP Game: von Ahn, Dabbish, "Labeling Images with a Computer Game", CHI 2004.

Protocol: about 20,000 pictures with 268 words that two players agreed on; 18,689 for training, 2,081 for testing; 5
words for each picture. The split is that of TagProp (Guillaumin et al., ICCV 2009). Words have no order of
importance: they come in the order of the dictionary.
"""

from pathlib import Path

from annotator.datasets.loaders.annotation_lists import load_annotation_lists
from annotator.datasets.loaders.loading import DataSet

LIST_LENGTH = 5
"""Length of the lists in the published tables."""
INSTRUCTIONS = (
    "Download TagProp's files of ESP Game (lear.inrialpes.fr/people/guillaumin/data.php) and its photos; put "
    "espgame_dictionary.txt, espgame_{train,test}_list.txt and espgame_{train,test}_annot.hvecs into the "
    "folder, the photos into its folder images."
)


def load_esp_game(folder: Path) -> DataSet:
    """Load ESP Game.

    Args:
        folder: Folder of the files that `INSTRUCTIONS` names.

    Raises:
        DataError: A file is missing or damaged.
    """
    return load_annotation_lists(folder, "espgame", "ESP Game", INSTRUCTIONS)
