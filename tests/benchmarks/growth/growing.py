"""Does tagging make the first list better? A folder is tagged photo by photo in memory, with its records' own tags.

    python tests/benchmarks/growth/growing.py SPEC... --tagger CHECKPOINT [--open CHECKPOINT] [--seeds 0 1 2]
        [--half 1] [--fusion FILE ...] [--lists project blank frequent ridge] [--show FROM TO] [--json]

SPEC is FOLDER[?FIELD][=NUM]. Of a folder named captions only those photos are drawn that the training of --tagger held
back; so it must be a checkpoint with a split, as `annotator train` without --on-all writes one. --half uses the photos
of one half, by a hash of the name: with a --fusion for each half, fitted on the other one, no photo is judged by a
model that was fitted to it. Lists: project, with all photos before saved; blank, without any saved photo; frequent,
the most frequent tags; ridge, kernel ridge and frequencies alone. Rows: share of photos whose first proposal is right /
precision@5 / recall@9, by quarters and over all, mean over the draws with the standard deviation of "all" between them.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from replays import Growing, Setting, Shot, World, drawn, frequent, measure, ridge

from annotator.models.fusion import LEAST_PROBABILITY, Fusion, load_fusion
from annotator.proposals.fusion import Proposal


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+")
    parser.add_argument("--tagger", required=True, help="a checkpoint that `annotator train` wrote")
    parser.add_argument("--open", default="")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--half", type=int, nargs="*", default=[])
    parser.add_argument("--fusion", nargs="*", default=[], help="default: that of the package; two: for half 0 and 1")
    parser.add_argument("--least", type=float, default=LEAST_PROBABILITY)
    parser.add_argument("--lists", nargs="+", default=["project", "blank", "frequent", "ridge"])
    parser.add_argument("--show", type=int, nargs=2, help="print the lists of these photos of the first draw")
    parser.add_argument("--detections", action="store_true", help="ask NanoDet, which must be installed")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    world = World(parsed.tagger, parsed.open, parsed.cache, parsed.detections)
    fusions = [Fusion.from_json(json.loads(Path(path).read_text())) for path in parsed.fusion] or [load_fusion()]
    halves: list[int | None] = list(parsed.half) or [None]
    found: dict[str, list[np.ndarray]] = {name: [] for name in parsed.lists}
    seconds: list[float] = []
    for seed in parsed.seeds:
        for half in halves:
            shots = drawn(world, parsed.specs, seed, half)
            fusion = fusions[half if half is not None and len(fusions) > 1 else 0]
            is_first = seed == parsed.seeds[0] and half == halves[0]
            show = tuple(parsed.show) if parsed.show and is_first else (0, 0)
            made = replay(world, shots, parsed.lists, fusion, parsed.least, parsed.detections, show, seconds)
            for name, lists in made.items():
                found[name].append(by_quarters(measure(lists, shots)))
    for name, rows in found.items():
        table = np.stack(rows)
        mean, spread = table.mean(axis=0), table[:, -1].std(axis=0)
        cells = ["/".join(f"{value:.3f}" for value in row) for row in mean]
        deviation = "/".join(f"{value:.3f}" for value in spread)
        print(f"{name:>9}  {'  '.join(cells[:4])}  all {cells[4]}  sd {deviation}")
        if parsed.json:
            print(json.dumps({"list": name, "quarters": mean.round(4).tolist()}))
    if seconds:
        print(f"a list: median {np.median(seconds) * 1000:.1f} ms, p95 {np.quantile(seconds, 0.95) * 1000:.1f} ms")


def replay(
    world: World,
    shots: Sequence[Shot],
    names: Sequence[str],
    fusion: Fusion,
    least: float,
    has_detections: bool,
    show: tuple[int, int],
    seconds: list[float],
) -> dict[str, list[list[str]]]:
    """Return each kind of list of every photo, each made before the photo is saved."""
    lists: dict[str, list[list[str]]] = {name: [] for name in names}
    if "frequent" in lists:
        lists["frequent"] = list(frequent(shots))
    if "ridge" in lists:
        lists["ridge"] = list(ridge(shots))
    if not {"project", "blank"} & lists.keys():
        return lists
    setting = Setting(has_detections=has_detections)
    project, blank = (Growing(world, shots, setting, fusion, least) for _ in range(2))
    for number, shot in enumerate(shots):
        if "project" in lists:
            begin = time.perf_counter()
            proposals = project.proposals(number)
            seconds.append(time.perf_counter() - begin)
            lists["project"].append([proposal.tag.lower() for proposal in proposals])
            if show[0] <= number < show[1]:
                print(f"{number:4} {shot.name}\n     {_shown(proposals, shot)}\n     right: {', '.join(shot.tags)}")
                print(f"     blank: {_shown(blank.proposals(number), shot)}")
            project.save(number)
        if "blank" in lists:
            lists["blank"].append([proposal.tag.lower() for proposal in blank.proposals(number)])
    project.close()
    blank.close()
    return lists


def _shown(proposals: Sequence[Proposal], shot: Shot) -> str:
    return ", ".join(f"{p.tag}{'*' * (p.tag.lower() in shot.tags)} {p.score:.2f}" for p in proposals[:9])


def by_quarters(rows: np.ndarray) -> np.ndarray:
    """Return (5, 3): the means of the quarters, and of all."""
    size = max(len(rows) // 4, 1)
    return np.stack([*(rows[i * size : (i + 1) * size].mean(axis=0) for i in range(4)), rows.mean(axis=0)])


if __name__ == "__main__":
    main()
