"""From records to a checkpoint: split, vocabulary, features, training, writing.

Knows nothing of argument parsing or pages. A baseline is fitted at once; a recurrent tagger goes through fit.py.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.record import Record
from annotator.datasets.splits import save_split, split
from annotator.datasets.vocabulary import Order, Vocabulary
from annotator.errors import ConfigError, DataError
from annotator.models import checkpoint, registry
from annotator.models.checkpoint import About, BackboneLike
from annotator.models.inference import Ranking
from annotator.models.tagger import Features
from annotator.trainer.fit import Examples, FitReport, FitSettings, Progress, fit

SPLIT_FILE = "split.json"
REPORT_FILE = "training.json"


@dataclass(frozen=True)
class TrainingRequest:
    """What is trained, and how; kept beside the weights."""

    tagger: str
    """Registry name."""
    order: Order = "given"
    """In which order a photo's tags are taught."""
    min_count: int = 1
    """Tags that fewer training photos carry are not learnt."""
    validation_share: float = 0.2
    """Share of the photos that are held back to stop by."""
    split_seed: int = 0
    """Of the split; apart from `fit.seed`, so that several trainings can share one split."""
    on_all: bool = False
    """Once the epochs are known, train again from the beginning on all photos, validation included."""
    half: bool = False
    """Write matrices in 16 bits."""
    fit: FitSettings = field(default_factory=FitSettings)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the tagger: fields of its config."""
    ranking: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Ranking` that differ from its defaults."""

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ConfigError(f"min_count must be at least 1, got {self.min_count}.")
        try:
            Ranking(**self.ranking)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"The ranking cannot be used: {error}") from error


@dataclass(frozen=True)
class TrainingResult:
    """What came of it."""

    folder: Path
    version: str
    num_train: int
    num_validation: int
    num_tags: int
    report: FitReport
    seconds: float


def train(
    request: TrainingRequest,
    records: Sequence[Record],
    features: Features,
    backbone: BackboneLike,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    is_writer: bool = True,
) -> TrainingResult:
    """Train a tagger and write its checkpoint.

    Args:
        request: What and how.
        records: N photos with their tags.
        features: (N, D) float32 of the same photos.
        backbone: What made the features.
        folder: Where the checkpoint goes, with the split and the report beside it; a training that was killed goes on.
        device: "cpu" or "cuda".
        progress: Called after each epoch.
        is_writer: False for all but one of several processes.

    Raises:
        ConfigError: A setting has a value it cannot have.
        DataError: There is nothing to learn from.
        TrainingError: The training had to stop before there were any good weights.
    """
    began = time.monotonic()
    rows = {record.image: row for row, record in enumerate(records)}
    sides = split(records, request.split_seed, request.validation_share)
    vocabulary = Vocabulary.from_records(sides[0], request.min_count)
    train_side, validation_side = (_known(side, vocabulary) for side in sides)
    if not validation_side:
        raise DataError("No photo of the validation split has a tag that a training photo has; add photos.")
    features_of = [features[[rows[record.image] for record in side]] for side in (train_side, validation_side)]
    report = FitReport()
    is_baseline = registry.find_baseline(request.tagger) is not None
    if is_baseline:
        kept = [*train_side, *validation_side] if request.on_all else train_side
        inputs = np.concatenate(features_of) if request.on_all else features_of[0]
        tagger = _fit_baseline(request, vocabulary, inputs, kept)
    else:
        sequences = [_encode(side, vocabulary, request.order) for side in (train_side, validation_side)]
        user_tags = [_user_tags(side, request.settings) for side in (train_side, validation_side)]
        examples = [Examples(*parts) for parts in zip(features_of, sequences, user_tags, strict=True)]
        ranking = Ranking(**request.ranking)
        options: dict[str, Any] = {"state_folder": folder, "progress": progress, "device": device}
        tagger = _create(request, vocabulary, features.shape[1])
        tagger.ranking = ranking
        report = fit(tagger, examples[0], examples[1], request.fit, **options)
        if request.on_all and report.problem is None:
            calibrated = tagger.ranking
            tagger = _create(request, vocabulary, features.shape[1])
            again = replace(request.fit, stage_epochs=_best_epochs(report))
            everything = Examples(
                np.concatenate(features_of), sequences[0] + sequences[1],
                None if user_tags[0] is None or user_tags[1] is None else np.concatenate([user_tags[0], user_tags[1]]),
            )  # fmt: skip
            second = fit(tagger, everything, None, again, **options)
            report = FitReport(report.epochs + second.epochs, second.problem)
            tagger.ranking = calibrated
    num_train = len(train_side) + (len(validation_side) if request.on_all else 0)
    training = {"request": _to_json(request), "num_train": num_train, "num_validation": len(validation_side)}
    about = About(backbone.name, backbone.version, request.order, training)
    version = checkpoint.save(tagger, folder, about, half=request.half) if is_writer else ""
    if is_writer:
        save_split(*sides, folder / SPLIT_FILE)
        text = json.dumps({"request": _to_json(request), **report.to_json()}, indent=1)
        checkpoint.write_atomically(folder / REPORT_FILE, text.encode())
        (folder / "training_state.safetensors").unlink(missing_ok=True)
    return TrainingResult(
        folder, version, num_train, len(validation_side), len(vocabulary), report, time.monotonic() - began
    )


def _create(request: TrainingRequest, vocabulary: Vocabulary, feature_size: int) -> Any:
    import torch

    torch.manual_seed(request.fit.seed)
    return registry.create(request.tagger, vocabulary, feature_size, **request.settings)


def _fit_baseline(request: TrainingRequest, vocabulary: Vocabulary, features: Features, side: list[Record]) -> Any:
    kind: Any = registry.find_baseline(request.tagger)
    given = [vocabulary.order_tags(record.tags, request.order) for record in side]
    if not request.settings:
        return kind.fit(vocabulary, features, given)
    raise ConfigError(f"The baseline {request.tagger} takes no settings; it got {', '.join(request.settings)}.")


def _known(side: Sequence[Record], vocabulary: Vocabulary) -> list[Record]:
    """Return the records with a tag of the vocabulary."""
    return [record for record in side if any(tag in vocabulary for tag in record.tags)]


def _encode(side: Sequence[Record], vocabulary: Vocabulary, order: Order) -> list[list[int]]:
    return [vocabulary.encode(vocabulary.order_tags(record.tags, order)) for record in side]


def _user_tags(side: Sequence[Record], settings: Mapping[str, Any]) -> Features | None:
    known = list(settings.get("user_tags", ()))
    return Vocabulary(known).matrix([record.user_tags for record in side]) if known else None


def _best_epochs(report: FitReport) -> tuple[int, ...]:
    """Return at which epoch each stage was best."""
    best: dict[str, int] = {}
    for epoch in report.epochs:
        if epoch.is_best:
            best[epoch.stage] = epoch.epoch
    return tuple(best.values())


def _to_json(request: TrainingRequest) -> dict[str, Any]:
    return {**asdict(request), "settings": dict(request.settings), "ranking": dict(request.ranking)}
