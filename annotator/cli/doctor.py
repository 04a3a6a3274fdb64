"""`annotator doctor`: reports what is installed, what is missing and how to install it."""

import argparse
import json
from typing import Any

from annotator.cli.command import add_command


def add_doctor(commands: Any) -> None:
    """Add `annotator doctor`."""
    doctor = add_command(commands, "doctor", _doctor, "report what is installed, what is missing and how to install it",
                  "annotator doctor --json")  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print a JSON object")


def _doctor(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.doctor import examine

    report = examine()
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        for section, values in report.items():
            print(f"{section}:" if values else f"{section}: none")
            for name, value in values.items() if isinstance(values, dict) else enumerate(values):
                print(f"  {name}: {value}" if isinstance(values, dict) else f"  - {value}")
    return 1 if report["problems"] else 0
