"""The baselines on photos whose tags stand in a person's order: set, ranking and order measures.

    python tests/benchmarks/ordered.py DATA [--seeds 0 1 2] [--rows NAME ...] [--threads N] [--json FILE] [--test-side]
        [--quick]

DATA holds records.jsonl. Prints a Markdown table: means over seeded validation splits and, in brackets, the largest
distance from it. "by frequency" is the share of pairs of right tags that stands in the person's order when the same
tags are sorted by how many training photos carry them. `--test-side` reports on a fifth of the photos that no seed's
split has, `--quick` runs on few photos (held_out.py).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import held_out
import numpy as np
import torch

from annotator.datasets.record import read_records
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import registry
from annotator.models.backbones.backbone import load_backbone
from annotator.trainer.evaluation.evaluate import evaluate
from annotator.trainer.feature_cache import features_of

SHOWN: dict[str, Callable[[dict[str, Any]], float]] = {
    "C-F1@5": lambda report: report["c_f1"],
    "mAP_lab": lambda report: report["map_lab"],
    "NDCG graded": lambda report: report["ndcg_graded"]["mean"],
    "recall@10": lambda report: report["recall_at"]["10"],
    "first tag": lambda report: report["first_tag_accuracy"],
    "order": lambda report: report["order_accuracy"],
    "by frequency": lambda report: report["order_accuracy_by_frequency"],
    "rest@5, prefix": lambda report: report["prefix_recall_at_5"],
    "rest@5, none": lambda report: report["no_prefix_recall_at_5"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=registry.baseline_names())
    parser.add_argument("--min-count", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every measure of every run here, a JSON object a line")
    held_out.add_options(parser)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    rest, test = held_out.chosen(read_records(parsed.data), parsed)
    records = [*rest, *test]
    if parsed.quick:
        parsed.seeds = parsed.seeds[:1]
    features = features_of(records, load_backbone(num_threads=parsed.threads)).features
    index = {record.image: number for number, record in enumerate(records)}
    print(f"| tagger | {' | '.join(SHOWN)} | s |\n|---|{'---|' * len(SHOWN)}---|")
    for row in parsed.rows:
        kind: Any = registry.find_baseline(row)
        reports = []
        began = time.monotonic()
        for seed in parsed.seeds:
            train, validation = held_out.sides(rest, test, seed)
            vocabulary = Vocabulary.from_records(train, parsed.min_count)
            sides = [features[[index[record.image] for record in side]] for side in (train, validation)]
            tagger = kind.fit(vocabulary, sides[0], [record.tags for record in train])
            report = evaluate(tagger, sides[1], [record.tags for record in validation])
            reports.append(report)
            if parsed.json:
                with parsed.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"row": row, "seed": seed, **report}) + "\n")
        cells = []
        for value_of in SHOWN.values():
            values = [100 * value_of(report) for report in reports]
            mean = float(np.mean(values))
            cells.append(f"{mean:.1f} ({max(abs(value - mean) for value in values):.1f})")
        print(f"| {row} | {' | '.join(cells)} | {time.monotonic() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
