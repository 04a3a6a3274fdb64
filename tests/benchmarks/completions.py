"""Which wanted tags do the completions offer, and after how many letters?

    python tests/benchmarks/completions.py SPEC... [--tagger CHECKPOINT] [--seeds 0 1 2] [--half 0] [--json | --fit]

SPEC is FOLDER[?FIELD][=NUM]. Photos come in a random order into a fresh project in a temporary folder, and each is
saved with its record's tags; before that, the tags that are not among its first nine proposals are looked for with the
operation that the page calls, after 1, 2, 3 and 4 typed letters. The wanted tags among the first nine are kept by then.
Of a folder named captions only those photos are drawn that the training of --tagger held back. --half keeps the photos
of one half, by a hash of the name. Columns: share of the wanted tags that are the first completion / among the first
nine, tags that were used in the project before and tags that are new to it apart; then keys a tag by the page's costs.
A tag with no more letters than were typed is left out of a column. --fit prints instead the weights of odds.py that
fit these photos best, every SPEC with equal weight: run it on one half, and judge on the other.
"""

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import load_split
from annotator.datasets.tags import tag_key
from annotator.learning.replay import PAGE_COSTS
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.tagger import Features
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.simulation.simulated_annotator import PREFIX, SimulatedAnnotator, add_photos
from annotator.storage.project import Project
from annotator.trainer.evaluation.effort import keys_to_type, without_repeats
from annotator.trainer.feature_cache import features_of
from annotator.trainer.training import SPLIT_FILE

LENGTHS = (1, 2, 3, 4)
NUM_KEYS = 9
RIDGE = 1e-4
NOT_ABOVE_0 = ("later_word", "rarity", "inflected")
"""Features that make no candidate likelier; all others but `FREE` make none unlikelier."""
FREE = ("next_word",)
"""Features that every tag has whose last word alone is in question."""
NUM_LOOKED_AT = 300
"""Words of the lexicon among the candidates of a fit: more than the page looks at, so that its choice is no bias."""
ABSENT = 99
"""Rank of a tag that is not offered."""


@dataclass(frozen=True)
class Wanted:
    """One tag that had to be typed."""

    tag: str
    is_used: bool
    """Whether a photo of the project had it before."""
    ranks: dict[int, int]
    """Number of typed letters -> place among the completions, from 0; `ABSENT` without one."""
    num_keys: int
    """Fewest keys that enter it."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+")
    parser.add_argument("--tagger", default="", help="a checkpoint that `annotator train` wrote")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--json", action="store_true", help="print each wanted tag of each seed")
    parser.add_argument("--fit", action="store_true", help="fit the weights of odds.py")
    parsed = parser.parse_args()
    if parsed.fit:
        print(json.dumps(fitted(parsed.specs, parsed.tagger, parsed.seeds, parsed.half), indent=1))
        return
    backbone = load_backbone(num_threads=1)
    for spec in parsed.specs:
        found: list[Wanted] = []
        seconds: list[float] = []
        for seed in parsed.seeds:
            records = drawn(spec, parsed.tagger, seed, parsed.half)
            extracted = features_of(records, backbone)
            with threadpool_limits(1, user_api="blas"):  # as in a served project
                found += replay(extracted.records, extracted.features, parsed.tagger, seconds)
        if parsed.json:
            print(json.dumps([vars(item) for item in found], ensure_ascii=False))
            continue
        print(f"{spec}: {len(found):,} tags typed, p50 {np.median(seconds) * 1e3:.0f} ms a completion")
        for name, items in (
            ("all", found),
            ("used before", [item for item in found if item.is_used]),
            ("new", [item for item in found if not item.is_used]),
        ):
            print(f"| {name} | {len(items):,} | {' | '.join(row(items))} |")


def drawn(spec: str, tagger: str, seed: int, half: int | None) -> list[Record]:
    """Return the records of a folder in a drawn order."""
    match = re.fullmatch(r"([^?=]+)(?:\?(\w+))?(?:=(\d+))?", spec)
    assert match is not None, spec
    folder, only, num = Path(match[1]), match[2], match[3]
    records = read_records(folder)
    if folder.name == "captions" and tagger:
        records = load_split(records, checkpoint.find(tagger) / SPLIT_FILE)[1]
    records = [record for record in records if record.tags and (not only or record.extra.get(only))]
    if half is not None:
        records = [record for record in records if half_of(record) == half]
    return random.Random(seed).sample(records, min(len(records), int(num or len(records))))


def half_of(record: Record) -> int:
    """Return 0 or 1, by the photo's name."""
    return hashlib.sha256(f"half\0{record.image.name}".encode()).digest()[0] & 1


def replay(records: Sequence[Record], features: Features, tagger: str, seconds: list[float]) -> Iterator[Wanted]:
    """Yield the tags that have to be typed, photo by photo in one project.

    Args:
        records: N photos in the order of tagging.
        features: (N, D) float32.
        tagger: As for `annotator serve`.
        seconds: Gets the time of each completion.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Project.open_or_create(Path(folder) / "project", "completions")
        project.update_settings(tagger=tagger)
        session = Session.over(Workspace(project))
        try:
            session.workspace.similar_tags.load()
            add_photos(session.workspace, records, features)
            person = SimulatedAnnotator(session, PREFIX)
            for image_id, record in enumerate(records, start=1):
                yield from _typed(person, session.workspace, image_id, record, seconds)
                person.give(image_id, without_repeats(record.tags))
        finally:
            session.close()


def _typed(
    person: SimulatedAnnotator, workspace: Workspace, image_id: int, record: Record, seconds: list[float]
) -> Iterator[Wanted]:
    target = without_repeats(record.tags)
    proposals = person.ask("open", image_id=image_id)["proposals"][:NUM_KEYS]
    shown = {tag_key(proposal["tag"]) for proposal in proposals}
    kept = [tag for tag in target if tag_key(tag) in shown]

    def complete(text: str, kept: list[str]) -> list[str]:
        begun = time.perf_counter()
        said = person.ask("complete", image_id=image_id, text=text, kept=kept)
        seconds.append(time.perf_counter() - begun)
        return [completion["tag"] for completion in said["completions"]]

    for tag in target:
        if tag in kept:
            continue
        ranks = {}
        for length in LENGTHS:
            if len(tag) > length:
                offered = [tag_key(other) for other in complete(tag[:length], kept)]
                ranks[length] = offered.index(tag_key(tag)) if tag_key(tag) in offered else ABSENT
        num_keys = keys_to_type(tag, complete, kept, PAGE_COSTS)
        yield Wanted(tag, workspace.ranking.vocabulary.is_used(tag), ranks, num_keys)


def fitted(specs: Sequence[str], tagger: str, seeds: Sequence[int], half: int | None) -> dict[str, float]:
    """Return the weights of a conditional logit over the candidates of each typed text, with a ridge of `RIDGE`."""
    from scipy.optimize import minimize

    from annotator.proposals.vocabulary.odds import WEIGHTS

    backbone = load_backbone(num_threads=1)
    rows: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    for spec in specs:
        of_spec: list[np.ndarray] = []
        for seed in seeds:
            extracted = features_of(drawn(spec, tagger, seed, half), backbone)
            of_spec += choices(extracted.records, extracted.features, tagger)
        print(f"{spec}: {len(of_spec):,} typed texts", file=sys.stderr)
        rows += of_spec
        shares.append(np.full(len(of_spec), 1 / len(of_spec) / len(specs)))
    share, stacked = np.concatenate(shares), np.concatenate(rows)
    starts = np.cumsum([0, *(len(group) for group in rows)])[:-1]
    sizes = np.diff([*starts, len(stacked)])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = (stacked @ weights.astype(np.float32)).astype(np.float64)
        powers = np.exp(odds - np.repeat(np.maximum.reduceat(odds, starts), sizes))
        chances = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
        gradient = (np.repeat(share, sizes) * chances).astype(np.float32) @ stacked - share.astype(
            np.float32
        ) @ stacked[starts]
        return float(-share @ np.log(chances[starts])) + RIDGE * weights @ weights, gradient.astype(
            np.float64
        ) + 2 * RIDGE * weights

    bounds = [
        (None if name in FREE or name in NOT_ABOVE_0 else 0, 0 if name in NOT_ABOVE_0 else None) for name in WEIGHTS
    ]
    found = minimize(loss, np.array(list(WEIGHTS.values())), jac=True, method="L-BFGS-B", bounds=bounds)
    print(f"loss {found.fun:.4f}", file=sys.stderr)
    return {name: round(float(value), 2) for name, value in zip(WEIGHTS, found.x, strict=True)}


def choices(records: Sequence[Record], features: Features, tagger: str) -> Iterator[np.ndarray]:
    """Yield the (N, F) features of the candidates for each typed text, the wanted one first.

    A wanted tag of several words that is no candidate stands for its first word, which Tab puts into the box.
    """
    from annotator.proposals.vocabulary import project_vocabulary
    from annotator.proposals.vocabulary.completions import word_scores_of

    project_vocabulary.NUM_LOOKED_AT, project_vocabulary.LEAST_LOG_ODDS = NUM_LOOKED_AT, -np.inf
    with tempfile.TemporaryDirectory() as folder:
        project = Project.open_or_create(Path(folder) / "project", "completions")
        project.update_settings(tagger=tagger)
        session = Session.over(Workspace(project))
        workspace = session.workspace
        try:
            workspace.similar_tags.load()
            add_photos(workspace, records, features)
            person = SimulatedAnnotator(session, PREFIX)
            for image_id, record in enumerate(records, start=1):
                target = without_repeats(record.tags)
                words = workspace.words_of(image_id)
                proposals = workspace.proposer.propose(image_id, words).proposals[:NUM_KEYS]
                shown = {tag_key(proposal.tag) for proposal in proposals}
                kept = [tag for tag in target if tag_key(tag) in shown]
                scores = workspace.proposer.scores(image_id, words, kept)
                seen = word_scores_of(workspace.catalog.added_words, workspace.features.vectors([image_id]))
                for tag in target:
                    for length in fitted_lengths(tag) if tag not in kept else ():
                        candidates = workspace.ranking.vocabulary.candidates(tag[:length], scores, kept, seen, kept)
                        keys = list(candidates.keys) if candidates else []
                        wanted = next((key for key in (tag_key(tag), tag_key(tag.split()[0])) if key in keys), None)
                        if candidates is not None and wanted is not None and len(keys) > 1:
                            place = keys.index(wanted)
                            order = [place, *(other for other in range(len(keys)) if other != place)]
                            yield candidates.features[order]
                person.give(image_id, target)
        finally:
            session.close()


def fitted_lengths(tag: str) -> list[int]:
    """Return the numbers of typed letters of a tag that a fit is for: of its first word, of its second, and all."""
    first = len(tag.split(" ")[0]) + 1
    return sorted({length for length in (*LENGTHS, *range(first, first + 3), len(tag)) if length <= len(tag)})


def row(items: Sequence[Wanted]) -> list[str]:
    """Return the cells of some tags: first / among nine for each length, and the mean number of keys."""
    cells = []
    for length in LENGTHS:
        ranks = np.array([item.ranks[length] for item in items if length in item.ranks])
        cells.append(f"{(ranks == 0).mean():.3f} / {(ranks < NUM_KEYS).mean():.3f}" if len(ranks) else "-")
    return [*cells, f"{np.mean([item.num_keys for item in items]):.2f}" if items else "-"]


if __name__ == "__main__":
    main()
