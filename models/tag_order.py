"""The order in which people name tags, and the probability of a detection: small models with fitted constants.

A tag's precedence is its strength in a Bradley-Terry model of people's ordered lists (Bradley and Terry, "Rank
Analysis of Incomplete Block Designs", Biometrika 1952): P(a before b) = sigmoid(s(a) - s(b)). A box adds to a tag's
strength by its size, centrality and score. `tests/benchmarks/tag_order.py` fits the constants, from training photos
only, and measures them. Knows nothing of projects, taggers or photos.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from annotator.datasets.tags import tag_key
from annotator.models.detectors.coco_classes import classes_of, plain_word
from annotator.models.detectors.detector import Box, Detection

RankedEntry = tuple[str, float, float]

CONSTANTS_PATH = Path(__file__).with_name("tag_order.json")
NUM_REORDERED = 10
REORDER_WEIGHT = 0.3
"""Chosen on one half of a validation split, reported on the other: docs/experiments."""
LEAST_AREA = 1e-4
"""Lower bound of a box's share of the photo, before its logarithm."""


@dataclass(frozen=True)
class TagOrder:
    """The fitted constants.

    Attributes:
        precedence: Tag key -> strength.
        box_weights: Weights of `box_features` in a tag's strength.
        present_weights: Weights of (1, score) in the log-odds that an object of the class is in the photo.
        named_weights: Weights of (1, score, log area, centrality) in the log-odds that a person names it.
        named_labels: Class -> its bias in these log-odds: people tag a train as "train", a person by other words.
    """

    precedence: Mapping[str, float]
    box_weights: tuple[float, ...]
    present_weights: tuple[float, ...]
    named_weights: tuple[float, ...]
    named_labels: Mapping[str, float]

    def strength(self, tag: str, detections: Sequence[Detection] = ()) -> float:
        """Return a tag's strength in a photo; of two tags the stronger one goes first.

        Args:
            tag: Any tag. An unknown one has the mean strength of the classes it names, or 0, the mean of all tags.
            detections: Those of the photo.
        """
        box = box_features(tag, detections)
        known = self.precedence.get(tag_key(tag))
        if known is None:
            of_classes = [self.precedence.get(tag_key(plain_word(label)), 0.0) for label in sorted(classes_of(tag))]
            known = sum(of_classes) / len(of_classes) if of_classes else 0.0
        return known + _product(self.box_weights, box)

    def present(self, detection: Detection) -> float:
        """Return the probability that an object of the detection's class is in the photo."""
        return _sigmoid(_product(self.present_weights, (1.0, detection.score)))

    def named(self, detection: Detection) -> float:
        """Return the probability that a person tags the photo with the detection's class."""
        features = (1.0, detection.score, _log_area(detection.box), centrality(detection.box))
        return _sigmoid(_product(self.named_weights, features) + self.named_labels.get(detection.label, 0.0))

    def reorder(
        self, tags: Sequence[RankedEntry], detections: Sequence[Detection], *, weight: float = REORDER_WEIGHT
    ) -> list[int]:
        """Return the places of tags in a new order, in which tags that people name early move up.

        A tag's rank score is multiplied by the probability that no other of these tags is both right and named before
        it, to the power `weight`. Only the first `NUM_REORDERED` are reordered.

        Args:
            tags: (tag, rank score, probability that it is right), best first.
            detections: Those of the photo.
            weight: 0 keeps the order.
        """
        best = tags[:NUM_REORDERED]
        strengths = [self.strength(tag, detections) for tag, _, _ in best]
        values = []
        for place, (_, rank_score, _) in enumerate(best):
            value = math.log(max(rank_score, 1e-9))
            for other, (_, _, likely) in enumerate(best):
                if other != place:
                    before = _sigmoid(strengths[other] - strengths[place])
                    value += weight * math.log(1 - min(likely, 0.99) * before)
            values.append(value)
        order = sorted(range(len(best)), key=lambda place: -values[place])
        return [*order, *range(len(best), len(tags))]


@lru_cache(maxsize=1)
def load_tag_order() -> TagOrder:
    """Return the constants of the package."""
    values = json.loads(CONSTANTS_PATH.read_text(encoding="utf-8"))
    return TagOrder(
        precedence=values["precedence"],
        box_weights=tuple(values["box_weights"]),
        present_weights=tuple(values["present_weights"]),
        named_weights=tuple(values["named_weights"]),
        named_labels=values["named_labels"],
    )


def boxes_for(tag: str, detections: Sequence[Detection]) -> list[Detection]:
    """Return the detections of the classes that a tag names, the largest first."""
    labels = classes_of(tag)
    return sorted((item for item in detections if item.label in labels), key=lambda item: -area(item.box))


def box_features(tag: str, detections: Sequence[Detection]) -> tuple[float, float, float, float]:
    """Return (1, log of share of the photo, centrality, highest score) of a tag's largest box; zeros without one."""
    boxes = boxes_for(tag, detections)
    if not boxes:
        return 0.0, 0.0, 0.0, 0.0
    return 1.0, _log_area(boxes[0].box), centrality(boxes[0].box), max(item.score for item in boxes)


def area(box: Box) -> float:
    """Return the share of the photo that a box covers."""
    return (box[2] - box[0]) * (box[3] - box[1])


def centrality(box: Box) -> float:
    """Return 1 for a box centred in the photo, 0 for one centred on a corner, linear in the distance between."""
    return 1 - math.hypot((box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5) / math.hypot(0.5, 0.5)


def place_text(box: Box) -> str:
    """Return the size and position of a box in words: "24% of the photo, on the left"."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    down = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    if across and down:
        where = f"at the {down} {across}"
    elif across or down:
        where = f"at the {down}" if down else f"on the {across}"
    else:
        where = "in the middle"
    return f"{max(area(box), 0.01):.0%} of the photo, {where}"


def _log_area(box: Box) -> float:
    return math.log(max(area(box), LEAST_AREA))


def _product(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
