"""S-CNN-RNN: a recurrent decoder that starts from concept probabilities.

Paper: Liu, Xiang, Hospedales, Yang, Sun, "Semantic Regularisation for Recurrent Image Annotation", 2017.
Implements: eq. 1 in ScnnRnn.concept_logits (the embedding is the concept layer's prediction s^); eq. 2-3 in
    tag_lstm.TagLstm; eq. 4 in TrainedTagger.total_loss; eq. 5 in trained_tagger.binary_cross_entropy; section 3.3's two
    stages in ScnnRnn.stages and ScnnRnn.forward; section 4.1's side information in ScnnRnn.side.
Departs: the concept layer's bias starts at logit(prior), see TrainedTagger.prepare. Features are scaled to deviation 1.
    The parallel stage uses Adam 1e-3 rather than RMSprop 1e-4, to take minutes; the joint stage RMSprop 1e-4, as
    printed. With `--train-backbone` a third stage trains tagger and network together, by AdamW where the paper has
    RMSprop; the paper also tunes the network on L_u in its first stage, here the network is frozen in the first two
    stages. The network on user tags is not pre-trained alone: it starts at random and learns with the concept layer
    in the parallel stage. Dropout before the output layer and of a third of the features, which the paper does not
    mention: with the latter, and 0.06 instead of 0.04 as penalty on the concept layer's weights, the lowest joint
    loss on captions was 17.99 instead of 18.69.
Shapes: features (B, D) float32 -> concepts (B, V) -> logits (B, T, V + 1) float32.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.sequence.trained_tagger import Batch, Outputs, Stage, TaggerConfig, TrainedTagger
from annotator.models.tagger import Capabilities
from annotator.models.taggers.tag_lstm import TagLstm, no_cell


@dataclass(frozen=True)
class ScnnRnnConfig(TaggerConfig):
    """Sizes are section 4.2's."""

    input_dropout: float = 0.3
    embedding_size: int = 256
    hidden_size: int = 512
    side_size: int = 256
    """Hidden layer of the network on user tags."""


class ScnnRnn(TrainedTagger):
    """Concept layer, then LSTM. See `TrainedTagger`."""

    name = "scnn_rnn"
    Config = ScnnRnnConfig
    capabilities = Capabilities(is_sequential=True, uses_user_tags=True)
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("parallel", "adam", 1e-3, epochs=10),
        Stage("joint", "rmsprop", 1e-4, epochs=30),
    )
    concept: nn.Linear

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: ScnnRnnConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        self.concept = nn.Linear(feature_size, self.num_tags)
        self.initial = nn.Linear(self.num_tags, config.hidden_size)
        self.decoder = TagLstm(self.num_tags, config.embedding_size, config.hidden_size, config.dropout)
        self.side = (
            nn.Sequential(
                nn.Linear(len(config.user_tags), config.side_size),
                nn.ReLU(),
                nn.Linear(config.side_size, self.num_tags),
            )
            if config.user_tags
            else None
        )

    def concept_logits(self, features: Tensor, user_tags: Tensor | None = None) -> Tensor:
        """Return the logits of s^; those of the user tags are added (section 4.1)."""
        logits: Tensor = self.concept(features)
        if self.side is not None and user_tags is not None:
            logits = logits + self.side(user_tags)
        return logits

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps; in the stage "parallel" the LSTM starts from the true labels, independent of the image."""
        concept_logits = self.concept_logits(self.scale(batch.features), batch.user_tags)
        concepts = batch.labels if stage == "parallel" else torch.sigmoid(concept_logits)
        hidden = self.initial(concepts)
        states = self.decoder(batch.inputs, batch.lengths + 1, hidden, no_cell(hidden))
        return Outputs(self.decoder.logits(states), concept_logits)
