"""What a re-ranker learns from a few corrections: how often the next tag of a person's list is among the first.

    python tests/benchmarks/reranking.py DATA [--tagger NAME] [--only FIELD] [--split validation] [--limit 460] [--json]

A project is made of the records' photos, in a random order (seed 0). Each photo is looked at as the page would see it
with the lists of all photos before it saved, at every place of its own list; then its list is saved. The second half of
the photos is measured: the share of all tags that stand among the first k proposals at their place. The first half
teaches, beginning with its sixth photo, when there are habits. Rows: the page without a re-ranker; re-rankers learnt
from the first N photos; the same from the whole half with another pull, and with only some of the features.
Tags that no source proposes count as misses everywhere.
"""

import argparse
import random
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from harness import report

from annotator.cli.evaluate import records_of
from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import load_backbone
from annotator.models.reranker import FEATURES, IDENTITY, SOURCES, Reranker
from annotator.proposals.evidence import Words
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import LoopSettings
from annotator.simulation.simulated_annotator import PREFIX, SimulatedAnnotator, add_photos
from annotator.storage.project import Project
from annotator.trainer.evaluation.effort import without_repeats
from annotator.trainer.feature_cache import ExtractedFeatures, features_of
from annotator.trainer.finetuning.reranker_fit import PRIOR_WEIGHT, Place, fit_reranker

FIRST_TAUGHT = 5
DEPTHS = (1, 5, 9, 20)
Seen = tuple[int, Place | None]
"""(number of the photo, the place; None where no source proposes the tag)."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tagger", default="")
    parser.add_argument("--only")
    parser.add_argument("--split", choices=("all", "validation"), default="all")
    parser.add_argument("--limit", type=int, default=460)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    records = records_of(parsed.data, parsed.split, parsed.tagger)
    if parsed.only:
        records = [record for record in records if record.extra.get(parsed.only)]
    random.Random(0).shuffle(records)
    extracted = features_of(records[: parsed.limit], load_backbone(num_threads=1))
    lists = [without_repeats(record.tags) for record in extracted.records]
    with opened_with(extracted, parsed.tagger) as opened:
        seen = look_at(opened, lists)
    half = len(lists) // 2
    judged = [place for number, place in seen if number >= half]
    rows: list[dict[str, Any]] = [row("no re-ranker", IDENTITY, judged)]
    for num in (30, 60, 120, 250, 500, 1000):
        if num < half:
            rows.append(row(f"{num} photos", fit_reranker(between(seen, num), IDENTITY), judged))
    taught = between(seen, half)
    learnt = fit_reranker(taught, IDENTITY)
    rows.append(row(f"{half} photos", learnt, judged))
    for weight in (1.0, 10.0):
        learnt_so = fit_reranker(taught, IDENTITY, prior_weight=weight)
        rows.append(row(f"{half} photos, pull {weight:g} for {PRIOR_WEIGHT:g}", learnt_so, judged))
    habits = [name for name in FEATURES if name not in ("probability", *SOURCES)]
    ablations = {f"all but {one}": [name for name in FEATURES if name != one] for one in habits}
    for name, kept in {"the sources alone": SOURCES, "the habits alone": habits, **ablations}.items():
        rows.append(row(f"{half} photos, {name}", fit_reranker(only(taught, kept), IDENTITY), only(judged, kept)))
    report(f"Next tags among the first proposals, {parsed.data.name}", rows, as_json=parsed.json)
    print({name: round(weight, 2) for name, weight in learnt.to_json().items()})


@contextmanager
def opened_with(photos: ExtractedFeatures, tagger: str) -> Iterator[Session]:
    """Open a project of its own with photos that nobody has tagged, and a tagger that does not learn by itself."""
    with tempfile.TemporaryDirectory() as name:
        project = Project.open_or_create(Path(name) / "project", "benchmark")
        project.update_settings(tagger=tagger, loop=LoopSettings(train_after=0))
        opened = Session.over(Workspace(project))
        opened.workspace.similar_tags.load()
        with closing(opened):
            add_photos(opened, photos.records, photos.features)
            yield opened


def look_at(opened: Session, lists: Sequence[list[str]]) -> list[Seen]:
    """Return every place of every list, each seen before its photo was saved."""
    person = SimulatedAnnotator(opened, PREFIX)
    proposer = opened.workspace.proposer
    seen: list[Seen] = []
    for number, tags in enumerate(lists):
        for length, tag in enumerate(tags):
            found, features = proposer.reranker_features(number + 1, Words(), tags[:length])
            keys = [tag_key(other) for other in found]
            chosen = keys.index(tag_key(tag)) if tag_key(tag) in keys else None
            seen.append((number, None if chosen is None else Place(features, chosen)))
        person.give(number + 1, tags)
    return seen


def between(seen: Sequence[Seen], num: int) -> list[Place]:
    """Return what the first photos teach."""
    return [place for number, place in seen if FIRST_TAUGHT <= number < num and place is not None]


def only(places: Sequence[Place | None], kept: Collection[str]) -> list[Any]:
    """Return places with all features but the joint score and these set to 0."""
    mask = np.array([name == "probability" or name in kept for name in FEATURES])
    return [place and Place(place.features * mask, place.chosen) for place in places]


def row(name: str, reranker: Reranker, judged: Sequence[Place | None]) -> dict[str, Any]:
    """Measure one re-ranker."""
    ranks = np.full(len(judged), 10**6)
    for number, place in enumerate(judged):
        if place is not None:
            chances = reranker.probabilities(place.features)
            ranks[number] = int((chances > chances[place.chosen]).sum())
    return {"re-ranker": name, "tags": len(judged)} | {
        f"first {depth}": f"{np.mean(ranks < depth):.3f}" for depth in DEPTHS
    }


if __name__ == "__main__":
    main()
