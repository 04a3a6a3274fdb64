"""`annotator add` and `annotator unreadable`: bring photos into a project, and list those that could not be read."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.options import add_ingest_options, check_folder, ingest_config
from annotator.cli.server_client import read_or_ask
from annotator.ingest.project_backbone import choose_backbone
from annotator.storage.project import Project


def add_add(commands: Any) -> None:
    """Add `annotator add`."""
    add = add_command(commands, "add", _add_photos, "bring photos into a project without serving it",
               "annotator add PROJECT ~/Pictures/2026 --json")  # fmt: skip
    add.add_argument("project", type=Path, metavar="PROJECT", help="the project folder, made when missing")
    add.add_argument("photos", type=Path, nargs="+", metavar="PHOTOS", help="folders of photos")
    add.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_ingest_options(add)


def add_unreadable(commands: Any) -> None:
    """Add `annotator unreadable`."""
    unreadable = add_command(commands, "unreadable", _unreadable, "list the files that could not be read, and why",
                      "annotator unreadable PROJECT --json")  # fmt: skip
    unreadable.add_argument("project", type=Path, metavar="PROJECT")
    unreadable.add_argument("--json", action="store_true", help="print a JSON list")


def _add_photos(parsed: argparse.Namespace) -> int:
    from annotator.session.workspace import Workspace

    folders = [folder.expanduser().resolve() for folder in parsed.photos]
    for folder in folders:
        check_folder(folder)
    project = Project.open_or_create(parsed.project, parsed.project.resolve().name)
    if parsed.backbone:
        choose_backbone(project, parsed.backbone)
    workspace = Workspace(project, ingest_config(parsed))
    try:
        progress = workspace.ingest.run(folders)
        num_digests = workspace.digest_pass.num_missing()
        if num_digests:
            print(f"Reading {num_digests:,} photos of an older version once more; Ctrl+C leaves the rest for later.",
                  file=sys.stderr)  # fmt: skip
            workspace.digest_pass.run()
        summary: dict[str, Any] = {
            "num_found": progress.num_found,
            "num_new": progress.num_new,
            "num_changed": progress.num_changed,
            "num_images": len(workspace.features),
            "num_unreadable": workspace.store.images.unreadable(limit=0)[0],
            "unread_types": workspace.store.images.unread_types(),
            "photos_per_second": progress.photos_per_second,
            "not_mounted": [asdict(item) for item in progress.not_mounted],
        }
    finally:
        workspace.close()
    if parsed.json:
        print(json.dumps(summary))
    else:
        print(
            f"{summary['num_found']:,} files, {summary['num_new']:,} new photos at {summary['photos_per_second']}/s, "
            f"{_unread_text(summary['num_unreadable'], summary['unread_types'])} "
            f"(see: annotator unreadable {parsed.project})."
        )
        if progress.num_changed:
            print(f"{progress.num_changed:,} known photos have other pixels than before; they keep their tags.")
        for item in progress.not_mounted:
            print(
                f"The folder {item.folder} is missing or empty; its {item.num_photos:,} photos keep their tags. If it "
                f"is on another disk, connect that; if it was moved: annotator add {parsed.project} FOLDER.",
                file=sys.stderr,
            )
    return 0


def _unread_text(num_unreadable: int, types: dict[str, int]) -> str:
    """Return how many files of which types were not read."""
    named = ", ".join(f"{number:,} {name}" for name, number in types.items())
    return f"{num_unreadable:,} not read: {named}" if named else "0 unreadable"


def _unreadable(parsed: argparse.Namespace) -> int:
    items: list[Any] = []
    types: dict[str, int] = {}
    with read_or_ask(Project.open(parsed.project)) as (store, server):
        if server is None:
            items = [{"path": path, "reason": reason} for path, reason in store.images.unreadable(limit=2**31)[1]]
            types = store.images.unread_types()
        else:
            while (answer := server.call("unreadable", {"offset": len(items), "limit": 500}))["items"]:
                items += answer["items"]
            types = answer["types"]
    if parsed.json:
        print(json.dumps(items, ensure_ascii=False))
    else:
        for item in items:
            print(f"{item['path']}: {item['reason']}")
        print(f"{_unread_text(len(items), types)}.", file=sys.stderr)
    return 0
