"""Does a digit keep its meaning, and what does that cost? Ways of showing new proposals, by a simulated person.

    python tests/benchmarks/steady.py SPEC... [--tagger CHECKPOINT] [--seeds 0 1 2] [--median 0.7] [--way NAME ...]

SPEC is FOLDER[?FIELD][=NUM], as in completions.py. Each way tags the same photos in a project of its own; the person
knows the record's tags and takes the cheapest actions. Between an edit and the next key press passes a time from a
log-normal distribution with this median in seconds and a deviation of the logarithm of 0.6; the server's answer takes
0.1 s. Ways:
- replaced: all proposals are replaced by the answer at once, and taken ones are followed by those below.
- filled: proposals keep their numbers; what was taken is followed by the best new one with the answer.
- filled_still: the same, but only once no key was pressed for a second. The page does this.
- replaced_still: proposals keep their numbers until no key was pressed for a second; then all are replaced.
Columns: actions a photo; of the numbers with a proposal at a key press, the share that meant another tag, or none, a
second before; and the same between an edit and the answer to it.
"""

import argparse
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from completions import drawn
from threadpoolctl import threadpool_limits

from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import load_backbone
from annotator.simulation import simulated_annotator as simulation
from annotator.simulation.simulated_annotator import PREFIX, Setting, SimulatedAnnotator
from annotator.trainer.evaluation.effort import Offer, settled
from annotator.trainer.feature_cache import features_of

WAYS = ("replaced", "filled", "filled_still", "replaced_still")
NUM_KEYS = 9
ANSWER_SECONDS = 0.1
STILL_SECONDS = 1.0
DEVIATION = 0.6


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+")
    parser.add_argument("--tagger", default="", help="a checkpoint that `annotator train` wrote")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--median", type=float, default=0.7, help="seconds between an edit and the next key press")
    parser.add_argument("--way", nargs="+", choices=WAYS, default=WAYS)
    parsed = parser.parse_args()
    backbone = load_backbone(num_threads=1)
    print("| photos | way | actions a photo | changed within a second of a press | changed by the answer |")
    print("|---|---|---|---|---|")
    for spec in parsed.specs:
        for way in parsed.way:
            actions: list[int] = []
            person = _Seen()
            for seed in parsed.seeds:
                extracted = features_of(drawn(spec, parsed.tagger, seed, None), backbone)
                setting = Setting(extracted.records, extracted.features, parsed.tagger)
                with threadpool_limits(1, user_api="blas"):  # as in a served project
                    actions += run(way, setting, random.Random(seed), parsed.median, person)
            print(
                f"| {spec.rsplit('/', 1)[-1]} | {way} | {np.mean(actions):.2f} | {np.mean(person.at_presses):.3f} | "
                f"{np.mean(person.after_answers):.3f} |",
                flush=True,
            )


class _Seen:
    """Shares of the numbers that changed their meaning, one for each key press."""

    def __init__(self) -> None:
        self.at_presses: list[float] = []
        self.after_answers: list[float] = []


def run(way: str, setting: Setting, rng: random.Random, median: float, seen: _Seen) -> list[int]:
    """Return the actions for each photo of one project.

    Args:
        way: One of `WAYS`.
        setting: The photos.
        rng: Draws the times between key presses.
        median: Their median in seconds.
        seen: Gets the shares.
    """

    class Person(SimulatedAnnotator):
        """A person before whom new proposals come in this way."""

        def _offer_after(self, image_id: int, kept: list[str], dropped: list[str], before: Offer) -> Offer:
            said: Any = self.ask("propose", image_id=image_id, kept=kept, dropped=dropped)
            newest = Offer([proposal["tag"] for proposal in said["proposals"]], said["num_expected"])
            pause = median * np.exp(DEVIATION * rng.gauss(0, 1))
            states = [(-np.inf, before), *changes(way, before, newest, {*map(tag_key, (*kept, *dropped))})]

            def at(seconds: float) -> Offer:
                return [offer for begun, offer in states if begun <= seconds][-1]

            seen.at_presses.append(num_changed(at(pause - 1), at(pause)))
            seen.after_answers.append(num_changed(before, at(ANSWER_SECONDS)))
            return at(pause)

    original = simulation.SimulatedAnnotator
    simulation.SimulatedAnnotator = Person  # type: ignore[misc]
    try:
        return [effort.num_actions for effort in simulation.run_arm(PREFIX, setting).efforts]
    finally:
        simulation.SimulatedAnnotator = original  # type: ignore[misc]


def changes(way: str, before: Offer, newest: Offer, decided: set[str]) -> list[tuple[float, Offer]]:
    """Return what is shown from which second after an edit on.

    Args:
        way: One of `WAYS`.
        before: Shown before the edit.
        newest: The answer.
        decided: Keys of the kept and dropped tags.
    """
    gaps = Offer(["" if tag_key(tag) in decided else tag for tag in before.tags])
    if way == "replaced":
        return [(0.0, Offer([tag for tag in gaps.tags if tag])), (ANSWER_SECONDS, newest)]
    numbered = settled(before, newest, NUM_KEYS)
    if way == "filled":
        return [(0.0, gaps), (ANSWER_SECONDS, numbered)]
    return [(0.0, gaps), (STILL_SECONDS, numbered if way == "filled_still" else newest)]


def num_changed(before: Offer, after: Offer) -> float:
    """Return the share of the numbers with a proposal that meant another one, or none, before."""
    pairs = list(zip(numbers(before), numbers(after), strict=True))
    now = [(old, new) for old, new in pairs if new]
    return sum(old != new for old, new in now) / max(len(now), 1)


def numbers(offer: Offer) -> Sequence[str]:
    """Return the keys of the tags at the numbers 1 to 9; empty for a number without one."""
    tags = [tag_key(tag) for tag in offer.tags[:NUM_KEYS]]
    return tags + [""] * (NUM_KEYS - len(tags))


if __name__ == "__main__":
    main()
