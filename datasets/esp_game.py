"""ESP Game: von Ahn, Dabbish, CHI 2004.

Protocol: about 20,000 photos and drawings with words two players agreed on, 268 words, 18,689 for training and 2,081 for testing, 5 words proposed for each
(split of Guillaumin et al., TagProp, ICCV 2009). The tags have no order; the files list them in the dictionary's.
"""

from pathlib import Path

from annotator.datasets.annotation_lists import load_annotation_lists
from annotator.datasets.loading import DataSet

LIST_LENGTH = 5
"""Words proposed for each photo in the published tables."""
HOW = (
    "Download espgame.20091111.zip (TagProp's data, LEAR, INRIA) and the photos of ESP Game, and put espgame"
    "_dictionary.txt, espgame_train_list.txt, espgame_train_annot.hvecs and the same two for test into the folder, "
    "the photos into its folder images."
)


def load_esp_game(folder: Path) -> DataSet:
    """Load ESP Game.

    Args:
        folder: Holds what `HOW` names.

    Raises:
        DataError: Something is missing or damaged.
    """
    return load_annotation_lists(folder, "espgame", "ESP Game", HOW)
