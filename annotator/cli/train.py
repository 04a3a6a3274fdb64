"""`annotator train`: trains a tagger on photos with tags.

Parses, calls trainer/, and prints; cli/evaluate.py measures checkpoints.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.cli.command import add_command
from annotator.cli.evaluate import training_records
from annotator.cli.options import RECORDS, add_data_options, parse_settings, path_or_url
from annotator.datasets.folder_store import typed_store
from annotator.datasets.metadata_words import FIELDS
from annotator.datasets.record import RECORDS_FILE
from annotator.datasets.vocabulary import ORDERS
from annotator.errors import ConfigError
from annotator.models import registry
from annotator.models.backbones.backbone import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from annotator.datasets.folder_store import ObjectStore
    from annotator.datasets.record import Record
    from annotator.learning.shared_corrections import SharedCorrections
    from annotator.models.backbones.backbone import Backbone
    from annotator.models.backbones.view_backbone import ViewBackbone
    from annotator.trainer.families import TrainingRequest
    from annotator.trainer.fit import EpochReport
    from annotator.trainer.fit_settings import BackboneSettings
    from annotator.trainer.training import TrainingResult

MAX_EXTRACTION_HOURS = 6
"""Longest wait of the other processes while the first extracts features."""


BATCH_SIZE = 128
CONTEXT_BATCH_SIZE = 64
"""metadata-neighbours.txt, section 3.4."""
VECTOR_SETTINGS = ("vectors", "word_vectors")
"""Settings of taggers that name word vectors."""


def add_train(commands: Any) -> argparse.ArgumentParser:
    """Add `annotator train` to the parser of commands."""
    parser = add_command(
        commands,
        "train",
        _train,
        "train a tagger on a folder of photos with tags",
        "annotator train --tagger scnn_rnn --data photos --out my_tagger --seed 1",
        ". An interrupted training continues when it is started again.",
    )
    names = registry.all_names()
    parser.add_argument("--tagger", required=True, choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    add_data_options(parser, also_snapshots=True)
    parser.add_argument("--shards", type=path_or_url, metavar="SHARDS",
                        help="of a snapshot: the features, as `annotator embed` wrote them, in a folder or at a "
                        "URL")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="CHECKPOINT", help="the folder to write")
    parser.add_argument("--order", choices=ORDERS, default="given",
                        help="order of a photo's tags in training (default: %(default)s)")  # fmt: skip
    parser.add_argument("--target", default="tags", metavar="FIELD",
                        help="the records' field to learn (default: %(default)s)")  # fmt: skip
    parser.add_argument("--metadata", choices=FIELDS,
                        help="the records' field that neighbours are found by (default: user_tags); only for "
                             f"{', '.join(registry.context_names())}")  # fmt: skip
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE, metavar="NAME",
                        help="makes the features (default: %(default)s); with --views several, as A,B")  # fmt: skip
    parser.add_argument("--views", metavar="VIEW,VIEW",
                        help="features of several views of a photo by each backbone: whole, mirror, crop, colour; "
                        "such a tagger is for `evaluate`, not for `serve`")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout (default: %(default)s)")
    parser.add_argument("--split-seed", type=int, metavar="N", help="of the validation split (default: --seed)")
    parser.add_argument("--validation-share", type=float, default=0.2, metavar="X", help="default: %(default)s")
    parser.add_argument("--min-count", type=int, default=1, metavar="N",
                        help="leave out tags that fewer training photos carry (default: %(default)s)")  # fmt: skip
    parser.add_argument("--on-all", action="store_true",
                        help="once the epochs are known, train again on all photos")  # fmt: skip
    parser.add_argument("--half", action="store_true", help="write the weights in 16 bits")
    parser.add_argument("--user-tags", metavar="FIELD",
                        help="side information: the field of the records with the uploader's tags (user_tags, or any "
                        "other list of texts); scnn_rnn alone takes it")  # fmt: skip
    parser.add_argument("--num-user-tags", type=int, default=1_000, metavar="N",
                        help="use the N most frequent user tags (default: %(default)s)")  # fmt: skip
    _add_fit_options(parser)
    _add_backbone_options(parser)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting of the tagger, such as alpha=0.01, or of a baseline, such as l2=0.1; may be "
                        "repeated")  # fmt: skip
    parser.add_argument("--rank", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting of the ranking, such as by=sequence; may be repeated")  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: user cache)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _add_fit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, metavar="N", help="most epochs of each stage (default: the tagger's)")
    parser.add_argument("--patience", type=int, default=3, metavar="N",
                        help="epochs without a lower validation loss (default: %(default)s)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, metavar="N",
                        help=f"default: {BATCH_SIZE}, for taggers with a context {CONTEXT_BATCH_SIZE}")  # fmt: skip
    parser.add_argument("--learning-rate", type=float, metavar="X", help="of every stage (default: the tagger's)")
    parser.add_argument("--halve-on-plateau", action="store_true",
                        help="halve the learning rate when the validation loss does not fall")  # fmt: skip
    parser.add_argument("--concept-loss", choices=("binary", "asymmetric"), default="binary",
                        help="default: %(default)s")  # fmt: skip
    parser.add_argument("--concept-l2", type=float, default=0.06, metavar="X",
                        help="weight of the concept layer's squared weights (default: %(default)s)")  # fmt: skip
    parser.add_argument("--sequence-loss", choices=("paper", "list_wise"), default="paper",
                        help="default: %(default)s")  # fmt: skip
    parser.add_argument("--list-discount", type=float, default=0.3, metavar="X",
                        help="weight of each further rank; list_wise (default: %(default)s)")  # fmt: skip
    parser.add_argument("--label-weights", choices=("equal", "unmentioned"), default="equal",
                        help="unmentioned: tags of similar photos are not taken as absent")  # fmt: skip


def _add_backbone_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training the backbone too")
    group.add_argument("--train-backbone", action="store_true",
                       help="train backbone and tagger together, from the photos, once the tagger's own stages are "
                       "over; the checkpoint then brings its own backbone")  # fmt: skip
    group.add_argument("--backbone-after", type=int, metavar="N",
                       help="start after so many steps of the tagger alone, at the end of that epoch; the ranked "
                       "LSTM's paper has 7500 (default: when the tagger's stages are over)")  # fmt: skip
    group.add_argument("--backbone-learning-rate", type=float, default=1e-5, metavar="X", help="default: %(default)s")
    group.add_argument("--backbone-weight-decay", type=float, default=1e-3, metavar="X", help="default: %(default)s")
    group.add_argument("--backbone-epochs", type=int, default=10, metavar="N", help="at most (default: %(default)s)")
    group.add_argument("--backbone-batch-size", type=int, default=32, metavar="N", help="default: %(default)s")
    group.add_argument("--backbone-norm", choices=("frozen", "batch"), default="frozen",
                       help="frozen: batch normalisation keeps its statistics, scale and shift are learnt; batch: new "
                       "statistics (default: %(default)s)")  # fmt: skip
    group.add_argument("--crop-area", type=float, default=0.5, metavar="X",
                       help="smallest share of a photo that a random crop keeps (default: %(default)s)")  # fmt: skip
    group.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto",
                       help="of the backbone's passes; auto is float32 on a CPU, 16 bits on a GPU")  # fmt: skip
    group.add_argument("--workers", type=int, default=2, metavar="N",
                       help="processes that decode photos; 0 is none (default: %(default)s)")  # fmt: skip


def _train(parsed: argparse.Namespace) -> int:
    request = _request(parsed)
    import torch

    from annotator.learning.job import TRAINED_FILE
    from annotator.learning.submission import trained_text
    from annotator.models import checkpoint
    from annotator.models.backbones.backbone import load_backbone
    from annotator.models.checkpoint import load_backbone_of
    from annotator.trainer.feature_cache import ExtractedFeatures, features_of
    from annotator.trainer.neighbourhoods import with_target
    from annotator.trainer.training import train

    if parsed.threads is not None:
        if parsed.threads < 1:
            raise ConfigError(f"--threads must be at least 1, got {parsed.threads}.")
        torch.set_num_threads(parsed.threads)
    if not 0 <= parsed.workers <= 256:
        raise ConfigError(f"--workers must lie between 0 and 256, got {parsed.workers}.")
    backbone: Backbone
    if parsed.views:
        from annotator.models.backbones.view_backbone import load_view_backbone

        views = load_view_backbone(parsed.views.split(","), parsed.backbone.split(","), parsed.threads)
        request, backbone = _with_views(request, views), views
    else:
        backbone = load_backbone(parsed.backbone, num_threads=parsed.threads)
    is_writer = _join_processes(parsed.device)
    show = _Lines(is_writer)
    shared = _shared(parsed, backbone, show)
    if shared is not None:
        extracted = ExtractedFeatures(shared.features, with_target(shared.records, parsed.target), [])
    else:
        records = with_target(training_records(parsed.data, parsed.format, parsed.target), parsed.target)
        with _first_process_first():
            extracted = features_of(records, backbone, parsed.cache, show.features)
    show.note(_metadata_note(request, extracted.records))
    result = train(
        request,
        extracted.records,
        extracted.features,
        backbone,
        parsed.out,
        device=parsed.device,
        progress=show.epoch,
        num_workers=parsed.workers,
        is_writer=is_writer,
    )
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # a process that leaves while another still talks to it can abort that one
        torch.distributed.destroy_process_group()
    if is_writer:
        if shared is not None:
            checkpoint.write_atomically(parsed.out / TRAINED_FILE, trained_text(shared.trained))
        if result.report.is_backbone_tuned:
            # Exports the backbone and checks it against torch now, so that the server need not.
            load_backbone_of(parsed.out, device="cpu", num_threads=parsed.threads)
        _print_result(result, len(extracted.unreadable), parsed.json)
    return 0 if result.report.problem is None else 1


def _shared(parsed: argparse.Namespace, backbone: "Backbone", show: "_Lines") -> "SharedCorrections | None":
    """Return the lists of a snapshot with the features of shards; None where the data are a folder of photos.

    Raises:
        ConfigError: The options do not fit a snapshot.
    """
    from annotator.cli.snapshot import snapshots_at
    from annotator.learning.shared_corrections import read_corrections

    is_data_set = isinstance(parsed.data, Path) and (
        parsed.format != RECORDS or (parsed.data.expanduser() / RECORDS_FILE).is_file()
    )
    snapshots = None if is_data_set else snapshots_at(parsed.data)
    if snapshots is None:
        if parsed.shards is not None:
            raise ConfigError("--shards are of a snapshot, but --data names a folder of photos.")
        return None
    if parsed.shards is None:
        raise ConfigError("A snapshot has no features: name them with --shards (see `annotator embed`).")
    if parsed.train_backbone or parsed.views:
        raise ConfigError("--train-backbone and --views need the photos; a snapshot has none.")
    found = read_corrections(_same_snapshot(snapshots), typed_store(str(parsed.shards), writes=False), backbone)
    show.note(
        f"{found.about.project}, up to event {found.about.event_id:,}, as of {found.about.checked_at}: "
        f"{len(found.records):,} photos; {found.num_gold:,} more are kept for the promotion test, and "
        f"{found.num_without_features:,} are in no shard."
    )
    return found


def _same_snapshot(snapshots: "ObjectStore") -> "ObjectStore":
    """Return one snapshot, the same in every process of torchrun, though a newer one may be published meanwhile."""
    from torch import distributed

    from annotator.maintenance.snapshots import MANIFEST, find_snapshot

    if not (distributed.is_available() and distributed.is_initialized()):
        return snapshots
    names: list[str | None] = [None]
    if distributed.get_rank() == 0:
        about = find_snapshot(snapshots)
        is_target = about is not None and snapshots.size_of(MANIFEST) is not None
        names = [about.folder if about is not None and is_target else None]
    distributed.broadcast_object_list(names, src=0)
    return typed_store(f"{snapshots.url}/{names[0]}", writes=False) if names[0] else snapshots


def _request(parsed: argparse.Namespace) -> "TrainingRequest":
    from annotator.models.word_vectors.word_vectors import full_source
    from annotator.trainer.families import TrainingRequest
    from annotator.trainer.fit_settings import FitSettings

    fit = FitSettings(
        seed=parsed.seed,
        batch_size=_batch_size(parsed),
        epochs=parsed.epochs,
        patience=parsed.patience,
        learning_rate=parsed.learning_rate,
        halve_on_plateau=parsed.halve_on_plateau,
        concept_l2=parsed.concept_l2,
        concept_loss=parsed.concept_loss,
        sequence_loss=parsed.sequence_loss,
        list_discount=parsed.list_discount,
        label_weights=parsed.label_weights,
        backbone=_backbone_settings(parsed),
    )
    settings = parse_settings(parsed.set)
    if parsed.metadata:
        if parsed.tagger not in registry.context_names():
            raise ConfigError(f"The tagger {parsed.tagger} uses no metadata; leave --metadata out.")
        settings["metadata"] = parsed.metadata
    for name in VECTOR_SETTINGS:
        if isinstance(settings.get(name), str):
            settings[name] = full_source(settings[name])
    return TrainingRequest(
        tagger=parsed.tagger,
        target=parsed.target,
        order=parsed.order,
        min_count=parsed.min_count,
        validation_share=parsed.validation_share,
        split_seed=parsed.seed if parsed.split_seed is None else parsed.split_seed,
        on_all=parsed.on_all,
        half=parsed.half,
        fit=fit,
        settings=settings,
        ranking=parse_settings(parsed.rank),
        user_tags_field=parsed.user_tags,
        num_user_tags=parsed.num_user_tags,
    )


def _with_views(request: "TrainingRequest", backbone: "ViewBackbone") -> "TrainingRequest":
    """Return the request, for `kernel_ridge` with the sizes and weights of the views unless it has its own.

    Raises:
        ConfigError: The backbone is to be trained too.
    """
    if request.fit.backbone is not None:
        raise ConfigError("Several views cannot be trained along; leave --train-backbone or --views out.")
    if request.tagger != "kernel_ridge" or "views" in request.settings:
        return request
    parts = [{"size": part.size, "weight": part.weight} for part in backbone.parts]
    return replace(request, settings={**request.settings, "views": parts})


def _metadata_note(request: "TrainingRequest", records: "Sequence[Record]") -> str:
    """Return a note about photos without metadata; empty for a tagger without neighbours."""
    from annotator.datasets.metadata_words import metadata_words
    from annotator.models.taggers.metadata_neighbours import VisualOnly
    from annotator.trainer.neighbourhoods import metadata_note

    if request.tagger not in registry.context_names() or request.tagger == VisualOnly.name:
        return ""
    field = registry.configure(request.tagger, **request.settings).metadata
    return metadata_note(metadata_words(records, field), field)


def _batch_size(parsed: argparse.Namespace) -> int:
    if parsed.batch_size is not None:
        return int(parsed.batch_size)
    return CONTEXT_BATCH_SIZE if parsed.tagger in registry.context_names() else BATCH_SIZE


def _backbone_settings(parsed: argparse.Namespace) -> "BackboneSettings | None":
    from annotator.trainer.fit_settings import BackboneSettings

    settings = BackboneSettings(
        learning_rate=parsed.backbone_learning_rate,
        weight_decay=parsed.backbone_weight_decay,
        after=parsed.backbone_after,
        epochs=parsed.backbone_epochs,
        batch_size=parsed.backbone_batch_size,
        norm=parsed.backbone_norm,
        least_area=parsed.crop_area,
        precision=parsed.precision,
    )
    if parsed.train_backbone:
        if registry.family_of(parsed.tagger) != registry.RECURRENT:
            raise ConfigError(
                f"The tagger {parsed.tagger} is fitted to finished features, so it cannot train the backbone; choose "
                f"one of: {', '.join(registry.names())}."
            )
        return settings
    if settings != BackboneSettings():
        raise ConfigError("The settings of the backbone's training need --train-backbone.")
    return None


class _Lines:
    """Progress on stderr."""

    def __init__(self, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._is_live = sys.stderr.isatty()

    def features(self, num_done: int, num_all: int) -> None:
        if self._is_shown and (self._is_live or num_done == num_all or num_done % 1024 < 64):
            end = "\r" if self._is_live and num_done < num_all else "\n"
            print(f"features: {num_done:,} of {num_all:,} photos", end=end, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        if self._is_shown and text:
            print(text, file=sys.stderr, flush=True)

    def epoch(self, report: "EpochReport") -> None:
        if self._is_shown:
            mark = " *" if report.is_best else ""
            print(
                f"{report.stage} {report.epoch}/{report.num_epochs}: loss {report.train_loss:.3f}, "
                f"validation {report.validation_loss:.3f}, {report.seconds:.0f} s{mark}",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def _first_process_first() -> Iterator[None]:
    """Let the first process fill the feature cache, which the others then read."""
    from torch import distributed

    is_shared = distributed.is_available() and distributed.is_initialized()
    if is_shared and distributed.get_rank() > 0:
        distributed.barrier()
    yield
    if is_shared and distributed.get_rank() == 0:
        distributed.barrier()


def _join_processes(device: str) -> bool:
    """Join the process group if torchrun started this process; return whether this one writes and prints."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return True
    import torch
    from torch import distributed

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(hours=MAX_EXTRACTION_HOURS))
    return distributed.get_rank() == 0


def _print_result(result: "TrainingResult", num_unreadable: int, as_json: bool) -> None:
    problem = result.report.problem
    if as_json:
        values = {
            "checkpoint": str(result.folder),
            "version": result.version,
            "num_train": result.num_train,
            "num_validation": result.num_validation,
            "num_tags": result.num_tags,
            "num_unreadable": num_unreadable,
            "is_backbone_tuned": result.report.is_backbone_tuned,
            "seconds": round(result.seconds, 1),
            "problem": problem,
            "notes": list(result.notes),
        }
        print(json.dumps(values, ensure_ascii=False))
    else:
        print(
            f"{result.folder}: version {result.version}, {result.num_tags:,} tags, learnt from "
            f"{result.num_train:,} photos, validated on {result.num_validation:,}, {result.seconds:.0f} s."
        )
        for note in result.notes:
            print(note)
        if any(epoch.stage == "backbone" for epoch in result.report.epochs):
            print(
                "It brings its own backbone, whose features are computed anew where it is used."
                if result.report.is_backbone_tuned
                else "Training the backbone did not lower the validation loss, so the published one stays."
            )
    if problem:
        print(f"annotator: {problem}", file=sys.stderr)
