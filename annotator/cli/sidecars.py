"""`annotator sidecars`: the sidecars that are not in step with the saved lists, and which list counts."""

import argparse
import json
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.server_client import ServerClient
from annotator.json_types import JsonObject
from annotator.storage.project import Project


def add_sidecars(commands: Any) -> None:
    """Add `annotator sidecars`."""
    sidecars = add_command(commands, "sidecars", _sidecars, "list the sidecars that are not in step with saved lists",
                    "annotator sidecars PROJECT --take theirs",
                    more=", of a project that is served with --sidecars.")  # fmt: skip
    sidecars.add_argument("project", type=Path, metavar="PROJECT")
    sidecars.add_argument("--take", choices=("ours", "theirs"),
                          help="of sidecars that another program has changed: ours writes the saved list over them, "
                          "theirs makes their list the saved one")  # fmt: skip
    sidecars.add_argument("--photo", type=int, metavar="ID", help="only this photo (default: all)")
    sidecars.add_argument("--json", action="store_true", help="print as JSON")


def _sidecars(parsed: argparse.Namespace) -> int:
    server = ServerClient(Project.open(parsed.project))
    answer = server.call("sidecars")
    if parsed.take:
        for item in answer["items"]:
            if item["state"] == "changed" and parsed.photo in (None, item["image_id"]):
                answer = server.call("settle_sidecar", {"image_id": item["image_id"], "take": parsed.take})
    if parsed.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        _print(answer)
    return 0


def _print(answer: JsonObject) -> None:
    for item in answer["items"]:
        print(f"photo {item['image_id']}, {item['file_name']}")
        if item["state"] == "changed":
            print(f"  saved here:      {', '.join(item['saved']) or 'no tags'}")
            print(f"  in the sidecar:  {', '.join(item['found']) or 'no tags'}")
        else:
            print(f"  {item['reason']}")
    print(
        f"{answer['num_written']:,} sidecars in step, {answer['num_changed']:,} changed by another program, "
        f"{answer['num_failed']:,} could not be written, {answer['num_waiting']:,} waiting."
    )
