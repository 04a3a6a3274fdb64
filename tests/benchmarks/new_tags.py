"""How well tags are proposed that a tagger was never taught, by rows made from word vectors.

``python tests/benchmarks/new_tags.py DATA/captions --seeds 0 1 2 --out DIR``: for each seed, some words are held out of
the vocabulary and of every record, a tagger is trained on four fifths of the photos, then extended by the words. On
the other fifth: recall@10 of the held-out words and of the taught ones. A trained tagger is kept in DIR.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import report

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import split
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.new_tags import extend
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.trainer.feature_cache import features_of
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.training import TrainingRequest, train

LEAST_COUNT = 20
"""Rarer words are not held out: a recall over so few photos says nothing."""


def hold_out(records: Sequence[Record], num_words: int, seed: int) -> list[str]:
    """Return words drawn evenly among those that are not rare."""
    vocabulary = Vocabulary.from_records(records)
    common = [tag for tag, count in zip(vocabulary.tags, vocabulary.counts, strict=True) if count >= LEAST_COUNT]
    return sorted(np.random.default_rng(seed).choice(common, num_words, replace=False).tolist())


def without(records: Sequence[Record], words: Sequence[str]) -> list[Record]:
    """Return the records without the words; those that have no other are left out."""
    barred = set(words)
    stripped = [replace(record, tags=tuple(tag for tag in record.tags if tag not in barred)) for record in records]
    return [record for record in stripped if record.tags]


def taught(tagger: str, records: list[Record], features: Any, backbone: Any, folder: Path) -> Path:
    """Train a tagger unless it is there."""
    if not (folder / checkpoint.SETTINGS_FILE).is_file():
        settings = {"input_dropout": 0.3} if tagger == "scnn_rnn" else {}
        request = TrainingRequest(
            tagger, validation_share=0.1, fit=FitSettings(epochs=8, concept_l2=0.06), settings=settings
        )
        train(request, records, features, backbone, folder, progress=lambda epoch: print(epoch, flush=True))
    return folder


def measure(
    tagger: InferenceTagger,
    words: Sequence[str],
    records: Sequence[Record],
    features: Any,
    sources: Sequence[str],
    seed: int,
) -> list[dict[str, Any]]:
    """Return a row without made rows, and one for each source of word vectors."""
    known = set(tagger.vocabulary.tags)
    taggers = {"none": tagger} | {name: extend(tagger, load_word_vectors(name), words) for name in sources}
    rows = []
    for name, extended in taggers.items():
        lists = extended.decode(features, [[]] * len(records), k=10)
        proposed = [{item.tag for item in ranked} for ranked in lists]
        new, by_word = recall(records, proposed, set(words))
        old, _ = recall(records, proposed, known)
        rows.append({
            "seed": seed, "rows from": name, "words made": len(extended.made_of), "recall@10 of new": round(new, 3),
            "mean by word": round(by_word, 3), "recall@10 of taught": round(old, 3),
        })  # fmt: skip
    return rows


def recall(records: Sequence[Record], proposed: Sequence[set[str]], of: set[str]) -> tuple[float, float]:
    """Return the share of these words' uses that were proposed: over all uses, and as the mean over words."""
    hits: dict[str, list[bool]] = {}
    for record, tags in zip(records, proposed, strict=True):
        for tag in of.intersection(record.tags):
            hits.setdefault(tag, []).append(tag in tags)
    every = [hit for values in hits.values() for hit in values]
    return float(np.mean(every)), float(np.mean([np.mean(values) for values in hits.values()]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tagger", default="jvsp")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--num-words", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vectors", nargs="+", default=["glove"], help="names or paths, see load_word_vectors")
    parser.add_argument("--only-train", action="store_true")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    import torch

    torch.set_num_threads(parsed.threads)
    backbone = load_backbone(num_threads=parsed.threads)
    extracted = features_of(read_records(parsed.data), backbone)
    row_of = {record.image: row for row, record in enumerate(extracted.records)}
    rows: list[dict[str, Any]] = []
    for seed in parsed.seeds:
        words = hold_out(extracted.records, parsed.num_words, seed)
        train_side, _ = split(extracted.records, seed)
        kept = without(train_side, words)
        features = extracted.features[[row_of[record.image] for record in kept]]
        folder = taught(parsed.tagger, kept, features, backbone, parsed.out / f"{parsed.tagger}-{seed}")
        if not parsed.only_train:
            tagger = checkpoint.load(folder, backbone=backbone)
            assert isinstance(tagger, InferenceTagger)
            held_back = split(extracted.records, seed)[1]
            seen = extracted.features[[row_of[record.image] for record in held_back]]
            rows += measure(tagger, words, held_back, seen, parsed.vectors, seed)
    if not parsed.only_train:
        report("new tags", rows, as_json=parsed.json)


if __name__ == "__main__":
    main()
