"""Does tagging make the first list better? A folder is tagged photo by photo in memory, with its records' own tags.

    python tests/benchmarks/growth/growing.py SPEC... --tagger CHECKPOINT [--open CHECKPOINT] [--seeds 0 1 2]
        [--half 1] [--fusion FILE ...] [--lists served cold frequent ridge] [--show FROM TO] [--json]

SPEC is FOLDER[?FIELD][=NUM], and the photos come in the order of growth for the same seed and the
same photos to draw from. Of a folder named captions only those photos are drawn that the training of --tagger held
back; so it must be a checkpoint with a split, as `annotator train` without --on-all writes one. --half keeps the photos
of one half, by a hash of the name: with a --fusion for each half, trained on the other one, a photo is never judged by
weights that learnt of it. Rows: share of photos whose first proposal is right / precision@5 / recall@9, by quarters and
over all, mean over the seeds with the standard deviation of "all" between them. No HTTP, no detections: 25 ms a photo
and list.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fusion import FLOOR, Fusion, load_fusion
from replays import Growing, Shot, World, drawn, frequent, measure, ridge


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+")
    parser.add_argument("--tagger", required=True, help="a checkpoint that `annotator train` wrote")
    parser.add_argument("--open", default="")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--half", type=int, nargs="*", default=[])
    parser.add_argument("--fusion", nargs="*", default=[], help="none: the one that comes along; two: for half 0 and 1")
    parser.add_argument("--floor", type=float, default=FLOOR)
    parser.add_argument("--lists", nargs="+", default=["fused", "served", "cold", "frequent", "ridge"])
    parser.add_argument("--show", type=int, nargs=2, help="print the fused lists of these photos of the first seed")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    world = World(parsed.tagger, parsed.open, parsed.cache)
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
            for name, lists in replay(world, shots, parsed.lists, fusion, parsed.floor, show, seconds).items():
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
        print(
            f"a fused list: median {np.median(seconds) * 1000:.1f} ms, p95 {np.quantile(seconds, 0.95) * 1000:.1f} ms"
        )


def replay(
    world: World,
    shots: Sequence[Shot],
    names: Sequence[str],
    fusion: Fusion,
    floor: float,
    show: tuple[int, int],
    seconds: list[float],
) -> dict[str, list[list[str]]]:
    """Return each kind of list of every photo, each made before the photo is saved."""
    lists: dict[str, list[list[str]]] = {name: [] for name in names}
    if "frequent" in lists:
        lists["frequent"] = list(frequent(shots))
    if "ridge" in lists:
        lists["ridge"] = list(ridge(shots))
    if not {"fused", "served", "cold"} & lists.keys():
        return lists
    growing = Growing(world, shots, extends="served" in lists)
    for number, shot in enumerate(shots):
        if "cold" in lists:
            lists["cold"].append(world.cold(shot))
        if "served" in lists:
            lists["served"].append(growing.served(number))
        if "fused" in lists:
            begin = time.perf_counter()
            tags, chances = growing.fused(number, fusion, floor)
            seconds.append(time.perf_counter() - begin)
            lists["fused"].append(tags)
            if show[0] <= number < show[1]:
                proposed = ", ".join(
                    f"{t}{'*' if t in shot.tags else ''} {c:.2f}" for t, c in zip(tags[:9], chances[:9], strict=True)
                )
                print(f"{number:4} {shot.name}\n     {proposed}\n     right: {', '.join(shot.tags)}")
                print(f"     without: {', '.join(world.cold(shot)[:9])}")
                if "served" in lists:
                    print(f"     served:  {', '.join(lists['served'][-1][:9])}")
        growing.save(number)
    growing.close()
    return lists


def by_quarters(rows: np.ndarray) -> np.ndarray:
    """Return (5, 3): the means of the quarters, and of all."""
    size = max(len(rows) // 4, 1)
    return np.stack([*(rows[i * size : (i + 1) * size].mean(axis=0) for i in range(4)), rows.mean(axis=0)])


if __name__ == "__main__":
    main()
