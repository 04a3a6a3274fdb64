"""`annotator add` and `annotator unreadable`: bring photos into a project, and list those that could not be read."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.options import add_ingest_options, checked_root, ingest_config, path_or_url
from annotator.datasets.photo_roots import PhotoRoot, is_url
from annotator.errors import ConfigError, ShardError
from annotator.ingest.photo_source import PhotoSource
from annotator.ingest.progress import NotMounted
from annotator.ingest.project_backbone import choose_backbone
from annotator.models.backbones.pretrained import find_architecture
from annotator.storage.project import Project, is_project
from annotator.storage.shards import ShardFolder, ShardsAbout


def add_add(commands: Any) -> None:
    """Add `annotator add`."""
    add = add_command(commands, "add", _add_photos, "bring photos into a project without serving it",
               "annotator add PROJECT ~/Pictures/2026 --json")  # fmt: skip
    add.add_argument("project", type=Path, metavar="PROJECT", help="the project folder, made when missing")
    add.add_argument("photos", type=path_or_url, nargs="*", metavar="PHOTOS",
                     help="folders of photos, or URLs such as s3://BUCKET/FOLDER")  # fmt: skip
    add.add_argument("--from", type=Path, dest="shards", metavar="SHARDS",
                     help="photos that `annotator embed` has read, in place of PHOTOS")  # fmt: skip
    add.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_ingest_options(add)


def add_unreadable(commands: Any) -> None:
    """Add `annotator unreadable`."""
    unreadable = add_command(commands, "unreadable", _unreadable, "list the files that could not be read, and why",
                      "annotator unreadable PROJECT --json")  # fmt: skip
    unreadable.add_argument("project", type=Path, metavar="PROJECT")
    unreadable.add_argument("--json", action="store_true", help="print a JSON list")


def _add_photos(parsed: argparse.Namespace) -> int:
    from annotator.session.photo_intake import PhotoIntake

    if bool(parsed.photos) == (parsed.shards is not None):
        raise ConfigError("Name either folders of photos, or --from SHARDS.")
    if parsed.shards is None:
        roots: list[PhotoRoot | PhotoSource] = [checked_root(named) for named in parsed.photos]
        project = Project.open_or_create(parsed.project, parsed.project.resolve().name)
        if parsed.backbone:
            choose_backbone(project, parsed.backbone)
        opened = PhotoIntake(project, ingest_config(parsed))
    else:
        shards = ShardFolder.open(parsed.shards.expanduser().resolve())
        project, roots = _project_for(shards, parsed)
        opened = PhotoIntake(project, ingest_config(parsed))
        if opened.backbone_label != shards.about.backbone_label:
            opened.close()
            raise _other_backbone(shards.about, opened.backbone_label)
    try:
        progress = opened.ingest.run(roots)
        num_digests = opened.digest_pass.num_missing()
        if num_digests:
            print(f"Reading {num_digests:,} photos of an older version once more; Ctrl+C leaves the rest for later.",
                  file=sys.stderr)  # fmt: skip
            opened.digest_pass.run()
        opened.keep_index()
        summary: dict[str, Any] = {
            "num_found": progress.num_found,
            "num_new": progress.num_new,
            "num_changed": progress.num_changed,
            "num_images": len(opened.features),
            "num_unreadable": opened.store.images.unreadable(limit=0)[0],
            "unread_types": opened.store.images.unread_types(),
            "photos_per_second": progress.photos_per_second,
            "not_mounted": [asdict(item) for item in progress.not_mounted],
        }
    finally:
        opened.close()
    if parsed.shards is not None:
        print(f"`annotator serve` reads the photos in this folder, new ones too: {shards.about.root}.", file=sys.stderr)
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
            print(_away_text(item, parsed.project), file=sys.stderr)
    return 0


def _project_for(shards: ShardFolder, parsed: argparse.Namespace) -> tuple[Project, list[PhotoRoot | PhotoSource]]:
    """Return the project, a new one with the shards' backbone, and the photos of checked shards.

    Raises:
        ShardError: The shards are incomplete, damaged, or of another backbone or version; nothing was changed.
    """
    from annotator.datasets.pixel_digest import digest_scheme
    from annotator.ingest.renditions import decoded_side
    from annotator.ingest.shard_photos import ShardPhotos
    from annotator.models.backbones.backbone import load_backbone

    about, config = shards.about, ingest_config(parsed)
    shards.check()
    photos = ShardPhotos(shards)
    is_new = not is_project(parsed.project.expanduser().resolve())
    if is_new or parsed.backbone:
        name = find_architecture(parsed.backbone or about.backbone).name
        backbone = load_backbone(name, num_threads=1)
        if f"{name}-{backbone.version}" != about.backbone_label:
            raise _other_backbone(about, f"{name}-{backbone.version}")
    side = decoded_side(find_architecture(about.backbone).image_size, config.thumbnail_size)
    if (digest_scheme(side), config.thumbnail_size) != (about.digest_scheme, about.thumbnail_size):
        raise ShardError(
            f"The shards in {shards.folder} were written by a version of annotator that decodes photos in another way. "
            "Write them anew into another folder: annotator embed ROOT --out SHARDS"
        )
    project = Project.open_or_create(parsed.project, parsed.project.resolve().name)
    if is_new or parsed.backbone:
        choose_backbone(project, about.backbone)
    return project, [photos]


def _other_backbone(about: ShardsAbout, label: str) -> ShardError:
    return ShardError(
        f"The shards are of the backbone {about.backbone_label}, but the project's is {label}. Nothing was changed. "
        "Write shards with the project's backbone: annotator embed ROOT --out SHARDS --backbone NAME"
    )


def _away_text(away: NotMounted, project: Path) -> str:
    """Return a sentence about a root without a photo."""
    keep = f"its {away.num_photos:,} photos keep their tags."
    if is_url(away.folder):
        return f"{away.folder} does not answer or is empty; {keep} Why: annotator unreadable {project}."
    return (
        f"The folder {away.folder} is missing or empty; {keep} If it is on another disk, connect that; if it was "
        f"moved: annotator add {project} FOLDER."
    )


def _unread_text(num_unreadable: int, types: dict[str, int]) -> str:
    """Return how many files of which types were not read."""
    named = ", ".join(f"{number:,} {name}" for name, number in types.items())
    return f"{num_unreadable:,} not read: {named}" if named else "0 unreadable"


def _unreadable(parsed: argparse.Namespace) -> int:
    from annotator.cli.server_client import read_or_ask

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
