"""NanoDet: a small anchor-free detector, run by ONNX Runtime from the network that detector_install.py installs.

Source: https://github.com/RangiLyu/nanodet; its head is that of Li et al., "Generalized Focal Loss", NeurIPS 2020.
Shapes: photo -> (1, 3, S, S) float32 -> at each of three levels scores (1, N, 80) and distances (1, N, 4 * 11).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.models.backbones.backbone import open_session
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector import LEAST_SCORE, MAX_DETECTIONS, NANODET, Detection, clipped_detections

Floats = npt.NDArray[np.float32]

MAX_OVERLAP = 0.6
"""Of two boxes of a class with a higher intersection over union, the one with the higher score stays."""
_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_STD = np.array([57.375, 57.12, 58.395], np.float32)
_NUM_BINS = 11
"""The distance of a box's side from its grid point is a distribution over 0..10 strides."""


class NanoDet:
    """NanoDet on ONNX Runtime.

    Args:
        onnx: The converted network.
        version: Version of its weights.
        num_threads: CPU threads; None leaves it to ONNX Runtime.
    """

    name = NANODET

    def __init__(self, onnx: bytes, version: str, num_threads: int | None = None) -> None:
        self.version = version
        self._session = open_session(onnx, num_threads)
        (network_input,) = self._session.get_inputs()
        self._input = network_input.name
        self.image_size = int(network_input.shape[2])
        outputs = [(output.name, output.shape) for output in self._session.get_outputs()]
        # The three grid levels, finest first: scores of (1, N, 80), then distances of (1, N, 44).
        levels = sorted(outputs, key=lambda output: (output[1][2] != len(COCO_CLASSES), -output[1][1]))
        self._outputs = [name for name, _ in levels]
        self._sides = [round(shape[1] ** 0.5) for _, shape in levels[: len(levels) // 2]]

    def detect(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """Return each photo's detections, highest score first."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image.Image) -> list[Detection]:
        pixels, frame = nanodet_input(image, self.image_size)
        outputs = self._session.run(self._outputs, {self._input: pixels})
        num_levels = len(self._sides)
        places = [
            _decode_level(scores[0], distances[0], side, self.image_size / side)
            for scores, distances, side in zip(outputs[:num_levels], outputs[num_levels:], self._sides, strict=True)
        ]
        scores, labels, boxes = (np.concatenate(parts) for parts in zip(*places, strict=True))
        left, top, width, height = frame
        boxes = (boxes - np.array([left, top, left, top])) / np.array([width, height, width, height])
        kept = _suppress(boxes, scores, labels)
        return clipped_detections(boxes[kept], scores[kept], [COCO_CLASSES[label] for label in labels[kept]])


def nanodet_input(image: Image.Image, image_size: int) -> tuple[Floats, tuple[int, int, int, int]]:
    """Return the network's input for a photo, and the photo's position in it.

    The photo keeps its aspect ratio, with black margins: stretched to a square, the average precision of its labels on
    300 photos of `captions` fell from .647 to .514.

    Returns:
        (1, 3, S, S), BGR, standardised; then the photo's left, top, width and height in pixels.
    """
    scale = image_size / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    left, top = (image_size - width) // 2, (image_size - height) // 2
    square = Image.new("RGB", (image_size, image_size))
    square.paste(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(square, np.float32)[:, :, ::-1]
    network_input = np.ascontiguousarray(((pixels - _MEAN) / _STD).transpose(2, 0, 1)[None])
    return network_input, (left, top, width, height)


def _decode_level(scores: Floats, distances: Floats, side: int, stride: float) -> tuple[Any, Any, Any]:
    """Return scores (M,), labels (M,) and boxes (M, 4) in pixels, of one level's scores of at least `LEAST_SCORE`.

    Args:
        scores: (side * side, 80).
        distances: (side * side, 4 * 11) logits: left, top, right, bottom, each over 0..10 strides.
        side: Grid points along a side.
        stride: Pixels between grid points.
    """
    rows, labels = np.nonzero(scores >= LEAST_SCORE)
    logits = distances[rows].reshape(-1, 4, _NUM_BINS)  # (M, 4, 11)
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    # The mean of the distribution (Generalized Focal Loss, section 3.2).
    lengths = stride * (powers @ np.arange(_NUM_BINS, dtype=np.float32)) / powers.sum(axis=2)  # (M, 4)
    centres = stride * (np.stack([rows % side, rows // side], axis=1) + 0.5)  # (M, 2)
    boxes = np.concatenate([centres - lengths[:, :2], centres + lengths[:, 2:]], axis=1)
    return scores[rows, labels], labels, boxes


def _suppress(boxes: Any, scores: Any, labels: Any) -> list[int]:
    """Return the places of the boxes after non-maximum suppression within each class, highest score first."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        rivals = [other for other in kept if labels[other] == labels[index]]
        if not rivals or float(_overlaps(boxes[index], boxes[rivals]).max()) <= MAX_OVERLAP:
            kept.append(index)
        if len(kept) == MAX_DETECTIONS:
            break
    return kept


def _overlaps(box: Any, others: Any) -> Any:
    """Return the intersection over union of one box (4,) with others (N, 4), (N,)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return shared / np.maximum(np.prod(box[2:] - box[:2]) + areas - shared, 1e-9)
