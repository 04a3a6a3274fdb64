"""What a recurrent tagger's word is worth on photos unlike its own: settings of FULL_TRUST_SCORE side by side.

    python tests/benchmarks/unfamiliar.py CHECKPOINT DATA [DATA ...] [--num 400] [--seed 0] [--at-home 0 0.3] [--json]

CHECKPOINT is a folder that `annotator train` wrote; of the data set it was trained on, only its validation photos are
asked about. Nothing is tagged yet: the tagger, the cold start and the open vocabulary speak. 0 hears the tagger in full
on every photo. Measured is, on --num photos of each data set drawn by the seed: first proposal is one of the photo's
tags, binary NDCG@10, recall@9. The setting was chosen on the first half of seed 0's photos; report the second.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from harness import report

from annotator.datasets.record import read_records
from annotator.datasets.splits import load_split
from annotator.datasets.tags import tag_key
from annotator.errors import DataError
from annotator.models.backbones.backbone import load_backbone
from annotator.proposals import fusion as merging
from annotator.proposals.sources import open_vocabulary as open_source
from annotator.proposals.sources import taggers as tagger_source
from annotator.proposals.tagger_catalog import TaggerCatalog
from annotator.trainer.evaluation.metrics import ndcg_at, precision_at, recall_at
from annotator.trainer.feature_cache import features_of
from annotator.trainer.training import SPLIT_FILE


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--num", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", choices=["first", "second", "both"], default="both")
    parser.add_argument("--at-home", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    rows = [row for data in parsed.data for row in measure(data, parsed)]
    report(f"Heard in full or not, {parsed.half} half of {parsed.num} photos", rows, as_json=parsed.json)


def measure(data: Path, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each setting."""
    records = read_records(data)
    try:
        _, records = load_split(records, parsed.checkpoint / SPLIT_FILE)
    except DataError:
        print(f"{data.name}: not what the checkpoint was trained on; all photos may be asked about")
    backbone = load_backbone(num_threads=1)
    extracted = features_of(records, backbone)
    catalog = TaggerCatalog(backbone, Path(), str(parsed.checkpoint))
    chosen = np.random.default_rng(parsed.seed).permutation(len(extracted.records))[: parsed.num]
    half = len(chosen) // 2
    chosen = {"first": chosen[:half], "second": chosen[half:], "both": chosen}[parsed.half]
    given = [[tag_key(tag) for tag in extracted.records[place].tags] for place in chosen]
    rows = []
    for at_home in parsed.at_home:
        tagger_source.FULL_TRUST_SCORE = at_home or 1e-9
        ranked = []
        for place in chosen:
            features = extracted.features[place : place + 1]
            evidence = tagger_source.tagger_evidence(catalog.taggers, features, (), ())
            evidence += open_source.open_evidence(catalog.open_vocabulary, catalog.taggers, features)
            ranked.append([tag_key(proposal.tag) for proposal in merging.merge(evidence)])
        rows.append({
            "data": data.name, "at_home": at_home, "num": len(chosen),
            "first_right": round(precision_at(ranked, given, 1), 3),
            "ndcg_10": round(ndcg_at(ranked, given, 10, "binary"), 3),
            "recall_9": round(recall_at(ranked, given, 9), 3),
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
