"""`annotator doctor`: reports what is installed, what is missing and how to install it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.server_client import ServerClient
from annotator.errors import AnnotatorError
from annotator.storage.project import Project


def add_doctor(commands: Any) -> None:
    """Add `annotator doctor`."""
    doctor = add_command(commands, "doctor", _doctor, "report what is installed, what is missing and how to install it",
                  "annotator doctor --json")  # fmt: skip
    doctor.add_argument("--project", type=Path, metavar="DIR",
                        help="also where the project lies and who writes it; if it is served, whether its server is "
                        "well, what sees its photos and where they are sent")  # fmt: skip
    doctor.add_argument("--deployment", type=Path, metavar="FILE", action="append", default=[],
                        help="also check a file of Docker Compose or Kubernetes that runs a server: one writer, "
                        "probes, time to end; may be repeated")  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print a JSON object")


def _examine_project(folder: Path, problems: list[str]) -> dict[str, str]:
    """Return where a project lies, who writes it, and, if it is served, what sees its photos, in words.

    Raises:
        ProjectError: The folder is no project.
    """
    from annotator.maintenance.placement import examine_placement, writer_problems

    project = Project.open(folder)
    placement = examine_placement(project.folder)
    problems += placement.problems
    try:
        server: ServerClient | None = ServerClient(project)
        why_not = ""
    except AnnotatorError as error:
        server, why_not = None, str(error)
    noted: dict[str, object] | None = {} if project.server_path.exists() else None
    problems += writer_problems(project.folder, noted, is_served=server is not None, held=placement.is_held)
    found = {
        "file system": placement.file_system or "unknown",
        "free space": f"{placement.free_bytes / 1e9:.1f} GB",
    }
    if server is None:
        return {**found, "server": f"none. {why_not}"}
    return {**found, "server": _examine_server(server, problems), **_describe_project(server)}


def _examine_server(server: ServerClient, problems: list[str]) -> str:
    """Return whether a server is alive and ready, in words."""
    answers = {}
    for name in ("health", "ready"):
        try:
            server.open(name).close()
            answers[name] = "yes"
        except AnnotatorError as error:
            answers[name] = f"no: {error}"
            problems.append(f"The server at {server.address} (process {server.pid}) does not pass {name}: {error}")
    return f"{server.address}, process {server.pid}; alive: {answers['health']}; ready: {answers['ready']}"


def _describe_project(server: ServerClient) -> dict[str, str]:
    """Return what sees the photos of a served project, in words."""
    state = server.call("state")
    vlm, text, speed = state["vlm"], state["text"], state["ingest"]["photos_per_second"]
    asked = "none"
    if vlm["model"]:
        each = f", {vlm['seconds_each']} s a photo" if vlm["seconds_each"] is not None else ""
        where = f"photos are sent to {vlm['host']}" if vlm["host"] else "no photo is sent anywhere"
        asked = f"{vlm['model']}; {where}{each}" + (f". {vlm['error']}" if vlm["error"] else "")
    return {
        "backbone": state["backbone"] + (f", {speed} photos/s read in the last run" if speed else ""),
        "image-text model": f"{text['num_ready']:,} of {text['num_words']:,} words" if text["num_words"] else "none",
        "detector": state["detections"]["detector"],
        "vision-language model": asked,
    }


def _examine_deployment(paths: Sequence[Path], problems: list[str]) -> dict[str, str]:
    """Return what is found in each file, in words.

    Raises:
        ConfigError: A file cannot be read, or is neither Compose's nor Kubernetes'.
    """
    from annotator.maintenance.deployment import check_deployment

    states = {}
    for path in paths:
        found = check_deployment(path)
        problems += [f"{path}: {text}" for text in found]
        states[str(path)] = f"{len(found)} problems" if found else "well"
    return states


def _doctor(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.doctor import examine

    report = examine()
    if parsed.project is not None:
        report = {**report, "project": _examine_project(parsed.project, report["problems"])}
    if parsed.deployment:
        report = {**report, "deployment": _examine_deployment(parsed.deployment, report["problems"])}
    report["problems"] = report.pop("problems")  # comes last
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        for section, values in report.items():
            print(f"{section}:" if values else f"{section}: none")
            for name, value in values.items() if isinstance(values, dict) else enumerate(values):
                print(f"  {name}: {value}" if isinstance(values, dict) else f"  - {value}")
    return 1 if report["problems"] else 0
