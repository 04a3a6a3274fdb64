"""What moving the tags that people name first forward (`TagOrder.reorder`) does to the page's proposals.

    python tests/benchmarks/reordering.py DATA [--tagger NAME] [--split validation] [--limit 700] [--json]

As tests/benchmarks/reranking.py: a project is made of the records' photos (random order, seed 0), and each photo's
list is saved after every place of it was looked at. The second half is measured with the proposals as the page makes
them, detections among the evidence, in their own order (weight 0) and re-ordered with several weights: the share of
all tags that stand among the first k at their place, and of the lists' first tags that stand first. Once without a
re-ranker, once with one learnt from the first half.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from harness import report
from reranking import between, opened_with

from annotator.cli.evaluate import records_of
from annotator.datasets.image_folder import decode_image
from annotator.datasets.record import Record
from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.detector import Detection
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.reranker import IDENTITY, Reranker
from annotator.models.tag_order import load_tag_order
from annotator.proposals.evidence import Words
from annotator.session.session import Session
from annotator.simulation.simulated_annotator import PREFIX, SimulatedAnnotator
from annotator.trainer.evaluation.effort import without_repeats
from annotator.trainer.feature_cache import features_of
from annotator.trainer.finetuning.reranker_fit import Place, fit_reranker

WEIGHTS = (0.0, 0.1, 0.3, 0.6)
DEPTHS = (1, 3, 5, 9)
MISSED = 10**6
Ranks = dict[tuple[str, float], list[tuple[int, bool]]]
"""(arm, weight) -> (rank from 0, whether it is the list's first tag) of each tag."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tagger", default="cold_start")
    parser.add_argument("--split", choices=("all", "validation"), default="all")
    parser.add_argument("--limit", type=int, default=700)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    records = records_of(parsed.data, parsed.split, parsed.tagger)
    random.Random(0).shuffle(records)
    extracted = features_of(records[: parsed.limit], load_backbone(num_threads=1))
    found = detections_of(extracted.records)
    with opened_with(extracted, parsed.tagger) as opened:
        ranks = look_at(opened, [without_repeats(record.tags) for record in extracted.records], found)
    rows = [row(arm, weight, seen) for (arm, weight), seen in ranks.items()]
    report(f"Next tags among the first proposals, {parsed.data.name}, {parsed.tagger}", rows, as_json=parsed.json)


def detections_of(records: Sequence[Record]) -> list[list[Detection]]:
    """Return what the detector finds in each photo."""
    detector = load_detector("nanodet", num_threads=1)
    return [
        detector.detect([decode_image(record.image.read_bytes(), min_side=detector.image_size).image])[0]
        for record in records
    ]


def look_at(opened: Session, lists: Sequence[list[str]], found: Sequence[list[Detection]]) -> Ranks:
    """Return where each tag of the second half's lists stood at its place, each seen before its photo was saved."""
    person = SimulatedAnnotator(opened, PREFIX)
    proposer, order = opened.workspace.proposer, load_tag_order()
    proposer._detections = lambda image_id: found[image_id - 1]
    half, seen = len(lists) // 2, []
    ranks: Ranks = defaultdict(list)
    arms: dict[str, Reranker] = {}
    with mock.patch("annotator.proposals.proposer.load_tag_order", AsItIs):
        for number, tags in enumerate(lists):
            if number == half:
                arms = {"no re-ranker": IDENTITY, "re-ranker": fit_reranker(between(seen, half), IDENTITY)}
            for length, tag in enumerate(tags):
                key = tag_key(tag)
                if number < half:
                    open_tags, features = proposer.reranker_features(number + 1, Words(), tags[:length])
                    keys = list(map(tag_key, open_tags))
                    seen.append((number, Place(features, keys.index(key)) if key in keys else None))
                for arm, reranker in arms.items():
                    vars(opened.workspace.catalog.taggers[0])["reranker"] = reranker
                    proposals = proposer.propose(number + 1, Words(), tags[:length]).proposals
                    entries = [(item.tag, item.rank_score, item.score) for item in proposals]
                    for weight in WEIGHTS:
                        places = order.reorder(entries, found[number], weight=weight) if found[number] else None
                        keys = [tag_key(entries[place][0]) for place in places or range(len(entries))]
                        ranks[arm, weight].append((keys.index(key) if key in keys else MISSED, not length))
            person.give(number + 1, tags)
    return ranks


class AsItIs:
    """A tag order that changes nothing."""

    def reorder(self, tags: Sequence[Any], detections: Sequence[Detection]) -> list[int]:
        return list(range(len(tags)))


def row(arm: str, weight: float, seen: Sequence[tuple[int, bool]]) -> dict[str, Any]:
    """Sum up one arm with one weight."""
    ranks, is_first = (np.array(values) for values in zip(*seen, strict=True))
    shares = {f"first {depth}": f"{np.mean(ranks < depth):.3f}" for depth in DEPTHS}
    return (
        {"arm": arm, "weight": weight, "tags": len(ranks)}
        | shares
        | {"first tag first": f"{np.mean(ranks[is_first] < 1):.3f}"}
    )


if __name__ == "__main__":
    main()
