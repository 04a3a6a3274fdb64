"""`annotator report`: the effort of tagging, and how good the proposals were.

Knows nothing of SQL or plots: reports/effort.py computes, reports/effort_plot.py plots.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.options import path_or_url
from annotator.cli.server_client import read_or_ask
from annotator.cli.snapshot import project_or_snapshot, say_how_old
from annotator.errors import AnnotatorError
from annotator.storage.project import Project


def add_report(commands: Any) -> None:
    """Add `annotator report` to the parser of commands."""
    parser = add_command(
        commands,
        "report",
        _report,
        "print the effort of tagging, and how good the proposals were",
        "annotator report PROJECT --plot effort.png",
        ", from the log; also while the project is served.",
    )
    parser.add_argument("project", type=path_or_url, metavar="PROJECT", help="or the target of `annotator snapshot`")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also write a plot")


def _report(parsed: argparse.Namespace) -> int:
    from annotator.reports.effort import effort_report

    if parsed.plot and parsed.plot.suffix.lower() != ".png":
        raise AnnotatorError(f"--plot needs a file that ends with .png, got {parsed.plot.name!r}.")
    source = project_or_snapshot(parsed.project)
    if isinstance(source, Project):
        with read_or_ask(source) as (store, server):
            report = server.call("effort_report", {}) if server else effort_report(store.rows)
    else:
        from annotator.maintenance.snapshots import read_report

        about, report = read_report(source)
        say_how_old(about, source)
    if parsed.plot:
        from annotator.reports.effort_plot import plot_effort

        plot_effort(report, parsed.plot)
    print(json.dumps(report, ensure_ascii=False, indent=2) if parsed.json else report_text(report))
    return 0


def report_text(report: dict[str, Any]) -> str:
    """Return a report (reports/effort.py) as tables for a terminal."""
    queue, order = report["queue"], report["order"]
    lines = [
        f"{queue['num_saved']:,} of {queue['num_images']:,} photos saved, {queue['num_put_off']:,} put off.",
        f"{_text(report['mean_actions'])} actions (keys and clicks) and {_text(report['median_seconds'])} s (median) "
        f"a photo, over {report['num_photos']:,} photos.",
        f"Of {order['num_photos']:,} photos with two kept proposals or more, {_text(order['share_in_another_order'])} "
        f"were put in another order, with {_text(order['moves_per_photo'])} moves a photo.",
    ]
    tables = {
        "By model": report["by_model"],
        "By strategy": queue["by_strategy"],
        "Acceptance by rank": report["acceptance_by_rank"],
        "Tags most often added": report["tags_added"],
        "Proposals most often dropped": report["tags_dropped"],
        "Photos saved again": report["repeats"],
        "Agreement with the first nine proposals, random sample": report["probes"],
    }
    for title, rows in tables.items():
        if rows:
            lines += ["", f"{title}:", *table_lines(rows)]
    return "\n".join(lines)


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return rows as indented lines of a table; the column names are the keys of the first row."""
    cells = [[name.replace("_", " ") for name in rows[0]], *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells]  # fmt: skip


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
