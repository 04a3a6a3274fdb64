"""What stands for a backbone that cannot be loaded, so that a project whose photos were read with it still opens.

It has the backbone's name, version and feature size, so that the taggers that were trained on its features take the
stored ones. It computes nothing.
"""

from typing import Never

import numpy as np
from PIL import Image

from annotator.errors import BackboneError
from annotator.models.backbones.backbone import Backbone, Crops, Features
from annotator.models.backbones.pretrained import ARCHITECTURES

NUM_CLASSES = 1000
USUAL_SIDE = 224
"""Side of the crop, in pixels, where the network is not known."""


class MissingBackbone(Backbone):
    """A backbone without a network.

    Args:
        name: Which network.
        version: Of the weights that the stored features were computed with.
        feature_size: D, of the stored features.
        problem: Why it cannot be loaded, as sentences.
    """

    def __init__(self, name: str, version: str, feature_size: int, problem: str) -> None:
        known = ARCHITECTURES.get(name)
        self.name = name
        self.version = version
        self.feature_size = feature_size
        self.image_size = known.image_size if known else USUAL_SIDE
        self.device = "none"
        self.draft_size = (2 * self.image_size, 2 * self.image_size)
        self.problem = problem

    def preprocess(self, image: Image.Image) -> Crops:
        """Refuse: there is no network.

        Raises:
            BackboneError: Always.
        """
        self._refuse()

    def extract(self, batch: Crops) -> Features:
        """Refuse: there is no network.

        Raises:
            BackboneError: Always.
        """
        self._refuse()

    @property
    def has_map(self) -> bool:
        """False."""
        return False

    def feature_map(self, crop: Crops) -> Features:
        """Refuse: there is no network.

        Raises:
            BackboneError: Always.
        """
        self._refuse()

    def crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return the whole photo."""
        return 0.0, 0.0, 1.0, 1.0

    @property
    def class_weights(self) -> Features:
        """Zeros, (D, 1000) float32."""
        return np.zeros((self.feature_size, NUM_CLASSES), np.float32)

    @property
    def class_bias(self) -> Features:
        """Zeros, (1000,) float32."""
        return np.zeros(NUM_CLASSES, np.float32)

    def classify(self, features: Features) -> Features:
        """Return zeros, (B, 1000) float32: no class is likely."""
        return np.zeros((len(features), NUM_CLASSES), np.float32)

    def _refuse(self) -> Never:
        raise BackboneError(self.problem)
