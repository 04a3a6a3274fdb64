"""Detectors: photos in, labelled boxes out. One interface; models/detectors/nanodet.py and models/detectors/torchvision_detector.py implement it.

Both are taught on MS-COCO's 80 classes. Knows nothing of files or projects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from annotator.errors import DetectorError

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


@dataclass(frozen=True)
class DetectorInfo:
    """A detector as `annotator doctor` lists it."""

    name: str
    is_available: bool
    advice: str
    """How to get it, one sentence; empty when it is there."""


def clipped_detections(boxes: Any, scores: Any, labels: Sequence[str]) -> list[Detection]:
    """Build detections of boxes in shares of the photo, clipped to it; a box without inside is left out."""
    found = []
    for box, score, label in zip(np.clip(boxes, 0.0, 1.0).tolist(), scores.tolist(), labels, strict=True):
        left, top, right, bottom = (round(value, 5) for value in box)
        if left < right and top < bottom:
            found.append(Detection(label, round(float(score), 5), (left, top, right, bottom)))
    return found


def load_detector(name: str, *, num_threads: int | None = None, cache_path: Path | None = None) -> Detector:
    """Load a detector.

    Args:
        name: One of `DETECTORS`.
        num_threads: CPU threads of NanoDet; None leaves it to ONNX Runtime.
        cache_path: Folder of installed detectors; None is the user's.

    Raises:
        DetectorError: It is unknown, not installed, damaged, or its weights cannot be downloaded.
    """
    # Imported here: torchvision takes seconds, and the networks' modules know this one.
    if name == NANODET:
        from annotator.models.detectors.detector_install import read_installed
        from annotator.models.detectors.nanodet import NanoDet

        installed = read_installed(cache_path)
        return NanoDet(installed.onnx, installed.version, num_threads)
    if name == TORCHVISION:
        from annotator.models.detectors.torchvision_detector import load_torchvision

        return load_torchvision()
    raise DetectorError(f"There is no detector {name!r}. Detectors: {', '.join(DETECTORS)}.")


def list_detectors(cache_path: Path | None = None) -> list[DetectorInfo]:
    """Return every detector, with whether its weights are on this machine and how to get them."""
    from annotator.models.detectors.detector_install import is_installed
    from annotator.models.detectors.torchvision_detector import weights_path

    has_nanodet, has_torchvision = is_installed(cache_path), weights_path().exists()
    return [
        DetectorInfo(NANODET, has_nanodet, "" if has_nanodet else "Install it with: annotator detector install"),
        DetectorInfo(
            TORCHVISION,
            has_torchvision,
            "" if has_torchvision else "It is downloaded when first chosen: annotator serve --detector torchvision",
        ),
    ]
