"""Training of the recurrent taggers: stages, early stopping, calibration; resumable, and safe against NaN.

After every epoch the whole state (weights, best weights, optimiser, where it stands) is written at once, so a training
that was killed goes on from its last epoch to the very weights it would have had: each epoch draws its order and its
dropout from (seed, stage, epoch) alone. A loss or a gradient that is not finite ends the training with the best
weights so far. Knows nothing of files of photos or of commands. Nothing is pickled.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor, nn
from torch import distributed as dist

from annotator.errors import ConfigError, TrainingError
from annotator.models.checkpoint import write_atomically
from annotator.models.trained_tagger import (
    Batch,
    ConceptLoss,
    SequenceLoss,
    Stage,
    TrainedTagger,
    binary_cross_entropy,
    make_batch,
)
from annotator.trainer import losses
from annotator.trainer.calibration import calibrate

logger = logging.getLogger(__name__)

STATE_FILE = "training_state.safetensors"
CLIP_NORM = 5.0
"""Gradients are scaled down to this norm."""
EVALUATION_BATCH = 512


@dataclass(frozen=True)
class FitSettings:
    """How a tagger is trained; kept with its checkpoint."""

    seed: int = 0
    """Of the first weights, the order of the photos and dropout."""
    batch_size: int = 128
    epochs: int | None = None
    """Most epochs of each stage; None is the tagger's own."""
    stage_epochs: tuple[int, ...] = ()
    """Epochs of each stage, one by one, in place of the former."""
    patience: int = 3
    """Epochs without a lower validation loss after which a stage ends."""
    learning_rate: float | None = None
    """Of every stage; None is the tagger's own."""
    concept_l2: float = 0.0
    """Half the weight of the concept layer's squared weights in the loss."""
    concept_loss: str = "binary"
    """binary or asymmetric."""
    sequence_loss: str = "paper"
    """paper or list_wise."""
    list_discount: float = 0.3
    """What the next place is worth against this one, for the list-wise loss."""
    label_weights: str = "equal"
    """equal, or unmentioned: a tag that look-alikes carry is not held absent where it was not mentioned."""
    unmentioned_floor: float = 0.5
    """Weight of an unmentioned tag that all look-alikes carry."""
    num_look_alikes: int = 20

    def __post_init__(self) -> None:
        losses.check_choice("concept_loss", self.concept_loss, losses.CONCEPT_LOSSES)
        losses.check_choice("sequence_loss", self.sequence_loss, losses.SEQUENCE_LOSSES)
        losses.check_choice("label_weights", self.label_weights, losses.LABEL_WEIGHTS)
        for name, low, high in (
            ("batch_size", 1, 100_000),
            ("patience", 1, 10_000),
            ("concept_l2", 0.0, 1e6),
            ("list_discount", 0.0, 1.0),
            ("unmentioned_floor", 0.0, 1.0),
            ("num_look_alikes", 1, 10_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} must lie between {low:g} and {high:g}, got {getattr(self, name)!r}.")
        if any(epochs < 1 for epochs in self.stage_epochs):
            raise ConfigError(f"Every stage needs at least 1 epoch, got {list(self.stage_epochs)}.")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"epochs must be at least 1, got {self.epochs}.")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 10:
            raise ConfigError(f"learning_rate must lie in (0, 10], got {self.learning_rate!r}.")


@dataclass(frozen=True)
class Examples:
    """Photos as a tagger learns from them."""

    features: npt.NDArray[np.float32]
    """(N, D)."""
    sequences: list[list[int]]
    """Tag ids of each photo in the order that is taught; at least one each."""
    user_tags: npt.NDArray[np.float32] | None = None
    """(N, U) side information."""

    def __post_init__(self) -> None:
        if len(self.features) != len(self.sequences) or not self.sequences:
            raise TrainingError(f"There are {len(self.features)} photos and {len(self.sequences)} lists to learn from.")
        if not all(self.sequences):
            raise TrainingError("A photo without any tag of the vocabulary cannot be learnt from; leave it out.")
        if not np.isfinite(self.features).all():
            raise TrainingError("Some features are not finite numbers; extract them again.")

    def labels(self, num_tags: int) -> npt.NDArray[np.float32]:
        """Return (N, V), 0 or 1."""
        rows = np.zeros((len(self.sequences), num_tags), np.float32)
        for row, tags in zip(rows, self.sequences, strict=True):
            row[tags] = 1.0
        return rows


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to."""

    stage: str
    epoch: int
    """From 1."""
    num_epochs: int
    train_loss: float
    validation_loss: float
    is_best: bool
    seconds: float


@dataclass
class FitReport:
    """What a training came to."""

    epochs: list[EpochReport] = field(default_factory=list)
    problem: str | None = None
    """Why it ended early, if it did; the tagger then has its last good weights."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


Progress = Callable[[EpochReport], None]


def fit(
    tagger: TrainedTagger,
    train: Examples,
    validation: Examples | None,
    settings: FitSettings,
    *,
    state_folder: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> FitReport:
    """Train a tagger through all its stages; it ends with its best weights and a calibrated score.

    Under torch.distributed every process learns from its share of each batch and all end with the same weights.

    Args:
        tagger: Fresh, or to be trained further.
        train: What to learn from.
        validation: What to stop by and to calibrate on; never learnt from. With None all epochs are run, the last
            weights are the best ones, and the calibration stays as it is.
        settings: How.
        state_folder: Where the state is kept from epoch to epoch. If one of this very training lies there, it goes on
            from it. None keeps none.
        progress: Called after each epoch.
        device: "cpu" or "cuda".

    Raises:
        TrainingError: The loss was not finite before there were any good weights, or the state cannot be read.
    """
    run = _Run(tagger, train, validation, settings, state_folder, progress, device)
    report = run.go()
    tagger.to("cpu")
    tagger.eval()
    if validation is not None:
        labels = validation.labels(tagger.num_tags)
        calibration = calibrate(tagger.for_inference(), validation.features, labels)
        tagger.ranking = replace(tagger.ranking, calibration=calibration)
    return report


class _Run:
    """One training: what it needs, and where it stands."""

    def __init__(
        self,
        tagger: TrainedTagger,
        train: Examples,
        validation: Examples | None,
        settings: FitSettings,
        state_folder: Path | None,
        progress: Progress | None,
        device: str,
    ) -> None:
        self.tagger, self.settings, self.device = tagger.to(device), settings, device
        self.train, self.validation = train, validation
        self.state_path = state_folder / STATE_FILE if state_folder else None
        self.progress = progress
        self.report = FitReport()
        self.stages = [_settle(stage, settings, number) for number, stage in enumerate(tagger.stages)]
        labels = torch.from_numpy(train.labels(tagger.num_tags))
        features = torch.from_numpy(train.features)
        tagger.prepare(features.to(device), labels.to(device))
        self.weights = None
        if settings.label_weights == "unmentioned":
            share = losses.look_alike_share(features, labels, settings.num_look_alikes)
            self.weights = losses.label_weights(labels, share, settings.unmentioned_floor)
        self.concept_loss: ConceptLoss = (
            losses.asymmetric_loss if settings.concept_loss == "asymmetric" else binary_cross_entropy
        )
        self.sequence_loss: SequenceLoss | None = (
            partial(losses.list_wise_loss, discount=settings.list_discount)
            if settings.sequence_loss == "list_wise"
            else None
        )
        self.num_steps = 0
        self.best: dict[str, Tensor] = {}

    def go(self) -> FitReport:
        """Run all stages that are not done yet."""
        start = self._resume()
        for number, stage in enumerate(self.stages):
            if number < start.stage:
                continue
            place = start if number == start.stage and start.epoch > 0 else _Place(number)
            if place.epoch == 0:
                torch.manual_seed(_seed(self.settings.seed, number, -1))
            if not self._run_stage(stage, place, start.optimizer if place is start else {}):
                break
        self.tagger.load_state_dict(self.best)
        return self.report

    def _run_stage(self, stage: Stage, place: "_Place", optimizer_state: Mapping[str, Tensor]) -> bool:
        """Run one stage from a place in it; return whether the training goes on."""
        optimizer = _make_optimizer(stage, self.tagger)
        _load_optimizer(optimizer, optimizer_state)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * place.rate_factor
        while place.epoch < stage.epochs and place.num_worse < self.settings.patience:
            began = time.monotonic()
            torch.manual_seed(_seed(self.settings.seed, place.stage, place.epoch))
            train_loss = self._run_epoch(stage, optimizer, place)
            validation_loss = math.nan if train_loss is None else self._validate(stage, train_loss)
            if train_loss is None or not math.isfinite(validation_loss):
                self._stop(stage, place)
                return False
            place.epoch += 1
            is_best = validation_loss < place.best_loss or self.validation is None
            place.best_loss = min(place.best_loss, validation_loss)
            place.num_worse = 0 if is_best else place.num_worse + 1
            if is_best:
                self.best = _copy(self.tagger)
            elif stage.halve_on_plateau:
                place.rate_factor /= 2
                for group in optimizer.param_groups:
                    group["lr"] = stage.learning_rate * place.rate_factor
            done = EpochReport(stage.name, place.epoch, stage.epochs, train_loss, validation_loss, is_best,
                               time.monotonic() - began)  # fmt: skip
            self.report.epochs.append(done)
            self._save(place, optimizer)
            if self.progress:
                self.progress(done)
        self.tagger.load_state_dict(self.best)
        return True

    def _run_epoch(self, stage: Stage, optimizer: torch.optim.Optimizer, place: "_Place") -> float | None:
        """Learn from every photo once; return the mean loss, or None if it was not finite."""
        self.tagger.train()
        order = torch.randperm(len(self.train.sequences))
        total, num = 0.0, 0
        for batch in self._batches(self.train, self.weights, order, self.settings.batch_size):
            loss = self._loss(batch, stage)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            _share_gradients(self.tagger)
            norm = nn.utils.clip_grad_norm_(self.tagger.parameters(), CLIP_NORM)
            self.num_steps += 1
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                return None
            optimizer.step()
            total += loss.item() * len(batch.features)
            num += len(batch.features)
        return total / num

    def _loss(self, batch: Batch, stage: Stage) -> Tensor:
        loss = self.tagger.loss(batch, stage.name, concept_loss=self.concept_loss, sequence_loss=self.sequence_loss)
        if self.settings.concept_l2 > 0 and self.tagger.concept is not None:
            loss = loss + self.settings.concept_l2 / 2 * self.tagger.concept.weight.square().sum()
        return loss

    @torch.no_grad()
    def _validate(self, stage: Stage, train_loss: float) -> float:
        if self.validation is None:
            return train_loss
        self.tagger.eval()
        total = 0.0
        everything = torch.arange(len(self.validation.sequences))
        for batch in self._batches(self.validation, None, everything, EVALUATION_BATCH, is_shared=False):
            loss = self.tagger.loss(batch, stage.name, concept_loss=self.concept_loss, sequence_loss=self.sequence_loss)
            total += loss.item() * len(batch.features)
        return total / len(everything)

    def _batches(
        self, examples: Examples, weights: Tensor | None, order: Tensor, size: int, *, is_shared: bool = True
    ) -> Iterator[Batch]:
        """Cut examples into batches; of each, a process gets its share."""
        rank, num_processes = _rank() if is_shared else (0, 1)
        features = torch.from_numpy(examples.features)
        user_tags = None if examples.user_tags is None else torch.from_numpy(examples.user_tags)
        for rows in torch.split(order, size):
            if len(rows) >= num_processes:
                rows = rows[rank::num_processes]
            yield make_batch(
                features[rows],
                [examples.sequences[row] for row in rows.tolist()],
                self.tagger.num_tags,
                weights=None if weights is None else weights[rows],
                user_tags=None if user_tags is None else user_tags[rows],
            ).to(self.device)

    def _stop(self, stage: Stage, place: "_Place") -> None:
        where = f"step {self.num_steps:,} (stage {stage.name}, epoch {place.epoch + 1})"
        if not self.best:
            raise TrainingError(
                f"The loss was not a finite number at {where}, before there were any good weights. "
                "Lower the learning rate."
            )
        self.report.problem = (
            f"The loss was not a finite number at {where}; the training stopped and the last good weights were kept. "
            "Lower the learning rate."
        )
        logger.warning(self.report.problem)

    def _fingerprint(self) -> str:
        """Tell this training from any other."""
        digest = hashlib.sha256()
        about = {
            "name": self.tagger.name,
            "settings": dict(self.tagger.settings()),
            "tags": self.tagger.vocabulary.tags,
            "fit": asdict(self.settings),
            "processes": _rank()[1],
        }
        digest.update(json.dumps(about, sort_keys=True).encode())
        for examples in (self.train, self.validation or self.train):
            digest.update(np.ascontiguousarray(examples.features).tobytes())
            digest.update(json.dumps(examples.sequences).encode())
        return digest.hexdigest()

    def _save(self, place: "_Place", optimizer: torch.optim.Optimizer) -> None:
        if self.state_path is None or _rank()[0] != 0:
            return
        tensors = {f"now/{name}": value for name, value in _copy(self.tagger).items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()}
        about = {
            "fingerprint": self._fingerprint(),
            "place": {name: value for name, value in vars(place).items() if name != "optimizer"},
            "num_steps": self.num_steps,
            "epochs": [asdict(report) for report in self.report.epochs],
        }
        packed = pack_tensors(
            {name: value.contiguous() for name, value in tensors.items()}, {"about": json.dumps(about)}
        )
        self.state_path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.state_path, packed)

    def _resume(self) -> "_Place":
        """Return where to go on; the beginning if there is no state of this training."""
        if self.state_path is None or not self.state_path.exists():
            return _Place(0)
        try:
            packed = self.state_path.read_bytes()
            header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
            about = json.loads(header["__metadata__"]["about"])
            tensors = parse_tensors(packed)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(
                f"The state of the training in {self.state_path} is damaged ({error}). Delete it to start again."
            ) from error
        if about["fingerprint"] != self._fingerprint():
            logger.warning("%s is of another training; this one starts from the beginning.", self.state_path)
            return _Place(0)
        groups: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "optimizer": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = value
        self.tagger.load_state_dict(groups["now"])
        self.best = groups["best"]
        self.num_steps = about["num_steps"]
        self.report.epochs = [EpochReport(**values) for values in about["epochs"]]
        return _Place(**about["place"], optimizer=groups["optimizer"])


@dataclass
class _Place:
    """Where a training stands: in this stage, after so many epochs."""

    stage: int
    epoch: int = 0
    best_loss: float = math.inf
    num_worse: int = 0
    rate_factor: float = 1.0
    optimizer: dict[str, Tensor] = field(default_factory=dict)


def _settle(stage: Stage, settings: FitSettings, number: int) -> Stage:
    epochs = settings.stage_epochs[number] if number < len(settings.stage_epochs) else settings.epochs
    return replace(
        stage,
        epochs=epochs or stage.epochs,
        learning_rate=settings.learning_rate or stage.learning_rate,
    )


def _make_optimizer(stage: Stage, tagger: TrainedTagger) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in tagger.parameters() if parameter.requires_grad]
    if stage.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=stage.learning_rate)
    return torch.optim.Adam(parameters, lr=stage.learning_rate, betas=stage.betas)


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    if state:
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _copy(tagger: TrainedTagger) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tagger.state_dict().items()}


def _seed(seed: int, stage: int, epoch: int) -> int:
    """Return a seed of its own for every epoch."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stage} {epoch}".encode()).digest()[:7], "little")


def _rank() -> tuple[int, int]:
    """Return (this process's number, number of processes)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _share_gradients(tagger: TrainedTagger) -> None:
    """Average the gradients over all processes."""
    _, num_processes = _rank()
    if num_processes > 1:
        for parameter in tagger.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= num_processes
