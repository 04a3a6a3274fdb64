"""`annotator doctor`: reports what is installed, what is missing and how to install it."""

import argparse
import json
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.server_client import ServerClient
from annotator.storage.project import Project


def add_doctor(commands: Any) -> None:
    """Add `annotator doctor`."""
    doctor = add_command(commands, "doctor", _doctor, "report what is installed, what is missing and how to install it",
                  "annotator doctor --json")  # fmt: skip
    doctor.add_argument("--project", type=Path, metavar="DIR",
                        help="of a served project, also what sees its photos and where they are sent")  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print a JSON object")


def _describe_project(folder: Path) -> dict[str, str]:
    """Return what sees the photos of a served project, in words.

    Raises:
        AnnotatorError: The project is not served.
    """
    state = ServerClient(Project.open(folder)).call("state")
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


def _doctor(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.doctor import examine

    report = examine()
    if parsed.project is not None:
        report = {**report, "project": _describe_project(parsed.project)}
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        for section, values in report.items():
            print(f"{section}:" if values else f"{section}: none")
            for name, value in values.items() if isinstance(values, dict) else enumerate(values):
                print(f"  {name}: {value}" if isinstance(values, dict) else f"  - {value}")
    return 1 if report["problems"] else 0
