"""How alike the tags of two photos are, by how alike the photos look: what the thresholds of a group rest on.

    python tests/benchmarks/look_alikes.py DATA [DATA ...] [--num 4000] [--seed 0] [--json]

DATA is a folder with `records.jsonl`. Of --num photos of each, drawn by the seed, every pair is put into a bucket by
the cosine of its features. Measured is the mean over the pairs of a bucket of: Jaccard index of the two tag sets, the
share of one photo's tags that the other has (what a shared list gets right), and the share of pairs with the same set;
and how many photos have at least one other that is so alike, or more so. The last row are all pairs: chance.
Data sets hold few shots of one scene, so a second table makes them: two parts of one photo, each of so many percent of
its sides, cut from opposite corners, one a tenth brighter; as if the camera had moved between them.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from harness import report
from PIL import Image, ImageEnhance

from annotator.active_learning.query_strategies import unit_rows
from annotator.datasets.record import read_records
from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import load_backbone
from annotator.trainer.feature_cache import features_of

EDGES = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.01)
CHUNK = 512
PARTS = (0.95, 0.9, 0.8, 0.7)
NUM_MADE = 200
"""Photos of which second shots are made."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--num", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    for data in parsed.data:
        rows = measure(data, parsed.num, parsed.seed)
        report(f"Tags of look-alikes, {data.name}, {parsed.num} photos", rows, as_json=parsed.json)
        report(f"Two shots of one scene, {data.name}", second_shots(data, parsed.seed), as_json=parsed.json)


def measure(data: Path, num: int, seed: int) -> list[dict[str, Any]]:
    """Return a row for each bucket."""
    records = [record for record in read_records(data) if record.tags]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(records))[:num])
    extracted = features_of([records[place] for place in chosen], load_backbone(num_threads=1))
    features = unit_rows(extracted.features)
    tags = incidence([[tag_key(tag) for tag in record.tags] for record in extracted.records])
    sizes = tags.sum(axis=1)
    num_buckets = len(EDGES) - 1
    sums = np.zeros((num_buckets + 1, 4))  # pairs, Jaccard, share, same; the last are all pairs
    nearest = np.full(len(features), -1.0)
    for start in range(0, len(features), CHUNK):
        stop = min(start + CHUNK, len(features))
        cosine = features[start:stop] @ features.T
        both = tags[start:stop] @ tags.T
        either = sizes[start:stop, None] + sizes[None] - both
        is_pair = np.arange(len(features))[None] != np.arange(start, stop)[:, None]
        nearest[start:stop] = np.where(is_pair, cosine, -1).max(axis=1)
        values = (np.ones_like(both), both / either, both / sizes[start:stop, None], (both == either) * 1.0)
        bucket = np.searchsorted(EDGES, cosine, side="right") - 1
        for row in range(num_buckets + 1):
            here = is_pair & (bucket == row) if row < num_buckets else is_pair
            sums[row] += [value[here].sum() for value in values]
    rows = []
    for row in [*range(num_buckets - 1, -1, -1), num_buckets]:
        num_pairs, *totals = sums[row]
        low, high = (EDGES[row], EDGES[row + 1]) if row < num_buckets else (-1.0, 1.01)
        means = [round(total / num_pairs, 3) if num_pairs else None for total in totals]
        rows.append(
            {
                "cosine": "all" if row == num_buckets else f"{low:.2f}-{min(high, 1):.2f}",
                "pairs": int(num_pairs // 2),
                "jaccard": means[0],
                "shared": means[1],
                "same_set": means[2],
                "photos_with_one": round(float((nearest >= low).mean()), 3),
            }
        )
    return rows


def second_shots(data: Path, seed: int) -> list[dict[str, Any]]:
    """Return a row for each size of the two parts."""
    backbone = load_backbone(num_threads=1)
    records = read_records(data)
    chosen = np.random.default_rng(seed).permutation(len(records))[:NUM_MADE]
    rows = []
    for part in PARTS:
        pictures = []
        for place in chosen:
            with Image.open(records[place].image) as opened:
                photo = opened.convert("RGB")
            width, height = photo.size
            wide, high = round(part * width), round(part * height)
            pictures.append(photo.crop((0, 0, wide, high)))
            other = photo.crop((width - wide, height - high, width, height))
            pictures.append(ImageEnhance.Brightness(other).enhance(1.1))
        extracted = [backbone.extract(backbone.preprocess(picture)[None]) for picture in pictures]
        features = unit_rows(np.concatenate(extracted))
        cosine = (features[0::2] * features[1::2]).sum(axis=1)
        shares = {f"from_{least:.2f}": round(float((cosine >= least).mean()), 3) for least in (0.8, 0.85, 0.9, 0.95)}
        low, middle = np.percentile(cosine, [10, 50])
        rows.append({"part": part, "p10": round(float(low), 3), "median": round(float(middle), 3), **shares})
    return rows


def incidence(given: list[list[str]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return (N, V), 1 where a photo carries a tag."""
    column: dict[str, int] = {}
    for tags in given:
        for tag in tags:
            column.setdefault(tag, len(column))
    rows = np.zeros((len(given), len(column)), np.float32)
    for row, tags in enumerate(given):
        rows[row, [column[tag] for tag in tags]] = 1
    return rows


if __name__ == "__main__":
    main()
