"""Learns fusion.json, and what its chances are worth: projects are replayed from nothing.

    python tests/benchmarks/growth/fit_fusion.py DATA --tagger CHECKPOINT [--open CHECKPOINT] [--half 0 [1]]
        [--out FILE] [--judge-half 1] [--rows FOLDER]

DATA holds captions, food and corel5k; of captions only those photos are used that the training of --tagger held back.
Projects of each data set and of mixtures are tagged photo by photo, as growing.py has it; every candidate of every
photo is a row, seen with nothing settled, of every sixth photo also with the first tag and with half of the tags
settled, and of every fourth with no photo saved.
With --half only photos of that half teach (a hash of the name; of two halves each makes projects of its own), and
--judge-half measures the log loss, the expected calibration error and the reliability bins on projects of the other, at
0, about 20 and about 100 saves, nothing settled, of the logistic model alone and with the trees. The weights that ship
are taught by --half 0 1. --rows keeps the rows, so that another fit takes seconds.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fusion import FLOOR
from fusion_fit import PULL, Rows, fit_fusion, fit_trees, reliability
from replays import Growing, World, drawn

from annotator.datasets.tags import tag_key

PROJECTS = (
    (("captions=200",), 3, False),
    (("food?hand_tagged=117",), 3, False),
    (("food?hand_tagged=117",), 1, True),
    (("corel5k=200",), 2, False),
    (("captions=120", "food?hand_tagged=57"), 3, False),
    (("captions=100", "corel5k=100"), 1, False),
    (("corel5k=100", "food?hand_tagged=60"), 1, False),
)
"""(what a project is made of, how many of such, whether the photos bring their own keywords along)."""
EVERYDAY = 2
"""How often projects of everyday photos alone count: at 1, the first quarter's recall@9 is .03 below the starter's."""
FIRST_SEED = 100
"""Of the draws that teach; the reported ones have seeds from 0."""
STAGES = {"0 saves": (0, 1), "15-25 saves": (15, 25), "90-110 saves": (90, 110), "all": (0, 10**6)}


@dataclass(frozen=True)
class Taught:
    """One project's rows."""

    rows: Rows
    saves: np.ndarray
    """(M,) photos saved before."""
    settled: np.ndarray
    """(M,) tags settled."""
    photo: np.ndarray
    """(M,) number of the view: a photo with a prefix."""
    name: str


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tagger", required=True)
    parser.add_argument("--open", default="")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--half", type=int, nargs="*", default=[])
    parser.add_argument("--judge-half", type=int)
    parser.add_argument("--pull", type=float, default=PULL)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=Path, help="keep the rows in this folder, and read them if they are there")
    parsed = parser.parse_args()
    world = World(parsed.tagger, parsed.open, parsed.cache)
    halves: list[int | None] = list(parsed.half) or [None]
    taught = [item for half in halves for item in collect(world, parsed.data, half, FIRST_SEED, parsed.rows)]
    rows = [item.rows for item in taught for _ in range(EVERYDAY if item.name.startswith("captions=200") else 1)]
    fusion = fit_fusion(rows, pull=parsed.pull)
    trees = fit_trees(rows, fusion)
    for name, weight in sorted(fusion.weights.items(), key=lambda entry: -abs(entry[1])):
        print(f"{name:>15} {weight:8.3f}")
    print(f"{'bias':>15} {fusion.bias:8.3f}")
    if parsed.out:
        chosen = " ".join(["--half", *map(str, parsed.half)] if parsed.half else [])
        note = {"fitted_by": f"python tests/benchmarks/growth/fit_fusion.py DATA --tagger JVSP80 {chosen} --out FILE"}
        parsed.out.write_text(json.dumps(note | trees.to_json()) + "\n")
    if parsed.judge_half is not None:
        judged = list(collect(world, parsed.data, parsed.judge_half, FIRST_SEED, parsed.rows))
        show("logistic", judged, [fusion.chances(item.rows.features.astype(float)) for item in judged])
        show("trees", judged, [trees.chances(item.rows.features.astype(float)) for item in judged])


def collect(world: World, data: Path, half: int | None, first_seed: int, keep: Path | None) -> Iterator[Taught]:
    """Yield each project's rows."""
    for specs, num, with_keywords in PROJECTS:
        for seed in range(first_seed, first_seed + num):
            name = f"{'+'.join(specs)}{' keywords' * with_keywords} seed {seed} half {half}"
            path = keep / f"{name.replace('?', '_')}.npz" if keep else None
            if path is not None and path.exists():
                with np.load(path) as found:
                    rows = Rows(found["features"], found["is_right"])
                    yield Taught(rows, found["saves"], found["settled"], found["photo"], name)
                continue
            made = replayed(world, [str(data / spec) for spec in specs], seed, half, with_keywords, name)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savez(path, features=made.rows.features, is_right=made.rows.is_right, saves=made.saves,
                         settled=made.settled, photo=made.photo)  # fmt: skip
            print(f"{name}: {len(made.saves):,} rows, {made.rows.is_right.mean():.3f} right", flush=True)
            yield made


def replayed(world: World, specs: Sequence[str], seed: int, half: int | None, with_keywords: bool, name: str) -> Taught:
    """Return one project's rows."""
    shots = drawn(world, specs, seed, half)
    growing = Growing(world, shots, with_keywords)
    blank = Growing(world, shots, with_keywords)
    features: list[np.ndarray] = []
    right: list[bool] = []
    saves: list[int] = []
    settled: list[int] = []
    photo: list[int] = []
    view = 0
    for number, shot in enumerate(shots):
        views = [(growing, 0, number)]
        if number % 6 == 0 and len(shot.tags) > 1:
            views += [(growing, length, number) for length in sorted({1, len(shot.tags) // 2})]
        if number % 4 == 1:
            views.append((blank, 0, 0))
        for project, length, num_saved in views:
            weighed = project.weigh(number, shot.tags[:length])
            wanted = {tag_key(tag) for tag in shot.tags[length:]}
            features.append(weighed.features.astype(np.float32))
            right += [key in wanted for key in weighed.keys]
            saves += [num_saved] * len(weighed.keys)
            settled += [length] * len(weighed.keys)
            photo += [view] * len(weighed.keys)
            view += 1
        growing.save(number)
    growing.close()
    blank.close()
    rows = Rows(np.concatenate(features), np.array(right))
    return Taught(rows, np.array(saves), np.array(settled), np.array(photo), name)


def show(title: str, judged: Sequence[Taught], chances: Sequence[np.ndarray]) -> None:
    """Print what the chances of held-out projects are worth."""
    for stage, (first, last) in STAGES.items():
        inside = [(item.saves >= first) & (item.saves < last) & (item.settled == 0) for item in judged]
        p = np.concatenate([c[mask] for c, mask in zip(chances, inside, strict=True)])
        y = np.concatenate([item.rows.is_right[mask] for item, mask in zip(judged, inside, strict=True)])
        error, bins = reliability(p, y)
        kept = np.clip(p, 1e-6, 1 - 1e-6)
        loss = -np.mean(np.where(y, np.log(kept), np.log(1 - kept)))
        proposed = p >= FLOOR
        error_of_proposed = reliability(p[proposed], y[proposed])[0] if proposed.any() else float("nan")
        cells = "  ".join(f"{item.chance:.2f}:{item.right:.2f} ({item.num})" for item in bins)
        print(f"{title}, {stage}: log loss {loss:.4f}, ECE {error:.4f}, of proposals {error_of_proposed:.4f}; {cells}")
    for item, c in zip(judged, chances, strict=True):
        quality = first_lists(item, c)
        print(f"  {item.name}: first {quality[0]:.3f} precision@5 {quality[1]:.3f} right in nine {quality[2]:.3f}")


def first_lists(item: Taught, chances: np.ndarray) -> np.ndarray:
    """Return (first right, precision@5, right tags among nine) of the lists with nothing settled."""
    found = []
    for view in np.unique(item.photo[(item.settled == 0) & (item.saves > 0)]):
        inside = np.flatnonzero(item.photo == view)
        right = item.rows.is_right[inside[np.argsort(-chances[inside], kind="stable")]]
        found.append((right[:1].sum(), right[:5].sum() / 5, right[:9].sum()))
    return np.mean(found, axis=0)


if __name__ == "__main__":
    main()
