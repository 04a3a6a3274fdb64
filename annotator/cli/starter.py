"""`annotator starter`: builds the starter for another backbone, lists and removes those that were built.

Parses, calls trainer/starter.py, and prints.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from annotator.cli.command import add_verb, add_verbs, show_step
from annotator.cli.evaluate import training_records
from annotator.cli.options import add_data_options
from annotator.errors import ConfigError

if TYPE_CHECKING:
    from annotator.trainer.fit import EpochReport

NAMES = ("jvsp", "scnn_rnn", "ranked_lstm", "zero_shot", "open_vocabulary")
"""The taggers; a test compares them with trainer/starter.py, which takes torch to import."""


def add_starter(commands: Any) -> None:
    """Add the command and its verbs to the parser."""
    verbs = add_verbs(
        commands,
        "starter",
        "build the starter, which proposes from the first photo on, for another backbone",
        "Build the starter for another backbone, list those that were built, or remove one.",
        "annotator starter build --backbone timm__ViT-B-16-SigLIP2 --data captions",
    )
    build = add_verb(
        verbs,
        "build",
        _build,
        "train the starter's taggers on photos with tags; projects with that backbone then use them",
        "Train the starter's taggers on the features of an installed backbone and keep them in the user's cache. "
        "Projects with that backbone then use them. An interrupted build goes on when it is started again.",
        "annotator starter build --backbone timm__ViT-B-16-SigLIP2 --data captions",
    )
    build.add_argument("--backbone", required=True, metavar="NAME",
                       help="an installed backbone, see `annotator backbone list`")  # fmt: skip
    add_data_options(build)
    build.add_argument("--only", action="append", choices=NAMES, metavar="TAGGER",
                       help=f"build one tagger; may be repeated (default: {', '.join(NAMES)})")  # fmt: skip
    build.add_argument("--min-count", type=int, default=1, metavar="N",
                       help="leave out tags that fewer photos carry (default: %(default)s)")  # fmt: skip
    build.add_argument("--epochs", type=int, metavar="N", help="most epochs of each stage (default: the starter's)")
    build.add_argument("--hold-out", action="store_true",
                       help="do not learn from a fifth of the photos, to measure on them with `annotator evaluate "
                       "starter/BACKBONE/TAGGER --split validation`")  # fmt: skip
    build.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    build.add_argument("--json", action="store_true", help="print the result as JSON")
    listing = add_verb(
        verbs, "list", _list, "list those that were built", "List the starters that were built here.",
        "annotator starter list --json",
    )  # fmt: skip
    listing.add_argument("--json", action="store_true", help="print a JSON list")
    remove = add_verb(
        verbs,
        "remove",
        _remove,
        "remove the one of a backbone",
        "Remove the starter that was built for a backbone; projects with it then start without one.",
        "annotator starter remove timm__ViT-B-16-SigLIP2",
    )
    remove.add_argument("backbone", metavar="BACKBONE")


def _build(parsed: argparse.Namespace) -> int:
    from annotator.models.backbones.backbone import load_backbone
    from annotator.models.backbones.pretrained import find_architecture

    architecture = find_architecture(parsed.backbone)
    if not architecture.is_installed:
        raise ConfigError(
            f"A starter is built for a backbone that `annotator backbone install` installed; {architecture.name} is "
            "none. Train a tagger for it with: annotator train"
        )
    if parsed.threads is not None and parsed.threads < 1:
        raise ConfigError(f"--threads must be at least 1, got {parsed.threads}.")
    records = training_records(parsed.data, parsed.format, "tags")

    import torch

    from annotator.trainer.feature_cache import features_of
    from annotator.trainer.starter import build_starter

    if parsed.threads is not None:
        torch.set_num_threads(parsed.threads)
    backbone = load_backbone(parsed.backbone, num_threads=parsed.threads)
    extracted = features_of(records, backbone, None, _show_features)
    built = build_starter(
        extracted.records,
        extracted.features,
        backbone,
        tuple(name for name in NAMES if name in (parsed.only or NAMES)),
        min_count=parsed.min_count,
        epochs=parsed.epochs,
        holds_out=parsed.hold_out,
        on_tagger=lambda name: show_step(f"Training {name}."),
        progress=_show_epoch,
    )
    if parsed.json:
        print(json.dumps([vars(item) for item in built], indent=2))
        return 0
    for item in built:
        print(f"{item.name} {item.version}: {item.num_tags:,} tags, learnt from {item.num_train:,} photos")
    print(f"Used from the first photo on by: annotator serve PHOTOS --backbone {backbone.name}")
    return 0


def _show_features(num_done: int, num_all: int) -> None:
    if num_done == num_all or num_done % 1024 < 64:
        show_step(f"features: {num_done:,} of {num_all:,} photos")


def _show_epoch(report: "EpochReport") -> None:
    show_step(
        f"{report.stage} {report.epoch}/{report.num_epochs}: loss {report.train_loss:.3f}, "
        f"validation {report.validation_loss:.3f}, {report.seconds:.0f} s"
    )


def _list(parsed: argparse.Namespace) -> int:
    from annotator.errors import CheckpointError
    from annotator.models import checkpoint

    rows = []
    for folder in sorted(checkpoint.built_starters_path().glob("[!.]*/")):
        for name in checkpoint.built_starters(folder.name):
            try:
                info = checkpoint.read_info(name)
            except CheckpointError as error:
                print(error, file=sys.stderr)
                continue
            num_train = info.about.training.get("num_train")
            rows.append(
                {"name": name, "version": info.version, "num_tags": len(info.vocabulary), "num_train": num_train}
            )
    if parsed.json:
        print(json.dumps(rows, indent=2))
    for row in [] if parsed.json else rows:
        print(f"{row['name']} {row['version']}: {row['num_tags']:,} tags, learnt from {row['num_train']:,} photos")
    return 0


def _remove(parsed: argparse.Namespace) -> int:
    from annotator.trainer.starter import remove_starter

    is_gone = remove_starter(parsed.backbone)
    print(f"Removed the starter of {parsed.backbone}." if is_gone else f"No starter was built for {parsed.backbone}.")
    return 0
