"""How good the proposals are before anything is trained, as a project fills with tagged photos.

    python tests/benchmarks/proposals.py RECORDS PROJECT [--queries 300] [--seed 0] [--json]

RECORDS is a folder with ``records.jsonl`` (photos with a person's ranked tags), PROJECT an ingested project of its
photos. For each number of tagged photos, that many random records count as saved, and the list is proposed for other,
held-back photos: from the picture alone, with neighbours, and again once the first true tag is settled. The settings
of proposals/proposer.py were chosen with seed 1; report another one.
"""

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import report

from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import load_backbone
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.proposer import Proposer
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.project import Project


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("project", type=Path)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tagged", type=int, nargs="+", default=[0, 100, 1000, 5000])
    parser.add_argument("--tagger", default="", help="as for `annotator suggest` (default: the starter)")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    backbone = load_backbone(num_threads=1)
    label = f"{backbone.name}-{backbone.version}"
    project = Project.open(parsed.project)
    store = Store(project.database_path)
    features = FeatureStore(project.features_path, label, backbone.feature_size, store.images.feature_rows(label))
    id_of = {Path(path).name: image_id for image_id, (_, path) in store.images.file_names().items()}
    store.close()
    records = [json.loads(line) for line in (parsed.records / "records.jsonl").read_text().splitlines()]
    truth = {
        id_of[Path(r["image"]).name]: tuple(r["tags"]) for r in records if Path(r["image"]).name in id_of and r["tags"]
    }
    ids = sorted(truth)
    random.Random(parsed.seed).shuffle(ids)
    queries, pool = ids[: parsed.queries], ids[parsed.queries :]
    catalog = TaggerCatalog(backbone, project.checkpoints_path, parsed.tagger or default_tagger(backbone))
    taggers = catalog.taggers
    rows = []
    for num in parsed.tagged:
        tagged = {image_id: truth[image_id] for image_id in pool[:num]}
        ranking = Ranking(features, catalog.cold_start, tag=label)
        ranking.load({}, tagged)
        proposer = ranking.proposer(lambda: taggers, ranking.context(max_at_once=None))
        proposer.prepare()
        rows.append({"tagged": len(tagged), **measure(proposer, queries, truth)})
    report(f"Proposals for {len(queries)} held-back photos, seed {parsed.seed}", rows, as_json=parsed.json)


def measure(proposer: Proposer, queries: Sequence[int], truth: dict[int, tuple[str, ...]]) -> dict[str, Any]:
    """Return first tag right, recall at 9, and recall at 5 of the rest without and with the first tag settled."""
    first, recall, rest_alone, rest_given = [], [], [], []
    for image_id in queries:
        wanted = [tag_key(tag) for tag in truth[image_id]]
        proposed = [tag_key(p.tag) for p in proposer.propose(image_id, Words()).proposals]
        first.append(float(proposed[:1] == wanted[:1]))
        recall.append(len(set(wanted) & set(proposed[:9])) / len(wanted))
        if len(wanted) > 1:
            again = proposer.propose(image_id, Words(), truth[image_id][:1]).proposals
            rest = set(wanted[1:])
            alone = [tag for tag in proposed if tag != wanted[0]][:5]
            rest_alone.append(len(rest & set(alone)) / len(rest))
            rest_given.append(len(rest & {tag_key(p.tag) for p in again[:5]}) / len(rest))
    measures = {
        "first_tag_right": first,
        "recall_at_9": recall,
        "rest_recall_at_5": rest_alone,
        "rest_recall_at_5_prefix": rest_given,
    }
    return {name: round(statistics.fmean(values), 3) for name, values in measures.items()}


if __name__ == "__main__":
    main()
