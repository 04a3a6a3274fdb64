"""Which of two right tags does a person name first? Rules and taggers on all pairs, whether they were proposed or not.

    python tests/benchmarks/order.py DATA [--checkpoints FOLDER ...] [--seeds 0 1 2] [--by-photo]

DATA holds records.jsonl in people's order. For each seed's validation photos: the share of the pairs of right tags that
each way puts in the person's order; ties count half. By frequency, by the mean place in training lists, by precedence
(trainer/precedence.py), by counting how the very pair stood (with four pairs' worth of precedence), and by precedence
that depends on the photo. Of checkpoints, each measured on its own validation photos: the concept's probability, the
next step's, and both orders of the pair, P(a) P(b | a) against P(b) P(a | b).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import load_split, split
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.sequence.decoding import feed, take
from annotator.trainer.feature_cache import features_of
from annotator.trainer.precedence import fit_precedence
from annotator.trainer.training import SPLIT_FILE

Pairs = npt.NDArray[np.int64]
"""(P, 3): row of the photo, earlier tag, later tag."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoints", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--by-photo", action="store_true", help="precedence that depends on the photo too; slow")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    found = features_of(read_records(parsed.data), load_backbone(num_threads=1))
    row_of = {record.image: row for row, record in enumerate(found.records)}

    def features(side: Sequence[Record]) -> Any:
        return found.features[[row_of[record.image] for record in side]]

    for seed in parsed.seeds:
        train, validation = split(found.records, seed)
        vocabulary = Vocabulary.from_records(train)
        shares = measure_rules(vocabulary, [vocabulary.encode(record.tags) for record in train], validation)
        if parsed.by_photo:
            shares["precedence by photo"] = measure_by_photo(vocabulary, train, validation, features)
        print(f"seed {seed}: {show(shares)}", flush=True)
    for folder in parsed.checkpoints:
        validation = load_split(found.records, folder / SPLIT_FILE)[1]
        print(f"{folder.name}: {show(measure_tagger(checkpoint.load(folder), validation, features(validation)))}")


def pairs_of(lists: Sequence[Sequence[int]]) -> Pairs:
    return np.array(
        [
            (row, earlier, later)
            for row, tags in enumerate(lists)
            for place, earlier in enumerate(tags)
            for later in tags[place + 1 :]
        ]
    )


def share(differences: npt.NDArray[Any]) -> float:
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


def measure_rules(vocabulary: Vocabulary, taught: list[list[int]], validation: Sequence[Record]) -> dict[str, float]:
    num_tags = len(vocabulary)
    pairs = pairs_of([vocabulary.encode(record.tags) for record in validation])
    earlier, later = pairs[:, 1], pairs[:, 2]
    counts = np.array(vocabulary.counts)
    precedence = fit_precedence(taught, num_tags)
    places, times = np.full(num_tags, 1.5), np.full(num_tags, 3.0)  # three lists' worth of the middle
    stood = np.zeros((num_tags, num_tags))
    for tags in taught:
        for place, tag in enumerate(tags):
            if len(tags) > 1:
                places[tag] += place / (len(tags) - 1)
                times[tag] += 1
    for _, first, second in pairs_of(taught):
        stood[first, second] += 1
    expected = 1 / (1 + np.exp(precedence[None, :] - precedence[:, None]))
    by_pair = (stood + 4 * expected) / (stood + stood.T + 4)
    return {
        "pairs": len(pairs),
        "frequency": share(counts[earlier] - counts[later]),
        "mean place": share(places[later] / times[later] - places[earlier] / times[earlier]),
        "precedence": share(precedence[earlier] - precedence[later]),
        "counted pairs": share(by_pair[earlier, later] - 0.5),
    }


def measure_by_photo(
    vocabulary: Vocabulary, train: Sequence[Record], validation: Sequence[Record], features: Any
) -> float:
    """theta_i + w_i . U x, from precedence on, one pass over the training pairs (more passes did harm)."""
    taught = [vocabulary.encode(record.tags) for record in train]
    pairs, asked = (
        torch.from_numpy(pairs_of(lists))
        for lists in (taught, [vocabulary.encode(record.tags) for record in validation])
    )
    inputs = [torch.from_numpy(np.sqrt(np.maximum(features(side), 0))) for side in (train, validation)]
    mean, scale = inputs[0].mean(0), inputs[0].std(0) + 1e-3
    inputs = [(values - mean) / scale for values in inputs]
    torch.manual_seed(0)
    look, tags = nn.Linear(inputs[0].shape[1], 64), nn.Embedding(len(vocabulary), 64)
    theta = nn.Embedding(len(vocabulary), 1)
    with torch.no_grad():
        theta.weight[:, 0] = torch.from_numpy(fit_precedence(taught, len(vocabulary)))
        tags.weight.mul_(0.05)
    parts = nn.ModuleList([look, tags, theta])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3, weight_decay=0.01)

    def difference(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        seen = look(values[rows[:, 0]])
        by_photo = ((tags(rows[:, 1]) - tags(rows[:, 2])) * seen).sum(1)
        return by_photo + (theta(rows[:, 1]) - theta(rows[:, 2]))[:, 0]

    for rows in pairs[torch.randperm(len(pairs))].split(512):
        loss = F.softplus(-difference(rows, F.dropout(inputs[0], 0.3))).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return share(difference(asked, inputs[1]).numpy())


def measure_tagger(tagger: Any, validation: Sequence[Record], features: Any) -> dict[str, float]:
    pairs = pairs_of([tagger.vocabulary.encode(record.tags) for record in validation])
    concept, following, both = [], [], []
    for start in range(0, len(features), 256):
        rows = features[start : start + 256]
        here = pairs[(pairs[:, 0] >= start) & (pairs[:, 0] < start + 256)]
        row, earlier, later = here[:, 0] - start, here[:, 1], here[:, 2]
        concepts = tagger.concepts(rows)
        state = tagger.steps.start(tagger._scale(rows), concepts)
        log_probs, state = feed(tagger.steps, state, [[]] * len(rows))
        after = [tagger.steps.step(take(state, row), tags)[0] for tags in (earlier, later)]
        number = np.arange(len(here))
        following.append(log_probs[row, earlier] - log_probs[row, later])
        both.append(following[-1] + after[0][number, later] - after[1][number, earlier])
        if concepts is not None:
            concept.append(concepts[row, earlier] - concepts[row, later])
    parts = {"concept": concept, "next step": following, "both orders": both}
    return {"pairs": len(pairs), **{name: share(np.concatenate(values)) for name, values in parts.items() if values}}


def show(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" if isinstance(value, float) else f"{value:,} {name}"
                     for name, value in shares.items())  # fmt: skip


if __name__ == "__main__":
    main()
