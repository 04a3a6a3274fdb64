"""Every tagger on one data set: trained and measured as a user would, for several seeds.

    python tests/benchmarks/taggers.py DATA --out RUNS [--rows TABLE [NAME ...]] [--seeds 0 1 2] [--threads N]
        [--test-side] [--quick] [--again] [--only-print]

DATA holds records.jsonl. TABLE is one of `ROWS`, its names are those rows only. A row is a line of `annotator train`'s
options, so that a run can be repeated by hand; measured is what `annotator evaluate --split validation` measures, with
5 tags a photo and with lists that the tagger ends. Goes on where it was stopped: what lies in RUNS is not trained
again; `--again` measures it again, with the present defaults of the ranking and what the options name. Prints Markdown
tables: means over the seeds and, in brackets, the largest distance from it; in percent but N+, tags a photo and epochs.

The validation photos also stop a row's training, halve its learning rate and fit its calibration. With `--test-side`
another fifth of the photos is held back that no row touches, and reported on instead (held_out.py); those runs lie in
RUNS/test. `--quick` is the same on few photos, in RUNS/quick.

The tables "both ways" and "both ways, corel5k" have each recurrent tagger with the logistic layer and the dropout of a
third of the features that S-CNN-RNN and JVSP have by default, and "bare" without them; all with JVSP's learning rate,
halved on a plateau, but S-CNN-RNN, which has two stages of its own and is never without its layer.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import held_out
import numpy as np

from annotator.cli.main import main as annotator
from annotator.cli.options import parse_settings
from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import load_split
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint, registry
from annotator.models.backbones.backbone import load_backbone
from annotator.models.sequence.inference import InferenceTagger, Ranking
from annotator.models.tagger import Features
from annotator.trainer.evaluation.evaluate import MAX_FREE_LENGTH, decode, evaluate, measure_sets, names
from annotator.trainer.feature_cache import features_of
from annotator.trainer.training import REPORT_FILE, SPLIT_FILE

RECURRENT = "--epochs 8"
SCNN_RNN = f"--tagger scnn_rnn {RECURRENT}"
JVSP = f"--tagger jvsp {RECURRENT} --set kernel_landmarks=0"
JVSP_KERNEL = f"--tagger jvsp {RECURRENT}"
RANKED_LSTM = "--tagger ranked_lstm --epochs 8 --learning-rate 1e-3 --set concept_layer=true"
LAYER = "--set concept_layer=true --set input_dropout=0.3"
BARE = "--set concept_layer=false --set input_dropout=0"
SCHEDULE = "--epochs 8 --learning-rate 4e-4 --halve-on-plateau"
ALIKE = {
    name: f"--tagger {name} {SCHEDULE}{' --set kernel_landmarks=0' if name == 'jvsp' else ''}"
    for name in ("jvsp", "ranked_lstm", "ria", "cnn_rnn", "naive_rnn", "no_rnn")
}
BOTH_WAYS = {
    "scnn_rnn: logistic layer": SCNN_RNN,
    "scnn_rnn: no dropout of the features": f"{SCNN_RNN} --set input_dropout=0",
    **{f"{name}: logistic layer": f"{options} {LAYER}" for name, options in ALIKE.items()},
    **{f"{name}: bare": f"{options} {BARE}" for name, options in ALIKE.items()},
}
COSINE = '--set diversity="cosine" --set beta=0'
FOOD = "--epochs 40 --min-count 5"
BASELINES = {name: f"--tagger {name}" for name in registry.baseline_names()}
ROWS: dict[str, dict[str, str]] = {
    "captions": {
        **BASELINES,
        "ranked_lstm": RANKED_LSTM,
        "ria": f"--tagger ria {RECURRENT}",
        "cnn_rnn": f"--tagger cnn_rnn {RECURRENT}",
        "naive_rnn": f"--tagger naive_rnn {RECURRENT}",
        "no_rnn": f"--tagger no_rnn {RECURRENT}",
        "scnn_rnn": SCNN_RNN,
        "jvsp": JVSP,
        "jvsp, kernel layer": JVSP_KERNEL,
    },
    "corel5k": {
        **BASELINES,
        "ranked_lstm": f"{RANKED_LSTM} --order rare_first",
        "ria": f"--tagger ria {RECURRENT} --order rare_first",
        "cnn_rnn": f"--tagger cnn_rnn {RECURRENT} --order rare_first",
        "naive_rnn": f"--tagger naive_rnn {RECURRENT} --order rare_first",
        "no_rnn": f"--tagger no_rnn {RECURRENT} --order rare_first",
        "scnn_rnn": f"{SCNN_RNN} --order rare_first",
        "jvsp": f"{JVSP} --order rare_first",
    },
    "both ways": BOTH_WAYS,
    "both ways, corel5k": {name: f"{options} --order rare_first" for name, options in BOTH_WAYS.items()},
    "food": {
        "logistic": "--tagger logistic --min-count 5",
        "scnn_rnn": f"--tagger scnn_rnn {FOOD}",
        "scnn_rnn, 1,000 user tags": f"--tagger scnn_rnn {FOOD} --user-tags user_tags --num-user-tags 1000",
        "ria": f"--tagger ria {FOOD}",
    },
    "ablations": {
        "scnn_rnn: asymmetric": f"{SCNN_RNN} --concept-loss asymmetric",
        "scnn_rnn: list-wise": f"{SCNN_RNN} --sequence-loss list_wise",
        "scnn_rnn: unmentioned": f"{SCNN_RNN} --label-weights unmentioned",
        "scnn_rnn: greedy": f"{SCNN_RNN} --rank by=sequence",
        "scnn_rnn: concepts alone": f"{SCNN_RNN} --rank by=concept",
        "scnn_rnn: rare first": f"{SCNN_RNN} --order rare_first",
        "scnn_rnn: frequent first": f"{SCNN_RNN} --order frequent_first",
        "jvsp: greedy": f"{JVSP} --rank by=sequence",
        "jvsp: concepts alone": f"{JVSP} --rank by=concept",
        "jvsp: sequence alone": f"{JVSP} --rank concept_weight=0 --rank rarity=0 --rank head=0",
        "jvsp: sequence and concepts": f"{JVSP} --rank rarity=0 --rank head=0",
        "jvsp: and rare tags": f"{JVSP} --rank head=0",
        "jvsp: next step only": f"{JVSP} --rank depth=1",
        "jvsp: no concepts": f"{JVSP} --set concept_layer=false",
        "jvsp: alpha 0.01": f"{JVSP} --set alpha=0.01",
        "jvsp: alpha 0.1": f"{JVSP} --set alpha=0.1",
        "jvsp: alpha 0.5": f"{JVSP} --set alpha=0.5",
        "jvsp: cosine alpha 0.01": f"{JVSP} {COSINE} --set alpha=0.01",
        "jvsp: cosine alpha 0.1": f"{JVSP} {COSINE} --set alpha=0.1",
        "jvsp: cosine alpha 0.5": f"{JVSP} {COSINE} --set alpha=0.5",
        "jvsp: phi as printed, cosine alpha 0.5": f'{JVSP} --set phi="paper" {COSINE} --set alpha=0.5',
        "jvsp: phi as printed": f'{JVSP} --set phi="paper"',
        "jvsp: phi as printed, alpha 0.5": f'{JVSP} --set phi="paper" --set alpha=0.5',
        "jvsp: no guidance": f"{JVSP} --set knowledge_guidance=false",
        "jvsp: asymmetric": f"{JVSP} --concept-loss asymmetric",
        "jvsp: list-wise": f"{JVSP} --sequence-loss list_wise",
        "jvsp: unmentioned": f"{JVSP} --label-weights unmentioned",
        "ranked_lstm: previous tag fed back": f"{RANKED_LSTM} --set feed_back=true",
        "ranked_lstm: batches of 16": f"{RANKED_LSTM} --batch-size 16",
        "ria: logistic layer, features as the interface": f"--tagger ria {RECURRENT} {LAYER}",
        "jvsp: kernel layer": JVSP_KERNEL,
        "jvsp: kernel layer, for the score alone": f"{JVSP_KERNEL} --rank gain_weight=0 --rank precedence=0.8",
    },
}

Report = dict[str, Any]
SETS: dict[str, Callable[[Report], float | None]] = {
    "C-P": lambda report: report["c_p"],
    "C-R": lambda report: report["c_r"],
    "C-F1": lambda report: report["c_f1"],
    "O-P": lambda report: report["o_p"],
    "O-R": lambda report: report["o_r"],
    "O-F1": lambda report: report["o_f1"],
    "O-F1 by photo": lambda report: report["o_f1_per_image"],
    "O-P by photo": lambda report: report.get("o_p_per_image"),
    "O-R by photo": lambda report: report.get("o_r_per_image"),
    "N+": lambda report: report["n_plus"] / 100,
    "mAP_lab": lambda report: report["map_lab"],
    "mAP_img": lambda report: report["map_img"],
}
ORDER: dict[str, Callable[[Report], float | None]] = {
    "NDCG binary": lambda report: report["ndcg_binary"]["mean"],
    "NDCG graded": lambda report: report["ndcg_graded"]["mean"],
    "P@1-10": lambda report: report["precision_at"]["mean"],
    "recall@10": lambda report: report["recall_at"]["10"],
    "first tag": lambda report: report["first_tag_accuracy"],
    "order": lambda report: report["order_accuracy"],
    "by frequency": lambda report: report["order_accuracy_by_frequency"],
    "rest@5, prefix": lambda report: report["prefix_recall_at_5"],
    "rest@5, none": lambda report: report["no_prefix_recall_at_5"],
}
FREE: dict[str, Callable[[Report], float | None]] = {
    "C-P": SETS["C-P"], "C-R": SETS["C-R"], "C-F1": SETS["C-F1"], "N+": SETS["N+"], "O-F1": SETS["O-F1"],
    "O-F1 by photo": SETS["O-F1 by photo"], "tags a photo": lambda report: report["mean_list_length"] / 100,
}  # fmt: skip
TRAINING: dict[str, Callable[[Report], float | None]] = {
    "epochs": lambda report: report["epochs"] / 100,
    "to the best loss": lambda report: report["epochs_to_best"] / 100,
}
"""How fast a training converges; an epoch of a stage counts as one."""


RANKING = re.compile("|".join(f"{field}=" for field in Ranking.__dataclass_fields__))


@dataclass(frozen=True)
class Photos:
    """The data set."""

    records: list[Record]
    features: Features
    row_of: dict[Path, int]
    test: list[Record]
    """The test side, which no training sees; empty: the validation side is reported on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=["captions"], help=f"one of {', '.join(ROWS)}, then names")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure again what is trained")
    parser.add_argument("--only-print", action="store_true", help="run nothing")
    held_out.add_options(parser)
    parsed = parser.parse_args()
    rows = choose(parsed.rows)
    parsed.out = parsed.out / ("test" if parsed.test_side else "") / ("quick" if parsed.quick else "")
    if parsed.quick:
        parsed.seeds = parsed.seeds[:1]
        rows = {name: in_short(options) for name, options in rows.items()}
    if not parsed.only_print:
        photos = load(parsed)
        for seed in parsed.seeds:
            for name, options in rows.items():
                run(name, options, seed, parsed, photos)
    tables = (("5 tags", "k5", SETS), ("ranking", "k5", ORDER), ("free length", "free", FREE),
              ("training", "training", TRAINING))  # fmt: skip
    for title, key, columns in tables:
        print(f"\n| {title} | {' | '.join(columns)} | seeds |\n|---|{'---|' * len(columns)}---|")
        for name in rows:
            found = [
                report
                for seed in parsed.seeds
                if (path := result_path(parsed.out, name, seed)).is_file() and (report := read(path).get(key))
            ]
            if found:
                print(
                    f"| {name} | {' | '.join(cell(found, value_of) for value_of in columns.values())} | {len(found)} |"
                )


def load(parsed: argparse.Namespace) -> Photos:
    """Read the data set; where not all of it is trained on, write that part, for `annotator train`."""
    everything = read_records(parsed.data)
    records, test = held_out.chosen(everything, parsed)
    if len(records) < len(everything):
        parsed.data = held_out.write_records(records, parsed.out / "records")
    found = features_of([*records, *test], load_backbone(num_threads=parsed.threads))
    row_of = {record.image: row for row, record in enumerate(found.records)}
    return Photos(
        [record for record in records if record.image in row_of],
        found.features,
        row_of,
        [record for record in test if record.image in row_of],
    )


def in_short(options: str) -> str:
    """Return the options of the quick form of a row."""
    return re.sub(r"--epochs \d+", f"--epochs {held_out.QUICK_EPOCHS}", options)


def choose(names: Sequence[str]) -> dict[str, str]:
    """Return a table's rows: all of them, or those that are named after it."""
    table = ROWS[names[0]]
    return {name: table[name] for name in names[1:]} or table


def run(name: str, options: str, seed: int, parsed: argparse.Namespace, photos: Photos) -> None:
    """Train and measure one row with one seed, unless that is done."""
    path = result_path(parsed.out, name, seed)
    folder = result_path(parsed.out, trained_as(options) or name, seed).with_suffix("")
    if path.is_file() and not parsed.again:
        return
    seconds = None
    if not (folder / "tagger.json").is_file():
        seconds = train(options, seed, folder, parsed)
    tagger = checkpoint.load(folder)
    if isinstance(tagger, InferenceTagger):
        named = parse_settings([value for value in options.split() if RANKING.match(value)])
        tagger.ranking = replace(Ranking(**named), calibration=tagger.ranking.calibration)
    shown = photos.test or load_split(photos.records, folder / SPLIT_FILE)[1]
    features = photos.features[[photos.row_of[record.image] for record in shown]]
    given = [record.tags for record in shown]
    user_tags = [record.user_tags for record in shown] if "--user-tags" in options else []
    reports = {
        "k5": evaluate(tagger, features, given, user_tags=user_tags),
        "free": measure_free_length(tagger, features, given, user_tags),
        "training": convergence(read(folder / REPORT_FILE)["epochs"]),
        "side": "test" if photos.test else "validation",
    }
    text = json.dumps({"row": name, "options": options, "seed": seed, **reports})
    path.write_text(text, encoding="utf-8")
    print(f"{name}, seed {seed}: {seconds} s", file=sys.stderr, flush=True)


def trained_as(options: str) -> str | None:
    """Return the captions row whose training this is too, since only the ranking differs."""
    plain = re.sub(r" --rank \S+", "", options)
    return next((name for name, others in ROWS["captions"].items() if others == plain), None)


def train(options: str, seed: int, folder: Path, parsed: argparse.Namespace) -> float:
    """Run `annotator train` and return how many seconds it says it took."""
    printed = io.StringIO()
    common = f"--seed {seed} --threads {parsed.threads} --json".split()
    with redirect_stdout(printed):
        code = annotator(["train", *options.split(), *common, "--data", str(parsed.data), "--out", str(folder)])
    if code != 0:
        raise SystemExit(code)
    seconds: float = json.loads(printed.getvalue())["seconds"]
    return seconds


def convergence(epochs: Sequence[dict[str, Any]]) -> Report | None:
    """Return how many epochs a training took, and after how many its loss was lowest; None for one without epochs."""
    if not epochs:
        return None
    best = max(number for number, epoch in enumerate(epochs, start=1) if epoch["is_best"])
    return {"epochs": len(epochs), "epochs_to_best": best}


def measure_free_length(
    tagger: Any, features: Features, given: Sequence[Sequence[str]], user_tags: Sequence[Sequence[str]] = ()
) -> Report:
    """Return the set measures of lists that the tagger ends itself."""
    lists = names(decode(tagger, features, k=MAX_FREE_LENGTH, free_length=True, user_tags=user_tags))
    unknown = sorted({tag for tags in given for tag in tags if tag not in tagger.vocabulary})
    vocabulary = Vocabulary([*tagger.vocabulary.tags, *unknown])
    sets = measure_sets(vocabulary.matrix(given) > 0, vocabulary.matrix(lists) > 0)
    return {**sets, "mean_list_length": float(np.mean([len(tags) for tags in lists]))}


def result_path(folder: Path, name: str, seed: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)
    return folder / f"{plain}-{seed}.json"


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def cell(reports: Sequence[Report], value_of: Callable[[Report], float | None]) -> str:
    values = [value_of(report) for report in reports]
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    mean = float(np.mean(known))
    return f"{mean:.1f} ({max(abs(value - mean) for value in known):.1f})"


if __name__ == "__main__":
    main()
