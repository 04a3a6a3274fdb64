"""Precision and recall of small objects, tagger beside tagger: figure 3 of JVSP's paper.

    python tests/benchmarks/small_objects.py DATA --boxes FILE --checkpoints CHECKPOINT ... [--k 5] [--num-small 8]
        [--least 20] [--num N] [--threads N]

The paper takes seven classes of MS-COCO for small (bottle, cell phone, bowl, spoon, fork, knife, mouse) and compares
JVSP with CNN-RNN. Here a class is as small as the median, over the measured photos that carry its tag, of the area of
its largest box as a share of the photo; the `--num-small` smallest ones with at least `--least` such photos are
"small", the others "large". FILE keeps the boxes, as tag_order.py does. Each checkpoint is measured on the photos that
its own training held back (so train them with the same --split-seed), or on `--num` of them. Prints Markdown tables in
percent: each class, then the means over both groups. The detector was trained on MS-COCO: where DATA's photos come from
there too, its boxes may be better than elsewhere.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tag_order

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import load_split
from annotator.datasets.tags import tag_key
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector import Detection
from annotator.models.tag_order import area
from annotator.trainer.evaluation.evaluate import decode, names
from annotator.trainer.feature_cache import features_of
from annotator.trainer.training import SPLIT_FILE

Boxes = dict[str, list[Detection]]


@dataclass(frozen=True)
class Measured:
    """Precision and recall of one class, in [0, 1]."""

    precision: float
    """0 if it was never proposed."""
    recall: float


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--k", type=int, default=5, help="tags of a photo that count as proposed")
    parser.add_argument("--num-small", type=int, default=8)
    parser.add_argument("--least", type=int, default=20, help="photos that a class needs, with its tag and a box")
    parser.add_argument("--num", type=int, help="measure on at most so many photos")
    parser.add_argument("--detector", default="nanodet")
    parser.add_argument("--threads", type=int, default=1)
    parsed = parser.parse_args()
    records = read_records(parsed.data)
    shown = [load_split(records, folder / SPLIT_FILE)[1] for folder in parsed.checkpoints]
    if any({record.image for record in side} != {record.image for record in shown[0]} for side in shown):
        raise SystemExit("The checkpoints held back different photos; train them with the same --split-seed.")
    photos = shown[0][: parsed.num]
    boxes = tag_order.found_boxes(photos, parsed)
    sizes = median_areas(photos, boxes, parsed.least)
    if not sizes:
        raise SystemExit(f"No class has {parsed.least} photos with its tag and a box; lower --least.")
    small = sorted(sizes, key=lambda label: sizes[label])[: parsed.num_small]
    features = features_of(photos, load_backbone(num_threads=parsed.threads)).features
    results: dict[str, dict[str, Measured]] = {}
    for folder in parsed.checkpoints:
        tagger = checkpoint.load(folder)
        lists = names(decode(tagger, features, k=parsed.k))
        results[folder.name] = {label: measure(label, lists, photos) for label in sizes}
    print_tables(sizes, small, results)


def median_areas(photos: Sequence[Record], boxes: Boxes, least: int) -> dict[str, float]:
    """Return the classes with enough photos that carry their tag and a box, with the median area of the largest box."""
    areas: dict[str, list[float]] = defaultdict(list)
    for record in photos:
        carried = {tag_key(tag) for tag in record.tags}
        for label in COCO_CLASSES:
            found = [area(thing.box) for thing in boxes[record.image.name] if thing.label == label]
            if found and tag_key(label) in carried:
                areas[label].append(max(found))
    return {label: float(np.median(values)) for label, values in areas.items() if len(values) >= least}


def measure(label: str, lists: Sequence[Sequence[str]], photos: Sequence[Record]) -> Measured:
    """Return precision and recall of one class over all photos, with or without a box."""
    key = tag_key(label)
    proposed = np.array([key in {tag_key(tag) for tag in tags} for tags in lists])
    true = np.array([key in {tag_key(tag) for tag in record.tags} for record in photos])
    right = float((proposed & true).sum())
    return Measured(right / max(float(proposed.sum()), 1.0), right / max(float(true.sum()), 1.0))


def print_tables(sizes: dict[str, float], small: Sequence[str], results: dict[str, dict[str, Measured]]) -> None:
    """Print each class, the smallest first, then the means over small and large classes."""
    heads = " | ".join(f"{name}: P | R" for name in results)
    print(f"| class | median area | {heads} |\n|---|---|{'---|---|' * len(results)}")
    for label in sorted(sizes, key=lambda label: sizes[label]):
        cells = [
            f"{100 * one.precision:.1f} | {100 * one.recall:.1f}" for one in (of[label] for of in results.values())
        ]
        print(f"| {label}{' (small)' if label in small else ''} | {100 * sizes[label]:.1f} | {' | '.join(cells)} |")
    large = [label for label in sizes if label not in small]
    print(f"\n| mean over | classes | {heads} |\n|---|---|{'---|---|' * len(results)}")
    for name, labels in (("small", list(small)), ("large", large)):
        if labels:
            cells = [
                f"{100 * np.mean([of[label].precision for label in labels]):.1f} | "
                f"{100 * np.mean([of[label].recall for label in labels]):.1f}"
                for of in results.values()
            ]
            print(f"| {name} | {len(labels)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
