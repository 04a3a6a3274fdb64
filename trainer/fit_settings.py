"""Training settings of a tagger and its backbone, with their limits; stored with the checkpoint.

Knows nothing of the training itself.
"""

from dataclasses import dataclass

from annotator.errors import ConfigError
from annotator.models.backbones.trainable_backbone import NORMS, PRECISIONS
from annotator.ranges import check_range
from annotator.trainer import losses


@dataclass(frozen=True)
class BackboneSettings:
    """Training settings of the backbone; stored with the checkpoint.

    The learning rate, the weight decay and the 7,500 steps before are those of Yan, Wang, Liao, "LSTM for Image
    Annotation with Relative Visual Importance", 2015, section 5.1.
    """

    learning_rate: float = 1e-5
    """Of the backbone only."""
    weight_decay: float = 1e-3
    """Of the backbone's weights (AdamW: decoupled decay)."""
    after: int | None = None
    """Steps that train the tagger alone before the backbone joins, at the end of that epoch. 0 trains both from the
    start; None completes the tagger's own stages first."""
    epochs: int = 10
    """Most epochs of this stage."""
    batch_size: int = 32
    norm: str = "frozen"
    """frozen: batch normalisation keeps its statistics; batch: it uses and updates those of the batches."""
    least_area: float = 0.5
    """Least share of the photo's area in a random crop; smaller crops lose the tagged objects."""
    precision: str = "auto"
    """Number format of the backbone's passes: auto, float32, bfloat16 or float16."""

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
    """Training settings of a tagger; stored with its checkpoint."""

    seed: int = 0
    """Of the initial weights, the order of the photos and dropout."""
    batch_size: int = 128
    epochs: int | None = None
    """Most epochs of each stage; None takes the tagger's default."""
    stage_epochs: tuple[int, ...] = ()
    """Epochs of each stage in order; overrides `epochs` and `backbone.after`. 0 skips a stage."""
    patience: int = 3
    """Epochs without a lower validation loss before a stage ends."""
    learning_rate: float | None = None
    """Of every stage; None takes the tagger's default."""
    halve_on_plateau: bool = False
    """Halve the learning rate of every stage when the validation loss does not fall; False takes the tagger's
    default."""
    concept_l2: float = 0.0
    """Coefficient of half the squared norm of the concept layer's weights."""
    concept_loss: str = "binary"
    """binary or asymmetric."""
    sequence_loss: str = "paper"
    """paper or list_wise."""
    list_discount: float = 0.3
    """Ratio of the weights of two successive places in the list-wise loss."""
    label_weights: str = "equal"
    """equal, or unmentioned: a missing tag counts less as a negative the more visually similar photos have it."""
    unmentioned_floor: float = 0.5
    """Weight, as a negative, of a missing tag that all visually similar photos have."""
    num_look_alikes: int = 20
    """Visually similar photos that are compared."""
    backbone: BackboneSettings | None = None
    """None keeps the backbone frozen."""

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
