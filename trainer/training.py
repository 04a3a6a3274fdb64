"""Training from records to a checkpoint: split, vocabulary, training by the tagger's family, writing.

Knows nothing of commands or the user interface, nor of how any family is trained (families.py).
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.record import Record
from annotator.datasets.splits import save_split, split
from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import DataError
from annotator.models import checkpoint, registry
from annotator.models.checkpoint import About, BackboneLike
from annotator.models.tagger import Features
from annotator.trainer.families import ON_ALL_FOLDER, Side, TrainingData, TrainingOptions, TrainingRequest, find_trainer
from annotator.trainer.fit import FitReport, Progress
from annotator.trainer.training_state import STATE_FILE

SPLIT_FILE = "split.json"
REPORT_FILE = "training.json"


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training."""

    folder: Path
    version: str
    num_train: int
    num_validation: int
    num_tags: int
    report: FitReport
    seconds: float
    notes: tuple[str, ...] = ()
    """Sentences for the user."""


def train(
    request: TrainingRequest,
    records: Sequence[Record],
    features: Features,
    backbone: BackboneLike,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    num_workers: int = 0,
    is_writer: bool = True,
) -> TrainingResult:
    """Train a tagger and write its checkpoint.

    Args:
        request: The tagger and its settings.
        records: N photos with their tags.
        features: (N, D) float32 of the same photos.
        backbone: The extractor of the features.
        folder: Folder of the checkpoint, the split and the report; a training that was killed resumes from it.
        device: "cpu" or "cuda".
        progress: Called after each epoch.
        should_stop: Called after each step; True stops the training, which can be resumed later.
        num_workers: Processes that decode photos while a backbone is trained.
        is_writer: False for all but one of several processes.

    Raises:
        ConfigError: A setting is invalid.
        DataError: There are no usable training or validation photos.
        TrainingError: The training ended before there were usable weights, or was stopped.
    """
    began = time.monotonic()
    rows = {record.image: row for row, record in enumerate(records)}
    sides = split(records, request.split_seed, request.validation_share)
    vocabulary = Vocabulary.from_records(sides[0], request.min_count)
    known = [[record for record in side if any(tag in vocabulary for tag in record.tags)] for side in sides]
    if not known[1]:
        raise DataError("No photo of the validation split has a tag that a training photo has; add photos.")
    train_side, validation_side = (Side(side, features[[rows[record.image] for record in side]]) for side in known)
    data = TrainingData(vocabulary, train_side, validation_side, backbone)
    options = TrainingOptions(folder, device, progress, should_stop, num_workers)
    trained = find_trainer(registry.family_of(request.tagger))(request, data, options)
    num_train = len(known[0]) + (len(known[1]) if request.on_all else 0)
    training = {"request": request.to_json(), "num_train": num_train, "num_validation": len(known[1])}
    about = About(backbone.name, backbone.version, request.order, training)
    version = ""
    if is_writer:
        version = checkpoint.save(trained.tagger, folder, about, half=request.half, backbone=trained.backbone)
        save_split(*sides, folder / SPLIT_FILE)
        text = json.dumps({"request": request.to_json(), **trained.report.to_json()}, indent=1)
        checkpoint.write_atomically(folder / REPORT_FILE, text.encode())
        for state in (folder / STATE_FILE, folder / ON_ALL_FOLDER / STATE_FILE):
            state.unlink(missing_ok=True)
        if (folder / ON_ALL_FOLDER).is_dir():
            (folder / ON_ALL_FOLDER).rmdir()
    seconds = time.monotonic() - began
    return TrainingResult(
        folder, version, num_train, len(known[1]), len(vocabulary), trained.report, seconds, trained.notes
    )
