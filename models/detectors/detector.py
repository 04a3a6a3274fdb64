"""The contract of detectors: photos in, labelled boxes out. nanodet.py and torchvision_detector.py implement it.

Both networks are trained on the 80 classes of MS-COCO. Knows nothing of files or projects.
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
"""Lowest score of a detection."""
MAX_DETECTIONS = 50
"""Most detections of one photo, by score."""


@dataclass(frozen=True)
class Detection:
    """One object found in a photo."""

    label: str
    """One of `COCO_CLASSES`."""
    score: float
    """The network's score, in [0, 1]."""
    box: Box
    """Left, top, right, bottom as shares of the upright photo's sides."""


class Detector(Protocol):
    """Finds objects in photos."""

    name: str
    version: str
    """Changes whenever the same photo could give other detections."""
    image_size: int
    """Photos with a longer side are scaled down to it, so that more pixels are not needed."""

    def detect(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """Return each photo's detections, highest score first.

        Args:
            images: Upright RGB photos of any size.
        """
        ...


def clipped_detections(boxes: Any, scores: Any, labels: Sequence[str]) -> list[Detection]:
    """Return detections for boxes in shares of the photo, clipped to it; an empty box is left out."""
    found = []
    for box, score, label in zip(np.clip(boxes, 0.0, 1.0).tolist(), scores.tolist(), labels, strict=True):
        left, top, right, bottom = (round(value, 5) for value in box)
        if left < right and top < bottom:
            found.append(Detection(label, round(float(score), 5), (left, top, right, bottom)))
    return found
