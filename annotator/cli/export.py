"""`annotator export`: the saved tags of a project, from its database or from the server that has it open."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.server_client import read_or_ask
from annotator.exchange.export import FORMATS, export_lines
from annotator.storage.project import Project


def add_export(commands: Any) -> None:
    """Add `annotator export`."""
    export = add_command(commands, "export", _export, "print the saved tags of a project",
                  "annotator export PROJECT --format csv > tags.csv")  # fmt: skip
    export.add_argument("project", type=Path, metavar="PROJECT")
    export.add_argument("--format", choices=sorted(FORMATS), default="jsonl", help="default: %(default)s")


def _export(parsed: argparse.Namespace) -> int:
    project = Project.open(parsed.project)
    for line in _export_lines(project, parsed.format):
        sys.stdout.write(line)
    return 0


def _export_lines(project: Project, format: str) -> Iterator[str]:
    from annotator.storage.correction_log import CorrectionLog

    with read_or_ask(project) as (store, server):
        if server is None:
            yield from export_lines(CorrectionLog(store).export_rows(), format)
        else:
            with server.open(f"export?format={format}") as response:
                yield from (line.decode() for line in response)
