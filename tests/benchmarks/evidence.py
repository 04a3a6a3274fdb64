"""How long one proposal takes when every source speaks, in a large project. Run by hand, never by CI.

    python tests/benchmarks/evidence.py DATA [--num 100000] [--queries 300] [--context ltwin:id:w2v:6:12 ...] [--json]

DATA holds records.jsonl. The project is made up from it: the features of its photos, then mixtures of pairs of them;
every photo but those asked about carries some record's tags and caption words; all have ten stored detections.
The taggers are the starter, the cold start and the open vocabulary, as in the page. Each photo is asked for four times,
with 0 to 3 of its true tags settled, and once with one of them, a re-ranker and the habits of all lists. The row after
it is a decode from the prefix without any other evidence. Then two rows for each tagger with a context that is named
in place of the starter's, NAME:NEIGHBOURHOOD:INPUT:m:M on captions: as a photo is opened, and as one tag of it is
settled. Their weights are random, since only the time is asked for; what they propose means nothing.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import percentiles, report
from search import fill
from threadpoolctl import threadpool_limits

from annotator.datasets.metadata_words import caption_words
from annotator.datasets.record import read_records
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import registry
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.detector import Detection
from annotator.models.reranker import FEATURES, Reranker
from annotator.models.taggers.metadata_neighbours_numpy import NeighbourNetwork
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.proposer import Proposer
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger
from annotator.storage.database import Store
from annotator.storage.detections import DetectionStore
from annotator.storage.features import FeatureStore
from annotator.trainer.feature_cache import features_of

LABELS = ("person", "dog", "chair", "car", "bottle", "cup", "bicycle", "horse", "tv", "couch")
"""Of the boxes that are made up: where they are does not change how long it takes."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--num", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--context", nargs="*", default=[], metavar="NAME:NEIGHBOURHOOD:INPUT:m:M")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder), parsed)
    report(f"Proposals with all evidence among {parsed.num:,} photos", rows, as_json=parsed.json)


def run(folder: Path, parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """Make the project up, ask, and return a row for each length of the prefix."""
    rng = np.random.default_rng(parsed.seed)
    backbone = load_backbone(num_threads=1)
    extracted = features_of(read_records(parsed.data), backbone)
    records = extracted.records
    label = f"{backbone.name}-{backbone.version}"
    features = FeatureStore(folder, label, backbone.feature_size)
    table = np.zeros((parsed.num, backbone.feature_size), np.float32)
    fill(_Rows(table), extracted.features, rng)
    features.commit(enumerate(features.append(table)))
    del table
    queries = rng.choice(len(records), parsed.queries, replace=False).tolist()
    of = [records[place % len(records)] for place in range(parsed.num)]
    asked = set(queries)
    words = {place: Words((), ("holiday",), caption_words(record.caption or "")) for place, record in enumerate(of)}
    catalog = TaggerCatalog(backbone, folder, default_tagger(backbone))
    ranking = Ranking(features, catalog.cold_start, tag=label)
    ranking.load(words, {place: tuple(record.tags) for place, record in enumerate(of) if place not in asked})
    store = Store(folder / "project.duckdb")
    book = DetectionStore(store)
    found = boxes(rng)
    with store.transaction() as cursor:
        cursor.execute(
            "INSERT INTO detections SELECT range, 'made up', ?::VARCHAR[], ?::DOUBLE[], ?::DOUBLE[4][] FROM range(?)",
            [[item.label for item in found], [item.score for item in found], [item.box for item in found], parsed.num],
        )
    context = ranking.context()
    proposer = ranking.proposer(
        lambda: catalog.taggers, context, detections=book.of, open_vocabulary=catalog.open_vocabulary
    )
    started = time.perf_counter()
    proposer.prepare()
    print(f"{parsed.num:,} lists loaded and counted in {time.perf_counter() - started:.1f} s.", file=sys.stderr)
    threadpool_limits(1, user_api="blas")  # as when a project is served
    for place in queries[:20]:
        proposer.propose(place, words[place])
    rows = [
        {"settled": settled, **timed(lambda place, settled=settled: proposer.propose(
            place, words[place], of[place].tags[:settled]), queries)}
        for settled in range(4)
    ]  # fmt: skip
    learnt = copy(catalog.taggers[0])
    learnt.reranker = Reranker(dict.fromkeys(FEATURES, 0.5))
    rows.append({"settled": "1, re-ranked", **timed(lambda place: proposer.propose(
        place, words[place], of[place].tags[:1], taggers=(learnt, *catalog.taggers[1:])), queries)})  # fmt: skip
    tagger = catalog.taggers[0]
    rows.append({"settled": "1, decoder alone", **timed(
        lambda place: tagger.decode(features.vectors([place]), [of[place].tags[:1]]), queries)})  # fmt: skip
    for named in parsed.context:
        untaught = random_tagger(named, catalog.taggers[0].allowed_words(), backbone.feature_size)
        asking = ranking.proposer(
            lambda untaught=untaught: (untaught, catalog.cold_start),
            context,
            detections=book.of,
            open_vocabulary=catalog.open_vocabulary,
        )
        while not made(asking, queries[0], words):
            time.sleep(0.1)
        for place in queries[:20]:
            asking.propose(place, words[place])
        for settled in (0, 1):
            # The photo is opened, which is timed; then, opened before by nobody's clock, its list is edited.
            first = (lambda place, asking=asking: asking.propose(place, words[place])) if settled else None
            rows.append({"settled": f"{settled}, {named}, random weights", **timed(
                lambda place, asking=asking, settled=settled: asking.propose(
                    place, words[place], of[place].tags[:settled]), queries[20:], first)})  # fmt: skip
    store.close()
    return rows


def random_tagger(named: str, tags: Sequence[str], feature_size: int) -> NeighbourNetwork:
    """Return an untaught tagger of NAME:NEIGHBOURHOOD:INPUT:m:M as the page runs it."""
    name, neighbourhood, encoding, num, num_candidates = named.split(":")
    vectors = load_word_vectors()
    sizes = {"input_version": vectors.version, "input_size": vectors.size}
    torch.set_num_threads(1)
    made: NeighbourNetwork = registry.create(
        name, Vocabulary(tags), feature_size, metadata="caption", neighbourhood=neighbourhood, input=encoding,
        m=int(num), M=int(num_candidates), **sizes,
    ).for_inference()  # fmt: skip
    return made


def made(asking: Proposer, place: int, words: dict[int, Words]) -> bool:
    """Tell whether the index of neighbours is there, which the first proposal begins to make."""
    started = time.perf_counter()
    note = asking.propose(place, words[place]).note
    print(f"Proposed in {time.perf_counter() - started:.3f} s. {note}", file=sys.stderr)
    return "being read" not in note


class _Rows:
    """What `fill` fills."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.shape = rows, rows.shape


def boxes(rng: np.random.Generator) -> list[Detection]:
    """Return ten detections anywhere."""
    corners = rng.random((len(LABELS), 4))
    return [
        Detection(label, float(score), (min(a, c), min(b, d), max(a, c), max(b, d)))
        for label, score, (a, b, c, d) in zip(LABELS, rng.uniform(0.3, 1, len(LABELS)), corners.tolist(), strict=True)
    ]


def timed(
    ask: Callable[[int], object], places: Sequence[int], before: Callable[[int], object] | None = None
) -> dict[str, Any]:
    """Time each call by itself; its own CPU time tells how busy the machine was with other things.

    Args:
        ask: What is timed.
        places: Of whom.
        before: Called before each, off the clock.
    """
    seconds, busy = [], []
    for place in places:
        if before is not None:
            before(place)
        start, busy_start = time.perf_counter(), time.thread_time()
        ask(place)
        seconds.append(time.perf_counter() - start)
        busy.append(time.thread_time() - busy_start)
    return {"num": len(seconds), **percentiles(seconds), "cpu_p95_ms": round(1000 * float(np.percentile(busy, 95)), 2)}


if __name__ == "__main__":
    main()
