"""Ranked LSTM: the image is an input at every step, the previous tag at none.

Paper: Yan, Wang, Liao, "LSTM for Image Annotation with Relative Visual Importance", 2015.
Implements: eq. 10 in RankedLstm.image; eq. 11-16 in RankedLstm.lstm; eq. 17-18 in RankedLstm.output; eq. 19 in
    trained_tagger.sequence_cross_entropy.
    The previous tag as a further input, which section 4 argues against, is `feed_back`.
Departs: eq. 14 prints x_t where its text and eq. 11-13 have v; v is used. Features are scaled to deviation 1. No END,
    as in the paper: a free length is not learnt, so a decoded list has k tags. As the previous tag is not an input, a
    prefix only advances the list by its length and masks its tags. Batches have 128 photos; the paper's 16 are
    `--batch-size 16`. The network is frozen unless `--train-backbone --backbone-after 7500` asks for the paper's
    fine-tuning, which is then by AdamW (decoupled weight decay), where the paper has Adam.
Shapes: features (B, D) float32 -> v (B, 100) -> logits (B, T, V) float32.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.sequence.trained_tagger import Batch, Outputs, Stage, TaggerConfig, TrainedTagger


@dataclass(frozen=True)
class RankedLstmConfig(TaggerConfig):
    """Sizes are section 5.1's."""

    image_size: int = 100
    hidden_size: int = 300
    feed_back: bool = False
    """Add an embedding of the previous tag to the image at every step; the paper leaves it out (section 4), which this
    makes testable."""


class RankedLstm(TrainedTagger):
    """See `TrainedTagger`."""

    name = "ranked_lstm"
    Config = RankedLstmConfig
    has_end = False
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("joint", "adam", 4e-4, epochs=40, betas=(0.8, 0.999), halve_on_plateau=True),  # section 5.1
    )

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: RankedLstmConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        self.image = nn.Linear(feature_size, config.image_size)
        self.embedding = nn.Embedding(self.num_tags + 1, config.image_size) if config.feed_back else None
        self.lstm = nn.LSTM(config.image_size, config.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_size, self.num_tags)

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps."""
        features = self.scale(batch.features)
        num_steps = batch.inputs.shape[1]
        image = self.image(features)[:, None].expand(-1, num_steps, -1)  # eq. 10, the same v at every step
        if self.embedding is not None:
            image = image + self.embedding(batch.inputs)
        packed = pack_padded_sequence(image, (batch.lengths + 1).cpu(), batch_first=True)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=num_steps)
        return Outputs(self.output(self.dropout(states)), self.concept_logits(features))
