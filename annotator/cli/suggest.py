"""`annotator suggest`: prints ranked tags for photos, without a project."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command, show_step
from annotator.cli.options import TAGGER_HELP, tagger_name
from annotator.cli.vision import add_endpoint_options, endpoint_of
from annotator.errors import AnnotatorError, UnreadableImageError
from annotator.settings import LEAST_PROBABILITY


def add_suggest(commands: Any) -> None:
    """Add `annotator suggest`."""
    suggest = add_command(commands, "suggest", _suggest, "print ranked tags for photos, without a project",
                   "annotator suggest cat.jpg --json")  # fmt: skip
    suggest.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    suggest.add_argument("--num", type=int, default=10, help="tags for each photo (default: %(default)s)")
    suggest.add_argument(
        "--least", type=float, metavar="P", default=LEAST_PROBABILITY,
        help="leave out tags that are less likely than this, 0 to 1 (default: %(default)s)",
    )  # fmt: skip
    suggest.add_argument("--tagger", metavar="NAME", default="", help=TAGGER_HELP)
    suggest.add_argument("--backbone", metavar="NAME", default="",
                         help="network that sees the photos, see `annotator backbone list`; an image-text model "
                         "proposes words without training (default: the tagger's)")  # fmt: skip
    add_endpoint_options(suggest)
    suggest.add_argument("--json", action="store_true", help="print a JSON list")


def _suggest(parsed: argparse.Namespace) -> int:
    from annotator.datasets.image_folder import display_name
    from annotator.proposals.without_project import suggest_files

    if parsed.num < 1:
        raise AnnotatorError(f"--num must be at least 1, got {parsed.num}.")
    if not 0 <= parsed.least <= 1:
        raise AnnotatorError(f"--least must be from 0 to 1, got {parsed.least}.")
    endpoint = endpoint_of(parsed)
    if endpoint is not None:
        show_step(f"Photos are sent to {endpoint.place}, to {endpoint.model}.")
    results, failed = [], False
    found = suggest_files(
        parsed.photos, parsed.num, tagger_name(parsed.tagger), parsed.least,
        backbone_name=parsed.backbone, endpoint=endpoint, note=show_step,
    )  # fmt: skip
    for path, outcome in found:
        if isinstance(outcome, UnreadableImageError):
            print(f"annotator: {display_name(path)}: {outcome}", file=sys.stderr)
            failed = True
            continue
        results.append({"image": display_name(path), "tags": outcome})
        if not parsed.json:
            print(display_name(path))
            for tag in outcome:
                print(f"  {tag['score']:5.2f}  {tag['tag']:<24} {tag['source']}{_origin(tag)}")
    if parsed.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    return 1 if failed else 0


def _origin(tag: dict[str, Any]) -> str:
    """Return which part of the tagger proposed a tag, as text; empty if unknown."""
    if "of" in tag:
        return f", near {tag['of']}"
    return {"tagger_net": ", own tag", "detector": ", detector"}.get(tag.get("from", ""), "")
