"""The metadata-neighbour family measured: nine models x encodings, also with other metadata words than in training.

    python tests/benchmarks/metadata.py DATA --metadata caption --target objects --state RUNS.jsonl [--seeds 0 1 2]
        [--rows ROW ...] [--sizes m,M ...] [--quick]

DATA holds records.jsonl. Each run holds a fifth of the photos back to report on (split by the seed); of the others a
tenth stops the training and the rest are learnt from and are the pool of neighbours. Runs are kept in RUNS.jsonl, a
JSON object a line, and not repeated; the table of what is there is printed at the end (with --table at once).

A row is "MODEL N F": N encodes the neighbourhood, F the words that are fed. Rows without neighbours: "logistic image",
"logistic words" and "logistic both", logistic regression on the features, on the indicators of the most frequent words
(`--max-words`), or on both; "svm words", one linear SVM a tag on these indicators, the paper's "tag-only model"; "upper
bound", the measures of a perfect score, which has to name K tags of each photo too. They learn from all photos that are
not reported on, as nothing stops them. Columns: the paper's, in percent; means over seeds and, in brackets, the largest
distance from it. C-P, C-R, O-P and O-R count tags that are never predicted with a precision of 0 and all pairs at once;
"paper_" leaves such tags out and averages over photos, as the paper does. "renamed": half of all metadata words, in the
pool and in the photos reported on, are replaced by the word nearest in meaning that the training metadata lack;
"unseen": by words that nobody knows.
Nothing is trained again for them.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import held_out
import numpy as np
import torch

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import load_split, split
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.context import Context, WordSets
from annotator.models.taggers.baselines import LinearTagger, LogisticTagger, SvmTagger
from annotator.models.taggers.metadata_neighbours_numpy import NeighbourNetwork
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.trainer.evaluation import metrics
from annotator.trainer.families import TrainingRequest
from annotator.trainer.feature_cache import features_of
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.neighbourhoods import Photos, find_context, most_frequent, photos_of, with_target
from annotator.trainer.training import SPLIT_FILE, train

ROWS = [
    "visual_only", "ltn id", "ltn w2v", "rtn id", "rtn w2v", "ltn_vecs id id", "ltn_all_vecs id id",
    "ltwin id id", "ltwin id w2v", "ltwin w2v id", "ltwin w2v w2v", "ltwin_rnn id id", "ltwin_2rnn id id",
    "ltwin_2rnn id w2v", "ltwin_2rnn w2v w2v", "lzip id id", "lzip id w2v", "lzip w2v id", "lzip w2v w2v",
    "lzip id id printed", "lzip id w2v printed",
]  # fmt: skip
LINEAR_ROWS: dict[str, tuple[type[LinearTagger], str]] = {
    "logistic image": (LogisticTagger, "image"),
    "logistic words": (LogisticTagger, "words"),
    "logistic both": (LogisticTagger, "both"),
    "svm words": (SvmTagger, "words"),
}
"""Row -> its class and what it sees."""
UPPER_BOUND = "upper bound"
PLAIN_ROWS = [UPPER_BOUND, *LINEAR_ROWS]
PRINTED = " printed"
"""Ends the rows of LZip that read eq. 19's 2 m + 2 positions."""
WORDNET_ROWS = ["ltn wnet", "rtn wnet", "ltwin id wnet", "ltwin wnet id", "ltwin wnet wnet", "ltwin_2rnn id wnet"]
EPOCHS_LINEAR = 30
"""Passes of the rows without neighbours."""
K = 3
"""Tags of a photo that count as predicted, as in the paper."""
NUM_COMMON = 20_000
"""Words of everyday use among which a renamed word is looked for."""
SHOWN = ("map_lab", "map_img", "c_p", "c_r", "o_p", "o_r", "paper_c_p", "paper_o_p", "paper_o_r", "renamed_map_lab",
         "renamed_map_img", "unseen_map_lab", "unseen_map_img", "epochs", "cpu_seconds")  # fmt: skip


@dataclass(frozen=True)
class Data:
    """A data set with its features."""

    records: list[Record]
    features: Any
    backbone: Any

    def features_of(self, records: Sequence[Record]) -> Any:
        rows = {record.image: row for row, record in enumerate(self.records)}
        return self.features[[rows[record.image] for record in records]]


@dataclass
class Told:
    """What is the same for every model of one seed: other names of words, and neighbourhoods."""

    names: dict[str, dict[str, str]]
    contexts: dict[tuple[str, str, int], Context]

    def context(self, tagger: NeighbourNetwork, asking: Photos, pool: Photos, change: str) -> Context:
        """Return the photos' context under a change of words, found once."""
        key = (change, str(tagger.settings()["neighbourhood"]), tagger.num_candidates)
        if key not in self.contexts:
            if change:
                if change not in self.names:
                    self.names[change] = new_names(pool.words, asking.words, change)
                asking, pool = renamed(asking, self.names[change]), renamed(pool, self.names[change])
            self.contexts[key] = find_context(asking, pool, tagger.num_candidates, tagger.neighbourhood)
        return self.contexts[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--metadata", required=True)
    parser.add_argument("--target", default="tags")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=[*PLAIN_ROWS, *ROWS])
    parser.add_argument("--sizes", nargs="+", default=["3,6"], metavar="m,M")
    parser.add_argument("--num", type=int, help="learn from and stop by at most so many photos")
    parser.add_argument("--num-report", type=int, help="report on at most so many photos")
    parser.add_argument("--min-count", type=int, default=1)
    parser.add_argument("--max-words", type=int, default=1000, help="tau (paper: 5000)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="paper: 1e-4")
    parser.add_argument("--l2", type=float, default=3e-4)
    parser.add_argument("--linear-l2", type=float, metavar="X", help="of the rows without neighbours (default: theirs)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    parser.add_argument("--quick", action="store_true",
                        help=f"{held_out.NUM_QUICK} photos, one seed, 1 epoch; its figures say nothing")  # fmt: skip
    parsed = parser.parse_args()
    if parsed.quick:
        parsed.seeds, parsed.epochs, parsed.num = parsed.seeds[:1], held_out.QUICK_EPOCHS, held_out.NUM_QUICK
    torch.set_num_threads(parsed.threads)
    if not parsed.table:
        measure_all(parsed)
    print_table(read_state(parsed.state), parsed)


def measure_all(parsed: argparse.Namespace) -> None:
    records = with_target(read_records(parsed.data, keep_untagged=parsed.target != "tags"), parsed.target)
    if parsed.quick:
        records = held_out.few(records)
    backbone = load_backbone(num_threads=parsed.threads)
    extracted = features_of(records, backbone)
    data = Data(extracted.records, extracted.features, backbone)
    done = {key_of(run) for run in read_state(parsed.state)}
    for seed in parsed.seeds:
        told = Told({}, {})
        for size in parsed.sizes:
            for row in parsed.rows:
                about = {"row": row, "seed": seed, "size": size, "learning_rate": parsed.learning_rate,
                         "l2": parsed.l2, "num": parsed.num, "data": parsed.data.name}  # fmt: skip
                if key_of(about) in done:
                    continue
                if row in PLAIN_ROWS:
                    run = {**about, **measure_plain(row, seed, data, parsed)}
                else:
                    run = {**about, **measure(row, seed, size, data, parsed, told)}
                with parsed.state.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run) + "\n")
                print(json.dumps(run), flush=True)


def measure(row: str, seed: int, size: str, data: Data, parsed: argparse.Namespace, told: Told) -> dict[str, Any]:
    """Train one model and measure it with the words as they are, renamed and unseen."""
    name, neighbourhood, fed = [*row.removesuffix(PRINTED).split(), "id", "id"][:3]
    m, num_candidates = map(int, size.split(","))
    rest, report = split(data.records, seed)
    rest, report = rest[: parsed.num], report[: parsed.num_report]
    settings = {"metadata": parsed.metadata, "neighbourhood": neighbourhood, "input": fed, "m": m,
                "M": num_candidates, "max_words": parsed.max_words, "l2": parsed.l2,
                "zip": "printed" if row.endswith(PRINTED) else "joined"}  # fmt: skip
    fit = FitSettings(seed=seed, batch_size=64, epochs=parsed.epochs, patience=2, learning_rate=parsed.learning_rate)
    request = TrainingRequest(name, parsed.target, min_count=parsed.min_count, validation_share=0.1,
                              split_seed=seed, fit=fit, settings=settings)  # fmt: skip
    began = time.process_time()
    with TemporaryDirectory() as folder:
        result = train(request, rest, data.features_of(rest), data.backbone, Path(folder))
        seconds = time.process_time() - began
        tagger = checkpoint.load(Path(folder))
        pool_records, _ = load_split(data.records, Path(folder) / SPLIT_FILE)
    assert isinstance(tagger, NeighbourNetwork)
    pool = photos_of(pool_records, data.features_of(pool_records), parsed.metadata)
    asking = photos_of(report, data.features_of(report), parsed.metadata)
    found = evaluate(tagger, asking, report, told.context(tagger, asking, pool, ""))
    for change in ("renamed", "unseen") if name != "visual_only" else ():
        values = evaluate(tagger, asking, report, told.context(tagger, asking, pool, change))
        found |= {f"{change}_{key}": values[key] for key in ("map_lab", "map_img")}
    return {**found, "num_train": result.num_train, "num_tags": result.num_tags,
            "epochs": len(result.report.epochs), "cpu_seconds": round(seconds, 1)}  # fmt: skip


def measure_plain(row: str, seed: int, data: Data, parsed: argparse.Namespace) -> dict[str, Any]:
    """Fit a row without neighbours on all photos that are not reported on, and measure it."""
    rest, report = split(data.records, seed)
    rest, report = rest[: parsed.num], report[: parsed.num_report]
    vocabulary = Vocabulary.from_records(rest, parsed.min_count)
    given = [record.tags for record in report]
    began = time.process_time()
    if row == UPPER_BOUND:
        scores = vocabulary.matrix(given)
    else:
        kind, seen = LINEAR_ROWS[row]
        sides = [photos_of(side, data.features_of(side), parsed.metadata) for side in (rest, report)]
        encoder = WordSets(most_frequent(sides[0].words, parsed.max_words))
        inputs = [inputs_of(side, seen, encoder) for side in sides]
        config = replace(
            kind.default_config,
            seed=seed,
            epochs=parsed.epochs if parsed.quick else EPOCHS_LINEAR,
            l2=kind.default_config.l2 if parsed.linear_l2 is None else parsed.linear_l2,
        )
        tagger = kind.fit(vocabulary, inputs[0], [record.tags for record in rest], config)
        scores = tagger.scores(inputs[1])
    found = measures(vocabulary.matrix(given) > 0, scores)
    return {**found, "num_train": len(rest), "num_tags": len(vocabulary),
            "cpu_seconds": round(time.process_time() - began, 1)}  # fmt: skip


def inputs_of(photos: Photos, seen: str, encoder: WordSets) -> Any:
    """Return what a linear row sees of photos, (N, S) float32: features, indicators of words, or both."""
    words = encoder.encode(photos.words)
    parts = {"image": [photos.features], "words": [words], "both": [photos.features, words]}[seen]
    return np.concatenate(parts, axis=1)


def evaluate(tagger: NeighbourNetwork, asking: Photos, report: Sequence[Record], context: Context) -> dict[str, Any]:
    """Return the paper's measures over the tags that the tagger knows."""
    truth = tagger.vocabulary.matrix([record.tags for record in report]) > 0
    return measures(truth, tagger.scores(asking.features, context))


def measures(truth: Any, scores: Any) -> dict[str, Any]:
    """Return the paper's measures of (B, V) scores, with ours beside its precision and recall."""
    predicted = np.zeros_like(truth)
    np.put_along_axis(predicted, np.argsort(-scores, axis=1, kind="stable")[:, :K], True, axis=1)
    per_tag, overall = metrics.per_tag(truth, predicted), metrics.overall(truth, predicted)
    skipping, per_image = metrics.per_tag(truth, predicted, "skip"), metrics.overall_per_image(truth, predicted)
    return {
        "map_lab": metrics.mean_average_precision(truth, scores, "tag"),
        "map_img": metrics.mean_average_precision(truth, scores, "image"),
        "c_p": per_tag.precision, "c_r": per_tag.recall, "o_p": overall.precision, "o_r": overall.recall,
        "paper_c_p": skipping.precision, "paper_o_p": per_image.precision, "paper_o_r": per_image.recall,
    }  # fmt: skip


def new_names(pool: Iterable[Any], asking: Iterable[Any], change: str) -> dict[str, str]:
    """Return other names for half of the words, chosen by a hash."""
    words = sorted({word for own in (*pool, *asking) for word in own})
    chosen = [word for word in words if hashlib.sha256(word.encode()).digest()[0] % 2]
    if change == "unseen":
        return {word: f"zzq{number}" for number, word in enumerate(chosen)}
    vectors = load_word_vectors()
    common = [word for word in vectors._table.words[:NUM_COMMON] if word.isalpha() and word not in set(words)]
    other = {}
    for number, word in enumerate(chosen):
        vector = vectors.vector(word)
        other[word] = f"zzq{number}" if vector is None else vectors.nearest(vector, 1, common)[0][0]
    return other


def renamed(photos: Photos, other: dict[str, str]) -> Photos:
    words = [tuple(other.get(word, word) for word in own) for own in photos.words]
    return Photos(photos.names, photos.features, words)


def read_state(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(run: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(run[name] for name in ("row", "seed", "size", "learning_rate", "l2", "num", "data"))


def print_table(runs: list[dict[str, Any]], parsed: argparse.Namespace) -> None:
    runs = [run for run in runs if run["num"] == parsed.num and run["learning_rate"] == parsed.learning_rate]
    print(f"| row | m, M | seeds | {' | '.join(SHOWN)} |\n|---|---|---|{'---|' * len(SHOWN)}")
    order = {row: place for place, row in enumerate([*PLAIN_ROWS, *ROWS, *WORDNET_ROWS])}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: (order.get(run["row"], 99), len(run["size"]), run["size"])):
        groups.setdefault((run["row"], run["size"]), []).append(run)
    for (row, size), group in groups.items():
        cells = []
        for name in SHOWN:
            factor = 1 if name in ("epochs", "cpu_seconds") else 100
            values = [factor * run[name] for run in group if name in run]
            mean = float(np.mean(values)) if values else 0.0
            cells.append(f"{mean:.1f} ({max(abs(value - mean) for value in values):.1f})" if values else "-")
        seeds = " ".join(str(run["seed"]) for run in group)
        print(f"| {row} | {size} | {seeds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
