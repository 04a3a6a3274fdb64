"""`annotator evaluate`: measures a checkpoint on photos with tags.

Parses, calls trainer/, and prints; cli/train.py trains checkpoints.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.cli.command import add_command
from annotator.cli.options import RECORDS, add_data_options
from annotator.datasets.loaders import published
from annotator.errors import DataError

if TYPE_CHECKING:
    from annotator.datasets.record import Record
    from annotator.models.backbones.backbone import Backbone
    from annotator.models.checkpoint import About, LoadedTagger
    from annotator.models.context import Context
    from annotator.trainer.feature_cache import ExtractedFeatures


def add_evaluate(commands: Any) -> argparse.ArgumentParser:
    """Add `annotator evaluate` to the parser of commands."""
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        "measure a trained tagger on a folder of photos with tags",
        "annotator evaluate starter --data photos --k 5 --json",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT",
                        help="a folder that `annotator train` wrote, or the word starter")  # fmt: skip
    add_data_options(parser)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--k", type=int, default=5, metavar="N",
                        help="tags of each photo that count as predicted (default: %(default)s)")  # fmt: skip
    length.add_argument("--free-length", action="store_true", help="let the tagger end each list itself")
    parser.add_argument("--split", choices=("all", "validation", "train", "test"),
                        help="validation: the photos that the training held back; train, test: the official parts of a "
                             "published data set (default: test of a published data set, else all)")  # fmt: skip
    parser.add_argument("--pool", type=Path, metavar="FOLDER",
                        help="take neighbours from these photos (default: the photos it was trained on, which --data "
                             "must hold then); only for taggers with a context")  # fmt: skip
    parser.add_argument("--never-predicted", choices=("zero", "skip"), default="zero",
                        help="the precision of a tag that is never predicted (default: %(default)s)")  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the backbone (default: all)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: user cache)")
    parser.add_argument("--json", action="store_true", help="print every measure as JSON")
    return parser


def _evaluate(parsed: argparse.Namespace) -> int:
    from annotator.models import checkpoint
    from annotator.trainer.evaluation.evaluate import EvaluationConfig, evaluate, table
    from annotator.trainer.feature_cache import features_of

    config = EvaluationConfig(parsed.k, parsed.free_length, parsed.never_predicted)
    about = checkpoint.read_info(parsed.checkpoint).about
    split = parsed.split or ("all" if parsed.format == RECORDS else "test")
    records = records_of(parsed.data, split, parsed.checkpoint, _target(about), parsed.format)
    backbone = checkpoint.load_backbone_of(parsed.checkpoint, num_threads=parsed.threads)
    tagger = checkpoint.load(parsed.checkpoint, backbone=backbone)
    extracted = features_of(records, backbone, parsed.cache, _show_progress)
    given = [record.tags for record in extracted.records]
    user_tags = _user_tags(about, tagger, extracted.records)
    context = _context(parsed, tagger, extracted, backbone)
    report = evaluate(tagger, extracted.features, given, config, user_tags=user_tags, context=context)
    report = {"checkpoint": parsed.checkpoint, "data": str(parsed.data), "split": split, "order": about.order,
              "num_unreadable": len(extracted.unreadable), **report}  # fmt: skip
    print(json.dumps(report, indent=1, ensure_ascii=False) if parsed.json else table(report))
    return 0


def _user_tags(about: "About", tagger: "LoadedTagger", records: "list[Record]") -> list[tuple[str, ...]]:
    """Return each photo's user tags, from the field used in training; empty for a tagger that does not use them."""
    from annotator.datasets.record import tags_in_field

    if not tagger.capabilities.uses_user_tags:
        return []
    field = about.training.get("request", {}).get("user_tags_field") or "user_tags"
    return [tags_in_field(record, field) for record in records]


def _target(about: "About") -> str:
    """Return the field of the records that a checkpoint was trained to predict."""
    return str(about.training.get("request", {}).get("target", "tags"))


def _context(
    parsed: argparse.Namespace, tagger: "LoadedTagger", extracted: "ExtractedFeatures", backbone: "Backbone"
) -> "Context | None":
    """Return the metadata and neighbours of the photos to measure on; None for a tagger without a context.

    Raises:
        DataError: The training photos are not among the data, and no pool is given.
    """
    from annotator.datasets.record import read_records
    from annotator.datasets.splits import load_split
    from annotator.models.checkpoint import find
    from annotator.models.context import uses_context
    from annotator.trainer.feature_cache import features_of
    from annotator.trainer.neighbourhoods import find_context, metadata_note, photos_of
    from annotator.trainer.training import SPLIT_FILE

    if not uses_context(tagger):
        if parsed.pool is not None:
            raise DataError(f"The tagger {tagger.name} takes no neighbours; leave --pool out.")
        return None
    if parsed.pool is not None:
        pool_records = read_records(parsed.pool, keep_untagged=True)
    else:
        try:
            everything = training_records(parsed.data, parsed.format, "", keep_untagged=True)
            pool_records = load_split(everything, find(parsed.checkpoint) / SPLIT_FILE)[0]
        except DataError as error:
            raise DataError(
                f"{parsed.data} does not hold the photos that {parsed.checkpoint} was trained on ({error}). Name the "
                "folder to take neighbours from with --pool."
            ) from error
    pool = features_of(pool_records, backbone, parsed.cache, _show_progress)
    photos = photos_of(extracted.records, extracted.features, tagger.metadata)
    note = metadata_note(photos.words, tagger.metadata) if tagger.num_candidates else ""
    if note:
        print(note, file=sys.stderr)
    return find_context(
        photos,
        photos_of(pool.records, pool.features, tagger.metadata),
        tagger.num_candidates,
        tagger.neighbourhood,
    )


def training_records(folder: Path, format: str, target: str, *, keep_untagged: bool = False) -> "list[Record]":
    """Return the photos to learn from: all of a folder of records, or the training part of a published data set.

    Args:
        folder: Of the photos with tags.
        format: records, or the name of a published data set.
        target: The field that is learnt.
        keep_untagged: Keep photos without tags also where the tags are learnt.

    Raises:
        DataError: A file is missing or damaged.
    """
    from annotator.datasets.record import read_records

    if format == RECORDS:
        return read_records(folder, keep_untagged=keep_untagged or target != "tags")
    return published.load(format, folder.expanduser().absolute()).part("train")


def records_of(folder: Path, split: str, tagger: str, target: str = "tags", format: str = RECORDS) -> "list[Record]":
    """Return the photos to measure on.

    Args:
        folder: Holds records.jsonl and its photos, or the files of a published data set.
        split: all; validation for those that the tagger's training held back; train or test of a published data set.
        tagger: A checkpoint's folder, or a starter.
        target: The field that the tagger was trained to predict.
        format: records, or the name of a published data set.

    Raises:
        DataError: The checkpoint has no split, or one of another data set; or the data have no such part.
    """
    from annotator.datasets.splits import load_split
    from annotator.models.checkpoint import find
    from annotator.trainer.neighbourhoods import with_target
    from annotator.trainer.training import SPLIT_FILE

    if split != "validation" and format != RECORDS:
        return with_target(published.load(format, folder.expanduser().absolute()).part(split), target)
    if split in ("train", "test"):
        raise DataError(f"A folder of records has no part {split!r}; name the data set with --format.")
    records = with_target(training_records(folder, format, target), target)
    if split == "all":
        return records
    path = find(tagger) / SPLIT_FILE
    if not path.is_file():
        raise DataError(
            f"The checkpoint {tagger} keeps no split ({path} is missing), so it is unknown which photos it "
            "was not trained on. Measure on photos it cannot have seen, with --split all."
        )
    return load_split(records, path)[1]


def _show_progress(num_done: int, num_all: int) -> None:
    if sys.stderr.isatty():
        print(f"\rfeatures {num_done:,} of {num_all:,}", end="\n" if num_done == num_all else "", file=sys.stderr)
