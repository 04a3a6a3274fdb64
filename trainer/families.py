"""How each family of taggers is trained: a family registers one function, which `training.train` calls.

The family of a tagger stands in the registry of taggers (`registry.family_of`). A family gets the photos of both sides
of the split with their features, and gives a tagger that a checkpoint can keep. Knows nothing of files or commands.
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
"""In a checkpoint's folder while it is trained: the state of the second training, on all photos."""


@dataclass(frozen=True)
class TrainingRequest:
    """What is trained, and how; kept beside the weights."""

    tagger: str
    """Registry name."""
    target: str = "tags"
    """Which field of the records holds the tags that were learnt; the records that are given have it as their tags."""
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
    user_tags_field: str | None = None
    """Field of the records that holds side information: `user_tags`, or any other list of texts."""
    num_user_tags: int = 1_000
    """So many of these tags are known, the most frequent ones (semantic-regularisation.txt, section 4.1)."""

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
        """Return it as JSON values."""
        return {**asdict(self), "settings": dict(self.settings), "ranking": dict(self.ranking)}


@dataclass(frozen=True)
class Side:
    """Photos of one side of the split, each with a tag of the vocabulary at least."""

    records: list[Record]
    features: Features
    """(N, D) float32, in the order of `records`."""

    def __add__(self, other: "Side") -> "Side":
        return Side(self.records + other.records, np.concatenate([self.features, other.features]))


@dataclass(frozen=True)
class TrainingData:
    """What every family learns from."""

    vocabulary: Vocabulary
    """Tags of the training side."""
    train: Side
    validation: Side
    """Never learnt from, unless the request says `on_all`."""
    backbone: BackboneLike
    """What made the features."""


@dataclass(frozen=True)
class TrainingOptions:
    """Where and under whose eyes a training runs; none of it changes what is learnt."""

    folder: Path
    """The checkpoint's: a family that can go on after a kill keeps its state here."""
    device: str = "cpu"
    """"cpu" or "cuda"."""
    progress: Progress | None = None
    """Called after each epoch."""
    should_stop: Callable[[], bool] | None = None
    """Asked after each step; True ends the training, which can go on later."""
    num_workers: int = 0
    """Processes that decode photos while a backbone is trained."""


@dataclass(frozen=True)
class Trained:
    """What a family gives back."""

    tagger: Any
    """For `checkpoint.save`."""
    report: FitReport
    backbone: Mapping[str, npt.NDArray[np.float32]] | None = None
    """The fine-tuned backbone's weights, for `checkpoint.save`; None where it stayed as it was."""
    notes: tuple[str, ...] = ()
    """What the user should know, as sentences."""


class FamilyTrainer(Protocol):
    """Trains any tagger of one family."""

    def __call__(self, request: TrainingRequest, data: TrainingData, options: TrainingOptions) -> Trained:
        """Train the tagger that the request names.

        Raises:
            ConfigError: A setting has a value it cannot have.
            TrainingError: It had to stop before there was anything good.
        """
        ...


_TARGETS: dict[str, str] = {}


def register_family(name: str, target: str) -> None:
    """Make a family's trainer known.

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
    """Return a family's trainer.

    Raises:
        KeyError: No family has that name.
    """
    module, _, attribute = _TARGETS[name].partition(":")
    found: FamilyTrainer = getattr(import_module(module), attribute)
    return found


register_family("recurrent", "annotator.trainer.recurrent_family:train_recurrent")
register_family("context", "annotator.trainer.context_family:train_context")
register_family("baseline", "annotator.trainer.baseline_family:train_baseline")
