"""Evidence of a detector: objects found in one photo, as everyday words."""

from collections.abc import Sequence

from annotator.models.detectors.coco_classes import classes_of, plain_word
from annotator.models.detectors.detector import Detection
from annotator.models.tag_order import area, load_tag_order, place_text
from annotator.proposals.evidence import Evidence

DETECTOR_TRUST = 0.2
"""Weight of a detection's rank score, the probability that users tag the object (models/tag_order.py). With JVSP, NDCG
and recall@10 on held-back photos rise at 0.2 and fall at 1: docs/experiments/detector.md."""


def detector_labels(detections: Sequence[Detection]) -> list[tuple[str, float]]:
    """Return one label for each class that the detector found in a photo, as input of taggers that take labels.

    Returns:
        (everyday word, probability that the object is present), the likeliest first.
    """
    order, found = load_tag_order(), dict[str, float]()
    for item in detections:
        word = plain_word(item.label)
        found[word] = max(found.get(word, 0.0), order.present(item))
    return sorted(found.items(), key=lambda entry: -entry[1])


def detector_evidence(detections: Sequence[Detection], kept: Sequence[str] = ()) -> list[Evidence]:
    """Return the evidence for each class that the detector found, as an everyday word.

    Classes that a kept tag names are left out: "man" makes "person" unnecessary.

    Args:
        detections: Of one photo.
        kept: The kept tags.
    """
    order, kept_classes = load_tag_order(), {label for tag in kept for label in classes_of(tag)}
    groups: dict[str, list[Detection]] = {}
    for item in detections:
        if item.label not in kept_classes:
            groups.setdefault(item.label, []).append(item)
    evidence = []
    for label, items in groups.items():
        surest, largest = max(items, key=lambda item: item.score), max(items, key=lambda item: area(item.box))
        count = f"{len(items)} times, the largest on" if len(items) > 1 else "on"
        text = f"the detector finds it with {surest.score:.0%}, {count} {place_text(largest.box)}"
        named = DETECTOR_TRUST * order.named(surest)
        evidence.append(Evidence(plain_word(label), "detector", order.present(surest), text, named))
    return evidence
