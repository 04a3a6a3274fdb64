from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.errors import DetectorError
from annotator.models.detectors import detector_install, nanodet
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector import LEAST_SCORE, Detection, clipped_detections
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.detectors.tfjs_graph import read_graph_model
from annotator.models.detectors.tfjs_to_onnx import convert_to_onnx

INSTALLED = detector_install.default_cache_path()
"""The user's cache, read before the tests set their own."""


@pytest.fixture
def tiny(tiny_nanodet: tuple[bytes, bytes]) -> nanodet.NanoDet:
    return nanodet.NanoDet(convert_to_onnx(read_graph_model(*tiny_nanodet)), "tiny", 1)


def plain_detections(outputs: dict[int, Any], size: int, width: int, height: int) -> list[Detection]:
    """The decoding of the head in plain loops; scores by the side of a level."""
    candidates = []
    for side, (scores, distances) in outputs.items():
        stride = size / side
        for place in range(side * side):
            y, x = divmod(place, side)
            lengths = []
            for bins in distances[0, place].reshape(4, 11):
                powers = [np.exp(float(value)) for value in bins]
                lengths.append(stride * sum(i * power for i, power in enumerate(powers)) / sum(powers))
            centre = ((x + 0.5) * stride, (y + 0.5) * stride)
            box = (centre[0] - lengths[0], centre[1] - lengths[1], centre[0] + lengths[2], centre[1] + lengths[3])
            for label in range(80):
                if scores[0, place, label] >= LEAST_SCORE:
                    candidates.append((float(scores[0, place, label]), label, box))
    kept: list[Any] = []
    for score, label, box in sorted(candidates, key=lambda item: -item[0]):
        if all(other != label or overlap(box, rival) <= nanodet.MAX_OVERLAP for _, other, rival in kept):
            kept.append((score, label, box))
    scale = size / max(width, height)
    left, top = (size - width * scale) / 2, (size - height * scale) / 2
    sides = np.array([width * scale, height * scale] * 2)
    boxes = np.array([box for _, _, box in kept[:50]])
    return clipped_detections(
        (boxes - [left, top, left, top]) / sides,
        np.array([score for score, _, _ in kept[:50]]),
        [COCO_CLASSES[label] for _, label, _ in kept[:50]],
    )


def overlap(one: Any, other: Any) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(high, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(shared / (areas - shared))


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (64, 64)])
def test_boxes_are_decoded_as_in_plain_loops(
    tiny: nanodet.NanoDet, make_photo: Callable[[str], Image.Image], size: tuple[int, int]
) -> None:
    photo = make_photo("chelsea.png").resize(size)
    pixels, _ = nanodet.nanodet_input(photo, 64)
    outputs = tiny._session.run(tiny._outputs, {tiny._input: pixels})
    by_side = {side: (outputs[i], outputs[i + 3]) for i, side in enumerate((8, 4, 2))}
    expected = plain_detections(by_side, 64, *size)
    (found,) = tiny.detect([photo])
    assert len(found) > 5
    assert [item.label for item in found] == [item.label for item in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.box == pytest.approx(other.box, abs=1e-3)


def test_one_place_worked_by_hand() -> None:
    # 2 x 2 places 10 pixels apart; the last one has class 3 with distances of 1, 0, 0.5 and 2 strides.
    scores = np.zeros((4, 80), np.float32)
    scores[3, 3] = 0.75
    distances = np.full((4, 4, 11), -50.0, np.float32)
    distances[3, 0, 1] = distances[3, 1, 0] = distances[3, 3, 2] = 0.0
    distances[3, 2, [0, 1]] = 0.0
    found_scores, labels, boxes = nanodet._decode_level(scores, distances.reshape(4, 44), 2, 10.0)
    assert found_scores.tolist() == [0.75]
    assert labels.tolist() == [3]
    assert boxes[0].tolist() == pytest.approx([15 - 10, 15 - 0, 15 + 5, 15 + 20])


def test_the_photo_keeps_its_shape_and_its_colours_are_swapped() -> None:
    pixels, frame = nanodet.nanodet_input(Image.new("RGB", (200, 100), (255, 0, 0)), 64)
    assert frame == (0, 16, 64, 32)
    assert pixels.shape == (1, 3, 64, 64)
    blue, green, red = pixels[0, :, 32, 32] * nanodet._STD + nanodet._MEAN
    assert (blue, green, red) == pytest.approx((0, 0, 255), abs=1e-3)
    assert (pixels[0, :, 8, 32] * nanodet._STD + nanodet._MEAN).tolist() == pytest.approx([0, 0, 0], abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (1000, 3)])
def test_photos_of_odd_shapes_are_taken(tiny: nanodet.NanoDet, size: tuple[int, int]) -> None:
    (found,) = tiny.detect([Image.new("RGB", size, (90, 120, 200))])
    assert all(0 <= value <= 1 for item in found for value in item.box)


def test_no_photos_no_detections(tiny: nanodet.NanoDet) -> None:
    assert tiny.detect([]) == []


def test_boxes_are_clipped_to_the_photo_and_empty_ones_left_out() -> None:
    boxes = np.array([[-0.5, 0.25, 0.5, 2.0], [1.5, 0.0, 2.0, 1.0]])
    assert clipped_detections(boxes, np.array([0.9, 0.8]), ["cat", "dog"]) == [
        Detection("cat", 0.9, (0.0, 0.25, 0.5, 1.0))
    ]


def test_an_unknown_detector_is_one_sentence() -> None:
    with pytest.raises(DetectorError, match=r"no detector 'yolo'.*nanodet, torchvision"):
        load_detector("yolo")


@pytest.mark.skipif(
    not detector_install.is_installed(INSTALLED), reason="NanoDet is not installed: annotator detector install"
)
def test_the_installed_network_finds_the_cat(make_photo: Callable[[str], Image.Image]) -> None:
    (found, motorcycle) = load_detector("nanodet", num_threads=1, cache_path=INSTALLED).detect(
        [make_photo("chelsea.png"), make_photo("motorcycle_left.png")]
    )
    assert found[0].label == "cat"
    assert found[0].box == pytest.approx((0.0, 0.0, 0.98, 0.99), abs=0.05)
    assert motorcycle[0].label == "motorcycle"
    assert motorcycle[0].box == pytest.approx((0.13, 0.16, 0.93, 0.90), abs=0.05)
