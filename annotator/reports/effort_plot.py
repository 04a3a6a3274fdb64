"""Plots an effort report (reports/effort.py) as a PNG file. Knows nothing of the log."""

from pathlib import Path
from typing import Any

from annotator.errors import AnnotatorError


def plot_effort(report: dict[str, Any], path: Path) -> None:
    """Plot actions and seconds per photo over time by model, and acceptance by rank.

    Args:
        report: As returned by `effort_report`.
        path: A PNG file; overwritten.

    Raises:
        AnnotatorError: The file cannot be written.
    """
    # The object interface needs no window system and shares no state with other plots.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    actions, seconds, ranks = figure.subplots(1, 3)
    for axes, measure, label in (
        (actions, "actions_per_photo", "actions a photo (keys and clicks)"),
        (seconds, "seconds_per_photo", "seconds a photo (median)"),
    ):
        for model in dict.fromkeys(point["model"] for point in report["over_time"]):
            points = [point for point in report["over_time"] if point["model"] == model]
            middles = [(point["first_photo"] + point["last_photo"]) / 2 for point in points]
            axes.plot(middles, [point[measure] for point in points], marker=".", label=model or "none")
        axes.set(xlabel="photos saved", ylabel=label)
        axes.set_ylim(bottom=0)
        if report["over_time"]:
            axes.legend(title="model", fontsize="small")
    ranks.bar(
        [row["rank"] for row in report["acceptance_by_rank"]],
        [row["share_kept"] for row in report["acceptance_by_rank"]],
    )
    ranks.set(xlabel="rank of the proposal", ylabel="share kept", ylim=(0, 1))
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise AnnotatorError(f"The plot {path} cannot be written: {error.strerror}.") from error
