"""Which of two tags a person names first, and what a detection is worth: small models with fitted constants.

A tag's precedence is its strength in a Bradley-Terry model of people's ordered lists (Bradley and Terry, "Rank
Analysis of Incomplete Block Designs", Biometrika 1952): P(a before b) = sigmoid(s(a) - s(b)). A box adds to a tag's
strength by how large, central and sure it is. `tests/benchmarks/tag_order.py` fits the constants, from training photos
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
"""Chosen on one half of a validation split, reported on the other: EXPERIMENTS.md."""
LEAST_AREA = 1e-4
"""A smaller box counts as this share of the photo."""


@dataclass(frozen=True)
class TagOrder:
    """The fitted constants.

    Attributes:
        precedence: Tag key -> strength.
        box_weights: Of `box_features`, added to a tag's strength.
        present_weights: Of (1, score): the log-odds that a thing of the class is in the photo.
        named_weights: Of (1, score, log area, centrality): the log-odds that a person names it.
        named_labels: Class -> what is added to these log-odds: a train is named, a person is called something else.
    """

    precedence: Mapping[str, float]
    box_weights: tuple[float, ...]
    present_weights: tuple[float, ...]
    named_weights: tuple[float, ...]
    named_labels: Mapping[str, float]

    def strength(self, tag: str, detections: Sequence[Detection] = ()) -> float:
        """Return a tag's strength in a photo; of two tags the stronger one goes first.

        Args:
            tag: Any tag. One that is not known takes the strength of the class it names, else 0, the mean.
            detections: What was found in the photo.
        """
        box = box_features(tag, detections)
        known = self.precedence.get(tag_key(tag))
        if known is None:
            of_classes = [self.precedence.get(tag_key(plain_word(label)), 0.0) for label in sorted(classes_of(tag))]
            known = sum(of_classes) / len(of_classes) if of_classes else 0.0
        return known + _product(self.box_weights, box)

    def present(self, detection: Detection) -> float:
        """Return how likely a thing of the detection's class is in the photo."""
        return _sigmoid(_product(self.present_weights, (1.0, detection.score)))

    def named(self, detection: Detection) -> float:
        """Return how likely a person tags the photo with the detection's class."""
        features = (1.0, detection.score, _log_area(detection.box), centrality(detection.box))
        return _sigmoid(_product(self.named_weights, features) + self.named_labels.get(detection.label, 0.0))

    def reorder(
        self, tags: Sequence[RankedEntry], detections: Sequence[Detection], *, weight: float = REORDER_WEIGHT
    ) -> list[int]:
        """Return places in a new order: what a person is likely to name first moves up among the best.

        A tag's rank score is multiplied by the chance that no other of these tags is both right and named before it,
        to the power `weight`. The first `NUM_REORDERED` stay the first `NUM_REORDERED`.

        Args:
            tags: (tag, rank score, how likely it is right), best first.
            detections: What was found in the photo.
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
    """Return the constants that come along."""
    values = json.loads(CONSTANTS_PATH.read_text(encoding="utf-8"))
    return TagOrder(
        precedence=values["precedence"],
        box_weights=tuple(values["box_weights"]),
        present_weights=tuple(values["present_weights"]),
        named_weights=tuple(values["named_weights"]),
        named_labels=values["named_labels"],
    )


def boxes_for(tag: str, detections: Sequence[Detection]) -> list[Detection]:
    """Return the detections that show what a tag names, the largest first."""
    labels = classes_of(tag)
    return sorted((item for item in detections if item.label in labels), key=lambda item: -area(item.box))


def box_features(tag: str, detections: Sequence[Detection]) -> tuple[float, float, float, float]:
    """Return (is there a box, log of its share of the photo, centrality, score) of a tag's largest box; 0 without."""
    boxes = boxes_for(tag, detections)
    if not boxes:
        return 0.0, 0.0, 0.0, 0.0
    return 1.0, _log_area(boxes[0].box), centrality(boxes[0].box), max(item.score for item in boxes)


def area(box: Box) -> float:
    """Return which share of the photo a box covers."""
    return (box[2] - box[0]) * (box[3] - box[1])


def centrality(box: Box) -> float:
    """Return 1 for a box in the middle of the photo, 0 for one whose middle is a corner."""
    return 1 - math.hypot((box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5) / math.hypot(0.5, 0.5)


def place_text(box: Box) -> str:
    """Say in words how large a box is and where it lies: "24% of the photo, on the left"."""
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
