"""How a tagger and its backbone are trained: every setting with its limits, kept with the checkpoint.

Knows nothing of how it is done.
"""

from dataclasses import dataclass

from annotator.errors import ConfigError
from annotator.models.backbones.trainable_backbone import NORMS, PRECISIONS
from annotator.ranges import check_range
from annotator.trainer import losses


@dataclass(frozen=True)
class BackboneSettings:
    """How the backbone is trained; kept with the checkpoint.

    The learning rate, the weight decay and 7,500 steps before are section 5.1's of ranked-tags-lstm.txt.
    """

    learning_rate: float = 1e-5
    """Of the backbone; the tagger keeps its own."""
    weight_decay: float = 1e-3
    """Of the backbone's weights (Adam with decoupled decay)."""
    after: int | None = None
    """Steps of the tagger alone before; the epoch in which they are reached is completed. 0 trains both from the start.
    None lets the tagger's own stages come to their end first."""
    epochs: int = 10
    """At most."""
    batch_size: int = 32
    norm: str = "frozen"
    """frozen: batch normalisation keeps its statistics; batch: it learns new ones."""
    least_area: float = 0.5
    """Smallest share of a photo that a random crop keeps; smaller ones cut off what the tags name."""
    precision: str = "auto"
    """Of the backbone's passes: auto, float32, bfloat16 or float16."""

    def __post_init__(self) -> None:
        losses.check_choice("norm", self.norm, NORMS)
        losses.check_choice("precision", self.precision, PRECISIONS)
        for name, low, high in (
            ("learning_rate", 1e-9, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("epochs", 1, 100_000),
            ("batch_size", 1, 10_000),
            ("least_area", 0.01, 1.0),
        ):
            check_range(self, name, low, high, label=f"The backbone's {name}")
        if self.after is not None and self.after < 0:
            raise ConfigError(f"The steps before the backbone is trained cannot be below 0, got {self.after}.")


@dataclass(frozen=True)
class FitSettings:
    """How a tagger is trained; kept with its checkpoint."""

    seed: int = 0
    """Of the first weights, the order of the photos and dropout."""
    batch_size: int = 128
    epochs: int | None = None
    """Most epochs of each stage; None is the tagger's own."""
    stage_epochs: tuple[int, ...] = ()
    """Epochs of each stage, one by one, in place of the former and of `backbone.after`; 0 leaves a stage out."""
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
    backbone: BackboneSettings | None = None
    """None leaves the backbone as it is."""

    def __post_init__(self) -> None:
        losses.check_choice("concept_loss", self.concept_loss, losses.CONCEPT_LOSSES)
        losses.check_choice("sequence_loss", self.sequence_loss, losses.SEQUENCE_LOSSES)
        losses.check_choice("label_weights", self.label_weights, losses.LABEL_WEIGHTS)
        check_range(self, "batch_size", 1, 100_000)
        check_range(self, "patience", 1, 10_000)
        check_range(self, "concept_l2", 0, 1e6)
        check_range(self, "list_discount", 0, 1)
        check_range(self, "unmentioned_floor", 0, 1)
        check_range(self, "num_look_alikes", 1, 10_000)
        if any(epochs < 0 for epochs in self.stage_epochs) or (self.stage_epochs and not any(self.stage_epochs)):
            raise ConfigError(
                f"The stages need at least 1 epoch together, none below 0; got {list(self.stage_epochs)}."
            )
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"epochs must be at least 1, got {self.epochs}.")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 10:
            raise ConfigError(f"learning_rate must lie in (0, 10], got {self.learning_rate!r}.")
