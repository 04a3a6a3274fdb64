"""Every tagger on one data set: trained and measured by the very commands that a user has, for several seeds.

    python tests/benchmarks/taggers.py DATA --out RUNS [--rows captions corel5k ablations NAME ...] [--seeds 0 1 2]
        [--threads N] [--again] [--only-print] [--columns sets|order]

DATA holds records.jsonl. Each row is a line of `annotator train`'s options (`ROWS`), so that a run can be repeated by
hand; `annotator evaluate --split validation` measures it twice, with 5 tags a photo and with a list that the tagger
ends. Goes on where it was stopped: what lies in RUNS is not trained again; `--again` measures it again, with the
ranking that its options name. Prints Markdown tables: means over the seeds and, in brackets, the largest distance from
it; in percent but N+.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator.models import registry

RECURRENT = "--concept-l2 0.06 --epochs 8"
SCNN_RNN = f"--tagger scnn_rnn {RECURRENT} --rank concept_weight=0.6"
JVSP = f"--tagger jvsp {RECURRENT}"
BASELINES = {name: f"--tagger {name}" for name in registry.baseline_names()}
ROWS: dict[str, dict[str, str]] = {
    "captions": {
        **BASELINES,
        "ranked_lstm": "--tagger ranked_lstm --epochs 20",
        "ria": f"--tagger ria {RECURRENT}",
        "cnn_rnn": f"--tagger cnn_rnn {RECURRENT}",
        "naive_rnn": f"--tagger naive_rnn {RECURRENT}",
        "scnn_rnn": SCNN_RNN,
        "jvsp": JVSP,
    },
    "corel5k": {
        **BASELINES,
        "ranked_lstm": "--tagger ranked_lstm --epochs 20 --order rare_first",
        "ria": f"--tagger ria {RECURRENT} --order rare_first",
        "cnn_rnn": f"--tagger cnn_rnn {RECURRENT} --order rare_first",
        "naive_rnn": f"--tagger naive_rnn {RECURRENT} --order rare_first",
        "scnn_rnn": f"{SCNN_RNN} --order rare_first",
        "jvsp": f"{JVSP} --order rare_first",
    },
    "ablations": {
        "scnn_rnn: asymmetric": f"{SCNN_RNN} --concept-loss asymmetric",
        "scnn_rnn: list-wise": f"{SCNN_RNN} --sequence-loss list_wise",
        "scnn_rnn: unmentioned": f"{SCNN_RNN} --label-weights unmentioned",
        "scnn_rnn: greedy": f"{SCNN_RNN} --rank by=sequence",
        "scnn_rnn: concepts": f"{SCNN_RNN} --rank by=concept",
        "scnn_rnn: rare first": f"{SCNN_RNN} --order rare_first",
        "scnn_rnn: frequent first": f"{SCNN_RNN} --order frequent_first",
        "jvsp: greedy": f"{JVSP} --rank by=sequence",
        "jvsp: no concepts": f"{JVSP} --set concept_layer=false",
        "jvsp: alpha 0.01": f"{JVSP} --set alpha=0.01",
        "jvsp: alpha 0.1": f"{JVSP} --set alpha=0.1",
        "jvsp: alpha 0.5": f"{JVSP} --set alpha=0.5",
        "jvsp: phi as printed": f'{JVSP} --set phi="paper"',
        "jvsp: phi as printed, alpha 0.5": f'{JVSP} --set phi="paper" --set alpha=0.5',
        "jvsp: no guidance": f"{JVSP} --set knowledge_guidance=false",
        "jvsp: asymmetric": f"{JVSP} --concept-loss asymmetric",
        "jvsp: list-wise": f"{JVSP} --sequence-loss list_wise",
        "jvsp: unmentioned": f"{JVSP} --label-weights unmentioned",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", default=["captions"], help=f"{', '.join(ROWS)}, or names in the first")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure again what is trained")
    parser.add_argument("--only-print", action="store_true", help="run nothing")
    parsed = parser.parse_args()
    chosen = choose(parsed.rows)
    if not parsed.only_print:
        for seed in parsed.seeds:
            for name, options in chosen.items():
                run(name, options, seed, parsed)
    for title, key, columns in (("5 tags", "k5", SETS), ("ranking", "k5", ORDER), ("free length", "free", FREE)):
        print(f"\n| {title} | {' | '.join(columns)} | seeds |\n|---|{'---|' * len(columns)}---|")
        for name in chosen:
            found = [
                read(path)[key] for seed in parsed.seeds if (path := result_path(parsed.out, name, seed)).is_file()
            ]
            if found:
                print(
                    f"| {name} | {' | '.join(cell(found, value_of) for value_of in columns.values())} | {len(found)} |"
                )


def choose(names: Sequence[str]) -> dict[str, str]:
    """Return the rows that are named: whole tables, or `TABLE/ROW`, or rows of the table named before."""
    chosen: dict[str, str] = {}
    table = next((name for name in names if name in ROWS), "captions")
    for name in names:
        chosen |= ROWS[name] if name in ROWS and len(names) == 1 else {}
        if name not in ROWS:
            chosen[name] = ROWS[table][name]
    return chosen


def run(name: str, options: str, seed: int, parsed: argparse.Namespace) -> None:
    """Train and measure one row with one seed, unless that is done."""
    path = result_path(parsed.out, name, seed)
    checkpoint = path.with_suffix("")
    if path.is_file() and not parsed.again:
        return
    common = ["--data", str(parsed.data), "--threads", str(parsed.threads)]
    seconds = read(path)["seconds"] if path.is_file() else None
    if not (checkpoint / "tagger.json").is_file():
        done = annotator("train", *options.split(), "--seed", str(seed), "--out", str(checkpoint), "--json", *common)
        seconds = json.loads(done)["seconds"]
    measure = ("evaluate", str(checkpoint), "--split", "validation", "--json", *common)
    reports = {"k5": json.loads(annotator(*measure)), "free": json.loads(annotator(*measure, "--free-length"))}
    text = json.dumps({"row": name, "options": options, "seed": seed, "seconds": seconds, **reports})
    path.write_text(text, encoding="utf-8")
    print(f"{name}, seed {seed}: {seconds} s", file=sys.stderr, flush=True)


def annotator(*arguments: str) -> str:
    """Run a command of the program and return what it printed."""
    threads = arguments[arguments.index("--threads") + 1]
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    command = [sys.executable, "-m", "annotator.cli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


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
