"""Registry of training functions, one for each family of taggers; `training.train` calls them.

The registry of taggers says which family a tagger belongs to (`registry.family_of`). A training function takes the
photos of both sides of the split with their features, and returns a tagger that a checkpoint can store. Knows nothing
of files or commands.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.record import Record
from annotator.datasets.vocabulary import Order, Vocabulary
from annotator.errors import ConfigError
from annotator.models.checkpoint import BackboneLike
from annotator.models.sequence.inference import Ranking
from annotator.models.tagger import Features
from annotator.trainer.fit import FitReport, Progress
from annotator.trainer.fit_settings import FitSettings

ON_ALL_FOLDER = "on_all"
"""Subfolder of a checkpoint's folder that holds the state of the second training, on all photos, while it runs."""


@dataclass(frozen=True)
class TrainingRequest:
    """What is trained and with which settings; stored beside the weights."""

    tagger: str
    """Registry name."""
    target: str = "tags"
    """The field of the original records that was learnt; the records given here hold it in `tags` (`with_target`)."""
    order: Order = "given"
    """Training order of a photo's tags."""
    min_count: int = 1
    """Least number of training photos with a tag for the tag to be learnt."""
    validation_share: float = 0.2
    """Share of the photos held out for early stopping."""
    split_seed: int = 0
    """Seed of the split; separate from `fit.seed`, so that several trainings can share one split."""
    on_all: bool = False
    """After early stopping has found the number of epochs, train again from the start on all photos."""
    half: bool = False
    """Store matrices in 16 bits."""
    fit: FitSettings = field(default_factory=FitSettings)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the tagger's config."""
    ranking: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Ranking` that differ from its defaults."""
    user_tags_field: str | None = None
    """Field of the records that holds side information: `user_tags`, or another list of strings."""
    num_user_tags: int = 1_000
    """Size of the user-tag vocabulary: the most frequent ones (Liu et al., 2017, section 4.1)."""

    def __post_init__(self) -> None:
        if self.num_user_tags < 1:
            raise ConfigError(f"num_user_tags must be at least 1, got {self.num_user_tags}.")
        if self.min_count < 1:
            raise ConfigError(f"min_count must be at least 1, got {self.min_count}.")
        try:
            Ranking(**self.ranking)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"The ranking cannot be used: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        return {**asdict(self), "settings": dict(self.settings), "ranking": dict(self.ranking)}


@dataclass(frozen=True)
class Side:
    """Photos of one side of the split, each with at least one tag of the vocabulary."""

    records: list[Record]
    features: Features
    """(N, D) float32, in the order of `records`."""

    def __add__(self, other: "Side") -> "Side":
        return Side(self.records + other.records, np.concatenate([self.features, other.features]))


@dataclass(frozen=True)
class TrainingData:
    """The input of every training function."""

    vocabulary: Vocabulary
    """Tags of the training side."""
    train: Side
    validation: Side
    """Trained on only if the request says `on_all`."""
    backbone: BackboneLike
    """The extractor of the features."""


@dataclass(frozen=True)
class TrainingOptions:
    """Where a training runs and how it reports; none of it changes the result."""

    folder: Path
    """The checkpoint's folder; a resumable training keeps its state here."""
    device: str = "cpu"
    """"cpu" or "cuda"."""
    progress: Progress | None = None
    """Called after each epoch."""
    should_stop: Callable[[], bool] | None = None
    """Called after each step; True stops the training, which can be resumed later."""
    num_workers: int = 0
    """Processes that decode photos while a backbone is trained."""


@dataclass(frozen=True)
class Trained:
    """The result of a training function."""

    tagger: Any
    """The trained tagger, for `checkpoint.save`."""
    report: FitReport
    backbone: Mapping[str, npt.NDArray[np.float32]] | None = None
    """Weights of the fine-tuned backbone, for `checkpoint.save`; None if it is unchanged."""
    notes: tuple[str, ...] = ()
    """Sentences for the user."""


class FamilyTrainer(Protocol):
    """Training function of one family."""

    def __call__(self, request: TrainingRequest, data: TrainingData, options: TrainingOptions) -> Trained:
        """Train the tagger that the request names.

        Raises:
            ConfigError: A setting is invalid.
            TrainingError: The training ended before there were usable weights, or was stopped.
        """
        ...


_TARGETS: dict[str, str] = {}


def register_family(name: str, target: str) -> None:
    """Register the training function of a family.

    Args:
        name: As in `annotator.models.registry.register`.
        target: "module:function", a `FamilyTrainer`.

    Raises:
        ValueError: The name is taken.
    """
    if name in _TARGETS:
        raise ValueError(f"The family {name!r} is registered twice.")
    _TARGETS[name] = target


def find_trainer(name: str) -> FamilyTrainer:
    """Return the training function of a family.

    Raises:
        KeyError: No family has that name.
    """
    module, _, attribute = _TARGETS[name].partition(":")
    found: FamilyTrainer = getattr(import_module(module), attribute)
    return found


register_family("recurrent", "annotator.trainer.recurrent_family:train_recurrent")
register_family("context", "annotator.trainer.context_family:train_context")
register_family("baseline", "annotator.trainer.baseline_family:train_baseline")
