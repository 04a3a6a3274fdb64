"""Training of the recurrent taggers: stages, the backbone, early stopping, calibration; resumable.

After every epoch the whole state (weights, best weights, optimiser, position) is written atomically, without pickle. A
training that was killed resumes after its last epoch and ends with the same weights as an uninterrupted one, since
each epoch's order, crops and dropout depend only on (seed, stage, epoch). A loss or a gradient that is not finite ends
the training with the best weights so far.

A backbone adds one stage. The tagger's own stages use the features of the published weights; after
`BackboneSettings.after` steps (or after these stages) tagger and backbone are trained together from the photos, with
the last stage's loss. Knows nothing of commands.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from annotator.errors import TrainingError
from annotator.models.backbones.trainable_backbone import TrainableBackbone
from annotator.models.sequence.trained_tagger import Batch, Stage, TrainedTagger, make_batch
from annotator.trainer import losses, processes
from annotator.trainer.calibration import calibrate
from annotator.trainer.examples import Examples
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.objective import Objective
from annotator.trainer.photo_batches import PhotoBatches
from annotator.trainer.training_state import (
    STATE_FILE,
    TrainingState,
    pack_optimizer,
    read_state,
    unpack_optimizer,
    write_state,
)

logger = logging.getLogger(__name__)

CLIP_NORM = 5.0
"""Largest norm of the gradients, those of the backbone included."""
EVALUATION_BATCH = 512
BACKBONE_STAGE = "backbone"
"""Name of the stage that trains tagger and backbone together."""


@dataclass(frozen=True)
class EpochReport:
    """Result of one epoch."""

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
    """Result of a training."""

    epochs: list[EpochReport] = field(default_factory=list)
    problem: str | None = None
    """Why the training failed, if it did; the tagger then has its best weights so far."""
    was_stopped: bool = False
    """`should_stop` returned True; the same call resumes after the last whole epoch."""
    is_backbone_tuned: bool = False
    """The best weights include fine-tuned weights of the backbone."""

    def best_epochs(self, stages: Sequence[str]) -> tuple[int, ...]:
        """Return the best epoch of each of these stages; 0 for a stage without one."""
        best = {epoch.stage: epoch.epoch for epoch in self.epochs if epoch.is_best}
        return tuple(best.get(stage, 0) for stage in stages)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


Progress = Callable[[EpochReport], None]


def fit(
    tagger: TrainedTagger,
    train: Examples,
    validation: Examples | None,
    settings: FitSettings,
    *,
    backbone: TrainableBackbone | None = None,
    is_trained: bool = False,
    state_folder: Path | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    device: str = "cpu",
    num_workers: int = 0,
) -> FitReport:
    """Train a tagger through all its stages; it ends with its best weights and a calibrated score.

    Under torch.distributed each process trains on its share of each batch, and all end with the same weights.

    Args:
        tagger: Untrained, or to be trained further.
        train: Training examples.
        validation: Examples for early stopping and calibration; never trained on. With None all epochs run, the last
            weights count as the best, and the calibration does not change.
        settings: Training settings.
        backbone: The backbone to train too, given together with `settings.backbone`; it ends with its best weights.
        is_trained: The tagger is already trained (`checkpoint.load_module`): its feature scale and concept layer are
            not initialised from the photos.
        state_folder: Folder of the state after each epoch; a state of the same training is resumed. None keeps none.
        progress: Called after each epoch.
        should_stop: Called after each step. True ends the training with its best weights so far and
            `FitReport.was_stopped`; the state remains, so that the same call resumes after the last whole epoch.
        device: "cpu" or "cuda".
        num_workers: Processes that decode photos while a backbone is trained; 0 decodes in this one.

    Raises:
        TrainingError: The loss became not finite before there were usable weights, or the state cannot be read.
    """
    if (backbone is None) != (settings.backbone is None):
        raise TrainingError("A backbone and the settings of its training go together; only one of them was given.")
    run = _Run(tagger, train, validation, settings, backbone, is_trained, state_folder, progress, should_stop, device,
               num_workers)  # fmt: skip
    report = run.go()
    if validation is not None and tagger.capabilities.is_sequential:
        features = run.validation_features()
        tagger.to("cpu")
        tagger.eval()
        calibration = calibrate(
            tagger.for_inference(), features, validation.labels(tagger.num_tags), _names(tagger, validation.user_tags)
        )
        tagger.ranking = replace(tagger.ranking, calibration=calibration)
    tagger.to("cpu")
    tagger.eval()
    if backbone is not None:
        backbone.to("cpu")
        backbone.eval()
    return report


class _Run:
    """The inputs and the state of one training."""

    def __init__(
        self,
        tagger: TrainedTagger,
        train: Examples,
        validation: Examples | None,
        settings: FitSettings,
        backbone: TrainableBackbone | None,
        is_trained: bool,
        state_folder: Path | None,
        progress: Progress | None,
        should_stop: Callable[[], bool] | None,
        device: str,
        num_workers: int,
    ) -> None:
        self.tagger, self.settings, self.device = tagger.to(device), settings, device
        self.train, self.validation, self.backbone = train, validation, backbone
        self.state_path = state_folder / STATE_FILE if state_folder else None
        self.progress, self.should_stop = progress, should_stop or (lambda: False)
        self.report = FitReport()
        self.stages = _plan(tagger, settings)
        labels = torch.from_numpy(train.labels(tagger.num_tags))
        features = torch.from_numpy(train.features)
        if not is_trained:
            tagger.prepare(features.to(device), labels.to(device))
        self.contexts = {
            side: tagger.encode_context(examples.context)
            for side, examples in (("train", train), ("validation", validation))
            if examples is not None and examples.context is not None
        }
        if not is_trained and "train" in self.contexts:
            tagger.prepare_context(self.contexts["train"])
        self.weights = None
        if settings.label_weights == "unmentioned":
            share = losses.look_alike_share(features, labels, settings.num_look_alikes)
            self.weights = losses.label_weights(labels, share, settings.unmentioned_floor)
        self.objective = Objective(
            tagger, settings.concept_loss, settings.sequence_loss, settings.list_discount, settings.concept_l2
        )
        self.fingerprint = self._fingerprint(is_trained)
        self.photos: dict[str, PhotoBatches] = {}
        if backbone is not None and settings.backbone is not None:
            for name, examples in (("train", train), ("validation", validation)):
                if examples is not None:
                    self.photos[name] = PhotoBatches(
                        examples.images, backbone.architecture, settings.backbone.least_area, num_workers
                    )
        self.num_steps = 0
        self.best: dict[str, Tensor] = {}

    def go(self) -> FitReport:
        """Run all remaining stages."""
        start, optimizer_state = self._resume()
        for number, stage in enumerate(self.stages):
            if number < start.stage:
                continue
            is_start = number == start.stage and start.epoch > 0
            place = start if is_start else _Place(number)
            if not is_start:
                torch.manual_seed(_seed(self.settings.seed, number, -1))
                self._enter(stage, place)
            if not self._run_stage(stage, place, optimizer_state if is_start else {}):
                break
        if self.best:
            self.objective.load_state_dict(self.best)
        return self.report

    def _enter(self, stage: Stage, place: "_Place") -> None:
        """Start the backbone's stage; the loss of the weights so far is the one to improve on."""
        if stage.name != BACKBONE_STAGE:
            return
        self._attach_backbone()
        self.best = _copy(self.objective)
        if self.validation is not None:
            place.best_loss = self._validate(stage, math.nan)

    def _attach_backbone(self) -> None:
        assert self.backbone is not None  # only a training with a backbone has this stage
        self.objective.backbone = self.backbone.to(self.device)

    def _run_stage(self, stage: Stage, place: "_Place", optimizer_state: dict[str, Tensor]) -> bool:
        """Run one stage from the given position; return whether the next stage follows."""
        optimizer = self._make_optimizer(stage)
        unpack_optimizer(optimizer, optimizer_state)
        self._set_rates(optimizer, place)
        scaler = torch.amp.GradScaler(self.device, enabled=self._is_scaled())
        if scaler.is_enabled() and place.scaler:
            scaler.load_state_dict(place.scaler)
        module = processes.distribute(self.objective)
        while self._is_going_on(stage, place):
            began = time.monotonic()
            torch.manual_seed(_seed(self.settings.seed, place.stage, place.epoch))
            train_loss = self._run_epoch(stage, module, optimizer, scaler, place)
            if self.report.was_stopped:
                return False
            validation_loss = math.nan if train_loss is None else self._validate(stage, train_loss)
            if train_loss is None or not math.isfinite(validation_loss):
                self._stop(stage, place)
                return False
            self._judge(stage, place, optimizer, validation_loss)
            place.scaler = scaler.state_dict()
            done = EpochReport(stage.name, place.epoch, stage.epochs, train_loss, validation_loss, place.num_worse == 0,
                               time.monotonic() - began)  # fmt: skip
            self.report.epochs.append(done)
            self._save(place, optimizer)
            if self.progress:
                self.progress(done)
        if self.best:
            self.objective.load_state_dict(self.best)
        return True

    def _is_going_on(self, stage: Stage, place: "_Place") -> bool:
        is_worse = place.num_worse >= self.settings.patience and place.epoch >= stage.min_epochs
        if is_worse or place.epoch >= stage.epochs:
            return False
        backbone = self.settings.backbone
        is_own_stage = backbone is not None and stage.name != BACKBONE_STAGE and not self.settings.stage_epochs
        return not (is_own_stage and backbone and backbone.after is not None and self.num_steps >= backbone.after)

    def _judge(self, stage: Stage, place: "_Place", optimizer: torch.optim.Optimizer, validation_loss: float) -> None:
        """Record a finished epoch; keep its weights if they are the best."""
        place.epoch += 1
        is_best = validation_loss < place.best_loss or self.validation is None
        place.best_loss = min(place.best_loss, validation_loss)
        place.num_worse = 0 if is_best else place.num_worse + 1
        if is_best:
            self.best = _copy(self.objective)
            self.report.is_backbone_tuned |= stage.name == BACKBONE_STAGE
        elif stage.halve_on_plateau:
            place.rate_factor /= 2
            self._set_rates(optimizer, place)

    def _run_epoch(
        self,
        stage: Stage,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        place: "_Place",
    ) -> float | None:
        """Train on every photo once; return the mean loss, or None if it is not finite or the training was stopped."""
        module.train()
        order = torch.randperm(len(self.train.sequences))
        number = processes.rank()[0]
        seed = _seed(self.settings.seed, place.stage, place.epoch)
        if number > 0:
            torch.manual_seed(seed + number)  # the same order, but other dropout masks than in the first process
        total, num = 0.0, 0
        for batch, factor, size in self._batches("train", order, stage, seed):
            loss = module(batch, self._loss_name(stage)) * factor
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(self.objective.parameters(), CLIP_NORM)
            self.num_steps += 1
            wants_stop, value = processes.total(self.should_stop(), loss.item(), device=self.device)
            if not math.isfinite(value) or not self._is_usable(norm, scaler):
                return None
            scaler.step(optimizer)
            scaler.update()
            total += value / processes.rank()[1] * size
            num += size
            if wants_stop:
                self.report.was_stopped = True
                return None
        return total / num

    def _is_usable(self, norm: Tensor, scaler: torch.amp.GradScaler) -> bool:
        """Tell whether the step can be taken or, in 16 bits, skipped by the scaler, which then lowers its scale."""
        return bool(torch.isfinite(norm)) or (scaler.is_enabled() and scaler.get_scale() > 1)

    @torch.no_grad()
    def _validate(self, stage: Stage, train_loss: float) -> float:
        if self.validation is None:
            return train_loss
        self.objective.eval()
        total, num = 0.0, 0.0
        everything = torch.arange(len(self.validation.sequences))
        for batch, _, _ in self._batches("validation", everything, stage):
            total += self.objective.plain(batch, self._loss_name(stage)).item() * len(batch.features)
            num += len(batch.features)
        total, num = processes.total(total, num, device=self.device)
        return total / num

    @torch.no_grad()
    def validation_features(self) -> npt.NDArray[np.float32]:
        """Return (N, D), the validation photos' features from the current backbone."""
        assert self.validation is not None
        if self.objective.backbone is None or self.settings.backbone is None:
            return self.validation.features
        self.objective.eval()
        rows = torch.split(torch.arange(len(self.validation.sequences)), self.settings.backbone.batch_size)
        crops = self.photos["validation"]([part.tolist() for part in rows])
        return np.concatenate([self.objective.backbone(part.to(self.device)).cpu().numpy() for part in crops])

    def _batches(
        self, side: str, order: Tensor, stage: Stage, seed: int | None = None
    ) -> Iterator[tuple[Batch, float, int]]:
        """Yield (this process's share of a batch, the weight of its loss, the size of the whole batch)."""
        examples = self.train if side == "train" or self.validation is None else self.validation
        is_training = side == "train"
        trains_backbone = stage.name == BACKBONE_STAGE and self.settings.backbone is not None
        size = self.settings.batch_size if is_training else EVALUATION_BATCH
        if trains_backbone and self.settings.backbone is not None:
            size = self.settings.backbone.batch_size
        whole = torch.split(order, size)
        shares = [processes.share(rows) for rows in whole]
        inputs: Iterator[Tensor]
        if trains_backbone:
            lists = [rows.tolist() for rows, _ in shares]
            inputs = self.photos[side](lists) if seed is None else self.photos[side](lists, seed)
        else:
            features = torch.from_numpy(examples.features)
            inputs = (features[rows] for rows, _ in shares)
        user_tags = None if examples.user_tags is None else torch.from_numpy(examples.user_tags)
        importance = None if examples.importance is None else torch.from_numpy(examples.importance)
        weights = self.weights if is_training else None
        context = self.contexts.get(side)
        for values, (rows, factor), all_rows in zip(inputs, shares, whole, strict=True):
            batch = make_batch(
                values,
                [examples.sequences[row] for row in rows.tolist()],
                self.tagger.num_tags,
                weights=None if weights is None else weights[rows],
                user_tags=None if user_tags is None else user_tags[rows],
                importance=None if importance is None else importance[rows],
                context=None if context is None else context.draw(rows, is_random=is_training),
            )
            yield batch.to(self.device), factor, len(all_rows)

    def _loss_name(self, stage: Stage) -> str:
        return self.tagger.stages[-1].name if stage.name == BACKBONE_STAGE else stage.name

    def _make_optimizer(self, stage: Stage) -> torch.optim.Optimizer:
        own = [parameter for parameter in self.tagger.parameters() if parameter.requires_grad]
        rate = stage.learning_rate
        groups: list[dict[str, Any]] = [{"params": own, "rate": rate, "lr": rate, "weight_decay": 0.0}]
        backbone = self.settings.backbone
        if stage.name == BACKBONE_STAGE and self.backbone is not None and backbone is not None:
            learnt = [parameter for parameter in self.backbone.parameters() if parameter.requires_grad]
            rate = backbone.learning_rate
            groups.append({"params": learnt, "rate": rate, "lr": rate, "weight_decay": backbone.weight_decay})
            return torch.optim.AdamW(groups, betas=stage.betas)
        if stage.optimizer == "rmsprop":
            return torch.optim.RMSprop(groups)
        return torch.optim.Adam(groups, betas=stage.betas)

    def _set_rates(self, optimizer: torch.optim.Optimizer, place: "_Place") -> None:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * place.rate_factor

    def _is_scaled(self) -> bool:
        """Tell whether gradients need scaling against underflow, as in float16."""
        backbone = self.objective.backbone
        return backbone is not None and backbone.dtype(self.device) is torch.float16

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

    def _fingerprint(self, is_trained: bool) -> str:
        """Return a hash of everything that determines the result of this training."""
        digest = hashlib.sha256()
        about = {
            "name": self.tagger.name,
            "settings": dict(self.tagger.settings()),
            "tags": self.tagger.vocabulary.tags,
            "tensors": sorted(self.tagger.state_dict()),
            "fit": asdict(self.settings),
            "processes": processes.rank()[1],
        }
        digest.update(json.dumps(about, sort_keys=True).encode())
        for examples in (self.train, self.validation or self.train):
            for values in (examples.features, examples.user_tags, examples.importance):
                digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
            digest.update(json.dumps([examples.sequences, [str(path) for path in examples.images]]).encode())
            if examples.context is not None:
                digest.update(examples.context.neighbours.tobytes())
                digest.update(json.dumps([sorted(words) for words in examples.context.words]).encode())
        for module in (self.tagger if is_trained else None, self.backbone):
            for name, value in [] if module is None else module.state_dict().items():
                digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _save(self, place: "_Place", optimizer: torch.optim.Optimizer) -> None:
        if self.state_path is None or processes.rank()[0] != 0:
            return
        about = {
            "fingerprint": self.fingerprint,
            "place": vars(place),
            "num_steps": self.num_steps,
            "is_backbone_tuned": self.report.is_backbone_tuned,
            "epochs": [asdict(report) for report in self.report.epochs],
        }
        now = self.objective.state_dict()
        write_state(self.state_path, TrainingState(now, self.best, pack_optimizer(optimizer), about))

    def _resume(self) -> tuple["_Place", dict[str, Tensor]]:
        """Return the position to resume at and the optimiser's state; the start without a stored state."""
        state = None if self.state_path is None else read_state(self.state_path)
        if state is not None and state.about["fingerprint"] != self.fingerprint:
            logger.warning("%s is of another training; this one starts from the beginning.", self.state_path)
            state = None
        place = _Place(0) if state is None else _Place(**state.about["place"])
        processes.check_agreement(place.stage, place.epoch, device=self.device)
        if state is None:
            return place, {}
        if self.stages[place.stage].name == BACKBONE_STAGE:
            self._attach_backbone()
        self.objective.load_state_dict(dict(state.now))
        self.best = dict(state.best)
        self.num_steps = state.about["num_steps"]
        self.report.is_backbone_tuned = state.about["is_backbone_tuned"]
        self.report.epochs = [EpochReport(**values) for values in state.about["epochs"]]
        return place, dict(state.optimizer)


@dataclass
class _Place:
    """Position of a training: the stage, and the epochs done in it."""

    stage: int
    epoch: int = 0
    best_loss: float = math.inf
    num_worse: int = 0
    rate_factor: float = 1.0
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the scaler of 16-bit gradients."""


def stage_names(tagger: type[TrainedTagger], settings: FitSettings) -> list[str]:
    """Return the names of the stages of a training with these settings."""
    return [stage.name for stage in tagger.stages] + [BACKBONE_STAGE] * (settings.backbone is not None)


def _plan(tagger: TrainedTagger, settings: FitSettings) -> list[Stage]:
    """Return the tagger's stages with the settings applied, and the backbone's stage if it is trained."""
    stages = list(tagger.stages)
    if settings.backbone is not None:
        stages.append(replace(stages[-1], name=BACKBONE_STAGE, epochs=settings.backbone.epochs))
    planned = []
    for number, stage in enumerate(stages):
        epochs = stage.epochs if settings.epochs is None or stage.name == BACKBONE_STAGE else settings.epochs
        if number < len(settings.stage_epochs):
            epochs = settings.stage_epochs[number]
        planned.append(
            replace(
                stage,
                epochs=epochs,
                learning_rate=settings.learning_rate or stage.learning_rate,
                halve_on_plateau=stage.halve_on_plateau or settings.halve_on_plateau,
            )
        )
    return planned


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}


def _names(tagger: TrainedTagger, user_tags: npt.NDArray[np.float32] | None) -> list[list[str]]:
    """Return the names of each photo's user tags; an empty list without side information."""
    if user_tags is None:
        return []
    known = tagger.config.user_tags
    return [[known[index] for index in np.flatnonzero(row)] for row in user_tags]


def _seed(seed: int, stage: int, epoch: int) -> int:
    """Return a separate seed for every epoch."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stage} {epoch}".encode()).digest()[:7], "little")
