"""Fine-tuning on corrections, part by part: what each adds, and what the tagger forgets.

    nice -n 10 python tests/benchmarks/finetuning.py CHECKPOINT --new DATA/food --old DATA/captions [--seeds 0 1]
        [--num N] [--arms TEXT ...] [--threads 1] [--json FILE]
    nice -n 10 python tests/benchmarks/finetuning.py CHECKPOINT --new DATA/captions --old DATA/captions --at-home

CHECKPOINT was trained on OLD with a validation split, and knows nothing of NEW; with --at-home NEW is only what that
split held back, more of the kind that it knows. NEW's tagged photos are divided by a
seed: half are held back and never trained on; the others are corrected in two rounds, each of which fine-tunes the
tagger that the round before left. A simulated person is shown the tagger's nine best tags, drops the wrong ones among
the first three, and saves their own list. Photos of NEW without tags are there to be rehearsed.
Prints a Markdown table: on NEW's held-back photos, actions a photo (the tagger alone with the policy of
trainer/effort.py; completions by score, then everyday words), recall at 9 and graded NDCG; on OLD's validation photos,
recall at 9 and graded NDCG; means over seeds. "first": the first tag is the person's first; "rest@5": recall of the
other tags within five, once the first is settled.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import split
from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import everyday_words
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.tagger import Features, Tagger
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.trainer.evaluation.effort import Offer, actions_needed, total
from annotator.trainer.evaluation.evaluate import measure_lists
from annotator.trainer.feature_cache import features_of
from annotator.trainer.finetuning.corrections import Correction
from annotator.trainer.finetuning.finetune import FinetuneSettings, finetune

NUM_SHOWN = 9
DEFAULT = FinetuneSettings()
NAIVE = FinetuneSettings(
    replay_ratio=0.0, rehearsal_weight=0.0, ema_decay=0.0, l2_sp=0.0, pair_weight=0.0, negative_weight=0.1,
    passed_weight=0.1, unseen_weight=0.1,
)  # fmt: skip
ARMS: dict[str, FinetuneSettings] = {
    "naive": NAIVE,
    "naive + replay": replace(NAIVE, replay_ratio=1.0),
    "naive + replay + rehearsal": replace(NAIVE, replay_ratio=1.0, rehearsal_weight=1.0),
    "naive + replay + EMA": replace(NAIVE, replay_ratio=1.0, ema_decay=DEFAULT.ema_decay),
    "naive + L2-SP": replace(NAIVE, l2_sp=DEFAULT.l2_sp),
    "naive + pairs": replace(NAIVE, pair_weight=DEFAULT.pair_weight),
    "naive + negatives": replace(NAIVE, negative_weight=1.0, passed_weight=0.5),
    "all (default)": DEFAULT,
    "all, unseen masked": replace(DEFAULT, unseen_weight=0.0),
    "all, unseen half": replace(DEFAULT, unseen_weight=0.5, passed_weight=0.5),
    "all, ten passes, none held out": replace(DEFAULT, held_out=0.0, epochs=10),
    "all, the defaults until 2026-11-28": replace(
        DEFAULT, held_out=0.0, epochs=10, base_rate=0.2, unseen_weight=0.5, passed_weight=0.5
    ),
    "all without word vectors": DEFAULT,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--new", type=Path, required=True)
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--at-home", action="store_true", help="of NEW, only what the checkpoint's split held back")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--num", type=int, default=1000, help="most corrections in all")
    parser.add_argument("--num-judged", type=int, default=80, help="held-back photos whose actions are counted")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the default arm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    backbone = load_backbone(num_threads=parsed.threads)
    new = features_of(read_records(parsed.new, keep_untagged=True), backbone)
    old = features_of(read_records(parsed.old), backbone)
    validation = _validation(parsed.checkpoint, old.records)
    if parsed.at_home:
        rows = _validation(parsed.checkpoint, new.records)
        new = replace(new, records=[new.records[row] for row in rows], features=new.features[rows])
    old_side = (old.features[validation], [old.records[row].tags for row in validation])
    changes = {name: json.loads(value) for name, value in (pair.split("=") for pair in parsed.set)}
    shown = ("actions", "recall@9", "NDCG", "first", "rest@5", "old recall@9", "old NDCG", "tags", "s")
    print(f"| arm | {' | '.join(shown)} |\n|---|{'---|' * len(shown)}", flush=True)
    before = checkpoint.load(parsed.checkpoint)
    for arm in ["before", *parsed.arms]:
        rows = []
        for seed in parsed.seeds:
            began = time.monotonic()
            corrected, judged, untagged = _divide(new.records, seed, parsed.num)
            tagger: Any = before
            if arm != "before":
                settings = replace(ARMS[arm], seed=seed, **changes)
                vectors = None if "without word" in arm else load_word_vectors()
                tagger = _two_rounds(parsed.checkpoint, new, corrected, untagged, settings, vectors)
            seconds = time.monotonic() - began
            rows.append(
                [
                    *_measure(tagger, new, judged, parsed.num_judged),
                    *_old(tagger, *old_side),
                    len(tagger.vocabulary),
                    seconds,
                ]
            )
            if parsed.json:
                with parsed.json.open("a") as file:
                    file.write(json.dumps({"arm": arm, "seed": seed, **dict(zip(shown, rows[-1], strict=True))}) + "\n")
        means = np.mean(rows, axis=0)
        digits = (2, 3, 4, 3, 3, 3, 3, 0, 0)
        print(
            f"| {arm} | {' | '.join(f'{value:.{num}f}' for value, num in zip(means, digits, strict=True))} |",
            flush=True,
        )


def _validation(folder: Path, records: Sequence[Record]) -> list[int]:
    names = set(json.loads((folder / "split.json").read_text())["validation"])
    rows = [row for row, record in enumerate(records) if record.image.name in names or str(record.image) in names]
    assert rows, "none of the validation photos of the checkpoint's split is in OLD"
    return rows


def _divide(records: Sequence[Record], seed: int, num: int) -> tuple[list[int], list[int], list[int]]:
    row_of = {record.image: row for row, record in enumerate(records)}
    tagged = [record for record in records if record.tags]
    corrected, judged = split(tagged, seed, 0.5)
    return (
        [row_of[record.image] for record in corrected][:num],
        [row_of[record.image] for record in judged],
        [row for row, record in enumerate(records) if not record.tags],
    )


def _two_rounds(
    source: Path, data: Any, rows: list[int], untagged: list[int], settings: FinetuneSettings, vectors: Any
) -> Any:
    half = len(rows) // 2
    replay: list[Correction] = []
    with tempfile.TemporaryDirectory() as folder:
        live = source
        about = checkpoint.read_info(source).about
        for number, part in enumerate((rows[:half], rows[half:])):
            corrections = _corrections(checkpoint.load(live), data, part)
            candidate = finetune(
                live, corrections, replay, settings, rehearsal=data.features[untagged], word_vectors=vectors
            )
            live = Path(folder) / str(number)
            checkpoint.save(candidate, live, about, half=True)
            replay += corrections
        return checkpoint.load(live)


def _corrections(tagger: Tagger, data: Any, rows: list[int]) -> list[Correction]:
    features: Features = data.features[rows]
    lists = tagger.decode(features, [()] * len(rows), k=NUM_SHOWN)
    made = []
    for row, vector, ranked in zip(rows, features, lists, strict=True):
        shown = tuple(item.tag for item in ranked)
        wanted = {tag_key(tag) for tag in data.records[row].tags}
        dropped = tuple(tag for tag in shown[:3] if tag_key(tag) not in wanted)
        tags = tuple({tag_key(tag): tag for tag in data.records[row].tags}.values())
        made.append(Correction(row, str(row), row + 1, tags, dropped, shown, features=vector))
    return made


def _measure(tagger: Any, data: Any, rows: list[int], num_judged: int) -> list[float]:
    ranked = tagger.decode(data.features[rows], [()] * len(rows), k=20)
    given = [[tag_key(tag) for tag in data.records[row].tags] for row in rows]
    report = measure_lists([[tag_key(item.tag) for item in lists] for lists in ranked], given)
    actions = [_actions(tagger, data.features[row : row + 1], data.records[row].tags) for row in rows[:num_judged]]
    first = np.mean([tag_key(lists[0].tag) == tags[0] for lists, tags in zip(ranked, given, strict=True)])
    rest = []
    for row, tags in zip(rows, given, strict=True):
        if len(tags) > 1:
            found = tagger.decode(data.features[row : row + 1], [tags[:1]], k=5)[0]
            rest.append(len({tag_key(item.tag) for item in found} & set(tags[1:])) / len(tags[1:]))
    means = (np.mean(actions), report["recall_at"]["9"], report["ndcg_graded"]["mean"], first, np.mean(rest))
    return [float(value) for value in means]


def _actions(tagger: Any, features: Features, wanted: Sequence[str]) -> int:
    vocabulary = ProjectVocabulary([*everyday_words(), *tagger.vocabulary.tags])
    known: dict[tuple[str, ...], dict[str, float]] = {}

    def scores(kept: list[str]) -> dict[str, float]:
        if tuple(kept) not in known:
            every = tagger.decode(features, [kept], k=len(tagger.vocabulary))[0]
            known[tuple(kept)] = {item.tag: item.score for item in every}
        return known[tuple(kept)]

    def propose(kept: list[str], dropped: list[str]) -> Offer:
        return Offer([item.tag for item in tagger.decode(features, [kept], dropped=[dropped], k=20)[0]])

    def complete(text: str, kept: list[str]) -> list[str]:
        return [completion.tag for completion in vocabulary.complete(text, scores(kept), kept)]

    return total(actions_needed(wanted, propose, complete))


def _old(tagger: Any, features: Features, given: Sequence[Sequence[str]]) -> list[float]:
    ranked = [[item.tag for item in lists] for lists in tagger.decode(features, [()] * len(features), k=20)]
    report = measure_lists(ranked, [list(tags) for tags in given])
    return [report["recall_at"]["9"], report["ndcg_graded"]["mean"]]


if __name__ == "__main__":
    main()
