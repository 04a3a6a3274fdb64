"""`annotator agreement`: how far people agree with the accepted lists and with one another.

Knows nothing of SQL; reports/agreement_report.py computes the report.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.report import table_lines
from annotator.cli.server_client import read_or_ask
from annotator.storage.project import Project


def add_agreement(commands: Any) -> None:
    """Add `annotator agreement` to the parser of commands."""
    parser = add_command(
        commands,
        "agreement",
        _agreement,
        "print how far people agree with the accepted lists over time, and with one another",
        "annotator agreement PROJECT --json",
        ": Kendall's tau-b, rank-biased overlap, NDCG and shared tags, "
        "by each person's first, blind answers; also while the project is served.",
    )
    parser.add_argument("project", type=Path, metavar="PROJECT")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _agreement(parsed: argparse.Namespace) -> int:
    from annotator.reports.agreement_report import agreement_report

    with read_or_ask(Project.open(parsed.project)) as (store, server):
        report = server.call("agreement", {}) if server else agreement_report(store.rows)
    print(json.dumps(report, ensure_ascii=False, indent=2) if parsed.json else agreement_text(report))
    return 0


def agreement_text(report: dict[str, Any]) -> str:
    """Return a report (reports/agreement_report.py) as tables for a terminal."""
    lines = [f"{report['num_answers']:,} first answers, {report['num_accepted']:,} accepted lists."]
    people = [{name: value for name, value in row.items() if name != "over_time"} for row in report["people"]]
    course = [{"user": row["user"], **block} for row in report["people"] for block in row["over_time"]]
    pairs = [{**row, "users": " and ".join(row["users"])} for row in report["pairs"]]
    tables = {
        "Agreement with the accepted lists": people,
        "The same over time": course if len(course) > len(people) else [],
        "Agreement of two people": pairs,
        "Share of people who gave a tag, where anybody did": report["tags"],
    }
    for title, rows in tables.items():
        if rows:
            lines += ["", f"{title}:", *table_lines(rows)]
    return "\n".join(lines)
