"""The results of a simulation as numbers, a table and a plot.

Intervals are 95% bootstrap intervals of the mean over photos; those of differences are paired by photo.
Knows nothing of sessions.
"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.simulation.simulated_annotator import ArmRun

NUM_RESAMPLES = 2_000
NUM_STRETCHES = 8
"""Parts of a run whose means are reported, to show the trend."""

Report = dict[str, Any]


def report(runs: dict[str, ArmRun], num_given: int, seed: int) -> Report:
    """Return all measures of some arms over the same photos.

    Args:
        runs: Arm -> N photos' efforts, the same photos in every arm, in the order of tagging.
        num_given: Photos that were tagged before the first counted one.
        seed: Seed of the bootstrap.
    """
    counts = {arm: np.array([effort.num_actions for effort in run.efforts]) for arm, run in runs.items()}
    lengths = np.array([effort.num_tags for effort in next(iter(runs.values())).efforts])
    return {
        "num_photos": len(lengths),
        "tags_per_photo": _rounded(lengths.mean()),
        "actions_per_photo": {arm: _rounded(values.mean()) for arm, values in counts.items()},
        "arms": {arm: _arm(run, counts[arm], num_given, seed) for arm, run in runs.items()},
        "saved_against": _differences(runs, counts, num_given, seed),
    }


def mean_interval(values: npt.NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the ends of the 95% interval of a mean."""
    rows = np.random.default_rng(seed).integers(0, len(values), (NUM_RESAMPLES, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), [2.5, 97.5])
    return _rounded(low), _rounded(high)


def table(found: Report) -> str:
    """Return the arms as a Markdown table."""
    kinds = sorted({kind for arm in found["arms"].values() for kind in arm["by_kind"]})
    head = ["arm", "actions a photo", "95%", "held keys", *kinds]
    rows = [
        [name, f"{arm['mean']:.2f}", f"{arm['low']:.2f}-{arm['high']:.2f}", f"{arm['held']:.2f}",
         *(f"{arm['by_kind'].get(kind, 0):.2f}" for kind in kinds)]
        for name, arm in found["arms"].items()
    ]  # fmt: skip
    lines = [f"{found['num_photos']:,} photos, {found['tags_per_photo']:.2f} tags a photo", ""]
    lines += ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    lines += ["", "| arm | corrections before | actions a photo | 95% |", "|---|---|---|---|"]
    for name, arm in found["arms"].items():
        for part in arm["stretches"]:
            interval = f"{part['low']:.2f}-{part['high']:.2f}"
            lines.append(f"| {name} | {part['first']:,}-{part['last']:,} | {part['mean']:.2f} | {interval} |")
    lines += ["", "| arm | against | actions saved a photo | 95% |", "|---|---|---|---|"]
    for name, others in found["saved_against"].items():
        for other, saved in others.items():
            lines.append(f"| {name} | {other} | {saved['mean']:+.2f} | {saved['low']:+.2f} to {saved['high']:+.2f} |")
    for name, arm in found["arms"].items():
        lines += [f"\n{name}, after {done['num_corrections']:,}: {done['sentence']}" for done in arm["rounds"]]
    return "\n".join(lines)


def plot(found: Report, path: Path) -> None:
    """Plot actions a photo against the number of corrections, and against the actions spent.

    A vertical line is a training: dashed if its candidate was promoted, dotted if it was refused.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for name, arm in found["arms"].items():
        parts = arm["stretches"]
        means = [part["mean"] for part in parts]
        bounds = [[part[end] for part in parts] for end in ("low", "high")]
        for axes, places in (
            (left, [(part["first"] + part["last"]) / 2 for part in parts]),
            (right, [part["actions_spent"] for part in parts]),
        ):
            axes.plot(places, means, marker="o", markersize=3, label=f"{name} ({arm['mean']:.2f})")
            axes.fill_between(places, *bounds, alpha=0.15)
        for done in arm["rounds"]:
            style = "--" if done["state"] == "promoted" else ":"
            left.axvline(done["num_corrections"], color="grey", linestyle=style, linewidth=0.8)
    left.set_xlabel("corrections made (photos)")
    right.set_xlabel("actions spent so far (keys and clicks)")
    left.set_ylabel("actions a photo (keys and clicks)")
    left.set_ylim(bottom=0)
    left.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(
        f"Effort over {found['num_photos']:,} photos with {found['tags_per_photo']:.2f} tags each; 95% bands"
    )
    figure.savefig(path, dpi=110)


def _arm(run: ArmRun, counts: npt.NDArray[np.int64], num_given: int, seed: int) -> Report:
    photos = run.efforts
    by_kind: Counter[str] = Counter()
    for effort in photos:
        by_kind.update(effort.by_kind)
    low, high = mean_interval(counts, seed)
    return {
        "mean": _rounded(counts.mean()),
        "low": low,
        "high": high,
        "held": _rounded(np.mean([effort.num_held for effort in photos])),
        "by_kind": {kind: _rounded(number / len(photos)) for kind, number in by_kind.items()},
        "stretches": [
            {**part, "actions_spent": int(counts[: part["last"] + 1 - num_given].sum())}
            for part in _stretches(counts, num_given, seed)
        ],
        "rounds": [asdict(done) for done in run.rounds],
    }


def _stretches(values: npt.NDArray[np.int64], num_given: int, seed: int) -> list[Report]:
    parts = []
    for rows in np.array_split(np.arange(len(values)), min(NUM_STRETCHES, len(values))):
        low, high = mean_interval(values[rows], seed)
        first, last = num_given + int(rows[0]), num_given + int(rows[-1])
        parts.append({"first": first, "last": last, "mean": _rounded(values[rows].mean()), "low": low, "high": high})
    return parts


def _differences(
    runs: dict[str, ArmRun], counts: dict[str, npt.NDArray[np.int64]], num_given: int, seed: int
) -> dict[str, dict[str, Report]]:
    """Return, for each pair of arms, the actions a photo that the later one saves, paired by photo.

    With ``stretches`` if both took the photos in the same order.
    """
    orders = {name: [effort.image for effort in run.efforts] for name, run in runs.items()}
    names = list(runs)
    found: dict[str, dict[str, Report]] = {}
    for at, name in enumerate(names[1:], start=1):
        found[name] = {}
        for other in names[:at]:
            place = {image: row for row, image in enumerate(orders[other])}
            saved = counts[other][[place[image] for image in orders[name]]] - counts[name]
            low, high = mean_interval(saved, seed)
            found[name][other] = {"mean": _rounded(saved.mean()), "low": low, "high": high}
            if orders[name] == orders[other]:
                found[name][other]["stretches"] = _stretches(saved, num_given, seed)
    return found


def _rounded(value: Any) -> float:
    return round(float(value), 4)
