"""`annotator open`: the page of a project, whether a server has it open or not."""

import argparse
import os
import signal
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.serve import check_free, run_server
from annotator.cli.server_client import ServerClient
from annotator.errors import AnnotatorError, ConfigError
from annotator.ingest.chosen_project import ChosenProject, demo_project, full_path, project_of
from annotator.settings import IngestConfig, ServerConfig
from annotator.storage.private_files import hold_alone, private_files
from annotator.storage.project import Project, is_project
from annotator.storage.recent_projects import recent_projects


def add_open(commands: Any) -> None:
    """Add `annotator open`."""
    parser = add_command(commands, "open", _open, "open the page of a project: the last one, another, or the demo",
                         "annotator open ~/Pictures/holiday",
                         more="; one that is served already is not served again.")  # fmt: skip
    parser.add_argument("path", type=Path, nargs="?", metavar="PATH",
                        help="a folder of photos, or a project (default: the one that was opened last)")  # fmt: skip
    parser.add_argument("--list", action="store_true", dest="lists", help="print the recent projects instead")
    parser.add_argument("--demo", action="store_true", help="the sample photos, with a project in the user's data")
    parser.add_argument("--port", type=int, default=0, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--until-input-ends", action="store_true",
                        help="end when standard input is closed, for a program that starts this one")  # fmt: skip


def _open(parsed: argparse.Namespace) -> int:
    if parsed.lists:
        for recent in recent_projects():
            print(f"{recent.name}\t{recent.folder}\t{', '.join(recent.photos)}")
        return 0
    chosen = _chosen(parsed)
    if is_project(chosen.folder) and (address := _served_at(Project(chosen.folder))):
        print(f"Tagging page: {address}\nProject:      {chosen.folder}", flush=True)
        if not parsed.no_browser:
            webbrowser.open(address)
        return 0
    if parsed.until_input_ends:
        threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    project = Project.open_or_create(chosen.folder, chosen.name)
    project.check_writable()
    check_free(project)
    with hold_alone(project.folder), private_files():
        folders = None if chosen.photos is None else [chosen.photos]
        run_server(project, folders, ServerConfig(port=parsed.port), IngestConfig(), not parsed.no_browser)
    return 0


def _chosen(parsed: argparse.Namespace) -> ChosenProject:
    """Return the project that is meant.

    Raises:
        ConfigError: There is none.
    """
    if parsed.demo:
        if parsed.path is not None:
            raise ConfigError("Name a path or --demo, not both.")
        return demo_project()
    if parsed.path is not None:
        return project_of(full_path(str(parsed.path.expanduser().absolute())))
    recent = recent_projects()
    if not recent:
        raise ConfigError("No project was opened yet. Name a folder of photos: annotator open PHOTOS")
    return project_of(Path(recent[0].folder))


def _served_at(project: Project) -> str | None:
    """Return the address of the server that has a project open; None if there is none."""
    try:
        return ServerClient(project).address
    except AnnotatorError:
        return None


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
