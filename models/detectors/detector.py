"""Detectors: photos in, labelled boxes out. One interface; models/detectors/nanodet.py and models/detectors/torchvision_detector.py implement it.

Both are taught on MS-COCO's 80 classes. Knows nothing of files or projects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]

NONE = "none"
NANODET = "nanodet"
TORCHVISION = "torchvision"
DETECTORS = (NANODET, TORCHVISION)

LEAST_SCORE = 0.3
"""What a network holds less likely is not kept."""
MAX_DETECTIONS = 50
"""Most boxes of one photo, the surest."""


@dataclass(frozen=True)
class Detection:
    """One thing found in a photo."""

    label: str
    """One of `COCO_CLASSES`."""
    score: float
    """In [0, 1], as the network gives it."""
    box: Box
    """Left, top, right, bottom in shares of the upright photo's sides."""


class Detector(Protocol):
    """Finds things in photos."""

    name: str
    version: str
    """Changes whenever the same photo could give other detections."""
    image_size: int
    """Photos with a longer side than this are scaled down; pixels beyond it are not needed."""

    def detect(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """Return each photo's detections, surest first.

        Args:
            images: Upright RGB photos of any size.
        """
        ...


def clipped_detections(boxes: Any, scores: Any, labels: Sequence[str]) -> list[Detection]:
    """Build detections of boxes in shares of the photo, clipped to it; a box without inside is left out."""
    found = []
    for box, score, label in zip(np.clip(boxes, 0.0, 1.0).tolist(), scores.tolist(), labels, strict=True):
        left, top, right, bottom = (round(value, 5) for value in box)
        if left < right and top < bottom:
            found.append(Detection(label, round(float(score), 5), (left, top, right, bottom)))
    return found
