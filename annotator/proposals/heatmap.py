"""Where in a photo a tag is seen: the class activation map over the backbone's last feature map.

The map's mean over all places is the feature vector, so the weights with which a tagger turns features into a tag also
say how much each place speaks for it (Zhou et al., "Learning Deep Features for Discriminative Localization", 2016).
Knows nothing of pages.
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
"""Feature maps kept in memory, 250 KB each: the tags of one photo are looked at one after the other."""


class HeatMapper:
    """Heat-maps of tags over photos.

    Args:
        backbone: Makes the feature maps.
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
        """Return where a tag is seen.

        Args:
            taggers: The first that knows the tag is asked.
            image_id: The photo.
            tag: The tag.

        Returns:
            ``grid``, rows of values in [0, 1], and ``box``, the part of the photo that it covers as left, top, right,
            bottom in shares of its sides; None when no tagger sees this tag or the backbone has no feature map.

        Raises:
            UnreadableImageError: The photo is gone or damaged.
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
