"""Evidence of a detector: objects found in one photo, under the words that people use."""

from collections.abc import Sequence

from annotator.models.detectors.coco_classes import classes_of, plain_word
from annotator.models.detectors.detector import Detection
from annotator.models.tag_order import area, load_tag_order, place_text
from annotator.proposals.evidence import Evidence

DETECTOR_TRUST = 0.2
"""What a detection's place in the list is worth, beside how likely a person names the thing (models/tag_order.py).
Beside JVSP, NDCG and recall@10 on held-back photos rise with 0.2 and fall with 1: EXPERIMENTS.md."""


def detector_labels(detections: Sequence[Detection]) -> list[tuple[str, float]]:
    """Return what the detector found in one photo, once a class, under the word that people use, the likeliest first.

    Returns:
        (word, how likely such a thing is there), as taggers take it that take labels.
    """
    order, found = load_tag_order(), dict[str, float]()
    for item in detections:
        word = plain_word(item.label)
        found[word] = max(found.get(word, 0.0), order.present(item))
    return sorted(found.items(), key=lambda entry: -entry[1])


def detector_evidence(detections: Sequence[Detection], prefix: Sequence[str] = ()) -> list[Evidence]:
    """Return what the detector found, once a class, under the word that people use.

    A class that a settled tag names already is left out: beside "man" nobody needs "person".

    Args:
        detections: Of one photo.
        prefix: The settled tags.
    """
    order, settled = load_tag_order(), {label for tag in prefix for label in classes_of(tag)}
    groups: dict[str, list[Detection]] = {}
    for item in detections:
        if item.label not in settled:
            groups.setdefault(item.label, []).append(item)
    evidence = []
    for label, items in groups.items():
        surest, largest = max(items, key=lambda item: item.score), max(items, key=lambda item: area(item.box))
        count = f"{len(items)} times, the largest on" if len(items) > 1 else "on"
        text = f"the detector finds it with {surest.score:.0%}, {count} {place_text(largest.box)}"
        named = DETECTOR_TRUST * order.named(surest)
        evidence.append(Evidence(plain_word(label), "detector", order.present(surest), text, named))
    return evidence
