"""Heat maps of tags: class activation maps over the backbone's last feature map.

The mean of the map over all positions is the feature vector, so a tagger's weights from features to a tag also give the
contribution of each position (Zhou et al., "Learning Deep Features for Discriminative Localization", 2016).
Knows nothing of the user interface.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from annotator.datasets.image_folder import DecodedImage
from annotator.models.backbones.backbone import Backbone
from annotator.models.tagger import Tagger
from annotator.storage.features import FeatureStore, Vectors

NUM_KEPT_MAPS = 4
"""Feature maps in memory, 250 KB each: a user asks for several tags of one photo in succession."""


class HeatMapper:
    """Computes heat maps; any method may be called from any thread.

    Args:
        backbone: Computes the feature maps.
        features: The photos' features.
        decode: Image id, least length of the shorter side in pixels -> the decoded photo.
    """

    def __init__(self, backbone: Backbone, features: FeatureStore, decode: Callable[[int, int], DecodedImage]) -> None:
        self._backbone = backbone
        self._features = features
        self._decode = decode
        self._maps: OrderedDict[int, tuple[Vectors, tuple[float, float, float, float]]] = OrderedDict()
        self._lock = threading.Lock()

    def heat_map(self, taggers: tuple[Tagger, ...], image_id: int, tag: str) -> dict[str, Any] | None:
        """Return the heat map of a tag.

        Args:
            taggers: The first one that knows the tag is used.
            image_id: The photo.
            tag: The tag.

        Returns:
            ``grid``, rows of values in [0, 1], and ``box``, the part of the photo that it covers as left, top, right,
            bottom in shares of its sides; None if no tagger has weights for the tag or the backbone has no feature map.

        Raises:
            UnreadableImageError: The photo is missing or damaged.
        """
        if not self._backbone.has_map or image_id not in self._features:
            return None
        features = self._features.vectors([image_id])
        for tagger in taggers:
            weights = tagger.channel_weights(tag, features)
            if weights is not None:
                feature_map, box = self._map(image_id)
                heat = np.maximum(feature_map @ weights, 0.0)  # (h, w)
                top = float(heat.max())
                grid = heat / top if top > 0 else heat
                return {"grid": np.round(grid.astype(float), 3).tolist(), "box": list(box)}
        return None

    def _map(self, image_id: int) -> tuple[Vectors, tuple[float, float, float, float]]:
        with self._lock:
            if image_id in self._maps:
                self._maps.move_to_end(image_id)
                return self._maps[image_id]
        decoded = self._decode(image_id, 2 * self._backbone.image_size)
        feature_map = self._backbone.feature_map(self._backbone.preprocess(decoded.image))
        found = feature_map, self._backbone.crop_box(decoded.width, decoded.height)
        with self._lock:
            self._maps[image_id] = found
            while len(self._maps) > NUM_KEPT_MAPS:
                self._maps.popitem(last=False)
        return found
