"""Which tag a person names first: by chance, by frequency, by precedence, by boxes, by a tagger, and by all together.

    python tests/benchmarks/tag_order.py DATA --boxes FILE [--seeds 0 1 2] [--num N] [--detector nanodet]
        [--tagger CHECKPOINT --tagger-seed N] [--out models/tag_order.json]

DATA holds records.jsonl with tags in a person's order and the `objects` that are in each photo. FILE keeps what the
detector found, a photo a line; photos that it lacks are looked at first. --num takes a sample of the photos, by a hash
of their names. Everything is fitted on the training side of each seed's split and measured on the other: the share of
pairs of right tags in the person's order. "both boxed" are the pairs of which each tag has a box.

With a tagger that was trained on the split of --tagger-seed, its lists are measured too, as they are (w = 0) and
re-ordered by `TagOrder.reorder` with several weights, or by rank_score * exp(w * strength) ("everywhere"). Half of the
validation photos (by hash) is shown apart from the other, to choose w on the one and report the other. --out writes the
constants fitted on the first seed's training photos.
"""

import argparse
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from annotator.datasets.image_folder import decode_image
from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import split
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector import LEAST_SCORE, Detection
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.tag_order import TagOrder, area, boxes_for, centrality
from annotator.trainer.evaluation import metrics
from annotator.trainer.feature_cache import features_of
from annotator.trainer.tag_order_fit import fit_tag_order

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
NUM_BEST = 10

Strength = Callable[[str, Sequence[Detection]], float]
Reorder = Callable[[Any, TagOrder, Sequence[Detection], float], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--detector", default="nanodet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--num", type=int)
    parser.add_argument("--tagger")
    parser.add_argument("--tagger-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    records = read_records(parsed.data)
    sample = {record.image.name for record in sorted(records, key=lambda record: hash_of(record))[: parsed.num]}
    boxes = found_boxes([record for record in records if record.image.name in sample], parsed)
    for number, seed in enumerate(parsed.seeds):
        train, validation = ([r for r in side if r.image.name in sample] for side in split(records, seed))
        lists, found = [r.tags for r in train], [boxes[r.image.name] for r in train]
        objects = [r.extra["objects"] for r in train]
        with_boxes = fit_tag_order(lists, found, objects)
        without = fit_tag_order(lists, found, objects, boxes=False)
        if number == 0:
            print(f"{len(train)} photos to learn from, {len(validation)} to report on, for seed {seed}\n")
            print("| seed | ordered by | pairs | share | both boxed | share |\n|---|---|---|---|---|---|")
        compare(seed, validation, boxes, Counter(tag for tags in lists for tag in tags), without, with_boxes)
        if number == 0:
            judge_scores(with_boxes, validation, boxes)
            if parsed.out:
                command = f"python tests/benchmarks/tag_order.py DATA --boxes FILE --num {parsed.num} --seeds {seed}"
                values = {"fitted_by": f"{command} --out models/tag_order.json", **asdict(with_boxes)}
                parsed.out.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        if parsed.tagger and seed == parsed.tagger_seed:
            compare_lists(parsed, records, validation, boxes, without, with_boxes)


def hash_of(record: Record) -> str:
    return hashlib.sha1(record.image.name.encode()).hexdigest()


def found_boxes(records: Sequence[Record], parsed: argparse.Namespace) -> dict[str, list[Detection]]:
    """Read what the detector found, looking at photos that the file lacks."""
    boxes: dict[str, list[Detection]] = {}
    if parsed.boxes.exists():
        for line in parsed.boxes.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            boxes[entry["image"]] = [
                Detection(label, score, (left, top, right, bottom))
                for label, score, left, top, right, bottom in entry["boxes"]
                if score >= LEAST_SCORE
            ]
    missing = [record for record in records if record.image.name not in boxes]
    if missing:
        detector = load_detector(parsed.detector, num_threads=parsed.threads)
        with parsed.boxes.open("a", encoding="utf-8") as file:
            for record in missing:
                image = decode_image(record.image.read_bytes(), min_side=detector.image_size).image
                (found,) = detector.detect([image])
                rows = [[item.label, item.score, *item.box] for item in found]
                file.write(json.dumps({"image": record.image.name, "boxes": rows}) + "\n")
                boxes[record.image.name] = found
    return boxes


def compare(
    seed: int,
    validation: Sequence[Record],
    boxes: dict[str, list[Detection]],
    counts: Counter[str],
    without: TagOrder,
    with_boxes: TagOrder,
) -> None:
    """Print each order's share of the pairs of right tags."""
    orders: dict[str, Strength] = {
        "frequency": lambda tag, found: counts[tag],
        "larger box first": lambda tag, found: area(boxes_for(tag, found)[0].box) if boxes_for(tag, found) else 0.0,
        "more central box first": most_central,
        "precedence": lambda tag, found: without.strength(tag),
        "precedence and boxes": with_boxes.strength,
    }
    for name, strength in orders.items():
        every: list[float] = []
        boxed: list[float] = []
        for record in validation:
            found = boxes[record.image.name]
            values = [strength(tag, found) for tag in record.tags]
            has_box = [bool(boxes_for(tag, found)) for tag in record.tags]
            for first in range(len(values)):
                for second in range(first + 1, len(values)):
                    difference = values[first] - values[second]
                    every.append(0.5 if difference == 0 else float(difference > 0))  # a tie is a coin
                    if has_box[first] and has_box[second]:
                        boxed.append(every[-1])
        shares = f"{len(every)} | {np.mean(every):.3f} | {len(boxed)} | {np.mean(boxed):.3f}"
        print(f"| {seed} | {name} | {shares} |", flush=True)


def most_central(tag: str, found: Sequence[Detection]) -> float:
    """Return the centrality of a tag's largest box, as `TagOrder` takes it; below any box's without one."""
    of_tag = boxes_for(tag, found)
    return centrality(of_tag[0].box) if of_tag else -1.0


def judge_scores(order: TagOrder, validation: Sequence[Record], boxes: dict[str, list[Detection]]) -> None:
    """Print how often a thing that the detector found is there and is named, beside what the model says."""
    known = {label for record in validation for label in record.extra["objects"]}
    rows = []
    for record in validation:
        for label in COCO_CLASSES:
            items = [item for item in boxes[record.image.name] if item.label == label]
            if items and label in known:
                best = max(items, key=lambda item: item.score)
                rows.append((best.score, order.present(best), label in record.extra["objects"]))
    print("\n| detector's score | detections | there | model says |\n|---|---|---|---|")
    for low, high in ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 1.01)):
        part = np.array([row for row in rows if low <= row[0] < high])
        print(f"| {low:.1f}-{min(high, 1):.1f} | {len(part)} | {part[:, 2].mean():.3f} | {part[:, 1].mean():.3f} |")
    print()


def compare_lists(
    parsed: argparse.Namespace,
    records: Sequence[Record],
    validation: Sequence[Record],
    boxes: dict[str, list[Detection]],
    without: TagOrder,
    with_boxes: TagOrder,
) -> None:
    """Print the measures of a tagger's lists, as they are and re-ordered."""
    from annotator.models import checkpoint

    backbone = load_backbone(num_threads=parsed.threads)
    features = features_of(records, backbone).features
    index = {record.image: number for number, record in enumerate(records)}
    tagger = checkpoint.load(parsed.tagger, backbone=backbone)
    rows = features[[index[record.image] for record in validation]]
    lists: list[Any] = tagger.decode(rows, [[]] * len(rows), k=20)
    print("| half | order | w | pairs | NDCG graded | recall@10 | first tag |\n|---|---|---|---|---|---|---|")
    for half in (0, 1):
        chosen = [i for i, record in enumerate(validation) if int(hash_of(record)[-1], 16) % 2 == half]
        given = [list(validation[i].tags) for i in chosen]
        ways: dict[str, tuple[Reorder, TagOrder]] = {
            "precedence everywhere": (everywhere, without),
            "precedence": (within_the_best, without),
            "precedence and boxes": (within_the_best, with_boxes),
        }
        for name, (reorder, order) in ways.items():
            for weight in WEIGHTS:
                ranked = [reorder(lists[i], order, boxes[validation[i].image.name], weight)[:NUM_BEST] for i in chosen]
                cells = [
                    metrics.order_accuracy(ranked, given) or math.nan,
                    float(np.mean([metrics.ndcg_at(ranked, given, k, "graded") for k in range(1, NUM_BEST + 1)])),
                    metrics.recall_at(ranked, given, NUM_BEST),
                    metrics.first_tag_accuracy(ranked, given),
                ]
                values = " | ".join(f"{value:.3f}" for value in cells)
                print(f"| {half} | {name} | {weight} | {values} |", flush=True)


def rank_scores(proposals: Any) -> list[float]:
    """Return the rank scores of a tagger's list, as annotator/evidence.py takes them."""
    value, values = math.inf, []
    for item in proposals:
        value = min(value, item.evidence.get("utility", item.score))
        values.append(value)
    return values


def everywhere(proposals: Any, order: TagOrder, found: Sequence[Detection], weight: float) -> list[str]:
    """Return the tags by log of the tagger's own rank score plus a weighed strength."""
    values = {
        item.tag: math.log(max(score, 1e-9)) + weight * order.strength(item.tag, found)
        for item, score in zip(proposals, rank_scores(proposals), strict=True)
    }
    return sorted(values, key=lambda tag: -values[tag])


def within_the_best(proposals: Any, order: TagOrder, found: Sequence[Detection], weight: float) -> list[str]:
    """Return the tags as `TagOrder.reorder` puts them."""
    entries = [(item.tag, score, item.score) for item, score in zip(proposals, rank_scores(proposals), strict=True)]
    return [entries[place][0] for place in order.reorder(entries, found, weight=weight)]


if __name__ == "__main__":
    main()
