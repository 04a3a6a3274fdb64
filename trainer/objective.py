"""The training loss of a tagger as one module, from features or from photos.

DistributedDataParallel only tracks `forward`, so everything with parameters is called from there.
Shapes: a batch of B photos -> a scalar.
"""

from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from annotator.models.backbones.trainable_backbone import TrainableBackbone
from annotator.models.sequence.trained_tagger import (
    Batch,
    ConceptLoss,
    SequenceLoss,
    TrainedTagger,
    binary_cross_entropy,
)
from annotator.trainer import losses


class Objective(nn.Module):
    """The function to minimise.

    Args:
        tagger: The trained tagger.
        concept_loss: binary or asymmetric.
        sequence_loss: paper or list_wise.
        list_discount: Of the list-wise loss.
        concept_l2: Coefficient of half the squared norm of the concept layer's weights.
    """

    def __init__(
        self, tagger: TrainedTagger, concept_loss: str, sequence_loss: str, list_discount: float, concept_l2: float
    ) -> None:
        super().__init__()
        self.tagger = tagger
        self.backbone: TrainableBackbone | None = None
        """Set while it is trained; batches then hold crops instead of features."""
        self.concept_l2 = concept_l2
        self.concept_loss: ConceptLoss = (
            losses.asymmetric_loss if concept_loss == "asymmetric" else binary_cross_entropy
        )
        self.sequence_loss: SequenceLoss | None = (
            partial(losses.list_wise_loss, discount=list_discount) if sequence_loss == "list_wise" else None
        )

    def forward(self, batch: Batch, stage: str) -> Tensor:
        """Return the training loss: the plain loss plus the weight penalty."""
        loss = self.plain(batch, stage)
        if self.concept_l2 > 0 and self.tagger.concept is not None:
            loss = loss + self.concept_l2 / 2 * self.tagger.concept.weight.square().sum()
        return loss

    def plain(self, batch: Batch, stage: str) -> Tensor:
        """Return the loss without the weight penalty, as used for early stopping.

        Args:
            batch: With features (B, D) float32, or crops (B, H, W, 3) uint8 instead.
            stage: Name of one of the tagger's stages.
        """
        if self.backbone is not None:
            batch = replace(batch, features=self.backbone(batch.features))
        return self.tagger.loss(batch, stage, concept_loss=self.concept_loss, sequence_loss=self.sequence_loss)
